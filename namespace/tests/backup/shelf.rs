//! A silo with pieces of backups as no gateway may ever have written them.

use holdall_namespace::backup::piece::{self, Line, Manifest, PieceKey, Run, What, push_entry};
use holdall_namespace::engine::log::{Entry, push};
use holdall_namespace::extent::Number;
use holdall_namespace::table::INDEX_FORMAT;
use holdall_silos::{Claim, Marker};

use super::*;

/// An entry is made a second after the one before it, and changes a row of its own.
pub(crate) struct Shelf {
    silo: Arc<Blobs>,
    key: PieceKey,
    number: u64,
    /// What is written from now on is of this line.
    pub(crate) line: Line,
    /// So far the clock that it is written by is ahead.
    pub(crate) ahead: i64,
}

impl Shelf {
    pub(crate) async fn new(test: &str) -> Self {
        let silo = silo_of(test, "hot");
        let marker = Marker { silo: "hot".into(), namespace: "n".into(), id: "i".into() };
        silo.claim(&Claim { marker, fresh: true }).await.unwrap();
        Self { silo, key: PieceKey::new(&SEAL_KEY), number: 0, line: 1, ahead: 0 }
    }

    pub(crate) fn put(&mut self, session: u64, what: What, sequence: u64, body: &[u8]) -> BlobName {
        self.number += 1;
        let name = piece::name(&what, sequence, Number { session, number: self.number });
        self.silo.plant(&name.to_string(), self.key.seal(&name, "n", what, body), &[]);
        name
    }

    fn at(&self, sequence: u64) -> UnixMs {
        sequence as i64 * 1000 + self.ahead
    }

    pub(crate) fn log(&mut self, session: u64, first: u64, last: u64) -> BlobName {
        let mut body = Vec::new();
        for sequence in first..=last {
            let row = (Bytes::copy_from_slice(&[2, sequence as u8]), Some(Bytes::from_static(b"x")));
            push_entry(&mut body, &Entry { sequence, at: self.at(sequence), rows: vec![row] });
        }
        let run = Run { line: self.line, anchor: [0; 8], first, last, until: self.at(last) };
        self.put(session, What::Log(run), first, &body)
    }

    pub(crate) fn rows(&mut self, session: u64, sequence: u64) -> BlobName {
        let mut body = Vec::new();
        for at in 1..=sequence {
            push(&mut body, &[2, at as u8], Some(b"x"));
        }
        self.put(session, What::Rows, sequence, &body)
    }

    /// Answers the name of the piece with its rows.
    pub(crate) fn snapshot(&mut self, session: u64, sequence: u64) -> BlobName {
        let rows = self.rows(session, sequence);
        let manifest = Manifest {
            line: self.line,
            anchor: None,
            sequence,
            at: self.at(sequence),
            format: INDEX_FORMAT,
            rows: sequence,
            bytes: 0,
            pieces: vec![Number { session: rows.extent.0, number: rows.extent.1 }],
        };
        self.put(session, What::Snapshot(manifest), sequence, &[]);
        rows
    }

    pub(crate) fn damage(&self, name: &BlobName) {
        self.silo.plant(&name.to_string(), "no piece", &[]);
    }

    pub(crate) async fn restore(&self, at: Option<i64>) -> Result<Restored, RestoreError> {
        let sources = vec![Source { name: "hot".into(), silo: Arc::clone(&self.silo) as Arc<dyn Silo> }];
        let make = || Ok(Arc::new(new_engine()) as Arc<dyn Engine>);
        restore(sources, &SEAL_KEY, at, &make, &|_| {}).await.map(|(_, restored)| restored)
    }

    /// Up to when a restore says that it could go.
    pub(crate) async fn breaks_at(&self, at: Option<i64>) -> UnixMs {
        match self.restore(at).await {
            Err(RestoreError::Broken { until, .. }) => until,
            other => panic!("{other:?}"),
        }
    }
}
