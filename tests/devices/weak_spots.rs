//! Weak spots that were seen in programs of this kind, each attacked here with real processes. Those that are about one
//! record or one stream alone lie where these are made; the others at the edges of a SIGKILL, in `tests/chaos.rs`.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::time::Duration;

use farhelm_core::identity::NodeId;
use farhelm_core::pairing::{Ticket, TicketSecret};
use farhelm_core::session::{PairingSecret, handshake};
use farhelm_overlay::Via;
use farhelm_overlay::channel::{self, Wire};
use rustix::process::Pid;
use tokio::io::AsyncWriteExt;

use crate::rogue::Stranger;
use crate::scene::{Scene, text};
use crate::{LOOK, lend, listed, row, watches};

/// Strangers, and what each of them tries.
const STRANGERS: u8 = 12;

#[test]
fn weak_spot_01_a_key_that_knows_relay_host_and_ticket_id_is_still_nobody() {
    let scene = Scene::set();
    let (_relay, relays) = scene.relay();
    let mut host = scene.host(&relays);
    host.event_that("reachable", |at| at["relays"].as_array().is_some_and(|relays| !relays.is_empty()));
    scene.pair("mine");
    let (_desk, ticket) = scene.offer();
    let real = Ticket::decode(&ticket).expect("a ticket");
    // All that a relay or an onlooker could have, through the relay and directly: everything but the secret.
    let guessed = Ticket { secret: TicketSecret::from_bytes([1; 16]), ..real.clone() }.encode();
    scene.runtime.block_on(async {
        let refused = Stranger::new(21, &guessed).pair().await.err().expect("it knows no secret");
        assert!(matches!(refused, channel::Error::Io(_)), "the host closes without a word: {refused}");
        // Nor as somebody who was paired before.
        let stranger = Stranger::new(22, &guessed);
        let stream = stranger.stream().await.expect("the door is open");
        let claims = PairingSecret::from_bytes([1; 32]);
        let resumed = channel::resume(stream, &stranger.identity, stranger.host, &claims, "rogue", Vec::new).await;
        assert!(matches!(resumed, Err(channel::Error::Io(_))), "{resumed:?}");
    });
    assert_eq!(listed(&scene).len(), 1);
    assert_eq!(scene.scan("other", &ticket).end().code, 0, "and the code is still good");
}

#[test]
fn weak_spot_02_a_code_that_was_used_lets_nobody_in_again() {
    let scene = Scene::set();
    let host = scene.host(&[]);
    let (_desk, ticket) = scene.offer();
    assert_eq!(scene.scan("mine", &ticket).end().code, 0);
    let refusals = |seeds: std::ops::Range<u8>| {
        scene.runtime.block_on(async {
            for seed in seeds {
                let refused = Stranger::new(seed, &ticket).pair().await.err().expect("it was used");
                let is_refused = matches!(refused, channel::Error::Handshake(handshake::Error::Refused(_)));
                assert!(is_refused || matches!(refused, channel::Error::Io(_)), "{refused}");
            }
        });
    };
    refusals(30..36);
    assert_eq!(listed(&scene).len(), 1);
    scene.done("mine", &LOOK);
    // Nor by a host that was killed since.
    host.kill();
    let _host = scene.host(&[]);
    let (_other, _) = scene.offer();
    assert_ne!(scene.scan("thief", &ticket).end().code, 0);
    assert_eq!(listed(&scene).len(), 1);
}

#[test]
fn weak_spot_03_what_strangers_say_does_not_touch_a_live_session() {
    let scene = Scene::set();
    let _host = scene.host(&[]);
    let (_desk, used) = scene.offer();
    assert_eq!(scene.scan("mine", &used).end().code, 0);
    let mut watch = watches(&scene, "mine", &[]);
    // The door is open, so that they get as far as anybody can.
    let (_open, ticket) = scene.offer();
    let mine = Ticket::decode(&used).expect("a ticket");
    let phone = text(&row(&scene, "mine")["id"]).parse::<NodeId>().expect("a peer id");
    scene.runtime.block_on(async {
        for seed in 40..40 + STRANGERS {
            let stranger = Stranger::new(seed, &ticket);
            let Some(mut stream) = stranger.stream().await else { continue };
            match seed % 4 {
                // The hello of a phone that is paired, by its ticket, from another key: a gate that isn't ours.
                0 => {
                    let paired = phone;
                    let (_, hello) = handshake::phone::pair(paired, stranger.host, &mine.secret, &mut rand::rng());
                    let mut wire = Wire::new(stream);
                    let _ = wire.send(&hello).await;
                    assert!(wire.receive().await.is_err(), "no word comes back");
                }
                // A resume, as if it had been paired.
                1 => {
                    let secret = PairingSecret::from_bytes([seed; 32]);
                    let us = &stranger.identity;
                    assert!(channel::resume(stream, us, stranger.host, &secret, "rogue", Vec::new).await.is_err());
                }
                // Garbage, as long as a hello may be and longer.
                2 => drop(stream.write_all(&[0xff; 70_000]).await),
                // Half of a hello, and silence; the stream stays open for a while.
                _ => {
                    let _ = stream.write_all(&[0, 200, 1, 2, 3]).await;
                    std::mem::forget(stream);
                }
            }
        }
    });
    assert_eq!(listed(&scene).len(), 1);
    // What it is told still comes by the same session.
    scene.pair("other");
    scene.done("other", &["phone", "start", "hello"]);
    watch.event_that("turn", |turn| turn["status"] == "completed");
    assert!(!watch.has_heard("connection", |at| at["state"] == "away"), "it never went away");
}

#[test]
fn weak_spot_08_one_of_two_devices_is_removed_and_the_other_goes_on() {
    let scene = Scene::set();
    let host = scene.host(&[]);
    scene.pair("mine");
    lend(&scene, "lost", &["--right", "owner"]);
    let mut mine = watches(&scene, "mine", &[]);
    let lost = watches(&scene, "lost", &[]);
    scene.done("desk", &["devices", "revoke", "lost"]);
    assert_eq!(lost.end().code, 16);
    lend(&scene, "new", &[]);
    let asked = scene.ask("new", "ESCALATE cmd=touch a.txt");
    assert_eq!(text(&mine.event("approval")["digest"]), text(&asked["digest"]), "by the session it had all along");
    assert!(!mine.has_heard("connection", |at| at["state"] == "away"));
    drop(mine);
    // Also for a host that was killed since.
    host.kill();
    let _host = scene.host(&[]);
    let names: Vec<_> = listed(&scene).iter().map(|row| text(&row["name"])).collect();
    assert_eq!(names, ["mine", "new"]);
}

/// Whether a process has these bytes anywhere in its memory.
fn remembers(pid: Pid, bytes: &[u8]) -> bool {
    let maps = fs::read_to_string(format!("/proc/{}/maps", pid.as_raw_nonzero())).expect("it runs");
    let mut memory = fs::File::open(format!("/proc/{}/mem", pid.as_raw_nonzero())).expect("our own child");
    let range = |line: &str| {
        let (range, rest) = line.split_once(' ')?;
        let (from, to) = range.split_once('-')?;
        let bound = |hex: &str| u64::from_str_radix(hex, 16).ok();
        rest.starts_with("rw").then_some((bound(from)?, bound(to)?))
    };
    maps.lines().filter_map(range).any(|(from, to)| {
        let mut held = vec![0; usize::try_from(to - from).expect("an address space")];
        // Some of it can't be read; none of that is a program's own.
        memory.seek(SeekFrom::Start(from)).is_ok()
            && memory.read_exact(&mut held).is_ok()
            && held.windows(bytes.len()).any(|window| window == bytes)
    })
}

#[test]
fn weak_spot_09_a_relay_learns_no_device_name_no_title_and_no_folder() {
    let scene = Scene::set();
    let (relay, relays) = scene.relay();
    let mut host = scene.host(&relays);
    host.event_that("reachable", |at| at["relays"].as_array().is_some_and(|relays| !relays.is_empty()));
    let marks = ["Quillon-device", "Zephyrine-title", "Bramblewick-folder"];
    fs::create_dir(scene.path("work").join(marks[2])).expect("our own folder");
    let folder = scene.path("work").join(marks[2]).canonicalize().expect("it exists").display().to_string();
    lend(&scene, "mine", &["--right", "owner", "--folder", &folder]);
    // A phone that has nothing but the relay, and tells its name there.
    let (_desk, ticket) = scene.offer();
    let only_relayed = Ticket { direct: Vec::new(), ..Ticket::decode(&ticket).expect("a ticket") };
    let mut phone = scene.runtime.block_on(async {
        let phone = Stranger::called(marks[0], 60, &only_relayed.encode()).pair().await.expect("it is let in");
        assert!(matches!(phone.via, Via::Relay(_)));
        phone
    });
    let prompt = format!("{} SLOW secs=2 every=50", marks[1]);
    let mut turn = scene.start("mine", &["phone", "start", &prompt, "--folder", &folder]);
    let id = text(&turn.event("started")["thread"]);
    scene.runtime.block_on(async {
        phone.watches(&id).await;
        for _ in 0..10 {
            phone.hears_text().await;
        }
    });
    let peer = phone.stranger.host.to_peer_id().to_bytes();
    assert!(remembers(relay.pid(), &peer[peer.len() - 32..]), "the look finds what a relay does learn");
    for mark in marks {
        assert!(remembers(host.pid(), mark.as_bytes()), "the look finds {mark} where it is");
        assert!(!remembers(relay.pid(), mark.as_bytes()), "the relay has {mark}");
    }
    let kept = fs::read_dir(scene.path("relay")).expect("its state").map(|entry| entry.expect("an entry").path());
    for file in kept.filter(|path| path.is_file()) {
        let held = fs::read(&file).expect("ours");
        assert!(marks.iter().all(|mark| !held.windows(mark.len()).any(|at| at == mark.as_bytes())), "{file:?}");
    }
}

#[test]
fn weak_spot_10_a_secret_or_a_path_that_was_replaced_leaves_no_stream_open() {
    let scene = Scene::set();
    let _host = scene.host(&[]);
    scene.pair("mine");
    let (_desk, ticket) = scene.offer();
    let first = scene.runtime.block_on(async { Stranger::new(50, &ticket).pair().await.expect("it is let in") });
    // A path that was replaced by a newer one of the same device.
    let (mut second, mut older) = scene.runtime.block_on(first.resumes()).expect("a second session");
    scene.runtime.block_on(async {
        let ended = async { while older.receive().await.is_ok() {} };
        tokio::time::timeout(Duration::from_secs(60), ended).await.expect("the older path is closed");
    });
    // A new secret: the same key pairs again, and the new program never says a word.
    let (_desk, ticket) = scene.offer();
    scene.runtime.block_on(async {
        let again = Stranger::new(50, &ticket);
        let stream = again.stream().await.expect("it is known");
        let secret = &Ticket::decode(&ticket).expect("a ticket").secret;
        let pairing = channel::pair(stream, &again.identity, again.host, secret, "rogue").await.expect("a pairing");
        let (_channel, _) = pairing.finish(Duration::from_secs(60)).await.expect("it is let in");
        assert!(second.ends_within(Duration::from_secs(10)).await, "the stream under the older secret stays open");
        assert!(second.resumes().await.is_err(), "the older secret opens nothing");
    });
}
