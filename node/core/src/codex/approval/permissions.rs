//! The permissions that `item/permissions/requestApproval` asks for, held against the shape this version knows.
//!
//! # Why so strictly
//! What is accepted is granted exactly as it was shown. A field, an access or a place this version doesn't know could
//! mean more than its name says, so whatever has one is withheld, down to the last leaf.

use serde_json::{Map, Value};

use crate::codex::message::canonical;

/// What is asked for, as canonical JSON text; `None` if something in it is unknown, or if nothing is asked.
pub(super) fn read(asked: &Value) -> Option<String> {
    let parts = only(asked, &["fileSystem", "network"])?;
    let given = parts.values().any(|part| !part.is_null());
    let known = part(parts, "network", is_network) && part(parts, "fileSystem", is_file_system);
    (given && known).then(|| canonical(asked))
}

fn is_network(value: &Value) -> bool {
    only(value, &["enabled"]).is_some_and(|parts| part(parts, "enabled", Value::is_boolean))
}

fn is_file_system(value: &Value) -> bool {
    only(value, &["entries", "globScanMaxDepth", "read", "write"]).is_some_and(|parts| {
        part(parts, "entries", |entries| each(entries, is_entry))
            && part(parts, "globScanMaxDepth", Value::is_u64)
            && part(parts, "read", |paths| each(paths, Value::is_string))
            && part(parts, "write", |paths| each(paths, Value::is_string))
    })
}

fn is_entry(value: &Value) -> bool {
    let Some(entry) = only(value, &["access", "path"]) else { return false };
    let access = entry.get("access").and_then(Value::as_str);
    matches!(access, Some("read" | "write" | "deny")) && entry.get("path").is_some_and(is_place)
}

fn is_place(value: &Value) -> bool {
    let text = |name| value.get(name).is_some_and(Value::is_string);
    match value.get("type").and_then(Value::as_str) {
        Some("path") => only(value, &["type", "path"]).is_some() && text("path"),
        Some("glob_pattern") => only(value, &["type", "pattern"]).is_some() && text("pattern"),
        Some("special") => only(value, &["type", "value"]).is_some() && value.get("value").is_some_and(is_special),
        _ => false,
    }
}

fn is_special(value: &Value) -> bool {
    match value.get("kind").and_then(Value::as_str) {
        Some("root" | "minimal" | "tmpdir" | "slash_tmp") => only(value, &["kind"]).is_some(),
        Some("project_roots") => {
            only(value, &["kind", "subpath"]).is_some_and(|parts| part(parts, "subpath", Value::is_string))
        }
        _ => false,
    }
}

/// The object, if it has no other fields than these.
fn only<'a>(value: &'a Value, known: &[&str]) -> Option<&'a Map<String, Value>> {
    value.as_object().filter(|parts| parts.keys().all(|name| known.contains(&name.as_str())))
}

/// Whether a part is absent, null, or as it should be.
fn part(parts: &Map<String, Value>, name: &str, is: impl Fn(&Value) -> bool) -> bool {
    parts.get(name).is_none_or(|value| value.is_null() || is(value))
}

fn each(list: &Value, is: impl Fn(&Value) -> bool) -> bool {
    list.as_array().is_some_and(|list| list.iter().all(is))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_known_is_shown_as_canonical_text() {
        let asked = json!({"network": {"enabled": true}, "fileSystem": {"read": null, "write": ["/a"], "entries": [
            {"path": {"type": "path", "path": "/b"}, "access": "write"},
            {"path": {"type": "glob_pattern", "pattern": "**/*.key"}, "access": "deny"},
            {"path": {"type": "special", "value": {"kind": "project_roots", "subpath": "x"}}, "access": "read"},
            {"path": {"type": "special", "value": {"kind": "root"}}, "access": "read"}], "globScanMaxDepth": 3}});
        assert_eq!(read(&asked), Some(canonical(&asked)));
        assert_eq!(read(&json!({"network": {"enabled": true}})).as_deref(), Some(r#"{"network":{"enabled":true}}"#));
    }

    #[test]
    fn what_is_unknown_anywhere_is_none() {
        let entry = |entry: Value| json!({"fileSystem": {"entries": [entry]}});
        let special = |value: Value| entry(json!({"access": "read", "path": {"type": "special", "value": value}}));
        for unknown in [
            json!(null),
            json!({}),
            json!({"network": null}),
            json!({"network": {"enabled": true}, "macos": {}}),
            json!({"network": {"enabled": "yes"}}),
            json!({"network": {"enabled": true, "hosts": ["x"]}}),
            json!({"fileSystem": {"write": "/"}}),
            json!({"fileSystem": {"write": [1]}}),
            json!({"fileSystem": {"globScanMaxDepth": -1}}),
            json!({"fileSystem": {"execute": ["/"]}}),
            entry(json!({"access": "execute", "path": {"type": "path", "path": "/"}})),
            entry(json!({"access": "read", "path": {"type": "path", "path": "/", "follow": true}})),
            entry(json!({"access": "read", "path": {"type": "socket", "path": "/"}})),
            entry(json!({"access": "read", "path": "/"})),
            entry(json!({"access": "read"})),
            special(json!({"kind": "unknown", "path": "x"})),
            special(json!({"kind": "root", "subpath": "x"})),
            special(json!({"kind": "project_roots", "subpath": 1})),
        ] {
            assert_eq!(read(&unknown), None, "{unknown}");
        }
    }
}
