//! The functions of `llvm-c/lto.h` that belong to no object: versions, the error message, options.
//!
//! In: C's arguments. Out: what this library says of itself. Knows nothing of bitcode.

#![allow(unsafe_code)] // exports, and the caller's memory

use std::ffi::{c_char, c_int, c_uint};

use super::arguments;
use super::boundary::boundary;
use super::runtime_symbols::RUNTIME_LIB_SYMBOLS;
use super::types::LTO_API_VERSION;
use super::{last_error, options};

/// What `lto_get_version` says.
const VERSION: &str = concat!("libLTO ", env!("CARGO_PKG_VERSION"), ", as LLVM version 22.1\0");

/// Says what library this is, for people: its name, its version and the LLVM whose interface it
/// has. The string is static.
#[unsafe(no_mangle)]
pub extern "C" fn lto_get_version() -> *const c_char {
    boundary("lto_get_version", std::ptr::null(), || Ok(VERSION.as_ptr().cast()))
}

/// Returns the message of the last failure in the calling thread, or the empty string where no
/// call of this thread has failed yet. Success does not clear it.
///
/// The string belongs to the library and stays until the same thread fails again, or ends. It
/// names the file, the archive member and the cause where they are known.
#[unsafe(no_mangle)]
pub extern "C" fn lto_get_error_message() -> *const c_char {
    boundary("lto_get_error_message", c"".as_ptr(), || Ok(last_error::get()))
}

/// Returns the `LTO_API_VERSION` that the library has, which may differ from the header's.
#[unsafe(no_mangle)]
pub extern "C" fn lto_api_version() -> c_uint {
    boundary("lto_api_version", 0, || Ok(LTO_API_VERSION))
}

/// Sets options for everything that this process generates code for from now on: `number` strings
/// at `options`, each one option as LLVM's tools take it (`-name`, `-name=value`).
///
/// To be called before code generators are made; those that exist keep what they have. An option
/// that nobody knows is an error of the code generation that needs it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_set_debug_options(options: *const *const c_char, number: c_int) {
    boundary("lto_set_debug_options", (), || {
        // SAFETY: the caller's clause: `number` strings.
        options::add_for_process(unsafe { arguments::options(options, number) }?);
        Ok(())
    });
}

/// Returns the names of functions of the compiler's runtime and of the C library to which code
/// generation may add calls that no symbol table of the bitcode tells of: null-terminated strings
/// as the object file has them but for the target's prefix, and their number at `size`.
///
/// The array and its strings are static. Returns null where `size` is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_runtime_lib_symbols_list(size: *mut usize) -> *const *const c_char {
    boundary("lto_runtime_lib_symbols_list", std::ptr::null(), || {
        // SAFETY: the caller's clause: null or valid for a write.
        unsafe { arguments::store(size, RUNTIME_LIB_SYMBOLS.0.len(), "size") }?;
        Ok(RUNTIME_LIB_SYMBOLS.0.as_ptr())
    })
}
