//! What a PROPFIND is answered.

use http::HeaderMap;
use quick_xml::de::from_str;
use serde::Deserialize;
use serde::de::IgnoredAny;
use url::Url;

use super::WORDS;
use crate::error::SiloError;
use crate::folders::{Entry, What};
use crate::holdings::Held;
use crate::http::below;
use crate::silo::Validator;
use crate::web::{Entry as Told, etag, moment, settles, xml};

#[derive(Deserialize)]
struct Multistatus {
    #[serde(default)]
    response: Vec<Response>,
}

#[derive(Deserialize)]
struct Response {
    href: String,
    #[serde(default)]
    propstat: Vec<Propstat>,
}

#[derive(Deserialize)]
struct Propstat {
    #[serde(default)]
    status: String,
    prop: Prop,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Prop {
    resourcetype: Option<ResourceType>,
    getcontentlength: Option<String>,
    getcontenttype: Option<String>,
    getlastmodified: Option<String>,
    getetag: Option<String>,
}

#[derive(Deserialize)]
struct ResourceType {
    collection: Option<IgnoredAny>,
}

/// What was asked for.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) is_folder: bool,
    /// Of a file, what is known of it, or why it cannot be read.
    pub(super) itself: Option<Result<Held, String>>,
    /// What lies in it, by their names in it.
    pub(super) entries: Vec<Entry<Held>>,
}

/// Reads an answer about a path, whose URL was asked.
pub(super) fn parse(text: &[u8], headers: &HeaderMap, url: &str, path: &str) -> Result<Found, SiloError> {
    let odd = |error: &dyn std::fmt::Display| SiloError::not_done(format!("an answer that is no listing: {error}"));
    let asked = Url::parse(url).map_err(|error| odd(&error))?;
    let mut folder = asked.clone();
    if !path.is_empty() && !path.ends_with('/') {
        // What is in a file's place is told by the name of its folder.
        folder.set_path(&format!("{}/", asked.path()));
    }
    let answer: Multistatus = from_str(&xml(text)).map_err(|error| odd(&error))?;
    let mut found = Found { is_folder: false, itself: None, entries: Vec::new() };
    let mut told = false;
    for Response { href, propstat } in answer.response {
        let Some(prop) = propstat.into_iter().find(|one| one.status.contains(" 200")).map(|one| one.prop) else {
            continue;
        };
        let is_folder = prop.resourcetype.as_ref().is_some_and(|kind| kind.collection.is_some());
        if is_same(&href, &asked) {
            told = true;
            found.is_folder = is_folder;
            found.itself = (!is_folder).then(|| held(path.to_owned(), prop, headers));
        } else if let Some((name, _)) = below(&href, &folder) {
            found.entries.push(entry(path, name, is_folder, prop, headers));
        }
    }
    if told { Ok(found) } else { Err(odd(&"nothing is said of what was asked for")) }
}

/// Whether a link leads to what was asked for, with a slash at its end or without.
fn is_same(href: &str, asked: &Url) -> bool {
    let decoded =
        |url: &Url| percent_encoding::percent_decode_str(url.path().trim_end_matches('/')).collect::<Vec<u8>>();
    asked.join(href).is_ok_and(|url| decoded(&url) == decoded(asked))
}

fn entry(folder: &str, name: Result<String, String>, is_folder: bool, prop: Prop, headers: &HeaderMap) -> Entry<Held> {
    let name = match name {
        Ok(name) => name,
        Err(name) => return Entry { name, what: What::Refused("a name that is not UTF-8".to_owned()) },
    };
    if is_folder {
        return Entry { name, what: What::Folder };
    }
    match held(format!("{folder}{name}"), prop, headers) {
        Ok(held) => Entry { name, what: What::File(held) },
        Err(reason) => Entry { name, what: What::Refused(reason) },
    }
}

/// What is known of a file, or why it cannot be read.
fn held(name: String, prop: Prop, headers: &HeaderMap) -> Result<Held, String> {
    let size = prop.getcontentlength.and_then(|text| text.trim().parse().ok()).ok_or("no `getcontentlength`")?;
    let modified = prop.getlastmodified.ok_or("no `getlastmodified`")?;
    let told = Told { etag: prop.getetag.unwrap_or_default(), modified, ..Told::default() };
    Ok(Held {
        name: name.into(),
        size,
        validator: Validator(WORDS.others.known_by.of_entry(&told).into_owned()),
        modified: moment(&told.modified).map_err(|error| error.to_string())?,
        unsettled: settles(headers, &told.modified),
        etag: etag(&told.etag),
        complete: true,
        system: prop.getcontenttype.map(|kind| ("content-type".to_owned(), kind)).into_iter().collect(),
        user: Vec::new(),
        tags: Vec::new(),
    })
}
