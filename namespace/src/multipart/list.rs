//! Uploads and parts, listed.

use crate::bucket::Bucket;
use crate::engine::{Key, Page};
use crate::fault::Fault;
use crate::multipart::upload::show_upload;
use crate::multipart::{ListUploads, UploadError, UploadId, UploadPage, show_part};
use crate::name::ObjectKey;
use crate::namespace::Namespace;
use crate::object::Part;
use crate::table::uploads::{PartRow, UploadRow, UploadState, parts, read_part, read_upload, uploads};
use crate::table::{KeyBuilder, after_prefix, decode, key, successor};

/// Rows looked at in one step.
const PAGE: usize = 1000;

impl Namespace {
    /// Parts after number `after`, at most `limit`, and whether more follow.
    ///
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListParts.html>
    pub async fn list_parts(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        id: UploadId,
        after: u32,
        limit: usize,
    ) -> Result<(Vec<Part>, bool), UploadError> {
        let row = self.core.open_upload(bucket, key, id.0).await?.ok_or(UploadError::NoSuchUpload)?;
        let algorithm = row.checksum.map(|(algorithm, _)| algorithm);
        let range = parts(id.0, after.saturating_add(1));
        let page = self.engine.range(range, limit + 1, usize::MAX).await.map_err(Fault::from)?;
        let mut shown = Vec::with_capacity(page.len());
        for (key, bytes) in page.iter().take(limit) {
            let row: PartRow = decode(bytes)?;
            shown.push(show_part(read_part(key).unwrap_or(0), &row, algorithm));
        }
        Ok((shown, page.len() > limit))
    }

    /// Uploads in progress.
    ///
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html>
    pub async fn list_uploads(&self, bucket: &Bucket, list: ListUploads) -> Result<UploadPage, Fault> {
        let mut page = UploadPage::default();
        if list.limit == 0 {
            return Ok(page);
        }
        let whole = KeyBuilder::new(key::UPLOADS).number(bucket.incarnation).prefix(list.prefix.as_bytes()).build();
        let mut at = start_of(bucket, &list).max(whole.clone());
        let end = after_prefix(&whole).min(uploads(bucket.incarnation).end);
        while at < end {
            let rows: Page = self.engine.range(at.clone()..end.clone(), PAGE, usize::MAX).await?;
            let Some((last, _)) = rows.last() else { break };
            at = successor(last);
            for (row_key, bytes) in &rows {
                match add_line(&mut page, &list, row_key, bytes)? {
                    Added::Line | Added::Nothing => {}
                    Added::Full => return Ok(page),
                    Added::Skip(prefix) => {
                        let name = KeyBuilder::new(key::UPLOADS).number(bucket.incarnation).prefix(prefix.as_bytes());
                        at = after_prefix(&name.build());
                        break;
                    }
                }
            }
        }
        page.next = None;
        Ok(page)
    }
}

enum Added {
    Line,
    Nothing,
    /// A common prefix: go on after it.
    Skip(String),
    /// One line too many: the page is complete, its markers stand.
    Full,
}

fn add_line(page: &mut UploadPage, list: &ListUploads, key: &[u8], bytes: &[u8]) -> Result<Added, Fault> {
    let damaged = || Fault::Damaged("a key of the uploads table does not read".to_owned());
    let (_, name, id) = read_upload(key).ok_or_else(damaged)?;
    let row: UploadRow = decode(bytes)?;
    if !matches!(row.state, UploadState::Open { .. }) {
        return Ok(Added::Nothing);
    }
    if page.uploads.len() + page.prefixes.len() == list.limit {
        return Ok(Added::Full);
    }
    let rest = name.as_str().get(list.prefix.len()..).unwrap_or_default();
    if !list.delimiter.is_empty()
        && let Some(at) = rest.find(&list.delimiter)
    {
        let prefix = format!("{}{}", list.prefix, &rest[..at + list.delimiter.len()]);
        page.prefixes.push(prefix.clone());
        page.next = Some((prefix.clone(), None));
        return Ok(Added::Skip(prefix));
    }
    page.next = Some((name.as_str().to_owned(), Some(UploadId(id))));
    page.uploads.push(show_upload(name, id, &row));
    Ok(Added::Line)
}

fn start_of(bucket: &Bucket, list: &ListUploads) -> Key {
    let builder = KeyBuilder::new(key::UPLOADS).number(bucket.incarnation);
    if list.key_marker.is_empty() {
        return builder.build();
    }
    let marker = list.key_marker.as_bytes();
    match list.id_marker {
        Some(UploadId(id)) => successor(&builder.name(marker).number(id.session).number(id.number).build()),
        None if !list.delimiter.is_empty() && list.key_marker.ends_with(&list.delimiter) => {
            after_prefix(&builder.prefix(marker).build())
        }
        None => after_prefix(&builder.name(marker).build()),
    }
}
