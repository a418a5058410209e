//! Options of LLVM's `cl::opt` registry.
//!
//! In: option strings. Out: the registry set, or LLVM's own complaint. Knows nothing of modules.
//!
//! `LLVMParseCommandLineOptions` throws away what it has to say of an unknown option and goes on.
//! What an option's own parser has to say (a bad value, a value missing or not wanted) it prints
//! to standard error. So a child process tries the options first, with standard error caught:
//!
//! - An option is known if it reacts. `-name` as the last argument makes one that requires a value
//!   say so, and `-name=<nonsense>` makes one that takes none, or a truth value or a word of a list,
//!   say so. Silence to both means that no option of the name exists. (An option whose value is
//!   optional text would be silent too; LLVM has none.)
//! - Then all are parsed together. What is printed is the error.
//!
//! The child ends with `_exit`, so nothing of the host's (buffers, handlers) runs in it.

#![allow(unsafe_code)]

use super::api::Api;
use crate::error::{Error, Result};
use parking_lot::Mutex;
use std::ffi::{CString, c_char};
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsRawFd;
use std::ptr;
use std::time::{Duration, Instant};

/// What LLVM's messages call the program, as in libLTO.
const PROGRAM: &str = "libLLVMLTO";

/// Options that print something and end the process.
const ENDING: [&str; 5] = ["help", "help-list", "help-hidden", "help-list-hidden", "version"];

/// The options that were set in each library of this process, by the address of its table. They
/// cannot be unset, and a second occurrence is an error in LLVM before 16.
static APPLIED: Mutex<Vec<(usize, String)>> = Mutex::new(Vec::new());

/// The options that change, in each library of this process, and what they are now.
static CURRENT: Mutex<Vec<(usize, String, String)>> = Mutex::new(Vec::new());

/// Sets the options of this library, once each.
pub(super) fn apply(api: &Api, options: &[String]) -> Result<()> {
    let key = ptr::from_ref(api) as usize;
    let mut applied = APPLIED.lock();
    let new: Vec<&str> = options
        .iter()
        .map(String::as_str)
        .filter(|option| !applied.iter().any(|(api, set)| *api == key && set == option))
        .collect();
    if new.is_empty() {
        return Ok(());
    }
    try_out(api, &new)?;
    parse(api, &new)?;
    for option in new {
        applied.push((key, option.to_string()));
    }
    Ok(())
}

/// Gives an option a value in place of the one that [`set`] gave it before; empty for that of a
/// process in which nobody has.
///
/// # Errors
/// Unsupported in LLVM before 16, where an option cannot be set twice.
pub(super) fn set(api: &Api, option: &str, value: &str) -> Result<()> {
    let key = ptr::from_ref(api) as usize;
    let mut current = CURRENT.lock();
    let place = current.iter_mut().find(|(api, name, _)| *api == key && name == option);
    let text = format!("{option}={value}");
    match place {
        Some((_, _, now)) if now == value => Ok(()),
        None if value.is_empty() => Ok(()),
        Some((_, _, now)) => {
            if api.version.0 < 16 {
                return Err(Error::unsupported(format!(
                    "LLVM {} cannot set {option} a second time",
                    api.version.0
                )));
            }
            parse(api, &[&text])?;
            value.clone_into(now);
            Ok(())
        }
        None => {
            try_out(api, &[&text])?;
            parse(api, &[&text])?;
            current.push((key, option.to_owned(), value.to_owned()));
            Ok(())
        }
    }
}

/// The name of an option string: "-foo=bar" and "--foo" are "foo". `None`: not an option.
fn name(option: &str) -> Option<&str> {
    let stripped = option.strip_prefix("--").or_else(|| option.strip_prefix('-'))?;
    let name = stripped.split_once('=').map_or(stripped, |(name, _)| name);
    (!name.is_empty()).then_some(name)
}

fn parse(api: &Api, options: &[&str]) -> Result<()> {
    let strings = std::iter::once(&PROGRAM)
        .chain(options)
        .map(|text| CString::new(*text))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| Error::misuse("an option holds a zero byte"))?;
    let pointers: Vec<*const c_char> = strings.iter().map(|string| string.as_ptr()).collect();
    let count = i32::try_from(pointers.len()).map_err(|_| Error::misuse("too many options"))?;
    // SAFETY: `count` C strings, which LLVM copies where it keeps them.
    unsafe { (api.f.LLVMParseCommandLineOptions)(count, pointers.as_ptr(), ptr::null()) };
    Ok(())
}

/// Finds out in a child process what LLVM thinks of the options.
fn try_out(api: &Api, options: &[&str]) -> Result<()> {
    for (at, option) in options.iter().enumerate() {
        let Some(name) = name(option) else {
            // A value in a string of its own belongs to the option before it.
            let after_option = at > 0 && options.get(at - 1).is_some_and(|o| name(o).is_some());
            if after_option {
                continue;
            }
            return Err(Error::misuse(format!("{option} is not an option")));
        };
        if ENDING.contains(&name) {
            return Err(Error::misuse(format!("-{name} has no place in a link")));
        }
        let bare = format!("-{name}");
        let nonsense = format!("-{name}=\u{1}");
        if complaint(api, &[&bare])?.is_empty() && complaint(api, &[&nonsense])?.is_empty() {
            return Err(Error::misuse(format!(
                "Unknown command line argument '{option}'.  Try: '{PROGRAM} --help'"
            )));
        }
    }
    let text = complaint(api, options)?;
    match text.trim() {
        "" => Ok(()),
        text => Err(Error::misuse(text.strip_prefix("libLLVMLTO: ").unwrap_or(text))),
    }
}

/// What a child that parses these options prints to standard error.
fn complaint(api: &Api, options: &[&str]) -> Result<String> {
    let mut output = super::memory::memfd(c"lto-options", 0)?;
    // SAFETY: the child calls LLVM's parser, which needs memory and locks of the C library that
    // fork leaves in order, duplicates descriptors and ends without running anything of ours.
    let child = unsafe { libc::fork() };
    match child {
        -1 => {
            return Err(Error::io("trying out options", &std::io::Error::last_os_error()));
        }
        0 => {
            // SAFETY: in the child; only the descriptors named are touched.
            unsafe {
                libc::dup2(output.as_raw_fd(), 1);
                libc::dup2(output.as_raw_fd(), 2);
                let result = parse(api, options);
                libc::_exit(i32::from(result.is_err()));
            }
        }
        _ => {}
    }
    wait(child, &mut output)
}

fn wait(child: libc::pid_t, output: &mut File) -> Result<String> {
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut status = 0;
    loop {
        // SAFETY: our child and a place for its status.
        let waited = unsafe { libc::waitpid(child, &mut status, libc::WNOHANG) };
        // Not ours any more: a host that ignores SIGCHLD has it reaped by the kernel.
        if waited == child || waited < 0 {
            break;
        }
        if Instant::now() > deadline {
            // SAFETY: our child, not yet waited for.
            unsafe {
                libc::kill(child, libc::SIGKILL);
                libc::waitpid(child, &mut status, 0);
            }
            return Err(Error::engine("LLVM did not finish reading its options"));
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    let mut text = Vec::new();
    let read = output.rewind().and_then(|()| output.take(1 << 16).read_to_end(&mut text));
    read.map_err(|error| Error::io("trying out options", &error))?;
    let mut text = String::from_utf8_lossy(&text).into_owned();
    if text.is_empty() && !(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0) {
        text = format!("LLVM failed while reading its options (status {status:#x})");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn names() {
        assert_eq!(name("-foo=bar=baz"), Some("foo"));
        assert_eq!(name("--foo"), Some("foo"));
        assert_eq!(name("foo"), None);
        assert_eq!(name("-"), None);
        assert_eq!(name("--"), None);
        assert_eq!(name("-=x"), None);
    }
}
