//! A module's data layout: mangling, and the sizes of types.
//!
//! In: the data layout string and the type table. Out: how names are mangled, and how many bytes
//! a value of a type takes. Only common symbols and the argument bytes of stdcall functions need
//! sizes, so the layout of a type is computed when asked for and not kept.
//!
//! Source: LLVM's `DataLayout.cpp`; the defaults are those of `DefaultIntSpecs` and its neighbours.

use std::collections::BTreeMap;

use crate::bitcode::{Type, TypeTable};
use crate::error::{Error, Result};

/// How names become symbol names (`m:` of the layout string).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // LLVM's names
pub enum Mangling {
    #[default]
    None,
    Elf,
    Goff,
    MachO,
    Mips,
    WinCoff,
    WinCoffX86,
    Xcoff,
}

impl Mangling {
    /// Reads the mode from a layout string; the last one counts.
    pub fn of(layout: &[u8]) -> Self {
        let mut mode = Mangling::None;
        for spec in layout.split(|&b| b == b'-') {
            mode = match spec {
                b"m:e" => Mangling::Elf,
                b"m:l" => Mangling::Goff,
                b"m:o" => Mangling::MachO,
                b"m:m" => Mangling::Mips,
                b"m:w" => Mangling::WinCoff,
                b"m:x" => Mangling::WinCoffX86,
                b"m:a" => Mangling::Xcoff,
                _ => mode,
            };
        }
        mode
    }

    /// What stands before every C name.
    pub fn global_prefix(self) -> Option<u8> {
        matches!(self, Mangling::MachO | Mangling::WinCoffX86).then_some(b'_')
    }

    /// What stands before the name of a private symbol, in front of the global prefix.
    pub fn private_prefix(self) -> &'static [u8] {
        match self {
            Mangling::None => b"",
            Mangling::Elf | Mangling::WinCoff => b".L",
            Mangling::Goff => b"L#",
            Mangling::Mips => b"$",
            Mangling::MachO | Mangling::WinCoffX86 => b"L",
            Mangling::Xcoff => b"L..",
        }
    }

    /// Whether names that begin with `?` (Microsoft C++) are left as they are.
    pub fn keeps_question_mark(self) -> bool {
        matches!(self, Mangling::WinCoff | Mangling::WinCoffX86)
    }
}

/// Sizes and alignments, in bytes unless said.
#[derive(Clone, Debug)]
pub struct DataLayout {
    /// `(bits, ABI alignment)` by width.
    integers: Vec<(u64, u64)>,
    floats: Vec<(u64, u64)>,
    vectors: Vec<(u64, u64)>,
    /// `(address space, bits, ABI alignment)`.
    pointers: Vec<(u32, u64, u64)>,
    aggregate: u64,
}

/// Types within types deeper than this are taken for malformed: LLVM's own writers cannot make
/// them, and a type that contains itself would never end.
const MAX_DEPTH: u32 = 256;

impl DataLayout {
    /// Parses a layout string. What cannot be read leaves the default: sizes of commons are then
    /// perhaps wrong, but the module can still be listed.
    pub fn parse(layout: &[u8]) -> Self {
        let mut d = DataLayout {
            integers: vec![(1, 1), (8, 1), (16, 2), (32, 4), (64, 4)],
            floats: vec![(16, 2), (32, 4), (64, 8), (128, 16)],
            vectors: vec![(64, 8), (128, 16)],
            pointers: vec![(0, 64, 8)],
            aggregate: 1,
        };
        for spec in layout.split(|&b| b == b'-') {
            let Ok(spec) = std::str::from_utf8(spec) else { continue };
            let mut chars = spec.chars();
            let Some(kind) = chars.next() else { continue };
            let mut numbers = chars.as_str().split(':');
            let first = numbers.next().unwrap_or("");
            let mut number = || numbers.next().and_then(|n| n.parse::<u64>().ok());
            match kind {
                'i' | 'f' | 'v' => {
                    let (Ok(bits), Some(align)) = (first.parse(), number()) else { continue };
                    let table = match kind {
                        'i' => &mut d.integers,
                        'f' => &mut d.floats,
                        _ => &mut d.vectors,
                    };
                    set(table, bits, (align / 8).max(1));
                }
                'p' => {
                    // Flags for unusual pointers may stand before the number of the space.
                    let space = first.trim_start_matches(|c: char| c.is_ascii_alphabetic());
                    let space = space.split('(').next().unwrap_or(space);
                    let space = if space.is_empty() { Some(0) } else { space.parse().ok() };
                    let (Some(space), Some(bits), Some(align)) = (space, number(), number()) else {
                        continue;
                    };
                    d.pointers.retain(|p| p.0 != space);
                    d.pointers.push((space, bits, (align / 8).max(1)));
                }
                'a' => {
                    if let Some(align) = number() {
                        d.aggregate = (align / 8).max(1);
                    }
                }
                _ => {}
            }
        }
        d
    }

    /// The size of a pointer of an address space, in bytes.
    pub fn pointer_size(&self, space: u32) -> u64 {
        self.pointer(space).0.div_ceil(8)
    }

    fn pointer(&self, space: u32) -> (u64, u64) {
        let find = |s| self.pointers.iter().find(|p| p.0 == s).map(|p| (p.1, p.2));
        find(space).or_else(|| find(0)).unwrap_or((64, 8))
    }

    /// The bytes that a value takes in memory with its padding (`getTypeAllocSize`).
    ///
    /// # Errors
    /// Malformed for a type without a size or one that contains itself; unsupported for one whose
    /// layout only its target knows.
    pub fn alloc_size(&self, types: &TypeTable, id: u32, known: &mut SizeCache) -> Result<u64> {
        let mut walk = Walk { layout: self, types, known };
        walk.alloc_size(id, 0)
    }
}

fn set(table: &mut Vec<(u64, u64)>, bits: u64, align: u64) {
    match table.binary_search_by_key(&bits, |e| e.0) {
        Ok(i) => {
            if let Some(entry) = table.get_mut(i) {
                entry.1 = align;
            }
        }
        Err(i) => table.insert(i, (bits, align)),
    }
}

/// Sizes in bits and alignments in bytes of types that were asked for before: structs of structs
/// multiply, so that without it a small type table could keep us busy for ever.
#[derive(Clone, Debug, Default)]
pub struct SizeCache(BTreeMap<u32, (u64, u64)>);

struct Walk<'a> {
    layout: &'a DataLayout,
    types: &'a TypeTable,
    known: &'a mut SizeCache,
}

fn round_up(value: u64, align: u64) -> Result<u64> {
    value.checked_next_multiple_of(align.max(1)).ok_or_else(too_large)
}

fn too_large() -> Error {
    Error::malformed("a type larger than the address space")
}

impl Walk<'_> {
    fn alloc_size(&mut self, id: u32, depth: u32) -> Result<u64> {
        let (bits, align) = self.layout_of(id, depth)?;
        round_up(bits.div_ceil(8), align)
    }

    /// Size in bits and ABI alignment in bytes.
    fn layout_of(&mut self, id: u32, depth: u32) -> Result<(u64, u64)> {
        if let Some(known) = self.known.0.get(&id) {
            return Ok(*known);
        }
        if depth > MAX_DEPTH {
            return Err(Error::malformed("a type that contains itself"));
        }
        let found = self.compute(id, depth)?;
        self.known.0.insert(id, found);
        Ok(found)
    }

    fn compute(&mut self, id: u32, depth: u32) -> Result<(u64, u64)> {
        Ok(match self.types.get(id)? {
            Type::Integer(bits) | Type::Byte(bits) => {
                let bits = u64::from(*bits);
                (bits, self.integer_align(bits))
            }
            Type::Half | Type::BFloat => self.float(16),
            Type::Float => self.float(32),
            Type::Double => self.float(64),
            Type::X86Fp80 => self.float(80),
            Type::Fp128 | Type::PpcFp128 => self.float(128),
            Type::X86Mmx => self.vector(64, 8),
            Type::X86Amx => (8192, 64),
            Type::Pointer { address_space, .. } => self.layout.pointer(*address_space),
            Type::Array { count, element } => {
                let (bits, align) = self.layout_of(*element, depth + 1)?;
                let each = round_up(bits.div_ceil(8), align)?;
                let bits = each.checked_mul(*count).and_then(|b| b.checked_mul(8));
                (bits.ok_or_else(too_large)?, align)
            }
            Type::Vector { count, element, .. } => {
                let (bits, _) = self.layout_of(*element, depth + 1)?;
                let all = bits.checked_mul(*count).ok_or_else(too_large)?;
                let natural = bits.div_ceil(8).checked_mul(*count).ok_or_else(too_large)?;
                self.vector(all, natural)
            }
            Type::Struct { packed, elements } => {
                let (mut end, mut widest) = (0u64, 1u64);
                for &element in elements {
                    let (bits, align) = self.layout_of(element, depth + 1)?;
                    // A member of a packed struct still takes its whole allocation.
                    let size = round_up(bits.div_ceil(8), align)?;
                    let align = if *packed { 1 } else { align };
                    end = round_up(end, align)?.checked_add(size).ok_or_else(too_large)?;
                    widest = widest.max(align);
                }
                let size = round_up(end, widest)?;
                let align = if *packed { 1 } else { widest.max(self.layout.aggregate) };
                (size.checked_mul(8).ok_or_else(too_large)?, align)
            }
            Type::Target => {
                return Err(Error::unsupported("the size of a target extension type"));
            }
            Type::Void
            | Type::Label
            | Type::Metadata
            | Type::Token
            | Type::OpaqueStruct
            | Type::Function { .. } => {
                return Err(Error::malformed(format!("type {id} has no size")));
            }
        })
    }

    /// The entry for the width, else the next wider one, else the widest.
    fn integer_align(&self, bits: u64) -> u64 {
        let table = &self.layout.integers;
        let entry = table.iter().find(|e| e.0 >= bits).or(table.last());
        entry.map_or(1, |e| e.1)
    }

    fn float(&self, bits: u64) -> (u64, u64) {
        let entry = self.layout.floats.iter().find(|e| e.0 == bits);
        let natural = bits.div_ceil(8).checked_next_power_of_two().unwrap_or(1);
        (bits, entry.map_or(natural, |e| e.1))
    }

    fn vector(&self, bits: u64, natural: u64) -> (u64, u64) {
        let entry = self.layout.vectors.iter().find(|e| e.0 == bits);
        let natural = natural.checked_next_power_of_two().unwrap_or(1);
        (bits, entry.map_or(natural, |e| e.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const X86_64: &str =
        "e-m:e-p270:32:32-p271:32:32-p272:64:64-i64:64-i128:128-f80:128-n8:16:32:64-S128";

    /// tests/symbols_llvm.rs compares commons of more types with LLVM.
    #[test]
    fn sizes_of_types() {
        let table = TypeTable::of(vec![
            Type::Integer(8),                                          // 0
            Type::Integer(24),                                         // 1
            Type::Integer(64),                                         // 2
            Type::X86Fp80,                                             // 3
            Type::Pointer { pointee: None, address_space: 270 },       // 4
            Type::Array { count: 3, element: 1 },                      // 5
            Type::OpaqueStruct,                                        // 6
            Type::Float,                                               // 7
            Type::Struct { packed: false, elements: vec![0, 2, 0] },   // 8
            Type::Struct { packed: true, elements: vec![0, 2, 0, 3] }, // 9
            Type::Struct { packed: false, elements: vec![] },          // 10
            Type::Struct { packed: false, elements: vec![11] },        // 11 is in itself
            Type::Integer(128),                                        // 12
            Type::Vector { count: 3, element: 7, scalable: false },    // 13
            Type::Array { count: u64::MAX, element: 2 },               // 14
        ]);
        let d = DataLayout::parse(X86_64.as_bytes());
        let size = |id| d.alloc_size(&table, id, &mut SizeCache::default());
        for (id, bytes) in [
            (0, 1),
            (1, 4),
            (2, 8),
            (3, 16),
            (4, 4),
            (5, 12),
            (8, 24),
            (9, 26),
            (10, 0),
            (12, 16),
            (13, 16),
        ] {
            assert_eq!(size(id).unwrap(), bytes, "type {id}");
        }
        for id in [6, 11, 14, 99] {
            assert!(size(id).is_err(), "type {id}");
        }
        let small = DataLayout::parse(b"e-p:32:32-i64:32");
        assert_eq!(small.pointer_size(0), 4);
        assert_eq!(small.alloc_size(&table, 8, &mut SizeCache::default()).unwrap(), 16);
    }
}
