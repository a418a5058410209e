//! A module's bitcode in the object that is made from it (`-lto-embed-bitcode`).
//!
//! In: a module. Out: the module with its bitcode as a variable in `.llvmbc`. Knows nothing of when.
//!
//! What puts it there is `llvm::embedBitcodeInModule` (BitcodeWriter.h), a C++ function that every
//! libLLVM from 14 on exports. The ABI is Itanium's, where a class without a destructor travels
//! as a C structure would, and a reference as the address.

#![allow(unsafe_code)]

use super::api::{Api, Module};
use crate::error::{Error, Result};
use std::ffi::c_void;

/// `MemoryBufferRef`: two `StringRef`s, the bytes and their name.
#[repr(C)]
pub(super) struct Buffer([usize; 4]);

/// `embedBitcodeInModule(Module &, MemoryBufferRef, bool, bool, const std::vector<uint8_t> &)`.
pub(super) type Embed = unsafe extern "C" fn(*mut Module, Buffer, bool, bool, *const c_void);

/// Embeds the module as it stands; with `command_line` an empty one as well, in `.llvmcmd`, as
/// LLVM's LTO does before it optimizes.
///
/// # Errors
/// Unsupported, where this libLLVM does not export the function.
pub(super) fn embed(api: &Api, module: *mut Module, command_line: bool) -> Result<()> {
    let call: Embed = api
        .f
        ._ZN4llvm20embedBitcodeInModuleERNS_6ModuleENS_15MemoryBufferRefEbbRKSt6vectorIhSaIhEE
        .ok_or_else(|| Error::unsupported("this libLLVM offers no way to embed bitcode"))?;
    // An empty vector is three null pointers, in libstdc++ and libc++.
    let no_words: [usize; 3] = [0; 3];
    // SAFETY: a live module. An empty buffer asks for the module's own bitcode; the vector is
    // only read.
    unsafe { call(module, Buffer([0; 4]), true, command_line, no_words.as_ptr().cast()) };
    Ok(())
}
