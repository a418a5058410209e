//! Options that were given for the whole process, before any code generator asked for them.
//!
//! In: the strings of `lto_set_debug_options` and `thinlto_debug_options`. Out: the same strings,
//! in order, for each code generator to begin with. What they mean is decided where code is
//! generated.

use std::sync::{Mutex, PoisonError};

static FOR_PROCESS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Adds options for all code generators that are made from now on.
pub(crate) fn add_for_process(options: Vec<String>) {
    if !options.is_empty() {
        FOR_PROCESS.lock().unwrap_or_else(PoisonError::into_inner).extend(options);
    }
}

/// The options given so far.
pub(crate) fn for_process() -> Vec<String> {
    FOR_PROCESS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
