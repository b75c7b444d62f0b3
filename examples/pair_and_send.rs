//! A phone in forty lines: reads a ticket from stdin, pairs, sends one turn, prints the answer.
//!
//! ```sh
//! farhelm pair                       # at the desk: shows the ticket, as a QR and as text
//! cargo run --example pair_and_send  # paste the text, compare the words, answer at the desk
//! ```
//!
//! Its key is forgotten when it ends; a real phone gives [`Client::open`] a store that keeps it.

use std::error::Error;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::Duration;

use farhelm_core::codex::thread::{ItemKind, Turn, TurnStatus};
use farhelm_phone::{Client, Config, key_store};

const PROMPT: &str = "In one sentence: what is in this folder?";
const FIVE_MINUTES: Duration = Duration::from_secs(300);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    if io::stdin().is_terminal() {
        println!("Paste the ticket (FARHELM:…) and press Enter:");
    }
    // Never an argument: a ticket is a secret, and arguments are seen by every user of the machine.
    let mut ticket = String::new();
    io::stdin().read_line(&mut ticket)?;

    let client = Client::open(Config::new("pair_and_send"), Arc::new(key_store::Memory::default())).await?;
    let pairing = client.pair(ticket.trim()).await?;
    println!("Does the desk show these words too?  {}", pairing.words().join(" "));
    let host = pairing.finish(FIVE_MINUTES).await?.host;

    let started = host.start(PROMPT).await?;
    let mut thread = host.watch(&started.thread).await?;
    let over = |turn: &Turn| turn.status != TurnStatus::InProgress;
    let ended = thread.wait_for(|thread| thread.turn(&started.turn).is_some_and(over)).await?;
    for item in ended.turn(&started.turn).into_iter().flat_map(|turn| &turn.items) {
        if let ItemKind::AgentMessage { text } = &item.kind {
            println!("{text}");
        }
    }
    client.shutdown().await;
    Ok(())
}
