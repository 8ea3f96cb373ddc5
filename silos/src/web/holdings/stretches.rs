//! A listing in stretches that are listed beside each other. Nothing here asks anybody.
//!
//! A stretch begins behind a name and ends with one, and the next begins behind that: whatever the names are, and whatever
//! comes or goes meanwhile, each belongs to one stretch, and stretches follow each other in order. Therefore a cut need not be
//! a name that exists: it is guessed, so that stretches become about as long as they should.

use std::collections::{BTreeMap, VecDeque};

use crate::error::SiloError;
use crate::limits::{
    LISTS_AT_ONCE, LONG_STRETCH, MAX_STRETCHES, PAGES_AHEAD, PAGES_BEFORE_CUTS, PAGES_HELD, STRETCH_PAGES,
};
use crate::web::Entry;
use crate::web::holdings::stride::Stride;

/// A name that a listing showed and another one, of the names behind `cut`, did not.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Missed {
    pub(super) name: Vec<u8>,
    pub(super) cut: Vec<u8>,
}

/// A page in its turn.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) page: Vec<Entry>,
    pub(super) missed: Vec<Missed>,
}

/// A page to be asked for: what comes after this.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) id: u64,
    pub(super) after: Option<Vec<u8>>,
}

/// The stretches of a walk that are not over yet, in order.
pub(super) struct Stretches {
    prefix: String,
    all: VecDeque<Stretch>,
    last_id: u64,
    /// So many may be asked for at once: fewer after a failure, more again with what succeeds.
    at_once: usize,
    /// The last name that was taken.
    taken: Option<Vec<u8>>,
    /// Pages that came.
    pages: usize,
    /// A listing can begin anywhere.
    can_cut: bool,
    /// Cuts that were of no use since the last one that was,
    in_vain: usize,
    /// so that none is made before so many pages came.
    pause: usize,
    /// Of the last stretch that came as a whole.
    stride: Stride,
    /// Names behind the ends of stretches, each with that end: whoever begins there has to see them.
    witnesses: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Stretches {
    /// The names that begin with `prefix` and come after `after`, in one stretch.
    pub(super) fn new(prefix: &str, after: Option<&[u8]>, can_cut: bool) -> Self {
        let all = Stretch { after: after.map(<[u8]>::to_owned), ..Stretch::default() };
        Self {
            prefix: prefix.to_owned(),
            all: VecDeque::from([all]),
            last_id: 0,
            at_once: LISTS_AT_ONCE,
            taken: after.map(<[u8]>::to_owned),
            pages: 0,
            can_cut,
            in_vain: 0,
            pause: PAGES_BEFORE_CUTS,
            stride: Stride::default(),
            witnesses: BTreeMap::new(),
        }
    }

    /// The next page, where it is here; an error where it was asked for in its turn and is not.
    pub(super) fn take(&mut self) -> Result<Option<Taken>, SiloError> {
        self.settle();
        let Some(front) = self.all.front_mut() else { return Ok(None) };
        if let Some(page) = front.pages.pop_front() {
            let missed = self.missed(&page);
            self.taken = page.last().map(|entry| entry.name.clone());
            return Ok(Some(Taken { page, missed }));
        }
        if let State::Broken(error) = &front.state { Err(error.clone()) } else { Ok(None) }
    }

    /// Whether all pages were taken.
    pub(super) fn is_over(&mut self) -> bool {
        self.settle();
        self.all.is_empty()
    }

    /// Lets go of what was taken as a whole, so that the next stretch is in its turn.
    fn settle(&mut self) {
        while self.all.front().is_some_and(|front| front.is_ended() && front.pages.is_empty()) {
            self.all.pop_front();
        }
    }

    /// Witnesses that a page, the next one in order, passes over.
    fn missed(&mut self, page: &[Entry]) -> Vec<Missed> {
        let mut missed = Vec::new();
        while let (Some(witness), Some(last)) = (self.witnesses.first_entry(), page.last()) {
            if *witness.key() > last.name {
                break;
            }
            let (name, cut) = witness.remove_entry();
            if page.binary_search_by(|entry| entry.name.cmp(&name)).is_err() {
                missed.push(Missed { name, cut });
            }
        }
        missed
    }

    /// Witnesses that no page has come to, once there are no more.
    pub(super) fn left(&mut self) -> Vec<Missed> {
        std::mem::take(&mut self.witnesses).into_iter().map(|(name, cut)| Missed { name, cut }).collect()
    }

    /// What is to be asked next, in pages of `limit`; nothing while enough is under way.
    pub(super) fn ask(&mut self, limit: usize) -> Option<Ask> {
        self.settle();
        let at = self.due()?;
        if let Some(cut) = self.cut_for(at, limit) {
            self.last_id += 1;
            let rest = self.all[at].cut(cut);
            self.all.insert(at + 1, Stretch { id: self.last_id, ..rest });
        }
        let stretch = &mut self.all[at];
        if at == 0 && stretch.is_unseen() {
            // As if it had not been cut: whoever listens may not like a name that is none.
            stretch.after.clone_from(&self.taken);
        }
        stretch.state = State::Asked { limit, in_turn: at == 0 };
        Some(Ask { id: stretch.id, after: stretch.after.clone() })
    }

    /// The first stretch that a page may be asked of.
    fn due(&self) -> Option<usize> {
        let under_way = self.all.iter().filter(|stretch| stretch.is_asked()).count();
        let held: usize = self.all.iter().map(Stretch::held).sum();
        let mut ahead = 0;
        let is_due = |(at, stretch): (usize, &Stretch)| {
            ahead += stretch.held();
            let has_room = ahead < PAGES_AHEAD && held < PAGES_HELD || at == 0 && stretch.held() == 0;
            has_room && (matches!(stretch.state, State::Waiting) || at == 0 && matches!(stretch.state, State::Failed))
        };
        if under_way < self.at_once { self.all.iter().enumerate().position(is_due) } else { None }
    }

    /// Where a stretch is to end, where it is longer than one should be or nothing says that it is not.
    fn cut_for(&self, at: usize, limit: usize) -> Option<Vec<u8>> {
        let stretch = &self.all[at];
        let patience = if stretch.is_cut { LONG_STRETCH } else { 1 };
        let goes_on = stretch.listed >= patience && (stretch.listed > 1 || stretch.full);
        if !self.can_cut || !goes_on || self.pages < self.pause || self.all.len() >= MAX_STRETCHES {
            return None;
        }
        let last = stretch.after.as_deref()?;
        let fits = |leap: &String| {
            let is_before = |until: &Vec<u8>| leap.as_bytes() < until.as_slice();
            leap.as_str() > self.prefix.as_str() && stretch.until.as_ref().is_none_or(is_before)
        };
        // The farther one: what becomes too long is cut again, what becomes too short was listed in vain.
        let leaps = [&stretch.stride, &self.stride].map(|stride| stride.leap(last, STRETCH_PAGES * limit));
        leaps.into_iter().flatten().filter(fits).max().map(String::into_bytes)
    }

    /// Takes in a page.
    pub(super) fn note(&mut self, id: u64, listed: Result<Vec<Entry>, SiloError>) {
        let Some(at) = self.all.iter().position(|stretch| stretch.id == id) else { return };
        let stretch = &mut self.all[at];
        let State::Asked { limit, in_turn } = stretch.state else { return };
        match listed {
            Ok(page) => {
                self.pages += 1;
                if self.pages.is_multiple_of(LISTS_AT_ONCE) {
                    self.at_once = (self.at_once + 1).min(LISTS_AT_ONCE);
                }
                if let (Some(witness), Some(cut)) = (stretch.add(page, limit), &stretch.until) {
                    self.witnesses.insert(witness, cut.clone());
                }
                if stretch.is_ended() {
                    self.learn(at);
                }
            }
            Err(error) => {
                self.at_once = (self.at_once / 2).max(1);
                stretch.state = if in_turn { State::Broken(error) } else { State::Failed };
                if stretch.is_unseen() {
                    self.note_vain();
                }
            }
        }
    }

    /// Learns from a stretch that came as a whole.
    fn learn(&mut self, at: usize) {
        let stretch = &mut self.all[at];
        let in_vain = stretch.is_unseen() || stretch.is_cut && stretch.listed <= 1;
        let was_cut = stretch.is_cut;
        if stretch.stride.names() > 0 {
            self.stride = std::mem::take(&mut stretch.stride);
        }
        if in_vain {
            self.note_vain();
        } else if was_cut {
            self.in_vain = 0;
        }
    }

    /// A cut was of no use. The more there are of those, the later comes the next.
    fn note_vain(&mut self) {
        self.pause = self.pages + 2 * self.in_vain;
        self.in_vain += 1;
    }
}

/// What becomes of a stretch next.
#[derive(Debug, Default)]
enum State {
    /// A page of it may be asked for.
    #[default]
    Waiting,
    /// One was, in its turn or before.
    Asked { limit: usize, in_turn: bool },
    /// It failed before its turn, and is asked for again then: it may have waited too long to be read.
    Failed,
    /// It failed in its turn.
    Broken(SiloError),
    /// All of it came.
    Ended,
}

/// The names behind `after`, up to and with `until`.
#[derive(Debug, Default)]
struct Stretch {
    id: u64,
    /// The last name that came.
    after: Option<Vec<u8>>,
    until: Option<Vec<u8>>,
    /// A cut of its own is where it ends,
    is_cut: bool,
    /// and where it began.
    is_rest: bool,
    /// Pages that came since it was cut.
    listed: usize,
    stride: Stride,
    /// The last page had as many names as were asked for.
    full: bool,
    /// Pages in order that nobody took yet.
    pages: VecDeque<Vec<Entry>>,
    state: State,
}

impl Stretch {
    /// Pages that it has, or has asked for.
    fn held(&self) -> usize {
        self.pages.len() + usize::from(self.is_asked())
    }

    fn is_asked(&self) -> bool {
        matches!(self.state, State::Asked { .. })
    }

    fn is_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// Whether it begins at a cut, with no name of it seen yet.
    fn is_unseen(&self) -> bool {
        self.is_rest && self.stride.names() == 0
    }

    /// Ends it there; gives the rest.
    fn cut(&mut self, at: Vec<u8>) -> Self {
        (self.is_cut, self.is_rest, self.listed) = (true, false, 0);
        self.stride = Stride::behind(self.after.clone());
        let until = self.until.replace(at.clone());
        Self { after: Some(at), until, is_rest: true, ..Self::default() }
    }

    /// Takes in a page of what comes after `after`. Gives the first name that is none of its own.
    fn add(&mut self, mut page: Vec<Entry>, limit: usize) -> Option<Vec<u8>> {
        let until = self.until.as_deref();
        let end = until.map_or(page.len(), |until| page.partition_point(|entry| entry.name.as_slice() <= until));
        let witness = page.get(end).map(|entry| entry.name.clone());
        let mut is_ended = page.is_empty() || witness.is_some();
        (self.full, self.listed) = (page.len() >= limit, self.listed + 1);
        page.truncate(end);
        self.stride.add(&page);
        if let Some(last) = page.last() {
            is_ended |= until == Some(&last.name);
            self.after = Some(last.name.clone());
            self.pages.push_back(page);
        }
        self.state = if is_ended { State::Ended } else { State::Waiting };
        witness
    }
}
