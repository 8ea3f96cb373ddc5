//! Signatures from AWS's own documentation, from the signer of AWS's SDK, and from nobody.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use futures_util::StreamExt;
use holdall_namespace::account::Credential;
use holdall_namespace::clock::UnixMs;
use http::header as names;
use http_body_util::{Full, StreamBody};
use secrecy::SecretString;

use super::*;

mod properties;

const ID: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
/// 2013-05-24T00:00:00Z, the time of the documentation's examples.
const NOW: UnixMs = 1_369_353_600_000;

fn credential() -> Credential {
    let (name, canonical_id) = ("a".to_owned(), "c".to_owned());
    let account = Account { id: 1, name, canonical_id, admin: true, disabled: false, created: 0 };
    Credential { account, secret: SecretString::from(SECRET) }
}

/// The verifier without an index: the decoded body, or the refusal.
fn ask_at<B>(request: http::Request<B>, now: UnixMs) -> Result<(Vec<u8>, VerifiedBody), S3Error>
where
    B: Body<Data: Send> + Send + Unpin + 'static,
{
    let (parts, body) = request.into_parts();
    let query = Query::parse(parts.uri.query())?;
    let question = Question::of(&parts, &query, Service::S3, "us-east-1", now)?;
    let known = (question.claim.access_key_id == ID).then(credential);
    let Proved { form, size, announced, .. } = question.check(known)?;
    let mut body = body::checked(body, form, size, announced)?;
    let read = futures_util::FutureExt::now_or_never(async {
        let mut read = Vec::new();
        while let Some(piece) = body.stream.next().await {
            match piece {
                Ok(piece) => read.extend_from_slice(&piece),
                Err(_) => return Err(body.failure.get().cloned().expect("a broken stream says why")),
            }
        }
        Ok(read)
    });
    read.expect("the body is there at once").map(|read| (read, body))
}

fn ask<B>(request: http::Request<B>) -> Result<Vec<u8>, S3Error>
where
    B: Body<Data: Send> + Send + Unpin + 'static,
{
    ask_at(request, NOW).map(|(read, _)| read)
}

fn full(body: impl Into<Bytes>) -> Full<Bytes> {
    Full::new(body.into())
}

/// A request of the documentation, signed over these headers.
fn documented(line: &str, headers: &[(&str, &str)], signature: &str) -> http::request::Builder {
    let (method, target) = line.split_once(' ').unwrap();
    let mut request = http::Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut names: Vec<String> = headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    names.sort();
    request.header(
        "authorization",
        format!(
            "AWS4-HMAC-SHA256 Credential={ID}/20130524/us-east-1/s3/aws4_request,SignedHeaders={},Signature={signature}",
            names.join(";")
        ),
    )
}

const HOST: (&str, &str) = ("Host", "examplebucket.s3.amazonaws.com");
const DATE: (&str, &str) = ("x-amz-date", "20130524T000000Z");
const NOTHING: (&str, &str) =
    ("x-amz-content-sha256", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");

/// SeaweedFS#8878: presigned "signatures" were hashes without a key, and no test with a known answer said so.
#[test]
fn s19_the_documented_header_signatures_hold() {
    let get = documented(
        "GET /test.txt",
        &[HOST, ("Range", "bytes=0-9"), NOTHING, DATE],
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    );
    assert_eq!(ask(get.body(full("")).unwrap()), Ok(Vec::new()));
    let put = documented(
        "PUT /test%24file.text",
        &[
            HOST,
            ("Date", "Fri, 24 May 2013 00:00:00 GMT"),
            DATE,
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ("x-amz-content-sha256", "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"),
        ],
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    );
    assert_eq!(ask(put.body(full("Welcome to Amazon S3.")).unwrap()), Ok(b"Welcome to Amazon S3.".to_vec()));
    for (target, signature) in [
        ("GET /?lifecycle", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        ("GET /?max-keys=2&prefix=J", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ] {
        let request = documented(target, &[HOST, DATE, NOTHING], signature);
        assert_eq!(ask(request.body(full("")).unwrap()), Ok(Vec::new()), "{target}");
    }
}

const PRESIGNED: &str = "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256\
    &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
    &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
    &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";

fn presigned(change: impl Fn(String) -> String, now: UnixMs) -> Result<(), S3Error> {
    let request = http::Request::get(change(PRESIGNED.to_owned())).header(HOST.0, HOST.1).body(full("")).unwrap();
    ask_at(request, now).map(|_| ())
}

#[test]
fn s19_the_documented_presigned_url_holds_for_its_life() {
    let same = |url| url;
    assert_eq!(presigned(same, NOW), Ok(()));
    assert_eq!(presigned(same, NOW + 86_400_000), Ok(()));
    let late = presigned(same, NOW + 86_401_000).unwrap_err();
    assert_eq!((late.code, late.message.as_str()), (Code::AccessDenied, "Request has expired"));
    assert_eq!(
        late.details,
        [
            ("X-Amz-Expires", "86400".to_owned()),
            ("Expires", "2013-05-25T00:00:00Z".to_owned()),
            ("ServerTime", "2013-05-25T00:00:01Z".to_owned())
        ]
    );
    assert_eq!(presigned(same, NOW - 900_000), Ok(()));
    let early = presigned(same, NOW - 901_000).unwrap_err();
    assert_eq!((early.code, early.message.as_str()), (Code::AccessDenied, "Request is not yet valid"));
}

/// MinIO CVE-2026-41145, s3s#645: a query that was only half a signature counted as one, or lived for ever.
#[test]
fn s2_s9_s12_a_presigned_url_is_whole_or_refused() {
    let refused = |from: &str, to: &str| {
        let change = |url: String| {
            assert!(url.contains(from), "{from}");
            url.replacen(from, to, 1)
        };
        presigned(change, NOW).unwrap_err().code
    };
    let bad = Code::AuthorizationQueryParametersError;
    for name in ["X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature"] {
        assert_eq!(refused(name, "x"), bad, "{name}");
    }
    assert_eq!(refused("X-Amz-Algorithm", "x"), Code::AccessDenied);
    assert_eq!(refused("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"), bad);
    assert_eq!(refused("AWS4-HMAC-SHA256", ""), bad);
    assert_eq!(refused("20130524T000000Z", "20130524T000000"), bad);
    assert_eq!(refused("X-Amz-Expires=86400", "X-Amz-Expires=86400&X-Amz-Expires=86400"), bad);
    assert_eq!(refused("=86400", "=604801"), bad);
    assert_eq!(refused("=86400", "=86401"), Code::SignatureDoesNotMatch);
    assert_eq!(refused("20130524%2F", "20130523%2F"), bad);
    assert_eq!(refused("us-east-1", "us-east-2"), bad);
    assert_eq!(refused("%2Fs3%2F", "%2Fiam%2F"), bad);
    assert_eq!(refused("7EXAMPLE", "7EXAMPLF"), Code::InvalidAccessKeyId);
    assert_eq!(refused("=host", "=;host"), Code::SignatureDoesNotMatch);
    assert_eq!(refused("=host", "=host;host"), Code::SignatureDoesNotMatch);
    assert_eq!(refused("=host", "=range"), Code::AccessDenied);
    assert_eq!(refused("=aeee", "=AEEE"), Code::SignatureDoesNotMatch);
    assert_eq!(refused("/test.txt", "/test.tyt"), Code::SignatureDoesNotMatch);
}

const CHUNKED: (&str, &str) = ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD");

fn chunked_request(body: Vec<u8>) -> http::Request<StreamBody<impl futures_util::Stream<Item = Frames> + Unpin>> {
    let length = "66824";
    documented(
        "PUT /examplebucket/chunkObject.txt",
        &[
            ("Host", "s3.amazonaws.com"),
            DATE,
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            CHUNKED,
            ("Content-Encoding", "aws-chunked"),
            ("x-amz-decoded-content-length", "66560"),
            ("Content-Length", length),
        ],
        "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
    )
    .body(in_pieces(body, 7919))
    .unwrap()
}

type Frames = Result<http_body::Frame<Bytes>, std::convert::Infallible>;

fn in_pieces(body: Vec<u8>, size: usize) -> StreamBody<impl futures_util::Stream<Item = Frames> + Unpin> {
    let body = Bytes::from(body);
    let pieces = (0..body.len()).step_by(size).map(move |at| body.slice(at..body.len().min(at + size)));
    StreamBody::new(futures_util::stream::iter(pieces.map(|piece| Ok(http_body::Frame::data(piece)))))
}

fn chunk(size: usize, signature: &str) -> Vec<u8> {
    let mut text = format!("{size:x};chunk-signature={signature}\r\n").into_bytes();
    text.extend(std::iter::repeat_n(b'a', size));
    text.extend_from_slice(if size == 0 { b"" } else { b"\r\n" });
    text
}

fn documented_chunks() -> Vec<u8> {
    let mut body = chunk(65536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648");
    body.extend(chunk(1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"));
    body.extend(chunk(0, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"));
    body.extend(b"\r\n");
    body
}

#[test]
fn s19_the_documented_chunk_signatures_hold() {
    assert_eq!(ask(chunked_request(documented_chunks())), Ok(vec![b'a'; 66560]));
}

/// MinIO CVE-2021-21390: a chunk that announced more than it brought was never checked, nor was a missing end.
#[test]
fn s5_chunks_that_lie_are_refused() {
    let refused = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut body = documented_chunks();
        change(&mut body);
        ask(chunked_request(body)).unwrap_err().code
    };
    let last = chunk(0, "").len() + 64 + 2;
    assert_eq!(refused(&|body| body[100] ^= 1), Code::SignatureDoesNotMatch);
    assert_eq!(refused(&|body| body[30] ^= 1), Code::SignatureDoesNotMatch);
    assert_eq!(refused(&|body| body.truncate(body.len() - last)), Code::IncompleteBody);
    assert_eq!(refused(&|body| body.truncate(5000)), Code::IncompleteBody);
    assert_eq!(refused(&|body| body.clear()), Code::IncompleteBody);
    assert_eq!(refused(&|body| body.splice(0..5, *b"FFFFFF").for_each(drop)), Code::InvalidRequest);
    assert_eq!(refused(&|body| body.splice(0..5, *b"+1000").for_each(drop)), Code::InvalidRequest);
    assert_eq!(refused(&|body| body.splice(0..5, *b"0x100").for_each(drop)), Code::InvalidRequest);
    assert_eq!(refused(&|body| body.splice(0..5, *b"").for_each(drop)), Code::InvalidRequest);
    assert_eq!(refused(&|body| body.splice(0..5, *b"ffff").for_each(drop)), Code::SignatureDoesNotMatch);
    assert_eq!(refused(&|body| body.splice(5..6, *b":").for_each(drop)), Code::InvalidRequest);
    assert_eq!(refused(&|body| body.splice(0..5, *b"00000000000010000").for_each(drop)), Code::InvalidRequest);
    assert_eq!(refused(&|body| body.extend(b"more")), Code::MalformedTrailerError);
    assert_eq!(refused(&|body| body.extend(b"x-amz-checksum-crc32:AAAA\r\n")), Code::MalformedTrailerError);
    assert_eq!(refused(&|body| body.splice(0..0, vec![b'0'; 1000]).for_each(drop)), Code::InvalidRequest);
    assert_eq!(refused(&|body| body.splice(0..65536 + 90, []).for_each(drop)), Code::SignatureDoesNotMatch);
    let early_end = chunk(0, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9");
    assert_eq!(refused(&|body| *body = early_end.clone()), Code::SignatureDoesNotMatch);
}

fn trailer_request(body: Vec<u8>) -> http::Request<StreamBody<impl futures_util::Stream<Item = Frames> + Unpin>> {
    let signed = documented(
        "PUT /examplebucket/chunkObject.txt",
        &[
            ("Host", "s3.amazonaws.com"),
            DATE,
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"),
            ("Content-Encoding", "aws-chunked"),
            ("x-amz-decoded-content-length", "66560"),
            ("x-amz-trailer", "x-amz-checksum-crc32c"),
        ],
        "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
    );
    signed.header("Content-Length", body.len()).body(in_pieces(body, 1)).unwrap()
}

fn documented_trailer(trailer: &str) -> Vec<u8> {
    let mut body = chunk(65536, "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2");
    body.extend(chunk(1024, "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7"));
    body.extend(chunk(0, "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992"));
    body.extend(trailer.as_bytes());
    body
}

#[test]
fn s4_the_documented_trailer_signature_holds_and_nothing_else_does() {
    let signature = "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435";
    for good in [
        format!("x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:{signature}\r\n\r\n"),
        format!("x-amz-checksum-crc32c:sOO8/Q==\n\r\nx-amz-trailer-signature:{signature}\r\n\r\n"),
    ] {
        let (read, body) = ask_at(trailer_request(documented_trailer(&good)), NOW).unwrap();
        assert_eq!(read, vec![b'a'; 66560]);
        assert_eq!(body.announced, ["x-amz-checksum-crc32c"]);
        assert_eq!(body.trailer.get(), Some(&vec![("x-amz-checksum-crc32c".to_owned(), "sOO8/Q==".to_owned())]));
    }
    let sum = "x-amz-checksum-crc32c:sOO8/Q==\r\n";
    let signed = format!("x-amz-trailer-signature:{signature}\r\n\r\n");
    for (bad, code) in [
        (sum.to_owned(), Code::SignatureDoesNotMatch),
        (signed.clone(), Code::MalformedTrailerError),
        (String::new(), Code::MalformedTrailerError),
        (format!("x-amz-checksum-crc32c:sOO9/Q==\r\n{signed}"), Code::SignatureDoesNotMatch),
        (format!("x-amz-checksum-crc32:sOO8/Q==\r\n{signed}"), Code::MalformedTrailerError),
        (format!("{sum}{sum}{signed}"), Code::MalformedTrailerError),
        (format!("{signed}{sum}"), Code::MalformedTrailerError),
        (format!("{sum}nonsense\r\n{signed}"), Code::MalformedTrailerError),
        (format!("{sum}x-amz-meta-a:b\r\n{signed}"), Code::MalformedTrailerError),
        (format!("{sum}{signed}{}", "x".repeat(5000)), Code::MalformedTrailerError),
    ] {
        let error = ask(trailer_request(documented_trailer(&bad))).unwrap_err();
        assert_eq!(error.code, code, "{bad}");
    }
}

/// Signs as AWS's SDK does and hands the request over as it arrives: its target without the host.
#[derive(Debug)]
struct Signer {
    location: SignatureLocation,
    expires: Option<Duration>,
    region: &'static str,
    service: &'static str,
    secret: &'static str,
}

const SIGNER: Signer =
    Signer { location: SignatureLocation::Headers, expires: None, region: "us-east-1", service: "s3", secret: SECRET };
const PRESIGNER: Signer = Signer {
    location: SignatureLocation::QueryParams,
    expires: Some(Duration::from_mins(1)),
    region: "us-east-1",
    service: "s3",
    secret: SECRET,
};

impl Signer {
    fn sign(&self, method: &str, target: &str, headers: &[(&str, &str)], body: SignableBody<'_>) -> http::Request<()> {
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        settings.signature_location = self.location;
        settings.expires_in = self.expires;
        let identity = Credentials::new(ID, self.secret, None, None, "test").into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.region)
            .name(self.service)
            .time(SystemTime::UNIX_EPOCH + Duration::from_millis(NOW as u64))
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let url = format!("http://files.example.org:9000{target}");
        let signable = SignableRequest::new(method, &url, headers.iter().copied(), body).unwrap();
        let (instructions, _) = sign(signable, &params).unwrap().into_parts();
        let mut request = http::Request::builder().method(method).uri(&url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(()).unwrap();
        instructions.apply_to_request_http1x(&mut request);
        request.headers_mut().insert("host", HeaderValue::from_static("files.example.org:9000"));
        let target = request.uri().path_and_query().unwrap().clone();
        *request.uri_mut() = target.into();
        request
    }

    fn plain(&self) -> http::Request<()> {
        self.sign("GET", "/b/k?x=1", &[("x-amz-meta-a", "b")], self.nothing())
    }

    /// An empty body, as each kind of signature has it.
    fn nothing(&self) -> SignableBody<'static> {
        if self.expires.is_some() { SignableBody::UnsignedPayload } else { SignableBody::Bytes(b"") }
    }
}

fn refusal(request: http::Request<()>) -> S3Error {
    ask(request.map(|()| full(""))).unwrap_err()
}

/// Ceph CVE-2026-54330: whoever held a presigned URL added headers to it and read other buckets.
#[test]
fn s1_headers_that_were_not_signed_are_refused() {
    for signer in [SIGNER, PRESIGNER] {
        assert_eq!(ask(signer.plain().map(|()| full(""))), Ok(Vec::new()));
    }
    for name in [
        "x-amz-copy-source",
        "x-amz-tagging",
        "x-amz-storage-class",
        "x-amz-acl",
        "x-amz-server-side-encryption",
        "x-amz-object-lock-mode",
        "x-amz-meta-b",
        "x-amz-website-redirect-location",
        "x-amz-decoded-content-length",
        "x-amz-trailer",
        "x-amz-security-token",
        "x-amz-checksum-crc32",
        "x-amz-anything",
    ] {
        for signer in [SIGNER, PRESIGNER] {
            let mut request = signer.plain();
            request.headers_mut().insert(name, HeaderValue::from_static("1"));
            let error = refusal(request);
            assert_eq!(error.code, Code::AccessDenied, "{name}");
            assert_eq!(error.message, "There were headers present in the request which were not signed");
            assert_eq!(error.details, [("HeadersNotSigned", name.to_owned())]);
        }
    }
}

/// MinIO CVE-2026-41145, CVE-2025-31489: the unsigned-trailer form was decoded although nobody checked its signature.
#[test]
fn s2_s4_the_form_of_the_body_is_part_of_the_signature() {
    let body = "3\r\nabc\r\n0\r\nx-amz-checksum-crc32:NSRBwg==\r\n\r\n";
    let headers =
        [("x-amz-decoded-content-length", "3"), ("x-amz-trailer", "x-amz-checksum-crc32"), ("content-length", "48")];
    let signed = |signer: &Signer| signer.sign("PUT", "/b/k", &headers, SignableBody::StreamingUnsignedPayloadTrailer);
    assert_eq!(ask(signed(&SIGNER).map(|()| full(body))), Ok(b"abc".to_vec()));
    let wrong = Signer { secret: "wrong", ..SIGNER };
    assert_eq!(ask(signed(&wrong).map(|()| full(body))).unwrap_err().code, Code::SignatureDoesNotMatch);

    let mut request = PRESIGNER.sign("PUT", "/b/k", &headers, SignableBody::UnsignedPayload);
    let form = HeaderValue::from_static("STREAMING-UNSIGNED-PAYLOAD-TRAILER");
    request.headers_mut().insert("x-amz-content-sha256", form);
    assert_eq!(ask(request.map(|()| full(body))).unwrap_err().code, Code::SignatureDoesNotMatch);

    let target = "/b/k?X-Amz-Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request";
    let request = http::Request::put(target).header("host", "h").header("content-length", "48");
    let request = request.header("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER");
    assert_eq!(ask(request.body(full(body)).unwrap()).unwrap_err().code, Code::AccessDenied);
}

/// versitygw GHSA-v2ch-c8v8-fgr7: a chunked body without any length was a panic.
#[test]
fn s7_a_chunked_body_says_its_lengths() {
    let cases: [&[(&str, &str)]; 3] = [&[], &[("x-amz-decoded-content-length", "3")], &[("content-length", "3")]];
    for headers in cases {
        let request = SIGNER.sign("PUT", "/b/k", headers, SignableBody::StreamingUnsignedPayloadTrailer);
        assert_eq!(refusal(request).code, Code::MissingContentLength, "{headers:?}");
    }
    for bad in ["", "-1", "+3", "3 ", "x", "99999999999999999999"] {
        let headers = [("x-amz-decoded-content-length", bad), ("content-length", "3")];
        let request = SIGNER.sign("PUT", "/b/k", &headers, SignableBody::StreamingUnsignedPayloadTrailer);
        let expected = if bad == "3 " { Code::IncompleteBody } else { Code::InvalidArgument };
        let mut request = request.map(|()| full(""));
        request.headers_mut().insert("x-amz-decoded-content-length", HeaderValue::from_str(bad.trim()).unwrap());
        let code = ask(request).unwrap_err().code;
        assert!(code == expected || bad.is_empty(), "{bad}: {code:?}");
    }
}

/// lakeFS CVE-2025-68671: a captured request could be sent again for ever.
#[test]
fn s8_a_request_is_good_for_fifteen_minutes() {
    let at = |minutes: i64| ask_at(SIGNER.plain().map(|()| full("")), NOW + minutes * 60_000).map(|_| ());
    assert_eq!(at(15), Ok(()));
    assert_eq!(at(-15), Ok(()));
    for minutes in [16, -16] {
        let error = at(minutes).unwrap_err();
        assert_eq!(error.code, Code::RequestTimeTooSkewed);
        assert_eq!(error.details[0], ("RequestTime", "20130524T000000Z".to_owned()));
        assert_eq!(error.details[2], ("MaxAllowedSkewMilliseconds", "900000".to_owned()));
    }
    let edit = |from: &str, to: &str| {
        let mut request = SIGNER.plain();
        let value = request.headers()["authorization"].to_str().unwrap().replace(from, to);
        request.headers_mut().insert("authorization", value.parse().unwrap());
        refusal(request)
    };
    assert_eq!(edit("/20130524/", "/20130523/").code, Code::SignatureDoesNotMatch);
    let mut request = SIGNER.plain();
    request.headers_mut().remove("x-amz-date");
    let error = refusal(request);
    assert_eq!(error.code, Code::AccessDenied);
    assert_eq!(error.message, "AWS authentication requires a valid Date or x-amz-date header");
}

/// SeaweedFS#9910, RustFS#7796, boto#10663: lax parsing let requests through that were signed otherwise or not at all.
#[test]
fn s11_s12_s13_only_a_whole_version_4_header_counts() {
    let edit = |from: &str, to: &str| {
        let mut request = SIGNER.plain();
        let value = request.headers()["authorization"].to_str().unwrap().to_owned();
        assert!(value.contains(from), "{from}");
        request.headers_mut().insert("authorization", value.replacen(from, to, 1).parse().unwrap());
        refusal(request)
    };
    assert_eq!(edit("SignedHeaders=", "SignedHeaders=;").code, Code::SignatureDoesNotMatch);
    assert_eq!(edit("host;", "").code, Code::AccessDenied);
    assert_eq!(edit("host;", "Host;").code, Code::AccessDenied);
    assert_eq!(edit("host;", "accept;host;").code, Code::SignatureDoesNotMatch);
    assert_eq!(edit("SHA256 Credential", "SHA256Credential").code, Code::InvalidArgument);
    assert_eq!(edit("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1").code, Code::InvalidArgument);
    assert_eq!(edit("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256").code, Code::InvalidArgument);
    assert_eq!(edit("AWS4-HMAC-SHA256 Credential", "Bearer x").code, Code::InvalidArgument);
    assert_eq!(edit("/aws4_request", "/aws4_requesT").code, Code::AuthorizationHeaderMalformed);
    assert_eq!(edit(ID, "AKIANOBODY").code, Code::InvalidAccessKeyId);
    assert_eq!(edit("Signature=", "Signature=0").code, Code::SignatureDoesNotMatch);
    assert_eq!(edit("Signature=", "Sig=").code, Code::AuthorizationHeaderMalformed);
    let mut both = PRESIGNER.plain();
    both.headers_mut().insert("authorization", SIGNER.plain().headers()["authorization"].clone());
    assert_eq!(refusal(both).code, Code::InvalidArgument);
    let request = |target: &str| http::Request::get(target).header("host", "h").body(()).unwrap();
    let mut old = request("/b/k");
    old.headers_mut().insert("authorization", HeaderValue::from_static("AWS AKIA:c2ln"));
    for old in [old, request("/b/k?AWSAccessKeyId=A&Expires=1&Signature=c2ln")] {
        let error = refusal(old);
        assert_eq!(error.code, Code::InvalidRequest);
        let message = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.";
        assert_eq!(error.message, message);
    }
    let mut empty = request("/b/k");
    empty.headers_mut().insert("authorization", HeaderValue::from_static(""));
    assert_eq!(refusal(empty).code, Code::AccessDenied);
    assert_eq!(refusal(request("/b/k")).code, Code::AccessDenied);
}

#[test]
fn s14_a_signature_is_for_the_host_it_names() {
    let mut request = SIGNER.plain();
    request.headers_mut().insert("host", HeaderValue::from_static("other.example.org:9000"));
    request.headers_mut().insert("x-forwarded-host", HeaderValue::from_static("files.example.org:9000"));
    assert_eq!(refusal(request).code, Code::SignatureDoesNotMatch);
}

/// floci#1098
#[test]
fn s21_nobody_without_a_name_overrides_response_headers() {
    let request = http::Request::get("/b/k?response-content-type=text/html").header("host", "h").body(()).unwrap();
    assert_eq!(refusal(request).code, Code::InvalidRequest);
}

#[test]
fn another_region_or_service_is_named() {
    let error = refusal(Signer { region: "eu-west-1", ..SIGNER }.plain());
    assert_eq!(error.code, Code::AuthorizationHeaderMalformed);
    assert_eq!(
        error.message,
        "The authorization header is malformed; the region 'eu-west-1' is wrong; expecting 'us-east-1'"
    );
    assert_eq!(error.details, [("Region", "us-east-1".to_owned())]);
    let error = refusal(Signer { service: "holdall", ..SIGNER }.plain());
    assert_eq!(error.code, Code::AuthorizationHeaderMalformed);
}

#[test]
fn a_mismatch_shows_what_was_signed_and_never_what_would_be_right() {
    let error = refusal(Signer { secret: "wrong", ..SIGNER }.plain());
    assert_eq!(error.code, Code::SignatureDoesNotMatch);
    let shown = format!("{error:?}");
    assert!(!shown.contains(SECRET) && !shown.contains("wrong"));
    let right = SIGNER.plain().headers()["authorization"].to_str().unwrap().to_owned();
    assert!(!shown.contains(right.rsplit('=').next().unwrap()));
    let names: Vec<_> = error.details.iter().map(|(name, _)| *name).collect();
    let wanted = ["AWSAccessKeyId", "StringToSign", "SignatureProvided", "StringToSignBytes", "CanonicalRequest"];
    assert_eq!(names[..5], wanted);
    assert_eq!(error.details[4].1.lines().take(3).collect::<Vec<_>>(), ["GET", "/b/k", "x=1"]);
}

#[test]
fn a_body_must_have_the_signed_hash_and_length() {
    let signed =
        |length: &'static str| SIGNER.sign("PUT", "/b/k", &[("content-length", length)], SignableBody::Bytes(b"abc"));
    assert_eq!(ask(signed("3").map(|()| full("abc"))), Ok(b"abc".to_vec()));
    let code = |request| ask::<Full<Bytes>>(request).unwrap_err().code;
    assert_eq!(code(signed("3").map(|()| full("abd"))), Code::XAmzContentSHA256Mismatch);
    assert_eq!(code(signed("3").map(|()| full("ab"))), Code::IncompleteBody);
    assert_eq!(code(signed("0").map(|()| full(""))), Code::XAmzContentSHA256Mismatch);
    for bad in ["", "x", &"g".repeat(64), &"0".repeat(63), "UNSIGNED", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"] {
        let request = SIGNER.sign("PUT", "/b/k", &[], SignableBody::Precomputed(bad.to_owned()));
        assert_eq!(refusal(request).code, Code::InvalidArgument, "{bad}");
    }
    let mut request = SIGNER.plain();
    request.headers_mut().remove("x-amz-content-sha256");
    assert_eq!(refusal(request).code, Code::InvalidRequest);
    let mut request = SIGNER.plain();
    request.headers_mut().remove("x-amz-meta-a");
    assert_eq!(refusal(request).code, Code::SignatureDoesNotMatch);
}

#[test]
fn the_name_of_the_framing_is_not_stored() {
    for (sent, left) in
        [("aws-chunked", None), ("gzip, aws-chunked", Some("gzip")), ("aws-chunked,gzip,br", Some("gzip,br"))]
    {
        let mut headers = HeaderMap::new();
        headers.insert("content-encoding", HeaderValue::from_static(sent));
        strip_chunked(&mut headers);
        assert_eq!(headers.get("content-encoding").map(|value| value.to_str().unwrap()), left);
    }
}

/// The future that handlers await moves between threads.
#[allow(dead_code)]
fn verification_is_send(state: &State, request: http::Request<hyper::body::Incoming>) -> impl Future + Send {
    verify(state, Service::S3, request)
}
