//! Processes of this machine: who is alive, who holds a port, and how to stop a group of them.
//!
//! A process id can be given to another process as soon as its owner is reaped, so every answer about a process that
//! isn't our own child is a hint for a message, never a reason to signal it. Linux answers from `/proc`; macOS has no
//! such files, so names, births and port holders are `None` there (`lsof -i :PORT` would tell). Windows counterparts:
//! `OpenProcess`, `GetExtendedTcpTable`, and a job object instead of a process group.

use std::fmt;
use std::fs;
use std::io;
use std::process::{Child, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, geteuid, getpgid, getpgrp, kill_process_group, test_kill_process, test_kill_process_group,
};

/// How often [`Group::stop`] looks whether the group has ended.
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// Which kind of port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// A listening TCP socket.
    Tcp,
    /// A bound UDP socket.
    Udp,
}

/// A process, for a message to the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its name, without control characters.
    pub name: String,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {})", self.name, self.pid)
    }
}

/// Whether a process with this id exists, a zombie included.
pub fn is_alive(pid: u32) -> bool {
    // EPERM: there is one, and it isn't ours.
    checked(pid).is_some_and(|pid| matches!(test_kill_process(pid), Ok(()) | Err(Errno::PERM)))
}

/// The user this process acts as.
pub fn user() -> u32 {
    geteuid().as_raw()
}

/// The name of a process, if the system tells.
pub fn name(pid: u32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.chars().filter(|c| !c.is_control()).collect())
}

/// What tells a process from every other one that had or will have its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Birth {
    /// Its id.
    pub pid: u32,
    /// When it was started, in clock ticks since the machine was.
    pub started: u64,
    /// The id of this run of the machine.
    pub boot: String,
}

/// When and where a process was born, if the system tells. On macOS it would be `pbi_start_tvsec` of `proc_pidinfo` and
/// `kern.bootsessionuuid`, for which there is no safe call; Windows: `GetProcessTimes`.
pub fn birth(pid: u32) -> Option<Birth> {
    let started = started(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned();
    (!boot.is_empty()).then_some(Birth { pid, started, boot })
}

/// The 22nd field of `/proc/PID/stat` (proc_pid_stat(5)). The second one, the name, may hold anything, a `)` included.
fn started(stat: &str) -> Option<u64> {
    let (_, from_state) = stat.rsplit_once(") ")?;
    from_state.split_whitespace().nth(22 - 3)?.parse().ok()
}

/// Who holds a port. `None`: nobody, or somebody whose open files we may not see (another user's).
pub fn port_holder(transport: Transport, port: u16) -> Option<Process> {
    let tables: [&str; 2] = match transport {
        Transport::Tcp => ["/proc/net/tcp", "/proc/net/tcp6"],
        Transport::Udp => ["/proc/net/udp", "/proc/net/udp6"],
    };
    let tables = tables.map(|path| fs::read_to_string(path).unwrap_or_default());
    let mut inodes = tables.iter().flat_map(|table| table.lines()).filter_map(|row| bound(row, transport, port));
    inodes.find_map(owner_of_socket)
}

/// The inode of a row of `/proc/net/{tcp,udp}` if it is of this port: `sl local:port remote:port state … uid … inode`
/// (proc_pid_net(5)). TCP connections that merely use the port don't count, only its listener (state 0A).
fn bound(row: &str, transport: Transport, port: u16) -> Option<u64> {
    let fields: Vec<&str> = row.split_whitespace().collect();
    let (_, local_port) = fields.get(1)?.rsplit_once(':')?;
    let is_listener = transport == Transport::Udp || *fields.get(3)? == "0A";
    let is_port = u16::from_str_radix(local_port, 16) == Ok(port);
    fields.get(9)?.parse().ok().filter(|inode| is_port && is_listener && *inode != 0)
}

fn owner_of_socket(inode: u64) -> Option<Process> {
    let link = format!("socket:[{inode}]");
    let holds = |pid: &u32| {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        files.filter_map(|file| fs::read_link(file.path()).ok()).any(|target| target.as_os_str() == link.as_str())
    };
    let entries = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let pid = pids.find(holds)?;
    Some(Process { pid, name: name(pid)? })
}

/// The process group of a child that was started as its leader (`process_group(0)` of std's or tokio's `Command`).
///
/// Valid until the leader has been reaped *and* its last member has ended; after that the id may be another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group(Pid);

impl Group {
    /// The group led by the child with this id. `None` for ids that stand for whole sets of processes (0 and 1), or
    /// don't exist.
    pub fn led_by(child: u32) -> Option<Self> {
        checked(child).filter(|pid| *pid != Pid::INIT).map(Self)
    }

    /// The group of a process that is known to live at this moment, as the peer of a connected Unix socket is. `None`
    /// if it is our own group or one that stands for a whole set.
    pub fn of(member: u32) -> Option<Self> {
        let group = getpgid(Some(checked(member)?)).ok()?;
        (group != Pid::INIT && group != getpgrp()).then_some(Self(group))
    }

    /// Asks all members to end (SIGTERM). A group that has ended already is fine.
    pub fn terminate(self) -> io::Result<()> {
        self.signal(Signal::TERM)
    }

    /// Ends all members (SIGKILL). A group that has ended already is fine.
    pub fn kill(self) -> io::Result<()> {
        self.signal(Signal::KILL)
    }

    /// Whether any member is left; a leader that ended and wasn't waited for counts as one.
    pub fn is_alive(self) -> bool {
        matches!(test_kill_process_group(self.0), Ok(()) | Err(Errno::PERM))
    }

    fn signal(self, signal: Signal) -> io::Result<()> {
        match kill_process_group(self.0, signal) {
            // macOS says EPERM of a group in which only zombies are left.
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(Errno::PERM) if cfg!(target_os = "macos") => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// Stops a child that leads its group, and the whole group: asks, waits up to `grace`, then kills. Blocks meanwhile.
///
/// Members that outlive their leader get what is left of the grace, too.
pub fn stop(child: &mut Child, grace: Duration) -> io::Result<ExitStatus> {
    let group = Group::led_by(child.id()).ok_or_else(|| io::Error::other("the child has no group of its own"))?;
    let end = Instant::now() + grace;
    group.terminate()?;
    // try_wait reaps the leader, so that the group can be seen to be empty.
    while (child.try_wait()?.is_none() || group.is_alive()) && Instant::now() < end {
        sleep(BETWEEN_LOOKS);
    }
    group.kill()?;
    child.wait()
}

fn checked(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().filter(|pid| *pid > 0).and_then(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::{Command, Stdio};

    use super::*;

    /// Far beyond what any of these takes.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// A shell that leads its own group, has run `script` up to its `echo $!`, and the id that it printed.
    fn group(script: &str) -> (Child, u32) {
        let mut child =
            Command::new("sh").args(["-c", script]).process_group(0).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (child, line.trim().parse().unwrap())
    }

    fn wait_until(what: impl Fn() -> bool) {
        let start = Instant::now();
        while !what() {
            assert!(start.elapsed() < PATIENCE, "waited in vain");
            sleep(BETWEEN_LOOKS);
        }
    }

    /// Whether the process is gone, or only waits for its (new) parent to notice.
    fn has_ended(pid: u32) -> bool {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with(['Z', 'X']))
    }

    #[test]
    fn we_are_alive_and_our_reaped_child_is_not() {
        assert!(is_alive(std::process::id()));
        let mut child = Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        assert!(!is_alive(child.id()));
        assert!(!is_alive(0) && !is_alive(u32::MAX));
    }

    #[test]
    fn a_process_has_a_name() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        wait_until(|| name(child.id()).as_deref() == Some("sleep"));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(name(child.id()), None);
    }

    #[test]
    fn a_birth_is_the_same_at_every_look_and_no_other_process_has_it() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let born = birth(child.id()).unwrap();
        assert_eq!(birth(child.id()), Some(born.clone()));
        let ours = birth(std::process::id()).unwrap();
        assert!(ours.boot == born.boot && ours.pid != born.pid && ours.started <= born.started);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(birth(child.id()), None);
    }

    #[test]
    fn a_process_may_have_any_name() {
        let stat = "7 (a) S 1 (b) ) S 1 7 7 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 998 1024 3";
        assert_eq!(started(stat), Some(998));
        assert_eq!(started("7 (sh) S 1"), None);
    }

    #[test]
    fn a_listener_is_found_and_its_connections_are_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        assert_eq!(port_holder(Transport::Tcp, port).unwrap().pid, std::process::id());
        assert_eq!(port_holder(Transport::Tcp, client.local_addr().unwrap().port()), None);
        assert_eq!(bound("0: 0100007F:0FA1 00000000:0000 01 0:0 00:0 0 0 0 77", Transport::Tcp, 4001), None);
    }

    #[test]
    fn udp_and_version_6_are_found_too() {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = udp.local_addr().unwrap().port();
        assert_eq!(port_holder(Transport::Udp, port).unwrap().pid, std::process::id());
        let v6 = "1: 00000000000000000000000001000000:0FA1 00000000:0000 0A 0:0 00:0 0 0 0 78 1";
        assert_eq!(bound(v6, Transport::Tcp, 4001), Some(78));
        assert_eq!(bound("sl local_address rem_address st", Transport::Tcp, 4001), None);
    }

    #[test]
    fn a_group_that_listens_ends_by_the_first_signal() {
        let (mut child, member) = group("sleep 60 & echo $!; wait");
        let status = stop(&mut child, PATIENCE).unwrap();
        assert_eq!(status.signal(), Some(15));
        wait_until(|| has_ended(member));
    }

    #[test]
    fn a_group_that_ignores_the_signal_is_killed_after_the_grace() {
        let (mut child, member) = group("trap '' TERM; sleep 60 & echo $!; wait");
        let status = stop(&mut child, Duration::from_millis(50)).unwrap();
        assert_eq!(status.signal(), Some(9));
        wait_until(|| has_ended(member));
    }

    #[test]
    fn members_that_outlive_their_leader_are_killed() {
        let (mut child, member) = group("(trap '' TERM; echo $(exec sh -c 'echo $PPID'); exec sleep 60) & wait");
        let status = stop(&mut child, Duration::from_millis(50)).unwrap();
        assert_eq!(status.signal(), Some(15));
        wait_until(|| has_ended(member));
    }

    #[test]
    fn a_child_that_ended_by_itself_is_only_reaped() {
        let mut child = Command::new("sh").args(["-c", "exit 3"]).process_group(0).spawn().unwrap();
        wait_until(|| has_ended(child.id()));
        assert_eq!(stop(&mut child, PATIENCE).unwrap().code(), Some(3));
    }

    #[test]
    fn a_member_tells_its_group() {
        let (mut child, member) = group("sleep 60 & echo $!; wait");
        assert_eq!(Group::of(member), Group::led_by(child.id()));
        stop(&mut child, PATIENCE).unwrap();
    }

    #[test]
    fn our_own_group_is_never_given_out() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        assert_eq!(Group::of(child.id()), None);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_file_of_ours_is_of_our_user() {
        use std::os::unix::fs::MetadataExt;
        assert_eq!(tempfile::tempfile().unwrap().metadata().unwrap().uid(), user());
    }

    #[test]
    fn ids_that_mean_everybody_lead_no_group() {
        for everybody in [0, 1, u32::MAX, i32::MAX as u32 + 1] {
            assert_eq!(Group::led_by(everybody), None);
        }
    }
}
