//! The passes that do type tests and virtual calls by the whole program's word, and that give it.
//!
//! In: resolutions of type identifiers as YAML. Out: the module changed by them. Or, in: summaries
//! as YAML. Out: the module changed, and the resolutions that were found, as YAML. Knows nothing of
//! where they come from.
//!
//! LLVM's C API can build these passes by their names alone, and then they read what they shall do
//! from files that options name, and write there. Options are the process's, so the files are in
//! memory and have names that stay; what a pass shall do changes. Nothing else builds the passes by
//! name, and other pipelines do not look at the options.

use super::TypePass;
use super::api::Api;
use super::clopt;
use super::memory::memfd;
use crate::error::{Error, Result};
use parking_lot::Mutex;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::AsRawFd;

/// The passes' names, in the order of `PassBuilder::buildThinLTODefaultPipeline`.
const PASSES: [&str; 2] = ["wholeprogramdevirt", "lowertypetests"];

/// The files of this process, which only one machine may use at a time.
static FILES: Mutex<Option<Files>> = Mutex::new(None);

struct Files {
    read: File,
    written: File,
}

impl Files {
    /// Writes what a pass shall read, and calls `f` with the paths of both files.
    fn with<T>(
        slot: &mut Option<Files>,
        bytes: &[u8],
        f: impl FnOnce(&str, &str) -> Result<T>,
    ) -> Result<T> {
        let files = match slot {
            Some(files) => files,
            empty => empty.insert(Files {
                read: memfd(c"lto-types-in", 0)?,
                written: memfd(c"lto-types-out", 0)?,
            }),
        };
        fill(&mut files.read, bytes).map_err(|e| Error::io("writing to shared memory", &e))?;
        let path = |file: &File| format!("/proc/self/fd/{}", file.as_raw_fd());
        f(&path(&files.read), &path(&files.written))
    }
}

/// Calls `run` with the pipeline that does what `types` says.
pub(super) fn during(api: &Api, types: &[u8], run: impl FnOnce(&str) -> Result<()>) -> Result<()> {
    Files::with(&mut FILES.lock(), types, |read, _| {
        for pass in PASSES {
            set_up(api, pass, "import", read, "")?;
        }
        run(&PASSES.join(","))
    })
}

/// Calls `run` with the pipeline of a pass that looks at `summaries`; gives what that found.
pub(super) fn export(
    api: &Api,
    pass: TypePass,
    summaries: &[u8],
    run: impl FnOnce(&str) -> Result<()>,
) -> Result<Vec<u8>> {
    let pass = match pass {
        TypePass::WholeProgramDevirt => PASSES[0],
        TypePass::LowerTypeTests => PASSES[1],
    };
    let mut slot = FILES.lock();
    Files::with(&mut slot, summaries, |read, written| {
        set_up(api, pass, "export", read, written)?;
        run(pass)
    })?;
    let mut found = Vec::new();
    if let Some(files) = &mut *slot {
        let read = files.written.rewind().and_then(|()| files.written.read_to_end(&mut found));
        read.map_err(|e| Error::io("reading shared memory", &e))?;
    }
    Ok(found)
}

fn set_up(api: &Api, pass: &str, action: &str, read: &str, written: &str) -> Result<()> {
    let options = [("summary-action", action), ("read-summary", read), ("write-summary", written)];
    for (option, value) in options {
        clopt::set(api, &format!("-{pass}-{option}"), value)?;
    }
    Ok(())
}

fn fill(file: &mut File, bytes: &[u8]) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(bytes)
}
