//! What two rounds of code generation saved, told from the objects of both.
//!
//! In: the object of each round of every module. Out: bytes of code, and what of the difference is
//! due to outlining and what to merging. It must not know how the objects came to be.
//!
//! Code generators tell nothing of it, but name what they make: `OUTLINED_FUNCTION_*` is outlined,
//! `f.Tgm` is the common body of functions like `f`, which then only calls it
//! (MachineOutliner.cpp, GlobalMergeFunctions.cpp). Each module has copies of its own of these, and
//! it is for the linker to fold them (`--icf=safe`, ld64's own); so a copy counts once in the link,
//! for the first module that has it. The first round outlines within a module and merges nothing.

use std::collections::{HashMap, HashSet};

use object::{
    Object, ObjectSection, ObjectSymbol, Relocation, RelocationTarget, SectionIndex, SectionKind,
    SymbolIndex, SymbolKind,
};

use crate::cache::{Key, KeyBuilder};
use crate::engine::{Diagnostic, Severity};

/// What two rounds came to, for one module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoundSizes {
    /// LLVM's name for the module.
    pub module: String,
    /// Bytes of code after the first round, which outlines within the module.
    pub first_code: u64,
    /// Bytes of code after the second.
    pub second_code: u64,
    /// Bytes of the first round's code that an earlier module has too.
    pub first_copies: u64,
    /// Bytes of the second round's code that an earlier module has too.
    pub second_copies: u64,
    /// Functions that the second round outlined into (`OUTLINED_FUNCTION_0`).
    pub outlined_functions: u64,
    /// Functions that the second round made for several others (`f.Tgm`).
    pub merged_functions: u64,
    /// Bytes that outlining saved beside the first round, copies counted once. Less than 0 where a
    /// module has the first copy of what others use.
    pub saved_by_outlining: i64,
    /// Bytes that merging saved, likewise.
    pub saved_by_merging: i64,
}

/// The code of one object.
#[derive(Debug, Default)]
pub struct Code {
    /// Bytes of all sections with code.
    bytes: u64,
    functions: Vec<Function>,
}

/// The code of a module after either round.
#[derive(Debug, Default)]
pub struct BothRounds {
    /// LLVM's name for the module.
    pub module: String,
    /// After the first round.
    pub first: Code,
    /// After the second.
    pub second: Code,
}

#[derive(Debug)]
struct Function {
    name: Vec<u8>,
    size: u64,
    made: Made,
}

/// Why there is a function.
#[derive(Debug)]
enum Made {
    /// The source has it.
    Source,
    /// For instructions of several places; by its content.
    Outlining(Key),
    /// For several functions; by its content.
    Merging(Key),
}

impl Code {
    /// Of an object; nothing where it is none.
    pub fn of(object: &[u8]) -> Code {
        object::File::parse(object).map_or_else(|_| Code::default(), |file| Code::of_file(&file))
    }

    fn of_file(file: &object::File<'_>) -> Code {
        let layout = Layout::of(file);
        let functions = layout.functions.iter().enumerate().map(|(number, placed)| Function {
            name: placed.name.to_vec(),
            size: placed.size,
            made: match By::name(placed.name) {
                By::Source => Made::Source,
                By::Outlining => Made::Outlining(layout.content(number, 0)),
                By::Merging => Made::Merging(layout.content(number, 0)),
            },
        });
        Code { bytes: layout.bytes, functions: functions.collect() }
    }
}

/// What a function's name tells of it.
enum By {
    Source,
    Outlining,
    Merging,
}

impl By {
    fn name(name: &[u8]) -> By {
        let plain = name.strip_prefix(b"_").unwrap_or(name);
        if plain.starts_with(b"OUTLINED_FUNCTION_") {
            By::Outlining
        } else if plain.ends_with(b".Tgm") {
            By::Merging
        } else {
            By::Source
        }
    }
}

/// Where the functions of an object are.
struct Layout<'f, 'd> {
    file: &'f object::File<'d>,
    /// Bytes of all sections with code.
    bytes: u64,
    /// By section and address.
    functions: Vec<Placed<'f>>,
    /// By section, by offset.
    relocations: HashMap<SectionIndex, Vec<(u64, Relocation)>>,
}

struct Placed<'f> {
    name: &'f [u8],
    section: SectionIndex,
    start: u64,
    size: u64,
}

/// How many calls from one made-up function to another are followed to tell whether two are equal.
const CALLS: u32 = 8;

impl<'f, 'd> Layout<'f, 'd> {
    fn of(file: &'f object::File<'d>) -> Self {
        let mut layout =
            Layout { file, bytes: 0, functions: Vec::new(), relocations: HashMap::new() };
        let mut symbols: HashMap<SectionIndex, Vec<(u64, &[u8])>> = HashMap::new();
        for symbol in file.symbols().filter(ObjectSymbol::is_definition) {
            if let (Some(section), Ok(name)) = (symbol.section_index(), symbol.name_bytes()) {
                symbols.entry(section).or_default().push((symbol.address(), name));
            }
        }
        for section in file.sections().filter(|s| s.kind() == SectionKind::Text) {
            layout.bytes += section.size();
            let end = section.address() + section.size();
            let mut relocations: Vec<_> = section.relocations().collect();
            relocations.sort_by_key(|(offset, _)| *offset);
            layout.relocations.insert(section.index(), relocations);
            let mut starts = symbols.remove(&section.index()).unwrap_or_default();
            // Mach-O's assembler marks beginnings of sections.
            starts.retain(|(_, name)| !name.starts_with(b"ltmp"));
            starts.sort_unstable();
            starts.dedup_by_key(|(start, _)| *start);
            let ends: Vec<u64> =
                starts.iter().skip(1).map(|(start, _)| *start).chain([end]).collect();
            layout.functions.extend(starts.into_iter().zip(ends).map(|((start, name), end)| {
                Placed { name, section: section.index(), start, size: end.saturating_sub(start) }
            }));
        }
        layout.functions.sort_unstable_by_key(|f| (f.section.0, f.start));
        layout
    }

    /// What a function is to a linker that folds: its bytes, and what its relocations are to.
    /// Names say nothing where they are made up, so that content stands for these.
    fn content(&self, number: usize, depth: u32) -> Key {
        let mut key = KeyBuilder::new("function 1");
        let placed = self.functions.get(number);
        let section = placed.and_then(|f| self.file.section_by_index(f.section).ok());
        let (Some(placed), Some(section)) = (placed, section) else { return key.finish() };
        let bytes = section.data_range(placed.start, placed.size).ok().flatten();
        key.bytes("code", bytes.unwrap_or_default());
        let offset = placed.start.saturating_sub(section.address());
        let relocations = self.relocations.get(&placed.section).map_or(&[][..], Vec::as_slice);
        let first = relocations.partition_point(|(at, _)| *at < offset);
        for (at, relocation) in relocations.iter().skip(first) {
            let at = at - offset;
            if at >= placed.size {
                break;
            }
            key.number("at", at).debug("kind", &relocation.flags());
            let (section, address, name) = match relocation.target() {
                RelocationTarget::Symbol(symbol) => self.symbol(symbol),
                RelocationTarget::Section(section) => (Some(section), 0, &[][..]),
                _ => (None, 0, &[][..]),
            };
            // ELF refers to local functions by their place in a section.
            let address = match name {
                [] => address.wrapping_add_signed(relocation.addend()),
                _ => address,
            };
            let made_up = section.and_then(|section| self.made_up(section, address));
            match made_up.filter(|_| depth < CALLS) {
                Some(target) => {
                    key.key("function", &self.content(target, depth + 1));
                }
                None => {
                    key.bytes("symbol", self.name_of(name, section));
                    key.debug("addend", &relocation.addend());
                }
            }
        }
        key.finish()
    }

    /// The function that begins at this place, if the source does not have it.
    fn made_up(&self, section: SectionIndex, address: u64) -> Option<usize> {
        let place = (section.0, address);
        let number =
            self.functions.binary_search_by_key(&place, |f| (f.section.0, f.start)).ok()?;
        let function = self.functions.get(number)?;
        (!matches!(By::name(function.name), By::Source)).then_some(number)
    }

    /// Where a symbol is, and its name; none for one that stands for its section.
    fn symbol(&self, symbol: SymbolIndex) -> (Option<SectionIndex>, u64, &'f [u8]) {
        let Ok(symbol) = self.file.symbol_by_index(symbol) else { return (None, 0, &[]) };
        let name = match symbol.kind() {
            SymbolKind::Section => &[],
            _ => symbol.name_bytes().unwrap_or_default(),
        };
        (symbol.section_index(), symbol.address(), name)
    }

    fn name_of(&self, name: &'f [u8], section: Option<SectionIndex>) -> &'f [u8] {
        if !name.is_empty() {
            return name;
        }
        section
            .and_then(|section| self.file.section_by_index(section).ok()?.name_bytes().ok())
            .unwrap_or_default()
    }
}

/// The copies of one round that were met already.
#[derive(Default)]
struct Folded(HashSet<Key>);

impl Folded {
    /// Bytes of `functions` that are new to the link, in what was outlined and what was merged, and
    /// bytes of copies.
    fn add(&mut self, functions: &[Function]) -> (u64, u64, u64) {
        let (mut outlined, mut merged, mut copies) = (0, 0, 0);
        for function in functions {
            let (key, sum) = match &function.made {
                Made::Source => continue,
                Made::Outlining(key) => (key, &mut outlined),
                Made::Merging(key) => (key, &mut merged),
            };
            *if self.0.insert(*key) { sum } else { &mut copies } += function.size;
        }
        (outlined, merged, copies)
    }
}

/// What each module's rounds came to, in their order.
pub fn compare(modules: Vec<BothRounds>) -> Vec<RoundSizes> {
    let (mut first_folded, mut second_folded) = (Folded::default(), Folded::default());
    let compare = |BothRounds { module, first, second }: BothRounds| {
        let (first_outlined, first_merged, first_copies) = first_folded.add(&first.functions);
        let (outlined, merged, second_copies) = second_folded.add(&second.functions);
        let before: HashMap<&[u8], u64> =
            first.functions.iter().map(|f| (f.name.as_slice(), f.size)).collect();
        let bodies: HashSet<&[u8]> =
            second.functions.iter().filter_map(|f| f.name.strip_suffix(b".Tgm")).collect();
        let mut sizes = RoundSizes {
            module,
            first_code: first.bytes,
            second_code: second.bytes,
            first_copies,
            second_copies,
            saved_by_outlining: difference(first_outlined, outlined),
            saved_by_merging: difference(first_merged, merged),
            ..RoundSizes::default()
        };
        for function in &second.functions {
            match function.made {
                Made::Outlining(_) => sizes.outlined_functions += 1,
                Made::Merging(_) => sizes.merged_functions += 1,
                Made::Source => {
                    let before = before.get(function.name.as_slice()).copied();
                    let saved = difference(before.unwrap_or_default(), function.size);
                    match bodies.contains(function.name.as_slice()) {
                        true => sizes.saved_by_merging += saved,
                        false => sizes.saved_by_outlining += saved,
                    }
                }
            }
        }
        sizes
    };
    modules.into_iter().map(compare).collect()
}

fn difference(before: u64, after: u64) -> i64 {
    before.cast_signed().wrapping_sub(after.cast_signed())
}

impl RoundSizes {
    /// All modules in one.
    pub fn total(modules: &[RoundSizes]) -> RoundSizes {
        modules.iter().fold(RoundSizes::default(), |all, one| RoundSizes {
            module: String::new(),
            first_code: all.first_code + one.first_code,
            second_code: all.second_code + one.second_code,
            first_copies: all.first_copies + one.first_copies,
            second_copies: all.second_copies + one.second_copies,
            outlined_functions: all.outlined_functions + one.outlined_functions,
            merged_functions: all.merged_functions + one.merged_functions,
            saved_by_outlining: all.saved_by_outlining + one.saved_by_outlining,
            saved_by_merging: all.saved_by_merging + one.saved_by_merging,
        })
    }

    /// For people: a note for each module that changed, and one for all.
    pub fn report(modules: &[RoundSizes]) -> Vec<Diagnostic> {
        let all = RoundSizes::total(modules);
        let note = |module: &str, sizes: &RoundSizes| Diagnostic {
            severity: Severity::Note,
            module: module.to_owned(),
            text: sizes.to_string(),
        };
        let changed = |s: &&RoundSizes| s.saved_by_outlining != 0 || s.saved_by_merging != 0;
        let each = modules.iter().filter(changed).map(|s| note(&s.module, s));
        each.chain([note("all modules", &all)]).collect()
    }
}

impl std::fmt::Display for RoundSizes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let first = self.first_code.saturating_sub(self.first_copies);
        let second = self.second_code.saturating_sub(self.second_copies);
        let percent = match first {
            0 => 0.0,
            _ => (second as f64 - first as f64) / first as f64 * 100.0,
        };
        write!(
            f,
            "{first} bytes of code after one round, {second} after two ({percent:+.1} %), equal \
             functions counted once: {} saved by outlining ({} functions), {} by merging ({})",
            self.saved_by_outlining,
            self.outlined_functions,
            self.saved_by_merging,
            self.merged_functions
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(name: &str, size: u64) -> Function {
        let content = |n: &str| {
            let mut key = KeyBuilder::new("test");
            key.text("content", n);
            key.finish()
        };
        let made = match name.split_once(':') {
            Some(("o", content_of)) => Made::Outlining(content(content_of)),
            Some(("m", content_of)) => Made::Merging(content(content_of)),
            _ => Made::Source,
        };
        let name = name.rsplit(':').next().unwrap_or(name);
        let name = if let Made::Merging(_) = made { format!("{name}.Tgm") } else { name.into() };
        Function { name: name.into_bytes(), size, made }
    }

    fn code(functions: &[(&str, u64)]) -> Code {
        let functions: Vec<_> =
            functions.iter().map(|(name, size)| function(name, *size)).collect();
        Code { bytes: functions.iter().map(|f| f.size).sum(), functions }
    }

    #[test]
    fn what_is_saved_is_told_apart() {
        let module = |name: &str, first: &[(&str, u64)], second: &[(&str, u64)]| BothRounds {
            module: name.to_owned(),
            first: code(first),
            second: code(second),
        };
        let sizes = compare(vec![
            module(
                "one",
                &[("f", 40), ("g", 100)],
                &[("f", 8), ("m:f", 36), ("g", 70), ("o:x", 20)],
            ),
            module("two", &[("h", 60)], &[("h", 30), ("o:x", 20)]),
        ]);
        let savings: Vec<_> =
            sizes.iter().map(|s| (s.saved_by_outlining, s.saved_by_merging)).collect();
        assert_eq!(savings, [(10, -4), (30, 0)]);
        let all = RoundSizes::total(&sizes);
        assert_eq!((all.first_code, all.second_code, all.second_copies), (200, 184, 20));
        // All of the difference is told.
        let saved = all.saved_by_outlining + all.saved_by_merging;
        assert_eq!(saved.cast_unsigned(), all.first_code - (all.second_code - all.second_copies));
        assert_eq!(
            all.to_string(),
            "200 bytes of code after one round, 164 after two (-18.0 %), equal functions counted \
             once: 40 saved by outlining (2 functions), -4 by merging (1)"
        );
    }

    #[test]
    fn what_is_no_object_has_no_code() {
        assert_eq!(Code::of(b"").bytes, 0);
        assert_eq!(Code::of(b"\x7fELF").bytes, 0);
    }
}
