//! The phone's client without a screen.
