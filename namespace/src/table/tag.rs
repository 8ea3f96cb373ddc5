//! ETags as rows have them.

use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An ETag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tag {
    /// Of bytes that went through us.
    Md5 {
        /// MD5 of the bytes, or of the parts' MD5s.
        md5: [u8; 16],
        /// Parts; 0 for a single upload.
        parts: u32,
    },
    /// Of what lies where others put it: theirs, or what was seen there. Its form says nothing of the bytes or of parts.
    Foreign {
        /// Without quotes.
        text: String,
        /// Headers and metadata were asked for; the version's attributes are there.
        whole: bool,
    },
}

/// In the place of a number of parts: the tag is text.
const FOREIGN: u32 = u32::MAX;
/// The same, and the attributes are not there.
const FOREIGN_IN_PART: u32 = u32::MAX - 1;

impl Tag {
    /// As S3 shows it, without quotes.
    pub fn text(&self) -> String {
        match self {
            Self::Md5 { md5, parts: 0 } => const_hex::encode(md5),
            Self::Md5 { md5, parts } => format!("{}-{parts}", const_hex::encode(md5)),
            Self::Foreign { text, .. } => text.clone(),
        }
    }

    /// How many parts it was uploaded in; none for a single upload.
    pub fn parts(&self) -> Option<u32> {
        match self {
            Self::Md5 { parts, .. } => (*parts > 0).then_some(*parts),
            Self::Foreign { .. } => None,
        }
    }

    /// Whether the version's attributes were never asked for.
    pub fn is_in_part(&self) -> bool {
        matches!(self, Self::Foreign { whole: false, .. })
    }
}

/// Sixteen bytes and a number, as always; where the number says so, a text follows.
impl Serialize for Tag {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Md5 { md5, parts } => (md5, parts).serialize(serializer),
            Self::Foreign { text, whole } => {
                let mut tuple = serializer.serialize_tuple(3)?;
                tuple.serialize_element(&[0_u8; 16])?;
                tuple.serialize_element(if *whole { &FOREIGN } else { &FOREIGN_IN_PART })?;
                tuple.serialize_element(text)?;
                tuple.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Tag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Tuple;
        impl<'de> Visitor<'de> for Tuple {
            type Value = Tag;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an ETag")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut tuple: A) -> Result<Tag, A::Error> {
                let short = || A::Error::custom("an ETag ends early");
                let md5 = tuple.next_element()?.ok_or_else(short)?;
                let parts = tuple.next_element()?.ok_or_else(short)?;
                if parts < FOREIGN_IN_PART {
                    return Ok(Tag::Md5 { md5, parts });
                }
                Ok(Tag::Foreign { text: tuple.next_element()?.ok_or_else(short)?, whole: parts == FOREIGN })
            }
        }
        deserializer.deserialize_tuple(3, Tuple)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{decode, encode};

    #[test]
    fn rows_of_before_are_what_they_were_and_foreign_tags_read_back() {
        assert_eq!(encode(&(Tag::Md5 { md5: [7; 16], parts: 300 }, 5_u8)), encode(&([7_u8; 16], 300_u32, 5_u8)));
        let foreign = |text: &str, whole| Tag::Foreign { text: text.to_owned(), whole };
        for tag in [
            Tag::Md5 { md5: [7; 16], parts: 0 },
            Tag::Md5 { md5: [0; 16], parts: 10_000 },
            foreign("", true),
            foreign("9-5-6.1", false),
        ] {
            assert_eq!(decode::<(Tag, u8)>(&encode(&(&tag, 9_u8))).unwrap(), (tag, 9));
        }
    }

    /// An ETag ending in `-2` was taken for that of an upload in two parts, and its parts looked for.
    #[test]
    fn a_foreign_tag_says_nothing_of_parts() {
        let text = "d41d8cd98f00b204e9800998ecf8427e-2";
        let tag = Tag::Foreign { text: text.to_owned(), whole: true };
        assert_eq!((tag.text(), tag.parts()), (text.to_owned(), None));
        assert_eq!(Tag::Md5 { md5: [0; 16], parts: 2 }.parts(), Some(2));
    }
}
