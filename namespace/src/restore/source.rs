//! Silos before there is an index that knows them.

use std::path::Path;

use holdall_silos::{BlobName, Claim, SiloError};

use crate::backup::shelf::Source;
use crate::inventory::DeclaredSilo;
use crate::meet::connect_declared;

/// What was named is no silo to restore from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{url}`: {reason}")]
pub struct NotASource {
    /// As given.
    pub url: String,
    /// One sentence fragment.
    pub reason: String,
}

/// Opens a silo as what its marker says it is.
pub async fn open_source(declared: &DeclaredSilo, base: &Path) -> Result<Source, NotASource> {
    let refused = |reason: String| NotASource { url: declared.url.clone(), reason };
    let silo = connect_declared(declared, base, "").map_err(refused)?.silo;
    let said = |error: SiloError| refused(error.to_string());
    let marker = silo.marker().await.map_err(said)?;
    let marker = marker.ok_or_else(|| refused("there is no silo of Holdall: it has no marker".to_owned()))?;
    let name = marker.silo.clone();
    silo.claim(&Claim { marker, fresh: false }).await.map_err(said)?;
    Ok(Source { name, silo })
}

/// The last session that left a blob in any of these silos, pieces of backups left out.
pub(super) async fn last_session(sources: &[Source]) -> u64 {
    let mut last = 0;
    for Source { name, silo } in sources {
        let mut after: Option<String> = None;
        loop {
            let page = match silo.list("", after.as_deref(), 1).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::warn!(silo = name, %error, "a silo could not be looked through");
                    break;
                }
            };
            let Some(listed) = page.first() else { break };
            let session = listed.name.parse::<BlobName>().map_or(0, |blob| blob.session);
            last = last.max(session);
            // Behind all names of that session: `0` follows `/`.
            after = Some(match listed.name.split_once('/') {
                Some((first, _)) => format!("{first}0"),
                None => listed.name.clone(),
            });
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use futures_util::{StreamExt, stream};
    use holdall_silos::{Marker, Silo, memory::Memory};

    #[tokio::test]
    async fn the_last_session_is_found_with_a_request_for_each() {
        let silo = Memory::named("restore-last-session");
        let marker = Marker { silo: "hot".to_owned(), namespace: "n".to_owned(), id: "i".to_owned() };
        silo.claim(&Claim { marker, fresh: true }).await.unwrap();
        let source = || vec![Source { name: "hot".to_owned(), silo: Arc::clone(&silo) as Arc<dyn Silo> }];
        assert_eq!(last_session(&source()).await, 0);
        let names = [BlobName::pack(1, 1), BlobName::pack(1, 2), BlobName::pack(7, 1), BlobName::of_log(1, (9, 4))];
        for name in names {
            let body = stream::empty().boxed();
            silo.put(&name, 0, body, Arc::new(|_| Vec::new())).await.unwrap();
        }
        assert_eq!(last_session(&source()).await, 7);
    }
}
