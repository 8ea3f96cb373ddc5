//! Signatures of version 4 in the header, with the signing key kept for the day.
//!
//! The canonical request is written here, so that a mistake shared with the gateway's own writer shows in the real
//! clients' tests, and a mistake of this one shows in every rig.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest as _, Sha256};

use crate::clock;

/// What a request says of its body.
pub const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const PATH: &AsciiSet = &UNRESERVED.remove(b'/');

/// An access key that signs for one region and service.
#[derive(Clone)]
pub struct Signer {
    access_key_id: String,
    secret_access_key: String,
    region: String,
    service: &'static str,
    day: Arc<Mutex<Day>>,
}

#[derive(Default)]
struct Day {
    date: String,
    key: Vec<u8>,
}

/// What is signed of a request.
pub struct Subject<'a> {
    /// Method.
    pub method: &'a Method,
    /// The path, encoded.
    pub path: &'a str,
    /// Query parameters, not encoded.
    pub query: &'a [(&'a str, &'a str)],
    /// `host:port`.
    pub host: &'a str,
    /// The body's SHA-256 in hexadecimal, or [`UNSIGNED_PAYLOAD`].
    pub payload: &'a str,
}

/// A path as requests and signatures spell it.
pub fn encode_path(path: &str) -> String {
    utf8_percent_encode(path, PATH).to_string()
}

/// A query as requests and signatures spell it, sorted.
pub fn encode_query(query: &[(&str, &str)]) -> String {
    let mut pairs: Vec<(String, String)> = query
        .iter()
        .map(|(name, value)| {
            (utf8_percent_encode(name, UNRESERVED).to_string(), utf8_percent_encode(value, UNRESERVED).to_string())
        })
        .collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

impl Signer {
    /// A key for the S3 service.
    pub fn new(access_key_id: &str, secret_access_key: &str, region: &str) -> Self {
        Self {
            access_key_id: access_key_id.to_owned(),
            secret_access_key: secret_access_key.to_owned(),
            region: region.to_owned(),
            service: "s3",
            day: Arc::default(),
        }
    }

    /// The same key for another service, such as the gateway's own `holdall`.
    #[must_use]
    pub fn for_service(mut self, service: &'static str) -> Self {
        self.service = service;
        self.day = Arc::default();
        self
    }

    /// Adds `x-amz-date`, `x-amz-content-sha256` and `authorization`; all `x-amz-*` headers there are get signed.
    pub fn sign(&self, subject: &Subject<'_>, headers: &mut HeaderMap) {
        let now = clock::wall();
        let stamp = clock::stamp(clock::epoch_seconds(now));
        headers.insert("x-amz-content-sha256", text(subject.payload));
        headers.insert("x-amz-date", text(&stamp));
        let (canonical, signed) = canonical_request(subject, headers);
        let scope = format!("{}/{}/{}/aws4_request", &stamp[..8], self.region, self.service);
        let hash = const_hex::encode(Sha256::digest(canonical));
        let to_sign = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hash}");
        let signature = {
            let mut day = self.day.lock().unwrap_or_else(PoisonError::into_inner);
            if day.date != stamp[..8] {
                stamp[..8].clone_into(&mut day.date);
                day.key =
                    generate_signing_key(&self.secret_access_key, now, &self.region, self.service).as_ref().to_vec();
            }
            calculate_signature(&day.key, to_sign.as_bytes())
        };
        let id = &self.access_key_id;
        let value = format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={signed}, Signature={signature}");
        headers.insert(http::header::AUTHORIZATION, text(&value));
    }
}

/// The canonical request and the list of signed headers.
fn canonical_request(subject: &Subject<'_>, headers: &HeaderMap) -> (String, String) {
    let mut lines: Vec<(&str, String)> = vec![("host", subject.host.to_owned())];
    for name in headers.keys().map(HeaderName::as_str).filter(|name| name.starts_with("x-amz-")) {
        let values: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
        lines.push((name, values.join(",")));
    }
    lines.sort_unstable();
    let signed = lines.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let mut out = format!("{}\n{}\n{}\n", subject.method, subject.path, encode_query(subject.query));
    for (name, value) in &lines {
        let _ = writeln!(out, "{name}:{}", value.trim());
    }
    let _ = write!(out, "\n{signed}\n{}", subject.payload);
    (out, signed)
}

fn text(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).expect("signature headers are ASCII")
}

#[cfg(test)]
mod tests {
    use aws_credential_types::Credentials;
    use aws_sigv4::http_request::{
        PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
        UriPathNormalizationMode, sign,
    };
    use aws_sigv4::sign::v4;
    use http::{HeaderMap, Method};

    use super::{Signer, Subject, encode_path, encode_query};
    use crate::clock;

    /// The crate that AWS's own SDK signs with is the judge of what we wrote.
    #[test]
    fn signs_as_the_sdk_does() {
        let query = [("prefix", "a b/ü+%"), ("list-type", "2"), ("uploads", "")];
        let path = encode_path("/bucket/a b/ü+%25//x");
        let signer = Signer::new("AKID", "secret", "us-east-1");
        let mut ours = HeaderMap::new();
        ours.insert("x-amz-meta-b", "two".parse().expect("value"));
        ours.insert("x-amz-acl", "private".parse().expect("value"));
        // The second may turn between our signature and theirs: then sign again.
        let (time, ours) = loop {
            let before = clock::epoch_seconds(clock::wall());
            let subject = Subject {
                method: &Method::GET,
                path: &path,
                query: &query,
                host: "127.0.0.1:9000",
                payload: "UNSIGNED-PAYLOAD",
            };
            let mut headers = ours.clone();
            signer.sign(&subject, &mut headers);
            if headers["x-amz-date"] == clock::stamp(before).as_str() {
                break (before, headers);
            }
        };
        let identity = Credentials::new("AKID", "secret", None, None, "test").into();
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region("us-east-1")
            .name("s3")
            .time(std::time::UNIX_EPOCH + std::time::Duration::from_secs(time))
            .settings(settings)
            .build()
            .expect("complete")
            .into();
        let uri = format!("http://127.0.0.1:9000{path}?{}", encode_query(&query));
        let headers = [("x-amz-acl", "private"), ("x-amz-meta-b", "two")];
        let request =
            SignableRequest::new("GET", uri, headers.into_iter(), SignableBody::UnsignedPayload).expect("request");
        let (instructions, _) = sign(request, &params).expect("signed").into_parts();
        let theirs = instructions.headers().find(|(name, _)| *name == "authorization").expect("header").1;
        assert_eq!(ours["authorization"], theirs);
    }
}
