//! Who points at an extent or a manifest, beyond the first: one row each, under the referrer's fresh number.

use std::ops::Range;

use super::{KeyBuilder, after_prefix, key, read_number};
use crate::engine::Key;
use crate::extent::Number;

/// What is pointed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// An extent.
    Extent(Number),
    /// A manifest.
    Manifest(Number),
}

impl Target {
    fn builder(self) -> KeyBuilder {
        let (kind, id) = match self {
            Self::Extent(id) => (0u8, id),
            Self::Manifest(id) => (1, id),
        };
        KeyBuilder::new(key::REFS).raw(&[kind]).number(id.session).number(id.number)
    }

    /// The row that guards the target's references.
    pub fn guard(self) -> Key {
        match self {
            Self::Extent(id) => super::extents::extent(id),
            Self::Manifest(id) => super::uploads::manifest(id),
        }
    }
}

/// One reference.
pub fn reference(target: Target, referrer: Number) -> Key {
    target.builder().number(referrer.session).number(referrer.number).build()
}

/// All references of a target.
pub fn range(target: Target) -> Range<Key> {
    let start = target.builder().build();
    let end = after_prefix(&start);
    start..end
}

/// Who refers, from a key.
pub fn read_referrer(key: &[u8]) -> Option<Number> {
    Some(Number { session: read_number(key, 18)?, number: read_number(key, 26)? })
}
