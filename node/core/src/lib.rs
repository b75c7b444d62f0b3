//! Farhelm's words and machines.
