//! Phones as they come and go: paired, lent, lowered and removed, with real relay, host and phone processes that are
//! killed, raced and copied meanwhile.

#[path = "devices/again.rs"]
mod again;
#[path = "devices/guests.rs"]
mod guests;
#[path = "devices/owners.rs"]
mod owners;
#[path = "devices/pairing.rs"]
mod pairing;
#[path = "devices/revocation.rs"]
mod revocation;
#[path = "devices/rogue.rs"]
mod rogue;
#[path = "support/scene.rs"]
#[expect(dead_code, reason = "other suites use the rest")]
mod scene;
#[path = "devices/weak_spots.rs"]
mod weak_spots;

use scene::{Scene, Terminal};
use serde_json::Value;

/// What a phone does to see whether it is let in.
const LOOK: [&str; 2] = ["phone", "threads"];

/// What the desk lists.
fn listed(scene: &Scene) -> Vec<Value> {
    scene.done("desk", &["devices"]).events
}

/// The desk's row of a phone.
fn row(scene: &Scene, phone: &str) -> Value {
    listed(scene).into_iter().find(|row| row["name"] == phone).unwrap_or_else(|| panic!("{phone} isn't listed"))
}

/// A desk with a person before it, and the code that it shows.
fn asking_desk(scene: &Scene) -> (Terminal, String) {
    let mut desk = Terminal::open(&scene.path("desk"), (80, 24), "xterm", &["pair", "--json"]);
    desk.shows("\"text\":\"");
    let ticket = desk.shows("\"").trim_end_matches('"').to_owned();
    (desk, ticket)
}

/// Pairs a phone on these terms, without a person.
fn lend(scene: &Scene, phone: &str, terms: &[&str]) -> Value {
    let (desk, ticket) = scene.offer_on(terms);
    let paired = scene.scan(phone, &ticket).end();
    assert_eq!(paired.code, 0, "{:?}", paired.events);
    desk.end().event("paired").clone()
}

/// Waits until a phone has a session, in a program that goes on.
fn watches(scene: &Scene, phone: &str, thread: &[&str]) -> scene::Process {
    let mut watch = scene.start(phone, &[&["phone", "watch"], thread].concat());
    match thread {
        [] => watch.event_that("connection", |at| at["state"] == "live"),
        _ => watch.event("item"),
    };
    watch
}
