//! Questions Codex asks a person in the middle of a turn (`item/tool/requestUserInput`), and their answers.
//!
//! An answer is input like a prompt: it needs the right to work, not a signature. It names the digest of what was
//! shown, and the host holds it against its own entry, so an answer never lands on another question.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
use serde_json::{Value, json};

use super::approval::Key;
use crate::session::transcript::Transcript;
use crate::wire::limits;

/// Longest thread, turn, item or question id, in bytes; Codex's have 36.
const ID: usize = 256;
/// Questions in one request.
const QUESTIONS: usize = 16;
/// Options of one question.
const OPTIONS: usize = 64;
/// Answers to one question: a choice, and a person's own words.
const ANSWERS: usize = OPTIONS + 1;

/// A request for input, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Question {
    /// Its name: process epoch and request id, as of an approval.
    pub key: Key,
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ask {
    /// Its id within the request.
    pub id: String,
    /// A word or two above it.
    pub header: String,
    /// The question.
    pub question: String,
    /// What can be chosen; empty if the answer is free text.
    pub options: Vec<Choice>,
    /// Whether words of one's own are taken beside the options.
    pub other: bool,
    /// Whether the answer is a secret: not echoed while it is typed.
    pub secret: bool,
}

/// What can be chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Choice {
    /// The answer, as it is sent.
    pub label: String,
    /// What it means.
    pub description: String,
}

/// A request that can't be shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Codex's question has no usable {0}; answer it at the desk")]
pub struct Unusable(&'static str);

/// So begins the id of a question by which Codex asks for a tool's call to be approved (a string in 0.169.0). An approval
/// takes a signature over what was shown, which an answer doesn't carry, so such a question is the desk's.
const APPROVAL: &str = "mcp_tool_call_approval";

impl Question {
    /// From the params of `item/tool/requestUserInput`.
    pub fn from_request(params: &Value, key: Key) -> Result<Self, Unusable> {
        let listed = params.get("questions").and_then(Value::as_array).ok_or(Unusable("questions"))?;
        if listed.is_empty() || listed.len() > QUESTIONS {
            return Err(Unusable("questions"));
        }
        let asks = listed.iter().map(Ask::read).collect::<Result<Vec<_>, _>>()?;
        if asks.iter().any(|ask| ask.id.starts_with(APPROVAL)) {
            return Err(Unusable("questions for phones: it is an approval of a tool's call"));
        }
        let ids: BTreeSet<_> = asks.iter().map(|ask| &ask.id).collect();
        let question = Self {
            key,
            thread: id(params, "threadId")?,
            turn: id(params, "turnId")?,
            item: id(params, "itemId")?,
            asks: asks.clone(),
        };
        let whole = ids.len() == asks.len() && question.size() <= limits::APPROVAL_CONTENT;
        if whole { Ok(question) } else { Err(Unusable("questions")) }
    }

    /// Bytes of text that a person has to be shown.
    pub fn size(&self) -> usize {
        self.asks.iter().map(Ask::size).sum()
    }

    /// What an answer is held against: SHA-256 over every text in order, through [`Transcript`].
    pub fn digest(&self) -> [u8; 32] {
        let Self { key, thread, turn, item, asks } = self;
        let to = Transcript::new("farhelm/1 question").bytes(&*key.epoch).bytes(&key.request.to_be_bytes());
        let to = to.text(thread).text(turn).text(item).number(asks.len() as u64);
        asks.iter().fold(to, Ask::add).finish()
    }

    /// The result of Codex's request; `None` if the answers aren't of this question, as [`Answers::new`] wants them.
    pub fn result(&self, answers: &Answers) -> Option<Value> {
        let ours = answers.key == self.key && *answers.digest == self.digest() && self.takes(&answers.answers);
        let each = answers.answers.iter().map(|(id, given)| (id.clone(), json!({ "answers": given })));
        ours.then(|| json!({ "answers": each.collect::<serde_json::Map<_, _>>() }))
    }

    /// Whether every question is answered, with options it offers or with words where it takes them.
    fn takes(&self, answers: &BTreeMap<String, Vec<String>>) -> bool {
        let total: usize = answers.values().flatten().map(String::len).sum();
        let every = |ask: &Ask| answers.get(&ask.id).is_some_and(|given| ask.takes(given));
        answers.len() == self.asks.len() && total <= limits::PROMPT && self.asks.iter().all(every)
    }
}

impl Ask {
    fn read(value: &Value) -> Result<Self, Unusable> {
        let flag = |name| value.get(name).and_then(Value::as_bool).unwrap_or(false);
        let words = |value: &Value, name| value.get(name).and_then(Value::as_str).map(ToOwned::to_owned);
        let listed = value.get("options").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let choice = |value: &Value| {
            Some(Choice { label: words(value, "label")?, description: words(value, "description").unwrap_or_default() })
        };
        let options = listed.iter().map(choice).collect::<Option<Vec<_>>>().filter(|options| options.len() <= OPTIONS);
        Ok(Self {
            id: id(value, "id")?,
            header: words(value, "header").unwrap_or_default(),
            question: words(value, "question").ok_or(Unusable("question"))?,
            options: options.ok_or(Unusable("options"))?,
            other: flag("isOther"),
            secret: flag("isSecret"),
        })
    }

    fn size(&self) -> usize {
        let Self { id, header, question, options, other: _, secret: _ } = self;
        let options: usize = options.iter().map(|o| o.label.len() + o.description.len()).sum();
        id.len() + header.len() + question.len() + options
    }

    fn add(to: Transcript, ask: &Self) -> Transcript {
        let Self { id, header, question, options, other, secret } = ask;
        let to = to.text(id).text(header).text(question).number(u64::from(*other)).number(u64::from(*secret));
        let to = to.number(options.len() as u64);
        options.iter().fold(to, |to, Choice { label, description }| to.text(label).text(description))
    }

    fn takes(&self, given: &[String]) -> bool {
        let offered = |answer: &String| self.options.iter().any(|option| option.label == *answer);
        let own = self.other || self.options.is_empty();
        !given.is_empty() && given.len() <= ANSWERS && given.iter().all(|answer| offered(answer) || own)
    }
}

fn id(value: &Value, name: &'static str) -> Result<String, Unusable> {
    match value.get(name).and_then(Value::as_str) {
        Some(text) if !text.is_empty() && text.len() <= ID => Ok(text.into()),
        _ => Err(Unusable(name)),
    }
}

/// A person's answers to all of a request's questions. One may be a secret, so `Debug` shows none.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answers {
    /// The request.
    pub key: Key,
    /// Digest of what was on the screen.
    pub digest: ByteArray<32>,
    /// By question id: options' labels, or words of one's own.
    pub answers: BTreeMap<String, Vec<String>>,
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Answers {
    /// Answers to what was shown; `None` unless every question is answered, with options it offers or, where it takes
    /// them, with words, of [`limits::PROMPT`] bytes in all.
    pub fn new(shown: &Question, answers: BTreeMap<String, Vec<String>>) -> Option<Self> {
        let digest = ByteArray::new(shown.digest());
        shown.takes(&answers).then_some(Self { key: shown.key, digest, answers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key { epoch: ByteArray::new([7; 16]), request: 3 }
    }

    fn params() -> Value {
        json!({"threadId": "t", "turnId": "u", "itemId": "i", "isBlocking": true, "questions": [
            {"id": "q1", "header": "Pick", "question": "Which one?", "isOther": false, "isSecret": false,
             "options": [{"label": "A", "description": "the first"}, {"label": "B", "description": ""}]},
            {"id": "q2", "header": "Say", "question": "Why?", "options": null},
        ]})
    }

    fn question() -> Question {
        Question::from_request(&params(), key()).expect("a question")
    }

    fn answers(of: &[(&str, &str)]) -> BTreeMap<String, Vec<String>> {
        of.iter().map(|(id, answer)| ((*id).to_owned(), vec![(*answer).to_owned()])).collect()
    }

    #[test]
    fn an_answer_becomes_the_result_codex_waits_for() {
        let answers = Answers::new(&question(), answers(&[("q1", "A"), ("q2", "as I say")])).expect("taken");
        let result = json!({"answers": {"q1": {"answers": ["A"]}, "q2": {"answers": ["as I say"]}}});
        assert_eq!(question().result(&answers), Some(result));
    }

    #[test]
    fn an_answer_that_was_not_offered_or_is_missing_is_none() {
        for wrong in [
            answers(&[("q1", "C"), ("q2", "x")]),
            answers(&[("q1", "A")]),
            answers(&[("q1", "A"), ("q2", "x"), ("q3", "x")]),
            BTreeMap::from([("q1".to_owned(), Vec::new()), ("q2".to_owned(), vec!["x".to_owned()])]),
            answers(&[("q1", "A"), ("q2", &"x".repeat(limits::PROMPT + 1))]),
        ] {
            assert_eq!(Answers::new(&question(), wrong.clone()), None);
            let forced = Answers { key: key(), digest: ByteArray::new(question().digest()), answers: wrong };
            assert_eq!(question().result(&forced), None);
        }
    }

    #[test]
    fn what_was_answered_is_in_no_log() {
        let answers = Answers::new(&question(), answers(&[("q1", "A"), ("q2", "my password")])).expect("taken");
        assert!(!format!("{answers:?}").contains("password"));
    }

    #[test]
    fn an_answer_to_what_was_not_shown_is_none() {
        let given = answers(&[("q1", "A"), ("q2", "x")]);
        let right = Answers::new(&question(), given).expect("taken");
        let mut changed = question();
        changed.asks[0].question.push('!');
        assert_eq!(changed.result(&right), None);
        let other = Answers { key: Key { request: 4, ..key() }, ..right };
        assert_eq!(question().result(&other), None);
    }

    #[test]
    fn what_can_not_be_shown_is_refused() {
        let with = |pointer: &str, value: Value| {
            let mut params = params();
            *params.pointer_mut(pointer).expect("there") = value;
            Question::from_request(&params, key())
        };
        assert!(with("/questions", json!([])).is_err());
        assert!(with("/questions", json!("x")).is_err());
        assert!(with("/questions/1/id", json!("q1")).is_err(), "the same id twice");
        assert!(with("/questions/0/options/0", json!({})).is_err());
        assert!(with("/questions/0/question", json!("x".repeat(limits::APPROVAL_CONTENT))).is_err());
        assert!(with("/threadId", json!("")).is_err());
        assert!(with("/questions/1/id", json!("mcp_tool_call_approval_call_1")).is_err(), "that is no question");
    }

    #[test]
    fn every_text_is_in_the_digest() {
        let mut seen = std::collections::HashSet::from([question().digest()]);
        let changes: [fn(&mut Question); 10] = [
            |q| q.key.request += 1,
            |q| q.thread.push('x'),
            |q| q.turn.push('x'),
            |q| q.item.push('x'),
            |q| q.asks[0].header.push('x'),
            |q| q.asks[0].options[0].label.push('x'),
            |q| q.asks[0].options[1].description.push('x'),
            |q| q.asks[0].other = true,
            |q| q.asks[1].secret = true,
            |q| drop(q.asks.pop()),
        ];
        for change in changes {
            let mut other = question();
            change(&mut other);
            assert!(seen.insert(other.digest()), "{other:?}");
        }
    }
}
