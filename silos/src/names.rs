//! What lies in a silo, name by name.

use crate::error::SiloError;
use crate::limits::MAX_LIST_PAGE;
use crate::silo::{Listed, Silo};

/// The names with a prefix, a page at a time.
pub struct Names<'a> {
    silo: &'a dyn Silo,
    prefix: &'a str,
    after: Option<String>,
}

impl<'a> Names<'a> {
    /// Those after a name; all of them where that is none.
    pub fn new(silo: &'a dyn Silo, prefix: &'a str, after: Option<String>) -> Self {
        Self { silo, prefix, after }
    }

    /// The next page; none at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<Listed>>, SiloError> {
        let page = self.silo.list(self.prefix, self.after.as_deref(), MAX_LIST_PAGE).await?;
        let Some(last) = page.last() else { return Ok(None) };
        self.after = Some(last.name.clone());
        Ok(Some(page))
    }
}
