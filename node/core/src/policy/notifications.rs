//! Which notifications go to phones, what of them, and who may see them.
//!
//! Every notification of the app-server 0.169.0 stands in one of two lists: [`NOTIFICATIONS`] are forwarded, each with
//! its filter; [`WITHHELD`] aren't, each with the reason. One that is in neither is dropped.
//!
//! Whoever reads a thread may see what happens in it, so those have the right [`Right::Viewer`] and the thread's folder
//! decides. What is about the host as a whole needs more: its account is for operators, who spend it; advice on how to
//! run Codex is for owners, who look after the host.

use super::words::{
    ANY, APPROVAL_POLICY, CHANGES, ERROR, GOAL, HOOK_RUN, ITEM, NUMBER, PLAN_STEPS, RATE_LIMITS, REVIEW, REVIEWED,
    SANDBOX, STATUS, TEXTS, THREAD, TURN, USAGE,
};
use super::{Field, Right, Shape};

/// A notification that goes to phones.
#[derive(Debug, Clone, Copy)]
pub struct Notification {
    /// Its name.
    pub name: &'static str,
    /// The least right of a device that gets it.
    pub right: Right,
    /// What it is about.
    pub subject: About,
    /// What of its parameters is kept.
    pub params: &'static [Field],
    /// What a phone has of it.
    pub reason: &'static str,
}

/// What a notification is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// One thread, which [`crate::codex::thread::id_of`] finds in the parameters: its folder must be the device's.
    Thread,
    /// The host as a whole: the right decides alone.
    Host,
}

/// A notification that stays on the host.
#[derive(Debug, Clone, Copy)]
pub struct Withheld {
    /// Its name.
    pub name: &'static str,
    /// Why.
    pub reason: &'static str,
}

impl Notification {
    /// What of these parameters a phone gets; `None` if something that must be there isn't.
    pub fn filter(&self, params: &serde_json::Value) -> Option<serde_json::Value> {
        Shape::Object(self.params).filter(params)
    }
}

/// The entry of a notification that goes to phones.
pub fn find(name: &str) -> Option<&'static Notification> {
    NOTIFICATIONS.iter().find(|notification| notification.name == name)
}

/// Something that happens in a thread.
const fn thread(name: &'static str, params: &'static [Field], reason: &'static str) -> Notification {
    Notification { name, right: Right::Viewer, subject: About::Thread, params, reason }
}

const fn host(name: &'static str, right: Right, params: &'static [Field], reason: &'static str) -> Notification {
    Notification { name, right, subject: About::Host, params, reason }
}

const fn withheld(name: &'static str, reason: &'static str) -> Withheld {
    Withheld { name, reason }
}

const THREAD_ID: Field = Field::required("threadId", ANY);
const TURN_ID: Field = Field::required("turnId", ANY);
const ITEM_ID: Field = Field::required("itemId", ANY);
const DELTA: Field = Field::required("delta", ANY);
const MESSAGE: Field = Field::required("message", ANY);
const TURN_IF_ANY: Field = Field::optional("turnId", ANY);

const OF_ENVIRONMENT: &[Field] = &[THREAD_ID, Field::required("environmentId", ANY)];
const OF_ITEM: &[Field] = &[THREAD_ID, TURN_ID, Field::required("item", ITEM)];
const OF_DELTA: &[Field] = &[THREAD_ID, TURN_ID, ITEM_ID, DELTA];
const OF_HOOK: &[Field] = &[THREAD_ID, TURN_IF_ANY, Field::required("run", HOOK_RUN)];
const OF_REVIEW: &[Field] = &[
    THREAD_ID,
    TURN_ID,
    Field::required("reviewId", ANY),
    Field::optional("targetItemId", ANY),
    Field::required("review", REVIEW),
    Field::optional("action", REVIEWED),
];

const SETTINGS: Shape = Shape::Object(&[
    Field::optional("cwd", ANY),
    Field::optional("model", ANY),
    Field::optional("effort", ANY),
    Field::optional("approvalPolicy", APPROVAL_POLICY),
    Field::optional("sandboxPolicy", SANDBOX),
]);

const READ_STATE: Shape = Shape::Object(&[
    Field::optional("revision", ANY),
    Field::optional("firstUnread", Shape::Tagged(&[("threadStart", &[]), ("turn", &[TURN_ID])], &[])),
]);

const PREDICTION: Shape = Shape::Tagged(&[("completed", &[Field::optional("text", ANY)]), ("failed", &[])], &[]);

/// What goes to phones.
pub const NOTIFICATIONS: &[Notification] = &[
    // A thread itself.
    thread("thread/started", &[Field::required("thread", THREAD)], "a list grows by a row"),
    thread("thread/status/changed", &[THREAD_ID, Field::required("status", STATUS)], "what the thread is doing"),
    thread("thread/name/updated", &[THREAD_ID, Field::optional("threadName", ANY)], "its title"),
    thread(
        "thread/settings/updated",
        &[THREAD_ID, Field::required("threadSettings", SETTINGS)],
        "the effective model, approval policy and sandbox",
    ),
    thread("thread/closed", &[THREAD_ID], "nobody has it open any more"),
    thread("thread/archived", &[THREAD_ID], "a list loses a row"),
    thread("thread/unarchived", &[THREAD_ID], "a list has its row again"),
    thread("thread/deleted", &[THREAD_ID], "it is gone"),
    thread("thread/reverted", &[THREAD_ID], "turns were taken back; the history is read anew"),
    thread("thread/compacted", &[THREAD_ID, TURN_ID], "the agent goes on with a summary"),
    thread("thread/goal/updated", &[THREAD_ID, TURN_IF_ANY, Field::required("goal", GOAL)], "what it works towards"),
    thread("thread/goal/cleared", &[THREAD_ID], "it has no goal any more"),
    thread("thread/queue/changed", &[THREAD_ID], "the queue is read anew"),
    thread("thread/tokenUsage/updated", &[THREAD_ID, TURN_ID, Field::required("tokenUsage", USAGE)], "tokens used"),
    thread("thread/readState/changed", &[THREAD_ID, Field::required("readState", READ_STATE)], "what was read"),
    thread("thread/section/changed", &[THREAD_ID, Field::optional("sectionId", ANY)], "its place in lists"),
    thread("thread/project/updated", &[THREAD_ID, Field::optional("projectId", ANY)], "its place in lists"),
    thread(
        "thread/attachment/updated",
        &[
            THREAD_ID,
            Field::required("attachmentId", ANY),
            Field::optional("attachmentType", ANY),
            Field::optional("operation", ANY),
        ],
        "that something was attached or taken away",
    ),
    thread(
        "thread/prediction/updated",
        &[THREAD_ID, Field::optional("sourceTurnId", ANY), Field::required("result", PREDICTION)],
        "a next message to pick",
    ),
    thread("thread/environment/connected", OF_ENVIRONMENT, "where its commands run can be reached"),
    thread("thread/environment/disconnected", OF_ENVIRONMENT, "where its commands run can't be reached"),
    // A turn.
    thread("turn/started", &[THREAD_ID, Field::required("turn", TURN)], "the agent works"),
    thread("turn/completed", &[THREAD_ID, Field::required("turn", TURN)], "the agent is done, or failed"),
    thread("turn/diff/updated", &[THREAD_ID, TURN_ID, Field::required("diff", ANY)], "all changes so far"),
    thread(
        "turn/plan/updated",
        &[THREAD_ID, TURN_ID, Field::optional("explanation", ANY), Field::required("plan", PLAN_STEPS)],
        "the steps of its plan",
    ),
    thread("turn/moderationMetadata", &[THREAD_ID, TURN_ID], "that the turn was moderated; how has no fixed form"),
    thread(
        "error",
        &[THREAD_ID, TURN_ID, Field::required("error", ERROR), Field::optional("willRetry", Shape::Bool)],
        "trouble, and whether Codex tries again",
    ),
    // Items.
    thread("item/started", OF_ITEM, "something begins"),
    thread("item/completed", OF_ITEM, "something is done, whole"),
    thread("item/agentMessage/delta", OF_DELTA, "the answer as it is written"),
    thread("item/plan/delta", OF_DELTA, "the plan as it is written"),
    thread(
        "item/reasoning/summaryPartAdded",
        &[THREAD_ID, TURN_ID, ITEM_ID, Field::optional("summaryIndex", NUMBER)],
        "a paragraph of the summary of its reasoning",
    ),
    thread(
        "item/reasoning/summaryTextDelta",
        &[THREAD_ID, TURN_ID, ITEM_ID, Field::optional("summaryIndex", NUMBER), DELTA],
        "the summary of its reasoning as it is written",
    ),
    thread("item/commandExecution/outputDelta", OF_DELTA, "what a command prints"),
    thread(
        "item/commandExecution/terminalInteraction",
        &[THREAD_ID, TURN_ID, ITEM_ID, Field::required("stdin", ANY)],
        "what the agent types into a command",
    ),
    thread("item/fileChange/outputDelta", OF_DELTA, "what applying a change prints"),
    thread(
        "item/fileChange/patchUpdated",
        &[THREAD_ID, TURN_ID, ITEM_ID, Field::required("changes", CHANGES)],
        "a change of files as it stands",
    ),
    thread("item/mcpToolCall/progress", &[THREAD_ID, TURN_ID, ITEM_ID, MESSAGE], "how a tool gets on"),
    // Who else judges, and what else is said.
    thread("item/autoApprovalReview/started", OF_REVIEW, "Codex's own reviewer looks at a request"),
    thread("item/autoApprovalReview/completed", OF_REVIEW, "Codex's own reviewer decided on a request"),
    thread("autoApprovalReview/strictReviewRequired", &[THREAD_ID, TURN_ID], "Codex's own reviewer became strict"),
    thread("guardianWarning", &[THREAD_ID, MESSAGE], "a warning of Codex's own reviewer"),
    thread("warning", &[THREAD_ID, MESSAGE], "a warning about the thread; one about no thread stays on the host"),
    thread("hook/started", OF_HOOK, "a hook of the owner's runs"),
    thread("hook/completed", OF_HOOK, "what a hook of the owner's said"),
    thread(
        "model/rerouted",
        &[
            THREAD_ID,
            TURN_ID,
            Field::required("fromModel", ANY),
            Field::required("toModel", ANY),
            Field::optional("reason", ANY),
        ],
        "another model answers",
    ),
    thread(
        "model/safetyBuffering/updated",
        &[
            THREAD_ID,
            TURN_ID,
            Field::optional("model", ANY),
            Field::optional("fasterModel", ANY),
            Field::optional("reasons", TEXTS),
            Field::optional("useCases", TEXTS),
            Field::optional("showBufferingUi", Shape::Bool),
        ],
        "why an answer takes longer",
    ),
    thread(
        "model/verification",
        &[THREAD_ID, TURN_ID, Field::optional("verifications", TEXTS)],
        "the account must be verified for this",
    ),
    // The host as a whole.
    host(
        "account/rateLimits/updated",
        Right::Operator,
        &[Field::required("rateLimits", RATE_LIMITS)],
        "how much the account may still do",
    ),
    host(
        "deprecationNotice",
        Right::Owner,
        &[Field::required("summary", ANY), Field::optional("details", ANY)],
        "something about Codex's set-up is out of date",
    ),
];

const ACCOUNT: &str = "the account and its logins are the desk's";
const ASKED_FOR: &str = "answers a request that phones can't make";
const REALTIME: &str = "spoken conversations are not for phones";
const WINDOWS: &str = "set-up of the host's system is the desk's";
const SET_UP: &str = "Codex's set-up is the desk's";

/// What stays on the host.
pub const WITHHELD: &[Withheld] = &[
    withheld("serverRequest/resolved", "doesn't say who decided; the host's ledger does, and tells it"),
    withheld("item/reasoning/textDelta", "raw reasoning; phones get its summary"),
    withheld("account/gatewayOAuth/changed", ACCOUNT),
    withheld("account/login/completed", ACCOUNT),
    withheld("account/updated", ACCOUNT),
    withheld("app/list/updated", SET_UP),
    withheld("command/exec/outputDelta", ASKED_FOR),
    withheld("configWarning", SET_UP),
    withheld("externalAgentConfig/import/completed", SET_UP),
    withheld("externalAgentConfig/import/progress", SET_UP),
    withheld("fs/changed", ASKED_FOR),
    withheld("fuzzyFileSearch/sessionCompleted", ASKED_FOR),
    withheld("fuzzyFileSearch/sessionUpdated", ASKED_FOR),
    withheld("mcpServer/event/stream/notification", "whatever a tool server sends, in no fixed form"),
    withheld("mcpServer/oauthLogin/completed", ACCOUNT),
    withheld("mcpServer/startupStatus/updated", SET_UP),
    withheld("modelProvider/authRecoveryCompleted", ACCOUNT),
    withheld("modelProvider/authRecoveryStarted", ACCOUNT),
    withheld("process/exited", ASKED_FOR),
    withheld("process/outputDelta", ASKED_FOR),
    withheld("project/changed", "projects span folders; a phone reads them when it shows them"),
    withheld("remoteControl/status/changed", "another remote control's state"),
    withheld("skills/changed", SET_UP),
    withheld("thread/realtime/closed", REALTIME),
    withheld("thread/realtime/error", REALTIME),
    withheld("thread/realtime/item/completed", REALTIME),
    withheld("thread/realtime/item/started", REALTIME),
    withheld("thread/realtime/item/transcript/delta", REALTIME),
    withheld("thread/realtime/itemAdded", REALTIME),
    withheld("thread/realtime/outputAudio/delta", REALTIME),
    withheld("thread/realtime/sdp", REALTIME),
    withheld("thread/realtime/started", REALTIME),
    withheld("thread/realtime/transcript/delta", REALTIME),
    withheld("thread/realtime/transcript/done", REALTIME),
    withheld("windows/worldWritableWarning", WINDOWS),
    withheld("windowsSandbox/setupCompleted", WINDOWS),
];
