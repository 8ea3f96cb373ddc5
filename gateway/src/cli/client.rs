//! Speaks to a gateway over HTTP, signed: the admin API for commands, S3 for the demo.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SessionTokenMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use holdall_namespace::clock::Clock;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::exit::Failure;
use crate::admin::problem::Problem;

/// How long an answer's head may take. A sweep answers when its pass is over.
const PATIENCE: Duration = Duration::from_hours(1);
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);
/// An answer of the admin API that is read whole has at most this many bytes.
const MAX_ANSWER: usize = 256 << 20;

/// A key pair to sign with.
#[derive(Clone)]
pub struct Keys {
    /// `access_key_id`
    pub id: String,
    /// Its secret.
    pub secret: SecretString,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Which service's signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speak {
    /// The admin API.
    Admin,
    /// S3.
    S3,
}

/// A signing HTTP client for one endpoint.
#[derive(Clone)]
pub struct Endpoint {
    url: String,
    authority: String,
    speak: Speak,
    region: String,
    keys: Keys,
    clock: Arc<dyn Clock>,
    http: Client<HttpConnector, Full<Bytes>>,
}

impl Endpoint {
    /// A client for `http://host:port`.
    pub fn new(url: &str, speak: Speak, region: &str, keys: Keys, clock: Arc<dyn Clock>) -> Result<Self, Failure> {
        let wrong = |why: &str| Failure::misuse(format!("`{url}` is not an address of a gateway: {why}"));
        let parsed: Uri = url.trim_end_matches('/').parse().map_err(|_| wrong("not a URL"))?;
        if parsed.scheme_str() != Some("http") {
            return Err(wrong("it must start with `http://`"));
        }
        let authority = parsed.authority().ok_or_else(|| wrong("it names no host"))?.to_string();
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_nodelay(true);
        let http = Client::builder(TokioExecutor::new()).build(connector);
        let url = format!("http://{authority}");
        Ok(Self { url, authority, speak, region: region.to_owned(), keys, clock, http })
    }

    /// Where it speaks to.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The answer's JSON.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.json(Method::GET, path, Bytes::new()).await
    }

    /// Posts JSON, reads JSON.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        self.sending(Method::POST, path, body).await
    }

    /// Sends all that there is to be as JSON, reads JSON.
    pub async fn put<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        self.sending(Method::PUT, path, body).await
    }

    /// Sends what is to change as JSON, reads JSON.
    pub async fn patch<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        self.sending(Method::PATCH, path, body).await
    }

    async fn sending<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        let body = serde_json::to_vec(body).map_err(|error| Failure::failed(error.to_string()))?;
        self.json(method, path, body.into()).await
    }

    /// Posts nothing, reads JSON.
    pub async fn act<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.json(Method::POST, path, Bytes::new()).await
    }

    /// Deletes; there is nothing to read.
    pub async fn delete(&self, path: &str) -> Result<(), Failure> {
        let response = self.send(Method::DELETE, path, &[], Bytes::new()).await?;
        refused(response).await.map(drop)
    }

    /// A successful answer whose body is read by the caller.
    pub async fn stream(&self, method: Method, path: &str) -> Result<Incoming, Failure> {
        let response = self.send(method, path, &[], Bytes::new()).await?;
        Ok(refused(response).await?.into_body())
    }

    /// The same for what is posted as JSON.
    pub async fn post_stream(&self, path: &str, body: &impl Serialize) -> Result<Incoming, Failure> {
        let body = serde_json::to_vec(body).map_err(|error| Failure::failed(error.to_string()))?;
        let response = self.send(Method::POST, path, &[], body.into()).await?;
        Ok(refused(response).await?.into_body())
    }

    async fn json<T: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Result<T, Failure> {
        let response = refused(self.send(method, path, &[], body).await?).await?;
        let bytes = whole(response.into_body()).await?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Failure::failed(format!("the gateway at {} answered strangely: {error}", self.url)))
    }

    /// Sends one signed request. `path` is what goes on the wire: encoded, with its query.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Response<Incoming>, Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header(HOST, self.authority.as_str())
            .body(Full::new(body.clone()))
            .map_err(|error| Failure::misuse(format!("`{path}` cannot be asked for: {error}")))?;
        if matches!(*request.method(), Method::PUT | Method::POST | Method::PATCH) {
            // hyper leaves it out for an empty body, and S3 wants it there.
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        if self.speak == Speak::Admin && !body.is_empty() {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        for (name, value) in headers {
            let header = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_str(value).ok());
            let (name, value) = header.ok_or_else(|| Failure::misuse(format!("`{name}: {value}` is no header")))?;
            request.headers_mut().append(name, value);
        }
        self.sign(&mut request, &body)?;
        let unreachable = |why: &dyn fmt::Display| Failure::unreachable(format!("no gateway at {}: {why}", self.url));
        match tokio::time::timeout(PATIENCE, self.http.request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(unreachable(&root_cause(&error))),
            Err(_) => Err(unreachable(&"it does not answer")),
        }
    }

    fn sign(&self, request: &mut Request<Full<Bytes>>, body: &Bytes) -> Result<(), Failure> {
        let broken = |error: &dyn fmt::Display| Failure::failed(format!("cannot sign the request: {error}"));
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        settings.session_token_mode = SessionTokenMode::Include;
        let identity = Credentials::from_keys(&self.keys.id, self.keys.secret.expose_secret(), None::<String>).into();
        let now = Duration::from_millis(self.clock.now().unsigned_abs());
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(match self.speak {
                Speak::Admin => "holdall",
                Speak::S3 => "s3",
            })
            .time(std::time::UNIX_EPOCH + now)
            .settings(settings)
            .build()
            .map_err(|error| broken(&error))?;
        let headers = request.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default()));
        let uri = request.uri().to_string();
        let signable = SignableRequest::new(request.method().as_str(), uri, headers, SignableBody::Bytes(body))
            .map_err(|error| broken(&error))?;
        let (instructions, _) = sign(signable, &params.into()).map_err(|error| broken(&error))?.into_parts();
        instructions.apply_to_request_http1x(request);
        Ok(())
    }
}

/// A success as it is; else what the gateway said.
async fn refused(response: Response<Incoming>) -> Result<Response<Incoming>, Failure> {
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status();
    let body = whole(response.into_body()).await?;
    if body.trim_ascii_start().starts_with(b"<") {
        return Err(Failure::misuse(
            "this address speaks S3, not the admin API: --admin (HOLDALL_ADMIN) names the other port, usually 9001",
        ));
    }
    let problem = serde_json::from_slice(&body)
        .unwrap_or_else(|_| Problem::new(status, "unknown", String::from_utf8_lossy(&body).trim().to_owned()));
    Err(of_problem(problem))
}

fn of_problem(problem: Problem) -> Failure {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match status {
        StatusCode::FORBIDDEN | StatusCode::CONFLICT => Failure::refused(&problem),
        StatusCode::BAD_REQUEST if problem.code.starts_with("invalid_") => Failure::misuse(problem.detail),
        _ => Failure::failed(problem.detail),
    }
}

/// Reads a bounded body.
pub async fn whole(body: Incoming) -> Result<Bytes, Failure> {
    let limited = http_body_util::Limited::new(body, MAX_ANSWER);
    let collected =
        limited.collect().await.map_err(|error| Failure::failed(format!("the answer broke off: {error}")))?;
    Ok(collected.to_bytes())
}

/// The innermost reason is the one a person can act on: `Connection refused`.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
