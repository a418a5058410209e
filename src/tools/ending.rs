//! How LLVM's programs begin and end, whatever they do in between.
//!
//! In: the words of a command line, or an error. Out: what is printed of the program itself, and its
//! exit code.

use std::io::Write;

use super::command_line::{Argument, Arguments, Parser};
use crate::error::Error;

/// How the text of an error of libLLVM's begins that ends a process there.
const FATAL: &str = "LLVM ERROR: ";

/// Prints what was asked of the program itself: `--help` and its relatives, or `--version`.
pub(super) fn presents(program: &str, help: &str, arguments: &Arguments) -> bool {
    let mut parser = Parser::new(arguments.words());
    while let Some(argument) = parser.next_argument() {
        let Argument::Option(name, None) = argument else { continue };
        let text = match &*name {
            b"h" | b"help" | b"help-hidden" | b"help-list" | b"help-list-hidden" => help.to_owned(),
            b"version" => format!("{}\n", version(program)),
            _ => continue,
        };
        // Nobody is left to tell where the standard output cannot be written.
        let _ = std::io::stdout().write_all(text.as_bytes());
        return true;
    }
    false
}

/// Which program of which version it is.
pub(super) fn version(program: &str) -> String {
    format!("{program} of libLTO {}", env!("CARGO_PKG_VERSION"))
}

/// Prints an error; the exit code that goes with it.
///
/// What ends LLVM's programs by `report_fatal_error` ends ours by the same signal: their callers can
/// tell it from a refusal.
pub(super) fn fails(program: &str, error: &Error) -> i32 {
    // As above.
    let _ = writeln!(std::io::stderr(), "{program}: {error}");
    if error.message().starts_with(FATAL) {
        std::process::abort();
    }
    1
}
