//! Files brought into a tree that others write to as well, and taken out of it.
//!
//! Attempts lie in `.holdall` at the tree's root. A file and a name change places in one call where the file system can do
//! that; elsewhere the file that has the name is renamed aside first, and others briefly see none. Neither ever replaces
//! what it did not take out. Every call names the attempt's folder by its path, so that a call of an owner who lost it fails.

mod attempt;
mod calls;
mod fit;
mod place;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use crate::error::SiloError;
use crate::exact::Exact;
use crate::limits::WRITE_STEP;
use crate::posix::handle::Handle;
use crate::posix::tree::{Reader, Tree};
use crate::posix::write::{flush_limit, write_pieces};
use crate::projections::{Attempt, Outcome, Projections, Staging};
use crate::silo::{Pieces, Validator};
use crate::span;

use place::Place;

/// A folder that others write to as well.
pub struct Shared {
    tree: Tree,
    /// Whose attempts they are: others' lie beside.
    namespace: Arc<str>,
    exchanges: bool,
}

impl Shared {
    /// What lies below `path`, with attempts of one namespace; touches nothing.
    pub fn new(path: &Path, namespace: &str) -> Self {
        Self { tree: Tree::new(path), namespace: namespace.into(), exchanges: true }
    }

    /// The same as if its file system could not exchange two names.
    #[cfg(any(test, feature = "memory"))]
    #[must_use]
    pub fn without_exchange(self) -> Self {
        Self { exchanges: false, ..self }
    }

    async fn place(&self) -> Result<Place, SiloError> {
        let (namespace, exchanges) = (Arc::clone(&self.namespace), self.exchanges);
        Ok(Place { root: self.tree.root().await?, namespace, exchanges })
    }

    /// Does work whose outcome is not known when its answer is lost.
    async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Place) -> Result<T, SiloError> + Send + 'static,
    ) -> Result<T, SiloError> {
        let place = self.place().await?;
        self.tree.pool().write(move || work(&place)).await
    }
}

#[async_trait]
impl Projections for Shared {
    async fn fit(&self) -> Result<Vec<String>, SiloError> {
        self.change(Place::fit).await
    }

    async fn stage(&self, at: Attempt, file: Option<Staging>) -> Result<Option<Validator>, SiloError> {
        let Some(Staging { body, size, modified, name }) = file else {
            return self.change(move |place| place.make(at).map(|()| None)).await;
        };
        let mut file = self.change(move |place| place.make(at).and_then(|()| place.create(at, &name))).await?;
        let (pool, mut body) = (self.tree.pool(), Exact::new(body, size));
        let (mut step, mut gathered) = (Vec::new(), 0);
        while let Some(piece) = body.next().await? {
            gathered += piece.len();
            step.push(piece);
            if gathered >= WRITE_STEP {
                let pieces = std::mem::take(&mut step);
                gathered = 0;
                file = pool.write(move || write_pieces(&mut file, &pieces).map(|()| file)).await?;
            }
        }
        let place = self.place().await?;
        let finish = move || {
            write_pieces(&mut file, &step)?;
            place.finish(at, &file, modified)
        };
        pool.start(finish).within(flush_limit(size)).await?.map(Some)
    }

    async fn bring(&self, at: Attempt, staged: &Validator, name: &[u8]) -> Result<(), SiloError> {
        let (name, staged) = (name.to_owned(), staged.clone());
        self.change(move |place| place.bring(at, &staged, &name)).await
    }

    async fn take(&self, at: Attempt, name: &[u8]) -> Result<(), SiloError> {
        let name = name.to_owned();
        self.change(move |place| place.take(at, &name)).await
    }

    async fn look(&self, at: Attempt, name: &[u8], staged: Option<&Validator>) -> Result<Outcome, SiloError> {
        let (name, staged) = (name.to_owned(), staged.cloned());
        self.change(move |place| place.look(at, &name, staged.as_ref())).await
    }

    async fn read(&self, at: Attempt, came: &Validator, staged: Option<&Validator>) -> Result<Pieces, SiloError> {
        let (staged, place, pool) = (staged.cloned(), self.place().await?, self.tree.pool().clone());
        let theirs = pool.clone();
        let open = move || {
            let (file, stat) = place.open(at, staged.as_ref())?;
            Ok((Handle::new(file, place.root.kind, &theirs), stat.st_size as u64, place.root.kind))
        };
        let (file, size, kind) = pool.read(open).await?;
        let reader = Reader { pool, file: Arc::new(file), kind, validator: came.clone() };
        Ok(reader.pieces(span::blocks(size, 0..size)?))
    }

    async fn give(&self, at: Attempt, staged: Option<&Validator>, name: &[u8]) -> Result<bool, SiloError> {
        let (name, staged) = (name.to_owned(), staged.cloned());
        self.change(move |place| place.give(at, staged.as_ref(), &name)).await
    }

    async fn take_over(&self, to: Attempt) -> Result<bool, SiloError> {
        self.change(move |place| place.take_over(to)).await
    }

    async fn may_be(&self, name: &[u8]) -> Result<(), SiloError> {
        let (name, place) = (name.to_owned(), self.place().await?);
        self.tree.pool().read(move || place.may_be(&name)).await
    }

    async fn discard_known(
        &self,
        at: Attempt,
        name: &[u8],
        known: &Validator,
        staged: Option<&Validator>,
    ) -> Result<bool, SiloError> {
        let (name, known, staged) = (name.to_owned(), known.clone(), staged.cloned());
        self.change(move |place| place.discard_known(at, &name, &known, staged.as_ref())).await
    }

    async fn discard(&self, at: Attempt) -> Result<(), SiloError> {
        self.change(move |place| place.discard(at)).await
    }

    async fn attempts(&self) -> Result<Vec<Attempt>, SiloError> {
        let place = self.place().await?;
        self.tree.pool().read(move || place.attempts()).await
    }
}
