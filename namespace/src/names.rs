//! What lies in a silo, name by name.

use holdall_silos::limits::MAX_LIST_PAGE;
use holdall_silos::silo::Listed;

use crate::fault::Fault;
use crate::inventory::OpenSilo;
use crate::store::silo_failed;

/// The names with a prefix, a page at a time.
pub(crate) struct Names<'a> {
    open: &'a OpenSilo,
    prefix: &'a str,
    after: Option<String>,
}

impl<'a> Names<'a> {
    /// All of them.
    pub(crate) fn of(open: &'a OpenSilo) -> Self {
        Self::after(open, "", None)
    }

    /// Those after a name.
    pub(crate) fn after(open: &'a OpenSilo, prefix: &'a str, after: Option<String>) -> Self {
        Self { open, prefix, after }
    }

    /// The next page; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Listed>>, Fault> {
        let page = self.open.silo.list(self.prefix, self.after.as_deref(), MAX_LIST_PAGE).await;
        let page = self.open.note(page).map_err(|error| silo_failed(self.open, &error))?;
        let Some(last) = page.last() else { return Ok(None) };
        self.after = Some(last.name.clone());
        Ok(Some(page))
    }
}
