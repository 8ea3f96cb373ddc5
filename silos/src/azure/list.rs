//! Listing a container behind a name, with an API that knows no such thing.
//!
//! <https://learn.microsoft.com/en-us/rest/api/storageservices/list-blobs>

use http::Method;
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use crate::azure::floors::{Floor, Floors};
use crate::error::SiloError;
use crate::limits::MAX_LIST_PAGE;
use crate::web::{Ask, Client, Entry, Failure, Wanted, keys, whole, xml};

/// One page of the names that are wanted: one request for whoever goes on where a page ended, and for others the pages
/// between the last place known and the one asked for.
pub(crate) async fn list(client: &Client, floors: &Floors, wanted: Wanted<'_>) -> Result<Vec<Entry>, SiloError> {
    let prefix = format!("{}{}", wanted.base, wanted.prefix);
    let after = wanted.after.map(|after| format!("{}{after}", wanted.base));
    if after.is_none() {
        floors.forget(&prefix);
    }
    let mut from = after.as_ref().and_then(|after| floors.below(&prefix, after));
    let mut remembered = from.is_some();
    loop {
        let behind = from.as_ref().map(|floor| &floor.key);
        let most = if behind == after.as_ref() { wanted.limit } else { MAX_LIST_PAGE };
        let answer = client.look(&ask(&prefix, from.as_ref(), most)).await;
        if remembered && answer.as_ref().is_err_and(Failure::is_refusal) {
            // A marker that is good no more, perhaps; from the beginning it shows.
            floors.forget(&prefix);
            (from, remembered) = (None, false);
            continue;
        }
        let answer = answer.map_err(Failure::reading)?;
        let page = parse(&xml(&whole(answer).await.map_err(SiloError::not_done)?))?;
        // Whoever goes on behind a name would never see what comes too late.
        let seen = behind.filter(|key| **key != prefix).map(String::as_bytes);
        keys::ascend(page.keys.iter().map(|(key, _)| key.as_bytes()), seen)?;
        let last = page.keys.last().map(|(key, _)| key.clone());
        let next = page.next.map(|marker| Floor {
            key: last.or_else(|| from.take().map(|floor| floor.key)).unwrap_or_else(|| prefix.clone()),
            marker,
        });
        if let Some(next) = &next {
            floors.remember(&prefix, next.clone());
        }
        let names = wanted_names(page.keys, after.as_deref(), &wanted)?;
        // A page may be empty though more follow; an empty answer of ours means the end.
        if !names.is_empty() || next.is_none() {
            return Ok(names);
        }
        from = next;
        remembered = false;
    }
}

fn ask(prefix: &str, from: Option<&Floor>, most: usize) -> Ask {
    let ask = Ask::new(Method::GET, "")
        .query("restype", "container")
        .query("comp", "list")
        .query("maxresults", most.to_string())
        .query("prefix", prefix);
    match from {
        Some(floor) => ask.query("marker", floor.marker.clone()),
        None => ask,
    }
}

fn wanted_names(
    keys: Vec<(String, Option<Entry>)>,
    after: Option<&str>,
    wanted: &Wanted<'_>,
) -> Result<Vec<Entry>, SiloError> {
    let behind = keys.into_iter().filter(|(key, _)| after.is_none_or(|after| key.as_str() > after));
    let blobs = behind.filter_map(|(key, entry)| Some((key, entry?)));
    let named = blobs.take(wanted.limit).map(|(key, entry)| match key.strip_prefix(wanted.base) {
        Some(name) => Ok(Entry { name: name.into(), ..entry }),
        None => Err(odd(&"a name outside the prefix asked for")),
    });
    named.collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    blobs: Blobs,
    #[serde(default)]
    next_marker: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Blobs {
    #[serde(default)]
    blob: Vec<Blob>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Blob {
    name: Name,
    properties: Properties,
}

#[derive(Deserialize)]
struct Name {
    /// A name that XML cannot hold comes percent-encoded.
    #[serde(rename = "@Encoded", default)]
    encoded: bool,
    #[serde(rename = "$text", default)]
    text: String,
}

#[derive(Deserialize)]
struct Properties {
    #[serde(rename = "Content-Length")]
    length: u64,
    /// `directory` for a folder, which accounts with a hierarchical namespace show among the blobs.
    #[serde(rename = "ResourceType", default)]
    kind: String,
    #[serde(rename = "Etag", default)]
    etag: String,
    #[serde(rename = "Last-Modified", default)]
    modified: String,
    #[serde(rename = "AccessTier", default)]
    tier: String,
}

impl Properties {
    fn entry(self) -> Entry {
        let Self { length: size, etag, modified, tier: class, .. } = self;
        Entry { size, etag, modified, class, ..Entry::default() }
    }
}

struct Page {
    /// In the service's order; folders have no entry, and entries no name yet.
    keys: Vec<(String, Option<Entry>)>,
    next: Option<String>,
}

fn odd(error: &dyn std::fmt::Display) -> SiloError {
    SiloError::not_done(format!("an answer that is no listing: {error}"))
}

fn parse(text: &str) -> Result<Page, SiloError> {
    let answer: Answer = quick_xml::de::from_str(text).map_err(|error| odd(&error))?;
    let keys = answer.blobs.blob.into_iter().map(|Blob { name, properties }| {
        let Name { encoded, text } = name;
        let key = if encoded { percent_decode_str(&text).decode_utf8_lossy().into_owned() } else { text };
        (key, (properties.kind != "directory").then(|| properties.entry()))
    });
    Ok(Page { keys: keys.collect(), next: answer.next_marker.filter(|marker| !marker.is_empty()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_with_odd_names_and_all() {
        let text = "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ContainerName=\"c\">\
            <Prefix>p/</Prefix><MaxResults>4</MaxResults><Blobs>\
            <Blob><Name>p/a//b+ c&amp;</Name><Properties><Last-Modified>then</Last-Modified><Etag>0x1</Etag>\
            <Content-Length>7</Content-Length><Content-Type>x</Content-Type><AccessTier>Cool</AccessTier>\
            </Properties></Blob>\
            <Blob><Name>p/folder</Name><Properties><ResourceType>directory</ResourceType>\
            <Content-Length>0</Content-Length></Properties></Blob>\
            <Blob><Name Encoded=\"true\">p/%EF%BF%BE</Name><Properties><Content-Length>0</Content-Length></Properties>\
            </Blob></Blobs><NextMarker>2!92!MDAwM&amp;</NextMarker></EnumerationResults>";
        let page = parse(&xml(text.as_bytes())).unwrap();
        let (etag, modified, class) = ("0x1".to_owned(), "then".to_owned(), "Cool".to_owned());
        let first = Entry { size: 7, etag, modified, class, ..Entry::default() };
        let keys = [("p/a//b+ c&", Some(first)), ("p/folder", None), ("p/\u{fffe}", Some(Entry::default()))];
        assert_eq!(page.keys, keys.map(|(key, entry)| (key.to_owned(), entry)));
        assert_eq!(page.next.as_deref(), Some("2!92!MDAwM&"));
        let wanted = Wanted { base: "p/", prefix: "", after: None, limit: 9, restored: false };
        let names = wanted_names(page.keys, Some("p/a"), &wanted).unwrap();
        let names: Vec<_> = names.iter().map(|entry| entry.name.as_slice()).collect();
        assert_eq!(names, [b"a//b+ c&".as_slice(), "\u{fffe}".as_bytes()]);
    }

    #[test]
    fn the_end_has_no_next_page() {
        for end in ["<Blobs /><NextMarker />", "<Blobs></Blobs>", "<Blobs/><NextMarker></NextMarker>"] {
            let page = parse(&format!("<EnumerationResults>{end}</EnumerationResults>")).unwrap();
            assert!(page.keys.is_empty() && page.next.is_none(), "{end}");
        }
    }

    #[test]
    fn what_is_no_listing_is_not_the_end_of_one() {
        let cut = "<EnumerationResults><Blobs><Blob><Name>x</Name></Blob></Blobs></EnumerationResults>";
        for text in ["", "<html>", "<EnumerationResults/>", cut, "ok"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
    /// Spaces at a name's ends are part of it.
    #[test]
    fn a_name_is_what_it_is() {
        let text = "<EnumerationResults><Blobs><Blob><Name> a </Name><Properties><Content-Length>1</Content-Length>\
            </Properties></Blob></Blobs></EnumerationResults>";
        assert_eq!(parse(text).unwrap().keys[0].0, " a ");
    }
}
