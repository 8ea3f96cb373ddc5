//! The loads: what one client does again and again, and what must be there before.

use std::sync::Arc;

use bytes::Bytes;
use holdall_conformance::Outcome;
use holdall_conformance::client::{CallError, Client, Listing};
use holdall_conformance::random::{Random, mix};
use holdall_conformance::wire::{Body, visit};

use super::servers::Target;

/// The bucket of all loads but the listings.
pub(super) const BUCKET: &str = "bench";
/// The bucket that `--preload` fills.
pub(super) const MANY: &str = "bench-many";
/// Common prefixes in it.
pub(super) const GROUPS: u64 = 10;
/// Operations a sample may have at most: bounded in count as in time.
const MOST: u64 = 2_000_000;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// A load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Load {
    /// Objects of this size, read whole.
    Get(u64),
    /// Objects of this size, written; of three one overwrites.
    Put(u64),
    /// Headers.
    Head,
    /// A page of 1,000 keys at a random place.
    List,
    /// A listing by delimiter.
    ListDelimiter,
    /// Deletes of objects written before.
    Delete,
    /// Copies of one object of this size.
    Copy(u64),
    /// Uploads of this size in parts of 8 MiB.
    Multipart(u64),
    /// 60 reads, 25 writes, 5 deletes, 10 headers of a hundred, 4 KiB to 1 MiB.
    Mixed,
}

/// One client's own state.
pub(super) struct Worker {
    /// Which client.
    pub(super) number: u64,
    /// Its randomness.
    pub(super) random: Random,
    /// How often it had its turn.
    pub(super) turn: u64,
}

/// Every load of the matrix.
pub(super) const ALL: &[Load] = &[
    Load::Get(4 * KIB),
    Load::Get(MIB),
    Load::Get(64 * MIB),
    Load::Put(4 * KIB),
    Load::Put(MIB),
    Load::Put(64 * MIB),
    Load::Head,
    Load::List,
    Load::ListDelimiter,
    Load::Delete,
    Load::Copy(MIB),
    Load::Multipart(64 * MIB),
    Load::Mixed,
];

impl Load {
    /// As tables name it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Get(size) => format!("GET {}", spelled(*size)),
            Self::Put(size) => format!("PUT {}", spelled(*size)),
            Self::Head => "HEAD".to_owned(),
            Self::List => "LIST 1,000 keys".to_owned(),
            Self::ListDelimiter => "LIST by delimiter".to_owned(),
            Self::Delete => "DELETE".to_owned(),
            Self::Copy(size) => format!("COPY {}", spelled(*size)),
            Self::Multipart(size) => format!("multipart {}", spelled(*size)),
            Self::Mixed => "mixed".to_owned(),
        }
    }

    /// Whether it carries many bytes, so that MiB/s is what counts.
    pub(super) fn is_bulk(&self) -> bool {
        matches!(self, Self::Get(size) | Self::Put(size) | Self::Multipart(size) if *size >= MIB)
    }

    /// Operations that a sample may do.
    pub(super) fn budget(&self, clients: usize) -> u64 {
        match self {
            Self::Delete => (500 * clients as u64).clamp(2000, 12_000),
            // A sample writes at most 4 GiB.
            Self::Put(size) | Self::Multipart(size) => (4096 * MIB / size.max(&1)).min(MOST),
            _ => MOST,
        }
    }

    /// Objects that a reading load chooses from: at most 256 MiB of them.
    fn pool(size: u64) -> u64 {
        (256 * MIB / size.max(1)).clamp(4, 1000)
    }

    /// Puts there what the load needs; once a target unless it is eaten.
    pub(super) async fn prepare(&self, target: &Target, budget: u64) -> Outcome<()> {
        match self {
            Self::Delete => write_all(target, budget, 4 * KIB, |n| format!("delete/{n}")).await,
            Self::Get(size) if target.first(&self.name()) => {
                let size = *size;
                write_all(target, Self::pool(size), size, move |n| get_key(size, n)).await
            }
            Self::Head if target.first(&Self::Get(4 * KIB).name()) => {
                write_all(target, Self::pool(4 * KIB), 4 * KIB, |n| get_key(4 * KIB, n)).await
            }
            Self::Copy(size) if target.first(&self.name()) => {
                write_large(target, &format!("source/{size}"), *size).await
            }
            Self::Mixed if target.first("mixed") => write_all(target, 1000, 4 * KIB, |n| format!("mixed/{n}")).await,
            Self::List | Self::ListDelimiter if target.first("many") => fill_many(target, 20_000).await,
            _ => Ok(()),
        }
    }

    /// One operation; answers the bytes it carried.
    pub(super) async fn once(&self, client: &mut Client, worker: &mut Worker, left: u64) -> Result<u64, CallError> {
        worker.turn += 1;
        match self {
            Self::Get(size) => get(client, &get_key(*size, worker.random.below(Self::pool(*size)))).await,
            Self::Put(size) => {
                put(client, &put_key("put", *size, worker), *size).await?;
                Ok(*size)
            }
            Self::Head => {
                let key = get_key(4 * KIB, worker.random.below(Self::pool(4 * KIB)));
                client.head(BUCKET, &key).await.map(|_| 0)
            }
            Self::List => {
                let after = many_key(worker.random.below(many_size()));
                let page = client.list(MANY, Listing { start_after: Some(&after), ..Listing::default() }).await?;
                Ok(page.contents.len() as u64)
            }
            Self::ListDelimiter => {
                let page = client.list(MANY, Listing { delimiter: Some("/"), ..Listing::default() }).await?;
                Ok(page.common_prefixes.len() as u64)
            }
            Self::Delete => client.delete(BUCKET, &format!("delete/{left}")).await.map(|()| 0),
            Self::Copy(size) => {
                let to = format!("copied/{}/{}", worker.number, worker.turn % 1000);
                client.copy(BUCKET, &format!("source/{size}"), &to, &[]).await.map(|_| *size)
            }
            Self::Multipart(size) => multipart(client, &put_key("multipart", *size, worker), *size).await,
            Self::Mixed => mixed(client, worker).await,
        }
    }
}

async fn mixed(client: &mut Client, worker: &mut Worker) -> Result<u64, CallError> {
    let key = format!("mixed/{}", worker.random.below(1000));
    let size = if worker.random.percent(90) { 4 * KIB } else { MIB };
    let found = match worker.random.below(100) {
        0..=59 => get(client, &key).await,
        60..=84 => return put(client, &key, size).await.map(|()| size),
        85..=89 => return client.delete(BUCKET, &key).await.map(|()| 0),
        _ => client.head(BUCKET, &key).await.map(|_| 0),
    };
    match found {
        Err(error) if error.status() == Some(http::StatusCode::NOT_FOUND) => Ok(0),
        other => other,
    }
}

async fn get(client: &mut Client, key: &str) -> Result<u64, CallError> {
    let body = client.get(BUCKET, key, None).await?.into_body();
    Ok(visit(body, |_| {}).await?)
}

async fn put(client: &mut Client, key: &str, size: u64) -> Result<(), CallError> {
    client.put(BUCKET, key, &[], body(size)).await.map(|_| ())
}

async fn multipart(client: &mut Client, key: &str, size: u64) -> Result<u64, CallError> {
    let part = 8 * MIB;
    let upload = client.initiate(BUCKET, key, &[]).await?;
    let mut parts = Vec::new();
    let mut at = 0;
    while at < size {
        let len = part.min(size - at);
        parts.push(client.part(BUCKET, key, &upload, parts.len() as u32 + 1, body(len)).await?);
        at += len;
    }
    client.complete(BUCKET, key, &upload, &parts).await?;
    Ok(size)
}

/// The cheapest body of a size.
fn body(size: u64) -> Body {
    static CHUNK: std::sync::OnceLock<Bytes> = std::sync::OnceLock::new();
    let chunk = CHUNK.get_or_init(|| (0..MIB).map(|n| mix(n) as u8).collect::<Vec<u8>>().into()).clone();
    if size <= MIB { Body::Whole(chunk.slice(..size as usize)) } else { Body::Repeated { chunk, left: size } }
}

/// The key of a readable object: on a static server a file of that path.
pub(super) fn get_key(size: u64, number: u64) -> String {
    format!("get/{size}/{number}")
}

/// Of three writes one overwrites what this client wrote before.
fn put_key(kind: &str, size: u64, worker: &Worker) -> String {
    let fresh = if worker.turn.is_multiple_of(3) { worker.turn - 1 } else { worker.turn };
    let keep = (8192 * MIB / size.max(1)).max(4);
    format!("{kind}/{size}/{}/{}", worker.number, fresh % keep)
}

async fn write_all<K>(target: &Target, count: u64, size: u64, key: K) -> Outcome<()>
where
    K: Fn(u64) -> String + Send + Sync + 'static,
{
    if let Some(root) = &target.files {
        return Ok(super::reference::write_files(root, count, size, &key)?);
    }
    let key = Arc::new(key);
    let mut writers = Vec::new();
    for writer in 0..16 {
        let (endpoint, key) = (target.endpoint.clone(), Arc::clone(&key));
        writers.push(tokio::spawn(async move {
            let mut client = Client::new(&endpoint);
            for number in (writer..count).step_by(16) {
                put(&mut client, &key(number), size).await.map_err(|error| error.to_string())?;
            }
            Ok::<_, String>(())
        }));
    }
    for writer in writers {
        writer.await??;
    }
    Ok(())
}

async fn write_large(target: &Target, key: &str, size: u64) -> Outcome<()> {
    let mut client = Client::new(&target.endpoint);
    if size <= 256 * MIB {
        put(&mut client, key, size).await?;
    } else {
        multipart(&mut client, key, size).await?;
    }
    Ok(())
}

static MANY_SIZE: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

fn many_size() -> u64 {
    MANY_SIZE.load(std::sync::atomic::Ordering::Relaxed)
}

/// Sixty bytes, under one of ten prefixes, in an order that is not that of the numbers.
fn many_key(number: u64) -> String {
    format!("group-{}/{:016x}/an-object-with-a-name-of-usual-len", number % GROUPS, mix(number))
}

/// Fills the listed bucket in random order, by copies of one small object: rows of every kind, one file.
pub(super) async fn fill_many(target: &Target, count: u64) -> Outcome<()> {
    let mut client = Client::new(&target.endpoint);
    client.create_bucket(MANY).await?;
    client.put(MANY, "0", &[], Body::Whole(Bytes::from_static(b"many"))).await?;
    MANY_SIZE.store(count, std::sync::atomic::Ordering::Relaxed);
    let mut writers = Vec::new();
    for writer in 0..64 {
        let endpoint = target.endpoint.clone();
        writers.push(tokio::spawn(async move {
            let mut client = Client::new(&endpoint);
            for number in (writer..count).step_by(64) {
                client.copy(MANY, "0", &many_key(number), &[]).await.map_err(|error| error.to_string())?;
            }
            Ok::<_, String>(())
        }));
    }
    for writer in writers {
        writer.await??;
    }
    Ok(())
}

fn spelled(size: u64) -> String {
    match size {
        size if size >= MIB && size.is_multiple_of(MIB) => format!("{} MiB", size / MIB),
        size if size >= KIB && size.is_multiple_of(KIB) => format!("{} KiB", size / KIB),
        size => format!("{size} B"),
    }
}
