//! Phones that are lent something: a right, folders, and a time.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use farhelm_core::pairing::Refusal;
use farhelm_core::session::handshake;
use farhelm_core::wire::envelope::CloseReason;
use farhelm_overlay::channel;

use crate::rogue::Stranger;
use crate::scene::{Scene, text};
use crate::{LOOK, lend, row, watches};

#[test]
fn a_guest_until_tonight_is_one_until_midnight_here() {
    let scene = Scene::set();
    let _host = scene.host(&[]);
    scene.pair("mine");
    lend(&scene, "guest", &["--right", "viewer", "--until", "tonight"]);
    let until = Duration::from_millis(row(&scene, "guest")["until_ms"].as_u64().expect("a time"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970");
    assert!(until > now && until < now + Duration::from_secs(25 * 60 * 60), "{until:?}");
    scene.done("guest", &LOOK);
}

#[test]
fn a_guest_sees_and_starts_in_its_folders_only() {
    let scene = Scene::set();
    fs::create_dir(scene.path("work/inner")).expect("our own folder");
    let _host = scene.host(&[]);
    scene.pair("mine");
    lend(&scene, "guest", &["--right", "operator", "--folder", "inner"]);
    let outer = text(&scene.done("mine", &["phone", "start", "hello"]).event("started")["thread"]);
    let inner_folder = scene.path("work/inner").canonicalize().expect("it exists").display().to_string();
    let started = scene.done("guest", &["phone", "start", "hello", "--folder", &inner_folder]);
    let inner = text(&started.event("started")["thread"]);

    let threads = scene.done("guest", &LOOK).events;
    assert!(threads.iter().any(|row| row["id"] == inner), "{threads:?}");
    assert!(threads.iter().all(|row| row["id"] != outer), "{threads:?}");
    for refused in [
        &["phone", "show", &outer][..],
        &["phone", "send", &outer, "and on"],
        &["phone", "archive", &outer],
        &["phone", "start", "hello", "--folder", &scene.path("work").display().to_string()],
        &["phone", "start", "hello", "--folder", "/"],
    ] {
        let ended = scene.run("guest", refused);
        assert!([15, 16].contains(&ended.code), "{refused:?}: {:?}", ended.events);
    }
    let shown = scene.done("mine", &["phone", "show", &outer]).events;
    assert!(!format!("{shown:?}").contains("and on"), "{shown:?}");
}

#[test]
fn a_guest_whose_time_ends_while_it_is_connected_is_cut_and_not_let_in_again() {
    let scene = Scene::set();
    let _host = scene.host(&[]);
    scene.pair("mine");
    lend(&scene, "guest", &["--right", "operator", "--until", "8s"]);
    let until = row(&scene, "guest")["until_ms"].as_u64().expect("a time");
    let mut watch = watches(&scene, "guest", &[]);
    let away = watch.event_that("connection", |at| at["state"] == "away");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970");
    let late = now.saturating_sub(Duration::from_millis(until));
    println!("the session ended {late:?} after its time");
    assert!(late < Duration::from_secs(10) && now >= Duration::from_millis(until), "{late:?}");
    assert!(text(&away["why"]).contains("time on the host is over"), "{away}");
    drop(watch);

    let refused = scene.run("guest", &LOOK);
    assert_eq!(refused.code, 16, "{:?}", refused.events);
    assert!(refused.error().contains("time on the host is over"), "{}", refused.error());
    assert_eq!(row(&scene, "guest")["expired"], true);
    scene.done("mine", &LOOK);
    // More time is the desk's to give, and needs no new code.
    scene.done("desk", &["devices", "grant", "guest", "--until", "1h"]);
    scene.done("guest", &LOOK);
}

#[test]
fn a_guest_that_keeps_to_nothing_is_told_expired_and_hears_no_more() {
    let scene = Scene::set();
    let _host = scene.host(&[]);
    scene.pair("mine");
    let (desk, ticket) = scene.offer_on(&["--right", "viewer", "--until", "4s"]);
    let mut guest = scene.runtime.block_on(async { Stranger::new(11, &ticket).pair().await.expect("it is let in") });
    drop(desk.end());
    let mut turn = scene.start("mine", &["phone", "start", "SLOW secs=8 every=50"]);
    let id = text(&turn.event("started")["thread"]);
    scene.runtime.block_on(async {
        guest.watches(&id).await;
        guest.hears_text().await;
        let why = loop {
            if let Err(why) = guest.hears().await {
                break why;
            }
        };
        assert!(matches!(why, channel::Error::Closed(CloseReason::Expired)), "{why}");
        let Err(error) = guest.resumes().await else { panic!("it has a session") };
        let is_expired = matches!(error, channel::Error::Handshake(handshake::Error::Refused(Refusal::Expired)));
        assert!(is_expired, "{error}");
    });
    assert_eq!(turn.end().code, 0, "nobody else noticed");
}
