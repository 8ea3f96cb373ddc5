//! Moves under way, as a job tells them, and which acts surely met one.
//!
//! A move is between its journal row and its commit at some moment while a poll that names it was answered, and for
//! the whole time between two polls that name it.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::Method;
use serde::Deserialize;

use crate::client::{Call, CallError, Client, Endpoint};
use crate::oracle::Oracle;
use crate::wire::Body;
use crate::workload::{Act, Acted};
use crate::{Outcome, gateway::Setup, sign::Signer};

/// A pause between two polls, so that they do not take the machine.
const PAUSE: Duration = Duration::from_millis(2);

#[derive(Debug, Deserialize)]
struct JobMoves {
    job: Job,
    moves: Vec<Move>,
}

/// What is used of a job.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Job {
    /// Number.
    pub id: u64,
    /// `running`, `done`, `empty`, `cancelled`, `failed`.
    pub state: String,
    /// Moved so far.
    pub moved_objects: u64,
    /// Their bytes.
    pub moved_bytes: u64,
    /// Moves that an overwrite or delete won.
    pub superseded: u64,
    /// Moves that failed and are tried again.
    pub failed: u64,
    /// Why.
    pub error: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Move {
    extent: String,
    key: Option<String>,
}

/// One move of one extent, as it was seen.
#[derive(Debug, Clone)]
struct Window {
    key: String,
    /// The moments around each poll that named it: the first and the last.
    first: (u64, u64),
    last: (u64, u64),
    polls: Vec<(u64, u64)>,
}

/// What was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hits {
    /// Reads, whole or in part, and reads of headers.
    pub reads: u64,
    /// Writes over it.
    pub overwrites: u64,
    /// Deletes.
    pub deletes: u64,
}

/// Watches a job.
#[derive(Debug, Default)]
pub struct Flight {
    now: Mutex<Vec<String>>,
    windows: Mutex<Vec<Window>>,
}

/// The admin API's endpoint of a gateway.
pub fn admin(setup: &Setup) -> Endpoint {
    let signer = Signer::new(&setup.access_key_id, &setup.secret_access_key, "us-east-1").for_service("holdall");
    Endpoint { address: setup.admin.clone(), signer: Some(signer), sign_payload: true }
}

/// All jobs, the newest first.
pub async fn jobs(client: &mut Client) -> Outcome<Vec<Job>> {
    let call = Call { method: Method::GET, path: "/v1/job".to_owned(), query: &[], headers: &[], body: Body::Empty };
    let (_, body) = client.fetch(call).await?;
    Ok(serde_json::from_slice(&body)?)
}

impl Flight {
    /// Keys that are moving now.
    pub fn keys(&self) -> Vec<String> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Polls until the job runs no more; answers how it ended. A gateway that does not answer ends it too.
    pub async fn watch(&self, client: &mut Client, oracle: &Oracle, job: u64) -> Result<Job, CallError> {
        let path = format!("/v1/job/{job}/moves");
        let mut open: HashMap<String, Window> = HashMap::new();
        loop {
            let before = oracle.now();
            let call = Call { method: Method::GET, path: path.clone(), query: &[], headers: &[], body: Body::Empty };
            let answer = client.fetch(call).await;
            let after = oracle.now();
            let seen: JobMoves = match answer {
                Ok((_, body)) => {
                    serde_json::from_slice(&body).map_err(|error| CallError::Odd(format!("{path}: {error}")))?
                }
                Err(error) => {
                    self.close(open.drain().map(|(_, window)| window));
                    return Err(error);
                }
            };
            self.note(&mut open, seen.moves, (before, after));
            if seen.job.state != "running" {
                self.close(open.drain().map(|(_, window)| window));
                return Ok(seen.job);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn note(&self, open: &mut HashMap<String, Window>, moves: Vec<Move>, poll: (u64, u64)) {
        let named: HashSet<&String> = moves.iter().map(|moving| &moving.extent).collect();
        let gone: Vec<String> = open.keys().filter(|extent| !named.contains(extent)).cloned().collect();
        self.close(gone.iter().filter_map(|extent| open.remove(extent)));
        let keys = moves.iter().filter_map(|moving| moving.key.clone()).collect();
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = keys;
        for moving in moves {
            let Some(key) = moving.key else { continue };
            let window =
                open.entry(moving.extent).or_insert_with(|| Window { key, first: poll, last: poll, polls: vec![] });
            window.last = poll;
            window.polls.push(poll);
        }
    }

    fn close(&self, windows: impl Iterator<Item = Window>) {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner).extend(windows);
        self.now.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Which of these acts surely met a move. The first write to a moving extent's key ends what can be met of it.
    pub fn count(&self, acts: &[Acted]) -> Hits {
        let mut by_key: HashMap<&str, Vec<&Acted>> = HashMap::new();
        for acted in acts {
            by_key.entry(&acted.key).or_default().push(acted);
        }
        let mut hits = Hits::default();
        for window in self.windows.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let mut acts = by_key.get(window.key.as_str()).cloned().unwrap_or_default();
            acts.sort_by_key(|acted| acted.from);
            for acted in acts.iter().filter(|acted| window.met(acted)).filter(|acted| acted.act != Act::List) {
                let write = matches!(acted.act, Act::Put | Act::Multipart | Act::Copy | Act::Delete);
                match acted.act {
                    Act::Delete => hits.deletes += 1,
                    _ if write => hits.overwrites += 1,
                    _ => hits.reads += 1,
                }
                if write {
                    break;
                }
            }
        }
        hits
    }
}

impl Window {
    fn met(&self, acted: &Acted) -> bool {
        let between = acted.from <= self.last.0 && acted.to >= self.first.1 && self.first != self.last;
        between || self.polls.iter().any(|(before, after)| acted.from <= *before && acted.to >= *after)
    }
}

#[cfg(test)]
mod tests {
    use super::{Flight, Hits, Window};
    use crate::workload::{Act, Acted};

    #[test]
    fn only_what_surely_met_a_move_counts() {
        let flight = Flight::default();
        let window = Window { key: "k".to_owned(), first: (10, 12), last: (20, 22), polls: vec![(10, 12), (20, 22)] };
        flight.close([window].into_iter());
        let acted = |act, from, to| Acted { act, key: "k".to_owned(), from, to };
        let count = |acts: &[Acted]| flight.count(acts);
        assert_eq!(count(&[acted(Act::Get, 13, 14)]), Hits { reads: 1, ..Hits::default() });
        assert_eq!(count(&[acted(Act::Get, 9, 13)]), Hits { reads: 1, ..Hits::default() });
        assert_eq!(count(&[acted(Act::Get, 1, 11), acted(Act::Get, 21, 30)]), Hits::default());
        let raced = [acted(Act::Put, 13, 14), acted(Act::Delete, 15, 16), acted(Act::Get, 17, 18)];
        assert_eq!(count(&raced), Hits { overwrites: 1, ..Hits::default() });
    }
}
