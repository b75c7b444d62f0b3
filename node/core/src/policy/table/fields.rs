//! Fields that many methods share.

use super::super::words::{ALL, ANY, APPROVAL_POLICY, ITEM, SANDBOX, THREAD, TURN};
use super::super::{Field, Shape};
use super::Subject;
use crate::wire::limits;

/// An id of Codex's.
pub(super) const ID: Shape = Shape::Text(256);
/// A search term, a name, a branch.
pub(super) const LINE: Shape = Shape::Text(256);
/// A folder's path.
pub(super) const PATH: Shape = Shape::Text(4096);

pub(super) const OF_THREAD: Subject = Subject::Thread("threadId");
pub(super) const THREAD_ID: Field = Field::required("threadId", ID);
pub(super) const TURN_ID: Field = Field::required("turnId", ID);
/// Opaque.
pub(super) const CURSOR: Field = Field::optional("cursor", Shape::Text(4096));
pub(super) const LIMIT: Field = Field::optional("limit", Shape::Int(1, 100));
pub(super) const DIRECTION: Field = Field::optional("sortDirection", Shape::OneOf(&["asc", "desc"]));
pub(super) const ARCHIVED: Field = Field::optional("archived", Shape::Bool);
pub(super) const SORT_KEY: Field =
    Field::optional("sortKey", Shape::OneOf(&["created_at", "updated_at", "recency_at"]));

/// Text, and images that are carried whole. What names a path of the host (`localImage`, `localAudio`, `skill`,
/// `mention`) or an address that the host would fetch is not for phones.
pub(super) const INPUT: Field = Field::required(
    "input",
    Shape::AtMost(
        limits::IMAGES,
        "image",
        &Shape::List(
            8,
            &Shape::Tagged(
                &[
                    ("text", &[Field::required("text", Shape::Text(limits::PROMPT))]),
                    ("image", &[Field::required("url", Shape::DataImage(limits::IMAGE))]),
                ],
                &[],
            ),
        ),
    ),
);

/// By this id a phone finds its message again when the answer was lost.
pub(super) const CLIENT_ID: Field = Field::optional("clientUserMessageId", Shape::Text(64));
pub(super) const MODEL: Field = Field::optional("model", Shape::Text(64));
pub(super) const EFFORT: Field = Field::optional("effort", Shape::Text(32));
pub(super) const SUMMARY: Field = Field::optional("summary", Shape::OneOf(&["auto", "concise", "detailed", "none"]));
pub(super) const SERVICE_TIER: Field = Field::optional("serviceTier", Shape::Text(64));

/// Plan or work. The instructions a mode could bring are not for phones.
pub(super) const MODE: Field = Field::optional(
    "collaborationMode",
    Shape::Object(&[
        Field::required("mode", Shape::OneOf(&["plan", "default"])),
        Field::required(
            "settings",
            Shape::Object(&[
                Field::required("model", Shape::Text(64)),
                Field::optional("reasoning_effort", Shape::Text(32)),
            ]),
        ),
    ]),
);

/// A result without content.
pub(super) const NOTHING: Shape = Shape::Object(&[]);

/// A page of rows.
pub(super) const fn page(of: &'static Shape) -> [Field; 3] {
    [
        Field::required("data", Shape::List(ALL, of)),
        Field::optional("nextCursor", ANY),
        Field::optional("backwardsCursor", ANY),
    ]
}

pub(super) const THREADS_PAGE: [Field; 3] = page(&THREAD);
pub(super) const IDS_PAGE: [Field; 3] = page(&ANY);
pub(super) const TURNS_PAGE: [Field; 3] = page(&TURN);
const ENTRY: Shape = Shape::Object(&[Field::required("turnId", ANY), Field::required("item", ITEM)]);
pub(super) const ITEMS_PAGE: [Field; 3] = page(&ENTRY);

/// A thread with its effective settings, as start, resume and fork answer.
pub(super) const OPENED: Shape = Shape::Object(&[
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
