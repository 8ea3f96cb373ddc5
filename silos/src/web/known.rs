//! What an object that others put is known by again.

use http::header::{ETAG, IF_MATCH};
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
}

impl KnownBy {
    /// What an answer's object is known by.
    pub(crate) fn of_answer<'a>(&self, answer: &'a HeaderMap) -> Option<&'a str> {
        match self {
            Self::ETag => header(answer, ETAG.as_str()),
            Self::Generation { answer: name, .. } => header(answer, name),
        }
    }

    /// What an entry of a listing is known by; empty where the listing does not tell.
    pub(crate) fn of_entry<'a>(&self, entry: &'a Entry) -> &'a str {
        match self {
            Self::ETag => bare(&entry.etag),
            Self::Generation { .. } => &entry.generation,
        }
    }

    /// What is told bare, as conditions spell it.
    pub(crate) fn spell(&self, bare: &str) -> String {
        match self {
            Self::ETag => format!("\"{bare}\""),
            Self::Generation { .. } => bare.to_owned(),
        }
    }

    /// A read of what is known by this and of nothing else.
    pub(crate) fn only(&self, ask: Ask, known: &str) -> Ask {
        match self {
            Self::ETag => ask.header(IF_MATCH, known),
            Self::Generation { condition, .. } => ask.header(HeaderName::from_static(condition), known),
        }
    }
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
}
