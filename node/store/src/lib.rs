//! What a host must not forget.
