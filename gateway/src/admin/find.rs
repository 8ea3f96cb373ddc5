//! Search: which objects a condition holds for.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use futures_util::stream;
use holdall_namespace::clock::UnixMs;
use holdall_namespace::find::{Question, Search};
use holdall_namespace::objective::Scope;
use serde::Deserialize;

use super::extract::Asked;
use super::problem::Problem;
use super::view::{FindLine, FoundSum, FoundView};
use super::{Admin, lines};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct What {
    #[serde(default)]
    on: Scope,
    #[serde(rename = "where")]
    condition: Option<String>,
    limit: Option<u64>,
    #[serde(default)]
    count: bool,
}

/// Streams what is found, one JSON object a line; the last line says how much that was. Ends when nobody reads it any more.
pub(super) async fn find(State(admin): State<Arc<Admin>>, Asked(what): Asked<What>) -> Result<Response, Problem> {
    let What { on, condition, limit, count } = what;
    let namespace = &admin.state.namespace;
    let search = namespace.search(&Question { on, condition, only_size: count }).await?;
    let (sum, limit, now) = (FoundSum::default(), limit.unwrap_or(u64::MAX), admin.state.clock.now());
    let run = Run { search, sum, limit, count, now };
    Ok(lines::flow(stream::unfold(Some(run), |run| async { Some(run?.page().await) })))
}

/// A search that is being answered.
struct Run {
    search: Search,
    sum: FoundSum,
    limit: u64,
    count: bool,
    now: UnixMs,
}

impl Run {
    /// The next lines, and how it goes on.
    async fn page(mut self) -> (Vec<FindLine>, Option<Self>) {
        let left = self.limit - self.sum.objects;
        let found = match self.search.next().await {
            Ok(Some(found)) => found,
            Ok(None) => return (vec![self.last(false)], None),
            Err(fault) => return (vec![FindLine::Error(fault.to_string())], None),
        };
        let limited = found.len() as u64 >= left;
        let found: Vec<_> = found.into_iter().take(usize::try_from(left).unwrap_or(usize::MAX)).collect();
        self.sum.objects += found.len() as u64;
        self.sum.bytes += found.iter().map(|found| found.size).sum::<u64>();
        let shown = found.into_iter().filter(|_| !self.count);
        let mut lines: Vec<_> = shown.map(|found| FindLine::Object(Box::new(FoundView::of(found, self.now)))).collect();
        if limited {
            lines.push(self.last(true));
            return (lines, None);
        }
        (lines, Some(self))
    }

    fn last(&self, limited: bool) -> FindLine {
        let unclear = &self.search.unclear;
        let (looked_at, example, unclear) = (self.search.looked_at, unclear.example(), unclear.objects);
        FindLine::Found(FoundSum { looked_at, limited, unclear, example, ..self.sum.clone() })
    }
}
