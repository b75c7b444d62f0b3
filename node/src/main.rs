//! The `farhelm` program.

fn main() {}
