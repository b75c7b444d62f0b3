//! What the phone's commands say, as lines of JSON for scripts.

use farhelm_core::codex::approval::{Approval, Warning};
use farhelm_core::codex::question::Question;
use farhelm_core::codex::thread::{Summary, TurnStatus};
use farhelm_core::policy::Entitlement;
use farhelm_phone::{Broken, Connection, KnownHost, Standing, Truth, Via};
use serde_json::{Value, json};

/// How a digest is written: what `--digest` takes the beginning of.
pub(super) fn digest(approval: &Approval) -> String {
    hex(&approval.digest())
}

/// The same of a question.
pub(super) fn digest_of_question(question: &Question) -> String {
    hex(&question.digest())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn host(host: &KnownHost) -> Value {
    let (standing, removed_at_ms) = match host.standing {
        Standing::Paired => ("paired", None),
        Standing::Pending => ("pending", None),
        Standing::Removed { at_ms } => ("removed", Some(at_ms)),
        Standing::Damaged => ("damaged", None),
    };
    let entitlement = host.entitlement.as_ref().map(
        |Entitlement { right, folders, until_ms }| json!({"right": right, "folders": folders, "until_ms": until_ms}),
    );
    json!({
        "is": "host",
        "host": host.id.to_string(),
        "name": host.name,
        "standing": standing,
        "removed_at_ms": removed_at_ms,
        "entitlement": entitlement,
        "record_broken": host.broken.as_ref().map(broken),
    })
}

/// That a host's record isn't what it was.
pub(super) fn broken(broken: &Broken) -> Value {
    json!({"kept": broken.kept, "found": broken.found, "at_ms": broken.at_ms})
}

/// A row of `threads`, whose fields are the protocol's.
pub(super) fn thread(summary: &Summary) -> Value {
    let mut row = json!(summary);
    row["is"] = "thread".into();
    row
}

pub(super) fn approval(approval: &Approval) -> Value {
    json!({
        "is": "approval",
        "digest": digest(approval),
        "thread": approval.thread,
        "turn": approval.turn,
        "item": approval.item,
        "environment": approval.environment,
        "content": approval.content,
        "acceptable": approval.acceptable(),
        "for_session": approval.for_session,
        "denied_by": approval.guard.denied,
        "two_person": approval.guard.two_person,
        "accepted_first_by": approval.guard.first.as_ref().map(|first| &first.name),
        "step_up": approval.guard.step_up,
        "warnings": approval.warnings().iter().map(warning).collect::<Vec<_>>(),
        "deadline_ms": approval.deadline_ms,
    })
}

pub(super) fn question(question: &Question) -> Value {
    json!({
        "is": "question",
        "digest": digest_of_question(question),
        "thread": question.thread,
        "turn": question.turn,
        "item": question.item,
        "asks": question.asks,
    })
}

fn warning(warning: &Warning) -> Value {
    json!({"kind": warning, "text": warning.to_string()})
}

pub(super) fn turn(thread: &str, turn: &str, status: &TurnStatus) -> Value {
    let (status, why) = match status {
        TurnStatus::InProgress => ("inProgress", None),
        TurnStatus::Completed => ("completed", None),
        TurnStatus::Interrupted => ("interrupted", None),
        TurnStatus::Failed(why) => ("failed", Some(why)),
    };
    json!({"is": "turn", "thread": thread, "turn": turn, "status": status, "why": why})
}

/// How often what is shown here was held against what the host has.
pub(super) fn truth(truth: Truth) -> Value {
    let Truth { compared, differed, repaired, unrepaired } = truth;
    json!({
        "is": "truth", "compared": compared, "differed": differed, "repaired": repaired, "unrepaired": unrepaired,
    })
}

pub(super) fn connection(connection: &Connection) -> Value {
    match connection {
        Connection::Connecting => json!({"is": "connection", "state": "connecting"}),
        Connection::Live(path) | Connection::CatchingUp(path) => {
            let is_live = matches!(connection, Connection::Live(_));
            let state = if is_live { "live" } else { "catchingUp" };
            let (via, relay) = match path.via {
                Via::Direct => ("direct", None),
                Via::Relay(relay) => ("relay", relay.map(|relay| relay.to_string())),
            };
            let transport = format!("{:?}", path.transport).to_lowercase();
            let round_trip_ms = path.round_trip.map(|trip| trip.as_secs_f64() * 1000.0);
            json!({
                "is": "connection", "state": state,
                "via": via, "relay": relay, "transport": transport, "round_trip_ms": round_trip_ms,
            })
        }
        Connection::Away { why, .. } => json!({"is": "connection", "state": "away", "why": why.to_string()}),
        Connection::Removed { at_ms } => json!({"is": "connection", "state": "removed", "removed_at_ms": at_ms}),
    }
}
