//! Finding out what a server promises, with a file of our own that is gone afterwards.

use bytes::Bytes;

use super::{Server, put};
use crate::error::SiloError;
use crate::facts::Facts;

const FIRST: &[u8] = b"first";
const SECOND: &[u8] = b"other";

/// Probes.
pub(super) async fn probe<S: Server>(server: &S) -> Result<Facts, SiloError> {
    let random = getrandom::u64().map_err(|e| SiloError::not_done(format!("no random numbers: {e}")))?;
    let path = format!("probe-{random:016x}");
    let found = try_out(server, &path).await;
    let cleaned = server.delete(&path).await;
    let exclusive_create = found?;
    cleaned?;
    let mut facts = server.facts().await?;
    if !exclusive_create {
        facts.notes.push("a name that is taken is not refused as such".to_owned());
    }
    Ok(Facts { exclusive_create, ..facts })
}

/// Whether what is there is never replaced: refused, and there as it was.
async fn try_out<S: Server>(server: &S, path: &str) -> Result<bool, SiloError> {
    let put = async |bytes: &'static [u8]| {
        let body = put::of(Bytes::from_static(bytes));
        server.put(path, bytes.len() as u64, body, true).await
    };
    put(FIRST).await?;
    if read(server, path).await? != FIRST {
        return Err(SiloError::mismatch("the probe's bytes read back differently"));
    }
    match put(SECOND).await {
        Err(SiloError::Exists) => Ok(read(server, path).await? == FIRST),
        // Replaced, or begun in its place and refused only then, which cannot be told from any failure.
        Ok(()) | Err(SiloError::NotDone { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

async fn read<S: Server>(server: &S, path: &str) -> Result<Bytes, SiloError> {
    let opened = server.open(path).await?;
    opened.peek(0..opened.length().min(FIRST.len() as u64 + 1)).await
}
