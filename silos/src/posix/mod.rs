//! Disks, and whatever is mounted as a folder.
//!
//! ```text
//! ROOT/holdall-silo.json                        who the silo is, and whose
//! ROOT/blobs/<session>/<high bits>/<blob>       payload, description, trailer; of a pack the payload alone
//! ROOT/probe/                                   only while probing
//! ```
//!
//! Bytes are durable when `put` or `append` answers: the file is flushed, then its folder, and a new folder's parent. Every call
//! that may wait for a disk runs on a thread of this silo's own.

mod append;
mod errno;
mod folder;
mod handle;
pub(crate) mod kind;
mod list;
mod pool;
mod probe;
mod project;
mod read;
mod root;
mod tree;
mod walk;
mod watch;
mod write;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use bytes::Bytes;
use rustix::fs::{self, AtFlags};
use rustix::io::Errno;

use crate::error::SiloError;
use crate::exact::Exact;
use crate::facts::Facts;
use crate::limits::MAX_EXTENT;
use crate::marker::{Claim, Marker};
use crate::name::BlobName;
use crate::silo::{Body, Describe, Listed, Pieces, Silo, Space, Stat, Stored};
use crate::span;
pub use project::Shared;
pub use tree::Tree;

use list::Page;
use pool::Pool;
use read::Caches;
use root::Root;

/// A silo in a folder. It answers nothing until it was claimed.
pub struct Posix {
    path: PathBuf,
    pool: Pool,
    root: RwLock<Option<Arc<Root>>>,
}

impl Posix {
    /// A silo whose root is `path`; touches nothing.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), pool: Pool::new(), root: RwLock::new(None) }
    }

    fn root(&self) -> Result<Arc<Root>, SiloError> {
        let root = self.root.read().unwrap_or_else(PoisonError::into_inner);
        root.clone().ok_or_else(|| SiloError::not_done("the silo was not claimed"))
    }

    /// Work that changes nothing, on a root that is still the one we know where something is missing.
    async fn look<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Root) -> Result<T, SiloError> + Send + 'static,
    ) -> Result<T, SiloError> {
        let root = self.root()?;
        self.pool.read(move || work(&root).map_err(|error| root.explain(error))).await
    }
}

#[async_trait]
impl Silo for Posix {
    async fn put(&self, name: &BlobName, size: u64, body: Body, describe: Describe) -> Result<Stored, SiloError> {
        span::fits_extent(size, MAX_EXTENT)?;
        write::put(&self.pool, self.root()?, *name, size, Exact::new(body, size), describe).await
    }

    fn appends(&self) -> bool {
        true
    }

    async fn append(&self, pack: &BlobName, at: u64, bytes: Vec<Bytes>) -> Result<(), SiloError> {
        span::fits_pack(pack, at, &bytes)?;
        append::append(&self.pool, self.root()?, *pack, at, bytes).await
    }

    async fn read(&self, name: &BlobName, size: u64, range: Range<u64>) -> Result<Pieces, SiloError> {
        read::read(&self.pool, self.root()?, *name, size, range, Caches::Use).await
    }

    async fn read_back(&self, name: &BlobName, size: u64, range: Range<u64>) -> Result<Pieces, SiloError> {
        read::read(&self.pool, self.root()?, *name, size, range, Caches::Bypass).await
    }

    async fn stat(&self, name: &BlobName) -> Result<Stat, SiloError> {
        let name = *name;
        self.look(move |root| read::stat(root, &name)).await
    }

    async fn describe(&self, name: &BlobName) -> Result<Vec<u8>, SiloError> {
        let name = *name;
        self.look(move |root| read::describe(root, &name)).await
    }

    async fn delete(&self, name: &BlobName) -> Result<(), SiloError> {
        let (root, name) = (self.root()?, *name);
        self.pool.write(move || delete(&root, &name)).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Listed>, SiloError> {
        let (prefix, after, limit) = (prefix.to_owned(), after.map(str::to_owned), span::page(limit));
        self.look(move |root| {
            let found = list::list(&root.blobs, &Page { prefix: &prefix, after: after.as_deref(), limit })?;
            // An empty page says that nothing is left, which only a silo that is still there may say.
            if found.is_empty() { root.still_ours().map(|()| found) } else { Ok(found) }
        })
        .await
    }

    async fn claim(&self, claim: &Claim) -> Result<(), SiloError> {
        let (path, claim) = (self.path.clone(), claim.clone());
        let before = self.root.read().unwrap_or_else(PoisonError::into_inner).clone();
        let pool = self.pool.clone();
        let claimed = self.pool.write(move || match before {
            Some(before) if before.is_still(&path, &claim) => Ok(before),
            _ => Root::claim(&path, &claim, pool).map(Arc::new),
        });
        *self.root.write().unwrap_or_else(PoisonError::into_inner) = Some(claimed.await?);
        Ok(())
    }

    async fn marker(&self) -> Result<Option<Marker>, SiloError> {
        if self.root().is_err() {
            let path = self.path.clone();
            return self.pool.read(move || root::marker_at(&path)).await;
        }
        self.look(Root::marker).await
    }

    async fn probe(&self) -> Result<Facts, SiloError> {
        let root = self.root()?;
        self.pool.write(move || probe::probe(&root)).await
    }

    async fn space(&self) -> Result<Option<Space>, SiloError> {
        self.look(|root| {
            let space = fs::fstatvfs(root.dir()).map_err(|e| errno::reading("asking for room", e))?;
            let bytes = |blocks: u64| blocks.saturating_mul(space.f_frsize);
            Ok(Some(Space { total: bytes(space.f_blocks), free: bytes(space.f_bavail) }))
        })
        .await
    }
}

/// Removes a blob's name. After a power loss it may be back: an orphan then, since its row went after it.
fn delete(root: &Root, name: &BlobName) -> Result<(), SiloError> {
    let removed = root::open_folder(&root.blobs, &name.folder())
        .and_then(|folder| fs::unlinkat(folder, name.file(), AtFlags::empty()));
    match removed {
        Ok(()) => Ok(()),
        Err(Errno::NOENT) => root.still_ours(),
        Err(e @ (Errno::ISDIR | Errno::PERM | Errno::ACCESS | Errno::ROFS | Errno::NOTDIR | Errno::LOOP)) => {
            Err(SiloError::not_done(format!("deleting a blob: {e}")))
        }
        Err(e) => Err(SiloError::unknown(format!("deleting a blob: {e}"))),
    }
}

#[cfg(test)]
mod tests;
