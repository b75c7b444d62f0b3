//! Which method a phone may call.
