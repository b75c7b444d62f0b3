//! What screens show, as values: made safe, put into words, in the order in which a person needs it.
//!
//! The terminal phone draws these, and the mobile library hands them to apps, so that both show the same from the same
//! code. No I/O, no clock, no colours: a span says what it is ([`Role`]), the screen how that looks.
//!
//! | room | holds |
//! |---|---|
//! | [`sanitize`] | text from elsewhere, made safe |
//! | [`text`] | lines of spans |
//! | [`markdown`] | an answer as lines |
//! | [`diff`] | changes of files: hunks, lines, changed words |
//! | [`outcome`] | what tests said, found in a command's output |
//! | [`block`] | an item of a thread |
//! | [`thread`] | a whole thread, block by block, made anew only where it changed |
//! | [`approval`] | what a person is asked to accept, with what to look out for |
//! | [`inbox`] | what waits, runs, failed and finished, over all hosts |
//! | [`composer`] | what was typed: a message or a command |
//!
//! # What it isn't
//! Proof of what was shown: a decision is signed over [`crate::codex::approval::Content`], which goes beside these values.

pub mod approval;
pub mod block;
pub mod composer;
pub mod diff;
pub mod inbox;
pub mod markdown;
pub mod outcome;
pub mod sanitize;
pub mod text;
pub mod thread;

pub use sanitize::Sanitized;
pub use text::{Line, Role, Span};

/// Milliseconds as a person says them: `0.4 s`, `3 min 5 s`.
pub fn duration(ms: i64) -> String {
    let seconds = ms / 1000;
    match seconds {
        60.. => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{}.{} s", seconds, (ms % 1000) / 100),
    }
}
