//! The linker plugin: `onload`, for ld.bfd, ld.gold, mold, wild, and binutils' ar, nm and ranlib.
//!
//! In: a transfer vector, then calls from the linker. Out: symbols of claimed files, and objects
//! in their place. It converts between C and the rest of the crate and decides nothing about the
//! program: resolutions are translated here, obeyed in [`crate::session`].
//!
//! The conversation:
//!
//! ```text
//! onload            the linker's functions, options, what it links      linker, options
//! claim_file        for each file: is it bitcode? then its symbols      claim
//! all_symbols_read  resolutions of all symbols; objects go back         link, objects
//! cleanup           nothing is left to do
//! ```
//!
//! ar, nm and ranlib only do the first two, and load and unload the plugin for every file: nothing
//! is started before the first link. What a claimed file's symbols point to outlives the plugin
//! there, so it is never freed.
//!
//! The hooks are plain functions without an argument of ours, so what they share is a static,
//! [`PLUGIN`]. `onload` replaces it: mold loads a plugin twice, and so does gold when it is named
//! twice. Claims may come from several threads.
//!
//! Errors are told to the linker where it can hear them: from the thread of the hook, and with
//! an error status. ld.gold does not look at the status of all_symbols_read and would go on to
//! complain about every symbol that is now missing, so that it gets a fatal message, at which it
//! exits by itself; everything of ours is put away by then.

#![allow(unsafe_code)]

pub mod abi;
mod claim;
mod link;
mod linker;
mod objects;
mod options;

use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use self::abi::{LDPS_ERR, LDPS_OK, Level, Status, TransferVector};
use self::claim::{ClaimedFile, GivenKeys};
use self::linker::Linker;
use self::objects::Objects;
use self::options::Options;
use crate::error::{Error, Result};

/// What the hooks share.
struct Plugin {
    linker: Linker,
    options: Options,
    claimed: Mutex<Vec<ClaimedFile>>,
    given_keys: GivenKeys,
    /// Bitcode that could not be read was reported. ld.gold goes on all the same.
    bad_input: AtomicBool,
    /// The objects of the link, kept until the process ends: a linker may open them late.
    objects: Mutex<Objects>,
}

static PLUGIN: Mutex<Option<Arc<Plugin>>> = Mutex::new(None);

/// The plugin's entry: takes the linker's transfer vector.
///
/// # Safety
/// `vector` is what the linker plugin interface says: entries up to one with tag 0, whose values
/// stay good while the plugin is loaded.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onload(vector: *const TransferVector) -> Status {
    boundary("onload", || {
        // SAFETY: the caller's clause.
        let linker = unsafe { Linker::read(vector) };
        match start(&linker) {
            Ok(()) => LDPS_OK,
            Err(error) => fail(&linker, &error),
        }
    })
}

fn start(linker: &Linker) -> Result<()> {
    linker.negotiate();
    let mut options = Options::default();
    for option in &linker.options {
        options.add(option)?;
    }
    let plugin = Plugin {
        linker: linker.clone(),
        options,
        claimed: Mutex::new(Vec::new()),
        given_keys: GivenKeys::default(),
        bad_input: AtomicBool::new(false),
        objects: Mutex::new(Objects::default()),
    };
    *PLUGIN.lock() = Some(Arc::new(plugin));
    linker.register(claim_file, claim_file_v2, all_symbols_read, cleanup)
}

/// # Safety
/// The claim hook's contract: `file` and `claimed` are good for the call.
unsafe extern "C" fn claim_file(file: *const abi::InputFile, claimed: *mut c_int) -> Status {
    // SAFETY: the caller's clause.
    boundary("claim_file", || unsafe { claim_hook(file, claimed, true) })
}

/// # Safety
/// As [`claim_file`].
unsafe extern "C" fn claim_file_v2(
    file: *const abi::InputFile,
    claimed: *mut c_int,
    known_used: c_int,
) -> Status {
    // SAFETY: the caller's clause.
    boundary("claim_file", || unsafe { claim_hook(file, claimed, known_used != 0) })
}

/// `used`: whether the file is in the link for sure.
///
/// # Safety
/// As [`claim_file`].
unsafe fn claim_hook(file: *const abi::InputFile, claimed: *mut c_int, used: bool) -> Status {
    // SAFETY: the caller's clause; a null is nothing to claim.
    let (Some(file), Some(claimed)) = (unsafe { file.as_ref() }, unsafe { claimed.as_mut() })
    else {
        return LDPS_ERR;
    };
    *claimed = 0;
    let Some(plugin) = current() else { return LDPS_ERR };
    let (linker, caches) = (&plugin.linker, plugin.options.caches());
    let given = (used && linker.is_bfd && linker.links()).then_some(&plugin.given_keys);
    // SAFETY: the file is the linker's and good for the call.
    match unsafe { claim::claim(linker, file, caches, given) } {
        Ok(None) => LDPS_OK,
        Ok(Some(file)) => {
            *claimed = 1;
            if plugin.linker.links() {
                plugin.claimed.lock().push(file);
            } else {
                // binutils' bfd looks at the symbols when the plugin is long unloaded.
                std::mem::forget(file);
            }
            LDPS_OK
        }
        Err(error) => {
            // It is bitcode and ours to complain about: not claimed, it would be reported again
            // as a file of unknown format.
            *claimed = 1;
            plugin.bad_input.store(true, Ordering::Relaxed);
            plugin.linker.message(
                Level::Error,
                &format!(
                    "LLVM gold plugin has failed to create LTO module: {}",
                    error.cause_first()
                ),
            );
            LDPS_ERR
        }
    }
}

unsafe extern "C" fn all_symbols_read() -> Status {
    boundary("all_symbols_read", || {
        let Some(plugin) = current() else { return LDPS_OK };
        // Taken out: where a linker calls twice, the second time there is nothing to do.
        let claimed = std::mem::take(&mut *plugin.claimed.lock());
        if plugin.bad_input.load(Ordering::Relaxed) {
            // Everybody knows of the broken file by now. Only ld.gold would go on, and with it
            // complain of every symbol that the other files do not give it.
            if plugin.linker.is_gold && !claimed.is_empty() {
                plugin.linker.message(Level::Fatal, "no link with bitcode that is broken");
            }
            return LDPS_ERR;
        }
        if claimed.is_empty() {
            return LDPS_OK;
        }
        match link::link(&plugin, claimed) {
            Ok(()) if plugin.options.ends_early() => {
                // The user asked for bitcode, assembly or nothing instead of a link, and the
                // interface has no word for that: as in LLVM's plugin, this ends the linker.
                // SAFETY: exit may be called anywhere; every lock and worker of ours is gone.
                unsafe { libc::exit(0) }
            }
            Ok(()) => LDPS_OK,
            Err(error) => fail(&plugin.linker, &error),
        }
    })
}

unsafe extern "C" fn cleanup() -> Status {
    boundary("cleanup", || {
        if let Some(plugin) = current() {
            plugin.objects.lock().remove_files();
        }
        LDPS_OK
    })
}

fn current() -> Option<Arc<Plugin>> {
    PLUGIN.lock().clone()
}

/// Ends a hook with an error: told to the user, and returned to the linker.
fn fail(linker: &Linker, error: &Error) -> Status {
    report(linker, if linker.is_gold { Level::Fatal } else { Level::Error }, error);
    LDPS_ERR
}

fn report(linker: &Linker, level: Level, error: &Error) {
    linker.message(level, &error.to_string());
}

/// Keeps panics out of the linker: none may cross into C.
fn boundary(what: &str, body: impl FnOnce() -> Status) -> Status {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(status) => status,
        Err(panic) => {
            let cause = panic
                .downcast_ref::<&str>()
                .map(|s| (*s).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            let error = Error::engine(format!("internal error in {what}: {cause}"));
            // A panic may have come from anything but the message itself.
            if let Some(plugin) = PLUGIN.try_lock().and_then(|plugin| plugin.clone()) {
                return fail(&plugin.linker, &error);
            }
            eprintln!("libLTO: {error}");
            LDPS_ERR
        }
    }
}
