//! Listing keys as they are, the way S3 does and others took over. `object_store`'s own listing fails for a whole page
//! where one key is no path of its own.

use http::Method;
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use crate::error::SiloError;
use crate::web::answer::{Failure, whole, xml};
use crate::web::ask::Ask;
use crate::web::client::Client;
use crate::web::{Entry, Wanted};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    contents: Vec<Contents>,
    #[serde(default)]
    is_truncated: bool,
    #[serde(default)]
    next_continuation_token: Option<String>,
    #[serde(default)]
    encoding_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Contents {
    key: String,
    size: u64,
    #[serde(rename = "ETag", default)]
    etag: String,
    #[serde(default)]
    generation: String,
    #[serde(default)]
    last_modified: String,
    #[serde(default)]
    storage_class: String,
    #[serde(default)]
    restore_status: Option<RestoreStatus>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RestoreStatus {
    #[serde(default)]
    is_restore_in_progress: bool,
    #[serde(default)]
    restore_expiry_date: String,
}

impl RestoreStatus {
    fn is_restored(&self) -> bool {
        !self.is_restore_in_progress && !self.restore_expiry_date.is_empty()
    }
}

/// One page of the keys below a base, their names without it; every request has `headers`.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>,
/// <https://cloud.google.com/storage/docs/xml-api/get-bucket-list>
pub(crate) async fn list(
    client: &Client,
    wanted: Wanted<'_>,
    headers: &[(&'static str, &'static str)],
) -> Result<Vec<Entry>, SiloError> {
    let Wanted { base, prefix, after, limit, .. } = wanted;
    let mut token: Option<String> = None;
    loop {
        let mut ask = Ask::new(Method::GET, "")
            .headers(headers)
            .query("list-type", "2")
            .query("encoding-type", "url")
            .query("max-keys", limit.to_string())
            .query("prefix", format!("{base}{prefix}"));
        if let Some(after) = after {
            ask = ask.query("start-after", format!("{base}{after}"));
        }
        if let Some(token) = token {
            ask = ask.query("continuation-token", token);
        }
        let answer = client.look(&ask).await.map_err(Failure::reading)?;
        let page = parse(&xml(&whole(answer).await.map_err(SiloError::not_done)?), base)?;
        token = page.next;
        // A page may be empty though more follow; an empty answer of ours means the end.
        if !page.entries.is_empty() || token.is_none() {
            return Ok(page.entries);
        }
    }
}

/// An error unless names that a service listed ascend by bytes, from behind `last` on: of another order nobody could say
/// what was left out.
pub(crate) fn ascend<'a>(names: impl Iterator<Item = &'a [u8]>, mut last: Option<&'a [u8]>) -> Result<(), SiloError> {
    for name in names {
        if last.is_some_and(|last| last >= name) {
            let shown = |name: &[u8]| String::from_utf8_lossy(name).escape_debug().to_string();
            let (name, last) = (shown(name), shown(last.unwrap_or_default()));
            return Err(SiloError::not_done(format!("the listing is in no order of bytes: `{name}` behind `{last}`")));
        }
        last = Some(name);
    }
    Ok(())
}

struct Page {
    entries: Vec<Entry>,
    next: Option<String>,
}

fn parse(text: &str, base: &str) -> Result<Page, SiloError> {
    let odd = |error: &dyn std::fmt::Display| SiloError::not_done(format!("an answer that is no listing: {error}"));
    let answer: Answer = quick_xml::de::from_str(text).map_err(|error| odd(&error))?;
    let encoded = answer.encoding_type.as_deref() == Some("url");
    let mut entries = Vec::with_capacity(answer.contents.len());
    for found in answer.contents {
        // Form encoding's `+`, as some servers write it, is a space; a real one comes as `%2B`.
        let key =
            if encoded { percent_decode_str(&found.key.replace('+', " ")).collect() } else { found.key.into_bytes() };
        let name = key.strip_prefix(base.as_bytes()).ok_or_else(|| odd(&"a key outside the prefix asked for"))?;
        entries.push(Entry {
            name: name.to_owned(),
            size: found.size,
            etag: found.etag,
            generation: found.generation,
            modified: found.last_modified,
            class: found.storage_class,
            restored: found.restore_status.is_some_and(|status| status.is_restored()),
        });
    }
    Ok(Page { entries, next: answer.next_continuation_token.filter(|_| answer.is_truncated) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_with_odd_names_and_all() {
        let text = "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
            <Name>b</Name><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>\
            <Contents><Key>p/a//b%2B+c</Key><Size>7</Size><ETag>&quot;x&quot;</ETag></Contents><KeyCount>4</KeyCount>\
            <Contents><Key>p/%C3%BC</Key><Size>0</Size><Owner><ID>1</ID></Owner></Contents>\
            <Contents><Key>p/%E9%252F</Key><Size>0</Size><Generation>8</Generation></Contents>\
            <Contents><Key>p/z</Key><LastModified>2009-10-12T17:50:30.000Z</LastModified><Size>1</Size>\
            <StorageClass>GLACIER</StorageClass><RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress>\
            <RestoreExpiryDate>2012-12-21T00:00:00.000Z</RestoreExpiryDate></RestoreStatus></Contents>\
            <NextContinuationToken>t&amp;1</NextContinuationToken></ListBucketResult>";
        let page = parse(text, "p/").unwrap();
        let entry = |name: &[u8], size| Entry { name: name.to_owned(), size, ..Entry::default() };
        assert_eq!(page.entries[0], Entry { etag: "\"x\"".to_owned(), ..entry(b"a//b+ c", 7) });
        assert_eq!(page.entries[1], entry("ü".as_bytes(), 0));
        assert_eq!(page.entries[2], Entry { generation: "8".to_owned(), ..entry(b"\xe9%2F", 0) });
        let (modified, class) = ("2009-10-12T17:50:30.000Z".to_owned(), "GLACIER".to_owned());
        assert_eq!(page.entries[3], Entry { modified, class, restored: true, ..entry(b"z", 1) });
        assert_eq!(page.next.as_deref(), Some("t&1"));
    }

    #[test]
    fn what_is_no_listing_is_not_the_end_of_one() {
        for text in ["", "<html>", "<ListBucketResult><Contents><Key>x</Key></Contents></ListBucketResult>", "ok"] {
            assert!(parse(text, "p/").is_err(), "{text}");
        }
    }

    #[test]
    fn the_end_has_no_next_page() {
        let text = "<ListBucketResult><IsTruncated>false</IsTruncated>\
            <NextContinuationToken>t</NextContinuationToken></ListBucketResult>";
        let page = parse(text, "").unwrap();
        assert!(page.entries.is_empty() && page.next.is_none());
    }
    /// A server that encodes nothing, though it was asked to: spaces at a key's ends are part of it.
    #[test]
    fn a_key_that_is_not_encoded_is_what_it_is() {
        let text = "<ListBucketResult><Contents><Key> a%2F+&amp; </Key><Size>1</Size></Contents></ListBucketResult>";
        assert_eq!(parse(text, "").unwrap().entries[0].name, b" a%2F+& ");
    }

    #[test]
    fn names_ascend_or_nothing_is_believed() {
        let check = |names: &[&'static str], last: Option<&'static str>| {
            ascend(names.iter().map(|name| name.as_bytes()), last.map(str::as_bytes)).is_ok()
        };
        assert!(check(&["a", "a-", "a/", "a0", "b"], None) && check(&["b"], Some("a")) && check(&[], Some("a")));
        assert!(!check(&["a", "a"], None) && !check(&["a/", "a-"], None) && !check(&["a"], Some("a")));
    }
}
