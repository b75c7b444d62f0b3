//! One process per state directory, and who it is.
//!
//! An advisory lock of the operating system (`flock`) on the file `lock`, so it ends with the process however that
//! ends, SIGKILL too; children don't inherit it. The file's text (process id, then what it does) only serves the
//! message to whoever comes second. Works on network file systems only where `flock` does. Windows counterpart:
//! `LockFileEx`, which std uses there behind the same call.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

/// Enough for a process id and a label; a longer text isn't ours.
const TEXT_LIMIT: u64 = 256;

/// A holder writes its text right after locking; we look again for at most 20 × 10 ms.
const LOOKS: u32 = 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// Why the lock can't be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process holds it.
    #[error("{} is in use by {by}; stop it first or pass another --state-dir", dir.display())]
    Held {
        /// The state directory.
        dir: PathBuf,
        /// Who holds it.
        by: Holder,
    },
    /// The operating system refused.
    #[error("cannot lock {}: {source}; make the directory writable or pass another --state-dir", dir.display())]
    Io {
        /// The state directory.
        dir: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// The process that holds a lock, as far as it has said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub pid: Option<u32>,
    /// What it is doing, e.g. `farhelm host`.
    pub doing: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "{} (process {pid})", self.doing),
            None => f.write_str("another process, which hasn't said what it does"),
        }
    }
}

/// The lock on a state directory, held until dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock of `dir` at once, or says who has it. `doing` is for the one who is refused, e.g. `farhelm host`.
    pub fn take(dir: &Path, doing: &str) -> Result<Self, Error> {
        let io_error = |source| Error::Io { dir: dir.to_owned(), source };
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(dir.join("lock"));
        let file = file.map_err(io_error)?;
        match file.try_lock() {
            Ok(()) => {
                let mut lock = Self { file };
                lock.sign(doing).map_err(io_error)?;
                Ok(lock)
            }
            Err(TryLockError::WouldBlock) => Err(Error::Held { dir: dir.to_owned(), by: holder(file) }),
            Err(TryLockError::Error(source)) => Err(io_error(source)),
        }
    }

    /// Not synced: the text is of no use after a power cut.
    fn sign(&mut self, doing: &str) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(format!("{}\n{doing}\n", std::process::id()).as_bytes())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // So that nobody is told our name between our end and the next holder's signature.
        let _ = self.file.set_len(0);
        // Closing alone leaves it locked for as long as a child between its fork and exec shares the file.
        let _ = self.file.unlock();
    }
}

fn holder(mut file: File) -> Holder {
    for look in 0..LOOKS {
        if look > 0 {
            sleep(BETWEEN_LOOKS);
        }
        if let Some(holder) = signature(&mut file) {
            return holder;
        }
    }
    Holder { pid: None, doing: String::new() }
}

fn signature(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(TEXT_LIMIT).read_to_string(&mut text).ok()?;
    // Both lines must be whole; and the text goes to a terminal.
    let (pid, rest) = text.split_once('\n')?;
    let (doing, _) = rest.split_once('\n')?;
    let doing = doing.chars().filter(|c| !c.is_control()).collect();
    Some(Holder { pid: Some(pid.parse().ok()?), doing })
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};

    use super::*;

    const DIR: &str = "FARHELM_TEST_LOCK_DIR";

    /// This very test binary, running only the test below, as another process that holds the lock of `dir`.
    fn other_process_holds(dir: &Path) -> Child {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "lock::tests::as_another_process_hold_the_lock", "--nocapture"]);
        let mut child = command.env(DIR, dir).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().ends_with("locked")), "the child took the lock");
        child
    }

    #[test]
    fn as_another_process_hold_the_lock() {
        let Some(dir) = std::env::var_os(DIR) else { return };
        let _lock = Lock::take(Path::new(&dir), "the other process").unwrap();
        println!("locked");
        // Until we're killed, or the parent is gone.
        let _ = io::stdin().read_line(&mut String::new());
    }

    #[test]
    fn the_second_is_told_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = other_process_holds(dir.path());
        let error = Lock::take(dir.path(), "second").unwrap_err();
        let Error::Held { by, .. } = &error else { panic!("{error}") };
        assert_eq!(*by, Holder { pid: Some(child.id()), doing: "the other process".into() });
        assert!(error.to_string().contains(&format!("the other process (process {})", child.id())));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_sigkill_frees_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = other_process_holds(dir.path());
        child.kill().unwrap();
        child.wait().unwrap();
        Lock::take(dir.path(), "second").unwrap();
    }

    #[test]
    fn dropping_frees_it_and_takes_the_name_off() {
        let dir = tempfile::tempdir().unwrap();
        let lock = Lock::take(dir.path(), "first").unwrap();
        assert!(matches!(Lock::take(dir.path(), "second"), Err(Error::Held { by, .. }) if by.doing == "first"));
        drop(lock);
        assert_eq!(std::fs::read(dir.path().join("lock")).unwrap(), b"");
        Lock::take(dir.path(), "second").unwrap();
    }

    #[test]
    fn a_shorter_name_replaces_a_longer_one_whole() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("lock"), "4242424242\na much longer label of one that was killed\n").unwrap();
        let _lock = Lock::take(dir.path(), "me").unwrap();
        let text = std::fs::read_to_string(dir.path().join("lock")).unwrap();
        assert_eq!(text, format!("{}\nme\n", std::process::id()));
    }

    #[test]
    fn a_holder_without_a_name_or_with_escapes_in_it_does_no_harm() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let lock = Lock::take(dir.path(), "first").unwrap();
        let name = |text: &[u8]| {
            std::fs::write(&path, text).unwrap();
            match Lock::take(dir.path(), "second") {
                Err(Error::Held { by, .. }) => by.to_string(),
                other => panic!("{other:?}"),
            }
        };
        assert!(name(b"12\n\x1b[2Jx\n").starts_with("[2Jx"));
        for unusable in [&b"\xff\xff"[..], b"12", b"12\nunfinished", b"pid\nlabel\n", b""] {
            assert!(name(unusable).starts_with("another process"));
        }
        drop(lock);
    }

    #[test]
    fn a_directory_that_is_not_there_cannot_be_locked() {
        let error = Lock::take(Path::new("/nonexistent/farhelm"), "first").unwrap_err();
        assert!(matches!(error, Error::Io { .. }) && error.to_string().contains("--state-dir"));
    }
}
