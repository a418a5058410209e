//! The wall between C and Rust: no panic and no error leaves except as a value and a message.
//!
//! In: the body of an exported function. Out: its result, or the value that means failure, with
//! the message of `lto_get_error_message` set. Every export consists of one call of [`boundary`]
//! or [`reporting`]; a test reads the sources and rejects any that does not.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::diagnostics::Report;
use super::last_error;
use crate::error::{Error, ErrorKind, Result};

/// Runs the body of the exported `function`; on an error or a panic sets the calling thread's
/// message and returns `failure`.
#[inline]
pub(crate) fn boundary<R>(
    function: &'static str,
    failure: R,
    body: impl FnOnce() -> Result<R>,
) -> R {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => {
            record(function, &error);
            failure
        }
        Err(payload) => {
            record(function, &panicked(payload));
            failure
        }
    }
}

/// As [`boundary`], for a function that may call the user's diagnostic handler. The handler may
/// throw a C++ exception, which must neither meet a `catch_unwind` nor leave anything locked:
/// the body collects what is to be said in the [`Report`], and it is said last of all.
#[inline]
pub(crate) fn reporting<R>(
    function: &'static str,
    failure: R,
    body: impl FnOnce(&mut Report) -> Result<R>,
) -> R {
    let mut report = Report::default();
    let result = boundary(function, failure, || {
        let result = body(&mut report);
        if let Err(error) = &result {
            report.error(error);
        }
        result
    });
    report.deliver();
    result
}

#[cold]
fn record(function: &'static str, error: &Error) {
    if error.kind() == ErrorKind::Misuse {
        // Only here the caller needs to know which of its calls was wrong.
        last_error::set(format_args!("{function}: {error}"));
    } else {
        last_error::set(error);
    }
}

/// A panic as an error. It is a defect of this library, whatever the input was.
#[cold]
fn panicked(payload: Box<dyn Any + Send>) -> Error {
    let message = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    let error = Error::engine(format!("internal error in libLTO: {message}"));
    // The payload's own drop may panic again, and there is nothing left to catch it.
    std::mem::forget(payload);
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    fn message() -> String {
        #[allow(unsafe_code)]
        // SAFETY: `get` returns this thread's NUL-terminated buffer.
        unsafe { CStr::from_ptr(last_error::get()) }.to_str().unwrap().to_owned()
    }

    #[test]
    fn errors_and_panics_become_the_failure_value() {
        assert_eq!(boundary("lto_f", -1, || Ok(5)), 5);
        assert_eq!(boundary("lto_f", -1, || Err(Error::malformed("bad block"))), -1);
        assert_eq!(message(), "bad block");
        assert_eq!(boundary("lto_f", -1, || Err(Error::misuse("null handle"))), -1);
        assert_eq!(message(), "lto_f: null handle");
        assert_eq!(boundary("lto_f", -1, || panic!("at {}", 7)), -1);
        assert_eq!(message(), "internal error in libLTO: at 7");
    }
}
