//! Finding out what a bucket's server promises. A 200 is never taken for a promise: some servers accept a condition
//! and ignore it.

use bytes::Bytes;
use crc_fast::checksum;
use http::header::{IF_MATCH, SERVER};
use http::{HeaderMap, Method};

use crate::error::SiloError;
use crate::facts::{Facts, NO_ECHO, STRANGE_ECHO};
use crate::limits::MAX_EXTENT;
use crate::web::answer::{Failure, header, whole};
use crate::web::ask::Ask;
use crate::web::client::Client;
use crate::web::put::Promises;

const FIRST: &[u8] = b"first";
const SECOND: &[u8] = b"other";
const PLAIN: &str = "plain";
const EXCLUSIVE: &str = "exclusive";
const RIGHT: &str = "right";
const WRONG: &str = "wrong";
/// `Last-Modified` has whole seconds.
pub(crate) const TIME_GRAIN: u64 = 1_000_000_000;

/// Whether a name below a silo's root is one that a probe may have made.
pub(crate) fn is_tried_out(name: &str) -> bool {
    let Some((digits, what)) = name.strip_prefix("probe/").and_then(|name| name.split_once('.')) else { return false };
    digits.len() == 16 && u64::from_str_radix(digits, 16).is_ok() && [PLAIN, EXCLUSIVE, RIGHT, WRONG].contains(&what)
}

/// Probes, and deletes every key and version it made.
pub(crate) async fn probe(client: &Client) -> Result<(Facts, Promises), SiloError> {
    let mut bench = Bench { client, made: Vec::new(), server: None };
    let found = try_out(&mut bench).await;
    let cleaned = bench.clean().await;
    let Found { promises, conditional_read, notes } = found?;
    cleaned?;
    let family = client.words().family.to_owned();
    let facts = Facts {
        exclusive_create: promises.exclusive,
        enforces_upload_checksum: promises.checksum,
        conditional_read,
        durable_put: true,
        max_blob: MAX_EXTENT,
        time_grain_ns: TIME_GRAIN,
        kind: bench.server.unwrap_or_else(|| family.clone()),
        family,
        notes,
    };
    Ok((facts, promises))
}

struct Found {
    promises: Promises,
    conditional_read: bool,
    notes: Vec<String>,
}

/// Keys tried out, to be deleted by version.
struct Bench<'a> {
    client: &'a Client,
    made: Vec<(String, Option<String>)>,
    server: Option<String>,
}

async fn try_out(bench: &mut Bench<'_>) -> Result<Found, SiloError> {
    // Without this, a silo that cannot be written to would be found to refuse every wrong upload.
    let plain = bench.key(PLAIN)?;
    let answer = bench.put(bench.ask(&plain), FIRST).await.map_err(Failure::writing)?;
    if bench.get(&plain).await? != Some(Bytes::from_static(FIRST)) {
        return Err(SiloError::mismatch("the probe's bytes read back differently"));
    }
    let echo = (bench.client.words().echo.read)(&answer);
    let strange_echo = echo.as_ref().is_some_and(|theirs| *theirs != bench.echo_of_first());
    let conditional_read = bench.refuses_a_read_of_another_version(&plain).await?;
    let exclusive = bench.refuses_to_replace().await?;
    let checksum = bench.refuses_a_wrong_checksum().await?;
    let learned = bench.client.service.learn(bench.client, &plain, &answer).await?;
    let mut notes = Vec::new();
    if !exclusive {
        notes.push(format!("{} on a PUT is not honored", bench.client.words().exclusive_shown));
    }
    if strange_echo {
        notes.push(STRANGE_ECHO.to_owned());
    }
    if checksum && echo.is_none() {
        notes.push(NO_ECHO.to_owned());
    }
    notes.extend(learned.notes);
    let promises = Promises { exclusive, checksum, strange_echo, versioned: learned.versioned };
    Ok(Found { promises, conditional_read, notes })
}

impl Bench<'_> {
    fn key(&self, what: &str) -> Result<String, SiloError> {
        let random = getrandom::u64().map_err(|e| SiloError::not_done(format!("no random numbers: {e}")))?;
        Ok(format!("{}probe/{random:016x}.{what}", self.client.prefix()))
    }

    fn ask(&self, key: &str) -> Ask {
        Ask::new(Method::PUT, key).headers(self.client.words().put)
    }

    async fn put(&mut self, ask: Ask, bytes: &'static [u8]) -> Result<HeaderMap, Failure> {
        match self.client.send(&ask, Bytes::from_static(bytes)).await {
            Ok(answer) => {
                let answer = answer.headers().clone();
                self.server = server(&answer);
                self.made.push((ask.key, self.client.words().version(&answer).map(str::to_owned)));
                Ok(answer)
            }
            Err(failure) => {
                // Deleting what was refused would make a delete marker where versions are kept.
                if !failure.is_refusal() {
                    self.made.push((ask.key, None));
                }
                Err(failure)
            }
        }
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, SiloError> {
        match self.client.look(&Ask::new(Method::GET, key)).await.map_err(Failure::reading) {
            Ok(answer) => whole(answer).await.map(Some).map_err(SiloError::not_done),
            Err(SiloError::Missing) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What the silo said of the bytes that read back as they were sent.
    fn echo_of_first(&self) -> String {
        let echo = &self.client.words().echo;
        (echo.spell)(checksum(echo.algorithm, FIRST))
    }

    async fn refuses_a_read_of_another_version(&self, key: &str) -> Result<bool, SiloError> {
        let ask = Ask::new(Method::GET, key).header(IF_MATCH, self.client.words().no_etag);
        match self.client.look(&ask).await {
            Ok(_) => Ok(false),
            Err(failure) if failure.is_refusal() => Ok(failure.status() == Some(412)),
            Err(failure) => Err(failure.reading()),
        }
    }

    /// Created where nothing was, refused where something is, and what was there is there still.
    async fn refuses_to_replace(&mut self) -> Result<bool, SiloError> {
        let key = self.key(EXCLUSIVE)?;
        let ask = self.client.words().exclusive(self.ask(&key));
        if !took(self.put(ask.clone(), FIRST).await)? {
            return Ok(false);
        }
        let replaced = took(self.put(ask, SECOND).await)?;
        let now = self.get(&key).await?;
        Ok(!replaced && now.is_some_and(|now| now == FIRST))
    }

    /// A right checksum is accepted, a wrong one refused, and nothing is there afterwards.
    async fn refuses_a_wrong_checksum(&mut self) -> Result<bool, SiloError> {
        let words = self.client.words();
        let (right, wrong) = (self.key(RIGHT)?, self.key(WRONG)?);
        let accepted = self.put(words.with_checksum(self.ask(&right), FIRST), FIRST).await;
        if !took(accepted)? {
            return Ok(false);
        }
        let refused = self.put(words.with_checksum(self.ask(&wrong), FIRST), SECOND).await;
        let stored = self.get(&wrong).await?;
        Ok(!took(refused)? && stored.is_none())
    }

    async fn clean(&self) -> Result<(), SiloError> {
        let words = self.client.words();
        for (key, version) in &self.made {
            let ask = Ask::new(Method::DELETE, key).headers(words.delete);
            let ask = if let Some(version) = version { words.of_version(ask, version) } else { ask };
            match self.client.send(&ask, Bytes::new()).await {
                Err(failure) if failure.status() != Some(404) => return Err(failure.writing()),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Whether an upload was accepted; an error where that was not the server's decision.
fn took(answer: Result<HeaderMap, Failure>) -> Result<bool, SiloError> {
    match answer {
        Ok(_) => Ok(true),
        Err(failure) if failure.is_refusal() => Ok(false),
        Err(failure) => Err(failure.writing()),
    }
}

/// The server's name for itself, as far as it can be shown.
pub(crate) fn server(answer: &HeaderMap) -> Option<String> {
    let shown = |name: &str| name.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(40).collect();
    header(answer, SERVER.as_str()).map(shown)
}
