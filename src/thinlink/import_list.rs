//! What is imported, and why not: the words in which `imports` tells its result.
//!
//! In: the summaries that a module imports, in the order in which they were found. Out: [`Imports`],
//! per module its [`ImportList`]. It must not know how they were chosen.

use super::bits::{AtomicBits, Bits};
use crate::summary::{ModuleId, ModuleSummaryIndex, SummaryId};
use rayon::prelude::*;

/// `FunctionImporter::ImportFailureReason`: why a copy of a callee was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the variants are LLVM's words, and `explanation` says what they mean
pub enum FailureReason {
    GlobalVar,
    NotLive,
    TooLarge,
    InterposableLinkage,
    LocalLinkageNotInModule,
    NotEligible,
    NoInline,
}

impl FailureReason {
    /// LLVM's word, as `-print-import-failures` prints it.
    pub fn name(self) -> &'static str {
        match self {
            FailureReason::GlobalVar => "GlobalVar",
            FailureReason::NotLive => "NotLive",
            FailureReason::TooLarge => "TooLarge",
            FailureReason::InterposableLinkage => "InterposableLinkage",
            FailureReason::LocalLinkageNotInModule => "LocalLinkageNotInModule",
            FailureReason::NotEligible => "NotEligible",
            FailureReason::NoInline => "NoInline",
        }
    }

    /// The reason in a sentence's words.
    pub fn explanation(self) -> &'static str {
        match self {
            FailureReason::GlobalVar => "it is a variable, not a function",
            FailureReason::NotLive => "nothing that is kept refers to it",
            FailureReason::TooLarge => "it has more instructions than the threshold",
            FailureReason::InterposableLinkage => {
                "its linkage allows another definition to replace it at link time or run time"
            }
            FailureReason::LocalLinkageNotInModule => {
                "it is a local function and several modules have one of that name"
            }
            FailureReason::NotEligible => {
                "it is marked as not eligible, as it refers to something that cannot be renamed"
            }
            FailureReason::NoInline => "it is marked noinline",
        }
    }
}

/// One summary that a module imports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Import {
    /// What is imported, which says from which module.
    pub summary: SummaryId,
    /// Only its declaration.
    pub declaration: bool,
}

/// What one module imports, as the steps by which the list came about. A step adds a definition,
/// or a declaration where there is neither yet; a definition replaces a declaration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportList {
    steps: Vec<u32>,
}

/// Marks a step that adds a declaration.
pub(super) const DECLARATION: u32 = 1 << 31;

impl ImportList {
    /// Of these steps, each the number of a summary and perhaps [`DECLARATION`].
    pub(super) fn new(steps: &[u32]) -> Self {
        ImportList { steps: steps.to_vec() }
    }

    /// The steps in order.
    pub fn steps(&self) -> impl ExactSizeIterator<Item = Import> + '_ {
        self.steps.iter().map(|&step| Import {
            summary: SummaryId(step & !DECLARATION),
            declaration: step & DECLARATION != 0,
        })
    }

    /// The imports, sorted, which is by source module first.
    pub fn sorted(&self) -> Vec<Import> {
        let mut imports: Vec<Import> = self.steps().collect();
        imports.sort_unstable();
        // A definition sorts before the declaration that it replaced.
        imports.dedup_by_key(|import| import.summary);
        imports
    }

    /// Whether nothing is imported.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

/// Who imports what.
#[derive(Clone, Debug, Default)]
pub struct Imports {
    /// By module.
    lists: Vec<ImportList>,
    /// Summaries that some module imports the definition of.
    imported: Bits,
}

impl Imports {
    /// What each module imports.
    pub(super) fn new(index: &ModuleSummaryIndex, lists: Vec<ImportList>) -> Self {
        let imported = AtomicBits::new(index.summary_count());
        lists.par_iter().for_each(|list| {
            for import in list.steps().filter(|import| !import.declaration) {
                imported.insert(import.summary.index());
            }
        });
        Imports { lists, imported: imported.into_bits() }
    }

    /// Nothing is imported.
    pub fn none(index: &ModuleSummaryIndex) -> Self {
        Imports {
            lists: vec![ImportList::default(); index.modules().len()],
            imported: Bits::new(index.summary_count()),
        }
    }

    /// What a module imports; nothing for one that is not of the index.
    pub fn of(&self, module: ModuleId) -> &ImportList {
        const NOTHING: &ImportList = &ImportList { steps: Vec::new() };
        self.lists.get(module.index()).unwrap_or(NOTHING)
    }

    /// Whether some module imports the definition.
    #[inline]
    pub fn is_imported(&self, summary: SummaryId) -> bool {
        self.imported.get(summary.index())
    }

    /// The summaries that some module imports the definition of.
    pub fn imported(&self) -> &Bits {
        &self.imported
    }

    /// How many imports there are in all lists together.
    pub fn count(&self) -> usize {
        self.lists.iter().map(|list| list.steps.len()).sum()
    }
}
