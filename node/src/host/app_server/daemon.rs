//! Codex's own app-server daemon: the one a plain `codex` at the desk uses, so what is started there is steerable.
//!
//! It is attached to through its control socket in CODEX_HOME. These commands only ask for it and start it; stopping
//! it is for whoever uses it at the desk.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::codex::Codex;
use super::command::{self, CommandError, Said, complaint};

/// A daemon that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Daemon {
    /// Where it listens.
    pub socket: PathBuf,
    /// Its version, if it said so.
    pub version: Option<String>,
}

/// Whether there is a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// It answers.
    Running(Daemon),
    /// It doesn't; what `codex` said about that.
    Stopped(String),
}

/// Why the daemon couldn't be asked for or started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The command didn't run to its end.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// It said no.
    #[error("`codex app-server daemon start` failed: {0}")]
    Failed(String),
    /// It said yes, but not where.
    #[error("`codex app-server daemon` answered what can't be read: {0}")]
    Garbled(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    status: String,
    socket_path: PathBuf,
    app_server_version: Option<String>,
}

/// The daemon's control socket in a CODEX_HOME.
pub fn control_socket(codex_home: &Path) -> PathBuf {
    codex_home.join("app-server-control").join("app-server-control.sock")
}

/// Whether a daemon runs.
pub async fn status(codex: &Codex) -> Result<Status, Error> {
    let said = command::run(codex.command(["app-server", "daemon", "version"]), ASKING).await?;
    if !said.status.success() {
        return Ok(Status::Stopped(complaint(&said.stderr)));
    }
    let report = report(&said)?;
    match report.status.as_str() {
        "running" => Ok(Status::Running(report.into())),
        other => Ok(Status::Stopped(complaint(other))),
    }
}

/// Starts the daemon, if it doesn't run yet, and waits until it listens. The first start copies Codex into CODEX_HOME
/// (400 MB; 3 s were measured).
pub async fn start(codex: &Codex) -> Result<Daemon, Error> {
    let said = command::run(codex.command(["app-server", "daemon", "start"]), STARTING).await?;
    if !said.status.success() {
        return Err(Error::Failed(complaint(&said.stderr)));
    }
    Ok(report(&said)?.into())
}

/// The report among what may be said beside it.
fn report(said: &Said) -> Result<Report, Error> {
    let mut lines = said.stdout.lines().rev();
    lines.find_map(|line| serde_json::from_str(line).ok()).ok_or_else(|| Error::Garbled(complaint(&said.stdout)))
}

impl From<Report> for Daemon {
    fn from(report: Report) -> Self {
        Self { socket: report.socket_path, version: report.app_server_version }
    }
}

/// Measured 0.1 s.
const ASKING: Duration = Duration::from_secs(15);

/// A slow disk may take its time over 400 MB.
const STARTING: Duration = Duration::from_secs(180);

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::host::app_server::codex::tests::scripted;

    const RUNNING: &str = r#"echo hello; echo '{"status":"running","socketPath":"/s","appServerVersion":"0.169.0"}'"#;

    #[tokio::test]
    async fn a_running_daemon_is_found_beside_other_talk() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = Daemon { socket: "/s".into(), version: Some("0.169.0".into()) };
        let status = status(&scripted(folder.path(), RUNNING)).await.unwrap();
        assert_eq!(status, Status::Running(daemon));
    }

    #[tokio::test]
    async fn no_daemon_is_a_status_and_not_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let status = status(&scripted(folder.path(), "echo failed to connect >&2; exit 1")).await.unwrap();
        assert_eq!(status, Status::Stopped("failed to connect".into()));
    }

    #[tokio::test]
    async fn a_start_that_fails_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let error = start(&scripted(folder.path(), "echo unrecognized subcommand >&2; exit 2")).await.unwrap_err();
        assert!(matches!(&error, Error::Failed(said) if said == "unrecognized subcommand"), "{error}");
    }

    #[tokio::test]
    async fn a_start_that_does_not_say_where_is_garbled() {
        let folder = tempfile::tempdir().unwrap();
        let error = start(&scripted(folder.path(), r#"echo '{"status":"started"}'"#)).await.unwrap_err();
        assert!(matches!(error, Error::Garbled(_)), "{error}");
    }

    #[tokio::test]
    async fn a_codex_that_can_not_be_run_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let codex = scripted(folder.path(), "");
        fs::remove_file(folder.path().join("codex")).unwrap();
        assert!(matches!(start(&codex).await, Err(Error::Command(CommandError::Run(_)))));
    }
}
