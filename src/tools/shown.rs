//! What LLVM's options for looking at a thin link print.
//!
//! In: the files of a link with what the linker said. Out: `-print-summary-global-ids`, the GUIDs of
//! every module's values, to the standard error; `-dump-thin-cg-sccs`, the functions that call one
//! another, to the standard output.

use std::io::{self, Write};

use crate::bitcode::{Extent, GlobalKind, Module};
use crate::distributed::{self, Source};
use crate::error::Result;
use crate::summary::{guid_of, guids_of_module};
use crate::symbols::InputFile;
use crate::thinlink::{CallGraph, ThinLinkOptions};

/// What to print.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shown {
    /// `-print-summary-global-ids`
    pub(super) global_ids: bool,
    /// `-dump-thin-cg-sccs`
    pub(super) components: bool,
}

impl Shown {
    /// Prints what was asked for. Who does not listen is told nothing.
    ///
    /// # Errors
    /// Where the link's files cannot be read or do not fit the resolutions.
    pub(super) fn show<S: Source>(&self, inputs: &[S], options: &ThinLinkOptions) -> Result<()> {
        if self.global_ids {
            for input in inputs {
                let named =
                    |e: crate::error::Error| e.in_file(String::from_utf8_lossy(input.path()));
                let text = global_ids(&input.bytes()?).map_err(named)?;
                let _ = io::stderr().write_all(&text);
            }
        }
        if self.components {
            let wanted = distributed::read_options(options);
            let read = distributed::read_with(inputs, &options.behaviour, &wanted)?;
            let plan = read.plan(options)?;
            let text = CallGraph::new(&read.index, &plan.indirect).components_text();
            let _ = io::stdout().write_all(text.as_bytes());
        }
        Ok(())
    }
}

/// A line for each value of each module with a summary: GUID, the GUID of its name alone where it
/// is local, and the name.
fn global_ids(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    for location in InputFile::open(bytes)?.modules() {
        let module = Module::read(location, Extent::All)?;
        if module.summary_block()?.is_none() {
            continue;
        }
        for (global, guid) in module.globals.iter().zip(guids_of_module(&module)) {
            if global.kind == GlobalKind::IFunc {
                continue;
            }
            let original = if global.linkage.is_local() { guid_of(&global.name) } else { guid };
            text.extend_from_slice(format!("GUID {}({}) is ", guid.0, original.0).as_bytes());
            text.extend_from_slice(&global.name);
            text.push(b'\n');
        }
    }
    Ok(text)
}
