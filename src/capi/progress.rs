//! How far a ThinLTO link is, for the linker that wants to show it.
//!
//! In: the jobs of a link as they go on. Out: calls of the user's function on the thread that
//! called `thinlto_codegen_process`, or, without one, a line on the user's terminal.

#![allow(unsafe_code)] // calls the function that the user gave

use std::ffi::{CString, c_uint, c_void};
use std::time::Duration;

use super::types::thinlto_progress_t;
use crate::schedule::{Progress, Status, Terminal};

/// The user's function and its context.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Callback {
    pub function: thinlto_progress_t,
    pub context: *mut c_void,
}

// SAFETY: the context is only ever passed back to the user's function, which the header says is
// called by the thread that called the library.
unsafe impl Send for Callback {}

impl Default for Callback {
    fn default() -> Self {
        Callback { function: None, context: std::ptr::null_mut() }
    }
}

impl Callback {
    /// Runs `work` with whoever is to be told.
    pub(super) fn watching<R>(self, work: impl FnOnce(&dyn Progress) -> R) -> R {
        match self.function {
            Some(_) => work(&self),
            None => work(&Terminal::stderr()),
        }
    }
}

impl Progress for Callback {
    fn interval(&self) -> Option<Duration> {
        Some(Duration::from_millis(100))
    }

    fn update(&self, status: &Status<'_>) {
        let Some(function) = self.function else { return };
        let number = |n: usize| c_uint::try_from(n).unwrap_or(c_uint::MAX);
        let longest = status.longest.map(|(name, _)| name.replace('\0', " "));
        let longest = longest.and_then(|name| CString::new(name).ok());
        let name = longest.as_ref().map_or(std::ptr::null(), |name| name.as_ptr());
        // SAFETY: the caller of thinlto_codegen_set_progress_callback promised a function of this
        // type that lives as long as the code generator; the name lives through the call.
        unsafe { function(number(status.done), number(status.total), name, self.context) };
    }
}
