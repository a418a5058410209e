//! `lto_input_*`: what a file asks the linker to link with it.
//!
//! In: C's arguments. Out: the dependent libraries of an input file.

#![allow(unsafe_code)] // exports, and the caller's memory

use std::ffi::{c_char, c_uint, c_void};

use super::arguments::{bytes, store, text_or};
use super::boundary::boundary;
use super::types::lto_input_t;
use crate::error::{Error, Result};
use crate::registry::{Kind, Registry};
use crate::symbols::InputFile;

static INPUTS: Registry<InputObject> = Registry::new(Kind::Input);

/// The answers about one input file. The caller's buffer is not needed after it was made.
struct InputObject {
    dependent_libraries: Vec<Box<[u8]>>,
}

impl InputObject {
    fn read(bytes: &[u8]) -> Result<Self> {
        let file = InputFile::open(bytes)?;
        Ok(InputObject { dependent_libraries: file.dependent_libraries().map(Box::from).collect() })
    }
}

/// Reads the `buffer_size` bytes of an input file at `buffer`, which the caller may free
/// afterwards; messages call it `path`. Returns null on failure; otherwise the input is the
/// caller's, for `lto_input_dispose`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_input_create(
    buffer: *const c_void,
    buffer_size: usize,
    path: *const c_char,
) -> lto_input_t {
    boundary("lto_input_create", std::ptr::null_mut(), || {
        // SAFETY: the caller's clause: `buffer_size` bytes and a string.
        let (bytes, path) =
            unsafe { (bytes(buffer, buffer_size, "the buffer")?, text_or(path, "<memory>")) };
        let input = InputObject::read(bytes)
            .map_err(|error| error.context("Could not read LTO input file").in_file(path))?;
        INPUTS.insert(input).map(std::ptr::without_provenance_mut)
    })
}

/// Frees the input and all strings that it gave out. The handle is stale from now on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_input_dispose(input: lto_input_t) {
    boundary("lto_input_dispose", (), || INPUTS.remove(input.addr()).map(drop));
}

/// Returns the number of libraries that the file names (`#pragma comment(lib, ...)`), or 0 for a
/// handle of no input.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_input_get_num_dependent_libraries(input: lto_input_t) -> c_uint {
    boundary("lto_input_get_num_dependent_libraries", 0, || {
        INPUTS.with(input.addr(), |input| Ok(input.dependent_libraries.len() as c_uint))
    })
}

/// Returns the name of dependent library `index` and stores its length in bytes at `size`. The
/// name is the input's and is *not* null-terminated. Null where there is no such library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_input_get_dependent_library(
    input: lto_input_t,
    index: usize,
    size: *mut usize,
) -> *const c_char {
    boundary("lto_input_get_dependent_library", std::ptr::null(), || {
        let (name, length) = INPUTS.with(input.addr(), |input| {
            let libraries = &input.dependent_libraries;
            let name = libraries.get(index).ok_or_else(|| {
                let number = libraries.len();
                Error::misuse(format!("dependent library {index} of {number}"))
            })?;
            Ok((name.as_ptr().cast(), name.len()))
        })?;
        // SAFETY: the caller's clause: valid for a write.
        unsafe { store(size, length, "size") }?;
        Ok(name)
    })
}
