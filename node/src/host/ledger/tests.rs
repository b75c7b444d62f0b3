//! Open matters, one fact a test.

use farhelm_core::codex::approval::{Act, Content};
use farhelm_core::identity::Identity;
use serde_bytes::ByteArray;
use serde_json::json;

use super::*;

fn identity(n: u8) -> Identity {
    Identity::from_seed(&[n; 32])
}

/// The app-server that asks.
const PROCESS: [u8; 16] = [1; 16];

fn approval(request: i64) -> Approval {
    Approval {
        key: Key { epoch: ByteArray::new(PROCESS), request },
        environment: "local".into(),
        thread: "thread".into(),
        turn: "turn".into(),
        item: format!("item{request}"),
        content: Content {
            act: Act::Command { command: "make".into(), folder: "/src".into(), permissions: None },
            reason: None,
            approval_policy: "on-request".into(),
            sandbox: "workspace-write".into(),
            workspace: "/src".into(),
        },
        for_session: false,
        deadline_ms: 1000,
        guard: Default::default(),
    }
}

fn owner() -> Entitlement {
    Entitlement { right: Right::Owner, folders: vec!["/".into()], until_ms: None }
}

/// A device of the host's owner decides.
fn decide(ledger: &mut Ledger, device: u8, signed: &SignedDecision, now_ms: u64) -> Result<Answer, DecisionRefusal> {
    let by =
        By { device: identity(device).node_id(), name: "phone", entitlement: &owner(), folder: Some("/src"), now_ms };
    ledger.decide(by, signed, false)
}

fn question(request: i64) -> Question {
    let params = json!({"threadId": "thread", "turnId": "turn", "itemId": "item", "questions": [
        {"id": "q", "header": "Pick", "question": "Which one?", "options": [{"label": "A", "description": ""}]}]});
    Question::from_request(&params, approval(request).key).unwrap()
}

fn answers(question: &Question) -> Answers {
    Answers::new(question, BTreeMap::from([("q".to_owned(), vec!["A".to_owned()])])).unwrap()
}

fn ledger() -> Ledger {
    let mut ledger = Ledger::new(identity(1).node_id());
    assert!(ledger.open(approval(7), Form::Command));
    ledger
}

fn signed(by: u8, approval: &Approval, decision: Decision) -> SignedDecision {
    SignedDecision::sign(&identity(by), identity(1).node_id(), approval, decision).unwrap()
}

#[test]
fn the_first_valid_decision_wins_and_names_its_device() {
    let mut ledger = ledger();
    let first = identity(2).node_id();
    assert!(decide(&mut ledger, 2, &signed(2, &approval(7), Decision::Accept), 0).is_ok());
    let late = decide(&mut ledger, 3, &signed(3, &approval(7), Decision::Decline), 0);
    assert_eq!(late, Err(DecisionRefusal::Over));
    let resolved = ledger.resolve(approval(7).key).unwrap();
    assert_eq!((resolved.outcome, resolved.by), (Outcome::Accepted, Some(first)));
}

#[test]
fn a_decision_about_other_content_has_no_effect() {
    let mut ledger = ledger();
    let mut other = approval(7);
    other.content.act = Act::Command { command: "make clean".into(), folder: "/src".into(), permissions: None };
    let decision = signed(2, &other, Decision::Accept);
    assert_eq!(decide(&mut ledger, 2, &decision, 0), Err(DecisionRefusal::NotWhatIsShown));
    assert_eq!(ledger.pending(), [approval(7)]);
}

#[test]
fn another_devices_signature_has_no_effect() {
    let decision = signed(2, &approval(7), Decision::Accept);
    assert_eq!(decide(&mut ledger(), 3, &decision, 0), Err(DecisionRefusal::NotWhatIsShown));
}

#[test]
fn a_decision_after_the_deadline_is_late() {
    let mut ledger = ledger();
    let decision = signed(2, &approval(7), Decision::Accept);
    assert_eq!(ledger.expired(1000), []);
    assert_eq!(ledger.expired(1001), [Answer::decline(approval(7).key, Form::Command)]);
    assert_eq!(decide(&mut ledger, 2, &decision, 1001), Err(DecisionRefusal::Late));
}

#[test]
fn a_decision_on_what_is_gone_is_over() {
    let mut ledger = ledger();
    assert_eq!(ledger.resolve(approval(7).key).unwrap().outcome, Outcome::Elsewhere);
    let decision = signed(2, &approval(7), Decision::Accept);
    assert_eq!(decide(&mut ledger, 2, &decision, 0), Err(DecisionRefusal::Over));
    assert_eq!(ledger.resolve(approval(7).key), None);
}

#[test]
fn what_can_not_be_shown_whole_is_declined_only() {
    let mut large = approval(8);
    large.content.act = Act::Withheld { kind: "command".into(), about: "x".into(), why: "too large".into() };
    let mut ledger = ledger();
    ledger.open(large.clone(), Form::Command);
    // A phone that lies about its own check: sign something acceptable under the same key, then claim the digest.
    let mut forged = signed(2, &approval(8), Decision::Accept);
    forged.digest = ByteArray::new(large.digest());
    assert!(decide(&mut ledger, 2, &forged, 0).is_err());
    assert!(decide(&mut ledger, 2, &signed(2, &large, Decision::Decline), 0).is_ok());
}

#[test]
fn an_answer_that_was_not_sent_leaves_it_open() {
    let mut ledger = ledger();
    let decision = signed(2, &approval(7), Decision::Accept);
    decide(&mut ledger, 2, &decision, 0).unwrap();
    assert_eq!(ledger.pending(), []);
    ledger.reopen(approval(7).key);
    assert_eq!(ledger.pending(), [approval(7)]);
}

#[test]
fn a_repeated_request_is_the_same_approval() {
    let mut ledger = ledger();
    assert!(!ledger.open(approval(7), Form::Command));
    assert_eq!(ledger.pending().len(), 1);
}

#[test]
fn a_withheld_approval_is_replaced_once_it_can_be_shown() {
    let mut withheld = approval(7);
    withheld.content.act = Act::Withheld { kind: "fileChange".into(), about: "x".into(), why: "unknown".into() };
    let mut ledger = Ledger::new(identity(1).node_id());
    assert!(ledger.open(withheld.clone(), Form::FileChange));
    assert!(!ledger.open(withheld.clone(), Form::FileChange), "still withheld");
    assert!(ledger.open(approval(7), Form::Command));
    assert!(!ledger.open(withheld, Form::FileChange), "never the other way");
    assert_eq!(ledger.pending(), [approval(7)]);
}

#[test]
fn the_ledger_is_bounded() {
    let mut ledger = Ledger::new(identity(1).node_id());
    let taken = (0..2 * OPEN as i64).filter(|n| ledger.open(approval(*n), Form::Command)).count();
    assert_eq!(taken, OPEN);
}

#[test]
fn every_approval_is_announced_and_no_envelope_is_too_large() {
    let large = |n| {
        let mut approval = approval(n);
        let command = "x".repeat(limits::APPROVAL_CONTENT - 100);
        approval.content.act = Act::Command { command, folder: "/src".into(), permissions: None };
        approval
    };
    let mut ledger = Ledger::new(identity(1).node_id());
    let nothing =
        [Envelope::Approvals(Approvals { open: Vec::new() }), Envelope::Questions(Questions { open: Vec::new() })];
    assert_eq!(ledger.announcement(|_| true), nothing);
    for n in 0..20 {
        assert!(ledger.open(large(n), Form::Command));
    }
    let announced = ledger.announcement(|_| true);
    assert!(announced.iter().all(|envelope| envelope.encode().len() <= limits::ENVELOPE));
    let [Envelope::Approvals(list), Envelope::Questions(_), further @ ..] = &announced[..] else {
        panic!("the list comes first")
    };
    assert_eq!((list.open.len(), further.len()), (7, 13));
    assert!(further.iter().all(|envelope| matches!(envelope, Envelope::Approval(_))));
}

#[test]
fn another_app_server_and_an_ended_turn_leave_nothing_open() {
    let mut first = ledger();
    assert_eq!(first.lose_others(PROCESS), []);
    assert_eq!(first.lose_others([2; 16])[0].outcome, Outcome::Lost);
    let mut second = ledger();
    assert_eq!(second.end_turn("thread", "other"), []);
    assert_eq!(second.end_turn("thread", "turn")[0].outcome, Outcome::Elsewhere);
    assert!(first.pending().is_empty() && second.pending().is_empty());
}

/// What becomes of a decision and of an answer by a device that may this much, on a thread in this folder.
fn tried(entitlement: &Entitlement, folder: Option<&str>, now_ms: u64) -> [Result<(), DecisionRefusal>; 2] {
    let mut ledger = ledger();
    assert!(ledger.ask(question(8)));
    let by = By { device: identity(2).node_id(), name: "", entitlement, folder, now_ms };
    let decided = ledger.decide(by, &signed(2, &approval(7), Decision::Accept), false).map(drop);
    let answered = ledger.answer(by, &answers(&question(8))).map(drop);
    assert_eq!(ledger.pending().is_empty(), decided.is_ok(), "a refused decision leaves it open");
    assert_eq!(ledger.questions().is_empty(), answered.is_ok(), "a refused answer leaves it open");
    [decided, answered]
}

#[test]
fn approvers_decide_operators_also_answer_and_viewers_do_neither() {
    let no = Err(DecisionRefusal::NotAllowed);
    for (right, expected) in [
        (Right::Viewer, [no, no]),
        (Right::Approver, [Ok(()), no]),
        (Right::Operator, [Ok(()), Ok(())]),
        (Right::Owner, [Ok(()), Ok(())]),
    ] {
        assert_eq!(tried(&Entitlement { right, ..owner() }, Some("/src"), 0), expected, "{right}");
    }
}

#[test]
fn a_right_holds_in_its_folders_and_in_its_time() {
    let no = [Err(DecisionRefusal::NotAllowed); 2];
    let yes = [Ok(()); 2];
    let only = Entitlement { folders: vec!["/src".into()], ..owner() };
    assert_eq!(tried(&only, Some("/src/deep"), 0), yes);
    assert_eq!(tried(&only, Some("/srcs"), 0), no);
    assert_eq!(tried(&owner(), None, 0), no, "a thread whose folder isn't known");
    let guest = Entitlement { until_ms: Some(10), ..owner() };
    assert_eq!(tried(&guest, Some("/src"), 9), yes);
    assert_eq!(tried(&guest, Some("/src"), 10), no, "signed before it ended, and still");
    assert_eq!(tried(&Entitlement::default(), Some("/src"), 0), no);
}

#[test]
fn accepting_for_the_session_is_taken_while_the_host_offers_it() {
    let offered = Approval { for_session: true, ..approval(7) };
    let decision = signed(2, &offered, Decision::AcceptForSession);
    let tried = |offers: bool| {
        let mut ledger = Ledger::new(identity(1).node_id());
        ledger.open(offered.clone(), Form::Command);
        let by = By { device: identity(2).node_id(), name: "", entitlement: &owner(), folder: Some("/src"), now_ms: 0 };
        ledger.decide(by, &decision, offers).map(|answer| answer.result().clone())
    };
    assert_eq!(tried(true), Ok(json!({"decision": "acceptForSession"})));
    assert_eq!(tried(false), Err(DecisionRefusal::NotOffered), "the rules changed since it was shown");
}

#[test]
fn the_first_answer_to_a_question_wins() {
    let mut ledger = Ledger::new(identity(1).node_id());
    assert!(ledger.ask(question(8)));
    assert!(!ledger.ask(question(8)), "asked again by a resume");
    let entitlement = owner();
    let by = |device| By { device, name: "", entitlement: &entitlement, folder: Some("/src"), now_ms: 0 };
    let given = ledger.answer(by(identity(2).node_id()), &answers(&question(8)));
    assert_eq!(given, Ok(json!({"answers": {"q": {"answers": ["A"]}}})));
    let late = ledger.answer(by(identity(3).node_id()), &answers(&question(8)));
    assert_eq!(late, Err(DecisionRefusal::Over));
    let over = ledger.resolve(question(8).key).unwrap();
    assert_eq!((over.outcome, over.by), (Outcome::Accepted, Some(identity(2).node_id())));
}

#[test]
fn an_answer_to_another_question_or_in_other_words_has_no_effect() {
    let mut ledger = ledger();
    assert!(ledger.ask(question(8)));
    let by = By { device: identity(2).node_id(), name: "", entitlement: &owner(), folder: Some("/src"), now_ms: 0 };
    let mut invented = answers(&question(8));
    invented.answers.insert("q".into(), vec!["B".into()]);
    assert_eq!(ledger.answer(by, &invented), Err(DecisionRefusal::NotWhatIsShown));
    assert_eq!(ledger.answer(by, &answers(&question(7))), Err(DecisionRefusal::Over), "that is an approval");
    assert_eq!(ledger.answer(by, &answers(&question(9))), Err(DecisionRefusal::Over), "nobody asked that");
    let of_question = Approval { key: question(8).key, ..approval(7) };
    let decision = signed(2, &of_question, Decision::Accept);
    assert_eq!(ledger.decide(by, &decision, false), Err(DecisionRefusal::Over), "that is a question");
    assert_eq!((ledger.pending().len(), ledger.questions().len()), (1, 1));
}

#[test]
fn a_question_ends_with_its_turn_its_app_server_or_elsewhere() {
    let asked = || {
        let mut ledger = Ledger::new(identity(1).node_id());
        ledger.ask(question(8));
        ledger
    };
    assert_eq!(asked().end_turn("thread", "turn")[0].outcome, Outcome::Elsewhere);
    assert_eq!(asked().lose_others([2; 16])[0].outcome, Outcome::Lost);
    assert_eq!(asked().resolve(question(8).key).unwrap().outcome, Outcome::Elsewhere);
    assert_eq!(asked().expired(u64::MAX), []);
}

#[test]
fn only_what_is_shown_is_announced() {
    let mut ledger = ledger();
    ledger.ask(question(8));
    let told = |shown: bool| ledger.announcement(|thread| shown && thread == "thread");
    let [Envelope::Approvals(open), Envelope::Questions(asked)] = &told(true)[..] else { panic!("two lists") };
    assert_eq!((&open.open[..], &asked.open[..]), (&[approval(7)][..], &[question(8)][..]));
    let nothing =
        [Envelope::Approvals(Approvals { open: Vec::new() }), Envelope::Questions(Questions { open: Vec::new() })];
    assert_eq!(told(false), nothing);
}

#[test]
fn what_is_asked_again_after_a_lost_connection_has_waited_all_along() {
    let mut ledger = ledger();
    ledger.ask(question(8));
    ledger.doubt_all();
    assert_eq!((ledger.pending().len(), ledger.questions().len()), (1, 1), "shown meanwhile");
    assert_eq!(ledger.expired(1001), [], "nobody is there to be answered");
    for key in [approval(7).key, question(8).key] {
        assert!(ledger.is_in_doubt(key));
        assert!(ledger.asked_again(key).is_none(), "nobody decided");
        assert!(!ledger.is_in_doubt(key));
    }
    assert!(!ledger.open(approval(7), Form::Command) && !ledger.ask(question(8)), "known already");
    assert_eq!(ledger.waits_for_nothing("thread"), []);
    assert_eq!(ledger.expired(1001).len(), 1);
}

#[test]
fn what_is_not_asked_again_is_over() {
    let mut ledger = ledger();
    ledger.ask(question(8));
    ledger.doubt_all();
    assert_eq!(ledger.waits_for_nothing("other"), []);
    let over = ledger.waits_for_nothing("thread");
    assert_eq!(over.iter().map(|over| over.outcome).collect::<Vec<_>>(), [Outcome::Elsewhere; 2]);
    assert!(ledger.pending().is_empty() && ledger.questions().is_empty());
}

#[test]
fn what_may_still_be_asked_again_is_over_at_the_second_look() {
    let mut ledger = ledger();
    assert_eq!((ledger.look_again(|_| false), ledger.look_again(|_| false)), (vec![], vec![]), "in no doubt");
    ledger.doubt_all();
    assert_eq!((ledger.look_again(|_| true), ledger.look_again(|_| true)), (vec![], vec![]), "its resume is under way");
    assert_eq!(ledger.look_again(|_| false), []);
    assert_eq!(ledger.look_again(|_| false)[0].outcome, Outcome::Elsewhere);
}

#[test]
fn an_answer_that_was_never_heard_is_given_again() {
    let (mut ledger, device) = (ledger(), identity(2).node_id());
    let decision = signed(2, &approval(7), Decision::Accept);
    decide(&mut ledger, 2, &decision, 0).unwrap();
    assert!(ledger.asked_again(approval(7).key).is_none(), "over the same connection the answer is on its way");
    ledger.doubt(approval(7).key);
    assert_eq!(ledger.pending(), [], "it stands");
    let Some((by, Said::Decision(again))) = ledger.asked_again(approval(7).key) else { panic!("not given again") };
    assert_eq!((by, again.key), (device, decision.key));
    assert_eq!(ledger.pending(), [approval(7)], "open until somebody may still say so");
    assert!(decide(&mut ledger, 2, &again, 0).is_ok());
    assert_eq!(ledger.resolve(approval(7).key).unwrap().by, Some(device));
}

#[test]
fn an_answer_that_was_heard_before_the_connection_ended_counts() {
    let mut ledger = ledger();
    decide(&mut ledger, 2, &signed(2, &approval(7), Decision::Decline), 0).unwrap();
    ledger.doubt_all();
    let over = ledger.waits_for_nothing("thread");
    assert_eq!((over[0].outcome, over[0].by), (Outcome::Declined, Some(identity(2).node_id())));
}

fn guarded(guard: Guard) -> Ledger {
    let mut ledger = Ledger::new(identity(1).node_id());
    assert!(ledger.open(Approval { guard, ..approval(7) }, Form::Command));
    ledger
}

fn two_person() -> Guard {
    Guard { two_person: true, ..Guard::default() }
}

#[test]
fn what_is_denied_is_not_accepted_whoever_signs_it_and_can_be_declined() {
    let mut ledger = guarded(Guard { denied: Some("make".into()), ..Guard::default() });
    // As of a phone that was shown nothing of it, or doesn't care.
    let accept = signed(2, &approval(7), Decision::Accept);
    assert_eq!(decide(&mut ledger, 2, &accept, 0), Err(DecisionRefusal::Denied));
    assert_eq!(ledger.pending().len(), 1);
    assert!(decide(&mut ledger, 2, &signed(2, &approval(7), Decision::Decline), 0).is_ok());
}

#[test]
fn two_devices_have_to_accept_where_two_people_are_asked_for() {
    let mut ledger = guarded(two_person());
    let by = |device| signed(device, &approval(7), Decision::Accept);
    assert_eq!(decide(&mut ledger, 2, &by(2), 0), Err(DecisionRefusal::SecondNeeded));
    let first = ledger.pending()[0].guard.first.clone().unwrap();
    assert_eq!((first.device, first.name.as_str()), (identity(2).node_id(), "phone"));
    assert_eq!(decide(&mut ledger, 2, &by(2), 0), Err(DecisionRefusal::SecondNeeded), "the same device twice is one");
    assert_eq!(decide(&mut ledger, 3, &by(2), 0), Err(DecisionRefusal::NotWhatIsShown), "so is its signature");
    assert!(decide(&mut ledger, 3, &by(3), 0).is_ok());
    let over = ledger.resolve(approval(7).key).unwrap();
    assert_eq!((over.outcome, over.by), (Outcome::Accepted, Some(identity(3).node_id())));
}

#[test]
fn anyone_declines_what_waits_for_its_second_and_so_does_the_deadline() {
    let accept = signed(2, &approval(7), Decision::Accept);
    for decliner in [2, 3] {
        let mut ledger = guarded(two_person());
        assert!(decide(&mut ledger, 2, &accept, 0).is_err());
        assert!(decide(&mut ledger, decliner, &signed(decliner, &approval(7), Decision::Decline), 0).is_ok());
    }
    let mut ledger = guarded(two_person());
    assert!(decide(&mut ledger, 2, &accept, 0).is_err());
    assert_eq!(ledger.expired(1001).len(), 1);
    let late = decide(&mut ledger, 3, &signed(3, &approval(7), Decision::Accept), 1001);
    assert_eq!(late, Err(DecisionRefusal::Late));
}

#[test]
fn an_answer_of_two_people_that_never_arrived_is_given_again() {
    let mut ledger = guarded(two_person());
    for device in [2, 3] {
        let _ = decide(&mut ledger, device, &signed(device, &approval(7), Decision::Accept), 0);
    }
    ledger.doubt_all();
    let Some((by, Said::Decision(said))) = ledger.asked_again(approval(7).key) else { panic!("it was decided") };
    assert_eq!(by, identity(3).node_id());
    assert!(decide(&mut ledger, 3, &said, 0).is_ok());
}

#[test]
fn a_first_accept_that_does_not_hold_any_more_leaves_two_to_be_waited_for() {
    let mut ledger = guarded(two_person());
    assert!(decide(&mut ledger, 2, &signed(2, &approval(7), Decision::Accept), 0).is_err());
    ledger.forget_first(approval(7).key);
    let next = decide(&mut ledger, 3, &signed(3, &approval(7), Decision::Accept), 0);
    assert_eq!(next, Err(DecisionRefusal::SecondNeeded));
}

#[test]
fn a_policy_that_changed_counts_for_what_is_open() {
    let mut ledger = ledger();
    let accept = signed(2, &approval(7), Decision::Accept);
    assert_eq!(ledger.guard_anew(|_| two_person()).len(), 1);
    assert_eq!(decide(&mut ledger, 2, &accept, 0), Err(DecisionRefusal::SecondNeeded));
    assert!(ledger.guard_anew(|_| two_person()).is_empty(), "nothing changed, and the first still counts");
    assert!(ledger.pending()[0].guard.first.is_some());
    let both = || Guard { step_up: true, ..two_person() };
    assert_eq!(ledger.guard_anew(|_| both())[0].guard.first, None, "given under other conditions");
    assert_eq!(decide(&mut ledger, 2, &accept, 0), Err(DecisionRefusal::StepUpNeeded));
    assert_eq!(ledger.guard_anew(|_| Guard::default()).len(), 1);
    assert!(decide(&mut ledger, 2, &accept, 0).is_ok());
}
