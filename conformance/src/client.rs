//! S3 from the client's side: one connection, one request at a time, nothing tried twice.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use hyper::body::Incoming;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::Outcome;
use crate::sign::{Signer, Subject, UNSIGNED_PAYLOAD, encode_path, encode_query};
use crate::wire::{Body, Connection, WireError, collect};

/// A server and the key to it.
#[derive(Clone)]
pub struct Endpoint {
    /// `host:port`.
    pub address: String,
    /// Signs; none sends anonymous requests, for static servers beside us.
    pub signer: Option<Signer>,
    /// Hash bodies that are held whole instead of sending `UNSIGNED-PAYLOAD`.
    pub sign_payload: bool,
}

/// Why an operation gave nothing.
#[derive(Debug)]
pub enum CallError {
    /// No (whole) answer.
    Wire(WireError),
    /// An error answer.
    Refused {
        /// Its status.
        status: StatusCode,
        /// `<Code>`, or nothing when the body holds none.
        code: String,
        /// The body's beginning.
        text: String,
    },
    /// An answer that does not read.
    Odd(String),
}

impl std::fmt::Display for CallError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Wire(error) => error.fmt(f),
            Self::Refused { status, code, text } => write!(f, "{status} {code}: {text}"),
            Self::Odd(what) => write!(f, "answer does not read: {what}"),
        }
    }
}

impl std::error::Error for CallError {}

impl From<WireError> for CallError {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

impl CallError {
    /// Whether the operation surely did not happen.
    pub fn surely_not_done(&self) -> bool {
        match self {
            Self::Wire(WireError::Connect(_)) => true,
            Self::Refused { status, .. } => status.is_client_error(),
            Self::Wire(_) | Self::Odd(_) => false,
        }
    }

    /// The answer's status, when there was one.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::Wire(_) | Self::Odd(_) => None,
        }
    }
}

/// One request.
pub struct Call<'a> {
    /// Method.
    pub method: Method,
    /// `/bucket/key`, not encoded.
    pub path: String,
    /// Query parameters, not encoded.
    pub query: &'a [(&'a str, &'a str)],
    /// More headers.
    pub headers: &'a [(&'a str, &'a str)],
    /// Body.
    pub body: Body,
}

/// A page of a listing.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Page {
    /// Objects.
    pub contents: Vec<Listed>,
    /// Common prefixes.
    pub common_prefixes: Vec<CommonPrefix>,
    /// Whether more follow.
    pub is_truncated: bool,
    /// Where they follow.
    pub next_continuation_token: Option<String>,
}

/// An object in a listing.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Listed {
    /// Key.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// With its quotes.
    #[serde(rename = "ETag")]
    pub etag: String,
    /// As written.
    pub last_modified: String,
}

/// A common prefix in a listing.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CommonPrefix {
    /// With the delimiter at its end.
    pub prefix: String,
}

/// What to list.
#[derive(Debug, Clone, Copy, Default)]
pub struct Listing<'a> {
    /// Keys that begin so.
    pub prefix: &'a str,
    /// Group by it.
    pub delimiter: Option<&'a str>,
    /// Begin after this key.
    pub start_after: Option<&'a str>,
    /// Go on where a page ended.
    pub token: Option<&'a str>,
    /// At most so many; 0 is the server's own limit.
    pub max_keys: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Initiated {
    upload_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tagged {
    #[serde(rename = "ETag")]
    etag: String,
}

/// A client with one connection.
pub struct Client {
    endpoint: Endpoint,
    connection: Connection,
}

impl Client {
    /// Connects on the first request.
    pub fn new(endpoint: &Endpoint) -> Self {
        Self { endpoint: endpoint.clone(), connection: Connection::new(&endpoint.address) }
    }

    /// Sends; any answer is an answer.
    ///
    /// # Panics
    /// On header names and values that are none: rigs write them themselves.
    pub async fn call(&mut self, call: Call<'_>) -> Result<Response<Incoming>, WireError> {
        let path = encode_path(&call.path);
        let mut headers = HeaderMap::with_capacity(call.headers.len() + 4);
        for (name, value) in call.headers {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).expect("rigs write valid header names"),
                HeaderValue::from_str(value).expect("rigs write valid header values"),
            );
        }
        headers.insert(http::header::HOST, HeaderValue::from_str(&self.endpoint.address).expect("host and port"));
        if let Some(signer) = &self.endpoint.signer {
            let hash = self.payload_hash(&call.body);
            let subject = Subject {
                method: &call.method,
                path: &path,
                query: call.query,
                host: &self.endpoint.address,
                payload: hash.as_deref().unwrap_or(UNSIGNED_PAYLOAD),
            };
            signer.sign(&subject, &mut headers);
        }
        if call.method == Method::PUT || call.method == Method::POST {
            // hyper says nothing of an empty body, and a write must say how long it is.
            headers.insert(http::header::CONTENT_LENGTH, HeaderValue::from(call.body.len()));
        }
        let target = if call.query.is_empty() { path } else { format!("{path}?{}", encode_query(call.query)) };
        let mut request = http::Request::new(call.body);
        *request.method_mut() = call.method;
        *request.uri_mut() = target.parse().expect("encoded targets parse");
        *request.headers_mut() = headers;
        self.connection.send(request).await
    }

    /// Sends; only a 2xx is an answer.
    pub async fn ask(&mut self, call: Call<'_>) -> Result<Response<Incoming>, CallError> {
        let answer = self.call(call).await?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let text = String::from_utf8_lossy(&collect(answer.into_body()).await?).into_owned();
        let code = between(&text, "<Code>", "</Code>").unwrap_or_default().to_owned();
        Err(CallError::Refused { status, code, text: text.chars().take(300).collect() })
    }

    /// Sends and reads the whole answer.
    pub async fn fetch(&mut self, call: Call<'_>) -> Result<(HeaderMap, Bytes), CallError> {
        let (head, body) = self.ask(call).await?.into_parts();
        Ok((head.headers, collect(body).await?))
    }

    fn payload_hash(&self, body: &Body) -> Option<String> {
        match body {
            Body::Empty => Some(const_hex::encode(Sha256::digest([]))),
            Body::Whole(bytes) if self.endpoint.sign_payload => Some(const_hex::encode(Sha256::digest(bytes))),
            _ => None,
        }
    }

    /// Creates a bucket; one that is ours already is fine.
    pub async fn create_bucket(&mut self, bucket: &str) -> Result<(), CallError> {
        let call =
            Call { method: Method::PUT, path: format!("/{bucket}"), query: &[], headers: &[], body: Body::Empty };
        match self.fetch(call).await {
            Err(CallError::Refused { code, .. }) if code == "BucketAlreadyOwnedByYou" => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// Writes an object; answers its `ETag`.
    pub async fn put(
        &mut self,
        bucket: &str,
        key: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> Result<String, CallError> {
        let call = Call { method: Method::PUT, path: format!("/{bucket}/{key}"), query: &[], headers, body };
        let (headers, _) = self.fetch(call).await?;
        etag(&headers)
    }

    /// Begins to read an object; `range` as in the Range header.
    pub async fn get(&mut self, bucket: &str, key: &str, range: Option<&str>) -> Result<Response<Incoming>, CallError> {
        let headers: &[(&str, &str)] = &range.map_or([("accept", "*/*")], |range| [("range", range)]);
        let call =
            Call { method: Method::GET, path: format!("/{bucket}/{key}"), query: &[], headers, body: Body::Empty };
        self.ask(call).await
    }

    /// An object's headers.
    pub async fn head(&mut self, bucket: &str, key: &str) -> Result<HeaderMap, CallError> {
        let call = Call {
            method: Method::HEAD,
            path: format!("/{bucket}/{key}"),
            query: &[],
            headers: &[],
            body: Body::Empty,
        };
        Ok(self.fetch(call).await?.0)
    }

    /// Deletes an object.
    pub async fn delete(&mut self, bucket: &str, key: &str) -> Result<(), CallError> {
        let call = Call {
            method: Method::DELETE,
            path: format!("/{bucket}/{key}"),
            query: &[],
            headers: &[],
            body: Body::Empty,
        };
        self.fetch(call).await.map(|_| ())
    }

    /// Copies within a bucket.
    pub async fn copy(
        &mut self,
        bucket: &str,
        from: &str,
        to: &str,
        headers: &[(&str, &str)],
    ) -> Result<String, CallError> {
        let source = encode_path(&format!("/{bucket}/{from}"));
        let mut all = vec![("x-amz-copy-source", source.as_str())];
        all.extend_from_slice(headers);
        let call =
            Call { method: Method::PUT, path: format!("/{bucket}/{to}"), query: &[], headers: &all, body: Body::Empty };
        let (_, body) = self.fetch(call).await?;
        parse::<Tagged>(&body).map(|copied| copied.etag)
    }

    /// One page of a listing (version 2).
    pub async fn list(&mut self, bucket: &str, listing: Listing<'_>) -> Result<Page, CallError> {
        let max_keys = listing.max_keys.to_string();
        let mut query = vec![("list-type", "2"), ("prefix", listing.prefix)];
        query.extend(listing.delimiter.map(|delimiter| ("delimiter", delimiter)));
        query.extend(listing.start_after.map(|key| ("start-after", key)));
        query.extend(listing.token.map(|token| ("continuation-token", token)));
        if listing.max_keys > 0 {
            query.push(("max-keys", &max_keys));
        }
        let call =
            Call { method: Method::GET, path: format!("/{bucket}"), query: &query, headers: &[], body: Body::Empty };
        let (_, body) = self.fetch(call).await?;
        parse(&body)
    }

    /// All objects whose keys begin so, page by page.
    pub async fn list_all(&mut self, bucket: &str, prefix: &str) -> Result<Vec<Listed>, CallError> {
        let (mut all, mut token) = (Vec::new(), None::<String>);
        loop {
            let page = self.list(bucket, Listing { prefix, token: token.as_deref(), ..Listing::default() }).await?;
            all.extend(page.contents);
            token = page.next_continuation_token;
            if token.is_none() {
                return Ok(all);
            }
        }
    }

    /// Begins a multipart upload; answers its id.
    pub async fn initiate(&mut self, bucket: &str, key: &str, headers: &[(&str, &str)]) -> Result<String, CallError> {
        let path = format!("/{bucket}/{key}");
        let call = Call { method: Method::POST, path, query: &[("uploads", "")], headers, body: Body::Empty };
        let (_, body) = self.fetch(call).await?;
        parse::<Initiated>(&body).map(|upload| upload.upload_id)
    }

    /// Uploads a part; answers its `ETag`.
    pub async fn part(
        &mut self,
        bucket: &str,
        key: &str,
        upload: &str,
        number: u32,
        body: Body,
    ) -> Result<String, CallError> {
        let number = number.to_string();
        let query = [("partNumber", number.as_str()), ("uploadId", upload)];
        let call = Call { method: Method::PUT, path: format!("/{bucket}/{key}"), query: &query, headers: &[], body };
        let (headers, _) = self.fetch(call).await?;
        etag(&headers)
    }

    /// Completes an upload of parts 1 to n; answers the object's `ETag`.
    pub async fn complete(
        &mut self,
        bucket: &str,
        key: &str,
        upload: &str,
        parts: &[String],
    ) -> Result<String, CallError> {
        let mut body = String::from("<CompleteMultipartUpload>");
        for (index, etag) in parts.iter().enumerate() {
            let part = format!("<Part><PartNumber>{}</PartNumber><ETag>{etag}</ETag></Part>", index + 1);
            body.push_str(&part);
        }
        body.push_str("</CompleteMultipartUpload>");
        let call = Call {
            method: Method::POST,
            path: format!("/{bucket}/{key}"),
            query: &[("uploadId", upload)],
            headers: &[],
            body: Body::Whole(body.into()),
        };
        let (_, body) = self.fetch(call).await?;
        // A 200 may carry an error: the answer began before the work ended.
        if let Some(code) = between(&String::from_utf8_lossy(&body), "<Code>", "</Code>") {
            return Err(CallError::Odd(format!("200 with `{code}`")));
        }
        parse::<Tagged>(&body).map(|completed| completed.etag)
    }
}

fn etag(headers: &HeaderMap) -> Result<String, CallError> {
    match headers.get(http::header::ETAG).and_then(|value| value.to_str().ok()) {
        Some(etag) => Ok(etag.to_owned()),
        None => Err(CallError::Odd("no ETag".to_owned())),
    }
}

fn parse<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<T, CallError> {
    let text = std::str::from_utf8(body).map_err(|error| CallError::Odd(error.to_string()))?;
    quick_xml::de::from_str(text).map_err(|error| CallError::Odd(format!("{error} in {text:.300}")))
}

fn between<'a>(text: &'a str, open: &str, close: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(open)?;
    Some(rest.split_once(close)?.0)
}

/// Lets so many clients act on numbers side by side, each with what it is given.
pub async fn each<F, With, Done>(
    clients: u64,
    endpoint: &Endpoint,
    with: &With,
    numbers: Vec<u64>,
    act: F,
) -> Outcome<()>
where
    With: Clone + Send + 'static,
    F: Fn(With, Client, u64) -> Done + Clone + Send + 'static,
    Done: Future<Output = Outcome<Client>> + Send,
{
    let (mut all, numbers) = (Vec::new(), Arc::new(numbers));
    for first in 0..clients as usize {
        let (with, numbers, act) = (with.clone(), Arc::clone(&numbers), act.clone());
        let mut client = Client::new(endpoint);
        all.push(tokio::spawn(async move {
            for number in numbers.iter().skip(first).step_by(clients as usize) {
                client = act(with.clone(), client, *number).await.map_err(|error| error.to_string())?;
            }
            Ok::<_, String>(())
        }));
    }
    for one in all {
        one.await??;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Page, parse};

    #[test]
    fn a_page_reads() {
        let page: Page = parse(
            b"<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name>\
              <IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>\
              <Contents><Key>a&amp;b</Key><LastModified>x</LastModified><ETag>&quot;e&quot;</ETag><Size>3</Size></Contents>\
              <CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes>\
              <Contents><Key>c</Key><Size>0</Size></Contents></ListBucketResult>",
        )
        .expect("reads");
        assert!(page.is_truncated);
        assert_eq!(page.contents.len(), 2);
        assert_eq!(
            (page.contents[0].key.as_str(), page.contents[0].etag.as_str(), page.contents[0].size),
            ("a&b", "\"e\"", 3)
        );
        assert_eq!(page.common_prefixes[0].prefix, "p/");
    }
}
