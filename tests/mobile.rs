//! The phone library as an app uses it: its bindings are generated and run, in Python, against a live relay and host.
//!
//! The stories are in `support/mobile.py`. Here stand the world around them, the desk's word, and what is on disk.

#[path = "support/build.rs"]
mod build;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use farhelm::demo::world::{Behind, World};
use farhelm::host::desk::{Consent, Desk, Event};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Longer than the script's own patience.
const PATIENCE: Duration = Duration::from_secs(200);

/// The generated module beside its library, made once; none without Python, which a plain `cargo test` only mentions.
fn bindings() -> Option<&'static Path> {
    static MADE: OnceLock<TempDir> = OnceLock::new();
    if Command::new("python3").arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
        return Some(MADE.get_or_init(generate).path());
    }
    assert!(std::env::var_os("FARHELM_TEST_ALL").is_none(), "python3 is missing; run ./tests/run, which installs it");
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    // Past the capture of a passing test's output.
    let _ = writeln!(io::stderr(), "left out: {test}, which needs python3 (run ./tests/run, which installs it)");
    None
}

fn generate() -> TempDir {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let built = build::workspace();
    let library = built.join("libfarhelm_mobile.so");
    let out = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let mut bindgen = Command::new(built.join("farhelm-bindgen"));
    bindgen.args(["generate", "--no-format", "--language", "python", "--out-dir"]).arg(out.path()).arg(&library);
    let output = bindgen.current_dir(&root).output().expect("the generator starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::os::unix::fs::symlink(&library, out.path().join("libfarhelm_mobile.so")).expect("a link to the library");
    out
}

/// A story that is being told by Python.
struct Script {
    child: Child,
    tells: ChildStdin,
    told: Lines<BufReader<ChildStdout>>,
}

impl Script {
    fn tell(bindings: &Path, story: &str) -> Self {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/support/mobile.py");
        let mut python = tokio::process::Command::new("python3");
        python.arg(script).arg(story).env("PYTHONPATH", bindings).env("PYTHONDONTWRITEBYTECODE", "1");
        python.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = python.spawn().expect("python3 starts");
        let tells = child.stdin.take().expect("piped");
        let told = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { child, tells, told }
    }

    async fn say(&mut self, line: &str) {
        self.tells.write_all(format!("{line}\n").as_bytes()).await.expect("the script listens");
    }

    async fn line(&mut self) -> String {
        let line = timeout(PATIENCE, self.told.next_line()).await.expect("a line in time");
        line.expect("text").expect("the script is still there; its complaint is above")
    }

    async fn ends(mut self) {
        assert_eq!(self.line().await, "done");
        let status = timeout(PATIENCE, self.child.wait()).await.expect("an end in time").expect("a child of ours");
        assert!(status.success(), "{status}");
    }
}

/// Hands the script a ticket.
async fn invite(world: &World, script: &mut Script) -> mpsc::Receiver<Event> {
    world.codex_ready(PATIENCE).await.expect("an agent");
    let (events, heard) = mpsc::channel(8);
    let invitation = world.host.offer(PATIENCE, Desk::new(Consent::Ask, events)).await.expect("an offer");
    script.say(&invitation.ticket().encode()).await;
    heard
}

/// Compares the script's words with the desk's, and answers.
async fn compare(script: &mut Script, heard: &mut mpsc::Receiver<Event>, yes: bool) {
    let at_phone = script.line().await;
    let asked = timeout(PATIENCE, heard.recv()).await.expect("a question in time");
    let Some(Event::Asks { name, words, answer, .. }) = asked else { panic!("a question: {asked:?}") };
    assert_eq!((name.as_str(), words.join(" ")), ("a python", at_phone));
    answer.send(yes).expect("the host waits");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_pairs_starts_a_turn_and_decides() {
    let Some(bindings) = bindings() else { return };
    let world = World::start(Behind::Script).await.expect("a world");
    let mut script = Script::tell(bindings, "the_corridor");
    let mut heard = invite(&world, &mut script).await;
    compare(&mut script, &mut heard, true).await;
    script.ends().await;
    assert!(world.work().join("from-an-app.txt").exists(), "what was accepted was done");
    world.shutdown().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_throws_hears_the_next_event() {
    let Some(bindings) = bindings() else { return };
    let world = World::start(Behind::Script).await.expect("a world");
    let mut script = Script::tell(bindings, "a_listener_that_throws");
    let mut heard = invite(&world, &mut script).await;
    compare(&mut script, &mut heard, true).await;
    script.ends().await;
    world.shutdown().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_that_permits_relays_only_goes_by_relays_only() {
    let Some(bindings) = bindings() else { return };
    let world = World::start(Behind::Script).await.expect("a world");
    let mut script = Script::tell(bindings, "by_relays_only");
    let mut heard = invite(&world, &mut script).await;
    compare(&mut script, &mut heard, true).await;
    script.ends().await;
    world.shutdown().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_at_the_desk_is_its_own_error() {
    let Some(bindings) = bindings() else { return };
    let world = World::start(Behind::Script).await.expect("a world");
    let mut script = Script::tell(bindings, "declined_at_the_desk");
    let mut heard = invite(&world, &mut script).await;
    compare(&mut script, &mut heard, false).await;
    script.ends().await;
    world.shutdown().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_call_spoils_nothing() {
    let Some(bindings) = bindings() else { return };
    let world = World::start(Behind::Script).await.expect("a world");
    let mut script = Script::tell(bindings, "a_cancelled_call");
    let _heard = invite(&world, &mut script).await;
    script.ends().await;
    world.shutdown().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_tickets_ids_and_key_stores_have_their_own_errors() {
    let Some(bindings) = bindings() else { return };
    Script::tell(bindings, "bad_input").ends().await;
}
