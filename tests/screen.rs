//! `farhelm phone` without a command, as a person at a terminal uses it: the program in a pseudo-terminal, keys in and the
//! screen out, against a host with the real Codex.

#[path = "support/codex.rs"]
mod codex;
#[path = "support/terminal.rs"]
mod terminal;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use farhelm::demo::world::{Behind, World, another_phone};
use farhelm::host::desk::{Consent, Desk};
use farhelm_core::codex::decision::Decision;
use farhelm_phone::key_store;
use tempfile::TempDir;
use terminal::Terminal;
use tokio::sync::mpsc;

/// Ten times what anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A host with the real Codex, and the phone's screen.
struct Scene {
    world: World,
    _state: TempDir,
    screen: Terminal,
}

impl Scene {
    /// `None` where there is no codex.
    async fn set() -> Option<Self> {
        let world = World::start(Behind::Codex(Some(codex::codex()?))).await.expect("a world");
        world.codex_ready(PATIENCE).await.expect("an agent");
        let state = tempfile::tempdir().expect("a folder");
        let directory = state.path().join("phone");
        let environment = [("FARHELM_STATE_DIR", directory.as_path()), ("NO_COLOR", Path::new("1"))];
        let program = Path::new(env!("CARGO_BIN_EXE_farhelm"));
        let screen = Terminal::run(program, &["phone"], state.path(), &environment);
        Some(Self { world, _state: state, screen })
    }

    /// Pairs on the screen: the ticket pasted, the words shown.
    async fn pair(&mut self) {
        self.screen.reads("No host yet").await;
        let ticket = ticket(&self.world).await;
        self.pair_by(&ticket).await;
    }

    async fn pair_by(&mut self, ticket: &str) {
        self.screen.press("p");
        self.screen.reads("Paste the text").await;
        self.screen.press(&format!("\x1b[200~{ticket}\x1b[201~"));
        let screen = self.screen.reads("characters so far").await;
        assert!(!screen.contains(&ticket[..20]), "a ticket is a secret:\n{screen}");
        self.screen.press("\r");
        self.screen.reads("Paired with").await;
        self.screen.reads(": direct").await;
    }

    /// Writes to the open thread, or starts one.
    async fn says(&mut self, text: &str) {
        self.screen.press("i");
        self.screen.reads("›").await;
        self.screen.says(text).await;
    }

    /// Opens what waits, once it does.
    async fn decides(&mut self, title: &str) -> String {
        self.screen.reads("1 waits for you").await;
        self.screen.press("d");
        self.screen.reads(title).await;
        self.screen.reads("a accept").await
    }

    async fn strike(self) {
        self.screen.press("\x03");
        self.world.shutdown().await.expect("a clean end");
    }
}

async fn ticket(world: &World) -> String {
    let (events, _heard) = mpsc::channel(8);
    let invitation = world.host.offer(PATIENCE, Desk::new(Consent::Given, events)).await.expect("an offer");
    invitation.ticket().encode().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_pairs_starts_accepts_and_declines_on_the_screen() {
    let Some(mut scene) = Scene::set().await else { return };
    scene.pair().await;
    scene.says("Please leave a mark. ESCALATE cmd=touch made-on-the-screen.txt").await;
    let shown = scene.decides("Codex wants to run a command").await;
    assert!(shown.contains("touch made-on-the-screen.txt") && shown.contains("thread's folder:"), "{shown}");
    scene.screen.press("a");
    scene.screen.reads("Type yes and Enter").await;
    scene.screen.press("yes\r");
    scene.screen.loses("1 waits for you").await;
    scene.screen.reads("✓ done").await;
    scene.says("Now a file outside. PATCH file=../greeting.txt").await;
    let shown = scene.decides("Codex wants to change files").await;
    assert!(shown.contains("greeting.txt (+") && shown.contains("It reaches outside the thread's folder"), "{shown}");
    scene.screen.press("n");
    scene.screen.reads("n declines it").await;
    scene.screen.answers("n", "n declines it").await;
    scene.screen.reads("✗ declined").await;
    scene.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_device_decides_leaves_the_screen() {
    let Some(mut scene) = Scene::set().await else { return };
    scene.pair().await;
    scene.says("Please leave a mark. ESCALATE cmd=touch made-elsewhere.txt").await;
    scene.decides("Codex wants to run a command").await;
    let other = another_phone(Arc::new(key_store::Memory::default())).await.expect("a phone");
    let pairing = other.pair(&ticket(&scene.world).await).await.expect("the host answers");
    let host = pairing.finish(PATIENCE).await.expect("a pairing").host;
    let open = host.pending(PATIENCE).await.expect("what is open");
    host.decide(open.first().expect("the approval"), Decision::Decline).await.expect("decided");
    scene.screen.reads("That was decided, or is over.").await;
    scene.screen.reads("nothing waits for you").await;
    other.shutdown().await;
    scene.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_runs_is_steered_set_and_interrupted() {
    let Some(mut scene) = Scene::set().await else { return };
    scene.pair().await;
    scene.says("SLOW secs=3600").await;
    scene.screen.reads("› SLOW secs=3600").await;
    scene.screen.reads("running").await;
    scene.says("use the other file").await;
    scene.screen.reads("taken up").await;
    scene.screen.reads("● Scripted answer to: use the other file").await;
    scene.says("/effort high").await;
    scene.screen.reads("idle · gpt-5.5, high").await;
    scene.says("SLOW secs=7200").await;
    scene.screen.reads("running · gpt-5.5, high").await;
    scene.says("/modle gpt").await;
    scene.screen.reads("there is no such command").await;
    // What was mistyped stays to be mended; this clears it.
    scene.screen.press("\x15/interrupt\r");
    scene.screen.reads("✗ interrupted").await;
    scene.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_are_in_one_inbox_and_a_decline_goes_with_words() {
    let Some(mut scene) = Scene::set().await else { return };
    scene.pair().await;
    let second = World::start(Behind::Script).await.expect("a second host");
    second.codex_ready(PATIENCE).await.expect("an agent");
    scene.pair_by(&ticket(&second).await).await;
    scene.screen.shows("two hosts", |screen| screen.matches(": direct").count() == 2).await;
    scene.says("Please leave a mark. ESCALATE cmd=touch never-made.txt").await;
    scene.decides("Codex wants to run a command").await;
    scene.screen.press("w");
    scene.screen.reads("Instead, do:").await;
    scene.screen.press("say hello instead\r");
    scene.screen.reads("› say hello instead").await;
    scene.screen.reads("✗ declined").await;
    second.shutdown().await.expect("a clean end");
    scene.screen.reads("away:").await;
    scene.strike().await;
}

#[test]
fn without_a_terminal_it_says_what_to_do() {
    let state = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_farhelm"));
    command.arg("phone").env_clear().env("FARHELM_STATE_DIR", state.path()).stdin(Stdio::null());
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("needs a terminal") && said.contains("farhelm phone --help"), "{said}");
}
