//! What a phone has a host do is recorded there, and what is then done to the record is found.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use rustix::process::Signal;
use serde_json::Value;

use super::scene::{PATIENCE, Scene, text};

/// A host that a phone had run one command, and that has ended since.
fn steered() -> Scene {
    let scene = Scene::set();
    let host = scene.host(&[]);
    scene.pair("phone");
    let asked = scene.ask("phone", "ESCALATE cmd=touch a.txt");
    scene.done("phone", &["phone", "approve", "--digest", &text(&asked["digest"]), "--yes"]);
    // The phone is told that its decision went to Codex; what became of it is known once Codex says so.
    let began = Instant::now();
    while records(&scene).last().is_none_or(|last| last["act"] != "decision" || last["effect"] == "asked") {
        assert!(began.elapsed() < PATIENCE, "the decision has no effect: {:?}", records(&scene));
    }
    assert_eq!(host.stop(Signal::TERM).code, 0);
    scene
}

fn log(scene: &Scene) -> PathBuf {
    scene.path("desk/audit.log")
}

fn records(scene: &Scene) -> Vec<Value> {
    scene.done("desk", &["audit", "show"]).events
}

/// What verifying says of it.
fn broken(scene: &Scene, arguments: &[&str]) -> String {
    let ended = scene.run("desk", &[&["audit", "verify"], arguments].concat());
    assert_eq!(ended.code, 1, "{:?}", ended.events);
    ended.error()
}

#[test]
fn what_a_phone_had_done_is_recorded_before_and_after() {
    let scene = steered();
    let records = records(&scene);
    let of = |act: &str| records.iter().filter(|record| record["act"] == act).collect::<Vec<_>>();
    for act in ["thread/start", "turn/start", "decision"] {
        let [asked, ended] = of(act)[..] else { panic!("{act}: {records:?}") };
        assert_eq!((&asked["effect"], &ended["effect"]), (&"asked".into(), &"done".into()), "{act}");
        assert_eq!((&ended["ends"], &ended["digest"]), (&asked["seq"], &asked["digest"]));
        assert_eq!((&asked["name"], &asked["right"]), (&"phone".into(), &"owner".into()));
    }
    assert_eq!(of("decision")[0]["decision"], "accept");
    let whole = scene.done("desk", &["audit", "verify"]);
    assert_eq!((&whole.events[0]["whole"], &whole.events[0]["last"]), (&true.into(), &records.len().into()));
}

#[test]
fn what_is_done_at_the_desk_is_recorded_whether_or_not_a_host_runs() {
    let scene = Scene::set();
    let host = scene.host(&[]);
    scene.pair("ann");
    scene.pair("bob");
    let work = |arguments: &[&str]| _ = scene.done("desk", arguments);
    work(&["devices", "grant", "bob", "--right", "viewer"]);
    work(&["devices", "rename", "bob", "tablet"]);
    work(&["host", "settings", "set", "network_access", "on"]);
    work(&["freeze"]);
    work(&["thaw"]);
    assert_eq!(host.stop(Signal::TERM).code, 0);
    work(&["devices", "grant", "tablet", "--right", "approver"]);
    work(&["freeze"]);
    work(&["thaw"]);
    work(&["devices", "revoke", "tablet"]);

    let records = records(&scene);
    let said =
        |record: &Value| [&record["act"], &record["name"], &record["right"], &record["effect"]].map(|v| v.clone());
    let line = |act: &str, name: &str, right: &str, effect: &str| {
        let or_null = |text: &str| if text.is_empty() { Value::Null } else { text.into() };
        [act.into(), or_null(name), or_null(right), effect.into()]
    };
    let expected = [
        line("pair", "ann", "owner", "asked"),
        line("pair", "ann", "owner", "done"),
        line("pair", "bob", "operator", "asked"),
        line("pair", "bob", "operator", "done"),
        line("grant", "bob", "viewer", "asked"),
        line("grant", "bob", "viewer", "done"),
        line("rename", "tablet", "viewer", "done"),
        line("setting network_access on", "", "", "asked"),
        line("setting network_access on", "", "", "done"),
        line("freeze", "", "", "done"),
        line("thaw", "", "", "asked"),
        line("thaw", "", "", "done"),
        line("grant", "tablet", "approver", "done"),
        line("freeze", "", "", "done"),
        line("thaw", "", "", "done"),
        line("revoke", "tablet", "approver", "done"),
    ];
    assert_eq!(records.iter().map(said).collect::<Vec<_>>(), expected);
    assert!(records.iter().all(|record| record["who"].is_null()), "{records:?}");
    assert!(records[15]["about"].is_string() && records[15]["about"] == records[2]["about"], "{records:?}");
    scene.done("desk", &["audit", "verify"]);
}

#[test]
fn a_record_that_was_changed_or_cut_off_is_found_and_placed() {
    let scene = steered();
    let (last, whole) = (records(&scene).len(), fs::read(log(&scene)).expect("a record"));
    let head = scene.path("head.txt");
    fs::write(&head, text(&scene.done("desk", &["audit", "head"]).events[0]["head"])).expect("our own folder");
    let head = head.to_str().expect("a text").to_owned();
    scene.done("desk", &["audit", "verify", "--head", &head]);

    let mut changed = whole.clone();
    *changed.last_mut().expect("not empty") ^= 1;
    fs::write(log(&scene), changed).expect("ours");
    assert!(broken(&scene, &[]).contains(&format!("entry {last} was changed")));
    fs::write(log(&scene), &whole[..whole.len() - 1]).expect("ours");
    assert!(broken(&scene, &[]).contains(&format!("entry {last} is missing")));
    assert_eq!(scene.run("desk", &["host"]).code, 19, "a host doesn't go on from it");

    // All of it gone is no new beginning.
    let away = scene.path("desk/away");
    fs::rename(log(&scene), &away).expect("ours");
    for arguments in [&[][..], &["--head", &head]] {
        assert!(broken(&scene, arguments).contains("is missing"));
    }
    fs::rename(away, log(&scene)).expect("ours");

    // Without the head beside it, it is what a crash leaves; a head kept elsewhere still tells.
    fs::remove_file(log(&scene).with_extension("log.head")).expect("a head");
    scene.done("desk", &["audit", "verify"]);
    assert!(broken(&scene, &["--head", &head]).contains(&format!("entry {last} is missing")));
    fs::remove_file(log(&scene)).expect("ours");
    assert_eq!(scene.run("desk", &["audit", "verify"]).code, 15, "nothing here says that there was anything");
    assert!(broken(&scene, &["--head", &head]).contains("is missing"));
}

#[test]
fn an_export_is_checked_without_the_host_and_what_was_done_to_it_is_placed() {
    let scene = steered();
    let whole: Vec<String> = scene.done("desk", &["audit", "export"]).events.iter().map(Value::to_string).collect();
    assert_eq!(whole.len(), records(&scene).len() + 2, "the host, the entries, the head");
    let host = text(&serde_json::from_str::<Value>(&whole[0]).expect("JSON")["record"]["host"]);
    let file = scene.path("record.jsonl");
    let path = file.to_str().expect("a text").to_owned();
    let verify = |lines: &[String]| {
        fs::write(&file, lines.join("\n")).expect("our own folder");
        scene.run("auditor", &["audit", "verify", "--export", &path, "--host", &host])
    };
    assert_eq!(verify(&whole).code, 0);
    assert!(!scene.path("auditor").exists(), "it takes nothing from here");
    let other =
        ["audit", "verify", "--export", &path, "--host", "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5"];
    assert!(scene.run("auditor", &other).error().contains("it is the record of"));

    let changed = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines = whole.clone();
        change(&mut lines);
        let ended = verify(&lines);
        assert_eq!(ended.code, 1, "{:?}", ended.events);
        ended.error()
    };
    assert!(changed(&|lines| _ = lines.remove(3)).contains("entry 3 is missing"));
    assert!(changed(&|lines| lines.swap(2, 4)).contains("entry 2 is out of order"));
    let last = whole.len() - 2;
    assert!(changed(&|lines| _ = lines.remove(last)).contains(&format!("entry {last} is missing")));
    // What it says beside its bytes doesn't count; its bytes do.
    let hex = |lines: &mut Vec<String>, at: usize| {
        let mut line: Value = serde_json::from_str(&lines[at]).expect("JSON");
        let record = text(&line["entry"]["record"]);
        line["entry"]["record"] = format!("{}{}", &record[..record.len() - 2], "00").into();
        lines[at] = line.to_string();
    };
    assert!(changed(&|lines| hex(lines, 2)).contains("entry 2 was changed"));
}
