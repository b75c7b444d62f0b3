//! `farhelm phone` as a script or a person runs it, against a host with the scripted agent behind a relay.
//!
//! The host is in this process, so that each test can be its desk; the phone is the program. The commands for all that
//! Codex does by itself run against the real one.

#[path = "support/codex.rs"]
mod codex;
#[path = "phone/commands.rs"]
mod commands;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Output, Stdio};
use std::time::Duration;

use farhelm::demo::world::{Behind, World};
use farhelm::host::desk::{Consent, Desk, Event};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Ten times what anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A host, and a phone's state directory.
struct Scene {
    world: World,
    state: TempDir,
}

impl Scene {
    async fn set() -> Self {
        Self::behind(Behind::Script).await
    }

    async fn behind(behind: Behind) -> Self {
        let world = World::start(behind).await.expect("a world");
        world.codex_ready(PATIENCE).await.expect("an agent");
        Self { world, state: tempfile::tempdir().expect("a folder") }
    }

    /// With the phone paired.
    async fn paired() -> Self {
        let scene = Self::set().await;
        scene.pair().await;
        scene
    }

    async fn pair(&self) {
        let scene = self;
        let ticket = scene.ticket(PATIENCE, Consent::Given).await.0;
        let output = scene.phone_reads(&["pair", "--name", "pocket", "-"], &ticket).await;
        assert_eq!(code(&output), 0, "{output:?}");
    }

    /// A fresh code, and what its desk hears.
    async fn ticket(&self, lifetime: Duration, consent: Consent) -> (String, mpsc::Receiver<Event>) {
        let (events, heard) = mpsc::channel(8);
        let invitation = self.world.host.offer(lifetime, Desk::new(consent, events)).await.expect("an offer");
        (invitation.ticket().encode().to_string(), heard)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_farhelm"));
        command.arg("phone").args(arguments).env_clear().env("FARHELM_STATE_DIR", self.state.path().join("state"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    async fn phone(&self, arguments: &[&str]) -> Output {
        timeout(PATIENCE, self.command(arguments).output()).await.expect("it ends in time").expect("it runs")
    }

    async fn phone_reads(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().expect("it runs");
        let mut stdin = child.stdin.take().expect("it was piped");
        // It may have ended without reading.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        timeout(PATIENCE, child.wait_with_output()).await.expect("it ends in time").expect("it ends")
    }

    /// Starts a thread that stops at an approval; its thread and digest.
    async fn asked(&self, prompt: &str) -> (String, String) {
        let output = self.phone(&["start", "--json", prompt]).await;
        assert_eq!(code(&output), 0, "{output:?}");
        let approval = events(&output).into_iter().find(|event| event["is"] == "approval").expect("an approval");
        (text(&approval["thread"]), text(&approval["digest"]))
    }

    async fn strike(self) {
        self.world.shutdown().await.expect("a clean end");
    }
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it wasn't killed")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("output is text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("output is text")
}

fn events(output: &Output) -> Vec<Value> {
    stdout(output).lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_pairs_shows_the_words_and_is_listed_on_both_sides() {
    let scene = Scene::set().await;
    let (ticket, mut desk) = scene.ticket(PATIENCE, Consent::Ask).await;
    let person = tokio::spawn(async move {
        let Some(Event::Asks { name, words, answer, .. }) = desk.recv().await else { panic!("a question") };
        answer.send(true).expect("the host waits");
        (name, words)
    });
    let output = scene.phone_reads(&["pair", "--name", "pocket", "--json", "-"], &ticket).await;
    assert_eq!(code(&output), 0, "{output:?}");
    let (name, words) = person.await.expect("the desk was asked");
    let said = events(&output);
    assert_eq!((name.as_str(), &said[0]["words"]), ("pocket", &json!(words)));
    assert_eq!((&said[1]["is"], &said[1]["name"]), (&json!("paired"), &json!("demo desk")));

    let hosts = scene.phone(&["hosts", "--json"]).await;
    assert_eq!(events(&hosts)[0]["standing"], "paired");
    assert_eq!(scene.world.host.devices().list().expect("devices")[0].name, "pocket");
    scene.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_pairs_nobody_has_an_exit_code_for_each_reason() {
    let scene = Scene::set().await;
    let (declined, mut desk) = scene.ticket(PATIENCE, Consent::Ask).await;
    tokio::spawn(async move {
        while let Some(event) = desk.recv().await {
            if let Event::Asks { answer, .. } = event {
                let _ = answer.send(false);
            }
        }
    });
    assert_eq!(code(&scene.phone_reads(&["pair", "-"], &declined).await), 10);

    let (expired, _desk) = scene.ticket(Duration::from_millis(1), Consent::Given).await;
    let (good, _other_desk) = scene.ticket(PATIENCE, Consent::Given).await;
    assert_eq!(code(&scene.phone_reads(&["pair", "-"], &expired).await), 11);

    assert_eq!(code(&scene.phone_reads(&["pair", "-"], &good).await), 0);
    let other =
        Scene { world: World::start(Behind::Script).await.expect("a world"), state: tempfile::tempdir().unwrap() };
    assert_eq!(code(&other.phone_reads(&["pair", "-"], &good).await), 12);

    let (lost, _desk) = other.ticket(PATIENCE, Consent::Given).await;
    let Scene { world, state } = other;
    world.shutdown().await.expect("a clean end");
    let after = Scene { world: scene.world, state };
    assert_eq!(code(&after.phone_reads(&["pair", "-"], &lost).await), 13);
    assert_eq!(code(&after.phone_reads(&["pair", "-"], &good[..good.len() - 9]).await), 14);
    after.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_as_an_argument_is_refused_and_not_repeated() {
    let scene = Scene::set().await;
    let (ticket, _desk) = scene.ticket(PATIENCE, Consent::Given).await;
    let output = scene.phone(&["pair", &ticket]).await;
    assert_eq!(code(&output), 2);
    assert!(!stderr(&output).contains(&ticket) && stderr(&output).contains("-"), "{output:?}");
    scene.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_host_every_command_says_how_to_pair() {
    let scene = Scene::set().await;
    for arguments in [&["threads"][..], &["start", "hi"], &["watch"], &["forget", "desk"], &["diff"]] {
        let output = scene.phone(arguments).await;
        assert_eq!(code(&output), 15, "{arguments:?}: {output:?}");
        assert!(stderr(&output).contains('→'), "{arguments:?}");
    }
    scene.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_is_started_followed_listed_and_continued() {
    let scene = Scene::paired().await;
    let started = scene.phone(&["start", "--json", "how are you"]).await;
    assert_eq!(code(&started), 0, "{started:?}");
    let said = events(&started);
    let thread = text(&said[0]["thread"]);
    assert_eq!((&said[0]["is"], &said.last().unwrap()["status"]), (&json!("started"), &json!("completed")));
    let answers: Vec<_> = said.iter().filter(|event| event["item"]["type"] == "agentMessage").collect();
    assert_eq!(answers.len(), 1, "each item once: {said:?}");

    let listed = scene.phone(&["threads", "--json"]).await;
    assert_eq!((&events(&listed)[0]["is"], text(&events(&listed)[0]["id"])), (&json!("thread"), thread.clone()));

    let sent = scene.phone_reads(&["send", &thread[..20], "-"], "and you?").await;
    assert_eq!(code(&sent), 0, "{sent:?}");
    assert!(stdout(&sent).contains("Scripted answer to: and you?"), "{sent:?}");
    assert_eq!(code(&scene.phone(&["send", "nosuch", "hi"]).await), 15);
    scene.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_turn_fails_the_command() {
    let scene = Scene::paired().await;
    let output = scene.phone(&["start", "FAIL code=500"]).await;
    assert_eq!(code(&output), 1, "{output:?}");
    assert!(stderr(&output).contains("failed"), "{output:?}");
    scene.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_approves_by_naming_what_it_saw_and_by_nothing_less() {
    let scene = Scene::paired().await;
    let (_, digest) = scene.asked("ESCALATE cmd=touch ran.txt").await;
    assert_eq!(code(&scene.phone(&["approve"]).await), 2, "without a terminal it must name one");
    assert_eq!(code(&scene.phone(&["approve", "--yes"]).await), 2);
    assert_eq!(code(&scene.phone(&["approve", "--digest", &digest[..7]]).await), 2, "too short to name anything");
    assert_eq!(code(&scene.phone(&["approve", "--digest", "0123456789abcdef"]).await), 15);
    assert!(!scene.world.work().join("ran.txt").exists());

    let approved = scene.phone(&["approve", "--digest", &digest[..12]]).await;
    assert_eq!(code(&approved), 0, "{approved:?}");
    assert!(stdout(&approved).contains("touch ran.txt"), "it shows what it approves: {approved:?}");
    assert_eq!(code(&scene.phone(&["approve", "--digest", &digest]).await), 15, "it is over");
    timeout(PATIENCE, async {
        while !scene.world.work().join("ran.txt").exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("the command ran");
    scene.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_shown_as_a_diff_and_declined() {
    let scene = Scene::paired().await;
    let (thread, digest) = scene.asked("PATCH file=../beside.txt").await;
    let diff = scene.phone(&["diff"]).await;
    assert_eq!(code(&diff), 0, "{diff:?}");
    assert!(stdout(&diff).contains("beside.txt") && stdout(&diff).contains("+hello"), "{diff:?}");
    let declined = scene.phone(&["decline", "--json", "--digest", &digest]).await;
    assert_eq!((code(&declined), &events(&declined)[1]["decision"]), (0, &json!("decline")), "{declined:?}");
    assert!(!scene.world.scratch().join("beside.txt").exists());
    assert_eq!(code(&scene.phone(&["diff"]).await), 15, "nothing waits any more");

    let changed = scene.phone(&["start", "--json", "PATCH file=inside.txt"]).await;
    assert_eq!(code(&changed), 0, "{changed:?}");
    let changed = text(&events(&changed)[0]["thread"]);
    assert_ne!(changed, thread);
    let diff = scene.phone(&["diff", &changed]).await;
    assert!(code(&diff) == 0 && stdout(&diff).contains("inside.txt"), "{diff:?}");
    scene.strike().await;
}

/// A `watch` that runs beside the test.
struct Watch {
    child: Child,
    lines: tokio::io::Lines<BufReader<tokio::process::ChildStdout>>,
}

impl Watch {
    fn start(scene: &Scene, arguments: &[&str]) -> Self {
        let mut child = scene.command(&[&["watch", "--json"], arguments].concat()).spawn().expect("it runs");
        let lines = BufReader::new(child.stdout.take().expect("it was piped")).lines();
        Self { child, lines }
    }

    async fn wait_for(&mut self, is: &str) -> Value {
        let found = async {
            loop {
                let line = self.lines.next_line().await.expect("text").expect("it goes on");
                let event: Value = serde_json::from_str(&line).expect("a line of JSON");
                if event["is"] == is {
                    return event;
                }
            }
        };
        timeout(PATIENCE, found).await.expect("it is said in time")
    }

    async fn interrupt(&mut self) -> i32 {
        let pid = rustix::process::Pid::from_raw(self.child.id().expect("it runs").cast_signed()).expect("a pid");
        rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
        self.ended().await
    }

    async fn ended(&mut self) -> i32 {
        let status = timeout(PATIENCE, self.child.wait()).await.expect("it ends in time").expect("it ends");
        status.code().expect("by itself")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_tells_what_waits_and_ends_well_at_ctrl_c() {
    let scene = Scene::paired().await;
    let (thread, digest) = scene.asked("ESCALATE cmd=touch ran.txt").await;
    let mut watch = Watch::start(&scene, &[]);
    assert_eq!(watch.wait_for("connection").await["state"], "live");
    assert_eq!(watch.wait_for("approval").await["digest"], json!(digest));
    assert_eq!(watch.interrupt().await, 0);
    let mut watch = Watch::start(&scene, &[&thread]);
    assert_eq!(watch.wait_for("approval").await["thread"], json!(thread));
    let truth = watch.wait_for("truth").await;
    assert_eq!((&truth["compared"], &truth["differed"]), (&json!(1), &json!(0)), "as soon as it was shown");
    assert_eq!(watch.interrupt().await, 0);
    scene.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_phone_is_told_so_at_once_and_ever_after() {
    let scene = Scene::paired().await;
    let mut watch = Watch::start(&scene, &[]);
    watch.wait_for("connection").await;
    let device = scene.world.host.devices().list().expect("devices")[0].key;
    scene.world.host.revoke(device).await.expect("it is removed");
    assert_eq!(watch.ended().await, 16);
    let output = scene.phone(&["threads"]).await;
    assert_eq!(code(&output), 16, "{output:?}");
    assert!(stderr(&output).contains("pair again"), "{output:?}");
    assert_eq!(events(&scene.phone(&["hosts", "--json"]).await)[0]["standing"], "removed");
    scene.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_host_is_gone_here_only() {
    let scene = Scene::paired().await;
    let output = scene.phone(&["forget", "demo desk"]).await;
    assert_eq!(code(&output), 0, "{output:?}");
    assert!(stderr(&output).contains("farhelm devices revoke"), "{output:?}");
    assert_eq!(stdout(&scene.phone(&["hosts", "--json"]).await), "");
    assert_eq!(scene.world.host.devices().list().expect("devices").len(), 1);
    scene.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_private_and_a_key_that_others_may_read_is_refused() {
    let scene = Scene::paired().await;
    let keys = scene.state.path().join("state/phone");
    let identity = keys.join("identity");
    for path in [&keys, &identity] {
        assert_eq!(fs::metadata(path).expect("it is there").permissions().mode() & 0o077, 0, "{path:?}");
    }
    fs::set_permissions(&identity, fs::Permissions::from_mode(0o644)).expect("our own file");
    let output = scene.phone(&["threads"]).await;
    assert_eq!(code(&output), 19, "{output:?}");
    assert!(stderr(&output).contains("chmod 600"), "{output:?}");
    scene.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_gone_is_unreachable() {
    let scene = Scene::paired().await;
    let Scene { world, state } = scene;
    world.shutdown().await.expect("a clean end");
    let scene = Scene { world: World::start(Behind::Script).await.expect("another world"), state };
    let output = scene.phone(&["threads"]).await;
    assert_eq!(code(&output), 13, "{output:?}");
    scene.strike().await;
}
