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

use super::approval::{Approval, Key};
use crate::identity::{Identity, Label, NodeId, Signature};
use crate::session::transcript::Transcript;

/// What a person may decide from a phone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Decision {
    /// Do it, this once.
    Accept,
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
            Self::Decline => "decline",
            Self::Cancel => "cancel",
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
}

/// What is signed: a hash over host, approval, content digest, decision and deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statement([u8; 32]);

impl Statement {
    /// Fields in the order of `node/PROTOCOL.md` §6, through [`Transcript`].
    pub fn new(host: NodeId, approval: &Approval, decision: Decision) -> Self {
        let Approval { key, environment, thread, turn, item, content, deadline_ms } = approval;
        let hash = Transcript::new("farhelm/1 statement")
            .bytes(host.as_bytes())
            .text(environment)
            .text(thread)
            .text(turn)
            .text(item)
            .bytes(&*key.epoch)
            .bytes(&key.request.to_be_bytes())
            .bytes(&content.digest())
            .text(decision.as_str())
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
}

impl SignedDecision {
    /// Signs a person's decision on what was on the screen. Accepting what can't be shown whole is refused.
    pub fn sign(identity: &Identity, host: NodeId, approval: &Approval, decision: Decision) -> Result<Self, Error> {
        if decision == Decision::Accept && !approval.acceptable() {
            return Err(Error::NotAcceptable);
        }
        let statement = Statement::new(host, approval, decision);
        Ok(Self {
            key: approval.key,
            decision,
            digest: ByteArray::new(approval.digest()),
            signature: identity.sign(Label::Decision, statement.as_bytes()),
        })
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
        let statement = Statement::new(host, approval, self.decision);
        device.verify(Label::Decision, statement.as_bytes(), &self.signature).map_err(|_| Error::Signature)?;
        if self.decision == Decision::Accept && !approval.acceptable() {
            return Err(Error::NotAcceptable);
        }
        Ok(VerifiedDecision { key: self.key, decision: self.decision, device })
    }
}

/// Proof that a device's signature over this host's own ledger entry was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedDecision {
    key: Key,
    decision: Decision,
    device: NodeId,
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

    /// What answers Codex.
    pub const fn answer(&self) -> Answer {
        Answer { key: self.key, decision: self.decision }
    }
}

/// What Codex is answered. It comes from a [`VerifiedDecision`], or declines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    key: Key,
    decision: Decision,
}

impl Answer {
    /// Declines a request that nobody decided in time. Declining needs no proof.
    pub const fn decline(key: Key) -> Self {
        Self { key, decision: Decision::Decline }
    }

    /// The approval.
    pub const fn key(&self) -> Key {
        self.key
    }

    /// The result of the app-server's request.
    pub fn result(&self) -> Value {
        json!({ "decision": self.decision.as_str() })
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;
    use crate::codex::approval::{Act, Content};
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
            },
            deadline_ms: 99,
        }
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
        message::response(&Id::Number(answer.key().request), &answer.result())
    }

    #[test]
    fn a_decision_on_what_was_shown_answers_codex() {
        for decision in [Decision::Accept, Decision::Decline, Decision::Cancel] {
            let verified = signed(decision).verify(phone().node_id(), host(), &approval()).expect("verifies");
            assert_eq!((verified.key(), verified.decision()), (approval().key, decision));
            assert_eq!(verified.device(), phone().node_id());
            assert_eq!(
                text(&verified.answer()),
                format!(r#"{{"id":3,"result":{{"decision":"{}"}}}}"#, decision.as_str())
            );
        }
        assert_eq!(text(&Answer::decline(approval().key)), r#"{"id":3,"result":{"decision":"decline"}}"#);
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
        let changes: [fn(&mut Approval); 5] = [
            |a| a.environment.push('x'),
            |a| a.thread.push('x'),
            |a| a.turn.push('x'),
            |a| a.item.push('x'),
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
        let statement = Statement::new(host(), &withheld(), Decision::Accept);
        let forced = SignedDecision {
            key: withheld().key,
            decision: Decision::Accept,
            digest: ByteArray::new(withheld().digest()),
            signature: phone().sign(Label::Decision, statement.as_bytes()),
        };
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
        assert!(cbor::from_slice::<Decision>(&cbor::to_vec(&"acceptForSession"), 64).is_err());
        let envelope = Envelope::Decision(signed(Decision::Cancel));
        assert_eq!(Envelope::decode(&envelope.encode()), Ok(envelope));
    }

    #[test]
    fn known_answers_of_a_second_implementation_hold() {
        let vectors: Value = serde_json::from_str(VECTORS).expect("JSON");
        let cases = vectors["cases"].as_array().expect("cases");
        assert_eq!(cases.len(), 5);
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
            deadline_ms: value["deadlineMs"].as_u64().expect("a number"),
        }
    }
}
