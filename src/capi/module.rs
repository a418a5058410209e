//! `lto_module_*`: listing a module's symbols.
//!
//! In: C's arguments. Out: a [`ModuleObject`]'s answers as C values. What the answers are is
//! decided there and in [`crate::symbols`]; here is only the conversion.

#![allow(unsafe_code)] // exports, and the caller's memory

use std::ffi::{c_char, c_int, c_uint, c_void};

use super::arguments::{self, bytes, store, string, text_or};
use super::boundary::{boundary, reporting};
use super::codegen_object;
use super::module_object::{MODULES, ModuleObject, Purpose};
use super::types::{SymbolAttributes, lto_bool_t, lto_code_gen_t, lto_module_t};
use crate::container;
use crate::container::FileBytes;
use crate::error::Result;
use crate::symbols;

/// What messages call a buffer that came without a path.
const IN_MEMORY: &str = "<memory>";

/// Tells whether the file at `path` is bitcode, or an object file with bitcode for LTO inside.
/// A file that cannot be read is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_module_is_object_file(path: *const c_char) -> lto_bool_t {
    boundary("lto_module_is_object_file", false, || {
        // SAFETY: the caller's clause: a string.
        let path = unsafe { arguments::path(path) }?;
        Ok(container::is_lto_input(&FileBytes::open(path)?))
    })
}

/// Tells whether the file at `path` is one as `lto_module_is_object_file` says, and its module's
/// target triple begins with `target_triple_prefix`. A damaged file is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_module_is_object_file_for_target(
    path: *const c_char,
    target_triple_prefix: *const c_char,
) -> lto_bool_t {
    boundary("lto_module_is_object_file_for_target", false, || {
        // SAFETY: the caller's clause: two strings.
        let (path, prefix) = unsafe {
            (arguments::path(path)?, string(target_triple_prefix, "the target triple prefix")?)
        };
        ModuleObject::is_for_target(&FileBytes::open(path)?, prefix.to_bytes())
    })
}

/// Tells whether the `length` bytes of bitcode at `mem` define an Objective-C class or category,
/// or a Swift class: something that a linker loads from an archive without being asked.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_module_has_objc_category(
    mem: *const c_void,
    length: usize,
) -> lto_bool_t {
    boundary("lto_module_has_objc_category", false, || {
        // SAFETY: the caller's clause: `length` bytes.
        symbols::has_objc_category(unsafe { bytes(mem, length, "the buffer") }?)
    })
}

/// As `lto_module_is_object_file`, for the `length` bytes at `mem`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_module_is_object_file_in_memory(
    mem: *const c_void,
    length: usize,
) -> lto_bool_t {
    boundary("lto_module_is_object_file_in_memory", false, || {
        // SAFETY: the caller's clause: `length` bytes.
        Ok(container::is_lto_input(unsafe { bytes(mem, length, "the buffer") }?))
    })
}

/// As `lto_module_is_object_file_for_target`, for the `length` bytes at `mem`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_module_is_object_file_in_memory_for_target(
    mem: *const c_void,
    length: usize,
    target_triple_prefix: *const c_char,
) -> lto_bool_t {
    boundary("lto_module_is_object_file_in_memory_for_target", false, || {
        // SAFETY: the caller's clause: `length` bytes and a string.
        let (bytes, prefix) = unsafe {
            (
                bytes(mem, length, "the buffer")?,
                string(target_triple_prefix, "the target triple prefix")?,
            )
        };
        ModuleObject::is_for_target(bytes, prefix.to_bytes())
    })
}

/// Reads the module in the file at `path`. Returns null on failure, and the message of
/// `lto_get_error_message` says why. The module is the caller's, for `lto_module_dispose`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_module_create(path: *const c_char) -> lto_module_t {
    boundary("lto_module_create", std::ptr::null_mut(), || {
        // SAFETY: the caller's clause: a string.
        let path = unsafe { arguments::path(path) }?;
        keep(ModuleObject::from_file(FileBytes::open(path)?, &path.to_string_lossy()))
    })
}

/// Reads the module in the `length` bytes at `mem`, which the caller may free afterwards. Returns
/// null on failure; otherwise the module is the caller's, for `lto_module_dispose`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_module_create_from_memory(
    mem: *const c_void,
    length: usize,
) -> lto_module_t {
    boundary("lto_module_create_from_memory", std::ptr::null_mut(), || {
        // SAFETY: the caller's clause: `length` bytes.
        let bytes = unsafe { bytes(mem, length, "the buffer") }?;
        keep(ModuleObject::from_memory(bytes, IN_MEMORY, Purpose::Link))
    })
}

/// As `lto_module_create_from_memory`; messages call the module `path`, which may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_module_create_from_memory_with_path(
    mem: *const c_void,
    length: usize,
    path: *const c_char,
) -> lto_module_t {
    boundary("lto_module_create_from_memory_with_path", std::ptr::null_mut(), || {
        // SAFETY: the caller's clause: `length` bytes and a string.
        let (bytes, path) =
            unsafe { (bytes(mem, length, "the buffer")?, text_or(path, IN_MEMORY)) };
        keep(ModuleObject::from_memory(bytes, &path, Purpose::Link))
    })
}

/// As `lto_module_create_from_memory_with_path`, for listing symbols only: it is cheaper, and
/// `lto_codegen_add_module` refuses the module. May be called by several threads at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_module_create_in_local_context(
    mem: *const c_void,
    length: usize,
    path: *const c_char,
) -> lto_module_t {
    boundary("lto_module_create_in_local_context", std::ptr::null_mut(), || {
        // SAFETY: the caller's clause: `length` bytes and a string.
        let (bytes, path) =
            unsafe { (bytes(mem, length, "the buffer")?, text_or(path, IN_MEMORY)) };
        keep(ModuleObject::from_memory(bytes, &path, Purpose::Symbols))
    })
}

/// As `lto_module_create_from_memory_with_path`, for a module that `cg` is going to get. A
/// failure is also told to the diagnostic handler of `cg`, which may throw.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn lto_module_create_in_codegen_context(
    mem: *const c_void,
    length: usize,
    path: *const c_char,
    cg: lto_code_gen_t,
) -> lto_module_t {
    reporting("lto_module_create_in_codegen_context", std::ptr::null_mut(), |report| {
        codegen_object::report_to(cg, report)?;
        // SAFETY: the caller's clause: `length` bytes and a string.
        let (bytes, path) =
            unsafe { (bytes(mem, length, "the buffer")?, text_or(path, IN_MEMORY)) };
        keep(ModuleObject::from_memory(bytes, &path, Purpose::Link))
    })
}

/// Reads the module in the first `file_size` bytes of the open file `fd`; messages call it `path`.
/// The descriptor stays the caller's and may be closed afterwards; its position is not used.
/// Returns null on failure; otherwise the module is the caller's, for `lto_module_dispose`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_module_create_from_fd(
    fd: c_int,
    path: *const c_char,
    file_size: usize,
) -> lto_module_t {
    boundary("lto_module_create_from_fd", std::ptr::null_mut(), || {
        // SAFETY: the caller's clause: a string.
        let path = unsafe { text_or(path, "<file descriptor>") };
        keep(from_descriptor(fd, &path, 0, file_size))
    })
}

/// As `lto_module_create_from_fd`, for the `map_size` bytes of the file from byte `offset` on: a
/// member of an archive. `file_size` is not used.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_module_create_from_fd_at_offset(
    fd: c_int,
    path: *const c_char,
    file_size: usize,
    map_size: usize,
    offset: libc::off_t,
) -> lto_module_t {
    boundary("lto_module_create_from_fd_at_offset", std::ptr::null_mut(), || {
        let _ = file_size;
        // SAFETY: the caller's clause: a string.
        let path = unsafe { text_or(path, "<file descriptor>") };
        keep(from_descriptor(fd, &path, offset, map_size))
    })
}

/// Frees the module and all strings that it gave out. The handle is stale from now on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_module_dispose(r#mod: lto_module_t) {
    boundary("lto_module_dispose", (), || MODULES.remove(r#mod.addr()).map(drop));
}

/// Returns the module's target triple, as `lto_module_set_target_triple` set it last. The string
/// is the module's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_module_get_target_triple(r#mod: lto_module_t) -> *const c_char {
    boundary("lto_module_get_target_triple", std::ptr::null(), || {
        MODULES.with(r#mod.addr(), |module| Ok(module.target_triple()))
    })
}

/// Sets the triple for which the module's code is generated. Strings that
/// `lto_module_get_target_triple` returned before stay valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_module_set_target_triple(r#mod: lto_module_t, triple: *const c_char) {
    boundary("lto_module_set_target_triple", (), || {
        // SAFETY: the caller's clause: a string.
        let triple = unsafe { string(triple, "the target triple") }?;
        MODULES.with(r#mod.addr(), |module| {
            module.set_target_triple(triple);
            Ok(())
        })
    });
}

/// Returns the number of symbols, or 0 for a handle of no module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_module_get_num_symbols(r#mod: lto_module_t) -> c_uint {
    boundary("lto_module_get_num_symbols", 0, || {
        MODULES.with(r#mod.addr(), |module| Ok(module.symbol_count()))
    })
}

/// Returns the name of symbol `index` as the object file will have it; the string is the
/// module's. Null where there is no such symbol.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_module_get_symbol_name(
    r#mod: lto_module_t,
    index: c_uint,
) -> *const c_char {
    boundary("lto_module_get_symbol_name", std::ptr::null(), || {
        MODULES.with(r#mod.addr(), |module| module.symbol_name(index))
    })
}

/// Returns the attributes of symbol `index`, 0 where there is no such symbol.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_module_get_symbol_attribute(
    r#mod: lto_module_t,
    index: c_uint,
) -> SymbolAttributes {
    boundary("lto_module_get_symbol_attribute", 0, || {
        MODULES.with(r#mod.addr(), |module| module.symbol_attributes(index))
    })
}

/// Returns the number of symbols that the module's inline assembly uses and does not define, or 0
/// for a handle of no module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_module_get_num_asm_undef_symbols(r#mod: lto_module_t) -> c_uint {
    boundary("lto_module_get_num_asm_undef_symbols", 0, || {
        MODULES.with(r#mod.addr(), |module| Ok(module.asm_undefined_count()))
    })
}

/// Returns the name of number `index` of the symbols that the module's inline assembly uses and
/// does not define; the string is the module's. Null where there is no such symbol.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_module_get_asm_undef_symbol_name(
    r#mod: lto_module_t,
    index: c_uint,
) -> *const c_char {
    boundary("lto_module_get_asm_undef_symbol_name", std::ptr::null(), || {
        MODULES.with(r#mod.addr(), |module| module.asm_undefined_name(index))
    })
}

/// Returns the options that the module has for the linker, each after a space; the string is the
/// module's. Null for a handle of no module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_module_get_linkeropts(r#mod: lto_module_t) -> *const c_char {
    boundary("lto_module_get_linkeropts", std::ptr::null(), || {
        MODULES.with(r#mod.addr(), |module| Ok(module.linker_options()))
    })
}

/// Stores the CPU type and subtype that a Mach-O file for the module's target has, as numbers of
/// `mach/machine.h`. Returns true on failure: where the target is none of Mach-O's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_module_get_macho_cputype(
    r#mod: lto_module_t,
    out_cputype: *mut c_uint,
    out_cpusubtype: *mut c_uint,
) -> lto_bool_t {
    boundary("lto_module_get_macho_cputype", true, || {
        let (cpu_type, subtype) = MODULES.with(r#mod.addr(), |module| module.macho_cpu_type())?;
        // SAFETY: the caller's clause: valid for writes.
        unsafe {
            store(out_cputype, cpu_type, "out_cputype")?;
            store(out_cpusubtype, subtype, "out_cpusubtype")?;
        }
        Ok(false)
    })
}

/// Tells whether the module has static constructors or destructors: `llvm.global_ctors` or
/// `llvm.global_dtors`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_module_has_ctor_dtor(r#mod: lto_module_t) -> lto_bool_t {
    boundary("lto_module_has_ctor_dtor", false, || {
        MODULES.with(r#mod.addr(), |module| Ok(module.has_ctor_dtor()))
    })
}

/// Tells whether the module carries a summary for ThinLTO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_module_is_thinlto(r#mod: lto_module_t) -> lto_bool_t {
    boundary("lto_module_is_thinlto", false, || {
        MODULES.with(r#mod.addr(), |module| Ok(module.is_thinlto()))
    })
}

/// Keeps a module and makes the handle for C.
fn keep(module: Result<ModuleObject>) -> Result<lto_module_t> {
    MODULES.insert(module?).map(std::ptr::without_provenance_mut)
}

fn from_descriptor(
    fd: c_int,
    path: &str,
    offset: libc::off_t,
    size: usize,
) -> Result<ModuleObject> {
    let offset = u64::try_from(offset).map_err(|_| {
        crate::error::Error::misuse(format!("the offset {offset} is negative")).in_file(path)
    })?;
    let bytes =
        FileBytes::from_fd(fd, offset, Some(size as u64)).map_err(|error| error.in_file(path))?;
    ModuleObject::from_file(bytes, path)
}
