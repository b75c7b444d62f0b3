//! What Codex's objects look like to a phone (app-server 0.169.0).
//!
//! Left out on purpose:
//! - of a thread its rollout path, session and account ids, a repository's remote (it may carry a token), instruction
//!   files;
//! - of an item raw reasoning, memory citations, plugin and process ids, host paths of scripts, skills and attachments;
//!   of tools their structured results (the text says the same) and user interface resources; of web searches the
//!   results; of agents the state of each (an agent is a thread of its own); of prompts a hook's run id;
//! - of an image everything but that it is there: bytes in items would be echoed to every phone. They are read one by
//!   one, by item and index ([`crate::codex::thread::Item::images`]).

use super::{Field, Shape};

/// Any text: filtering doesn't shorten, the message as a whole is bounded.
pub(super) const ANY: Shape = Shape::Text(usize::MAX);
/// Any number.
pub(super) const NUMBER: Shape = Shape::Int(i64::MIN, i64::MAX);
/// As many as there are.
pub(super) const ALL: usize = usize::MAX;
/// Any texts.
pub(super) const TEXTS: Shape = Shape::List(ALL, &ANY);

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

const TEXT: &[Field] = &[Field::required("text", ANY)];

/// A part of a person's message. Of one that isn't text only its type.
pub(super) const CONTENT: Shape = Shape::Tagged(&[("text", TEXT)], &[]);

/// A part of what a tool answered (Model Context Protocol): text, and of images and sounds their type.
const TOOL_CONTENT: Shape = Shape::Tagged(
    &[
        ("text", TEXT),
        ("resource", &[Field::optional("resource", Shape::Object(&[Field::optional("text", ANY)]))]),
        ("resource_link", &[Field::optional("uri", ANY)]),
    ],
    &[],
);

const TOOL_RESULT: Shape = Shape::Object(&[Field::optional("content", Shape::List(ALL, &TOOL_CONTENT))]);

/// What a function answered: text, or parts of which the texts are kept.
const FUNCTION_OUTPUT: Shape = Shape::Either(&[ANY, Shape::List(ALL, &Shape::Tagged(&[("input_text", TEXT)], &[]))]);

const SEARCH_ACTION: Shape = Shape::Tagged(
    &[
        ("search", &[Field::optional("query", ANY), Field::optional("queries", TEXTS)]),
        ("openPage", &[Field::optional("url", ANY)]),
        ("findInPage", &[Field::optional("url", ANY), Field::optional("pattern", ANY)]),
    ],
    &[],
);

const ID: Field = Field::required("id", ANY);
const ITEM_STATUS: Field = Field::optional("status", ANY);
const DURATION: Field = Field::optional("durationMs", NUMBER);

/// Every kind of thread item; of a kind that is new, its name.
pub(super) const ITEM: Shape = Shape::Tagged(
    &[
        (
            "userMessage",
            &[ID, Field::optional("clientId", ANY), Field::optional("content", Shape::List(ALL, &CONTENT))],
        ),
        ("agentMessage", &[ID, Field::optional("text", ANY), Field::optional("phase", ANY)]),
        ("plan", &[ID, Field::optional("text", ANY)]),
        ("reasoning", &[ID, Field::optional("summary", TEXTS)]),
        (
            "commandExecution",
            &[
                ID,
                Field::optional("command", ANY),
                Field::optional("cwd", ANY),
                ITEM_STATUS,
                Field::optional("source", ANY),
                Field::optional("aggregatedOutput", ANY),
                Field::optional("exitCode", NUMBER),
                DURATION,
            ],
        ),
        ("fileChange", &[ID, Field::optional("changes", CHANGES), ITEM_STATUS]),
        (
            "mcpToolCall",
            &[
                ID,
                Field::optional("server", ANY),
                Field::optional("tool", ANY),
                ITEM_STATUS,
                Field::optional("arguments", Shape::Json),
                Field::optional("result", TOOL_RESULT),
                Field::optional("error", ERROR),
                DURATION,
            ],
        ),
        (
            "dynamicToolCall",
            &[
                ID,
                Field::optional("namespace", ANY),
                Field::optional("tool", ANY),
                ITEM_STATUS,
                Field::optional("success", Shape::Bool),
                Field::optional("arguments", Shape::Json),
                Field::optional("contentItems", Shape::List(ALL, &Shape::Tagged(&[("inputText", TEXT)], &[]))),
                DURATION,
            ],
        ),
        (
            "functionCallOutput",
            &[
                ID,
                Field::optional("namespace", ANY),
                Field::optional("name", ANY),
                Field::optional("output", FUNCTION_OUTPUT),
            ],
        ),
        (
            "collabAgentToolCall",
            &[
                ID,
                Field::optional("tool", ANY),
                ITEM_STATUS,
                Field::optional("receiverThreadIds", TEXTS),
                Field::optional("prompt", ANY),
                Field::optional("model", ANY),
            ],
        ),
        (
            "subAgentActivity",
            &[
                ID,
                Field::optional("kind", ANY),
                Field::optional("agentPath", ANY),
                Field::optional("agentThreadId", ANY),
                Field::optional("model", ANY),
            ],
        ),
        ("webSearch", &[ID, Field::optional("query", ANY), Field::optional("action", SEARCH_ACTION)]),
        ("imageView", &[ID, Field::optional("path", ANY)]),
        (
            "imageGeneration",
            &[
                ID,
                ITEM_STATUS,
                Field::optional("revisedPrompt", ANY),
                Field::optional("failure", Shape::Tagged(&[], &[])),
            ],
        ),
        ("sleep", &[ID, DURATION]),
        ("enteredReviewMode", &[ID, Field::optional("review", ANY)]),
        ("exitedReviewMode", &[ID, Field::optional("review", ANY)]),
        ("contextCompaction", &[ID]),
        ("hookPrompt", &[ID, Field::optional("fragments", Shape::List(ALL, &Shape::Object(TEXT)))]),
    ],
    &[ID],
);

/// The steps of a turn's plan.
pub(super) const PLAN_STEPS: Shape =
    Shape::List(ALL, &Shape::Object(&[Field::required("step", ANY), Field::optional("status", ANY)]));

const TOKENS: Shape = Shape::Object(&[
    Field::optional("totalTokens", NUMBER),
    Field::optional("inputTokens", NUMBER),
    Field::optional("cachedInputTokens", NUMBER),
    Field::optional("outputTokens", NUMBER),
    Field::optional("reasoningOutputTokens", NUMBER),
]);

/// What a thread used.
pub(super) const USAGE: Shape = Shape::Object(&[
    Field::optional("total", TOKENS),
    Field::optional("last", TOKENS),
    Field::optional("modelContextWindow", NUMBER),
]);

/// What a thread works towards.
pub(super) const GOAL: Shape = Shape::Object(&[
    Field::required("objective", ANY),
    Field::optional("threadId", ANY),
    Field::optional("status", ANY),
    Field::optional("tokenBudget", NUMBER),
    Field::optional("tokensUsed", NUMBER),
    Field::optional("timeUsedSeconds", NUMBER),
    Field::optional("createdAt", NUMBER),
    Field::optional("updatedAt", NUMBER),
]);

const LIMIT_WINDOW: Shape = Shape::Object(&[
    Field::required("usedPercent", NUMBER),
    Field::optional("resetsAt", NUMBER),
    Field::optional("windowDurationMins", NUMBER),
]);

/// How much the account may still do; not what it costs.
pub(super) const RATE_LIMITS: Shape = Shape::Object(&[
    Field::optional("limitId", ANY),
    Field::optional("limitName", ANY),
    Field::optional("planType", ANY),
    Field::optional("primary", LIMIT_WINDOW),
    Field::optional("secondary", LIMIT_WINDOW),
    Field::optional(
        "credits",
        Shape::Object(&[Field::optional("hasCredits", Shape::Bool), Field::optional("unlimited", Shape::Bool)]),
    ),
    Field::optional("rateLimitReachedType", ANY),
    Field::optional("spendControlReached", Shape::Bool),
]);

/// How Codex's own reviewer judges a request.
pub(super) const REVIEW: Shape = Shape::Object(&[
    Field::required("status", ANY),
    Field::optional("riskLevel", ANY),
    Field::optional("userAuthorization", ANY),
    Field::optional("rationale", ANY),
]);

/// What Codex's own reviewer judges.
pub(super) const REVIEWED: Shape = Shape::Tagged(
    &[
        ("command", &[Field::required("command", ANY), Field::optional("cwd", ANY)]),
        ("execve", &[Field::required("program", ANY), Field::optional("argv", TEXTS), Field::optional("cwd", ANY)]),
        ("writeStdin", &[Field::required("stdin", ANY), Field::optional("cwd", ANY)]),
        ("applyPatch", &[Field::required("files", TEXTS), Field::optional("cwd", ANY)]),
        (
            "networkAccess",
            &[
                Field::required("target", ANY),
                Field::optional("host", ANY),
                Field::optional("port", NUMBER),
                Field::optional("protocol", ANY),
            ],
        ),
        (
            "mcpToolCall",
            &[Field::required("server", ANY), Field::required("toolName", ANY), Field::optional("toolTitle", ANY)],
        ),
        ("requestPermissions", &[Field::optional("reason", ANY)]),
    ],
    &[],
);

/// A run of a hook, without where the hook lies.
pub(super) const HOOK_RUN: Shape = Shape::Object(&[
    ID,
    Field::optional("eventName", ANY),
    ITEM_STATUS,
    Field::optional("statusMessage", ANY),
    DURATION,
    Field::optional(
        "entries",
        Shape::List(ALL, &Shape::Object(&[Field::optional("kind", ANY), Field::required("text", ANY)])),
    ),
]);
