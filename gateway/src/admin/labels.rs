//! Labels of objects: shown, set, taken away.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use futures_util::stream;
use holdall_namespace::bucket::Bucket;
use holdall_namespace::label::{Labelled, Labelling, Relabel};
use holdall_namespace::name::BucketName;
use http::StatusCode;
use serde::Deserialize;

use super::extract::{Asked, Sent};
use super::jobs::Which;
use super::problem::Problem;
use super::view::LabelLine;
use super::{Admin, lines};

type Labels = BTreeMap<String, String>;

pub(super) async fn show(State(admin): State<Arc<Admin>>, Asked(which): Asked<Which>) -> Result<Json<Labels>, Problem> {
    let bucket = bucket(&admin, &which.bucket).await?;
    Ok(Json(admin.state.namespace.labels(&bucket, &which.key).await?.into_iter().collect()))
}

pub(super) async fn set(
    State(admin): State<Arc<Admin>>,
    Asked(which): Asked<Which>,
    Sent(relabel): Sent<Relabel>,
) -> Result<Json<Labels>, Problem> {
    let bucket = bucket(&admin, &which.bucket).await?;
    Ok(Json(admin.state.namespace.label(&bucket, &which.key, relabel).await?.into_iter().collect()))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Under {
    bucket: BucketName,
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    dry_run: bool,
}

/// Streams how far it is, one JSON object a line. Ends when nobody reads it any more; what has its labels by then keeps them.
pub(super) async fn set_all(
    State(admin): State<Arc<Admin>>,
    Asked(under): Asked<Under>,
    Sent(relabel): Sent<Relabel>,
) -> Result<Response, Problem> {
    let bucket = bucket(&admin, &under.bucket).await?;
    let labelling = admin.state.namespace.label_all(&bucket, &under.prefix, relabel, under.dry_run)?;
    let run = (labelling, Labelled::default());
    Ok(lines::flow(stream::unfold(Some(run), |run| async { Some(page(run?).await) })))
}

async fn page((mut labelling, done): (Labelling, Labelled)) -> (Vec<LabelLine>, Option<(Labelling, Labelled)>) {
    match labelling.next().await {
        Ok(Some(done)) => (vec![LabelLine::Labelling(done.clone())], Some((labelling, done))),
        Ok(None) => (vec![LabelLine::Labelled(done)], None),
        Err(fault) => (vec![LabelLine::Error(fault.to_string())], None),
    }
}

async fn bucket(admin: &Admin, name: &BucketName) -> Result<Bucket, Problem> {
    let bucket = admin.state.namespace.bucket(name).await;
    bucket.map_err(|_| Problem::new(StatusCode::NOT_FOUND, "no_such_bucket", format!("no bucket `{name}`")))
}
