//! Answers. A document written here is well-formed whatever the keys, tags and names in it are.
//!
//! XML 1.0 cannot carry most control characters at all; like AWS we write them as character references, which lenient
//! parsers take, and offer `encoding-type=url` for the rest.

use std::fmt::{Display, Write as _};

use holdall_namespace::clock::UnixMs;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The namespace of every answer but errors.
pub const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";
const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// What `encoding-type=url` leaves as it is.
const URL_SAFE: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'*').remove(b'/');

/// How keys are written in lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyEncoding {
    /// As text.
    #[default]
    Plain,
    /// `encoding-type=url`
    Url,
}

/// A document under construction; elements open and close in pairs by construction.
pub struct Document {
    out: String,
    root: &'static str,
}

impl Document {
    /// An answer in S3's namespace.
    pub fn new(root: &'static str) -> Self {
        let mut out = String::with_capacity(512);
        let _ = write!(out, "{DECLARATION}<{root} xmlns=\"{NAMESPACE}\">");
        Self { out, root }
    }

    /// A document without a namespace, as errors are.
    pub fn bare(root: &'static str) -> Self {
        Self { out: format!("{DECLARATION}<{root}>"), root }
    }

    /// An element with text.
    pub fn text(&mut self, name: &str, value: &str) {
        let _ = write!(self.out, "<{name}>");
        escape(&mut self.out, value);
        let _ = write!(self.out, "</{name}>");
    }

    /// An element with a number, a truth value or anything else that needs no escaping.
    pub fn plain(&mut self, name: &str, value: impl Display) {
        let _ = write!(self.out, "<{name}>{value}</{name}>");
    }

    /// An element with a key, prefix, marker or delimiter, encoded as the client asked.
    pub fn key(&mut self, name: &str, value: &str, encoding: KeyEncoding) {
        match encoding {
            KeyEncoding::Plain => self.text(name, value),
            KeyEncoding::Url => self.plain(name, utf8_percent_encode(value, URL_SAFE)),
        }
    }

    /// An element with text when there is any.
    pub fn some(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// An ETag, with its quotes.
    pub fn etag(&mut self, etag: &str) {
        self.out.push_str("<ETag>&quot;");
        escape(&mut self.out, etag);
        self.out.push_str("&quot;</ETag>");
    }

    /// An element with elements.
    pub fn nested(&mut self, name: &str, fill: impl FnOnce(&mut Self)) {
        self.nested_with(name, "", fill);
    }

    /// An element with literal attributes (of ours, never a client's) and elements.
    pub fn nested_with(&mut self, name: &str, attributes: &'static str, fill: impl FnOnce(&mut Self)) {
        let _ = write!(self.out, "<{name}{attributes}>");
        fill(self);
        let _ = write!(self.out, "</{name}>");
    }

    /// Text of the root itself.
    pub fn content(&mut self, value: &str) {
        escape(&mut self.out, value);
    }

    /// The whole document.
    pub fn finish(mut self) -> String {
        let _ = write!(self.out, "</{}>", self.root);
        self.out
    }
}

/// A time as lists show it: `2009-10-12T17:50:30.000Z`.
pub fn timestamp(time: UnixMs) -> String {
    let time = Timestamp::from_millisecond(time).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(TimeZone::UTC);
    let millisecond = time.millisecond();
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{millisecond:03}Z",
        time.year(),
        time.month(),
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

fn escape(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c < ' ' || matches!(c, '&' | '<' | '>' | '"' | '\u{7f}')) {
        out.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            b'&' => out.push_str("&amp;"),
            b'<' => out.push_str("&lt;"),
            b'>' => out.push_str("&gt;"),
            b'"' => out.push_str("&quot;"),
            control => {
                let _ = write!(out, "&#x{control:X};");
            }
        }
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: &str, encoding: KeyEncoding) -> String {
        let mut document = Document::bare("R");
        document.key("Key", value, encoding);
        document.finish().strip_prefix(DECLARATION).expect("declared").to_owned()
    }

    #[test]
    fn text_cannot_become_markup() {
        for (value, expected) in [
            ("a/b", "a/b"),
            ("<Key>&\"'", "&lt;Key&gt;&amp;&quot;'"),
            ("a\nb\r\u{1}\u{7f}", "a&#xA;b&#xD;&#x1;&#x7F;"),
            ("ключ 🔑", "ключ 🔑"),
            ("", ""),
        ] {
            assert_eq!(written(value, KeyEncoding::Plain), format!("<R><Key>{expected}</Key></R>"));
        }
    }

    #[test]
    fn url_encoding_leaves_what_clients_expect_left() {
        for (value, expected) in [
            ("foo+1/bar", "foo%2B1/bar"),
            ("quux ab/", "quux%20ab/"),
            ("\n%", "%0A%25"),
            ("a-_.~*b", "a-_.~*b"),
            ("é", "%C3%A9"),
        ] {
            assert_eq!(written(value, KeyEncoding::Url), format!("<R><Key>{expected}</Key></R>"));
        }
    }

    #[test]
    fn times_have_milliseconds_always() {
        for (time, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_255_369_830_000, "2009-10-12T17:50:30.000Z"),
            (1_255_369_830_007, "2009-10-12T17:50:30.007Z"),
        ] {
            assert_eq!(timestamp(time), expected);
        }
    }
}
