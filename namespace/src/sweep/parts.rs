//! Parts go a few rows a commit, each dropping its references: all of an aborted upload, those not named of a
//! completed one, all of a retired manifest once its readers are gone. The head or upload goes last.

use crate::engine::{self, Key, Read, Rows, Write};
use crate::extent::Number;
use crate::fault::Fault;
use crate::limits::{COMMIT_TRIES, COMPLETED_KEPT};
use crate::multipart::UploadError;
use crate::namespace::Core;
use crate::reference::{Adding, Dropping, Stale, targets};
use crate::session::Uncommitted;
use crate::sweep::Swept;
use crate::table::objects::Data;
use crate::table::retired::{RetiredRow, retired as retired_key};
use crate::table::uploads::{ManifestRow, PartRow, UploadRow, UploadState, manifest, parts, read_part};
use crate::table::{after_prefix, decode, decode_row, encode, key};

/// Part rows read in one step.
const PAGE: usize = 100;

impl Core {
    /// Nobody refers to the manifest, and nobody reads it any more.
    pub(super) async fn sweep_manifest(&self, todo: &Key, id: Number) -> Result<Swept, Fault> {
        let writes = vec![Write::Delete(manifest(id)), Write::Delete(todo.clone())];
        if crate::seeded_bug!("head-first") {
            self.write_blind(writes.clone()).await?;
        }
        self.drop_parts(id, None).await?;
        self.write_blind(writes).await?;
        Ok(Swept::default())
    }

    /// An upload that ended: its parts, then its row.
    pub(super) async fn sweep_upload(&self, todo: &Key, upload: Key, id: Number) -> Result<Swept, Fault> {
        let row: Option<UploadRow> = decode_row(self.engine.get(std::slice::from_ref(&upload)).await?[0].as_ref())?;
        match row.map(|row| (row.state.clone(), row)) {
            Some((UploadState::Aborted, _)) => {
                let writes = vec![Write::Delete(upload), Write::Delete(todo.clone())];
                if crate::seeded_bug!("aborted-first") {
                    self.write_blind(writes.clone()).await?;
                }
                self.drop_parts(id, None).await?;
                self.write_blind(writes).await?;
            }
            Some((UploadState::Completed { token, list, answer, trimmed: false, at }, row)) => {
                let head = self.engine.get(&[manifest(id)]).await?;
                if let Some(head) =
                    decode_row::<ManifestRow>(head[0].as_ref())?.filter(|_| !crate::seeded_bug!("untrimmed"))
                {
                    let named: Vec<u32> = head.parts.iter().map(|(number, _)| *number).collect();
                    self.drop_parts(id, Some(&named)).await?;
                }
                let state = UploadState::Completed { token, list, answer, trimmed: true, at };
                // The record answers a repeated Complete for a day: the work comes back then.
                let later = at + COMPLETED_KEPT.as_millis() as i64;
                let again = RetiredRow::Upload { key: upload.clone(), id };
                let writes = vec![
                    Write::Put(upload, encode(&UploadRow { state, ..row })),
                    Write::Delete(todo.clone()),
                    Write::Put(retired_key(later, token, 1), encode(&again)),
                ];
                self.write_blind(writes).await?;
            }
            Some((UploadState::Completed { trimmed: true, at, .. }, _))
                if self.clock.now() < at + COMPLETED_KEPT.as_millis() as i64 => {}
            Some((UploadState::Open { .. }, _)) => {}
            Some((UploadState::Completed { .. }, _)) => {
                self.write_blind(vec![Write::Delete(upload), Write::Delete(todo.clone())]).await?;
            }
            None => self.write_blind(vec![Write::Delete(todo.clone())]).await?,
        }
        Ok(Swept::default())
    }

    async fn write_blind(&self, writes: Vec<Write>) -> Result<(), Fault> {
        let decide = move |_: &Rows| Ok::<_, Fault>((writes.clone(), ()));
        Ok(engine::commit(&*self.engine, Vec::new(), decide).await?)
    }

    /// Drops parts, but not those `kept` names. Nobody adds parts to an upload that ended.
    async fn drop_parts(&self, id: Number, kept: Option<&[u32]>) -> Result<(), Fault> {
        let mut from = 0;
        loop {
            let page = self.engine.range(parts(id, from), PAGE, usize::MAX).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            from = read_part(last).unwrap_or(u32::MAX).saturating_add(1);
            for (key, bytes) in &page {
                let number = read_part(key).unwrap_or(0);
                if kept.is_none_or(|kept| kept.binary_search(&number).is_err()) {
                    self.drop_part(key.to_vec(), decode(bytes)?).await?;
                }
            }
        }
    }

    async fn drop_part(&self, key: Key, row: PartRow) -> Result<(), Fault> {
        let session = self.session();
        let guard = std::sync::Arc::new(session.take());
        for _ in 0..COMMIT_TRIES {
            let slices = targets(&Data::Slices(row.slices.clone()));
            let dropping = Dropping::prepare(&*self.engine, slices, row.version).await?;
            let mut reads = dropping.reads();
            reads.push(Read::Row(key.clone()));
            let (now, key, held) = (self.clock.now(), key.clone(), std::sync::Arc::clone(&guard));
            let decide = move |rows: &Rows| -> Result<_, Stale> {
                if rows.get(&key).is_none() {
                    return Ok((Vec::new(), ()));
                }
                let mut writes = dropping.writes(rows, &Adding::none(held.number), now, held.number)?;
                writes.push(Write::Delete(key.clone()));
                Ok((writes, ()))
            };
            match session.commit(reads, decide).await {
                Ok(()) => return Ok(()),
                Err(Uncommitted::Refused(Stale::Fault(fault)) | Uncommitted::Fault(fault)) => return Err(fault),
                // After a lost answer the part row tells: dropping it again does nothing.
                Err(_) => {}
            }
        }
        Err(Fault::Unavailable("a part's references change too often".to_owned()))
    }

    /// Gives up the uploads of buckets that were deleted. A bucket is done with once each of its uploads ended.
    pub(super) async fn abort_left(&self) -> Result<(), Fault> {
        let range = vec![key::LEFT]..after_prefix(&[key::LEFT]);
        for (left, _) in self.engine.range(range, PAGE, usize::MAX).await? {
            let incarnation = crate::table::read_number(&left, 1).unwrap_or(0);
            let mut uploads = crate::table::uploads::uploads(incarnation);
            loop {
                let page = self.engine.range(uploads.clone(), PAGE, usize::MAX).await?;
                let Some((last, _)) = page.last() else { break };
                uploads.start = crate::table::successor(last);
                for (key, _) in &page {
                    if let Some((_, _, id)) = crate::table::uploads::read_upload(key) {
                        match self.abort(key.to_vec(), id).await {
                            Ok(()) | Err(UploadError::NoSuchUpload | UploadError::NoSuchBucket) => {}
                            Err(UploadError::Fault(fault)) => return Err(fault),
                        }
                    }
                }
            }
            self.write_blind(vec![Write::Delete(left.to_vec())]).await?;
        }
        Ok(())
    }
}
