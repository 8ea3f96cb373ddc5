//! Files on anybody's web server, read where they lie. Nothing is written.
//!
//! What there is says the page that the server makes of each folder, or a list of names. What a file is says a HEAD: a page's
//! sizes are rounded. A file is known by its `ETag`, where it has one, and by `Last-Modified`: a read asks for nothing
//! else, looks at what the answer says, and looks again behind the last byte.

mod connect;
mod page;
#[cfg(test)]
mod tests;
mod walk;

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use http::header::ACCEPT;
use http::{HeaderMap, Method};
use url::Url;

use crate::address::Address;
use crate::connect::Credentials;
use crate::error::SiloError;
use crate::facts::Facts;
use crate::folders::{Entry, Folders, is_path};
use crate::holdings::{Found, Held, Holdings, Walk};
use crate::limits::MAX_LIST;
use crate::silo::{Pieces, Validator};
use crate::web::{
    Ask, Client, Failure, TIME_GRAIN, is_ours, length, looked_at, read_of_others, server, spell, whole_up_to,
};

pub(crate) use connect::{Plain, WORDS, words};
pub(crate) use page::below;
use walk::SiteWalk;

/// A web server's files, below a path.
pub(crate) struct Site {
    here: Arc<Here>,
}

/// Where they are, and who says which there are.
struct Here {
    client: Arc<Client>,
    /// The name of the list; none where folders list themselves.
    list: Option<String>,
    listed: Mutex<Listed>,
}

/// The list as it was read last.
#[derive(Default, Clone)]
struct Listed {
    /// What the list was known by.
    known: Option<Validator>,
    names: Arc<Vec<String>>,
}

impl Site {
    /// What the server holds below an address's path; touches nothing.
    pub(crate) fn new(address: &Address, credentials: &Credentials) -> Result<Self, String> {
        let Address::Http { list, .. } = address else { return Err("not an address of a web server".to_owned()) };
        let client = Arc::new(Client::new(connect::service(address, credentials)?)?);
        Ok(Self { here: Arc::new(Here { client, list: list.clone(), listed: Mutex::default() }) })
    }
}

impl Here {
    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.client.prefix())
    }

    /// Whether the server still says what there is.
    async fn glance(&self) -> Result<(), SiloError> {
        if self.list.is_some() { self.names().await.map(drop) } else { self.entries("").await.map(drop) }
    }

    /// The names of the list, read again only where it was changed.
    async fn names(&self) -> Result<Arc<Vec<String>>, SiloError> {
        let Some(list) = &self.list else { return Ok(Arc::default()) };
        let gone = |error| if error == SiloError::Missing { no_list(list) } else { error };
        let ask = Ask::new(Method::HEAD, &self.key(list)).headers(WORDS.others.read);
        let answer = self.client.look(&ask).await.map_err(Failure::reading).map_err(gone)?;
        // One that says no time is read each time.
        let known = looked_at(&self.client, list.as_bytes(), answer.headers(), 0).ok();
        let known = known.filter(|held| !held.unsettled).map(|held| held.validator);
        let before = self.listed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if known.is_some() && known == before.known {
            return Ok(before.names);
        }
        let ask = Ask::new(Method::GET, &self.key(list)).headers(WORDS.others.read);
        let names = Arc::new(page::names(&self.text(&ask).await.map_err(gone)?)?);
        *self.listed.lock().unwrap_or_else(PoisonError::into_inner) = Listed { known, names: Arc::clone(&names) };
        Ok(names)
    }

    async fn text(&self, ask: &Ask) -> Result<String, SiloError> {
        let answer = self.client.look(ask).await.map_err(Failure::reading)?;
        let text = whole_up_to(answer, MAX_LIST).await.map_err(SiloError::not_done)?;
        String::from_utf8(text.into()).map_err(|_| SiloError::not_done("what lists names is not UTF-8"))
    }

    /// What a name is; none where it is gone meanwhile.
    async fn found(&self, name: String) -> Result<Option<Found>, SiloError> {
        let bytes = name.as_bytes().to_owned();
        if !is_path(&name) {
            return Ok(Some(Found::Refused { name: bytes, reason: "no name of a file".to_owned() }));
        }
        let failure = match head(&self.client, &self.key(&name)).await {
            Ok((answer, size)) => {
                let held = size.ok_or_else(|| SiloError::mismatch("no `Content-Length`"));
                return match held.and_then(|size| looked_at(&self.client, &bytes, &answer, size)) {
                    Ok(held) => Ok(Some(Found::Held(held))),
                    Err(SiloError::Mismatch { reason }) => Ok(Some(Found::Refused { name: bytes, reason })),
                    Err(error) => Ok(Some(Found::Unread { name: bytes, reason: error.to_string() })),
                };
            }
            Err(failure) => failure,
        };
        match failure.status() {
            Some(404 | 410) => Ok(None),
            Some(status @ 300..=399) => Ok(Some(Found::Refused { name: bytes, reason: elsewhere(status) })),
            Some(_) => Ok(Some(Found::Unread { name: bytes, reason: failure.reading().to_string() })),
            None => Err(failure.reading()),
        }
    }

    /// A 404 is believed as long as the server still says what there is.
    async fn missing(&self) -> SiloError {
        self.glance().await.err().unwrap_or(SiloError::Missing)
    }

    /// The name as a request spells it, where a walk comes to it.
    async fn spelled<'a>(&self, name: &'a [u8]) -> Result<&'a str, SiloError> {
        if is_ours(name) {
            return Err(SiloError::Missing);
        }
        let spelled = spell(name).map_err(SiloError::mismatch)?;
        let listed =
            self.list.is_none() || self.names().await?.binary_search_by(|one| one.as_str().cmp(spelled)).is_ok();
        if is_path(spelled) && listed { Ok(spelled) } else { Err(SiloError::Missing) }
    }
}

/// What is said of a file, and its length where that is told. Apache leaves the one of an empty file out of the answer to a
/// HEAD: a GET tells it.
pub(crate) async fn head(client: &Client, key: &str) -> Result<(HeaderMap, Option<u64>), Failure> {
    let ask = |method| Ask::new(method, key).headers(client.words().others.read);
    let answer = client.look(&ask(Method::HEAD)).await?;
    if let Ok(length) = length(&answer) {
        return Ok((answer.headers().clone(), Some(length)));
    }
    let answer = client.look(&ask(Method::GET)).await?;
    Ok((answer.headers().clone(), length(&answer).ok()))
}

fn no_list(list: &str) -> SiloError {
    SiloError::not_done(format!("there is no list of names `{list}`"))
}

fn elsewhere(status: u16) -> String {
    format!("answered {status}: what lies elsewhere is not followed")
}

#[async_trait]
impl Folders for Here {
    type File = ();

    async fn entries(&self, folder: &str) -> Result<Vec<Entry<()>>, SiloError> {
        let ask = Ask::new(Method::GET, &self.key(folder)).headers(WORDS.others.read);
        let text = self.text(&ask.header(ACCEPT, "application/json, text/html;q=0.9")).await?;
        let place = self.client.service.place();
        let url = Url::parse(&place.url(&Ask::new(Method::GET, &self.key(folder)))).map_err(SiloError::not_done)?;
        page::entries(&text, &url)
    }
}

#[async_trait]
impl Holdings for Site {
    /// Its address: another server there is the same.
    async fn identity(&self) -> Result<String, SiloError> {
        self.here.glance().await?;
        let place = self.here.client.service.place();
        Ok(format!("{} {}/{}", WORDS.family, place.base, place.prefix))
    }

    async fn shows_every_write(&self) -> Result<bool, SiloError> {
        Ok(false)
    }

    async fn facts(&self) -> Result<Facts, SiloError> {
        self.here.glance().await?;
        let ask = Ask::new(Method::GET, &self.here.key(self.here.list.as_deref().unwrap_or_default()));
        let answer = self.here.client.look(&ask).await.map_err(Failure::reading)?;
        let note = match &self.here.list {
            Some(list) => format!("what there is says `{list}`"),
            None => "what there is says the page of each folder: what it leaves out is not seen".to_owned(),
        };
        Ok(Facts {
            family: WORDS.family.to_owned(),
            conditional_read: true,
            time_grain_ns: TIME_GRAIN,
            kind: server(answer.headers()).unwrap_or_else(|| WORDS.family.to_owned()),
            notes: vec![note],
            ..Facts::default()
        })
    }

    fn walk(&self, prefix: &[u8], after: Option<&[u8]>) -> Box<dyn Walk> {
        Box::new(SiteWalk::new(Arc::clone(&self.here), prefix, after))
    }

    async fn look(&self, name: &[u8]) -> Result<Held, SiloError> {
        let spelled = self.here.spelled(name).await?;
        match self.here.found(spelled.to_owned()).await? {
            Some(Found::Held(held)) => Ok(held),
            // A folder's name without its slash.
            Some(Found::Refused { reason, .. }) if reason == elsewhere(301) => Err(self.here.missing().await),
            Some(Found::Refused { reason, .. } | Found::Archived { reason, .. }) => Err(SiloError::mismatch(reason)),
            Some(Found::Unread { reason, .. }) => Err(SiloError::not_done(reason)),
            None => Err(self.here.missing().await),
        }
    }

    async fn read(
        &self,
        name: &[u8],
        size: u64,
        validator: &Validator,
        range: Range<u64>,
    ) -> Result<Pieces, SiloError> {
        let spelled = self.here.spelled(name).await?;
        let client = Arc::clone(&self.here.client);
        match read_of_others(client, self.here.key(spelled), size, &validator.0, range).await {
            Err(SiloError::Missing) => Err(self.here.missing().await),
            outcome => outcome,
        }
    }
}
