//! From a raw S3 request to its answer: verify, then handle; a refused signature gets S3's error document too.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::{Method, Request, Response};

use crate::access_log::Subject;
use crate::address::Address;
use crate::auth::{self, Service};
use crate::error::{Asked, S3Error};
use crate::s3::{self, RequestId};
use crate::state::State;

pub(super) async fn answer<B>(state: &Arc<State>, request: Request<B>) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
{
    let id = RequestId::next();
    let head = Head::of(&request);
    match auth::verify(state, Service::S3, request).await {
        Ok(verified) => {
            let mut response = s3::handle(state, verified, id).await;
            if let Some(subject) = response.extensions_mut().get_mut::<Subject>() {
                subject.authentication = head.authentication;
            }
            response
        }
        Err(error) => head.refuse(state, error, id),
    }
}

/// What is kept of a request for the case that it is refused. Cheap: these share their bytes with it.
struct Head {
    method: Method,
    uri: http::Uri,
    host: Option<http::HeaderValue>,
    authentication: Option<&'static str>,
}

impl Head {
    fn of<B>(request: &Request<B>) -> Self {
        let presigned = request.uri().query().is_some_and(|query| query.contains("X-Amz-Algorithm="));
        let header = request.headers().contains_key(AUTHORIZATION);
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            host: request.headers().get(HOST).cloned(),
            authentication: if presigned { Some("QueryString") } else { header.then_some("AuthHeader") },
        }
    }

    fn refuse(self, state: &State, error: S3Error, id: RequestId) -> Response<Body> {
        let code = error.code.as_str();
        tracing::info!(request = %id, code, method = %self.method, cause = error.cause.as_deref(), "request refused");
        let host = self.uri.host().or_else(|| self.host.as_ref().and_then(|host| host.to_str().ok()));
        let address = Address::parse(host, self.uri.path(), &state.domains).ok();
        let (bucket, key) = address.map_or((None, None), |address| (address.bucket, address.key));
        let asked = Asked { id, resource: self.uri.path(), bucket: None, key: None, head: self.method == Method::HEAD };
        let mut response = error.into_response(&asked);
        response.extensions_mut().insert(Subject {
            bucket: bucket.map(String::from),
            key: key.map(String::from),
            error: Some(code),
            request_id: Some(id.to_string()),
            authentication: self.authentication,
            ..Subject::default()
        });
        response
    }
}
