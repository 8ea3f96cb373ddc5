//! Where a request points: bucket and key from host and raw path, and its query, each decoded exactly once.
//!
//! What comes out is final: nothing behind this decodes, normalizes or joins again, so that two keys never alias.
//! `a//b`, `..` and a leading `/` are keys like any other.

use holdall_namespace::name::{BucketName, ObjectKey};

use crate::error::{Code, S3Error};

/// What is addressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The bucket; none is the service.
    pub bucket: Option<BucketName>,
    /// The key; none is the bucket itself.
    pub key: Option<ObjectKey>,
}

impl Address {
    /// From the Host header (or an absolute target's authority) and the path as sent. `domains` are lower case; below
    /// one of them the host's first part names the bucket.
    ///
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html>
    pub fn parse(host: Option<&str>, path: &str, domains: &[String]) -> Result<Self, S3Error> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let (bucket, key) = match host.and_then(|host| bucket_of(host, domains)) {
            Some(bucket) => (bucket, path),
            None if path.is_empty() => return Ok(Self { bucket: None, key: None }),
            None => {
                let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
                (decode(bucket)?, key)
            }
        };
        let bucket = bucket.parse().map_err(S3Error::from)?;
        let key = if key.is_empty() { None } else { Some(decode(key)?.parse().map_err(S3Error::from)?) };
        Ok(Self { bucket: Some(bucket), key })
    }
}

/// The bucket that a host below one of our domains names.
fn bucket_of(host: &str, domains: &[String]) -> Option<String> {
    if domains.is_empty() {
        return None;
    }
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    if domains.contains(&name) {
        return None;
    }
    let bucket = |domain: &String| name.strip_suffix(domain.as_str())?.strip_suffix('.').filter(|b| !b.is_empty());
    // The longest domain wins, so that `eu.s3.example` beside `s3.example` is not a bucket `b.eu`.
    domains.iter().filter_map(bucket).min_by_key(|bucket| bucket.len()).map(str::to_owned)
}

/// Decodes percent-encoding, strictly: a stray `%` or bytes that are no UTF-8 are refused.
fn decode(text: &str) -> Result<String, S3Error> {
    decode_path(text).ok_or_else(|| S3Error::new(Code::InvalidURI).detail("URI", text))
}

/// Decodes percent-encoding as in a path; `None` where it is broken or no UTF-8.
pub(crate) fn decode_path(text: &str) -> Option<String> {
    decoded(text, false)
}

fn decoded(text: &str, plus_is_space: bool) -> Option<String> {
    if !text.bytes().any(|byte| byte == b'%' || (plus_is_space && byte == b'+')) {
        return Some(text.to_owned());
    }
    let hex = |byte: u8| char::from(byte).to_digit(16);
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'%' => {
                out.push((hex(*bytes.get(at)?)? * 16 + hex(*bytes.get(at + 1)?)?) as u8);
                at += 2;
            }
            b'+' if plus_is_space => out.push(b' '),
            other => out.push(other),
        }
    }
    String::from_utf8(out).ok()
}

/// A query, decoded once. Names are case-sensitive; of a name given twice the first counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// From the text behind `?`. A name without `=` has an empty value.
    pub fn parse(text: Option<&str>) -> Result<Self, S3Error> {
        let pair = |part: &str| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            Some((decoded(name, true)?, decoded(value, true)?))
        };
        let parts = text.unwrap_or("").split('&').filter(|part| !part.is_empty());
        let pairs = parts.map(pair).collect::<Option<_>>();
        pairs.map(Self).ok_or_else(|| S3Error::new(Code::InvalidURI).detail("URI", text.unwrap_or("")))
    }

    /// The value of `name`; without `=` it is empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The value of `name` when there is one that is not empty.
    pub fn filled(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// Whether `name` is there, with or without a value.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// All pairs, in order.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_key_survives_its_encoding(key in "\\PC{1,200}") {
            let path = format!("/abc/{}", utf8_percent_encode(&key, NON_ALPHANUMERIC));
            prop_assert_eq!(parsed("h", &path), Ok((Some("abc".into()), Some(key))));
        }

        #[test]
        fn two_paths_name_one_key_only_if_they_decode_alike(one in "[ab/.%25e]{1,8}", two in "[ab/.%25e]{1,8}") {
            let key = |text: &str| parsed("h", &format!("/abc/{text}"));
            if let (Ok(first), Ok(second)) = (key(&one), key(&two)) {
                prop_assert_eq!(first == second, decode_path(&one) == decode_path(&two));
            }
        }

        #[test]
        fn any_target_is_an_answer(host: String, path: String, query: String) {
            let _ = (parsed(&host, &path), Query::parse(Some(&query)));
        }
    }

    fn parsed(host: &str, path: &str) -> Result<(Option<String>, Option<String>), Code> {
        let domains = ["s3.example.org".to_owned(), "eu.s3.example.org".to_owned()];
        let address = Address::parse(Some(host), path, &domains).map_err(|error| error.code)?;
        Ok((address.bucket.map(String::from), address.key.map(String::from)))
    }

    #[test]
    fn paths_name_bucket_and_key() {
        let none = None::<&str>;
        for (path, bucket, key) in [
            ("/", none, none),
            ("", none, none),
            ("/abc", Some("abc"), none),
            ("/abc/", Some("abc"), none),
            ("/abc/k", Some("abc"), Some("k")),
            ("/abc//k", Some("abc"), Some("/k")),
            ("/abc/a//b", Some("abc"), Some("a//b")),
            ("/abc/..", Some("abc"), Some("..")),
            ("/abc/../def", Some("abc"), Some("../def")),
            ("/abc/a/../b/.", Some("abc"), Some("a/../b/.")),
            ("/abc/%2e%2e%2f", Some("abc"), Some("../")),
            ("/abc/a%252Fb", Some("abc"), Some("a%2Fb")),
            ("/abc/a+b%20c", Some("abc"), Some("a+b c")),
            ("/abc/%F0%9F%94%91", Some("abc"), Some("🔑")),
            ("/abc/a%00b", Some("abc"), Some("a\0b")),
            ("/a%62c/k", Some("abc"), Some("k")),
        ] {
            let expected = (bucket.map(str::to_owned), key.map(str::to_owned));
            assert_eq!(parsed("127.0.0.1:9000", path), Ok(expected), "{path}");
        }
    }

    #[test]
    fn hosts_below_a_domain_name_buckets() {
        for (host, path, bucket, key) in [
            ("s3.example.org", "/abc/k", Some("abc"), Some("k")),
            ("S3.Example.Org:9000", "/", None, None),
            ("abc.s3.example.org", "/", Some("abc"), None),
            ("abc.s3.example.org:9000", "/k/l", Some("abc"), Some("k/l")),
            ("ABC.s3.example.org.", "/k", Some("abc"), Some("k")),
            ("abc.eu.s3.example.org", "/k", Some("abc"), Some("k")),
            ("my.abc.s3.example.org", "//k", Some("my.abc"), Some("/k")),
            ("abcs3.example.org", "/def", Some("def"), None),
            ("abc.other.org", "/def", Some("def"), None),
        ] {
            assert_eq!(parsed(host, path), Ok((bucket.map(str::to_owned), key.map(str::to_owned))), "{host}{path}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let long = format!("/abc/{}", "x".repeat(1025));
        for (host, path, code) in [
            ("h", "/abc/%", Code::InvalidURI),
            ("h", "/abc/%4", Code::InvalidURI),
            ("h", "/abc/%zz", Code::InvalidURI),
            ("h", "/abc/%+1", Code::InvalidURI),
            ("h", "/abc/%FF", Code::InvalidURI),
            ("h", "/abc/%ED%A0%80", Code::InvalidURI),
            ("h", "/abc%2Fdef", Code::InvalidBucketName),
            ("h", "//k", Code::InvalidBucketName),
            ("h", "/../k", Code::InvalidBucketName),
            ("h", "/%2e%2e/k", Code::InvalidBucketName),
            ("h", "/Abc", Code::InvalidBucketName),
            ("a_b.s3.example.org", "/k", Code::InvalidBucketName),
            ("h", long.as_str(), Code::KeyTooLongError),
        ] {
            assert_eq!(parsed(host, path), Err(code), "{host}{path}");
        }
        assert!(parsed("h", &format!("/abc/{}", "x".repeat(1024))).is_ok());
    }

    #[test]
    fn queries_are_decoded_once() {
        let query = Query::parse(Some("acl&prefix=a%2Bb+c&empty=&x=1&x=2&&k=%2541")).expect("a query");
        let seen: Vec<_> = ["acl", "prefix", "empty", "x", "k", "none"].map(|name| query.get(name)).into();
        assert_eq!(seen, [Some(""), Some("a+b c"), Some(""), Some("1"), Some("%41"), None]);
        assert_eq!(query.filled("empty"), None);
        assert_eq!(Query::parse(None), Ok(Query::default()));
        for bad in ["prefix=%", "%FF=1", "prefix=%FF"] {
            assert_eq!(Query::parse(Some(bad)).map_err(|error| error.code), Err(Code::InvalidURI), "{bad}");
        }
    }
}
