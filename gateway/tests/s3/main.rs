//! What S3 means here, operation by operation. Each test's comment is a paragraph of `conformance/SEMANTICS.md`.

#![allow(clippy::doc_markdown, reason = "the comments are paragraphs of a document that uses S3's words as words")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod house;

mod addressing;
mod attributes;
mod bucket;
mod checksum;
mod condition;
mod configuration;
mod copy;
mod delete;
mod get;
mod list;
mod multipart;
mod put;
mod tagging;

const SEMANTICS: &str = include_str!("../../../conformance/SEMANTICS.md");

/// Paragraphs (the comments above tests) of a source file.
fn paragraphs(source: &str) -> Vec<String> {
    let mut paragraphs = vec![];
    let mut current: Vec<&str> = vec![];
    for line in source.lines() {
        match line.strip_prefix("/// ") {
            Some(text) => current.push(text.trim()),
            None if line.starts_with("#[tokio::test]") => paragraphs.push(current.join(" ")),
            None => current.clear(),
        }
    }
    paragraphs
}

#[test]
fn the_document_says_what_the_tests_prove() {
    let document = SEMANTICS.split_whitespace().collect::<Vec<_>>().join(" ");
    let sources = [
        ("addressing", include_str!("addressing.rs")),
        ("attributes", include_str!("attributes.rs")),
        ("bucket", include_str!("bucket.rs")),
        ("checksum", include_str!("checksum.rs")),
        ("condition", include_str!("condition.rs")),
        ("configuration", include_str!("configuration.rs")),
        ("copy", include_str!("copy.rs")),
        ("delete", include_str!("delete.rs")),
        ("get", include_str!("get.rs")),
        ("list", include_str!("list.rs")),
        ("multipart", include_str!("multipart.rs")),
        ("put", include_str!("put.rs")),
        ("tagging", include_str!("tagging.rs")),
    ];
    for (file, source) in sources {
        for paragraph in paragraphs(source) {
            assert!(!paragraph.is_empty(), "{file}.rs has a test without a paragraph");
            assert!(document.contains(&paragraph), "{file}.rs proves what SEMANTICS.md does not say: {paragraph}");
        }
    }
}
