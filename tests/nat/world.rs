//! One world: builds its network, starts relays and host in it, and lets the phone try.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::delay::LINKS;
use crate::kinds::{Kind, Row};
use crate::network::{self, PORT, RELAYS};
use crate::scene::{Process, Scene, text};
use crate::{ourselves, pocket};

/// A child that ends with the world.
pub(crate) struct Kept(pub(crate) Child);

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Builds the world of a row and prints what happened in it.
pub(crate) fn run(row: Row) {
    let _delays = delays(row);
    shell(&network::script(row));
    let internet = round_trip(row);
    assert!((internet - 50.0).abs() < 25.0, "a round trip over the internet took {internet} ms, not about 50");
    let scene = Scene::set();
    let (_relays, addresses) = relays(&scene);
    let host = host(&scene, row, &addresses);
    let (_desk, ticket) = offer(&scene);
    let mut found = phone(row, &ticket);
    found["internet_ms"] = json!(internet);
    if row.host.is_mapped() {
        assert!(forwards(), "it did while the host ran");
        host.stop(Signal::TERM);
        found["let_go"] = json!(!forwards());
    }
    println!("RESULT {found}");
}

/// Whether the host's router leads a port to it.
fn forwards() -> bool {
    let output =
        within_command("nft", "nat3").args(["list", "chain", "inet", "filter", "prerouting_miniupnpd"]).output();
    String::from_utf8_lossy(&output.expect("nft").stdout).contains("dnat")
}

pub(crate) fn delays(row: Row) -> Kept {
    let mut command = Command::new(std::env::current_exe().expect("we run"));
    let mut again = Command::new("env");
    ourselves(&mut again, "delay");
    command.args(again.get_args().skip(1)).env(crate::ROLE, "delay").env(LINKS, network::links(row).join(" "));
    let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
    let output = BufReader::new(child.stdout.take().expect("it was piped"));
    let ready = output.lines().map_while(Result::ok).any(|line| line.ends_with("ready"));
    assert!(ready, "the links");
    Kept(child)
}

pub(crate) fn shell(script: &str) {
    let mut child = Command::new("sh").arg("-s").stdin(Stdio::piped()).spawn().expect("a shell");
    child.stdin.take().expect("it was piped").write_all(script.as_bytes()).expect("it reads");
    assert!(child.wait().expect("it ends").success(), "the network:\n{script}");
}

/// Milliseconds from one side's uplink to a relay and back: two links each way.
fn round_trip(row: Row) -> f64 {
    let from = network::links(row).pop().expect("a link");
    let script = format!("ping -c 4 -i 0.2 -q {}", RELAYS[0].0);
    let output = within_command("sh", &from).args(["-c", &script]).output().expect("ping");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let figures = said.lines().find_map(|line| line.split(" = ").nth(1).filter(|_| line.contains("min/avg")));
    let least = figures.and_then(|figures| figures.split('/').next()?.parse().ok());
    least.unwrap_or_else(|| panic!("no round trip: {said}{}", String::from_utf8_lossy(&output.stderr)))
}

pub(crate) fn within_command(program: &str, machine: &str) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{machine}")).arg(program);
    command
}

/// A program of the scene on a machine of this world.
pub(crate) fn within(machine: &str, command: Command, input: &str) -> Process {
    let mut there = within_command(&command.get_program().to_string_lossy(), machine);
    there.args(command.get_args()).env_clear();
    there.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(folder) = command.get_current_dir() {
        there.current_dir(folder);
    }
    if !input.is_empty() {
        there.stdin(Stdio::piped());
    }
    Process::start(there, input)
}

/// A code that lets in whoever comes.
pub(crate) fn offer(scene: &Scene) -> (Process, String) {
    let mut desk = within("host", scene.farhelm("desk", &["pair", "--yes"]), "");
    let ticket = text(&desk.event("ticket")["text"]);
    (desk, ticket)
}

/// Both relays, and every address at which they are.
fn relays(scene: &Scene) -> (Vec<Process>, Vec<String>) {
    let (mut relays, mut addresses) = (Vec::new(), Vec::new());
    for n in 1..=RELAYS.len() {
        let (relay, at) = relay(scene, n, &[]);
        relays.push(relay);
        addresses.extend(at);
    }
    (relays, addresses)
}

/// The n-th relay, with these limits, and every address at which it is.
pub(crate) fn relay(scene: &Scene, n: usize, limits: &[&str]) -> (Process, Vec<String>) {
    let (four, six) = RELAYS[n - 1];
    let listen = [
        format!("/ip4/{four}/tcp/4001"),
        format!("/ip4/{four}/udp/4001/quic-v1"),
        format!("/ip4/{four}/tcp/443"),
        format!("/ip4/{four}/tcp/80/ws"),
        format!("/ip6/{six}/tcp/4001"),
        format!("/ip6/{six}/udp/4001/quic-v1"),
    ];
    let mut arguments = vec!["relay"];
    arguments.extend(listen.iter().flat_map(|address| ["--listen", address.as_str(), "--announce", address]));
    arguments.extend(limits);
    let machine = format!("relay{n}");
    let mut relay = within(&machine, scene.farhelm(&machine, &arguments), "");
    let said = relay.event("listening")["addresses"].as_array().expect("addresses").clone();
    (relay, said.iter().map(text).collect())
}

pub(crate) fn host(scene: &Scene, row: Row, relays: &[String]) -> Process {
    host_with(scene, row, relays, &[])
}

/// The same, with these options beside.
pub(crate) fn host_with(scene: &Scene, row: Row, relays: &[String], options: &[&str]) -> Process {
    let connect = format!("unix://{}", scene.path("agent.sock").display());
    let listen = pocket::listen(if row.host == Kind::Public443 { 443 } else { PORT });
    let mut arguments = vec!["host", "--name", "desk", "--connect", &connect];
    arguments.extend(listen.iter().flat_map(|address| ["--listen", address.as_str()]));
    arguments.extend(relays.iter().flat_map(|address| ["--relay", address.as_str()]));
    arguments.extend(options);
    let mut host = within("host", scene.farhelm("desk", &arguments), "");
    let reserved = |host: &Value| {
        // With all its addresses: they come one by one, and the ticket is to have them.
        let last = |relay: &str| format!("/ip4/{relay}/tcp/443/");
        let at = |relay: &str| {
            let at = host["relays"].as_array().expect("a list");
            at.iter().any(|address| text(address).contains(&last(relay)))
        };
        let given = |relay: &&str| relays.iter().any(|address| address.contains(*relay));
        let is_forwarded = || host["forwarded"].as_array().is_some_and(|ports| ports.len() == 2);
        let all = RELAYS.iter().map(|(relay, _)| *relay).filter(given).all(at);
        all && (!row.host.is_mapped() || is_forwarded())
    };
    host.event_that("reachable", reserved);
    host
}

/// What the phone found, by its own clock.
fn phone(row: Row, ticket: &str) -> Value {
    let program = std::env::current_exe().expect("we run");
    let mut command = within_command(&program.display().to_string(), "phone");
    let mut again = Command::new("env");
    ourselves(&mut again, "phone");
    command.args(again.get_args().skip(1)).env(crate::ROLE, "phone").env(crate::ROW, row.name());
    let port = if row.phone == Kind::Public443 { 443 } else { PORT };
    command.env(pocket::TICKET, ticket).env(pocket::LISTEN, port.to_string());
    let output = command.stdin(Stdio::null()).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout);
    let found = said.lines().find_map(|line| Some(line.split_once("FOUND ")?.1));
    let found = found.and_then(|text| serde_json::from_str(text).ok());
    found.unwrap_or_else(|| panic!("the phone: {said}\n{}", String::from_utf8_lossy(&output.stderr)))
}
