//! The `farhelm` program. Everything is in the library's `cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    farhelm::cli::main()
}
