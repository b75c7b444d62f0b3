//! Screens as a person sees them, and what keys may and may not do.

use farhelm_core::codex::approval::{Act, Approval, Change, Content, Guard, Key as Name};
use farhelm_core::codex::decision::Decision;
use farhelm_core::codex::question::Question;
use farhelm_core::codex::thread::{Item, ItemKind, Progress, Status, Summary, Thread, Turn, TurnStatus};
use farhelm_core::identity::Identity;
use farhelm_phone::view::sanitize;
use farhelm_phone::{Connection, NodeId};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_bytes::ByteArray;
use serde_json::json;
use zeroize::Zeroizing;

use super::draw::draw;
use super::paint::Palette;
use super::state::{Effect, Event, Page, State};

/// What an enemy writes everywhere.
const EVIL: &str = "\u{1b}[2J\u{202e}gpj\u{200b}";

fn desk() -> NodeId {
    Identity::from_seed(&[1; 32]).node_id()
}

fn approval(act: Act) -> Approval {
    let content = Content {
        act,
        reason: Some(format!("the tests need it {EVIL}")),
        approval_policy: "on-request".into(),
        sandbox: "workspace-write".into(),
        workspace: "/home/ann/shop".into(),
    };
    let key = Name { epoch: ByteArray::new([0; 16]), request: 3 };
    let (environment, thread, turn, item) = ("local".into(), "t1".into(), "u".into(), "i".into());
    let (for_session, deadline_ms, guard) = (false, 0, Guard::default());
    Approval { key, environment, thread, turn, item, content, for_session, deadline_ms, guard }
}

fn files() -> Approval {
    let diff = "@@ -1,3 +1,3 @@\n fn total(items: &[Item]) -> u64 {\n-    items.iter().map(|item| item.price).sum()\n+    items.iter().map(|item| item.price * item.count).sum()\n }\n";
    let path = format!("/home/ann/shop/src/cart{EVIL}.rs");
    let change = Change { path, kind: "update".into(), moved_to: None, diff: diff.into() };
    approval(Act::Files { changes: vec![change], grant_root: None })
}

fn command(text: &str) -> Approval {
    approval(Act::Command { command: text.into(), folder: "/home/ann/shop".into(), permissions: None })
}

fn summary(id: &str, preview: &str, status: Status) -> Summary {
    let (name, folder, preview) = (None, "/home/ann/shop".into(), preview.into());
    Summary { id: id.into(), name, preview, folder, model: None, status, updated_at: 1 }
}

fn thread() -> Thread {
    let item = |id: &str, kind| Item { id: id.into(), open: false, truncated: false, images: 0, kind };
    let output =
        "test cart::counts ... FAILED\ntest result: FAILED. 11 passed; 1 failed;\n".to_owned() + &"x\n".repeat(9);
    let items = vec![
        item(
            "1",
            ItemKind::UserMessage { text: format!("fix the failing test {EVIL}"), client_id: None, attachments: 0 },
        ),
        item("2", ItemKind::Reasoning { summary: vec!["**Looking at the cart**".into(), "It ignores counts.".into()] }),
        item(
            "3",
            ItemKind::Command {
                command: "cargo test".into(),
                folder: "/home/ann/shop".into(),
                output,
                exit_code: Some(101),
                status: Progress::Failed,
                duration_ms: Some(2_300),
                by_person: false,
            },
        ),
        item(
            "4",
            ItemKind::AgentMessage { text: format!("`total` **ignores** the count:\n\n- it adds prices only {EVIL}") },
        ),
    ];
    let mut thread = Thread::new("t1");
    (thread.preview, thread.folder) = ("fix the failing test".into(), "/home/ann/shop".into());
    thread.status = Status::Active { waiting_on_approval: true, waiting_on_input: false };
    thread.turns = vec![Turn { id: "u".into(), status: TurnStatus::InProgress, items, ..Turn::default() }];
    thread
}

/// A phone with a host and three threads, of this size.
fn phone(columns: u16, rows: u16, open: Vec<Approval>) -> State {
    let mut state = State::new((columns, rows), Palette::Dark);
    let active = Status::Active { waiting_on_approval: true, waiting_on_input: false };
    let threads = vec![
        summary("t1", "fix the failing test", active),
        summary("t2", &format!("tidy up {EVIL}"), Status::Idle),
        summary("t3", "bump the dependencies", Status::SystemError),
    ];
    for event in [
        Event::Host(desk(), format!("desk{EVIL}")),
        Event::Connection(desk(), Connection::Connecting),
        Event::Threads(desk(), threads),
        Event::Approvals(desk(), open),
    ] {
        state.update(event);
    }
    state
}

fn shown(state: &mut State) -> String {
    let (columns, rows) = state.size;
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).expect("a terminal");
    terminal.draw(|frame| draw(state, frame)).expect("a frame");
    let buffer = terminal.backend().buffer().clone();
    let rows = buffer.content.chunks(columns.into());
    rows.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned() + "\n").collect()
}

fn press(state: &mut State, keys: &str) -> Vec<Effect> {
    let mut effects = Vec::new();
    for c in keys.chars() {
        let code = match c {
            '\n' => KeyCode::Enter,
            '\u{1b}' => KeyCode::Esc,
            '\t' => KeyCode::Tab,
            c => KeyCode::Char(c),
        };
        effects.extend(state.update(Event::Key(KeyEvent::new(code, KeyModifiers::NONE))));
    }
    effects
}

fn decisions(effects: &[Effect]) -> Vec<(Decision, Option<String>)> {
    let decided = effects.iter().filter_map(|effect| match effect {
        Effect::Decide(_, decided) => Some((decided.decision, decided.instruction.clone())),
        _ => None,
    });
    decided.collect()
}

fn opened(columns: u16, rows: u16) -> State {
    let mut state = phone(columns, rows, Vec::new());
    state.open(desk(), "t1");
    state.show(&thread());
    state
}

/// Each screen in each size, one below the other.
fn gallery(columns: u16, rows: u16) -> String {
    let mut inbox = phone(columns, rows, vec![files()]);
    let mut help = phone(columns, rows, Vec::new());
    press(&mut help, "?");
    let mut deciding = phone(columns, rows, vec![files()]);
    press(&mut deciding, "d  a");
    let mut writing = opened(columns, rows);
    press(&mut writing, "/re");
    let mut pairing = phone(columns, rows, Vec::new());
    pairing.update(Event::Words(format!("desk{EVIL}"), ["abandon", "ability", "able", "about"]));
    let screens = [&mut inbox, &mut opened(columns, rows), &mut deciding, &mut writing, &mut pairing, &mut help];
    screens.into_iter().map(|state| shown(state) + &"═".repeat(columns.into()) + "\n").collect()
}

#[test]
fn every_screen_of_40_columns() {
    insta::assert_snapshot!(gallery(40, 24));
}

#[test]
fn every_screen_of_80_columns() {
    insta::assert_snapshot!(gallery(80, 24));
}

#[test]
fn every_screen_of_160_columns() {
    insta::assert_snapshot!(gallery(160, 30));
}

#[test]
fn nothing_hidden_reaches_a_screen_and_the_smallest_one_still_works() {
    for (columns, rows) in [(40, 24), (80, 24), (160, 30), (20, 5), (10, 3), (1, 1)] {
        let drawn = gallery(columns, rows);
        assert!(!drawn.chars().any(|c| c != '\n' && sanitize::is_hidden(c)), "{columns}x{rows}:\n{drawn}");
    }
}

#[test]
fn no_single_key_accepts_and_none_does_twice() {
    for c in (' '..='~').chain(['\n', '\t']) {
        let mut state = phone(80, 40, vec![command("ls")]);
        let key = c.to_string();
        press(&mut state, "d");
        for keys in [key.clone(), key.clone(), key] {
            assert!(!decisions(&press(&mut state, &keys)).iter().any(|(decision, _)| decision.accepts()), "{c:?}");
        }
    }
}

#[test]
fn an_approval_is_accepted_by_a_word_once_it_was_read() {
    let mut state = phone(80, 40, vec![command("ls")]);
    assert_eq!(decisions(&press(&mut state, "dayes\n")), [(Decision::Accept, None)]);
    let mut pasted = phone(80, 40, vec![command("ls")]);
    press(&mut pasted, "da");
    pasted.update(Event::Paste(Zeroizing::new("yes".into())));
    assert!(decisions(&press(&mut pasted, "\n")).is_empty(), "what is pasted was not typed");
}

#[test]
fn what_was_not_shown_to_its_end_is_not_accepted() {
    let long: String = (0..200).map(|line| format!("echo {line}\n")).collect();
    let mut state = phone(80, 24, vec![command(&long)]);
    assert!(decisions(&press(&mut state, "dayes\n")).is_empty());
    assert!(decisions(&press(&mut state, &" ".repeat(20))).is_empty());
    assert_eq!(decisions(&press(&mut state, "ayes\n")), [(Decision::Accept, None)]);
    // Another width has other lines: it begins anew.
    let mut turned = phone(80, 24, vec![command(&long)]);
    press(&mut turned, &format!("d{}a", " ".repeat(20)));
    turned.update(Event::Resize(40, 12));
    assert!(decisions(&press(&mut turned, "yes\nayes\n")).is_empty());
}

#[test]
fn a_screen_too_small_to_show_it_accepts_nothing() {
    for (columns, rows) in [(19, 24), (80, 4), (1, 1)] {
        let mut state = phone(columns, rows, vec![command("ls")]);
        assert!(decisions(&press(&mut state, &format!("d{}ayes\n", " ".repeat(99)))).is_empty(), "{columns}x{rows}");
    }
    let mut state = phone(20, 5, vec![command("ls")]);
    assert_eq!(decisions(&press(&mut state, &format!("d{}ayes\n", " ".repeat(99)))), [(Decision::Accept, None)]);
}

#[test]
fn what_is_withheld_or_changed_is_not_accepted() {
    let why = "it was cut.".into();
    let mut state = phone(80, 40, vec![approval(Act::Withheld { kind: "writeStdin".into(), about: "x".into(), why })]);
    assert!(decisions(&press(&mut state, "dayes\n")).is_empty());
    let mut changed = phone(80, 40, vec![command("ls")]);
    press(&mut changed, "daye");
    changed.update(Event::Approvals(desk(), vec![command("rm -rf ~")]));
    assert!(decisions(&press(&mut changed, "s\n")).is_empty());
    assert!(shown(&mut changed).contains("rm -rf ~"));
    changed.update(Event::Approvals(desk(), Vec::new()));
    assert!(matches!(changed.page, Page::Inbox));
}

#[test]
fn declining_takes_two_keys_and_words_go_with_it() {
    let mut state = phone(80, 40, vec![command("ls")]);
    assert_eq!(decisions(&press(&mut state, "dnn")), [(Decision::Decline, None)]);
    let mut state = phone(80, 40, vec![command("ls")]);
    assert_eq!(decisions(&press(&mut state, "dnx")), [(Decision::Cancel, None)]);
    let mut state = phone(80, 40, vec![command("ls")]);
    assert_eq!(decisions(&press(&mut state, "dwuse cat\n")), [(Decision::Decline, Some("use cat".into()))]);
}

#[test]
fn a_step_up_wants_the_digits_of_what_is_shown() {
    let mut asked = command("ls");
    asked.guard.step_up = true;
    let digest = crate::cli::phone::report::digest(&asked);
    let mut state = phone(80, 40, vec![asked]);
    assert!(decisions(&press(&mut state, "dayes\n")).is_empty());
    press(&mut state, "\u{1b}a");
    let effects = press(&mut state, &format!("{}\n", &digest[..8]));
    let [Effect::Decide(_, decided)] = &effects[..] else { panic!("{effects:?}") };
    assert!(decided.stepped_up && decided.decision == Decision::Accept);
}

#[test]
fn a_message_starts_steers_or_continues() {
    let mut state = phone(80, 24, Vec::new());
    assert_eq!(press(&mut state, "ihello\n"), [Effect::Start(desk(), "hello".into())]);
    let mut state = opened(80, 24);
    let steered = Effect::Steer(desk(), "t1".into(), "u".into(), "use cat".into());
    assert_eq!(press(&mut state, "\nuse cat\n"), [steered]);
    let mut over = thread();
    over.turns[0].status = TurnStatus::Completed;
    state.show(&over);
    assert_eq!(press(&mut state, "\nmore\n"), [Effect::Send(desk(), "t1".into(), "more".into())]);
    let named = Effect::Command(desk(), "t1".into(), "/model", "gpt-5.4".into());
    assert_eq!(press(&mut state, "/mo\tgpt-5.4\n"), [named]);
    assert!(press(&mut state, "/modle x\n").is_empty() && state.typing, "a mistake stays to be mended");
}

#[test]
fn a_question_is_answered_in_place() {
    let params = json!({"threadId": "t1", "turnId": "u", "itemId": "i", "questions": [
        {"id": "tests", "header": "Tests", "question": format!("Which{EVIL}?"), "isOther": false, "options": [
            {"label": "All", "description": "takes a minute"}, {"label": "None", "description": ""}]},
        {"id": "why", "header": "", "question": "Why?", "options": null}]});
    let key = Name { epoch: ByteArray::new([0; 16]), request: 9 };
    let question = Question::from_request(&params, key).expect("a question");
    let mut state = phone(60, 20, Vec::new());
    assert!(matches!(&state.update(Event::Questions(desk(), vec![question]))[..], [Effect::Bell(_)]));
    press(&mut state, "d");
    insta::assert_snapshot!(shown(&mut state));
    assert!(press(&mut state, "7\n").is_empty(), "no such option");
    press(&mut state, "\u{1b}d1\n");
    let effects = press(&mut state, "because\n");
    let [Effect::Answer(_, _, given)] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!((given["tests"].clone(), given["why"].clone()), (vec!["All".into()], vec!["because".into()]));
}

#[test]
fn the_bell_rings_once_for_each_approval() {
    let mut state = phone(80, 24, Vec::new());
    assert_eq!(state.update(Event::Approvals(desk(), vec![command("ls")])), [Effect::Bell("$ ls".into())]);
    assert!(state.update(Event::Approvals(desk(), vec![command("ls")])).is_empty());
}

#[test]
fn a_ticket_is_never_drawn() {
    let mut state = phone(80, 24, Vec::new());
    press(&mut state, "p");
    state.update(Event::Paste(Zeroizing::new("FARHELM1:SECRET\n".into())));
    let drawn = shown(&mut state);
    assert!(drawn.contains("15 characters so far") && !drawn.contains("SECRET"), "{drawn}");
    assert_eq!(press(&mut state, "\n"), [Effect::Pair(Zeroizing::new("FARHELM1:SECRET".into()))]);
}

#[test]
fn a_long_thread_wraps_only_what_changed() {
    let mut state = opened(80, 24);
    let first = shown(&mut state);
    assert_eq!(shown(&mut state), first);
    press(&mut state, "o");
    assert_ne!(shown(&mut state), first, "unfolded");
}
