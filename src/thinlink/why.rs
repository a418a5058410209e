//! Why was it, or was it not, imported?
//!
//! In: the index and its [`LinkPlan`]. Out: for one module every call that the selection of
//! imports looked into, with the threshold and, for each copy of the callee, why it was refused.
//! The selection is made once more with an observer, so that a link that nobody asks about pays
//! nothing.

use super::import_list::FailureReason;
use super::imports::{Importer, Observer};
use super::plan::LinkPlan;
use crate::summary::{Hotness, ModuleId, ModuleSummaryIndex, SummaryId, ValueId};

/// A call that was looked into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Considered {
    /// The function whose call it is, defined or imported.
    pub caller: SummaryId,
    /// What is called.
    pub callee: ValueId,
    /// How many instructions the callee might have had.
    pub threshold: u32,
    /// The function that was taken, now or for another call before.
    pub chosen: Option<SummaryId>,
    /// The copies in the order in which they were looked at, up to the one that was taken, and why
    /// the others were refused.
    pub copies: Vec<(SummaryId, Option<FailureReason>)>,
}

/// What the selection of imports for one module considered, in order.
#[derive(Clone, Debug, Default)]
pub struct Explanation {
    module: Option<ModuleId>,
    /// The calls looked into.
    pub calls: Vec<Considered>,
    /// The variables imported, each after the function or variable that refers to it.
    pub variables: Vec<(SummaryId, SummaryId)>,
}

impl Explanation {
    /// What was considered for a module, given the plan of the link.
    pub fn of(index: &ModuleSummaryIndex, plan: &LinkPlan, module: ModuleId) -> Self {
        let mut explanation = Explanation { module: Some(module), ..Self::default() };
        plan.observe_imports(index, module, &mut explanation);
        explanation
    }

    /// The calls of one callee.
    pub fn calls_of(&self, callee: ValueId) -> impl Iterator<Item = &Considered> {
        self.calls.iter().filter(move |call| call.callee == callee)
    }
}

impl Observer for Explanation {
    fn call(
        &mut self,
        importer: &Importer<'_>,
        caller: SummaryId,
        callee: ValueId,
        (threshold, _): (u32, Hotness),
        chosen: Option<SummaryId>,
    ) {
        let module = importer.module_of(caller).or(self.module).unwrap_or(ModuleId(0));
        let mut copies = importer.reasons(callee, threshold, module);
        if let Some(first) = copies.iter().position(|(_, reason)| reason.is_none()) {
            copies.truncate(first + 1);
        }
        self.calls.push(Considered { caller, callee, threshold, chosen, copies });
    }

    fn variable(&mut self, referrer: SummaryId, variable: SummaryId) {
        self.variables.push((referrer, variable));
    }
}
