//! The two agents that every test of the app-server protocol runs on: the scripted one, and the real Codex behind the
//! scripted model.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use farhelm::demo::agent::Agent;
use farhelm::demo::model::{Model, codex_config};

/// A running agent with a folder to work in and one beside it.
pub(crate) struct Desk {
    /// Holds all of it; gone afterwards.
    pub(crate) root: tempfile::TempDir,
    server: Server,
}

enum Server {
    Scripted(Agent),
    Codex(Codex, Model),
}

/// Codex and what it starts; ended when dropped, also by a test that fails.
struct Codex(Child);

impl Drop for Codex {
    fn drop(&mut self) {
        let _ = farhelm_platform::process::stop(&mut self.0, Duration::from_secs(10));
    }
}

impl Desk {
    /// The scripted agent.
    pub(crate) async fn scripted() -> Self {
        let root = folders();
        let agent = Agent::start(&root.path().join("run/agent.sock"), root.path()).await.expect("the scripted agent");
        Self { root, server: Server::Scripted(agent) }
    }

    /// The real Codex with the scripted model; `None` where it isn't installed, which `tests/run` doesn't allow.
    pub(crate) async fn codex() -> Option<Self> {
        let codex = installed_codex()?;
        let (root, model) = (folders(), Model::start().await.expect("the scripted model"));
        std::fs::write(root.path().join("home/config.toml"), codex_config(model.port())).expect("a configuration");
        let socket = root.path().join("run/agent.sock");
        let child = Command::new(codex)
            .args(["app-server", "--listen", &format!("unix://{}", socket.display())])
            .current_dir(root.path().join("work"))
            .env("CODEX_HOME", root.path().join("home"))
            // Commands run in a login shell; its profile shall be nobody's.
            .env("HOME", root.path().join("home"))
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("codex starts");
        let desk = Self { root, server: Server::Codex(Codex(child), model) };
        let deadline = Instant::now() + Duration::from_secs(60);
        while tokio::net::UnixStream::connect(&socket).await.is_err() {
            assert!(Instant::now() < deadline, "codex doesn't listen");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Some(desk)
    }

    /// Where to connect to.
    pub(crate) fn socket(&self) -> PathBuf {
        self.root.path().join("run/agent.sock")
    }

    /// Where threads work: writable without an approval.
    pub(crate) fn work(&self) -> PathBuf {
        self.root.path().join("work")
    }

    /// Ends it.
    pub(crate) async fn close(self) {
        match self.server {
            Server::Scripted(agent) => agent.shutdown().await,
            Server::Codex(codex, model) => {
                drop(codex);
                model.shutdown().await;
            }
        }
    }
}

fn folders() -> tempfile::TempDir {
    let root = tempfile::Builder::new().prefix("fh").tempdir().expect("a scratch folder");
    // Codex shows diffs relative to a repository's root; this one keeps a repository further up from mattering.
    for folder in ["home", "work", "work/.git", "beside"] {
        std::fs::create_dir(root.path().join(folder)).expect("a folder");
    }
    farhelm_platform::directories::private(&root.path().join("run")).expect("a private folder");
    root
}

/// The pinned Codex that `tests/run` installs.
fn installed_codex() -> Option<PathBuf> {
    let codex = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/codex/node_modules/.bin/codex");
    if codex.exists() {
        return Some(codex);
    }
    let wanted = std::env::var_os("FARHELM_TEST_ALL").is_some();
    assert!(!wanted, "{} is missing; run ./tests/run, which installs it", codex.display());
    eprintln!("left out: what needs the real codex (run ./tests/run, which installs it)");
    None
}
