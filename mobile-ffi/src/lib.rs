//! The door for mobile apps.
