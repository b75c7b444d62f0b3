//! The desk and the phone on one thread: what is started with plain `codex`, in its own terminal, is decided on the
//! phone, and the other way round. The real Codex, with the scripted model.

#[path = "support/codex.rs"]
mod codex;
#[path = "support/codex_home.rs"]
mod codex_home;
#[path = "support/terminal.rs"]
mod terminal;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use codex_home::CodexHome;
use farhelm::demo::model::Model;
use farhelm::demo::story;
use farhelm::demo::world::{Behind, World};
use farhelm::host::app_server::{How, Options, Source, State};
use farhelm_core::codex::approval::{Act, Approval, Outcome};
use farhelm_core::codex::decision::Decision;
use farhelm_core::codex::thread::{ItemKind, Status, Thread, TurnStatus};
use farhelm_phone::{DecideError, Event, Host};
use terminal::Terminal;

/// What Codex asks at the desk before it runs a command, and before it changes files.
const COMMAND_PROMPT: &str = "Would you like to run the following command?";
const PATCH_PROMPT: &str = "Would you like to make the following edits?";

/// Far beyond what any of these takes; the first start of a daemon copies 400 MB.
const PATIENCE: Duration = Duration::from_secs(180);

/// A developer's machine: a CODEX_HOME with its daemon, and the model behind it. The daemon is big and slow to start,
/// so the tests share one; the last one to leave ends it.
struct Machine {
    codex: PathBuf,
    home: CodexHome,
    model: Option<Model>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Machine {
    /// The shared one; `None` where there is no codex.
    fn shared() -> Option<Arc<Self>> {
        static SHARED: Mutex<Weak<Machine>> = Mutex::new(Weak::new());
        let codex = codex::codex()?;
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(machine) = shared.upgrade() {
            return Some(machine);
        }
        let machine = Arc::new(Self::new(codex));
        *shared = Arc::downgrade(&machine);
        Some(machine)
    }

    fn new(codex: PathBuf) -> Self {
        // Each test has a runtime of its own, and the model outlives the first of them.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let starting = runtime.spawn(Model::start());
        let model = std::thread::scope(|scope| scope.spawn(|| runtime.block_on(starting)).join());
        let model = model.expect("no panic").expect("no panic").expect("a model");
        let home = CodexHome::new(model.port());
        Self { codex, home, model: Some(model), runtime: Some(runtime) }
    }

    fn options(&self, runtime_dir: &str) -> Options {
        Options {
            codex: Some(self.codex.clone()),
            codex_home: Some(self.home.path()),
            runtime_dir: self.home.folder(runtime_dir),
            // Commands run in a login shell; its profile shall be nobody's.
            environment: vec![("HOME".into(), self.home.path().display().to_string())],
        }
    }

    /// `codex` at the desk.
    fn desk(&self, arguments: &[&str]) -> Terminal {
        let home = self.home.path();
        Terminal::run(&self.codex, arguments, &self.work(), &[("CODEX_HOME", &home), ("HOME", &home)])
    }

    /// The folder at the desk.
    fn work(&self) -> PathBuf {
        self.home.folder("work")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.model.take();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A host on that machine and a phone that is paired with it.
struct Paired {
    world: World,
    phone: Host,
}

impl Paired {
    async fn start(source: Source, options: Options) -> Self {
        let world = World::start(Behind::Given(source, options)).await.expect("a world");
        world.codex_ready(PATIENCE).await.expect("the host finds codex");
        let phone = story::pair(&world, &mut |_| {}).await.expect("the phone pairs");
        within("a session", phone.live(PATIENCE)).await.expect("a session");
        Self { world, phone }
    }

    /// Waits for an approval that is about this; others are for other tests on the same daemon.
    async fn asked(&self, about: &str) -> Approval {
        let mut approvals = self.phone.approvals();
        let found = |open: &Vec<Approval>| open.iter().any(|approval| is_about(approval, about));
        let open = within(about, approvals.wait_for(found)).await.expect("the phone lives").clone();
        open.into_iter().find(|approval| is_about(approval, about)).expect("just found")
    }

    /// Waits until nothing about this is open.
    async fn asked_no_more(&self, about: &str) {
        let mut approvals = self.phone.approvals();
        let none = |open: &Vec<Approval>| !open.iter().any(|approval| is_about(approval, about));
        within("its end", approvals.wait_for(none)).await.expect("the phone lives");
    }

    /// Waits until the newest turn of this thread is over, and gives the thread.
    async fn over(&self, thread: &str) -> Thread {
        let mut watched = within("the thread", self.phone.watch(thread)).await.expect("the thread is shown");
        let over = |thread: &Thread| thread.turns.last().is_some_and(|turn| turn.status != TurnStatus::InProgress);
        within("the turn's end", watched.wait_for(over)).await.expect("the phone lives")
    }

    /// The thread whose first message is about this.
    async fn thread_about(&self, about: &str) -> String {
        let page =
            within("the threads", self.phone.threads(farhelm_phone::ThreadQuery::newest(100))).await.expect("a list");
        let found = page.rows.into_iter().find(|thread| thread.preview.contains(about));
        found.expect("the desk's thread is in the phone's list").id
    }

    async fn close(self) {
        within("the end", self.world.shutdown()).await.expect("a clean end");
    }
}

fn is_about(approval: &Approval, about: &str) -> bool {
    match &approval.content.act {
        Act::Command { command, .. } => command.contains(about),
        Act::Files { changes, .. } => changes.iter().any(|change| change.path.contains(about)),
        Act::Permissions { permissions, .. } => permissions.contains(about),
        Act::Withheld { about: shown, .. } => shown.contains(about),
    }
}

/// How an approval ended, as the phone was told.
async fn ending(events: &mut tokio::sync::broadcast::Receiver<Event>, of: &Approval) -> Outcome {
    loop {
        match within("word of its end", events.recv()).await.expect("an event") {
            Event::Resolved { key, outcome, .. } if key == of.key => return outcome,
            _ => {}
        }
    }
}

/// The agent's words in the newest turn.
fn answer(thread: &Thread) -> &str {
    let said = thread.turns.last().expect("a turn").items.iter().rev().find_map(|item| match &item.kind {
        ItemKind::AgentMessage { text } => Some(text.as_str()),
        _ => None,
    });
    said.unwrap_or_default()
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(PATIENCE, future).await;
    done.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// A turn of the desk stops at a command; the phone accepts it; the desk goes on.
async fn phone_decides(paired: &Paired, desk: &mut Terminal, work: &Path, mark: &str) {
    desk.reads(READY).await;
    desk.says(&format!("ESCALATE cmd=touch {mark}")).await;
    let approval = paired.asked(mark).await;
    let Act::Command { folder, .. } = &approval.content.act else { panic!("no command: {approval:?}") };
    assert_eq!(Path::new(folder), work);
    desk.reads(COMMAND_PROMPT).await;

    within("the decision", paired.phone.decide(&approval, Decision::Accept)).await.expect("the decision is taken");
    desk.loses(COMMAND_PROMPT).await;
    desk.reads("Done ESCALATE").await;
    paired.asked_no_more(mark).await;
    assert!(work.join(mark).exists(), "the command ran");

    let thread = paired.over(&approval.thread).await;
    assert_eq!(thread.turns.last().expect("a turn").status, TurnStatus::Completed);
    assert!(answer(&thread).starts_with("Done ESCALATE"), "{thread:?}");
    assert_eq!(paired.thread_about(mark).await, approval.thread);
}

/// What a desk shows that waits for a first message.
const READY: &str = "? for shortcuts";

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_started_with_plain_codex_is_decided_on_the_phone() {
    let Some(machine) = Machine::shared() else { return };
    let paired = Paired::start(Source::Daemon, machine.options("run")).await;
    let mut desk = machine.desk(&[]);
    phone_decides(&paired, &mut desk, &machine.work(), "by-phone.txt").await;
    drop(desk);
    paired.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_desk_attached_to_the_hosts_own_server_is_no_different() {
    let Some(codex) = codex::codex() else { return };
    let machine = Machine::new(codex);
    let paired = Paired::start(Source::Own, machine.options("run")).await;
    let State::Ready { how: How::Own { socket, .. }, .. } = paired.world.host.codex().borrow().clone() else {
        panic!("not a server of its own")
    };
    // A desk of a remote server works in the server's folder, unless it is told.
    let (remote, work) = (format!("unix://{}", socket.display()), machine.work());
    let mut desk = machine.desk(&["--remote", &remote, "-C", &work.display().to_string()]);
    phone_decides(&paired, &mut desk, &machine.work(), "remote.txt").await;
    drop(desk);
    paired.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_desk_answers_first_is_over_on_the_phone() {
    let Some(machine) = Machine::shared() else { return };
    let paired = Paired::start(Source::Daemon, machine.options("run")).await;
    let mut events = paired.phone.events();
    let mut desk = machine.desk(&[]);
    desk.reads(READY).await;
    desk.says("ESCALATE cmd=touch by-desk.txt").await;
    let approval = paired.asked("by-desk.txt").await;
    desk.reads(COMMAND_PROMPT).await;

    desk.answers("y", COMMAND_PROMPT).await;
    assert_eq!(ending(&mut events, &approval).await, Outcome::Elsewhere);
    desk.reads("Done ESCALATE").await;
    paired.asked_no_more("by-desk.txt").await;
    let late = within("the decision", paired.phone.decide(&approval, Decision::Cancel)).await;
    assert_eq!(late, Err(DecideError::Over { outcome: None, by: None }));
    let thread = paired.over(&approval.thread).await;
    assert_eq!(thread.turns.last().expect("a turn").status, TurnStatus::Completed, "the late decision had an effect");
    assert!(machine.work().join("by-desk.txt").exists(), "the command ran");
    drop(desk);
    paired.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_of_the_desk_is_on_the_phone_with_its_diff_and_declined_there() {
    let Some(machine) = Machine::shared() else { return };
    let paired = Paired::start(Source::Daemon, machine.options("run")).await;
    let mut desk = machine.desk(&[]);
    desk.reads(READY).await;
    desk.says("PATCH file=../beside.txt").await;
    let approval = paired.asked("beside.txt").await;
    let Act::Files { changes, .. } = &approval.content.act else { panic!("no diff: {approval:?}") };
    assert!(changes[0].diff.contains("from the scripted model"), "{changes:?}");
    desk.reads(PATCH_PROMPT).await;

    within("the decision", paired.phone.decide(&approval, Decision::Decline)).await.expect("the decision is taken");
    desk.loses(PATCH_PROMPT).await;
    desk.reads("Done PATCH").await;
    assert!(!machine.home.folder("beside.txt").exists(), "what was declined wasn't done");
    drop(desk);
    paired.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waited_at_the_desk_before_the_host_came_is_decided_on_the_phone() {
    let Some(machine) = Machine::shared() else { return };
    let mut desk = machine.desk(&[]);
    desk.reads(READY).await;
    desk.says("PATCH file=../before.txt").await;
    desk.reads(PATCH_PROMPT).await;
    let paired = Paired::start(Source::Daemon, machine.options("run")).await;
    let approval = paired.asked("before.txt").await;
    let Act::Files { changes, .. } = &approval.content.act else { panic!("no diff: {approval:?}") };
    assert!(changes[0].diff.contains("from the scripted model"), "{changes:?}");

    within("the decision", paired.phone.decide(&approval, Decision::Accept)).await.expect("the decision is taken");
    desk.loses(PATCH_PROMPT).await;
    desk.reads("Done PATCH").await;
    assert!(machine.home.folder("before.txt").exists(), "the change was made");
    drop(desk);
    paired.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_of_another_server_is_shown_as_held_there() {
    let Some(machine) = Machine::shared() else { return };
    let mut desk = machine.desk(&[]);
    desk.reads(READY).await;
    desk.says("nothing in particular, elsewhere").await;
    desk.reads("Scripted answer").await;
    let paired = Paired::start(Source::Own, machine.options("other")).await;
    let id = paired.thread_about("elsewhere").await;
    let thread = within("the thread", paired.phone.watch(&id)).await.expect("it is shown").borrow().clone();
    assert_eq!((thread.status, thread.preview.contains("elsewhere")), (Status::HeldElsewhere, true));
    drop(desk);
    paired.close().await;
}
