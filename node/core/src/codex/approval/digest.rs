//! The digest of what is shown: SHA-256 over every field in order, through [`Transcript`].
//!
//! Lists are preceded by their count, the act by its name, so no two contents share an encoding. The patterns name
//! every field: a new one doesn't compile until it is hashed.

use super::{Act, Change, Content};
use crate::session::transcript::Transcript;

/// The first field of every digest.
const DOMAIN: &str = "farhelm/1 approval";

impl Content {
    /// What a decision is bound to. The identifiers around the content are in the signed statement
    /// ([`crate::codex::decision::Statement`]), not in here.
    pub fn digest(&self) -> [u8; 32] {
        let Self { act, reason, approval_policy, sandbox, workspace } = self;
        let to = add_act(Transcript::new(DOMAIN), act).optional(reason.as_deref());
        to.text(approval_policy).text(sandbox).text(workspace).finish()
    }
}

fn add_act(to: Transcript, act: &Act) -> Transcript {
    match act {
        Act::Command { command, folder, permissions } => {
            to.text("command").text(command).text(folder).optional(permissions.as_deref())
        }
        Act::Files { changes, grant_root } => {
            let to = to.text("files").number(changes.len() as u64);
            changes.iter().fold(to, add_change).optional(grant_root.as_deref())
        }
        Act::Permissions { permissions, folder } => to.text("permissions").text(permissions).text(folder),
        Act::Withheld { kind, about, why } => to.text("withheld").text(kind).text(about).text(why),
    }
}

fn add_change(to: Transcript, change: &Change) -> Transcript {
    let Change { path, kind, moved_to, diff } = change;
    to.text(path).text(kind).optional(moved_to.as_deref()).text(diff)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::{Value, json};

    use super::*;

    fn contents() -> Vec<Content> {
        let of = |act| Content {
            act,
            reason: Some("because".into()),
            approval_policy: "on-request".into(),
            sandbox: "workspace-write".into(),
            workspace: "/p".into(),
        };
        let change = |path: &str| Change {
            path: path.into(),
            kind: "update".into(),
            moved_to: Some("/new".into()),
            diff: "@@\n-a\n+b\n".into(),
        };
        vec![
            of(Act::Command { command: "ls".into(), folder: "/p".into(), permissions: Some("{}".into()) }),
            of(Act::Files { changes: vec![change("/a"), change("/b")], grant_root: Some("/r".into()) }),
            of(Act::Permissions { permissions: "{}".into(), folder: "/p".into() }),
            of(Act::Withheld { kind: "writeStdin".into(), about: "y".into(), why: "unknown".into() }),
        ]
    }

    /// Every value that differs from `value` in one leaf: a changed text, a text gone, an element fewer or more.
    fn neighbours(value: &Value) -> Vec<Value> {
        match value {
            Value::String(text) => vec![json!(format!("{text}x")), Value::Null],
            Value::Object(map) => {
                let inside = |key: &String, changed| {
                    let mut map = map.clone();
                    map.insert(key.clone(), changed);
                    Value::Object(map)
                };
                map.iter().flat_map(|(key, leaf)| neighbours(leaf).into_iter().map(move |v| inside(key, v))).collect()
            }
            Value::Array(list) => {
                let mut out = vec![json!(list[1..]), json!([list.as_slice(), &list[..1]].concat())];
                out.push(json!(list.iter().rev().collect::<Vec<_>>()));
                for (i, element) in list.iter().enumerate() {
                    for changed in neighbours(element) {
                        let mut list = list.clone();
                        list[i] = changed;
                        out.push(Value::Array(list));
                    }
                }
                out
            }
            _ => Vec::new(),
        }
    }

    #[test]
    fn changing_any_single_field_changes_the_digest() {
        let mut seen = HashSet::new();
        for content in contents() {
            assert!(seen.insert(content.digest()));
            let around = neighbours(&serde_json::to_value(&content).expect("serializes"));
            // A null where a text is required is no content at all.
            let around: Vec<Content> = around.into_iter().filter_map(|v| serde_json::from_value(v).ok()).collect();
            assert!(around.len() >= 6);
            for other in around {
                assert!(seen.insert(other.digest()), "same digest: {other:?}");
            }
        }
    }

    #[test]
    fn text_can_not_move_between_neighbouring_fields() {
        let command = |command: &str, folder: &str| Content {
            act: Act::Command { command: command.into(), folder: folder.into(), permissions: None },
            ..contents().remove(0)
        };
        assert_ne!(command("rm x", "/p").digest(), command("rm", " x/p").digest());
    }
}
