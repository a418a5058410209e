//! Writing the records that per-module and combined summaries share.
//!
//! In: a [`Writer`] inside a summary block, and what to write. Out: bits, the same that LLVM's
//! `BitcodeWriter.cpp` makes of the same content: abbreviations in its order and widths.

use super::codes::fs;
use super::index::Summary;
use super::types::*;
use crate::bitstream::{Abbrev, Scalar, Tail, Writer};

/// Which LLVM's format to write. Each reads those of the older ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// Version 9: what LLVM 14 to 18 read.
    Llvm14,
    /// Version 10: what LLVM 19 and 20 read.
    Llvm19,
    /// Version 12: what LLVM 21 and 22 read.
    #[default]
    Llvm22,
}

impl Format {
    /// The format for LLVM's major version; none before 14.
    pub fn of_llvm(major: u32) -> Option<Self> {
        Some(match major {
            ..14 => return None,
            14..19 => Format::Llvm14,
            19 | 20 => Format::Llvm19,
            21.. => Format::Llvm22,
        })
    }

    /// What is written of a call besides the callee: before version 10, how hot it is alone.
    #[inline]
    pub(super) fn call(self, info: CallInfo) -> u64 {
        u64::from(info.0 & if self >= Format::Llvm19 { u8::MAX } else { CallInfo::HOTNESS })
    }

    /// The version of the summary block.
    pub fn version(self) -> u64 {
        match self {
            Format::Llvm14 => 9,
            Format::Llvm19 => 10,
            Format::Llvm22 => 12,
        }
    }

    /// Whether numbers of 64 bits are written as two fixed words (versions 11 and 12), and
    /// contexts of allocations through a radix tree.
    pub(super) fn has_words(self) -> bool {
        self >= Format::Llvm22
    }
}

/// The width of abbreviation ids in a summary block.
pub(super) const WIDTH: u32 = 4;

/// A record's layout by abbreviation: its code, the vbr widths of its fields, and whether an
/// array of vbr8 follows.
pub(super) struct Layout {
    pub(super) code: u32,
    pub(super) widths: &'static [u32],
    pub(super) array: bool,
}

impl Layout {
    pub(super) const fn new(code: u32, widths: &'static [u32], array: bool) -> Self {
        Layout { code, widths, array }
    }

    fn abbrev(&self) -> Abbrev {
        let code = std::iter::once(Scalar::Literal(u64::from(self.code)));
        Abbrev {
            scalars: code.chain(self.widths.iter().map(|&w| Scalar::Vbr(w))).collect(),
            tail: if self.array { Tail::Array(Scalar::Vbr(8)) } else { Tail::None },
        }
    }
}

/// A layout with the id that the block gave it.
#[derive(Clone, Copy)]
pub(super) struct Defined {
    id: u32,
    widths: &'static [u32],
    array: bool,
}

/// Defines abbreviations in LLVM's order and remembers the next id.
pub(super) struct Definer {
    next: u32,
}

impl Definer {
    pub(super) fn new() -> Self {
        Definer { next: crate::bitstream::abbrev_id::FIRST_APPLICATION as u32 }
    }

    pub(super) fn layout(&mut self, w: &mut Writer, layout: &Layout) -> Defined {
        let id = self.raw(w, &layout.abbrev());
        Defined { id, widths: layout.widths, array: layout.array }
    }

    pub(super) fn raw(&mut self, w: &mut Writer, abbrev: &Abbrev) -> u32 {
        w.define_abbrev(WIDTH, abbrev);
        self.next += 1;
        self.next - 1
    }
}

/// Writes a record by its abbreviation. `fields` are the scalars and then the array.
pub(super) fn emit(w: &mut Writer, layout: Defined, fields: &[u64]) {
    let (scalars, array) = fields.split_at(layout.widths.len().min(fields.len()));
    debug_assert_eq!(scalars.len(), layout.widths.len());
    w.fixed(u64::from(layout.id), WIDTH);
    for (&value, &width) in scalars.iter().zip(layout.widths) {
        w.vbr(value, width);
    }
    if layout.array {
        w.vbr(array.len() as u64, 6);
        w.vbr_all(array.iter().copied(), 8);
    }
}

/// As [`emit`], for a record of which there are many; `layout` is that of `defined`.
#[inline(always)]
pub(super) fn emit_row<const N: usize>(
    w: &mut Writer,
    defined: Defined,
    layout: &'static Layout,
    scalars: [u64; N],
    array: &[u64],
) {
    debug_assert_eq!(N, layout.widths.len());
    let array = layout.array.then_some(array);
    w.vbr_record((defined.id, WIDTH), scalars, layout.widths, array);
}

/// Writes a record that has no abbreviation.
pub(super) fn emit_plain(w: &mut Writer, code: u32, fields: &[u64]) {
    w.record(WIDTH, code, fields);
}

/// The abbreviation of FS_VALUE_GUID since version 11.
pub(super) fn value_guid_abbrev() -> Abbrev {
    Abbrev {
        scalars: vec![
            Scalar::Literal(u64::from(fs::VALUE_GUID)),
            Scalar::Vbr(6),
            Scalar::Fixed(32),
            Scalar::Fixed(32),
        ],
        tail: Tail::None,
    }
}

/// Writes which GUID a value id stands for.
pub(super) fn emit_value_guid(w: &mut Writer, abbrev: Option<u32>, value: u32, guid: u64) {
    match abbrev {
        Some(id) => {
            w.fixed_and_vbr6((u64::from(id), WIDTH), u64::from(value));
            // The high word first.
            w.fixed(guid.rotate_left(32), 64);
        }
        None => emit_plain(w, fs::VALUE_GUID, &[u64::from(value), guid]),
    }
}

/// Writes FS_STACK_IDS with an abbreviation of its own, if there are any.
pub(super) fn emit_stack_ids(w: &mut Writer, definer: &mut Definer, format: Format, ids: &[u64]) {
    if ids.is_empty() {
        return;
    }
    let words = format.has_words();
    let element = if words { Scalar::Fixed(32) } else { Scalar::Vbr(8) };
    let abbrev = Abbrev {
        scalars: vec![Scalar::Literal(u64::from(fs::STACK_IDS))],
        tail: Tail::Array(element),
    };
    let id = definer.raw(w, &abbrev);
    let fields: Vec<u64> = if words {
        ids.iter().flat_map(|id| [id >> 32, id & 0xffff_ffff]).collect()
    } else {
        ids.to_vec()
    };
    w.abbreviated(WIDTH, id, &abbrev, fs::STACK_IDS, &fields, None);
}

/// Writes the records of type metadata and parameter accesses that stand before a function.
/// `value_id` gives the id of a value in the file; a parameter whose callee has none is left out.
pub(super) fn emit_type_metadata(
    w: &mut Writer,
    summary: Summary<'_>,
    value_id: &dyn Fn(ValueId) -> Option<u64>,
) {
    if summary.extras().is_none() {
        return;
    }
    let mut fields: Vec<u64> = summary.type_tests().iter().map(|guid| guid.0).collect();
    if !fields.is_empty() {
        emit_plain(w, fs::TYPE_TESTS, &fields);
    }
    for (code, functions) in [
        (fs::TYPE_TEST_ASSUME_VCALLS, summary.type_test_assume_vcalls()),
        (fs::TYPE_CHECKED_LOAD_VCALLS, summary.type_checked_load_vcalls()),
    ] {
        if !functions.is_empty() {
            fields.clear();
            fields.extend(functions.iter().flat_map(|f| [f.guid.0, f.offset]));
            emit_plain(w, code, &fields);
        }
    }
    for (code, calls) in [
        (fs::TYPE_TEST_ASSUME_CONST_VCALL, summary.type_test_assume_const_vcalls()),
        (fs::TYPE_CHECKED_LOAD_CONST_VCALL, summary.type_checked_load_const_vcalls()),
    ] {
        for call in calls {
            fields.clear();
            fields.extend([call.function.guid.0, call.function.offset]);
            fields.extend(&call.args);
            emit_plain(w, code, &fields);
        }
    }
    fields.clear();
    for access in summary.param_accesses() {
        let before = fields.len();
        fields.push(access.param_no);
        push_range(&mut fields, access.range);
        fields.push(access.calls.len() as u64);
        for call in &access.calls {
            let Some(callee) = value_id(call.callee) else {
                fields.truncate(before);
                break;
            };
            fields.extend([call.param_no, callee]);
            push_range(&mut fields, call.offsets);
        }
    }
    if !fields.is_empty() {
        emit_plain(w, fs::PARAM_ACCESS, &fields);
    }
}

fn push_range(fields: &mut Vec<u64>, range: OffsetRange) {
    fields.extend([rotate_sign(range.lower), rotate_sign(range.upper)]);
}

/// The sign goes to bit 0 (`emitSignedInt64`).
fn rotate_sign(value: i64) -> u64 {
    if value >= 0 { (value as u64) << 1 } else { value.unsigned_abs() << 1 | 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_rotate() {
        assert_eq!(rotate_sign(0), 0);
        assert_eq!(rotate_sign(5), 10);
        assert_eq!(rotate_sign(-1), 3);
        assert_eq!(rotate_sign(i64::MIN), 1);
    }
}
