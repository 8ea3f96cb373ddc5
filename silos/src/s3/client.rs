//! One signed request and its answer: what was certainly not done, what may have been.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{HttpRequest, HttpRequestBody};
use reqwest::{Body, Response};
use serde::Deserialize;

use crate::error::SiloError;
use crate::limits::{MAX_ANSWER, MAX_REASON, READ_PAUSE, READ_TIMEOUT, READ_TRIES, RESPONSE_TIMEOUT, STALL_TIMEOUT};
use crate::s3::connect::Place;

/// Signs and sends.
pub(crate) struct Client {
    pub(crate) http: reqwest::Client,
    pub(crate) credentials: AwsCredentialProvider,
    pub(crate) place: Place,
}

/// A request without its body.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    /// The whole key; empty for the bucket itself.
    pub(crate) key: String,
    pub(crate) query: Vec<(&'static str, String)>,
    pub(crate) headers: HeaderMap,
}

impl Ask {
    pub(crate) fn new(method: Method, key: &str) -> Self {
        Self { method, key: key.to_owned(), query: Vec::new(), headers: HeaderMap::new() }
    }

    /// Adds a header; a value that no header can have is left out, which only a bug could bring about.
    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    pub(crate) fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }
}

/// No answer came.
#[derive(Debug)]
pub(crate) enum Broken {
    /// Not a byte of the request was sent.
    NotSent(String),
    /// The request may have been heard.
    Lost(String),
}

/// The silo answered, and refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    /// S3's error code; empty where there was none, as in answers to HEAD.
    pub(crate) code: String,
    message: String,
}

/// Why a request did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    Broken(Broken),
    Refused(Refusal),
}

impl Client {
    /// Signs a request; its body is not part of the signature.
    pub(crate) async fn sign(&self, ask: &Ask, body: Body, length: u64) -> Result<reqwest::Request, Broken> {
        let not_sent = |error: &dyn std::fmt::Display| Broken::NotSent(format!("the request was not made: {error}"));
        let query: Vec<_> = ask.query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.method_mut() = ask.method.clone();
        *request.uri_mut() = self.place.url(&ask.key, &query).parse().map_err(|e| not_sent(&e))?;
        *request.headers_mut() = ask.headers.clone();
        let credential = self.credentials.get_credential().await.map_err(|error| {
            not_sent(&format!(
                "no credentials were found (the silo's `credentials` table says where they are; without it AWS's own \
                 places are searched): {error}"
            ))
        })?;
        let authorizer = AwsAuthorizer::new(&credential, "s3", &self.place.region).with_sign_payload(false);
        authorizer.try_authorize(&mut request, None).map_err(|e| not_sent(&e))?;
        let (mut parts, _) = request.into_parts();
        if ask.method == Method::PUT {
            parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        http::Request::from_parts(parts, body).try_into().map_err(|e: reqwest::Error| not_sent(&e))
    }

    /// Sends a request with a short body or none, once.
    pub(crate) async fn send(&self, ask: &Ask, body: Bytes) -> Result<Response, Failure> {
        self.send_within(RESPONSE_TIMEOUT, ask, body).await
    }

    async fn send_within(&self, limit: Duration, ask: &Ask, body: Bytes) -> Result<Response, Failure> {
        let length = body.len() as u64;
        let request = self.sign(ask, Body::from(body), length).await.map_err(Failure::Broken)?;
        let answer = tokio::time::timeout(limit, self.http.execute(request)).await;
        let answer = answer.map_err(|_| Failure::Broken(Broken::Lost("no answer in time".to_owned())))?;
        accept(answer).await
    }

    /// Sends a request that changes nothing, again where that may help.
    pub(crate) async fn look(&self, ask: &Ask) -> Result<Response, Failure> {
        let mut pause = READ_PAUSE;
        for _ in 1..READ_TRIES {
            match self.send_within(READ_TIMEOUT, ask, Bytes::new()).await {
                Err(failure) if failure.may_pass() => {}
                answer => return answer,
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        self.send_within(READ_TIMEOUT, ask, Bytes::new()).await
    }
}

/// Tells success from refusal.
pub(crate) async fn accept(answer: reqwest::Result<Response>) -> Result<Response, Failure> {
    let answer = answer.map_err(|error| Failure::Broken(Broken::from(error)))?;
    if answer.status().is_success() {
        return Ok(answer);
    }
    Err(Failure::Refused(Refusal::read(answer).await))
}

/// The whole of an answer that has to fit into memory.
pub(crate) async fn whole(mut answer: Response) -> Result<Bytes, String> {
    let mut bytes = BytesMut::new();
    loop {
        match tokio::time::timeout(STALL_TIMEOUT, answer.chunk()).await {
            Ok(Ok(Some(chunk))) if bytes.len() + chunk.len() <= MAX_ANSWER => bytes.extend_from_slice(&chunk),
            Ok(Ok(Some(_))) => return Err(format!("an answer of more than {MAX_ANSWER} bytes")),
            Ok(Ok(None)) => return Ok(bytes.freeze()),
            Ok(Err(error)) => return Err(causes(&error.without_url())),
            Err(_) => return Err("the answer stalls".to_owned()),
        }
    }
}

/// The version an answer is about, where the bucket keeps them.
pub(crate) fn version(answer: &Response) -> Option<&str> {
    header(answer, "x-amz-version-id").filter(|id| *id != "null")
}

/// A header's text.
pub(crate) fn header<'a>(answer: &'a Response, name: &str) -> Option<&'a str> {
    answer.headers().get(name).and_then(|value| value.to_str().ok())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ErrorText {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl Refusal {
    async fn read(answer: Response) -> Self {
        let status = answer.status().as_u16();
        let text = whole(answer).await.unwrap_or_default();
        let found = quick_xml::de::from_str::<ErrorText>(&String::from_utf8_lossy(&text)).ok();
        let ErrorText { code, message } =
            found.unwrap_or_else(|| ErrorText { code: String::new(), message: String::new() });
        Self { status, code: short(&code), message: short(&message) }
    }

    fn says(&self) -> String {
        format!("answered {} {} {}", self.status, self.code, self.message).trim_end().to_owned()
    }

    fn throttles(&self) -> bool {
        let says_so = matches!(self.code.as_str(), "SlowDown" | "SlowDownRead" | "SlowDownWrite" | "TooManyRequests");
        self.status == 429 || says_so || matches!(self.code.as_str(), "RequestLimitExceeded" | "Throttling")
    }

    fn is_full(&self) -> bool {
        let codes =
            ["InsufficientStorage", "XMinioStorageFull", "QuotaExceeded", "StorageFull", "InsufficientCapacity"];
        self.status == 507 || codes.contains(&self.code.as_str())
    }

    fn reading(self) -> SiloError {
        match self.status {
            _ if self.throttles() => SiloError::Throttled,
            404 if matches!(self.code.as_str(), "" | "NoSuchKey" | "NotFound") => SiloError::Missing,
            412 | 416 => SiloError::mismatch(self.says()),
            _ => SiloError::not_done(self.says()),
        }
    }

    /// A 5xx may come from a proxy in front of a silo that did the work.
    fn writing(self) -> SiloError {
        match self.status {
            _ if self.is_full() => SiloError::Full,
            _ if self.throttles() => SiloError::Throttled,
            412 => SiloError::Exists,
            500..=599 if self.code != "NotImplemented" => SiloError::unknown(self.says()),
            _ => SiloError::not_done(self.says()),
        }
    }
}

impl Failure {
    /// What is known of a request that changes nothing.
    pub(crate) fn reading(self) -> SiloError {
        match self {
            Self::Broken(Broken::NotSent(reason) | Broken::Lost(reason)) => SiloError::not_done(reason),
            Self::Refused(refusal) => refusal.reading(),
        }
    }

    /// What is known of a request that changes something.
    pub(crate) fn writing(self) -> SiloError {
        match self {
            Self::Broken(broken) => broken.into(),
            Self::Refused(refusal) => refusal.writing(),
        }
    }

    /// Whether the same request may succeed a little later.
    fn may_pass(&self) -> bool {
        match self {
            Self::Broken(_) => true,
            Self::Refused(refusal) => refusal.status >= 500 && refusal.status != 501 || refusal.throttles(),
        }
    }

    /// Whether the server decided against the request, as opposed to not being able to.
    pub(crate) fn is_refusal(&self) -> bool {
        self.status().is_some_and(|status| status < 500 && status != 429 || status == 501)
    }

    /// The status a refusal came with.
    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::Broken(_) => None,
            Self::Refused(refusal) => Some(refusal.status),
        }
    }
}

impl From<Broken> for SiloError {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::NotSent(reason) => Self::not_done(reason),
            Broken::Lost(reason) => Self::unknown(reason),
        }
    }
}

impl From<reqwest::Error> for Broken {
    fn from(error: reqwest::Error) -> Self {
        let connecting = error.is_connect() || error.is_builder();
        let reason = causes(&error.without_url());
        if connecting { Self::NotSent(reason) } else { Self::Lost(reason) }
    }
}

/// An error and what caused it, in a line.
fn causes(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(error.source(), |error| error.source());
    short(&chain.fold(error.to_string(), |text, cause| format!("{text}: {cause}")))
}

fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_REASON).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, code: &str) -> Refusal {
        Refusal { status, code: code.to_owned(), message: String::new() }
    }

    #[test]
    fn what_a_refused_read_says_of_the_bytes() {
        let reading = |status, code| refusal(status, code).reading();
        assert_eq!(reading(404, "NoSuchKey"), SiloError::Missing);
        assert_eq!(reading(404, ""), SiloError::Missing);
        assert_eq!(reading(404, "NoSuchBucket"), SiloError::not_done("answered 404 NoSuchBucket"));
        assert_eq!(reading(416, "InvalidRange"), SiloError::mismatch("answered 416 InvalidRange"));
        assert_eq!(reading(429, ""), SiloError::Throttled);
        assert_eq!(reading(503, "SlowDown"), SiloError::Throttled);
        assert_eq!(reading(403, "AccessDenied"), SiloError::not_done("answered 403 AccessDenied"));
        assert_eq!(reading(307, "TemporaryRedirect"), SiloError::not_done("answered 307 TemporaryRedirect"));
    }

    #[test]
    fn what_a_refused_write_says_of_the_bytes() {
        let writing = |status, code| refusal(status, code).writing();
        assert_eq!(writing(412, "PreconditionFailed"), SiloError::Exists);
        assert_eq!(writing(503, "SlowDown"), SiloError::Throttled);
        assert_eq!(writing(429, ""), SiloError::Throttled);
        assert_eq!(writing(507, ""), SiloError::Full);
        assert_eq!(writing(500, "XMinioStorageFull"), SiloError::Full);
        assert_eq!(writing(403, "QuotaExceeded"), SiloError::Full);
        assert_eq!(writing(503, "ServiceUnavailable"), SiloError::unknown("answered 503 ServiceUnavailable"));
        assert_eq!(writing(502, ""), SiloError::unknown("answered 502"));
        assert_eq!(writing(403, "AccessDenied"), SiloError::not_done("answered 403 AccessDenied"));
        assert_eq!(writing(301, ""), SiloError::not_done("answered 301"));
        assert_eq!(writing(501, "NotImplemented"), SiloError::not_done("answered 501 NotImplemented"));
    }
}
