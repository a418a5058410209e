//! Type identifiers of the whole program, and functions with CFI jump tables.
//!
//! In: a handle and numbers. Out: fields as C values.

#![allow(unsafe_code)] // exports, and the caller's memory

use std::ffi::c_char;

use super::fill::{copy, fill, item};
use super::index_object::INDEXES;
use super::summaries::fits;
use super::types::*;
use crate::capi::boundary::boundary;
use crate::capi::types::lto_bool_t;

/// Fills in a resolved type identifier. Returns true on error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_get_type_id(
    index: thin_lto_t,
    type_id: usize,
    info: *mut lto_thinlto_type_id_t,
) -> lto_bool_t {
    boundary("lto_thinlto_get_type_id", true, || {
        INDEXES.with(index.addr(), |object| {
            let index = object.index()?;
            let id = item(index.type_ids(), type_id, "type identifier")?;
            let test = &id.type_test;
            let answer = lto_thinlto_type_id_t {
                struct_size: 0,
                name: object.string(&id.name),
                guid: id.guid.0,
                test_kind: test.kind,
                size_m1_bit_width: test.size_m1_bit_width,
                align_log2: test.align_log2,
                size_m1: test.size_m1,
                bit_mask: test.bit_mask,
                inline_bits: test.inline_bits,
                num_devirt: id.devirtualization.len(),
            };
            // SAFETY: the caller's clause: a structure that says its size.
            unsafe { fill(info, answer) }
        })?;
        Ok(false)
    })
}

/// Fills in the `at`-th resolution of virtual calls of a type identifier. Returns true on error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_get_devirt(
    index: thin_lto_t,
    type_id: usize,
    at: usize,
    info: *mut lto_thinlto_devirt_t,
) -> lto_bool_t {
    boundary("lto_thinlto_get_devirt", true, || {
        INDEXES.with(index.addr(), |object| {
            let index = object.index()?;
            let id = item(index.type_ids(), type_id, "type identifier")?;
            let (offset, way) = item(&id.devirtualization, at, "resolution")?;
            let answer = lto_thinlto_devirt_t {
                struct_size: 0,
                offset: *offset,
                kind: way.kind,
                single_impl_name: object.string(&way.single_impl_name),
                num_by_arg: way.by_arg.len(),
            };
            // SAFETY: the caller's clause: a structure that says its size.
            unsafe { fill(info, answer) }
        })?;
        Ok(false)
    })
}

/// Fills in the resolution for the `arg`-th list of constant arguments. Returns true on error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_get_devirt_by_arg(
    index: thin_lto_t,
    type_id: usize,
    at: usize,
    arg: usize,
    info: *mut lto_thinlto_devirt_by_arg_t,
) -> lto_bool_t {
    boundary("lto_thinlto_get_devirt_by_arg", true, || {
        INDEXES.with(index.addr(), |object| {
            let index = object.index()?;
            let id = item(index.type_ids(), type_id, "type identifier")?;
            let (_, way) = item(&id.devirtualization, at, "resolution")?;
            let (args, by_arg) = item(&way.by_arg, arg, "list of arguments")?;
            let answer = lto_thinlto_devirt_by_arg_t {
                struct_size: 0,
                kind: by_arg.kind,
                info: by_arg.info,
                byte: by_arg.byte,
                bit: by_arg.bit,
                num_args: args.len(),
            };
            // SAFETY: the caller's clause: a structure that says its size.
            unsafe { fill(info, answer) }
        })?;
        Ok(false)
    })
}

/// Stores the `arg`-th list of constant arguments. Returns
/// true on error: where `capacity` is too small, when as many are stored as fit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_get_devirt_args(
    index: thin_lto_t,
    type_id: usize,
    at: usize,
    arg: usize,
    args: *mut u64,
    capacity: usize,
) -> lto_bool_t {
    boundary("lto_thinlto_get_devirt_args", true, || {
        INDEXES.with(index.addr(), |object| {
            let index = object.index()?;
            let id = item(index.type_ids(), type_id, "type identifier")?;
            let (_, way) = item(&id.devirtualization, at, "resolution")?;
            let (all, _) = item(&way.by_arg, arg, "list of arguments")?;
            // SAFETY: the caller's clause: room for `capacity` items.
            let count = unsafe { copy(all, args, capacity) }?;
            fits(count, capacity)
        })?;
        Ok(false)
    })
}

/// Fills in a type identifier with compatible virtual tables. Returns true on error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_get_type_id_vtables(
    index: thin_lto_t,
    type_id: usize,
    info: *mut lto_thinlto_type_id_vtables_t,
) -> lto_bool_t {
    boundary("lto_thinlto_get_type_id_vtables", true, || {
        INDEXES.with(index.addr(), |object| {
            let index = object.index()?;
            let id = item(index.type_id_compatible_vtables(), type_id, "type identifier")?;
            let answer = lto_thinlto_type_id_vtables_t {
                struct_size: 0,
                name: object.string(&id.name),
                num_vtables: id.vtables.len(),
            };
            // SAFETY: the caller's clause: a structure that says its size.
            unsafe { fill(info, answer) }
        })?;
        Ok(false)
    })
}

/// Fills in the `at`-th virtual table of a type identifier, with the offset of its address point.
/// Returns true on error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_get_type_id_vtable(
    index: thin_lto_t,
    type_id: usize,
    at: usize,
    info: *mut lto_thinlto_value_offset_t,
) -> lto_bool_t {
    boundary("lto_thinlto_get_type_id_vtable", true, || {
        INDEXES.with(index.addr(), |object| {
            let index = object.index()?;
            let id = item(index.type_id_compatible_vtables(), type_id, "type identifier")?;
            let (offset, value) = item(&id.vtables, at, "virtual table")?;
            let answer = lto_thinlto_value_offset_t {
                struct_size: 0,
                value: value.index(),
                offset: *offset,
            };
            // SAFETY: the caller's clause: a structure that says its size.
            unsafe { fill(info, answer) }
        })?;
        Ok(false)
    })
}

/// Returns the name of the `at`-th local function with a CFI jump table. The string is the index's.
/// Null on error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_get_cfi_def(index: thin_lto_t, at: usize) -> *const c_char {
    boundary("lto_thinlto_get_cfi_def", std::ptr::null(), || {
        INDEXES.with(index.addr(), |object| {
            let index = object.index()?;
            Ok(object.string(&item(index.cfi_function_defs(), at, "function")?.name))
        })
    })
}

/// Returns the name of the `at`-th external function with a CFI jump table. The string is the index's.
/// Null on error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_get_cfi_decl(index: thin_lto_t, at: usize) -> *const c_char {
    boundary("lto_thinlto_get_cfi_decl", std::ptr::null(), || {
        INDEXES.with(index.addr(), |object| {
            let index = object.index()?;
            Ok(object.string(&item(index.cfi_function_decls(), at, "function")?.name))
        })
    })
}
