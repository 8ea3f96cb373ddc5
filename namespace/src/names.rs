//! What lies in an open silo, name by name; a silo that does not answer is noted.

use holdall_silos::silo::Listed;

use crate::fault::Fault;
use crate::inventory::OpenSilo;
use crate::store::silo_failed;

/// The names with a prefix, a page at a time.
pub(crate) struct Names<'a> {
    open: &'a OpenSilo,
    names: holdall_silos::Names<'a>,
}

impl<'a> Names<'a> {
    /// All of them.
    pub(crate) fn of(open: &'a OpenSilo) -> Self {
        Self::after(open, "", None)
    }

    /// Those after a name.
    pub(crate) fn after(open: &'a OpenSilo, prefix: &'a str, after: Option<String>) -> Self {
        Self { open, names: holdall_silos::Names::new(&*open.silo, prefix, after) }
    }

    /// The next page; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Listed>>, Fault> {
        self.open.note(self.names.next().await).map_err(|error| silo_failed(self.open, &error))
    }
}
