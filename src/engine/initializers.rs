//! The initializers of the targets that a libLLVM was built with.
//!
//! In: a loaded libLLVM and the parts of a target that are wanted. Out: these parts of all its
//! targets, registered. Which targets there are is found by name: LLVM's own
//! `LLVMInitializeAllTargets` are inline functions of a header and exist in no library.

#![allow(unsafe_code)]

use std::ffi::{CString, c_void};

/// The targets that LLVM 14 to 22 know.
const TARGETS: [&str; 24] = [
    "AArch64",
    "AMDGPU",
    "ARC",
    "ARM",
    "AVR",
    "BPF",
    "CSKY",
    "Hexagon",
    "Lanai",
    "LoongArch",
    "M68k",
    "MSP430",
    "Mips",
    "NVPTX",
    "PowerPC",
    "RISCV",
    "SPIRV",
    "Sparc",
    "SystemZ",
    "VE",
    "WebAssembly",
    "X86",
    "XCore",
    "Xtensa",
];

/// Calls `LLVMInitialize<target><part>` for every target, where the library has it. They may be
/// called more than once.
///
/// # Safety
///
/// `handle` is what `dlopen` gave for a libLLVM that is not closed.
pub unsafe fn initialize_targets(handle: *mut c_void, parts: &[&str]) {
    for target in TARGETS {
        for part in parts {
            let Ok(name) = CString::new(format!("LLVMInitialize{target}{part}")) else { continue };
            // SAFETY: the caller's clause, and a C string.
            let found = unsafe { libc::dlsym(handle, name.as_ptr()) };
            if !found.is_null() {
                // SAFETY: LLVM's initializers take and return nothing (llvm-c/Target.h).
                unsafe { std::mem::transmute::<*mut c_void, unsafe extern "C" fn()>(found)() };
            }
        }
    }
}
