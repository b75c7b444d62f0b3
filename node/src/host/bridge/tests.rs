//! The bridge between an app-server of which every word is the test's, and phones on real channels.

mod floor;
mod guard;
mod images;
mod live;
mod lost;
mod matrix;
mod once;
mod truth;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use farhelm_core::codex::approval::{Act, Approval, Outcome};
use farhelm_core::codex::decision::{Decision, SignedDecision};
use farhelm_core::codex::question::{Answers, Question};
use farhelm_core::codex::thread::{Status, Thread};
use farhelm_core::identity::Identity;
use farhelm_core::policy::{Conditions, Folders, Grant, Right, Rules, Standard};
use farhelm_core::session::PairingSecret;
use farhelm_core::session::host::Hello;
use farhelm_core::session::log::Position;
use farhelm_core::wire::Envelope;
use farhelm_core::wire::envelope::{Attach, CodexState, DecisionRefusal, Entry, FailedBy, Logged, Resolved};
use farhelm_core::wire::limits;
use farhelm_overlay::channel::{Channel, Wire};
use farhelm_store::{Frozen, FrozenBy, Journal};
use serde_bytes::{ByteArray, ByteBuf};
use serde_json::{Value, json};
use tokio::io::duplex;
use tokio::time::timeout;

use super::actor::Learned;
use super::request::answer;
use super::*;
use crate::host::acts;
use crate::host::app_server::tests::fake::{Fake, Peer};
use crate::host::devices::{Grants, Names, now_ms};
use crate::host::folders::HostFolders;
use crate::host::logs;

/// Far beyond what any of these takes.
const PATIENCE: Duration = Duration::from_secs(60);

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("in time")
}

fn device(seed: u8) -> NodeId {
    Identity::from_seed(&[seed; 32]).node_id()
}

fn host() -> Identity {
    Identity::from_seed(&[1; 32])
}

/// What is tested, and its app-server.
struct Stage {
    fake: Fake,
    /// Its connection; none while it is gone.
    codex: Option<Peer>,
    bridge: Bridge,
    logs: Logs,
    journal: Arc<Journal>,
    about: watch::Sender<HostState>,
    grants: watch::Sender<Grants>,
    folders: watch::Sender<Arc<HostFolders>>,
    rules: watch::Sender<Rules>,
    frozen: watch::Sender<Option<Frozen>>,
    standard: watch::Sender<Standard>,
    conditions: watch::Sender<Conditions>,
    generation: AtomicU64,
}

impl Stage {
    /// A bridge whose app-server has these threads loaded; their resumes come next.
    async fn with_loaded(threads: &[&str]) -> Self {
        Self::on(Fake::listen(), threads).await
    }

    async fn on(fake: Fake, threads: &[&str]) -> Self {
        let desk = fake.connect();
        let codex = CodexState::Away("starting".into());
        let (about, seen) = watch::channel(HostState {
            name: "desk".into(),
            folder: "/src".into(),
            start_folders: Vec::new(),
            entitlement: Default::default(),
            rules: Default::default(),
            codex,
            relays: Vec::new(),
            direct: Vec::new(),
        });
        let (grants, seen_grants) = watch::channel(Grants::default());
        let own = vec!["/src".to_owned()];
        let (folders, seen_folders) = watch::channel(Arc::new(HostFolders { startable: own.clone(), own }));
        let (rules, seen_rules) = watch::channel(Rules::default());
        let (conditions, seen_conditions) = watch::channel(Conditions::default());
        let (frozen, seen_frozen) = watch::channel(None);
        let (standard, seen_standard) = watch::channel(Standard::default());
        let names: Names =
            Arc::new([(2, "Ann's"), (3, "Bob's")].map(|(seed, name)| (device(seed), name.into())).into());
        let access = Access {
            grants: seen_grants,
            folders: seen_folders,
            rules: seen_rules,
            frozen: seen_frozen,
            standard: seen_standard,
            conditions: seen_conditions,
            names: watch::channel(names).1,
            keeper: None,
        };
        let (id, stop) = (host().node_id(), CancellationToken::new());
        let journal = Arc::new(Journal::in_memory().expect("a journal"));
        let (logs, work) = Logs::start(journal.clone(), |_| true, stop.clone()).expect("an empty journal");
        let bridge = Bridge::start(id, desk.app_server, desk.events, seen, access, logs.clone(), stop);
        let (remote, recorder) = (None, Default::default());
        let acts = acts::Acts { bridge: bridge.clone(), remote, logs: logs.clone(), recorder };
        tokio::spawn(acts.run(work));
        let codex = Some(within(fake.initialized()).await);
        let generation = AtomicU64::new(1);
        let mut stage = Self {
            fake,
            codex,
            bridge,
            logs,
            journal,
            about,
            grants,
            folders,
            rules,
            frozen,
            standard,
            conditions,
            generation,
        };
        stage.answers("thread/loaded/list", json!({"data": threads})).await;
        stage
    }

    /// A bridge that follows thread `t`.
    async fn following() -> Self {
        let mut stage = Self::with_loaded(&["t"]).await;
        stage.answers("thread/resume", resumed(json!([]))).await;
        stage
    }

    /// Gives a phone this, paired or not before.
    fn grant(&self, seed: u8, grant: Grant) {
        let device = Identity::from_seed(&[seed; 32]).node_id();
        self.grants.send_modify(|grants| {
            Arc::make_mut(grants).insert(device, grant);
        });
    }

    /// An owner's phone at the bridge, which was told what is open.
    async fn phone(&self, seed: u8) -> Phone {
        self.phone_with(seed, Grant::of(Right::Owner)).await
    }

    async fn phone_with(&self, seed: u8, grant: Grant) -> Phone {
        self.grant(seed, grant);
        let identity = Identity::from_seed(&[seed; 32]);
        let (channel, at_host) = channels(&identity).await;
        let position = Position { log: ByteArray::new(rand::random()), first: 1, heard: None };
        let attach = Attach { generation: self.generation.fetch_add(1, Ordering::Relaxed), position };
        let path = self.logs.attach(identity.node_id(), attach, at_host.sender()).await.expect("a path");
        let attached = self.bridge.attach(identity.node_id(), at_host.sender(), path.line()).await;
        let attached = attached.expect("the bridge lives");
        let mut phone = Phone { identity, channel, attached, path, said: AtomicU64::new(0), _at_host: at_host };
        // What streams may overtake what is said in order with the log.
        while !matches!(phone.told().await, Envelope::Host(_)) {}
        phone
    }

    fn codex(&mut self) -> &mut Peer {
        self.codex.as_mut().expect("it is there")
    }

    async fn heard(&mut self) -> Value {
        within(self.codex().heard()).await
    }

    async fn answers(&mut self, method: &str, result: Value) {
        within(self.codex().answers(method, result)).await;
    }

    async fn refuses(&mut self, method: &str, code: i64, message: &str) {
        within(self.codex().refuses(method, code, message)).await;
    }

    /// Codex asks for a command of thread `t`.
    async fn asks(&mut self, request: i64, command: &str) {
        let params = json!({"kind": "command", "threadId": "t", "turnId": "u", "itemId": "i", "startedAtMs": 1,
            "command": command, "cwd": "/src"});
        self.codex().says(question("item/commandExecution/requestApproval", request, params)).await;
    }

    async fn tells(&mut self, method: &str, params: Value) {
        self.codex().says(json!({"method": method, "params": params})).await;
    }

    /// Codex hears this answer, and says so.
    async fn takes(&mut self, answer: Value) {
        assert_eq!(self.heard().await, answer);
        self.confirms(answer["id"].as_i64().expect("a number")).await;
    }

    async fn confirms(&mut self, request: i64) {
        self.tells("serverRequest/resolved", json!({"threadId": "t", "requestId": request})).await;
    }
}

/// A phone's end of a session, and the host's.
struct Phone {
    identity: Identity,
    channel: Channel,
    attached: Attached,
    path: logs::Path,
    said: AtomicU64,
    _at_host: Channel,
}

impl Phone {
    /// The next thing it is told, logged or not.
    async fn told(&mut self) -> Envelope {
        loop {
            match within(self.channel.receive()).await.expect("an envelope") {
                Envelope::Attached(_) | Envelope::Ack(_) => {}
                Envelope::Entry(entry) => return Logged::decode(&entry.body).expect("an envelope").envelope,
                envelope => return envelope,
            }
        }
    }

    /// Logs something for the host.
    async fn logs(&self, envelope: Envelope) {
        let act = Some(ByteArray::new(rand::random()));
        let body = ByteBuf::from(Logged { act, envelope }.encode());
        self.path.entry(Entry { seq: self.said.fetch_add(1, Ordering::Relaxed) + 1, body }).await;
    }

    /// Waits for an approval, told of anew or in the list of those that are open.
    async fn asked(&mut self) -> Approval {
        loop {
            match self.told().await {
                Envelope::Approval(approval) => return approval,
                Envelope::Approvals(mut approvals) if !approvals.open.is_empty() => return approvals.open.remove(0),
                _ => {}
            }
        }
    }

    /// Waits for a question, told of anew or in the list of those that are open.
    async fn questioned(&mut self) -> Question {
        loop {
            match self.told().await {
                Envelope::Question(question) => return question,
                Envelope::Questions(mut questions) if !questions.open.is_empty() => return questions.open.remove(0),
                _ => {}
            }
        }
    }

    async fn resolved(&mut self) -> Resolved {
        loop {
            if let Envelope::Resolved(resolved) = self.told().await {
                return resolved;
            }
        }
    }

    async fn decided(&mut self) -> Result<(), DecisionRefusal> {
        loop {
            if let Envelope::Decided(decided) = self.told().await {
                return decided.result;
            }
        }
    }

    /// What became of its decision, and of the matter, whichever it is told first.
    async fn settled(&mut self) -> (Result<(), DecisionRefusal>, Resolved) {
        let (mut result, mut over) = (None, None);
        loop {
            match self.told().await {
                Envelope::Decided(decided) => result = Some(decided.result),
                Envelope::Resolved(resolved) => over = Some(resolved),
                _ => {}
            }
            if let (Some(result), Some(over)) = (result, over.clone()) {
                return (result, over);
            }
        }
    }

    async fn shown(&mut self) -> Thread {
        loop {
            if let Envelope::Snapshot(snapshot) = self.told().await {
                return snapshot.thread;
            }
        }
    }

    async fn decides(&self, approval: &Approval, decision: Decision) {
        let signed = SignedDecision::sign(&self.identity, host().node_id(), approval, decision).expect("shown whole");
        self.logs(Envelope::Decision(signed)).await;
    }
}

/// Both ends of a session, resumed over a pipe.
pub(in crate::host) async fn channels(phone: &Identity) -> (Channel, Channel) {
    let (near, far) = duplex(64 * 1024);
    let secret = PairingSecret::from_bytes([3; 32]);
    let admit = async {
        let (host, mut wire) = (host(), Wire::new(far));
        let hello = Hello::read(&wire.receive().await.unwrap(), host.node_id(), phone.node_id()).unwrap();
        let Hello::Resume(back) = hello else { panic!("mode resume") };
        let (waits, reply) = back.reply(&secret, &host, &mut rand::rng()).unwrap();
        wire.send(&reply).await.unwrap();
        let (session, answer) = waits.receive(&wire.receive().await.unwrap()).unwrap().accept("desk").unwrap();
        wire.send_frame(&answer).await.unwrap();
        Channel::start(wire, session)
    };
    let resume = channel::resume(near, phone, host().node_id(), &secret, "pocket", Vec::new);
    let (phone, host) = tokio::join!(resume, admit);
    (phone.unwrap().0, host)
}

fn resumed(turns: Value) -> Value {
    json!({"thread": {"id": "t", "cwd": "/src", "status": {"type": "idle"}}, "initialTurnsPage": {"data": turns},
        "approvalPolicy": "on-request", "sandbox": {"type": "workspaceWrite"}})
}

fn question(method: &str, request: i64, params: Value) -> Value {
    json!({"method": method, "id": request, "params": params})
}

fn status(kind: &str) -> Value {
    json!({"threadId": "t", "status": {"type": kind, "activeFlags": []}})
}

#[tokio::test]
async fn what_is_asked_before_the_resume_is_answered_is_shown_with_what_the_answer_holds() {
    let mut stage = Stage::with_loaded(&["t"]).await;
    let resume = stage.heard().await;
    assert_eq!(resume["method"], "thread/resume");
    let asked = json!({"threadId": "t", "turnId": "u", "itemId": "i", "startedAtMs": 1, "reason": null,
        "grantRoot": null});
    stage.codex().says(question("item/fileChange/requestApproval", 0, asked)).await;
    let changes = json!([{"path": "/src/a", "kind": {"type": "add"}, "diff": "hello\n"}]);
    let item = json!({"type": "fileChange", "id": "i", "changes": changes, "status": "inProgress"});
    let turn = json!({"id": "u", "status": "inProgress", "items": [item]});
    stage.codex().says(json!({"id": resume["id"], "result": resumed(json!([turn]))})).await;
    let approval = stage.phone(2).await.asked().await;
    let Act::Files { changes, .. } = &approval.content.act else { panic!("no diff: {approval:?}") };
    assert_eq!(changes[0].diff, "hello\n");
}

#[tokio::test]
async fn the_first_phone_decides_and_the_second_is_told_that_it_is_over() {
    let mut stage = Stage::following().await;
    let (mut first, mut second) = (stage.phone(2).await, stage.phone(3).await);
    stage.asks(7, "make").await;
    let (one, other) = (first.asked().await, second.asked().await);
    first.decides(&one, Decision::Accept).await;
    assert_eq!(stage.heard().await, json!({"id": 7, "result": {"decision": "accept"}}));
    second.decides(&other, Decision::Decline).await;
    assert_eq!(second.decided().await, Err(DecisionRefusal::Over));

    stage.confirms(7).await;
    let (counts, resolved) = first.settled().await;
    assert_eq!((counts, &resolved), (Ok(()), &second.resolved().await));
    assert_eq!((resolved.outcome, resolved.by), (Outcome::Accepted, Some(first.identity.node_id())));
}

#[tokio::test]
async fn a_removed_phones_decision_has_no_effect() {
    let mut stage = Stage::following().await;
    let (mut removed, mut other) = (stage.phone(2).await, stage.phone(3).await);
    stage.asks(0, "make").await;
    let approval = removed.asked().await;
    let device = removed.identity.node_id();
    stage.grants.send_modify(|grants| drop(Arc::make_mut(grants).remove(&device)));
    stage.bridge.cut(device).await;
    stage.logs.forget(device).await;
    // It was on its way when the device was removed.
    removed.decides(&approval, Decision::Accept).await;
    assert_eq!(within(removed.attached.ended()).await, Some(CloseReason::Revoked));

    let open = other.asked().await;
    other.decides(&open, Decision::Decline).await;
    stage.takes(json!({"id": 0, "result": {"decision": "decline"}})).await;
    assert_eq!(other.decided().await, Ok(()));
}

#[tokio::test]
async fn a_phone_that_does_not_read_is_cut_and_the_others_go_on() {
    let mut stage = Stage::following().await;
    let (mut deaf, mut other) = (stage.phone(2).await, stage.phone(3).await);
    let relay = "x".repeat(1024);
    let cut = async {
        let mut round = 0;
        loop {
            // What the actor takes in one go counts once, so each change is seen by the phone that reads.
            round += 1;
            stage.about.send_modify(|about| about.relays = vec![format!("{round}{relay}")]);
            let told = async { while !matches!(other.told().await, Envelope::Host(_)) {} };
            tokio::select! {
                ended = deaf.path.ended() => return ended,
                () = told => {}
            }
        }
    };
    assert_eq!(within(cut).await, None);
    stage.asks(0, "make").await;
    other.asked().await;
}

#[tokio::test]
async fn what_the_desk_answers_is_resolved_elsewhere() {
    let mut stage = Stage::following().await;
    let mut phone = stage.phone(2).await;
    stage.asks(0, "make").await;
    let approval = phone.asked().await;
    stage.tells("serverRequest/resolved", json!({"threadId": "t", "requestId": 0})).await;
    assert_eq!(phone.resolved().await.outcome, Outcome::Elsewhere);
    phone.decides(&approval, Decision::Accept).await;
    assert_eq!(phone.decided().await, Err(DecisionRefusal::Over));
}

#[tokio::test]
async fn permissions_are_granted_as_they_were_shown() {
    let mut stage = Stage::following().await;
    let mut phone = stage.phone(2).await;
    let permissions = json!({"network": {"enabled": true}});
    let asked = json!({"threadId": "t", "turnId": "u", "itemId": "i", "startedAtMs": 1, "cwd": "/src",
        "permissions": permissions});
    stage.codex().says(question("item/permissions/requestApproval", 4, asked)).await;
    let approval = phone.asked().await;
    phone.decides(&approval, Decision::Accept).await;
    stage.takes(json!({"id": 4, "result": {"permissions": permissions, "scope": "turn"}})).await;
    assert_eq!(phone.decided().await, Ok(()));
}

#[tokio::test]
async fn cancelled_permissions_are_not_granted_and_end_the_turn() {
    let mut stage = Stage::following().await;
    let mut phone = stage.phone(2).await;
    let asked = json!({"threadId": "t", "turnId": "u", "itemId": "i", "startedAtMs": 1, "cwd": "/src",
        "permissions": {"network": {"enabled": true}}});
    stage.codex().says(question("item/permissions/requestApproval", 4, asked)).await;
    let approval = phone.asked().await;
    phone.decides(&approval, Decision::Cancel).await;
    assert_eq!(stage.heard().await, json!({"id": 4, "result": {"permissions": {}, "scope": "turn"}}));
    let interrupt = stage.heard().await;
    let of_turn = json!({"threadId": "t", "turnId": "u"});
    assert_eq!((&interrupt["method"], &interrupt["params"]), (&json!("turn/interrupt"), &of_turn));
}

#[tokio::test]
async fn what_a_server_wants_filled_in_is_declined_in_its_own_form() {
    let mut stage = Stage::following().await;
    let mut phone = stage.phone(2).await;
    let asked = json!({"threadId": "t", "turnId": "u", "serverName": "mail", "mode": "form", "message": "Your name?",
        "requestedSchema": {"type": "object", "properties": {}}});
    stage.codex().says(question("mcpServer/elicitation/request", 5, asked)).await;
    let approval = phone.asked().await;
    assert!(!approval.acceptable());
    phone.decides(&approval, Decision::Decline).await;
    assert_eq!(stage.heard().await, json!({"id": 5, "result": {"action": "decline"}}));
}

#[tokio::test]
async fn accepting_for_the_session_is_taken_only_while_the_host_offers_it() {
    let mut stage = Stage::following().await;
    let mut phone = stage.phone(2).await;
    let offer = |stage: &Stage, offers| stage.rules.send_modify(|rules| rules.accept_for_session = offers);
    stage.asks(0, "make").await;
    assert!(!phone.asked().await.for_session, "off by default");
    offer(&stage, true);
    stage.asks(1, "make").await;
    let offered = phone.asked().await;
    assert!(offered.for_session);
    offer(&stage, false);
    phone.decides(&offered, Decision::AcceptForSession).await;
    assert_eq!(phone.decided().await, Err(DecisionRefusal::NotOffered));
    offer(&stage, true);
    phone.decides(&offered, Decision::AcceptForSession).await;
    stage.takes(json!({"id": 1, "result": {"decision": "acceptForSession"}})).await;
    assert_eq!(phone.decided().await, Ok(()));
}

#[tokio::test]
async fn a_question_is_told_at_attach_and_answered_once() {
    let mut stage = Stage::following().await;
    let mut first = stage.phone(2).await;
    let asked = json!({"threadId": "t", "turnId": "u", "itemId": "i", "isBlocking": true, "questions": [
        {"id": "q", "header": "Pick", "question": "Which one?", "options": [{"label": "A", "description": ""}]}]});
    stage.codex().says(question("item/tool/requestUserInput", 6, asked.clone())).await;
    let shown = first.questioned().await;
    // A resume by somebody else makes Codex ask again.
    stage.codex().says(question("item/tool/requestUserInput", 6, asked)).await;
    let mut second = stage.phone(3).await;
    assert_eq!(second.questioned().await, shown);

    let answers = Answers::new(&shown, [("q".to_owned(), vec!["A".to_owned()])].into()).expect("an answer");
    first.logs(Envelope::Answers(answers.clone())).await;
    assert_eq!(stage.heard().await, json!({"id": 6, "result": {"answers": {"q": {"answers": ["A"]}}}}));
    second.logs(Envelope::Answers(answers)).await;
    assert_eq!(second.decided().await, Err(DecisionRefusal::Over));
    stage.confirms(6).await;
    let (counts, resolved) = first.settled().await;
    assert_eq!((counts, &resolved), (Ok(()), &second.resolved().await));
    assert_eq!((resolved.outcome, resolved.by), (Outcome::Accepted, Some(first.identity.node_id())));
}

#[tokio::test]
async fn a_thread_without_a_first_turn_is_followed_once_it_moves() {
    let mut stage = Stage::with_loaded(&[]).await;
    stage.tells("thread/started", json!({"thread": {"id": "t"}})).await;
    stage.refuses("thread/resume", -32600, "no rollout found for thread id t").await;
    stage.tells("thread/status/changed", status("active")).await;
    stage.answers("thread/resume", resumed(json!([]))).await;
    stage.asks(0, "make").await;
    stage.phone(2).await.asked().await;
}

#[tokio::test]
async fn a_thread_that_was_closed_and_opened_again_is_followed_again() {
    let mut stage = Stage::following().await;
    let phone = stage.phone(2).await;
    phone.attached.watch(vec!["t".into()]).await;
    stage.tells("thread/status/changed", status("notLoaded")).await;
    stage.tells("thread/closed", json!({"threadId": "t"})).await;
    stage.tells("thread/status/changed", status("idle")).await;
    stage.answers("thread/resume", resumed(json!([]))).await;
}

#[tokio::test]
async fn a_thread_known_from_before_a_restart_is_followed_when_the_desk_opens_it() {
    let mut stage = Stage::following().await;
    let mut phone = stage.phone(2).await;
    stage.codex = None;
    stage.codex = Some(within(stage.fake.initialized()).await);
    stage.answers("thread/loaded/list", json!({"data": []})).await;
    stage.tells("thread/status/changed", status("idle")).await;
    stage.answers("thread/resume", resumed(json!([]))).await;
    stage.asks(0, "make").await;
    phone.asked().await;
}

#[tokio::test]
async fn a_thread_of_another_server_is_shown_as_held_and_followed_once_it_is_ours() {
    let mut stage = Stage::with_loaded(&[]).await;
    let mut phone = stage.phone(2).await;
    phone.attached.watch(vec!["t".into()]).await;
    let read = json!({"thread": {"id": "t", "cwd": "/src", "status": {"type": "notLoaded"}}});
    stage.answers("thread/read", read.clone()).await;
    stage.refuses("thread/resume", -32600, "thread t already has an active writer").await;
    stage.answers("thread/read", read).await;
    assert_eq!(phone.shown().await.status, Status::HeldElsewhere);
    stage.tells("thread/status/changed", status("idle")).await;
    stage.answers("thread/resume", resumed(json!([]))).await;
    assert_eq!(phone.shown().await.status, Status::Idle);
}

#[tokio::test]
async fn a_thread_that_codex_did_not_show_at_first_is_shown_to_whoever_waits_for_it() {
    let mut stage = Stage::with_loaded(&[]).await;
    let mut phone = stage.phone(2).await;
    phone.attached.watch(vec!["t".into()]).await;
    let read = json!({"thread": {"id": "t", "cwd": "/src", "status": {"type": "notLoaded"}}});
    stage.refuses("thread/read", -32603, "database is locked").await;
    stage.answers("thread/read", read.clone()).await;
    stage.refuses("thread/resume", -32603, "database is locked").await;
    stage.answers("thread/read", read.clone()).await;
    stage.answers("thread/resume", json!({"nothing": "that is a thread"})).await;
    stage.answers("thread/read", read).await;
    stage.answers("thread/resume", resumed(json!([]))).await;
    assert_eq!(phone.shown().await.status, Status::Idle);
}

#[tokio::test]
async fn an_answer_over_a_former_connection_subscribes_to_nothing() {
    let mut stage = Stage::with_loaded(&[]).await;
    let learned = Learned::Subscribed(resumed(json!([])));
    stage.bridge.command(Command::Learned { epoch: [0; 16], learned }).await.expect("the bridge lives");
    // Attached means that the actor has come this far.
    stage.phone(2).await;
    stage.tells("thread/started", json!({"thread": {"id": "t"}})).await;
    stage.answers("thread/resume", resumed(json!([]))).await;
}

#[test]
fn an_answer_that_fits_no_envelope_is_refused_in_words() {
    let read = |bytes: usize| answer("thread/read", &json!({"thread": {"id": "t", "preview": "x".repeat(bytes)}}));
    assert!(read(1000).is_ok());
    let failure = read(limits::CODEX_JSON).expect_err("too large");
    assert_eq!(failure.by, FailedBy::Policy);
    assert!(failure.message.contains("ask for less"), "{}", failure.message);
}
