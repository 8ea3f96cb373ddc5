//! Meeting a silo: before a row says where one is, it was reached there, recognized, and tried out.

use std::mem::discriminant;
use std::path::Path;
use std::sync::Arc;

use holdall_silos::connect::{holdings, projections};
use holdall_silos::holdings::Holdings;
use holdall_silos::projections::Projections;
use holdall_silos::wrap::lost::Lost;
use holdall_silos::wrap::read_only::ReadOnly;
use holdall_silos::wrap::silence::{Heard, Silence};
use holdall_silos::{Address, Claim, Facts, Marker, Silo, SiloError, connect};

use crate::inventory::{Access, DeclaredSilo, OpenSilo};
use crate::limits::{SAME_LOOK, SAME_LOOKS, SILENCE};
use crate::namespace::Core;
use crate::probe::{Bench, Block};
use crate::table::silos::SiloRow;

/// A silo's clients.
pub(crate) struct Connected {
    pub silo: Arc<dyn Silo>,
    /// Of a silo of others.
    pub holdings: Option<Arc<dyn Holdings>>,
    /// Of one that we may write to as they do.
    pub projections: Option<Arc<dyn Projections>>,
}

impl Connected {
    /// Of a silo that never comes back.
    pub(crate) fn lost() -> Self {
        Self { silo: Arc::new(Lost), holdings: None, projections: None }
    }

    /// The same, by `silence`.
    pub(crate) fn heard(self, silence: &Arc<Silence>) -> Self {
        let Self { silo, holdings, projections } = self;
        let holdings = holdings.map(|holdings| Arc::new(Heard::new(holdings, silence)) as Arc<dyn Holdings>);
        #[cfg(feature = "faults")]
        let silo = crate::failpoint::watched(silo);
        Self { silo: Arc::new(Heard::new(silo, silence)), holdings, projections }
    }
}

/// Opens a declared silo's clients. The reason of a failure is one sentence fragment.
pub(crate) fn connect_declared(declared: &DeclaredSilo, base: &Path, namespace: &str) -> Result<Connected, String> {
    #[cfg(test)]
    if let Some(silo) = crate::model::silo_for(&declared.url) {
        return Ok(Connected { silo, holdings: None, projections: None });
    }
    let address = Address::parse(&declared.url, base).map_err(|error| error.to_string())?;
    let credentials = declared.credentials.find()?;
    match declared.access {
        Access::Own => {
            let silo = connect(&address, &credentials).map_err(|error| error.to_string())?;
            Ok(Connected { silo, holdings: None, projections: None })
        }
        Access::ReadOnly | Access::ReadWrite => {
            let holdings = holdings(&address, &credentials).map_err(|error| error.to_string())?;
            let writes = (declared.access == Access::ReadWrite).then(|| projections(&address, namespace));
            let projections = writes.transpose().map_err(|error| error.to_string())?;
            let silo = Arc::new(ReadOnly::new(Arc::clone(&holdings)));
            Ok(Connected { silo, holdings: Some(holdings), projections })
        }
    }
}

/// What a silo promises, and what it cannot where we write as others do. One that is known to be written to so has what says
/// that it is the same.
pub(crate) async fn facts(silo: &dyn Silo, tree: Option<&dyn Projections>, known: bool) -> Result<Facts, SiloError> {
    let mut facts = silo.probe().await?;
    if let Some(tree) = tree {
        if known {
            tree.attempts().await?;
        }
        facts.notes.extend(tree.fit().await?);
    }
    Ok(facts)
}

/// What a silo's marker must say.
pub(crate) fn claim(silo: &str, namespace: &str, id: &str, fresh: bool) -> Claim {
    let marker = Marker { silo: silo.to_owned(), namespace: namespace.to_owned(), id: id.to_owned() };
    Claim { marker, fresh }
}

/// Why the second URL cannot name a silo that the first one names, in one sentence fragment.
pub(crate) fn refuse_other_kind(url: &str, declared: &str, base: &Path) -> Result<(), String> {
    let (Ok(before), Ok(after)) = (Address::parse(url, base), Address::parse(declared, base)) else { return Ok(()) };
    if discriminant(&before) == discriminant(&after) {
        return Ok(());
    }
    Err(format!(
        "`{declared}` is another kind of silo than `{url}`, and reads nothing of what that one wrote; register it beside, and \
         drain this one to it"
    ))
}

impl Core {
    /// Connects, claims and probes a silo that was never seen.
    pub(crate) async fn meet(&self, row: &mut SiloRow) -> Result<(), String> {
        let Connected { silo, holdings, projections } = connect_declared(&row.declared, &self.options.base, &self.id)?;
        if let Some(holdings) = holdings {
            row.marker = holdings.identity().await.map_err(said)?;
        }
        silo.claim(&claim(&row.name, &self.id, &row.marker, true)).await.map_err(said)?;
        row.facts = facts(&*silo, projections.as_deref(), false).await.map_err(said)?;
        Ok(())
    }

    /// The clients by which a known silo is reached from now on, once it was recognized. Nothing is written.
    pub(crate) async fn recognize(&self, row: &SiloRow) -> Result<Connected, String> {
        let connected = connect_declared(&row.declared, &self.options.base, &self.id)?;
        connected.silo.claim(&claim(&row.name, &self.id, &row.marker, false)).await.map_err(said)?;
        Ok(connected)
    }

    /// Connects a silo that is reached in another way from now on: refused unless it is the one that `known` is.
    pub(crate) async fn meet_again(&self, known: &OpenSilo, row: &mut SiloRow) -> Result<(), String> {
        if known.projections.is_some() && row.declared.access != Access::ReadWrite {
            let count = self.kept_in_tree(known.id).await.map_err(|fault| fault.to_string())?;
            if count > 0 {
                return Err(format!(
                    "{count} files that S3 replaced or deleted there are still kept, or on their way: they go after the sweep's \
                     grace period"
                ));
            }
        }
        let Connected { silo, projections, .. } = self.recognize(row).await?;
        if row.declared.access == Access::Own && self.still_stands(known).await {
            self.refuse_copy(known, &*silo).await?;
        }
        let known = known.projections.is_some();
        row.facts = facts(&*silo, projections.as_deref(), known).await.map_err(said)?;
        Ok(())
    }

    /// Whether the silo is found where it was until now.
    pub(crate) async fn still_stands(&self, known: &OpenSilo) -> bool {
        tokio::select! {
            biased;
            answer = known.claim(&self.id) => answer.is_ok(),
            () = self.clock.sleep(SILENCE) => false,
        }
    }

    /// A copy of a silo has its marker, too, and lacks what is written until everybody goes by it. Where the silo still stands
    /// in its old place, something written there is seen in the new one, or that is a copy.
    async fn refuse_copy(&self, known: &OpenSilo, there: &dyn Silo) -> Result<(), String> {
        let mut bench = Bench::new(self, known);
        let written = bench.put(&Block::drawn(), 1).await;
        let seen = match &written {
            Ok(blob) => self.sees(there, blob).await,
            Err(error) => {
                Err(format!("the silo takes nothing in its old place that would tell the new one from a copy: {error}"))
            }
        };
        bench.clean().await;
        if seen? {
            return Ok(());
        }
        Err(format!(
            "what is written to `{}` is not seen there: it is a copy of the silo. Where the copy is to take its place, stop what \
             writes and take the silo's old place away first",
            known.row.declared.url
        ))
    }

    /// Mounts may show a new name only after a moment.
    async fn sees(&self, there: &dyn Silo, blob: &holdall_silos::BlobName) -> Result<bool, String> {
        for _ in 0..SAME_LOOKS {
            match there.stat(blob).await {
                Ok(_) => return Ok(true),
                Err(SiloError::Missing) => self.clock.sleep(SAME_LOOK).await,
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(false)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is handed to map_err")]
fn said(error: SiloError) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silo_stays_of_its_kind() {
        let refused = |before: &str, after: &str| refuse_other_kind(before, after, Path::new("/data")).is_err();
        for (before, after) in [
            ("file:hot", "file:///mnt/nas"),
            ("dav://nas/a", "davs://nas/a"),
            ("s3://archive?endpoint=http://one", "s3://archive?endpoint=https://two"),
            ("sftp://me@nas/srv", "sftp://you@other:2222/srv?known_hosts=/k"),
        ] {
            assert!(!refused(before, after), "{before} {after}");
        }
        for (before, after) in
            [("file:///mnt/nas", "sftp://nas/srv"), ("gs://archive", "s3://archive"), ("https://nas/a", "davs://nas/a")]
        {
            assert!(refused(before, after), "{before} {after}");
        }
    }
}
