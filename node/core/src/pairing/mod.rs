//! Tickets and offers.
