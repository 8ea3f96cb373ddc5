//! What a process has used, from `/proc`, and how it is made to stand still.

use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use crate::Outcome;

/// Clock ticks a second, which Linux has fixed at 100 for user space.
const TICKS: u64 = 100;

/// Processor time of a process and its ended threads; zero once it is gone.
pub fn cpu(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name, in parentheses, may hold spaces; fields 14 and 15 are counted from behind it.
    let ticks: u64 = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum())
        .unwrap_or_default();
    Duration::from_millis(ticks * (1000 / TICKS))
}

/// Most resident bytes since the start, or since [`reset_peak`].
pub fn peak_resident(pid: u32) -> u64 {
    status(pid, "VmHWM:")
}

/// Resident bytes now.
pub fn resident(pid: u32) -> u64 {
    status(pid, "VmRSS:")
}

/// Forgets the peak.
pub fn reset_peak(pid: u32) {
    // Where it is not allowed the peak is since the start, which is no smaller.
    let _ = std::fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

/// Children of a process, for servers that fork workers.
pub fn children(pid: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

/// Processes that stand still until this is dropped.
#[must_use]
pub struct Stopped(Vec<u32>);

/// Stops a process and all below it. Each is stopped before its children are looked for, so that no child is missed.
pub fn stop(pid: u32) -> Outcome<Stopped> {
    let mut stopped = Stopped(vec![pid]);
    let mut at = 0;
    while let Some(pid) = stopped.0.get(at).copied() {
        send(pid, Signal::STOP)?;
        stopped.0.extend(children(pid));
        at += 1;
    }
    Ok(stopped)
}

impl Drop for Stopped {
    fn drop(&mut self) {
        for pid in &self.0 {
            // Whoever was killed meanwhile is gone.
            let _ = send(*pid, Signal::CONT);
        }
    }
}

/// To one that ended by now, nothing.
fn send(pid: u32, signal: Signal) -> Outcome<()> {
    let pid = Pid::from_raw(pid.try_into()?).ok_or("0 is no process")?;
    match kill_process(pid, signal) {
        Err(error) if error != Errno::SRCH => Err(error.into()),
        _ => Ok(()),
    }
}

fn status(pid: u32, field: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() << 10
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::Duration;

    #[test]
    fn this_process_has_memory() {
        let pid = std::process::id();
        assert!(super::resident(pid) > 0);
        assert!(super::peak_resident(pid) >= super::resident(pid) / 2);
    }

    /// A server's workers went on while it stood still, and nothing was away.
    #[test]
    fn who_is_stopped_stands_still_with_all_below() {
        let script = "sh -c 'sleep 60; :' & wait";
        let mut parent = Command::new("sh").args(["-c", script]).stdin(Stdio::null()).spawn().unwrap();
        let family = || {
            let child = super::children(parent.id()).first().copied()?;
            let grandchild = super::children(child).first().copied()?;
            Some([parent.id(), child, grandchild])
        };
        let family = std::iter::repeat_with(family).flatten().next().unwrap();
        let state = |pid: &u32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            stat.rsplit_once(") ").unwrap().1.chars().next().unwrap()
        };
        let until = |what: &dyn Fn() -> bool| {
            let looks = (0..10_000).any(|_| what() || (std::thread::sleep(Duration::from_millis(1)), false).1);
            assert!(looks, "{:?}", family.map(|pid| state(&pid)));
        };
        let stopped = super::stop(parent.id()).unwrap();
        // A shell that waits for a child to become another program waits for it uninterruptibly, and this test for the shell for ever.
        until(&|| family.iter().all(|pid| ['T', 'D'].contains(&state(pid))));
        drop(stopped);
        until(&|| family.iter().all(|pid| state(pid) != 'T'));
        for pid in family.iter().rev() {
            super::send(*pid, rustix::process::Signal::KILL).unwrap();
        }
        parent.wait().unwrap();
    }
}
