//! A relay inside a program of one's own. To run one as it is, `farhelm relay` has the settings and keeps the key.
//!
//! ```sh
//! cargo run --example run_a_relay                          # this machine only
//! cargo run --example run_a_relay /ip4/0.0.0.0/tcp/4001    # everybody who reaches the port
//! ```

use std::error::Error;

use farhelm_core::identity::Identity;
use farhelm_relay::{Config, Multiaddr, Relay};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listen: Multiaddr = std::env::args().nth(1).as_deref().unwrap_or("/ip4/127.0.0.1/tcp/0").parse()?;
    // Clients are told `announce`; without it, the machine's global addresses. Loopback has to be said.
    let local = listen.to_string().starts_with("/ip4/127.");
    let announce = if local { vec![listen.clone()] } else { Vec::new() };
    let config = Config { listen: vec![listen], announce, circuit_bytes: 64 << 20, ..Config::default() };

    // Listened for before anybody is told that there is something to stop.
    let mut interrupt = signal(SignalKind::interrupt())?;

    // A new key each time means a new address each time: a relay that is to be found again keeps its key.
    let relay = Relay::start(&Identity::generate(&mut rand::rng()), config).await?;
    for address in relay.multiaddrs() {
        println!("{address}");
    }
    interrupt.recv().await;
    println!("circuits at the end: {}", relay.status().circuits);
    relay.shutdown().await;
    Ok(())
}
