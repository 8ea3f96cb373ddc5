//! Bounded parsing of request bodies: size, depth, number of elements, and nothing of XML that S3 does not use.
//!
//! A document type is refused, so nothing expands. An element that S3's schema does not know is refused too: a
//! mistyped name must not be a setting silently left out.

use holdall_namespace::multipart::NamedPart;
use holdall_namespace::object::{ChecksumAlgorithm, Pairs};
use quick_xml::Reader;
use quick_xml::events::Event;

use crate::error::{Code, S3Error};
use crate::limits::{MAX_DELETE_KEYS, MAX_XML_DEPTH, MAX_XML_ELEMENTS};
use crate::s3::checksum;
use crate::s3::header::whole;

/// The document is not what S3's schema says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl From<Malformed> for S3Error {
    fn from(Malformed: Malformed) -> Self {
        Code::MalformedXML.into()
    }
}

/// A DeleteObjects request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delete {
    /// What to delete, in order.
    pub objects: Vec<Doomed>,
    /// Answer failures only.
    pub quiet: bool,
}

/// One object of a DeleteObjects request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Doomed {
    /// The key, unchecked.
    pub key: String,
    /// A version named.
    pub version: Option<String>,
    /// It must have this ETag.
    pub etag: Option<String>,
    /// It names a time or a size, which only directory buckets check.
    pub other_condition: bool,
}

/// A CreateBucket request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CreateBucket {
    /// Where.
    pub location: Option<String>,
    /// Tags from the start.
    pub tags: Pairs,
    /// It asks for a directory bucket.
    pub directory: bool,
}

/// One grant of an access control list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grant {
    /// The grantee's canonical id; none for groups and mail addresses.
    pub grantee: Option<String>,
    /// `FULL_CONTROL`, …
    pub permission: String,
}

/// The names of an element's children: one that comes twice leaves open which is meant.
#[derive(Default)]
struct Seen(Vec<String>);

impl Seen {
    fn once(&mut self, child: &Element) -> Result<(), Malformed> {
        if self.0.contains(&child.name) {
            return Err(Malformed);
        }
        self.0.push(child.name.clone());
        Ok(())
    }
}

/// DeleteObjects. <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html>
pub fn delete(body: &[u8]) -> Result<Delete, Malformed> {
    let mut request = Delete::default();
    for child in parse(body)?.named("Delete")?.children {
        match child.name.as_str() {
            "Object" => request.objects.push(doomed(child)?),
            "Quiet" => request.quiet = child.truth()?,
            _ => return Err(Malformed),
        }
    }
    if request.objects.is_empty() || request.objects.len() > MAX_DELETE_KEYS { Err(Malformed) } else { Ok(request) }
}

fn doomed(element: Element) -> Result<Doomed, Malformed> {
    let (mut doomed, mut seen) = (Doomed::default(), Seen::default());
    for child in element.children {
        seen.once(&child)?;
        match child.name.as_str() {
            "Key" => doomed.key = child.text,
            "VersionId" => doomed.version = Some(child.text).filter(|version| !version.is_empty()),
            "ETag" => doomed.etag = Some(child.text),
            "LastModifiedTime" | "Size" => doomed.other_condition = true,
            _ => return Err(Malformed),
        }
    }
    if doomed.key.is_empty() { Err(Malformed) } else { Ok(doomed) }
}

/// CompleteMultipartUpload; the parts as they stand, their order unchecked.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html>
pub fn complete(body: &[u8]) -> Result<Vec<NamedPart>, Malformed> {
    let root = parse(body)?.named("CompleteMultipartUpload")?;
    if root.children.is_empty() || root.children.len() > holdall_namespace::limits::MAX_PARTS as usize {
        return Err(Malformed);
    }
    root.children.into_iter().map(|child| named_part(child.named("Part")?)).collect()
}

fn named_part(element: Element) -> Result<NamedPart, Malformed> {
    let (mut number, mut etag, mut sum, mut seen) = (None, None, None, Seen::default());
    for child in element.children {
        seen.once(&child)?;
        match child.name.as_str() {
            "PartNumber" => number = Some(whole(child.text.trim()).ok_or(Malformed)?),
            "ETag" => etag = Some(child.text.trim().trim_matches('"').to_owned()),
            name => {
                let algorithm = name.strip_prefix("Checksum").and_then(checksum::by_name).ok_or(Malformed)?;
                sum = Some(part_checksum(algorithm, child.text.trim())?);
            }
        }
    }
    let (Some(number), Some(etag)) = (number, etag) else { return Err(Malformed) };
    Ok(NamedPart { number, etag, checksum: sum })
}

fn part_checksum(algorithm: ChecksumAlgorithm, text: &str) -> Result<(ChecksumAlgorithm, Vec<u8>), Malformed> {
    Ok((algorithm, checksum::decode(algorithm, text).ok_or(Malformed)?))
}

/// CreateBucket; an empty body says nothing.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html>
pub fn create_bucket(body: &[u8]) -> Result<CreateBucket, Malformed> {
    let mut request = CreateBucket::default();
    if body.trim_ascii().is_empty() {
        return Ok(request);
    }
    for child in parse(body)?.named("CreateBucketConfiguration")?.children {
        match child.name.as_str() {
            "LocationConstraint" => request.location = Some(child.text.trim().to_owned()).filter(|l| !l.is_empty()),
            "Tags" => request.tags = child.children.into_iter().map(tag).collect::<Result<_, _>>()?,
            "Location" | "Bucket" => request.directory = true,
            _ => return Err(Malformed),
        }
    }
    Ok(request)
}

/// PutObjectTagging and PutBucketTagging; the tags as they stand.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObjectTagging.html>
pub fn tagging(body: &[u8]) -> Result<Pairs, Malformed> {
    let mut children = parse(body)?.named("Tagging")?.children.into_iter();
    let (Some(set), None) = (children.next(), children.next()) else { return Err(Malformed) };
    set.named("TagSet")?.children.into_iter().map(tag).collect()
}

fn tag(element: Element) -> Result<(String, String), Malformed> {
    let (mut key, mut value) = (None, None);
    for child in element.named("Tag")?.children {
        match child.name.as_str() {
            "Key" => key = Some(child.text),
            "Value" => value = Some(child.text),
            _ => return Err(Malformed),
        }
    }
    key.zip(value).ok_or(Malformed)
}

/// PutBucketAcl and PutObjectAcl: who is granted what.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketAcl.html>
pub fn access_control(body: &[u8]) -> Result<Vec<Grant>, Malformed> {
    let root = parse(body)?.named("AccessControlPolicy")?;
    let list = root.children.into_iter().find(|child| child.name == "AccessControlList").ok_or(Malformed)?;
    list.children.into_iter().map(|child| grant(child.named("Grant")?)).collect()
}

fn grant(element: Element) -> Result<Grant, Malformed> {
    let mut grant = Grant::default();
    for child in element.children {
        match child.name.as_str() {
            "Grantee" => grant.grantee = child.children.into_iter().find(|c| c.name == "ID").map(|id| id.text),
            "Permission" => grant.permission = child.text.trim().into(),
            _ => return Err(Malformed),
        }
    }
    Ok(grant)
}

/// An element: its own text joined, its elements in order. Names are without their prefixes; namespaces are not
/// checked, since clients send S3's, none, or older ones.
#[derive(Debug, Default)]
struct Element {
    name: String,
    text: String,
    children: Vec<Element>,
}

impl Element {
    fn named(self, name: &str) -> Result<Self, Malformed> {
        if self.name == name { Ok(self) } else { Err(Malformed) }
    }

    fn truth(&self) -> Result<bool, Malformed> {
        match self.text.trim() {
            "true" | "True" | "TRUE" | "1" => Ok(true),
            "false" | "False" | "FALSE" | "0" | "" => Ok(false),
            _ => Err(Malformed),
        }
    }
}

/// One document: declaration, one root, nothing behind it.
fn parse(body: &[u8]) -> Result<Element, Malformed> {
    let text = std::str::from_utf8(body).map_err(|_| Malformed)?;
    let mut reader = Reader::from_str(text);
    let mut tree = Tree::default();
    loop {
        match reader.read_event().map_err(|_| Malformed)? {
            Event::Start(start) => tree.open(start.local_name().as_ref())?,
            Event::Empty(start) => {
                tree.open(start.local_name().as_ref())?;
                tree.close()?;
            }
            Event::End(_) => tree.close()?,
            Event::Text(text) => tree.text(&text.xml10_content())?,
            Event::CData(data) => tree.text(&data.xml10_content())?,
            Event::GeneralRef(reference) => {
                let named = match reference.as_ref() {
                    "lt" => Some('<'),
                    "gt" => Some('>'),
                    "amp" => Some('&'),
                    "quot" => Some('"'),
                    "apos" => Some('\''),
                    _ => reference.resolve_char_ref().map_err(|_| Malformed)?,
                };
                tree.text(named.ok_or(Malformed)?.encode_utf8(&mut [0; 4]))?;
            }
            Event::Decl(_) | Event::Comment(_) | Event::PI(_) => {}
            Event::DocType(_) => return Err(Malformed),
            Event::Eof => return tree.finish(),
        }
    }
}

#[derive(Default)]
struct Tree {
    open: Vec<Element>,
    root: Option<Element>,
    elements: usize,
}

impl Tree {
    fn open(&mut self, name: &str) -> Result<(), Malformed> {
        self.elements += 1;
        let second_root = self.open.is_empty() && self.root.is_some();
        if second_root || self.elements > MAX_XML_ELEMENTS || self.open.len() >= MAX_XML_DEPTH {
            return Err(Malformed);
        }
        self.open.push(Element { name: name.to_owned(), ..Element::default() });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Malformed> {
        let done = self.open.pop().ok_or(Malformed)?;
        // Text between elements is layout, or it does not belong there.
        if !done.children.is_empty() && !done.text.trim().is_empty() {
            return Err(Malformed);
        }
        match self.open.last_mut() {
            Some(parent) => parent.children.push(done),
            None => self.root = Some(done),
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), Malformed> {
        match self.open.last_mut() {
            Some(element) => element.text.push_str(text),
            None if text.trim().is_empty() => {}
            None => return Err(Malformed),
        }
        Ok(())
    }

    fn finish(self) -> Result<Element, Malformed> {
        if self.open.is_empty() { self.root.ok_or(Malformed) } else { Err(Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::write::Document;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn whatever_comes_is_an_answer(body: Vec<u8>, text in "[<>/a-zA-Z&;# !\\-\\[\\]\"=?x0-9]{0,200}") {
            for body in [body.as_slice(), text.as_bytes(), format!("<Delete>{text}</Delete>").as_bytes()] {
                let _ = (delete(body), complete(body), create_bucket(body), tagging(body), access_control(body));
            }
        }

        #[test]
        fn what_is_written_is_read(key in "[^\\x00]{1,80}", value in "[^\\x00]{0,80}") {
            let mut document = Document::new("Tagging");
            document.nested("TagSet", |document| document.nested("Tag", |document| {
                document.text("Key", &key);
                document.text("Value", &value);
            }));
            prop_assert_eq!(tagging(document.finish().as_bytes()), Ok(vec![(key, value)]));
        }
    }

    fn key(key: &str) -> Doomed {
        Doomed { key: key.into(), ..Doomed::default() }
    }

    #[test]
    fn deletes_read_keys_exactly() {
        let full = Doomed { version: Some("null".into()), etag: Some("\"e\"".into()), ..key("k") };
        for (body, expected, quiet) in [
            ("<Delete><Object><Key>a</Key></Object></Delete>", vec![key("a")], false),
            (
                "<?xml version=\"1.0\"?>\n<Delete xmlns=\"x\">\n <Quiet> true </Quiet>\n <Object>\n<Key> a </Key> </Object></Delete>\n",
                vec![key(" a ")],
                true,
            ),
            (
                "<s:Delete xmlns:s='x'><s:Object><s:Key>&lt;&amp;&#x1;&#10;&quot;</s:Key></s:Object></s:Delete>",
                vec![key("<&\u{1}\n\"")],
                false,
            ),
            (
                "<Delete><Object><Key><![CDATA[<a>&]]>b</Key></Object><!-- c --><Object><Key>\u{2028}</Key></Object></Delete>",
                vec![key("<a>&b"), key("\u{2028}")],
                false,
            ),
            (
                "<Delete><Object><Key>k</Key><VersionId>null</VersionId><ETag>&quot;e&quot;</ETag></Object></Delete>",
                vec![full],
                false,
            ),
            ("\u{feff}<Delete><Object><Key>a</Key><VersionId/></Object></Delete>", vec![key("a")], false),
        ] {
            assert_eq!(delete(body.as_bytes()), Ok(Delete { objects: expected, quiet }), "{body}");
        }
    }

    #[test]
    fn what_is_no_document_of_ours_is_refused() {
        let deep = format!("<Delete>{}{}</Delete>", "<a>".repeat(40), "</a>".repeat(40));
        let laughs =
            "<!DOCTYPE d [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><Delete><Object><Key>&b;</Key></Object></Delete>";
        let many = format!("<Delete>{}</Delete>", "<Object><Key>a</Key></Object>".repeat(1001));
        let attributes = format!("<Delete {}><Object></Delete>", "a='1' ".repeat(50_000));
        for body in [
            "",
            "   ",
            "junk",
            "<Delete>",
            "<Delete/>",
            "<Delete></Deleted>",
            "<Delete><Object><Key>a</Key></Object></Delete>junk",
            "<Delete><Object><Key>a</Key></Object></Delete><Delete/>",
            "junk<Delete><Object><Key>a</Key></Object></Delete>",
            "<Delete>junk<Object><Key>a</Key></Object></Delete>",
            "<Delete><Object><Key>a</Key></Object><Quite>true</Quite></Delete>",
            "<Delete><Object><Key>a</Key></Object><Quiet>maybe</Quiet></Delete>",
            "<Delete><Object><Key></Key></Object></Delete>",
            "<Delete><Object/></Delete>",
            "<Delete><Object><Key>a</Key><Key>b</Key></Object></Delete>",
            "<Delete><Object><Key>&unknown;</Key></Object></Delete>",
            "<Delete><Object><Key>&#xD800;</Key></Object></Delete>",
            "<Delete><Object><Key>& b</Key></Object></Delete>",
            "<!DOCTYPE Delete SYSTEM \"file:///etc/passwd\"><Delete><Object><Key>a</Key></Object></Delete>",
            laughs,
            &deep,
            &many,
            &attributes,
        ] {
            assert_eq!(delete(body.as_bytes()), Err(Malformed), "{}", &body[..body.len().min(80)]);
        }
        assert_eq!(delete(b"<Delete><Object><Key>\xff</Key></Object></Delete>"), Err(Malformed));
        let flat = format!("<Delete>{}</Delete>", "<a/>".repeat(MAX_XML_ELEMENTS + 1));
        assert_eq!(delete(flat.as_bytes()), Err(Malformed));
    }

    #[test]
    fn parts_come_with_their_checksums() {
        let body = "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
            <Part><PartNumber>2</PartNumber><ETag>\"ab\"</ETag></Part>\
            <Part><ETag>&quot;cd&quot;</ETag><ChecksumCRC32>AAAAAQ==</ChecksumCRC32><PartNumber> 1 </PartNumber></Part>\
            </CompleteMultipartUpload>";
        let expected = vec![
            NamedPart { number: 2, etag: "ab".into(), checksum: None },
            NamedPart { number: 1, etag: "cd".into(), checksum: Some((ChecksumAlgorithm::Crc32, vec![0, 0, 0, 1])) },
        ];
        assert_eq!(complete(body.as_bytes()), Ok(expected));
        for part in [
            "",
            "<Part/>",
            "<Part><PartNumber>1</PartNumber></Part>",
            "<Part><ETag>a</ETag></Part>",
            "<Part><PartNumber>-1</PartNumber><ETag>a</ETag></Part>",
            "<Part><PartNumber>x</PartNumber><ETag>a</ETag></Part>",
            "<Part><PartNumber>+1</PartNumber><ETag>a</ETag></Part>",
            "<Part><PartNumber>1</PartNumber><PartNumber>2</PartNumber><ETag>a</ETag></Part>",
            "<Part><PartNumber>1</PartNumber><ETag>a</ETag><ChecksumCRC32>AAAA</ChecksumCRC32></Part>",
            "<Part><PartNumber>1</PartNumber><ETag>a</ETag><Checksum>AAAA</Checksum></Part>",
            "<Teil><PartNumber>1</PartNumber><ETag>a</ETag></Teil>",
        ] {
            let body = format!("<CompleteMultipartUpload>{part}</CompleteMultipartUpload>");
            assert_eq!(complete(body.as_bytes()), Err(Malformed), "{part}");
        }
    }

    #[test]
    fn ten_thousand_parts_with_the_longest_checksum_fit() {
        let part = |number: usize| {
            let sum = "A".repeat(43);
            format!(
                "<Part><PartNumber>{number}</PartNumber><ETag>\"{sum}\"</ETag><ChecksumSHA256>{sum}=</ChecksumSHA256></Part>"
            )
        };
        let parts: String = (1..=10_000).map(part).collect();
        let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        assert!(body.len() < crate::limits::MAX_LONG_XML);
        assert_eq!(complete(body.as_bytes()).map(|parts| parts.len()), Ok(10_000));
        let more = body.replace("</Complete", &format!("{}</Complete", part(10_001)));
        assert_eq!(complete(more.as_bytes()), Err(Malformed));
    }

    /// A thousand keys of the greatest length were more than the limit of a request's XML.
    #[test]
    fn a_thousand_of_the_longest_keys_fit() {
        let object = format!("<Object><Key>{}</Key></Object>", "&quot;".repeat(1024));
        let body = format!("<Delete>{}</Delete>", object.repeat(1000));
        assert!(body.len() < crate::limits::MAX_LONG_XML);
        assert_eq!(delete(body.as_bytes()).map(|delete| delete.objects.len()), Ok(1000));
    }

    #[test]
    fn buckets_tags_and_grants() {
        let tags =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Pairs>();
        assert_eq!(create_bucket(b" \n"), Ok(CreateBucket::default()));
        let body = "<CreateBucketConfiguration><LocationConstraint>eu-west-1</LocationConstraint><Tags><Tag><Key>a</Key><Value>b</Value></Tag></Tags></CreateBucketConfiguration>";
        let expected = CreateBucket { location: Some("eu-west-1".into()), tags: tags(&[("a", "b")]), directory: false };
        assert_eq!(create_bucket(body.as_bytes()), Ok(expected));

        let body = "<Tagging><TagSet><Tag><Key> a</Key><Value/></Tag><Tag><Value>2</Value><Key>b</Key></Tag></TagSet></Tagging>";
        assert_eq!(tagging(body.as_bytes()), Ok(tags(&[(" a", ""), ("b", "2")])));
        assert_eq!(tagging(b"<Tagging><TagSet/></Tagging>"), Ok(vec![]));
        for bad in [
            "<Tagging/>",
            "<Tagging><TagSet/><TagSet/></Tagging>",
            "<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>",
            "<TagSet/>",
        ] {
            assert_eq!(tagging(bad.as_bytes()), Err(Malformed), "{bad}");
        }

        let body = "<AccessControlPolicy><Owner><ID>1</ID></Owner><AccessControlList><Grant><Grantee xmlns:xsi=\"x\" xsi:type=\"CanonicalUser\"><ID>1</ID><DisplayName>d</DisplayName></Grantee><Permission>FULL_CONTROL</Permission></Grant></AccessControlList></AccessControlPolicy>";
        let expected = Grant { grantee: Some("1".into()), permission: "FULL_CONTROL".into() };
        assert_eq!(access_control(body.as_bytes()), Ok(vec![expected]));
    }
}
