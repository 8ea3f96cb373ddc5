//! Check and sweep.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use holdall_namespace::Namespace;
use holdall_namespace::sweep::Swept;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::extract::Asked;
use super::problem::Problem;
use super::view::CheckLine;
use super::{Admin, lines};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Depth {
    #[serde(default)]
    deep: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Haste {
    #[serde(default)]
    skip_grace: bool,
}

pub(super) async fn sweep(State(admin): State<Arc<Admin>>, Asked(haste): Asked<Haste>) -> Result<Json<Swept>, Problem> {
    let namespace = &admin.state.namespace;
    Ok(Json(if haste.skip_grace { namespace.sweep_now().await? } else { namespace.sweep(false).await? }))
}

/// Streams findings as they are made, one JSON object a line; the last line says what was looked at.
pub(super) async fn check(State(admin): State<Arc<Admin>>, Asked(depth): Asked<Depth>) -> Response {
    let (sender, receiver) = mpsc::channel::<CheckLine>(lines::WAITING);
    let namespace = Arc::clone(&admin.state.namespace);
    let runtime = tokio::runtime::Handle::current();
    // The check reports through a plain call and must be able to wait there for a slow reader: a thread of its own.
    // It ends with the check, or as soon as nobody reads the answer any more.
    tokio::task::spawn_blocking(move || runtime.block_on(run(&namespace, depth.deep, &sender)));
    lines::answer(receiver)
}

async fn run(namespace: &Namespace, deep: bool, sender: &mpsc::Sender<CheckLine>) {
    let mut report = |finding| lines::wait(sender, CheckLine::Finding(finding));
    let last = tokio::select! {
        checked = namespace.check(deep, &mut report) => match checked {
            Ok(checked) => CheckLine::Checked(checked),
            Err(fault) => CheckLine::Error(fault.to_string()),
        },
        () = sender.closed() => return,
    };
    // A reader that left needs no last line.
    drop(sender.send(last).await);
}
