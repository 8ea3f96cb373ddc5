//! Which pieces lie where, and reading one from whoever has it whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use holdall_silos::{BlobName, Names, Silo, SiloError, collect};

use super::piece::{Manifest, Piece, PieceKey, What};
use crate::limits::{MAX_MANIFEST, MAX_PIECE, RUN_ENTRIES};

/// A silo that may hold pieces.
#[derive(Clone)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// Claimed.
    pub silo: Arc<dyn Silo>,
}

/// Every piece there is in some silos.
pub struct Shelf {
    sources: Vec<Source>,
    /// In which of the sources each lies.
    pieces: BTreeMap<BlobName, Vec<usize>>,
    /// Pieces too long to say what a snapshot is.
    long: BTreeSet<BlobName>,
    /// Silos that could not be listed, and why.
    pub silent: Vec<(String, SiloError)>,
}

/// A piece that lies nowhere whole: what was found instead, by silo.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("piece {name}: {}", flaws.join("; "))]
pub struct Unread {
    /// Which.
    pub name: BlobName,
    /// One sentence fragment for each silo that has it.
    pub flaws: Vec<String>,
    /// All of them say that another key sealed it.
    pub other_key: bool,
}

/// A piece, and what was wrong with copies of it that were tried before.
pub struct Opened {
    /// As it was written.
    pub piece: Piece,
    /// One sentence fragment for each.
    pub flaws: Vec<String>,
}

/// A snapshot that was finished.
pub struct Whole {
    /// What it is.
    pub manifest: Manifest,
    /// Whose.
    pub namespace: String,
    /// What was wrong with copies of the piece that says so, one sentence fragment for each.
    pub flaws: Vec<String>,
}

impl Shelf {
    /// Lists silos; one that does not answer is noted.
    pub async fn list(sources: Vec<Source>) -> Self {
        Self::list_while(sources, None, |_| true).await
    }

    /// A silo's pieces of the log alone, of what may be very many: those that may have this entry, and the first so many beyond it.
    pub async fn list_around(source: Source, entry: u64, beyond: usize) -> Self {
        let after = BlobName::of_log(entry.saturating_sub(RUN_ENTRIES), (0, 0)).to_string();
        let mut left = beyond;
        let goes_on = |name: &BlobName| {
            let (of_snapshot, first) = name.backed_up();
            left -= usize::from(left > 0 && first > entry);
            !of_snapshot && left > 0
        };
        Self::list_while(vec![source], Some(after), goes_on).await
    }

    /// The names after one, in order, up to the one that it does not go on after.
    async fn list_while(
        sources: Vec<Source>,
        after: Option<String>,
        mut goes_on: impl FnMut(&BlobName) -> bool,
    ) -> Self {
        let mut shelf = Self { sources, pieces: BTreeMap::new(), long: BTreeSet::new(), silent: Vec::new() };
        for at in 0..shelf.sources.len() {
            if let Err(error) = shelf.add(at, after.clone(), &mut goes_on).await {
                shelf.silent.push((shelf.sources[at].name.clone(), error));
            }
        }
        shelf
    }

    async fn add(
        &mut self,
        at: usize,
        after: Option<String>,
        goes_on: &mut impl FnMut(&BlobName) -> bool,
    ) -> Result<(), SiloError> {
        let (silo, prefix) = (Arc::clone(&self.sources[at].silo), BlobName::backups_prefix());
        let mut names = Names::new(&*silo, &prefix, after);
        while let Some(page) = names.next().await? {
            for listed in page {
                let Ok(name) = listed.name.parse::<BlobName>() else { continue };
                self.pieces.entry(name).or_default().push(at);
                if listed.stored > MAX_MANIFEST {
                    self.long.insert(name);
                }
                if !goes_on(&name) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Whether no silo answered.
    pub fn is_silent(&self) -> bool {
        self.silent.len() == self.sources.len()
    }

    /// Names of pieces of the log, by their first entry.
    pub fn logs(&self) -> impl DoubleEndedIterator<Item = (u64, BlobName)> + '_ {
        self.pieces.keys().filter_map(|name| match name.backed_up() {
            (false, first) => Some((first, *name)),
            (true, _) => None,
        })
    }

    /// Names of pieces of snapshots, each snapshot by itself, newest first.
    pub fn snapshots(&self) -> Vec<(u64, Vec<BlobName>)> {
        let mut all: BTreeMap<(u64, u64), Vec<BlobName>> = BTreeMap::new();
        for name in self.pieces.keys() {
            if let (true, sequence) = name.backed_up() {
                all.entry((sequence, name.extent.0)).or_default().push(*name);
            }
        }
        all.into_iter().rev().map(|((sequence, _), names)| (sequence, names)).collect()
    }

    /// The piece of a snapshot that says what it is; none where it was not finished. It is the last one, unless another try
    /// of the same moment came after it.
    pub async fn manifest(&self, key: &PieceKey, names: &[BlobName]) -> Result<Option<Whole>, Unread> {
        for name in names.iter().rev().filter(|name| !self.long.contains(name)) {
            let Opened { piece, flaws } = self.open(key, name).await?;
            if let What::Snapshot(manifest) = piece.what {
                return Ok(Some(Whole { manifest, namespace: piece.namespace, flaws }));
            }
        }
        Ok(None)
    }

    /// Whether each piece of a snapshot lies in some silo.
    pub fn has(&self, manifest: &Manifest) -> bool {
        manifest.names().all(|name| self.pieces.contains_key(&name))
    }

    /// Opens a piece, from the first silo that has it whole.
    pub async fn open(&self, key: &PieceKey, name: &BlobName) -> Result<Opened, Unread> {
        let (mut flaws, mut other_key) = (Vec::new(), true);
        for at in self.pieces.get(name).into_iter().flatten() {
            let source = &self.sources[*at];
            match self.open_at(key, name, source).await {
                Ok(piece) => {
                    let flaws = flaws.into_iter().map(|flaw| format!("piece {name} {flaw}")).collect();
                    return Ok(Opened { piece, flaws });
                }
                Err((reason, other)) => {
                    other_key &= other;
                    flaws.push(format!("in silo `{}`: {reason}", source.name));
                }
            }
        }
        if flaws.is_empty() {
            (flaws, other_key) = (vec!["it lies nowhere".to_owned()], false);
        }
        Err(Unread { name: *name, flaws, other_key })
    }

    async fn open_at(&self, key: &PieceKey, name: &BlobName, source: &Source) -> Result<Piece, (String, bool)> {
        let said = |error: SiloError| (error.to_string(), false);
        let size = source.silo.stat(name).await.map_err(said)?.size;
        if size > MAX_PIECE {
            return Err(("it is longer than any piece".to_owned(), false));
        }
        let pieces = source.silo.read(name, size, 0..size).await.map_err(said)?;
        let bytes = collect(pieces).await.map_err(said)?;
        key.open(name, &bytes).map_err(|why| (why.to_string(), why == super::piece::Unopened::OtherKey))
    }

    /// Which silos have all pieces of a snapshot, and all of the log from there on.
    pub(crate) fn homes_of(&self, sequence: u64, snapshot: Vec<BlobName>) -> Vec<String> {
        // The last piece that begins before the snapshot goes on after it, as far as anybody knows.
        let spans = self.logs().take_while(|(first, _)| *first <= sequence).last();
        let since = self.logs().filter(|(first, _)| *first > sequence).chain(spans);
        let chain: Vec<BlobName> = snapshot.into_iter().chain(since.map(|(_, name)| name)).collect();
        self.homes(&chain).into_iter().map(str::to_owned).collect()
    }

    /// Which silos have each of these pieces.
    fn homes(&self, names: &[BlobName]) -> Vec<&str> {
        let has = |at: &usize| names.iter().all(|name| self.pieces.get(name).is_some_and(|homes| homes.contains(at)));
        (0..self.sources.len()).filter(has).map(|at| self.sources[at].name.as_str()).collect()
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = (&BlobName, impl Iterator<Item = &Source>)> {
        self.pieces.iter().map(|(name, homes)| (name, homes.iter().map(|at| &self.sources[*at])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use holdall_silos::memory::Memory;

    /// A piece of the log that spans the moment of a snapshot reached one of two silos. The other was counted as having
    /// everything: no snapshot made good for it, and once the first was lost nothing after the snapshot was left.
    #[test]
    fn who_lacks_the_piece_that_spans_a_snapshot_lacks_the_log() {
        let (snapshot, before) = (BlobName::of_snapshot(9, (1, 5)), BlobName::of_log(2, (1, 3)));
        let (spans, after) = (BlobName::of_log(7, (1, 4)), BlobName::of_log(12, (1, 6)));
        let silo = |pieces: &[BlobName]| {
            let silo = Memory::new();
            for piece in pieces {
                silo.plant(&piece.to_string(), "", b"");
            }
            Arc::new(silo) as Arc<dyn Silo>
        };
        let source = |name: &str, pieces: &[BlobName]| Source { name: name.to_owned(), silo: silo(pieces) };
        let all = [before, spans, snapshot, after];
        let sources =
            vec![source("all", &all), source("since", &all[1..]), source("lacks", &[before, snapshot, after])];
        let shelf = Shelf::list(sources).now_or_never().unwrap();
        assert_eq!(shelf.homes_of(9, vec![snapshot]), ["all", "since"]);
    }
}
