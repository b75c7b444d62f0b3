//! Cuts the TCP connections of a process from outside, as a network that goes away does: both ends find them closed.

use std::collections::BTreeSet;
use std::fs;

use rustix::net::Shutdown;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

/// Cuts all of them. A process that is gone has none.
pub(crate) fn connections(pid: u32) {
    let established = established(pid);
    let Some(process) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    let Ok(process) = pidfd_open(process, PidfdFlags::empty()) else { return };
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        let inode = target.to_string_lossy().strip_prefix("socket:[").map(|rest| rest.trim_end_matches(']').to_owned());
        let number = entry.file_name().to_string_lossy().parse();
        if let (Some(inode), Ok(number)) = (inode, number)
            && established.contains(&inode)
            && let Ok(socket) = pidfd_getfd(&process, number, PidfdGetfdFlags::empty())
        {
            // It may have been closed meanwhile.
            let _ = rustix::net::shutdown(&socket, Shutdown::Both);
        }
    }
}

/// The inodes of established TCP connections.
fn established(pid: u32) -> BTreeSet<String> {
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap_or_default();
    let rows = table.lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row.get(3) == Some(&"01")).filter_map(|row| row.get(9).map(ToString::to_string)).collect()
}
