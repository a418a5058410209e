//! What a module did not import, as LLVM counts it.
//!
//! In: the index and its [`LinkPlan`]. Out: for one module every callee that was refused, with the
//! last reason and the largest threshold, in the order of LLVM's hash table. The selection is made
//! once more with an observer. Source: the end of `ModuleImportsManager::computeImportForModule`.

use super::import_list::FailureReason;
use super::imports::{Importer, Observer};
use super::order::DenseTable;
use super::plan::LinkPlan;
use crate::summary::{Hotness, ModuleId, ModuleSummaryIndex, SummaryId, SummaryKind, ValueId};

/// A callee that was met and is not imported (`ImportFailureInfo`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportFailure {
    /// What was called.
    pub callee: ValueId,
    /// What the last copy that was looked at had against it; `None` where there is no copy.
    pub reason: Option<FailureReason>,
    /// The largest threshold that it was met with.
    pub threshold: u32,
    /// The instructions of its first copy, if that is a function.
    pub size: Option<u32>,
    /// The hottest of the calls that were looked into.
    pub max_hotness: Hotness,
    /// How many calls there were.
    pub attempts: u32,
}

/// What a module failed to import, given the plan of the link. Nothing where a workload definition
/// says what it imports.
pub fn import_failures(
    index: &ModuleSummaryIndex,
    plan: &LinkPlan,
    module: ModuleId,
) -> Vec<ImportFailure> {
    let mut met = Met { index, module, order: DenseTable::default(), callees: Vec::new() };
    plan.observe_imports(index, module, &mut met);
    let callees = &met.callees;
    met.order.iter().filter_map(|at| callees.get(at as usize)?.clone()).collect()
}

/// The callees that were met.
struct Met<'i> {
    index: &'i ModuleSummaryIndex,
    module: ModuleId,
    /// By GUID, the place in `callees`.
    order: DenseTable<u64>,
    /// `None` for one that is imported.
    callees: Vec<Option<ImportFailure>>,
}

impl Met<'_> {
    fn place(&mut self, callee: ValueId) -> Option<&mut Option<ImportFailure>> {
        let guid = self.index.guid(callee).0;
        if self.order.insert(guid, self.callees.len() as u32) {
            self.callees.push(None);
        }
        let at = self.order.get(guid)?;
        self.callees.get_mut(at as usize)
    }

    fn size(&self, callee: ValueId) -> Option<u32> {
        let first = self.index.summary(*self.index.copies(callee).first()?)?.base_object();
        (first.kind() == SummaryKind::Function).then(|| first.inst_count())
    }
}

impl Observer for Met<'_> {
    fn call(
        &mut self,
        importer: &Importer<'_>,
        caller: SummaryId,
        callee: ValueId,
        (threshold, hotness): (u32, Hotness),
        chosen: Option<SummaryId>,
    ) {
        let size = self.size(callee);
        let module = importer.module_of(caller).unwrap_or(self.module);
        let reasons = || importer.reasons(callee, threshold, module).pop();
        let reason = if chosen.is_none() { reasons().and_then(|(_, reason)| reason) } else { None };
        let Some(place) = self.place(callee) else { return };
        if chosen.is_some() {
            *place = None;
            return;
        }
        let before = place.take();
        *place = Some(ImportFailure {
            callee,
            reason,
            threshold,
            size,
            max_hotness: before.as_ref().map_or(hotness, |f| f.max_hotness.max(hotness)),
            attempts: before.map_or(0, |f| f.attempts) + 1,
        });
    }

    fn refused_before(&mut self, callee: ValueId) {
        if let Some(Some(failure)) = self.place(callee) {
            failure.attempts += 1;
        }
    }
}
