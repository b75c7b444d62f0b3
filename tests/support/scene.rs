//! Real `farhelm` processes on loopback: relay, host with the scripted agent behind it, phones. Whatever they say is
//! waited for, line by line and with a limit; whatever still runs at the end of a test is killed.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use farhelm::demo::agent::Agent;
use portable_pty::{CommandBuilder, MasterPty, PtySize, native_pty_system};
use rustix::process::{Pid, Signal, kill_process, test_kill_process_group};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Ten times what anything here took on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How soon a program ends that was told to: "within seconds", on a busy machine too.
const SOON: Duration = Duration::from_secs(15);

const LOOPBACK: [&str; 2] = ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"];

/// A folder with all state of one test, and the agent that its host connects to.
pub(crate) struct Scene {
    folder: TempDir,
    _agent: Agent,
    pub(crate) runtime: Runtime,
}

impl Scene {
    pub(crate) fn set() -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).expect("our own folder");
        fs::create_dir(folder.path().join("work")).expect("a folder to work in");
        let runtime = Runtime::new().expect("a runtime");
        let socket = folder.path().join("agent.sock");
        let agent = runtime.block_on(Agent::start(&socket, folder.path())).expect("the scripted agent");
        Self { folder, _agent: agent, runtime }
    }

    /// Below the scratch folder.
    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    /// The program on the state directory `who`, with nothing else from this environment and for scripts.
    pub(crate) fn farhelm(&self, who: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_farhelm"));
        command.arg("--json").arg("--state-dir").arg(self.path(who)).args(arguments);
        let log = std::env::var_os("FARHELM_LOG").map(|log| ("FARHELM_LOG", log));
        command.env_clear().envs(log).current_dir(self.path("work")).stdin(Stdio::null()).process_group(0);
        command
    }

    /// Starts something that goes on.
    pub(crate) fn start(&self, who: &str, arguments: &[&str]) -> Process {
        Process::start(self.farhelm(who, arguments), "")
    }

    /// Runs something to its end.
    pub(crate) fn run(&self, who: &str, arguments: &[&str]) -> Ended {
        self.start(who, arguments).end()
    }

    /// Runs something that shall succeed.
    pub(crate) fn done(&self, who: &str, arguments: &[&str]) -> Ended {
        let ended = self.run(who, arguments);
        assert_eq!(ended.code, 0, "{arguments:?}: {:?}", ended.events);
        ended
    }

    /// A relay on these addresses of loopback, and where it says it is.
    pub(crate) fn relay_on(&self, listen: &[String]) -> (Process, Vec<String>) {
        self.relay_at("relay", listen)
    }

    /// The same, on a state directory of this name.
    pub(crate) fn relay_at(&self, who: &str, listen: &[String]) -> (Process, Vec<String>) {
        let each = listen.iter().flat_map(|address| ["--listen", address, "--announce", address]);
        let arguments: Vec<&str> = ["relay"].into_iter().chain(each).collect();
        let mut relay = self.start(who, &arguments);
        let listening = relay.event("listening");
        let addresses = listening["addresses"].as_array().expect("addresses").iter();
        (relay, addresses.map(|address| address.as_str().expect("text").to_owned()).collect())
    }

    pub(crate) fn relay(&self) -> (Process, Vec<String>) {
        self.relay_on(&LOOPBACK.map(str::to_owned))
    }

    /// A host with its agent, reachable. The relays come on top of those it remembers.
    pub(crate) fn host(&self, relays: &[String]) -> Process {
        self.host_with(relays, &[])
    }

    /// The same, with these variables in its environment.
    pub(crate) fn host_with(&self, relays: &[String], environment: &[(&str, &str)]) -> Process {
        let connect = format!("unix://{}", self.path("agent.sock").display());
        let mut arguments = vec!["host", "--name", "desk", "--connect", &connect];
        arguments.extend(LOOPBACK.iter().flat_map(|address| ["--listen", address]));
        arguments.extend(relays.iter().flat_map(|address| ["--relay", address.as_str()]));
        let mut command = self.farhelm("desk", &arguments);
        command.envs(environment.iter().copied());
        let mut host = Process::start(command, "");
        host.event_that("codex", |codex| codex["ready"] == true);
        host
    }

    /// A code on the screen of a desk that lets in whoever comes.
    pub(crate) fn offer(&self) -> (Process, String) {
        self.offer_on(&[])
    }

    /// The same, with what is named of the phone's rights.
    pub(crate) fn offer_on(&self, terms: &[&str]) -> (Process, String) {
        let mut desk = self.start("desk", &[&["pair", "--yes"], terms].concat());
        let ticket = text(&desk.event("ticket")["text"]);
        (desk, ticket)
    }

    /// `farhelm phone pair -`, given the ticket.
    pub(crate) fn scan(&self, phone: &str, ticket: &str) -> Process {
        let mut command = self.farhelm(phone, &["phone", "pair", "-", "--name", phone]);
        command.stdin(Stdio::piped());
        Process::start(command, ticket)
    }

    /// Pairs without a person.
    pub(crate) fn pair(&self, phone: &str) {
        let (mut desk, ticket) = self.offer();
        let paired = self.scan(phone, &ticket).end();
        assert_eq!(paired.code, 0, "{:?}", paired.events);
        assert_eq!(desk.event("paired")["name"], phone);
        assert_eq!(desk.end().code, 0);
    }

    /// Starts a turn that stops at an approval, and returns that.
    pub(crate) fn ask(&self, phone: &str, prompt: &str) -> Value {
        self.done(phone, &["phone", "start", prompt]).event("approval").clone()
    }
}

/// A text in an event.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// A running program and the lines it says.
pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
    heard: Vec<Value>,
}

/// How a program ended, and all that it said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) events: Vec<Value>,
}

impl Process {
    /// Starts a program and gives it this to read. What it logs is shown if somebody asks for it with `FARHELM_LOG`.
    pub(crate) fn start(mut command: Command, input: &str) -> Self {
        let log = if std::env::var_os("FARHELM_LOG").is_some() { Stdio::inherit() } else { Stdio::null() };
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().expect("the program starts");
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes()).expect("it reads");
        }
        let (said, lines) = channel();
        let output = BufReader::new(child.stdout.take().expect("it was piped"));
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| said.send(line)));
        Self { child, lines, heard: Vec::new() }
    }

    /// The next event of this kind.
    pub(crate) fn event(&mut self, is: &str) -> Value {
        self.event_that(is, |_| true)
    }

    /// The next event of this kind that fits.
    pub(crate) fn event_that(&mut self, is: &str, fits: impl Fn(&Value) -> bool) -> Value {
        loop {
            let Some(event) = self.next() else { panic!("it ended without {is:?}: {:?}", self.heard) };
            if (event["is"] == is || event["step"] == is) && fits(&event) {
                return event;
            }
        }
    }

    fn next(&mut self) -> Option<Value> {
        let line = match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => panic!("it says nothing more: {:?}", self.heard),
        };
        let event: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.heard.push(event.clone());
        Some(event)
    }

    /// Whether it has said such a thing, among all that was read of it.
    pub(crate) fn has_heard(&self, is: &str, fits: impl Fn(&Value) -> bool) -> bool {
        self.heard.iter().any(|event| event["is"] == is && fits(event))
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        while self.next().is_some() {}
        let code = self.child.wait().expect("it ends").code().expect("by itself");
        Ended { code, events: std::mem::take(&mut self.heard) }
    }

    /// Tells it to stop, and waits for that. Nothing it started may be left.
    pub(crate) fn stop(self, signal: Signal) -> Ended {
        let (pid, told) = (self.pid(), Instant::now());
        kill_process(pid, signal).expect("it runs");
        let ended = self.end();
        assert!(told.elapsed() < SOON, "it took {:?}", told.elapsed());
        assert!(test_kill_process_group(pid).is_err(), "a child is left");
        ended
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed()).expect("a process has an id")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Commonly it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// The first event of this kind.
    pub(crate) fn event(&self, is: &str) -> &Value {
        self.find(is).unwrap_or_else(|| panic!("no {is:?}: {:?}", self.events))
    }

    pub(crate) fn find(&self, is: &str) -> Option<&Value> {
        self.events.iter().find(|event| event["is"] == is)
    }

    /// What a person would be told went wrong.
    pub(crate) fn error(&self) -> String {
        let error = self.events.iter().map(|event| &event["error"]).find(|error| error.is_object());
        let error = error.unwrap_or_else(|| panic!("no error: {:?}", self.events));
        format!("{} {}", text(&error["message"]), error["next"].as_str().unwrap_or_default())
    }
}

/// A program at a terminal with a person before it.
pub(crate) struct Terminal {
    child: Box<dyn portable_pty::Child + Send + Sync>,
    keyboard: Box<dyn Write + Send>,
    output: Receiver<Vec<u8>>,
    shown: String,
    _master: Box<dyn MasterPty + Send>,
}

impl Terminal {
    /// Starts the program on `state` in a terminal of this size and kind.
    pub(crate) fn open(state: &Path, (columns, rows): (u16, u16), term: &str, arguments: &[&str]) -> Self {
        let size = PtySize { rows, cols: columns, ..PtySize::default() };
        let pair = native_pty_system().openpty(size).expect("a terminal");
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_farhelm"));
        command.env_clear();
        command.env("TERM", term);
        command.env("FARHELM_STATE_DIR", state);
        command.args(arguments);
        let child = pair.slave.spawn_command(command).expect("the program starts");
        let (keyboard, mut screen) = (pair.master.take_writer(), pair.master.try_clone_reader().expect("a screen"));
        let (said, output) = channel();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // A terminal whose program has ended gives an error instead of an end.
            while let Ok(length @ 1..) = screen.read(&mut bytes) {
                if said.send(bytes[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        let keyboard = keyboard.expect("a keyboard");
        Self { child, keyboard, output, shown: String::new(), _master: pair.master }
    }

    /// Waits until this is on the screen; returns what was shown up to it, which isn't looked at again.
    pub(crate) fn shows(&mut self, what: &str) -> String {
        loop {
            if let Some(at) = self.shown.find(what) {
                return self.shown.drain(..at + what.len()).collect();
            }
            match self.output.recv_timeout(PATIENCE) {
                Ok(bytes) => self.shown.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("{what:?} is not shown: {}", self.shown),
            }
        }
    }

    pub(crate) fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("it reads");
    }

    /// Waits for its end; the exit code and the rest of what it showed.
    pub(crate) fn end(mut self) -> (u32, String) {
        loop {
            match self.output.recv_timeout(PATIENCE) {
                Ok(bytes) => self.shown.push_str(&String::from_utf8_lossy(&bytes)),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it doesn't end: {}", self.shown),
            }
        }
        (self.child.wait().expect("it ends").exit_code(), std::mem::take(&mut self.shown))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Commonly it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
