//! The index as a whole, its modules and its values.
//!
//! In: a handle and numbers. Out: an [`crate::summary::ModuleSummaryIndex`]'s answers as C values.

#![allow(unsafe_code)] // exports, and the caller's memory

use std::ffi::c_char;

use super::fill::{copy, fill, item, out_of_range};
use super::index_object::INDEXES;
use super::types::{lto_thinlto_index_info_t, lto_thinlto_value_info_t, thin_lto_t};
use crate::capi::arguments::{store, string};
use crate::capi::boundary::boundary;
use crate::capi::types::lto_bool_t;
use crate::error::{Error, Result};
use crate::ir::Guid;
use crate::summary::{ModuleId, ModuleSummaryIndex, ValueId, guid_of};

/// Fills in what is said of the whole index. Returns true on error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_get_index_info(
    index: thin_lto_t,
    info: *mut lto_thinlto_index_info_t,
) -> lto_bool_t {
    boundary("lto_thinlto_get_index_info", true, || {
        INDEXES.with(index.addr(), |object| {
            let index = object.index()?;
            let answer = lto_thinlto_index_info_t {
                struct_size: 0,
                version: index.version(),
                flags: index.flags().0,
                block_count: index.block_count(),
                num_modules: index.modules().len(),
                num_values: index.guids().len(),
                num_summaries: index.summary_count(),
                num_stack_ids: index.stack_ids().len(),
                num_type_ids: index.type_ids().len(),
                num_type_id_vtables: index.type_id_compatible_vtables().len(),
                num_cfi_defs: index.cfi_function_defs().len(),
                num_cfi_decls: index.cfi_function_decls().len(),
                is_combined: index.is_combined().into(),
                is_full_lto: index.is_full_lto().into(),
            };
            // SAFETY: the caller's clause: a structure that says its size.
            unsafe { fill(info, answer) }
        })?;
        Ok(false)
    })
}

/// Returns the number of modules, or 0 on error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_get_num_modules(index: thin_lto_t) -> usize {
    boundary("lto_thinlto_get_num_modules", 0, || {
        INDEXES.with(index.addr(), |object| Ok(object.index()?.modules().len()))
    })
}

/// Returns the path of a module, whose id is its place in the order of addition. The string is
/// the index's. Null on error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_get_module_path(
    index: thin_lto_t,
    module: usize,
) -> *const c_char {
    boundary("lto_thinlto_get_module_path", std::ptr::null(), || {
        INDEXES.with(index.addr(), |object| {
            let index = object.index()?;
            Ok(object.string(&item(index.modules(), module, "module")?.path))
        })
    })
}

/// Stores the id of the module of this path. Returns true on error: where there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_get_module_id(
    index: thin_lto_t,
    path: *const c_char,
    module: *mut usize,
) -> lto_bool_t {
    boundary("lto_thinlto_get_module_id", true, || {
        // SAFETY: the caller's clause: a string.
        let path = unsafe { string(path, "the path") }?;
        INDEXES.with(index.addr(), |object| {
            let id = object.index()?.find_module(path.to_bytes()).ok_or_else(|| {
                Error::misuse(format!("the index has no module {}", path.to_string_lossy()))
            })?;
            // SAFETY: the caller's clause: room for a number.
            unsafe { store(module, id.index(), "module") }
        })?;
        Ok(false)
    })
}

/// Stores the SHA-1 of a module's bitcode as five numbers; all 0 where the file has none. Returns
/// true on error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_get_module_hash(
    index: thin_lto_t,
    module: usize,
    hash: *mut u32,
) -> lto_bool_t {
    boundary("lto_thinlto_get_module_hash", true, || {
        INDEXES.with(index.addr(), |object| {
            let index = object.index()?;
            let module = item(index.modules(), module, "module")?;
            // SAFETY: the caller's clause: room for five numbers.
            unsafe { copy(&module.hash.0, hash, 5) }
        })?;
        Ok(false)
    })
}

/// Stores the number of the first summary of a module and how many it has; they follow one
/// another in the order of its file. Returns true on error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_get_module_summaries(
    index: thin_lto_t,
    module: usize,
    first: *mut usize,
    count: *mut usize,
) -> lto_bool_t {
    boundary("lto_thinlto_get_module_summaries", true, || {
        INDEXES.with(index.addr(), |object| {
            let index = object.index()?;
            item(index.modules(), module, "module")?;
            let range = index.module_summaries(ModuleId(module as u32));
            // SAFETY: the caller's clause: room for two numbers.
            unsafe {
                store(first, range.start as usize, "first")?;
                store(count, range.len(), "count")
            }
        })?;
        Ok(false)
    })
}

/// Fills in what is known of a value. Values are numbered from 0 in the order of their GUIDs; a
/// value may be only mentioned, and then has no copies. Returns true on error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_get_value(
    index: thin_lto_t,
    value: usize,
    info: *mut lto_thinlto_value_info_t,
) -> lto_bool_t {
    boundary("lto_thinlto_get_value", true, || {
        INDEXES.with(index.addr(), |object| {
            let index = object.index()?;
            let id = value_id(&index, value)?;
            let name = index.name(id);
            let answer = lto_thinlto_value_info_t {
                struct_size: 0,
                guid: index.guid(id).0,
                name: if name.is_empty() { std::ptr::null() } else { object.string(name) },
                num_copies: index.copies(id).len(),
            };
            // SAFETY: the caller's clause: a structure that says its size.
            unsafe { fill(info, answer) }
        })?;
        Ok(false)
    })
}

/// Stores the value with this GUID. Returns true on error: where there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_find_guid(
    index: thin_lto_t,
    guid: u64,
    value: *mut usize,
) -> lto_bool_t {
    boundary("lto_thinlto_find_guid", true, || {
        INDEXES.with(index.addr(), |object| {
            let id = object.index()?.find(Guid(guid));
            let id = id.ok_or_else(|| Error::misuse(format!("no value has the GUID {guid}")))?;
            // SAFETY: the caller's clause: room for a number.
            unsafe { store(value, id.index(), "value") }
        })?;
        Ok(false)
    })
}

/// Stores the value with this name: the one of external linkage, and otherwise, where the index
/// has names, the first local one. Returns true on error: where there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_find_name(
    index: thin_lto_t,
    name: *const c_char,
    value: *mut usize,
) -> lto_bool_t {
    boundary("lto_thinlto_find_name", true, || {
        // SAFETY: the caller's clause: a string.
        let name = unsafe { string(name, "the name") }?;
        INDEXES.with(index.addr(), |object| {
            let id = find_name(&*object.index()?, name.to_bytes()).ok_or_else(|| {
                Error::misuse(format!("no value is named {}", name.to_string_lossy()))
            })?;
            // SAFETY: the caller's clause: room for a number.
            unsafe { store(value, id.index(), "value") }
        })?;
        Ok(false)
    })
}

/// Stores the number of a value's summary in the `copy`-th module that defines it. Returns true on
/// error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_get_copy(
    index: thin_lto_t,
    value: usize,
    copy: usize,
    summary: *mut usize,
) -> lto_bool_t {
    boundary("lto_thinlto_get_copy", true, || {
        INDEXES.with(index.addr(), |object| {
            let index = object.index()?;
            let id = item(index.copies(value_id(&index, value)?), copy, "copy")?;
            // SAFETY: the caller's clause: room for a number.
            unsafe { store(summary, id.index(), "summary") }
        })?;
        Ok(false)
    })
}

/// Stores a MemProf stack id. Returns true on error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_get_stack_id(
    index: thin_lto_t,
    at: usize,
    stack_id: *mut u64,
) -> lto_bool_t {
    boundary("lto_thinlto_get_stack_id", true, || {
        INDEXES.with(index.addr(), |object| {
            let index = object.index()?;
            // SAFETY: the caller's clause: room for a number.
            unsafe { store(stack_id, *item(index.stack_ids(), at, "stack id")?, "stack_id") }
        })?;
        Ok(false)
    })
}

/// The value of this name, by its GUID or else by the names that the index has.
pub fn find_name(index: &ModuleSummaryIndex, name: &[u8]) -> Option<ValueId> {
    let plain = name.strip_prefix(b"\x01").unwrap_or(name);
    index.find(guid_of(plain)).or_else(|| {
        let count = u32::try_from(index.guids().len()).unwrap_or(u32::MAX);
        (0..count).map(ValueId).find(|&value| index.name(value) == name && !name.is_empty())
    })
}

fn value_id(index: &ModuleSummaryIndex, value: usize) -> Result<ValueId> {
    let count = index.guids().len();
    match u32::try_from(value) {
        Ok(id) if value < count => Ok(ValueId(id)),
        _ => Err(out_of_range(value, count, "value")),
    }
}
