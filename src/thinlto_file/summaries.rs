//! One summary: what it is of, its flags, and what it calls and refers to.
//!
//! In: a handle and the number of a summary. Out: its fields as C values.

#![allow(unsafe_code)] // exports, and the caller's memory

use super::fill::{copy, fill, item, out_of_range};
use super::index_object::INDEXES;
use super::types::*;
use crate::capi::arguments::store;
use crate::capi::boundary::boundary;
use crate::capi::types::lto_bool_t;
use crate::error::{Error, Result};
use crate::summary::{ConstVCall, ModuleSummaryIndex, Summary, SummaryId, VFuncId, ValueId};

/// Fills in a summary. Summaries are numbered from 0, by module and within one in the order of its
/// file; `lto_thinlto_get_copy` and `lto_thinlto_get_module_summaries` give numbers. Returns true
/// on error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_get_summary(
    index: thin_lto_t,
    summary: usize,
    info: *mut lto_thinlto_summary_info_t,
) -> lto_bool_t {
    boundary("lto_thinlto_get_summary", true, || {
        INDEXES.with(index.addr(), |object| {
            let index = object.index()?;
            let s = summary_of(&index, summary)?;
            let (f, own) = (s.flags(), s.variable_flags());
            let answer = lto_thinlto_summary_info_t {
                struct_size: 0,
                guid: s.guid().0,
                value: s.value().index(),
                module: s.module().index(),
                aliasee: number(s.aliasee_value()),
                original_name: s.original_name().unwrap_or_default().0,
                entry_count: s.entry_count(),
                kind: s.kind() as u32,
                linkage: f.linkage() as u32,
                visibility: f.visibility() as u32,
                flags: u32::from(f.not_eligible_to_import())
                    | u32::from(f.live()) << 1
                    | u32::from(f.dso_local()) << 2
                    | u32::from(f.can_auto_hide()) << 3
                    | u32::from(f.import_as_declaration()) << 4,
                instruction_count: s.inst_count(),
                function_flags: s.function_flags().0.into(),
                variable_flags: u32::from(own.maybe_read_only())
                    | u32::from(own.maybe_write_only()) << 1
                    | u32::from(own.constant()) << 2,
                vcall_visibility: own.vcall_visibility().into(),
                num_calls: s.callees().len(),
                num_refs: s.refs().len(),
                num_type_tests: s.type_tests().len(),
                num_vcalls: [
                    s.type_test_assume_vcalls().len(),
                    s.type_checked_load_vcalls().len(),
                    s.type_test_assume_const_vcalls().len(),
                    s.type_checked_load_const_vcalls().len(),
                ],
                num_param_accesses: s.param_accesses().len(),
                num_callsites: s.callsites().len(),
                num_allocs: s.allocs().len(),
                num_vtable_funcs: s.vtable_funcs().len(),
            };
            // SAFETY: the caller's clause: a structure that says its size.
            unsafe { fill(info, answer) }
        })?;
        Ok(false)
    })
}

/// Fills in the `at`-th call of a function. Returns true on error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_get_call(
    index: thin_lto_t,
    summary: usize,
    at: usize,
    info: *mut lto_thinlto_call_t,
) -> lto_bool_t {
    boundary("lto_thinlto_get_call", true, || {
        INDEXES.with(index.addr(), |object| {
            let index = object.index()?;
            let s = summary_of(&index, summary)?;
            let callee = *item(s.callees(), at, "call")?;
            let call = s.call_infos().get(at).copied().unwrap_or_default();
            let frequency = s.rel_block_freqs().get(at).copied();
            let answer = lto_thinlto_call_t {
                struct_size: 0,
                callee: callee as usize,
                hotness: call.hotness() as u32,
                has_tail_call: call.has_tail_call().into(),
                has_rel_block_freq: frequency.is_some().into(),
                rel_block_freq: frequency.unwrap_or(0),
            };
            // SAFETY: the caller's clause: a structure that says its size.
            unsafe { fill(info, answer) }
        })?;
        Ok(false)
    })
}

/// Fills in the `at`-th reference of a summary. Returns true on error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_get_ref(
    index: thin_lto_t,
    summary: usize,
    at: usize,
    info: *mut lto_thinlto_ref_t,
) -> lto_bool_t {
    boundary("lto_thinlto_get_ref", true, || {
        INDEXES.with(index.addr(), |object| {
            let index = object.index()?;
            let s = summary_of(&index, summary)?;
            let reference = item(s.refs(), at, "reference")?;
            let answer = lto_thinlto_ref_t {
                struct_size: 0,
                value: reference.value().index(),
                read_only: reference.is_read_only().into(),
                write_only: reference.is_write_only().into(),
            };
            // SAFETY: the caller's clause: a structure that says its size.
            unsafe { fill(info, answer) }
        })?;
        Ok(false)
    })
}

/// Stores the GUID of the type identifier of the `at`-th type test. Returns true on error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_get_type_test(
    index: thin_lto_t,
    summary: usize,
    at: usize,
    guid: *mut u64,
) -> lto_bool_t {
    boundary("lto_thinlto_get_type_test", true, || {
        INDEXES.with(index.addr(), |object| {
            let index = object.index()?;
            let s = summary_of(&index, summary)?;
            let test = item(s.type_tests(), at, "type test")?;
            // SAFETY: the caller's clause: room for a number.
            unsafe { store(guid, test.0, "guid") }
        })?;
        Ok(false)
    })
}

/// Fills in the `at`-th virtual call of a `lto_thinlto_vcall_kind_t`. Returns true on error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_get_vcall(
    index: thin_lto_t,
    summary: usize,
    kind: u32,
    at: usize,
    info: *mut lto_thinlto_vcall_t,
) -> lto_bool_t {
    boundary("lto_thinlto_get_vcall", true, || {
        INDEXES.with(index.addr(), |object| {
            let index = object.index()?;
            let s = summary_of(&index, summary)?;
            let (function, args) = vcall(s, kind, at)?;
            let answer = lto_thinlto_vcall_t {
                struct_size: 0,
                guid: function.guid.0,
                offset: function.offset,
                num_args: args.len(),
            };
            // SAFETY: the caller's clause: a structure that says its size.
            unsafe { fill(info, answer) }
        })?;
        Ok(false)
    })
}

/// Stores the constant arguments of a virtual call, `num_args` of `lto_thinlto_get_vcall`. Returns
/// true on error: where `capacity` is too small, when as many are stored as fit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_get_vcall_args(
    index: thin_lto_t,
    summary: usize,
    kind: u32,
    at: usize,
    args: *mut u64,
    capacity: usize,
) -> lto_bool_t {
    boundary("lto_thinlto_get_vcall_args", true, || {
        INDEXES.with(index.addr(), |object| {
            let index = object.index()?;
            let s = summary_of(&index, summary)?;
            let (_, all) = vcall(s, kind, at)?;
            // SAFETY: the caller's clause: room for `capacity` items.
            let count = unsafe { copy(all, args, capacity) }?;
            fits(count, capacity)
        })?;
        Ok(false)
    })
}

/// Fills in how a pointer parameter is accessed. Returns true on error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_get_param_access(
    index: thin_lto_t,
    summary: usize,
    at: usize,
    info: *mut lto_thinlto_param_access_t,
) -> lto_bool_t {
    boundary("lto_thinlto_get_param_access", true, || {
        INDEXES.with(index.addr(), |object| {
            let index = object.index()?;
            let s = summary_of(&index, summary)?;
            let access = item(s.param_accesses(), at, "parameter access")?;
            let answer = lto_thinlto_param_access_t {
                struct_size: 0,
                param_no: access.param_no,
                lower: access.range.lower,
                upper: access.range.upper,
                num_calls: access.calls.len(),
            };
            // SAFETY: the caller's clause: a structure that says its size.
            unsafe { fill(info, answer) }
        })?;
        Ok(false)
    })
}

/// Fills in the `call`-th call that passes a pointer parameter on. Returns true on error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_get_param_access_call(
    index: thin_lto_t,
    summary: usize,
    at: usize,
    call: usize,
    info: *mut lto_thinlto_param_access_call_t,
) -> lto_bool_t {
    boundary("lto_thinlto_get_param_access_call", true, || {
        INDEXES.with(index.addr(), |object| {
            let index = object.index()?;
            let s = summary_of(&index, summary)?;
            let access = item(s.param_accesses(), at, "parameter access")?;
            let call = item(&access.calls, call, "call")?;
            let answer = lto_thinlto_param_access_call_t {
                struct_size: 0,
                callee: call.callee.index(),
                param_no: call.param_no,
                lower: call.offsets.lower,
                upper: call.offsets.upper,
            };
            // SAFETY: the caller's clause: a structure that says its size.
            unsafe { fill(info, answer) }
        })?;
        Ok(false)
    })
}

/// Fills in the `at`-th function of a virtual table. Returns true on error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_get_vtable_func(
    index: thin_lto_t,
    summary: usize,
    at: usize,
    info: *mut lto_thinlto_value_offset_t,
) -> lto_bool_t {
    boundary("lto_thinlto_get_vtable_func", true, || {
        INDEXES.with(index.addr(), |object| {
            let index = object.index()?;
            let s = summary_of(&index, summary)?;
            let function = item(s.vtable_funcs(), at, "function of the table")?;
            let answer = lto_thinlto_value_offset_t {
                struct_size: 0,
                value: function.function.index(),
                offset: function.offset,
            };
            // SAFETY: the caller's clause: a structure that says its size.
            unsafe { fill(info, answer) }
        })?;
        Ok(false)
    })
}

/// The summary of this number.
pub(super) fn summary_of(index: &ModuleSummaryIndex, summary: usize) -> Result<Summary<'_>> {
    u32::try_from(summary)
        .ok()
        .and_then(|id| index.summary(SummaryId(id)))
        .ok_or_else(|| out_of_range(summary, index.summary_count(), "summary"))
}

/// A value as C has it.
pub(super) fn number(value: Option<ValueId>) -> usize {
    value.map_or(LTO_THINLTO_NONE, ValueId::index)
}

/// Whether all that there is was stored.
pub(super) fn fits(count: usize, capacity: usize) -> Result<()> {
    if count <= capacity {
        return Ok(());
    }
    Err(Error::misuse(format!("there are {count} items, and room for {capacity}")))
}

fn vcall(s: Summary<'_>, kind: u32, at: usize) -> Result<(VFuncId, &[u64])> {
    let plain = |all: &[VFuncId]| Ok((*item(all, at, "virtual call")?, &[][..]));
    fn constant(all: &[ConstVCall], at: usize) -> Result<(VFuncId, &[u64])> {
        let call = item(all, at, "virtual call")?;
        Ok((call.function, &call.args))
    }
    match kind {
        0 => plain(s.type_test_assume_vcalls()),
        1 => plain(s.type_checked_load_vcalls()),
        2 => constant(s.type_test_assume_const_vcalls(), at),
        3 => constant(s.type_checked_load_const_vcalls(), at),
        _ => Err(Error::misuse(format!("there is no kind {kind} of virtual calls"))),
    }
}
