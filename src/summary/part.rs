//! The summaries of one file or of a few, on their way into an index.
//!
//! In: what was read, with the file's own numbering of values. Out: the same, compact, or joined to
//! the parts of other files where that takes no more than moving numbers up. It must not know how
//! parts become one index.

use super::arrays::{Level, NO_VALUE, Record, Tables};
use super::index::ModuleSummaryIndex;
use super::types::*;

/// The summaries of one file, as they were read and not yet merged into an index.
#[derive(Clone, Debug, Default)]
pub struct IndexPart {
    pub(super) modules: Vec<ModuleInfo>,
    pub(super) tables: Tables,
    pub(super) level: Level,
    /// Where the first summary block starts, in bits; `None` where it was not read from a file.
    pub(super) summary_at: Option<u64>,
}

impl IndexPart {
    /// The modules that it holds.
    pub fn modules(&self) -> &[ModuleInfo] {
        &self.modules
    }

    /// Forgets what it holds and keeps the room.
    pub(super) fn clear(&mut self) {
        self.modules.clear();
        self.tables.clear();
        self.level = Level::default();
        self.summary_at = None;
    }

    /// What it holds, in no more room than it takes; the room it had stays here.
    pub(super) fn take_compact(&mut self) -> Self {
        IndexPart {
            modules: std::mem::take(&mut self.modules),
            tables: self.tables.take_compact(),
            level: std::mem::take(&mut self.level),
            summary_at: self.summary_at.take(),
        }
    }

    /// Adds the modules of `other` behind its own; `other` is of no use any more but for its room.
    /// False, and nothing is changed, where that takes more than moving numbers up.
    pub(super) fn absorb(&mut self, other: &mut IndexPart) -> bool {
        if !self.can_be_joined() || !other.can_be_joined() {
            return false;
        }
        let (t, o) = (&mut self.tables, &mut other.tables);
        let (Ok(modules), Ok(slots), Ok(records), Ok(refs), Ok(calls)) = (
            u32::try_from(self.modules.len()),
            u32::try_from(t.guids.len()),
            u32::try_from(t.records.len()),
            u32::try_from(t.refs.len()),
            u32::try_from(t.callees.len()),
        ) else {
            return false;
        };
        let whole =
            (o.guids.len() as u64 + u64::from(slots)).max(o.refs.len() as u64 + u64::from(refs));
        if whole.max(o.callees.len() as u64 + u64::from(calls)) >= u64::from(Ref::LIMIT) {
            return false;
        }
        self.modules.append(&mut other.modules);
        t.guids.extend_from_slice(&o.guids);
        t.records.extend(o.records.iter().map(|r| Record {
            value: r.value + slots,
            module: r.module + modules,
            refs_end: r.refs_end + refs,
            calls_end: r.calls_end + calls,
            size: match r.kind() {
                SummaryKind::Alias if r.size != NO_VALUE => r.size + slots,
                _ => r.size,
            },
            ..*r
        }));
        t.refs.extend(o.refs.iter().map(|r| r.with_value(r.value().0 + slots)));
        t.callees.extend(o.callees.iter().map(|callee| callee + slots));
        t.call_infos.extend_from_slice(&o.call_infos);
        t.original_names.append(&o.original_names, records);
        t.entry_counts.append(&o.entry_counts, records);
        if let Some(extras) = o.extras.as_deref_mut().filter(|extras| !extras.is_empty()) {
            extras.renumber_values(&|value| ValueId(value.0 + slots));
            extras.append_to(t.extras.get_or_insert_default(), records);
        }
        let (level, more) = (&mut self.level, &other.level);
        level.flags.insert(more.flags.0);
        level.block_count = level.block_count.saturating_add(more.block_count);
        level.full_lto &= more.full_lto;
        if more.version != 0 && (level.version == 0 || more.version < level.version) {
            level.version = more.version;
        }
        true
    }

    /// Whether it holds nothing that must be compared with what others hold.
    fn can_be_joined(&self) -> bool {
        let (t, l) = (&self.tables, &self.level);
        t.names.ends.is_empty()
            && t.rel_block_freqs.is_empty()
            && l.stack_ids.is_empty()
            && l.type_ids.is_empty()
            && l.type_id_vtables.is_empty()
            && l.cfi_function_defs.is_empty()
            && l.cfi_function_decls.is_empty()
            && !l.combined
            && !l.full_lto
    }

    /// How many summaries it holds.
    pub fn summary_count(&self) -> usize {
        self.tables.records.len()
    }

    /// The index-wide flags.
    pub fn flags(&self) -> IndexFlags {
        self.level.flags
    }

    /// Whether it was read from a combined index.
    pub fn is_combined(&self) -> bool {
        self.level.combined
    }

    /// Whether the summary came from a module meant for regular LTO.
    pub fn is_full_lto(&self) -> bool {
        self.level.full_lto
    }

    /// LLVM's major version that wrote the module, where it says.
    pub fn newest_llvm(&self) -> Option<u32> {
        self.level.newest_llvm
    }

    /// Sets what [`IndexPart::newest_llvm`] says.
    pub fn set_newest_llvm(&mut self, major: Option<u32>) {
        self.level.newest_llvm = major;
    }

    /// Renames its only module, as a linker does that knows a module under another name than
    /// that of its file. Of a combined index, nothing changes.
    pub fn set_path(&mut self, path: &[u8]) {
        if let [module] = self.modules.as_mut_slice() {
            module.path = path.into();
        }
    }
}

impl From<ModuleSummaryIndex> for IndexPart {
    fn from(index: ModuleSummaryIndex) -> Self {
        IndexPart {
            modules: index.modules,
            tables: index.tables,
            level: index.level,
            summary_at: None,
        }
    }
}
