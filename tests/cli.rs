//! The program as a script or a person runs it: arguments in; output, exit code and files out.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Lines};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// A run of the program with nothing from this environment: no HOME, no colours, no terminal.
fn farhelm(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_farhelm"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command.process_group(0);
    command
}

fn run(arguments: &[&str]) -> Output {
    farhelm(arguments).output().expect("the program starts")
}

/// A state directory that is gone after the test.
fn state() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).expect("our own folder");
    folder
}

/// A run with a state directory.
fn run_in(state: &TempDir, arguments: &[&str]) -> Output {
    farhelm(arguments).env("FARHELM_STATE_DIR", state.path()).output().expect("the program starts")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it wasn't killed")
}

/// A program that runs until it is told to stop, with its events.
struct Service {
    child: Child,
    events: Lines<BufReader<ChildStdout>>,
}

impl Service {
    fn start(state: &Path, arguments: &[&str]) -> Self {
        let mut command = farhelm(arguments);
        command.arg("--json").env("FARHELM_STATE_DIR", state).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let events = BufReader::new(child.stdout.take().expect("it was piped")).lines();
        Self { child, events }
    }

    /// A host that listens on loopback and finds no Codex.
    fn host(state: &TempDir) -> Self {
        let mut host = Self::start(state.path(), &["host", "--listen", "/ip4/127.0.0.1/tcp/0"]);
        host.wait_for("started");
        host
    }

    /// The next event of this kind; others before it are dropped.
    fn wait_for(&mut self, is: &str) -> Value {
        loop {
            let line = self.events.next().expect("it says that before it ends").expect("its output is text");
            let event: Value = serde_json::from_str(&line).expect("an event is JSON");
            if event["is"] == is {
                return event;
            }
            assert_eq!(event["error"], Value::Null, "{event}");
        }
    }

    fn stop(&mut self, signal: Signal) -> i32 {
        let pid = Pid::from_raw(self.child.id().cast_signed()).expect("a process has an id");
        kill_process(pid, signal).expect("it runs");
        self.child.wait().expect("it ends").code().expect("by itself")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Commonly it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", stdout(output)))
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("output is text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("output is text")
}

#[test]
fn a_wrong_command_line_exits_2() {
    for arguments in [&[][..], &["fly"], &["man", "--out"], &["completions", "cobol"]] {
        assert_eq!(run(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn the_long_help_names_the_exit_codes_and_works_without_home() {
    let help = run(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(stdout(&help).contains("Exit codes:") && stdout(&help).contains("130  interrupted"));
}

#[test]
fn help_in_a_dumb_terminal_has_no_escape_sequences() {
    let help = farhelm(&["--help"]).env("TERM", "dumb").output().expect("the program starts");
    assert!(!stdout(&help).contains('\x1b'));
}

#[test]
fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = run(&["completions", shell]);
        assert_eq!(script.status.code(), Some(0), "{shell}");
        assert!(stdout(&script).contains("state-dir"), "{shell}");
    }
}

#[test]
fn bash_accepts_its_completions() {
    let script = stdout(&run(&["completions", "bash"]));
    let checked = Command::new("bash").args(["-n", "-c", &script]).status().expect("bash is there");
    assert!(checked.success());
}

#[test]
fn the_manual_has_the_exit_codes() {
    let page = run(&["man"]);
    assert_eq!(page.status.code(), Some(0));
    let page = stdout(&page);
    for section in [".TH farhelm 1", ".SH ENVIRONMENT\n", ".SH \"EXIT STATUS\"\n    0  done"] {
        assert!(page.contains(section), "{section} is missing in {page}");
    }
    assert!(!page.contains("EXTRA"));
}

#[test]
fn a_manual_page_is_written_for_every_command() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("man1");
    let written = run(&["man", "--out", out.to_str().expect("a path")]);
    assert_eq!(written.status.code(), Some(0), "{}", stderr(&written));
    for page in ["farhelm.1", "farhelm-completions.1", "farhelm-man.1"] {
        let text = std::fs::read_to_string(out.join(page)).expect("the page is there");
        assert!(!text.contains("EXTRA"), "{text}");
    }
}

#[test]
fn a_failure_names_the_next_step_and_is_json_when_asked() {
    let arguments = ["man", "--out", "/proc/nowhere"];
    let failed = run(&arguments);
    assert_eq!(failed.status.code(), Some(1));
    let said = stderr(&failed);
    assert!(said.starts_with("error: can't write") && said.contains("\n  → choose another directory"), "{said}");

    let failed = run(&[&arguments[..], &["--json"]].concat());
    assert_eq!(failed.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_slice(&failed.stdout).expect("one JSON object");
    assert_eq!(json["error"]["code"], 1);
    assert_eq!(json["error"]["name"], "failed");
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let full = std::fs::File::options().write(true).open("/dev/full").expect("Linux has it");
    let failed = farhelm(&["man"]).stdout(full).output().expect("the program starts");
    assert_eq!(failed.status.code(), Some(1));
    assert!(stderr(&failed).starts_with("error: can't write to standard output"), "{}", stderr(&failed));
}

#[test]
fn a_reader_that_has_left_is_not_worth_a_word() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let failed = farhelm(&["man"]).stdout(writer).output().expect("the program starts");
    assert_eq!((failed.status.code(), stderr(&failed)), (Some(1), String::new()));
}

const RELAY: &str = "/ip4/192.0.2.7/tcp/4001/p2p/12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq";

#[test]
fn without_a_home_the_state_directory_is_asked_for() {
    let failed = run(&["devices"]);
    assert_eq!(code(&failed), 19);
    assert!(stderr(&failed).contains("--state-dir"), "{}", stderr(&failed));
}

#[test]
fn a_state_directory_others_may_look_into_is_refused() {
    let state = state();
    fs::set_permissions(state.path(), Permissions::from_mode(0o755)).expect("our own folder");
    let failed = run_in(&state, &["devices"]);
    assert_eq!(code(&failed), 19);
    assert!(stderr(&failed).contains("chmod 700"), "{}", stderr(&failed));
}

#[test]
fn a_host_ends_cleanly_on_either_signal_and_frees_its_directory() {
    let state = state();
    for signal in [Signal::TERM, Signal::INT] {
        let mut host = Service::host(&state);
        assert_eq!(host.stop(signal), 0);
        host.wait_for("stopping");
    }
    assert!(!state.path().join("run/control.sock").exists());
}

#[test]
fn a_second_host_is_told_who_the_first_one_is() {
    let state = state();
    let host = Service::host(&state);
    let second = run_in(&state, &["host"]);
    assert_eq!(code(&second), 19);
    let said = stderr(&second);
    assert!(said.contains(&format!("farhelm host (process {})", host.child.id())), "{said}");
}

#[test]
fn a_host_without_codex_says_what_to_install() {
    let state = state();
    let mut host = Service::host(&state);
    let codex = host.wait_for("codex");
    assert_eq!(codex["ready"], false);
    assert!(codex["text"].as_str().is_some_and(|text| text.contains("npm i -g @openai/codex")), "{codex}");
}

#[test]
fn a_host_cannot_listen_on_a_taken_port() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("it is bound").port();
    let failed = run_in(&state(), &["host", "--listen", &format!("/ip4/127.0.0.1/tcp/{port}")]);
    assert_eq!(code(&failed), 20, "{}", stderr(&failed));
}

#[test]
fn relays_are_added_listed_and_removed_while_no_host_runs() {
    let state = state();
    let added = run_in(&state, &["host", "relays", "add", RELAY, "--json"]);
    assert_eq!((code(&added), json(&added)["changed"].clone()), (0, Value::Bool(true)));
    let again = run_in(&state, &["host", "relays", "add", RELAY, "--json"]);
    assert_eq!(json(&again)["changed"], false);
    let listed = json(&run_in(&state, &["host", "relays", "list", "--json"]));
    assert_eq!((listed["address"].as_str(), &listed["reserved"]), (Some(RELAY), &Value::Null));
    assert_eq!(code(&run_in(&state, &["host", "relays", "remove", RELAY])), 0);
    assert_eq!(code(&run_in(&state, &["host", "relays", "remove", RELAY])), 15);
}

#[test]
fn relays_are_added_listed_and_removed_while_a_host_runs() {
    let state = state();
    let _host = Service::host(&state);
    assert_eq!(code(&run_in(&state, &["host", "relays", "add", RELAY])), 0);
    let listed = json(&run_in(&state, &["host", "relays", "list", "--json"]));
    assert_eq!((listed["address"].as_str(), &listed["reserved"]), (Some(RELAY), &Value::Bool(false)));
    assert_eq!(code(&run_in(&state, &["host", "relays", "remove", RELAY])), 0);
    assert_eq!(code(&run_in(&state, &["host", "relays", "remove", RELAY])), 15);
}

#[test]
fn what_is_no_relay_is_refused_before_a_host_starts() {
    for arguments in [&["host", "--relay", "here"][..], &["host", "relays", "add", "/ip4/192.0.2.7/tcp/4001"]] {
        assert_eq!(code(&run_in(&state(), arguments)), 2, "{arguments:?}");
    }
}

#[test]
fn removing_an_unknown_phone_is_named_whether_a_host_runs_or_not() {
    let state = state();
    assert_eq!(code(&run_in(&state, &["devices", "revoke", "nobody"])), 15);
    let _host = Service::host(&state);
    assert_eq!(code(&run_in(&state, &["devices", "revoke", "nobody"])), 15);
}

#[test]
fn a_code_needs_a_running_host() {
    assert_eq!(code(&run_in(&state(), &["pair", "--yes"])), 13);
}

#[test]
fn without_a_terminal_a_code_needs_yes() {
    let state = state();
    let _host = Service::host(&state);
    let failed = run_in(&state, &["pair"]);
    assert_eq!(code(&failed), 2);
    assert!(stderr(&failed).contains("--yes"), "{}", stderr(&failed));
}

#[test]
fn a_code_is_given_as_json_and_as_a_picture_for_its_owner_only() {
    let state = state();
    let _host = Service::host(&state);
    let picture = state.path().join("ticket.png");
    let mut pair = Service::start(state.path(), &["pair", "--yes", "--png", picture.to_str().expect("a path")]);
    let ticket = pair.wait_for("ticket");
    assert!(ticket["text"].as_str().is_some_and(|text| text.starts_with("FARHELM:")));
    assert_eq!(fs::metadata(&picture).expect("the picture is there").permissions().mode() & 0o777, 0o600);
    assert_eq!(pair.stop(Signal::INT), 130);

    let again = run_in(&state, &["pair", "--yes", "--png", picture.to_str().expect("a path")]);
    assert_eq!(code(&again), 19, "an existing picture is left alone: {}", stderr(&again));
}

const LOOPBACK: [&str; 5] = ["relay", "--listen", "/ip4/127.0.0.1/tcp/0", "--announce", "/ip4/127.0.0.1/tcp/0"];

#[test]
fn a_relay_keeps_its_key_over_a_restart_and_ends_cleanly() {
    let state = state();
    let mut ids = Vec::new();
    for signal in [Signal::INT, Signal::TERM] {
        let mut relay = Service::start(state.path(), &LOOPBACK);
        let listening = relay.wait_for("listening");
        let (id, address) = (&listening["id"], listening["addresses"][0].as_str().expect("an address"));
        assert!(address.ends_with(&format!("/p2p/{}", id.as_str().expect("an id"))), "{address}");
        ids.push(id.clone());
        assert_eq!(relay.stop(signal), 0);
        relay.wait_for("stopping");
    }
    assert_eq!(ids[0], ids[1]);
    let key = fs::metadata(state.path().join("relay/identity.key")).expect("the key is there");
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_taken_port_is_named_with_who_holds_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("it is bound").port();
    let address = format!("/ip4/127.0.0.1/tcp/{port}");
    let failed = run_in(&state(), &["relay", "--listen", &address, "--announce", &address]);
    assert_eq!(code(&failed), 20);
    let said = stderr(&failed);
    assert!(
        said.contains(&format!("TCP port {port} is held by ")) && said.contains(&std::process::id().to_string()),
        "{said}"
    );
}

#[test]
fn a_relay_that_nobody_could_find_does_not_start() {
    let failed = run_in(&state(), &["relay", "--listen", "/ip4/127.0.0.1/tcp/0"]);
    assert_eq!(code(&failed), 20);
    assert!(stderr(&failed).contains("--announce"), "{}", stderr(&failed));
}

#[test]
fn a_second_relay_on_one_key_is_refused() {
    let state = state();
    let mut first = Service::start(state.path(), &LOOPBACK);
    first.wait_for("listening");
    assert_eq!(code(&run_in(&state, &LOOPBACK)), 19);
}

#[test]
fn settings_come_from_the_file_and_unknown_ones_are_refused() {
    let state = state();
    let file = state.path().join("config/relay.toml");
    fs::create_dir(state.path().join("config")).expect("our own folder");
    fs::write(&file, "listen = [\"/ip4/127.0.0.1/tcp/0\"]\nannounce = [\"/ip4/127.0.0.1/tcp/0\"]\n")
        .expect("our own file");
    let mut relay = Service::start(state.path(), &["relay"]);
    relay.wait_for("listening");
    assert_eq!(relay.stop(Signal::TERM), 0);

    fs::write(&file, "circuts = 7\n").expect("our own file");
    let failed = run_in(&state, &["relay"]);
    assert_eq!(code(&failed), 2);
    assert!(stderr(&failed).contains("circuts") && stderr(&failed).contains("relay.toml"), "{}", stderr(&failed));
    assert_eq!(code(&run_in(&state, &["relay", "--config", "/nowhere/relay.toml"])), 2);
}

#[test]
fn limits_under_which_nothing_works_are_refused() {
    for limit in [["--max-circuits", "0"], ["--circuits-per-peer", "0"], ["--circuit-bytes", "1MB"]] {
        assert_eq!(code(&run_in(&state(), &[&LOOPBACK[..], &limit].concat())), 2, "{limit:?}");
    }
}
