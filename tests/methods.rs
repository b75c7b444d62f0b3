//! The policy's tables against the schema that Codex generates of itself: nothing that a version of Codex adds, drops or
//! changes goes unseen.

#[path = "support/codex.rs"]
mod codex;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use codex::codex;
use farhelm_core::policy::Verdict;
use farhelm_core::policy::notifications::{NOTIFICATIONS, WITHHELD};
use farhelm_core::policy::table::{ASKED, METHODS};
use serde::Deserialize;

/// What `tests/methods` lists: by name, the fields of the parameters.
#[derive(Deserialize)]
struct Listing {
    codex: String,
    methods: BTreeMap<String, BTreeSet<String>>,
    requests: BTreeMap<String, BTreeSet<String>>,
    notifications: BTreeMap<String, BTreeSet<String>>,
}

fn committed() -> Listing {
    serde_json::from_str(include_str!("methods.json")).expect("tests/methods.json")
}

/// What stands in one list and not in the other.
fn differences<'a>(
    what: &str,
    codex: impl IntoIterator<Item = &'a str>,
    ours: impl IntoIterator<Item = &'a str>,
) -> Vec<String> {
    let (codex, ours): (BTreeSet<_>, BTreeSet<_>) = (codex.into_iter().collect(), ours.into_iter().collect());
    let added = codex.difference(&ours).map(|name| format!("{what} {name}: new in Codex"));
    let dropped = ours.difference(&codex).map(|name| format!("{what} {name}: not in Codex (any more)"));
    added.chain(dropped).collect()
}

#[test]
fn the_tables_judge_every_name_of_codex_and_no_other() {
    let Listing { methods, requests, notifications, .. } = committed();
    let judged = METHODS.iter().filter(|method| method.verdict != Verdict::Own).map(|method| method.name);
    let told = NOTIFICATIONS.iter().map(|entry| entry.name).chain(WITHHELD.iter().map(|entry| entry.name));
    let mut found = differences("method", methods.keys().map(String::as_str), judged);
    found.extend(differences("request", requests.keys().map(String::as_str), ASKED.iter().map(|asked| asked.name)));
    found.extend(differences("notification", notifications.keys().map(String::as_str), told));
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn every_field_of_the_tables_is_one_of_codexs() {
    let listed = committed().methods;
    for method in METHODS.iter().filter(|method| method.verdict == Verdict::Allow) {
        let fields = &listed[method.name];
        let sent = method.params.iter().map(|field| field.name).chain(method.given.iter().map(|given| given.name));
        for field in sent {
            assert!(fields.contains(field), "{}.{field}", method.name);
        }
    }
}

#[test]
fn the_committed_list_is_that_of_the_pinned_codex() {
    let Some(codex) = codex() else { return };
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/methods");
    let made = Command::new(script).arg(codex).output().expect("python3 starts");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let (made, committed): (Listing, _) = (serde_json::from_slice(&made.stdout).expect("a listing"), committed());
    assert_eq!(made.codex, committed.codex);
    let mut found = Vec::new();
    for (what, codex, ours) in [
        ("method", made.methods, committed.methods),
        ("request", made.requests, committed.requests),
        ("notification", made.notifications, committed.notifications),
    ] {
        found.extend(differences(what, codex.keys().map(String::as_str), ours.keys().map(String::as_str)));
        for (name, fields) in codex {
            let before = ours.get(&name).into_iter().flatten().map(String::as_str);
            found.extend(differences(&format!("field of {name}:"), fields.iter().map(String::as_str), before));
        }
    }
    assert!(found.is_empty(), "{found:#?}; judge them in the policy's tables, then run ./tests/methods --write");
}
