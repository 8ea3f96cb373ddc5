//! Declared state: what a file says of silos and write policies becomes rows, all of it or nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use holdall_silos::Address;
use holdall_silos::address::BadAddress;
use holdall_silos::queue::Queue;

use crate::engine::{self, Engine, NotCommitted, Read, Rows, Write};
use crate::extent::SiloId;
use crate::fault::Fault;
use crate::inventory::{
    Access, ApplyError, Change, Declared, DeclaredSilo, Inventory, OpenSilo, SiloCommandError, WritePolicy,
};
use crate::limits::{COMMIT_TRIES, MAX_OBJECTIVES, MAX_SILOS, RATE_LEAST, SCRUB_LEAST};
use crate::meet::refuse_other_kind;
use crate::namespace::Namespace;
use crate::objective::{Objective, Selector};
use crate::price::Price;
use crate::table::objectives;
use crate::table::roots::RootRow;
use crate::table::silos::{SiloRow, bucket_write_policy, next_silo, revision, silo as silo_key, write_policy};
use crate::table::{decode_row, encode, usage};

/// Changes a silo's row, and the revision with it.
pub(crate) async fn change_silo(
    engine: &dyn Engine,
    id: SiloId,
    change: impl Fn(&mut SiloRow) + Send + 'static,
) -> Result<(), Fault> {
    let decide = move |rows: &Rows| -> Result<_, Fault> {
        let row = rows.get(&silo_key(id)).ok_or_else(|| Fault::Damaged(format!("silo {id} has no row")))?;
        let mut row = SiloRow::decode(row)?;
        change(&mut row);
        Ok((vec![Write::Put(silo_key(id), row.encode()), Write::Add(revision(), 1)], ()))
    };
    Ok(engine::commit(engine, vec![Read::Row(silo_key(id))], decide).await?)
}

/// What a silo's declaration changes.
struct Silos {
    changes: Vec<Change>,
    /// Known ones that change, ready as rows.
    changed: Vec<(SiloId, SiloRow)>,
    /// New ones by name.
    new: Vec<(String, DeclaredSilo)>,
}

fn invalid(what: impl Into<String>, reason: impl Into<String>) -> ApplyError {
    ApplyError::Invalid { what: what.into(), reason: reason.into() }
}

fn compare_silos(
    declared: &BTreeMap<String, DeclaredSilo>,
    inventory: &Inventory,
    base: &Path,
    renew: Option<&str>,
) -> Result<Silos, ApplyError> {
    let mut silos = Silos { changes: Vec::new(), changed: Vec::new(), new: Vec::new() };
    for (name, silo) in declared {
        if !is_good_name(name) {
            return Err(invalid(format!("silo.{name}"), "a silo's name is 1 to 64 of `a-z A-Z 0-9 - _ .`"));
        }
        let labels = silo.labels.iter().map(|(label, value)| format!("{label}={value}"));
        if let Some(wrong) = labels.map(|label| label.parse::<Selector>()).find_map(Result::err) {
            return Err(invalid(format!("silo.{name}.labels"), wrong));
        }
        if silo.reserve_percent > 90 {
            return Err(invalid(format!("silo.{name}.reserve"), "a reserve is at most 90%"));
        }
        if let Some(queue) = &silo.notifications {
            let good = refuse_notifications(silo, queue, base);
            good.map_err(|reason| invalid(format!("silo.{name}.notifications"), reason))?;
        }
        if let Some(Err(wrong)) = silo.price.as_ref().map(Price::card) {
            return Err(invalid(format!("silo.{name}.price"), wrong));
        }
        if silo.scrub.is_some_and(|seconds| seconds > 0 && seconds < SCRUB_LEAST.as_secs()) {
            return Err(invalid(
                format!("silo.{name}.scrub"),
                "a silo is scrubbed once an hour at most, or by order alone (`0s`)",
            ));
        }
        if [silo.rates.read, silo.rates.write].into_iter().flatten().any(|rate| rate < RATE_LEAST) {
            return Err(invalid(format!("silo.{name}.rates"), "a rate is at least 1MiB a second, or 0 for no limit"));
        }
        let (known, renewed) = (inventory.named(name), renew == Some(name));
        if known.is_some_and(|open| open.row.declared == *silo) && !renewed {
            continue;
        }
        let (before, mut after) = (known.map(|open| show_silo(&open.row.declared)), show_silo(silo));
        if renewed {
            after.push_str(", connected anew");
        }
        silos.changes.push(Change { what: format!("silo.{name}"), before, after });
        let Some(open) = known else {
            silos.new.push((name.clone(), silo.clone()));
            continue;
        };
        refuse_another(name, &open.row.declared, silo, base)?;
        if open.is_lost() {
            return Err(invalid(format!("silo.{name}"), SiloCommandError::Lost(name.clone()).to_string()));
        }
        let writes = |root: &&RootRow| root.silo == open.id && root.info.order.write;
        if let Some(root) = inventory.roots.iter().find(writes).filter(|_| silo.access != Access::ReadWrite) {
            let reason = format!("root {} is written to: forget it first", root.info.id);
            return Err(invalid(format!("silo.{name}.access"), reason));
        }
        let connection = open.row.connection.wrapping_add(u32::from(renewed));
        silos.changed.push((open.id, SiloRow { declared: silo.clone(), connection, ..open.row.clone() }));
    }
    if inventory.silos.len() + silos.new.len() > MAX_SILOS {
        return Err(invalid("silo", format!("a namespace has at most {MAX_SILOS} silos")));
    }
    Ok(silos)
}

fn is_good_name(name: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_' || b == b'.';
    (1..=64).contains(&name.len()) && name.bytes().all(good)
}

/// What a silo is does not change; how it is reached may.
fn refuse_another(name: &str, before: &DeclaredSilo, after: &DeclaredSilo, base: &Path) -> Result<(), ApplyError> {
    if before.access != after.access && (before.access == Access::Own || after.access == Access::Own) {
        let reason = match before.access {
            Access::Own => {
                "whose a silo is does not change: what lies in this one are blobs of ours, which are no objects of others; \
                 drain it and take it out, and register its place as another silo"
            }
            Access::ReadOnly | Access::ReadWrite => {
                "whose a silo is does not change: what lies in this one is others', and no blob of ours; register an empty \
                 folder or prefix as a silo of our own beside it"
            }
        };
        return Err(invalid(format!("silo.{name}.access"), reason));
    }
    refuse_other_kind(&before.url, &after.url, base).map_err(|reason| invalid(format!("silo.{name}.url"), reason))
}

/// A queue tells of a bucket that others write to, and is found.
fn refuse_notifications(silo: &DeclaredSilo, queue: &str, base: &Path) -> Result<(), String> {
    if silo.access == Access::Own {
        return Err("nobody else writes to a silo of ours, so that nothing of it is to be told".to_owned());
    }
    let address = Address::parse(&silo.url, base).map_err(|error| error.to_string())?;
    Queue::check(queue, &address)
}

fn show_silo(silo: &DeclaredSilo) -> String {
    let access = match silo.access {
        Access::Own => format!("reserve {}%", silo.reserve_percent),
        Access::ReadOnly => "read-only".to_owned(),
        Access::ReadWrite => "read-write".to_owned(),
    };
    let named = silo.credentials.named();
    let credentials = if named.is_empty() { String::new() } else { format!(", {}", named.join(", ")) };
    let labels: Vec<String> = silo.labels.iter().map(|(label, value)| format!(", {label}={value}")).collect();
    let labels = labels.concat();
    let told = silo.notifications.as_ref().map_or_else(String::new, |queue| format!(", told of by {queue}"));
    let price = silo.price.as_ref().map_or_else(String::new, |price| format!(", price {price}"));
    let scrub = match silo.scrub {
        None => String::new(),
        Some(0) => ", scrubbed by order".to_owned(),
        Some(seconds) => format!(", scrubbed every {} hours", seconds / 3600),
    };
    let rate = |rate: Option<u64>, how: &str| {
        rate.map_or_else(String::new, |rate| format!(", {how} at {} a second", show_size(rate)))
    };
    let rates = [rate(silo.rates.read, "read"), rate(silo.rates.write, "written")].concat();
    format!("{} {access}{credentials}{labels}{told}{price}{scrub}{rates}", silo.url)
}

fn show_policy(policy: &WritePolicy) -> String {
    let each = policy.to.iter().map(|to| match (to.min_size, to.max_size) {
        (0, None) => to.silo.clone(),
        (min, None) => format!("{} from {}", to.silo, show_size(min)),
        (0, Some(max)) => format!("{} up to {}", to.silo, show_size(max)),
        (min, Some(max)) => format!("{} from {} to {}", to.silo, show_size(min), show_size(max)),
    });
    each.collect::<Vec<_>>().join(", ")
}

/// A size exactly, in the largest unit that it is a whole number of.
fn show_size(bytes: u64) -> String {
    let units: [(u64, &str); 8] = [
        (1 << 40, "TiB"),
        (1_000_000_000_000, "TB"),
        (1 << 30, "GiB"),
        (1_000_000_000, "GB"),
        (1 << 20, "MiB"),
        (1_000_000, "MB"),
        (1 << 10, "KiB"),
        (1000, "kB"),
    ];
    let whole = units.iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit));
    whole.map_or_else(|| format!("{bytes} B"), |(unit, name)| format!("{}{name}", bytes / unit))
}

/// No silo's folder or bucket lies in another's.
fn refuse_overlaps(
    declared: &BTreeMap<String, DeclaredSilo>,
    inventory: &Inventory,
    base: &Path,
) -> Result<(), ApplyError> {
    let known = inventory.silos.values().map(|open| &open.row).filter(|row| !declared.contains_key(&row.name));
    let mut others: Vec<(&str, &str, Root)> = known
        .filter_map(|row| Some((row.name.as_str(), row.declared.url.as_str(), Root::of(&row.declared.url, base).ok()?)))
        .collect();
    for (name, silo) in declared {
        let what = || format!("silo.{name}.url");
        let root = Root::of(&silo.url, base).map_err(|error| invalid(what(), error.to_string()))?;
        if let Some((other, url, _)) = others.iter().find(|(_, _, other)| root.overlaps(other)) {
            return Err(invalid(what(), format!("`{}` overlaps silo `{other}`, which is `{url}`", silo.url)));
        }
        others.push((name, &silo.url, root));
    }
    Ok(())
}

/// Amounts are added up, so that all prices are in one currency; but for those of what is free.
fn refuse_currencies(declared: &BTreeMap<String, DeclaredSilo>, inventory: &Inventory) -> Result<(), ApplyError> {
    let known = inventory.silos.values().map(|open| (&open.row.name, &open.row.declared));
    let known = known.filter(|(name, _)| !declared.contains_key(*name));
    let mut first: Option<(&String, &str)> = None;
    for (name, silo) in known.chain(declared) {
        let Some(price) = silo.price.as_ref().filter(|price| price.card().is_ok_and(|card| !card.is_free())) else {
            continue;
        };
        match first {
            None => first = Some((name, price.currency())),
            Some((other, currency)) if currency != price.currency() => {
                let reason = format!("in {}, where the price of silo `{other}` is in {currency}", price.currency());
                return Err(invalid(format!("silo.{name}.price"), reason));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// The kind of service, its endpoint where one is named, and the bucket.
type BucketOf = (&'static str, Option<String>, String);

/// What a silo has for itself.
enum Root {
    Folder(PathBuf),
    /// Whose bucket, at which endpoint, and the prefix.
    Bucket(BucketOf, PathBuf),
    /// Nothing that could overlap.
    Other,
}

impl Root {
    fn of(url: &str, base: &Path) -> Result<Self, BadAddress> {
        Ok(match Address::parse(url, base)? {
            Address::Posix(path) => Self::Folder(path.canonicalize().unwrap_or(path)),
            // On AWS a name is one bucket, whichever region is asked.
            Address::S3 { bucket, prefix, endpoint, .. } => Self::bucket("s3", endpoint, bucket, prefix),
            Address::Azure { container, prefix, account, endpoint } => {
                Self::bucket("azure", endpoint, format!("{account}/{container}"), prefix)
            }
            Address::Gcs { bucket, prefix, endpoint } => Self::bucket("gs", endpoint, bucket, prefix),
            Address::Http { origin, path, .. } => Self::bucket("http", None, origin.to_ascii_lowercase(), path),
            Address::Dav { origin, path } => Self::bucket("dav", None, origin.to_ascii_lowercase(), path),
            Address::Sftp { host, port, path, .. } => {
                let place = format!("{}:{}", host.to_ascii_lowercase(), port.unwrap_or(22));
                Self::bucket("sftp", None, place, path)
            }
            _ => Self::Other,
        })
    }

    fn bucket(kind: &'static str, endpoint: Option<String>, name: String, prefix: String) -> Self {
        Self::Bucket((kind, endpoint.map(|url| url.to_ascii_lowercase()), name), PathBuf::from(prefix))
    }

    fn overlaps(&self, other: &Self) -> bool {
        let nested = |a: &Path, b: &Path| a.starts_with(b) || b.starts_with(a);
        match (self, other) {
            (Self::Folder(one), Self::Folder(other)) => nested(one, other),
            (Self::Bucket(one, prefix), Self::Bucket(other, beside)) => one == other && nested(prefix, beside),
            _ => false,
        }
    }
}

/// What names a silo that there is not, nor would be.
fn refuse_unknown<'a>(
    what: &str,
    mut silos: impl Iterator<Item = &'a str>,
    declared: &Declared,
    inventory: &Inventory,
) -> Result<(), ApplyError> {
    let unknown = silos.find(|name| !declared.silos.contains_key(*name) && inventory.named(name).is_none());
    unknown.map_or(Ok(()), |name| Err(invalid(what, format!("there is no silo `{name}`"))))
}

fn refuse_policy(what: &str, policy: &WritePolicy) -> Result<(), ApplyError> {
    if policy.to.is_empty() {
        return Err(invalid(what, "a write policy names at least one silo"));
    }
    for (index, to) in policy.to.iter().enumerate() {
        let refused = |reason: String| Err(invalid(format!("{what}.to[{index}]"), reason));
        if let Some(max) = to.max_size.filter(|max| *max < to.min_size) {
            let (min, max) = (show_size(to.min_size), show_size(max));
            return refused(format!("no size is at least {min} (min_size) and at most {max} (max_size)"));
        }
        if let Some(first) = policy.to[..index].iter().position(|before| before == to) {
            return refused(format!("the same as to[{first}]: silo `{}` with the same bounds", to.silo));
        }
    }
    Ok(())
}

fn compare_policies(declared: &Declared, inventory: &Inventory) -> Result<(Vec<Change>, Vec<Write>), ApplyError> {
    let (mut changes, mut writes) = (Vec::new(), Vec::new());
    let default =
        declared.write.iter().map(|policy| ("write".to_owned(), inventory.write.as_ref(), write_policy(), policy));
    let buckets = declared.bucket_write.iter().map(|(bucket, policy)| {
        let before = inventory.bucket_write.get(bucket.as_str());
        (format!("bucket.{bucket}.write"), before, bucket_write_policy(bucket.as_str()), policy)
    });
    for (what, before, key, policy) in default.chain(buckets) {
        refuse_unknown(&what, policy.to.iter().map(|to| to.silo.as_str()), declared, inventory)?;
        refuse_policy(&what, policy)?;
        if before != Some(policy) {
            changes.push(Change { what, before: before.map(show_policy), after: show_policy(policy) });
            writes.push(Write::Put(key, encode(policy)));
        }
    }
    Ok((changes, writes))
}

fn compare_objectives(declared: &Declared, inventory: &Inventory) -> Result<(Vec<Change>, Vec<Write>), ApplyError> {
    let (mut changes, mut writes) = (Vec::new(), Vec::new());
    for (name, objective) in &declared.objectives {
        let what = format!("objective.{name}");
        if !is_good_name(name) {
            return Err(invalid(what, "an objective's name is 1 to 64 of `a-z A-Z 0-9 - _ .`"));
        }
        let condition = objective.check().map_err(|wrong| invalid(what.as_str(), wrong.to_string()))?;
        refuse_unknown(&what, objective.named(), declared, inventory)?;
        let known = |silo: &str| inventory.named(silo).is_some() || declared.silos.contains_key(silo);
        let known = condition.map_or(Ok(()), |condition| condition.refuse_unknown(known));
        known.map_err(|wrong| invalid(what.as_str(), wrong.to_string()))?;
        let before = inventory.objectives.get(name).map(|(wish, _)| wish);
        let paused = objective.paused.or(before.and_then(|before| before.paused));
        let objective = Objective { paused, ..objective.clone() };
        if before != Some(&objective) {
            changes.push(Change { what, before: before.map(Objective::to_string), after: objective.to_string() });
            writes.push(Write::Put(objectives::objective(name), objectives::encode(&objective)));
        }
    }
    let new = declared.objectives.keys().filter(|name| !inventory.objectives.contains_key(*name)).count();
    if inventory.objectives.len() + new > MAX_OBJECTIVES {
        return Err(invalid("objective", format!("a namespace has at most {MAX_OBJECTIVES} objectives")));
    }
    Ok((changes, writes))
}

/// A silo's id in its marker. The same for the same silo of the same namespace, so that a registration that broke off
/// between marker and row can be repeated.
fn marker_id(namespace: &str, silo: &str) -> String {
    let hash = blake3::hash(format!("{namespace}/{silo}").as_bytes());
    const_hex::encode(&hash.as_bytes()[..16])
}

/// What is asked of the silos that are declared.
#[derive(Default)]
pub(crate) struct How<'a> {
    /// Nothing is touched.
    pub dry_run: bool,
    /// A silo that is connected anew though it is declared as it was.
    pub renew: Option<&'a str>,
    /// What is declared is one silo that there is already: a dry run looks whether it is found there, too.
    pub known: bool,
}

/// Why the rows were not written.
enum Refusal {
    /// Silos or settings changed since they were compared.
    Changed,
    Not(Fault),
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Not(fault)
    }
}

impl Namespace {
    /// Declares silos and write policies: connects, claims and probes new silos first, then commits all or nothing.
    /// A known silo may be declared elsewhere as long as it is found there. With `dry_run` nothing is touched and the changes
    /// are those it would make.
    pub async fn apply(&self, declared: &Declared, dry_run: bool) -> Result<Vec<Change>, ApplyError> {
        self.declare(declared, &How { dry_run, ..How::default() }).await
    }

    /// What was compared is committed only as long as nobody changed silos or settings meanwhile; else it is compared again.
    pub(crate) async fn declare(&self, declared: &Declared, how: &How<'_>) -> Result<Vec<Change>, ApplyError> {
        for _ in 0..COMMIT_TRIES {
            self.refresh_inventory(false).await?;
            let inventory = self.inventory();
            let base = &self.options.base;
            let mut silos = compare_silos(&declared.silos, &inventory, base, how.renew)?;
            refuse_overlaps(&declared.silos, &inventory, base)?;
            refuse_currencies(&declared.silos, &inventory)?;
            let (policies, mut writes) = compare_policies(declared, &inventory)?;
            let mut changes = std::mem::take(&mut silos.changes);
            changes.extend(policies);
            let (objectives, wishes) = compare_objectives(declared, &inventory)?;
            changes.extend(objectives);
            writes.extend(wishes);
            if how.dry_run && how.known {
                self.look_for(&silos).await?;
            }
            if how.dry_run || changes.is_empty() {
                return Ok(changes);
            }
            for (id, row) in &mut silos.changed {
                self.meet_changed(inventory.silo(*id)?, row).await?;
                writes.push(Write::Put(silo_key(*id), row.encode()));
            }
            let new = self.meet_new(silos.new).await?;
            match self.commit_declared(new, writes, inventory.revision).await {
                Ok(()) => {}
                Err(Refusal::Changed) => continue,
                Err(Refusal::Not(fault)) => return Err(fault.into()),
            }
            self.refresh_inventory(true).await?;
            for change in &changes {
                tracing::info!(what = %change.what, after = %change.after, "declared");
            }
            return Ok(changes);
        }
        Err(Fault::Unavailable("silos and settings are changed too often".to_owned()).into())
    }

    /// Whether known silos are found where they would be.
    async fn look_for(&self, silos: &Silos) -> Result<(), ApplyError> {
        for (_, row) in &silos.changed {
            self.recognize(row).await.map_err(|reason| refused(row, reason))?;
        }
        Ok(())
    }

    async fn meet_changed(&self, known: &OpenSilo, row: &mut SiloRow) -> Result<(), ApplyError> {
        if known.row.is_reached_as(row) {
            return Ok(());
        }
        self.meet_again(known, row).await.map_err(|reason| refused(row, reason))
    }

    async fn meet_new(&self, new: Vec<(String, DeclaredSilo)>) -> Result<Vec<SiloRow>, ApplyError> {
        let mut rows = Vec::with_capacity(new.len());
        for (name, declared) in new {
            let mut row = SiloRow {
                marker: marker_id(&self.id, &name),
                name,
                declared,
                cordoned: false,
                paused: false,
                facts: holdall_silos::Facts::default(),
                created: self.clock.now(),
                events_token: None,
                connection: 0,
                lost: None,
            };
            self.meet(&mut row).await.map_err(|reason| refused(&row, reason))?;
            rows.push(row);
        }
        Ok(rows)
    }

    async fn commit_declared(&self, new: Vec<SiloRow>, writes: Vec<Write>, compared_at: i64) -> Result<(), Refusal> {
        let decide = move |rows: &Rows| -> Result<_, Refusal> {
            if usage::read(rows.get(&revision())) != compared_at {
                return Err(Refusal::Changed);
            }
            let mut next: SiloId = decode_row(rows.get(&next_silo()))?.unwrap_or(1);
            let mut writes = writes.clone();
            for row in &new {
                writes.push(Write::Put(silo_key(next), row.encode()));
                next += 1;
            }
            writes.push(Write::Put(next_silo(), encode(&next)));
            writes.push(Write::Add(revision(), 1));
            Ok((writes, ()))
        };
        let reads = vec![Read::Row(next_silo()), Read::Row(revision())];
        engine::commit(&*self.engine, reads, decide).await.map_err(|error| match error {
            NotCommitted::Refused(refusal) => refusal,
            NotCommitted::Engine(error) => Refusal::Not(error.into()),
        })
    }
}

fn refused(row: &SiloRow, reason: String) -> ApplyError {
    ApplyError::Silo { silo: row.name.clone(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::WriteTarget;

    fn silo(url: &str) -> DeclaredSilo {
        DeclaredSilo::own(url)
    }

    fn overlap(one: &str, other: &str) -> Option<String> {
        let declared = [("a".to_owned(), silo(one)), ("b".to_owned(), silo(other))].into();
        let refused = refuse_overlaps(&declared, &Inventory::default(), Path::new("/nowhere"));
        refused.err().map(|error| error.to_string())
    }

    /// A bucket and a prefix of the same bucket were accepted as two silos, where folders within folders were refused.
    #[test]
    fn no_silo_lies_within_another() {
        for (one, other) in [
            ("file:x", "file:x/y"),
            ("file:/nowhere/x", "file:x"),
            ("s3://archive", "s3://archive/sub"),
            ("s3://archive/sub/deep?region=eu-west-1", "s3://archive/sub"),
            ("s3://archive?endpoint=http://HOST:1", "s3://archive?endpoint=http://host:1/"),
            ("azure://cold?account=one", "azure://cold/sub?account=one"),
            ("gs://archive", "gs://archive/sub"),
            ("https://HOST/data?list=names", "https://host/data/sub"),
            ("davs://host/data", "davs://host/data/sub"),
            ("sftp://me@NAS/srv", "sftp://you@nas:22/srv/sub"),
        ] {
            let told = format!("silo.b.url: `{other}` overlaps silo `a`, which is `{one}`");
            assert_eq!(overlap(one, other), Some(told));
        }
        for (one, other) in [
            ("file:x", "file:xy"),
            ("s3://archive/one", "s3://archive/other"),
            ("s3://archive/sub", "s3://archive/subway"),
            ("s3://archive", "s3://archives"),
            ("s3://archive", "gs://archive"),
            ("azure://cold?account=one", "azure://cold?account=two"),
            ("s3://archive", "s3://archive?endpoint=http://host:1"),
        ] {
            assert_eq!(overlap(one, other), None, "{one} {other}");
        }
    }

    #[test]
    fn a_queue_tells_of_buckets_of_others_alone() {
        let told = |url: &str, access: Access, queue: &str| {
            let silo = DeclaredSilo { access, ..silo(url) };
            refuse_notifications(&silo, queue, Path::new("/nowhere")).err()
        };
        let queue = "https://sqs.eu-central-1.amazonaws.com/1234/theirs";
        assert_eq!(told("s3://theirs", Access::ReadOnly, queue), None);
        let reason = |told: Option<String>| told.unwrap().split(' ').take(3).collect::<Vec<_>>().join(" ");
        assert_eq!(reason(told("s3://theirs", Access::Own, queue)), "nobody else writes");
        assert_eq!(reason(told("file:theirs", Access::ReadOnly, queue)), "only a bucket");
        assert_eq!(reason(told("s3://theirs", Access::ReadOnly, "arn:aws:sqs:eu-central-1:1234:q")), "a queue's URL");
        let silo =
            DeclaredSilo { access: Access::ReadOnly, notifications: Some(queue.to_owned()), ..silo("s3://theirs") };
        assert_eq!(show_silo(&silo), format!("s3://theirs read-only, told of by {queue}"));
    }

    #[test]
    fn prices_are_in_one_currency() {
        let priced = |currency: &str, storage: f64| {
            let rate = crate::price::Rate::of(storage).ok();
            let price = Price { currency: Some(currency.to_owned()), storage: rate, ..Price::default() };
            DeclaredSilo { price: Some(price), ..silo("file:x") }
        };
        let told = |one: DeclaredSilo, other: DeclaredSilo| {
            let declared = [("a".to_owned(), one), ("b".to_owned(), other)].into();
            refuse_currencies(&declared, &Inventory::default()).err().map(|error| error.to_string())
        };
        let refused = "silo.b.price: in EUR, where the price of silo `a` is in USD";
        assert_eq!(told(priced("USD", 1.0), priced("EUR", 0.5)).as_deref(), Some(refused));
        assert_eq!(told(priced("EUR", 1.0), priced("EUR", 0.5)), None);
        assert_eq!(told(priced("USD", 0.0), priced("EUR", 0.5)), None);
        assert_eq!(told(silo("file:x"), priced("EUR", 0.5)), None);
        assert_eq!(show_silo(&priced("EUR", 0.5)), "file:x reserve 5%, price EUR storage 0.5");
    }

    /// Policies that no write can ever satisfy were accepted and shown in plain bytes.
    #[test]
    fn a_write_policy_that_cannot_work_is_refused_with_its_place() {
        let target = |silo: &str, min_size: u64, max_size: Option<u64>| WriteTarget {
            silo: silo.to_owned(),
            min_size,
            max_size,
        };
        let told = |to| refuse_policy("bucket.logs.write", &WritePolicy { to }).map_err(|error| error.to_string());
        assert_eq!(told(Vec::new()).unwrap_err(), "bucket.logs.write: a write policy names at least one silo");
        assert_eq!(
            told(vec![target("a", 0, None), target("b", 2 << 20, Some(65536))]).unwrap_err(),
            "bucket.logs.write.to[1]: no size is at least 2MiB (min_size) and at most 64KiB (max_size)"
        );
        assert_eq!(
            told(vec![target("a", 0, Some(9)), target("b", 0, None), target("a", 0, Some(9))]).unwrap_err(),
            "bucket.logs.write.to[2]: the same as to[0]: silo `a` with the same bounds"
        );
        assert_eq!(told(vec![target("a", 0, Some(9)), target("b", 9, Some(9)), target("a", 10, None)]), Ok(()));
    }

    #[test]
    fn sizes_are_shown_exactly() {
        let seen = [0, 1, 1000, 1024, 1025, 64 << 20, 1_000_000_000, 1_500_000_000, 3 << 40].map(show_size);
        assert_eq!(seen, ["0 B", "1 B", "1kB", "1KiB", "1025 B", "64MiB", "1GB", "1500MB", "3TiB"]);
    }
}
