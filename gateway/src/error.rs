//! What a client is told when something is refused: S3's codes, and the one map from our facts to them.

use std::fmt;

use http::StatusCode;

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

/// An S3 error document in the making: what the client is told, never what the log keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Error {
    /// S3's code; decides the HTTP status.
    pub code: Code,
    /// The sentence.
    pub message: String,
    /// Further elements of the document, in order (`ArgumentName`, `Region`, …).
    pub details: Vec<(&'static str, String)>,
}

impl S3Error {
    /// With the usual sentence.
    pub fn new(code: Code) -> Self {
        Self { code, message: code.message().to_owned(), details: Vec::new() }
    }

    /// With a sentence of its own.
    pub fn with(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: Vec::new() }
    }

    /// With one more element.
    #[must_use]
    pub fn detail(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.details.push((name, value.into()));
        self
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
