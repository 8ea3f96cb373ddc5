//! Requests that want to break in, break something or hang something, over raw sockets to a running gateway.
//!
//! Every test ends by listing its bucket: the gateway is alive and nothing was stored. Ids in names are those of known
//! defects of other servers; each test says which.

mod names;
mod signatures;
#[path = "../support/mod.rs"]
mod support;
mod wire;

const SIGNED_CHUNKS: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
const UNSIGNED_TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
