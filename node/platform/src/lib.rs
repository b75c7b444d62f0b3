//! What differs by operating system, and nothing else: where files live, who may read them, who is running.
//!
//! Built on rustix and std, for Linux (which our tests run on) and macOS. No async, no policy: the caller says what
//! is a secret, what to lock and whom to stop. Windows isn't supported yet; every module names its counterpart there.
//!
//! | room | holds |
//! |---|---|
//! | [`directories`] | state, config and runtime directories, private to the user |
//! | [`secret_file`] | files that only the user may read, written whole or not at all |
//! | [`config_file`] | files that the user edits |
//! | [`lock`] | one process per state directory, and who it is |
//! | [`process`] | who is alive, who holds a port, how to stop a group of processes |
//! | [`socket`] | Unix sockets that only the user may connect to |

pub mod config_file;
pub mod directories;
pub mod lock;
pub mod process;
pub mod secret_file;
pub mod socket;
