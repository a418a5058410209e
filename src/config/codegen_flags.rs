//! The options by which LLVM's programs steer code generation (`llvm/CodeGen/CommandFlags.h`).
//!
//! In: one word of a command line. Out: a knob of [`Config`] set. libLLVM does not know these words
//! itself: each of LLVM's programs registers them, and so do we. Those without a knob are of two
//! kinds:
//!
//! - those that LLVM's LTO reads nowhere (they become function attributes in llc alone) are taken
//!   and have no effect, as there;
//! - the rest would set a field of `TargetOptions` that is out of the C API's reach: asked for
//!   with the value that is the default anyway they are taken, with any other they are an error.

use super::{BitcodeEmbedding, CodeModel, Config, DebuggerTuning, RelocModel};
use crate::error::{Error, Result};

/// Options that LLVM's LTO registers and reads nowhere.
const WITHOUT_EFFECT: [&str; 9] = [
    "march",
    "filetype",
    "frame-pointer",
    "disable-tail-calls",
    "stackrealign",
    "trap-func",
    "lto-aix-system-assembler",
    "denormal-fp-math-f32",
    "as-secure-log-file",
];

/// Options whose fields are out of reach, with the values that are the default anyway.
const OUT_OF_REACH: [(&str, &[&str]); 60] = [
    ("thread-model", &["posix"]),
    ("large-data-threshold", &[]),
    ("exception-model", &["default"]),
    ("enable-unsafe-fp-math", FALSE),
    ("enable-no-infs-fp-math", FALSE),
    ("enable-no-nans-fp-math", FALSE),
    ("enable-no-signed-zeros-fp-math", FALSE),
    ("enable-approx-func-fp-math", FALSE),
    ("enable-no-trapping-fp-math", TRUE),
    ("enable-sign-dependent-rounding-fp-math", FALSE),
    ("denormal-fp-math", &["ieee"]),
    ("float-abi", &["default"]),
    ("fp-contract", &["on"]),
    ("swift-async-fp", &["always"]),
    ("nozero-initialized-in-bss", FALSE),
    ("vec-extabi", FALSE),
    ("tailcallopt", FALSE),
    ("stack-symbol-ordering", TRUE),
    ("ignore-xcoff-visibility", FALSE),
    ("xcoff-traceback-table", TRUE),
    ("basic-block-address-map", FALSE),
    ("basic-block-sections", &["none"]),
    ("tls-size", &["0"]),
    ("emulated-tls", FALSE),
    ("enable-tlsdesc", FALSE),
    ("unique-section-names", TRUE),
    ("unique-basic-block-section-names", FALSE),
    ("separate-named-sections", FALSE),
    ("meabi", &["default"]),
    ("stack-size-section", FALSE),
    ("emit-call-site-info", FALSE),
    ("call-graph-section", FALSE),
    ("partition-static-data-sections", FALSE),
    ("debug-entry-values", FALSE),
    ("split-machine-functions", FALSE),
    ("force-dwarf-frame-section", FALSE),
    ("xray-function-index", TRUE),
    ("strict-dwarf", FALSE),
    ("align-loops", &["0"]),
    ("enable-jmc-instrument", FALSE),
    ("mxcoff-roptr", FALSE),
    ("no-integrated-as", FALSE),
    ("target-abi", &[""]),
    ("vector-library", &["none"]),
    ("mc-relax-all", FALSE),
    ("incremental-linker-compatible", FALSE),
    ("fdpic", FALSE),
    ("dwarf-version", &["0"]),
    ("dwarf64", FALSE),
    ("emit-dwarf-unwind", &["default"]),
    ("emit-compact-unwind-non-canonical", FALSE),
    ("asm-show-inst", FALSE),
    ("fatal-warnings", FALSE),
    ("no-warn", FALSE),
    ("no-deprecated-warn", FALSE),
    ("save-temp-labels", FALSE),
    ("crel", FALSE),
    ("x86-sse2avx", FALSE),
    ("pass-remarks-output", &[]),
    ("lto-stats-file", &[]),
];

/// The words for truth.
pub const TRUE: &[&str] = &["", "true", "TRUE", "True", "1"];
/// The words for its opposite.
pub const FALSE: &[&str] = &["false", "FALSE", "False", "0"];

/// The features of a list as `SubtargetFeatures::AddFeature` takes them: without a sign, a feature is
/// one to have.
pub fn features(list: &str) -> impl Iterator<Item = String> {
    list.split(',').filter(|feature| !feature.is_empty()).map(|feature| {
        let signed = feature.starts_with(['+', '-']);
        format!("{}{}", if signed { "" } else { "+" }, feature.to_lowercase())
    })
}

/// Whether a flag is one of LLVM's that is nobody's concern: one that LLVM's LTO does not look at, or
/// one out of the C API's reach with the value that it has anyway. `string` is the whole of it, for
/// people.
///
/// # Errors
/// Unsupported, for one out of reach with another value.
pub fn has_no_effect(string: &str, name: &str, value: Option<&str>) -> Result<bool> {
    if WITHOUT_EFFECT.contains(&name) {
        return Ok(true);
    }
    match OUT_OF_REACH.iter().find(|(known, _)| *known == name) {
        Some((_, defaults)) if defaults.contains(&value.unwrap_or_default()) => Ok(true),
        Some(_) => Err(Error::unsupported(format!(
            "the option {string} is not served: LLVM's C API offers no way to set it"
        ))),
        None => Ok(false),
    }
}

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
                self.attributes.extend(features(required()?));
            }
            "function-sections" => self.function_sections = Some(boolean(name, value)?),
            "data-sections" => self.data_sections = Some(boolean(name, value)?),
            "relax-elf-relocations" | "x86-relax-relocations" => {
                self.relax_elf_relocations = boolean(name, value)?;
            }
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
            "use-ctors" => self.use_ctors = boolean(name, value)?,
            "addrsig" => self.addrsig = boolean(name, value)?,
            _ if has_no_effect(option, name, value)? => {}
            _ => self.llvm_options.push(option.to_owned()),
        }
        Ok(())
    }

    /// Whether [`Config::take_flag`] needs a value for a flag.
    pub fn flag_wants_value(name: &str) -> bool {
        const BOOLEAN: [&str; 2] = ["disable-tail-calls", "stackrealign"];
        let of_words = |(known, defaults): &(&str, &[&str])| {
            *known == name && *defaults != TRUE && *defaults != FALSE
        };
        matches!(name, "mcpu" | "mattr" | "relocation-model" | "code-model" | "debugger-tune")
            || name == BitcodeEmbedding::OPTION
            || (WITHOUT_EFFECT.contains(&name) && !BOOLEAN.contains(&name))
            || OUT_OF_REACH.iter().any(of_words)
    }
}

/// A boolean as `cl::parser<bool>` reads it.
fn boolean(name: &str, value: Option<&str>) -> Result<bool> {
    match value.unwrap_or("") {
        value if TRUE.contains(&value) => Ok(true),
        value if FALSE.contains(&value) => Ok(false),
        other => Err(Error::misuse(format!(
            "for the -{name} option: '{other}' is invalid value for boolean argument! Try 0 or 1"
        ))),
    }
}

fn no_value(name: &str, value: &str) -> Error {
    Error::misuse(format!("for the -{name} option: Cannot find option named '{value}'!"))
}
