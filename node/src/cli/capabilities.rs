//! `node/CAPABILITIES.md`: what a phone can do, by command, right and test. Held to the method table, to the commands and
//! to the tests there are; `FARHELM_WRITE_VECTORS=1 cargo test -p farhelm --lib capabilities` writes it anew.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

use clap::CommandFactory;
use farhelm_core::policy::{Right, table};

use super::Cli;

/// Something that a phone can do.
struct Capability {
    what: &'static str,
    /// The command, below `farhelm phone`; none where only the library has it.
    command: Option<&'static str>,
    /// What it asks for; nothing where it goes by an envelope of its own.
    methods: &'static [&'static str],
    /// The right of what has no method.
    right: Option<Right>,
    /// The test that shows it.
    test: &'static str,
}

const fn row(
    what: &'static str,
    command: &'static str,
    methods: &'static [&'static str],
    test: &'static str,
) -> Capability {
    Capability { what, command: Some(command), methods, right: None, test }
}

/// By the library only.
const fn called(what: &'static str, methods: &'static [&'static str]) -> Capability {
    Capability { what, command: None, methods, right: None, test: EVERY }
}

const fn told(what: &'static str, command: &'static str, right: Right, test: &'static str) -> Capability {
    Capability { what, command: Some(command), methods: &[], right: Some(right), test }
}

/// Calls each method through the whole corridor.
const EVERY: &str = "every_method_for_phones_is_understood_by_the_real_codex";

const CAPABILITIES: &[Capability] = &[
    row(
        "list threads",
        "threads",
        &["thread/list", "thread/loaded/list"],
        "a_thread_is_started_followed_listed_and_continued",
    ),
    row(
        "read a thread's history",
        "show",
        &["thread/read", "thread/turns/list", "thread/items/list", "thread/items/read", "thread/timeline/list"],
        "a_history_is_shown_page_by_page_searched_and_kept_in_order",
    ),
    told("follow a thread live", "watch", Right::Viewer, "a_watch_tells_what_waits_and_ends_well_at_ctrl_c"),
    row(
        "find what was said",
        "search",
        &["thread/search", "thread/searchOccurrences"],
        "a_history_is_shown_page_by_page_searched_and_kept_in_order",
    ),
    row("see a goal", "goal", &["thread/goal/get"], "a_history_is_shown_page_by_page_searched_and_kept_in_order"),
    row("see images", "images", &["farhelm/image/read"], "an_image_is_sent_along_and_comes_back_as_it_was"),
    row(
        "look after the host's devices, as an owner",
        "devices",
        &["farhelm/devices/list", "farhelm/devices/rename", "farhelm/devices/grant", "farhelm/devices/revoke"],
        "an_owners_phone_looks_after_lesser_devices_and_no_other_does",
    ),
    row(
        "freeze the host, as an owner",
        "freeze",
        &["farhelm/freeze"],
        "an_owners_phone_freezes_and_only_the_desk_thaws",
    ),
    told(
        "keep how far the host's record goes",
        "heads",
        Right::Viewer,
        "a_phone_says_that_the_record_was_cut_off_and_its_head_shows_where",
    ),
    told("review a change", "diff", Right::Viewer, "a_change_is_shown_as_a_diff_and_declined"),
    told("approve", "approve", Right::Approver, "a_script_approves_by_naming_what_it_saw_and_by_nothing_less"),
    told("decline, or end the turn", "decline", Right::Approver, "a_change_is_shown_as_a_diff_and_declined"),
    told("answer a question", "answer", Right::Operator, "what_codex_asks_in_plan_mode_is_answered_from_the_phone"),
    row(
        "start a thread, with images",
        "start",
        &["thread/start", "turn/start"],
        "an_image_is_sent_along_and_comes_back_as_it_was",
    ),
    row(
        "go on with a thread",
        "send",
        &["thread/resume", "turn/start"],
        "a_thread_is_started_followed_listed_and_continued",
    ),
    row("speak into a running turn", "steer", &["turn/steer"], "a_running_turn_is_steered_and_messages_wait_behind_it"),
    row(
        "queue messages",
        "queue",
        &[
            "thread/queue/list",
            "thread/queue/add",
            "thread/queue/update",
            "thread/queue/delete",
            "thread/queue/reorder",
            "thread/queue/start",
        ],
        "a_running_turn_is_steered_and_messages_wait_behind_it",
    ),
    row(
        "interrupt, and end what it left running",
        "interrupt",
        &[
            "turn/interrupt",
            "thread/backgroundTerminals/list",
            "thread/backgroundTerminals/terminate",
            "thread/backgroundTerminals/clean",
        ],
        "a_turn_is_interrupted_and_what_it_left_running_is_ended",
    ),
    row("have changes reviewed", "review", &["review/start"], "changes_are_reviewed_and_a_thread_is_summed_up"),
    row("sum a thread up", "compact", &["thread/compact/start"], "changes_are_reviewed_and_a_thread_is_summed_up"),
    row("name a thread", "rename", &["thread/name/set"], "a_history_is_shown_page_by_page_searched_and_kept_in_order"),
    row(
        "put a thread away",
        "archive",
        &["thread/archive"],
        "a_history_is_shown_page_by_page_searched_and_kept_in_order",
    ),
    row(
        "take it back",
        "unarchive",
        &["thread/unarchive"],
        "a_history_is_shown_page_by_page_searched_and_kept_in_order",
    ),
    row("go on in a copy", "fork", &["thread/fork"], "a_history_is_shown_page_by_page_searched_and_kept_in_order"),
    row(
        "choose a model",
        "model",
        &["model/list", "modelProvider/capabilities/read", "thread/settings/update"],
        "a_model_is_chosen_used_and_read_back",
    ),
    row("choose an effort", "effort", &["thread/settings/update"], "a_model_is_chosen_used_and_read_back"),
    row(
        "see what the account has left",
        "usage",
        &["account/rateLimits/read", "account/usage/read"],
        "a_model_is_chosen_used_and_read_back",
    ),
    called("choose for the turn that runs", &["turn/settings/update"]),
    called("choose plan or work", &["collaborationMode/list"]),
    called("mark as read", &["thread/readState/update"]),
    called("see what is attached", &["thread/attachment/list", "thread/attachmentOwner/list"]),
    called("sections", &["threadSection/list", "thread/section/move"]),
    called("projects", &["project/list", "project/read"]),
    called("the kind of account", &["account/read"]),
    called("what an administrator allows", &["configRequirements/read", "permissionProfile/list"]),
    called("skills", &["skills/list"]),
];

impl Capability {
    /// The least right that opens all of it.
    fn right(&self) -> Right {
        let of = |name: &&str| table::find(name).unwrap_or_else(|| panic!("no method {name}")).right;
        self.right.or_else(|| self.methods.iter().map(of).max()).expect("a right")
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn page() -> String {
    let mut page = String::from(
        "# What a phone can do\n\nMade from `node/src/cli/capabilities.rs`, which is held to the method table, to the \
         commands and to the tests; don't edit it\nby hand. What passes of each method is in [METHODS.md](METHODS.md).\n\n\
         | capability | `farhelm phone` | right | methods | test |\n|---|---|---|---|---|\n",
    );
    for capability in CAPABILITIES {
        let command = capability.command.map_or_else(|| "(library)".to_owned(), |command| format!("`{command}`"));
        let methods: Vec<_> = capability.methods.iter().map(|method| format!("`{method}`")).collect();
        let (what, right, test) = (capability.what, capability.right(), capability.test);
        let _ = writeln!(page, "| {what} | {command} | {right} | {} | `{test}` |", methods.join(", "));
    }
    page
}

#[test]
fn the_page_is_as_the_capabilities() {
    let path = root().join("node/CAPABILITIES.md");
    if env::var_os("FARHELM_WRITE_VECTORS").is_some() {
        fs::write(&path, page()).expect("written");
    }
    let committed = fs::read_to_string(&path).expect("the page");
    assert!(
        committed == page(),
        "node/CAPABILITIES.md isn't as the code is; write it anew with FARHELM_WRITE_VECTORS=1"
    );
}

#[test]
fn every_method_for_phones_is_a_capability_and_every_command_one_there_is() {
    let listed: BTreeSet<_> = CAPABILITIES.iter().flat_map(|capability| capability.methods).copied().collect();
    let open = table::METHODS.iter().filter(|method| method.verdict.is_for_phones());
    assert_eq!(listed, open.map(|method| method.name).collect());
    let cli = Cli::command();
    let phone = cli.find_subcommand("phone").expect("the phone");
    for command in CAPABILITIES.iter().filter_map(|capability| capability.command) {
        assert!(phone.find_subcommand(command).is_some(), "no command {command}");
    }
    // Those beside the capabilities: pairing, and the list of hosts.
    let all: BTreeSet<_> = phone.get_subcommands().map(clap::Command::get_name).collect();
    let rows: BTreeSet<_> = CAPABILITIES.iter().filter_map(|capability| capability.command).collect();
    let beside: Vec<_> = all.difference(&rows).copied().collect();
    assert_eq!(beside, ["forget", "hosts", "pair"]);
}

#[test]
fn every_test_that_is_named_is_one_there_is() {
    fn sources(folder: &Path, out: &mut String) {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            match entry.path() {
                path if path.is_dir() => sources(&path, out),
                path if path.extension().is_some_and(|end| end == "rs") => {
                    out.push_str(&fs::read_to_string(path).expect("a text"));
                }
                _ => {}
            }
        }
    }
    let mut all = String::new();
    sources(&root().join("tests"), &mut all);
    for Capability { test, what, .. } in CAPABILITIES {
        assert!(all.contains(&format!("fn {test}(")), "{what}: no test {test}");
    }
}
