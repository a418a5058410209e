//! MemProf: call sites and allocations.
//!
//! In: a handle, the number of a summary and of an item of it. Out: its fields as C values.

#![allow(unsafe_code)] // exports, and the caller's memory

use super::fill::{copy, fill, item};
use super::index_object::INDEXES;
use super::summaries::{fits, number, summary_of};
use super::types::*;
use crate::capi::boundary::boundary;
use crate::capi::types::lto_bool_t;
use crate::summary::ModuleSummaryIndex;

/// Fills in the `at`-th call site of a function. Returns true on error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_get_callsite(
    index: thin_lto_t,
    summary: usize,
    at: usize,
    info: *mut lto_thinlto_callsite_t,
) -> lto_bool_t {
    boundary("lto_thinlto_get_callsite", true, || {
        INDEXES.with(index.addr(), |object| {
            let index = object.index()?;
            let s = summary_of(&index, summary)?;
            let site = item(s.callsites(), at, "call site")?;
            let answer = lto_thinlto_callsite_t {
                struct_size: 0,
                callee: number(site.callee),
                num_clones: site.clones.len(),
                num_stack_ids: site.stack_ids.len(),
            };
            // SAFETY: the caller's clause: a structure that says its size.
            unsafe { fill(info, answer) }
        })?;
        Ok(false)
    })
}

/// Stores which clone of the callee each clone of the function calls at a call site. Returns
/// true on error: where `capacity` is too small, when as many are stored as fit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_get_callsite_clones(
    index: thin_lto_t,
    summary: usize,
    at: usize,
    clones: *mut u32,
    capacity: usize,
) -> lto_bool_t {
    boundary("lto_thinlto_get_callsite_clones", true, || {
        INDEXES.with(index.addr(), |object| {
            let index = object.index()?;
            let s = summary_of(&index, summary)?;
            let site = item(s.callsites(), at, "call site")?;
            // SAFETY: the caller's clause: room for `capacity` items.
            let count = unsafe { copy(&site.clones, clones, capacity) }?;
            fits(count, capacity)
        })?;
        Ok(false)
    })
}

/// Stores the stack ids of the frames that are inlined at a call site. Returns
/// true on error: where `capacity` is too small, when as many are stored as fit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_get_callsite_stack_ids(
    index: thin_lto_t,
    summary: usize,
    at: usize,
    stack_ids: *mut u64,
    capacity: usize,
) -> lto_bool_t {
    boundary("lto_thinlto_get_callsite_stack_ids", true, || {
        INDEXES.with(index.addr(), |object| {
            let index = object.index()?;
            let s = summary_of(&index, summary)?;
            let site = item(s.callsites(), at, "call site")?;
            let ids = ids_at(&index, &site.stack_ids);
            // SAFETY: the caller's clause: room for `capacity` items.
            let count = unsafe { copy(&ids, stack_ids, capacity) }?;
            fits(count, capacity)
        })?;
        Ok(false)
    })
}

/// Fills in the `at`-th allocation of a function. Returns true on error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_get_alloc(
    index: thin_lto_t,
    summary: usize,
    at: usize,
    info: *mut lto_thinlto_alloc_t,
) -> lto_bool_t {
    boundary("lto_thinlto_get_alloc", true, || {
        INDEXES.with(index.addr(), |object| {
            let index = object.index()?;
            let s = summary_of(&index, summary)?;
            let alloc = item(s.allocs(), at, "allocation")?;
            let answer = lto_thinlto_alloc_t {
                struct_size: 0,
                num_versions: alloc.versions.len(),
                num_contexts: alloc.mibs.len(),
            };
            // SAFETY: the caller's clause: a structure that says its size.
            unsafe { fill(info, answer) }
        })?;
        Ok(false)
    })
}

/// Stores the type of an allocation in each clone of the function: 0 none, 1 not cold, 2 cold, 4
/// hot. Returns
/// true on error: where `capacity` is too small, when as many are stored as fit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_get_alloc_versions(
    index: thin_lto_t,
    summary: usize,
    at: usize,
    versions: *mut u8,
    capacity: usize,
) -> lto_bool_t {
    boundary("lto_thinlto_get_alloc_versions", true, || {
        INDEXES.with(index.addr(), |object| {
            let index = object.index()?;
            let s = summary_of(&index, summary)?;
            let alloc = item(s.allocs(), at, "allocation")?;
            // SAFETY: the caller's clause: room for `capacity` items.
            let count = unsafe { copy(&alloc.versions, versions, capacity) }?;
            fits(count, capacity)
        })?;
        Ok(false)
    })
}

/// Fills in the `context`-th context of an allocation. Returns true on error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_get_alloc_context(
    index: thin_lto_t,
    summary: usize,
    at: usize,
    context: usize,
    info: *mut lto_thinlto_alloc_context_t,
) -> lto_bool_t {
    boundary("lto_thinlto_get_alloc_context", true, || {
        INDEXES.with(index.addr(), |object| {
            let index = object.index()?;
            let s = summary_of(&index, summary)?;
            let alloc = item(s.allocs(), at, "allocation")?;
            let mib = item(&alloc.mibs, context, "context")?;
            let sizes = alloc.context_sizes.get(context);
            let answer = lto_thinlto_alloc_context_t {
                struct_size: 0,
                alloc_type: mib.alloc_type.into(),
                num_stack_ids: mib.stack_ids.len(),
                num_sizes: sizes.map_or(0, |sizes| sizes.len()),
            };
            // SAFETY: the caller's clause: a structure that says its size.
            unsafe { fill(info, answer) }
        })?;
        Ok(false)
    })
}

/// Stores the stack ids of a context of an allocation. Returns
/// true on error: where `capacity` is too small, when as many are stored as fit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_get_alloc_context_stack_ids(
    index: thin_lto_t,
    summary: usize,
    at: usize,
    context: usize,
    stack_ids: *mut u64,
    capacity: usize,
) -> lto_bool_t {
    boundary("lto_thinlto_get_alloc_context_stack_ids", true, || {
        INDEXES.with(index.addr(), |object| {
            let index = object.index()?;
            let s = summary_of(&index, summary)?;
            let alloc = item(s.allocs(), at, "allocation")?;
            let mib = item(&alloc.mibs, context, "context")?;
            let ids = ids_at(&index, &mib.stack_ids);
            // SAFETY: the caller's clause: room for `capacity` items.
            let count = unsafe { copy(&ids, stack_ids, capacity) }?;
            fits(count, capacity)
        })?;
        Ok(false)
    })
}

/// Fills in the `size`-th full context behind a context of an allocation. Returns true on error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_get_alloc_context_size(
    index: thin_lto_t,
    summary: usize,
    at: usize,
    context: usize,
    size: usize,
    info: *mut lto_thinlto_context_size_t,
) -> lto_bool_t {
    boundary("lto_thinlto_get_alloc_context_size", true, || {
        INDEXES.with(index.addr(), |object| {
            let index = object.index()?;
            let s = summary_of(&index, summary)?;
            let alloc = item(s.allocs(), at, "allocation")?;
            let sizes = item(&alloc.context_sizes, context, "context with sizes")?;
            let total = item(sizes, size, "full context")?;
            let answer = lto_thinlto_context_size_t {
                struct_size: 0,
                full_stack_id: total.full_stack_id,
                total_size: total.total_size,
            };
            // SAFETY: the caller's clause: a structure that says its size.
            unsafe { fill(info, answer) }
        })?;
        Ok(false)
    })
}

/// The stack ids at these places.
fn ids_at(index: &ModuleSummaryIndex, places: &[u32]) -> Vec<u64> {
    let all = index.stack_ids();
    places.iter().filter_map(|&at| all.get(at as usize).copied()).collect()
}
