//! `farhelm phone answer`: the question first and whole, then its answers, typed or given.
//!
//! A script names the question by the digest of what is asked, which it had from `watch`. A secret isn't taken from the
//! command line, where every process of the machine can read it.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use farhelm_core::codex::question::{Ask, Question};
use serde_json::json;

use super::{Context, Exit, Failure, PATIENCE, Which, decide, report, visit};
use crate::terminal::{ask, question};

/// How long the person may think about one answer.
const THINKING: Duration = Duration::from_secs(10 * 60);

/// Show what Codex asks, and answer it
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  farhelm phone answer\n  farhelm phone answer --digest 9f86d081884c tests=All \"why=it is faster\""
)]
pub(super) struct Answer {
    /// The question whose digest begins so (at least 8 hex digits); needed without a terminal
    #[arg(long, value_name = "PREFIX", value_parser = decide::prefix)]
    digest: Option<String>,

    /// An answer: the asked id, and an option's label or your own words; without it you are asked
    #[arg(value_name = "ID=TEXT", value_parser = pair)]
    answers: Vec<(String, String)>,

    #[command(flatten)]
    which: Which,
}

type Answers = BTreeMap<String, Vec<String>>;

pub(super) async fn run(args: Answer, context: &Context) -> Result<(), Failure> {
    if args.digest.is_none() && !ask::is_possible() {
        return Err(Failure::new(Exit::Usage, "there is no terminal at which the question could be looked at")
            .next("name it with --digest, which `farhelm phone watch --json` shows"));
    }
    visit(context, &args.which, async |host| {
        let shown = pick(host.asked(PATIENCE).await?, args.digest.as_deref())?;
        context.say(&report::question(&shown), || question::show(&shown, context.screen.size.columns))?;
        let answers = complete(&shown, given(&shown, &args.answers)?).await?;
        host.answer(&shown, answers).await?;
        let event = json!({"is": "answered", "digest": report::digest_of_question(&shown)});
        context.say(&event, || "Answered.".to_owned())
    })
    .await
}

/// The question that is meant; without a name the oldest, which is then looked at.
fn pick(open: Vec<Question>, digest: Option<&str>) -> Result<Question, Failure> {
    let named = |question: &Question| digest.is_none_or(|name| report::digest_of_question(question).starts_with(name));
    open.into_iter().find(named).ok_or_else(|| {
        let none = if digest.is_some() { "no question with that digest is open" } else { "Codex asks nothing" };
        Failure::new(Exit::NotFound, none).next("`farhelm phone threads` shows what the threads do")
    })
}

/// What stood on the command line.
fn given(shown: &Question, pairs: &[(String, String)]) -> Result<Answers, Failure> {
    let mut answers = Answers::new();
    for (id, answer) in pairs {
        let Some(ask) = shown.asks.iter().find(|ask| ask.id == *id) else {
            return Err(Failure::new(Exit::Usage, format_args!("nothing with the id {id:?} is asked"))
                .next("the question shows its ids"));
        };
        if ask.secret {
            return Err(Failure::new(Exit::Usage, format_args!("{id:?} is a secret, which a command line would show"))
                .next("run it at a terminal and type the answer there"));
        }
        answers.entry(id.clone()).or_default().push(answer.clone());
    }
    Ok(answers)
}

/// Asks for whatever has no answer yet.
async fn complete(shown: &Question, mut answers: Answers) -> Result<Answers, Failure> {
    for asked in &shown.asks {
        if !answers.contains_key(&asked.id) {
            answers.insert(asked.id.clone(), vec![typed(asked).await?]);
        }
    }
    Ok(answers)
}

async fn typed(asked: &Ask) -> Result<String, Failure> {
    loop {
        let prompt = question::prompt(asked);
        let line = if asked.secret { ask::hidden(&prompt).await } else { ask::line(&prompt, THINKING).await };
        let line = line.map_err(|error| {
            Failure::new(Exit::Failed, format_args!("{error}; nothing was answered, it still waits"))
                .next("answer with `farhelm phone answer`")
        })?;
        if let Some(answer) = question::read(asked, &line) {
            return Ok(answer);
        }
    }
}

/// `ID=TEXT`.
fn pair(text: &str) -> Result<(String, String), String> {
    let (id, answer) = text.split_once('=').ok_or("an answer is ID=TEXT")?;
    Ok((id.to_owned(), answer.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use farhelm_core::codex::approval::Key;
    use serde_bytes::ByteArray;

    fn question(request: i64) -> Question {
        let params = json!({"threadId": "t", "turnId": "u", "itemId": "i", "questions": [
            {"id": "q", "question": "Which?", "options": [{"label": "A", "description": ""}]},
            {"id": "key", "question": "The key?", "isSecret": true}]});
        Question::from_request(&params, Key { epoch: ByteArray::new([0; 16]), request }).unwrap()
    }

    #[test]
    fn a_question_is_named_by_its_digest() {
        let open = vec![question(0), question(1)];
        let second = report::digest_of_question(&open[1]);
        assert_eq!(pick(open.clone(), Some(&second[..8])).unwrap().key.request, 1);
        assert_eq!(pick(open.clone(), None).unwrap().key.request, 0, "at a terminal: the oldest");
        assert_eq!(pick(open, Some("00000000")).unwrap_err().code(), Exit::NotFound);
        assert_eq!(pick(Vec::new(), None).unwrap_err().code(), Exit::NotFound);
    }

    #[test]
    fn a_secret_and_what_is_not_asked_are_refused_on_the_command_line() {
        let code = |text| given(&question(0), &[pair(text).unwrap()]).map_err(|failure| failure.code());
        assert_eq!(code("q=A"), Ok([("q".to_owned(), vec!["A".to_owned()])].into()));
        assert_eq!(code("key=hunter2"), Err(Exit::Usage));
        assert_eq!(code("other=A"), Err(Exit::Usage));
        assert!(pair("q").is_err());
    }

    #[tokio::test]
    async fn what_has_no_answer_and_nobody_to_ask_still_waits() {
        let answers = [("q".to_owned(), vec!["A".to_owned()])].into();
        if !ask::is_possible() {
            assert_eq!(complete(&question(0), answers).await.unwrap_err().code(), Exit::Failed);
        }
    }
}
