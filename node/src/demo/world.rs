//! A relay, a host with an agent behind it, and a phone: three nodes in this process, on loopback, with real handshakes
//! and circuits. Everything they write lies in one scratch folder that goes with the world.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use farhelm_core::identity::Identity;
use farhelm_overlay::Multiaddr;
use farhelm_phone::{Client, KeyStore, key_store};
use farhelm_relay::Relay;
use farhelm_store::{Journal, Store};
use tempfile::TempDir;

use super::agent::{self, Agent};
use super::model::{self, Model};
use crate::host::app_server::{Options, Source, State};
use crate::host::{self, Host};

/// What stands behind the host.
#[derive(Debug, Clone)]
pub enum Behind {
    /// The embedded scripted agent.
    Script,
    /// The real Codex against the embedded model server; the program, or the one on PATH.
    Codex(Option<PathBuf>),
    /// Whatever the host finds there. Codex's home and its model are the caller's.
    Given(Source, Options),
}

/// Why a world can't be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The scratch folder.
    #[error("can't prepare the scratch folder: {0}")]
    Scratch(#[from] io::Error),
    /// The relay.
    #[error(transparent)]
    Relay(#[from] farhelm_relay::Error),
    /// The host's store.
    #[error(transparent)]
    Store(#[from] farhelm_store::OpenError),
    /// The host.
    #[error(transparent)]
    Host(#[from] host::Error),
    /// The phone.
    #[error(transparent)]
    Phone(#[from] farhelm_phone::OpenError),
    /// The scripted agent.
    #[error(transparent)]
    Agent(#[from] agent::Error),
    /// The model server.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// Codex didn't come up.
    #[error("Codex is not there: {0}")]
    Codex(String),
}

/// The three nodes. Dropping it removes the scratch folder; [`shutdown`](Self::shutdown) ends the nodes first.
pub struct World {
    /// The relay.
    pub relay: Relay,
    /// The host.
    pub host: Host,
    /// The phone.
    pub phone: Client,
    agent: Option<Agent>,
    model: Option<Model>,
    scratch: TempDir,
}

impl World {
    /// Builds it. Nothing is paired yet; Codex may still be starting ([`codex_ready`](Self::codex_ready)).
    pub async fn start(behind: Behind) -> Result<Self, Error> {
        Self::start_in(behind, &scratch_root()).await
    }

    /// The same, with the scratch folder below `root`. Not below `/tmp`: there Codex's sandbox may write, and what is
    /// outside of the working folder would need no approval.
    pub async fn start_in(behind: Behind, root: &Path) -> Result<Self, Error> {
        let private = std::fs::Permissions::from_mode(0o700);
        let scratch = tempfile::Builder::new().prefix("farhelm-demo-").permissions(private).tempdir_in(root)?;
        let path = scratch.path();
        for folder in ["work", "host", "tmp", "codex"] {
            std::fs::create_dir(path.join(folder))?;
        }
        let relay = Relay::start(&identity(), relay_config()).await?;
        let Attachment { source, codex, agent, model } = attach(behind, path).await?;
        let mut overlay = farhelm_overlay::Config::new(identity());
        overlay.listen = loopback();
        let config = host::Config {
            name: "demo desk".into(),
            folder: path.join("work"),
            source,
            codex,
            settings: Default::default(),
            overlay,
        };
        let store = Store::open(&path.join("host").join("store"))?;
        let host = Host::start(config, store, Journal::open(&path.join("host").join("journal"))?).await?;
        host.add_relays(relay.multiaddrs().iter().map(ToString::to_string)).await?;
        let phone = another_phone(Arc::new(key_store::Memory::default())).await?;
        Ok(Self { relay, host, phone, agent, model, scratch })
    }

    /// The folder in which threads start.
    pub fn work(&self) -> PathBuf {
        self.scratch.path().join("work")
    }

    /// The scratch folder around it.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// The scripted model behind the real Codex, if that is what stands behind the host.
    pub fn model(&self) -> Option<&Model> {
        self.model.as_ref()
    }

    /// Waits until the host reached its agent; says which version it is.
    pub async fn codex_ready(&self, patience: Duration) -> Result<String, Error> {
        let mut state = self.host.codex();
        let ready = state.wait_for(|state| matches!(state, State::Ready { .. }));
        match tokio::time::timeout(patience, ready).await {
            Ok(Ok(_)) => {}
            _ => return Err(Error::Codex(why(&self.host.codex().borrow()))),
        }
        match &*self.host.codex().borrow() {
            State::Ready { version, .. } => Ok(version.to_string()),
            other => Err(Error::Codex(why(other))),
        }
    }

    /// Ends everything and removes the scratch folder.
    pub async fn shutdown(self) -> Result<(), Error> {
        self.phone.shutdown().await;
        self.host.shutdown().await;
        if let Some(agent) = self.agent {
            agent.shutdown().await;
        }
        if let Some(model) = self.model {
            model.shutdown().await;
        }
        self.relay.shutdown().await;
        Ok(self.scratch.close()?)
    }
}

/// A phone on loopback; with keys that were used before, the same phone started again.
pub async fn another_phone(keys: Arc<dyn KeyStore>) -> Result<Client, Error> {
    let mut config = farhelm_phone::Config::new("demo phone");
    config.listen = loopback();
    Ok(Client::open(config, keys).await?)
}

fn why(state: &State) -> String {
    match state {
        State::Away { why, what_to_do } => format!("{why}; {what_to_do}"),
        State::Connecting { why, .. } => why.clone().unwrap_or_else(|| "it is still starting".into()),
        State::Ready { .. } => "it went away again".into(),
    }
}

/// The agent's side of a world: where the host looks for it, and what of it is ours.
struct Attachment {
    source: Source,
    codex: Options,
    agent: Option<Agent>,
    model: Option<Model>,
}

async fn attach(behind: Behind, path: &Path) -> Result<Attachment, Error> {
    match behind {
        Behind::Script => {
            let socket = path.join("agent.sock");
            let agent = Some(Agent::start(&socket, path).await?);
            Ok(Attachment { source: Source::Connect(socket), codex: options(None, path), agent, model: None })
        }
        Behind::Codex(program) => {
            let model = Model::start().await?;
            std::fs::write(path.join("codex/config.toml"), model::codex_config(model.port()))?;
            Ok(Attachment { source: Source::Own, codex: options(program, path), agent: None, model: Some(model) })
        }
        Behind::Given(source, codex) => Ok(Attachment { source, codex, agent: None, model: None }),
    }
}

fn options(codex: Option<PathBuf>, path: &Path) -> Options {
    Options {
        codex,
        codex_home: Some(path.join("codex")),
        runtime_dir: path.join("run"),
        // Codex refuses helper programs below the temporary folder; ours is apart.
        // Commands run in a login shell; its profile shall be nobody's.
        environment: [("TMPDIR", path.join("tmp")), ("HOME", path.to_owned())]
            .map(|(name, place)| (name.to_owned(), place.display().to_string()))
            .to_vec(),
    }
}

/// Where scratch folders go: a place for temporary files that isn't `/tmp`.
fn scratch_root() -> PathBuf {
    let other = PathBuf::from("/var/tmp");
    if other.is_dir() { other } else { std::env::temp_dir() }
}

fn identity() -> Identity {
    Identity::generate(&mut rand::rng())
}

fn loopback() -> Vec<Multiaddr> {
    ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"].map(|a| a.parse().expect("a constant address")).into()
}

fn relay_config() -> farhelm_relay::Config {
    farhelm_relay::Config { listen: loopback(), announce: loopback(), ..farhelm_relay::Config::default() }
}
