//! Configurations that cannot be set yet: their GETs answer as an AWS bucket without one. And access control lists,
//! of which there is one kind: the owner has full control.

use axum::body::Body;
use holdall_namespace::bucket::Bucket;
use holdall_namespace::name::ObjectKey;
use http::{Response, StatusCode};

use super::bucket::owner;
use super::{Answer, Call, header, read_document};
use crate::auth::VerifiedBody;
use crate::error::{Code, S3Error};
use crate::limits::MAX_XML;
use crate::operation::Operation;
use crate::xml::read;
use crate::xml::write::Document;

/// What AWS answers where nothing was configured.
pub(super) fn unset(operation: Operation) -> Answer {
    use Operation as Op;
    let (root, content) = match operation {
        Op::GetBucketAbac => ("AbacStatus", Some(("Status", "Disabled"))),
        Op::GetBucketAccelerateConfiguration => ("AccelerateConfiguration", None),
        Op::GetBucketLogging => ("BucketLoggingStatus", None),
        Op::GetBucketNotificationConfiguration => ("NotificationConfiguration", None),
        Op::GetBucketRequestPayment => ("RequestPaymentConfiguration", Some(("Payer", "BucketOwner"))),
        Op::GetBucketVersioning => ("VersioningConfiguration", None),
        Op::ListBucketAnalyticsConfigurations => ("ListBucketAnalyticsConfigurationResult", NO_MORE),
        Op::ListBucketIntelligentTieringConfigurations => ("ListBucketIntelligentTieringConfigurationsOutput", NO_MORE),
        Op::ListBucketInventoryConfigurations => ("ListInventoryConfigurationsResult", NO_MORE),
        Op::ListBucketMetricsConfigurations => ("ListMetricsConfigurationsResult", NO_MORE),
        other => return Err(absent(other)),
    };
    let mut document = Document::new(root);
    if let Some((name, value)) = content {
        document.text(name, value);
    }
    Ok(header::document(document.finish()))
}

const NO_MORE: Option<(&str, &str)> = Some(("IsTruncated", "false"));

fn absent(operation: Operation) -> S3Error {
    use Operation as Op;
    let code = match operation {
        Op::GetBucketPolicy | Op::GetBucketPolicyStatus => Code::NoSuchBucketPolicy,
        Op::GetBucketCors => Code::NoSuchCORSConfiguration,
        Op::GetBucketEncryption => Code::ServerSideEncryptionConfigurationNotFoundError,
        Op::GetBucketLifecycleConfiguration => Code::NoSuchLifecycleConfiguration,
        Op::GetBucketOwnershipControls => Code::OwnershipControlsNotFoundError,
        Op::GetBucketReplication => Code::ReplicationConfigurationNotFoundError,
        Op::GetBucketWebsite => Code::NoSuchWebsiteConfiguration,
        Op::GetObjectLockConfiguration => Code::ObjectLockConfigurationNotFoundError,
        Op::GetPublicAccessBlock => Code::NoSuchPublicAccessBlockConfiguration,
        Op::GetBucketAnalyticsConfiguration
        | Op::GetBucketIntelligentTieringConfiguration
        | Op::GetBucketInventoryConfiguration
        | Op::GetBucketMetricsConfiguration => Code::NoSuchConfiguration,
        Op::GetObjectLegalHold | Op::GetObjectRetention => {
            return S3Error::with(Code::InvalidRequest, "Bucket is missing Object Lock Configuration");
        }
        _ => Code::NotImplemented,
    };
    code.into()
}

/// The same for an object, which must exist.
pub(super) async fn unset_of_object(call: &Call, bucket: &Bucket, key: &ObjectKey, operation: Operation) -> Answer {
    call.only_version()?;
    call.state.namespace.head(bucket, key).await?;
    unset(operation)
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketAcl.html>
pub(super) fn get_acl(call: &Call) -> Response<Body> {
    const USER: &str = " xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"CanonicalUser\"";
    let mut document = Document::new("AccessControlPolicy");
    owner(&mut document, "Owner", call);
    document.nested("AccessControlList", |document| {
        document.nested("Grant", |document| {
            document.nested_with("Grantee", USER, |document| {
                document.text("ID", &call.principal.account.canonical_id);
                document.text("DisplayName", &call.principal.account.name);
            });
            document.text("Permission", "FULL_CONTROL");
        });
    });
    header::document(document.finish())
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectAcl.html>
pub(super) async fn get_object_acl(call: &Call, bucket: &Bucket, key: &ObjectKey) -> Answer {
    call.only_version()?;
    call.state.namespace.head(bucket, key).await?;
    Ok(get_acl(call))
}

/// Takes the list that is there anyway, refuses every other.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketAcl.html>
pub(super) async fn put_acl(call: &Call, body: VerifiedBody) -> Answer {
    header::refuse_acl(call.headers())?;
    let body = read_document(call, body, MAX_XML).await?;
    if !call.headers().contains_key("x-amz-acl") {
        let grants = read::access_control(&body)?;
        let own = |grant: &read::Grant| {
            grant.grantee.as_deref() == Some(&call.principal.account.canonical_id) && grant.permission == "FULL_CONTROL"
        };
        if grants.is_empty() || !grants.iter().all(own) {
            return Err(Code::AccessControlListNotSupported.into());
        }
    }
    Ok(header::empty(StatusCode::OK))
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObjectAcl.html>
pub(super) async fn put_object_acl(call: &Call, bucket: &Bucket, key: &ObjectKey, body: VerifiedBody) -> Answer {
    call.only_version()?;
    call.state.namespace.head(bucket, key).await?;
    put_acl(call, body).await
}
