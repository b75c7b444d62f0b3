//! Which notifications go to phones, and what of them.
//!
//! Here are those of which a thread is made ([`crate::codex::thread`]). `serverRequest/resolved` isn't: it doesn't say
//! who decided what, and the host's ledger does.

use super::words::{ANY, APPROVAL_POLICY, CHANGES, ERROR, ITEM, NUMBER, SANDBOX, STATUS, THREAD, TURN};
use super::{Field, Shape};

/// The shape of a notification's parameters; `None` if it isn't for phones.
pub(super) fn find(method: &str) -> Option<Shape> {
    let entry = NOTIFICATIONS.iter().find(|(name, _)| *name == method);
    entry.map(|(_, fields)| Shape::Object(fields))
}

const THREAD_ID: Field = Field::required("threadId", ANY);
const TURN_ID: Field = Field::required("turnId", ANY);
const ITEM_ID: Field = Field::required("itemId", ANY);
const DELTA: Field = Field::required("delta", ANY);

const SETTINGS: Shape = Shape::Object(&[
    Field::optional("cwd", ANY),
    Field::optional("model", ANY),
    Field::optional("effort", ANY),
    Field::optional("approvalPolicy", APPROVAL_POLICY),
    Field::optional("sandboxPolicy", SANDBOX),
]);

pub(super) const NOTIFICATIONS: &[(&str, &[Field])] = &[
    ("thread/started", &[Field::required("thread", THREAD)]),
    ("thread/status/changed", &[THREAD_ID, Field::required("status", STATUS)]),
    ("thread/name/updated", &[THREAD_ID, Field::optional("threadName", ANY)]),
    ("thread/settings/updated", &[THREAD_ID, Field::required("threadSettings", SETTINGS)]),
    ("thread/closed", &[THREAD_ID]),
    ("turn/started", &[THREAD_ID, Field::required("turn", TURN)]),
    ("turn/completed", &[THREAD_ID, Field::required("turn", TURN)]),
    ("turn/diff/updated", &[THREAD_ID, TURN_ID, Field::required("diff", ANY)]),
    ("item/started", &[THREAD_ID, TURN_ID, Field::required("item", ITEM)]),
    ("item/completed", &[THREAD_ID, TURN_ID, Field::required("item", ITEM)]),
    ("item/agentMessage/delta", &[THREAD_ID, TURN_ID, ITEM_ID, DELTA]),
    ("item/reasoning/summaryPartAdded", &[THREAD_ID, TURN_ID, ITEM_ID, Field::optional("summaryIndex", NUMBER)]),
    ("item/reasoning/summaryTextDelta", &[THREAD_ID, TURN_ID, ITEM_ID, Field::optional("summaryIndex", NUMBER), DELTA]),
    ("item/commandExecution/outputDelta", &[THREAD_ID, TURN_ID, ITEM_ID, DELTA]),
    ("item/fileChange/patchUpdated", &[THREAD_ID, TURN_ID, ITEM_ID, Field::required("changes", CHANGES)]),
    ("error", &[THREAD_ID, TURN_ID, Field::required("error", ERROR), Field::optional("willRetry", Shape::Bool)]),
];
