//! Uploads: begun, looked up, given up.

use crate::bucket::Bucket;
use crate::engine::{Read, Rows, Write};
use crate::extent::Number;
use crate::fault::Fault;
use crate::multipart::{CreateUpload, UploadError, UploadId, UploadInfo};
use crate::name::ObjectKey;
use crate::namespace::{Core, Namespace};
use crate::session::Uncommitted;
use crate::table::buckets::{BucketRow, bucket as bucket_key};
use crate::table::objects::Attributes;
use crate::table::retired::{RetiredRow, retired};
use crate::table::uploads::{UploadRow, UploadState, upload as upload_key};
use crate::table::{decode_row, encode};

impl Namespace {
    /// Begins an upload. <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateMultipartUpload.html>
    pub async fn create_upload(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        create: CreateUpload,
    ) -> Result<UploadId, UploadError> {
        self.core.room_in_index()?;
        let session = self.session();
        let guard = session.take();
        let id = guard.number;
        let (bucket_row, incarnation) = (bucket_key(&bucket.name), bucket.incarnation);
        let attributes = Attributes { headers: create.headers, tags: create.tags, checksum: None };
        let row = UploadRow {
            state: UploadState::Open { seal: None },
            initiated: self.clock.now(),
            owner: bucket.owner,
            attributes,
            storage_class: create.storage_class,
            checksum: create.checksum,
        };
        let write = Write::Put(upload_key(incarnation, key, id), encode(&row));
        let reads = vec![Read::Row(bucket_row.clone())];
        let decide = move |rows: &Rows| {
            let _held = &guard;
            let bucket: Option<BucketRow> = decode_row(rows.get(&bucket_row))?;
            if bucket.is_none_or(|bucket| bucket.incarnation != incarnation) {
                return Err(UploadError::NoSuchBucket);
            }
            Ok((vec![write.clone()], ()))
        };
        session.commit(reads, decide).await.map_err(refused)?;
        Ok(UploadId(id))
    }

    /// An upload in progress.
    pub async fn upload(&self, bucket: &Bucket, key: &ObjectKey, id: UploadId) -> Result<UploadInfo, UploadError> {
        let row = self.core.open_upload(bucket, key, id.0).await?.ok_or(UploadError::NoSuchUpload)?;
        Ok(show_upload(key.clone(), id.0, &row))
    }

    /// Gives an upload up; its parts go with the sweep.
    ///
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_AbortMultipartUpload.html>
    pub async fn abort_upload(&self, bucket: &Bucket, key: &ObjectKey, id: UploadId) -> Result<(), UploadError> {
        self.core.abort(upload_key(bucket.incarnation, key, id.0), id.0).await
    }
}

impl Core {
    /// The row of an upload that takes parts.
    pub(crate) async fn open_upload(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        id: Number,
    ) -> Result<Option<UploadRow>, Fault> {
        let rows = self.engine.get(&[upload_key(bucket.incarnation, key, id)]).await?;
        let row: Option<UploadRow> = decode_row(rows[0].as_ref())?;
        Ok(row.filter(|row| matches!(row.state, UploadState::Open { .. })))
    }

    /// Open becomes aborted, whatever the seal.
    pub(crate) async fn abort(&self, row_key: Vec<u8>, id: Number) -> Result<(), UploadError> {
        let session = self.session();
        let (guard, now) = (session.take(), self.clock.now());
        let reads = vec![Read::Row(row_key.clone())];
        let decide = move |rows: &Rows| {
            let row: Option<UploadRow> = decode_row(rows.get(&row_key))?;
            let open = |row: &UploadRow| matches!(row.state, UploadState::Open { .. });
            let row = row.filter(|row| open(row) || crate::seeded_bug!("abort-completed"));
            let row = UploadRow { state: UploadState::Aborted, ..row.ok_or(UploadError::NoSuchUpload)? };
            let todo = RetiredRow::Upload { key: row_key.clone(), id };
            let writes = vec![
                Write::Put(row_key.clone(), encode(&row)),
                Write::Put(retired(now, guard.number, 0), encode(&todo)),
            ];
            Ok((writes, ()))
        };
        session.commit(reads, decide).await.map_err(refused)
    }
}

fn refused(error: Uncommitted<UploadError>) -> UploadError {
    match error {
        Uncommitted::Refused(refusal) => refusal,
        Uncommitted::Fault(fault) => fault.into(),
        Uncommitted::Unknown => Fault::Unavailable("the outcome of the commit is unknown".to_owned()).into(),
    }
}

/// An upload as it is shown.
pub(super) fn show_upload(key: ObjectKey, id: Number, row: &UploadRow) -> UploadInfo {
    let (checksum, storage_class) = (row.checksum, row.storage_class.clone());
    UploadInfo { key, id: UploadId(id), initiated: row.initiated, checksum, storage_class }
}
