//! A module taken apart, for code generation side by side.
//!
//! In: a module and a number. Out: bitcode of that many modules, whose code together is that of the
//! first. Knows nothing of who compiles them.
//!
//! What takes it apart is `llvm::SplitModule` (llvm/Transforms/Utils/SplitModule.h), a C++ function
//! that every libLLVM from 14 on exports. It calls a `function_ref`, which is a function's address
//! and one word for it, with a `unique_ptr<Module>`: having a destructor, that travels as its
//! address, and the caller destroys what is left in it (Itanium C++ ABI, 3.1.2.3).
//!
//! All parts travel as one: the length of each in eight bytes, little endian, then its bitcode.

#![allow(unsafe_code)]

use super::api::{Api, Module};
use crate::error::{Error, Result};
use std::ops::Range;

/// `function_ref<void(std::unique_ptr<Module>)>`.
#[repr(C)]
pub(super) struct Callback {
    call: unsafe extern "C" fn(*mut Collected<'_>, *mut *mut Module),
    with: *mut Collected<'static>,
}

/// The parts so far.
pub(super) struct Collected<'a> {
    api: &'a Api,
    parts: Vec<u8>,
}

/// Splits; what is left of the module must not be used any more.
///
/// # Errors
/// Unsupported, where this libLLVM does not export the function.
pub(super) fn split(api: &Api, module: *mut Module, count: u32) -> Result<Vec<u8>> {
    let mut collected = Collected { api, parts: Vec::new() };
    let callback = Callback { call: collect, with: (&raw mut collected).cast() };
    let f = &api.f;
    // SAFETY: a live module; the callback and what it is called with outlive the call.
    unsafe {
        if let Some(split) = f._ZN4llvm11SplitModuleERNS_6ModuleEjNS_12function_refIFvSt10unique_ptrIS0_St14default_deleteIS0_EEEEEbb {
            split(module, count, callback, false, false);
        } else if let Some(split) = f._ZN4llvm11SplitModuleERNS_6ModuleEjNS_12function_refIFvSt10unique_ptrIS0_St14default_deleteIS0_EEEEEb {
            split(module, count, callback, false);
        } else {
            return Err(Error::unsupported("this libLLVM offers no way to split a module"));
        }
    }
    Ok(collected.parts)
}

/// Takes down a part. It stays its owner's, which destroys it.
unsafe extern "C" fn collect(collected: *mut Collected<'_>, part: *mut *mut Module) {
    // SAFETY: what `split` made, in use nowhere else, and the part that LLVM hands over.
    let (collected, part) = unsafe { (&mut *collected, *part) };
    let api = collected.api;
    // SAFETY: a live module.
    let buffer = unsafe { (api.f.LLVMWriteBitcodeToMemoryBuffer)(part) };
    api.with_buffer(buffer, |bitcode| {
        collected.parts.extend_from_slice(&(bitcode.len() as u64).to_le_bytes());
        collected.parts.extend_from_slice(bitcode);
    });
}

/// Where the bitcode of each part is.
///
/// # Errors
/// Engine, for bytes that are no parts.
pub(super) fn ranges(bytes: &[u8]) -> Result<Vec<Range<usize>>> {
    let wrong = || Error::engine("the parts of a module do not fill their place");
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let start = at + 8;
        let len = bytes.get(at..start).and_then(|len| len.try_into().ok()).ok_or_else(wrong)?;
        let len = usize::try_from(u64::from_le_bytes(len)).map_err(|_| wrong())?;
        at = start.checked_add(len).filter(|&end| end <= bytes.len()).ok_or_else(wrong)?;
        ranges.push(start..at);
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found_and_counted() {
        let bytes = [&2u64.to_le_bytes()[..], b"ab", &0u64.to_le_bytes()[..]].concat();
        assert_eq!(ranges(&bytes).unwrap(), [8..10, 18..18]);
        assert!(ranges(&[]).unwrap().is_empty());
        for wrong in [&bytes[..9], &bytes[..17], &u64::MAX.to_le_bytes()[..]] {
            assert!(ranges(wrong).is_err());
        }
    }
}
