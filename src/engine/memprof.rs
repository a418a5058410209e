//! What MemProf knows of allocations: taken out of a module, or acted upon.
//!
//! In: a module; and, to act upon it, the part of the combined index that the module needs. Out: the
//! module without attributes and metadata of MemProf, or with clones of functions. Knows nothing of
//! how clones are chosen.
//!
//! LLVM's pass for the latter can be built by its name alone, and then reads the index from the file
//! that an option names. The option is the process's, and every other pipeline that has the pass
//! looks at it: it is taken back when the pass has run.

#![allow(unsafe_code)]

use super::GlobalKind;
use super::api::{self, Api};
use super::clopt;
use super::edit::Editor;
use super::memory::memfd;
use crate::error::{Error, Result};
use parking_lot::Mutex;
use std::ffi::{CStr, c_int, c_uint};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::ptr;

/// The pass, as `opt -passes=` knows it.
const PASS: &str = "memprof-context-disambiguation";

/// The option that names the file with the index.
const OPTION: &str = "-memprof-import-summary";

/// The LLVM like which the thin link chooses clones.
const VERSION: u32 = 19;

/// The option is set for one machine of this process at a time.
static OPTION_IN_USE: Mutex<()> = Mutex::new(());

/// Instructions with attributes of their own, by the C API's numbers (`LLVMOpcode`): invoke, call and
/// callbr.
const CALLS: [c_int; 3] = [5, 45, 67];

/// Calls `run` with the pipeline that makes the clones that `index` asks for.
///
/// # Errors
/// Unsupported where the pass is another LLVM's than the choice of clones is: what it cannot read it
/// would choose itself, without a look at other modules.
pub(super) fn during(api: &Api, index: &[u8], run: impl FnOnce(&str) -> Result<()>) -> Result<()> {
    if api.version.0 != VERSION {
        return Err(Error::unsupported(format!(
            "LLVM {} cannot clone functions for MemProf by LLVM {VERSION}'s choice",
            api.version.0
        )));
    }
    let _in_use = OPTION_IN_USE.lock();
    let mut file = memfd(c"lto-memprof", 0)?;
    file.write_all(index).map_err(|e| Error::io("writing to shared memory", &e))?;
    clopt::set(api, OPTION, &format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    let done = run(PASS);
    clopt::set(api, OPTION, "")?;
    done
}

/// Takes attributes and metadata of MemProf off all calls (`updateMemProfAttributes` of LTO.cpp).
pub(super) fn strip(editor: &Editor<'_>) {
    const ATTRIBUTE: &CStr = c"memprof";
    let f = &editor.api.f;
    let len = |name: &CStr| name.to_bytes().len() as c_uint;
    let kind = |name: &CStr| {
        // SAFETY: a live context and a name with its length.
        unsafe { (f.LLVMGetMDKindIDInContext)(editor.context, name.as_ptr(), len(name)) }
    };
    let kinds = [kind(c"memprof"), kind(c"callsite")];
    for function in editor.values(GlobalKind::Function) {
        // SAFETY: a live function, its blocks and their instructions, whose lists end with null and
        // are not changed; attributes are taken off calls alone.
        unsafe {
            let mut block: *mut api::BasicBlock = (f.LLVMGetFirstBasicBlock)(function);
            while !block.is_null() {
                let mut instruction = (f.LLVMGetFirstInstruction)(block);
                while !instruction.is_null() {
                    if CALLS.contains(&(f.LLVMGetInstructionOpcode)(instruction)) {
                        let (name, len) = (ATTRIBUTE.as_ptr(), len(ATTRIBUTE));
                        // LLVMAttributeFunctionIndex is -1.
                        (f.LLVMRemoveCallSiteStringAttribute)(instruction, c_uint::MAX, name, len);
                        for kind in kinds {
                            (f.LLVMSetMetadata)(instruction, kind, ptr::null_mut());
                        }
                    }
                    instruction = (f.LLVMGetNextInstruction)(instruction);
                }
                block = (f.LLVMGetNextBasicBlock)(block);
            }
        }
    }
}
