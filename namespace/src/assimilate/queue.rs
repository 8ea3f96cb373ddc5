//! Queues that tell of silos of others: which there are, and how each is reached.

use std::path::Path;

use holdall_silos::Address;
use holdall_silos::queue::Queue;

use super::find::held;
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

    /// How asking a queue went: why it cannot be asked, in one sentence fragment, where it cannot. Answers whether that is news.
    pub fn note_queue(&self, of: &Notifications, reason: Option<&str>) -> bool {
        let declared = self.notifications();
        let mut silent = held(&self.core.looking.silent);
        silent.retain(|(known, _)| declared.contains(known));
        let before = silent.iter().position(|(known, _)| known == of).map(|at| silent.swap_remove(at).1);
        silent.extend(reason.map(|reason| (of.clone(), reason.to_owned())));
        before.as_deref() != reason
    }

    /// How many queues cannot be asked now.
    pub(crate) fn silent_queues(&self) -> u64 {
        let declared = self.notifications();
        held(&self.core.looking.silent).iter().filter(|(known, _)| declared.contains(known)).count() as u64
    }

    /// Why a silo's queue cannot be asked, where one is declared that cannot.
    pub fn silent_queue(&self, silo: &str) -> Option<String> {
        let declared = self.inventory().named(silo).and_then(|open| Notifications::of(open))?;
        let silent = held(&self.core.looking.silent);
        silent.iter().find(|(known, _)| *known == declared).map(|(_, reason)| reason.clone())
    }
}
