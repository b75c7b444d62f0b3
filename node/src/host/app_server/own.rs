//! An app-server of our own: a child process that listens on a socket in the host's private runtime directory.
//!
//! For machines without a daemon. It leads its own process group, so that Ctrl-C at the host's terminal doesn't reach
//! it before the host does, and so that `codex`, a Node script around the real program, ends as a whole.
//!
//! A host that was killed can't end its child. The next host finds it still listening and takes it over, running
//! turns included, as a second server would be refused the threads that the first one holds.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use farhelm_platform::directories;
use farhelm_platform::process::Group;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::UnixStream;
use tokio::process::Child;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::Options;
use super::codex::{Codex, Missing};
use super::command::complaint;
use super::source;

/// The socket's name in the runtime directory.
const SOCKET: &str = "codex.sock";

/// From the start of the process until it listens; measured 0.6 s on a fresh CODEX_HOME.
const STARTING: Duration = Duration::from_secs(30);

/// Between two looks whether it listens.
const LOOKING: Duration = Duration::from_millis(20);

/// For it to end by itself; measured 0.5 s.
const GRACE: Duration = Duration::from_secs(5);

/// For the last of what an ended one said.
const READING: Duration = Duration::from_secs(1);

/// How much of what it said last is kept to tell why it ended.
const TAIL: usize = 4096;

/// Why there is no app-server of our own.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OwnError {
    /// There is no `codex`.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// The runtime directory isn't private.
    #[error(transparent)]
    Directory(#[from] directories::Error),
    /// The process couldn't be started.
    #[error("`codex app-server` can't be started: {0}")]
    Spawn(#[source] io::Error),
    /// It ended before it listened.
    #[error("`codex app-server` ended ({status}): {said}")]
    Ended {
        /// How it ended.
        status: ExitStatus,
        /// Why, by what it said last.
        said: String,
    },
    /// It runs, but doesn't listen.
    #[error("`codex app-server` didn't listen within {} s", STARTING.as_secs())]
    Slow,
}

/// The app-server of our own, running or not.
#[derive(Debug)]
pub(super) struct Own {
    options: Options,
    process: Option<Process>,
}

/// A running one. Killed with its group when dropped.
#[derive(Debug)]
struct Process {
    group: Group,
    /// `None`: an earlier host's child, which we took over.
    child: Option<Child>,
    tail: Tail,
    /// Reads what it says into the tail.
    reader: Option<JoinHandle<()>>,
}

impl Own {
    /// Doesn't start anything yet.
    pub(super) fn new(options: Options) -> Self {
        Self { options, process: None }
    }

    /// Its socket.
    pub(super) fn socket(&self) -> PathBuf {
        self.options.runtime_dir.join(SOCKET)
    }

    /// Whether it is running, as far as we know.
    pub(super) fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.ended().is_none())
    }

    /// Connects to it, and starts it first if it doesn't run.
    pub(super) async fn reach(&mut self) -> Result<UnixStream, OwnError> {
        if !self.is_running() {
            self.stop().await;
            directories::private(&self.options.runtime_dir)?;
            if let Some(stream) = self.take_over().await {
                return Ok(stream);
            }
            self.process = Some(self.spawn()?);
        }
        let listening = self.listening().await;
        if listening.is_err() {
            self.stop().await;
        }
        listening
    }

    /// Ends it: asks, then kills.
    pub(super) async fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.stop().await;
        }
    }

    async fn take_over(&mut self) -> Option<UnixStream> {
        let stream = source::connect_to_ours(&self.socket()).await.ok()?;
        let pid = stream.peer_cred().ok()?.pid()?;
        let group = Group::of(u32::try_from(pid).ok()?)?;
        tracing::info!(pid, "taking over the app-server of an earlier host");
        self.process = Some(Process { group, child: None, tail: Tail::default(), reader: None });
        Some(stream)
    }

    fn spawn(&self) -> Result<Process, OwnError> {
        let codex = Codex::find(&self.options)?;
        let mut listen = OsString::from("unix://");
        listen.push(self.socket());
        let mut command = codex.command([OsString::from("app-server"), OsString::from("--listen"), listen]);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
        let mut child = command.spawn().map_err(OwnError::Spawn)?;
        let group = child.id().and_then(Group::led_by);
        let group = group.ok_or_else(|| OwnError::Spawn(io::Error::other("it has no process group")))?;
        let tail = Tail::default();
        let reader = child.stderr.take().map(|stderr| tokio::spawn(tail.clone().follow(stderr)));
        tracing::info!(codex = %codex.program().display(), pid = child.id(), "started an app-server of our own");
        Ok(Process { group, child: Some(child), tail, reader })
    }

    async fn listening(&mut self) -> Result<UnixStream, OwnError> {
        let socket = self.socket();
        let Some(process) = &mut self.process else { return Err(OwnError::Slow) };
        timeout(STARTING, process.listening(&socket)).await.unwrap_or(Err(OwnError::Slow))
    }
}

impl Process {
    async fn listening(&mut self, socket: &Path) -> Result<UnixStream, OwnError> {
        loop {
            if let Ok(stream) = source::connect_to_ours(socket).await {
                return Ok(stream);
            }
            if let Some(Some(status)) = self.ended() {
                return Err(OwnError::Ended { status, said: self.complaint().await });
            }
            sleep(LOOKING).await;
        }
    }

    /// `Some` if it has ended, with its status if it was our child.
    fn ended(&mut self) -> Option<Option<ExitStatus>> {
        match &mut self.child {
            Some(child) => child.try_wait().ok().flatten().map(Some),
            None => (!self.group.is_alive()).then_some(None),
        }
    }

    /// Why it ended, once all it said has been read. What it left running may hold the pipe open.
    async fn complaint(&mut self) -> String {
        if let Some(reader) = &mut self.reader {
            let _ = timeout(READING, reader).await;
        }
        self.tail.complaint()
    }

    async fn stop(mut self) {
        let end = async {
            self.group.terminate()?;
            while self.ended().is_none() || self.group.is_alive() {
                sleep(LOOKING).await;
            }
            io::Result::Ok(())
        };
        match timeout(GRACE, end).await {
            Ok(Ok(())) => tracing::debug!("the app-server of our own has ended"),
            Ok(Err(error)) => tracing::warn!(%error, "the app-server of our own can't be asked to end"),
            Err(_) => tracing::warn!("the app-server of our own didn't end when asked; killing it"),
        }
        // Dropped here, which kills what is left.
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Once the leader is reaped and the group is empty its number may be another's.
        let is_ours = self.ended().is_none() || self.group.is_alive();
        if is_ours && let Err(error) = self.group.kill() {
            tracing::warn!(%error, "the app-server of our own can't be killed");
        }
    }
}

/// The end of what the process said.
#[derive(Debug, Clone, Default)]
struct Tail(Arc<Mutex<Vec<u8>>>);

impl Tail {
    /// Reads to the end, so that the process never waits for a full pipe.
    async fn follow(self, mut output: impl AsyncRead + Unpin) {
        let mut chunk = [0; TAIL];
        while let Ok(length @ 1..) = output.read(&mut chunk).await {
            tracing::debug!(target: "codex", "{}", String::from_utf8_lossy(&chunk[..length]).trim_end());
            let mut tail = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            tail.extend_from_slice(&chunk[..length]);
            let surplus = tail.len().saturating_sub(TAIL);
            tail.drain(..surplus);
        }
    }

    fn complaint(&self) -> String {
        let tail = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        complaint(&String::from_utf8_lossy(&tail))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::host::app_server::codex::tests::scripted;

    /// One of our own whose `codex` is this shell script.
    fn own(folder: &Path, script: &str) -> Own {
        let codex = scripted(folder, script).program().to_owned();
        Own::new(Options {
            codex: Some(codex),
            codex_home: None,
            runtime_dir: folder.join("run"),
            environment: Vec::new(),
        })
    }

    #[tokio::test]
    async fn one_that_ends_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let script = "echo started >&2; printf '\\033[31mError:\\033[0m no such model\\n\\n' >&2; exit 3";
        let error = own(folder.path(), script).reach().await.unwrap_err();
        let OwnError::Ended { status, said } = error else { panic!("{error}") };
        assert_eq!((status.code(), said.as_str()), (Some(3), "no such model"));
    }

    #[tokio::test]
    async fn one_that_talks_without_end_is_remembered_by_its_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let script = "yes | head -n 100000 >&2; echo enough >&2; exit 1";
        let error = own(folder.path(), script).reach().await.unwrap_err();
        assert!(matches!(&error, OwnError::Ended { said, .. } if said == "enough"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_does_not_listen_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let mut own = own(folder.path(), "exec sleep 600");
        assert!(matches!(own.reach().await, Err(OwnError::Slow)));
        assert!(!own.is_running());
    }

    #[tokio::test]
    async fn one_that_can_not_be_started_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let mut own = own(folder.path(), "");
        let broken = "printf '#!/nonexistent/interpreter\\n' >\"$0\"";
        let program = folder.path().join("codex");
        assert!(std::process::Command::new("sh").args(["-c", broken]).arg(program).status().unwrap().success());
        assert!(matches!(own.reach().await, Err(OwnError::Spawn(_))));
    }

    #[tokio::test]
    async fn a_runtime_directory_that_others_can_look_into_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut own = own(folder.path(), "exec sleep 600");
        fs::create_dir(folder.path().join("run")).unwrap();
        fs::set_permissions(folder.path().join("run"), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(own.reach().await, Err(OwnError::Directory(_))));
    }

    #[tokio::test]
    async fn without_codex_there_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let mut own = own(folder.path(), "");
        fs::remove_file(folder.path().join("codex")).unwrap();
        assert!(matches!(own.reach().await, Err(OwnError::Missing(_))));
    }
}
