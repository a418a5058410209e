//! Option strings: those that steer what we do, and those for LLVM's own registry.
//!
//! In: strings as a linker's user wrote them ("-function-sections=1", "-mattr=+avx2"). Out: an
//! [`Options`], which changes a [`TargetConfig`] and holds what is left for LLVM. Loads nothing.
//!
//! LLVM's LTO front ends register the options of `CommandFlags.cpp` (and of
//! `MCTargetOptionsCommandFlags.cpp`) in themselves: they are not in libLLVM, so they must be known
//! here. Those that the engine can fulfil are parsed into fields; of the others
//! [`has_no_effect`] knows.

use super::{CodeModel, RelocModel, TargetConfig};
use crate::config::{
    BitcodeEmbedding, DebuggerTuning, FALSE, RemarkOptions, Remarks, TRUE, features, has_no_effect,
};
use crate::error::{Error, Result};
use std::path::PathBuf;

/// What the option strings say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `-function-sections`.
    pub function_sections: Option<bool>,
    /// `-data-sections`; where it is not given, each front end has its own default.
    pub data_sections: Option<bool>,
    /// `-use-ctors`.
    pub use_ctors: Option<bool>,
    /// `-addrsig`.
    pub addrsig: Option<bool>,
    /// `-x86-relax-relocations`, `-relax-elf-relocations` before LLVM 18.
    pub relax_elf_relocations: Option<bool>,
    /// `-mcpu`.
    pub mcpu: Option<String>,
    /// `-mattr`, every occurrence, each with its sign.
    pub mattrs: Vec<String>,
    /// `-relocation-model`.
    pub relocation_model: Option<RelocModel>,
    /// `-code-model`.
    pub code_model: Option<CodeModel>,
    /// `-O`, which libLTO takes among its debug options: 0 to 3.
    pub opt_level: Option<u8>,
    /// `-disable-llvm-verifier`, of libLTO.
    pub disable_verify: Option<bool>,
    /// `-debugger-tune`.
    pub debugger_tuning: Option<DebuggerTuning>,
    /// `-lto-freestanding`.
    pub freestanding: bool,
    /// `-lto-embed-bitcode`, which the legacy ThinLTO code generator does not look at.
    pub embed_bitcode: BitcodeEmbedding,
    /// `-lto-pass-remarks-output` and its companions.
    pub remarks: Option<Remarks>,
    /// What is left, for [`super::EngineConfig::cl_opts`].
    pub llvm: Vec<String>,
}

impl Options {
    /// Sorts option strings, each one option ("-name", "-name=value") or a name or value of its
    /// own ("-mattr", "+avx2"). What only LLVM can judge is left for it.
    pub fn parse<S: AsRef<str>>(strings: &[S]) -> Result<Options> {
        let mut options = Options::default();
        let (mut remarks_file, mut remarks) = (None, RemarkOptions::default());
        let mut strings = strings.iter().map(AsRef::as_ref);
        while let Some(string) = strings.next() {
            let Some(stripped) = string.strip_prefix("--").or_else(|| string.strip_prefix('-'))
            else {
                options.llvm.push(string.to_string());
                continue;
            };
            let (name, value) = match stripped.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (stripped, None),
            };
            if !remarks_option(&mut remarks_file, &mut remarks, name, value, &mut strings)? {
                options.take(string, name, value, &mut strings)?;
            }
        }
        options.remarks = Remarks::wanted(remarks_file, remarks);
        Ok(options)
    }

    fn take<'s>(
        &mut self,
        string: &str,
        name: &str,
        value: Option<&'s str>,
        rest: &mut impl Iterator<Item = &'s str>,
    ) -> Result<()> {
        let mut required =
            || value.or_else(|| rest.next()).ok_or_else(|| complaint(name, "requires a value!"));
        match name {
            "function-sections" => self.function_sections = Some(truth(name, value)?),
            "data-sections" => self.data_sections = Some(truth(name, value)?),
            "use-ctors" => self.use_ctors = Some(truth(name, value)?),
            "relax-elf-relocations" | "x86-relax-relocations" => {
                self.relax_elf_relocations = Some(truth(name, value)?);
            }
            "addrsig" => self.addrsig = Some(truth(name, value)?),
            "disable-llvm-verifier" => self.disable_verify = Some(truth(name, value)?),
            // The engine never keeps the names of local values.
            "lto-discard-value-names" => {
                truth(name, value)?;
            }
            "lto-freestanding" => self.freestanding = truth(name, value)?,
            "debugger-tune" => {
                let word = required()?;
                let debugger = DebuggerTuning::named(word);
                self.debugger_tuning = Some(debugger.ok_or_else(|| unknown_word(name, word))?);
            }
            BitcodeEmbedding::OPTION => {
                let word = required()?;
                let chosen = BitcodeEmbedding::named(word);
                self.embed_bitcode = chosen.ok_or_else(|| unknown_word(name, word))?;
            }
            "mcpu" => self.mcpu = Some(required()?.to_string()),
            "mattr" => {
                let attributes = required()?;
                self.mattrs.extend(features(attributes));
            }
            "relocation-model" => {
                let word = required()?;
                let model = RelocModel::named(word).ok_or_else(|| unknown_word(name, word))?;
                self.relocation_model = Some(model);
            }
            "code-model" => {
                let word = required()?;
                let model = CodeModel::named(word).ok_or_else(|| unknown_word(name, word))?;
                self.code_model = Some(model);
            }
            "O0" | "O1" | "O2" | "O3" => {
                self.opt_level = name.bytes().next_back().map(|digit| digit - b'0');
            }
            "O" => {
                self.opt_level = Some(match value {
                    Some("0") => 0,
                    Some("1") => 1,
                    Some("2") => 2,
                    Some("3") => 3,
                    _ => {
                        return Err(Error::misuse("Optimization level must be between 0 and 3"));
                    }
                });
            }
            _ if name.len() == 2 && name.starts_with('O') => {
                return Err(Error::misuse("Optimization level must be between 0 and 3"));
            }
            _ if has_no_effect(string, name, value)? => {}
            _ => self.llvm.push(string.to_string()),
        }
        Ok(())
    }

    /// Changes what code is generated for.
    pub fn apply(&self, config: &mut TargetConfig) {
        let set = |field: &mut bool, value: Option<bool>| *field = value.unwrap_or(*field);
        set(&mut config.function_sections, self.function_sections);
        set(&mut config.data_sections, self.data_sections);
        set(&mut config.use_init_array, self.use_ctors.map(|use_ctors| !use_ctors));
        set(&mut config.emit_addrsig, self.addrsig);
        set(&mut config.relax_elf_relocations, self.relax_elf_relocations);
        config.debugger_tuning = self.debugger_tuning.or(config.debugger_tuning);
        if let Some(cpu) = &self.mcpu {
            config.cpu.clone_from(cpu);
        }
        for attribute in &self.mattrs {
            if !config.features.is_empty() {
                config.features.push(',');
            }
            config.features.push_str(attribute);
        }
        config.reloc = self.relocation_model.or(config.reloc);
        config.code_model = self.code_model.or(config.code_model);
    }
}

/// Takes an option of `LTOCodeGenerator.cpp` that is about a file of remarks; false for another.
fn remarks_option<'s>(
    file: &mut Option<PathBuf>,
    remarks: &mut RemarkOptions,
    name: &str,
    value: Option<&'s str>,
    rest: &mut impl Iterator<Item = &'s str>,
) -> Result<bool> {
    let mut required =
        || value.or_else(|| rest.next()).ok_or_else(|| complaint(name, "requires a value!"));
    match name {
        "lto-pass-remarks-output" => {
            *file = Some(PathBuf::from(required()?));
        }
        "lto-pass-remarks-filter" => remarks.passes = required()?.to_owned(),
        "lto-pass-remarks-format" => remarks.format = required()?.to_owned(),
        "lto-pass-remarks-with-hotness" => remarks.with_hotness = truth(name, value)?,
        "lto-pass-remarks-hotness-threshold" => {
            remarks.hotness_threshold = RemarkOptions::threshold(required()?)?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// `cl::Option::error`'s form.
fn complaint(name: &str, what: &str) -> Error {
    Error::misuse(format!("for the --{name} option: {what}"))
}

fn unknown_word(name: &str, word: &str) -> Error {
    complaint(name, &format!("Cannot find option named '{word}'!"))
}

/// `cl::parser<bool>`.
fn truth(name: &str, value: Option<&str>) -> Result<bool> {
    match value.unwrap_or_default() {
        value if TRUE.contains(&value) => Ok(true),
        value if FALSE.contains(&value) => Ok(false),
        value => Err(complaint(
            name,
            &format!("'{value}' is invalid value for boolean argument! Try 0 or 1"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn parsed(strings: &[&str]) -> Options {
        Options::parse(strings).unwrap()
    }

    fn refused(string: &str) -> String {
        Options::parse(&[string]).unwrap_err().message().to_string()
    }

    #[test]
    fn what_clang_passes_to_the_plugin() {
        let options = parsed(&[
            "-function-sections=1",
            "-data-sections=1",
            "-debugger-tune=gdb",
            "-mattr=+avx2,-sse4a",
            "-mattr",
            "bmi",
            "-inline-threshold=10",
        ]);
        assert_eq!(options.llvm, ["-inline-threshold=10"]);
        let mut config = TargetConfig { features: "+x".into(), ..TargetConfig::default() };
        options.apply(&mut config);
        assert!(config.function_sections && config.data_sections && config.use_init_array);
        assert_eq!(config.features, "+x,+avx2,-sse4a,+bmi");
    }

    #[test]
    fn truth_values_words_and_levels() {
        assert_eq!(parsed(&["--use-ctors"]).use_ctors, Some(true));
        assert_eq!(parsed(&["-data-sections=0"]).data_sections, Some(false));
        assert_eq!(
            parsed(&["-relocation-model=static"]).relocation_model,
            Some(RelocModel::Static)
        );
        assert_eq!(parsed(&["-O3"]).opt_level, Some(3));
        assert_eq!(
            refused("-addrsig=x"),
            "for the --addrsig option: 'x' is invalid value for boolean argument! Try 0 or 1"
        );
        assert_eq!(refused("-mcpu"), "for the --mcpu option: requires a value!");
        assert!(refused("-code-model=huge").contains("'huge'"));
        assert!(refused("-O7").contains("between 0 and 3"));
    }

    #[test]
    fn out_of_reach_is_an_error_unless_it_is_the_default() {
        assert!(
            parsed(&["-tls-size=0", "-stack-symbol-ordering", "-frame-pointer=all"])
                .llvm
                .is_empty()
        );
        let error = Options::parse(&["-emulated-tls"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains("-emulated-tls"));
        assert!(Options::parse(&["-float-abi=hard"]).is_err());
    }
}
