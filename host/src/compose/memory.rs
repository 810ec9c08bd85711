//! How much memory this process may use: the least of what the machine has, the limit of the control group at the root of what it sees, which
//! in a container is its own, and the limit of its address space.

use std::fs;

/// Taken where nothing tells, as outside Linux.
const UNKNOWN: u64 = 8 << 30;

/// Bytes of memory that this process may use.
pub fn limit() -> usize {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let group = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let groups = group.into_iter().filter_map(|path| read(path).trim().parse().ok());
    let machine = field(&read("/proc/meminfo"), "MemTotal:").map(|kib| kib << 10);
    let own = field(&read("/proc/self/limits"), "Max address space");
    let least = groups.chain(machine).chain(own).min().unwrap_or(UNKNOWN);
    usize::try_from(least).unwrap_or(usize::MAX)
}

/// The number that follows a name at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_limited_is_found_in_the_systems_words() {
        assert_eq!(field("MemFree:  1 kB\nMemTotal:       16316412 kB\n", "MemTotal:"), Some(16_316_412));
        let limits =
            "Max cpu time   unlimited  unlimited  seconds\nMax address space         7168000000  unlimited  bytes\n";
        assert_eq!(field(limits, "Max address space"), Some(7_168_000_000));
        assert_eq!(field("Max address space         unlimited   unlimited  bytes", "Max address space"), None);
        assert!(limit() > 64 << 20);
    }
}
