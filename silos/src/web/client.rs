//! One signed request and its answer.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Method};
use object_store::client::{HttpRequest, HttpRequestBody};
use reqwest::{Body, Response};

use crate::limits::{READ_PAUSE, READ_TIMEOUT, READ_TRIES, RESPONSE_TIMEOUT};
use crate::web::answer::{Broken, Failure, accept};
use crate::web::ask::Ask;
use crate::web::words::Words;
use crate::web::{Service, connection};

/// Signs and sends.
pub(crate) struct Client {
    pub(crate) http: reqwest::Client,
    pub(crate) service: Box<dyn Service>,
}

impl Client {
    /// A client of a service; sends nothing.
    pub(crate) fn new(service: Box<dyn Service>) -> Result<Self, String> {
        Ok(Self { http: connection::http(service.place())?, service })
    }

    pub(crate) fn words(&self) -> &'static Words {
        self.service.words()
    }

    /// Of all our keys; empty, or with a slash at its end.
    pub(crate) fn prefix(&self) -> &str {
        &self.service.place().prefix
    }

    /// Signs a request; its body is not part of the signature.
    pub(crate) async fn sign(&self, ask: &Ask, body: Body, length: u64) -> Result<reqwest::Request, Broken> {
        let not_sent = |error: &dyn std::fmt::Display| Broken::NotSent(format!("the request was not made: {error}"));
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.method_mut() = ask.method.clone();
        *request.uri_mut() = self.service.place().url(ask).parse().map_err(|e| not_sent(&e))?;
        *request.headers_mut() = ask.headers.clone();
        if ask.method == Method::PUT {
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        self.service.authorize(&mut request).await.map_err(|e| not_sent(&e))?;
        let (parts, _) = request.into_parts();
        http::Request::from_parts(parts, body).try_into().map_err(|e: reqwest::Error| not_sent(&e.without_url()))
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
        accept(answer, &self.words().codes).await
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
