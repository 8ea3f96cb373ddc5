//! What a process has used, from `/proc`.

use std::time::Duration;

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

fn status(pid: u32, field: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() << 10
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_process_has_memory() {
        let pid = std::process::id();
        assert!(super::resident(pid) > 0);
        assert!(super::peak_resident(pid) >= super::resident(pid) / 2);
    }
}
