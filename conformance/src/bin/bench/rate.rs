//! One sample: so many clients for so long, and what it took.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use holdall_conformance::client::Client;
use holdall_conformance::clock::Stopwatch;
use holdall_conformance::pace::percentile;
use holdall_conformance::random::Random;
use holdall_conformance::{Outcome, process};
use serde::Serialize;

use super::loads::{Load, Worker};
use super::servers::Target;

/// What a sample measured.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Rate {
    /// Operations done.
    pub(super) operations: u64,
    /// Bytes carried.
    pub(super) bytes: u64,
    /// Wall time.
    pub(super) seconds: f64,
    /// Half of the operations took no longer, microseconds.
    pub p50_us: u64,
    /// 99 of 100 took no longer.
    pub p99_us: u64,
    /// The servers' processor seconds.
    pub(super) cpu_seconds: f64,
    /// Peak resident bytes of the servers.
    pub(super) peak_resident: u64,
}

impl Rate {
    /// Operations a second.
    pub(super) fn per_second(&self) -> f64 {
        self.operations as f64 / self.seconds.max(1e-9)
    }

    /// Mebibytes a second.
    pub(super) fn mib_per_second(&self) -> f64 {
        self.bytes as f64 / f64::from(1 << 20) / self.seconds.max(1e-9)
    }

    /// Processor microseconds an operation.
    pub(super) fn cpu_us(&self) -> f64 {
        self.cpu_seconds * 1e6 / (self.operations.max(1)) as f64
    }

    /// Processor seconds a gibibyte.
    pub(super) fn cpu_per_gib(&self) -> f64 {
        self.cpu_seconds / (self.bytes.max(1) as f64 / f64::from(1 << 30))
    }
}

/// Runs a load.
pub(super) async fn sample(target: &Target, load: &Arc<Load>, clients: usize, limit: Duration) -> Outcome<Rate> {
    let rest = Arc::new(AtomicU64::new(load.budget(clients)));
    load.prepare(target, rest.load(Ordering::Relaxed)).await?;
    let pids = target.pids();
    for pid in &pids {
        process::reset_peak(*pid);
    }
    let cpu_before: Duration = pids.iter().map(|pid| process::cpu(*pid)).sum();
    let watch = Stopwatch::start();
    let mut workers = Vec::new();
    for number in 0..clients {
        let (endpoint, load, rest) = (target.endpoint.clone(), Arc::clone(load), Arc::clone(&rest));
        workers.push(tokio::spawn(async move {
            let mut client = Client::new(&endpoint);
            let mut worker = Worker { number: number as u64, random: Random::new(watch_seed(number), 1), turn: 0 };
            let (mut micros, mut bytes) = (Vec::with_capacity(1 << 16), 0u64);
            // The budget ends loads that eat what was prepared; the clock ends all others.
            while !watch.over(limit) {
                let Ok(left) = rest.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                else {
                    break;
                };
                let start = Stopwatch::start();
                bytes += load.once(&mut client, &mut worker, left - 1).await.map_err(|error| error.to_string())?;
                micros.push(start.elapsed().as_micros() as u32);
            }
            Ok::<_, String>((micros, bytes))
        }));
    }
    let (mut micros, mut bytes) = (Vec::new(), 0);
    for worker in workers {
        let (some, more) = worker.await?.map_err(|error| format!("{}: {error}", load.name()))?;
        micros.extend(some);
        bytes += more;
    }
    let seconds = watch.elapsed().as_secs_f64();
    let cpu: Duration = pids.iter().map(|pid| process::cpu(*pid)).sum();
    micros.sort_unstable();
    Ok(Rate {
        operations: micros.len() as u64,
        bytes,
        seconds,
        p50_us: percentile(&micros, 50).into(),
        p99_us: percentile(&micros, 99).into(),
        cpu_seconds: cpu.saturating_sub(cpu_before).as_secs_f64(),
        peak_resident: pids.iter().map(|pid| process::peak_resident(*pid)).sum(),
    })
}

fn watch_seed(number: usize) -> u64 {
    holdall_conformance::clock::epoch_seconds(holdall_conformance::clock::wall()) + number as u64
}
