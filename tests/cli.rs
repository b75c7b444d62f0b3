//! The program as a script or a person runs it: arguments in; output, exit code and files out.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Lines, Read, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use portable_pty::{CommandBuilder, PtySize};
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{LocalModes, tcgetattr};
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
    fn wait_for(&mut self, name: &str) -> Value {
        loop {
            let line = self.events.next().expect("it says that before it ends").expect("its output is text");
            let event: Value = serde_json::from_str(&line).expect("an event is JSON");
            if event["is"] == name {
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

/// A person at a terminal that runs the program.
struct Person {
    terminal: Box<dyn portable_pty::MasterPty + Send>,
    keyboard: Box<dyn Write + Send>,
    program: Box<dyn portable_pty::Child + Send + Sync>,
    output: mpsc::Receiver<Vec<u8>>,
    seen: Vec<u8>,
}

impl Person {
    fn at(rows: u16, cols: u16, state: &TempDir, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let size = PtySize { rows, cols, pixel_width: 0, pixel_height: 0 };
        let pair = portable_pty::native_pty_system().openpty(size).expect("a terminal");
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_farhelm"));
        command.args(arguments);
        command.env_clear();
        command.env("FARHELM_STATE_DIR", state.path());
        environment.iter().for_each(|(name, value)| command.env(name, value));
        let program = pair.slave.spawn_command(command).expect("the program starts");
        let keyboard = pair.master.take_writer().expect("a keyboard");
        let mut reader = pair.master.try_clone_reader().expect("a screen");
        let (sender, output) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { terminal: pair.master, keyboard, program, output, seen: Vec::new() }
    }

    /// Waits until `text` has been printed.
    fn sees(&mut self, text: &str) {
        while !self.printed().contains(text) {
            match self.output.recv_timeout(PATIENCE) {
                Ok(bytes) => self.seen.extend(bytes),
                Err(error) => panic!("{error} waiting for {text:?} in {}", self.printed()),
            }
        }
    }

    fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// All that was printed so far, as it was.
    fn printed(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    /// Reads to the end and gives the exit code.
    fn leaves(&mut self) -> u32 {
        while let Ok(bytes) = self.output.recv_timeout(PATIENCE) {
            self.seen.extend(bytes);
        }
        self.program.wait().expect("the program ends").exit_code()
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        // Commonly it has ended already.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// Ten times what anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs the program with something on its standard input.
fn run_with(state: &TempDir, arguments: &[&str], input: &str) -> Output {
    let mut command = farhelm(arguments);
    command.env("FARHELM_STATE_DIR", state.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    // It may refuse before it reads.
    let _ = child.stdin.take().expect("it was piped").write_all(input.as_bytes());
    child.wait_with_output().expect("the program ends")
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
    let mut script = tempfile::tempfile().expect("a file");
    script.write_all(&run(&["completions", "bash"]).stdout).and_then(|()| script.rewind()).expect("room on the disk");
    let checked = Command::new("bash").arg("-n").stdin(script).status().expect("bash is there");
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

#[test]
fn the_policy_is_explained_without_any_state() {
    let allowed = run(&["policy", "explain", "turn/start"]);
    assert_eq!(code(&allowed), 0, "{}", stderr(&allowed));
    let said = stdout(&allowed);
    assert!(said.starts_with("turn/start (method): allowed\n") && said.contains("input[](image).url*"), "{said}");

    let denied = json(&run(&["policy", "explain", "fs/writeFile", "--json"]));
    assert_eq!((&denied["verdict"], &denied["fields"]), (&Value::from("denied"), &Value::Null));
    let asked = json(&run(&["policy", "explain", "item/tool/call", "--json"]));
    assert_eq!((&asked["kind"], &asked["verdict"]), (&Value::from("request"), &Value::from("the desk's")));
    let told = json(&run(&["policy", "explain", "turn/completed", "--json"]));
    assert_eq!((&told["verdict"], &told["right"]), (&Value::from("passed on"), &Value::from("viewer")));
}

#[test]
fn a_method_the_policy_has_not_is_denied_and_the_nearest_is_named() {
    let unknown = run(&["policy", "explain", "thread/strat"]);
    assert_eq!((code(&unknown), stdout(&unknown)), (15, String::new()));
    let said = stderr(&unknown);
    assert!(said.starts_with("error: denied: not known: thread/strat\n"), "{said}");
    assert!(said.contains("did you mean thread/start?"), "{said}");
    let unknown = run(&["policy", "explain", "x\u{1b}[2J"]);
    assert!(!stderr(&unknown).contains('\x1b'), "{}", stderr(&unknown));
}

#[test]
fn the_policy_is_listed_a_line_each() {
    let (people, scripts) = (stdout(&run(&["policy", "list"])), stdout(&run(&["policy", "list", "--json"])));
    let names: Vec<Value> = scripts.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(people.lines().count(), names.len());
    for (line, entry) in people.lines().zip(&names) {
        let name = entry["name"].as_str().expect("a name");
        assert!(line.starts_with(name) && line.contains(entry["verdict"].as_str().expect("a verdict")), "{line}");
    }
}

const RELAY: &str = "/ip4/192.0.2.7/tcp/4001/p2p/12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq";

#[test]
fn without_a_home_the_state_directory_is_asked_for() {
    let failed = run(&["devices"]);
    assert_eq!(code(&failed), 19);
    assert!(stderr(&failed).contains("--state-dir"), "{}", stderr(&failed));
}

#[test]
fn an_empty_variable_is_as_good_as_none() {
    let state = state();
    let path = state.path().to_str().expect("a text");
    for arguments in [&["devices"][..], &["--state-dir", path, "devices"]] {
        let said = farhelm(arguments).env("FARHELM_STATE_DIR", "").env("HOME", path).output().expect("it starts");
        assert_eq!(code(&said), 0, "{}", stderr(&said));
    }
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
    let (state, unknown) = (state(), [&["revoke", "nobody"][..], &["grant", "nobody", "--right", "owner"]]);
    let named = || unknown.map(|arguments| code(&run_in(&state, &[&["devices"], arguments].concat())));
    assert_eq!(named(), [15, 15]);
    let _host = Service::host(&state);
    assert_eq!(named(), [15, 15]);
}

#[test]
fn what_can_not_be_granted_is_refused_before_a_host_is_asked() {
    let state = state();
    let file = state.path().join("file");
    fs::write(&file, "").expect("our own folder");
    for (bad, said) in [
        (&["--right", "root"][..], "viewer"),
        (&["--until", "2001-01-01T00:00:00Z"], "over"),
        (&["--until", "soon"], "tonight"),
        (&["--folder", "/nowhere/at/all"], "name one that exists"),
        (&["--folder", file.to_str().expect("a path")], "name one that exists"),
    ] {
        for command in [&["pair", "--yes"][..], &["devices", "grant", "pocket"]] {
            let failed = run_in(&state, &[command, bad].concat());
            assert_eq!(code(&failed), 2, "{command:?} {bad:?}");
            assert!(stderr(&failed).contains(said), "{command:?} {bad:?}: {}", stderr(&failed));
        }
    }
    for bad in [&[][..], &["--host-folders", "--folder", "."], &["--for-good", "--until", "8h"]] {
        let failed = run_in(&state, &[&["devices", "grant", "pocket"], bad].concat());
        assert_eq!(code(&failed), 2, "{bad:?}");
    }
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
fn a_certificate_that_can_not_be_used_is_named_before_the_relay_starts() {
    let state = state();
    let file = state.path().join("absent.pem");
    let file = file.to_str().expect("a path of ASCII");
    let half = run_in(&state, &[&LOOPBACK[..], &["--tls-cert", file]].concat());
    assert!(code(&half) == 2 && stderr(&half).contains("tls_key"), "{}", stderr(&half));
    let absent = run_in(&state, &[&LOOPBACK[..], &["--tls-cert", file, "--tls-key", file]].concat());
    assert!(code(&absent) == 21 && stderr(&absent).contains("absent.pem"), "{}", stderr(&absent));
}

#[test]
fn a_relay_with_a_certificate_goes_by_its_name_and_says_what_is_wrong_with_it() {
    let state = state();
    let made = rcgen::generate_simple_self_signed(["relay.example.org".to_owned()]).expect("a certificate");
    let file = |name: &str, text: String| {
        let path = state.path().join(name);
        fs::write(&path, text).expect("it is written");
        path.to_str().expect("a path of ASCII").to_owned()
    };
    let (certificate, key) = (file("cert.pem", made.cert.pem()), file("key.pem", made.key_pair.serialize_pem()));
    let listen = ["relay", "--listen", "/ip4/127.0.0.1/tcp/0/tls/ws", "--tls-cert", &certificate, "--tls-key", &key];
    let mut relay = Service::start(state.path(), &listen);
    let listening = relay.wait_for("listening");
    let address = listening["addresses"][0].as_str().expect("an address");
    assert!(address.starts_with("/dns/relay.example.org/tcp/") && address.contains("/tls/ws/p2p/"), "{address}");
    let certificate = relay.wait_for("certificate");
    assert!(certificate["trouble"].as_str().is_some_and(|trouble| trouble.contains("self-signed")), "{certificate}");
    assert_eq!(relay.stop(Signal::TERM), 0);
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

/// The ticket that `farhelm pair --yes` shows, and what shows it.
fn shown_ticket(host: &TempDir) -> (Service, String) {
    let mut pair = Service::start(host.path(), &["pair", "--yes"]);
    let text = pair.wait_for("ticket")["text"].as_str().expect("a ticket").to_owned();
    (pair, text)
}

#[test]
fn a_ticket_is_taken_from_standard_input_and_works_once() {
    let (host, phone, second) = (state(), state(), state());
    let _running = Service::host(&host);
    let (mut pair, ticket) = shown_ticket(&host);
    let paired = run_with(&phone, &["phone", "pair", "-", "--name", "pocket"], &ticket);
    assert_eq!(code(&paired), 0, "{}", stderr(&paired));
    assert_eq!(pair.wait_for("paired")["name"], "pocket");

    // While no code is shown, strangers aren't even answered; so another one is.
    let _another = shown_ticket(&host);
    let spent = run_with(&second, &["phone", "pair", "-"], &ticket);
    assert_eq!(code(&spent), 12, "{}", stderr(&spent));

    let hosts = json(&run_in(&phone, &["phone", "hosts", "--json"]));
    assert_eq!(hosts["standing"], "paired");
    let devices = json(&run_in(&host, &["devices", "--json"]));
    assert_eq!(devices["name"], "pocket");
    assert_eq!(code(&run_in(&host, &["devices", "revoke", "pocket"])), 0);
    let removed = run_in(&phone, &["phone", "threads"]);
    assert_eq!(code(&removed), 16, "{}", stderr(&removed));
    assert_eq!(code(&run_in(&phone, &["phone", "forget", hosts["name"].as_str().expect("a name")])), 0);
    assert_eq!(code(&run_in(&phone, &["phone", "threads"])), 15);
}

#[test]
fn a_phone_pairs_from_a_picture_through_a_relay() {
    let (relay, host, phone) = (state(), state(), state());
    let mut relay = Service::start(relay.path(), &LOOPBACK);
    let address = relay.wait_for("listening")["addresses"][0].as_str().expect("an address").to_owned();
    let mut running = Service::start(host.path(), &["host", "--listen", "/ip4/127.0.0.1/tcp/0", "--relay", &address]);
    while running.wait_for("reachable")["relays"][0] != address.as_str() {}
    let picture = host.path().join("ticket.png");
    let picture = picture.to_str().expect("a path");
    let mut pair = Service::start(host.path(), &["pair", "--yes", "--png", picture]);
    let ticket = pair.wait_for("ticket");
    let circuit = ticket["addresses"][0].as_str().expect("an address");
    assert!(circuit.starts_with(&address) && circuit.contains("/p2p-circuit/p2p/"), "{circuit}");
    let paired = run_in(&phone, &["phone", "pair", picture]);
    assert_eq!(code(&paired), 0, "{}", stderr(&paired));
    pair.wait_for("paired");
}

#[test]
fn the_desk_compares_words_and_says_yes() {
    let (host, phone) = (state(), state());
    let _running = Service::host(&host);
    let mut desk = Person::at(60, 100, &host, &["pair"], &[("TERM", "xterm-256color")]);
    desk.sees("FARHELM:");
    desk.sees("▀▀▀▀▀▀▀");
    let ticket = ticket_in(&desk.printed());
    let mut pocket = Person::at(24, 80, &phone, &["phone", "pair", "--name", "pocket"], &[]);
    pocket.sees("not shown");
    pocket.types(&format!("{ticket}\n"));
    pocket.sees("Waiting for the desk");
    assert!(!pocket.printed().contains(&ticket), "the ticket isn't echoed");
    desk.sees("Do they agree, word for word? [y/N]");
    assert!(desk.printed().contains("“pocket” wants to pair"));
    assert!(desk.printed().contains("(owner), in this host's folders"), "the first one: {}", desk.printed());
    assert_eq!(words_in(&desk.printed()), words_in(&pocket.printed()));
    desk.types("y\n");
    desk.sees("Paired with “pocket”");
    desk.sees("Change one? Its name, or Enter to go on:");
    desk.types("\n");
    assert_eq!((desk.leaves(), pocket.leaves()), (0, 0));
    assert!(desk.printed().contains("phones may connect at all"), "{}", desk.printed());
}

#[test]
fn after_a_pairing_the_settings_are_shown_and_can_be_changed() {
    let (host, phone) = (state(), state());
    let _running = Service::host(&host);
    let mut desk = Person::at(60, 100, &host, &["pair", "--yes"], &[]);
    desk.sees("▀▀▀▀▀▀▀");
    let ticket = ticket_in(&desk.printed());
    assert_eq!(code(&run_with(&phone, &["phone", "pair", "-"], &ticket)), 0);
    let answers = [
        ("computer_use_mobil\n", "did you mean computer_use_mobile?"),
        ("computer_use_mobile\n", "computer_use_mobile (on or off):"),
    ];
    for (name, said) in answers {
        desk.sees("Change one? Its name, or Enter to go on:");
        desk.seen.clear();
        desk.types(name);
        desk.sees(said);
    }
    desk.types("on\n");
    desk.sees("computer_use_mobile  on                  config.toml");
    desk.sees("Change one?");
    desk.types("\u{3}");
    assert_eq!(desk.leaves(), 0, "the pairing stands");
    let file = std::fs::read_to_string(host.path().join("config/config.toml")).expect("a file");
    assert_eq!(file, "[features]\ncomputer_use_mobile = true\n");
}

#[test]
fn a_declined_phone_is_told_so_and_the_desk_shows_a_fresh_code() {
    let (host, phone) = (state(), state());
    let _running = Service::host(&host);
    let mut desk = Person::at(60, 100, &host, &["pair"], &[]);
    desk.sees("▀▀▀▀▀▀▀");
    let ticket = ticket_in(&desk.printed());
    let mut pocket = Person::at(24, 80, &phone, &["phone", "pair"], &[]);
    pocket.sees("not shown");
    pocket.types(&format!("{ticket}\n"));
    desk.sees("word for word? [y/N]");
    desk.types("n\n");
    assert_eq!(pocket.leaves(), 10);
    desk.sees("here is another");
    desk.seen.clear();
    desk.sees("▀▀▀▀▀▀▀");
    assert_ne!(ticket_in(&desk.printed()), ticket);
    desk.types("\u{3}");
    assert_eq!(desk.leaves(), 130);
    assert_eq!(code(&run_in(&phone, &["phone", "threads"])), 15, "nothing is remembered of a declined pairing");
}

#[test]
fn a_terminal_of_20_by_5_gets_the_ticket_as_text_and_picture() {
    let host = state();
    let _running = Service::host(&host);
    let mut desk = Person::at(5, 20, &host, &["pair"], &[("TERM", "xterm")]);
    desk.sees("ticket.png");
    let picture = host.path().join("run/ticket.png");
    assert_eq!(fs::metadata(&picture).expect("the picture is there").permissions().mode() & 0o777, 0o600);
    assert!(desk.printed().contains("FARHELM:") && !desk.printed().contains('▀'));
    desk.types("\u{3}");
    assert_eq!(desk.leaves(), 130);
    assert!(!picture.exists(), "it goes with its ticket");
}

#[test]
fn a_dumb_terminal_and_no_color_get_no_escape_sequences() {
    let host = state();
    let _running = Service::host(&host);
    for environment in [("TERM", "dumb"), ("NO_COLOR", "1")] {
        let mut desk = Person::at(60, 100, &host, &["pair"], &[environment]);
        // Light modules are drawn on a terminal that is taken for dark.
        desk.sees("█████████████████████");
        assert!(!desk.printed().contains('\x1b'), "{environment:?}");
        desk.types("\u{3}");
        assert_eq!(desk.leaves(), 130);
    }
}

#[test]
fn a_hidden_prompt_that_is_interrupted_leaves_the_echo_on() {
    let phone = state();
    let mut pocket = Person::at(24, 80, &phone, &["phone", "pair"], &[]);
    pocket.sees("not shown");
    let pid = pocket.program.process_id().expect("it runs").cast_signed();
    kill_process(Pid::from_raw(pid).expect("a process has an id"), Signal::TERM).expect("it runs");
    assert_eq!(pocket.program.wait().expect("it ends").exit_code(), 130);
    let terminal = fs::File::open(pocket.terminal.tty_name().expect("it has a name")).expect("it is there");
    let modes = tcgetattr(&terminal).expect("a terminal has modes");
    assert!(modes.local_modes.contains(LocalModes::ECHO));
}

#[test]
fn a_ticket_on_the_command_line_is_refused_and_not_repeated() {
    let refused = run_in(&state(), &["phone", "pair", "FARHELM:ABCDEF"]);
    assert_eq!(code(&refused), 2);
    assert!(stderr(&refused).contains("holds a secret") && !stderr(&refused).contains("ABCDEF"));
}

#[test]
fn what_is_no_ticket_is_named() {
    let damaged = ["", "hello", "FARHELM:", "FARHELM:0189", "FARHELM:AAAA", "FARHELM:Q4AVQIG3QZ753JWX"];
    for text in damaged {
        assert_eq!(code(&run_with(&state(), &["phone", "pair", "-"], text)), 14, "{text}");
    }
    assert_eq!(code(&run_in(&state(), &["phone", "pair", "/nowhere/ticket.png"])), 14);
}

#[test]
fn without_a_terminal_a_ticket_cannot_be_asked_for() {
    let refused = run_in(&state(), &["phone", "pair"]);
    assert_eq!(code(&refused), 2);
    assert!(stderr(&refused).contains("farhelm phone pair -"), "{}", stderr(&refused));
}

#[test]
fn a_phone_key_that_others_may_read_is_refused() {
    let phone = state();
    assert_eq!(code(&run_in(&phone, &["phone", "hosts"])), 0);
    fs::set_permissions(phone.path().join("phone/identity"), Permissions::from_mode(0o644)).expect("our own file");
    let refused = run_in(&phone, &["phone", "hosts"]);
    assert_eq!(code(&refused), 19, "{}", stderr(&refused));
}

/// The ticket's text in what a desk printed.
fn ticket_in(printed: &str) -> String {
    let from = printed.rfind("FARHELM:").expect("a ticket");
    printed[from..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == ':').collect()
}

/// The four words: the only line that is indented by four and has four.
fn words_in(printed: &str) -> Vec<String> {
    let plain = anstream::adapter::strip_str(printed).to_string();
    let lines = plain.lines().filter(|line| line.starts_with("    ")).map(str::split_whitespace);
    let mut lines = lines.map(|words| words.map(str::to_owned).collect::<Vec<_>>());
    lines.find(|words| words.len() == 4 && words.iter().all(|word| word.is_ascii())).expect("four words")
}

/// The build for tests/chaos.rs has them, as a test there shows: so this one can fail.
#[test]
fn the_program_has_no_points_at_which_tests_have_things_go_wrong() {
    let program = std::fs::read(env!("CARGO_BIN_EXE_farhelm")).expect("the program");
    for word in ["FARHELM_FAULTS", "FARHELM_MUTANT", "stored-unsent"] {
        assert!(!program.windows(word.len()).any(|at| at == word.as_bytes()), "{word}");
    }
}
