//! Object tagging.

use crate::bucket::Bucket;
use crate::get::GetError;
use crate::name::ObjectKey;
use crate::namespace::Namespace;
use crate::object::Pairs;

impl Namespace {
    /// Replaces the current version's tags; an empty list removes them. Nothing else of the object changes.
    pub async fn set_tags(&self, _bucket: &Bucket, _key: &ObjectKey, _tags: Pairs) -> Result<(), GetError> {
        unimplemented!()
    }
}
