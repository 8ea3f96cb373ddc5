//! The index itself, and its backups.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use holdall_namespace::backup::Progress;
use http::StatusCode;
use tokio::sync::mpsc;

use super::problem::Problem;
use super::view::{Accepted, BackupLine, IndexView};
use super::{Admin, lines};
use crate::limits::PROGRESS;

/// Lines that wait for a slow reader before more are left out.
const WAITING_LINES: usize = 8;

pub(super) async fn show(State(admin): State<Arc<Admin>>) -> Result<Json<IndexView>, Problem> {
    let namespace = &admin.state.namespace;
    Ok(Json(IndexView {
        bytes: namespace.stats().index_bytes,
        keeps_unknown: namespace.keeps_unknown().await?,
        backup: namespace.backup_status().into(),
    }))
}

pub(super) async fn accept(State(admin): State<Arc<Admin>>) -> Result<Json<Accepted>, Problem> {
    Ok(Json(Accepted { accepted: admin.state.namespace.accept_restored().await? }))
}

/// Takes a snapshot and says how far it came; the last line says what was taken. A snapshot goes on when nobody reads
/// the answer any more.
pub(super) async fn back_up(State(admin): State<Arc<Admin>>) -> Result<Response, Problem> {
    if !admin.state.namespace.backup_status().enabled {
        let why = "backups of the index are switched off: `backup.every` is 0s";
        return Err(Problem::new(StatusCode::CONFLICT, "backups_off", why));
    }
    let (sender, receiver) = mpsc::channel(WAITING_LINES);
    tokio::spawn(run(admin, sender));
    Ok(lines::answer(receiver))
}

async fn run(admin: Arc<Admin>, lines: mpsc::Sender<BackupLine>) {
    let seldom = Seldom::default();
    let progress = |progress: Progress| {
        if seldom.is_due(admin.state.clock.monotonic()) {
            // A reader that is behind needs no old news.
            drop(lines.try_send(BackupLine::Progress(progress)));
        }
    };
    let last = match admin.state.namespace.back_up(&progress).await {
        Ok(taken) => BackupLine::Taken(taken.into()),
        Err(fault) => {
            tracing::error!(%fault, "no snapshot of the index could be taken");
            BackupLine::Error(fault.to_string())
        }
    };
    // A reader that left needs no last line.
    drop(lines.send(last).await);
}

/// Lets one through now and then.
#[derive(Default)]
struct Seldom(Mutex<Option<Duration>>);

impl Seldom {
    fn is_due(&self, now: Duration) -> bool {
        let mut last = self.0.lock().expect("no holder panics");
        let due = last.is_none_or(|last| now.saturating_sub(last) >= PROGRESS);
        if due {
            *last = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_often_is_let_through_now_and_then() {
        let seldom = Seldom::default();
        let told: Vec<u64> = (0..1000).filter(|ms| seldom.is_due(Duration::from_millis(*ms))).collect();
        assert_eq!(told, [0, 250, 500, 750]);
    }
}
