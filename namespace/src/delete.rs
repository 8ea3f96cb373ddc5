//! DeleteObject.

use crate::bucket::Bucket;
use crate::fault::Fault;
use crate::name::ObjectKey;
use crate::namespace::Namespace;
use crate::object::{Condition, ConditionFailed};

/// Why an object was not deleted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeleteError {
    /// A condition does not hold.
    #[error(transparent)]
    Condition(#[from] ConditionFailed),
    /// See [`Fault`].
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Namespace {
    /// Deletes the current version; one that is not there is deleted. Costs one commit, whatever the size.
    ///
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObject.html>
    pub async fn delete(&self, _bucket: &Bucket, _key: &ObjectKey, _condition: Condition) -> Result<(), DeleteError> {
        unimplemented!()
    }
}
