//! A pairing that is cut off or loses a side at each edge between two of its states: what both sides know afterwards, and
//! that a resume finishes it without a new code, or a fresh code works.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::cut;
use super::scene::{PATIENCE, Process, Scene};

/// A process that waits at a point until it is told to go on; or for ever, if it was killed there.
pub(super) struct Waiting {
    pub(super) point: String,
    socket: UnixStream,
}

impl Waiting {
    pub(super) fn go(mut self) {
        // It may have been killed meanwhile.
        let _ = self.socket.write_all(b"go\n");
    }
}

/// Hears of the processes of one scene that come to these points; they don't wait at others.
pub(super) struct Edges {
    waiting: Receiver<Waiting>,
    socket: String,
    port: u16,
}

impl Edges {
    pub(super) fn listen(scene: &Scene, points: &[&'static str]) -> Self {
        let socket = scene.path("faults.sock");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let (tell, waiting) = channel();
        let points = points.to_vec();
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let mut line = String::new();
                let mut reader = BufReader::new(socket.try_clone().expect("a socket"));
                if !matches!(reader.read_line(&mut line), Ok(1..)) {
                    continue;
                }
                let report: Value = serde_json::from_str(&line).expect("a report");
                let point = report["point"].as_str().expect("a name").to_owned();
                let waits = Waiting { point, socket };
                if points.contains(&waits.point.as_str()) {
                    let _ = tell.send(waits);
                } else {
                    waits.go();
                }
            }
        });
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
        Self { waiting, socket: socket.display().to_string(), port }
    }

    /// The next process that waits.
    pub(super) fn next(&self) -> Waiting {
        self.waiting.recv_timeout(PATIENCE).expect("a process comes to it")
    }

    /// The next one, if one comes so soon.
    pub(super) fn within(&self, limit: Duration) -> Option<Waiting> {
        self.waiting.recv_timeout(limit).ok()
    }

    /// The next one, which waits there.
    pub(super) fn at(&self, point: &str) -> Waiting {
        let waits = self.next();
        assert_eq!(waits.point, point);
        waits
    }

    /// A host that is found where it was when it comes back, over TCP, which can be cut.
    pub(super) fn host(&self, scene: &Scene) -> Process {
        let connect = format!("unix://{}", scene.path("agent.sock").display());
        let listen = format!("/ip4/127.0.0.1/tcp/{}", self.port);
        let mut command =
            scene.farhelm("desk", &["host", "--name", "desk", "--connect", &connect, "--listen", &listen]);
        command.env("FARHELM_FAULTS", &self.socket);
        let mut host = Process::start(command, "");
        host.event_that("codex", |codex| codex["ready"] == true);
        host
    }

    /// A phone's command that is heard of.
    pub(super) fn phone(&self, scene: &Scene, phone: &str, arguments: &[&str], input: &str) -> Process {
        let mut command = scene.farhelm(phone, &[&["phone"], arguments].concat());
        command.env("FARHELM_FAULTS", &self.socket).stdin(std::process::Stdio::piped());
        Process::start(command, input)
    }
}

/// What goes wrong at an edge.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Cut,
    Phone,
    Host,
}

/// Whether both sides know each other after this; neither does otherwise.
fn is_finished(point: &str, fault: Fault) -> bool {
    match (point, fault) {
        ("pending-unsent", _) | ("taken-unasked", Fault::Host) => false,
        // The desk says yes to whoever it was; the next connection brings the news.
        ("taken-unasked", _) | (_, Fault::Cut | Fault::Phone | Fault::Host) => true,
    }
}

fn fails_at(point: &'static str, fault: Fault) {
    let scene = Scene::set();
    let edges = Edges::listen(&scene, &[point]);
    let mut host = edges.host(&scene);
    let (mut desk, ticket) = scene.offer();
    let phone = edges.phone(&scene, "phone", &["pair", "-", "--name", "phone"], &ticket);
    let waits = edges.at(point);
    let pid = |process: &Process| process.pid().as_raw_nonzero().get().unsigned_abs();
    match fault {
        Fault::Cut => cut::connections(pid(&phone)),
        Fault::Phone => phone.kill(),
        Fault::Host => {
            host.kill();
            host = edges.host(&scene);
        }
    }
    waits.go();
    if is_finished(point, fault) && !matches!(fault, Fault::Host) {
        desk.event("paired");
    }
    let is_listed = || !scene.done("desk", &["devices"]).events.is_empty();
    let look = || scene.run("phone", &["phone", "threads"]);
    if is_finished(point, fault) {
        let found = look();
        assert_eq!(found.code, 0, "{point}, {fault:?}, without a new code: {:?}", found.events);
        assert!(is_listed());
    } else {
        assert_ne!(look().code, 0, "{point}, {fault:?}");
        assert!(!is_listed(), "{point}, {fault:?}");
    }
    // And a fresh code works, with a phone that doesn't wait anywhere.
    scene.pair("phone");
    assert_eq!(look().code, 0);
    assert_eq!(scene.done("desk", &["devices"]).events.len(), 1, "one phone is one device");
    host.kill();
}

#[test]
fn a_pairing_that_fails_at_any_edge_is_finished_without_a_new_code_or_never_was() {
    // Side by side: a phone that the host doesn't know goes on trying for a while.
    thread::scope(|scope| {
        for point in ["pending-unsent", "taken-unasked", "paired-unanswered", "paired-unconfirmed"] {
            for fault in [Fault::Cut, Fault::Phone, Fault::Host] {
                scope.spawn(move || fails_at(point, fault));
            }
        }
    });
}
