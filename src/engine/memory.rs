//! How much memory this process may use: the cgroup's limit, or the machine's memory.

/// Bytes of memory that the process may use, `None` where the system does not tell.
pub fn machine_memory_bytes() -> Option<u64> {
    let machine = read_mem_total();
    match (cgroup_limit(), machine) {
        (Some(limit), Some(machine)) => Some(limit.min(machine)),
        (limit, machine) => limit.or(machine),
    }
}

/// cgroup v2, then v1; "max" and absurdly large numbers mean no limit.
fn cgroup_limit() -> Option<u64> {
    const NO_LIMIT: u64 = 1 << 60;
    ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .filter_map(|text| text.trim().parse::<u64>().ok())
        .find(|limit| *limit < NO_LIMIT)
}

fn read_mem_total() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes * 1024)
}
