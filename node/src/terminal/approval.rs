//! What a person is asked to approve, shown whole.
//!
//! Nothing is shortened here: a decision signs a digest of the content, so what isn't on the screen must not be in it.
//! The words are the model's and the repository's, hence the enemy's; none of them starts at column 0.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use farhelm_core::codex::approval::{Act, Approval};

use super::{diff, sanitize};

const TITLE: Style = AnsiColor::Yellow.on_default().bold();
const COMMAND: Style = Style::new().bold();
const WARNING: Style = AnsiColor::Red.on_default().bold();

/// The approval as lines for a terminal of `columns`, with colours (print through `anstream`).
pub fn show(approval: &Approval, columns: usize) -> String {
    let mut out = String::new();
    // Writing to a String doesn't fail.
    let _ = match &approval.content.act {
        Act::Command { command, folder, permissions } => {
            show_command(&mut out, command, folder, permissions.as_deref())
        }
        Act::Files { grant_root, .. } => show_grant(&mut out, grant_root.as_deref()),
        Act::Withheld { kind, about, why } => show_withheld(&mut out, kind, about, why),
    };
    let content = &approval.content;
    let fields = [
        ("reason", content.reason.as_deref()),
        ("environment", Some(approval.environment.as_str())),
        ("approval policy", Some(content.approval_policy.as_str())),
        ("sandbox", Some(content.sandbox.as_str())),
    ];
    for (name, value) in fields {
        out.extend(value.map(|value| field(name, value)));
    }
    if let Act::Files { changes, .. } = &content.act {
        out.push('\n');
        out.push_str(&diff::changes(changes, columns));
    }
    out
}

fn show_command(out: &mut String, command: &str, folder: &str, permissions: Option<&str>) -> std::fmt::Result {
    writeln!(out, "{TITLE}Codex wants to run a command{TITLE:#}")?;
    for (number, line) in sanitize::block(command).split('\n').enumerate() {
        let prompt = if number == 0 { '$' } else { '>' };
        writeln!(out, "  {prompt} {COMMAND}{line}{COMMAND:#}")?;
    }
    out.push_str(&field("in", folder));
    out.extend(permissions.map(|asked| format!("  {WARNING}with more permissions:{WARNING:#} {}\n", indented(asked))));
    Ok(())
}

fn show_grant(out: &mut String, grant_root: Option<&str>) -> std::fmt::Result {
    writeln!(out, "{TITLE}Codex wants to change files{TITLE:#}")?;
    out.extend(
        grant_root.map(|root| {
            format!("  {WARNING}and to write without asking from now on in:{WARNING:#} {}\n", indented(root))
        }),
    );
    Ok(())
}

fn show_withheld(out: &mut String, kind: &str, about: &str, why: &str) -> std::fmt::Result {
    writeln!(out, "{TITLE}Codex wants something that can't be shown here whole{TITLE:#}")?;
    out.push_str(&field("kind", kind));
    out.push_str(&field("about", about));
    writeln!(out, "  {WARNING}it can only be declined here:{WARNING:#} {}", indented(why))
}

fn field(name: &str, value: &str) -> String {
    format!("  {name}: {}\n", indented(value))
}

/// Text from elsewhere; its further lines stay below its first.
fn indented(text: &str) -> String {
    sanitize::block(text).replace('\n', "\n    ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use farhelm_core::codex::approval::{Change, Content, Key};
    use serde_bytes::ByteArray;

    fn approval(act: Act) -> Approval {
        Approval {
            key: Key { epoch: ByteArray::new([0; 16]), request: 3 },
            environment: "local".into(),
            thread: "t".into(),
            turn: "u".into(),
            item: "i".into(),
            content: Content {
                act,
                reason: Some("to see whether\nthe tests pass".into()),
                approval_policy: "on-request".into(),
                sandbox: "workspace-write".into(),
            },
            deadline_ms: 0,
        }
    }

    fn shown(act: Act) -> String {
        anstream::adapter::strip_str(&show(&approval(act), 60)).to_string()
    }

    #[test]
    fn a_command_is_shown_with_all_that_is_signed() {
        let command = Act::Command {
            command: "cargo test\nrm -rf target".into(),
            folder: "/home/ann/shop".into(),
            permissions: Some(r#"{"network":true}"#.into()),
        };
        insta::assert_snapshot!(shown(command), @r#"
        Codex wants to run a command
          $ cargo test
          > rm -rf target
          in: /home/ann/shop
          with more permissions: {"network":true}
          reason: to see whether
            the tests pass
          environment: local
          approval policy: on-request
          sandbox: workspace-write
        "#);
    }

    #[test]
    fn file_changes_are_shown_with_their_diff_and_the_grant() {
        let change = Change {
            path: "/home/ann/shop/a.txt".into(),
            kind: "update".into(),
            moved_to: None,
            diff: "@@ -1 +1 @@\n-old\n+new\n".into(),
        };
        insta::assert_snapshot!(shown(Act::Files { changes: vec![change], grant_root: Some("/home/ann".into()) }), @"
        Codex wants to change files
          and to write without asking from now on in: /home/ann
          reason: to see whether
            the tests pass
          environment: local
          approval policy: on-request
          sandbox: workspace-write

        update /home/ann/shop/a.txt (+1 −1)
         @@ -1 +1 @@
        -old
        +new
        ");
    }

    #[test]
    fn what_cannot_be_shown_says_that_it_can_only_be_declined() {
        let (kind, about) = ("writeStdin".into(), "python3 -i".into());
        insta::assert_snapshot!(shown(Act::Withheld { kind, about, why: "it was cut.".into() }), @"
        Codex wants something that can't be shown here whole
          kind: writeStdin
          about: python3 -i
          it can only be declined here: it was cut.
          reason: to see whether
            the tests pass
          environment: local
          approval policy: on-request
          sandbox: workspace-write
        ");
    }

    #[test]
    fn a_command_cannot_hide_behind_control_characters() {
        let command = "echo hi\r\x1b[1A\x1b[2Krm -rf ~";
        let act = Act::Command { command: command.into(), folder: "/".into(), permissions: None };
        assert!(shown(act).contains("  $ echo hi␍␛[1A␛[2Krm -rf ~\n"));
    }
}
