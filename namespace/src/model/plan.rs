//! How a case is drawn: what clients ask for, how often what goes on beside, and what breaks. Each seed mixes its own,
//! with one thing it looks at most closely.

use super::index::IndexChances;
use super::sim::Rng;
use super::store::SiloChances;

/// What a client may ask for; each case draws how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    Put,
    PutIf,
    Delete,
    DeleteIf,
    Get,
    Head,
    List,
    Copy,
    NewUpload,
    Part,
    PartCopy,
    Complete,
    Abort,
    ListParts,
}

const ASKS: [Ask; 14] = [
    Ask::Put,
    Ask::PutIf,
    Ask::Delete,
    Ask::DeleteIf,
    Ask::Get,
    Ask::Head,
    Ask::List,
    Ask::Copy,
    Ask::NewUpload,
    Ask::Part,
    Ask::PartCopy,
    Ask::Complete,
    Ask::Abort,
    Ask::ListParts,
];

/// What beside requests happens in a case, in thousandths of all turns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rates {
    pub(super) ask: u32,
    pub(super) beat: u32,
    pub(super) sweep: u32,
    pub(super) collect: u32,
    pub(super) bury: u32,
    pub(super) moves: u32,
    pub(super) look: u32,
    pub(super) land: u32,
    pub(super) crash: u32,
    pub(super) freeze: u32,
    pub(super) abandon: u32,
    pub(super) open: u32,
}

/// How a case is drawn: each seed mixes its own, so that no mixture is rare.
pub(super) struct Plan {
    pub(super) asks: Vec<(Ask, u64)>,
    pub(super) rates: Rates,
    pub(super) requests: u32,
    pub(super) turns: u64,
    pub(super) index: IndexChances,
    pub(super) silos: SiloChances,
    pub(super) stall: u32,
    /// How often much happens while a task waits long, in thousandths of such waits.
    pub(super) ambush: u32,
    /// How often a task that went on goes on again, in thousandths.
    pub(super) sticky: u32,
    /// The case begins with an object and an upload of two parts.
    pub(super) begun: bool,
    /// Everything goes into packs.
    pub(super) packs: bool,
}

/// What a case looks at most closely.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Focus {
    Everything,
    Reads,
    Moves,
    Uploads,
    Answers,
    Lives,
    Packs,
}

impl Focus {
    pub(super) const ALL: [Self; 7] =
        [Self::Everything, Self::Reads, Self::Moves, Self::Uploads, Self::Answers, Self::Lives, Self::Packs];

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|focus| format!("{focus:?}") == name)
    }
}

impl Plan {
    /// Draws a case, of this focus or any.
    pub(super) fn draw(rng: &mut Rng, focus: Option<Focus>) -> Self {
        let drawn = Focus::ALL[rng.below(7) as usize];
        let focus = focus.unwrap_or(drawn);
        let asks = ASKS.map(|ask| (ask, weight(rng, focus, ask))).to_vec();
        let slow = if matches!(focus, Focus::Reads | Focus::Uploads) { 150 } else { 20 };
        let stall = if rng.chance(800) { slow + rng.below(80) as u32 } else { 0 };
        let ambush = if rng.chance(700) { 100 + rng.below(500) as u32 } else { 0 };
        let sticky = [0, 0, 500, 850][rng.below(4) as usize];
        let requests = 6 + rng.below(18) as u32;
        let rates = rates(rng, focus);
        let (index, silos) = (index_chances(rng, focus), silo_chances(rng, focus));
        let (begun, packs) = (rng.chance(700), focus == Focus::Packs || rng.chance(500));
        Self { asks, rates, requests, turns: 1_500, index, silos, stall, ambush, sticky, begun, packs }
    }
}

fn weight(rng: &mut Rng, focus: Focus, ask: Ask) -> u64 {
    let of_uploads =
        matches!(ask, Ask::NewUpload | Ask::Part | Ask::PartCopy | Ask::Complete | Ask::Abort | Ask::ListParts);
    let some = if rng.chance(500) { 1 + rng.below(4) } else { 0 };
    match (focus, ask) {
        (Focus::Reads, Ask::Get) | (Focus::Uploads, Ask::Complete) => 8,
        (Focus::Uploads, Ask::Part) => 5,
        (Focus::Uploads, Ask::NewUpload) => 1,
        (Focus::Uploads, _) => some,
        (Focus::Reads, Ask::Complete | Ask::Delete) => 2,
        (_, Ask::Put) => 3 + rng.below(4),
        (_, Ask::Get) => 2 + rng.below(4),
        (Focus::Reads | Focus::Moves, _) if of_uploads => 0,
        _ => some,
    }
}

fn rates(rng: &mut Rng, focus: Focus) -> Rates {
    let calm = matches!(focus, Focus::Reads);
    let mut some = |chance: u32, rate: u64| if rng.chance(chance) { 1 + rng.below(rate) as u32 } else { 0 };
    let moves = if matches!(focus, Focus::Moves | Focus::Packs) { 30 } else { 0 };
    let lives = if focus == Focus::Lives { 6 } else { 0 };
    let sweeps = if matches!(focus, Focus::Reads | Focus::Uploads | Focus::Packs) { 40 } else { 0 };
    Rates {
        ask: 40 + some(500, 80),
        beat: 30 + sweeps + some(700, 100),
        sweep: 10 + sweeps + some(700, 60),
        collect: 5 * lives + some(500, 40),
        bury: if calm { 0 } else { lives + some(400, 8) },
        moves: moves + some(500, 60),
        look: 10,
        land: 3 + some(600, 80),
        crash: if calm { 0 } else { lives / 2 + some(300, 2) },
        freeze: if calm { 0 } else { some(300, 2) },
        abandon: some(250, 15),
        open: 60,
    }
}

fn index_chances(rng: &mut Rng, focus: Focus) -> IndexChances {
    let mut some = |chance: u32, rate: u64| if rng.chance(chance) { 1 + rng.below(rate) as u32 } else { 0 };
    if focus == Focus::Reads {
        return IndexChances::default();
    }
    if focus == Focus::Answers {
        let (lose, vanish, delay) = (some(800, 150), some(300, 50), some(800, 150));
        return IndexChances { lose, vanish, delay, fail: some(300, 50), fail_read: some(600, 100) };
    }
    IndexChances {
        lose: some(300, 40),
        vanish: some(200, 20),
        delay: if focus == Focus::Moves { some(800, 200) } else { some(400, 60) },
        fail: some(200, 20),
        fail_read: some(200, 15),
    }
}

fn silo_chances(rng: &mut Rng, focus: Focus) -> SiloChances {
    let mut some = |chance: u32, rate: u64| if rng.chance(chance) { 1 + rng.below(rate) as u32 } else { 0 };
    if focus == Focus::Reads {
        return SiloChances::default();
    }
    SiloChances {
        fail_put: some(200, 60),
        lose_put: some(300, 120),
        full: some(150, 80),
        lose_delete: some(250, 150),
        damage_copy: some(150, 150),
        fail_read: some(150, 30),
    }
}
