//! One world: a relay, a host, its app-server and two phones, each a process that can be killed and comes back.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{Mutex, watch};
use tokio::time::{sleep, timeout};

use farhelm::demo::model::Model;

use super::codex::codex;
use super::codex_home::CodexHome;
use super::cut;
use super::effects::{self, Effects};
use super::plan::{Kind, Plan};
use super::view::View;

/// Ten times what anything took on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// What is wrong with its programs, and how phones get there.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Manner {
    pub(crate) mutant: Option<&'static str>,
    pub(crate) relayed: bool,
    /// The real Codex, and not the scripted agent.
    pub(crate) codex: bool,
}

pub(crate) struct World {
    folder: TempDir,
    /// The real Codex's own, with its model.
    home: Option<(CodexHome, Model)>,
    /// How much of the thread Codex had recorded each time it was killed.
    deaths: std::sync::Mutex<Vec<usize>>,
    manner: Manner,
    ports: [u16; 2],
    processes: Mutex<Processes>,
    /// One phone that may do everything, and one that may decide.
    pub(crate) phones: [Phone; 2],
    pub(crate) plan: Arc<Plan>,
    /// Everything runs, so something may go wrong.
    pub(crate) begun: AtomicBool,
}

/// Dropping it kills them.
#[derive(Default)]
struct Processes {
    agent: Option<Child>,
    relay: Option<Child>,
    host: Option<Child>,
    phones: [Option<Child>; 2],
    /// The thread that phones follow when they come back.
    thread: Option<String>,
    relays: Vec<String>,
}

/// What is known of a phone.
pub(crate) struct Phone {
    input: Mutex<Option<ChildStdin>>,
    pub(crate) view: watch::Sender<View>,
}

impl Phone {
    fn new() -> Self {
        Self { input: Mutex::default(), view: watch::Sender::new(View::default()) }
    }

    /// Tells it something; a phone that is dead hears nothing.
    pub(crate) async fn tell(&self, line: &Value) {
        if let Some(input) = &mut *self.input.lock().await {
            let _ = input.write_all(format!("{line}\n").as_bytes()).await;
        }
    }

    /// Waits until what it has said fulfils this.
    pub(crate) async fn until(&self, what: &str, fits: impl FnMut(&View) -> bool) -> View {
        self.hears(fits).await.unwrap_or_else(|| panic!("never {what}: {:#?}", self.view.borrow()))
    }

    /// Waits as well; `None` if it never does.
    pub(crate) async fn hears(&self, fits: impl FnMut(&View) -> bool) -> Option<View> {
        let mut view = self.view.subscribe();
        timeout(PATIENCE, view.wait_for(fits)).await.ok().map(|view| view.expect("a view").clone())
    }
}

impl World {
    /// Everything runs, and both phones follow one thread.
    pub(crate) async fn start(plan: Arc<Plan>, manner: Manner) -> Arc<Self> {
        let folder = tempfile::tempdir().expect("a scratch folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).expect("our own folder");
        for name in ["work", "threads", "phone-0", "phone-1"] {
            fs::create_dir(folder.path().join(name)).expect("our own folder");
        }
        let home = match manner.codex {
            true => {
                let model = Model::start().await.expect("a model");
                Some((CodexHome::new(model.port()), model))
            }
            false => None,
        };
        let (ports, phones) = ([free_port(), free_port()], [Phone::new(), Phone::new()]);
        let world = Arc::new(Self {
            folder,
            home,
            deaths: std::sync::Mutex::default(),
            manner,
            ports,
            processes: Mutex::default(),
            phones,
            plan,
            begun: AtomicBool::new(false),
        });
        super::harness::listen(&world);
        world.begin().await;
        world.begun.store(true, Ordering::Release);
        world
    }

    async fn begin(&self) {
        let mut processes = self.processes.lock().await;
        processes.agent = Some(self.agent());
        let (relay, relays) = self.first_relay().await;
        (processes.relay, processes.relays) = (Some(relay), relays);
        processes.host = Some(self.start_host(&processes.relays, true).await);
        for at in 0..2 {
            processes.phones[at] = Some(self.phone(at).await);
            self.pair(at).await;
        }
        self.phones[0].tell(&json!({"do": "start"})).await;
        let started = self.phones[0].until("a thread", |view| view.thread.is_some()).await;
        processes.thread.clone_from(&started.thread);
        for phone in &self.phones {
            phone.tell(&json!({"do": "watch", "thread": started.thread})).await;
            phone.until("watching", |view| view.watching).await;
        }
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    /// The host's process.
    pub(crate) async fn host(&self) -> u32 {
        id(self.processes.lock().await.host.as_ref()).expect("it runs")
    }

    /// The second phone's process.
    pub(crate) async fn second_phone(&self) -> u32 {
        id(self.processes.lock().await.phones[1].as_ref()).expect("it runs")
    }

    pub(crate) fn is_codex(&self) -> bool {
        self.home.is_some()
    }

    /// Where threads work.
    fn work(&self) -> PathBuf {
        self.home.as_ref().map_or_else(|| self.path("work"), |(home, _)| home.folder("work"))
    }

    /// What really happened on a thread.
    pub(crate) fn effects(&self, thread: &str) -> Effects {
        match &self.home {
            Some((home, _)) => effects::recorded(&home.path(), thread, &self.deaths.lock().expect("nobody panics")),
            None => effects::kept(&self.path("threads"), thread),
        }
    }

    pub(crate) async fn thread(&self) -> String {
        self.processes.lock().await.thread.clone().expect("it was started")
    }

    fn farhelm(&self, who: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_farhelm"));
        command.arg("--json").arg("--state-dir").arg(self.path(who)).args(arguments);
        self.prepared(command)
    }

    /// This test again, in a part.
    fn part(&self, part: &str, folder: &Path) -> Command {
        let mut command = Command::new(std::env::current_exe().expect("this test"));
        command.args(["a_part_is_played", "--exact", "--nocapture"]);
        let mut command = self.prepared(command);
        command.env("FARHELM_CHAOS_PART", part).env("FARHELM_CHAOS_FOLDER", folder);
        command
    }

    fn prepared(&self, mut command: Command) -> Command {
        command.env_clear().current_dir(self.work()).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.env("FARHELM_FAULTS", self.path("faults.sock"));
        if let Some(mutant) = self.manner.mutant {
            command.env("FARHELM_MUTANT", mutant);
        }
        if self.manner.relayed {
            command.env("FARHELM_FAULTS_RELAYED", "1");
        }
        if let Some(log) = std::env::var_os("FARHELM_CHAOS_LOG") {
            let log = fs::File::options().append(true).create(true).open(log).expect("a log");
            command.stderr(log);
        }
        command
    }

    fn agent(&self) -> Child {
        let mut agent = match &self.home {
            Some((home, _)) => self.codex(home),
            None => self.part("agent", self.folder.path()),
        };
        // What is installed as Codex starts Codex: both are killed.
        agent.process_group(0).spawn().expect("it starts")
    }

    fn codex(&self, home: &CodexHome) -> Command {
        let mut command = Command::new(codex().expect("it was there"));
        command.args(["app-server", "--listen", &self.socket()]).current_dir(self.work()).kill_on_drop(true);
        command.env("CODEX_HOME", home.path()).env("HOME", home.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// The app-server's.
    fn socket(&self) -> String {
        format!("unix://{}", self.path("agent.sock").display())
    }

    fn kill_agent(&self, agent: Option<&Child>, thread: Option<&str>) {
        let group = id(agent).and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(group) = group {
            let _ = kill_process_group(group, Signal::KILL);
        }
        if let (Some((home, _)), Some(thread)) = (&self.home, thread) {
            self.deaths.lock().expect("nobody panics").push(effects::length(&home.path(), thread));
        }
    }

    fn relay(&self) -> Child {
        let address = format!("/ip4/127.0.0.1/tcp/{}", self.ports[0]);
        let arguments = ["relay", "--listen", &address, "--announce", &address];
        self.farhelm("relay", &arguments).spawn().expect("it starts")
    }

    async fn first_relay(&self) -> (Child, Vec<String>) {
        let mut relay = self.relay();
        let mut lines = lines(&mut relay);
        let listening = event(&mut lines, "listening").await;
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let addresses = listening["addresses"].as_array().expect("addresses").iter();
        (relay, addresses.map(|address| address.as_str().expect("text").to_owned()).collect())
    }

    /// Over QUIC where phones shall come by the relay: what a relay sees of TCP leads nobody there.
    async fn start_host(&self, relays: &[String], wait: bool) -> Child {
        let connect = self.socket();
        let listen = match self.manner.relayed {
            true => format!("/ip4/127.0.0.1/udp/{}/quic-v1", self.ports[1]),
            false => format!("/ip4/127.0.0.1/tcp/{}", self.ports[1]),
        };
        let mut arguments = vec!["host", "--name", "desk", "--connect", &connect, "--listen", &listen];
        arguments.extend(relays.iter().flat_map(|address| ["--relay", address.as_str()]));
        let mut host = self.farhelm("desk", &arguments).spawn().expect("it starts");
        let mut lines = lines(&mut host);
        if wait {
            event(&mut lines, "reachable").await;
        }
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        host
    }

    async fn phone(&self, at: usize) -> Child {
        let mut phone = self.part("phone", &self.path(&format!("phone-{at}"))).spawn().expect("it starts");
        let mut lines = lines(&mut phone);
        let Phone { input, view } = &self.phones[at];
        *input.lock().await = phone.stdin.take();
        view.send_modify(View::begin);
        let begun = view.borrow().begun;
        let view = view.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let Ok(said) = serde_json::from_str(&line) else { continue };
                view.send_modify(|view| view.take(begun, &said));
            }
        });
        phone
    }

    async fn pair(&self, at: usize) {
        let right = ["owner", "approver"][at];
        let mut desk = self.farhelm("desk", &["pair", "--yes", "--right", right]).spawn().expect("it starts");
        let mut lines = lines(&mut desk);
        let ticket = event(&mut lines, "ticket").await;
        self.phones[at].tell(&json!({"do": "pair", "ticket": ticket["text"]})).await;
        self.phones[at].until("paired", |view| view.paired).await;
        let ended = timeout(PATIENCE, desk.wait()).await.expect("it ends").expect("a status");
        assert!(ended.success());
    }

    /// What a run says as it goes on, for whoever asked to hear it.
    pub(crate) fn note(&self, what: impl std::fmt::Display) {
        if std::env::var_os("FARHELM_CHAOS_LOG").is_some() {
            println!("{} {what}", self.ports[0]);
        }
    }

    /// What goes wrong while this process waits. The word that it goes on with.
    pub(crate) async fn fault(&self, kind: Kind, waiting: u32, other: bool) -> &'static str {
        let mut processes = self.processes.lock().await;
        let reporter = processes.phones.iter().position(|phone| id(phone.as_ref()) == Some(waiting));
        match kind {
            Kind::Drop => return "drop",
            Kind::Double => return "double",
            Kind::Cut => {
                let host = id(processes.host.as_ref());
                let phone = id(processes.phones[reporter.unwrap_or_default()].as_ref());
                if let Some(pid) = if other { host } else { phone } {
                    cut::connections(pid);
                }
            }
            Kind::Phone => self.kill_phone(&mut processes, reporter.unwrap_or_default()).await,
            Kind::Host => {
                kill(processes.host.take()).await;
                processes.host = Some(self.start_host(&processes.relays, false).await);
            }
            Kind::Relay => {
                kill(processes.relay.take()).await;
                let mut relay = self.relay();
                let mut lines = lines(&mut relay);
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                processes.relay = Some(relay);
            }
            Kind::Agent => {
                self.kill_agent(processes.agent.as_ref(), processes.thread.as_deref());
                kill(processes.agent.take()).await;
                // Codex lets another one that still listens have the socket, and ends.
                while UnixStream::connect(self.path("agent.sock")).await.is_ok() {
                    sleep(Duration::from_millis(5)).await;
                }
                processes.agent = Some(self.agent());
            }
        }
        "go"
    }

    async fn kill_phone(&self, processes: &mut Processes, at: usize) {
        kill(processes.phones[at].take()).await;
        processes.phones[at] = Some(self.phone(at).await);
        if let Some(thread) = &processes.thread {
            self.phones[at].tell(&json!({"do": "watch", "thread": thread})).await;
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let agent = self.processes.get_mut().agent.take();
        self.kill_agent(agent.as_ref(), None);
    }
}

fn id(child: Option<&Child>) -> Option<u32> {
    child.and_then(Child::id)
}

async fn kill(child: Option<Child>) {
    if let Some(mut child) = child {
        // It may have ended by itself; its end is what is wanted.
        let _ = child.kill().await;
    }
}

fn lines(child: &mut Child) -> Lines<BufReader<ChildStdout>> {
    BufReader::new(child.stdout.take().expect("it was piped")).lines()
}

async fn event(lines: &mut Lines<BufReader<ChildStdout>>, is: &str) -> Value {
    let found = async {
        while let Ok(Some(line)) = lines.next_line().await {
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            if event["is"] == is || event["step"] == is {
                return event;
            }
        }
        panic!("it ended without {is}");
    };
    timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("no {is}"))
}

/// Freed at once; taken again by a process that says so.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}
