//! Codex's use of the computer itself: screen, mouse and keyboard, by tools of a plugin.
//!
//! Codex 0.169.0 has a switch for each thread, heeded when it loads the thread, and none for a turn (it keeps
//! `disabledPluginIds` and filters nothing by it, as its schema says). So threads that a phone starts don't have those
//! tools, and one that has them is read-only from phones while the host's switch is off.

use serde_json::Value;

/// The plugins. The feature's own switch doesn't take a plugin's tools away (measured with 0.169.0), and a plugin's switch
/// doesn't touch other plugins.
pub(super) const PLUGINS: [&str; 2] = ["computer-use@openai-bundled", "unified-computer-use@openai-bundled"];

/// Whether a thread has tools for that, by a page of what `mcpServerStatus/list` answers about it: a server of one of the
/// plugins, or one with a plugin's name. `None` if it can't be told.
pub fn has_computer_use(page: &Value) -> Option<bool> {
    let mut has = false;
    for server in page.get("data")?.as_array()? {
        let name = server.get("name")?.as_str()?;
        let plugin = match server.get("pluginId") {
            None | Some(Value::Null) => None,
            Some(id) => Some(id.as_str()?),
        };
        let is_of = |id: &str| plugin == Some(id) || id.split('@').next() == Some(name);
        has |= PLUGINS.into_iter().any(is_of);
    }
    Some(has)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn servers_are_known_by_their_plugin_and_by_their_name() {
        let of = |servers: Value| has_computer_use(&json!({"data": servers, "nextCursor": null}));
        let other = json!({"name": "mail", "pluginId": null, "tools": {}});
        assert_eq!(of(json!([])), Some(false));
        assert_eq!(of(json!([other, {"name": "x", "pluginId": "mail@openai-bundled"}])), Some(false));
        for plugin in PLUGINS {
            assert_eq!(of(json!([other, {"name": "x", "pluginId": plugin}])), Some(true));
            let name = plugin.split('@').next();
            assert_eq!(of(json!([{"name": name}, other])), Some(true));
        }
    }

    #[test]
    fn what_cannot_be_read_is_no_answer() {
        for page in [json!(null), json!({}), json!({"data": {}}), json!({"data": [{}]}), json!({"data": ["x"]})] {
            assert_eq!(has_computer_use(&page), None, "{page}");
        }
        assert_eq!(has_computer_use(&json!({"data": [{"name": "x", "pluginId": 1}]})), None);
    }
}
