//! Listing keys as they are, the way S3 does and others took over. `object_store`'s own listing fails for a whole page
//! where one key is no path of its own.

use http::Method;
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use crate::error::SiloError;
use crate::silo::Listed;
use crate::web::Wanted;
use crate::web::answer::{Failure, whole, xml};
use crate::web::ask::Ask;
use crate::web::client::Client;

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
}

/// One page of the keys below a base, their names without it.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>,
/// <https://cloud.google.com/storage/docs/xml-api/get-bucket-list>
pub(crate) async fn list(client: &Client, wanted: Wanted<'_>) -> Result<Vec<Listed>, SiloError> {
    let Wanted { base, prefix, after, limit } = wanted;
    let mut token: Option<String> = None;
    loop {
        let mut ask = Ask::new(Method::GET, "")
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
        if !page.names.is_empty() || token.is_none() {
            return Ok(page.names);
        }
    }
}

struct Page {
    names: Vec<Listed>,
    next: Option<String>,
}

fn parse(text: &str, base: &str) -> Result<Page, SiloError> {
    let odd = |error: &dyn std::fmt::Display| SiloError::not_done(format!("an answer that is no listing: {error}"));
    let answer: Answer = quick_xml::de::from_str(text).map_err(|error| odd(&error))?;
    let encoded = answer.encoding_type.as_deref() == Some("url");
    let mut names = Vec::with_capacity(answer.contents.len());
    for Contents { key, size } in answer.contents {
        // Form encoding's `+`, as some servers write it, is a space; a real one comes as `%2B`.
        let key =
            if encoded { percent_decode_str(&key.replace('+', " ")).decode_utf8_lossy().into_owned() } else { key };
        let name = key.strip_prefix(base).ok_or_else(|| odd(&"a key outside the prefix asked for"))?;
        names.push(Listed { name: name.to_owned(), stored: size });
    }
    Ok(Page { names, next: answer.next_continuation_token.filter(|_| answer.is_truncated) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_with_odd_names_and_all() {
        let text = "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
            <Name>b</Name><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>\
            <Contents><Key>p/a//b%2B+c</Key><Size>7</Size><ETag>&quot;x&quot;</ETag></Contents><KeyCount>2</KeyCount>\
            <Contents><Key>p/%C3%BC</Key><Size>0</Size></Contents>\
            <NextContinuationToken>t&amp;1</NextContinuationToken></ListBucketResult>";
        let page = parse(text, "p/").unwrap();
        let listed = |name: &str, stored| Listed { name: name.to_owned(), stored };
        assert_eq!(page.names, [listed("a//b+ c", 7), listed("ü", 0)]);
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
        assert!(page.names.is_empty() && page.next.is_none());
    }
}
