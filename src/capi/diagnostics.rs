//! Diagnostics on their way to the user's handler.
//!
//! In: what the engine and this front end have to say while a function runs, in order. Out: calls
//! of the handler, when everything else is done. The handler may throw through these frames, as
//! ld64's does, so nothing is locked or half changed while it runs.

#![allow(unsafe_code)] // calls the function that the user gave

use std::ffi::{CString, c_void};

use super::last_error;
use super::types::{lto_codegen_diagnostic_severity_t as Severity, lto_diagnostic_handler_t};
use crate::error::Error;

/// The user's function and its context.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handler {
    pub function: lto_diagnostic_handler_t,
    pub context: *mut c_void,
}

// SAFETY: the context is only ever passed back to the user's function. The header says that the
// function is called by the thread that called the library.
unsafe impl Send for Handler {}

impl Default for Handler {
    fn default() -> Self {
        Handler { function: None, context: std::ptr::null_mut() }
    }
}

/// What is to be said at the end of a call, and to whom.
#[derive(Default)]
pub(crate) struct Report {
    handler: Handler,
    said: Vec<(Severity, CString)>,
}

impl Report {
    /// Names the handler to which all that is said goes. Without one, the last diagnostic becomes
    /// the calling thread's error message, as it does in LLVM.
    pub fn to(&mut self, handler: Handler) {
        self.handler = handler;
    }

    /// Adds a diagnostic. A NUL within the text becomes a space.
    pub fn say(&mut self, severity: Severity, text: &str) {
        let text: Vec<u8> = text.bytes().map(|byte| if byte == 0 { b' ' } else { byte }).collect();
        if let Ok(text) = CString::new(text) {
            self.said.push((severity, text));
        }
    }

    /// Adds the error with which the call fails.
    pub fn error(&mut self, error: &Error) {
        self.say(Severity::LTO_DS_ERROR, &error.to_string());
    }

    /// Calls the handler with everything said, in order. The last thing before returning to C.
    pub fn deliver(self) {
        let Some(function) = self.handler.function else {
            // Errors were recorded by the boundary already; this keeps a warning where there is
            // nothing worse to tell.
            if let Some((severity, text)) = self.said.last()
                && *severity != Severity::LTO_DS_ERROR
            {
                last_error::set(text.to_string_lossy());
            }
            return;
        };
        for (severity, text) in &self.said {
            // SAFETY: the caller of lto_codegen_set_diagnostic_handler promised a function of this
            // type that lives as long as the code generator; the text lives through the call.
            unsafe { function(*severity, text.as_ptr(), self.handler.context) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::{CStr, c_char};

    unsafe extern "C-unwind" fn collect(
        severity: Severity,
        text: *const c_char,
        into: *mut c_void,
    ) {
        // SAFETY: the tests pass a vector and the report a C string.
        let (into, text) = unsafe { (&mut *into.cast::<Vec<String>>(), CStr::from_ptr(text)) };
        into.push(format!("{} {}", severity as u32, text.to_str().unwrap()));
    }

    #[test]
    fn everything_said_arrives_in_order() {
        let mut got: Vec<String> = Vec::new();
        let mut report = Report::default();
        report.say(Severity::LTO_DS_WARNING, "first");
        report.to(Handler { function: Some(collect), context: (&raw mut got).cast() });
        report.say(Severity::LTO_DS_REMARK, "sec\0ond");
        report.error(&Error::engine("third"));
        report.deliver();
        assert_eq!(got, ["1 first", "3 sec ond", "0 third"]);
    }
}
