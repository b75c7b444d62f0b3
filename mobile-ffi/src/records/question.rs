//! Questions that Codex asks a person in the middle of a turn.

use farhelm_phone::codex::question;

use super::approval_id;

/// Questions that wait for an answer; all of them are answered at once.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct Question {
    /// Names it, as an approval's.
    pub id: String,
    /// Thread id.
    pub thread: String,
    /// Turn id.
    pub turn: String,
    /// Item id.
    pub item: String,
    /// What is asked, in order; at least one.
    pub asks: Vec<Ask>,
}

/// One question.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct Ask {
    /// Its id among the others.
    pub id: String,
    /// A word or two above it.
    pub header: String,
    /// The question.
    pub question: String,
    /// What can be chosen; empty if the answer is free text.
    pub options: Vec<AskOption>,
    /// Whether words of one's own are taken beside the options.
    pub other: bool,
    /// Whether the answer is a secret: not shown while it is typed.
    pub secret: bool,
}

/// What can be chosen.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct AskOption {
    /// The answer, as it is given back.
    pub label: String,
    /// What it means.
    pub description: String,
}

impl From<&question::Question> for Question {
    fn from(question: &question::Question) -> Self {
        let question::Question { key, thread, turn, item, asks } = question.clone();
        Self { id: approval_id(&key), thread, turn, item, asks: asks.into_iter().map(Into::into).collect() }
    }
}

impl From<question::Ask> for Ask {
    fn from(question::Ask { id, header, question, options, other, secret }: question::Ask) -> Self {
        Self { id, header, question, options: options.into_iter().map(Into::into).collect(), other, secret }
    }
}

impl From<question::Choice> for AskOption {
    fn from(question::Choice { label, description }: question::Choice) -> Self {
        Self { label, description }
    }
}
