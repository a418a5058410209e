//! What the backend of one module must know of type identifiers.
//!
//! In: the index, the plan and the module. Out: the resolutions of the types that it tests, or that
//! what it imports tests, as the text that LLVM's passes read. It must not know LLVM.

use std::collections::BTreeSet;

use super::link::Link;
use crate::error::Result;
use crate::summary::{CfiFunction, IndexFlags, ModuleId, SummaryId, type_ids_as_yaml};

/// The functions that test types. Not all tests are in summaries: what is assumed of a type and no
/// virtual call depends on is not.
pub(super) const TYPE_TESTS: [&[u8]; 4] = [
    b"llvm.type.test",
    b"llvm.public.type.test",
    b"llvm.type.checked.load",
    b"llvm.type.checked.load.relative",
];

impl Link<'_, '_> {
    /// The resolutions that a module's type tests and virtual calls need, and the functions it knows
    /// that have CFI jump tables; `None` where it has none of these. `tests_types`: it uses one of
    /// [`TYPE_TESTS`] itself. `knows`: whether a name is one of its own.
    ///
    /// What LLVM's `ThinBackendProc` hands on is all of the index; these are what it writes into
    /// the index of a distributed backend.
    ///
    /// # Errors
    /// As [`type_ids_as_yaml`].
    pub(super) fn types(
        &self,
        id: ModuleId,
        tests_types: bool,
        knows: impl Fn(&[u8]) -> bool,
    ) -> Result<Option<Vec<u8>>> {
        let defined = self.index.module_summaries(id).map(SummaryId);
        let imported = self.plan.imports.of(id).steps();
        let imported = imported.filter(|import| !import.declaration).map(|import| import.summary);
        let mut mentioned = BTreeSet::new();
        for summary in defined.chain(imported).filter_map(|id| self.index.summary(id)) {
            mentioned.extend(summary.base_object().mentioned_types());
        }
        let [defs, decls] = [self.index.cfi_function_defs(), self.index.cfi_function_decls()]
            .map(|all| all.iter().filter(|f| knows(&f.name)).collect::<Vec<&CfiFunction>>());
        // Where modules were split and regular LTO said nothing of types, tests are assumptions that
        // are dropped.
        let unresolved = self.index.flags().has(IndexFlags::ENABLE_SPLIT_LTO_UNIT)
            && !self.index.types_are_resolved();
        let tests_types = tests_types || !mentioned.is_empty();
        if (!tests_types || unresolved) && defs.is_empty() && decls.is_empty() {
            return Ok(None);
        }
        let all = self.plan.devirtualization.type_ids(self.index).iter();
        type_ids_as_yaml(
            all.filter(|id| mentioned.contains(&id.guid)),
            defs.iter().map(|f| &*f.name),
            decls.iter().map(|f| &*f.name),
        )
        .map(Some)
    }
}
