//! What every request may look at.

use std::sync::Arc;

use holdall_namespace::Namespace;
use holdall_namespace::clock::Clock;

/// Shared by all requests; nothing in it changes after the start but what guards itself.
pub struct State {
    /// All buckets and objects.
    pub namespace: Arc<Namespace>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The region that signatures must name, `us-east-1`.
    pub region: String,
    /// What clients' URLs begin with: `http` or `https`.
    pub scheme: &'static str,
    /// Domains below which a host names a bucket: `bucket.s3.example.org`. Lower case.
    pub domains: Vec<String>,
}
