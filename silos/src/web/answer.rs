//! What an answer says: what was certainly not done, what may have been.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use reqwest::Response;
use serde::Deserialize;

use crate::error::SiloError;
use crate::limits::{MAX_ANSWER, MAX_REASON, STALL_TIMEOUT};
use crate::web::words::Codes;

/// No answer came.
#[derive(Debug)]
pub(crate) enum Broken {
    /// Not a byte of the request was sent.
    NotSent(String),
    /// The request may have been heard.
    Lost(String),
}

/// The silo answered, and refused.
pub(crate) struct Refusal {
    status: u16,
    /// The error code; empty where there was none, as in S3's answers to HEAD.
    code: String,
    message: String,
    codes: &'static Codes,
}

/// Why a request did not succeed.
pub(crate) enum Failure {
    Broken(Broken),
    Refused(Refusal),
}

/// Tells success from refusal.
pub(crate) async fn accept(answer: reqwest::Result<Response>, codes: &'static Codes) -> Result<Response, Failure> {
    let answer = answer.map_err(|error| Failure::Broken(Broken::from(error)))?;
    if answer.status().is_success() {
        return Ok(answer);
    }
    Err(Failure::Refused(Refusal::read(answer, codes).await))
}

/// The whole of an answer that has to fit into memory.
pub(crate) async fn whole(answer: Response) -> Result<Bytes, String> {
    whole_up_to(answer, MAX_ANSWER).await
}

/// The whole of an answer of at most so many bytes.
pub(crate) async fn whole_up_to(mut answer: Response, most: usize) -> Result<Bytes, String> {
    let mut bytes = BytesMut::new();
    loop {
        match tokio::time::timeout(STALL_TIMEOUT, answer.chunk()).await {
            Ok(Ok(Some(chunk))) if bytes.len() + chunk.len() <= most => bytes.extend_from_slice(&chunk),
            Ok(Ok(Some(_))) => return Err(format!("an answer of more than {most} bytes")),
            Ok(Ok(None)) => return Ok(bytes.freeze()),
            Ok(Err(error)) => return Err(causes(&error.without_url())),
            Err(_) => return Err("the answer stalls".to_owned()),
        }
    }
}

/// A header's text.
pub(crate) fn header<'a>(answer: &'a HeaderMap, name: &str) -> Option<&'a str> {
    answer.get(name).and_then(|value| value.to_str().ok())
}

/// The text of an answer in XML, without the mark that some begin it with.
pub(crate) fn xml(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_start_matches('\u{feff}').to_owned()
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
    async fn read(answer: Response, codes: &'static Codes) -> Self {
        let status = answer.status().as_u16();
        let named = codes.header.and_then(|name| header(answer.headers(), name)).map(short);
        let text = whole(answer).await.unwrap_or_default();
        let found = quick_xml::de::from_str::<ErrorText>(&xml(&text)).ok();
        let ErrorText { code, message } =
            found.unwrap_or_else(|| ErrorText { code: String::new(), message: String::new() });
        Self { status, code: named.unwrap_or_else(|| short(&code)), message: short(&message), codes }
    }

    fn says(&self) -> String {
        format!("answered {} {} {}", self.status, self.code, self.message).trim_end().to_owned()
    }

    fn throttles(&self) -> bool {
        self.status == 429 || self.codes.throttled.contains(&self.code.as_str())
    }

    fn is_full(&self) -> bool {
        self.status == 507 || self.codes.full.contains(&self.code.as_str())
    }

    fn is_missing(&self) -> bool {
        self.status == 404 && (self.code.is_empty() || self.codes.missing.contains(&self.code.as_str()))
    }

    fn is_taken(&self) -> bool {
        let this = |(status, code): &(u16, Option<&str>)| *status == self.status && code.is_none_or(|c| c == self.code);
        self.codes.taken.iter().any(this)
    }

    fn is_archived(&self) -> bool {
        self.codes.archived.contains(&self.code.as_str())
    }

    fn reading(self) -> SiloError {
        match self.status {
            _ if self.throttles() => SiloError::Throttled,
            _ if self.is_missing() => SiloError::Missing,
            412 | 416 => SiloError::mismatch(self.says()),
            _ => SiloError::not_done(self.says()),
        }
    }

    /// A 5xx may come from a proxy in front of a silo that did the work.
    fn writing(self) -> SiloError {
        match self.status {
            _ if self.is_full() => SiloError::Full,
            _ if self.throttles() => SiloError::Throttled,
            _ if self.is_taken() => SiloError::Exists,
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

    /// The same where others put the object: one that has to be restored first is none that can be read.
    pub(crate) fn reading_of_others(self) -> SiloError {
        match self {
            Self::Refused(refusal) if refusal.is_archived() => SiloError::mismatch(refusal.says()),
            failure => failure.reading(),
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
    pub(crate) fn may_pass(&self) -> bool {
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
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(error.source(), |error| error.source());
    short(&chain.fold(error.to_string(), |text, cause| format!("{text}: {cause}")))
}

/// What is kept of a text that is told.
pub(crate) fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_REASON).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODES: Codes = Codes {
        header: None,
        throttled: &["SlowDown"],
        full: &["StorageFull"],
        missing: &["NoSuchKey"],
        archived: &["Asleep"],
        taken: &[(412, None), (409, Some("AlreadyThere"))],
    };

    fn refusal(status: u16, code: &str) -> Refusal {
        Refusal { status, code: code.to_owned(), message: String::new(), codes: &CODES }
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
        assert_eq!(reading(403, "Asleep"), SiloError::not_done("answered 403 Asleep"));
        let of_others = |status, code| Failure::Refused(refusal(status, code)).reading_of_others();
        assert_eq!(of_others(403, "Asleep"), SiloError::mismatch("answered 403 Asleep"));
        assert_eq!(of_others(403, "AccessDenied"), SiloError::not_done("answered 403 AccessDenied"));
    }

    #[test]
    fn what_a_refused_write_says_of_the_bytes() {
        let writing = |status, code| refusal(status, code).writing();
        assert_eq!(writing(412, "PreconditionFailed"), SiloError::Exists);
        assert_eq!(writing(409, "AlreadyThere"), SiloError::Exists);
        assert_eq!(writing(409, "BeingDeleted"), SiloError::not_done("answered 409 BeingDeleted"));
        assert_eq!(writing(503, "SlowDown"), SiloError::Throttled);
        assert_eq!(writing(429, ""), SiloError::Throttled);
        assert_eq!(writing(507, ""), SiloError::Full);
        assert_eq!(writing(500, "StorageFull"), SiloError::Full);
        assert_eq!(writing(403, "StorageFull"), SiloError::Full);
        assert_eq!(writing(503, "ServiceUnavailable"), SiloError::unknown("answered 503 ServiceUnavailable"));
        assert_eq!(writing(502, ""), SiloError::unknown("answered 502"));
        assert_eq!(writing(403, "AccessDenied"), SiloError::not_done("answered 403 AccessDenied"));
        assert_eq!(writing(301, ""), SiloError::not_done("answered 301"));
        assert_eq!(writing(501, "NotImplemented"), SiloError::not_done("answered 501 NotImplemented"));
    }
}
