//! The host: the program beside Codex that a paired phone steers.

pub mod app_server;
