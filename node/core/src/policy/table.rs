//! The method table: what a phone may call, as data.
//!
//! One entry a method, each with its verdict, the fields a phone may send, the fields the host puts in, and what of
//! the result goes back. What isn't here is denied. The verdicts are those of the app-server 0.169.0; a release that
//! adds a field changes nothing until it is named here.

use super::shape::Constant;
use super::words::{ALL, ANY, APPROVAL_POLICY, ITEM, SANDBOX, THREAD, TURN};
use super::{Field, Fill, Given, Shape};
use crate::wire::limits;

/// Whether a phone may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Yes, with rebuilt parameters.
    Allow,
    /// No.
    Deny,
    /// No: the host itself calls it where needed.
    HostOnly,
}

/// A method of the app-server.
#[derive(Debug, Clone, Copy)]
pub struct Method {
    /// Its name.
    pub name: &'static str,
    /// Whether a phone may call it.
    pub verdict: Verdict,
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

const fn allow(
    name: &'static str,
    params: &'static [Field],
    given: &'static [Given],
    result: Shape,
    reason: &'static str,
) -> Method {
    Method { name, verdict: Verdict::Allow, params, given, result, reason }
}

const fn host_only(name: &'static str, reason: &'static str) -> Method {
    Method { name, verdict: Verdict::HostOnly, params: &[], given: &[], result: Shape::Object(&[]), reason }
}

/// An id of Codex's, or an opaque cursor.
const ID: Shape = Shape::Text(256);
const CURSOR: Shape = Shape::Text(4096);
const PAGE: Shape = Shape::Int(1, 100);
const DIRECTION: Shape = Shape::OneOf(&["asc", "desc"]);
const ITEMS_VIEW: Shape = Shape::OneOf(&["notLoaded", "summary", "full"]);

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
    allow(
        "thread/list",
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
    allow(
        "thread/loaded/list",
        &[Field::optional("cursor", CURSOR), Field::optional("limit", PAGE)],
        &[],
        Shape::Object(&IDS_PAGE),
        "read threads, turns, outputs",
    ),
    allow(
        "thread/read",
        &[THREAD_ID, Field::optional("includeTurns", Shape::Bool)],
        &[],
        Shape::Object(&[Field::required("thread", THREAD)]),
        "read threads, turns, outputs",
    ),
    // Everything a resume may override would widen or move the thread, so a phone sends the id alone. Asking for all
    // turns at once is deprecated; the newest page comes along, older ones by thread/turns/list.
    allow(
        "thread/resume",
        &[THREAD_ID],
        &[
            Given { name: "excludeTurns", fill: Fill::True },
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
    ),
    // Codex marks the folder as trusted in its config.toml, so the folder is the host's to choose.
    allow(
        "thread/start",
        &[MODEL],
        &[
            Given { name: "cwd", fill: Fill::Folder },
            Given { name: "approvalPolicy", fill: Fill::ApprovalPolicy },
            Given { name: "sandbox", fill: Fill::Sandbox },
        ],
        OPENED,
        "start work, in the host's folder and under the host's rules",
    ),
    allow(
        "thread/turns/list",
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
    allow(
        "thread/items/list",
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
    allow(
        "turn/start",
        &[THREAD_ID, INPUT, CLIENT_ID, MODEL, EFFORT],
        &[],
        Shape::Object(&[Field::required("turn", TURN)]),
        "continue work; nothing that would change folder, sandbox or approvals, which stick to later turns",
    ),
    allow(
        "turn/steer",
        &[THREAD_ID, INPUT, CLIENT_ID, Field::required("expectedTurnId", ID)],
        &[],
        Shape::Object(&[Field::required("turnId", ANY)]),
        "continue work",
    ),
    allow(
        "turn/interrupt",
        &[THREAD_ID, Field::required("turnId", ID)],
        &[],
        Shape::Object(&[]),
        "stop the agent's own work",
    ),
    allow(
        "model/list",
        &[Field::optional("cursor", CURSOR), Field::optional("limit", PAGE)],
        &[],
        Shape::Object(&MODELS_PAGE),
        "pick a model and its effort",
    ),
    host_only("initialize", "the connection to Codex is the host's"),
];
