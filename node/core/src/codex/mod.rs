//! Codex as Farhelm knows it: the app-server's messages, threads, approvals and the decisions on them, questions.

pub mod approval;
pub mod decision;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod image;
pub mod message;
pub mod question;
pub(crate) mod text;
pub mod thread;
