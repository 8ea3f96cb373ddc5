//! Findings about extents and manifests, kept until the objects are read, so that they can name one that is concerned.

use std::collections::BTreeMap;

use super::{Finding, Run};
use crate::extent::Number;

/// More findings than this are reported without a name.
const MOST: usize = 10_000;

/// Findings that wait for the name of an object.
#[derive(Debug, Default)]
pub(super) struct Nameless {
    extents: BTreeMap<Number, Vec<Finding>>,
    manifests: BTreeMap<Number, Vec<Finding>>,
    count: usize,
}

impl Finding {
    /// The same finding, concerning an object.
    fn named(self, name: &str) -> Self {
        match self {
            Self::Missing { silo, blob, object: None } => Self::Missing { silo, blob, object: Some(name.to_owned()) },
            Self::Damaged { silo, blob, reason, object: None } => {
                Self::Damaged { silo, blob, reason, object: Some(name.to_owned()) }
            }
            Self::NoBytes { extent, .. } => Self::NoBytes { object: name.to_owned(), extent },
            other => other,
        }
    }
}

impl Run<'_> {
    /// A finding about an extent.
    pub(super) fn about_extent(&mut self, extent: Number, finding: Finding) {
        if self.nameless.count >= MOST {
            return self.report(finding);
        }
        self.nameless.count += 1;
        self.nameless.extents.entry(extent).or_default().push(finding);
    }

    /// A finding about an upload's part or a manifest.
    pub(super) fn about_manifest(&mut self, manifest: Number, finding: Finding) {
        if self.nameless.count >= MOST {
            return self.report(finding);
        }
        self.nameless.count += 1;
        self.nameless.manifests.entry(manifest).or_default().push(finding);
    }

    /// A part of this manifest is in that extent.
    pub(super) fn pass_on(&mut self, extent: Number, manifest: Number) {
        if let Some(findings) = self.nameless.extents.remove(&extent) {
            self.nameless.manifests.entry(manifest).or_default().extend(findings);
        }
    }

    /// An object is in that extent.
    pub(super) fn name_extent(&mut self, extent: Number, object: &str) {
        let findings = self.nameless.extents.remove(&extent).unwrap_or_default();
        for finding in findings {
            self.report(finding.named(object));
        }
    }

    /// An object is that manifest.
    pub(super) fn name_manifest(&mut self, manifest: Number, object: &str) {
        let findings = self.nameless.manifests.remove(&manifest).unwrap_or_default();
        for finding in findings {
            self.report(finding.named(object));
        }
    }

    /// No object was found for the others.
    pub(super) fn name_the_rest(&mut self) {
        let Nameless { extents, manifests, .. } = std::mem::take(&mut self.nameless);
        extents.into_values().chain(manifests.into_values()).flatten().for_each(|finding| self.report(finding));
    }
}
