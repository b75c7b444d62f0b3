//! What has the agent work, and what stops it.

use super::super::shape::Constant;
use super::super::words::{ANY, TURN};
use super::super::{Field, Fill, Given, Right, Shape};
use super::fields::{
    CLIENT_ID, EFFORT, ID, INPUT, LINE, MODE, MODEL, NOTHING, OF_THREAD, OPENED, PATH, SERVICE_TIER, SUMMARY,
    THREAD_ID, TURN_ID,
};
use super::{Effect, Method, Retry, Subject, change, read, work};
use crate::wire::limits;

const STARTED: Shape = Shape::Object(&[Field::required("turn", TURN)]);

/// The turns come page by page; all of them at once is deprecated.
const WITHOUT_TURNS: Given = Given { name: "excludeTurns", fill: Fill::True };

const HELD_DOWN: Given = Given { name: "config", fill: Fill::HoldDown };

pub(super) const METHODS: &[Method] = &[
    // Codex marks the folder as trusted in its config.toml unless it is already, so the host knows which ones to offer.
    work(
        "thread/start",
        (Subject::Folder("cwd"), Retry::AtMostOnce),
        &[Field::optional("cwd", PATH), MODEL],
        OPENED,
        "start work, in a folder the host offers and under the host's rules",
    )
    .giving(&[
        Given { name: "cwd", fill: Fill::Folder },
        Given { name: "approvalPolicy", fill: Fill::ApprovalPolicy },
        Given { name: "sandbox", fill: Fill::Sandbox },
        HELD_DOWN,
    ]),
    // Everything a resume may override would widen or move the thread, so a phone sends the id alone.
    Method {
        effect: Effect::Change,
        ..read(
            "thread/resume",
            OF_THREAD,
            &[THREAD_ID],
            OPENED,
            "load a thread, in its own folder and under its own rules",
        )
    }
    .needs(Right::Operator)
    .giving(&[
        WITHOUT_TURNS,
        // Heeded when the thread wasn't loaded; one that the desk has open stays as it is there.
        HELD_DOWN,
        Given {
            name: "initialTurnsPage",
            fill: Fill::Object(&[
                ("limit", Constant::Number(20)),
                ("sortDirection", Constant::Text("desc")),
                ("itemsView", Constant::Text("full")),
            ]),
        },
    ]),
    // A copy keeps the folder and the rules of its thread.
    work(
        "thread/fork",
        (OF_THREAD, Retry::AtMostOnce),
        &[THREAD_ID, Field::optional("lastTurnId", ID), Field::optional("beforeTurnId", ID)],
        OPENED,
        "go on in a copy of a thread, in its folder and under its rules",
    )
    .giving(&[WITHOUT_TURNS, HELD_DOWN]),
    work(
        "turn/start",
        (OF_THREAD, Retry::ByClientId),
        &[THREAD_ID, INPUT, CLIENT_ID, MODEL, EFFORT, SUMMARY, SERVICE_TIER, MODE],
        STARTED,
        "continue work; nothing that would change folder, sandbox or approvals, which stick to later turns",
    ),
    work(
        "turn/steer",
        (OF_THREAD, Retry::ByClientId),
        &[THREAD_ID, INPUT, CLIENT_ID, Field::required("expectedTurnId", ID)],
        Shape::Object(&[Field::required("turnId", ANY)]),
        "say something to the turn that runs",
    ),
    change(
        "turn/interrupt",
        (OF_THREAD, Retry::Idempotent),
        &[THREAD_ID, TURN_ID],
        NOTHING,
        "stop the agent's own work",
    ),
    // Reviews run inline: one in a thread of its own would be a thread that nobody opened.
    work(
        "review/start",
        (OF_THREAD, Retry::AtMostOnce),
        &[
            THREAD_ID,
            Field::required(
                "target",
                Shape::Tagged(
                    &[
                        ("uncommittedChanges", &[]),
                        ("baseBranch", &[Field::required("branch", LINE)]),
                        ("commit", &[Field::required("sha", LINE), Field::optional("title", LINE)]),
                        ("custom", &[Field::required("instructions", Shape::Text(limits::PROMPT))]),
                    ],
                    &[],
                ),
            ),
        ],
        Shape::Object(&[Field::required("turn", TURN), Field::optional("reviewThreadId", ANY)]),
        "review changes; a custom one is a prompt, as turn/start",
    ),
    work(
        "thread/compact/start",
        (OF_THREAD, Retry::AtMostOnce),
        &[THREAD_ID],
        NOTHING,
        "shorten what the model has to read",
    ),
    change(
        "thread/settings/update",
        (OF_THREAD, Retry::Idempotent),
        &[THREAD_ID, MODEL, EFFORT, SUMMARY, SERVICE_TIER],
        NOTHING,
        "pick a model and its effort; nothing that would change folder, sandbox or approvals",
    ),
    change(
        "turn/settings/update",
        (OF_THREAD, Retry::Idempotent),
        &[THREAD_ID, TURN_ID, MODEL, EFFORT, SUMMARY, SERVICE_TIER],
        Shape::Object(&[Field::required("status", ANY)]),
        "pick a model and its effort for the turn that runs",
    ),
];
