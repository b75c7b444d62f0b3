//! The examples do what they say, run as a person would run them.

#[path = "support/build.rs"]
mod build;

use std::process::Stdio;
use std::time::Duration;

use farhelm::demo::world::{Behind, World};
use farhelm::host::desk::{Consent, Desk};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Ten times what any of them took on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn example(name: &str) -> Child {
    let mut command = Command::new(build::workspace().join("examples").join(name));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    command.spawn().expect("it is built and starts")
}

/// What it prints till it ends well.
async fn output(child: Child) -> String {
    let output = timeout(PATIENCE, child.wait_with_output()).await.expect("an end in time").expect("a child of ours");
    assert!(output.status.success(), "{}", output.status);
    String::from_utf8(output.stdout).expect("text")
}

#[tokio::test]
async fn in_memory_goes_the_whole_way_through_its_relay() {
    let said = output(example("in_memory")).await;
    assert!(said.contains("path      Relay(") && said.contains("done      true"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pair_and_send_prints_the_answer() {
    let world = World::start(Behind::Script).await.expect("a world");
    world.codex_ready(PATIENCE).await.expect("an agent");
    let (events, _heard) = mpsc::channel(8);
    let invitation = world.host.offer(PATIENCE, Desk::new(Consent::Given, events)).await.expect("an offer");
    let mut child = example("pair_and_send");
    let ticket = format!("{}\n", &*invitation.ticket().encode());
    child.stdin.as_mut().expect("piped").write_all(ticket.as_bytes()).await.expect("it reads");
    let said = output(child).await;
    assert!(said.contains("these words") && said.contains("Scripted answer to: In one sentence"), "{said}");
    world.shutdown().await.expect("a clean end");
}

#[tokio::test]
async fn run_a_relay_says_where_and_stops_at_ctrl_c() {
    let mut child = example("run_a_relay");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let first = timeout(PATIENCE, lines.next_line()).await.expect("a line in time").expect("text").expect("a line");
    assert!(first.starts_with("/ip4/127.0.0.1/tcp/") && first.contains("/p2p/12D3KooW"), "{first}");
    let pid = child.id().and_then(|pid| Pid::from_raw(pid.try_into().ok()?)).expect("it runs");
    kill_process(pid, Signal::INT).expect("a child of ours");
    let last = timeout(PATIENCE, lines.next_line()).await.expect("a line in time").expect("text").expect("a line");
    assert_eq!(last, "circuits at the end: 0");
    assert!(timeout(PATIENCE, child.wait()).await.expect("an end in time").expect("a child of ours").success());
}
