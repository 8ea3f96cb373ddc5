//! DeleteObject.

use crate::bucket::Bucket;
use crate::fault::Fault;
use crate::name::ObjectKey;
use crate::namespace::Namespace;
use crate::object::{Condition, ConditionFailed};
use crate::replace::{NotReplaced, Removal};

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
    pub async fn delete(&self, bucket: &Bucket, key: &ObjectKey, condition: Condition) -> Result<(), DeleteError> {
        let removed = self.core.remove(&self.session(), bucket, key, Removal::of(condition)).await;
        crate::failpoint!("delete-committed");
        match removed {
            Ok(_) | Err(NotReplaced::NoSuchBucket | NotReplaced::Gone | NotReplaced::Beside(())) => Ok(()),
            Err(NotReplaced::Condition(failed)) => Err(failed.into()),
            Err(NotReplaced::Lost) => Err(Fault::Unavailable("the outcome of the commit is unknown".to_owned()).into()),
            Err(NotReplaced::Fault(fault)) => Err(fault.into()),
        }
    }
}
