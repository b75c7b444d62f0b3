//! A world in which something goes wrong while a phone is busy in it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, sleep};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::errand;
use crate::faults::Fault;
use crate::network;
use crate::pocket::{self, PATIENCE};
use crate::scene::{Process, Scene};
use crate::world::{self, Kept, shell, within_command};

/// How long all goes on before something happens, and after it.
const CALM: Duration = Duration::from_secs(3);

/// Has a fault happen and prints what came of it.
pub(crate) fn run(fault: Fault) {
    let row = fault.row();
    let _delays = world::delays(row);
    shell(&network::script(row));
    weather(fault);
    let scene = Scene::set();
    let limits: &[&str] = if fault == Fault::Small { &["--circuit-bytes", "128KiB"] } else { &[] };
    let count = if fault == Fault::Restarted { 1 } else { 2 };
    let mut relays: Vec<_> = (1..=count).map(|n| Some(world::relay(&scene, n, limits))).collect();
    let addresses: Vec<String> = relays.iter().flatten().flat_map(|(_, at)| at.clone()).collect();
    let _host = world::host(&scene, row, &addresses);
    let (_desk, ticket) = world::offer(&scene);
    let mut phone = Busy::start(&ticket, fault);
    let path = phone.calm(fault.is_direct());
    let carries = |at: &Option<(Process, Vec<String>)>| at.as_ref().is_some_and(|(_, at)| at[0].contains(&path));
    let carrier = relays.iter().position(carries).unwrap_or(0);
    let since = happen(fault, &scene, &mut relays, carrier, &mut phone);
    let again = phone.again(since);
    let mut found = phone.end();
    found["again_ms"] = json!(again);
    println!("RESULT {found}");
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64
}

/// What holds from the beginning.
fn weather(fault: Fault) {
    for machine in ["relay1", "relay2", "nat3", "nat4"] {
        match fault {
            Fault::Loss => {
                let lossy =
                    "chain lossy { type filter hook ingress device wan priority 0; numgen random mod 20 == 0 drop; }";
                rules(machine, &[lossy], "netdev");
            }
            Fault::Mtu => shell(&format!("ip -n {machine} link set wan mtu 1280")),
            _ => {}
        }
    }
}

fn rules(machine: &str, chains: &[&str], family: &str) {
    let chains = chains.join("\n");
    shell(&format!("nsenter --net=/run/netns/{machine} nft -f - <<'R'\ntable {family} fault {{\n{chains}\n}}\nR\n"));
}

/// A machine that takes everything and answers nothing.
fn hole(relay: usize) {
    let machine = format!("relay{}", relay + 1);
    let chain =
        |hook| format!("chain {hook} {{ type filter hook {hook} priority -10; meta l4proto {{ tcp, udp }} drop; }}");
    rules(&machine, &[&chain("input"), &chain("output")], "inet");
}

/// Does it; from when on the session may be expected back.
fn happen(
    fault: Fault,
    scene: &Scene,
    relays: &mut [Option<(Process, Vec<String>)>],
    carrier: usize,
    phone: &mut Busy,
) -> u64 {
    let mut kill = |n: usize| relays[n].take().expect("it runs").0.kill();
    let began = now();
    match fault {
        Fault::KilledBefore => kill(carrier),
        Fault::OtherGone => kill(1 - carrier),
        Fault::KilledAfter => (0..2).for_each(kill),
        Fault::HoledBefore => hole(carrier),
        Fault::HoledAfter => (0..2).for_each(hole),
        Fault::Restarted => {
            kill(0);
            sleep(Duration::from_secs(2));
            relays[0] = Some(world::relay(scene, 1, &[]));
            return now();
        }
        Fault::Moved | Fault::MovedUntold => {
            // The same cable in another network, behind another router.
            shell(MOVE);
            if fault == Fault::Moved {
                phone.told("changed");
            }
        }
        Fault::Uplink => {
            shell("ip -n nat3 link set wan down");
            sleep(Duration::from_secs(30));
            shell("ip -n nat3 link set wan up");
            return now();
        }
        Fault::Loss | Fault::Mtu | Fault::Small => sleep(4 * CALM),
    }
    began
}

/// Router C takes over at router B's cable: another address outside, another network inside, and it knows no connection.
const MOVE: &str = "set -e
nsenter --net=/run/netns/nat4 sh -c 'ip addr del 45.4.0.1/8 dev wan; ip addr add 45.5.0.1/8 dev wan
ip addr del 192.168.4.1/24 dev lan; ip addr add 192.168.5.1/24 dev lan
nft -a list ruleset > /dev/null
nft add table inet moved
nft add chain inet moved through { type filter hook forward priority -10\\; }
nft add rule inet moved through ct original ip saddr 192.168.4.4 drop
nft add rule inet moved through ip daddr 192.168.4.4 drop'
ip -n phone addr del 192.168.4.4/24 dev eth0
ip -n phone addr add 192.168.5.4/24 dev eth0
ip -n phone route replace default via 192.168.5.1
";

/// One answered read.
struct Beat {
    asked: u64,
    answered: u64,
    path: String,
}

/// The phone, its orders and its words.
struct Busy {
    _child: Kept,
    orders: ChildStdin,
    said: Receiver<String>,
    /// When it was last answered.
    last: u64,
    silence: u64,
}

impl Busy {
    fn start(ticket: &str, fault: Fault) -> Self {
        // Until something has happened to it, and not long after.
        let stream = if fault == Fault::Uplink { 45 } else { 25 };
        let program = std::env::current_exe().expect("we run");
        let mut command = within_command(&program.display().to_string(), "phone");
        let mut again = Command::new("env");
        crate::ourselves(&mut again, "errand");
        command.args(again.get_args().skip(1)).env(crate::ROLE, "errand").env_remove(crate::FAULT);
        command.env(pocket::TICKET, ticket).env(pocket::LISTEN, network::PORT.to_string());
        command.env(errand::STREAM, stream.to_string());
        let mut child: Child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let orders = child.stdin.take().expect("it was piped");
        let output = BufReader::new(child.stdout.take().expect("it was piped"));
        let (say, said) = channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| say.send(line)));
        Self { _child: Kept(child), orders, said, last: 0, silence: 0 }
    }

    fn told(&mut self, order: &str) {
        writeln!(self.orders, "{order}").expect("it listens");
    }

    fn line(&mut self) -> String {
        match self.said.recv_timeout(2 * PATIENCE) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => panic!("the phone says nothing more"),
            Err(RecvTimeoutError::Disconnected) => panic!("the phone ended"),
        }
    }

    fn beat(&mut self) -> Beat {
        loop {
            let line = self.line();
            let Some((_, beat)) = line.split_once("BEAT ") else { continue };
            let mut parts = beat.split(' ');
            let mut number = || parts.next().and_then(|part| part.parse().ok()).expect("a time");
            let (asked, answered) = (number(), number());
            if self.last > 0 {
                self.silence = self.silence.max(answered - self.last);
            }
            self.last = answered;
            return Beat { asked, answered, path: parts.next().unwrap_or_default().to_owned() };
        }
    }

    /// Waits until all has gone well for a while, directly if it is to be; the relay that carries it otherwise.
    fn calm(&mut self, direct: bool) -> String {
        let mut since = None;
        loop {
            let beat = self.beat();
            let fits = (beat.path == "direct") == direct;
            let began = *since.get_or_insert_with(Instant::now);
            if !fits {
                since = None;
            } else if began.elapsed() >= CALM {
                self.silence = 0;
                return beat.path;
            }
        }
    }

    /// Milliseconds until a read was answered that was asked after this.
    fn again(&mut self, since: u64) -> u64 {
        loop {
            let beat = self.beat();
            if beat.asked >= since || beat.answered >= since && beat.answered > since + 1000 {
                return beat.answered.saturating_sub(since);
            }
        }
    }

    fn end(mut self) -> Value {
        let until = Instant::now() + CALM;
        while Instant::now() < until {
            self.beat();
        }
        let silence = self.silence;
        self.told("end");
        let found = loop {
            let line = self.line();
            if let Some((_, found)) = line.split_once("FOUND ") {
                break found.to_owned();
            }
        };
        let mut found: Value = serde_json::from_str(&found).expect("what it found");
        found["silence_ms"] = json!(silence);
        found
    }
}
