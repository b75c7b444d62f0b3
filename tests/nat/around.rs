//! A phone in its host's network, with no relay left and the host at an address that nobody told of.

use serde_json::json;

use crate::kinds::Row;
use crate::network;
use crate::scene::Scene;
use crate::world::{self, shell, within};

/// Both in one LAN.
pub(crate) const ROW: &str = "cone,lan";

/// The host gets another address of its network.
const MOVE: &str = "ip -n host addr del 192.168.3.3/24 dev eth0
ip -n host addr add 192.168.3.33/24 dev eth0
ip -n host route replace default via 192.168.3.1
";

/// Whether it is found without looking around, and with it.
pub(crate) fn run() {
    let row = Row::parse(ROW).expect("a row");
    let _delays = world::delays(row);
    shell(&network::script(row));
    let scene = Scene::set();
    let (relay, at) = world::relay(&scene, 1, &[]);
    let _host = world::host_with(&scene, row, &at, &["--mdns"]);
    let (_desk, ticket) = world::offer(&scene);
    let pair = scene.farhelm("phone", &["phone", "pair", "-", "--name", "phone"]);
    let paired = within("phone", pair, &ticket).end();
    assert_eq!(paired.code, 0, "{:?}", paired.events);
    relay.kill();
    shell(MOVE);
    let ask = |arguments: &[&str]| within("phone", scene.farhelm("phone", arguments), "").end().code;
    let without = ask(&["phone", "threads"]);
    let with = ask(&["phone", "--mdns", "threads"]);
    println!("RESULT {}", json!({ "without": without, "with": with }));
}
