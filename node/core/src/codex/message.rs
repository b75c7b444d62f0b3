//! The app-server's JSON messages.
