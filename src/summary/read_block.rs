//! The records of one summary block.
//!
//! In: a GLOBALVAL_SUMMARY or FULL_LTO_GLOBALVAL_SUMMARY block, and what the module around it has
//! said of its values. Out: records, references and calls appended to a part's tables.
//!
//! A record names a value by an id of its file; [`Values`] turns ids into *slots*, which are dense
//! and exist only for values that something mentions. Records for type tests, parameter accesses
//! and MemProf stand before the function they belong to and wait in [`Pending`] for it; LLVM 23
//! puts MemProf records behind it.
//!
//! Source: `ModuleSummaryIndexBitcodeReader::parseEntireSummary` of LLVM 19 and 22; LLVM's reader
//! trusts what this one checks.

use std::collections::{HashMap, HashSet};

use super::arrays::{Extras, Level, NO_VALUE, Record as Summary, Tables};
use super::codes::{
    self, COMBINED_FUNCTION, CallForm, FunctionField, NEWEST_VERSION, PERMODULE_FUNCTION, fs, since,
};
use super::read::ReadOptions;
use super::read_rare::{const_vcall, insert_sorted, paired, vfunc_ids, words};
use super::types::*;
use super::values::Values;
use crate::bitcode::{BitcodeModule, block_id};
use crate::bitstream::{Block, BlockInfo, BlockReader, Entry, Fields, Record};
use crate::error::{Error, Result};
use crate::ir::Guid;

/// Finds the GUID of a value by its id, where not all of them were read beforehand.
pub(super) type FindGuid<'f> = &'f dyn Fn(u64) -> Option<Guid>;

/// What the records before a function have said of it.
#[derive(Default)]
pub(super) struct Pending {
    any: bool,
    type_tests: Vec<Guid>,
    type_test_assume_vcalls: Vec<VFuncId>,
    type_checked_load_vcalls: Vec<VFuncId>,
    type_test_assume_const_vcalls: Vec<ConstVCall>,
    type_checked_load_const_vcalls: Vec<ConstVCall>,
    param_accesses: Vec<ParamAccess>,
    callsites: Vec<CallsiteInfo>,
    allocs: Vec<AllocInfo>,
    pub(super) context_ids: Vec<u64>,
    /// From version 13 on, the function whose MemProf records may follow.
    owner: Option<u32>,
}

/// Room that a parser needs for a while; whoever keeps it saves the next one growing it.
#[derive(Default)]
pub(super) struct Spare {
    /// The fields of a record.
    pub(super) fields: Vec<u64>,
    /// [`State::seen`].
    seen: Vec<u8>,
    /// What a virtual table holds.
    functions: Vec<VirtFuncOffset>,
}

/// Reads summary blocks into a part's tables.
pub(super) struct BlockParser<'m, 'a> {
    pub(super) module: &'m BitcodeModule<'a>,
    /// Where only a few records are read, how their values are found.
    pub(super) find_guid: Option<FindGuid<'m>>,
    pub(super) options: &'m ReadOptions,
    /// Whether it is a combined index, whose records name their module.
    pub(super) combined: bool,
    /// The ids that records use for modules, in the order of the table.
    pub(super) module_ids: Vec<u64>,
    pub(super) values: Values,
    pub(super) tables: Tables,
    pub(super) level: Level,
    pub(super) spare: Spare,
}

/// The state of one block.
pub(super) struct State<'i> {
    pub(super) version: u64,
    function_layout: &'static [FunctionField],
    pub(super) pending: Pending,
    modules: &'i HashMap<u64, u32>,
    /// Per slot, in a module's own summary: 1 for a function or variable, 2 for an alias.
    seen: Vec<u8>,
    /// The summary that an original name may follow.
    last: Option<u32>,
    pub(super) radix: Vec<u32>,
    pub(super) stack_base: usize,
}

const OBJECT: u8 = 1;
const ALIAS: u8 = 2;

impl<'i> State<'i> {
    /// For a block of this version, with the modules of the index by id, and where its stack ids
    /// begin among those of the index.
    pub(super) fn new(
        version: u64,
        combined: bool,
        modules: &'i HashMap<u64, u32>,
        stack_base: usize,
    ) -> Self {
        let table = if combined { COMBINED_FUNCTION } else { PERMODULE_FUNCTION };
        State {
            version,
            function_layout: codes::layout(table, version),
            pending: Pending::default(),
            modules,
            seen: Vec::new(),
            last: None,
            radix: Vec::new(),
            stack_base,
        }
    }

    /// A MemProf record was read: it waits for its function, or follows it.
    fn note_memprof(&mut self, f: &Fields<'_>) -> Result<()> {
        if self.version < since::MEMPROF_BEHIND {
            self.pending.any = true;
        } else if self.pending.owner.is_none() {
            return Err(f.error("follows no function"));
        }
        Ok(())
    }
}

impl BlockParser<'_, '_> {
    /// Reads a block.
    pub(super) fn read(&mut self, block: &Block, info: &BlockInfo) -> Result<()> {
        let data = self.module.data;
        let mut reader = BlockReader::new(data, block, info);
        let fields = std::mem::take(&mut self.spare.fields);
        let mut record = Record { fields, ..Record::default() };
        let version = loop {
            match reader.next(&mut record)? {
                Entry::DefineAbbrev { .. } | Entry::Block(_) => {}
                Entry::Record if record.code == fs::VERSION => {
                    break Fields::new(&record, "FS_VERSION").next("version")?;
                }
                _ => {
                    return Err(Error::malformed(
                        "summary block that does not start with its version",
                    )
                    .at_bit(block.start));
                }
            }
        };
        if version < 1 {
            return Err(
                Error::malformed(format!("summary of version {version}")).at_bit(record.start)
            );
        }
        self.level.full_lto = block.id == block_id::FULL_LTO_GLOBALVAL_SUMMARY;
        self.level.version = match self.level.version {
            0 => version,
            before => before.min(version),
        };
        let modules: HashMap<u64, u32> = self.module_ids.iter().copied().zip(0..).collect();
        let mut state = State::new(version, self.combined, &modules, self.level.stack_ids.len());
        state.seen = std::mem::take(&mut self.spare.seen);
        state.seen.clear();
        let passed_over = !self.options.type_id_metadata;
        let wanted = |code| match code {
            fs::TYPE_ID_METADATA if passed_over => 0,
            _ => usize::MAX,
        };
        loop {
            match reader.next_of(&mut record, wanted)? {
                Entry::End { .. } => {
                    self.finish(&mut state);
                    (self.spare.fields, self.spare.seen) = (record.fields, state.seen);
                    return Ok(());
                }
                Entry::Record => self.record(&record, &mut state)?,
                _ => {}
            }
        }
    }

    /// Nothing more comes.
    pub(super) fn finish(&mut self, state: &mut State<'_>) {
        self.attach_memprof(&mut state.pending);
    }

    /// Reads one record.
    pub(super) fn record(&mut self, record: &Record<'_>, state: &mut State<'_>) -> Result<()> {
        let name = codes::name(record.code);
        let mut f = Fields::new(record, name);
        match record.code {
            fs::PERMODULE_PROFILE | fs::PERMODULE | fs::PERMODULE_RELBF if !self.combined => {
                self.function(f, state, CallForm::of(record.code, state.version))
            }
            fs::COMBINED_PROFILE | fs::COMBINED if self.combined => {
                self.function(f, state, CallForm::of(record.code, state.version))
            }
            fs::PERMODULE_GLOBALVAR_INIT_REFS if !self.combined => self.variable(f, state, false),
            fs::PERMODULE_VTABLE_GLOBALVAR_INIT_REFS if !self.combined => {
                self.variable(f, state, true)
            }
            fs::COMBINED_GLOBALVAR_INIT_REFS if self.combined => self.variable(f, state, false),
            fs::ALIAS if !self.combined => self.alias(f, state),
            fs::COMBINED_ALIAS if self.combined => self.alias(f, state),
            fs::PERMODULE
            | fs::PERMODULE_PROFILE
            | fs::PERMODULE_RELBF
            | fs::PERMODULE_GLOBALVAR_INIT_REFS
            | fs::PERMODULE_VTABLE_GLOBALVAR_INIT_REFS
            | fs::ALIAS => Err(f.error("a module's own summary in a combined index")),
            fs::COMBINED
            | fs::COMBINED_PROFILE
            | fs::COMBINED_GLOBALVAR_INIT_REFS
            | fs::COMBINED_ALIAS => Err(f.error("a combined summary without a table of modules")),
            fs::COMBINED_ORIGINAL_NAME => {
                let guid = Guid(f.next("original name")?);
                let last =
                    state.last.take().ok_or_else(|| f.error("follows no combined summary"))?;
                self.tables.original_names.push(last, guid);
                Ok(())
            }
            fs::VALUE_GUID => {
                let id = f.next("value id")?;
                let guid = if state.version >= since::GUID_WORDS {
                    words(f.next("GUID, high word")?, f.next("GUID, low word")?, &f)?
                } else {
                    f.next("GUID")?
                };
                self.values.set_guid(id, guid, &f)
            }
            fs::FLAGS => {
                self.level.flags.insert(f.next("flags")?);
                Ok(())
            }
            fs::BLOCK_COUNT => {
                let count = f.next("count")?;
                self.level.block_count = self.level.block_count.saturating_add(count);
                Ok(())
            }
            fs::TYPE_TESTS => {
                state.pending.any = true;
                state.pending.type_tests.extend(f.rest().iter().map(|&guid| Guid(guid)));
                Ok(())
            }
            fs::TYPE_TEST_ASSUME_VCALLS => {
                state.pending.any = true;
                vfunc_ids(&mut f, &mut state.pending.type_test_assume_vcalls)
            }
            fs::TYPE_CHECKED_LOAD_VCALLS => {
                state.pending.any = true;
                vfunc_ids(&mut f, &mut state.pending.type_checked_load_vcalls)
            }
            fs::TYPE_TEST_ASSUME_CONST_VCALL => {
                state.pending.any = true;
                state.pending.type_test_assume_const_vcalls.push(const_vcall(&mut f)?);
                Ok(())
            }
            fs::TYPE_CHECKED_LOAD_CONST_VCALL => {
                state.pending.any = true;
                state.pending.type_checked_load_const_vcalls.push(const_vcall(&mut f)?);
                Ok(())
            }
            fs::PARAM_ACCESS => {
                let accesses = self.param_accesses(&mut f)?;
                state.pending.any = true;
                state.pending.param_accesses = accesses;
                Ok(())
            }
            fs::CFI_FUNCTION_DEFS => {
                let functions = self.cfi_functions(&mut f, state.version)?;
                insert_sorted(&mut self.level.cfi_function_defs, functions);
                Ok(())
            }
            fs::CFI_FUNCTION_DECLS => {
                let functions = self.cfi_functions(&mut f, state.version)?;
                insert_sorted(&mut self.level.cfi_function_decls, functions);
                Ok(())
            }
            fs::TYPE_ID => self.type_id(&mut f),
            fs::TYPE_ID_METADATA => {
                if self.options.type_id_metadata {
                    self.type_id_metadata(&mut f)?;
                }
                Ok(())
            }
            fs::STACK_IDS => self.stack_ids(&mut f, state),
            fs::CONTEXT_RADIX_TREE_ARRAY => {
                state.radix = f.rest().iter().map(|&entry| entry as u32).collect();
                Ok(())
            }
            fs::PERMODULE_CALLSITE_INFO | fs::COMBINED_CALLSITE_INFO => {
                let site = self.callsite(&mut f, state, record.code)?;
                state.pending.callsites.push(site);
                state.note_memprof(&f)
            }
            fs::ALLOC_CONTEXT_IDS => {
                state.pending.context_ids = paired(&mut f)?;
                Ok(())
            }
            fs::PERMODULE_ALLOC_INFO
            | fs::COMBINED_ALLOC_INFO
            | fs::COMBINED_ALLOC_INFO_NO_CONTEXT => {
                let alloc = self.alloc(&mut f, state, record.code)?;
                state.pending.allocs.push(alloc);
                state.note_memprof(&f)
            }
            fs::VERSION => Err(f.error("a second version")),
            // LLVM's readers ignore codes that they do not know, within versions that they do.
            _ if state.version <= NEWEST_VERSION => Ok(()),
            code => Err(Error::unsupported(format!(
                "summary of version {} with record {code}; the newest version known is \
                 {NEWEST_VERSION}",
                state.version
            ))
            .at_bit(record.start)),
        }
    }

    /// The slot of a value that a record mentions.
    #[inline(always)]
    pub(super) fn value(&mut self, id: u64, f: &Fields<'_>) -> Result<u32> {
        match self.slot(id) {
            Some(slot) => Ok(slot),
            None => Err(f.error(format_args!("value {id} has no GUID"))),
        }
    }

    #[inline(always)]
    pub(super) fn slot(&mut self, id: u64) -> Option<u32> {
        self.values.slot(id).or_else(|| self.look_up(id))
    }

    #[cold]
    fn look_up(&mut self, id: u64) -> Option<u32> {
        self.values.look_up(id, self.find_guid?(id)?)
    }

    /// The head of a summary: value, in a combined index its module, and flags.
    fn head(&mut self, f: &mut Fields<'_>, state: &State<'_>) -> Result<(u32, u32, GvFlags)> {
        let id = f.next("value id")?;
        let value = self.value(id, f)?;
        let module = if self.combined {
            let id = f.next("module id")?;
            let module = state.modules.get(&id).copied();
            module.ok_or_else(|| f.error(format_args!("module {id} is not in the table")))?
        } else {
            0
        };
        let raw = f.next("flags")?;
        let old = if state.version < since::LIVE_FLAG { 0x30 } else { 0 };
        Ok((value, module, GvFlags(raw as u16 | old)))
    }

    /// Appends a summary whose references and calls stand in the tables already.
    fn push(
        &mut self,
        f: &Fields<'_>,
        state: &mut State<'_>,
        (value, module, flags): (u32, u32, GvFlags),
        size: u32,
        bits: u16,
    ) -> Result<u32> {
        self.attach_memprof(&mut state.pending);
        let id = self.tables.records.len() as u32;
        let (Ok(refs_end), Ok(calls_end)) =
            (u32::try_from(self.tables.refs.len()), u32::try_from(self.tables.callees.len()))
        else {
            return Err(Error::unsupported("more references than one index can hold"));
        };
        let record = Summary { value, module, refs_end, calls_end, size, flags, bits };
        if !self.combined {
            let slots = self.values.guids.len();
            if state.seen.len() < slots {
                state.seen.resize(slots, 0);
            }
            if let Some(seen) = state.seen.get_mut(value as usize) {
                if *seen != 0 {
                    return Err(f.error("its value has a summary already"));
                }
                *seen = if record.kind() == SummaryKind::Alias { ALIAS } else { OBJECT };
            }
        }
        self.tables.records.push(record);
        state.last = self.combined.then_some(id);
        Ok(id)
    }

    fn function(
        &mut self,
        mut f: Fields<'_>,
        state: &mut State<'_>,
        calls: CallForm,
    ) -> Result<()> {
        let head = self.head(&mut f, state)?;
        let inst_count = f.next_u32("instruction count")?;
        let (mut flags, mut entry_count) = (0, 0);
        let (mut refs, mut read_only, mut write_only) = (0, 0, 0);
        for field in state.function_layout {
            match field {
                FunctionField::Flags => flags = f.next("function flags")?,
                FunctionField::EntryCount => entry_count = f.next("entry count")?,
                FunctionField::RefCount => refs = f.next("number of references")?,
                FunctionField::ReadOnlyCount => {
                    read_only = f.next("number of read-only references")?
                }
                FunctionField::WriteOnlyCount => {
                    write_only = f.next("number of write-only references")?;
                }
            }
        }
        let refs = f.take(refs, "references")?;
        let plain = (refs.len() as u64)
            .checked_sub(read_only)
            .and_then(|n| n.checked_sub(write_only))
            .ok_or_else(|| f.error("more special references than references"))?;
        // Read-only and then write-only references stand at the end.
        for (place, &id) in (0..).zip(refs) {
            let value = ValueId(self.value(id, &f)?);
            self.tables.refs.push(match place {
                _ if place < plain => Ref::new(value),
                _ if place < plain + read_only => Ref::read_only(value),
                _ => Ref::write_only(value),
            });
        }
        self.calls(&mut f, calls)?;
        let mut bits = Summary::bits(SummaryKind::Function, flags as u16);
        if calls == CallForm::Frequency {
            bits |= Summary::HAS_FREQUENCIES;
        }
        let id = self.push(&f, state, head, inst_count, bits)?;
        if entry_count != 0 {
            self.tables.entry_counts.push(id, entry_count);
        }
        if state.pending.any {
            self.attach(id, &mut state.pending);
        }
        if state.version >= since::MEMPROF_BEHIND {
            state.pending.owner = Some(id);
        }
        Ok(())
    }

    fn calls(&mut self, f: &mut Fields<'_>, form: CallForm) -> Result<()> {
        let fields = f.rest();
        if !fields.len().is_multiple_of(form.fields()) {
            return Err(f.error("a call without all of its fields"));
        }
        if form == CallForm::Frequency {
            self.tables.rel_block_freqs.resize(self.tables.callees.len(), 0);
        }
        if form == CallForm::Hotness {
            // By far the most, so that no vector is asked for room at each.
            let start = self.tables.callees.len();
            let count = fields.len() / 2;
            self.tables.call_infos.reserve(count);
            self.tables
                .call_infos
                .extend(fields.as_chunks().0.iter().map(|&[_, info]| CallInfo(info as u8 & 0xf)));
            self.tables.callees.resize(start + count, 0);
            for (place, &[id, _]) in (start..).zip(fields.as_chunks().0) {
                let callee = self.value(id, f)?;
                if let Some(slot) = self.tables.callees.get_mut(place) {
                    *slot = callee;
                }
            }
            self.fill_frequencies();
            return Ok(());
        }
        for call in fields.chunks_exact(form.fields()) {
            let &[id, ..] = call else { continue };
            let callee = self.value(id, f)?;
            let (info, frequency) = match (form, call) {
                // 28 bits of frequency, then the tail call mark.
                (CallForm::Frequency, &[_, raw]) => {
                    ((raw >> 28 & 1) as u8 * 8, Some((raw & 0xfff_ffff) as u32))
                }
                _ => (0, None),
            };
            self.tables.callees.push(callee);
            self.tables.call_infos.push(CallInfo(info));
            self.tables.rel_block_freqs.extend(frequency);
        }
        self.fill_frequencies();
        Ok(())
    }

    /// Calls without a frequency have none where others have one.
    fn fill_frequencies(&mut self) {
        if !self.tables.rel_block_freqs.is_empty() {
            self.tables.rel_block_freqs.resize(self.tables.callees.len(), 0);
        }
    }

    fn variable(&mut self, mut f: Fields<'_>, state: &mut State<'_>, vtable: bool) -> Result<()> {
        let head = self.head(&mut f, state)?;
        let mut flags = 0;
        if state.version >= since::VARIABLE_FLAGS {
            flags = f.next("variable flags")?;
        }
        let refs = if vtable {
            let count = f.next("number of references")?;
            f.take(count, "references")?
        } else {
            f.rest()
        };
        for &id in refs {
            let value = self.value(id, &f)?;
            self.tables.refs.push(Ref::new(ValueId(value)));
        }
        let mut functions = std::mem::take(&mut self.spare.functions);
        functions.clear();
        while !f.is_empty() {
            let id = f.next("virtual function")?;
            let function = ValueId(self.value(id, &f)?);
            functions.push(VirtFuncOffset { function, offset: f.next("offset")? });
        }
        let mut bits = Summary::bits(SummaryKind::Variable, flags as u16 & 0x1f);
        if !functions.is_empty() {
            bits |= Summary::HAS_EXTRAS;
        }
        let id = self.push(&f, state, head, 0, bits)?;
        if !functions.is_empty() {
            self.extras().vtable_funcs.push(id, functions.drain(..));
        }
        self.spare.functions = functions;
        Ok(())
    }

    fn alias(&mut self, mut f: Fields<'_>, state: &mut State<'_>) -> Result<()> {
        let head = self.head(&mut f, state)?;
        let id = f.next("aliasee")?;
        let aliasee = match self.slot(id) {
            Some(slot) => slot,
            // A distributed index may hold an alias without what it stands for.
            None if self.combined => NO_VALUE,
            None => return Err(f.error(format_args!("value {id} has no GUID"))),
        };
        if !self.combined && state.seen.get(aliasee as usize) != Some(&OBJECT) {
            return Err(f.error("no summary of a function or variable before it is its aliasee's"));
        }
        let bits = Summary::bits(SummaryKind::Alias, 0);
        self.push(&f, state, head, aliasee, bits)?;
        Ok(())
    }

    fn extras(&mut self) -> &mut Extras {
        self.tables.extras.get_or_insert_default()
    }

    /// Gives a function what stood before it.
    fn attach(&mut self, id: u32, pending: &mut Pending) {
        if let Some(record) = self.tables.records.last_mut() {
            record.bits |= Summary::HAS_EXTRAS;
        }
        let extras = self.tables.extras.get_or_insert_default();
        extras.type_tests.push(id, pending.type_tests.drain(..));
        extras.type_test_assume_vcalls.push(id, pending.type_test_assume_vcalls.drain(..));
        extras.type_checked_load_vcalls.push(id, pending.type_checked_load_vcalls.drain(..));
        extras
            .type_test_assume_const_vcalls
            .push(id, pending.type_test_assume_const_vcalls.drain(..));
        extras
            .type_checked_load_const_vcalls
            .push(id, pending.type_checked_load_const_vcalls.drain(..));
        extras.param_accesses.push(id, pending.param_accesses.drain(..));
        extras.callsites.push(id, pending.callsites.drain(..));
        extras.allocs.push(id, pending.allocs.drain(..));
        pending.any = false;
    }

    /// Gives the last function the MemProf records that followed it.
    fn attach_memprof(&mut self, pending: &mut Pending) {
        let Some(owner) = pending.owner.take() else { return };
        if pending.callsites.is_empty() && pending.allocs.is_empty() {
            return;
        }
        if let Some(record) = self.tables.records.get_mut(owner as usize) {
            record.bits |= Summary::HAS_EXTRAS;
        }
        let extras = self.tables.extras.get_or_insert_default();
        extras.callsites.push(owner, pending.callsites.drain(..));
        extras.allocs.push(owner, pending.allocs.drain(..));
    }

    /// In a combined index, an alias must not stand for an alias of the same module.
    pub(super) fn check_aliases(&self) -> Result<()> {
        let records = &self.tables.records;
        let aliases = || records.iter().filter(|r| r.kind() == SummaryKind::Alias);
        let places: HashSet<(u32, u32)> = aliases().map(|r| (r.module, r.value)).collect();
        if aliases().any(|r| places.contains(&(r.module, r.size))) {
            return Err(Error::malformed("FS_COMBINED_ALIAS record: an alias of an alias")
                .at_bit(self.module.block.start));
        }
        Ok(())
    }
}
