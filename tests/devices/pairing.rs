//! One code, and what can go wrong with it: photographed, used by several, declined, and a SIGKILL at any moment. In the
//! end both sides know each other or neither does, one code never makes two devices, and a fresh one always works.

use std::thread;
use std::time::{Duration, Instant};

use crate::scene::{Process, Scene};
use crate::{LOOK, asking_desk, listed};

/// Moments of a pairing at which something is killed.
const MOMENTS: u32 = 8;

#[test]
fn a_photographed_code_never_makes_two_devices() {
    let scene = Scene::set();
    let host = scene.host(&[]);
    let (mut desk, ticket) = scene.offer();
    let phones = ["one", "two", "three", "four"];
    let codes: Vec<i32> =
        phones.map(|phone| scene.scan(phone, &ticket)).into_iter().map(|phone| phone.end().code).collect();
    let (paired, refused): (Vec<i32>, Vec<i32>) = codes.iter().partition(|code| **code == 0);
    assert_eq!(paired.len(), 1, "{codes:?}");
    assert!(refused.iter().all(|code| [11, 12, 13].contains(code)), "{codes:?}");
    desk.event("paired");
    assert_eq!(listed(&scene).len(), 1);

    // Later, with the door open for another phone, and after the host was killed.
    let (_other, _) = scene.offer();
    let late = scene.scan("late", &ticket).end();
    assert_eq!(late.code, 12, "{:?}", late.events);
    host.kill();
    let _host = scene.host(&[]);
    let (_other, _) = scene.offer();
    assert_ne!(scene.scan("later", &ticket).end().code, 0);
    assert_eq!(listed(&scene).len(), 1);
}

#[test]
fn a_phone_killed_while_the_desk_thinks_is_in_after_a_yes_and_out_after_a_no() {
    for (answer, listed_then) in [("y\r", 1), ("n\r", 0)] {
        let scene = Scene::set();
        let _host = scene.host(&[]);
        let (mut desk, ticket) = asking_desk(&scene);
        let mut phone = scene.scan("phone", &ticket);
        phone.event("words");
        desk.shows("word for word? [y/N] ");
        phone.kill();
        desk.types(answer);
        // After a no it shows the next code.
        desk.shows(if listed_then == 1 { "\"paired\"" } else { "\"text\"" });
        assert_eq!(listed(&scene).len(), listed_then);
        let back = scene.run("phone", &LOOK);
        assert_eq!(back.code == 0, listed_then == 1, "{:?}", back.events);
        scene.pair("phone");
        scene.done("phone", &LOOK);
        assert_eq!(listed(&scene).len(), 1, "one phone is one device");
    }
}

/// Kills one side at moments of a pairing that takes about as long as this one did, and judges what is left.
fn killed_at_any_moment(victim: impl Fn(&Scene, Process, Process) -> [Process; 2]) {
    let scene = Scene::set();
    let (_relay, relays) = scene.relay();
    let mut host = scene.host(&relays);
    host.event_that("reachable", |at| at["relays"].as_array().is_some_and(|relays| !relays.is_empty()));
    let began = Instant::now();
    scene.pair("measured");
    let step = began.elapsed() / MOMENTS;
    let (mut both, mut neither) = (0, 0);
    for moment in 0..MOMENTS {
        let name = format!("phone-{moment}");
        let (desk, ticket) = scene.offer();
        let phone = scene.scan(&name, &ticket);
        // Not to wait for anything: the moment is what is varied.
        thread::sleep(step * moment);
        let [desk_or_host, other] = victim(&scene, host, phone);
        host = desk_or_host;
        drop((desk, other));
        let knows_host = scene.run(&name, &LOOK).code == 0;
        let is_known = listed(&scene).iter().any(|row| row["name"] == name);
        assert_eq!(knows_host, is_known, "killed after {:?} of {:?}", step * moment, step * MOMENTS);
        if is_known {
            both += 1
        } else {
            neither += 1
        }
        scene.pair(&name);
        scene.done(&name, &LOOK);
    }
    println!("both know each other {both} times, neither {neither} times");
    assert_eq!(listed(&scene).len(), 1 + MOMENTS as usize, "one device each");
}

#[test]
fn a_phone_killed_at_any_moment_of_a_pairing_is_known_by_both_or_by_neither() {
    killed_at_any_moment(|scene, host, phone| {
        phone.kill();
        [host, scene.start("nobody", &["phone", "hosts"])]
    });
}

#[test]
fn a_host_killed_at_any_moment_of_a_pairing_is_known_by_both_or_by_neither() {
    killed_at_any_moment(|scene, host, phone| {
        host.kill();
        let mut host = scene.host(&[]);
        host.event_that("reachable", |at| at["relays"].as_array().is_some_and(|relays| !relays.is_empty()));
        let ended = phone.end();
        println!("the phone ended with {}", ended.code);
        [host, scene.start("nobody", &["phone", "hosts"])]
    });
}

#[test]
fn a_removed_phone_is_paired_again_by_a_person_who_takes_time() {
    let scene = Scene::set();
    let _host = scene.host(&[]);
    scene.pair("phone");
    scene.done("desk", &["devices", "revoke", "phone"]);
    assert_eq!(scene.run("phone", &LOOK).code, 16);
    let (mut desk, ticket) = asking_desk(&scene);
    let phone = scene.scan("phone", &ticket);
    desk.shows("word for word? [y/N] ");
    // Longer than a stranger, or one who fetches what a removed phone is told, may stay.
    thread::sleep(Duration::from_secs(12));
    desk.types("y\r");
    let paired = phone.end();
    assert_eq!(paired.code, 0, "{:?}", paired.events);
}
