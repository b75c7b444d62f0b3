//! What the demo and the tests run instead of an account: a scripted model server behind the real Codex, and a
//! scripted agent in the place of Codex itself.
//!
//! Both read the same keywords from the prompt ([`scenario`]), so one story, and one test suite, runs on either.
//! Neither is a simulation of a model: every answer follows from the prompt alone.

pub mod agent;
pub mod model;
pub mod scenario;
pub mod story;
pub mod world;
