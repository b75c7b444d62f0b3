//! The method table: what a phone may call, as data.
//!
//! One entry a method, each with its verdict, the fields a phone may send, the fields the host puts in, and what of
//! the result goes back. What isn't here is denied. The verdicts are those of the app-server 0.169.0; a release that
//! adds a field changes nothing until it is named here.

use super::shape::Constant;
use super::words::{ALL, ANY, APPROVAL_POLICY, ITEM, SANDBOX, THREAD, TURN};
use super::{Field, Fill, Given, Right, Shape};
use crate::wire::limits;

/// Whether a phone may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Yes, with rebuilt parameters.
    Allow,
    /// Yes, and the host answers it itself: no method of Codex's.
    Own,
    /// No.
    Deny,
    /// No: the host itself calls it where needed.
    HostOnly,
}

/// What a request is about, and so in which folders a device must be at home for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// Nothing that lies in a folder.
    Host,
    /// The thread whose id this parameter holds.
    Thread(&'static str),
    /// Many threads: of the result's list under this name, a phone gets the rows whose folder is its own. The folder
    /// is the row's `cwd`, or that of the thread object that the row holds.
    Threads(&'static str),
    /// Many threads, named by their ids only, in the result's list under this name.
    ThreadIds(&'static str),
    /// A new thread, in the folder that this parameter holds.
    Folder(&'static str),
}

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing changes.
    Read,
    /// Something changes, and the agent does nothing.
    Change,
    /// The agent starts or goes on working, so the host's floor holds.
    Work,
}

/// What holds when it isn't known whether a request arrived (it was sent and the connection ended).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Sent again without harm.
    Idempotent,
    /// Looked up by the client's own id of the message before it is sent again.
    ByClientId,
    /// Never sent again.
    AtMostOnce,
}

/// A method of the app-server.
#[derive(Debug, Clone, Copy)]
pub struct Method {
    /// Its name.
    pub name: &'static str,
    /// Whether a phone may call it.
    pub verdict: Verdict,
    /// The least right that a device needs for it.
    pub right: Right,
    /// What it is about.
    pub subject: Subject,
    /// What it does.
    pub effect: Effect,
    /// What holds when its fate is unknown.
    pub retry: Retry,
    /// The fields a phone may send.
    pub params: &'static [Field],
    /// The fields the host puts in.
    pub given: &'static [Given],
    /// What of the result a phone gets.
    pub result: Shape,
    /// Why the verdict is what it is.
    pub reason: &'static str,
}

/// The entry of a method.
pub fn find(name: &str) -> Option<&'static Method> {
    METHODS.iter().find(|method| method.name == name)
}

/// A method that only reads, about a thread or about many.
const fn read(
    name: &'static str,
    subject: Subject,
    params: &'static [Field],
    given: &'static [Given],
    result: Shape,
    reason: &'static str,
) -> Method {
    let (right, effect, retry) = (Right::Viewer, Effect::Read, Retry::Idempotent);
    Method { name, verdict: Verdict::Allow, right, subject, effect, retry, params, given, result, reason }
}

/// A method that has the agent work.
const fn work(
    name: &'static str,
    (subject, retry): (Subject, Retry),
    params: &'static [Field],
    given: &'static [Given],
    result: Shape,
    reason: &'static str,
) -> Method {
    let (right, effect) = (Right::Operator, Effect::Work);
    Method { name, verdict: Verdict::Allow, right, subject, effect, retry, params, given, result, reason }
}

/// A method that changes something, without work of the agent's.
const fn change(
    name: &'static str,
    (right, subject, retry): (Right, Subject, Retry),
    params: &'static [Field],
    result: Shape,
    reason: &'static str,
) -> Method {
    let effect = Effect::Change;
    Method { name, verdict: Verdict::Allow, right, subject, effect, retry, params, given: &[], result, reason }
}

const fn host_only(name: &'static str, reason: &'static str) -> Method {
    let (right, subject, effect, retry) = (Right::Owner, Subject::Host, Effect::Change, Retry::AtMostOnce);
    let (params, given, result): (&[Field], &[Given], Shape) = (&[], &[], Shape::Object(&[]));
    Method { name, verdict: Verdict::HostOnly, right, subject, effect, retry, params, given, result, reason }
}

/// An id of Codex's, or an opaque cursor.
const ID: Shape = Shape::Text(256);
const CURSOR: Shape = Shape::Text(4096);
const PAGE: Shape = Shape::Int(1, 100);
const DIRECTION: Shape = Shape::OneOf(&["asc", "desc"]);
const ITEMS_VIEW: Shape = Shape::OneOf(&["notLoaded", "summary", "full"]);

const OF_THREAD: Subject = Subject::Thread("threadId");
const THREAD_ID: Field = Field::required("threadId", ID);

/// Text only. Host paths (`localImage`, `skill`, `mention`), remote images and audio are not for phones.
const INPUT: Field = Field::required(
    "input",
    Shape::List(8, &Shape::Tagged(&[("text", &[Field::required("text", Shape::Text(limits::PROMPT))])], &[])),
);

/// By this id a phone finds its message again when the answer was lost.
const CLIENT_ID: Field = Field::optional("clientUserMessageId", Shape::Text(64));
const MODEL: Field = Field::optional("model", Shape::Text(64));
const EFFORT: Field = Field::optional("effort", Shape::Text(32));

const fn page(of: &'static Shape) -> [Field; 3] {
    [
        Field::required("data", Shape::List(ALL, of)),
        Field::optional("nextCursor", ANY),
        Field::optional("backwardsCursor", ANY),
    ]
}

const THREADS_PAGE: [Field; 3] = page(&THREAD);
const IDS_PAGE: [Field; 3] = page(&ANY);
const TURNS_PAGE: [Field; 3] = page(&TURN);
const ITEMS_PAGE: [Field; 3] = page(&Shape::Object(&[Field::required("turnId", ANY), Field::required("item", ITEM)]));
const MODELS_PAGE: [Field; 3] = page(&Shape::Object(&[
    Field::required("id", ANY),
    Field::optional("model", ANY),
    Field::optional("displayName", ANY),
    Field::optional("description", ANY),
    Field::optional("isDefault", Shape::Bool),
    Field::optional("defaultReasoningEffort", ANY),
    Field::optional(
        "supportedReasoningEfforts",
        Shape::List(
            ALL,
            &Shape::Object(&[Field::required("reasoningEffort", ANY), Field::optional("description", ANY)]),
        ),
    ),
]));

/// A thread with its effective settings, as start and resume answer.
const OPENED: Shape = Shape::Object(&[
    Field::required("thread", THREAD),
    Field::optional("model", ANY),
    Field::optional("reasoningEffort", ANY),
    Field::optional("cwd", ANY),
    Field::optional("approvalPolicy", APPROVAL_POLICY),
    Field::optional("sandbox", SANDBOX),
    Field::optional("initialTurnsPage", Shape::Object(&TURNS_PAGE)),
    Field::optional("turnsBackwardsCursor", ANY),
    Field::optional("itemsBackwardsCursor", ANY),
]);

/// Every method this version judges.
pub const METHODS: &[Method] = &[
    read(
        "thread/list",
        Subject::Threads("data"),
        &[
            Field::optional("cursor", CURSOR),
            Field::optional("limit", PAGE),
            Field::optional("sortKey", Shape::OneOf(&["created_at", "updated_at", "recency_at"])),
            Field::optional("sortDirection", DIRECTION),
            Field::optional("archived", Shape::Bool),
            Field::optional("searchTerm", Shape::Text(256)),
        ],
        &[],
        Shape::Object(&THREADS_PAGE),
        "read threads, turns, outputs",
    ),
    read(
        "thread/loaded/list",
        Subject::ThreadIds("data"),
        &[Field::optional("cursor", CURSOR), Field::optional("limit", PAGE)],
        &[],
        Shape::Object(&IDS_PAGE),
        "read threads, turns, outputs",
    ),
    read(
        "thread/read",
        OF_THREAD,
        &[THREAD_ID, Field::optional("includeTurns", Shape::Bool)],
        &[],
        Shape::Object(&[Field::required("thread", THREAD)]),
        "read threads, turns, outputs",
    ),
    // Everything a resume may override would widen or move the thread, so a phone sends the id alone. Asking for all
    // turns at once is deprecated; the newest page comes along, older ones by thread/turns/list.
    Method {
        right: Right::Operator,
        effect: Effect::Change,
        ..read(
            "thread/resume",
            OF_THREAD,
            &[THREAD_ID],
            &[
                Given { name: "excludeTurns", fill: Fill::True },
                // Heeded when the thread wasn't loaded; one that the desk has open stays as it is there.
                Given { name: "config", fill: Fill::HoldDown },
                Given {
                    name: "initialTurnsPage",
                    fill: Fill::Object(&[
                        ("limit", Constant::Number(20)),
                        ("sortDirection", Constant::Text("desc")),
                        ("itemsView", Constant::Text("full")),
                    ]),
                },
            ],
            OPENED,
            "continue work, in the thread's own folder and under its own rules",
        )
    },
    // Codex marks the folder as trusted in its config.toml, so the folder is the host's to choose.
    work(
        "thread/start",
        (Subject::Folder("cwd"), Retry::AtMostOnce),
        &[MODEL],
        &[
            Given { name: "cwd", fill: Fill::Folder },
            Given { name: "approvalPolicy", fill: Fill::ApprovalPolicy },
            Given { name: "sandbox", fill: Fill::Sandbox },
            Given { name: "config", fill: Fill::HoldDown },
        ],
        OPENED,
        "start work, in the host's folder and under the host's rules",
    ),
    read(
        "thread/turns/list",
        OF_THREAD,
        &[
            THREAD_ID,
            Field::optional("cursor", CURSOR),
            Field::optional("limit", PAGE),
            Field::optional("sortDirection", DIRECTION),
            Field::optional("itemsView", ITEMS_VIEW),
        ],
        &[],
        Shape::Object(&TURNS_PAGE),
        "read threads, turns, outputs",
    ),
    read(
        "thread/items/list",
        OF_THREAD,
        &[
            THREAD_ID,
            Field::optional("turnId", ID),
            Field::optional("cursor", CURSOR),
            Field::optional("limit", PAGE),
            Field::optional("sortDirection", DIRECTION),
        ],
        &[],
        Shape::Object(&ITEMS_PAGE),
        "read threads, turns, outputs",
    ),
    work(
        "turn/start",
        (OF_THREAD, Retry::ByClientId),
        &[THREAD_ID, INPUT, CLIENT_ID, MODEL, EFFORT],
        &[],
        Shape::Object(&[Field::required("turn", TURN)]),
        "continue work; nothing that would change folder, sandbox or approvals, which stick to later turns",
    ),
    work(
        "turn/steer",
        (OF_THREAD, Retry::ByClientId),
        &[THREAD_ID, INPUT, CLIENT_ID, Field::required("expectedTurnId", ID)],
        &[],
        Shape::Object(&[Field::required("turnId", ANY)]),
        "continue work",
    ),
    change(
        "turn/interrupt",
        (Right::Operator, OF_THREAD, Retry::Idempotent),
        &[THREAD_ID, Field::required("turnId", ID)],
        Shape::Object(&[]),
        "stop the agent's own work",
    ),
    read(
        "model/list",
        Subject::Host,
        &[Field::optional("cursor", CURSOR), Field::optional("limit", PAGE)],
        &[],
        Shape::Object(&MODELS_PAGE),
        "pick a model and its effort",
    ),
    host_only("initialize", "the connection to Codex is the host's"),
];
