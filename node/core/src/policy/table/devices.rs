//! Looking after the host's devices from an owner's phone: answered by the host, no methods of Codex's.
//!
//! What an owner's phone can't do, a stolen one can't: make an owner, lower or remove one, or thaw a frozen host. That
//! takes the desk. The host holds further: nothing is given beyond what the asking device has itself.

use super::super::words::{ANY, NUMBER, TEXTS};
use super::super::{Field, Right, Shape};
use super::fields::{ID, LINE, NOTHING};
use super::{Method, Retry, Subject, Verdict, change, read};

/// A device's peer id: names are other people's text, and two may have the same.
const DEVICE: Field = Field::required("device", ID);
const RIGHTS: Shape = Shape::OneOf(&["viewer", "approver", "operator"]);
/// Folders in one grant at most; the host bounds their bytes.
const FOLDERS: Shape = Shape::List(32, &Shape::Text(4096));
/// The last moment that a number of JavaScript can tell.
const MS: Shape = Shape::Int(0, 9_007_199_254_740_991);

const ROW: Shape = Shape::Object(&[
    Field::required("device", ANY),
    Field::required("name", ANY),
    Field::required("right", ANY),
    Field::optional("folders", TEXTS),
    Field::optional("untilMs", NUMBER),
    Field::required("expired", Shape::Bool),
    Field::required("pairedAtMs", NUMBER),
    Field::optional("lastSeenMs", NUMBER),
    Field::required("self", Shape::Bool),
]);
const ONE: Shape = Shape::Object(&[Field::required("device", ROW)]);

const LOOKS_AFTER: &str = "an owner looks after the devices";

pub(super) const METHODS: &[Method] = &[
    own(read(
        "farhelm/devices/list",
        Subject::Host,
        &[],
        Shape::Object(&[Field::required("data", Shape::List(usize::MAX, &ROW))]),
        LOOKS_AFTER,
    )),
    own(changes("farhelm/devices/rename", &[DEVICE, Field::required("name", LINE)], ONE, LOOKS_AFTER)),
    own(changes(
        "farhelm/devices/grant",
        &[
            DEVICE,
            Field::optional("right", RIGHTS),
            Field::optional("folders", FOLDERS),
            Field::optional("hostFolders", Shape::Bool),
            Field::optional("untilMs", MS),
            Field::optional("forGood", Shape::Bool),
        ],
        ONE,
        "no more than the owner has, and neither to an owner nor making one",
    )),
    own(changes("farhelm/devices/revoke", &[DEVICE], ONE, "owners are removed at the desk")),
    own(changes("farhelm/freeze", &[], NOTHING, "thawing takes the desk")),
];

const fn changes(name: &'static str, params: &'static [Field], result: Shape, reason: &'static str) -> Method {
    change(name, (Subject::Host, Retry::Idempotent), params, result, reason)
}

const fn own(method: Method) -> Method {
    Method { verdict: Verdict::Own, right: Right::Owner, ..method }
}
