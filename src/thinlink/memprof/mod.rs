//! Functions cloned so that each allocation is cold, or is not.
//!
//! In: the index, with the contexts in which allocations were profiled; the [`Facts`], and where
//! indirect calls go. Out: [`MemProf`]: of functions, their allocations and call sites with what each
//! clone of the function allocates and calls. It must not know who imports what: a backend that has a
//! function makes the clones of it.
//!
//! | file | step | LLVM's name |
//! |---|---|---|
//! | `ids` | sets of contexts | `DenseSet<uint32_t>` |
//! | `graph` | allocations and the frames on the way to them | `addStackNodesForMIB` |
//! | `stacks` | calls found for frames | `updateStackNodes` |
//! | `targets` | calls of something else dropped | `handleCallsitesWithMultipleTargets` |
//! | `clones` | calls cloned | `identifyClones` |
//! | `functions` | functions cloned | `assignFunctions` |
//! | `dump` | the graph as text | `CallsiteContextGraph::print` |
//!
//! Source: `MemProfContextDisambiguation::run` of LLVM 19 on an index.

mod clones;
mod dump;
mod functions;
mod graph;
mod ids;
mod stacks;
mod targets;

use std::collections::HashMap;
use std::fmt::Write;

use self::graph::{Call, CallId, Graph};
use super::{Facts, IndirectCalls};
use crate::error::{Error, Result};
use crate::summary::{CallsiteInfo, MemProfRecords, ModuleSummaryIndex, Summary, SummaryId};

/// The allocations and call sites of functions after the thin link. Functions that are not in here
/// have what their summaries say.
#[derive(Clone, Debug, Default)]
pub struct MemProf {
    functions: HashMap<SummaryId, MemProfRecords>,
    dump: String,
}

/// Room on the stack for a step along the graph, which has as many as a context has frames, or more.
const STACK_PER_NODE: usize = 1 << 10;
/// Room on the stack besides.
const STACK: usize = 4 << 20;

impl MemProf {
    /// Copies that do not prevail have no records any more: code of theirs is not in the program
    /// (`ModuleSummaryIndexBitcodeReader` with `IsPrevailing`).
    pub fn of_prevailing_copies(index: &ModuleSummaryIndex, facts: &Facts) -> Self {
        let known = index.memprof_summaries().filter(|_| facts.knows_modules());
        let others = known.filter(|function| !counts(facts, *function));
        let functions = others.map(|function| (function.id(), MemProfRecords::default()));
        MemProf { functions: functions.collect(), dump: String::new() }
    }

    /// Decides what is cloned. `dumps`: the graph is kept as text, after each step.
    ///
    /// # Errors
    /// Where there is no thread to be had.
    pub fn clone_functions(
        &mut self,
        index: &ModuleSummaryIndex,
        facts: &Facts,
        indirect: &IndirectCalls,
        dumps: bool,
    ) -> Result<()> {
        let mut functions: Vec<Summary<'_>> =
            index.memprof_summaries().filter(|function| counts(facts, *function)).collect();
        functions.sort_by_key(|function| (function.value().0, function.id().0));
        if functions.iter().all(|function| function.allocs().is_empty()) {
            return Ok(());
        }
        let frames = functions.iter().flat_map(|f| f.allocs()).flat_map(|a| &a.mibs);
        let frames: usize = frames.map(|mib| mib.stack_ids.len() + 1).sum();
        let mut text = String::new();
        let mut show = |title: &str, graph: &Graph<'_>| {
            if dumps {
                // Writing to a string does not fail.
                let _ = write!(text, "CCG {title}:\n{graph}");
            }
        };
        let work = || {
            let mut graph = Graph::build(index, facts, indirect, functions.into_iter());
            show("before updating call stack chains", &graph);
            graph.match_call_sites();
            graph.drop_calls_of_others();
            show("before cloning", &graph);
            graph.identify_clones();
            show("after cloning", &graph);
            graph.assign_functions();
            show("after assigning function clones", &graph);
            changed(&graph)
        };
        // Walks along the graph are recursive; how long they get is the profile's word.
        let changed = std::thread::scope(|scope| {
            let thread =
                std::thread::Builder::new().stack_size(STACK + 4 * frames * STACK_PER_NODE);
            let thread = thread.spawn_scoped(scope, work);
            let thread = thread.map_err(|e| Error::io("starting a thread", &e))?;
            thread
                .join()
                .map_err(|_| Error::misuse("the contexts of allocations contradict each other"))
        })?;
        self.functions.extend(changed);
        self.dump = text;
        Ok(())
    }

    /// What is so before anything is cloned.
    pub fn before_cloning(&self) -> HashMap<SummaryId, MemProfRecords> {
        let nothing = |records: &MemProfRecords| *records == MemProfRecords::default();
        let dropped = self.functions.iter().filter(|(_, records)| nothing(records));
        dropped.map(|(&function, _)| (function, MemProfRecords::default())).collect()
    }

    /// The graph as text, where that was asked for.
    pub fn dump(&self) -> &str {
        &self.dump
    }

    /// What is not as the summaries have it, by function.
    pub fn functions(&self) -> &HashMap<SummaryId, MemProfRecords> {
        &self.functions
    }
}

/// Whether a copy's records count. Linkers know nothing of local ones.
fn counts(facts: &Facts, function: Summary<'_>) -> bool {
    function.flags().linkage().is_local()
        || facts.is_prevailing(function.value(), function.id(), function.module())
}

/// What became of the records of each function.
fn changed(graph: &Graph<'_>) -> HashMap<SummaryId, MemProfRecords> {
    let mut changed: HashMap<SummaryId, MemProfRecords> = HashMap::new();
    let site = |call: CallId| match graph.calls.get(call) {
        Some(Call::Site { clones, .. }) => clones.as_slice(),
        _ => &[],
    };
    for (&id, (allocs, sites)) in &graph.own_calls {
        let Some(function) = graph.index.summary(id) else { continue };
        let mut records = MemProfRecords {
            callsites: function.callsites().to_vec(),
            allocs: function.allocs().to_vec(),
        };
        for (record, &call) in records.callsites.iter_mut().zip(sites) {
            record.clones = site(call).into();
        }
        for (record, call) in records.allocs.iter_mut().zip(allocs) {
            if let Some(Call::Alloc { versions, .. }) = call.and_then(|call| graph.calls.get(call))
            {
                record.versions = versions.as_slice().into();
            }
        }
        changed.insert(id, records);
    }
    for (&id, calls) in &graph.synthesized {
        let records = changed.entry(id).or_default();
        for (&callee, &call) in calls {
            records.callsites.push(CallsiteInfo {
                callee: Some(callee),
                clones: site(call).into(),
                stack_ids: Box::default(),
            });
        }
    }
    changed
}
