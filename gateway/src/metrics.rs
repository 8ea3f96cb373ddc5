//! Counters for `/metrics`, in the text form of `OpenMetrics`. No label names a bucket, a key or an account.

use std::time::Duration;

use holdall_namespace::assimilate::RootGauge;
use holdall_namespace::backup::BackupStatus;
use holdall_namespace::stats::Snapshot;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Latency buckets, seconds: from a row in memory to a slow large body.
const BUCKETS: [f64; 14] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 120.0];

/// This process's counters.
pub struct Metrics {
    registry: Registry,
    requests: Family<Outcome, Counter>,
    latency: Family<Operation, Histogram>,
    /// Body bytes that clients sent.
    pub bytes_in: Counter,
    /// Body bytes sent to clients.
    pub bytes_out: Counter,
    /// Requests being answered now.
    pub requests_open: Gauge,
    /// S3 connections open now.
    pub connections: Gauge,
    /// Access log lines that were dropped since the disk was slower than the requests.
    pub access_log_dropped: Counter,
    /// Messages of queues that were not understood, and taken out.
    pub notifications_dropped: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    operation: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    operation: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Root {
    root: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Silo {
    silo: String,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Counters at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("holdall");
        let requests = Family::<Outcome, Counter>::default();
        let latency = Family::<Operation, Histogram>::new_with_constructor(|| Histogram::new(BUCKETS));
        let (bytes_in, bytes_out) = (Counter::default(), Counter::default());
        let (requests_open, connections) = (Gauge::default(), Gauge::default());
        let (access_log_dropped, notifications_dropped) = (Counter::default(), Counter::default());
        registry.register("s3_requests", "S3 requests answered, by operation and HTTP status", requests.clone());
        registry.register_with_unit(
            "s3_request",
            "From the request's head to the last byte of the answer",
            Unit::Seconds,
            latency.clone(),
        );
        registry.register("s3_received_bytes", "Body bytes that clients sent", bytes_in.clone());
        registry.register("s3_sent_bytes", "Body bytes sent to clients", bytes_out.clone());
        registry.register("s3_requests_open", "S3 requests being answered now", requests_open.clone());
        registry.register("s3_connections", "S3 connections open now", connections.clone());
        registry.register("access_log_dropped", "Access log lines dropped", access_log_dropped.clone());
        registry.register(
            "notifications_dropped",
            "Messages of queues that were not understood, and taken out",
            notifications_dropped.clone(),
        );
        Self {
            registry,
            requests,
            latency,
            bytes_in,
            bytes_out,
            requests_open,
            connections,
            access_log_dropped,
            notifications_dropped,
        }
    }

    /// Counts one answered request.
    pub fn answered(&self, operation: &'static str, status: u16, took: Duration) {
        self.requests.get_or_create(&Outcome { operation, status }).inc();
        self.latency.get_or_create(&Operation { operation }).observe(took.as_secs_f64());
    }

    /// Everything as text, the namespace's counters included.
    pub fn encode(&self, snapshot: &Snapshot, backup: &BackupStatus, roots: &[RootGauge]) -> String {
        let mut text = String::new();
        let written = encode_registry(&mut text, &self.registry)
            .and_then(|()| encode_registry(&mut text, &of_namespace(snapshot)))
            .and_then(|()| encode_registry(&mut text, &of_backup(backup)))
            .and_then(|()| encode_registry(&mut text, &of_roots(roots)))
            .and_then(|()| encode_eof(&mut text));
        written.expect("writing to a string cannot fail");
        text
    }
}

/// A registry of one moment: the namespace counts by itself.
fn of_namespace(now: &Snapshot) -> Registry {
    let mut registry = Registry::with_prefix("holdall");
    let counters = [
        ("moves_done", "Moves committed", now.moves_done),
        ("moves_superseded", "Moves given up since an overwrite or delete won", now.moves_superseded),
        ("moves_failed", "Moves that failed and are tried again", now.moves_failed),
        ("moved_bytes", "Bytes moved", now.moved_bytes),
        ("swept", "Retired replicas deleted", now.swept),
        ("orphans_collected", "Orphans deleted", now.orphans),
        ("names_touched", "Names of others that were told to have changed", now.names_touched),
        ("projections", "Files brought into trees of others, or taken out of them", now.projections),
        ("conflicts", "Files of others that S3 wrote over unseen, and that were kept", now.conflicts),
        ("hashed_bytes", "Bytes in place that were read for their checksums", now.hashed_bytes),
        ("reads_uncounted", "Reads that no object's heat has", now.reads_uncounted),
        ("scrubbed_bytes", "Bytes that scrubs read", now.scrub.bytes),
        ("damage_found", "Replicas that were found damaged or missing", now.scrub.damaged),
        ("damage_mended", "Such replicas that were made good", now.scrub.mended),
        ("names_looked_at", "Such names that were looked at", now.names_looked_at),
    ];
    for (name, help, value) in counters {
        let counter: Counter = Counter::default();
        counter.inc_by(value);
        registry.register(name, help, counter);
    }
    let gauges = [
        ("moves_running", "Moves under way now", now.moves_running),
        ("retired_waiting", "Retired replicas that waited at the end of the last sweep", now.retired_waiting),
        ("reads_open", "Reads open now", now.reads_open),
        ("unhashed_bytes", "Bytes in place that have no checksums yet", now.unhashed_bytes),
        (
            "misaligned_bytes",
            "Bytes not where objectives want them, and that cannot go there now",
            now.misaligned_bytes,
        ),
        ("names_waiting", "Such names that wait to be looked at now", now.names_waiting),
        ("notification_queues_silent", "Queues of notifications that cannot be asked now", now.queues_silent),
        ("index_bytes", "Bytes the index takes on its disk", now.index_bytes),
    ];
    for (name, help, value) in gauges {
        let gauge: Gauge = Gauge::default();
        gauge.set(value as i64);
        registry.register(name, help, gauge);
    }
    let silo = |name, help, value: fn(&holdall_namespace::stats::SiloStats) -> u64, registry: &mut Registry| {
        let family = Family::<Silo, Counter>::default();
        for (silo, stats) in &now.silos {
            family.get_or_create(&Silo { silo: silo.clone() }).inc_by(value(stats));
        }
        registry.register(name, help, family);
    };
    silo("silo_read_bytes", "Payload bytes read, by silo", |silo| silo.bytes_read, &mut registry);
    silo("silo_written_bytes", "Payload bytes written, by silo", |silo| silo.bytes_written, &mut registry);
    silo("silo_errors", "Operations that failed, by silo", |silo| silo.errors, &mut registry);
    silo("silo_damaged_blocks", "Blocks whose checksum did not match", |silo| silo.damaged_blocks, &mut registry);
    registry
}

/// What there is no backup of yet has no time.
fn of_backup(now: &BackupStatus) -> Registry {
    let mut registry = Registry::with_prefix("holdall");
    let times = [
        ("backup_covered_timestamp", "Commits of the index up to then can be restored", now.covered),
        ("backup_snapshot_timestamp", "When the newest snapshot of the index was taken", now.snapshot),
    ];
    for (name, help, time) in times {
        let Some(time) = time else { continue };
        let gauge: Gauge = Gauge::default();
        gauge.set(time / 1000);
        registry.register_with_unit(name, help, Unit::Seconds, gauge);
    }
    registry
}

/// What is taken over, by root. A root that was never passed has no time.
fn of_roots(roots: &[RootGauge]) -> Registry {
    let mut registry = Registry::with_prefix("holdall");
    let passed = Family::<Root, Gauge>::default();
    for root in roots {
        if let Some(at) = root.passed {
            passed.get_or_create(&Root { root: root.root }).set(at / 1000);
        }
    }
    registry.register_with_unit("root_passed_timestamp", "When the last pass of a root ended", Unit::Seconds, passed);
    let gauge = |name, help, value: fn(&RootGauge) -> u64, registry: &mut Registry| {
        let family = Family::<Root, Gauge>::default();
        for root in roots {
            family.get_or_create(&Root { root: root.root }).set(value(root) as i64);
        }
        registry.register(name, help, family);
    };
    let gone = "Names of a root that are gone, and wait for somebody to confirm it";
    gauge("root_names_gone", gone, |root| root.gone, &mut registry);
    let unread = "Names and folders that the last pass of a root could not look at";
    gauge("root_names_unread", unread, |root| root.unread, &mut registry);
    let unfilled = "Keys of a root whose headers could not be asked for";
    gauge("root_keys_unfilled", unfilled, |root| root.unfilled, &mut registry);
    gauge("root_keys_stuck", "Keys of a root that its tree cannot hold", |root| root.stuck, &mut registry);
    let broken = Family::<Root, Counter>::default();
    for root in roots {
        broken.get_or_create(&Root { root: root.root }).inc_by(root.broken);
    }
    registry.register("root_passes_broken", "Passes of a root that broke off", broken);
    registry
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdall_namespace::stats::Stats;

    #[test]
    fn every_counter_is_in_the_text_once() {
        let metrics = Metrics::new();
        metrics.answered("GetObject", 200, Duration::from_millis(3));
        metrics.bytes_out.inc_by(7);
        let stats = Stats::default();
        stats.silo("hot", |silo| silo.errors += 2);
        stats.add(|all| all.moves_done = 5);
        let backup = BackupStatus { covered: Some(1_700_000_000_999), ..BackupStatus::default() };
        let root = RootGauge {
            root: 3,
            passed: Some(1_700_000_001_999),
            gone: 4,
            unread: 5,
            unfilled: 6,
            stuck: 7,
            broken: 8,
        };
        let never = RootGauge { root: 9, passed: None, ..root };
        let text = metrics.encode(&stats.snapshot(), &backup, &[root, never]);
        assert!(!text.contains("holdall_root_passed_timestamp_seconds{root=\"9\"}"), "{text}");
        assert!(!text.contains("holdall_backup_snapshot"), "{text}");
        for line in [
            "holdall_s3_requests_total{operation=\"GetObject\",status=\"200\"} 1",
            "holdall_s3_request_seconds_bucket{le=\"0.005\",operation=\"GetObject\"} 1",
            "holdall_s3_sent_bytes_total 7",
            "holdall_silo_errors_total{silo=\"hot\"} 2",
            "holdall_moves_done_total 5",
            "holdall_reads_open 0",
            "holdall_backup_covered_timestamp_seconds 1700000000",
            "holdall_root_passed_timestamp_seconds{root=\"3\"} 1700000001",
            "holdall_root_names_gone{root=\"3\"} 4",
            "holdall_root_names_unread{root=\"3\"} 5",
            "holdall_root_keys_unfilled{root=\"9\"} 6",
            "holdall_root_keys_stuck{root=\"3\"} 7",
            "holdall_root_passes_broken_total{root=\"3\"} 8",
            "# EOF",
        ] {
            assert_eq!(text.matches(&format!("{line}\n")).count(), 1, "{line} in\n{text}");
        }
    }
}
