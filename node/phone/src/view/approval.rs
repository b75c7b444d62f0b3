//! What a person is asked to accept: what exactly, where, why, what to look out for, and whether it may be accepted.
//!
//! Every text that the signature is over is in [`ApprovalView::lines`], whole: whoever shows all of them has shown what is
//! signed. A screen that can't show them all must not accept.

use super::diff::FileDiff;
use super::sanitize::Sanitized;
use super::text::{Line, Role, Span, lines};
use crate::codex::approval::{Act, Approval, First, Guard, Key};
use crate::codex::decision::Decision;

/// An approval as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalView {
    /// Its name.
    pub key: Key,
    /// Its thread.
    pub thread: String,
    /// What is asked, as a sentence of ours.
    pub title: &'static str,
    /// The act itself in one line, for lists.
    pub summary: Sanitized,
    /// What to look out for, the gravest first.
    pub hints: Vec<Hint>,
    /// Everything that is signed beside the files, each with its name.
    pub facts: Vec<Line>,
    /// The files that would change.
    pub files: Vec<FileDiff>,
    /// Why it can't be accepted from here; `None` if it can.
    pub refused: Option<Sanitized>,
    /// Whether it can also be accepted for the rest of the session.
    pub for_session: bool,
    /// Whether the phone has to make sure of its owner again.
    pub step_up: bool,
}

/// Something to look out for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// Whether it goes beyond the thread's folder or sandbox, or can't be undone.
    pub grave: bool,
    /// A sentence.
    pub text: Sanitized,
}

impl ApprovalView {
    /// What is asked.
    pub fn of(approval: &Approval) -> Self {
        let act = &approval.content.act;
        Self {
            key: approval.key,
            thread: approval.thread.clone(),
            title: title(act),
            summary: summary(act),
            hints: hints(approval),
            facts: facts(approval),
            files: match act {
                Act::Files { changes, .. } => changes.iter().map(FileDiff::of).collect(),
                _ => Vec::new(),
            },
            refused: refused(approval),
            for_session: approval.allows(Decision::AcceptForSession),
            step_up: approval.guard.step_up,
        }
    }

    /// Whether it may be accepted once all of it was shown.
    pub const fn may_be_accepted(&self) -> bool {
        self.refused.is_none()
    }

    /// All of it: the title, what to look out for, what is signed.
    pub fn lines(&self) -> Vec<Line> {
        let mut all = vec![Line::new(Role::Warning, self.title)];
        all.extend(self.hints.iter().map(Hint::line));
        all.extend(self.refused.iter().map(|why| Line::new(Role::Bad, why).below("✗ ")));
        all.extend(self.facts.iter().cloned());
        for file in &self.files {
            all.push(Line::default());
            all.extend(file.lines());
        }
        all
    }
}

impl Hint {
    fn line(&self) -> Line {
        let (role, sign) = if self.grave { (Role::Bad, "‼ ") } else { (Role::Warning, "! ") };
        Line::new(role, &self.text).below(sign)
    }
}

const fn title(act: &Act) -> &'static str {
    match act {
        Act::Command { .. } => "Codex wants to run a command",
        Act::Files { .. } => "Codex wants to change files",
        Act::Permissions { .. } => "Codex wants more permissions until the turn ends",
        Act::Withheld { .. } => "Codex wants something that can't be shown here whole",
    }
}

fn summary(act: &Act) -> Sanitized {
    let text = match act {
        Act::Command { command, .. } => format!("$ {command}"),
        Act::Files { changes, .. } => match changes.as_slice() {
            [only] => format!("{} {}", only.kind, only.path),
            many => format!("{} files, the first: {}", many.len(), many.first().map_or("", |change| &change.path)),
        },
        Act::Permissions { permissions, .. } => permissions.clone(),
        Act::Withheld { kind, about, .. } => format!("{kind}: {about}"),
    };
    Sanitized::line_within(&text, 200)
}

/// What the content says by itself, what it deletes, and what the host's policy asks for.
fn hints(approval: &Approval) -> Vec<Hint> {
    use crate::codex::approval::Warning;
    let hint = |grave, text: &str| Hint { grave, text: Sanitized::line(text) };
    let is_grave = |warning: &Warning| !matches!(warning, Warning::ForSession | Warning::Network);
    let warnings = approval.warnings();
    let mut hints: Vec<_> = warnings.iter().map(|warning| hint(is_grave(warning), &warning.to_string())).collect();
    hints.extend(deletes(&approval.content.act).map(|what| hint(true, &what)));
    let Guard { two_person, first, step_up, denied: _ } = &approval.guard;
    if *two_person {
        let second = |First { name, .. }: &First| format!("It needs a second person: 1 of 2, by “{name}”.");
        let words = first.as_ref().map_or_else(|| "It needs two people: two devices have to accept it.".into(), second);
        hints.push(hint(false, &words));
    }
    if *step_up {
        hints.push(hint(false, "The host wants you to confirm again that it is you."));
    }
    hints.sort_by_key(|hint| !hint.grave);
    hints
}

/// Programs that delete, or make undoing impossible. A hint, not a filter: a shell has endless other ways.
const DELETING: [&str; 8] = ["rm", "rmdir", "unlink", "shred", "truncate", "dd", "mkfs", "wipefs"];

/// The same of programs that do other things too, with the word by which they delete.
const DELETING_WITH: [(&str, &str); 6] = [
    ("git", "clean"),
    ("git", "reset"),
    ("git", "--force"),
    ("find", "-delete"),
    ("docker", "prune"),
    ("kubectl", "delete"),
];

fn deletes(act: &Act) -> Option<String> {
    match act {
        Act::Command { command, .. } => {
            let word = |c: char| c.is_whitespace() || matches!(c, ';' | '&' | '|' | '(' | ')' | '"' | '\'' | '`' | '/');
            let words: Vec<&str> = command.split(word).filter(|word| !word.is_empty()).collect();
            let by_name = DELETING.iter().find(|name| words.contains(*name)).map(|name| (*name).to_owned());
            let with = DELETING_WITH.iter().find(|(name, with)| words.contains(name) && words.contains(with));
            let named = by_name.or_else(|| with.map(|(name, with)| format!("{name} {with}")))?;
            Some(format!("It may delete what can't be had back (`{named}`)."))
        }
        Act::Files { changes, .. } => {
            let gone = changes.iter().filter(|change| change.kind == "delete").count();
            let files = if gone == 1 { "a file" } else { "files" };
            (gone > 0).then(|| format!("It deletes {files} ({gone})."))
        }
        Act::Permissions { .. } | Act::Withheld { .. } => None,
    }
}

fn facts(approval: &Approval) -> Vec<Line> {
    let content = &approval.content;
    let mut facts = Vec::new();
    match &content.act {
        Act::Command { command, folder, permissions } => {
            facts.extend(lines(Role::Person, "$ ", command));
            facts.extend(fact("in", folder));
            facts.extend(permissions.iter().flat_map(|asked| fact("with more permissions", asked)));
        }
        Act::Files { grant_root, .. } => {
            facts.extend(grant_root.iter().flat_map(|root| fact("and to write without asking from now on in", root)));
        }
        Act::Permissions { permissions, folder } => {
            facts.extend(fact("namely", permissions));
            facts.extend(fact("in", folder));
        }
        Act::Withheld { kind, about, why: _ } => {
            facts.extend(fact("kind", kind));
            facts.extend(fact("about", about));
        }
    }
    facts.extend(content.reason.iter().flat_map(|why| fact("reason", why)));
    facts.extend(fact("environment", &approval.environment));
    facts.extend(fact("approval policy", &content.approval_policy));
    facts.extend(fact("sandbox", &content.sandbox));
    facts.extend(fact("thread's folder", &content.workspace));
    // To a shell a new line and a wrapped one differ.
    facts.iter_mut().for_each(|line| line.wrapped = "↪ ".into());
    facts
}

/// A name of ours and a text, whose further lines stand to its right.
fn fact(name: &str, text: &str) -> Vec<Line> {
    let mut fact = lines(Role::Plain, "  ", text);
    if let Some(first) = fact.first_mut() {
        first.margin.clear();
        first.spans.insert(0, Span::new(Role::Dim, &format!("{name}: ")));
    }
    fact
}

fn refused(approval: &Approval) -> Option<Sanitized> {
    let why = match (&approval.content.act, &approval.guard.denied) {
        (Act::Withheld { why, .. }, _) => format!("It can only be declined here: {why}"),
        (_, Some(pattern)) => format!("The host's policy denies it ({pattern}): decline it, or decide at the desk."),
        _ if approval.allows(Decision::Accept) => return None,
        _ => "It can't be shown whole, so it can only be declined here, or decided at the desk.".into(),
    };
    Some(Sanitized::line(&why))
}

#[cfg(test)]
mod tests {
    use serde_bytes::ByteArray;

    use super::super::{sanitize, text::plain};
    use super::*;
    use crate::codex::approval::{Change, Content};
    use proptest::prelude::*;

    fn approval(act: Act) -> Approval {
        let content = Content {
            act,
            reason: Some("to see whether\nthe tests pass".into()),
            approval_policy: "on-request".into(),
            sandbox: "workspace-write".into(),
            workspace: "/home/ann/shop".into(),
        };
        let key = Key { epoch: ByteArray::new([0; 16]), request: 3 };
        let (environment, thread, turn, item) = ("local".into(), "t".into(), "u".into(), "i".into());
        let (for_session, deadline_ms, guard) = (false, 0, Guard::default());
        Approval { key, environment, thread, turn, item, content, for_session, deadline_ms, guard }
    }

    fn command(command: &str) -> Approval {
        approval(Act::Command { command: command.into(), folder: "/home/ann/shop".into(), permissions: None })
    }

    #[test]
    fn a_command_is_shown_with_all_that_is_signed() {
        let mut asked = command("cargo clean\n/bin/rm -rf ~\u{1b}[2J");
        asked.content.approval_policy = "untrusted".into();
        insta::assert_snapshot!(plain(&ApprovalView::of(&asked).lines()), @"
        Codex wants to run a command
        ‼ If the sandbox stops it, Codex may run it a second time without the sandbox, and does not ask again.
        ‼ It may delete what can't be had back (`rm`).
        $ cargo clean
          /bin/rm -rf ~␛[2J
        in: /home/ann/shop
        reason: to see whether
          the tests pass
        environment: local
        approval policy: untrusted
        sandbox: workspace-write
        thread's folder: /home/ann/shop
        ");
    }

    #[test]
    fn files_are_shown_with_their_diff_and_where_they_lie() {
        let change = |path: &str, kind: &str, diff: &str| Change {
            path: path.into(),
            kind: kind.into(),
            moved_to: None,
            diff: diff.into(),
        };
        let changes = vec![
            change("/home/ann/shop/a.rs", "update", "@@ -1 +1 @@\n-old(1)\n+new(1)\n"),
            change("/home/ann/.profile", "delete", "export A=1\n"),
        ];
        let view = ApprovalView::of(&approval(Act::Files { changes, grant_root: Some("/home/ann".into()) }));
        insta::assert_snapshot!(plain(&view.lines()), @"
        Codex wants to change files
        ‼ It reaches outside the thread's folder.
        ‼ It lets Codex write to a folder without asking from now on.
        ‼ It deletes a file (1).
        and to write without asking from now on in: /home/ann
        reason: to see whether
          the tests pass
        environment: local
        approval policy: on-request
        sandbox: workspace-write
        thread's folder: /home/ann/shop
        
        update /home/ann/shop/a.rs (+1 −1)
        @@ -1 +1 @@
        -old(1)
        +new(1)
        
        delete /home/ann/.profile (+0 −1)
        -export A=1
        ");
    }

    #[test]
    fn what_is_withheld_or_denied_can_not_be_accepted_and_says_why() {
        let why = "it was cut.".to_owned();
        let view =
            ApprovalView::of(&approval(Act::Withheld { kind: "writeStdin".into(), about: "python3".into(), why }));
        assert_eq!(view.refused.as_deref(), Some("It can only be declined here: it was cut."));
        let mut denied = command("ls");
        assert!(ApprovalView::of(&denied).may_be_accepted());
        denied.guard.denied = Some("l*".into());
        assert!(!ApprovalView::of(&denied).may_be_accepted());
    }

    #[test]
    fn commands_that_delete_are_pointed_out() {
        let grave = |text: &str| ApprovalView::of(&command(text)).hints.iter().any(|hint| hint.grave);
        for text in ["rm x", "sudo /bin/rm -r x", "true;rm x", "git clean -fdx", "git push --force", "find . -delete"] {
            assert!(grave(text), "{text}");
        }
        for text in ["ls", "cargo test", "echo farm", "git status"] {
            assert!(!grave(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_field_lets_anything_hidden_through(text in "[a-z\n\t\u{1b}\u{202e}\u{200b}\r]{0,40}") {
            let change = Change { path: text.clone(), kind: text.clone(), moved_to: Some(text.clone()), diff: text.clone() };
            let acts = [
                Act::Command { command: text.clone(), folder: text.clone(), permissions: Some(text.clone()) },
                Act::Files { changes: vec![change], grant_root: Some(text.clone()) },
                Act::Permissions { permissions: text.clone(), folder: text.clone() },
                Act::Withheld { kind: text.clone(), about: text.clone(), why: text.clone() },
            ];
            for act in acts {
                let mut asked = approval(act);
                asked.content.reason = Some(text.clone());
                let view = ApprovalView::of(&asked);
                prop_assert!(!view.summary.chars().any(sanitize::is_hidden));
                prop_assert!(view.lines().iter().all(|line| !line.plain().chars().any(sanitize::is_hidden)));
            }
        }

        #[test]
        fn a_command_is_shown_whole(text in "[a-z ]{1,3000}") {
            let shown = plain(&ApprovalView::of(&command(&text)).lines());
            prop_assert!(shown.contains(&text));
        }
    }
}
