//! A gateway without sockets: verified requests in, answers out, over the memory engine and a memory silo.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use holdall::access_log::Subject;
use holdall::auth::{Principal, Verified, VerifiedBody};
use holdall::s3::{RequestId, handle};
use holdall::state::State;
use holdall_namespace::account::Account;
use holdall_namespace::clock::{Clock, SystemClock};
use holdall_namespace::engine::memory::Memory;
use holdall_namespace::inventory::{Declared, DeclaredSilo, WritePolicy, WriteTarget};
use holdall_namespace::{Namespace, Options};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::BodyExt;

/// A fresh namespace with one silo.
pub(crate) struct House {
    state: Arc<State>,
    accounts: [Account; 2],
}

/// A request being put together by one account.
pub(crate) struct Ask<'a> {
    house: &'a House,
    account: usize,
    request: Request<Bytes>,
    trailer: Vec<(String, String)>,
    sized: bool,
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) subject: Subject,
}

impl House {
    pub(crate) async fn open() -> Self {
        Self::at("us-east-1").await
    }

    pub(crate) async fn at(region: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let options = Options {
            base: "/".into(),
            seal_key: [7; 32],
            grace: Duration::ZERO,
            pack_up_to: holdall_namespace::limits::PACK_UP_TO,
            backup: None,
            align: None,
            scrub: None,
        };
        let engine = Arc::new(Memory::new());
        let namespace = Namespace::open(engine, Arc::clone(&clock), options, true).await.unwrap();
        let silo = DeclaredSilo::own(format!("memory:s3-tests-{number}"));
        let to = vec![WriteTarget { silo: "hot".into(), min_size: 0, max_size: None }];
        let silos = [("hot".to_owned(), silo)].into();
        let declared = Declared { silos, write: Some(WritePolicy { to }), ..Declared::default() };
        namespace.apply(&declared, false).await.unwrap();
        namespace.ensure_first_key(None).await.unwrap();
        let (second, _) = namespace.create_account("second").await.unwrap();
        let first = namespace.accounts().await.unwrap().into_iter().find(|account| account.admin).unwrap();
        let domains = vec!["s3.example.org".to_owned()];
        Self {
            state: Arc::new(State { namespace, clock, region: region.into(), scheme: "http", domains }),
            accounts: [first, second],
        }
    }

    /// A house with a bucket `abc`.
    pub(crate) async fn with_bucket() -> Self {
        let house = Self::open().await;
        house.put("/abc").await.expect(200);
        house
    }

    /// Writes the inventory, as the first account may order.
    pub(crate) async fn take_inventory(&self) {
        let mut census = self.state.namespace.census().await.unwrap();
        while census.next().await.unwrap().is_some() {}
    }

    /// The first account or the second.
    pub(crate) fn account(&self, number: usize) -> &Account {
        &self.accounts[number - 1]
    }

    pub(crate) fn ask(&self, method: &str, target: &str) -> Ask<'_> {
        let uri = format!("http://127.0.0.1:9000{target}");
        let mut request = Request::builder().method(method).uri(uri).body(Bytes::new()).unwrap();
        request.headers_mut().insert("host", HeaderValue::from_static("127.0.0.1:9000"));
        Ask { house: self, account: 1, request, trailer: vec![], sized: true }
    }

    pub(crate) fn get(&self, target: &str) -> Ask<'_> {
        self.ask("GET", target)
    }

    pub(crate) fn put(&self, target: &str) -> Ask<'_> {
        self.ask("PUT", target)
    }

    pub(crate) fn post(&self, target: &str) -> Ask<'_> {
        self.ask("POST", target)
    }

    pub(crate) fn head(&self, target: &str) -> Ask<'_> {
        self.ask("HEAD", target)
    }

    pub(crate) fn delete(&self, target: &str) -> Ask<'_> {
        self.ask("DELETE", target)
    }

    /// Uploads parts of the given sizes and answers (upload id, ETags).
    pub(crate) async fn parts(&self, target: &str, bodies: &[(u32, Vec<u8>)]) -> (String, Vec<String>) {
        let id = self.post(&format!("{target}?uploads")).await.expect(200).element("UploadId");
        let mut etags = vec![];
        for (number, body) in bodies {
            let part = format!("{target}?partNumber={number}&uploadId={id}");
            etags.push(self.put(&part).body(body.clone()).await.expect(200).header("etag").to_owned());
        }
        (id, etags)
    }
}

/// CompleteMultipartUpload's body.
pub(crate) fn complete(parts: &[(u32, &str)]) -> String {
    let part = |(number, etag): &(u32, &str)| {
        format!("<Part><PartNumber>{number}</PartNumber><ETag>{}</ETag></Part>", etag.replace('"', "&quot;"))
    };
    format!("<CompleteMultipartUpload>{}</CompleteMultipartUpload>", parts.iter().map(part).collect::<String>())
}

impl Ask<'_> {
    pub(crate) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let name = HeaderName::try_from(name).unwrap();
        self.request.headers_mut().append(name, HeaderValue::from_bytes(value.as_ref()).unwrap());
        self
    }

    pub(crate) fn host(mut self, host: &str) -> Self {
        self.request.headers_mut().insert("host", HeaderValue::from_str(host).unwrap());
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        *self.request.body_mut() = body.into();
        self
    }

    /// Speaks as another account than the first.
    pub(crate) fn by(mut self, account: usize) -> Self {
        self.account = account;
        self
    }

    /// A body followed by a trailer.
    pub(crate) fn trailer(mut self, name: &str, value: &str) -> Self {
        self.trailer.push((name.into(), value.into()));
        self
    }

    /// Without saying how long the body is.
    pub(crate) fn unsized_body(mut self) -> Self {
        self.sized = false;
        self
    }

    async fn send(self) -> Answer {
        let (parts, body) = self.request.into_parts();
        let size = self.sized.then_some(body.len() as u64);
        let pieces: Vec<_> = body.chunks(70_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let announced = self.trailer.iter().map(|(name, _)| name.clone()).collect();
        let trailer = Arc::new(OnceLock::from(self.trailer));
        let stream = stream::iter(pieces).boxed();
        let body = VerifiedBody { stream, size, failure: Arc::default(), trailer, announced };
        let principal = Principal { account: self.house.account(self.account).clone(), access_key_id: "KEY".into() };
        let response = handle(&self.house.state, Verified { parts, principal, body }, RequestId::next()).await;
        let (mut head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let subject = head.extensions.remove::<Subject>().unwrap();
        assert!(head.headers.contains_key("x-amz-request-id"));
        Answer { status: head.status, headers: head.headers, body, subject }
    }
}

impl<'a> IntoFuture for Ask<'a> {
    type Output = Answer;
    type IntoFuture = std::pin::Pin<Box<dyn Future<Output = Answer> + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

impl Answer {
    /// This status, or a panic that shows what came instead.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    /// This status with this code.
    #[track_caller]
    pub(crate) fn refused(self, status: u16, code: &str) -> Self {
        let answer = self.expect(status);
        assert_eq!(answer.element("Code"), code, "{}", answer.text());
        assert_eq!(answer.subject.error, Some(code));
        answer
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.headers));
        value.to_str().unwrap()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.headers.contains_key(name)
    }

    /// The texts of all elements of a name, as written.
    pub(crate) fn elements(&self, name: &str) -> Vec<String> {
        let text = self.text();
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        text.split(&open).skip(1).map(|rest| rest.split(&close).next().unwrap().to_owned()).collect()
    }

    /// The text of the one element of a name.
    #[track_caller]
    pub(crate) fn element(&self, name: &str) -> String {
        let all = self.elements(name);
        assert_eq!(all.len(), 1, "<{name}> in {}", self.text());
        all.into_iter().next().unwrap()
    }
}
