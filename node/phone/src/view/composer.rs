//! What was typed: a message, or a command that begins with a slash; and where a message is.

use crate::error::Error;

/// A command as the help lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slash {
    /// Its name, with the slash.
    pub name: &'static str,
    /// What comes behind it, as the help writes that; empty if nothing does.
    pub takes: &'static str,
    /// What it does.
    pub about: &'static str,
}

/// Every command, as the help lists them.
pub const COMMANDS: [Slash; 12] = [
    Slash { name: "/archive", takes: "", about: "put the thread away" },
    Slash { name: "/compact", takes: "", about: "have the agent sum up the thread, so that more fits" },
    Slash { name: "/effort", takes: "EFFORT", about: "how hard the agent thinks, from now on in this thread" },
    Slash { name: "/fork", takes: "", about: "go on in a copy of the thread" },
    Slash { name: "/help", takes: "", about: "show the keys and commands" },
    Slash { name: "/hosts", takes: "", about: "show the hosts" },
    Slash { name: "/interrupt", takes: "", about: "stop the turn that runs" },
    Slash { name: "/model", takes: "MODEL", about: "another model, from now on in this thread" },
    Slash { name: "/new", takes: "MESSAGE", about: "start a thread with this message" },
    Slash { name: "/queue", takes: "MESSAGE", about: "say this when the turn that runs is over" },
    Slash { name: "/rename", takes: "TITLE", about: "give the thread a title" },
    Slash { name: "/review", takes: "", about: "have the agent review what isn't committed" },
];

/// What was typed, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Nothing but space.
    Nothing,
    /// A message for the agent.
    Message(String),
    /// A command of [`COMMANDS`], by its name, and what stood behind it.
    Command(&'static str, String),
    /// Not a command, or one that lacks something; a sentence that says so.
    Mistake(String),
}

/// Reads what was typed. A message that has to begin with a slash begins with two.
pub fn read(text: &str) -> Input {
    let text = text.trim();
    match text.strip_prefix('/') {
        _ if text.is_empty() => Input::Nothing,
        None => Input::Message(text.to_owned()),
        Some(rest) if rest.starts_with('/') => Input::Message(rest.to_owned()),
        Some(_) => command(text),
    }
}

fn command(text: &str) -> Input {
    let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim();
    let Some(known) = COMMANDS.iter().find(|command| command.name == name) else {
        return Input::Mistake(
            "there is no such command; /help lists them, and // begins a message with a slash".into(),
        );
    };
    match (known.takes.is_empty(), rest.is_empty()) {
        (true, false) => Input::Mistake(format!("{} takes nothing behind it", known.name)),
        (false, true) => Input::Mistake(format!("{} wants {}", known.name, known.takes)),
        _ => Input::Command(known.name, rest.to_owned()),
    }
}

/// The commands that what was typed may become; none once a space follows.
pub fn completions(text: &str) -> Vec<Slash> {
    if !text.starts_with('/') || text.contains(char::is_whitespace) {
        return Vec::new();
    }
    COMMANDS.into_iter().filter(|command| command.name.starts_with(text)).collect()
}

/// Where something is that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// Kept on this phone until the host has it.
    OnThisPhone,
    /// The host has it, Codex has not answered.
    OnHost,
    /// Codex has taken it up.
    TakenUp,
    /// It isn't known whether it happened.
    Unknown,
    /// It didn't happen; why, with what to do.
    Refused(String),
}

impl Delivery {
    /// Of a call's end.
    pub fn of<T>(result: &Result<T, Error>) -> Self {
        match result {
            Ok(_) => Self::TakenUp,
            Err(Error::OutcomeUnknown) => Self::Unknown,
            Err(other) => Self::Refused(other.to_string()),
        }
    }

    /// In words. Those of a refusal are not sanitized.
    pub fn words(&self) -> String {
        match self {
            Self::OnThisPhone => "on this phone; it goes when the host can be reached".into(),
            Self::OnHost => "on the host".into(),
            Self::TakenUp => "taken up".into(),
            Self::Unknown => Error::OutcomeUnknown.to_string(),
            Self::Refused(why) => why.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_a_message_and_a_command_is_none() {
        assert_eq!(read(" \n"), Input::Nothing);
        assert_eq!(read("fix it\nplease\n"), Input::Message("fix it\nplease".into()));
        assert_eq!(read("//etc/hosts is wrong"), Input::Message("/etc/hosts is wrong".into()));
        assert_eq!(read("/model gpt-5.4 "), Input::Command("/model", "gpt-5.4".into()));
        assert_eq!(read("/interrupt"), Input::Command("/interrupt", String::new()));
    }

    #[test]
    fn a_mistyped_command_is_not_sent_to_the_agent() {
        for text in ["/etc/hosts is wrong", "/modle x", "/model", "/interrupt now", "/"] {
            assert!(matches!(read(text), Input::Mistake(_)), "{text}");
        }
    }

    #[test]
    fn what_was_begun_is_completed() {
        let names = |text| completions(text).iter().map(|command| command.name).collect::<Vec<_>>();
        assert_eq!(names("/re"), ["/rename", "/review"]);
        assert_eq!(names("/").len(), COMMANDS.len());
        assert!(names("/model ").is_empty() && names("re").is_empty());
    }

    #[test]
    fn commands_are_listed_in_order_and_once() {
        assert!(COMMANDS.is_sorted_by(|a, b| a.name < b.name));
    }

    #[test]
    fn an_unknown_outcome_is_never_called_delivered() {
        assert_eq!(Delivery::of::<()>(&Err(Error::OutcomeUnknown)), Delivery::Unknown);
        assert_eq!(Delivery::of(&Ok(())), Delivery::TakenUp);
        assert!(matches!(Delivery::of::<()>(&Err(Error::Busy)), Delivery::Refused(_)));
    }
}
