//! What a disk holds, and what is left of it when the power goes.
//!
//! A file's bytes are kept once the file was flushed, a name once its folder was. Whatever else was done may be kept
//! or not, each change by itself and a write torn between its sectors, as no file system promises more. A rename
//! within a folder is one change. From the cut until the power is back nothing is answered.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::{OsStr, OsString};

use holdall_conformance::random::Random;

/// The root folder.
pub(crate) const ROOT: u64 = 1;
/// What a disk writes whole.
const SECTOR: usize = 512;

/// Why something was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum No {
    /// No such name.
    Absent,
    /// The name is taken.
    Taken,
    /// It is a folder, or it is none.
    WrongKind,
    /// The folder is not empty.
    NotEmpty,
    /// The power is off.
    Dark,
}

/// Flushes that are answered and not done, so that a rig can show that it would notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    /// None.
    Honest,
    /// Those of files.
    Files,
    /// Those of folders.
    Folders,
}

/// What ends whoever uses the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Power loss: what was not flushed may be gone.
    Power,
    /// kill -9: all that was done is there, and what was not flushed is so still.
    Kill,
}

/// What is seen of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// A file of so many bytes.
    File(u64),
    /// A folder.
    Folder,
}

/// What was done and lost, for the report.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    /// Changes.
    pub(crate) changes: u64,
    /// Flushes of files and folders.
    pub(crate) flushes: u64,
    /// Changes that were pending at a cut.
    pub(crate) pending: u64,
    /// Of them, dropped or torn.
    pub(crate) lost: u64,
}

#[derive(Debug)]
enum Node {
    File(File),
    Folder(Folder),
}

#[derive(Debug, Default)]
struct File {
    live: Vec<u8>,
    kept: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Debug, Default)]
struct Folder {
    live: BTreeMap<OsString, u64>,
    kept: BTreeMap<OsString, u64>,
    /// Each is one step: names, and what they name after it.
    pending: Vec<Vec<(OsString, Option<u64>)>>,
}

/// How unflushed changes fare at a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// All are lost.
    Bare,
    /// Those up to some point are kept, the next is torn.
    Prefix,
    /// Each fares by itself.
    Scattered,
}

/// How one change fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    Torn,
    Lost,
}

/// The disk.
#[derive(Debug)]
pub(crate) struct Disk {
    nodes: HashMap<u64, Node>,
    next: u64,
    lie: Lie,
    dark: bool,
    /// The end comes with the change that brings it to 0.
    fuse: Option<(u64, End)>,
    random: Random,
    tally: Tally,
}

impl Disk {
    /// An empty one.
    pub(crate) fn new(random: Random) -> Self {
        let nodes = HashMap::from([(ROOT, Node::Folder(Folder::default()))]);
        Self { nodes, next: ROOT + 1, lie: Lie::Honest, dark: false, fuse: None, random, tally: Tally::default() }
    }

    /// From now on.
    pub(crate) fn set_lie(&mut self, lie: Lie) {
        self.lie = lie;
    }

    /// What was done and lost.
    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    /// The end comes in the middle of the `changes`-th change from now.
    pub(crate) fn end_after(&mut self, changes: u64, end: End) {
        self.fuse = Some((changes.max(1), end));
    }

    /// Whether nothing is answered any more.
    pub(crate) fn is_dark(&self) -> bool {
        self.dark
    }

    /// It answers again.
    pub(crate) fn power_on(&mut self) {
        (self.dark, self.fuse) = (false, None);
    }

    /// The power goes now.
    pub(crate) fn cut(&mut self) {
        if self.dark {
            return;
        }
        self.dark = true;
        let style = match self.random.below(3) {
            0 => Style::Bare,
            1 => Style::Prefix,
            _ => Style::Scattered,
        };
        let mut order: Vec<u64> = self.nodes.keys().copied().collect();
        order.sort_unstable();
        for number in order {
            match self.nodes.get_mut(&number) {
                Some(Node::File(file)) => file.lose(style, &mut self.random, &mut self.tally),
                Some(Node::Folder(folder)) => folder.lose(style, &mut self.random, &mut self.tally),
                None => {}
            }
        }
        self.forget_unnamed();
    }

    /// Nobody has anything open any more.
    fn forget_unnamed(&mut self) {
        let (mut named, mut next) = (HashSet::from([ROOT]), vec![ROOT]);
        while let Some(number) = next.pop() {
            if let Some(Node::Folder(folder)) = self.nodes.get(&number) {
                next.extend(folder.live.values().filter(|child| named.insert(**child)));
            }
        }
        self.nodes.retain(|number, _| named.contains(number));
    }

    /// A change is about to be made. What is pending is pending when the power goes, a flush that was asked for too.
    fn change(&mut self) -> Result<(), No> {
        if self.dark {
            return Err(No::Dark);
        }
        self.tally.changes += 1;
        match &mut self.fuse {
            Some((left, _)) if *left > 1 => *left -= 1,
            Some((_, End::Power)) => self.cut(),
            Some((_, End::Kill)) => self.dark = true,
            None => {}
        }
        if self.dark { Err(No::Dark) } else { Ok(()) }
    }

    fn file(&mut self, number: u64) -> Result<&mut File, No> {
        match self.nodes.get_mut(&number) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Folder(_)) => Err(No::WrongKind),
            None => Err(No::Absent),
        }
    }

    fn folder(&mut self, number: u64) -> Result<&mut Folder, No> {
        match self.nodes.get_mut(&number) {
            Some(Node::Folder(folder)) => Ok(folder),
            Some(Node::File(_)) => Err(No::WrongKind),
            None => Err(No::Absent),
        }
    }

    /// What a node is.
    pub(crate) fn look(&self, number: u64) -> Result<Seen, No> {
        if self.dark {
            return Err(No::Dark);
        }
        match self.nodes.get(&number) {
            Some(Node::File(file)) => Ok(Seen::File(file.live.len() as u64)),
            Some(Node::Folder(_)) => Ok(Seen::Folder),
            None => Err(No::Absent),
        }
    }

    /// What a name names.
    pub(crate) fn find(&mut self, folder: u64, name: &OsStr) -> Result<(u64, Seen), No> {
        if self.dark {
            return Err(No::Dark);
        }
        let number = *self.folder(folder)?.live.get(name).ok_or(No::Absent)?;
        Ok((number, self.look(number)?))
    }

    /// Names in a folder whose nodes come after one, in the nodes' order: what is removed meanwhile hides no other.
    pub(crate) fn list(&mut self, folder: u64, after: u64) -> Result<Vec<(OsString, u64, Seen)>, No> {
        if self.dark {
            return Err(No::Dark);
        }
        let mut names: Vec<_> = self.folder(folder)?.live.iter().map(|(name, at)| (name.clone(), *at)).collect();
        names.retain(|(_, number)| *number > after);
        names.sort_unstable_by_key(|(_, number)| *number);
        names.into_iter().map(|(name, number)| Ok((name, number, self.look(number)?))).collect()
    }

    /// Makes a file or a folder.
    pub(crate) fn make(&mut self, folder: u64, name: &OsStr, kind: Seen) -> Result<u64, No> {
        self.change()?;
        let number = self.next;
        let holder = self.folder(folder)?;
        if holder.live.contains_key(name) {
            return Err(No::Taken);
        }
        holder.step(vec![(name.to_owned(), Some(number))]);
        self.next += 1;
        let node = match kind {
            Seen::File(_) => Node::File(File::default()),
            Seen::Folder => Node::Folder(Folder::default()),
        };
        self.nodes.insert(number, node);
        Ok(number)
    }

    /// Takes a name away. The node stays for whoever has it open.
    pub(crate) fn remove(&mut self, folder: u64, name: &OsStr, kind: Seen) -> Result<(), No> {
        self.change()?;
        let (number, seen) = self.find(folder, name)?;
        if matches!(seen, Seen::Folder) != matches!(kind, Seen::Folder) {
            return Err(No::WrongKind);
        }
        if seen == Seen::Folder && !self.folder(number)?.live.is_empty() {
            return Err(No::NotEmpty);
        }
        self.folder(folder)?.step(vec![(name.to_owned(), None)]);
        Ok(())
    }

    /// Renames within a folder.
    pub(crate) fn rename(&mut self, folder: u64, from: &OsStr, to: &OsStr, replace: bool) -> Result<(), No> {
        self.change()?;
        let (number, _) = self.find(folder, from)?;
        let holder = self.folder(folder)?;
        if !replace && holder.live.contains_key(to) {
            return Err(No::Taken);
        }
        holder.step(vec![(from.to_owned(), None), (to.to_owned(), Some(number))]);
        Ok(())
    }

    /// Gives a file another name.
    pub(crate) fn link(&mut self, number: u64, folder: u64, name: &OsStr) -> Result<(), No> {
        self.change()?;
        self.file(number)?;
        let holder = self.folder(folder)?;
        if holder.live.contains_key(name) {
            return Err(No::Taken);
        }
        holder.step(vec![(name.to_owned(), Some(number))]);
        Ok(())
    }

    /// Bytes of a file.
    pub(crate) fn read(&mut self, number: u64, at: u64, len: usize) -> Result<&[u8], No> {
        if self.dark {
            return Err(No::Dark);
        }
        let live = &self.file(number)?.live;
        let from = (at as usize).min(live.len());
        Ok(&live[from..(from + len).min(live.len())])
    }

    /// Writes into a file.
    pub(crate) fn write(&mut self, number: u64, at: u64, bytes: &[u8]) -> Result<(), No> {
        let at = at as usize;
        // What is written again and again, as a probe does, counts once: the end comes where something happens.
        if self.dark || self.file(number)?.live.get(at..at + bytes.len()) != Some(bytes) {
            self.change()?;
        }
        self.file(number)?.step(Change::Write { at, bytes: bytes.to_vec() });
        Ok(())
    }

    /// Cuts a file short or makes it longer.
    pub(crate) fn resize(&mut self, number: u64, len: u64) -> Result<(), No> {
        self.change()?;
        self.file(number)?.step(Change::Length(len as usize));
        Ok(())
    }

    /// Makes a file's bytes or a folder's names last.
    pub(crate) fn flush(&mut self, number: u64) -> Result<(), No> {
        self.change()?;
        self.tally.flushes += 1;
        match (self.nodes.get_mut(&number).ok_or(No::Absent)?, self.lie) {
            (Node::File(_), Lie::Files) | (Node::Folder(_), Lie::Folders) => {}
            (Node::File(file), _) => {
                for change in file.pending.drain(..) {
                    change.onto(&mut file.kept, |_| true);
                }
            }
            (Node::Folder(folder), _) => {
                folder.kept.clone_from(&folder.live);
                folder.pending.clear();
            }
        }
        Ok(())
    }
}

impl File {
    fn step(&mut self, change: Change) {
        change.onto(&mut self.live, |_| true);
        self.pending.push(change);
    }

    fn lose(&mut self, style: Style, random: &mut Random, tally: &mut Tally) {
        let fates = fates(style, self.pending.len(), random, tally);
        for (change, fate) in self.pending.drain(..).zip(fates) {
            match fate {
                Fate::Kept => change.onto(&mut self.kept, |_| true),
                Fate::Torn => change.onto(&mut self.kept, |_| random.percent(50)),
                Fate::Lost => {}
            }
        }
        self.live.clone_from(&self.kept);
    }
}

impl Change {
    /// Makes it, in those sectors that are wanted.
    fn onto(&self, image: &mut Vec<u8>, mut wanted: impl FnMut(usize) -> bool) {
        match self {
            Self::Length(len) => image.resize(*len, 0),
            Self::Write { at, bytes } => {
                let mut from = 0;
                while from < bytes.len() {
                    let sector = (at + from) / SECTOR;
                    let to = ((sector + 1) * SECTOR - at).min(bytes.len());
                    if wanted(sector) {
                        if image.len() < at + to {
                            image.resize(at + to, 0);
                        }
                        image[at + from..at + to].copy_from_slice(&bytes[from..to]);
                    }
                    from = to;
                }
            }
        }
    }
}

impl Folder {
    fn step(&mut self, step: Vec<(OsString, Option<u64>)>) {
        take(&mut self.live, &step);
        self.pending.push(step);
    }

    fn lose(&mut self, style: Style, random: &mut Random, tally: &mut Tally) {
        let fates = fates(style, self.pending.len(), random, tally);
        for (step, fate) in self.pending.drain(..).zip(fates) {
            if fate == Fate::Kept {
                take(&mut self.kept, &step);
            }
        }
        self.live.clone_from(&self.kept);
    }
}

fn take(names: &mut BTreeMap<OsString, u64>, step: &[(OsString, Option<u64>)]) {
    for (name, number) in step {
        match number {
            Some(number) => names.insert(name.clone(), *number),
            None => names.remove(name),
        };
    }
}

fn fates(style: Style, pending: usize, random: &mut Random, tally: &mut Tally) -> Vec<Fate> {
    let whole = random.below(pending as u64 + 1) as usize;
    let fates: Vec<Fate> = (0..pending)
        .map(|number| match style {
            Style::Bare => Fate::Lost,
            Style::Prefix => match number.cmp(&whole) {
                Ordering::Less => Fate::Kept,
                Ordering::Equal => Fate::Torn,
                Ordering::Greater => Fate::Lost,
            },
            Style::Scattered => match random.below(3) {
                0 => Fate::Kept,
                1 => Fate::Torn,
                _ => Fate::Lost,
            },
        })
        .collect();
    tally.pending += pending as u64;
    tally.lost += fates.iter().filter(|fate| **fate != Fate::Kept).count() as u64;
    fates
}

#[cfg(test)]
mod tests {
    use super::{Disk, End, Lie, No, ROOT, Seen};
    use holdall_conformance::random::Random;
    use std::ffi::OsStr;

    const FILE: Seen = Seen::File(0);

    fn after_cut(seed: u64, act: impl FnOnce(&mut Disk)) -> Disk {
        let mut disk = Disk::new(Random::new(seed, 0));
        act(&mut disk);
        disk.cut();
        disk.power_on();
        disk
    }

    fn made(disk: &mut Disk, name: &str) -> u64 {
        let number = disk.make(ROOT, OsStr::new(name), FILE).unwrap();
        disk.write(number, 0, &[7; 2000]).unwrap();
        number
    }

    fn contents(disk: &mut Disk, name: &str) -> Result<Vec<u8>, No> {
        let (number, _) = disk.find(ROOT, OsStr::new(name))?;
        disk.read(number, 0, 1 << 20).map(<[u8]>::to_vec)
    }

    #[test]
    fn what_was_flushed_with_its_folder_stays_whole() {
        for seed in 0..50 {
            let mut disk = after_cut(seed, |disk| {
                let number = made(disk, "a");
                disk.flush(number).unwrap();
                disk.flush(ROOT).unwrap();
            });
            assert_eq!(contents(&mut disk, "a"), Ok(vec![7; 2000]));
        }
    }

    #[test]
    fn what_was_not_flushed_fares_in_every_way() {
        let mut seen = [false; 4];
        for seed in 0..200 {
            let mut disk = after_cut(seed, |disk| {
                made(disk, "a");
            });
            let fared = match contents(&mut disk, "a") {
                Err(_) => 0,
                Ok(bytes) if bytes.is_empty() => 1,
                Ok(bytes) if bytes == [7; 2000] => 2,
                Ok(_) => 3,
            };
            seen[fared] = true;
        }
        assert_eq!(seen, [true; 4], "a name lost, bytes lost, all kept, torn");
    }

    #[test]
    fn a_kill_loses_nothing_until_the_power_goes_too() {
        let mut disk = Disk::new(Random::new(1, 0));
        disk.end_after(3, End::Kill);
        let number = made(&mut disk, "a");
        assert_eq!(disk.write(number, 0, &[1]), Err(No::Dark));
        disk.power_on();
        assert_eq!(contents(&mut disk, "a"), Ok(vec![7; 2000]));
        disk.cut();
        assert_eq!(disk.tally().pending, 2);
    }

    #[test]
    fn a_rename_is_never_halved() {
        for seed in 0..50 {
            let mut disk = after_cut(seed, |disk| {
                let number = made(disk, "a");
                disk.flush(number).unwrap();
                disk.flush(ROOT).unwrap();
                disk.rename(ROOT, OsStr::new("a"), OsStr::new("b"), false).unwrap();
            });
            assert_ne!(contents(&mut disk, "a").is_ok(), contents(&mut disk, "b").is_ok());
        }
    }

    #[test]
    fn flushes_that_lie_keep_nothing_and_a_dark_disk_answers_nothing() {
        let mut disk = Disk::new(Random::new(1, 0));
        disk.set_lie(Lie::Folders);
        disk.end_after(5, End::Power);
        let number = made(&mut disk, "a");
        disk.flush(number).unwrap();
        disk.flush(ROOT).unwrap();
        assert!(!disk.is_dark());
        assert_eq!(disk.flush(ROOT), Err(No::Dark));
        assert_eq!(disk.look(ROOT), Err(No::Dark));
        assert_eq!(disk.tally().pending, 1, "the name");
    }
}
