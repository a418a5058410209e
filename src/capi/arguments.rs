//! What C callers pass, as Rust values: checked where it can be.
//!
//! In: pointers and lengths. Out: slices and strings, or a misuse error for null and for lengths
//! that no object can have. That a pointer points to what its length or its NUL promises is the
//! caller's clause of the contract; nothing here can check it.

#![allow(unsafe_code)] // reads the caller's memory

use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::types::lto_codegen_model;
use crate::error::{Error, Result};

/// The string at `pointer`; `what` names the argument in the error for null.
///
/// # Safety
/// Null, or a NUL-terminated string that stays unchanged for `'a`.
pub(crate) unsafe fn string<'a>(pointer: *const c_char, what: &str) -> Result<&'a CStr> {
    if pointer.is_null() {
        return Err(Error::misuse(format!("{what} is null")));
    }
    // SAFETY: not null, and otherwise the caller's clause.
    Ok(unsafe { CStr::from_ptr(pointer) })
}

/// The string at `pointer` as text, with U+FFFD for what is not UTF-8.
///
/// # Safety
/// As [`string`].
pub(crate) unsafe fn text(pointer: *const c_char, what: &str) -> Result<String> {
    // SAFETY: the caller's clause.
    unsafe { string(pointer, what) }.map(|string| string.to_string_lossy().into_owned())
}

/// The string at `pointer` as text, or `default` for null.
///
/// # Safety
/// As [`string`].
pub(crate) unsafe fn text_or(pointer: *const c_char, default: &str) -> String {
    // SAFETY: the caller's clause.
    unsafe { text(pointer, "") }.unwrap_or_else(|_| default.to_owned())
}

/// The path at `pointer`, whatever its encoding.
///
/// # Safety
/// As [`string`].
pub(crate) unsafe fn path<'a>(pointer: *const c_char) -> Result<&'a Path> {
    // SAFETY: the caller's clause.
    let bytes = unsafe { string(pointer, "the path") }?.to_bytes();
    Ok(Path::new(OsStr::from_bytes(bytes)))
}

/// The `length` bytes at `pointer`.
///
/// # Safety
/// Null, or memory of `length` readable bytes that stay unchanged for `'a`.
pub(crate) unsafe fn bytes<'a>(
    pointer: *const c_void,
    length: usize,
    what: &str,
) -> Result<&'a [u8]> {
    if pointer.is_null() {
        return Err(Error::misuse(format!("{what} is null")));
    }
    if length > isize::MAX as usize || pointer.addr().checked_add(length).is_none() {
        return Err(Error::misuse(format!("{what} cannot be {length:#x} bytes long")));
    }
    // SAFETY: not null, no longer than an object can be, and otherwise the caller's clause.
    Ok(unsafe { std::slice::from_raw_parts(pointer.cast(), length) })
}

/// The `length` bytes at `pointer` as text, for the functions that take an `int` length.
///
/// # Safety
/// Null, or memory of `length` readable bytes.
pub(crate) unsafe fn counted<'a>(
    pointer: *const c_char,
    length: c_int,
    what: &str,
) -> Result<&'a [u8]> {
    let length = usize::try_from(length)
        .map_err(|_| Error::misuse(format!("{what} has the negative length {length}")))?;
    // SAFETY: the caller's clause.
    unsafe { bytes(pointer.cast(), length, what) }
}

/// The `number` option strings at `options`.
///
/// # Safety
/// `options` is null or points to `number` pointers, each null or a NUL-terminated string.
pub(crate) unsafe fn options(options: *const *const c_char, number: c_int) -> Result<Vec<String>> {
    let number = usize::try_from(number)
        .map_err(|_| Error::misuse(format!("there cannot be {number} options")))?;
    if number == 0 {
        return Ok(Vec::new());
    }
    if options.is_null() {
        return Err(Error::misuse("the array of options is null"));
    }
    (0..number)
        // SAFETY: the caller's clause: `number` pointers to strings.
        .map(|at| unsafe { text(options.add(at).read(), &format!("option {at}")) })
        .collect()
}

/// The place at `pointer` for a result.
///
/// # Safety
/// Null, or valid for a write of a `T`.
pub(crate) unsafe fn store<T>(pointer: *mut T, value: T, what: &str) -> Result<()> {
    if pointer.is_null() {
        return Err(Error::misuse(format!("{what} is null")));
    }
    // SAFETY: not null, and otherwise the caller's clause.
    unsafe { pointer.write(value) };
    Ok(())
}

/// The relocation model that a caller gave as an integer.
pub(crate) fn pic_model(model: u32) -> Result<lto_codegen_model> {
    use lto_codegen_model as Model;
    [
        Model::LTO_CODEGEN_PIC_MODEL_STATIC,
        Model::LTO_CODEGEN_PIC_MODEL_DYNAMIC,
        Model::LTO_CODEGEN_PIC_MODEL_DYNAMIC_NO_PIC,
        Model::LTO_CODEGEN_PIC_MODEL_DEFAULT,
    ]
    .into_iter()
    .find(|known| *known as u32 == model)
    .ok_or_else(|| Error::misuse(format!("Unknown PIC model {model}")))
}
