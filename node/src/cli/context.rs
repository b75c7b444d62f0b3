//! What every command is given: where state is kept, how to say things, and when to stop.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use farhelm_overlay::Policy;
use farhelm_platform::directories::Directories;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::exit::{Exit, Failure};
use crate::terminal::screen::Screen;

/// A command's surroundings.
#[derive(Debug, Clone)]
pub struct Context {
    state_dir: Option<PathBuf>,
    json: bool,
    /// Which paths may carry a phone's sessions.
    pub(super) paths: Policy,
    /// Whether a phone looks for its hosts in this network.
    pub(super) mdns: bool,
    /// The terminal.
    pub screen: Screen,
    /// Cancelled by the first Ctrl-C or SIGTERM; the second ends the program at once.
    pub stop: CancellationToken,
}

impl Context {
    pub(super) fn new(state_dir: Option<&Path>, json: bool) -> Self {
        // An empty variable is as good as none.
        let state_dir = state_dir.filter(|dir| !dir.as_os_str().is_empty()).map(Path::to_owned);
        let (paths, mdns) = (Policy::default(), false);
        Self { state_dir, json, paths, mdns, screen: Screen::detect(), stop: CancellationToken::new() }
    }

    /// Whether scripts read the output.
    pub const fn json(&self) -> bool {
        self.json
    }

    /// The directories of this run. Nothing is created; commands that write call
    /// [`prepare`](Directories::prepare).
    pub fn directories(&self) -> Result<Directories, Failure> {
        Ok(Directories::resolve(self.state_dir.as_deref())?)
    }

    /// Says a result on standard output: `event` as a line of JSON for scripts, `text` for people (with colours
    /// where they are wanted; text from elsewhere must be made safe by the caller).
    pub fn say(&self, event: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), Failure> {
        let said = if self.json {
            serde_json::to_string(event).map_err(io::Error::from).and_then(|line| writeln!(io::stdout(), "{line}"))
        } else {
            writeln!(anstream::stdout(), "{}", text())
        };
        said.map_err(|error| Failure::of_output(&error))
    }

    /// Says something beside the results on standard error: only to people.
    pub fn note(&self, text: &str) {
        if !self.json {
            // Standard error being closed is no reason to stop.
            let _ = writeln!(anstream::stderr(), "{text}");
        }
    }

    /// Runs a command that a Ctrl-C or SIGTERM leaves unfinished.
    pub async fn unless_stopped<T>(&self, command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let stopped = Failure::new(Exit::Interrupted, "interrupted");
        self.stop.run_until_cancelled(command).await.unwrap_or(Err(stopped))
    }

    /// Starts to listen for Ctrl-C and SIGTERM.
    pub(super) fn watch_signals(&self) -> io::Result<()> {
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let stop = self.stop.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if stop.is_cancelled() {
                    std::process::exit(Exit::Interrupted.code().into());
                }
                stop.cancel();
            }
        });
        Ok(())
    }
}
