//! A walk of a web server's files: a look at each name, several at once.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::error::SiloError;
use crate::folders::{self, Step};
use crate::holdings::{Found, Walk};
use crate::http::Here;
use crate::limits::LOOKS_AT_ONCE;
use crate::span;
use crate::web::{is_ours, nearest};

pub(super) struct SiteWalk {
    here: Arc<Here>,
    prefix: Vec<u8>,
    after: Option<Vec<u8>>,
    way: Option<Way>,
}

/// Where the names come from.
enum Way {
    /// A list, from a place in it on.
    List(Arc<Vec<String>>, usize),
    Folders(folders::Walk<Here>),
}

impl SiteWalk {
    pub(super) fn new(here: Arc<Here>, prefix: &[u8], after: Option<&[u8]>) -> Self {
        Self { here, prefix: prefix.to_owned(), after: after.map(<[u8]>::to_owned), way: None }
    }

    /// Whether a name belongs to the walk.
    fn wants(&self, name: &str) -> bool {
        let name = name.as_bytes();
        name.starts_with(&self.prefix) && self.after.as_deref().is_none_or(|after| name > after) && !is_ours(name)
    }

    async fn begin(&self) -> Result<Way, SiloError> {
        if self.here.list.is_some() {
            let names = self.here.names().await?;
            let first = names.partition_point(|name| name.as_bytes() < &*self.prefix);
            return Ok(Way::List(names, first));
        }
        let after = self.after.as_deref().map(nearest);
        Ok(Way::Folders(folders::Walk::new(Arc::clone(&self.here), nearest(&self.prefix), after)))
    }

    /// The next names; none at the end.
    async fn steps(&mut self, limit: usize) -> Result<Vec<Step<()>>, SiloError> {
        let mut way = match self.way.take() {
            Some(way) => way,
            None => self.begin().await?,
        };
        let steps = match &mut way {
            Way::List(names, at) => {
                let from = &names[*at..];
                let all = from.iter().take_while(|name| name.as_bytes().starts_with(&self.prefix));
                let some: Vec<_> = all.filter(|name| self.wants(name)).take(limit).cloned().collect();
                let last = some.last().map_or(from.len(), |last| from.partition_point(|name| name <= last));
                *at += last;
                some.into_iter().map(|name| Step::File(name, ())).collect()
            }
            Way::Folders(walk) => walk.next(limit).await?,
        };
        self.way = Some(way);
        Ok(steps)
    }
}

#[async_trait]
impl Walk for SiteWalk {
    async fn next(&mut self, limit: usize) -> Result<Vec<Found>, SiloError> {
        loop {
            let steps = self.steps(span::page(limit).max(1)).await?;
            if steps.is_empty() {
                return Ok(Vec::new());
            }
            let looks = steps.into_iter().map(|step| async {
                match step {
                    Step::File(name, ()) if self.wants(&name) => self.here.found(name).await,
                    Step::File(..) => Ok(None),
                    Step::Refused(name, reason) => Ok(Some(Found::Refused { name: name.into(), reason })),
                    Step::Unread(name, error) => {
                        Ok(Some(Found::Unread { name: name.into(), reason: error.to_string() }))
                    }
                }
            });
            let found: Vec<Option<Found>> = stream::iter(looks).buffered(LOOKS_AT_ONCE).try_collect().await?;
            let found: Vec<_> = found.into_iter().flatten().collect();
            if !found.is_empty() {
                return Ok(found);
            }
        }
    }
}
