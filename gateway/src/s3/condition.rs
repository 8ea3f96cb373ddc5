//! If-Match and its relatives: parsing, and for reads and copies the decision. Writes are decided inside the commit.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-requests.html>

use holdall_namespace::object::{Condition, ETags, Object};
use http::HeaderMap;

use crate::error::{Code, S3Error};
use crate::s3::header;

/// The four headers of a read, or of a copy's source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadCondition {
    if_match: Option<ETags>,
    if_none_match: Option<ETags>,
    modified_since: Option<u64>,
    unmodified_since: Option<u64>,
}

/// What a read's condition says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Holds,
    /// 304 for reads, 412 for copies; because of which header.
    NotModified(&'static str),
    /// 412; because of which header.
    Failed(&'static str),
}

impl ReadCondition {
    /// Of a GET or HEAD.
    pub fn of_read(headers: &HeaderMap) -> Result<Self, S3Error> {
        Self::of(headers, ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since"])
    }

    /// Of a copy's source.
    pub fn of_source(headers: &HeaderMap) -> Result<Self, S3Error> {
        Self::of(
            headers,
            [
                "x-amz-copy-source-if-match",
                "x-amz-copy-source-if-none-match",
                "x-amz-copy-source-if-modified-since",
                "x-amz-copy-source-if-unmodified-since",
            ],
        )
    }

    fn of(headers: &HeaderMap, [matches, none, modified, unmodified]: [&str; 4]) -> Result<Self, S3Error> {
        let date = |name| header::text(headers, name).map(|text| text.and_then(header::parse_date));
        Ok(Self {
            if_match: etags(headers, matches)?,
            if_none_match: etags(headers, none)?,
            modified_since: date(modified)?,
            unmodified_since: date(unmodified)?,
        })
    }

    /// Decides. An ETag header beats the date of its kind, as HTTP wants it.
    pub fn check(&self, object: &Object) -> Verdict {
        let modified = u64::try_from(object.modified / 1000).unwrap_or(0);
        match (&self.if_match, self.unmodified_since) {
            (Some(wanted), _) if !wanted.matches(&object.etag) => return Verdict::Failed("If-Match"),
            (None, Some(time)) if modified > time => return Verdict::Failed("If-Unmodified-Since"),
            _ => {}
        }
        match (&self.if_none_match, self.modified_since) {
            (Some(refused), _) if refused.matches(&object.etag) => Verdict::NotModified("If-None-Match"),
            (None, Some(time)) if modified <= time => Verdict::NotModified("If-Modified-Since"),
            _ => Verdict::Holds,
        }
    }

    /// Decides for a copy's source, where every failure is 412.
    pub fn check_source(&self, object: &Object) -> Result<(), S3Error> {
        match self.check(object) {
            Verdict::Holds => Ok(()),
            Verdict::NotModified(header) | Verdict::Failed(header) => {
                Err(S3Error::new(Code::PreconditionFailed).detail("Condition", format!("x-amz-copy-source-{header}")))
            }
        }
    }
}

/// The condition of a write, for the commit to decide.
pub fn of_write(headers: &HeaderMap) -> Result<Condition, S3Error> {
    for name in ["if-modified-since", "if-unmodified-since"] {
        if headers.contains_key(name) {
            return Err(S3Error::header_not_implemented(name));
        }
    }
    Ok(Condition { if_match: etags(headers, "if-match")?, if_none_match: etags(headers, "if-none-match")? })
}

/// The tags of a header; quotes and a weak mark are left out.
fn etags(headers: &HeaderMap, name: &str) -> Result<Option<ETags>, S3Error> {
    Ok(header::text(headers, name)?.map(parse))
}

/// `*`, or tags with or without quotes.
pub fn parse(text: &str) -> ETags {
    if text.trim() == "*" {
        return ETags::Any;
    }
    let plain = |tag: &str| {
        let tag = tag.trim();
        tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"').to_owned()
    };
    ETags::Of(text.split(',').map(plain).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    const BEFORE: &str = "Tue, 15 Nov 1994 08:10:10 GMT";
    const THEN: &str = "Tue, 15 Nov 1994 08:10:11 GMT";
    const AFTER: &str = "Tue, 15 Nov 1994 08:10:12 GMT";

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    fn object() -> Object {
        Object {
            size: 0,
            etag: "abc".into(),
            modified: 784_887_011_999,
            headers: holdall_namespace::object::Headers::default(),
            tags: vec![],
            checksum: None,
            parts: None,
            storage_class: None,
        }
    }

    #[test]
    fn reads_follow_http() {
        use Verdict::{Failed, Holds, NotModified};
        let (m, n) = ("if-match", "if-none-match");
        let (since, unless) = ("if-modified-since", "if-unmodified-since");
        for (pairs, expected) in [
            (&[][..], Holds),
            (&[(m, "\"abc\"")][..], Holds),
            (&[(m, "abc")], Holds),
            (&[(m, "*")], Holds),
            (&[(m, "\"x\", \"abc\"")], Holds),
            (&[(m, "\"x\"")], Failed("If-Match")),
            (&[(n, "\"x\"")], Holds),
            (&[(n, "W/\"abc\"")], NotModified("If-None-Match")),
            (&[(n, "*")], NotModified("If-None-Match")),
            (&[(since, BEFORE)], Holds),
            (&[(since, THEN)], NotModified("If-Modified-Since")),
            (&[(since, AFTER)], NotModified("If-Modified-Since")),
            (&[(since, "nonsense")], Holds),
            (&[(unless, BEFORE)], Failed("If-Unmodified-Since")),
            (&[(unless, THEN)], Holds),
            (&[(m, "\"abc\""), (unless, BEFORE)], Holds),
            (&[(n, "\"x\""), (since, AFTER)], Holds),
            (&[(n, "\"abc\""), (since, BEFORE)], NotModified("If-None-Match")),
            (&[(m, "\"abc\""), (n, "\"abc\"")], NotModified("If-None-Match")),
        ] {
            let condition = ReadCondition::of_read(&headers(pairs)).expect("a condition");
            assert_eq!(condition.check(&object()), expected, "{pairs:?}");
        }
    }

    #[test]
    fn a_copy_fails_on_any_of_them() {
        for (name, value, ok) in [
            ("x-amz-copy-source-if-match", "abc", true),
            ("x-amz-copy-source-if-match", "x", false),
            ("x-amz-copy-source-if-none-match", "abc", false),
            ("x-amz-copy-source-if-modified-since", AFTER, false),
            ("x-amz-copy-source-if-unmodified-since", BEFORE, false),
        ] {
            let condition = ReadCondition::of_source(&headers(&[(name, value)])).expect("a condition");
            let code = condition.check_source(&object()).map_err(|error| error.code);
            assert_eq!(code, if ok { Ok(()) } else { Err(Code::PreconditionFailed) }, "{name}: {value}");
        }
    }

    #[test]
    fn writes_take_etags_only() {
        let condition = of_write(&headers(&[("if-none-match", "*")])).expect("a condition");
        assert_eq!(condition, Condition { if_match: None, if_none_match: Some(ETags::Any) });
        let refused = of_write(&headers(&[("if-modified-since", THEN)])).map_err(|error| error.code);
        assert_eq!(refused, Err(Code::NotImplemented));
    }
}
