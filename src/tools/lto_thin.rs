//! `llvm-lto -thinlto-action=run` and `codegen`: ThinLTO to objects.
//!
//! In: files and the options of the command line. Out: an object beside each file, or in a folder.
//! Source of words and behaviour: `ThinLTOProcessing` of llvm-lto.cpp.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::command_line::{Parser, Word, boolean};
use super::lto::{Job, path, suffixed, write_output};
use super::lto_stages::severity;
use crate::cache::Policy;
use crate::config::Config;
use crate::container::FileBytes;
use crate::distributed;
use crate::engine::options::Options;
use crate::error::{Error, Result};
use crate::legacy::{self, CacheSettings, Settings};
use crate::schedule::Terminal;
use crate::session;
use crate::thinlink::ThinLinkOptions;

/// What the command line says of code generation.
#[derive(Default)]
pub(super) struct CodeOptions {
    settings: Settings,
    cache_directory: Option<PathBuf>,
    policy: Policy,
    /// `-thinlto-module-id`.
    pub(super) module_id: Option<Vec<u8>>,
    /// `-O`: regular LTO's. LLVM does not tell its ThinLTO code generator, which stays at -O3.
    pub(super) opt_level: Option<u8>,
}

impl CodeOptions {
    /// Takes an option; what is not llvm-lto's own is the thin link's or LLVM's.
    pub(super) fn take<'a>(
        &mut self,
        name: &[u8],
        value: Option<Word<'a>>,
        parser: &mut Parser<'a>,
    ) -> Result<()> {
        let mut file = |value| parser.value(name, value).map(|value| path(&value).to_path_buf());
        match name {
            b"thinlto-cache-dir" => self.cache_directory = Some(file(value)?),
            b"thinlto-save-temps" => self.settings.save_temps = Some(file(value)?),
            b"thinlto-save-objects" => self.settings.objects_directory = Some(file(value)?),
            b"thinlto-module-id" => {
                self.module_id = Some(parser.value(name, value)?.into_owned());
            }
            b"thinlto-cache-pruning-interval" => {
                let seconds: i32 = number(name, value, parser)?;
                self.policy = self.policy.with_interval(seconds);
            }
            b"thinlto-cache-max-size-bytes" => {
                self.policy = self.policy.with_size_bytes(number(name, value, parser)?);
            }
            b"thinlto-cache-max-size-files" => {
                let files: i32 = number(name, value, parser)?;
                // LLVM hands an int to an unsigned parameter.
                self.policy = self.policy.with_size_files(files as u32);
            }
            b"thinlto-cache-entry-expiration" => {
                self.policy = self.policy.with_expiration(number(name, value, parser)?);
            }
            [b'O', level @ ..] => {
                let level = match level {
                    b"" => parser.value(name, value)?,
                    level => Word::Owned(level.to_vec()),
                };
                let [level @ b'0'..=b'3'] = *level else {
                    return Err(Error::misuse("optimization level must be between 0 and 3"));
                };
                self.opt_level = Some(level - b'0');
            }
            b"debug-pass-manager" => self.settings.debug_pass_manager = boolean(name, value)?,
            // How LLVM up to 20 keeps debug information meanwhile.
            b"try-experimental-debuginfo-iterators" => {
                boolean(name, value)?;
            }
            _ => {
                let text = String::from_utf8_lossy(name).into_owned();
                let value = match value {
                    None if wants_value(&text) => Some(parser.value(name, None)?),
                    value => value,
                };
                self.settings.options.push(match value {
                    Some(value) => format!("-{text}={}", String::from_utf8_lossy(&value)),
                    None => format!("-{text}"),
                });
            }
        }
        Ok(())
    }

    /// The settings of the link, or of a stage of it.
    pub(super) fn settings(&self, exported: &BTreeSet<Vec<u8>>) -> Result<Settings> {
        Ok(Settings {
            preserved: exported.clone(),
            reloc: Options::parse(&self.settings.options)?.relocation_model,
            ..self.settings.clone()
        })
    }

    /// Options in LLVM's words, but for those of the driver.
    pub(super) fn llvm_options(&self) -> &[String] {
        &self.settings.options
    }

    /// Whether to print each pass as it runs.
    pub(super) fn debug_pass_manager(&self) -> bool {
        self.settings.debug_pass_manager
    }

    /// What is left over as options of a thin link.
    ///
    /// # Errors
    /// Misuse, for an option that nobody knows.
    pub(super) fn thin_link(&self, options: &mut ThinLinkOptions) -> Result<()> {
        let mut config = Config::default();
        for option in &self.settings.options {
            if !distributed::take_option(options, option.trim_start_matches('-'))? {
                config.take_flag(option)?;
            }
        }
        session::index_only::check_options(&config)
    }
}

fn wants_value(name: &str) -> bool {
    distributed::wants_value(name)
        || ["mcpu", "mattr", "relocation-model", "code-model", "mtriple", "march"].contains(&name)
        || ["output", "filter", "format", "hotness-threshold"]
            .iter()
            .any(|what| name.strip_prefix("lto-pass-remarks-") == Some(what))
}

fn number<'a, N: std::str::FromStr>(
    name: &[u8],
    value: Option<Word<'a>>,
    parser: &mut Parser<'a>,
) -> Result<N> {
    let value = parser.value(name, value)?;
    let text = String::from_utf8_lossy(&value);
    let wrong = |_| {
        let name = String::from_utf8_lossy(name);
        Error::misuse(format!("for the --{name} option: '{text}' value invalid for uint argument!"))
    };
    text.parse().map_err(wrong)
}

/// Links all files, or generates code for each.
pub(super) fn run(job: &Job<'_>, codegen_only: bool) -> Result<()> {
    let (options, output) = (&job.code, job.output.as_ref());
    if output.is_some() && !codegen_only {
        return Err(Error::misuse(
            "Do not provide an output filename for ThinLTO  processing, the output files will be \
             suffixed from the input ones.",
        ));
    }
    job.check_output()?;
    let settings = Settings {
        codegen_only,
        cache: options
            .cache_directory
            .clone()
            .map(|directory| CacheSettings { directory, policy: options.policy }),
        ..options.settings(&job.exported)?
    };
    let bytes: Vec<FileBytes> =
        job.files.iter().map(|file| FileBytes::open(path(file))).collect::<Result<_>>()?;
    let inputs: Vec<legacy::Input<'_>> = job
        .files
        .iter()
        .zip(&bytes)
        .map(|(file, bytes)| legacy::Input {
            identifier: String::from_utf8_lossy(file).into_owned(),
            bytes,
        })
        .collect();
    let outcome = legacy::run(&settings, &inputs, &Terminal::stderr())?;
    for said in &outcome.diagnostics {
        eprintln!("{}: {}: {}", severity(said.severity), said.module, said.text);
    }
    for warning in &outcome.warnings {
        eprintln!("warning: {warning}");
    }
    for (file, object) in job.files.iter().zip(&outcome.objects) {
        write_output(&suffixed(output, file, ".thinlto.o"), object)?;
    }
    Ok(())
}
