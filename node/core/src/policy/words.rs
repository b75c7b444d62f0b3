//! What Codex's objects look like to a phone (app-server 0.169.0).
//!
//! Left out on purpose: a thread's rollout path, session and account ids, a repository's remote (it may carry a
//! token), instruction files, raw reasoning, image bytes.

use super::{Field, Shape};

/// Any text: filtering doesn't shorten, the message as a whole is bounded.
pub(super) const ANY: Shape = Shape::Text(usize::MAX);
/// Any number.
pub(super) const NUMBER: Shape = Shape::Int(i64::MIN, i64::MAX);
/// As many as there are.
pub(super) const ALL: usize = usize::MAX;

pub(super) const STATUS: Shape =
    Shape::Tagged(&[("active", &[Field::optional("activeFlags", Shape::List(ALL, &ANY))])], &[]);

/// `AskForApproval`: a name, or switches one by one.
pub(super) const APPROVAL_POLICY: Shape = Shape::Either(&[
    ANY,
    Shape::Object(&[Field::required(
        "granular",
        Shape::Object(&[
            Field::optional("sandbox_approval", Shape::Bool),
            Field::optional("rules", Shape::Bool),
            Field::optional("skill_approval", Shape::Bool),
            Field::optional("request_permissions", Shape::Bool),
            Field::optional("mcp_elicitations", Shape::Bool),
        ]),
    )]),
]);

pub(super) const SANDBOX: Shape = Shape::Tagged(
    &[
        ("readOnly", &[Field::optional("networkAccess", Shape::Bool)]),
        ("externalSandbox", &[Field::optional("networkAccess", ANY)]),
        (
            "workspaceWrite",
            &[
                Field::optional("writableRoots", Shape::List(ALL, &ANY)),
                Field::optional("networkAccess", Shape::Bool),
                Field::optional("excludeTmpdirEnvVar", Shape::Bool),
                Field::optional("excludeSlashTmp", Shape::Bool),
            ],
        ),
    ],
    &[],
);

const ENVIRONMENT: Shape = Shape::Object(&[Field::optional("environmentId", ANY), Field::optional("cwd", ANY)]);

const GIT: Shape = Shape::Object(&[Field::optional("branch", ANY), Field::optional("sha", ANY)]);

pub(super) const THREAD: Shape = Shape::Object(&[
    Field::required("id", ANY),
    Field::optional("name", ANY),
    Field::optional("preview", ANY),
    Field::optional("cwd", ANY),
    Field::optional("model", ANY),
    Field::optional("reasoningEffort", ANY),
    Field::optional("createdAt", NUMBER),
    Field::optional("updatedAt", NUMBER),
    Field::optional("status", STATUS),
    Field::optional("forkedFromId", ANY),
    Field::optional("parentThreadId", ANY),
    Field::optional("canAcceptDirectInput", Shape::Bool),
    Field::optional("environments", Shape::List(ALL, &ENVIRONMENT)),
    Field::optional("gitInfo", GIT),
    Field::optional("turns", TURNS),
]);

const ERROR_FIELDS: &[Field] = &[Field::optional("message", ANY)];
pub(super) const ERROR: Shape = Shape::Object(ERROR_FIELDS);

pub(super) const TURN: Shape = Shape::Object(&[
    Field::required("id", ANY),
    Field::optional("items", Shape::List(ALL, &ITEM)),
    Field::optional("itemsView", ANY),
    Field::optional("status", ANY),
    Field::optional("error", ERROR),
    Field::optional("startedAt", NUMBER),
    Field::optional("completedAt", NUMBER),
    Field::optional("durationMs", NUMBER),
]);

pub(super) const TURNS: Shape = Shape::List(ALL, &TURN);

pub(super) const CHANGES: Shape = Shape::List(
    ALL,
    &Shape::Object(&[
        Field::required("path", ANY),
        Field::required(
            "kind",
            Shape::Tagged(&[("add", &[]), ("delete", &[]), ("update", &[Field::optional("move_path", ANY)])], &[]),
        ),
        Field::required("diff", ANY),
    ]),
);

/// A part of a person's message. Of an image only that it is there: the bytes would be echoed to every phone.
const CONTENT: Shape = Shape::Tagged(&[("text", &[Field::required("text", ANY)])], &[]);

const ID: Field = Field::required("id", ANY);

pub(super) const ITEM: Shape = Shape::Tagged(
    &[
        (
            "userMessage",
            &[ID, Field::optional("clientId", ANY), Field::optional("content", Shape::List(ALL, &CONTENT))],
        ),
        ("agentMessage", &[ID, Field::optional("text", ANY), Field::optional("phase", ANY)]),
        ("reasoning", &[ID, Field::optional("summary", Shape::List(ALL, &ANY))]),
        (
            "commandExecution",
            &[
                ID,
                Field::optional("command", ANY),
                Field::optional("cwd", ANY),
                Field::optional("status", ANY),
                Field::optional("source", ANY),
                Field::optional("aggregatedOutput", ANY),
                Field::optional("exitCode", NUMBER),
                Field::optional("durationMs", NUMBER),
            ],
        ),
        ("fileChange", &[ID, Field::optional("changes", CHANGES), Field::optional("status", ANY)]),
        ("imageView", &[ID, Field::optional("path", ANY)]),
    ],
    &[ID],
);
