//! Finding out what a bucket's server promises. A 200 is never taken for a promise: some servers accept a condition
//! and ignore it.

use bytes::Bytes;
use http::Method;
use http::header::{IF_MATCH, IF_NONE_MATCH, SERVER};

use crate::error::SiloError;
use crate::facts::Facts;
use crate::limits::MAX_EXTENT;
use crate::s3::client::{Ask, Client, Failure, header, version, whole};
use crate::s3::put::{CRC32C, Promises, crc32c};

const FIRST: &[u8] = b"first";
const SECOND: &[u8] = b"other";
/// S3 shows times in whole seconds.
const TIME_GRAIN: u64 = 1_000_000_000;

/// Probes, and deletes every key and version it made.
pub(crate) async fn probe(client: &Client) -> Result<(Facts, Promises), SiloError> {
    let mut bench = Bench { client, made: Vec::new(), versioned: false, server: None };
    let found = try_out(&mut bench).await;
    let cleaned = bench.clean().await;
    let (mut promises, conditional_read) = found?;
    cleaned?;
    promises.versioned = bench.versioned;
    let mut notes = Vec::new();
    if !promises.exclusive {
        notes.push("If-None-Match on a PUT is not honored".to_owned());
    }
    if bench.versioned {
        notes.push("the bucket keeps versions: blobs are deleted by version".to_owned());
    }
    let facts = Facts {
        family: "s3".to_owned(),
        exclusive_create: promises.exclusive,
        enforces_upload_checksum: promises.checksum,
        conditional_read,
        durable_put: true,
        max_blob: MAX_EXTENT,
        time_grain_ns: TIME_GRAIN,
        kind: bench.server.unwrap_or_else(|| "s3".to_owned()),
        notes,
    };
    Ok((facts, promises))
}

/// Keys tried out, to be deleted by version.
struct Bench<'a> {
    client: &'a Client,
    made: Vec<(String, Option<String>)>,
    versioned: bool,
    server: Option<String>,
}

async fn try_out(bench: &mut Bench<'_>) -> Result<(Promises, bool), SiloError> {
    // Without this, a silo that cannot be written to would be found to refuse every wrong upload.
    let plain = bench.key("plain")?;
    bench.put(Ask::new(Method::PUT, &plain), FIRST).await.map_err(Failure::writing)?;
    if bench.get(&plain).await? != Some(Bytes::from_static(FIRST)) {
        return Err(SiloError::mismatch("the probe's bytes read back differently"));
    }
    let conditional_read = bench.refuses_a_read_of_another_version(&plain).await?;
    let exclusive = bench.refuses_to_replace().await?;
    let checksum = bench.refuses_a_wrong_checksum().await?;
    Ok((Promises { exclusive, checksum, versioned: false }, conditional_read))
}

impl Bench<'_> {
    fn key(&self, what: &str) -> Result<String, SiloError> {
        let random = getrandom::u64().map_err(|e| SiloError::not_done(format!("no random numbers: {e}")))?;
        Ok(format!("{}probe/{random:016x}.{what}", self.client.place.prefix))
    }

    async fn put(&mut self, ask: Ask, bytes: &'static [u8]) -> Result<(), Failure> {
        let answer = self.client.send(&ask, Bytes::from_static(bytes)).await;
        match &answer {
            Ok(answer) => {
                let version = version(answer).map(str::to_owned);
                self.versioned |= version.is_some();
                self.server = header(answer, SERVER.as_str()).map(kind);
                self.made.push((ask.key, version));
            }
            // Deleting what was refused would make a delete marker where versions are kept.
            Err(failure) if failure.is_refusal() => {}
            Err(_) => self.made.push((ask.key, None)),
        }
        answer.map(drop)
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, SiloError> {
        match self.client.look(&Ask::new(Method::GET, key)).await.map_err(Failure::reading) {
            Ok(answer) => whole(answer).await.map(Some).map_err(SiloError::not_done),
            Err(SiloError::Missing) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn refuses_a_read_of_another_version(&self, key: &str) -> Result<bool, SiloError> {
        let ask = Ask::new(Method::GET, key).header(IF_MATCH, "\"00000000000000000000000000000000\"");
        match self.client.look(&ask).await {
            Ok(_) => Ok(false),
            Err(failure) if failure.is_refusal() => Ok(failure.status() == Some(412)),
            Err(failure) => Err(failure.reading()),
        }
    }

    /// Created where nothing was, refused where something is, and what was there is there still.
    async fn refuses_to_replace(&mut self) -> Result<bool, SiloError> {
        let key = self.key("exclusive")?;
        let ask = Ask::new(Method::PUT, &key).header(IF_NONE_MATCH, "*");
        if !took(self.put(ask.clone(), FIRST).await)? {
            return Ok(false);
        }
        let replaced = took(self.put(ask, SECOND).await)?;
        let now = self.get(&key).await?;
        Ok(!replaced && now.is_some_and(|now| now == FIRST))
    }

    /// A right checksum is accepted, a wrong one refused, and nothing is there afterwards.
    async fn refuses_a_wrong_checksum(&mut self) -> Result<bool, SiloError> {
        let (right, wrong) = (self.key("right")?, self.key("wrong")?);
        let accepted = self.put(Ask::new(Method::PUT, &right).header(CRC32C, &crc32c(FIRST)), FIRST).await;
        if !took(accepted)? {
            return Ok(false);
        }
        let refused = self.put(Ask::new(Method::PUT, &wrong).header(CRC32C, &crc32c(FIRST)), SECOND).await;
        let stored = self.get(&wrong).await?;
        Ok(!took(refused)? && stored.is_none())
    }

    async fn clean(&self) -> Result<(), SiloError> {
        for (key, version) in &self.made {
            let ask = Ask::new(Method::DELETE, key);
            let ask = if let Some(version) = version { ask.query("versionId", version.clone()) } else { ask };
            match self.client.send(&ask, Bytes::new()).await {
                Err(failure) if failure.status() != Some(404) => return Err(failure.writing()),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Whether an upload was accepted; an error where that was not the server's decision.
fn took(answer: Result<(), Failure>) -> Result<bool, SiloError> {
    match answer {
        Ok(()) => Ok(true),
        Err(failure) if failure.is_refusal() => Ok(false),
        Err(failure) => Err(failure.writing()),
    }
}

/// The server's name for itself, as far as it can be shown.
fn kind(server: &str) -> String {
    server.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(40).collect()
}
