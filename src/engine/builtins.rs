//! Optimization that takes no function for one of the standard library's (`Freestanding`).
//!
//! In: a module and passes. Out: the module after them. Knows nothing of why.
//!
//! LLVM's LTO hands its passes a `TargetLibraryInfo` without any function, which the C API cannot.
//! A function with the attribute `no-builtins` gets such a one as well
//! (`TargetLibraryInfo`'s constructor, TargetLibraryInfo.h), so that all get it while passes run.
//! Code generation is to know the library again, in LLVM too: a second attribute, which passes copy
//! with the first, tells whose it is not.

#![allow(unsafe_code)]

use super::GlobalKind;
use super::edit::Editor;
use std::ffi::{c_char, c_uint};

/// What LLVM looks at.
const NO_BUILTINS: &str = "no-builtins";
/// It is there for a while.
const FOR_A_WHILE: &str = "lto-freestanding";
/// LLVMAttributeFunctionIndex.
const OF_FUNCTION: c_uint = c_uint::MAX;

/// Takes the library away from all functions, does something, and gives it back.
pub(super) fn without<T>(editor: &Editor<'_>, work: impl FnOnce() -> T) -> T {
    let f = &editor.api.f;
    let range = |text: &'static str| (text.as_ptr().cast::<c_char>(), text.len() as c_uint);
    let (no_builtins, no_builtins_len) = range(NO_BUILTINS);
    let (for_a_while, for_a_while_len) = range(FOR_A_WHILE);
    // SAFETY, for all calls here: live functions of a module and its context, and names with their
    // lengths, which LLVM copies.
    for function in editor.values(GlobalKind::Function) {
        unsafe {
            let has = (f.LLVMGetStringAttributeAtIndex)(
                function,
                OF_FUNCTION,
                no_builtins,
                no_builtins_len,
            );
            if !has.is_null() {
                continue;
            }
            for (name, len) in [(no_builtins, no_builtins_len), (for_a_while, for_a_while_len)] {
                let attribute =
                    (f.LLVMCreateStringAttribute)(editor.context, name, len, c"".as_ptr(), 0);
                (f.LLVMAddAttributeAtIndex)(function, OF_FUNCTION, attribute);
            }
        }
    }
    let done = work();
    for function in editor.values(GlobalKind::Function) {
        unsafe {
            let has = (f.LLVMGetStringAttributeAtIndex)(
                function,
                OF_FUNCTION,
                for_a_while,
                for_a_while_len,
            );
            if has.is_null() {
                continue;
            }
            for (name, len) in [(no_builtins, no_builtins_len), (for_a_while, for_a_while_len)] {
                (f.LLVMRemoveStringAttributeAtIndex)(function, OF_FUNCTION, name, len);
            }
        }
    }
    done
}
