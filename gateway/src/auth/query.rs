//! A query as name and value pairs: decoded once, by the rules that clients sign by.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::error::{Code, S3Error};

/// Pairs in the order in which they were sent.
pub(super) struct Query<'a>(pub(super) Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    /// Splits and decodes; `+` is a space, as form encoding has it.
    pub(super) fn parse(raw: Option<&'a str>) -> Result<Self, S3Error> {
        let pairs = raw.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let decoded = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name, true)?, decode(value, true)?))
        });
        decoded.collect::<Result<_, _>>().map(Self)
    }

    /// The value of a parameter that may stand once; `Err` when it stands twice.
    pub(super) fn once(&self, name: &str) -> Result<Option<&str>, S3Error> {
        let mut found = self.0.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_ref());
        match (found.next(), found.next()) {
            (first, None) => Ok(first),
            _ => Err(S3Error::with(
                Code::AuthorizationQueryParametersError,
                format!("The query parameter {name} appears more than once."),
            )),
        }
    }

    /// Whether there is such a parameter.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(other, _)| other == name)
    }
}

/// Percent-decodes to text; refuses half escapes and what is not UTF-8.
pub(super) fn decode(raw: &str, form: bool) -> Result<Cow<'_, str>, S3Error> {
    if !raw.bytes().any(|byte| byte == b'%' || (form && byte == b'+')) {
        return Ok(Cow::Borrowed(raw));
    }
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        let whole = byte != b'%'
            || [bytes.next(), bytes.next()].iter().all(|digit| digit.is_some_and(|digit| digit.is_ascii_hexdigit()));
        if !whole {
            return Err(Code::InvalidURI.into());
        }
    }
    let spaced = if form && raw.contains('+') { Cow::Owned(raw.replace('+', " ")) } else { Cow::Borrowed(raw) };
    let decoded: Vec<u8> = percent_decode_str(&spaced).collect();
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| Code::InvalidURI.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_decoded_and_broken_ones_refused() {
        let query = Query::parse(Some("a=1&b&&c=%20x+y%2B&=z&a=2")).unwrap();
        let pairs: Vec<_> = query.0.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(pairs, [("a", "1"), ("b", ""), ("c", " x y+"), ("", "z"), ("a", "2")]);
        assert_eq!(query.once("b"), Ok(Some("")));
        assert_eq!(query.once("d"), Ok(None));
        assert!(query.once("a").is_err());
        for bad in ["a=%", "a=%2", "%zz", "a=%ff", "a=%+1"] {
            assert_eq!(Query::parse(Some(bad)).err().map(|error| error.code), Some(Code::InvalidURI), "{bad}");
        }
    }
}
