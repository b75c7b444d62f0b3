//! What the app-server asks its clients, and whether a phone has a part in the answer.
//!
//! Every subscriber is asked and the first answer counts, so what isn't a phone's is left to the desk, not refused.

/// Whose part an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A phone is shown it and may accept what it was shown.
    Phone,
    /// A phone is shown it and may say no only.
    DeclineOnly,
    /// The desk's.
    Desk,
}

impl Part {
    /// Whose part it is, for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Phone => "a phone's",
            Self::DeclineOnly => "a phone may say no",
            Self::Desk => "the desk's",
        }
    }
}

/// A request of the app-server.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// Its name.
    pub name: &'static str,
    /// Whose part the answer is.
    pub part: Part,
    /// Why.
    pub reason: &'static str,
}

const fn asked(name: &'static str, part: Part, reason: &'static str) -> Asked {
    Asked { name, part, reason }
}

/// Every request of the app-server 0.169.0.
pub const ASKED: &[Asked] = &[
    asked(
        "item/commandExecution/requestApproval",
        Part::Phone,
        "once, or for the session where the host offers it; nothing that lasts longer",
    ),
    asked("item/fileChange/requestApproval", Part::Phone, "with the diff of its item, which the request doesn't carry"),
    asked("item/permissions/requestApproval", Part::Phone, "exactly what is asked for, for this turn"),
    asked("item/tool/requestUserInput", Part::Phone, "a question, answered by who may work"),
    asked("mcpServer/elicitation/request", Part::DeclineOnly, "its form is filled in at the desk"),
    asked("item/tool/call", Part::Desk, "a tool of the client's, and phones have none"),
    asked("currentTime/read", Part::Desk, "the clock of the client that asked for it"),
    asked("attestation/generate", Part::Desk, "attestation is Codex's own"),
    asked("account/chatgptAuthTokens/refresh", Part::Desk, "tokens never leave the desk"),
    asked("applyPatchApproval", Part::Desk, "of an older interface, which the host doesn't use"),
    asked("execCommandApproval", Part::Desk, "of an older interface, which the host doesn't use"),
];
