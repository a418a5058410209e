//! What LLVM's options for looking at a thin link print.
//!
//! In: the files of a link with what the linker said. Out: `-print-summary-global-ids`, the GUIDs of
//! every module's values, `-print-import-failures`, the callees that modules do not import, and
//! `-wholeprogramdevirt-print-index-based`, what virtual calls call, and `-memprof-dump-ccg`, the graph of
//! contexts of allocations, to the standard error; `-dump-thin-cg-sccs`, the functions that call one
//! another, to the standard output.

use std::io::{self, Write};

use super::llvm_version::LlvmVersion;
use crate::distributed::{self, Source, ValueNames};
use crate::error::Result;
use crate::summary::{Hotness, ModuleSummaryIndex, guid_of, named_values};
use crate::symbols::InputFile;
use crate::thinlink::{CallGraph, LinkPlan, ThinLinkOptions, import_failures};

/// What to print.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shown {
    /// `-print-summary-global-ids`
    pub(super) global_ids: bool,
    /// `-print-import-failures`
    pub(super) failures: bool,
    /// `-dump-thin-cg-sccs`
    pub(super) components: bool,
}

impl Shown {
    /// Prints what was asked for. Who does not listen is told nothing.
    ///
    /// # Errors
    /// Where the link's files cannot be read or do not fit the resolutions.
    pub(super) fn show<S: Source>(
        &self,
        inputs: &[S],
        options: &ThinLinkOptions,
        llvm: LlvmVersion,
    ) -> Result<()> {
        if self.global_ids {
            for input in inputs {
                let named =
                    |e: crate::error::Error| e.in_file(String::from_utf8_lossy(input.path()));
                let text = global_ids(&input.bytes()?).map_err(named)?;
                let _ = io::stderr().write_all(&text);
            }
        }
        let devirtualized = options.wholeprogramdevirt_print_index_based;
        let graph = options.memprof_dump_ccg;
        if self.components || self.failures || devirtualized || graph {
            let wanted = distributed::read_options(options);
            let mut options = options.clone();
            let read = llvm.read(inputs, &mut options, &wanted)?;
            let plan = read.plan(&options)?;
            if self.components {
                let text = CallGraph::new(&read.index, &plan.indirect).components_text();
                let _ = io::stdout().write_all(text.as_bytes());
            }
            // Only now is it known whose link this is.
            if graph && options.clones_for_memprof() {
                let _ = io::stderr().write_all(plan.memprof.dump().as_bytes());
            }
            if devirtualized {
                let _ = io::stderr().write_all(&devirtualized_calls(&read.index, &plan));
            }
            if self.failures {
                let mut names = ValueNames::default();
                for input in inputs {
                    names.add(InputFile::open(&input.bytes()?)?.bitcode)?;
                }
                let _ = io::stderr().write_all(&failures(&read.index, &plan, &names));
            }
        }
        Ok(())
    }
}

/// A line for each function that some virtual call calls now.
fn devirtualized_calls(index: &ModuleSummaryIndex, plan: &LinkPlan) -> Vec<u8> {
    let mut text = Vec::new();
    for target in plan.devirtualization.targets() {
        let guid = index.guid(target).0.to_string();
        let parts: [&[u8]; 5] =
            [b"Devirtualized call to ", guid.as_bytes(), b" (", index.name(target), b")\n"];
        text.extend(parts.concat());
    }
    text
}

/// For each module a heading, and a line for each callee that it does not import.
fn failures(index: &ModuleSummaryIndex, plan: &LinkPlan, names: &ValueNames) -> Vec<u8> {
    let mut text = Vec::new();
    for &id in plan.order.modules() {
        text.extend_from_slice(b"Missed imports into module ");
        text.extend_from_slice(index.module(id).map_or(&[], |module| &module.path));
        text.push(b'\n');
        for failure in import_failures(index, plan, id) {
            let guid = index.guid(failure.callee);
            text.extend_from_slice(guid.0.to_string().as_bytes());
            if let Some(name) = names.get(guid) {
                text.extend_from_slice(&[b" (", name, b")"].concat());
            }
            let line = format!(
                ": Reason = {}, Threshold = {}, Size = {}, MaxHotness = {}, Attempts = {}\n",
                failure.reason.map_or("None", |reason| reason.name()),
                failure.threshold,
                failure.size.map_or(-1, i64::from),
                match failure.max_hotness {
                    Hotness::Unknown => "unknown",
                    Hotness::Cold => "cold",
                    Hotness::None => "none",
                    Hotness::Hot => "hot",
                    Hotness::Critical => "critical",
                },
                failure.attempts
            );
            text.extend_from_slice(line.as_bytes());
        }
    }
    text
}

/// A line for each value of each module with a summary: GUID, the GUID of its name alone where it
/// is local, and the name.
fn global_ids(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    for module in InputFile::open(bytes)?.modules() {
        for value in named_values(module)? {
            let original = if value.is_local { guid_of(value.name) } else { value.guid };
            text.extend_from_slice(format!("GUID {}({}) is ", value.guid.0, original.0).as_bytes());
            text.extend_from_slice(value.name);
            text.push(b'\n');
        }
    }
    Ok(text)
}
