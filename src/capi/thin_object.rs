//! What a `thinlto_code_gen_t` stands for: the inputs and wishes of a ThinLTO link.
//!
//! In: the calls of `thinlto_*`. Out: the settings for whoever performs the link. Generating code
//! from them is not available yet, and [`ThinCodeGenerator::process`] says so.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::types::lto_codegen_model;
use crate::error::{Error, Result};

/// A module as `thinlto_codegen_add_module` was given it.
#[derive(Clone, Debug)]
pub struct ThinInput {
    /// The caller's name for it, unique among the modules of a link.
    pub identifier: String,
    /// The bitcode, which the caller keeps for as long as the code generator lives.
    pub bitcode: &'static [u8],
}

/// How the cache is to be kept; `None` is the default.
#[derive(Clone, Debug, Default)]
pub struct CacheSettings {
    /// Where the cache is; none without one.
    pub directory: Option<PathBuf>,
    /// Seconds between two prunings; negative is never.
    pub pruning_interval: Option<i32>,
    /// Seconds after which an entry goes.
    pub entry_expiration: Option<u32>,
    /// Percentage of the available space.
    pub percentage_of_available_space: Option<u32>,
    /// Most bytes.
    pub size_bytes: Option<u64>,
    /// Most files.
    pub size_files: Option<u32>,
}

/// The state behind a `thinlto_code_gen_t`.
#[derive(Clone, Debug, Default)]
pub struct ThinCodeGenerator {
    /// Process-wide options at the time it was made.
    pub options: Vec<String>,
    /// The modules, in order.
    pub inputs: Vec<ThinInput>,
    /// Symbols that something outside uses.
    pub must_preserve: BTreeSet<Vec<u8>>,
    /// Symbols that another module uses.
    pub cross_referenced: BTreeSet<Vec<u8>>,
    /// The processor; empty is the target's default.
    pub cpu: String,
    /// The relocation model; none is the default.
    pub pic_model: Option<lto_codegen_model>,
    /// Stop before code generation and give out bitcode.
    pub disable_codegen: bool,
    /// Generate code and do nothing before.
    pub codegen_only: bool,
    /// Where the bitcode of each stage is saved.
    pub savetemps_dir: Option<PathBuf>,
    /// Where objects are written, instead of being given out in memory.
    pub generated_objects_dir: Option<PathBuf>,
    /// The cache.
    pub cache: CacheSettings,
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
    /// Errors: unsupported, always: this front end has no thin link yet.
    pub fn process(&self) -> Result<()> {
        Err(Error::unsupported(format!(
            "ThinLTO code generation is not available yet ({} modules were given)",
            self.inputs.len()
        )))
    }
}
