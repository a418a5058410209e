//! The options by which LLVM's programs steer code generation (`llvm/CodeGen/CommandFlags.h`).
//!
//! In: one word of a command line. Out: a knob of [`Config`] set. libLLVM does not know these words
//! itself: each of LLVM's programs registers them, and so do we.

use super::{BitcodeEmbedding, CodeModel, Config, DebuggerTuning, RelocModel};
use crate::error::{Error, Result};

/// What changes code and has no way through the C API yet.
const UNSERVED: &[&str] = &[
    "emulated-tls",
    "use-ctors",
    "basic-block-sections",
    "split-machine-functions",
    "vector-library",
    "stack-size-section",
    "emit-call-site-info",
    "unique-section-names",
    "tls-size",
    "thread-model",
    "float-abi",
    "fp-contract",
    "exception-model",
    "binutils-version",
    "data-layout",
    "emit-addrsig",
    "addrsig",
];

impl Config {
    /// Takes a flag of code generation, with one dash or two; what is none goes to libLLVM.
    ///
    /// # Errors
    /// Misuse, where there is no dash or the value is not one; unsupported, for a flag of LLVM's
    /// that is not served yet.
    pub fn take_flag(&mut self, option: &str) -> Result<()> {
        let Some(flag) = option.strip_prefix('-') else {
            return Err(Error::misuse(format!("unknown option '{option}'")));
        };
        let flag = flag.strip_prefix('-').unwrap_or(flag);
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (flag, None),
        };
        let required =
            || value.ok_or_else(|| Error::misuse(format!("the option '-{name}' requires a value")));
        match name {
            "mcpu" => self.cpu = required()?.to_owned(),
            "mattr" => {
                let list = required()?.split(',').filter(|a| !a.is_empty());
                self.attributes.extend(list.map(str::to_owned));
            }
            "function-sections" => self.function_sections = Some(boolean(name, value)?),
            "data-sections" => self.data_sections = Some(boolean(name, value)?),
            "relax-elf-relocations" => self.relax_elf_relocations = boolean(name, value)?,
            "relocation-model" => {
                let word = required()?;
                let model = RelocModel::named(word).ok_or_else(|| no_value(name, word))?;
                self.reloc_model = Some(model);
            }
            "code-model" => {
                let word = required()?;
                let model = CodeModel::named(word).ok_or_else(|| no_value(name, word))?;
                self.code_model = Some(model);
            }
            BitcodeEmbedding::OPTION => {
                let word = required()?;
                self.embed_bitcode =
                    BitcodeEmbedding::named(word).ok_or_else(|| no_value(name, word))?;
            }
            "debugger-tune" => {
                let word = required()?;
                let debugger = DebuggerTuning::named(word).ok_or_else(|| no_value(name, word))?;
                self.debugger_tuning = Some(debugger);
            }
            _ if UNSERVED.contains(&name) => {
                return Err(Error::unsupported(format!(
                    "the option '{option}' is not supported yet"
                )));
            }
            _ => self.llvm_options.push(option.to_owned()),
        }
        Ok(())
    }

    /// Whether [`Config::take_flag`] needs a value for a flag.
    pub fn flag_wants_value(name: &str) -> bool {
        matches!(name, "mcpu" | "mattr" | "relocation-model" | "code-model")
    }
}

/// A boolean as `cl::parser<bool>` reads it.
fn boolean(name: &str, value: Option<&str>) -> Result<bool> {
    match value.unwrap_or("") {
        "" | "true" | "TRUE" | "True" | "1" => Ok(true),
        "false" | "FALSE" | "False" | "0" => Ok(false),
        other => Err(Error::misuse(format!(
            "for the -{name} option: '{other}' is invalid value for boolean argument! Try 0 or 1"
        ))),
    }
}

fn no_value(name: &str, value: &str) -> Error {
    Error::misuse(format!("for the -{name} option: Cannot find option named '{value}'!"))
}
