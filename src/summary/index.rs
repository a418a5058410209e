//! [`ModuleSummaryIndex`]: the summaries of one module or of many.
//!
//! In: nothing but what `read` and `combine` put together. Out: modules, values and summaries by
//! dense numbers, everything a summary holds by an accessor under LLVM's name.
//!
//! The shape, chosen so that a link of millions of functions is a handful of flat arrays:
//!
//! - *modules* in the order in which they were added;
//! - *values*: one for each GUID that anything defines or mentions, sorted by GUID. A
//!   [`ValueId`] is the position, so iterating over values is LLVM's order of its map;
//! - *summaries* (records): sorted by module. A [`SummaryId`] is the position, so the summaries
//!   of a module are a range; those of a value are a short list ([`ModuleSummaryIndex::copies`])
//!   in the order of the modules;
//! - references and calls of all summaries in two arrays, each summary having a range of them;
//! - what few summaries have (type tests, virtual calls, parameter accesses, MemProf, virtual
//!   tables, ...) in tables beside them.

use std::collections::HashMap;
use std::ops::Range;

use super::arrays::{Extras, Level, NO_VALUE, Record, Tables};
use super::types::*;
use crate::ir::Guid;

/// Has the processor load an element of a slice, if there is such an element.
#[inline(always)]
#[allow(unsafe_code)] // the one instruction
fn prefetch<T>(slice: &[T], at: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(element) = slice.get(at) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: it changes nothing, and the address is that of an element.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(element).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (slice, at);
}

/// The summaries of one module or of many; see the head of `summary/index.rs` for its shape.
#[derive(Clone, Debug, Default)]
pub struct ModuleSummaryIndex {
    pub(super) modules: Vec<ModuleInfo>,
    pub(super) tables: Tables,
    pub(super) level: Level,
    /// Where the records of each module end.
    pub(super) module_ends: Vec<u32>,
    /// Where the copies of each value end in `copies`.
    pub(super) copy_ends: Vec<u32>,
    /// The summaries of each value.
    pub(super) copies: Vec<SummaryId>,
    /// By the top bits of a GUID, how many values come before those with these bits.
    pub(super) guid_starts: Vec<u32>,
    /// How far a GUID is shifted to get its place in `guid_starts`.
    pub(super) guid_shift: u32,
}

impl ModuleSummaryIndex {
    /// An index without anything.
    pub fn new() -> Self {
        Self::default()
    }

    /// The modules, in the order of addition.
    pub fn modules(&self) -> &[ModuleInfo] {
        &self.modules
    }

    /// One module.
    pub fn module(&self, id: ModuleId) -> Option<&ModuleInfo> {
        self.modules.get(id.index())
    }

    /// The module of this path. Walks the table.
    pub fn find_module(&self, path: &[u8]) -> Option<ModuleId> {
        let at = self.modules.iter().position(|m| &*m.path == path)?;
        Some(ModuleId(at as u32))
    }

    /// A table from path to module, for those who look up many.
    pub fn modules_by_path(&self) -> HashMap<&[u8], ModuleId> {
        self.modules.iter().zip(0..).map(|(m, id)| (&*m.path, ModuleId(id))).collect()
    }

    /// The GUIDs of all values, sorted; the position is the [`ValueId`].
    #[inline]
    pub fn guids(&self) -> &[Guid] {
        &self.tables.guids
    }

    /// The GUID of a value; 0 for one that is not of this index.
    #[inline]
    pub fn guid(&self, value: ValueId) -> Guid {
        self.tables.guids.get(value.index()).copied().unwrap_or_default()
    }

    /// The value with this GUID.
    pub fn find(&self, guid: Guid) -> Option<ValueId> {
        let bucket = guid.0.checked_shr(self.guid_shift).unwrap_or(0) as usize;
        let start = *self.guid_starts.get(bucket)? as usize;
        let end = *self.guid_starts.get(bucket + 1)? as usize;
        let at = self.tables.guids.get(start..end)?.binary_search(&guid).ok()?;
        Some(ValueId((start + at) as u32))
    }

    /// The name of a value, where names were asked for when reading and the file has it;
    /// otherwise empty.
    pub fn name(&self, value: ValueId) -> &[u8] {
        self.tables.names.get(value.index())
    }

    /// The summaries of a value, in the order of their modules. Empty for a value that is only
    /// mentioned.
    #[inline]
    pub fn copies(&self, value: ValueId) -> &[SummaryId] {
        let v = value.index();
        let start = v.checked_sub(1).and_then(|i| self.copy_ends.get(i)).copied().unwrap_or(0);
        let end = self.copy_ends.get(v).copied().unwrap_or(start);
        self.copies.get(start as usize..end as usize).unwrap_or(&[])
    }

    /// The summaries of a module, as a range of [`SummaryId`] numbers.
    #[inline]
    pub fn module_summaries(&self, module: ModuleId) -> Range<u32> {
        let m = module.index();
        let start = m.checked_sub(1).and_then(|i| self.module_ends.get(i)).copied().unwrap_or(0);
        let end = self.module_ends.get(m).copied().unwrap_or(start);
        start..end
    }

    /// The summary of a value in one module; the first where hashes collide.
    pub fn summary_in_module(&self, value: ValueId, module: ModuleId) -> Option<SummaryId> {
        let copies = self.copies(value);
        // Copies stand in the order of their modules, except where few ones make that moot.
        let module_of = |id: &SummaryId| self.tables.records.get(id.index()).map(|r| r.module);
        if copies.len() <= 8 {
            return copies.iter().find(|id| module_of(id) == Some(module.0)).copied();
        }
        let at = copies.partition_point(|id| module_of(id) < Some(module.0));
        copies.get(at).filter(|id| module_of(id) == Some(module.0)).copied()
    }

    /// How many summaries there are.
    #[inline]
    pub fn summary_count(&self) -> usize {
        self.tables.records.len()
    }

    /// Has the processor load a summary's record, for those who will ask for it soon.
    #[inline]
    pub fn prefetch(&self, id: SummaryId) {
        prefetch(&self.tables.records, id.index());
    }

    /// As [`ModuleSummaryIndex::prefetch`], for its references and calls; the record should be
    /// there already.
    #[inline]
    pub(super) fn prefetch_lists(&self, id: SummaryId) {
        prefetch(&self.tables.refs, self.tables.refs_of(id.index()).start);
        let calls = self.tables.calls_of(id.index()).start;
        prefetch(&self.tables.callees, calls);
        prefetch(&self.tables.call_infos, calls);
    }

    /// As [`ModuleSummaryIndex::prefetch_lists`], for what `table` has by summary of those of local
    /// linkage.
    #[inline]
    pub(super) fn prefetch_local<T>(&self, id: SummaryId, table: &[T]) {
        let record = self.tables.records.get(id.index());
        if record.is_some_and(|record| record.flags.linkage().is_local()) {
            prefetch(table, id.index());
        }
    }

    /// One summary; `None` for a number that is not of this index.
    #[inline]
    pub fn summary(&self, id: SummaryId) -> Option<Summary<'_>> {
        let record = self.tables.records.get(id.index())?;
        Some(Summary { tables: &self.tables, index: self, id, record })
    }

    /// All summaries, by module and in the order of their files.
    pub fn summaries(&self) -> impl ExactSizeIterator<Item = Summary<'_>> + '_ {
        self.tables.records.iter().enumerate().map(|(id, record)| Summary {
            tables: &self.tables,
            index: self,
            id: SummaryId(id as u32),
            record,
        })
    }

    /// The index-wide flags.
    pub fn flags(&self) -> IndexFlags {
        self.level.flags
    }

    /// Changes the index-wide flags.
    pub fn set_flags(&mut self, flags: IndexFlags) {
        self.level.flags = flags;
    }

    /// The number of basic blocks, where the files give it; otherwise 0.
    pub fn block_count(&self) -> u64 {
        self.level.block_count
    }

    /// The MemProf stack ids that call sites and allocations refer to by position.
    pub fn stack_ids(&self) -> &[u64] {
        &self.level.stack_ids
    }

    /// Type identifiers that the thin link resolved, sorted by the GUID of the name.
    pub fn type_ids(&self) -> &[TypeIdSummary] {
        &self.level.type_ids
    }

    /// Type identifiers with the virtual tables compatible with them, sorted by name. Only where
    /// they were asked for when reading; combined indexes never hold them.
    pub fn type_id_compatible_vtables(&self) -> &[TypeIdCompatibleVtables] {
        &self.level.type_id_vtables
    }

    /// Local functions with CFI jump tables, sorted by name.
    pub fn cfi_function_defs(&self) -> &[CfiFunction] {
        &self.level.cfi_function_defs
    }

    /// External functions with CFI jump tables, sorted by name.
    pub fn cfi_function_decls(&self) -> &[CfiFunction] {
        &self.level.cfi_function_decls
    }

    /// Whether regular LTO must say how types are tested before any module of the thin link can be
    /// compiled: something tests a type, and modules were split or others (`regular`) are in the link.
    pub fn lacks_type_resolutions(&self, regular: bool) -> bool {
        !self.level.types_resolved
            && (regular || self.flags().has(IndexFlags::ENABLE_SPLIT_LTO_UNIT))
            && self.mentions_types()
    }

    /// Takes what was found out of type identifiers. A type that is not among them is one that
    /// nothing is of.
    pub fn set_type_resolutions(&mut self, found: TypeResolutions) {
        let TypeResolutions { mut type_ids, cfi_function_defs, cfi_function_decls } = found;
        type_ids.sort_by(|a, b| (a.guid, &a.name).cmp(&(b.guid, &b.name)));
        self.level.type_ids = type_ids;
        self.level.cfi_function_defs = cfi_function_defs.into_iter().collect();
        self.level.cfi_function_decls = cfi_function_decls.into_iter().collect();
        self.level.types_resolved = true;
    }

    /// Whether [`ModuleSummaryIndex::set_type_resolutions`] was called.
    pub fn types_are_resolved(&self) -> bool {
        self.level.types_resolved
    }

    /// Whether some function tests a type or calls a virtual function of one.
    pub fn mentions_types(&self) -> bool {
        self.tables.extras.as_ref().is_some_and(|extras| {
            !(extras.type_tests.is_empty()
                && extras.type_test_assume_vcalls.is_empty()
                && extras.type_checked_load_vcalls.is_empty()
                && extras.type_test_assume_const_vcalls.is_empty()
                && extras.type_checked_load_const_vcalls.is_empty())
        })
    }

    /// The functions with MemProf call sites or allocations, in the order of their numbers.
    pub fn memprof_summaries(&self) -> impl Iterator<Item = Summary<'_>> + '_ {
        let extras = self.tables.extras.as_deref();
        let callsites = extras.map_or(&[][..], |extras| extras.callsites.keys());
        let allocs = extras.map_or(&[][..], |extras| extras.allocs.keys());
        let mut all: Vec<u32> = callsites.iter().chain(allocs).copied().collect();
        all.sort_unstable();
        all.dedup();
        all.into_iter().filter_map(|id| self.summary(SummaryId(id)))
    }

    /// Whether this is a combined index, of several modules or read from such a file.
    pub fn is_combined(&self) -> bool {
        self.level.combined
    }

    /// Whether the summary came from a module meant for regular LTO.
    pub fn is_full_lto(&self) -> bool {
        self.level.full_lto
    }

    /// The major version of the newest LLVM that wrote one of the modules. `None` where none says,
    /// and for what was read from a combined index.
    pub fn newest_llvm(&self) -> Option<u32> {
        self.level.newest_llvm
    }

    /// The version of the summary block that was read; the oldest of several, 0 for none.
    pub fn version(&self) -> u64 {
        self.level.version
    }

    /// Changes the flags of a variable; of others, nothing.
    pub fn set_variable_flags(&mut self, id: SummaryId, flags: VariableFlags) {
        if let Some(record) = self.tables.records.get_mut(id.index())
            && record.kind() == SummaryKind::Variable
        {
            record.bits = record.bits & !Record::FLAGS | flags.0 & Record::FLAGS;
        }
    }

    /// Changes linkage, liveness and so on of one summary.
    pub fn set_summary_flags(&mut self, id: SummaryId, flags: GvFlags) {
        if let Some(record) = self.tables.records.get_mut(id.index()) {
            record.flags = flags;
        }
    }
}

/// One summary of an index.
#[derive(Clone, Copy)]
pub struct Summary<'i> {
    pub(super) tables: &'i Tables,
    index: &'i ModuleSummaryIndex,
    id: SummaryId,
    pub(super) record: &'i Record,
}

impl<'i> Summary<'i> {
    /// Its number.
    #[inline]
    pub fn id(self) -> SummaryId {
        self.id
    }

    /// The value that it is of.
    #[inline]
    pub fn value(self) -> ValueId {
        ValueId(self.record.value)
    }

    /// The GUID of the value.
    #[inline]
    pub fn guid(self) -> Guid {
        self.index.guid(self.value())
    }

    /// The module that it is in.
    #[inline]
    pub fn module(self) -> ModuleId {
        ModuleId(self.record.module)
    }

    /// Linkage and so on.
    #[inline]
    pub fn flags(self) -> GvFlags {
        self.record.flags
    }

    /// What it is a summary of.
    #[inline]
    pub fn kind(self) -> SummaryKind {
        self.record.kind()
    }

    /// A function's number of instructions; 0 for others.
    #[inline]
    pub fn inst_count(self) -> u32 {
        if self.kind() == SummaryKind::Function { self.record.size } else { 0 }
    }

    /// A function's flags; none for others.
    #[inline]
    pub fn function_flags(self) -> FunctionFlags {
        match self.kind() {
            SummaryKind::Function => FunctionFlags(self.record.bits & Record::FLAGS),
            _ => FunctionFlags(0),
        }
    }

    /// A variable's flags; none for others.
    #[inline]
    pub fn variable_flags(self) -> VariableFlags {
        match self.kind() {
            SummaryKind::Variable => VariableFlags(self.record.bits & Record::FLAGS),
            _ => VariableFlags(0),
        }
    }

    /// The value that an alias stands for; `None` for others, and in a distributed index that
    /// does not hold it.
    #[inline]
    pub fn aliasee_value(self) -> Option<ValueId> {
        (self.kind() == SummaryKind::Alias && self.record.size != NO_VALUE)
            .then_some(ValueId(self.record.size))
    }

    /// The summary, in the same module, of what an alias stands for.
    pub fn aliasee(self) -> Option<Summary<'i>> {
        let id = self.index.summary_in_module(self.aliasee_value()?, self.module())?;
        self.index.summary(id)
    }

    /// The summary of the object: of the aliasee for an alias (where it is held), else itself.
    pub fn base_object(self) -> Summary<'i> {
        self.aliasee().unwrap_or(self)
    }

    /// The values that it refers to, calls not included.
    #[inline]
    pub fn refs(self) -> &'i [Ref] {
        self.tables.refs.get(self.tables.refs_of(self.id.index())).unwrap_or(&[])
    }

    /// The callees, in the order of the record; numbers of values.
    #[inline]
    pub fn callees(self) -> &'i [u32] {
        self.tables.callees.get(self.tables.calls_of(self.id.index())).unwrap_or(&[])
    }

    /// What is known of each call; as long as [`Summary::callees`].
    #[inline]
    pub fn call_infos(self) -> &'i [CallInfo] {
        self.tables.call_infos.get(self.tables.calls_of(self.id.index())).unwrap_or(&[])
    }

    /// Callees with what is known of the calls.
    #[inline]
    pub fn calls(self) -> impl ExactSizeIterator<Item = (ValueId, CallInfo)> + 'i {
        self.callees().iter().map(|&c| ValueId(c)).zip(self.call_infos().iter().copied())
    }

    /// The relative block frequency of each call, scaled by 2^8; empty where the record gives
    /// none.
    pub fn rel_block_freqs(self) -> &'i [u32] {
        if !self.has_frequencies() {
            return &[];
        }
        self.tables.rel_block_freqs.get(self.tables.calls_of(self.id.index())).unwrap_or(&[])
    }

    /// Whether its record has block frequencies in place of hotness.
    pub(super) fn has_frequencies(self) -> bool {
        self.record.bits & Record::HAS_FREQUENCIES != 0
    }

    /// The hash of the name in the original file, without regard to linkage. `None` where the
    /// file does not tell, as in distributed indexes for local values.
    pub fn original_name(self) -> Option<Guid> {
        match self.tables.original_names.get(self.id.0) {
            Some(guid) => Some(guid),
            None if self.record.flags.linkage().is_local() => None,
            None => Some(self.guid()),
        }
    }

    /// The entry count that versions 6 to 11 recorded; mostly 0.
    pub fn entry_count(self) -> u64 {
        self.tables.entry_counts.get(self.id.0).unwrap_or(0)
    }

    #[inline]
    pub(super) fn extras(self) -> Option<&'i Extras> {
        if self.record.bits & Record::HAS_EXTRAS == 0 {
            return None;
        }
        self.tables.extras.as_deref()
    }

    /// Type identifiers tested other than for an assumption.
    pub fn type_tests(self) -> &'i [Guid] {
        self.extras().map_or(&[], |e| e.type_tests.get(self.id.0))
    }

    /// Virtual calls under `llvm.assume(llvm.type.test)`.
    pub fn type_test_assume_vcalls(self) -> &'i [VFuncId] {
        self.extras().map_or(&[], |e| e.type_test_assume_vcalls.get(self.id.0))
    }

    /// Virtual calls through `llvm.type.checked.load`.
    pub fn type_checked_load_vcalls(self) -> &'i [VFuncId] {
        self.extras().map_or(&[], |e| e.type_checked_load_vcalls.get(self.id.0))
    }

    /// As [`Summary::type_test_assume_vcalls`], with all arguments constant.
    pub fn type_test_assume_const_vcalls(self) -> &'i [ConstVCall] {
        self.extras().map_or(&[], |e| e.type_test_assume_const_vcalls.get(self.id.0))
    }

    /// As [`Summary::type_checked_load_vcalls`], with all arguments constant.
    pub fn type_checked_load_const_vcalls(self) -> &'i [ConstVCall] {
        self.extras().map_or(&[], |e| e.type_checked_load_const_vcalls.get(self.id.0))
    }

    /// The type identifiers of its type tests and virtual calls, some perhaps more than once.
    pub fn mentioned_types(self) -> impl Iterator<Item = Guid> + 'i {
        let calls = self.type_test_assume_vcalls().iter().chain(self.type_checked_load_vcalls());
        let const_calls = self
            .type_test_assume_const_vcalls()
            .iter()
            .chain(self.type_checked_load_const_vcalls());
        let tests = self.type_tests().iter().copied();
        tests.chain(calls.map(|call| call.guid)).chain(const_calls.map(|call| call.function.guid))
    }

    /// How pointer parameters are accessed.
    pub fn param_accesses(self) -> &'i [ParamAccess] {
        self.extras().map_or(&[], |e| e.param_accesses.get(self.id.0))
    }

    /// MemProf call sites.
    pub fn callsites(self) -> &'i [CallsiteInfo] {
        self.extras().map_or(&[], |e| e.callsites.get(self.id.0))
    }

    /// MemProf allocations.
    pub fn allocs(self) -> &'i [AllocInfo] {
        self.extras().map_or(&[], |e| e.allocs.get(self.id.0))
    }

    /// The functions of a virtual table.
    pub fn vtable_funcs(self) -> &'i [VirtFuncOffset] {
        self.extras().map_or(&[], |e| e.vtable_funcs.get(self.id.0))
    }
}

impl std::fmt::Debug for Summary<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Summary")
            .field("guid", &self.guid())
            .field("module", &self.module())
            .field("kind", &self.kind())
            .field("flags", &self.flags())
            .field("refs", &self.refs())
            .field("callees", &self.callees())
            .finish()
    }
}
