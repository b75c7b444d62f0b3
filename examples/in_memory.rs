//! A relay, a host with a scripted agent and a phone in one process, over channels instead of sockets: the whole way
//! from a prompt to an approved command, without a network.
//!
//! ```sh
//! cargo run --example in_memory
//! ```

use std::error::Error;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use farhelm::demo::agent::Agent;
use farhelm::host::app_server::{Options, Source};
use farhelm::host::desk::{Consent, Desk};
use farhelm::host::{self, Host};
use farhelm_core::codex::decision::Decision;
use farhelm_core::codex::thread::TurnStatus;
use farhelm_core::identity::Identity;
use farhelm_core::pairing::Ticket;
use farhelm_overlay::{Config as Overlay, Transports};
use farhelm_phone::{Client, key_store};
use farhelm_relay::Relay;
use farhelm_store::{Journal, Store};
use tokio::sync::mpsc;

const A_MINUTE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The one thing that isn't in memory: what the agent writes, and the host's book of devices. Ours alone, or the
    // host would not put its socket there.
    let folder = tempfile::Builder::new().permissions(Permissions::from_mode(0o700)).tempdir()?;

    // A relay is a key and a few limits. `/memory/0` lets the process choose a free port.
    let config = farhelm_relay::Config {
        listen: vec!["/memory/0".parse()?],
        transports: Transports::Memory,
        ..farhelm_relay::Config::default()
    };
    let relay = Relay::start(&identity(), config).await?;
    println!("relay     {}", relay.multiaddrs()[0]);

    // A host stands between phones and Codex; here an agent by script speaks Codex's protocol on a socket.
    let socket = folder.path().join("agent.sock");
    let agent = Agent::start(&socket, folder.path()).await?;
    let config = host::Config {
        name: "in memory".into(),
        folder: folder.path().into(),
        source: Source::Connect(socket),
        codex: Options {
            codex: None,
            codex_home: None,
            runtime_dir: folder.path().join("run"),
            environment: Vec::new(),
        },
        settings: Default::default(),
        overlay: Overlay::memory(identity()),
    };
    let (store, journal) = (Store::open(&folder.path().join("store"))?, Journal::open(&folder.path().join("journal"))?);
    let host = Host::start(config, store, journal).await?;
    host.add_relay(&relay.multiaddrs()[0].to_string()).await?;
    println!("host      {}", host.node_id());

    // A phone keeps its key and its hosts in a store that whoever builds on it provides.
    let config = farhelm_phone::Config { transports: Transports::Memory, ..farhelm_phone::Config::new("a phone") };
    let phone = Client::open(config, Arc::new(key_store::Memory::default())).await?;
    println!("phone     {}", phone.id());

    // The host offers a ticket, which would be a QR. With its direct addresses left out, the relay has to help.
    let (events, _desk) = mpsc::channel(8);
    let invitation = host.offer(A_MINUTE, Desk::new(Consent::Given, events)).await?;
    let ticket = Ticket { direct: Vec::new(), ..invitation.ticket().clone() }.encode();
    let pairing = phone.pair(&ticket).await?;
    println!("words     {}", pairing.words().join(" "));
    let paired = pairing.finish(A_MINUTE).await?.host;
    println!("path      {:?}", paired.live(A_MINUTE).await?.via);

    // A turn stops at what needs a person; the decision is a signature over exactly what was shown.
    let mut approvals = paired.approvals();
    let started = paired.start("Leave a mark. ESCALATE cmd=touch mark.txt").await?;
    let mut thread = paired.watch(&started.thread).await?;
    let approval = approvals.wait_for(|open| !open.is_empty()).await?.first().cloned().ok_or("no approval")?;
    println!("approval  {:?}", approval.content.act);
    paired.decide(&approval, Decision::Accept).await?;
    let ended = thread.wait_for(|thread| thread.running().is_none() && thread.turn(&started.turn).is_some()).await?;
    let completed = ended.turn(&started.turn).is_some_and(|turn| turn.status == TurnStatus::Completed);
    println!("done      {}", completed && folder.path().join("mark.txt").exists());

    phone.shutdown().await;
    host.shutdown().await;
    agent.shutdown().await;
    relay.shutdown().await;
    Ok(())
}

fn identity() -> Identity {
    Identity::generate(&mut rand::rng())
}
