//! A queue of Amazon's SQS, or of whoever speaks its JSON protocol. A message is taken, and comes again unless it is
//! forgotten.
//!
//! [ReceiveMessage](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html),
//! [DeleteMessageBatch](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_DeleteMessageBatch.html).

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Method};
use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{HttpRequest, HttpRequestBody};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use crate::address::{Address, check_endpoint};
use crate::connect::Credentials;
use crate::limits::{MAX_LIST, QUEUE_BATCH, QUEUE_WAIT, RESPONSE_TIMEOUT};
use crate::web::{Place, causes, have_tls, http, no_credentials, short, whole_up_to};

/// A client of a queue.
pub struct Queue {
    http: reqwest::Client,
    url: String,
    endpoint: String,
    region: String,
    credentials: AwsCredentialProvider,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Message {
    /// What somebody sent.
    #[serde(default)]
    pub body: String,
    /// By which it is forgotten.
    receipt_handle: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Received {
    messages: Option<Vec<Message>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Forgotten {
    failed: Option<Vec<Value>>,
}

impl Queue {
    /// Whether there may be such a queue for the bucket; looks for nothing. The reason is one sentence fragment.
    pub fn check(url: &str, bucket: &Address) -> Result<(), String> {
        place_of(url, bucket).map(drop)
    }

    /// A client of the queue at `url`, `https://sqs.REGION.amazonaws.com/ACCOUNT/NAME`, by a bucket's credentials; touches
    /// nothing. The region is the bucket's where the URL names none. The reason of a failure is one sentence fragment.
    pub fn connect(url: &str, bucket: &Address, credentials: &Credentials) -> Result<Self, String> {
        have_tls();
        let (endpoint, region) = place_of(url, bucket)?;
        let credentials = crate::s3::credentials(credentials, &region)?;
        let http = http(&Place::new(endpoint.clone(), true, ""))?;
        Ok(Self { http, url: url.to_owned(), endpoint, region, credentials })
    }

    /// Waits for messages, for as long as SQS lets anybody wait; none where none came.
    pub async fn receive(&self) -> Result<Vec<Message>, String> {
        let asked = json!({
            "QueueUrl": self.url, "MaxNumberOfMessages": QUEUE_BATCH, "WaitTimeSeconds": QUEUE_WAIT.as_secs(),
        });
        let answer: Received = self.ask("ReceiveMessage", &asked, QUEUE_WAIT + RESPONSE_TIMEOUT).await?;
        Ok(answer.messages.unwrap_or_default())
    }

    /// Forgets messages that were received together. One that is not forgotten comes again.
    pub async fn forget(&self, messages: &[Message]) -> Result<(), String> {
        let entry = |(number, message): (usize, &Message)| json!({ "Id": number.to_string(), "ReceiptHandle": message.receipt_handle });
        let entries: Vec<Value> = messages.iter().enumerate().map(entry).collect();
        let asked = json!({ "QueueUrl": self.url, "Entries": entries });
        let answer: Forgotten = self.ask("DeleteMessageBatch", &asked, RESPONSE_TIMEOUT).await?;
        let failed = answer.failed.unwrap_or_default();
        match failed.first() {
            None => Ok(()),
            Some(first) => Err(short(&format!("{} messages were not taken out of the queue: {first}", failed.len()))),
        }
    }

    async fn ask<T: for<'de> Deserialize<'de>>(
        &self,
        operation: &str,
        asked: &Value,
        limit: Duration,
    ) -> Result<T, String> {
        let request = self.signed(operation, Bytes::from(asked.to_string())).await?;
        let answer = tokio::time::timeout(limit, self.http.execute(request)).await;
        let answer = answer.map_err(|_| format!("{operation}: no answer in time"))?;
        let answer = answer.map_err(|error| format!("{operation}: {}", causes(&error.without_url())))?;
        let status = answer.status();
        let text = whole_up_to(answer, MAX_LIST).await.map_err(|error| format!("{operation}: {error}"))?;
        if !status.is_success() {
            return Err(short(&format!(
                "{operation}: answered {} {}",
                status.as_u16(),
                String::from_utf8_lossy(&text)
            )));
        }
        serde_json::from_slice(&text).map_err(|error| format!("{operation}: the answer does not read: {error}"))
    }

    async fn signed(&self, operation: &str, body: Bytes) -> Result<reqwest::Request, String> {
        let mut request = HttpRequest::new(HttpRequestBody::from(body.clone()));
        *request.method_mut() = Method::POST;
        let uri = format!("{}/", self.endpoint).parse();
        *request.uri_mut() = uri.map_err(|error| format!("the request was not made: {error}"))?;
        let target = HeaderValue::try_from(format!("AmazonSQS.{operation}"));
        let target = target.map_err(|error| format!("the request was not made: {error}"))?;
        request.headers_mut().insert(HeaderName::from_static("x-amz-target"), target);
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
        let credential = self.credentials.get_credential().await.map_err(|error| no_credentials("AWS's", &error))?;
        let authorizer = AwsAuthorizer::new(&credential, "sqs", &self.region);
        authorizer.try_authorize(&mut request, None).map_err(|error| error.to_string())?;
        let (parts, _) = request.into_parts();
        let request = http::Request::from_parts(parts, reqwest::Body::from(body));
        request.try_into().map_err(|error: reqwest::Error| format!("the request was not made: {}", error.without_url()))
    }
}

/// Endpoint and region.
fn place_of(url: &str, bucket: &Address) -> Result<(String, String), String> {
    let Address::S3 { region, .. } = bucket else {
        return Err("only a bucket behind S3's API has its changes told by a queue".to_owned());
    };
    let endpoint = endpoint_of(url)?;
    let region = region_in(&endpoint).unwrap_or(region).to_owned();
    Ok((endpoint, region))
}

/// Where a queue's requests go: what its URL has before its path.
fn endpoint_of(url: &str) -> Result<String, String> {
    let wrong = || "a queue's URL is such as `https://sqs.eu-central-1.amazonaws.com/123456789012/NAME`".to_owned();
    let parsed = Url::parse(url).map_err(|_| wrong())?;
    let plain = parsed.has_host() && parsed.query().is_none() && parsed.fragment().is_none() && parsed.path().len() > 1;
    let end = url.len() - parsed.path().len();
    match url.get(..end).filter(|_| plain && url.ends_with(parsed.path())) {
        Some(endpoint) => check_endpoint(endpoint, None),
        None => Err(wrong()),
    }
}

/// The region that Amazon's own endpoints name.
fn region_in(endpoint: &str) -> Option<&str> {
    let (_, host) = endpoint.split_once("://sqs.")?;
    let (region, domain) = host.split_once('.')?;
    matches!(domain, "amazonaws.com" | "amazonaws.com.cn" | "api.aws").then_some(region)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::web::scripted::{Reply, Server, answer};

    fn connect(url: &str) -> Result<Queue, String> {
        let bucket = Address::parse("s3://theirs?region=eu-west-1", Path::new("/")).unwrap();
        let keys = Credentials::Keys { access_key_id: "ID".to_owned(), secret_access_key: "SECRET".to_owned() };
        Queue::connect(url, &bucket, &keys)
    }

    #[test]
    fn a_queue_is_asked_where_and_in_the_region_that_its_url_says() {
        for (url, endpoint, region) in [
            ("https://sqs.us-east-2.amazonaws.com/1/q", "https://sqs.us-east-2.amazonaws.com", "us-east-2"),
            ("https://sqs.cn-north-1.amazonaws.com.cn/1/q", "https://sqs.cn-north-1.amazonaws.com.cn", "cn-north-1"),
            ("http://127.0.0.1:5000/1/q", "http://127.0.0.1:5000", "eu-west-1"),
            ("https://queues.example/x", "https://queues.example", "eu-west-1"),
        ] {
            let queue = connect(url).unwrap();
            assert_eq!((&*queue.endpoint, &*queue.region), (endpoint, region), "{url}");
        }
        for bad in [
            "q",
            "https://sqs.us-east-2.amazonaws.com",
            "https://sqs.us-east-2.amazonaws.com/",
            "https://KEY:SECRET@sqs.us-east-2.amazonaws.com/1/q",
            "https://queues.example/x?SECRET",
            "ftp://queues.example/x",
            "http://169.254.169.254/latest",
        ] {
            let reason = connect(bad).err().unwrap();
            assert!(!reason.contains("SECRET"), "{reason}");
        }
        let folder = Address::parse("file:x", Path::new("/")).unwrap();
        assert!(Queue::connect("https://queues.example/x", &folder, &Credentials::Ambient).is_err());
    }

    #[tokio::test]
    async fn messages_are_taken_and_forgotten() {
        let json = |text: &str| Reply::Say(answer("200 OK", &[], text.as_bytes()));
        let server = Server::start(move |seen| match seen.header("x-amz-target") {
            Some("amazonsqs.receivemessage") => {
                json(r#"{"Messages":[{"Body":"a","ReceiptHandle":"1","MessageId":"x"}]}"#)
            }
            Some("amazonsqs.deletemessagebatch") => json(r#"{"Successful":[{"Id":"0"}],"Failed":[]}"#),
            _ => Reply::Hang,
        })
        .await;
        let queue = connect(&format!("{}/1/q", server.endpoint)).unwrap();
        let messages = queue.receive().await.unwrap();
        assert_eq!(messages, [Message { body: "a".to_owned(), receipt_handle: "1".to_owned() }]);
        queue.forget(&messages).await.unwrap();
        for seen in server.seen() {
            assert!(seen.line.starts_with("POST / "), "{}", seen.line);
            assert_eq!(seen.header("content-type"), Some("application/x-amz-json-1.0"));
            let signed = seen.header("authorization").unwrap();
            assert!(signed.contains("/eu-west-1/sqs/aws4_request") && signed.contains("x-amz-target"), "{signed}");
        }
    }

    #[tokio::test]
    async fn what_goes_wrong_is_told() {
        let refusal = r#"{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"no such queue"}"#;
        let server = Server::start(move |seen| match seen.header("x-amz-target") {
            Some("amazonsqs.receivemessage") => Reply::Say(answer("400 Bad Request", &[], refusal.as_bytes())),
            _ => Reply::Say(answer("200 OK", &[], br#"{"Failed":[{"Id":"0","Code":"ReceiptHandleIsInvalid"}]}"#)),
        })
        .await;
        let queue = connect(&format!("{}/1/q", server.endpoint)).unwrap();
        let told = queue.receive().await.unwrap_err();
        assert!(told.starts_with("ReceiveMessage: answered 400") && told.contains("QueueDoesNotExist"), "{told}");
        let message = Message { body: String::new(), receipt_handle: "1".to_owned() };
        assert!(queue.forget(&[message]).await.unwrap_err().contains("ReceiptHandleIsInvalid"));
    }
}
