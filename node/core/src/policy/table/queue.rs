//! Messages that wait until the turn before them has completed.

use super::super::words::{ALL, ANY, CONTENT, TURN};
use super::super::{Field, Shape};
use super::fields::{CURSOR, ID, INPUT, LIMIT, NOTHING, OF_THREAD, THREAD_ID, page};
use super::{Method, Retry, change, read, work};

const QUEUED: Shape = Shape::Object(&[
    Field::required("id", ANY),
    Field::optional("clientUserMessageId", ANY),
    Field::optional("input", Shape::List(ALL, &CONTENT)),
]);
const ONE_QUEUED: Shape = Shape::Object(&[Field::required("queuedSubmission", QUEUED)]);
const QUEUE_PAGE: [Field; 3] = page(&QUEUED);
const QUEUED_ID: Field = Field::required("queuedSubmissionId", ID);

const QUEUES: &str = "messages that wait are prompts, as turn/start";

pub(super) const METHODS: &[Method] = &[
    read("thread/queue/list", OF_THREAD, &[THREAD_ID, CURSOR, LIMIT], Shape::Object(&QUEUE_PAGE), QUEUES),
    // An idle thread starts on it at once.
    work(
        "thread/queue/add",
        (OF_THREAD, Retry::AtMostOnce),
        &[THREAD_ID, INPUT, Field::required("clientUserMessageId", Shape::Text(64))],
        ONE_QUEUED,
        QUEUES,
    ),
    work(
        "thread/queue/start",
        (OF_THREAD, Retry::AtMostOnce),
        &[THREAD_ID, Field::optional("queuedSubmissionId", ID)],
        Shape::Object(&[Field::required("turn", TURN)]),
        QUEUES,
    ),
    // It will be worked on, so the floor holds as for a new one.
    work("thread/queue/update", (OF_THREAD, Retry::Idempotent), &[THREAD_ID, QUEUED_ID, INPUT], ONE_QUEUED, QUEUES),
    change(
        "thread/queue/delete",
        (OF_THREAD, Retry::Idempotent),
        &[THREAD_ID, QUEUED_ID],
        Shape::Object(&[Field::required("deleted", Shape::Bool)]),
        QUEUES,
    ),
    change(
        "thread/queue/reorder",
        (OF_THREAD, Retry::Idempotent),
        &[THREAD_ID, Field::required("queuedSubmissionIds", Shape::List(1000, &ID))],
        NOTHING,
        QUEUES,
    ),
];
