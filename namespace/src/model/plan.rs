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
#[derive(Debug, Clone, Copy, Default)]
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
    /// What only happens where there are three silos.
    pub(super) kept: Kept,
}

/// What happens where objects are kept in several silos: the same.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Kept {
    /// What changed, or everything, is compared with what is wished.
    pub(super) align: u32,
    /// Something else is wished.
    pub(super) wish: u32,
    /// A step that nobody wishes: a copy, a move or a drop.
    pub(super) step: u32,
    /// A stored replica breaks while another is whole.
    pub(super) rot: u32,
    pub(super) scrub: u32,
    /// A switch begins, or ends one way or the other.
    pub(super) switch: u32,
    pub(super) job: u32,
    /// A silo is declared lost, or found.
    pub(super) lose: u32,
}

/// How a case is drawn: each seed mixes its own, so that no mixture is rare.
pub(super) struct Plan {
    pub(super) focus: Focus,
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
    /// What is wished first, where there are three silos.
    pub(super) wish: Option<Wished>,
}

/// What may be wished of all objects of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wished {
    /// Nothing: they stay.
    Nothing,
    /// Two copies, anywhere.
    Two,
    /// Two copies, on any of these.
    TwoOnAny,
    Three,
    /// Two copies, and none on the second silo.
    TwoElsewhere,
    /// On the third silo.
    OnThird,
    /// Two copies, and one more on the third silo of what is read.
    Spare,
    /// One of the keys on the third silo.
    OneOnThird,
    /// On the first silo, and from one that has too much on the next.
    Fill,
    /// The same of two copies.
    FillTwo,
    /// Two copies, before a write is answered.
    TwoAtOnce,
    /// Three of them, likewise.
    ThreeAtOnce,
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
    Copies,
    Switch,
    Losses,
    Promises,
}

impl Focus {
    pub(super) const ALL: [Self; 11] = [
        Self::Everything,
        Self::Reads,
        Self::Moves,
        Self::Uploads,
        Self::Answers,
        Self::Lives,
        Self::Packs,
        Self::Copies,
        Self::Switch,
        Self::Losses,
        Self::Promises,
    ];

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|focus| format!("{focus:?}") == name)
    }
}

impl Plan {
    /// Draws a case, of this focus or any.
    pub(super) fn draw(rng: &mut Rng, focus: Option<Focus>) -> Self {
        let drawn = Focus::ALL[rng.below(Focus::ALL.len() as u64) as usize];
        let focus = focus.unwrap_or(drawn);
        let asks = ASKS.map(|ask| (ask, weight(rng, focus, ask))).to_vec();
        let slow = if matches!(focus, Focus::Reads | Focus::Uploads | Focus::Copies) { 150 } else { 20 };
        let stall = if rng.chance(800) { slow + rng.below(80) as u32 } else { 0 };
        let ambush = if rng.chance(700) { 100 + rng.below(500) as u32 } else { 0 };
        let sticky = [0, 0, 500, 850][rng.below(4) as usize];
        let requests = 6 + rng.below(18) as u32;
        let rates = rates(rng, focus);
        let (index, silos) = (index_chances(rng, focus), silo_chances(rng, focus));
        let (begun, packs) = (rng.chance(700), focus == Focus::Packs || rng.chance(500));
        let wish = Wished::draw(rng, focus);
        let turns = if wish.is_some() && focus != Focus::Promises { 2_500 } else { 1_500 };
        Self { focus, asks, rates, requests, turns, index, silos, stall, ambush, sticky, begun, packs, wish }
    }
}

impl Wished {
    /// What a case wishes first; none where there are but two silos.
    fn draw(rng: &mut Rng, focus: Focus) -> Option<Self> {
        let of = Self::of(focus);
        (!of.is_empty()).then(|| of[rng.below(of.len() as u64) as usize])
    }

    /// What cases of a focus may wish.
    pub(super) fn of(focus: Focus) -> &'static [Self] {
        match focus {
            Focus::Copies => {
                &[Self::Nothing, Self::Two, Self::TwoOnAny, Self::Three, Self::TwoElsewhere, Self::OnThird, Self::Spare]
            }
            Focus::Switch => &[Self::Nothing, Self::OneOnThird],
            Focus::Losses => &[Self::Two, Self::TwoOnAny],
            Focus::Promises => &[Self::Fill, Self::FillTwo, Self::TwoAtOnce, Self::ThreeAtOnce],
            _ => &[],
        }
    }

    /// Copies that are there once a write is answered.
    pub(super) fn at_once(self) -> usize {
        match self {
            Self::TwoAtOnce => 2,
            Self::ThreeAtOnce => 3,
            _ => 1,
        }
    }

    /// Whether a silo is not to have too much.
    pub(super) fn fills(self) -> bool {
        matches!(self, Self::Fill | Self::FillTwo)
    }
}

fn kept(focus: Focus, mut some: impl FnMut(u32, u64) -> u32) -> Kept {
    match focus {
        Focus::Copies => Kept {
            align: 15 + some(700, 30),
            wish: some(500, 8),
            step: some(700, 30),
            rot: some(600, 15),
            scrub: some(600, 15),
            ..Kept::default()
        },
        Focus::Switch => Kept { align: 20 + some(500, 30), switch: 8 + some(500, 12), job: 30, ..Kept::default() },
        Focus::Losses => Kept {
            align: 15 + some(700, 30),
            rot: some(500, 10),
            scrub: some(500, 10),
            step: some(300, 20),
            job: 30,
            lose: 4 + some(500, 8),
            ..Kept::default()
        },
        Focus::Promises => Kept { align: 20 + some(700, 40), ..Kept::default() },
        _ => Kept::default(),
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
        (Focus::Copies | Focus::Losses, Ask::Get) => 4 + rng.below(4),
        (_, Ask::Get) => 2 + rng.below(4),
        (Focus::Reads | Focus::Moves | Focus::Copies, _) if of_uploads => 0,
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
        // Where there are three silos they are steps of that.
        moves: if Wished::of(focus).is_empty() { moves + some(500, 60) } else { 0 },
        look: 10,
        land: 3 + some(600, 80),
        crash: if calm { 0 } else { lives / 2 + some(300, 2) },
        freeze: if calm { 0 } else { some(300, 2) },
        abandon: some(250, 15),
        open: 60,
        kept: kept(focus, some),
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
