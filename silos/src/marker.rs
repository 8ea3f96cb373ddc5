//! The marker tells an empty mount from an empty silo, and our silo from somebody else's.

use serde::{Deserialize, Serialize};

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
}
