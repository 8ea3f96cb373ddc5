//! A walk of a bucket, several pages of its listing at once, in the order of one after another.
//!
//! What is under way belongs to the walk and ends with it. As far as it is a matter of connections it goes on by itself while
//! the walk's caller is busy; the rest is done by whoever waits for the next page.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};

use crate::error::SiloError;
use crate::holdings::{Found, Walk};
use crate::limits::MAX_LIST_PAGE;
use crate::span;
use crate::web::client::Client;
use crate::web::holdings::stretches::{Ask, Missed, Stretches};
use crate::web::holdings::{found, nearest};
use crate::web::{Entry, Wanted, keys};

/// What became of a request for a page, and whose it was.
type Answer = (u64, Result<Vec<Entry>, SiloError>);

/// A walk of a bucket that others own.
pub(super) struct ShelfWalk {
    client: Arc<Client>,
    prefix: Vec<u8>,
    stretches: Stretches,
    under_way: FuturesUnordered<BoxFuture<'static, Answer>>,
}

#[async_trait]
impl Walk for ShelfWalk {
    async fn next(&mut self, limit: usize) -> Result<Vec<Found>, SiloError> {
        let limit = span::page(limit).max(1);
        loop {
            if let Some(taken) = self.stretches.take()? {
                confirm(&self.client, &self.prefix, taken.missed).await?;
                let wanted = taken.page.into_iter().filter(|entry| entry.name.starts_with(&self.prefix));
                let found: Vec<_> =
                    wanted.filter_map(|entry| found(&self.client, entry).transpose()).collect::<Result<_, _>>()?;
                if !found.is_empty() {
                    self.go_on(limit);
                    return Ok(found);
                }
            } else if self.stretches.is_over() {
                let left = self.stretches.left();
                confirm(&self.client, &self.prefix, left).await?;
                return Ok(Vec::new());
            } else {
                self.send(limit);
                let answer = self.under_way.next().await;
                let (id, answer) = answer.ok_or_else(|| SiloError::not_done("a walk that waits for nothing"))?;
                self.stretches.note(id, answer);
            }
        }
    }
}

impl ShelfWalk {
    /// A walk of the names that begin with `prefix` and come after `after`; sends nothing.
    pub(super) fn new(client: &Arc<Client>, prefix: &[u8], after: Option<&[u8]>) -> Self {
        Self {
            client: Arc::clone(client),
            prefix: prefix.to_owned(),
            stretches: Stretches::new(nearest(prefix), after, client.service.begins_anywhere()),
            under_way: FuturesUnordered::new(),
        }
    }

    /// Prepares whatever may be asked now.
    fn send(&mut self, limit: usize) {
        while let Some(Ask { id, after }) = self.stretches.ask(limit) {
            let (client, prefix) = (Arc::clone(&self.client), self.prefix.clone());
            self.under_way.push(async move { (id, page(&client, &prefix, after.as_deref(), limit).await) }.boxed());
        }
    }

    /// Sends it, so that it is under way while the caller is busy.
    fn go_on(&mut self, limit: usize) {
        self.send(limit);
        while let Some(Some((id, answer))) = self.under_way.next().now_or_never() {
            self.stretches.note(id, answer);
            self.send(limit);
        }
    }
}

/// An error where the listing has a name that it did not show in its place: then others may be missing from it, too. A name
/// that came or went meanwhile is none.
async fn confirm(client: &Client, prefix: &[u8], missed: Vec<Missed>) -> Result<(), SiloError> {
    for Missed { name, cut } in missed {
        let is_it = |entry: &Entry| entry.name == name;
        let Ok(spelled) = std::str::from_utf8(&name) else { continue };
        if page(client, prefix, Some(&cut), MAX_LIST_PAGE).await?.iter().any(is_it) {
            continue;
        }
        if page(client, &name, None, 1).await?.first().is_some_and(is_it) {
            let (name, cut) = (spelled.escape_debug(), String::from_utf8_lossy(&cut));
            let reason = format!("the listing is in no order of bytes: no `{name}` behind `{}`", cut.escape_debug());
            return Err(SiloError::not_done(reason));
        }
    }
    Ok(())
}

/// The next entries behind `after`, in order; none at the end. A request can name nothing but UTF-8, so that it may ask for more.
async fn page(client: &Client, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, SiloError> {
    let asked = after.map(nearest);
    let wanted = Wanted { base: client.prefix(), prefix: nearest(prefix), after: asked, limit, restored: true };
    let mut page = client.service.list(client, wanted).await?;
    keys::ascend(page.iter().map(|entry| entry.name.as_slice()), asked.map(str::as_bytes))?;
    let asked_for_more = !page.is_empty();
    page.retain(|entry| after.is_none_or(|after| entry.name.as_slice() > after));
    if page.is_empty() && asked_for_more {
        return Err(SiloError::not_done("more names that are not UTF-8 than a page of the listing holds"));
    }
    Ok(page)
}

#[cfg(test)]
mod tests;
