//! Every pair of networks that people sit in: real relays, a real host and a phone, each in a network namespace of its own,
//! with NATs made by nftables and access links that are as slow as real ones.
//!
//! ```text
//!   relay1   relay2                       each ══ is a link with 12.5 ms each way
//!     ║        ║
//!   ══╩══ the internet, a bridge ══╦══════════╗
//!                                 NAT A     NAT B, or the same LAN
//!                                  │          │
//!                           agent ─ host     phone
//! ```
//! Nothing is routed out. A world is this test, started again in namespaces that end with it; it starts itself once more for
//! the delays and for the phone. By default the rows below are run; `FARHELM_NAT=all` runs every pair of kinds,
//! `FARHELM_NAT=cone,sym` one row. `FARHELM_NAT_FAULTS=moved` tries one of the faults, `FARHELM_NAT_RUNS=20` each of them
//! as often.

#[path = "nat/around.rs"]
mod around;
#[path = "nat/checkup.rs"]
mod checkup;
#[path = "nat/delay.rs"]
mod delay;
#[path = "nat/errand.rs"]
mod errand;
#[path = "nat/faults.rs"]
mod faults;
#[path = "nat/journey.rs"]
mod journey;
#[path = "nat/kinds.rs"]
mod kinds;
#[path = "nat/network.rs"]
mod network;
#[path = "nat/pocket.rs"]
mod pocket;
#[path = "support/scene.rs"]
#[expect(dead_code, reason = "shared with suites that need more of it")]
mod scene;
#[path = "nat/table.rs"]
mod table;
#[path = "nat/world.rs"]
mod world;

use std::env;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use farhelm_phone::Policy;
use faults::Fault;
use kinds::{Expected, Row};
use serde_json::Value;

const NAME: &str = "every_pair_of_networks_meets_and_directly_where_it_can";
/// What a process started by this test is, and its row.
const ROLE: &str = "FARHELM_TEST_NAT";
const ROW: &str = "FARHELM_TEST_NAT_ROW";
/// The fault of a world, if there is one.
const FAULT: &str = "FARHELM_TEST_NAT_FAULT";
/// The row of a world in which the doctor is asked.
const CHECKUP: &str = "FARHELM_TEST_NAT_CHECKUP";
/// In place of a row: the world in which a phone looks around.
const AROUND: &str = "around";
/// Worlds at a time: they wait for one another's answers most of the time.
const PARALLEL: usize = 6;

#[test]
fn every_pair_of_networks_meets_and_directly_where_it_can() {
    match env::var(ROLE).as_deref() {
        Ok("delay") => delay::run(),
        Ok("phone") => tokio::runtime::Runtime::new().expect("a runtime").block_on(pocket::run()),
        Ok("errand") => tokio::runtime::Runtime::new().expect("a runtime").block_on(errand::run()),
        Ok("world") => match (env::var(FAULT), env::var(CHECKUP)) {
            (Ok(fault), _) => journey::run(Fault::parse(&fault).expect("a fault")),
            (_, Ok(row)) if row == AROUND => around::run(),
            (_, Ok(row)) => checkup::run(Row::parse(&row).expect("a row")),
            _ => world::run(Row::parse(&env::var(ROW).expect("a row")).expect("a row")),
        },
        Ok(other) => panic!("{other}"),
        Err(_) if !can_be_built() => {
            assert!(
                env::var_os("FARHELM_TEST_ALL").is_none(),
                "no network namespaces, or no ip, nft or /dev/net/tun here"
            );
            println!("left out: this needs network namespaces, ip, nft and /dev/net/tun (Debian: iproute2, nftables)");
        }
        Err(_) => judge(&in_parallel(&kinds::wanted(), |row| {
            let found = run_one(ROW, &row.name());
            println!("{}", line(row, &found));
            found
        })),
    }
}

/// Each is over long before its time, so that what fails is what hangs.
#[test]
fn whatever_happens_on_the_way_nothing_is_lost_and_the_session_lives_again() {
    if !can_be_built() {
        assert!(env::var_os("FARHELM_TEST_ALL").is_none(), "no network namespaces, or no ip, nft or /dev/net/tun here");
        return println!("left out: this needs network namespaces, ip, nft and /dev/net/tun");
    }
    let found = in_parallel(&faults::wanted(), |(fault, _)| {
        let found = run_one(FAULT, fault.name());
        println!("{}", faults::line(*fault, &found));
        found
    });
    let found: Vec<_> = found.into_iter().map(|((fault, _), result)| (fault, result)).collect();
    println!("\nfault");
    faults::summary(&found).iter().for_each(|line| println!("{line}"));
    let bad: Vec<_> =
        found.iter().filter(|(fault, found)| !faults::holds(*fault, found)).map(|(f, _)| f.name()).collect();
    assert!(bad.is_empty(), "not as it should be: {bad:?}");
}

#[test]
fn a_phone_finds_its_host_in_its_own_network_without_anybody_else() {
    if !can_be_built() {
        assert!(env::var_os("FARHELM_TEST_ALL").is_none(), "no network namespaces, or no ip, nft or /dev/net/tun here");
        return println!("left out: this needs network namespaces, ip, nft and /dev/net/tun");
    }
    let found = run_one(CHECKUP, AROUND);
    assert_eq!(found, serde_json::json!({ "without": 13, "with": 0 }));
}

#[test]
fn the_doctor_knows_what_network_it_is_in() {
    if !can_be_built() {
        assert!(env::var_os("FARHELM_TEST_ALL").is_none(), "no network namespaces, or no ip, nft or /dev/net/tun here");
        return println!("left out: this needs network namespaces, ip, nft and /dev/net/tun");
    }
    let found = in_parallel(&checkup::EXPECTED.map(|(row, _)| row), |row| run_one(CHECKUP, row));
    let bad: Vec<_> = found.iter().filter(|(row, found)| !checkup::holds(row, found)).collect();
    assert!(bad.is_empty(), "not as it is: {bad:#?}");
}

/// In namespaces of its own: user (to be root in there), network, mounts, processes.
fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command.args(["-rnmp", "--fork", "--kill-child", "--mount-proc"]);
    command
}

fn can_be_built() -> bool {
    let script = "ip tuntap add dev probe mode tap && nft add table ip probe && mount -t tmpfs none /run";
    let tried = unshare().args(["sh", "-c", script]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    tried.is_ok_and(|status| status.success())
}

/// This test again, in this role.
fn ourselves(command: &mut Command, role: &str) {
    let program = env::current_exe().expect("we run");
    command.arg(program).args(["--exact", NAME, "--nocapture", "--test-threads=1"]).env(ROLE, role);
}

/// Runs them all, several at a time; what each came to, in their order.
fn in_parallel<T: Copy + PartialEq + Send + Sync>(all: &[T], run: impl Fn(&T) -> Value + Sync) -> Vec<(T, Value)> {
    let (next, found) = (Mutex::new(all.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..PARALLEL {
            scope.spawn(|| {
                loop {
                    let Some(one) = next.lock().expect("no panic").next() else { return };
                    let result = run(one);
                    found.lock().expect("no panic").push((*one, result));
                }
            });
        }
    });
    let mut found = found.into_inner().expect("no panic");
    found.sort_by_key(|(one, _)| all.iter().position(|wanted| wanted == one));
    found
}

/// One world; nothing, if it failed.
fn run_one(variable: &str, name: &str) -> Value {
    let mut command = unshare();
    ourselves(&mut command, "world");
    let output = command.env(variable, name).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout);
    if env::var_os("FARHELM_LOG").is_some() {
        eprintln!("{name}:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    let result = said.lines().find_map(|line| Some(line.split_once("RESULT ")?.1));
    result.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_else(|| {
        eprintln!("{name}: no result\n{said}\n{}", String::from_utf8_lossy(&output.stderr));
        Value::Null
    })
}

/// host, phone | relayed (ms to the first byte) | direct (transport, ms)
fn line(row: &Row, found: &Value) -> String {
    let ms = |key: &str| found[key].as_u64().map_or("-".to_owned(), |ms| format!("{ms} ms"));
    let direct = match found["transport"].as_str() {
        Some(transport) => format!("{transport}, {}, first byte {}", ms("direct_ms"), ms("direct_byte_ms")),
        None => "-".to_owned(),
    };
    let expected = match row.expected() {
        Expected::Direct => "direct",
        Expected::Relayed => "relayed",
    };
    let round_trip = found["internet_ms"].as_f64().map_or("-".to_owned(), |ms| format!("{ms:.0} ms"));
    format!(
        "{:<24} round trip {round_trip}; first byte {} {}; direct: {direct}; expected: {expected}",
        row.name(),
        ms("byte_ms"),
        found["first"].as_str().unwrap_or("never"),
    )
}

fn judge(found: &[(Row, Value)]) {
    println!("\nrow (host, phone)");
    found.iter().for_each(|(row, result)| println!("{}", line(row, result)));
    let bad: Vec<_> = found.iter().filter(|(row, result)| !holds(row, result)).map(|(row, _)| row.name()).collect();
    println!("rows {} met {}", found.len(), found.len() - bad.len());
    assert!(bad.is_empty(), "not as expected: {bad:?}");
}

/// Always connected; direct where that can be.
fn holds(row: &Row, found: &Value) -> bool {
    let is_direct = found["transport"].is_string();
    let permitted = match row.policy {
        Policy::DirectOnly => found["first"] == "direct",
        Policy::PreferDirect => true,
        Policy::RelayOnly => found["first"] == "relayed" && !is_direct,
    };
    let let_go = !row.host.is_mapped() || found["let_go"] == true;
    found["byte_ms"].is_u64() && permitted && let_go && (row.expected() == Expected::Relayed || is_direct)
}
