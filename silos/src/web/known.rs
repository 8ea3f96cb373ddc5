//! What an object that others put is known by again.

use std::borrow::Cow;

use http::header::{ETAG, IF_MATCH, IF_UNMODIFIED_SINCE, LAST_MODIFIED};
use http::{HeaderMap, HeaderName};

use crate::web::Entry;
use crate::web::answer::header;
use crate::web::ask::Ask;

/// Two objects that are known by the same are the same bytes under the same name.
#[derive(Debug)]
pub(crate) enum KnownBy {
    /// Its `ETag`.
    ETag,
    /// A number drawn for each write, named by these headers in answers and in conditions.
    Generation { answer: &'static str, condition: &'static str },
    /// A file's `ETag`, where it has one, and when it was changed last. Many servers make the one of the other, and call it
    /// weak as long as the file is new.
    File,
}

impl KnownBy {
    /// What an answer's object is known by.
    pub(crate) fn of_answer<'a>(&self, answer: &'a HeaderMap) -> Option<Cow<'a, str>> {
        match self {
            Self::ETag => header(answer, ETAG.as_str()).map(Cow::Borrowed),
            Self::Generation { answer: name, .. } => header(answer, name).map(Cow::Borrowed),
            Self::File => {
                let modified = header(answer, LAST_MODIFIED.as_str())?;
                Some(Cow::Owned(file(header(answer, ETAG.as_str()).unwrap_or_default(), modified)))
            }
        }
    }

    /// What an entry of a listing is known by; empty where the listing does not tell.
    pub(crate) fn of_entry<'a>(&self, entry: &'a Entry) -> Cow<'a, str> {
        match self {
            Self::ETag => Cow::Borrowed(bare(&entry.etag)),
            Self::Generation { .. } => Cow::Borrowed(&entry.generation),
            Self::File => Cow::Owned(file(&entry.etag, &entry.modified)),
        }
    }

    /// What is told bare, as conditions spell it.
    pub(crate) fn spell(&self, bare: &str) -> String {
        match self {
            Self::ETag => format!("\"{bare}\""),
            Self::Generation { .. } | Self::File => bare.to_owned(),
        }
    }

    /// A read of what is known by this and of nothing else.
    pub(crate) fn only(&self, ask: Ask, known: &str) -> Ask {
        match self {
            Self::ETag => ask.header(IF_MATCH, known),
            Self::Generation { condition, .. } => ask.header(HeaderName::from_static(condition), known),
            Self::File => {
                let modified = known.rsplit_once('|').map_or(known, |(_, modified)| modified);
                ask.header(IF_UNMODIFIED_SINCE, modified)
            }
        }
    }
}

/// What a file is known by.
fn file(etag: &str, modified: &str) -> String {
    format!("{}|{modified}", bare(etag))
}

/// An `ETag` without its quotes, and without the mark of a weak one that some proxies put before it.
pub(crate) fn bare(etag: &str) -> &str {
    etag.trim_start_matches("W/").trim_matches('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etags_are_the_same_in_every_spelling() {
        for spelled in ["x-1", "\"x-1\"", "W/\"x-1\""] {
            assert_eq!(bare(spelled), "x-1");
        }
        assert_eq!(KnownBy::ETag.spell("x-1"), "\"x-1\"");
    }

    /// Apache's `ETag` of a file that was written within the last second is weak, and the same one is strong later.
    #[test]
    fn a_file_is_the_same_when_it_has_settled() {
        let date = "Fri, 02 Jan 2026 03:04:05 GMT";
        let known = |etag: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.extend(etag.map(|etag| (ETAG, etag.parse().unwrap())));
            assert_eq!(KnownBy::File.of_answer(&headers), None, "without a time it is known by nothing");
            headers.insert(LAST_MODIFIED, date.parse().unwrap());
            KnownBy::File.of_answer(&headers).unwrap().into_owned()
        };
        assert_eq!(known(Some("W/\"a\"")), known(Some("\"a\"")));
        assert_ne!(known(Some("\"a\"")), known(None));
        for known in [known(Some("\"a|b\"")), known(None)] {
            let ask = KnownBy::File.only(Ask::new(http::Method::GET, "f"), &KnownBy::File.spell(&known));
            assert_eq!(ask.headers.get(IF_UNMODIFIED_SINCE).unwrap(), date);
        }
    }
}
