//! What a client is told when something is refused: S3's codes, and the one map from our facts to them.

use std::fmt;

use axum::body::Body;
use holdall_namespace::bucket::{BucketError, CreateBucketError};
use holdall_namespace::delete::DeleteError;
use holdall_namespace::fault::Fault;
use holdall_namespace::get::GetError;
use holdall_namespace::multipart::{CompleteError, NoSuchUpload, UploadError};
use holdall_namespace::name::{InvalidBucketName, InvalidKey};
use holdall_namespace::object::{ChecksumAlgorithm, ConditionFailed};
use holdall_namespace::put::{BodyMismatch, PutError};
use http::{HeaderValue, Response, StatusCode, header};

use crate::s3::RequestId;
use crate::xml::write::Document;

macro_rules! codes {
    ($($(#[$doc:meta])* $code:ident $status:literal $message:literal,)*) => {
        /// S3's error codes, with their HTTP status and the sentence AWS sends.
        ///
        /// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "the names are S3's own")]
        pub enum Code { $($(#[$doc])* $code,)* }

        impl Code {
            /// As it stands in the document.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$code => stringify!($code),)* }
            }
            /// HTTP status.
            pub fn status(self) -> StatusCode {
                let code: u16 = match self { $(Self::$code => $status,)* };
                StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }
            /// The usual message.
            pub fn message(self) -> &'static str {
                match self { $(Self::$code => $message,)* }
            }
        }
    };
}

codes! {
    AccessControlListNotSupported 400 "The bucket does not allow ACLs",
    AccessDenied 403 "Access Denied",
    AuthorizationHeaderMalformed 400 "The authorization header is malformed",
    AuthorizationQueryParametersError 400 "Error parsing the X-Amz-Credential parameter",
    BadDigest 400 "The Content-MD5 you specified did not match what we received.",
    BucketAlreadyExists 409 "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again.",
    BucketAlreadyOwnedByYou 409 "Your previous request to create the named bucket succeeded and you already own it.",
    BucketNotEmpty 409 "The bucket you tried to delete is not empty",
    ConditionalRequestConflict 409 "The conditional request cannot succeed due to a conflicting operation against this resource.",
    EntityTooLarge 400 "Your proposed upload exceeds the maximum allowed size",
    EntityTooSmall 400 "Your proposed upload is smaller than the minimum allowed size",
    IllegalLocationConstraintException 400 "The specified location-constraint is not valid",
    IncompleteBody 400 "The request body terminated unexpectedly",
    InsufficientStorage 507 "There is no room for new objects.",
    InternalError 500 "We encountered an internal error. Please try again.",
    InvalidAccessKeyId 403 "The AWS Access Key Id you provided does not exist in our records.",
    InvalidArgument 400 "Invalid Argument",
    InvalidBucketName 400 "The specified bucket is not valid.",
    InvalidDigest 400 "The Content-MD5 you specified was invalid.",
    InvalidPart 400 "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.",
    InvalidPartNumber 416 "The requested partnumber is not satisfiable",
    InvalidPartOrder 400 "The list of parts was not in ascending order.Parts list must specified in order by part number.",
    InvalidRange 416 "The requested range is not satisfiable",
    InvalidRequest 400 "Invalid Request",
    InvalidStorageClass 400 "The storage class you specified is not valid",
    InvalidTag 400 "The tag provided was not a valid tag. This error can occur if the tag did not pass input validation.",
    InvalidURI 400 "Couldn't parse the specified URI.",
    InvalidToken 400 "The provided token is malformed or otherwise invalid.",
    KeyTooLongError 400 "Your key is too long",
    MalformedXML 400 "The XML you provided was not well-formed or did not validate against our published schema",
    MalformedTrailerError 400 "The request contained trailing data that was not well-formed or did not conform to our published schema.",
    MaxMessageLengthExceeded 400 "Your request was too big.",
    MetadataTooLarge 400 "Your metadata headers exceed the maximum allowed metadata size",
    MethodNotAllowed 405 "The specified method is not allowed against this resource.",
    MissingContentLength 411 "You must provide the Content-Length HTTP header.",
    MissingSecurityHeader 400 "Your request was missing a required header",
    NoSuchBucket 404 "The specified bucket does not exist",
    NoSuchBucketPolicy 404 "The bucket policy does not exist",
    NoSuchCORSConfiguration 404 "The CORS configuration does not exist",
    NoSuchConfiguration 404 "The specified configuration does not exist.",
    NoSuchKey 404 "The specified key does not exist.",
    NoSuchLifecycleConfiguration 404 "The lifecycle configuration does not exist",
    NoSuchPublicAccessBlockConfiguration 404 "The public access block configuration was not found",
    NoSuchTagSet 404 "The TagSet does not exist",
    NoSuchUpload 404 "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.",
    NoSuchVersion 404 "The specified version does not exist.",
    NoSuchWebsiteConfiguration 404 "The specified bucket does not have a website configuration",
    NotImplemented 501 "A header you provided implies functionality that is not implemented",
    ObjectLockConfigurationNotFoundError 404 "Object Lock configuration does not exist for this bucket",
    OwnershipControlsNotFoundError 404 "The bucket ownership controls were not found",
    PreconditionFailed 412 "At least one of the pre-conditions you specified did not hold",
    ReplicationConfigurationNotFoundError 404 "The replication configuration was not found",
    RequestHeaderSectionTooLarge 400 "Your request header section exceeds the maximum allowed size.",
    RequestTimeout 400 "Your socket connection to the server was not read from or written to within the timeout period.",
    RequestTimeTooSkewed 403 "The difference between the request time and the current time is too large.",
    ServerSideEncryptionConfigurationNotFoundError 404 "The server side encryption configuration was not found",
    ServiceUnavailable 503 "Service is unable to handle request.",
    SignatureDoesNotMatch 403 "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
    SlowDown 503 "Please reduce your request rate.",
    TooManyBuckets 400 "You have attempted to create more buckets than allowed",
    XAmzContentChecksumMismatch 400 "The provided checksum does not match what was computed.",
    XAmzContentSHA256Mismatch 400 "The provided 'x-amz-content-sha256' header does not match what was computed.",
}

/// A refusal in the making: what the client is told, and apart from it what the log keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Error {
    /// S3's code; decides the HTTP status.
    pub code: Code,
    /// The sentence.
    pub message: String,
    /// Further elements of the document, in order (`ArgumentName`, `Region`, …).
    pub details: Vec<(&'static str, String)>,
    /// For the log only, never for the client.
    pub cause: Option<String>,
}

impl S3Error {
    /// With the usual sentence.
    pub fn new(code: Code) -> Self {
        Self::with(code, code.message())
    }

    /// With a sentence of its own.
    pub fn with(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: Vec::new(), cause: None }
    }

    /// With one more element.
    #[must_use]
    pub fn detail(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.details.push((name, value.into()));
        self
    }

    /// With what the log keeps.
    #[must_use]
    pub fn because(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    /// `InvalidArgument` of a header or query parameter, named.
    pub fn argument(name: &str, value: &str, message: impl Into<String>) -> Self {
        Self::with(Code::InvalidArgument, message).detail("ArgumentName", name).detail("ArgumentValue", value)
    }

    /// `NotImplemented`, naming the header that asks for it.
    pub fn header_not_implemented(name: &str) -> Self {
        Self::with(Code::NotImplemented, "A header you provided implies functionality that is not implemented")
            .detail("Header", name)
    }

    /// The document.
    ///
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>
    pub fn document(&self, asked: &Asked<'_>) -> String {
        let mut document = Document::bare("Error");
        document.text("Code", self.code.as_str());
        document.text("Message", &self.message);
        for (name, value) in &self.details {
            document.text(name, value);
        }
        document.some("BucketName", asked.bucket);
        document.some("Key", asked.key);
        document.text("Resource", asked.resource);
        document.text("RequestId", asked.id.as_str());
        document.text("HostId", HOST_ID);
        document.finish()
    }

    /// The answer; for HEAD without the document, as HTTP wants it.
    pub fn into_response(self, asked: &Asked<'_>) -> Response<Body> {
        let body = if asked.head { Body::empty() } else { Body::from(self.document(asked)) };
        let mut response = Response::new(body);
        *response.status_mut() = self.code.status();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        if response.status() == http::StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(ASK_AGAIN));
        }
        asked.id.mark(response.headers_mut());
        response
    }
}

/// Seconds: as often as silos are asked whether they are back.
const ASK_AGAIN: &str = "3";

/// `HostId` and `x-amz-id-2`: which server it was is nobody's business, but clients print the element.
pub const HOST_ID: &str = "holdall";

/// What an error document repeats of the request.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// `x-amz-request-id`
    pub id: RequestId,
    /// The path, as sent.
    pub resource: &'a str,
    /// The bucket, once known.
    pub bucket: Option<&'a str>,
    /// The key, once known.
    pub key: Option<&'a str>,
    /// The request was a HEAD.
    pub head: bool,
}

impl<'a> Asked<'a> {
    /// Of a request of which nothing but its head is known.
    pub fn of(id: RequestId, parts: &'a http::request::Parts) -> Self {
        Self { id, resource: parts.uri.path(), bucket: None, key: None, head: parts.method == http::Method::HEAD }
    }
}

impl From<Code> for S3Error {
    fn from(code: Code) -> Self {
        Self::new(code)
    }
}

impl fmt::Display for S3Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.message)
    }
}

impl std::error::Error for S3Error {}

// The one map from facts to codes. No `_` arm: a new fact does not compile until someone chose its code.

impl From<Fault> for S3Error {
    fn from(fault: Fault) -> Self {
        let code = match &fault {
            Fault::Unavailable(_) => Code::ServiceUnavailable,
            Fault::NoRoom => Code::InsufficientStorage,
            Fault::Damaged(_) => Code::InternalError,
            // https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-class-intro.html
            Fault::Lost(_) => Code::MethodNotAllowed,
        };
        let message = match &fault {
            Fault::Lost(silo) => {
                format!(
                    "The object's bytes went with silo `{silo}`, which is lost. It can be deleted, or written anew."
                )
            }
            Fault::Unavailable(_) | Fault::NoRoom | Fault::Damaged(_) => code.message().to_owned(),
        };
        Self::with(code, message).because(fault)
    }
}

impl From<GetError> for S3Error {
    fn from(error: GetError) -> Self {
        match error {
            GetError::NoSuchKey => Code::NoSuchKey.into(),
            GetError::Fault(fault) => fault.into(),
        }
    }
}

impl From<CreateBucketError> for S3Error {
    fn from(error: CreateBucketError) -> Self {
        match error {
            CreateBucketError::OwnedByYou => Code::BucketAlreadyOwnedByYou.into(),
            CreateBucketError::Taken => Code::BucketAlreadyExists.into(),
            CreateBucketError::TooMany => Code::TooManyBuckets.into(),
            CreateBucketError::Fault(fault) => fault.into(),
        }
    }
}

impl From<BucketError> for S3Error {
    fn from(error: BucketError) -> Self {
        match error {
            BucketError::NoSuchBucket => Code::NoSuchBucket.into(),
            BucketError::NotEmpty => Code::BucketNotEmpty.into(),
            BucketError::Fault(fault) => fault.into(),
        }
    }
}

impl From<ConditionFailed> for S3Error {
    fn from(error: ConditionFailed) -> Self {
        match error {
            ConditionFailed::Precondition(header) => Self::new(Code::PreconditionFailed).detail("Condition", header),
            ConditionFailed::NoSuchKey => Code::NoSuchKey.into(),
        }
    }
}

impl From<DeleteError> for S3Error {
    fn from(error: DeleteError) -> Self {
        match error {
            DeleteError::Condition(condition) => condition.into(),
            DeleteError::Fault(fault) => fault.into(),
        }
    }
}

impl From<BodyMismatch> for S3Error {
    fn from(error: BodyMismatch) -> Self {
        match error {
            BodyMismatch::Md5 => Code::BadDigest.into(),
            BodyMismatch::Checksum(algorithm) => mismatch(algorithm),
            BodyMismatch::Trailer(reason) => Self::new(Code::MalformedTrailerError).because(reason),
        }
    }
}

impl From<PutError> for S3Error {
    fn from(error: PutError) -> Self {
        match error {
            PutError::NoSuchBucket => Code::NoSuchBucket.into(),
            PutError::NoSuchUpload => Code::NoSuchUpload.into(),
            PutError::SourceGone => Self::new(Code::ServiceUnavailable).because(error),
            PutError::Condition(condition) => condition.into(),
            PutError::Body(body) => Self::new(Code::IncompleteBody).because(body),
            PutError::Mismatch(mismatch) => mismatch.into(),
            PutError::Fault(fault) => fault.into(),
        }
    }
}

impl From<NoSuchUpload> for S3Error {
    fn from(NoSuchUpload: NoSuchUpload) -> Self {
        Code::NoSuchUpload.into()
    }
}

impl From<UploadError> for S3Error {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::NoSuchUpload => Code::NoSuchUpload.into(),
            UploadError::NoSuchBucket => Code::NoSuchBucket.into(),
            UploadError::Fault(fault) => fault.into(),
        }
    }
}

impl From<CompleteError> for S3Error {
    fn from(error: CompleteError) -> Self {
        match error {
            CompleteError::NoSuchUpload => Code::NoSuchUpload.into(),
            CompleteError::NoSuchBucket => Code::NoSuchBucket.into(),
            CompleteError::InvalidPart(number) => Self::new(Code::InvalidPart).detail("PartNumber", number.to_string()),
            CompleteError::InvalidPartOrder => Code::InvalidPartOrder.into(),
            CompleteError::EntityTooSmall { number, size, etag } => Self::new(Code::EntityTooSmall)
                .detail("ProposedSize", size.to_string())
                .detail("MinSizeAllowed", holdall_namespace::limits::MIN_PART.to_string())
                .detail("PartNumber", number.to_string())
                .detail("ETag", etag),
            CompleteError::NoParts => Code::MalformedXML.into(),
            CompleteError::TooLarge => Code::EntityTooLarge.into(),
            CompleteError::Checksum(algorithm) => mismatch(algorithm),
            CompleteError::Size { expected, actual } => Self::with(
                Code::InvalidRequest,
                format!(
                    "The provided 'x-amz-mp-object-size' header value {expected} does not match what was computed: {actual}"
                ),
            ),
            CompleteError::Condition(condition) => condition.into(),
            CompleteError::Fault(fault) => fault.into(),
        }
    }
}

impl From<InvalidBucketName> for S3Error {
    fn from(error: InvalidBucketName) -> Self {
        Self::new(Code::InvalidBucketName).detail("BucketName", error.0)
    }
}

impl From<InvalidKey> for S3Error {
    fn from(error: InvalidKey) -> Self {
        match error {
            InvalidKey::Empty => Self::with(Code::InvalidArgument, "The key is empty"),
            InvalidKey::TooLong(size) => Self::new(Code::KeyTooLongError)
                .detail("Size", size.to_string())
                .detail("MaxSizeAllowed", holdall_namespace::limits::MAX_KEY.to_string()),
        }
    }
}

fn mismatch(algorithm: ChecksumAlgorithm) -> S3Error {
    let name = crate::s3::checksum::name(algorithm);
    S3Error::with(Code::BadDigest, format!("The {name} you specified did not match the calculated checksum."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked<'a>(bucket: Option<&'a str>, key: Option<&'a str>) -> Asked<'a> {
        Asked { id: RequestId::numbered(0x1A2B), resource: "/b/a%3C", bucket, key, head: false }
    }

    #[test]
    fn documents_name_what_was_asked_and_nothing_of_the_house() {
        let hidden = S3Error::from(Fault::Damaged("block 7 of /silo/hot".into()));
        insta::assert_snapshot!(hidden.document(&asked(Some("b"), Some("a<"))), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <Error><Code>InternalError</Code><Message>We encountered an internal error. Please try again.</Message><BucketName>b</BucketName><Key>a&lt;</Key><Resource>/b/a%3C</Resource><RequestId>0000000000001A2B</RequestId><HostId>holdall</HostId></Error>
        "#);
        let told = S3Error::from(CompleteError::EntityTooSmall { number: 2, size: 9, etag: "e".into() });
        insta::assert_snapshot!(told.document(&asked(Some("b"), None)), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <Error><Code>EntityTooSmall</Code><Message>Your proposed upload is smaller than the minimum allowed size</Message><ProposedSize>9</ProposedSize><MinSizeAllowed>5242880</MinSizeAllowed><PartNumber>2</PartNumber><ETag>e</ETag><BucketName>b</BucketName><Resource>/b/a%3C</Resource><RequestId>0000000000001A2B</RequestId><HostId>holdall</HostId></Error>
        "#);
        let plain =
            S3Error::argument("max-keys", "-1", "Argument max-keys must be an integer between 0 and 2147483647");
        insta::assert_snapshot!(plain.document(&asked(None, None)), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <Error><Code>InvalidArgument</Code><Message>Argument max-keys must be an integer between 0 and 2147483647</Message><ArgumentName>max-keys</ArgumentName><ArgumentValue>-1</ArgumentValue><Resource>/b/a%3C</Resource><RequestId>0000000000001A2B</RequestId><HostId>holdall</HostId></Error>
        "#);
    }

    #[test]
    fn head_has_no_document() {
        let response = S3Error::new(Code::NoSuchKey).into_response(&Asked { head: true, ..asked(None, None) });
        assert_eq!(response.status(), 404);
        assert_eq!(http_body::Body::size_hint(response.body()).exact(), Some(0));
        assert_eq!(response.headers()["x-amz-request-id"], "0000000000001A2B");
    }
}
