//! The two agents that every test of the app-server protocol runs on: the scripted one, and the real Codex behind the
//! scripted model.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use farhelm::demo::agent::Agent;
use farhelm::demo::model::Model;

use crate::codex::codex;
use crate::codex_home::CodexHome;

/// A running agent with a folder to work in and one beside it.
pub(crate) struct Desk {
    /// Holds all of it; gone afterwards.
    pub(crate) root: PathBuf,
    server: Server,
}

enum Server {
    Scripted(Agent, tempfile::TempDir),
    Codex(Codex, Model),
}

/// Codex and its home, which ends what Codex left running.
struct Codex {
    child: Child,
    _home: CodexHome,
}

impl Drop for Codex {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Desk {
    /// The scripted agent.
    pub(crate) async fn scripted() -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let root = folder.path().canonicalize().expect("a folder");
        fs::create_dir(root.join("work")).expect("a folder to work in");
        furnish(&root);
        let agent = Agent::start(&root.join("run/agent.sock"), &root).await.expect("the scripted agent");
        Self { root, server: Server::Scripted(agent, folder) }
    }

    /// The real Codex with the scripted model; `None` where it isn't installed.
    pub(crate) async fn codex() -> Option<Self> {
        let (codex, model) = (codex()?, Model::start().await.expect("the scripted model"));
        let home = CodexHome::new(model.port());
        let root = home.folder("work").canonicalize().expect("a folder").parent().expect("a parent").to_owned();
        furnish(&root);
        let child = Command::new(codex)
            .args(["app-server", "--listen", &format!("unix://{}", root.join("run/agent.sock").display())])
            .current_dir(root.join("work"))
            .env("CODEX_HOME", home.path())
            // Commands run in a login shell; its profile shall be nobody's.
            .env("HOME", home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("codex starts");
        let desk = Self { root, server: Server::Codex(Codex { child, _home: home }, model) };
        desk.listens().await;
        Some(desk)
    }

    /// Where to connect to.
    pub(crate) fn socket(&self) -> PathBuf {
        self.root.join("run/agent.sock")
    }

    /// Where threads work: writable without an approval.
    pub(crate) fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    /// Where a patch needs an approval.
    pub(crate) fn beside(&self) -> PathBuf {
        self.root.join("beside")
    }

    /// Ends it.
    pub(crate) async fn close(self) {
        match self.server {
            Server::Scripted(agent, folder) => {
                agent.shutdown().await;
                folder.close().expect("nothing else is in the folder");
            }
            Server::Codex(codex, model) => {
                drop(codex);
                model.shutdown().await;
            }
        }
    }

    async fn listens(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while tokio::net::UnixStream::connect(self.socket()).await.is_err() {
            assert!(Instant::now() < deadline, "codex doesn't listen");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn furnish(root: &Path) {
    // Codex shows diffs relative to a repository's root; this one keeps a repository further up from mattering.
    fs::create_dir(root.join("work/.git")).expect("a folder");
    fs::create_dir(root.join("beside")).expect("a folder");
    farhelm_platform::directories::private(&root.join("run")).expect("a private folder");
}
