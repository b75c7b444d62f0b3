//! A person's decision: the signature of `node/PROTOCOL.md` §6 over everything that was shown.
//!
//! ```text
//!  phone: Approval on the screen ─ sign ─► SignedDecision ──wire──► host: verify against its own ledger entry
//!                                                                        └─► VerifiedDecision ─ Answer ─► Codex
//! ```
//!
//! # Why the host rebuilds the statement
//! The wire form carries no content. The host signs nothing new and trusts nothing sent: it hashes what it showed,
//! and the signature holds only if the phone hashed the same. A [`VerifiedDecision`] can't be made any other way, and
//! it is what an answer to Codex is made from.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
use serde_json::{Value, json};
use subtle::ConstantTimeEq;

use super::approval::{Act, Approval, Form, Key, Outcome};
use crate::identity::{Identity, Label, NodeId, Signature};
use crate::session::transcript::Transcript;

/// What a person may decide from a phone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Decision {
    /// Do it, this once.
    Accept,
    /// Do it, and don't ask for the like of it again in this session; only where the host offers it.
    AcceptForSession,
    /// Don't; the turn goes on.
    Decline,
    /// Don't, and end the turn.
    Cancel,
}

impl Decision {
    /// The word Codex knows it by, which is also what is signed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::AcceptForSession => "acceptForSession",
            Self::Decline => "decline",
            Self::Cancel => "cancel",
        }
    }

    /// Whether something is done by it.
    pub const fn accepts(self) -> bool {
        matches!(self, Self::Accept | Self::AcceptForSession)
    }

    /// How an approval ends by it.
    pub const fn outcome(self) -> Outcome {
        match self {
            Self::Accept | Self::AcceptForSession => Outcome::Accepted,
            Self::Decline => Outcome::Declined,
            Self::Cancel => Outcome::Cancelled,
        }
    }
}

/// Why a decision isn't taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It names another approval than the one it is held against.
    #[error("the decision is about another approval; reload and look again")]
    OtherApproval,
    /// The digest isn't that of what this host shows.
    #[error("the decision is about other content than is shown now; reload and look again")]
    OtherContent,
    /// The signature isn't this device's over this host's statement.
    #[error("the decision is not signed by this device for this host; pair again if this happens twice")]
    Signature,
    /// It can't be shown whole, so it can't be accepted from a phone.
    #[error("this can't be shown whole, so it can't be accepted from here; decline it, or decide at the desk")]
    NotAcceptable,
    /// The host doesn't take this one for a session.
    #[error("the host does not offer to accept this for the whole session; accept it this once")]
    NotOffered,
    /// The host's policy never takes an accept for it from a phone.
    #[error("the host's policy denies this, so it can't be accepted from here; decline it, or decide at the desk")]
    Denied,
    /// The phone has to make sure of its owner first.
    #[error("the host wants you to confirm again that it is you who accepts this; do so and accept it again")]
    StepUpNeeded,
}

impl Error {
    /// Why this decision can't be made on this approval so; `Ok` if it can.
    fn unless_allowed(approval: &Approval, decision: Decision, step_up: bool) -> Result<(), Self> {
        match approval.allows(decision) {
            true if approval.guard.step_up && decision.accepts() && !step_up => Err(Self::StepUpNeeded),
            true => Ok(()),
            false if !approval.acceptable() => Err(Self::NotAcceptable),
            false if approval.guard.denied.is_some() => Err(Self::Denied),
            false => Err(Self::NotOffered),
        }
    }
}

/// What is signed: a hash over host, approval, content digest, decision and deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statement([u8; 32]);

impl Statement {
    /// Fields in the order of `node/PROTOCOL.md` §6, through [`Transcript`].
    pub fn new(host: NodeId, approval: &Approval, decision: Decision) -> Self {
        Self::under("farhelm/1 statement", host, approval, decision)
    }

    /// The same, and that the phone made sure of its owner again before it signed: a domain of its own, so neither can
    /// be taken for the other.
    pub fn stepped_up(host: NodeId, approval: &Approval, decision: Decision) -> Self {
        Self::under("farhelm/1 statement stepped up", host, approval, decision)
    }

    fn under(domain: &'static str, host: NodeId, approval: &Approval, decision: Decision) -> Self {
        // The guard isn't signed, and why not is said there.
        let Approval { key, environment, thread, turn, item, content, for_session, deadline_ms, guard: _ } = approval;
        let hash = Transcript::new(domain)
            .bytes(host.as_bytes())
            .text(environment)
            .text(thread)
            .text(turn)
            .text(item)
            .bytes(&*key.epoch)
            .bytes(&key.request.to_be_bytes())
            .bytes(&content.digest())
            .text(decision.as_str())
            .number(u64::from(*for_session))
            .number(*deadline_ms)
            .finish();
        Self(hash)
    }

    /// The 32 bytes that follow the label in the signature.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A decision as it travels. There is no unsigned form.
///
/// It names the approval and the digest; the host rebuilds the signed statement from its own ledger, so nothing a
/// phone sends can widen what is approved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedDecision {
    /// The approval.
    pub key: Key,
    /// What the person chose.
    pub decision: Decision,
    /// Digest of the content that was on the screen.
    pub digest: ByteArray<32>,
    /// Over label `farhelm/1 decision` and the statement.
    pub signature: Signature,
    /// Whether the phone made sure of its owner again, and signed that.
    #[serde(default, skip_serializing_if = "is_not", rename = "stepUp")]
    pub step_up: bool,
}

/// Left out where it isn't so: a host that doesn't know it only ever gets what it knows.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_not(flag: &bool) -> bool {
    !*flag
}

impl SignedDecision {
    /// Signs a person's decision on what was on the screen. What [`Approval::allows`] doesn't is refused.
    pub fn sign(identity: &Identity, host: NodeId, approval: &Approval, decision: Decision) -> Result<Self, Error> {
        Error::unless_allowed(approval, decision, false)?;
        Ok(Self::signed(identity, host, approval, decision, false))
    }

    /// The same, where the phone has made sure of its owner again for this decision.
    pub fn sign_stepped_up(
        identity: &Identity,
        host: NodeId,
        approval: &Approval,
        decision: Decision,
    ) -> Result<Self, Error> {
        Error::unless_allowed(approval, decision, true)?;
        Ok(Self::signed(identity, host, approval, decision, true))
    }

    fn signed(identity: &Identity, host: NodeId, approval: &Approval, decision: Decision, step_up: bool) -> Self {
        let digest = ByteArray::new(approval.digest());
        let mut signed =
            Self { key: approval.key, decision, digest, signature: Signature::from_bytes([0; 64]), step_up };
        signed.signature = identity.sign(Label::Decision, signed.statement(host, approval).as_bytes());
        signed
    }

    fn statement(&self, host: NodeId, approval: &Approval) -> Statement {
        match self.step_up {
            true => Statement::stepped_up(host, approval, self.decision),
            false => Statement::new(host, approval, self.decision),
        }
    }

    /// Holds the decision of `device` against the host's own ledger entry. Deadline, rights and "first one wins" are
    /// the ledger's to check.
    pub fn verify(&self, device: NodeId, host: NodeId, approval: &Approval) -> Result<VerifiedDecision, Error> {
        if self.key != approval.key {
            return Err(Error::OtherApproval);
        }
        if !bool::from(self.digest.ct_eq(&approval.digest())) {
            return Err(Error::OtherContent);
        }
        let statement = self.statement(host, approval);
        device.verify(Label::Decision, statement.as_bytes(), &self.signature).map_err(|_| Error::Signature)?;
        Error::unless_allowed(approval, self.decision, self.step_up)?;
        let permissions = match &approval.content.act {
            Act::Permissions { permissions, .. } => Some(permissions.clone()),
            _ => None,
        };
        let (thread, turn) = (approval.thread.clone(), approval.turn.clone());
        Ok(VerifiedDecision { key: self.key, decision: self.decision, device, thread, turn, permissions })
    }
}

/// Proof that a device's signature over this host's own ledger entry was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedDecision {
    key: Key,
    decision: Decision,
    device: NodeId,
    /// Of the ledger's entry, as is all that an answer is made from.
    thread: String,
    turn: String,
    permissions: Option<String>,
}

impl VerifiedDecision {
    /// The approval.
    pub const fn key(&self) -> Key {
        self.key
    }

    /// What the person chose.
    pub const fn decision(&self) -> Decision {
        self.decision
    }

    /// The device it came from.
    pub const fn device(&self) -> NodeId {
        self.device
    }

    /// What answers Codex, in the form it waits for.
    pub fn answer(self, form: Form) -> Answer {
        let Self { key, decision, device: _, thread, turn, permissions } = self;
        let result = match form {
            Form::Command | Form::FileChange => json!({ "decision": decision.as_str() }),
            Form::Permissions => granted(permissions.filter(|_| decision == Decision::Accept).as_deref()),
            Form::Elicitation if decision == Decision::Cancel => json!({ "action": "cancel" }),
            Form::Elicitation => json!({ "action": "decline" }),
        };
        // Only the first two forms have a word that ends the turn.
        let by_itself = matches!(form, Form::Command | Form::FileChange);
        let ends = (decision == Decision::Cancel && !by_itself && !turn.is_empty()).then_some((thread, turn));
        Answer { key, result, ends }
    }
}

/// Permissions for the rest of the turn: exactly those of the text, or none.
fn granted(permissions: Option<&str>) -> Value {
    let given = permissions.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_else(|| json!({}));
    json!({ "permissions": given, "scope": "turn" })
}

/// What Codex is answered. It comes from a [`VerifiedDecision`], or declines.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    key: Key,
    result: Value,
    ends: Option<(String, String)>,
}

impl Answer {
    /// Declines a request that nobody decided in time. Declining needs no proof.
    pub fn decline(key: Key, form: Form) -> Self {
        let result = match form {
            Form::Command | Form::FileChange => json!({ "decision": Decision::Decline.as_str() }),
            Form::Permissions => granted(None),
            Form::Elicitation => json!({ "action": "decline" }),
        };
        Self { key, result, ends: None }
    }

    /// The approval.
    pub const fn key(&self) -> Key {
        self.key
    }

    /// The result of the app-server's request.
    pub const fn result(&self) -> &Value {
        &self.result
    }

    /// The thread and the turn that have to be interrupted as well, where the result can't say so.
    pub const fn ends(&self) -> Option<&(String, String)> {
        self.ends.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;
    use crate::codex::approval::{Content, Guard};
    use crate::codex::message::{self, Id};
    use crate::wire::{cbor, envelope::Envelope};

    /// Made by a second implementation, in another language.
    const VECTORS: &str = include_str!("../../../../tests/vectors/decision.json");

    fn host() -> NodeId {
        Identity::from_seed(&[0x5a; 32]).node_id()
    }

    fn phone() -> Identity {
        Identity::from_seed(&[7; 32])
    }

    fn approval() -> Approval {
        Approval {
            key: Key { epoch: ByteArray::new([1; 16]), request: 3 },
            environment: "local".into(),
            thread: "thread".into(),
            turn: "turn".into(),
            item: "item".into(),
            content: Content {
                act: Act::Command { command: "ls".into(), folder: "/".into(), permissions: None },
                reason: None,
                approval_policy: "on-request".into(),
                sandbox: "workspace-write".into(),
                workspace: "/".into(),
            },
            for_session: false,
            deadline_ms: 99,
            guard: Guard::default(),
        }
    }

    fn guarded(guard: Guard) -> Approval {
        Approval { guard, ..offered() }
    }

    #[test]
    fn what_the_hosts_policy_denies_is_neither_signed_nor_taken_as_accepted() {
        let denied = guarded(Guard { denied: Some("ls".into()), ..Guard::default() });
        for decision in [Decision::Accept, Decision::AcceptForSession] {
            assert_eq!(SignedDecision::sign(&phone(), host(), &denied, decision), Err(Error::Denied));
            assert_eq!(SignedDecision::sign_stepped_up(&phone(), host(), &denied, decision), Err(Error::Denied));
            let forced = forced(&denied, decision).verify(phone().node_id(), host(), &denied);
            assert_eq!(forced, Err(Error::Denied), "a valid signature doesn't help");
        }
        let decline = SignedDecision::sign(&phone(), host(), &denied, Decision::Decline).expect("may be declined");
        assert!(decline.verify(phone().node_id(), host(), &denied).is_ok());
    }

    #[test]
    fn an_accept_without_the_step_up_that_is_asked_for_is_refused() {
        let asked = guarded(Guard { step_up: true, ..Guard::default() });
        assert_eq!(SignedDecision::sign(&phone(), host(), &asked, Decision::Accept), Err(Error::StepUpNeeded));
        let plain = forced(&asked, Decision::Accept);
        assert_eq!(plain.verify(phone().node_id(), host(), &asked), Err(Error::StepUpNeeded));
        let claimed = SignedDecision { step_up: true, ..plain };
        let error = claimed.verify(phone().node_id(), host(), &asked);
        assert_eq!(error, Err(Error::Signature), "saying so afterwards isn't signing it");
        let stepped = SignedDecision::sign_stepped_up(&phone(), host(), &asked, Decision::Accept).expect("stepped up");
        assert!(stepped.verify(phone().node_id(), host(), &asked).is_ok());
        let lowered = SignedDecision { step_up: false, ..stepped };
        assert_eq!(lowered.verify(phone().node_id(), host(), &approval()), Err(Error::Signature));
        assert!(SignedDecision::sign(&phone(), host(), &asked, Decision::Decline).is_ok(), "declining takes none");
    }

    #[test]
    fn under_a_guard_nothing_is_accepted_for_the_session() {
        for guard in [Guard { step_up: true, ..Guard::default() }, Guard { two_person: true, ..Guard::default() }] {
            let error = SignedDecision::sign_stepped_up(&phone(), host(), &guarded(guard), Decision::AcceptForSession);
            assert_eq!(error, Err(Error::NotOffered));
        }
    }

    #[test]
    fn the_wire_says_step_up_only_where_it_is() {
        let plain = cbor::to_vec(&signed(Decision::Accept));
        let stepped =
            SignedDecision::sign_stepped_up(&phone(), host(), &approval(), Decision::Accept).expect("allowed");
        let stepped_up = cbor::to_vec(&stepped);
        assert!(!plain.windows(6).any(|w| w == b"stepUp") && stepped_up.windows(6).any(|w| w == b"stepUp"));
        assert_eq!(cbor::from_slice::<SignedDecision>(&stepped_up, 1024), Ok(stepped));
    }

    fn withheld() -> Approval {
        let mut approval = approval();
        approval.content.act = Act::Withheld { kind: "command".into(), about: "ls".into(), why: "no".into() };
        approval
    }

    fn signed(decision: Decision) -> SignedDecision {
        SignedDecision::sign(&phone(), host(), &approval(), decision).expect("acceptable")
    }

    /// The message that carries an answer.
    fn text(answer: &Answer) -> String {
        message::response(&Id::Number(answer.key().request), answer.result())
    }

    #[test]
    fn a_decision_on_what_was_shown_answers_codex() {
        for decision in [Decision::Accept, Decision::Decline, Decision::Cancel] {
            let verified = signed(decision).verify(phone().node_id(), host(), &approval()).expect("verifies");
            assert_eq!((verified.key(), verified.decision()), (approval().key, decision));
            assert_eq!(verified.device(), phone().node_id());
            assert_eq!(
                text(&verified.answer(Form::Command)),
                format!(r#"{{"id":3,"result":{{"decision":"{}"}}}}"#, decision.as_str())
            );
        }
        let nobody = Answer::decline(approval().key, Form::FileChange);
        assert_eq!(text(&nobody), r#"{"id":3,"result":{"decision":"decline"}}"#);
    }

    #[test]
    fn a_decision_holds_for_one_approval_only() {
        let mut other = approval();
        other.key.request = 4;
        let error = signed(Decision::Accept).verify(phone().node_id(), host(), &other);
        assert_eq!(error, Err(Error::OtherApproval));
        let mut restarted = approval();
        restarted.key.epoch = ByteArray::new([2; 16]);
        let error = signed(Decision::Accept).verify(phone().node_id(), host(), &restarted);
        assert_eq!(error, Err(Error::OtherApproval));
    }

    #[test]
    fn content_that_changed_since_it_was_shown_is_refused() {
        let mut changed = approval();
        changed.content.act = Act::Command { command: "ls; rm x".into(), folder: "/".into(), permissions: None };
        let mut decision = signed(Decision::Accept);
        assert_eq!(decision.verify(phone().node_id(), host(), &changed), Err(Error::OtherContent));
        // A digest that is put right afterwards doesn't help.
        decision.digest = ByteArray::new(changed.digest());
        assert_eq!(decision.verify(phone().node_id(), host(), &changed), Err(Error::Signature));
    }

    #[test]
    fn every_name_around_the_content_is_signed() {
        let changes: [fn(&mut Approval); 6] = [
            |a| a.environment.push('x'),
            |a| a.thread.push('x'),
            |a| a.turn.push('x'),
            |a| a.item.push('x'),
            |a| a.for_session = true,
            |a| a.deadline_ms += 1,
        ];
        for change in changes {
            let mut other = approval();
            change(&mut other);
            let error = signed(Decision::Accept).verify(phone().node_id(), host(), &other);
            assert_eq!(error, Err(Error::Signature), "{other:?}");
        }
    }

    #[test]
    fn another_device_host_or_answer_is_refused() {
        let stranger = Identity::from_seed(&[8; 32]).node_id();
        let decision = signed(Decision::Decline);
        assert_eq!(decision.verify(stranger, host(), &approval()), Err(Error::Signature));
        assert_eq!(decision.verify(phone().node_id(), stranger, &approval()), Err(Error::Signature));
        let turned = SignedDecision { decision: Decision::Accept, ..decision };
        assert_eq!(turned.verify(phone().node_id(), host(), &approval()), Err(Error::Signature));
    }

    #[test]
    fn a_signature_flipped_at_any_byte_is_refused() {
        let decision = signed(Decision::Accept);
        for i in 0..64 {
            let mut bytes = *decision.signature.as_bytes();
            bytes[i] ^= 1;
            let flipped = SignedDecision { signature: Signature::from_bytes(bytes), ..decision.clone() };
            assert_eq!(flipped.verify(phone().node_id(), host(), &approval()), Err(Error::Signature), "byte {i}");
        }
    }

    #[test]
    fn what_is_not_shown_whole_can_be_declined_but_neither_signed_nor_taken_as_accepted() {
        let accept = SignedDecision::sign(&phone(), host(), &withheld(), Decision::Accept);
        assert_eq!(accept, Err(Error::NotAcceptable));
        let forced = forced(&withheld(), Decision::Accept);
        assert_eq!(forced.verify(phone().node_id(), host(), &withheld()), Err(Error::NotAcceptable));
        let decline = SignedDecision::sign(&phone(), host(), &withheld(), Decision::Decline).expect("may be declined");
        assert!(decline.verify(phone().node_id(), host(), &withheld()).is_ok());
    }

    #[test]
    fn a_decision_with_unknown_or_missing_fields_is_refused() {
        // The same maps with a field more, and with one fewer; bytes stay bytes.
        #[derive(Serialize)]
        struct More {
            #[serde(flatten)]
            signed: SignedDecision,
            #[serde(skip_serializing_if = "Option::is_none")]
            for_session: Option<bool>,
        }
        #[derive(Serialize)]
        struct Fewer {
            key: Key,
            decision: Decision,
            digest: ByteArray<32>,
        }
        let signed_one = signed(Decision::Accept);
        let SignedDecision { key, decision, digest, .. } = signed_one.clone();
        let read = |bytes: Vec<u8>| cbor::from_slice::<SignedDecision>(&bytes, 1024);
        assert_eq!(read(cbor::to_vec(&signed_one)), Ok(signed_one.clone()));
        assert!(read(cbor::to_vec(&More { signed: signed_one.clone(), for_session: None })).is_ok());
        assert!(read(cbor::to_vec(&More { signed: signed_one, for_session: Some(true) })).is_err());
        assert!(read(cbor::to_vec(&Fewer { key, decision, digest })).is_err());
        for broader in ["acceptWithExecpolicyAmendment", "applyNetworkPolicyAmendment", "acceptForTurn"] {
            assert!(cbor::from_slice::<Decision>(&cbor::to_vec(&broader), 64).is_err(), "{broader}");
        }
        let envelope = Envelope::Decision(signed(Decision::Cancel));
        assert_eq!(Envelope::decode(&envelope.encode()), Ok(envelope));
    }

    fn offered() -> Approval {
        Approval { for_session: true, ..approval() }
    }

    fn permissions() -> Approval {
        let mut approval = offered();
        let permissions = r#"{"network":{"enabled":true}}"#.into();
        approval.content.act = Act::Permissions { permissions, folder: "/".into() };
        approval
    }

    /// What a phone that doesn't check could sign.
    fn forced(approval: &Approval, decision: Decision) -> SignedDecision {
        let statement = Statement::new(host(), approval, decision);
        SignedDecision {
            key: approval.key,
            decision,
            digest: ByteArray::new(approval.digest()),
            signature: phone().sign(Label::Decision, statement.as_bytes()),
            step_up: false,
        }
    }

    #[test]
    fn accepting_for_the_session_is_taken_only_where_it_is_offered() {
        let decision = Decision::AcceptForSession;
        let signed = SignedDecision::sign(&phone(), host(), &offered(), decision).expect("offered");
        let verified = signed.verify(phone().node_id(), host(), &offered()).expect("verifies");
        let answer = verified.answer(Form::Command);
        assert_eq!(answer.result(), &json!({"decision": "acceptForSession"}));
        for (never, error) in [
            (approval(), Error::NotOffered),
            (permissions(), Error::NotOffered),
            (Approval { for_session: true, ..withheld() }, Error::NotAcceptable),
        ] {
            assert_eq!(SignedDecision::sign(&phone(), host(), &never, decision), Err(error.clone()));
            let taken = forced(&never, decision).verify(phone().node_id(), host(), &never);
            assert_eq!(taken, Err(error), "a valid signature doesn't help");
        }
    }

    fn answered(approval: &Approval, decision: Decision, form: Form) -> Answer {
        let signed = SignedDecision::sign(&phone(), host(), approval, decision).expect("allowed");
        signed.verify(phone().node_id(), host(), approval).expect("verifies").answer(form)
    }

    #[test]
    fn permissions_are_granted_as_shown_for_the_turn_or_not_at_all() {
        let asked = permissions();
        let grant = json!({"permissions": {"network": {"enabled": true}}, "scope": "turn"});
        assert_eq!(answered(&asked, Decision::Accept, Form::Permissions).result(), &grant);
        let nothing = json!({"permissions": {}, "scope": "turn"});
        let declined = answered(&asked, Decision::Decline, Form::Permissions);
        assert_eq!((declined.result(), declined.ends()), (&nothing, None));
        let cancelled = answered(&asked, Decision::Cancel, Form::Permissions);
        let turn = ("thread".to_owned(), "turn".to_owned());
        assert_eq!((cancelled.result(), cancelled.ends()), (&nothing, Some(&turn)));
        assert_eq!(Answer::decline(asked.key, Form::Permissions).result(), &nothing);
    }

    #[test]
    fn an_elicitation_is_answered_in_its_own_form() {
        let action = |decision| answered(&withheld(), decision, Form::Elicitation).result().clone();
        assert_eq!(action(Decision::Decline), json!({"action": "decline"}));
        assert_eq!(action(Decision::Cancel), json!({"action": "cancel"}));
        let nobody = Answer::decline(withheld().key, Form::Elicitation);
        assert_eq!(nobody.result(), &json!({"action": "decline"}));
    }

    #[test]
    fn known_answers_of_a_second_implementation_hold() {
        let vectors: Value = serde_json::from_str(VECTORS).expect("JSON");
        let cases = vectors["cases"].as_array().expect("cases");
        assert_eq!(cases.len(), 7);
        for case in cases {
            let name = &case["name"];
            let phone = Identity::from_seed(&bytes(&case["deviceSeed"]));
            let host = NodeId::from_bytes(bytes(&case["host"])).expect("a key");
            let decision: Decision = serde_json::from_value(case["decision"].clone()).expect("a decision");
            let approval = read(&case["approval"]);
            assert_eq!(phone.node_id().as_bytes(), &bytes(&case["device"]), "{name}");
            assert_eq!(approval.digest(), bytes(&case["digest"]), "{name}");
            assert_eq!(Statement::new(host, &approval, decision).as_bytes(), &bytes(&case["statement"]), "{name}");
            let signed = SignedDecision::sign(&phone, host, &approval, decision).expect("acceptable");
            assert_eq!(signed.signature.as_bytes(), &bytes(&case["signature"]), "{name}");
            assert!(signed.verify(phone.node_id(), host, &approval).is_ok(), "{name}");
        }
    }

    fn bytes<const N: usize>(hex: &Value) -> [u8; N] {
        let bytes = HEXLOWER.decode(hex.as_str().expect("hex").as_bytes()).expect("hex");
        bytes.try_into().expect("the right length")
    }

    fn read(value: &Value) -> Approval {
        let text = |name: &str| value[name].as_str().expect("text").to_owned();
        Approval {
            key: Key {
                epoch: ByteArray::new(bytes(&value["epoch"])),
                request: value["request"].as_i64().expect("a number"),
            },
            environment: text("environment"),
            thread: text("thread"),
            turn: text("turn"),
            item: text("item"),
            content: serde_json::from_value(value["content"].clone()).expect("a content"),
            for_session: value["forSession"].as_bool().expect("a flag"),
            deadline_ms: value["deadlineMs"].as_u64().expect("a number"),
            guard: Guard::default(),
        }
    }
}
