//! The marker tells an empty mount from an empty silo, and our silo from somebody else's.

use serde::{Deserialize, Serialize};

use crate::error::SiloError;

/// The marker's name, at a silo's root.
pub const MARKER: &str = "holdall-silo.json";

/// What a silo that we may write to says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// The silo's name in its namespace.
    pub silo: String,
    /// The namespace it belongs to.
    pub namespace: String,
    /// Drawn when the marker was written; two silos never share it.
    pub id: String,
}

/// Who wants the silo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// What the marker must say, or will say once written.
    pub marker: Marker,
    /// The silo is being registered: its root may be empty, and then gets the marker. Otherwise the marker must be
    /// there: a root without it is an unmounted disk.
    pub fresh: bool,
}

impl Claim {
    /// Whether a marker that was found satisfies this claim. A registered silo is known by its id; one being
    /// registered again after a crash by its name and namespace.
    pub fn accepts(&self, found: &Marker) -> bool {
        found.namespace == self.marker.namespace
            && found.silo == self.marker.silo
            && (self.fresh || found.id == self.marker.id)
    }

    /// `accepts`, with the reason where it does not.
    pub(crate) fn check(&self, found: &Marker) -> Result<(), SiloError> {
        if self.accepts(found) {
            return Ok(());
        }
        // The same name under another namespace is rarely somebody else's.
        let lost = found.silo == self.marker.silo && found.namespace != self.marker.namespace;
        let hint =
            if lost { "; was this gateway's index lost or replaced? then bring back the one that made it" } else { "" };
        Err(SiloError::not_done(format!(
            "the silo belongs to `{}` of namespace `{}` (marker `{}`), not to `{}` of `{}` (`{}`){hint}",
            found.silo, found.namespace, found.id, self.marker.silo, self.marker.namespace, self.marker.id
        )))
    }

    /// A registered silo shows no marker: an unmounted disk, or somebody cleaned up.
    pub(crate) fn refuse_unmarked() -> SiloError {
        SiloError::not_done(format!("the silo's root has no `{MARKER}`; is it mounted?"))
    }

    /// A new silo's root holds what is not ours.
    pub(crate) fn refuse_strangers() -> SiloError {
        SiloError::not_done(format!("the silo's root is not empty and has no `{MARKER}`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With an empty index beside silos that have markers, all that was said is that they belong to another namespace.
    #[test]
    fn a_lost_index_is_called_by_its_name() {
        let marker = |silo: &str, namespace: &str| Marker {
            silo: silo.to_owned(),
            namespace: namespace.to_owned(),
            id: format!("{silo}-{namespace}"),
        };
        let claim = Claim { marker: marker("hot", "new"), fresh: true };
        let told = |found: &Marker| claim.check(found).unwrap_err().to_string();
        assert!(told(&marker("hot", "old")).contains("index lost or replaced"), "{}", told(&marker("hot", "old")));
        assert!(!told(&marker("cold", "old")).contains("index"));
        assert!(!told(&marker("cold", "new")).contains("index"));
    }
}
