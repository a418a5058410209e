//! The thin link: from all summaries and the linker's resolutions to the plan of every backend.
//!
//! In: a combined [`crate::summary::ModuleSummaryIndex`], and [`ModuleSymbols`] (what the linker
//! said) or a list of symbols to preserve. Out: a [`LinkPlan`]. It must not know files, the
//! environment, the clock, or how a plan is carried out. Each phase borrows what earlier phases
//! made and returns its own struct:
//!
//! | file | phase | LLVM's name for it |
//! |---|---|---|
//! | `facts` | what the linker said, by value | `addModuleToGlobalRes`, `computePrevailingCopies` |
//! | `liveness` | what is reached; where indirect calls go | `computeDeadSymbolsAndUpdateIndirectCalls` |
//! | `attributes` | read-only, write-only, dso_local | `propagateAttributes` |
//! | `devirt`, `glob` | virtual calls with one target | `runWholeProgramDevirtOnIndex` |
//! | `memprof` | which functions are cloned for cold allocations | `MemProfContextDisambiguation::run` |
//! | `module_order`, `order` | the order of LLVM's hash tables | `collectDefinedGVSummariesPerModule` |
//! | `imports`, `import_scratch`, `import_list` | what each module imports | `ComputeCrossModuleImport` |
//! | `workload` | what the user says belongs together | `WorkloadImportsManager` |
//! | `exports` | what others will refer to | the same |
//! | `linkage` | internalize, promote, resolve prevailing | `thinLTOInternalizeAndPromoteInIndex` |
//! | `function_attrs` | norecurse, nounwind | `thinLTOPropagateFunctionAttrs` |
//! | `call_graph`, `entry_counts` | functions that call one another, how often (LLVM 19) | `computeSyntheticCounts` |
//! | `why` | why something was or was not imported | - |
//! | `failures` | what LLVM says of that | `-print-import-failures` |
//! | `plan` | the sum, for both drivers | `LTO::runThinLTO`, `ThinLTOCodeGenerator::run` |
//!
//! The index itself is never changed. `options` has the knobs and the table of what LLVM 19 and
//! LLVM 22 do differently.

mod attributes;
mod bits;
mod call_graph;
mod devirt;
mod entry_counts;
mod exports;
mod facts;
mod failures;
mod function_attrs;
mod glob;
mod import_list;
mod import_scratch;
mod imports;
mod linkage;
mod liveness;
mod memprof;
mod module_order;
mod options;
pub mod order;
mod plan;
mod reuse;
mod why;
mod workload;

pub use attributes::Attributes;
pub use bits::Bits;
pub use call_graph::CallGraph;
pub use devirt::Devirtualization;
pub use entry_counts::EntryCounts;
pub use exports::Exports;
pub use facts::{Facts, Mention, ModuleSymbols, Prevailing};
pub use failures::{ImportFailure, import_failures};
pub use function_attrs::FunctionAttrs;
pub use import_list::{FailureReason, Import, ImportList, Imports};
pub use import_scratch::Scratch;
pub use imports::{Importer, Observer};
pub use linkage::{Linkages, Steps};
pub use liveness::{IndirectCalls, Liveness};
pub use memprof::MemProf;
pub use module_order::ModuleOrder;
pub use options::{Behaviour, ThinLinkOptions, VisibilityScheme};
pub use plan::{BeforeLinkage, LegacyPhases, LinkPlan, promoted_name, promoted_name_by_source};
pub use reuse::Reuse;
pub use why::{Considered, Explanation};
pub use workload::Workloads;
