//! Every S3 operation in one table: how a request is recognized, and what became of it here.
//!
//! S3 chooses the operation by sub-resource (`?acl`, `?uploads`), not by path. A sub-resource that the method and the
//! level do not know never falls through to reading, writing or listing: it is refused.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html>

use http::{HeaderMap, Method};

use crate::address::{Address, Query};
use crate::error::{Code, S3Error};

/// What a path points at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// `/`
    Service,
    /// `/bucket`
    Bucket,
    /// `/bucket/key`
    Object,
}

/// What became of an operation here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It works.
    Built,
    /// It reads a configuration that cannot be set yet, and answers as an AWS bucket without one.
    Unset,
    /// `NotImplemented`, by name.
    Refused,
    /// AWS has it at another endpoint; no request reaches it here.
    Elsewhere,
}

/// One line of the table.
#[derive(Debug)]
pub struct Row {
    /// Which.
    pub operation: Operation,
    /// By what method,
    pub method: Method,
    /// at what level,
    pub level: Level,
    /// with what in the query: the sub-resource first, then what else must be there. `name=value` wants that value.
    pub query: &'static [&'static str],
    /// With a header that must be there; empty for none.
    pub header: &'static str,
    /// See [`State`].
    pub state: State,
}

macro_rules! operations {
    ($($name:ident $method:ident $level:ident [$($query:literal)*] $($header:literal)? $state:ident,)*) => {
        /// An operation, by S3's name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "the names are S3's own")]
        pub enum Operation { $($name,)* }

        impl Operation {
            /// S3's name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }
        }

        /// Every S3 operation.
        pub static TABLE: &[Row] = &[$(Row {
            operation: Operation::$name,
            method: Method::$method,
            level: Level::$level,
            query: &[$($query),*],
            header: concat!($($header)?),
            state: State::$state,
        },)*];
    };
}

operations! {
    ListBuckets GET Service [] Built,
    ListDirectoryBuckets GET Service [] Elsewhere,
    WriteGetObjectResponse POST Service [] Elsewhere,

    CreateBucket PUT Bucket [] Built,
    HeadBucket HEAD Bucket [] Built,
    DeleteBucket DELETE Bucket [] Built,
    ListObjects GET Bucket [] Built,
    ListObjectsV2 GET Bucket ["list-type=2"] Built,
    ListObjectVersions GET Bucket ["versions"] Built,
    ListMultipartUploads GET Bucket ["uploads"] Built,
    DeleteObjects POST Bucket ["delete"] Built,
    PostObject POST Bucket [] Refused,
    CreateSession GET Bucket ["session"] Refused,
    GetBucketLocation GET Bucket ["location"] Built,
    GetBucketTagging GET Bucket ["tagging"] Built,
    PutBucketTagging PUT Bucket ["tagging"] Built,
    DeleteBucketTagging DELETE Bucket ["tagging"] Built,
    GetBucketAcl GET Bucket ["acl"] Built,
    PutBucketAcl PUT Bucket ["acl"] Built,

    GetBucketAbac GET Bucket ["abac"] Unset,
    PutBucketAbac PUT Bucket ["abac"] Refused,
    GetBucketAccelerateConfiguration GET Bucket ["accelerate"] Unset,
    PutBucketAccelerateConfiguration PUT Bucket ["accelerate"] Refused,
    GetBucketAnalyticsConfiguration GET Bucket ["analytics" "id"] Unset,
    ListBucketAnalyticsConfigurations GET Bucket ["analytics"] Unset,
    PutBucketAnalyticsConfiguration PUT Bucket ["analytics"] Refused,
    DeleteBucketAnalyticsConfiguration DELETE Bucket ["analytics"] Refused,
    GetBucketCors GET Bucket ["cors"] Unset,
    PutBucketCors PUT Bucket ["cors"] Refused,
    DeleteBucketCors DELETE Bucket ["cors"] Refused,
    GetBucketEncryption GET Bucket ["encryption"] Unset,
    PutBucketEncryption PUT Bucket ["encryption"] Refused,
    DeleteBucketEncryption DELETE Bucket ["encryption"] Refused,
    GetBucketIntelligentTieringConfiguration GET Bucket ["intelligent-tiering" "id"] Unset,
    ListBucketIntelligentTieringConfigurations GET Bucket ["intelligent-tiering"] Unset,
    PutBucketIntelligentTieringConfiguration PUT Bucket ["intelligent-tiering"] Refused,
    DeleteBucketIntelligentTieringConfiguration DELETE Bucket ["intelligent-tiering"] Refused,
    GetBucketInventoryConfiguration GET Bucket ["inventory" "id"] Unset,
    ListBucketInventoryConfigurations GET Bucket ["inventory"] Unset,
    PutBucketInventoryConfiguration PUT Bucket ["inventory"] Refused,
    DeleteBucketInventoryConfiguration DELETE Bucket ["inventory"] Refused,
    GetBucketLifecycleConfiguration GET Bucket ["lifecycle"] Unset,
    PutBucketLifecycleConfiguration PUT Bucket ["lifecycle"] Refused,
    DeleteBucketLifecycle DELETE Bucket ["lifecycle"] Refused,
    GetBucketLogging GET Bucket ["logging"] Unset,
    PutBucketLogging PUT Bucket ["logging"] Refused,
    CreateBucketMetadataConfiguration POST Bucket ["metadataConfiguration"] Refused,
    GetBucketMetadataConfiguration GET Bucket ["metadataConfiguration"] Refused,
    DeleteBucketMetadataConfiguration DELETE Bucket ["metadataConfiguration"] Refused,
    CreateBucketMetadataTableConfiguration POST Bucket ["metadataTable"] Refused,
    GetBucketMetadataTableConfiguration GET Bucket ["metadataTable"] Refused,
    DeleteBucketMetadataTableConfiguration DELETE Bucket ["metadataTable"] Refused,
    UpdateBucketMetadataAnnotationTableConfiguration PUT Bucket ["metadataAnnotationTable"] Refused,
    UpdateBucketMetadataInventoryTableConfiguration PUT Bucket ["metadataInventoryTable"] Refused,
    UpdateBucketMetadataJournalTableConfiguration PUT Bucket ["metadataJournalTable"] Refused,
    GetBucketMetricsConfiguration GET Bucket ["metrics" "id"] Unset,
    ListBucketMetricsConfigurations GET Bucket ["metrics"] Unset,
    PutBucketMetricsConfiguration PUT Bucket ["metrics"] Refused,
    DeleteBucketMetricsConfiguration DELETE Bucket ["metrics"] Refused,
    GetBucketNotificationConfiguration GET Bucket ["notification"] Unset,
    PutBucketNotificationConfiguration PUT Bucket ["notification"] Refused,
    GetObjectLockConfiguration GET Bucket ["object-lock"] Unset,
    PutObjectLockConfiguration PUT Bucket ["object-lock"] Refused,
    GetBucketOwnershipControls GET Bucket ["ownershipControls"] Unset,
    PutBucketOwnershipControls PUT Bucket ["ownershipControls"] Refused,
    DeleteBucketOwnershipControls DELETE Bucket ["ownershipControls"] Refused,
    GetBucketPolicy GET Bucket ["policy"] Unset,
    PutBucketPolicy PUT Bucket ["policy"] Refused,
    DeleteBucketPolicy DELETE Bucket ["policy"] Refused,
    GetBucketPolicyStatus GET Bucket ["policyStatus"] Unset,
    GetPublicAccessBlock GET Bucket ["publicAccessBlock"] Unset,
    PutPublicAccessBlock PUT Bucket ["publicAccessBlock"] Refused,
    DeletePublicAccessBlock DELETE Bucket ["publicAccessBlock"] Refused,
    GetBucketReplication GET Bucket ["replication"] Unset,
    PutBucketReplication PUT Bucket ["replication"] Refused,
    DeleteBucketReplication DELETE Bucket ["replication"] Refused,
    GetBucketRequestPayment GET Bucket ["requestPayment"] Unset,
    PutBucketRequestPayment PUT Bucket ["requestPayment"] Refused,
    GetBucketVersioning GET Bucket ["versioning"] Unset,
    PutBucketVersioning PUT Bucket ["versioning"] Refused,
    GetBucketWebsite GET Bucket ["website"] Unset,
    PutBucketWebsite PUT Bucket ["website"] Refused,
    DeleteBucketWebsite DELETE Bucket ["website"] Refused,

    GetObject GET Object [] Built,
    HeadObject HEAD Object [] Built,
    PutObject PUT Object [] Built,
    CopyObject PUT Object [] "x-amz-copy-source" Built,
    DeleteObject DELETE Object [] Built,
    GetObjectAttributes GET Object ["attributes"] Built,
    GetObjectAcl GET Object ["acl"] Built,
    PutObjectAcl PUT Object ["acl"] Built,
    GetObjectTagging GET Object ["tagging"] Built,
    PutObjectTagging PUT Object ["tagging"] Built,
    DeleteObjectTagging DELETE Object ["tagging"] Built,
    CreateMultipartUpload POST Object ["uploads"] Built,
    UploadPart PUT Object ["uploadId" "partNumber"] Built,
    UploadPartCopy PUT Object ["uploadId" "partNumber"] "x-amz-copy-source" Built,
    CompleteMultipartUpload POST Object ["uploadId"] Built,
    AbortMultipartUpload DELETE Object ["uploadId"] Built,
    ListParts GET Object ["uploadId"] Built,

    GetObjectAnnotation GET Object ["annotation" "annotationName"] Refused,
    ListObjectAnnotations GET Object ["annotation"] Refused,
    PutObjectAnnotation PUT Object ["annotation"] Refused,
    DeleteObjectAnnotation DELETE Object ["annotation"] Refused,
    UpdateObjectEncryption PUT Object ["encryption"] Refused,
    GetObjectLegalHold GET Object ["legal-hold"] Unset,
    PutObjectLegalHold PUT Object ["legal-hold"] Refused,
    RenameObject PUT Object ["renameObject"] Refused,
    RestoreObject POST Object ["restore"] Refused,
    GetObjectRetention GET Object ["retention"] Unset,
    PutObjectRetention PUT Object ["retention"] Refused,
    SelectObjectContent POST Object ["select"] Refused,
    GetObjectTorrent GET Object ["torrent"] Refused,
}

/// Which operation a request asks for.
pub fn route(method: &Method, address: &Address, query: &Query, headers: &HeaderMap) -> Result<&'static Row, S3Error> {
    let level = level(address);
    let asked: Vec<&str> = query.names().filter(|name| is_subresource(name)).collect();
    let here = TABLE.iter().filter(|row| row.level == level && row.method == *method && row.state != State::Elsewhere);
    let fitting = here.filter(|row| row.fits(&asked, query, headers));
    let Some(row) = fitting.max_by_key(|row| row.weight()) else { return Err(unknown(&asked, method)) };
    if row.query.is_empty() && level == Level::Object {
        refuse_half_meant(method, query)?;
    }
    Ok(row)
}

fn level(address: &Address) -> Level {
    match (&address.bucket, &address.key) {
        (None, _) => Level::Service,
        (Some(_), None) => Level::Bucket,
        (Some(_), Some(_)) => Level::Object,
    }
}

/// Whether a name chooses an operation, at any level and by any method.
fn is_subresource(name: &str) -> bool {
    TABLE.iter().any(|row| row.query.first() == Some(&name))
}

impl Row {
    /// Everything wanted is there, and no sub-resource is there that is not wanted.
    fn fits(&self, asked: &[&str], query: &Query, headers: &HeaderMap) -> bool {
        let has = |wanted: &&str| match wanted.split_once('=') {
            Some((name, value)) => query.get(name) == Some(value),
            None => query.has(wanted),
        };
        asked.iter().all(|name| self.query.contains(name))
            && self.query.iter().all(has)
            && (self.header.is_empty() || headers.contains_key(self.header))
    }

    /// Of several that fit, the one that wants the most is meant.
    fn weight(&self) -> usize {
        2 * self.query.len() + usize::from(!self.header.is_empty())
    }
}

fn unknown(asked: &[&str], method: &Method) -> S3Error {
    match asked {
        [] | [_] => S3Error::new(Code::MethodNotAllowed).detail("Method", method.as_str()),
        several => {
            let message = format!("Conflicting query string parameters: {}", several.join(", "));
            S3Error::argument("ResourceType", several[0], message)
        }
    }
}

/// A write that names a part without its upload, or a PUT that names a version, means something else than this object.
fn refuse_half_meant(method: &Method, query: &Query) -> Result<(), S3Error> {
    let (put, delete) = (method == Method::PUT, method == Method::DELETE);
    match (query.get("partNumber"), query.get("versionId")) {
        (Some(number), _) if put || delete => {
            Err(S3Error::argument("partNumber", number, "A part number needs an upload id"))
        }
        (_, Some(id)) if put => Err(S3Error::argument("versionId", id, "This operation does not accept a version-id.")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn check(method: &Method, target: &str, header: &'static str) -> Result<&'static str, Code> {
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let address = Address::parse(None, path, &[]).map_err(|error| error.code)?;
        let query = Query::parse(query).map_err(|error| error.code)?;
        let mut headers = HeaderMap::new();
        if !header.is_empty() {
            headers.insert(header, http::HeaderValue::from_static("x"));
        }
        route(method, &address, &query, &headers).map(|row| row.operation.name()).map_err(|error| error.code)
    }

    #[test]
    fn every_row_routes_to_itself() {
        for row in TABLE.iter().filter(|row| row.state != State::Elsewhere) {
            let path = match row.level {
                Level::Service => "/",
                Level::Bucket => "/abc",
                Level::Object => "/abc/k",
            };
            let target = format!("{path}?x-id=Any&{}", row.query.join("&"));
            assert_eq!(check(&row.method, &target, row.header), Ok(row.operation.name()), "{target}");
        }
    }

    #[test]
    fn every_operation_has_one_row() {
        let names: HashSet<_> = TABLE.iter().map(|row| row.operation.name()).collect();
        assert_eq!(names.len(), TABLE.len());
    }

    #[test]
    fn no_subresource_falls_through() {
        let plain =
            ["GetObject", "PutObject", "DeleteObject", "HeadObject", "ListObjects", "CreateBucket", "DeleteBucket"];
        let subresources: HashSet<_> = TABLE.iter().filter_map(|row| row.query.first()).collect();
        for name in subresources.into_iter().filter(|name| !name.contains('=')) {
            for method in [Method::GET, Method::PUT, Method::POST, Method::DELETE, Method::HEAD] {
                for path in ["/abc", "/abc/k"] {
                    for value in ["", "=", "=1"] {
                        let routed = check(&method, &format!("{path}?{name}{value}"), "");
                        let plainly = routed.is_ok_and(|operation| plain.contains(&operation));
                        assert!(!plainly, "{method} {path}?{name}{value}");
                    }
                }
            }
        }
    }

    #[test]
    fn requests_mean_what_they_say() {
        for (method, target, header, expected) in [
            (Method::GET, "/abc/k?versionId=null&response-content-type=a", "", Ok("GetObject")),
            (Method::GET, "/abc/k?partNumber=1", "", Ok("GetObject")),
            (Method::GET, "/abc?list-type=1", "", Ok("ListObjects")),
            (Method::GET, "/abc?list-type=2&prefix=acl", "", Ok("ListObjectsV2")),
            (Method::PUT, "/abc/k?acl", "x-amz-copy-source", Ok("PutObjectAcl")),
            (Method::PUT, "/abc/k?uploadId=1&partNumber=2", "", Ok("UploadPart")),
            (Method::PUT, "/abc/k?uploadId=1", "", Err(Code::MethodNotAllowed)),
            (Method::PUT, "/abc/k?partNumber=1", "", Err(Code::InvalidArgument)),
            (Method::PUT, "/abc/k?versionId=1", "", Err(Code::InvalidArgument)),
            (Method::PUT, "/abc/k?versionId=1", "x-amz-copy-source", Err(Code::InvalidArgument)),
            (Method::PUT, "/abc/k?acl&tagging", "", Err(Code::InvalidArgument)),
            (Method::PUT, "/abc/k?torrent", "", Err(Code::MethodNotAllowed)),
            (Method::DELETE, "/abc/k?uploads", "", Err(Code::MethodNotAllowed)),
            (Method::DELETE, "/abc?versions", "", Err(Code::MethodNotAllowed)),
            (Method::POST, "/abc/k", "", Err(Code::MethodNotAllowed)),
            (Method::POST, "/", "", Err(Code::MethodNotAllowed)),
            (Method::OPTIONS, "/abc/k", "", Err(Code::MethodNotAllowed)),
            (Method::PATCH, "/abc/k", "", Err(Code::MethodNotAllowed)),
        ] {
            assert_eq!(check(&method, target, header), expected, "{method} {target}");
        }
    }
}
