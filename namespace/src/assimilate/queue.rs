//! Queues that tell of silos of others: which there are, and how each is reached.

use std::path::Path;

use holdall_silos::Address;
use holdall_silos::queue::Queue;

use crate::inventory::{CredentialsFrom, OpenSilo};
use crate::namespace::Namespace;

/// The queue that a silo's notifications are sent to. Two are equal where the same queue is reached in the same way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notifications {
    /// The silo's name.
    pub silo: String,
    queue: String,
    url: String,
    credentials: CredentialsFrom,
    connection: u32,
}

impl Notifications {
    fn of(open: &OpenSilo) -> Option<Self> {
        let declared = &open.row.declared;
        Some(Self {
            silo: open.row.name.clone(),
            queue: declared.notifications.clone()?,
            url: declared.url.clone(),
            credentials: declared.credentials.clone(),
            connection: open.row.connection,
        })
    }

    /// A client of the queue, by the silo's own credentials; touches nothing but where those are. The reason of a failure is
    /// one sentence fragment.
    pub fn connect(&self) -> Result<Queue, String> {
        // What is relative to a folder has no queue.
        let address = Address::parse(&self.url, Path::new("/")).map_err(|error| error.to_string())?;
        Queue::connect(&self.queue, &address, &self.credentials.find()?)
    }
}

impl Namespace {
    /// The queues that are declared of silos, as this gateway last read them.
    pub fn notifications(&self) -> Vec<Notifications> {
        self.inventory().silos.values().filter_map(|open| Notifications::of(open)).collect()
    }
}
