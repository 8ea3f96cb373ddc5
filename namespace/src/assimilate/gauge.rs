//! What an alarm needs to know of each root.

use super::find::held;
use crate::clock::UnixMs;
use crate::fault::Fault;
use crate::inventory::load_roots;
use crate::namespace::Namespace;
use crate::table::roots::RootId;

/// How a root does, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RootGauge {
    /// Its number.
    pub root: RootId,
    /// When the last pass came to its end; none where none did, or where the next one is due at once.
    pub passed: Option<UnixMs>,
    /// Names that are gone, and wait for somebody to confirm it.
    pub gone: u64,
    /// Names, or folders, that the last pass could not look at.
    pub unread: u64,
    /// Keys whose headers could not be asked for: nothing of the root moves.
    pub unfilled: u64,
    /// Keys that its tree cannot hold, as this gateway knows them.
    pub stuck: u64,
    /// Passes of this gateway that broke off.
    pub broken: u64,
}

impl Namespace {
    /// How all roots do, by number.
    pub async fn root_gauges(&self) -> Result<Vec<RootGauge>, Fault> {
        let roots = load_roots(&*self.engine).await?;
        let broken = held(&self.core.looking.broken).clone();
        let gauge = |info: super::RootInfo| RootGauge {
            root: info.id,
            passed: info.passed,
            gone: info.gone,
            unread: info.unlooked.len() as u64,
            unfilled: info.unfilled.map_or(0, |left| left.keys),
            stuck: self.projected(info.id).stuck,
            broken: broken.get(&info.id).copied().unwrap_or_default(),
        };
        Ok(roots.into_iter().map(|row| gauge(row.info)).collect())
    }
}
