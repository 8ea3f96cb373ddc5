//! Tags of an object of others: asked for where its HEAD says that it has any.

use http::{HeaderMap, Method};
use serde::Deserialize;

use crate::error::SiloError;
use crate::web::answer::{Failure, header, whole, xml};
use crate::web::ask::Ask;
use crate::web::client::Client;

/// `Tagging` of S3's, `Tags` of Azure's.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tagging {
    tag_set: TagSet,
}

#[derive(Deserialize)]
struct TagSet {
    #[serde(rename = "Tag", default)]
    tags: Vec<Tag>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tag {
    key: String,
    #[serde(default)]
    value: String,
}

/// The tags of an object whose HEAD was answered so. That they may not be read is an error: an object without them is
/// another one.
pub(super) async fn of(client: &Client, key: &str, answer: &HeaderMap) -> Result<Vec<(String, String)>, SiloError> {
    let Some((count, (query, value))) = client.words().others.tags else { return Ok(Vec::new()) };
    if header(answer, count).is_none_or(|count| count == "0") {
        return Ok(Vec::new());
    }
    let failed = |failure: Failure| {
        if failure.is_refusal() {
            SiloError::not_done("the object has tags, and the credentials may not read them")
        } else {
            failure.reading_of_others()
        }
    };
    let told = client.look(&Ask::new(Method::GET, key).query(query, value)).await.map_err(failed)?;
    let text = xml(&whole(told).await.map_err(SiloError::not_done)?);
    let read = quick_xml::de::from_str::<Tagging>(&text);
    let read = read.map_err(|error| SiloError::not_done(format!("the object's tags do not read: {error}")))?;
    Ok(read.tag_set.tags.into_iter().map(|tag| (tag.key, tag.value)).collect())
}
