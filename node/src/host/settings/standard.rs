//! The part of `config.toml` that says what a device gets of which nothing else is named.

use std::str::FromStr;

use farhelm_core::policy::{Right, Standard};
use toml::Spanned;
use toml::de::DeValue;

use crate::host::terms::{FOLDERS, FOLDERS_BYTES};

/// The table it stands in.
pub(super) const TABLE: &str = "devices";
/// Its names.
pub(super) const NAMES: [&str; 2] = ["right", "folders"];

/// Reads one entry; `false` if this name isn't one of these. Folders are kept as they are written.
pub(super) fn read(name: &str, value: &DeValue<'_>, to: &mut Standard) -> Result<bool, String> {
    match name {
        "right" => to.right = right(value)?,
        "folders" => to.folders = folders(value)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn right(value: &DeValue<'_>) -> Result<Right, String> {
    let named = match value {
        DeValue::String(word) => Right::from_str(word).ok(),
        _ => None,
    };
    let words = || Right::ALL.map(|right| format!("{:?}", right.as_str())).join(", ");
    named.ok_or_else(|| format!("right must be one of {}", words()))
}

/// An empty list names nothing, as in the example.
fn folders(value: &DeValue<'_>) -> Result<Option<Vec<String>>, String> {
    let wanted = || "folders must be a list of folders, each from / or ~/, like [\"~/work\"]".to_owned();
    let DeValue::Array(list) = value else { return Err(wanted()) };
    let folder = |one: &Spanned<DeValue<'_>>| match one.get_ref() {
        DeValue::String(path) if path.starts_with('/') || path.starts_with("~/") => Ok(path.clone().into_owned()),
        _ => Err(wanted()),
    };
    let named = list.iter().map(folder).collect::<Result<Vec<_>, _>>()?;
    if named.len() > FOLDERS || named.iter().map(String::len).sum::<usize>() > FOLDERS_BYTES {
        return Err(format!(
            "folders has more than {FOLDERS} folders, or {FOLDERS_BYTES} bytes; name one that holds them"
        ));
    }
    Ok((!named.is_empty()).then_some(named))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::settings::file;

    fn read(text: &str) -> Result<Standard, String> {
        file::read(text).map(|contents| contents.standard).map_err(|fault| fault.to_string())
    }

    #[test]
    fn what_newcomers_get_is_read() {
        let folders = Some(vec!["/srv/a".to_owned(), "~/work".to_owned()]);
        let read_as = read("[devices]\nright = \"viewer\"\nfolders = [\"/srv/a\", \"~/work\"]");
        assert_eq!(read_as, Ok(Standard { right: Right::Viewer, folders }));
        assert_eq!(read("[devices]\nfolders = []"), Ok(Standard::default()));
        assert_eq!(read(""), Ok(Standard::default()));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let many = format!("[devices]\nfolders = [{}]", "\"/x\",".repeat(33));
        let faults = [
            ("[devices]\nright = \"root\"", "line 2: right must be one of \"viewer\", "),
            ("[devices]\n\nright = true", "line 3: right must be one of"),
            ("[devices]\nfolders = \"/\"", "line 2: folders must be a list of folders"),
            ("[devices]\nfolders = [\"work\"]", "line 2: folders must be a list of folders"),
            ("[devices]\nfolders = [\"~other/work\"]", "line 2: folders must be a list of folders"),
            (&many, "line 2: folders has more than 32 folders"),
            ("[devices]\nrights = []", "line 2: [devices] has no setting \"rights\"; did you mean \"right\"?"),
            ("[approvals]\nright = \"viewer\"", "line 2: [approvals] has no setting \"right\""),
        ];
        for (text, said) in faults {
            let fault = read(text).unwrap_err();
            assert!(fault.starts_with(said), "{fault}");
        }
    }
}
