//! What the backend of one module does for MemProf.
//!
//! In: the index, the plan and the module. Out: in its job, the index by which LLVM's pass clones
//! functions; or that all that MemProf says goes. It must not know LLVM.

use std::collections::BTreeSet;

use super::job::Job;
use super::link::{Link, Values};
use crate::distributed::Shards;
use crate::engine::Edit;
use crate::error::Result;
use crate::summary::{Format, ModuleId, Summary, SummaryId};

impl Link<'_, '_> {
    /// Adds to a job, which has all of the module's imports, what is done for MemProf.
    ///
    /// # Errors
    /// Malformed bitcode, of it or of what it imports from.
    pub(super) fn use_memprof(&self, values: &Values<'_>, job: &mut Job) -> Result<()> {
        let options = &self.plan.options;
        if !options.supports_hot_cold_new {
            if self.phases.strip_memprof && self.mentions_memprof(values.id)? {
                job.finish.push(Edit::StripMemProf);
            }
            return Ok(());
        }
        if options.clones_for_memprof() && self.has_memprof_records(values.id) {
            let shards = self.shards.get_or_init(|| Shards::new(self.index, self.plan));
            let format = if options.behaviour.llvm >= 20 { Format::Llvm22 } else { Format::Llvm19 };
            job.memprof = Some(shards.writer().index_file(values.id, format));
        }
        Ok(())
    }

    /// Whether functions of the module, or that it imports, were looked at.
    fn has_memprof_records(&self, id: ModuleId) -> bool {
        let records = self.plan.memprof.functions();
        !records.is_empty() && self.own_and_imported(id).any(|s| records.contains_key(&s.id()))
    }

    /// Whether calls of the module, or of one that it imports from, may have MemProf's marks.
    fn mentions_memprof(&self, id: ModuleId) -> Result<bool> {
        let mut sources = BTreeSet::from([id]);
        for summary in self.own_and_imported(id) {
            if !summary.allocs().is_empty() || !summary.callsites().is_empty() {
                return Ok(true);
            }
            sources.insert(summary.module());
        }
        for id in sources {
            if self.has_memprof_attributes(id)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn own_and_imported(&self, id: ModuleId) -> impl Iterator<Item = Summary<'_>> {
        let own = self.index.module_summaries(id).map(SummaryId);
        let imported = self.plan.imports.of(id).steps().filter(|import| !import.declaration);
        let imported = imported.map(|import| import.summary);
        own.chain(imported).filter_map(|id| self.index.summary(id))
    }
}
