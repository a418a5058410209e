//! The stable function map: functions that are alike but for some operands.
//!
//! In: functions, from a file or an object. Out: maps, merged and finalized, with what is counted
//! of them.
//!
//! Functions of one stable hash are candidates for being merged into one with parameters. Each
//! tells which operands (instruction index, operand index) were left out of that hash and what
//! each hashes to; those in which the functions differ become parameters. Merging puts the
//! functions of all objects together; finalizing drops the hashes whose functions do not fit
//! together or are not worth it (LLVM: `StableFunctionMap::merge` and `finalize`).
//!
//! Functions stand in one array and their operands in another. Names are numbered, and the numbers
//! are part of the file: a merged map numbers them as LLVM's merger meets them.
//!
//! This module knows nothing of how maps are stored.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::error::{Error, Result};

use super::bucket_order::iteration_order;
use super::cursor::MALFORMED;

/// An operand that the hash of its function leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IndexOperandHash {
    /// The instruction, counted from the function's start.
    pub inst_index: u32,
    /// The operand in the instruction.
    pub opnd_index: u32,
    /// The stable hash of the operand.
    pub opnd_hash: u64,
}

impl IndexOperandHash {
    /// What LLVM calls the IndexPair: where the operand is.
    pub fn index(&self) -> (u32, u32) {
        (self.inst_index, self.opnd_index)
    }
}

/// A function of the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StableFunction {
    /// The stable hash of the function without the operands listed.
    pub hash: u64,
    /// The number of the function's name.
    pub name: u32,
    /// The number of its module's name.
    pub module: u32,
    /// Instructions in the function.
    pub inst_count: u32,
    /// How many operands are its own, and where they begin in the map's array of them.
    pub(super) operand_count: u32,
    pub(super) operand_start: usize,
}

/// Functions, their operands and their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StableFunctionMap {
    pub(super) names: Names,
    pub(super) functions: Vec<StableFunction>,
    /// By function, ascending by index within each.
    pub(super) operands: Vec<IndexOperandHash>,
}

/// Names by number, all in one array.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    bytes: Vec<u8>,
    /// Where each name ends.
    ends: Vec<usize>,
}

impl Names {
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Appends a name, which then has the number that [`Names::len`] was.
    pub fn push(&mut self, name: &[u8]) {
        self.bytes.extend_from_slice(name);
        self.ends.push(self.bytes.len());
    }

    /// The name of a number; empty for a number that was never given out.
    pub fn get(&self, number: u32) -> &[u8] {
        let number = number as usize;
        let start = number.checked_sub(1).and_then(|n| self.ends.get(n)).copied().unwrap_or(0);
        let end = self.ends.get(number).copied().unwrap_or(start);
        self.bytes.get(start..end).unwrap_or(&[])
    }

    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.ends.len() as u32).map(|number| self.get(number))
    }
}

impl StableFunctionMap {
    /// Whether there are no functions.
    pub fn is_empty(&self) -> bool {
        self.functions.is_empty()
    }

    /// The functions, in the order of the file, or sorted where the map has been finalized.
    pub fn functions(&self) -> &[StableFunction] {
        &self.functions
    }

    /// The name of the given number, as bytes: LLVM does not ask for UTF-8.
    pub fn name(&self, number: u32) -> &[u8] {
        self.names.get(number)
    }

    /// The operands of a function of this map, ascending by index.
    pub fn operands(&self, function: &StableFunction) -> &[IndexOperandHash] {
        let end = function.operand_start.saturating_add(function.operand_count as usize);
        self.operands.get(function.operand_start..end).unwrap_or(&[])
    }

    /// How many functions there are by hash: different hashes, functions, and functions that share
    /// their hash with another.
    pub fn counts(&self) -> MapCounts {
        let mut hashes: Vec<u64> = self.functions.iter().map(|f| f.hash).collect();
        hashes.sort_unstable();
        let groups = hashes.chunk_by(|a, b| a == b);
        let mergeable = groups.clone().map(<[u64]>::len).filter(|&n| n >= 2).sum();
        MapCounts { unique: groups.count(), total: hashes.len(), mergeable }
    }

    /// The functions as LLVM's writer orders them: by hash, module name, name, and else as they
    /// came.
    pub(super) fn sorted(&self) -> Vec<&StableFunction> {
        // By hash first, as numbers in a row; names matter only where a hash occurs again.
        let mut keys: Vec<(u64, usize)> =
            self.functions.iter().enumerate().map(|(place, f)| (f.hash, place)).collect();
        keys.sort_unstable();
        let mut functions: Vec<&StableFunction> =
            keys.iter().filter_map(|&(_, place)| self.functions.get(place)).collect();
        for group in functions.chunk_by_mut(|a, b| a.hash == b.hash).filter(|g| g.len() > 1) {
            group.sort_by(|a, b| {
                (self.name(a.module).cmp(self.name(b.module)))
                    .then_with(|| self.name(a.name).cmp(self.name(b.name)))
            });
        }
        functions
    }

    /// Appends a function. `operands` are put in order.
    ///
    /// # Errors
    /// The reason, where an operand is listed twice or of an instruction that does not exist.
    pub(super) fn push(
        &mut self,
        mut function: StableFunction,
        operands: impl Iterator<Item = IndexOperandHash>,
    ) -> Result<(), String> {
        function.operand_start = self.operands.len();
        self.operands.extend(operands);
        let own = self.operands.get_mut(function.operand_start..).unwrap_or(&mut []);
        if !own.is_sorted() {
            own.sort_unstable();
        }
        if let Some([a, _]) = own.array_windows().find(|[a, b]| a.index() == b.index()) {
            return Err(format!(
                "operand {} of instruction {} is listed twice",
                a.opnd_index, a.inst_index
            ));
        }
        if let Some(last) = own.last().filter(|last| last.inst_index >= function.inst_count) {
            return Err(format!(
                "an operand of instruction {} in a function of {} instructions",
                last.inst_index, function.inst_count
            ));
        }
        function.operand_count =
            u32::try_from(own.len()).map_err(|_| "too many operands".to_owned())?;
        self.functions.push(function);
        Ok(())
    }
}

/// What [`StableFunctionMap::counts`] counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MapCounts {
    /// Different hashes.
    pub unique: usize,
    /// Functions.
    pub total: usize,
    /// Functions that share their hash with another.
    pub mergeable: usize,
}

/// What finalizing a map goes by. The fields are LLVM's options `-global-merging-*`, and their
/// defaults those of LLVM 22.
#[derive(Clone, Debug, PartialEq)]
pub struct FinalizeOptions {
    /// Keep functions and operands that merging would not gain by, as `llvm-cgdata --skip-trim`.
    pub skip_trim: bool,
    /// Fewest functions of a hash.
    pub min_merges: u32,
    /// Fewest instructions of a function.
    pub min_instrs: u32,
    /// Most parameters of a merged function.
    pub max_params: u32,
    /// Leave identical functions, which would need no parameters, to the linker's ICF.
    pub skip_no_params: bool,
    /// Cost of an instruction saved.
    pub inst_overhead: f64,
    /// Cost of a parameter, for each function.
    pub param_overhead: f64,
    /// Cost of the call to the merged function, for each function.
    pub call_overhead: f64,
    /// What the gain must exceed on top.
    pub extra_threshold: f64,
}

impl Default for FinalizeOptions {
    fn default() -> Self {
        FinalizeOptions {
            skip_trim: false,
            min_merges: 2,
            min_instrs: 1,
            max_params: u32::MAX,
            skip_no_params: true,
            inst_overhead: 1.2,
            param_overhead: 2.0,
            call_overhead: 1.0,
            extra_threshold: 0.0,
        }
    }
}

/// Puts the functions of many maps together.
#[derive(Debug, Default)]
pub(super) struct MapMerger {
    map: StableFunctionMap,
    names: NameTable,
}

impl MapMerger {
    /// Adds a map, in the order in which LLVM's merger meets its functions: by hash as its hash
    /// table gives them, and within a hash as they came.
    pub fn add(&mut self, other: &StableFunctionMap) -> Result<()> {
        // Numbers of names here by their numbers there, so that each is looked up only once.
        let mut known: Vec<Option<u32>> = vec![None; other.names.len()];
        self.map.functions.reserve(other.functions.len());
        self.map.operands.reserve(other.operands.len());
        for function in in_bucket_order(&other.functions) {
            let mut number = |there: u32| -> Result<u32> {
                let slot = known.get_mut(there as usize);
                if let Some(Some(number)) = slot {
                    return Ok(*number);
                }
                let number = self.names.number(other.name(there), &mut self.map.names)?;
                if let Some(slot) = slot {
                    *slot = Some(number);
                }
                Ok(number)
            };
            let (name, module) = (number(function.name)?, number(function.module)?);
            let operand_start = self.map.operands.len();
            self.map.operands.extend_from_slice(other.operands(function));
            self.map.functions.push(StableFunction { name, module, operand_start, ..*function });
        }
        Ok(())
    }

    /// The functions of every hash whose functions fit together and, unless trimming is off, are
    /// worth merging; of their operands those that differ. Names stay, needed or not, as LLVM
    /// leaves them.
    pub fn finish(self, options: &FinalizeOptions) -> StableFunctionMap {
        let all = self.map;
        let mut functions = Vec::new();
        let mut operands = Vec::new();
        for group in all.sorted().chunk_by(|a, b| a.hash == b.hash) {
            // Most functions are alone with their hash, and soon done with.
            if !options.skip_trim && group.len() < options.min_merges as usize {
                continue;
            }
            let of: Vec<&[IndexOperandHash]> = group.iter().map(|f| all.operands(f)).collect();
            if !fit_together(group, &of) {
                continue;
            }
            let kept = if options.skip_trim {
                vec![true; of.first().map_or(0, |first| first.len())]
            } else {
                differing(&of)
            };
            let trimmed = |own: &[IndexOperandHash]| -> Vec<IndexOperandHash> {
                own.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(o, _)| *o).collect()
            };
            let of: Vec<_> = of.into_iter().map(trimmed).collect();
            if !options.skip_trim && !is_profitable(group, &of, options) {
                continue;
            }
            for (function, own) in group.iter().zip(&of) {
                functions.push(StableFunction {
                    operand_start: operands.len(),
                    // Trimming only ever leaves fewer of a 32-bit count.
                    operand_count: own.len() as u32,
                    ..**function
                });
                operands.extend_from_slice(own);
            }
        }
        StableFunctionMap { names: all.names, functions, operands }
    }
}

/// The functions by hash, hashes in the order in which LLVM's hash table gives them back.
fn in_bucket_order(functions: &[StableFunction]) -> Vec<&StableFunction> {
    let runs: Vec<&[StableFunction]> = functions.chunk_by(|a, b| a.hash == b.hash).collect();
    let hash_of = |run: &&[StableFunction]| run.first().map_or(0, |first| first.hash);
    let mut hashes: Vec<u64> = runs.iter().map(hash_of).collect();
    let mut ordered = Vec::with_capacity(functions.len());
    // LLVM's files have the functions sorted; then no hash has a second run.
    if hashes.is_sorted_by(|a, b| a < b) {
        let order = iteration_order(&hashes);
        ordered.extend(order.iter().filter_map(|&at| runs.get(at as usize)).copied().flatten());
        return ordered;
    }
    hashes.clear();
    let mut groups: Vec<Vec<&StableFunction>> = Vec::new();
    let mut place_of: HashMap<u64, usize> = HashMap::new();
    for run in runs {
        let Some(first) = run.first() else { continue };
        let place = *place_of.entry(first.hash).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.extend(run),
            None => {
                hashes.push(first.hash);
                groups.push(run.iter().collect());
            }
        }
    }
    let order = iteration_order(&hashes);
    ordered.extend(order.iter().filter_map(|&at| groups.get(at as usize)).flatten().copied());
    ordered
}

/// Whether the functions of a hash have the same number of instructions and list the operands at
/// the same places. One that does not fit spoils them all.
fn fit_together(group: &[&StableFunction], operands: &[&[IndexOperandHash]]) -> bool {
    let (Some(root), Some(of_root)) = (group.first(), operands.first()) else { return false };
    group.iter().zip(operands).all(|(function, own)| {
        function.inst_count == root.inst_count
            && own.len() == of_root.len()
            && own.iter().zip(*of_root).all(|(a, b)| a.index() == b.index())
    })
}

/// By operand of functions that fit together: whether its hash differs among them, so that it must
/// become a parameter.
fn differing(operands: &[&[IndexOperandHash]]) -> Vec<bool> {
    let Some((root, others)) = operands.split_first() else { return Vec::new() };
    let mut differs = vec![false; root.len()];
    for other in others {
        for ((differs, a), b) in differs.iter_mut().zip(*root).zip(*other) {
            *differs |= a.opnd_hash != b.opnd_hash;
        }
    }
    differs
}

/// Whether merging saves more instructions than the calls and parameters cost
/// (LLVM: `isProfitable`). An operand hash that comes up several times in a function is one
/// parameter.
fn is_profitable(
    group: &[&StableFunction],
    operands: &[Vec<IndexOperandHash>],
    options: &FinalizeOptions,
) -> bool {
    let Some(root) = group.first() else { return false };
    // LLVM counts in 32 bits, wrapping around, and so must we to decide alike.
    let count = group.len() as u32;
    if count < options.min_merges || root.inst_count < options.min_instrs {
        return false;
    }
    let mut cost = 0.0;
    let mut hashes = Vec::new();
    for own in operands {
        hashes.clear();
        hashes.extend(own.iter().map(|o| o.opnd_hash));
        hashes.sort_unstable();
        hashes.dedup();
        let params = hashes.len() as u32;
        if params > options.max_params || (options.skip_no_params && params == 0) {
            return false;
        }
        cost += f64::from(params) * options.param_overhead + options.call_overhead;
    }
    cost += options.extra_threshold;
    let saved = root.inst_count.wrapping_mul(count.wrapping_sub(1));
    f64::from(saved) * options.inst_overhead > cost
}

/// Finds the number of a name: open addressing over the names' own array.
#[derive(Debug)]
struct NameTable {
    /// Numbers plus one, 0 where free, and the low half of the name's hash; a power of two of them,
    /// at most half in use.
    slots: Vec<(u32, u32)>,
    /// Where hashing starts, so that no file can be made of names that collide.
    seed: u64,
}

impl Default for NameTable {
    fn default() -> Self {
        NameTable { slots: Vec::new(), seed: RandomState::new().hash_one(0) }
    }
}

impl NameTable {
    /// The number of `name`, which is appended to `names` where it is new.
    fn number(&mut self, name: &[u8], names: &mut Names) -> Result<u32> {
        if names.len() * 2 >= self.slots.len() {
            self.grow();
        }
        let mask = self.slots.len() - 1;
        // The cut is what the slots keep.
        let hash = xxh3_64_with_seed(name, self.seed) as u32;
        let mut at = hash as usize & mask;
        let free = loop {
            match self.slots.get_mut(at) {
                Some(slot) if slot.0 == 0 => break slot,
                Some(&mut (number, h)) if h == hash && names.get(number - 1) == name => {
                    return Ok(number - 1);
                }
                _ => at = (at + 1) & mask,
            }
        };
        let number =
            u32::try_from(names.len()).ok().filter(|n| *n < u32::MAX).ok_or_else(|| {
                Error::malformed(format!("{MALFORMED}: more names in all than 32 bits can number"))
            })?;
        *free = (number + 1, hash);
        names.push(name);
        Ok(number)
    }

    fn grow(&mut self) {
        let size = (self.slots.len() * 2).max(1024);
        let old = std::mem::replace(&mut self.slots, vec![(0, 0); size]);
        for slot in old.into_iter().filter(|slot| slot.0 != 0) {
            let mut at = slot.1 as usize & (size - 1);
            while self.slots.get(at).is_some_and(|taken| taken.0 != 0) {
                at = (at + 1) & (size - 1);
            }
            if let Some(free) = self.slots.get_mut(at) {
                *free = slot;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Function<'a> = (u64, &'a str, &'a str, u32, &'a [(u32, u32, u64)]);

    fn map(functions: &[Function<'_>]) -> StableFunctionMap {
        let mut map = StableFunctionMap::default();
        let mut table = NameTable::default();
        for (hash, name, module, inst_count, operands) in functions {
            let name = table.number(name.as_bytes(), &mut map.names).unwrap();
            let module = table.number(module.as_bytes(), &mut map.names).unwrap();
            let function = StableFunction {
                hash: *hash,
                name,
                module,
                inst_count: *inst_count,
                operand_count: 0,
                operand_start: 0,
            };
            let operands = operands.iter().map(|&(inst_index, opnd_index, opnd_hash)| {
                IndexOperandHash { inst_index, opnd_index, opnd_hash }
            });
            map.push(function, operands).unwrap();
        }
        map
    }

    fn finish(maps: &[StableFunctionMap], options: &FinalizeOptions) -> StableFunctionMap {
        let mut merger = MapMerger::default();
        for map in maps {
            merger.add(map).unwrap();
        }
        merger.finish(options)
    }

    fn names(map: &StableFunctionMap) -> Vec<&str> {
        map.functions().iter().map(|f| str::from_utf8(map.name(f.name)).unwrap()).collect()
    }

    #[test]
    fn functions_that_do_not_fit_are_dropped_with_their_hash() {
        let options = FinalizeOptions { skip_trim: true, ..Default::default() };
        let first = (1, "a", "m1", 9, &[(0, 1, 3u64)][..]);
        for (second, kept) in [
            ((1, "b", "m2", 9, &[(0, 1, 5u64)][..]), true),
            ((1, "b", "m2", 8, &[(0, 1, 5)]), false),
            ((1, "b", "m2", 9, &[(0, 2, 5)]), false),
            ((1, "b", "m2", 9, &[(0, 1, 5), (1, 1, 5)]), false),
            ((1, "b", "m2", 9, &[]), false),
        ] {
            let other = (2, "c", "m2", 1, &[][..]);
            let merged = finish(&[map(&[first]), map(&[second, other])], &options);
            assert_eq!(names(&merged), if kept { &["a", "b", "c"][..] } else { &["c"] });
        }
    }

    #[test]
    fn trimming_keeps_what_differs_and_what_pays() {
        let operands: &[&[(u32, u32, u64)]] =
            &[&[(0, 1, 3), (1, 1, 1), (2, 0, 7)], &[(0, 1, 2), (1, 1, 1), (2, 0, 7)]];
        let at = |inst_count| {
            let a = map(&[(1, "a", "m1", inst_count, operands[0])]);
            let b = map(&[(1, "b", "m2", inst_count, operands[1])]);
            finish(&[a, b], &FinalizeOptions::default())
        };
        // Two functions with a parameter each cost 2 * (2 + 1); 5 instructions saved gain 6.
        assert!(at(5).is_empty());
        let merged = at(6);
        assert_eq!(names(&merged), ["a", "b"]);
        let left: Vec<_> = merged.functions().iter().map(|f| merged.operands(f)).collect();
        let one = |opnd_hash| [IndexOperandHash { inst_index: 0, opnd_index: 1, opnd_hash }];
        assert_eq!(left, [&one(3)[..], &one(2)[..]]);
    }

    #[test]
    fn every_limit_is_obeyed() {
        let maps = || {
            [
                map(&[(1, "a", "m1", 9, &[(0, 1, 3), (1, 1, 4)])]),
                map(&[(1, "b", "m2", 9, &[(0, 1, 5), (1, 1, 6)])]),
                map(&[(2, "c", "m1", 9, &[(0, 1, 3)]), (2, "d", "m1", 9, &[(0, 1, 3)])]),
            ]
        };
        let kept = |options| names(&finish(&maps(), &options)).concat();
        let default = FinalizeOptions::default;
        assert_eq!(kept(default()), "ab");
        assert_eq!(kept(FinalizeOptions { skip_no_params: false, ..default() }), "abcd");
        assert_eq!(
            kept(FinalizeOptions { skip_no_params: false, max_params: 1, ..default() }),
            "cd"
        );
        assert_eq!(kept(FinalizeOptions { min_merges: 3, ..default() }), "");
        assert_eq!(kept(FinalizeOptions { min_instrs: 10, ..default() }), "");
        // The gain is 9 * 1.2, the cost 2 * (2 * 2 + 1).
        assert_eq!(kept(FinalizeOptions { extra_threshold: 0.7, ..default() }), "ab");
        assert_eq!(kept(FinalizeOptions { extra_threshold: 0.9, ..default() }), "");
        assert_eq!(kept(FinalizeOptions { inst_overhead: 1.0, ..default() }), "");
        assert_eq!(kept(FinalizeOptions { param_overhead: 2.5, ..default() }), "");
        assert_eq!(kept(FinalizeOptions { call_overhead: 1.5, ..default() }), "");
    }

    #[test]
    fn order_and_names_are_those_of_the_reference() {
        // 14 comes before 1 in a table of 13 buckets, and so do its names.
        let a = map(&[(1, "z", "m", 1, &[]), (14, "y", "m", 1, &[]), (1, "x", "m", 1, &[])]);
        let options = FinalizeOptions { skip_trim: true, ..Default::default() };
        let merged = finish(&[a], &options);
        assert_eq!(names(&merged), ["x", "z", "y"]);
        let numbered: Vec<_> = merged.names.iter().collect();
        assert_eq!(numbered, [&b"y"[..], b"m", b"z", b"x"]);
        assert_eq!(merged.counts(), MapCounts { unique: 2, total: 3, mergeable: 2 });
    }

    #[test]
    fn names_are_found_again() {
        let (mut table, mut names) = (NameTable::default(), Names::default());
        for round in 0..2 {
            for n in 0..1000u32 {
                let number = table.number(format!("name {n}").as_bytes(), &mut names).unwrap();
                assert_eq!(number, n, "round {round}");
            }
        }
        assert_eq!(
            (names.len(), names.get(0), names.get(999)),
            (1000, &b"name 0"[..], &b"name 999"[..])
        );
    }

    #[test]
    fn operands_are_checked() {
        let function = StableFunction {
            hash: 1,
            name: 0,
            module: 0,
            inst_count: 2,
            operand_count: 0,
            operand_start: 0,
        };
        let operand =
            |inst_index, opnd_index| IndexOperandHash { inst_index, opnd_index, opnd_hash: 9 };
        let push = |list: &[IndexOperandHash]| {
            StableFunctionMap::default().push(function, list.iter().copied())
        };
        assert_eq!(push(&[operand(1, 0), operand(0, 5)]), Ok(()));
        assert!(push(&[operand(2, 0)]).unwrap_err().contains("instruction 2"));
        assert!(
            push(&[operand(1, 1), operand(0, 1), operand(1, 1)]).unwrap_err().contains("twice")
        );
    }
}
