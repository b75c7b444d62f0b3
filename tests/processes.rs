//! The program as it is used: a relay, a host and phones, each a process of its own with its own state, told what to do
//! on command lines and by signals, and killed without warning.

#[path = "processes/audit.rs"]
mod audit;
#[path = "processes/copied.rs"]
mod copied;
#[path = "processes/doctor.rs"]
mod doctor;
#[path = "processes/freeze.rs"]
mod freeze;
#[path = "processes/policy.rs"]
mod policy;
#[path = "processes/remote.rs"]
mod remote;
#[path = "processes/restored.rs"]
mod restored;
#[path = "support/scene.rs"]
mod scene;
#[path = "processes/settings.rs"]
mod settings;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use farhelm::host::control::{Client, Reply, Request, Why};
use farhelm_core::policy::{Folders, Right, Terms};
use rustix::process::Signal;
use scene::{Process, Scene, Terminal, text};
use serde_json::Value;

#[test]
fn the_way_of_the_readme() {
    let scene = Scene::set();
    let (_relay, relays) = scene.relay();
    let mut host = scene.host(&relays);
    has_relays(&mut host, true);
    scene.pair("phone");
    let known = scene.done("phone", &["phone", "hosts"]);
    assert_eq!((&known.event("host")["name"], &known.event("host")["standing"]), (&"desk".into(), &"paired".into()));

    // A command: shown, approved by the digest of what was shown, run.
    let asked = scene.ask("phone", "ESCALATE cmd=touch a.txt");
    assert!(!scene.path("work/a.txt").exists(), "it waits");
    scene.done("phone", &["phone", "approve", "--digest", &text(&asked["digest"]), "--yes"]);
    let (thread, turn) = (text(&asked["thread"]), text(&asked["turn"]));
    turn_ends(&scene, &thread, &turn);
    assert!(scene.path("work/a.txt").exists(), "what was approved was done");

    // A change of files: its diff shown, declined, not made.
    let asked = scene.ask("phone", "PATCH file=../x.txt");
    let shown = scene.done("phone", &["phone", "diff"]);
    assert_eq!(shown.event("approval")["digest"], asked["digest"]);
    assert!(shown.event("approval")["content"].to_string().contains("x.txt"));
    scene.done("phone", &["phone", "decline", "--digest", &text(&asked["digest"]), "--yes"]);
    turn_ends(&scene, &text(&asked["thread"]), &text(&asked["turn"]));
    assert!(!scene.path("x.txt").exists(), "what was declined was not done");

    let sent = scene.done("phone", &["phone", "send", &thread, "how are you"]);
    assert_eq!(sent.event("turn")["status"], "completed");
    let threads = scene.done("phone", &["phone", "threads"]);
    assert!(threads.events.iter().any(|row| row["id"] == thread), "{:?}", threads.events);
    assert_eq!(host.stop(Signal::TERM).code, 0);
}

/// Follows a thread until this turn is over.
fn turn_ends(scene: &Scene, thread: &str, turn: &str) {
    let mut watch = scene.start("phone", &["phone", "watch", thread]);
    watch.event_that("turn", |event| event["turn"] == turn && event["status"] == "completed");
    assert_eq!(watch.stop(Signal::INT).code, 0);
}

#[test]
fn a_removed_phone_is_told_so_and_pairs_again_at_once() {
    let scene = Scene::set();
    let _host = scene.host(&[]);
    scene.pair("phone");
    let listed = scene.done("desk", &["devices"]);
    assert_eq!((listed.events.len(), &listed.events[0]["name"]), (1, &"phone".into()));
    scene.done("desk", &["devices", "revoke", "phone"]);
    assert!(scene.done("desk", &["devices"]).events.is_empty());
    let removed = scene.run("phone", &["phone", "threads"]);
    assert_eq!(removed.code, 16, "{:?}", removed.events);
    assert!(removed.error().contains("removed"), "{}", removed.error());
    scene.pair("phone");
    scene.done("phone", &["phone", "threads"]);
    scene.done("phone", &["phone", "forget", "desk"]);
    assert_eq!(scene.run("phone", &["phone", "threads"]).code, 15);
}

#[test]
fn a_phone_is_given_what_the_desk_names_and_keeps_what_it_does_not() {
    let scene = Scene::set();
    let host = scene.host(&[]);
    scene.pair("mine");
    fs::create_dir(scene.path("work/inner")).expect("our own folder");
    let (desk, ticket) = scene.offer_on(&["--right", "viewer", "--folder", "inner", "--until", "8h"]);
    assert_eq!(scene.scan("guest", &ticket).end().code, 0);
    let paired = desk.end();
    assert_eq!(paired.event("paired")["grant"]["right"], "viewer");
    let inner = scene.path("work/inner").canonicalize().expect("it exists");
    let listed = |who: &str| {
        let devices = scene.done("desk", &["devices"]).events;
        devices.into_iter().find(|device| device["name"] == who).expect("it is paired")
    };
    assert_eq!(listed("mine")["right"], "owner");
    let guest = listed("guest");
    assert_eq!((&guest["right"], &guest["expired"]), (&"viewer".into(), &false.into()));
    assert_eq!(guest["folders"], serde_json::json!([inner]));
    assert!(guest["until_ms"].is_u64(), "{guest}");

    let grant = |device: &str, terms: &[&str]| {
        scene.done("desk", &[&["devices", "grant", device], terms].concat()).event("granted").clone()
    };
    let changed = grant("guest", &["--right", "approver"]);
    assert_eq!((&changed["device"]["right"], &changed["ownerless"]), (&"approver".into(), &false.into()));
    for kept in ["folders", "until_ms"] {
        assert_eq!(changed["device"][kept], guest[kept]);
    }
    let nothing = serde_json::json!([]);
    assert_eq!((&paired.event("paired")["opened"], &changed["opened"]), (&nothing, &nothing), "they start nothing");
    let opened = &grant("guest", &["--right", "operator"])["opened"];
    assert_eq!((&opened[0]["folder"], &opened[0]["startable"]), (&guest["folders"][0], &true.into()), "{opened}");
    let wide = grant("guest", &["--folder", "/"]);
    assert_eq!((&wide["device"]["folders"][0], &wide["opened"]), (&"/".into(), &nothing));
    let changed = grant("guest", &["--right", "approver", "--host-folders", "--for-good"]);
    assert_eq!((&changed["device"]["folders"], &changed["device"]["until_ms"]), (&Value::Null, &Value::Null));
    assert_eq!(grant("mine", &["--right", "operator"])["ownerless"], true, "the desk may, and is told");

    // A program that doesn't judge what it asks for is judged here; nothing is changed.
    let reply = scene.runtime.block_on(async {
        let desk = Client::connect(&scene.path("desk/run")).await.expect("a running host");
        let folders = Some(Folders::Only(vec!["work".into()]));
        let terms = Terms { right: Some(Right::Owner), folders, ..Terms::default() };
        desk.ask(&Request::Grant { who: "guest".into(), terms }).await.expect("it answers")
    });
    assert!(matches!(reply, Reply::Refused { why: Why::Unfit, .. }), "{reply:?}");
    assert_eq!(listed("guest")["right"], "approver");

    // Without a running host the same, on what it keeps.
    assert_eq!(host.stop(Signal::TERM).code, 0);
    assert_eq!(grant("mine", &["--right", "owner", "--until", "1h"])["ownerless"], false);
    assert_eq!(listed("mine")["right"], "owner");
    assert!(listed("mine")["until_ms"].is_u64() && listed("guest")["right"] == "approver");
}

#[test]
fn a_phone_is_shown_and_renamed_whether_a_host_runs_or_not() {
    let scene = Scene::set();
    let host = scene.host(&[]);
    scene.pair("mine");
    scene.pair("other");
    let shown = |who: &str| scene.done("desk", &["devices", "show", who]).events[0].clone();
    let id = text(&shown("other")["id"]);
    let renamed = scene.done("desk", &["devices", "rename", "other", "tablet"]).event("renamed").clone();
    assert_eq!((text(&renamed["device"]["id"]), &renamed["device"]["name"]), (id.clone(), &"tablet".into()));
    assert_eq!(scene.run("desk", &["devices", "rename", "tablet", "mine"]).code, 2, "another has that name");
    assert_eq!(scene.run("desk", &["devices", "show", "other"]).code, 15);

    assert_eq!(host.stop(Signal::TERM).code, 0);
    assert_eq!(shown(&id)["name"], "tablet");
    scene.done("desk", &["devices", "rename", &id, "pad"]);
    assert_eq!(text(&shown("pad")["id"]), id);
    assert_eq!(scene.run("desk", &["devices", "rename", "pad", ""]).code, 2);
    assert_eq!(scene.run("desk", &["devices", "show", "tablet"]).code, 15);
}

#[test]
fn a_phone_that_pairs_again_keeps_its_right() {
    let scene = Scene::set();
    let _host = scene.host(&[]);
    scene.pair("mine");
    scene.pair("other");
    scene.done("desk", &["devices", "grant", "other", "--right", "viewer"]);
    scene.pair("other");
    scene.pair("mine");
    let rights: Vec<_> = scene.done("desk", &["devices"]).events.iter().map(|device| text(&device["right"])).collect();
    assert_eq!(rights, ["viewer", "owner"], "in the order of their last pairing");
}

#[test]
fn a_phone_that_watches_is_told_when_it_is_removed() {
    let scene = Scene::set();
    let _host = scene.host(&[]);
    scene.pair("phone");
    let mut watch = scene.start("phone", &["phone", "watch"]);
    watch.event_that("connection", |connection| connection["state"] == "live");
    scene.done("desk", &["devices", "revoke", "phone"]);
    assert_eq!(watch.end().code, 16);
}

#[test]
fn a_no_at_the_desk_declines_the_phone_and_voids_the_code() {
    let scene = Scene::set();
    let _host = scene.host(&[]);
    let mut desk = Terminal::open(&scene.path("desk"), (80, 24), "xterm", &["pair", "--json"]);
    let ticket = ticket_on(&mut desk);
    let mut phone = scene.scan("phone", &ticket);
    let words = phone.event("words");
    let asks = desk.shows("word for word? [y/N] ");
    words["words"].as_array().expect("four").iter().for_each(|word| assert!(asks.contains(&text(word)), "{asks}"));
    desk.types("n\r");
    let declined = phone.end();
    assert_eq!(declined.code, 10, "{:?}", declined.events);
    let next = ticket_on(&mut desk);
    assert_ne!(next, ticket, "the next code is another one");
    let again = scene.scan("phone", &ticket).end();
    assert!([10, 11].contains(&again.code), "{:?}", again.events);

    // At the same desk, the next one is let in.
    let phone = scene.scan("phone", &next);
    desk.shows("word for word? [y/N] ");
    desk.types("y\r");
    assert_eq!(phone.end().code, 0);
    assert_eq!(desk.end().0, 0);
}

/// The code that a desk with `--json` shows on its terminal.
fn ticket_on(desk: &mut Terminal) -> String {
    desk.shows("\"text\":\"");
    desk.shows("\"").trim_end_matches('"').to_owned()
}

#[test]
fn a_code_that_was_used_is_refused_to_a_second_phone_and_the_desk_is_told() {
    let scene = Scene::set();
    let _host = scene.host(&[]);
    let mut desk = Terminal::open(&scene.path("desk"), (80, 24), "xterm", &["pair", "--json"]);
    let ticket = ticket_on(&mut desk);
    let first = scene.scan("phone", &ticket);
    desk.shows("word for word? [y/N] ");
    let second = scene.scan("thief", &ticket).end();
    assert_eq!(second.code, 12, "{:?}", second.events);
    assert!(second.error().contains("farhelm devices"), "{}", second.error());
    desk.shows("second-scan");
    desk.types("y\r");
    assert_eq!(first.end().code, 0, "the first one isn't disturbed");
    assert_eq!(desk.end().0, 0);
    assert_eq!(scene.done("desk", &["devices"]).events.len(), 1);
}

#[test]
fn an_expired_code_is_refused_by_the_hosts_clock() {
    let scene = Scene::set();
    let _host = scene.host(&[]);
    let ticket = scene.runtime.block_on(async {
        let mut desk = Client::connect(&scene.path("desk/run")).await.expect("a running host");
        desk.send(&Request::Pair { seconds: 1, yes: true, terms: Terms::default() }).await.expect("it listens");
        let Ok(Reply::Ticket { text, .. }) = desk.next().await else { panic!("no ticket") };
        assert_eq!(desk.next().await.expect("an end"), Reply::Expired);
        text
    });
    let late = scene.scan("phone", &ticket).end();
    assert!([11, 13].contains(&late.code), "{:?}", late.events);
    // With a door open for another one, the host says why.
    let (_desk, _) = scene.offer();
    let late = scene.scan("phone", &ticket).end();
    assert_eq!(late.code, 11, "{:?}", late.events);
}

#[test]
fn a_host_that_is_gone_is_unreachable() {
    let scene = Scene::set();
    let host = scene.host(&[]);
    scene.pair("phone");
    let (desk, ticket) = scene.offer();
    assert_eq!(host.stop(Signal::TERM).code, 0);
    desk.end();
    let new = scene.scan("other", &ticket).end();
    assert_eq!(new.code, 13, "{:?}", new.events);
    assert_eq!(scene.run("phone", &["phone", "threads"]).code, 13);
}

#[test]
fn what_is_no_code_is_named_and_a_code_as_an_argument_is_not_repeated() {
    let scene = Scene::set();
    let _host = scene.host(&[]);
    let (_desk, ticket) = scene.offer();
    let mangled = ticket.replace(&ticket[20..22], "!!");
    for bad in ["", "hello", &ticket[..ticket.len() - 9], &mangled] {
        let refused = scene.scan("phone", bad).end();
        assert_eq!(refused.code, 14, "{bad:?}: {:?}", refused.events);
    }
    let secret = &ticket["FARHELM:".len()..];
    let output = scene.farhelm("phone", &["phone", "pair", &ticket]).output().expect("the program starts");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).expect("text");
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("farhelm phone pair -") && !said.contains(&secret[..16]), "{said}");
    assert_eq!(scene.scan("phone", &ticket).end().code, 0, "the code itself is still good");
}

#[test]
fn either_signal_ends_every_command_with_its_code() {
    let scene = Scene::set();
    for signal in [Signal::INT, Signal::TERM] {
        let (relay, relays) = scene.relay();
        let mut host = scene.host(&relays);
        let phone = format!("phone-{}", signal.as_raw());
        scene.pair(&phone);
        let (pair, _) = scene.offer();
        let mut watch = scene.start(&phone, &["phone", "watch"]);
        watch.event_that("connection", |connection| connection["state"] == "live");
        let mut slow = scene.start(&phone, &["phone", "start", "SLOW secs=120"]);
        slow.event("started");
        assert_eq!(watch.stop(signal).code, 0);
        assert_eq!(slow.stop(signal).code, 130);
        assert_eq!(pair.stop(signal).code, 130);
        host.event("reachable");
        let ended = host.stop(signal);
        assert_eq!(ended.code, 0);
        let running = ended.event("stopping")["running"].as_array().expect("a list").len();
        assert!(running >= 1, "it says which turns go on: {:?}", ended.events);
        assert_eq!(relay.stop(signal).code, 0);
        assert!(!scene.path("desk/run/control.sock").exists());
    }
}

#[test]
fn either_signal_ends_a_demo_without_a_trace() {
    let scene = Scene::set();
    for signal in [Signal::INT, Signal::TERM] {
        let mut demo = scene.start("nobody", &["demo"]);
        let asked = demo.event("approval");
        let folder = text(&asked["approval"]["content"]["act"]["command"]["folder"]);
        let scratch = Path::new(&folder).parent().expect("a scratch folder").to_owned();
        assert_eq!(demo.stop(signal).code, 130);
        assert!(!scratch.exists(), "{} is left", scratch.display());
        assert!(!scene.path("nobody").exists(), "a demo has no state");
    }
}

#[test]
fn a_second_host_on_one_state_directory_is_told_who_has_it() {
    let scene = Scene::set();
    let host = scene.host(&[]);
    let second = scene.run("desk", &["host"]);
    assert_eq!(second.code, 19);
    let holder = format!("farhelm host (process {})", host.pid().as_raw_nonzero());
    assert!(second.error().contains(&holder), "{}", second.error());
}

#[test]
fn a_key_that_others_may_read_is_refused_with_what_to_run() {
    let scene = Scene::set();
    scene.host(&[]).stop(Signal::TERM);
    scene.relay().0.stop(Signal::TERM);
    for (who, key, command) in [("desk", "identity.key", "host"), ("relay", "relay/identity.key", "relay")] {
        let key = scene.path(who).join(key);
        fs::set_permissions(&key, Permissions::from_mode(0o644)).expect("our own file");
        let refused = scene.run(who, &[command]);
        assert_eq!(refused.code, 19);
        assert!(refused.error().contains(&format!("chmod 600 '{}'", key.display())), "{}", refused.error());
    }
}

#[test]
fn in_a_terminal_of_20_by_5_the_code_is_a_picture_that_pairs_and_goes() {
    let scene = Scene::set();
    let _host = scene.host(&[]);
    for term in ["dumb", "xterm"] {
        let mut desk = Terminal::open(&scene.path("desk"), (20, 5), term, &["pair"]);
        let picture = scene.path("desk/run/ticket.png");
        let shown = desk.shows("ticket.png");
        assert!(term != "dumb" || !shown.contains('\x1b'), "{shown}");
        let picture_path = picture.to_str().expect("UTF-8");
        let phone = scene.start(term, &["phone", "pair", picture_path]);
        desk.shows("word for word? [y/N] ");
        desk.types("y\r");
        let paired = phone.end();
        assert_eq!(paired.code, 0, "{:?}", paired.events);
        desk.shows("Paired with");
        desk.shows("Enter to go on: ");
        assert!(!picture.exists(), "the picture goes with the code");
        desk.types("\r");
        assert_eq!(desk.end().0, 0);
    }
}

#[test]
fn a_code_typed_at_a_phones_terminal_is_not_shown() {
    let scene = Scene::set();
    let _host = scene.host(&[]);
    let (_desk, ticket) = scene.offer();
    let mut phone = Terminal::open(&scene.path("phone"), (20, 5), "dumb", &["phone", "pair"]);
    phone.shows("Ticket (not shown): ");
    phone.types(&format!("{ticket}\r"));
    phone.shows("must be the same");
    let (code, shown) = phone.end();
    assert!(code == 0 && !shown.contains(&ticket[..24]), "{code}: {shown}");
}

#[test]
fn a_host_killed_after_a_pairing_knows_its_phone_again() {
    let scene = Scene::set();
    let (_relay, relays) = scene.relay();
    let host = scene.host(&relays);
    scene.pair("phone");
    let asked = scene.ask("phone", "ESCALATE cmd=touch a.txt");
    host.kill();
    // Its relays are remembered. Its ports are new, so the phone that finds it came through the relay.
    let _host = scene.host(&[]);
    scene.done("phone", &["phone", "approve", "--digest", &text(&asked["digest"]), "--yes"]);
    turn_ends(&scene, &text(&asked["thread"]), &text(&asked["turn"]));
    assert!(scene.path("work/a.txt").exists());
}

#[test]
fn a_code_taken_before_a_host_was_killed_is_never_open_again() {
    let scene = Scene::set();
    let (_relay, relays) = scene.relay();
    let host = scene.host(&relays);
    let mut desk = Terminal::open(&scene.path("desk"), (80, 24), "xterm", &["pair", "--json"]);
    let ticket = ticket_on(&mut desk);
    let mut first = scene.scan("phone", &ticket);
    first.event("words");
    desk.shows("word for word? [y/N] ");
    host.kill();
    let lost = first.end();
    assert_eq!(lost.code, 18, "nobody can say what the desk said: {:?}", lost.events);
    let _host = scene.host(&[]);
    // The door is open, for another code.
    let (_desk, _) = scene.offer();
    let thief = scene.scan("thief", &ticket).end();
    assert_ne!(thief.code, 0, "{:?}", thief.events);
    assert!(scene.done("desk", &["devices"]).events.is_empty());
    assert_ne!(scene.run("phone", &["phone", "threads"]).code, 0, "nobody said yes to it");
}

#[test]
fn a_killed_relay_that_comes_back_is_used_again() {
    let scene = Scene::set();
    let (relay, relays) = scene.relay();
    let mut host = scene.host(&relays);
    has_relays(&mut host, true);
    scene.pair("phone");
    relay.kill();
    has_relays(&mut host, false);
    let without_key = |address: &String| address.split("/p2p/").next().expect("an address").to_owned();
    let (_relay, again) = scene.relay_on(&relays.iter().map(without_key).collect::<Vec<_>>());
    assert_eq!(again, relays, "the same key on the same ports");
    has_relays(&mut host, true);
    // A new host on new ports: only the relay can lead the phone to it.
    host.kill();
    let mut host = scene.host(&[]);
    has_relays(&mut host, true);
    scene.done("phone", &["phone", "threads"]);
}

/// Waits until the host says that relays lead to it, or that none does any more.
fn has_relays(host: &mut Process, some: bool) {
    host.event_that("reachable", |at| at["relays"].as_array().is_some_and(|relays| relays.is_empty() != some));
}
