//! How a kind spells what all of them have.

use crc_fast::CrcAlgorithm;
use http::{HeaderMap, HeaderName};

use crate::web::ask::Ask;
use crate::web::known::KnownBy;

/// A kind's words.
pub(crate) struct Words {
    /// See [`crate::facts::Facts::family`].
    pub(crate) family: &'static str,
    pub(crate) codes: Codes,
    /// Every PUT has these headers, named in small letters.
    pub(crate) put: &'static [(&'static str, &'static str)],
    /// Every DELETE has these.
    pub(crate) delete: &'static [(&'static str, &'static str)],
    /// What a blob says of itself, in base64.
    pub(crate) description: HeaderName,
    /// A PUT with this header replaces nothing.
    pub(crate) exclusive: (HeaderName, &'static str),
    /// That header as the service's own pages write it.
    pub(crate) exclusive_shown: &'static str,
    /// A PUT with this header is refused when other bytes came.
    pub(crate) checksum: Checksum,
    pub(crate) echo: Echo,
    /// What tells the versions of an object apart, and deletes one.
    pub(crate) version: Option<Version>,
    /// An `ETag` that no object has.
    pub(crate) no_etag: &'static str,
    pub(crate) others: Others,
}

/// How a kind tells of objects that others put.
pub(crate) struct Others {
    pub(crate) known_by: KnownBy,
    /// They are files: written to while they are read, perhaps, and twice within a second.
    pub(crate) files: bool,
    /// Every HEAD and GET has these headers.
    pub(crate) read: &'static [(&'static str, &'static str)],
    /// What the names of user metadata begin with.
    pub(crate) user: &'static str,
    /// The header with a storage class, and the class that goes without saying.
    pub(crate) class: &'static str,
    pub(crate) usual: &'static str,
    /// Where there are tags: the header that counts them, and the query that asks for them.
    pub(crate) tags: Option<(&'static str, (&'static str, &'static str))>,
    /// Classes of which nothing is read before somebody restores it.
    pub(crate) archived: &'static [&'static str],
    /// Whether an answer's object can be read, where the answer says more than its class does.
    pub(crate) restored: fn(&HeaderMap) -> Option<bool>,
}

/// What error codes mean. A code that is not here means nothing but its status.
pub(crate) struct Codes {
    /// A header that says the code; the body may as well.
    pub(crate) header: Option<&'static str>,
    /// Fewer requests are asked for, and nothing happened. So is a 429.
    pub(crate) throttled: &'static [&'static str],
    /// There is no room. So says a 507.
    pub(crate) full: &'static [&'static str],
    /// It is the object that is not there, where the status is 404.
    pub(crate) missing: &'static [&'static str],
    /// The object has to be restored before it can be read.
    pub(crate) archived: &'static [&'static str],
    /// A PUT was refused since the name is taken: the status, and the code where it matters.
    pub(crate) taken: &'static [(u16, Option<&'static str>)],
}

/// A checksum that is sent before the body.
pub(crate) struct Checksum {
    pub(crate) header: HeaderName,
    pub(crate) of: fn(&[u8]) -> String,
}

/// What a silo says of the bytes of a PUT when it has them.
pub(crate) struct Echo {
    pub(crate) algorithm: CrcAlgorithm,
    /// A checksum of ours as the silo spells it.
    pub(crate) spell: fn(u64) -> String,
    /// The silo's, where its answer has one.
    pub(crate) read: fn(&HeaderMap) -> Option<String>,
}

/// How a version is named.
pub(crate) struct Version {
    pub(crate) header: &'static str,
    pub(crate) query: &'static str,
}

impl Words {
    /// A PUT that replaces nothing.
    pub(crate) fn exclusive(&self, ask: Ask) -> Ask {
        ask.header(self.exclusive.0.clone(), self.exclusive.1)
    }

    /// A PUT that says what will come.
    pub(crate) fn with_checksum(&self, ask: Ask, bytes: &[u8]) -> Ask {
        ask.header(self.checksum.header.clone(), &(self.checksum.of)(bytes))
    }

    /// The version an answer is about, where it names one.
    pub(crate) fn version<'a>(&self, answer: &'a HeaderMap) -> Option<&'a str> {
        let version = answer.get(self.version.as_ref()?.header)?.to_str().ok();
        version.filter(|id| *id != "null")
    }

    /// A request for one version of what the request is about.
    pub(crate) fn of_version(&self, ask: Ask, version: &str) -> Ask {
        match &self.version {
            Some(named) => ask.query(named.query, version),
            None => ask,
        }
    }
}
