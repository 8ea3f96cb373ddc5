//! A request before it is signed.

use std::fmt::Write as _;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What a path of a signed request leaves as it is.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');
/// What a query of a signed request leaves as it is.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A request without its body.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    /// The whole key; empty for the bucket itself.
    pub(crate) key: String,
    pub(crate) query: Vec<(&'static str, String)>,
    pub(crate) headers: HeaderMap,
}

impl Ask {
    pub(crate) fn new(method: Method, key: &str) -> Self {
        Self { method, key: key.to_owned(), query: Vec::new(), headers: HeaderMap::new() }
    }

    /// Adds a header; a value that no header can have is left out, which only a bug could bring about.
    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// Adds headers that are always the same.
    pub(crate) fn headers(self, headers: &[(&'static str, &'static str)]) -> Self {
        headers.iter().fold(self, |ask, (name, value)| ask.header(HeaderName::from_static(name), value))
    }

    pub(crate) fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }
}

/// Where a bucket is.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Scheme, host, and the bucket where it is part of the path; no slash at its end.
    pub(crate) base: String,
    /// The bucket itself is asked for with a slash behind it.
    pub(crate) slash: bool,
    /// Of all our keys; empty, or with a slash at its end.
    pub(crate) prefix: String,
}

impl Place {
    /// A place whose keys begin with the prefix an address names.
    pub(crate) fn new(base: String, slash: bool, prefix: &str) -> Self {
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Self { base, slash, prefix }
    }

    /// A request's URL.
    pub(crate) fn url(&self, ask: &Ask) -> String {
        let slash = if self.slash || !ask.key.is_empty() { "/" } else { "" };
        let mut url = format!("{}{slash}{}", self.base, utf8_percent_encode(&ask.key, PATH));
        for (number, (name, value)) in ask.query.iter().enumerate() {
            let join = if number == 0 { '?' } else { '&' };
            let value = utf8_percent_encode(value, QUERY);
            // Writing to a string cannot fail.
            let _ = write!(url, "{join}{name}={value}");
        }
        url
    }
}
