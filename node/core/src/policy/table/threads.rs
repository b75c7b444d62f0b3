//! Finding threads, reading them, and keeping them in order.

use super::super::words::{ANY, ERROR, GOAL, ITEM, NUMBER, THREAD};
use super::super::{Field, Shape};
use super::fields::{
    ARCHIVED, CURSOR, DIRECTION, ID, IDS_PAGE, ITEMS_PAGE, LIMIT, LINE, NOTHING, OF_THREAD, PATH, SORT_KEY, THREAD_ID,
    THREADS_PAGE, TURN_ID, TURNS_PAGE, page,
};
use super::{Method, Retry, Subject, change, read};

const FOUND: [Field; 3] = page(&Shape::Object(&[Field::required("thread", THREAD), Field::optional("snippet", ANY)]));

const OCCURRENCES: [Field; 3] = page(&Shape::Object(&[
    Field::required("turnId", ANY),
    Field::required("itemId", ANY),
    Field::optional("turnCursor", ANY),
    Field::optional("snippet", ANY),
    Field::optional(
        "snippetMatchRange",
        Shape::Object(&[Field::required("start", NUMBER), Field::required("end", NUMBER)]),
    ),
]));

/// What is attached travels on its own ways; here only that it is there.
const ATTACHMENTS: [Field; 3] = page(&Shape::Object(&[
    Field::required("id", ANY),
    Field::optional("attachmentType", ANY),
    Field::optional("createdAt", NUMBER),
]));

const TERMINALS: [Field; 3] = page(&Shape::Object(&[
    Field::required("processId", ANY),
    Field::optional("command", ANY),
    Field::optional("cwd", ANY),
    Field::optional("itemId", ANY),
]));

/// Voice isn't for phones, so of its entries only the kind is kept.
const TIMELINE: [Field; 3] = page(&Shape::Tagged(
    &[
        ("item", &[Field::required("item", ITEM), Field::optional("turnId", ANY), Field::optional("position", NUMBER)]),
        (
            "turnStarted",
            &[
                Field::required("turn_id", ANY),
                Field::optional("started_at", NUMBER),
                Field::optional("position", NUMBER),
            ],
        ),
        (
            "turnCompleted",
            &[
                Field::required("turn_id", ANY),
                Field::optional("status", ANY),
                Field::optional("error", ERROR),
                Field::optional("started_at", NUMBER),
                Field::optional("completed_at", NUMBER),
                Field::optional("duration_ms", NUMBER),
                Field::optional("position", NUMBER),
            ],
        ),
    ],
    &[],
));

const READS: &str = "read threads, turns, outputs";
const KEEPS: &str = "names and places of threads; it can be undone";

pub(super) const METHODS: &[Method] = &[
    read(
        "thread/list",
        Subject::Threads("data"),
        &[
            CURSOR,
            LIMIT,
            SORT_KEY,
            DIRECTION,
            ARCHIVED,
            Field::optional("searchTerm", LINE),
            // It only narrows the list, which is held against the device's folders afterwards.
            Field::optional("cwd", PATH),
        ],
        Shape::Object(&THREADS_PAGE),
        READS,
    ),
    read("thread/loaded/list", Subject::ThreadIds("data"), &[CURSOR, LIMIT], Shape::Object(&IDS_PAGE), READS),
    read(
        "thread/search",
        Subject::Threads("data"),
        &[Field::required("searchTerm", LINE), CURSOR, LIMIT, SORT_KEY, DIRECTION, ARCHIVED],
        Shape::Object(&FOUND),
        READS,
    ),
    read(
        "thread/searchOccurrences",
        OF_THREAD,
        &[THREAD_ID, Field::required("searchTerm", LINE), CURSOR, LIMIT],
        Shape::Object(&OCCURRENCES),
        READS,
    ),
    read(
        "thread/read",
        OF_THREAD,
        &[THREAD_ID, Field::optional("includeTurns", Shape::Bool)],
        Shape::Object(&[Field::required("thread", THREAD)]),
        READS,
    ),
    read(
        "thread/turns/list",
        OF_THREAD,
        &[
            THREAD_ID,
            CURSOR,
            LIMIT,
            DIRECTION,
            Field::optional("itemsView", Shape::OneOf(&["notLoaded", "summary", "full"])),
        ],
        Shape::Object(&TURNS_PAGE),
        READS,
    ),
    read(
        "thread/items/list",
        OF_THREAD,
        &[THREAD_ID, Field::optional("turnId", ID), CURSOR, LIMIT, DIRECTION],
        Shape::Object(&ITEMS_PAGE),
        READS,
    ),
    read(
        "thread/items/read",
        OF_THREAD,
        &[THREAD_ID, TURN_ID, Field::required("itemIds", Shape::List(100, &ID))],
        Shape::Object(&ITEMS_PAGE),
        READS,
    ),
    read("thread/timeline/list", OF_THREAD, &[THREAD_ID, CURSOR, LIMIT], Shape::Object(&TIMELINE), READS),
    read("thread/goal/get", OF_THREAD, &[THREAD_ID], Shape::Object(&[Field::optional("goal", GOAL)]), READS),
    read(
        "thread/attachment/list",
        OF_THREAD,
        &[THREAD_ID, CURSOR, LIMIT],
        Shape::Object(&ATTACHMENTS),
        "that something is attached, without its content",
    ),
    read(
        "thread/backgroundTerminals/list",
        OF_THREAD,
        &[THREAD_ID, CURSOR, LIMIT],
        Shape::Object(&TERMINALS),
        "what the agent left running",
    ),
    change(
        "thread/name/set",
        (OF_THREAD, Retry::Idempotent),
        // Codex itself takes a name of 15 MiB.
        &[THREAD_ID, Field::required("name", LINE)],
        NOTHING,
        KEEPS,
    ),
    change("thread/archive", (OF_THREAD, Retry::Idempotent), &[THREAD_ID], NOTHING, KEEPS),
    change(
        "thread/unarchive",
        (OF_THREAD, Retry::Idempotent),
        &[THREAD_ID],
        Shape::Object(&[Field::required("thread", THREAD)]),
        KEEPS,
    ),
    change(
        "thread/section/move",
        (OF_THREAD, Retry::Idempotent),
        &[THREAD_ID, Field::required("sectionId", ID)],
        NOTHING,
        KEEPS,
    ),
    change(
        "thread/readState/update",
        (OF_THREAD, Retry::AtMostOnce),
        &[
            THREAD_ID,
            Field::required("expectedRevision", ID),
            Field::required("operation", Shape::Tagged(&[("read", &[]), ("unread", &[])], &[])),
        ],
        Shape::Object(&[Field::required(
            "readState",
            Shape::Object(&[
                Field::required("revision", ANY),
                Field::optional(
                    "firstUnread",
                    Shape::Tagged(&[("threadStart", &[]), ("turn", &[Field::required("turnId", ANY)])], &[]),
                ),
            ]),
        )]),
        "what counts as read, at the desk too",
    ),
    change(
        "thread/backgroundTerminals/terminate",
        (OF_THREAD, Retry::Idempotent),
        &[THREAD_ID, Field::required("processId", ID)],
        Shape::Object(&[Field::required("terminated", Shape::Bool)]),
        "stop a process that the agent started; an interrupted turn leaves it running",
    ),
    change(
        "thread/backgroundTerminals/clean",
        (OF_THREAD, Retry::Idempotent),
        &[THREAD_ID],
        NOTHING,
        "stop the processes that the agent started; an interrupted turn leaves them running",
    ),
];
