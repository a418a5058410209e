//! What a `thinlto_code_gen_t` stands for: the inputs and wishes of a ThinLTO link.
//!
//! In: the calls of `thinlto_*`. Out: what [`crate::legacy`] makes of them, kept for as long as
//! the code generator lives.

use std::ffi::CString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::progress::Callback;
use crate::cache::Policy;
use crate::engine::{Bytes, Severity};
use crate::error::{Error, Result};
use crate::legacy::{self, CacheSettings, Settings};

/// A module as `thinlto_codegen_add_module` was given it.
#[derive(Clone, Debug)]
pub struct ThinInput {
    /// The caller's name for it, unique among the modules of a link.
    pub identifier: String,
    /// The bitcode, which the caller keeps for as long as the code generator lives.
    pub bitcode: &'static [u8],
}

/// The state behind a `thinlto_code_gen_t`.
#[derive(Debug, Default)]
pub struct ThinCodeGenerator {
    /// The modules, in order.
    pub inputs: Vec<ThinInput>,
    /// What the caller wishes, but for the cache.
    pub settings: Settings,
    /// Where the cache is; none without one.
    pub cache_directory: Option<PathBuf>,
    /// When its entries go.
    pub policy: Policy,
    /// Who wants to know how far it is.
    pub(super) progress: Callback,
    processed: bool,
    /// What was made and stays in memory.
    objects: Vec<Bytes>,
    /// The paths of what was made and is in files.
    files: Vec<CString>,
}

impl ThinCodeGenerator {
    /// Adds a module.
    ///
    /// Errors: misuse, where another module has the same identifier.
    pub fn add(&mut self, input: ThinInput) -> Result<()> {
        if self.inputs.iter().any(|known| known.identifier == input.identifier) {
            return Err(Error::misuse(format!(
                "a module with the identifier \"{}\" has been added already",
                input.identifier
            )));
        }
        self.inputs.push(input);
        Ok(())
    }

    /// Generates code for all modules.
    ///
    /// Errors: of the link; misuse, where it has been done already.
    pub fn process(&mut self) -> Result<()> {
        if self.processed {
            return Err(Error::misuse("the modules have been processed already"));
        }
        let policy = self.policy;
        let cache =
            self.cache_directory.clone().map(|directory| CacheSettings { directory, policy });
        let settings = Settings { cache, ..self.settings.clone() };
        let inputs: Vec<legacy::Input<'_>> = self
            .inputs
            .iter()
            .map(|input| legacy::Input {
                identifier: input.identifier.clone(),
                bytes: input.bitcode,
            })
            .collect();
        let outcome =
            self.progress.watching(|progress| legacy::run(&settings, &inputs, progress))?;
        let name = |path: PathBuf| {
            CString::new(path.into_os_string().into_vec())
                .map_err(|_| Error::misuse("the folder for objects has a NUL in its name"))
        };
        self.files = outcome.files.into_iter().map(name).collect::<Result<_>>()?;
        self.objects = outcome.objects;
        self.processed = true;
        // There is no handler for them in this interface; LLVM prints them too.
        for said in outcome.diagnostics {
            let severity = match said.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
                Severity::Remark => "remark",
                Severity::Note => "note",
            };
            eprintln!("{severity}: {}", said.text);
        }
        for warning in outcome.warnings {
            eprintln!("warning: {warning}");
        }
        Ok(())
    }

    /// The objects in memory.
    pub fn objects(&self) -> &[Bytes] {
        &self.objects
    }

    /// The paths of objects in files.
    pub fn files(&self) -> &[CString] {
        &self.files
    }
}
