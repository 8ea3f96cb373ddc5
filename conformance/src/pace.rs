//! Requests at a steady rate, and how long they take: from when each was due, so that a stall is seen by all it delays.

use std::future::Future;
use std::time::Duration;

use crate::Outcome;
use crate::client::{Client, Endpoint};
use crate::clock::Stopwatch;
use crate::random::Random;

/// What clients ask for.
pub trait Requests: Clone + Send + Sync + 'static {
    /// One request, with its answer checked.
    fn once(&self, client: &mut Client, random: &mut Random) -> impl Future<Output = Outcome<()>> + Send;
}

/// Clients side by side.
#[derive(Clone)]
pub struct Clients {
    /// Whom they ask.
    pub endpoint: Endpoint,
    /// How many.
    pub count: u64,
    /// Of their choices.
    pub seed: u64,
}

impl Clients {
    /// Requests a second where each client asks as soon as it is answered.
    pub async fn capacity(&self, requests: &impl Requests, time: Duration) -> Outcome<f64> {
        let all = self.run(requests, time, Duration::ZERO).await?;
        Ok(all.len() as f64 / time.as_secs_f64())
    }

    /// How long each request took, sorted, at so many a second.
    pub async fn latencies(&self, requests: &impl Requests, rate: f64, time: Duration) -> Outcome<Vec<Duration>> {
        let mut all = self.run(requests, time, Duration::from_secs_f64(self.count as f64 / rate)).await?;
        all.sort_unstable();
        Ok(all)
    }

    /// Each client asks every `pace`; one that is late asks at once until it has caught up.
    async fn run(&self, requests: &impl Requests, time: Duration, pace: Duration) -> Outcome<Vec<Duration>> {
        let watch = Stopwatch::start();
        let clients = (0..self.count).map(|number| {
            let (this, requests) = (self.clone(), requests.clone());
            // They do not all ask at the same moment.
            let mut due = pace.mul_f64(number as f64 / self.count as f64);
            tokio::spawn(async move {
                let (mut client, mut random) = (Client::new(&this.endpoint), Random::new(this.seed, number));
                let mut took = Vec::new();
                while !watch.over(time) && due < time {
                    let early = due.saturating_sub(watch.elapsed());
                    if !early.is_zero() {
                        tokio::time::sleep(early).await;
                    }
                    let began = if pace.is_zero() { watch.elapsed() } else { due };
                    requests.once(&mut client, &mut random).await.map_err(|error| error.to_string())?;
                    took.push(watch.elapsed().saturating_sub(began));
                    due += pace;
                }
                Ok::<_, String>(took)
            })
        });
        let mut all = Vec::new();
        for client in clients.collect::<Vec<_>>() {
            all.extend(client.await??);
        }
        Ok(all)
    }
}

/// So many of a hundred are no more than this; of sorted figures, and nothing where there are none.
pub fn percentile<T: Copy + Default>(sorted: &[T], percent: usize) -> T {
    sorted.get(sorted.len() * percent / 100).or(sorted.last()).copied().unwrap_or_default()
}

/// The middle of some figures.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
