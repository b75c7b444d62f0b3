//! What `farhelm doctor` says of each kind of network, asked in it.

use std::time::Instant;

use serde_json::{Value, json};

use crate::kinds::{Kind, Row};
use crate::network;
use crate::scene::Scene;
use crate::world::{self, shell, within};

/// The kinds, each as the host's, and what is to be said of them: NAT for UDP, NAT for TCP, and whether QUIC, TCP and
/// WebSocket lead out. `None`: nothing.
type Said = (Option<&'static str>, Option<&'static str>, [bool; 3]);

pub(crate) const EXPECTED: [(&str, Said); 7] = [
    ("public,public", (Some("none"), Some("none"), [true, true, true])),
    ("cone,public", (Some("cone"), Some("cone"), [true, true, true])),
    ("sym,public", (Some("symmetric"), Some("symmetric"), [true, true, true])),
    ("cgnat,public", (Some("cone"), Some("cone"), [true, true, true])),
    ("noudp,public", (None, Some("cone"), [false, true, true])),
    ("only443,public", (None, Some("cone"), [false, true, false])),
    ("onlyweb,public", (None, None, [false, false, true])),
];

/// Has it asked and prints the answer.
pub(crate) fn run(row: Row) {
    assert!(row.phone == Kind::Public, "nobody is there");
    let _delays = world::delays(row);
    shell(&network::script(row));
    let scene = Scene::set();
    let relays: Vec<_> = (1..=network::RELAYS.len()).map(|n| world::relay(&scene, n, &[])).collect();
    let named = relays.iter().flat_map(|(_, at)| at).flat_map(|at| ["--relay", at.as_str()]);
    let arguments: Vec<&str> = ["doctor", "--network"].into_iter().chain(named).collect();
    let began = Instant::now();
    let ended = within("host", scene.farhelm("desk", &arguments), "").end();
    let found = json!({ "code": ended.code, "events": ended.events, "ms": began.elapsed().as_millis() as u64 });
    println!("RESULT {found}");
}

/// Whether that is what there is.
pub(crate) fn holds(row: &str, found: &Value) -> bool {
    let of = |what: &str| {
        let events = found["events"].as_array().map(Vec::as_slice).unwrap_or_default();
        events.iter().find(|event| event["what"] == what).map(|event| &event["details"])
    };
    let nat = |what| of(what).and_then(|details| details["kind"].as_str());
    let open = ["QUIC", "TCP", "WebSocket"].map(|way| of(way).is_some_and(|details| details["open"] == true));
    let said = (nat("NAT for UDP"), nat("NAT for TCP"), open);
    let expected = EXPECTED.iter().find(|(name, _)| *name == row).map(|(_, said)| *said);
    println!("{row:<16} in {} ms: {said:?}, expected {expected:?}", found["ms"]);
    found["code"] == 0 && Some(said) == expected
}
