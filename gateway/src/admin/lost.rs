//! Silos that never come back.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use holdall_namespace::Namespace;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::extract::{Asked, Named};
use super::problem::Problem;
use super::view::{LossLine, LostView, SiloView};
use super::{Admin, lines};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listing {
    #[serde(default)]
    list: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Force {
    #[serde(default)]
    force: bool,
}

/// Streams what goes with a silo, one JSON object a line; the last line sums up.
pub(super) async fn loss(
    State(admin): State<Arc<Admin>>,
    Named(name): Named<String>,
    Asked(how): Asked<Listing>,
) -> Result<Response, Problem> {
    if !admin.state.namespace.silos().await?.iter().any(|silo| silo.name == name) {
        return Err(holdall_namespace::inventory::SiloCommandError::NoSuchSilo(name).into());
    }
    let (sender, receiver) = mpsc::channel::<LossLine>(lines::WAITING);
    let namespace = Arc::clone(&admin.state.namespace);
    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || runtime.block_on(look(&namespace, &name, how.list, &sender)));
    Ok(lines::answer(receiver))
}

async fn look(namespace: &Namespace, name: &str, list: bool, sender: &mpsc::Sender<LossLine>) {
    let mut going = |going| {
        if list {
            lines::wait(sender, LossLine::Going(going));
        }
    };
    let last = tokio::select! {
        loss = namespace.loss(name, &mut going) => match loss {
            Ok(loss) => LossLine::Loss(loss),
            Err(error) => LossLine::Error(error.to_string()),
        },
        () = sender.closed() => return,
    };
    // A reader that left needs no last line.
    drop(sender.send(last).await);
}

pub(super) async fn lose(
    State(admin): State<Arc<Admin>>,
    Named(name): Named<String>,
    Asked(how): Asked<Force>,
) -> Result<Json<LostView>, Problem> {
    let (silo, job) = admin.state.namespace.lose_silo(&name, how.force).await?;
    Ok(Json(LostView { silo: silo.into(), job: job.into() }))
}

pub(super) async fn find(
    State(admin): State<Arc<Admin>>,
    Named(name): Named<String>,
) -> Result<Json<SiloView>, Problem> {
    Ok(Json(admin.state.namespace.find_silo(&name).await?.into()))
}
