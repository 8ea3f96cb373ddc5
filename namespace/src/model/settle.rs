//! The end of a case: everything lands or is lost, the dead are buried, sweeps run; then index, silos and counters are
//! counted again, and what clients saw is held against the reference model.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use holdall_silos::BlobName;

use super::client::{KEYS, PARTS, key as object_key};
use super::held::Held;
use super::history::{Needs, Register, violations};
use super::index::short;
use super::world::{GATEWAYS, World};
use crate::extent::{Location, Number, ReplicaState};
use crate::limits::{COMPLETED_KEPT, LEASE};
use crate::reference::targets;
use crate::table::extents::{ExtentRow, read_extent};
use crate::table::objects::ObjectRow;
use crate::table::packs::{self, PackId, read_pack};
use crate::table::refs::{Target, read_referrer};
use crate::table::sessions::read_session;
use crate::table::uploads::{ManifestRow, PartRow, UploadRow, UploadState, part as part_key, read_part, upload};
use crate::table::usage::{self, Counted};
use crate::table::{decode, key, read_number};

impl World {
    /// Ends the case and looks at everything.
    pub(super) fn settle(&mut self) {
        self.finish();
        while self.index.late() + self.silos.late() > 0 {
            self.index.land_one(self.sim.below(2) == 0);
            self.silos.land_one(self.sim.below(3) == 0);
        }
        if self.sim.found().is_some() {
            return;
        }
        let crash = self.sim.below(3);
        for at in 0..GATEWAYS {
            if crash == 0 || (crash == 1 && at == 1) {
                self.crash(at);
            }
        }
        self.sim.set_quiet(true);
        if self.gateways.iter().all(|gateway| gateway.up().is_none()) {
            self.reopen(0);
        }
        self.sim.note(|| "--- the end".to_owned());
        self.come_to_rest();
        if self.sim.found().is_some() {
            return;
        }
        self.still_serves();
        self.read_all();
        self.put_in_order();
        for gateway in &self.gateways {
            if let Some(namespace) = gateway.up() {
                self.now(namespace.core.find_packs()).expect("nothing breaks");
            }
        }
        self.clean_up();
        self.sim.pass(COMPLETED_KEPT + Duration::from_hours(3));
        self.clean_up();
        // What parts of uploads held goes with objects by now.
        self.put_in_order();
        self.clean_up();
        self.read_all();
        self.read_open_uploads();
        self.look_where_all_is();
        self.recount();
        let events = self.log.events();
        for register in violations(&events) {
            let seen: Vec<_> = events.iter().filter(|event| event.register == register).cloned().collect();
            self.sim.note(|| format!("no order: {seen:#?}"));
            self.sim.wrong(|| format!("what clients saw of {register:?} has no order"));
        }
    }

    #[expect(clippy::unused_self, reason = "reads as what it is: now, in this world")]
    pub(super) fn now<T>(&self, what: impl Future<Output = T>) -> T {
        what.now_or_never().expect("it is quiet")
    }

    /// Nothing that went wrong keeps a gateway from serving.
    fn still_serves(&mut self) {
        for at in 0..GATEWAYS {
            let Some(namespace) = self.gateways[at].up() else { continue };
            for _ in 0..3 {
                self.now(namespace.core.beat_once());
                for open in namespace.inventory().silos.values() {
                    self.now(open.ask(namespace.id()));
                }
            }
            let bytes = self.bytes();
            let before = self.log.written(0).len();
            let client = self.client(namespace);
            self.now(client.clone().put(0, bytes.clone(), Needs::Nothing, false));
            let head = self.now(client.namespace.head(&self.bucket, &object_key(0)));
            let written = head.is_ok_and(|object| self.log.known(&object.etag) == Some(self.log.tag(&bytes)));
            if !written || self.log.written(0).len() != before + 1 {
                self.sim.wrong(|| format!("gateway {at} does not serve any more"));
            }
        }
    }

    fn read_all(&mut self) {
        for gateway in &self.gateways {
            let Some(namespace) = gateway.up() else { continue };
            for at in 0..KEYS {
                self.now(self.client(namespace.clone()).get(at, false));
            }
            self.now(self.client(namespace).list());
        }
    }

    pub(super) fn clean_up(&mut self) {
        for _ in 0..6 {
            for gateway in &self.gateways {
                let Some(namespace) = gateway.up() else { continue };
                self.now(namespace.core.beat_once());
                if let Err(fault) = self.now(namespace.core.bury_silent()) {
                    self.sim.wrong(|| format!("the dead are not buried: {fault}"));
                }
                if let Err(fault) = self.now(namespace.core.collect_ended()) {
                    self.sim.wrong(|| format!("what the dead left is not collected: {fault}"));
                }
                if let Err(fault) = self.now(namespace.sweep(true)) {
                    self.sim.wrong(|| format!("a sweep breaks off: {fault}"));
                }
            }
            for gateway in &self.gateways {
                if let Some(namespace) = gateway.up() {
                    self.now(namespace.core.beat_once());
                }
            }
            self.sim.pass(LEASE + Duration::from_secs(1));
        }
    }

    /// What uploads hold that nobody ended.
    fn read_open_uploads(&self) {
        let rows: BTreeMap<Bytes, Bytes> = self.index.truth.every_row().into_iter().collect();
        for (at, of) in self.log.uploads().iter().enumerate() {
            let row = rows.get(&upload(self.bucket.incarnation, &object_key(of.key), of.id.0)[..]);
            let open = row.is_some_and(|row| {
                let row: UploadRow = decode(row).expect("the row reads");
                matches!(row.state, UploadState::Open { .. })
            });
            if !open {
                if of.endings.is_empty() {
                    self.sim.wrong(|| format!("upload {at} is gone, though nobody ended it"));
                }
                continue;
            }
            if of.endings.iter().any(|end| matches!(end.said, super::log::Said::Yes(_))) {
                self.sim.wrong(|| format!("upload {at} is open, though it ended"));
            }
            for number in 1..=PARTS {
                let row = rows.get(&part_key(of.id.0, number)[..]);
                let tag = row.and_then(|row| {
                    let row: PartRow = decode(row).expect("the row reads");
                    self.log.known(&const_hex::encode(row.md5))
                });
                self.log.saw(Register::Part(at, number), self.sim.tick(), tag, None);
            }
        }
    }

    /// Counts everything again.
    fn recount(&self) {
        let recount = Recount::read(self);
        for what in recount.differences(self) {
            self.sim.wrong(|| what);
        }
    }
}

/// The index, read whole.
#[derive(Default)]
struct Recount {
    rows: BTreeMap<Bytes, Bytes>,
    referrers: BTreeMap<Target, BTreeSet<Number>>,
    stored: BTreeMap<Target, BTreeSet<Number>>,
    counted: BTreeMap<Vec<u8>, i64>,
    blobs: BTreeSet<(u32, String)>,
    wrong: Vec<String>,
}

impl Recount {
    fn read(world: &World) -> Self {
        let rows: BTreeMap<Bytes, Bytes> = world.index.truth.every_row().into_iter().collect();
        let mut recount = Self { rows, ..Self::default() };
        let rows: Vec<(Bytes, Bytes)> = recount.rows.iter().map(|(key, row)| (key.clone(), row.clone())).collect();
        for (row_key, row) in &rows {
            recount.row(world, row_key, row);
        }
        recount
    }

    fn count(&mut self, of: Counted, size: u64) {
        let [count, bytes] = usage::keys(of);
        *self.counted.entry(count).or_default() += 1;
        *self.counted.entry(bytes).or_default() += size as i64;
    }

    fn row(&mut self, world: &World, row_key: &Bytes, row: &Bytes) {
        match row_key[0] {
            key::OBJECTS => {
                let row: ObjectRow = decode(row).expect("the row reads");
                for target in targets(&row.data) {
                    self.referrers.entry(target).or_default().insert(row.version);
                }
                self.count(Counted::Bucket(world.bucket.incarnation), row.size);
                self.count(Counted::Account(world.bucket.owner), row.size);
            }
            key::PARTS => self.part(row_key, row),
            key::EXTENTS => self.extent(world, row_key, row),
            key::MANIFESTS => {
                let head: ManifestRow = decode(row).expect("the row reads");
                let id = Number {
                    session: read_number(row_key, 1).expect("a key of the table"),
                    number: read_number(row_key, 9).expect("a key of the table"),
                };
                self.stored.entry(Target::Manifest(id)).or_default().extend(head.first);
            }
            key::REFS => {
                let id = Number {
                    session: read_number(row_key, 2).expect("a key of the table"),
                    number: read_number(row_key, 10).expect("a key of the table"),
                };
                let target = if row_key[1] == 0 { Target::Extent(id) } else { Target::Manifest(id) };
                self.stored.entry(target).or_default().extend(read_referrer(row_key));
            }
            key::UPLOADS => {
                let state = decode::<UploadRow>(row).expect("the row reads").state;
                if !matches!(state, UploadState::Open { .. }) {
                    self.wrong.push(format!("an upload's row is left: {state:?}"));
                }
            }
            key::MOVES | key::RETIRED | key::ENDED | key::LEFT | key::ATTRIBUTES | key::BLOCKS => {
                self.wrong.push(format!("a row is left: {}", short(row_key)));
            }
            key::ALIVE | key::BEATS => {
                let session = read_session(row_key);
                let up = |at: usize| world.gateways[at].up().map(|namespace| namespace.session().id);
                // That bug must be found by what it lets happen, not by the row that it leaves.
                let meant = row_key[0] == key::ALIVE && crate::seeded_bug!("bury-without-fence");
                if !meant && !(0..GATEWAYS).any(|at| up(at) == session) {
                    self.wrong.push(format!("a dead session's row is left: {}", short(row_key)));
                }
            }
            _ => {}
        }
    }

    fn part(&mut self, row_key: &Bytes, row: &Bytes) {
        let row: PartRow = decode(row).expect("the row reads");
        let data = crate::table::objects::Data::Slices(row.slices.clone());
        for target in targets(&data) {
            self.referrers.entry(target).or_default().insert(row.version);
        }
        let id = Number {
            session: read_number(row_key, 1).expect("a key of the table"),
            number: read_number(row_key, 9).expect("a key of the table"),
        };
        let number = read_part(row_key).expect("a key of the table");
        let head = self.rows.get(&crate::table::uploads::manifest(id)[..]);
        let named = head.is_some_and(|head| {
            let head: ManifestRow = decode(head).expect("the row reads");
            head.parts.iter().any(|(named, _)| *named == number)
        });
        let open = self.rows.iter().any(|(row_key, row)| {
            row_key[0] == key::UPLOADS
                && crate::table::uploads::read_upload(row_key).is_some_and(|(_, _, of)| of == id)
                && matches!(decode::<UploadRow>(row).expect("the row reads").state, UploadState::Open { .. })
        });
        if !named && !open {
            self.wrong.push(format!("a part's row is left: {}", short(row_key)));
        }
    }

    fn extent(&mut self, world: &World, row_key: &Bytes, row: &Bytes) {
        let row: ExtentRow = decode(row).expect("the row reads");
        let id = read_extent(row_key).expect("a key of the table");
        self.stored.entry(Target::Extent(id)).or_default().extend(row.first);
        let alone = world.plan.wish.is_none();
        if row.replicas.is_empty() || (alone && row.replicas.len() > 1) {
            self.wrong.push(format!("extent {id} has {} replicas", row.replicas.len()));
        }
        for replica in &row.replicas {
            match replica.state {
                ReplicaState::Verified => self.count(Counted::Silo(replica.silo), row.size),
                ReplicaState::Retired => self.wrong.push(format!("extent {id} has a retired replica")),
            }
            if let Some((blob, _)) = replica.location.ours(row.size) {
                self.blobs.insert((replica.silo, blob.to_string()));
            }
            if let (Some(pack), Location::Pack { length, .. }) =
                (packs::of(replica.silo, &replica.location), &replica.location)
            {
                *self.counted.entry(packs::named(pack)).or_default() += *length as i64;
            }
        }
    }

    fn differences(&self, world: &World) -> Vec<String> {
        let mut wrong = self.wrong.clone();
        for target in self.referrers.keys().chain(self.stored.keys()) {
            if self.referrers.get(target) != self.stored.get(target) {
                wrong.push(format!(
                    "the references of {target:?} are {:?}, its referrers {:?}",
                    self.stored.get(target),
                    self.referrers.get(target)
                ));
            }
        }
        let held = world.index.held();
        for silo in (1..=3).filter(|silo| !held.lost().contains(silo)) {
            for name in world.silos.names(silo) {
                if !self.blobs.contains(&(silo, name.clone())) {
                    wrong.push(format!("bytes are left in silo {silo}: {name}"));
                }
            }
        }
        for (silo, name) in &self.blobs {
            let blob: BlobName = name.parse().expect("a name of ours");
            let gone = held.lost().contains(silo) || held.is_gone_of(&blob);
            if !gone && world.silos.size(*silo, &blob).is_none() {
                wrong.push(format!("bytes are missing in silo {silo}: {name}"));
            }
        }
        wrong.extend(self.wrong_counts());
        wrong.extend(self.thin_packs(&held));
        wrong
    }

    /// Packs that should have been rewritten, and rows of packs that are none. What landed in a pack after it was looked
    /// at is not counted.
    fn thin_packs(&self, held: &Held) -> Vec<String> {
        let rows = self.rows.keys().filter(|row_key| row_key[0] == key::PACKS);
        let all: BTreeSet<PackId> = rows.map(|row_key| read_pack(row_key).expect("a key of the table")).collect();
        let mut wrong = Vec::new();
        // Bytes that nothing is left of, or that went with a lost silo, are not copied.
        let stays = |pack: &PackId| held.lost().contains(&pack.silo) || held.is_gone_of(&pack.name());
        for pack in all.into_iter().filter(|pack| !stays(pack)) {
            let named = self.counted.get(&packs::named(pack)).copied().unwrap_or(0) as u64;
            let length = self.rows.get(&packs::length(pack)[..]).map(|row| decode::<u64>(row).expect("the row reads"));
            if length.is_none_or(|length| named * 2 < length) || named == 0 {
                wrong.push(format!("pack {} of {length:?} bytes is left, of which {named} are named", pack.name()));
            }
        }
        wrong
    }

    fn wrong_counts(&self) -> Vec<String> {
        let counter = |row_key: &Bytes| match row_key[0] {
            key::USAGE => true,
            key::PACKS => row_key.last() == Some(&0),
            _ => false,
        };
        let stored = self.rows.iter().filter(|(row_key, _)| counter(row_key));
        let stored: BTreeMap<Vec<u8>, i64> =
            stored.map(|(row_key, row)| (row_key.to_vec(), usage::read(Some(row)))).collect();
        let keys: BTreeSet<&Vec<u8>> = stored.keys().chain(self.counted.keys()).collect();
        let of = |counts: &BTreeMap<Vec<u8>, i64>, key: &Vec<u8>| counts.get(key).copied().unwrap_or(0);
        let differs = keys.into_iter().filter(|key| of(&stored, key) != of(&self.counted, key));
        let show = |key: &Vec<u8>| {
            let kind = char::from(key[1]);
            format!("counter {kind}{:x?} is {}, counted {}", &key[2..], of(&stored, key), of(&self.counted, key))
        };
        differs.map(show).collect()
    }
}
