//! All that a client can see of objects.

use std::collections::BTreeMap;

use holdall_conformance::Outcome;
use holdall_conformance::client::{Call, Client, Listed};
use holdall_conformance::wire::{Body, visit};
use http::Method;
use sha2::{Digest as _, Sha256};

use super::BUCKET;

/// Headers that are about an answer, not about an object.
const PASSING: [&str; 4] = ["date", "x-amz-request-id", "x-amz-id-2", "connection"];
/// What can be asked of an object's attributes.
const ATTRIBUTES: &str = "ETag,Checksum,ObjectParts,StorageClass,ObjectSize";

/// By key.
pub(super) type Shown = BTreeMap<String, Object>;

/// One object: what was asked, and what was answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) size: u64,
    answers: BTreeMap<String, String>,
}

impl Object {
    /// Whether a GET answered bytes of this digest.
    pub(super) fn has(&self, digest: &str) -> bool {
        self.answers.get("get").is_some_and(|answer| answer.ends_with(digest))
    }
}

/// Asks everything of every object that is listed.
pub(super) async fn shown(client: &mut Client) -> Outcome<Shown> {
    let mut all = Shown::new();
    for listed in client.list_all(BUCKET, "").await? {
        let object = object(client, &listed).await.map_err(|error| format!("{}: {error}", listed.key))?;
        all.insert(listed.key, object);
    }
    Ok(all)
}

/// What is not as it was, one line each.
pub(super) fn changes(before: &Shown, after: &Shown) -> Vec<String> {
    let mut changes = Vec::new();
    for (key, object) in after.iter().filter(|(key, _)| !before.contains_key(*key)) {
        changes.push(format!("{key} of {} bytes came", object.size));
    }
    for (key, was) in before {
        let Some(is) = after.get(key) else {
            changes.push(format!("{key} is gone"));
            continue;
        };
        let asked = was.answers.keys().chain(is.answers.keys().filter(|asked| !was.answers.contains_key(*asked)));
        for asked in asked.filter(|asked| was.answers.get(*asked) != is.answers.get(*asked)) {
            changes.push(format!("{key}, {asked}: {:?}, now {:?}", was.answers.get(asked), is.answers.get(asked)));
        }
    }
    changes
}

async fn object(client: &mut Client, listed: &Listed) -> Outcome<Object> {
    let mut answers = BTreeMap::new();
    answers.insert("list".to_owned(), format!("{listed:?}"));
    let key = &listed.key;
    answers.insert("head".to_owned(), ask(client, Method::HEAD, key, &[], &[]).await?);
    answers.insert("get".to_owned(), ask(client, Method::GET, key, &[], &[]).await?);
    answers.insert("tags".to_owned(), ask(client, Method::GET, key, &[("tagging", "")], &[]).await?);
    let attributes = [("x-amz-object-attributes", ATTRIBUTES)];
    let attributes = text(client, key, &[("attributes", "")], &attributes).await?;
    let parts: Vec<String> = part_numbers(&attributes).map(str::to_owned).collect();
    answers.insert("attributes".to_owned(), attributes);
    if listed.size > 3 {
        let range = format!("bytes={}-{}", listed.size / 3, listed.size - 2);
        answers.insert("range".to_owned(), ask(client, Method::GET, key, &[], &[("range", &range)]).await?);
    }
    for part in if parts.is_empty() { vec!["1".to_owned()] } else { parts } {
        let answer = ask(client, Method::GET, key, &[("partNumber", &part)], &[]).await?;
        answers.insert(format!("part {part}"), answer);
    }
    Ok(Object { size: listed.size, answers })
}

/// The numbers of an object's parts, which need not follow each other.
fn part_numbers(attributes: &str) -> impl Iterator<Item = &str> {
    attributes.split("<PartNumber>").skip(1).filter_map(|rest| Some(rest.split_once('<')?.0))
}

/// An answer as one text: its headers, and the digest of its body.
async fn ask(
    client: &mut Client,
    method: Method,
    key: &str,
    query: &[(&str, &str)],
    headers: &[(&str, &str)],
) -> Outcome<String> {
    let mut headers = headers.to_vec();
    headers.push(("x-amz-checksum-mode", "ENABLED"));
    let call = Call { method, path: format!("/{BUCKET}/{key}"), query, headers: &headers, body: Body::Empty };
    let (head, body) = client.ask(call).await.map_err(|error| format!("{query:?}: {error}"))?.into_parts();
    let mut digest = Sha256::new();
    let length = visit(body, |bytes| digest.update(bytes)).await?;
    let mut lines: Vec<String> = head
        .headers
        .iter()
        .filter(|(name, _)| !PASSING.contains(&name.as_str()))
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    lines.sort();
    lines.push(format!("{} {length} bytes {}", head.status, const_hex::encode(digest.finalize())));
    Ok(lines.join("; "))
}

/// A document as it is.
async fn text(client: &mut Client, key: &str, query: &[(&str, &str)], headers: &[(&str, &str)]) -> Outcome<String> {
    let path = format!("/{BUCKET}/{key}");
    let call = Call { method: Method::GET, path, query, headers, body: Body::Empty };
    let (head, body) = client.fetch(call).await.map_err(|error| format!("{query:?}: {error}"))?;
    let modified = head.get("last-modified").map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    Ok(format!("{modified:?} {}", String::from_utf8_lossy(&body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_differs_is_told() {
        let object = |answers: &[(&str, &str)]| Object {
            size: 1,
            answers: answers.iter().map(|(asked, said)| ((*asked).to_owned(), (*said).to_owned())).collect(),
        };
        let before: Shown =
            [("a".to_owned(), object(&[("get", "x"), ("part 2", "y")])), ("b".to_owned(), object(&[]))].into();
        assert_eq!(changes(&before, &before), [""; 0]);
        let after: Shown =
            [("a".to_owned(), object(&[("get", "z"), ("tags", "t")])), ("c".to_owned(), object(&[]))].into();
        assert_eq!(
            changes(&before, &after),
            [
                "c of 1 bytes came",
                "a, get: Some(\"x\"), now Some(\"z\")",
                "a, part 2: Some(\"y\"), now None",
                "a, tags: None, now Some(\"t\")",
                "b is gone"
            ]
        );
    }
}
