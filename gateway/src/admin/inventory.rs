//! The inventory: written by order.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use futures_util::stream;
use holdall_namespace::census::{Census, Taken};

use super::problem::Problem;
use super::view::CensusLine;
use super::{Admin, lines};

/// Writes the inventory and streams how far it is, one JSON object a line. Ends when nobody reads it any more; buckets that are done
/// by then are done.
pub(super) async fn refresh(State(admin): State<Arc<Admin>>) -> Result<Response, Problem> {
    let run = (admin.state.namespace.census().await?, Taken::default());
    Ok(lines::flow(stream::unfold(Some(run), |run| async { Some(page(run?).await) })))
}

async fn page((mut census, done): (Census, Taken)) -> (Vec<CensusLine>, Option<(Census, Taken)>) {
    match census.next().await {
        Ok(Some(done)) => (vec![CensusLine::Taking(done.clone())], Some((census, done))),
        Ok(None) => (vec![CensusLine::Taken(done)], None),
        Err(fault) => (vec![CensusLine::Error(fault.to_string())], None),
    }
}
