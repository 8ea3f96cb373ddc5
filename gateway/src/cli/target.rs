//! `s3://bucket/key` and `s3://bucket/prefix`, as commands take them.

use std::str::FromStr;

use holdall_namespace::name::BucketName;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::exit::Failure;

/// Everything but letters, digits and `-._~` is encoded, as signatures want it.
pub(crate) const STRICT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A bucket and what follows it, taken as it is: `..`, `//` and spaces mean themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The bucket.
    pub bucket: BucketName,
    /// A key or a literal prefix; may be empty.
    pub rest: String,
}

impl Target {
    /// The object as a query of the admin API names it; misuse where none is named.
    pub(crate) fn object(&self) -> Result<String, Failure> {
        if self.rest.is_empty() {
            return Err(Failure::misuse(format!("`s3://{}` names no object", self.bucket)));
        }
        Ok(format!("bucket={}&key={}", encode(self.bucket.as_str()), encode(&self.rest)))
    }
}

/// The text names no place in S3.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not of the form s3://bucket/key")]
pub struct NotATarget(String);

impl FromStr for Target {
    type Err = NotATarget;

    fn from_str(text: &str) -> Result<Self, NotATarget> {
        let bad = || NotATarget(text.to_owned());
        let path = text.strip_prefix("s3://").ok_or_else(bad)?;
        let (bucket, rest) = path.split_once('/').unwrap_or((path, ""));
        Ok(Self { bucket: bucket.parse().map_err(|_| bad())?, rest: rest.to_owned() })
    }
}

/// A path segment or query value, encoded.
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, STRICT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_the_bucket_is_literal() {
        let read = |text: &str| text.parse::<Target>().map(|target| (target.bucket.to_string(), target.rest)).ok();
        assert_eq!(read("s3://abc"), Some(("abc".to_owned(), String::new())));
        assert_eq!(read("s3://abc/"), Some(("abc".to_owned(), String::new())));
        assert_eq!(read("s3://abc/a//../b ?%2F"), Some(("abc".to_owned(), "a//../b ?%2F".to_owned())));
        assert_eq!(read("s3://abc//x"), Some(("abc".to_owned(), "/x".to_owned())));
        for bad in ["abc/x", "s3://", "s3://A/x", "S3://abc/x", "https://abc/x"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
