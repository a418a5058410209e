//! The disassembler functions of LLVM's C API, which `otool` looks up in libLTO: passed on to the
//! libLLVM that would generate code.
//!
//! In: calls of `llvm-c/Disassembler.h`. Out: what libLLVM answers. It is loaded into this process
//! on first use and stays; without one, contexts are null and the error message says why. The
//! context given out is a token here as well, so a wrong one is an error before LLVM sees it.

#![allow(unsafe_code)] // exports, and functions of libLLVM

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::transmute;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use super::arguments::string;
use super::boundary::boundary;
use crate::engine::{EngineConfig, Library, initialize_targets};
use crate::error::{Error, Result};
use crate::registry::{Kind, Registry};

static DISASSEMBLERS: Registry<Mutex<Disassembler>> = Registry::new(Kind::Disassembler);

/// `LLVMDisasmContextRef`: a token.
type ContextRef = *mut c_void;
/// `LLVMOpInfoCallback` and `LLVMSymbolLookupCallback`: only ever passed on.
type Callback = *const c_void;

type CreateFn = unsafe extern "C" fn(
    *const c_char,
    *const c_char,
    *mut c_void,
    c_int,
    Callback,
    Callback,
) -> *mut c_void;
type OptionsFn = unsafe extern "C" fn(*mut c_void, u64) -> c_int;
type InstructionFn =
    unsafe extern "C" fn(*mut c_void, *mut u8, u64, u64, *mut c_char, usize) -> usize;
type DisposeFn = unsafe extern "C" fn(*mut c_void);

/// The functions of a loaded libLLVM; the same since LLVM 3.
#[derive(Clone, Copy)]
struct Functions {
    create: CreateFn,
    set_options: OptionsFn,
    instruction: InstructionFn,
    dispose: DisposeFn,
}

/// A disassembler of libLLVM.
struct Disassembler {
    context: *mut c_void,
    functions: Functions,
}

// SAFETY: a context of LLVM is bound to no thread, and the mutex around it admits one at a time.
unsafe impl Send for Disassembler {}

impl Drop for Disassembler {
    fn drop(&mut self) {
        // SAFETY: the context came from this library's `create`, and drop runs once.
        unsafe { (self.functions.dispose)(self.context) };
    }
}

/// The functions, of a libLLVM that is loaded now if it was not before. A failure is not kept, so
/// that the next call may find what this one missed.
fn functions() -> Result<Functions> {
    static LOADED: Mutex<Option<Functions>> = Mutex::new(None);
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(functions) = *loaded {
        return Ok(functions);
    }
    let path = library_path()?;
    let name = CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::misuse("a path with a NUL in it").in_file(path.to_string_lossy()))?;
    // SAFETY: loading a library runs its constructors; this one is the libLLVM that the user or
    // the system chose for code generation.
    let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    if handle.is_null() {
        // SAFETY: after a failure dlerror gives a string or null.
        let why = unsafe { string(libc::dlerror(), "dlerror") }
            .map_or_else(|_| "no reason given".into(), CStr::to_string_lossy);
        return Err(Error::engine(format!("cannot load libLLVM: {why}")));
    }
    let symbol = |name: &CStr| {
        // SAFETY: the handle is live, as it is never closed.
        let address = unsafe { libc::dlsym(handle, name.as_ptr()) };
        if address.is_null() {
            let name = name.to_string_lossy();
            return Err(
                Error::engine(format!("libLLVM lacks {name}")).in_file(path.to_string_lossy())
            );
        }
        Ok(address)
    };
    // SAFETY: these are the types that llvm-c/Disassembler.h gives the functions.
    let functions = unsafe {
        Functions {
            create: transmute::<*mut c_void, CreateFn>(symbol(c"LLVMCreateDisasmCPU")?),
            set_options: transmute::<*mut c_void, OptionsFn>(symbol(c"LLVMSetDisasmOptions")?),
            instruction: transmute::<*mut c_void, InstructionFn>(symbol(c"LLVMDisasmInstruction")?),
            dispose: transmute::<*mut c_void, DisposeFn>(symbol(c"LLVMDisasmDispose")?),
        }
    };
    // SAFETY: the handle is live.
    unsafe { initialize_targets(handle, &["TargetInfo", "TargetMC", "Disassembler"]) };
    *loaded = Some(functions);
    Ok(functions)
}

/// The libLLVM that would generate code, whatever the producer.
fn library_path() -> Result<PathBuf> {
    Library::locate(&EngineConfig::from_env(), &[]).map(|library| library.path)
}

fn create(
    triple: *const c_char,
    cpu: *const c_char,
    info: *mut c_void,
    tag: c_int,
    op_info: Callback,
    symbol_lookup: Callback,
) -> Result<ContextRef> {
    // SAFETY: the caller's clause: a string.
    let triple_text = unsafe { string(triple, "the triple") }?;
    let functions = functions()?;
    // SAFETY: two strings and what the caller means for LLVM, in the types of its header.
    let context = unsafe { (functions.create)(triple, cpu, info, tag, op_info, symbol_lookup) };
    if context.is_null() {
        let triple = triple_text.to_string_lossy();
        return Err(Error::engine(format!("libLLVM has no disassembler for \"{triple}\"")));
    }
    let disassembler = Mutex::new(Disassembler { context, functions });
    DISASSEMBLERS.insert(disassembler).map(std::ptr::without_provenance_mut)
}

/// Makes a disassembler for a triple; see LLVM's `llvm-c/Disassembler.h`. Null on failure.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn LLVMCreateDisasm(
    triple: *const c_char,
    info: *mut c_void,
    tag: c_int,
    op_info: *const c_void,
    symbol_lookup: *const c_void,
) -> *mut c_void {
    boundary("LLVMCreateDisasm", std::ptr::null_mut(), || {
        create(triple, c"".as_ptr(), info, tag, op_info, symbol_lookup)
    })
}

/// Makes a disassembler for a triple and a processor. Null on failure.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn LLVMCreateDisasmCPU(
    triple: *const c_char,
    cpu: *const c_char,
    info: *mut c_void,
    tag: c_int,
    op_info: *const c_void,
    symbol_lookup: *const c_void,
) -> *mut c_void {
    boundary("LLVMCreateDisasmCPU", std::ptr::null_mut(), || {
        // SAFETY: the caller's clause: a string.
        unsafe { string(cpu, "the processor's name") }?;
        create(triple, cpu, info, tag, op_info, symbol_lookup)
    })
}

/// Sets options of a disassembler. Returns 1 if all were accepted, else 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn LLVMSetDisasmOptions(context: *mut c_void, options: u64) -> c_int {
    boundary("LLVMSetDisasmOptions", 0, || {
        DISASSEMBLERS.with(context.addr(), |disassembler| {
            let it = disassembler.lock().unwrap_or_else(PoisonError::into_inner);
            // SAFETY: the context is live while the registry's reader holds it.
            Ok(unsafe { (it.functions.set_options)(it.context, options) })
        })
    })
}

/// Frees a disassembler. The handle is stale from now on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn LLVMDisasmDispose(context: *mut c_void) {
    boundary("LLVMDisasmDispose", (), || DISASSEMBLERS.remove(context.addr()).map(drop));
}

/// Disassembles one instruction of the `size` bytes at `bytes`, which stand at address `pc`, into
/// the `out_size` bytes at `out`. Returns its length in bytes, 0 where it is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn LLVMDisasmInstruction(
    context: *mut c_void,
    bytes: *mut u8,
    size: u64,
    pc: u64,
    out: *mut c_char,
    out_size: usize,
) -> usize {
    boundary("LLVMDisasmInstruction", 0, || {
        if bytes.is_null() || out.is_null() || out_size == 0 {
            return Err(Error::misuse("there is no place for the bytes or the text"));
        }
        DISASSEMBLERS.with(context.addr(), |disassembler| {
            let it = disassembler.lock().unwrap_or_else(PoisonError::into_inner);
            // SAFETY: the context is live, and the rest is the caller's clause.
            Ok(unsafe { (it.functions.instruction)(it.context, bytes, size, pc, out, out_size) })
        })
    })
}

/// Makes the disassembler functions that this library passes on to libLLVM ready for use.
#[unsafe(no_mangle)]
pub extern "C" fn lto_initialize_disassembler() {
    boundary("lto_initialize_disassembler", (), || functions().map(drop));
}
