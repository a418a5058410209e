//! What a module's records mean.
