//! `llvm-lto` without an action: regular LTO of all files to one object.
//!
//! In: files and the options of the command line. Out: the object, and the merged module before and
//! after optimization where that was asked for. Source of words and behaviour: `main` of
//! llvm-lto.cpp.

use std::collections::HashSet;

use super::command_line::{Parser, Word, boolean};
use super::lto::{Job, PROGRAM, path, write_output};
use super::lto_stages::severity;
use crate::container::FileBytes;
use crate::distributed::write_temporary;
use crate::engine::FileType;
use crate::engine::options::Options;
use crate::error::{Error, ErrorKind, Result};
use crate::regular::{Input, InputBytes, RegularLto};
use crate::symbols::{LtoModule, attribute, lto_bitcode};
use crate::thinlink::ThinLinkOptions;

/// What the command line says of regular LTO alone.
#[derive(Default)]
pub(super) struct RegularOptions {
    /// Symbols to preserve where a shared library cannot do without them.
    dso: HashSet<Vec<u8>>,
    set_merged_module: bool,
    save_linked: bool,
    save_merged: bool,
    save_before_opt: bool,
    restore_linkage: bool,
    disable_verify: bool,
    assembly: bool,
    parallelism: u32,
}

impl RegularOptions {
    /// Takes an option; gives back the value of one that is another's.
    pub(super) fn take<'a>(
        &mut self,
        name: &[u8],
        value: Option<Word<'a>>,
        parser: &mut Parser<'a>,
    ) -> Result<Option<Option<Word<'a>>>> {
        match name {
            b"dso-symbol" => {
                self.dso.insert(parser.value(name, value)?.into_owned());
            }
            b"set-merged-module" => self.set_merged_module = boolean(name, value)?,
            b"save-linked-module" => self.save_linked = boolean(name, value)?,
            b"save-merged-module" => self.save_merged = boolean(name, value)?,
            b"lto-save-before-opt" => self.save_before_opt = boolean(name, value)?,
            b"disable-verify" => self.disable_verify = boolean(name, value)?,
            b"restore-linkage" => self.restore_linkage = boolean(name, value)?,
            // All messages are printed in one way here.
            b"use-diagnostic-handler" => drop(boolean(name, value)?),
            b"filetype" => {
                self.assembly = match &*parser.value(name, value)? {
                    b"asm" => true,
                    b"obj" => false,
                    other => {
                        return Err(Error::misuse(format!(
                            "for the --filetype option: '{}' is not served",
                            String::from_utf8_lossy(other)
                        )));
                    }
                };
            }
            [b'j', digits @ ..] if digits.iter().all(u8::is_ascii_digit) => {
                let text = match (digits, value) {
                    ([], value) => parser.value(name, value)?.into_owned(),
                    (digits, _) => digits.to_vec(),
                };
                let number = std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok());
                self.parallelism = number.ok_or_else(|| Error::misuse("-j: not a number"))?;
            }
            _ => return Ok(Some(value)),
        }
        Ok(None)
    }
}

/// Links.
pub(super) fn run(job: &Job<'_>) -> Result<()> {
    let regular = &job.regular;
    if regular.save_merged && job.output.is_none() {
        return Err(Error::misuse(": -save-merged-module must be specified with -o"));
    }
    let steering = |option: &&String| !option.trim_start_matches('-').starts_with(INTERNALIZE);
    let level = job.code.opt_level.map(|level| format!("-O{level}"));
    let options = job.code.llvm_options().iter().filter(steering).cloned();
    let mut lto = RegularLto::new(options.chain(level).collect());
    // Nothing but the option says it; libLTO's callers do.
    lto.settings.reloc = Options::parse(job.code.llvm_options())?.relocation_model;
    lto.settings.debug_pass_manager = job.code.debug_pass_manager();
    lto.settings.should_internalize = internalizes(job.code.llvm_options())?;
    lto.settings.verify = !regular.disable_verify;
    lto.settings.restore_linkage = regular.restore_linkage;
    if regular.assembly {
        lto.settings.file_type = FileType::Assembly;
    }
    lto.settings.must_preserve.clone_from(&job.exported);
    for (number, file) in job.files.iter().enumerate() {
        let input = open(file, regular, &mut lto).map_err(|error| told(job, error))?;
        match number == 0 && regular.set_merged_module {
            true => lto.set(input),
            false => lto.add(input),
        }
    }
    let result = steps(job, &mut lto);
    for said in lto.take_diagnostics() {
        eprintln!("{PROGRAM}: {}: {}", severity(said.severity), said.text);
    }
    result.map_err(|error| told(job, error))
}

/// An error of one of the files, in the words of LLVM's program: it loads a file, then adds it to
/// the others.
fn told(job: &Job<'_>, error: Error) -> Error {
    let Some(file) = error.file().map(str::to_owned) else { return error };
    if !job.files.iter().any(|given| **given == *file.as_bytes()) {
        return error;
    }
    let step = if error.kind() == ErrorKind::Engine { "adding" } else { "loading" };
    error.without_place().context(format_args!("error {step} file '{file}'"))
}

/// The option that keeps everything as it is; it is LLVM's LTO's own, like those of thin links.
const INTERNALIZE: &str = "enable-lto-internalization";

fn internalizes(options: &[String]) -> Result<bool> {
    let mut steers = ThinLinkOptions::default();
    let name = |option: &String| option.trim_start_matches('-').to_owned();
    for option in options.iter().map(name).filter(|option| option.starts_with(INTERNALIZE)) {
        steers.take(&option)?;
    }
    Ok(steers.enable_lto_internalization)
}

fn steps(job: &Job<'_>, lto: &mut RegularLto) -> Result<()> {
    let Some(output) = &job.output else {
        lto.optimize()?;
        let object = lto.compile_optimized()?;
        let path = write_temporary("lto-llvm", ".o", &object)?;
        println!("Wrote native object file '{}'", path.display());
        return Ok(());
    };
    let save = |lto: &mut RegularLto, suffix: &[u8]| {
        write_output(&[&**output, suffix].concat(), &lto.merged_bitcode()?)
    };
    if job.regular.save_linked {
        save(lto, b".linked.bc")?;
    }
    if job.regular.save_before_opt {
        let module = lto.bitcode_before_optimization()?;
        write_output(&[&**output, b".0.preopt.bc"].concat(), &module)?;
    }
    lto.optimize()?;
    if job.regular.save_merged {
        save(lto, b".merged.bc")?;
    }
    if job.regular.parallelism <= 1 {
        return write_output(output, &lto.compile_optimized()?);
    }
    for (number, object) in lto.compile_parts(job.regular.parallelism)?.iter().enumerate() {
        write_output(&[&**output, format!(".{number}").as_bytes()].concat(), object)?;
    }
    Ok(())
}

fn open(file: &[u8], options: &RegularOptions, lto: &mut RegularLto) -> Result<Input> {
    let name = String::from_utf8_lossy(file).into_owned();
    let blame = |error: Error| error.in_file(&name);
    let bytes = FileBytes::open(path(file)).map_err(blame)?;
    let bitcode = lto_bitcode(&bytes).map_err(blame)?;
    let module = LtoModule::read(bitcode).map_err(blame)?;
    let start = bitcode.as_ptr().addr() - bytes.as_ptr().addr();
    let range = start..start + bitcode.len();
    for (symbol, attributes) in module.symbols() {
        let can_be_hidden =
            attributes & attribute::SCOPE_MASK == attribute::SCOPE_DEFAULT_CAN_BE_HIDDEN;
        if options.dso.contains(symbol.to_bytes()) && !can_be_hidden {
            lto.settings.must_preserve.insert(symbol.to_bytes().to_vec());
        }
    }
    let asm_undefined = module.asm_undefined().map(|name| name.to_bytes().to_vec()).collect();
    let bitcode = InputBytes::File(bytes, range);
    Ok(Input { identifier: name, bitcode, triple: None, asm_undefined })
}
