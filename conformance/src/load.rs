//! Clients, and a mover beside them, that keep gateways busy until they die or are told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::Outcome;
use crate::client::Endpoint;
use crate::command::Holdall;
use crate::random::Random;
use crate::workload::{Actor, World};

/// What is under way. It goes on when a gateway dies.
pub struct Load {
    stop: Arc<AtomicBool>,
    actors: Vec<JoinHandle<()>>,
    mover: Option<JoinHandle<()>>,
}

impl Load {
    /// So many clients, each of one of the endpoints in turn, and drains there and back by a command line.
    pub fn start(world: &Arc<World>, endpoints: &[Endpoint], holdall: Holdall, clients: u64, seed: u64) -> Self {
        let mut load = Self::of_clients(world, endpoints, clients, seed, Duration::ZERO);
        load.mover = Some(tokio::spawn(keep_moving(holdall, Arc::clone(&load.stop))));
        load
    }

    /// The clients alone; each rests after each request.
    pub fn of_clients(world: &Arc<World>, endpoints: &[Endpoint], clients: u64, seed: u64, rest: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let actors = (0..clients)
            .zip(endpoints.iter().cycle())
            .map(|(number, endpoint)| {
                let mut actor = Actor::new(world, endpoint, Random::new(seed, 100 + number));
                let (stop, world) = (Arc::clone(&stop), Arc::clone(world));
                tokio::spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        let key = actor.any_key();
                        let failed = world.failed.load(Ordering::Relaxed);
                        actor.act(&key).await;
                        if !rest.is_zero() {
                            tokio::time::sleep(rest).await;
                        }
                        // Dead: nobody hammers a closed port.
                        if world.failed.load(Ordering::Relaxed) > failed {
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                    }
                })
            })
            .collect();
        Self { stop, actors, mover: None }
    }

    /// Waits until nothing is under way any more.
    pub async fn stop(self) -> Outcome<()> {
        self.stop.store(true, Ordering::Relaxed);
        for actor in self.actors {
            actor.await?;
        }
        // Its command waits for a dead gateway to come back; the job itself goes on without it.
        if let Some(mover) = self.mover {
            mover.abort();
        }
        Ok(())
    }
}

/// Drains there and back and sweeps, whatever becomes of it.
async fn keep_moving(holdall: Holdall, stop: Arc<AtomicBool>) {
    // Those of earlier rounds would go on, in both directions at once.
    let _ = cancel_jobs(&holdall).await;
    let mut there = true;
    while !stop.load(Ordering::Relaxed) {
        let (from, to) = if there { ("hot", "cold") } else { ("cold", "hot") };
        there = !there;
        // The gateway may die at any of these: the next round begins anew.
        let _ = holdall.run(&["drain", from, "--to", to, "--wait", "done"]).await;
        let _ = holdall.run(&["sweep", "--now"]).await;
    }
}

/// Cancels every job that runs.
pub async fn cancel_jobs(holdall: &Holdall) -> Outcome<()> {
    let jobs = holdall.json(&["job", "list"]).await?;
    // One job is printed as one object, not as a list of one.
    let jobs = if jobs.is_object() { vec![jobs] } else { jobs.as_array().cloned().unwrap_or_default() };
    for job in jobs {
        if job.get("state").and_then(serde_json::Value::as_str) == Some("running") {
            let id = job.get("id").map(ToString::to_string).unwrap_or_default();
            // It may have ended by itself in between.
            holdall.run(&["job", "cancel", &id]).await?;
        }
    }
    Ok(())
}

/// Half of the keys, another half each time.
pub fn sample(world: &World, random: &mut Random) -> Vec<String> {
    world.keys.iter().filter(|_| random.percent(50)).cloned().collect()
}

/// Nothing unanswered and nothing wrong so far.
pub fn verdict(world: &World, when: &str) -> Outcome<()> {
    let (failed, wrong) = (world.failed.load(Ordering::Relaxed), world.wrong.load(Ordering::Relaxed));
    if failed == 0 && wrong == 0 {
        return Ok(());
    }
    let lost = world.lost.load(Ordering::Relaxed);
    let problems = world.problems().join("\n");
    Err(format!("{when}: {failed} unanswered, {wrong} wrong, of which {lost} show a lost write:\n{problems}").into())
}
