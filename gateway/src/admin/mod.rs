//! The admin API: what a person orders, as HTTP.
//!
//! Every route below `/v1` verifies the signature over the whole request, then asks for the first account, then runs; but
//! for `/v1/events/SILO`, which clouds call that cannot sign: it takes a token of the silo's own. `/livez`, `/readyz` and `/metrics` are open and name no bucket and no key.

use std::sync::Arc;

use axum::Router;
use axum::routing::{MethodRouter, delete, get, patch, post, put};
use http::StatusCode;

pub mod problem;
pub mod view;

mod accounts;
mod assimilate;
mod check;
mod declare;
mod door;
mod events;
mod extract;
mod find;
mod health;
mod index;
mod inventory;
mod jobs;
mod labels;
mod lines;
mod lost;
mod objectives;
mod silos;
mod switches;
#[cfg(test)]
mod tests;

pub(crate) use events::Queues;

use crate::metrics::Metrics;
use crate::state::State;
use problem::Problem;

/// What the admin routes look at.
pub struct Admin {
    /// Shared with S3 requests.
    pub state: Arc<State>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Where S3 is spoken, as a URL.
    pub endpoint: String,
}

/// One line of the route table.
struct Route {
    /// `GET`
    method: &'static str,
    /// As axum reads it.
    path: &'static str,
    /// What it does, unique: the word in the log.
    action: &'static str,
    /// Who does it.
    handler: MethodRouter<Arc<Admin>>,
}

fn route(method: &'static str, path: &'static str, action: &'static str, handler: MethodRouter<Arc<Admin>>) -> Route {
    Route { method, path, action, handler }
}

/// Every signed route there is.
fn routes() -> Vec<Route> {
    let mut routes = vec![
        route("GET", "/v1/status", "status.show", get(health::status)),
        route("GET", "/v1/account", "account.list", get(accounts::list)),
        route("POST", "/v1/account/{name}", "account.create", post(accounts::create)),
        route("DELETE", "/v1/account/{name}", "account.delete", delete(accounts::delete)),
        route("POST", "/v1/account/{name}/disable", "account.disable", post(accounts::disable)),
        route("POST", "/v1/account/{name}/enable", "account.enable", post(accounts::enable)),
        route("GET", "/v1/account/{name}/key", "key.list", get(accounts::list_keys)),
        route("POST", "/v1/account/{name}/key", "key.create", post(accounts::create_key)),
        route("DELETE", "/v1/account/{name}/key/{id}", "key.delete", delete(accounts::delete_key)),
        route("GET", "/v1/silo", "silo.list", get(silos::list)),
        route("POST", "/v1/silo/{name}", "silo.create", post(silos::create)),
        route("PATCH", "/v1/silo/{name}", "silo.set", patch(silos::set)),
        route("DELETE", "/v1/silo/{name}", "silo.delete", delete(silos::delete)),
        route("POST", "/v1/silo/{name}/probe", "silo.probe", post(silos::probe)),
        route("POST", "/v1/silo/{name}/cordon", "silo.cordon", post(silos::cordon)),
        route("POST", "/v1/silo/{name}/uncordon", "silo.uncordon", post(silos::uncordon)),
        route("POST", "/v1/silo/{name}/pause", "silo.pause", post(silos::pause)),
        route("POST", "/v1/silo/{name}/resume", "silo.resume", post(silos::resume)),
        route("GET", "/v1/silo/{name}/loss", "silo.loss", get(lost::loss)),
        route("POST", "/v1/silo/{name}/lost", "silo.lost", post(lost::lose)),
        route("POST", "/v1/silo/{name}/found", "silo.found", post(lost::find)),
        route("POST", "/v1/silo/{name}/token", "silo.token", post(events::create_token)),
        route("DELETE", "/v1/silo/{name}/token", "silo.token.delete", delete(events::delete_token)),
        route("POST", "/v1/apply", "apply", post(declare::apply)),
        route("GET", "/v1/assimilate", "assimilate.list", get(assimilate::list)),
        route("POST", "/v1/assimilate", "assimilate.start", post(assimilate::start)),
        route("POST", "/v1/assimilate/survey", "assimilate.survey", post(assimilate::survey)),
        route("GET", "/v1/assimilate/{id}", "assimilate.show", get(assimilate::show)),
        route("PATCH", "/v1/assimilate/{id}", "assimilate.set", patch(assimilate::set)),
        route("DELETE", "/v1/assimilate/{id}", "assimilate.forget", delete(assimilate::forget)),
        route("GET", "/v1/assimilate/{id}/refused", "assimilate.refused", get(assimilate::refused)),
        route("GET", "/v1/assimilate/{id}/conflicts", "assimilate.conflicts", get(assimilate::conflicts)),
        route("POST", "/v1/assimilate/{id}/confirm", "assimilate.confirm", post(assimilate::confirm)),
        route("POST", "/v1/plan", "plan", post(jobs::plan)),
        route("GET", "/v1/job", "job.list", get(jobs::list)),
        route("POST", "/v1/job", "job.start", post(jobs::start)),
        route("GET", "/v1/job/{id}", "job.show", get(jobs::show)),
        route("GET", "/v1/job/{id}/moves", "job.moves", get(jobs::moves)),
        route("POST", "/v1/job/{id}/pause", "job.pause", post(jobs::pause)),
        route("POST", "/v1/job/{id}/resume", "job.resume", post(jobs::resume)),
        route("POST", "/v1/job/{id}/cancel", "job.cancel", post(jobs::cancel)),
        route("GET", "/v1/switch", "switch.list", get(switches::list)),
        route("POST", "/v1/switch", "switch.start", post(switches::start)),
        route("POST", "/v1/switch/{from}/commit", "switch.commit", post(switches::commit)),
        route("POST", "/v1/switch/{from}/rollback", "switch.rollback", post(switches::roll_back)),
        route("GET", "/v1/damage", "damage", get(jobs::damage)),
        route("GET", "/v1/failed", "failed", get(jobs::failed)),
        route("GET", "/v1/where", "where", get(jobs::where_is)),
        route("GET", "/v1/find", "find", get(find::find)),
        route("GET", "/v1/label", "label.show", get(labels::show)),
        route("POST", "/v1/label", "label.set", post(labels::set)),
        route("POST", "/v1/label/all", "label.set_all", post(labels::set_all)),
        route("POST", "/v1/inventory/refresh", "inventory.refresh", post(inventory::refresh)),
        route("GET", "/v1/usage", "usage", get(silos::usage)),
        route("GET", "/v1/index", "index.show", get(index::show)),
        route("POST", "/v1/index/backup", "index.backup", post(index::back_up)),
        route("POST", "/v1/index/accept", "index.accept", post(index::accept)),
        route("GET", "/v1/check", "check", get(check::check)),
        route("POST", "/v1/sweep", "sweep", post(check::sweep)),
    ];
    routes.extend(objective_routes());
    routes
}

/// What objectives want, what that moves, and why.
fn objective_routes() -> Vec<Route> {
    vec![
        route("GET", "/v1/objective", "objective.list", get(objectives::list)),
        route("PUT", "/v1/objective/{name}", "objective.set", put(objectives::set)),
        route("DELETE", "/v1/objective/{name}", "objective.delete", delete(objectives::delete)),
        route("POST", "/v1/objective/{name}/pause", "objective.pause", post(objectives::pause)),
        route("POST", "/v1/objective/{name}/resume", "objective.resume", post(objectives::resume)),
        route("GET", "/v1/outlook", "outlook", get(objectives::outlook)),
        route("POST", "/v1/outlook/{name}", "outlook.with", post(objectives::outlook_with)),
        route("GET", "/v1/why", "why", get(objectives::why)),
        route("GET", "/v1/savings", "savings", get(objectives::savings)),
    ]
}

/// The admin listener's whole router.
pub fn router(admin: Arc<Admin>) -> Router {
    let signed = routes().into_iter().fold(Router::new(), |router, route| {
        tracing::trace!(method = route.method, path = route.path, action = route.action, "admin route");
        router.route(route.path, route.handler)
    });
    let signed = signed
        .fallback(no_such_route)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&admin), door::admit));
    let told = Router::new()
        .route("/v1/events/{silo}", post(events::receive).options(events::allow))
        .method_not_allowed_fallback(method_not_allowed);
    Router::new()
        .merge(told)
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .merge(signed)
        .with_state(admin)
}

async fn no_such_route() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no_such_route", "the admin API has no such path")
}

async fn method_not_allowed() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "the path is not asked this way")
}
