//! What a person is asked to approve, shown whole.
//!
//! Nothing is shortened here: a decision signs a digest of the content, so what isn't on the screen must not be in it.
//! The words are the model's and the repository's, hence the enemy's; none of them starts at column 0 (see `wrap`).

use anstyle::{AnsiColor, Style};
use farhelm_core::codex::approval::{Act, Approval, First, Guard};

use super::diff;
use super::wrap::{self, Margin};

const TITLE: Style = AnsiColor::Yellow.on_default().bold();
const COMMAND: Style = Style::new().bold();
const WARNING: Style = AnsiColor::Red.on_default().bold();

/// The approval as lines for a terminal of `columns`, with colours (print through `anstream`).
pub fn show(approval: &Approval, columns: usize) -> String {
    let mut screen = Screen { out: String::new(), columns };
    let content = &approval.content;
    screen.act(&content.act);
    content.reason.iter().for_each(|reason| screen.field("reason", reason));
    screen.field("environment", &approval.environment);
    screen.field("approval policy", &content.approval_policy);
    screen.field("sandbox", &content.sandbox);
    screen.field("thread's folder", &content.workspace);
    approval.warnings().iter().for_each(|warning| screen.warning("careful", &warning.to_string()));
    screen.guard(&approval.guard);
    if let Act::Files { changes, .. } = &content.act {
        screen.out.push('\n');
        screen.out.push_str(&diff::changes(changes, columns));
    }
    screen.out
}

struct Screen {
    out: String,
    columns: usize,
}

impl Screen {
    fn act(&mut self, act: &Act) {
        match act {
            Act::Command { command, folder, permissions } => {
                self.title("Codex wants to run a command");
                let margin = Margin { first: "  $ ", line: "  > ", wrapped: "  ↪ " };
                wrap::push(&mut self.out, margin, COMMAND, command, self.columns);
                self.field("in", folder);
                permissions.iter().for_each(|asked| self.warning("with more permissions", asked));
            }
            Act::Files { grant_root, .. } => {
                self.title("Codex wants to change files");
                grant_root.iter().for_each(|root| self.warning("and to write without asking from now on in", root));
            }
            Act::Permissions { permissions, folder } => {
                self.title("Codex wants more permissions until the turn ends");
                self.warning("namely", permissions);
                self.field("in", folder);
            }
            Act::Withheld { kind, about, why } => {
                self.title("Codex wants something that can't be shown here whole");
                self.field("kind", kind);
                self.field("about", about);
                self.warning("it can only be declined here", why);
            }
        }
    }

    fn guard(&mut self, Guard { denied, two_person, step_up, first }: &Guard) {
        denied.iter().for_each(|pattern| self.warning("denied by the host's policy", pattern));
        match first {
            _ if !*two_person => {}
            None => self.warning("needs two people", "two devices have to accept it"),
            Some(First { name, .. }) => self.warning("needs a second person: 1 of 2, by", name),
        }
        if *step_up {
            self.warning("step-up needed", "the host wants you to confirm again that it is you");
        }
    }

    fn title(&mut self, text: &str) {
        self.out.push_str(&format!("{TITLE}{text}{TITLE:#}\n"));
    }

    fn field(&mut self, name: &str, value: &str) {
        self.named(Style::new(), name, value);
    }

    fn warning(&mut self, name: &str, value: &str) {
        self.named(WARNING, name, value);
    }

    fn named(&mut self, style: Style, name: &str, value: &str) {
        let margin = Margin { first: &format!("  {name}: "), line: "    ", wrapped: "  ↪ " };
        wrap::push(&mut self.out, margin, style, value, self.columns);
    }
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
                workspace: "/home/ann/shop".into(),
            },
            for_session: false,
            deadline_ms: 0,
            guard: Default::default(),
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
          thread's folder: /home/ann/shop
          careful: It grants more than the thread's sandbox allows.
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
          thread's folder: /home/ann/shop
          careful: It reaches outside the thread's folder.
          careful: It lets Codex write to a folder without asking fr
          ↪ om now on.

        update /home/ann/shop/a.txt (+1 −1)
         @@ -1 +1 @@
        -old
        +new
        ");
    }

    #[test]
    fn permissions_are_shown_with_what_they_open() {
        let permissions = r#"{"network":{"enabled":true}}"#.into();
        insta::assert_snapshot!(shown(Act::Permissions { permissions, folder: "/home/ann/shop".into() }), @r#"
        Codex wants more permissions until the turn ends
          namely: {"network":{"enabled":true}}
          in: /home/ann/shop
          reason: to see whether
            the tests pass
          environment: local
          approval policy: on-request
          sandbox: workspace-write
          thread's folder: /home/ann/shop
          careful: It can reach the network.
          careful: It grants more than the thread's sandbox allows.
        "#);
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
          thread's folder: /home/ann/shop
        ");
    }

    #[test]
    fn a_command_cannot_hide_behind_control_characters() {
        let command = "echo hi\r\x1b[1A\x1b[2Krm -rf ~";
        let act = Act::Command { command: command.into(), folder: "/".into(), permissions: None };
        assert!(shown(act).contains("  $ echo hi␍␛[1A␛[2Krm -rf ~\n"));
    }
}
