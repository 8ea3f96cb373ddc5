//! Objects that are kept in several silos: what is wished of them and declared, the work that carries it out, and steps that nobody
//! wishes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::plan::{Kept, Wished};
use super::sim::Sim;
use super::world::{GATEWAYS, Gateway, Surprise, World};
use crate::extent::{Replica, SiloId};
use crate::inventory::Declared;
use crate::mover::{Mover, Pacer};
use crate::namespace::Namespace;
use crate::objective::{Ack, AlignOptions, Fill, Level, Objective, Scope};
use crate::plan::{Move, Step};
use crate::scrub::{Item, Scrubber, sort};
use crate::table::extents::{ExtentRow, read_extent};
use crate::table::{after_prefix, decode, key};

/// Names of the silos, by number.
pub(super) const NAMES: [&str; 3] = ["one", "two", "three"];

pub(super) fn name(silo: SiloId) -> &'static str {
    NAMES[silo as usize - 1]
}

/// Bytes between which a silo is kept that fills: a few objects.
pub(super) const LEVELS: (u64, u64) = (12, 24);

/// Work of a gateway, where there are three silos.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// What changed is compared with what is wished.
    AlignChanged,
    /// Everything is.
    AlignAll,
    Wish(Wished),
    Step,
    /// Each gateway gives up another replica of one extent.
    Drop,
    /// What readers met damaged is looked at.
    ScrubMet,
    /// Everything in a silo is.
    Scrub(SiloId),
    Switch,
    Job,
    Lose(SiloId),
}

impl Act {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::AlignChanged => "align",
            Self::AlignAll => "align all",
            Self::Wish(_) => "wish",
            Self::Step => "step",
            Self::Drop => "drop",
            Self::ScrubMet => "scrub met",
            Self::Scrub(_) => "scrub",
            Self::Switch => "switch",
            Self::Job => "job",
            Self::Lose(_) => "lose",
        }
    }

    /// Whether a gateway does several at once.
    pub(super) fn is_many(self) -> bool {
        matches!(self, Self::Step | Self::Drop)
    }
}

impl Wished {
    fn objective(self) -> Objective {
        let silos = |silos: &[SiloId]| silos.iter().map(|silo| name(*silo).parse().expect("a good name")).collect();
        let copies = |number: u32| Objective { copies: Some(number), ..Objective::default() };
        match self {
            Self::Nothing => Objective { paused: Some(true), ..copies(2) },
            Self::Two => copies(2),
            Self::TwoOnAny => Objective { place: silos(&[1, 2, 3]), ..copies(2) },
            Self::Three => copies(3),
            Self::TwoElsewhere => Objective { never: silos(&[2]), ..copies(2) },
            Self::OnThird => Objective { place: silos(&[3]), ..Objective::default() },
            Self::Spare => Objective { copy_on_read: silos(&[3]), max: Some(1 << 20), ..copies(2) },
            Self::OneOnThird => {
                let on = Scope { bucket: Some("bucket".to_owned()), prefix: "b".to_owned() };
                Objective { on, place: silos(&[3]), ..Objective::default() }
            }
            Self::Fill | Self::FillTwo => {
                let fill = Some(Fill { low: Level::Bytes(LEVELS.0), high: Level::Bytes(LEVELS.1) });
                let copies = (self == Self::FillTwo).then_some(2);
                Objective { place: silos(&[1, 2, 3]), fill, copies, ..Objective::default() }
            }
            Self::TwoAtOnce => Objective { ack: Ack::All, ..copies(2) },
            Self::ThreeAtOnce => Objective { ack: Ack::All, ..copies(3) },
        }
    }

    /// It as all that is declared.
    pub(super) fn declared(self) -> Declared {
        let objective = Objective { paused: Some(self == Self::Nothing), ..self.objective() };
        Declared { objectives: [("wish".to_owned(), objective)].into(), ..Declared::default() }
    }
}

/// How objects are kept where they are wanted.
pub(super) fn align_options() -> AlignOptions {
    AlignOptions { every: Duration::from_hours(1), pace: crate::job::Pace::default(), budget: None }
}

/// Does it, to its end.
pub(super) async fn work(act: Act, at: usize, namespace: Arc<Namespace>, sim: Arc<Sim>) {
    let said = match act {
        Act::AlignChanged | Act::AlignAll => {
            namespace.core.write_heat().await;
            format!("{:?}", namespace.core.align_once(act == Act::AlignAll).await)
        }
        Act::Wish(wished) => format!("{:?}", namespace.apply(&wished.declared(), false).await),
        Act::Step => step(&namespace, &sim, None).await,
        Act::Drop => step(&namespace, &sim, Some(at)).await,
        Act::ScrubMet => {
            namespace.core.scrub_met(&pacer(&namespace)).await;
            String::new()
        }
        Act::Scrub(silo) => scrub(&namespace, silo).await,
        Act::Switch => switch(&namespace, &sim).await,
        Act::Job => format!("{:?}", namespace.core.run_jobs_here().await),
        Act::Lose(silo) => lose(&namespace, &sim, silo).await,
    };
    sim.note(|| format!("{act:?}: {said}"));
}

fn pacer(namespace: &Namespace) -> Arc<Pacer> {
    Arc::new(Pacer::new(Arc::clone(&namespace.core.clock), None, CancellationToken::new()))
}

async fn extents(namespace: &Namespace) -> Vec<(Bytes, ExtentRow)> {
    let table = vec![key::EXTENTS]..after_prefix(&[key::EXTENTS]);
    let rows = namespace.core.engine.range(table, 99, usize::MAX).await.unwrap_or_default();
    rows.into_iter().map(|(row_key, row)| (row_key, decode(&row).expect("the row reads"))).collect()
}

/// Some step of an extent, and often of all that lie with it; or one that gives up its first or last replica.
async fn step(namespace: &Arc<Namespace>, sim: &Arc<Sim>, drops: Option<usize>) -> String {
    let rows = extents(namespace).await;
    let least = if drops.is_some() { 2 } else { 1 };
    let live: Vec<_> = rows.iter().filter(|(_, row)| row.verified().count() >= least).collect();
    if live.is_empty() {
        return "there is none".to_owned();
    }
    let drawn = match drops {
        Some(_) => live[0],
        None => live[sim.below(live.len() as u64) as usize],
    };
    let verified: Vec<&Replica> = drawn.1.verified().collect();
    let from = match drops {
        Some(at) => verified[if at == 0 { 0 } else { verified.len() - 1 }].silo,
        None => verified[sim.below(verified.len() as u64) as usize].silo,
    };
    let (kind, to) = (if drops.is_some() { 2 } else { sim.below(3) }, 1 + sim.below(3) as SiloId);
    let planned = |(row_key, row): &(Bytes, ExtentRow)| {
        row.verified_in(from)?;
        let (step, to) = match kind {
            2 => (Step::Drop { least: 1 }, from),
            _ if row.verified_in(to).is_some() => return None,
            0 => (Step::Copy, to),
            _ => (Step::Move, to),
        };
        Some(Move {
            step,
            extent: read_extent(row_key).expect("a key of the table"),
            bytes: row.size,
            from,
            to,
            by: None,
        })
    };
    let all = namespace.core.is_packed(drawn.1.size) && sim.chance(500);
    let moves: Vec<Move> =
        if all { rows.iter().filter_map(planned).collect() } else { planned(drawn).into_iter().collect() };
    if moves.is_empty() {
        return "it is there".to_owned();
    }
    let (core, pacer) = (&namespace.core, pacer(namespace));
    let mover = Mover { core, job: 1, pacer: &pacer, for_a_write: false, watch: &|_, _| {} };
    let moved = mover.carry_out_all(moves).await;
    format!("{moved:?}")
}

/// Moves some extent between the first two silos, and sometimes all that lie with it.
pub(super) async fn move_some(namespace: Arc<Namespace>, sim: &Arc<Sim>) {
    let rows = extents(&namespace).await;
    if rows.is_empty() {
        return;
    }
    let planned = |(row_key, row): &(Bytes, ExtentRow)| {
        let from = row.verified().next().map_or(1, |replica| replica.silo);
        let (extent, bytes) = (read_extent(row_key).expect("a key of the table"), row.size);
        Move { step: Step::Move, extent, bytes, from, to: 3 - from, by: None }
    };
    let drawn = planned(&rows[sim.below(rows.len() as u64) as usize]);
    let mut moves = vec![drawn.clone()];
    if namespace.core.is_packed(drawn.bytes) && sim.chance(500) {
        let beside = rows.iter().map(planned).filter(|other| other.from == drawn.from && other.extent != drawn.extent);
        moves.extend(beside);
    }
    let pacer = pacer(&namespace);
    let mover = Mover { core: &namespace.core, job: 1, pacer: &pacer, for_a_write: false, watch: &|_, _| {} };
    for (planned, outcome) in mover.carry_out_all(moves).await {
        sim.note(|| format!("moved {}: {outcome:?}", planned.extent));
    }
}

/// Looks at all that a silo holds.
async fn scrub(namespace: &Arc<Namespace>, silo: SiloId) -> String {
    let rows = extents(namespace).await;
    let id = |row_key: &Bytes| read_extent(row_key).expect("a key of the table");
    let items = rows.into_iter().filter_map(|(row_key, row)| Item::of(id(&row_key), row, silo));
    let (core, pacer, mut came) = (&namespace.core, pacer(namespace), Vec::new());
    for batch in sort(items.collect()) {
        let mover = Mover { core, job: 1, pacer: &pacer, for_a_write: false, watch: &|_, _| {} };
        came.push(Scrubber { core, mover, silo }.look(batch).await);
    }
    format!("{came:?}")
}

/// The first silo is switched to the third one; what is under way ends one way or the other.
async fn switch(namespace: &Arc<Namespace>, sim: &Arc<Sim>) -> String {
    let inventory = namespace.inventory();
    let begun = !inventory.switches.is_empty();
    let taken_out = inventory.named(name(1)).is_some_and(|open| open.row.cordoned);
    match (begun, sim.below(2)) {
        (false, _) if taken_out => "it was switched".to_owned(),
        (false, _) => format!("{:?}", namespace.start_switch(name(1), name(3), false).await),
        (true, 0) => format!("{:?}", namespace.commit_switch(name(1)).await),
        (true, _) => format!("{:?}", namespace.roll_back_switch(name(1)).await),
    }
}

/// A silo is declared lost, though it answers; or the one that is lost is found again, and taken into use.
async fn lose(namespace: &Arc<Namespace>, sim: &Arc<Sim>, silo: SiloId) -> String {
    let inventory = namespace.inventory();
    let Some(lost) = inventory.silos.values().find(|open| open.is_lost()) else {
        return format!("{:?}", namespace.lose_silo(name(silo), true).await);
    };
    if sim.below(2) == 0 {
        return "it stays lost".to_owned();
    }
    let found = namespace.find_silo(&lost.row.name).await;
    format!("{found:?} {:?}", namespace.set_cordon(&lost.row.name, false).await.is_ok())
}

impl World {
    /// Begins what is due of this.
    pub(super) fn keep(&mut self, rates: &Kept) {
        let silo = |world: &Self| 1 + world.sim.below(3) as SiloId;
        if self.sim.chance(rates.align) {
            let act = if self.sim.chance(500) { Act::AlignAll } else { Act::AlignChanged };
            self.keep_act(None, act, None);
        }
        if self.sim.chance(rates.wish) {
            let of = Wished::of(self.plan.focus);
            let act = Act::Wish(of[self.sim.below(of.len() as u64) as usize]);
            self.keep_act(None, act, None);
        }
        if self.sim.chance(rates.step) {
            self.keep_act(None, Act::Step, None);
        }
        if self.sim.chance(rates.rot) {
            self.index.held().break_one(&self.sim, &self.silos);
        }
        if self.sim.chance(rates.scrub) {
            let act = if self.sim.chance(500) { Act::ScrubMet } else { Act::Scrub(silo(self)) };
            self.keep_act(None, act, None);
        }
        if self.sim.chance(rates.switch) {
            self.keep_act(None, Act::Switch, None);
        }
        if self.sim.chance(rates.job) {
            self.keep_act(None, Act::Job, None);
        }
        if self.sim.chance(rates.lose) {
            let act = Act::Lose(silo(self));
            self.keep_act(None, act, None);
        }
    }

    /// Jobs end here, and another life takes them up.
    pub(super) fn hand_jobs_on(&mut self) {
        let up = self.gateways.iter().filter_map(Gateway::up).filter(|_| self.plan.wish.is_some());
        up.for_each(|namespace| self.now(namespace.core.stop_jobs()));
    }

    /// A gateway, or any, begins it; see [`World::act`].
    pub(super) fn keep_act(&mut self, at: Option<usize>, act: Act, hold: Option<u32>) {
        let at = at.unwrap_or_else(|| self.sim.below(GATEWAYS as u64) as usize);
        let Some(namespace) = self.awake(at) else { return };
        if !act.is_many() && self.executor.has(at, act.name()) {
            return;
        }
        let work = work(act, at, namespace, Arc::clone(&self.sim));
        self.executor.spawn(at, act.name(), false, work);
        if act == Act::Job {
            // It waits for what others do.
            self.executor.never_hurry();
        } else if let Some(hold) = hold {
            self.rush_or_hold(hold);
        }
    }

    /// The same where replicas are made, broken, given up and made good.
    pub(super) fn ambush_of_kept(&self) -> Vec<Surprise> {
        use Act::{AlignAll, AlignChanged, Drop, Lose, Scrub, ScrubMet, Step};
        use Surprise::{Beats, Change, Kept, Land, Read, Sweep};
        let silo = 1 + self.sim.below(3) as u32;
        let loses = self.plan.rates.kept.lose > 0;
        let sequence = match self.sim.below(5) {
            0 if loses => vec![Kept(Drop), Kept(Step), Kept(Lose(silo)), Read],
            0 => vec![Kept(Drop), Kept(Drop), Sweep, Beats, Beats, Sweep],
            1 => vec![Kept(AlignAll), Kept(AlignChanged), Read, Change, Kept(AlignAll)],
            2 => vec![Surprise::Break, Read, Kept(ScrubMet), Read],
            3 => vec![Surprise::Break, Kept(Step), Kept(Scrub(silo)), Kept(Drop), Kept(AlignAll), Land],
            _ => vec![Read, Kept(Step), Kept(Step), Sweep, Beats, Beats, Sweep],
        };
        let kept = &self.plan.rates.kept;
        let may = |surprise: &Surprise| match surprise {
            Surprise::Break => kept.rot > 0,
            Kept(Scrub(_) | ScrubMet) => kept.scrub > 0,
            Kept(Step | Drop) => kept.step > 0 || loses,
            _ => true,
        };
        sequence.into_iter().filter(may).collect()
    }
}
