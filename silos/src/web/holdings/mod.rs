//! A bucket that others own, whoever keeps it, seen as what it holds. Nothing is written.
//!
//! An object is known by its `ETag`, or by a number where the kind draws one for each write: a read asks for nothing
//! else, and looks at what the answer says, since some servers take a condition and ignore it. What we put there
//! ourselves is not seen.

mod stretches;
mod stride;
mod tags;
mod walk;

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use http::header::{DATE, ETAG, LAST_MODIFIED};
use http::{HeaderMap, Method};
use jiff::Timestamp;
use jiff::fmt::rfc2822;

use crate::error::SiloError;
use crate::facts::Facts;
use crate::holdings::{Found, Held, Holdings, Walk};
use crate::marker::MARKER;
use crate::name::BlobName;
use crate::silo::{Pieces, Validator};
use crate::web::answer::{Failure, header};
use crate::web::ask::Ask;
use crate::web::client::Client;
use crate::web::known::bare;
use crate::web::{Entry, Service, Wanted, get, probe};
use walk::ShelfWalk;

/// Headers that go with an object.
const SYSTEM: [&str; 6] =
    ["content-type", "content-encoding", "content-language", "content-disposition", "cache-control", "expires"];

/// A bucket of others, or what is below a prefix in it.
pub(crate) struct Shelf {
    client: Arc<Client>,
}

impl Shelf {
    /// What a service's bucket holds; touches nothing.
    pub(crate) fn new(service: Box<dyn Service>) -> Result<Self, String> {
        Ok(Self { client: Arc::new(Client::new(service)?) })
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.client.prefix())
    }

    /// A 404 may not say whether it is the object or its bucket that is gone. A listing does.
    async fn missing(&self, name: &str) -> SiloError {
        match self.glance(name).await {
            Ok(()) => SiloError::Missing,
            Err(error) => error,
        }
    }

    /// Lists a name or none.
    async fn glance(&self, prefix: &str) -> Result<(), SiloError> {
        let wanted = Wanted { base: self.client.prefix(), prefix, after: None, limit: 1, restored: false };
        self.client.service.list(&self.client, wanted).await.map(drop)
    }
}

#[async_trait]
impl Holdings for Shelf {
    /// Kind, place and, where the service tells it, owner. A bucket that its owner made anew is the same; one whose owner
    /// may be asked for no more, or only now, is another.
    async fn identity(&self) -> Result<String, SiloError> {
        // Of few names, and of a prefix that no walk has.
        self.glance(MARKER).await?;
        let place = self.client.service.place();
        let identity = format!("{} {}/{}", self.client.words().family, place.base, place.prefix);
        Ok(match self.client.service.owner(&self.client).await? {
            Some(owner) => format!("{identity} of {owner}"),
            None => identity,
        })
    }

    async fn facts(&self) -> Result<Facts, SiloError> {
        self.glance(MARKER).await?;
        let family = self.client.words().family.to_owned();
        Ok(Facts { kind: family.clone(), family, conditional_read: true, ..Facts::default() })
    }

    fn walk(&self, prefix: &[u8], after: Option<&[u8]>) -> Box<dyn Walk> {
        Box::new(ShelfWalk::new(&self.client, prefix, after))
    }

    async fn look(&self, name: &[u8]) -> Result<Held, SiloError> {
        let spelled = spelled(name)?;
        let ask = Ask::new(Method::HEAD, &self.key(spelled)).headers(self.client.words().others.read);
        match self.client.look(&ask).await.map_err(Failure::reading_of_others) {
            Ok(answer) => {
                let held = looked_at(&self.client, name, answer.headers(), get::length(&answer)?)?;
                Ok(Held { tags: tags::of(&self.client, &ask.key, answer.headers()).await?, ..held })
            }
            Err(SiloError::Missing) => Err(self.missing(spelled).await),
            Err(error) => Err(error),
        }
    }

    async fn read(
        &self,
        name: &[u8],
        size: u64,
        validator: &Validator,
        range: Range<u64>,
    ) -> Result<Pieces, SiloError> {
        let spelled = spelled(name)?;
        match get::read_of_others(Arc::clone(&self.client), self.key(spelled), size, &validator.0, range).await {
            Err(SiloError::Missing) => Err(self.missing(spelled).await),
            outcome => outcome,
        }
    }
}

/// The name as a request spells it; an error where there can be no such object, or none that can be asked for.
fn spelled(name: &[u8]) -> Result<&str, SiloError> {
    if name.is_empty() || is_ours(name) {
        return Err(SiloError::Missing);
    }
    spell(name).map_err(SiloError::mismatch)
}

/// What an entry of a listing is; nothing where it is ours, or stands for the folder that is looked at.
fn found(client: &Client, entry: Entry) -> Result<Option<Found>, SiloError> {
    let others = &client.words().others;
    if entry.name.is_empty() || is_ours(&entry.name) {
        return Ok(None);
    }
    let known = others.known_by.of_entry(&entry);
    let refusal = match spell(&entry.name) {
        Err(reason) => Some(reason.to_owned()),
        Ok(_) if !entry.restored && others.archived.contains(&entry.class.as_str()) => {
            let reason = archived(&entry.class);
            return Ok(Some(Found::Archived { name: entry.name, reason }));
        }
        Ok(_) if known.is_empty() => Some(UNKNOWN.to_owned()),
        Ok(_) => None,
    };
    if let Some(reason) = refusal {
        return Ok(Some(Found::Refused { name: entry.name, reason }));
    }
    let listed = !entry.class.is_empty() && entry.class != others.usual;
    Ok(Some(Found::Held(Held {
        validator: Validator(known.into_owned()),
        size: entry.size,
        modified: moment(&entry.modified)?,
        unsettled: false,
        etag: etag(&entry.etag),
        complete: false,
        system: listed.then(|| (others.class.to_owned(), entry.class)).into_iter().collect(),
        user: Vec::new(),
        tags: Vec::new(),
        name: entry.name,
    })))
}

/// What the answer to a HEAD is about.
pub(crate) fn looked_at(client: &Client, name: &[u8], answer: &HeaderMap, size: u64) -> Result<Held, SiloError> {
    let others = &client.words().others;
    let class = header(answer, others.class).unwrap_or_default();
    let readable = (others.restored)(answer).unwrap_or(!others.archived.contains(&class));
    if !readable {
        return Err(SiloError::mismatch(archived(class)));
    }
    let known = others.known_by.of_answer(answer);
    let known = known.as_deref().map(bare).filter(|known| !known.is_empty());
    let mut system: Vec<_> = SYSTEM.iter().filter_map(|name| Some(((*name).to_owned(), text(answer, name)?))).collect();
    if !class.is_empty() && class != others.usual {
        system.push((others.class.to_owned(), class.to_owned()));
    }
    let user = answer.iter().filter_map(|(name, value)| {
        let name = name.as_str().strip_prefix(others.user)?;
        Some((name.to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
    });
    Ok(Held {
        name: name.to_owned(),
        size,
        validator: Validator(known.ok_or_else(|| SiloError::mismatch(UNKNOWN))?.to_owned()),
        modified: moment(header(answer, LAST_MODIFIED.as_str()).unwrap_or_default())?,
        unsettled: others.files && unsettled(answer),
        etag: etag(header(answer, ETAG.as_str()).unwrap_or_default()),
        complete: true,
        system,
        user: user.collect(),
        tags: Vec::new(),
    })
}

const UNKNOWN: &str = "no `ETag`, so that a change could not be told";

fn archived(class: &str) -> String {
    format!("archived ({class}), and to be restored first")
}

pub(crate) fn etag(told: &str) -> Option<String> {
    Some(bare(told)).filter(|etag| !etag.is_empty()).map(str::to_owned)
}

/// A header's value as text, whatever the bytes.
fn text(answer: &HeaderMap, name: &str) -> Option<String> {
    answer.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// Milliseconds of `2026-01-02T03:04:05.678Z` or `Fri, 02 Jan 2026 03:04:05 GMT`, in whole seconds: some listings tell
/// more than any HEAD does.
pub(crate) fn moment(text: &str) -> Result<i64, SiloError> {
    let listed = || text.parse::<Timestamp>().ok();
    let answered = || rfc2822::parse(text).ok().map(|time| time.timestamp());
    let found = listed().or_else(answered).map(|time| time.as_second() * 1000);
    found.ok_or_else(|| SiloError::not_done(format!("`{}` is no time of a change", text.escape_debug())))
}

/// Whether a file was changed so short a time before the server answered that its clock of seconds may hide another
/// change.
pub(crate) fn unsettled(answer: &HeaderMap) -> bool {
    header(answer, LAST_MODIFIED.as_str()).is_some_and(|modified| settles(answer, modified))
}

/// The same of a file that an answer says this time of.
pub(crate) fn settles(answer: &HeaderMap, modified: &str) -> bool {
    let second = |text: &str| rfc2822::parse(text).ok().map(|time| time.timestamp().as_second());
    let (now, changed) = (header(answer, DATE.as_str()).and_then(second), second(modified));
    now.zip(changed).is_some_and(|(now, changed)| now.abs_diff(changed) < 2)
}

/// What our own silos write at a silo's root.
pub(crate) fn is_ours(name: &[u8]) -> bool {
    if name.starts_with(b".holdall/") || name == MARKER.as_bytes() {
        return true;
    }
    let Ok(name) = std::str::from_utf8(name) else { return false };
    probe::is_tried_out(name) || name.strip_prefix("blobs/").is_some_and(|name| name.parse::<BlobName>().is_ok())
}

/// The name as a URL can carry it. URLs drop segments of dots, which would make it another object's.
pub(crate) fn spell(name: &[u8]) -> Result<&str, &'static str> {
    let name = std::str::from_utf8(name).map_err(|_| "a name that is not UTF-8")?;
    if name.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err("a name with `.` or `..` between slashes, which no URL holds");
    }
    Ok(name)
}

/// As much of a name as is UTF-8: what comes behind the name comes behind this.
pub(crate) fn nearest(name: &[u8]) -> &str {
    let valid = match std::str::from_utf8(name) {
        Ok(name) => return name,
        Err(error) => error.valid_up_to(),
    };
    std::str::from_utf8(&name[..valid]).unwrap_or_default()
}

#[cfg(test)]
mod tests;
