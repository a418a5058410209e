//! `llvm-lto2`: resolution-based LTO from the command line.
//!
//! `run` reads bitcode files and a resolution for each of their symbols and links them, to objects
//! or, with `-thinlto-distributed-indexes`, to an index file for each; `dump-symtab` prints a
//! file's symbols. In: arguments. Out: an exit code. Source of words and formats: llvm-lto2.cpp.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::mem::ManuallyDrop;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::command_line::{Argument, Arguments, Parser, Word, boolean, line};
use super::llvm_version::LlvmVersion;
use super::memory;
use super::saved_link::{FileInput, SavedLink, resolution_text};
use super::shown::Shown;
use crate::config::{Config, OutputKind, RelocModel, RemarkOptions, Remarks, SavedStage};
use crate::container::{self, FileBytes};
use crate::distributed::{
    self, IndexFiles, PrefixReplace, Shards, Source, ThinInputs, Unindexed, write_atomically,
};
use crate::engine::Diagnostic;
use crate::error::{Error, Result};
use crate::ir::{SelectionKind, Visibility};
use crate::session;
use crate::summary::{Format, ModuleId};
use crate::symbols::InputFile;
use crate::symbols::irsymtab::{self, version_and_producer};
use crate::symbols::triple::{ObjectFormat, Triple};
use crate::thinlink::{ThinLinkOptions, VisibilityScheme};

const PROGRAM: &str = "llvm-lto2";

/// Runs the program.
pub fn main(arguments: impl Iterator<Item = OsString>) -> i32 {
    let mut arguments = arguments.skip(1);
    let done = match arguments.next().as_deref().map(OsStr::as_bytes) {
        Some(b"run") => {
            Arguments::new(arguments).and_then(|arguments| run(&ManuallyDrop::new(arguments)))
        }
        Some(b"dump-symtab") => dump_symtab(arguments),
        _ => {
            eprintln!("Available subcommands: dump-symtab run");
            return 1;
        }
    };
    match done {
        Ok(()) => 0,
        Err(error) => {
            // Nobody is left to tell where the standard error cannot be written.
            let _ = writeln!(std::io::stderr(), "{PROGRAM}: {error}");
            1
        }
    }
}

/// What `run` was asked to do.
struct Job<'a> {
    link: SavedLink<'a>,
    output: Option<Word<'a>>,
    distributed_indexes: bool,
    /// Write the same files, and link all the same.
    emit_indexes: bool,
    emit_imports: bool,
    linked_objects: Option<Word<'a>>,
    prefix: PrefixReplace,
    save_index: bool,
    save_resolutions: bool,
    save_temps: bool,
    stats_file: Option<Word<'a>>,
    shown: Shown,
    threads: usize,
    llvm: LlvmVersion,
    options: ThinLinkOptions,
    config: Config,
}

impl Job<'_> {
    /// A stage that is asked for by name.
    fn save(&mut self, stage: SavedStage) {
        self.save_temps = true;
        self.config.save_stages.get_or_insert_default().push(stage);
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let job = parse(arguments)?;
    if job.distributed_indexes {
        memory::prepare(job.threads);
    } else if job.threads != 0 {
        // Fails only where a pool exists already, which then serves as well.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(job.threads).build_global();
    }
    let mut options = job.options.clone();
    let inputs = job.link.inputs()?;
    job.shown.show(&inputs, &options, job.llvm)?;
    if !job.distributed_indexes && !job.emit_indexes {
        return link(&job, &inputs);
    }
    // The index and the plan are not taken apart at the end: the process is about to go.
    let wanted = distributed::read_options(&options);
    let mut read = ManuallyDrop::new(job.llvm.read(&inputs, &mut options, &wanted)?);
    if is_elf(&read.target_triple) {
        options.visibility_scheme = VisibilityScheme::Elf;
    }
    let split = read.lacks_type_resolutions();
    if split {
        let parts = on_session(&job, &inputs, |config, inputs| {
            session::split_parts(config, &options, inputs)
        })?;
        told(&parts.diagnostics);
        read.index.set_type_resolutions(parts.types);
        if job.distributed_indexes {
            write_objects(&job, &parts.objects)?;
        }
    }
    let plan = ManuallyDrop::new(read.plan(&options)?);
    read.forget_symbols();
    let shards = ManuallyDrop::new(Shards::new(&read.index, &plan));
    let format = options.behaviour.format();
    if !job.distributed_indexes {
        index_files(&job, &read, &shards, format)?;
        return link(&job, &inputs);
    }
    if let (true, Some(output)) = (job.save_index, &job.output) {
        let prefix = [output, &b"."[..]].concat();
        let prefix = Path::new(OsStr::from_bytes(&prefix));
        distributed::save_index(prefix, &read.index, &plan, inputs.iter().map(Source::bytes))?;
    }
    if let (true, Some(output)) = (job.save_temps && !split, &job.output) {
        let output = OsStr::from_bytes(output).to_string_lossy();
        let config = Config { save_temps: Some(format!("{output}.")), ..job.config.clone() };
        session::index_only::save_nothing_merged(&config, &read.target_triple)?;
    }
    if let (true, Some(output)) = (job.save_resolutions, &job.output) {
        let path = [output, &b".resolution.txt"[..]].concat();
        write_atomically(Path::new(OsStr::from_bytes(&path)), &resolution_text(&inputs)?)?;
    }
    index_files(&job, &read, &shards, format)?;
    if let Some(file) = &job.stats_file {
        let text = stats(&plan, read.index.guids().len());
        write_atomically(Path::new(OsStr::from_bytes(file)), text.as_bytes())?;
    }
    Ok(())
}

/// The files that a distributed build has for each module.
fn index_files(
    job: &Job<'_>,
    read: &ThinInputs,
    shards: &Shards<'_>,
    format: Format,
) -> Result<()> {
    let modules: Vec<(&[u8], Option<ModuleId>)> = job
        .link
        .files
        .iter()
        .enumerate()
        .map(|(number, path)| (&**path, read.thin_module(number)))
        .collect();
    let target = IndexFiles {
        prefix: job.prefix.clone(),
        imports: job.emit_imports,
        format,
        unindexed: Unindexed::Index,
    };
    target.write(shards, &modules)?;
    if let Some(file) = &job.linked_objects {
        let thin = modules.iter().filter(|(_, id)| id.is_some());
        let text = target.linked_objects(thin.map(|(path, _)| *path));
        write_atomically(Path::new(OsStr::from_bytes(file)), &text)?;
    }
    Ok(())
}

/// The link to objects: `OUT.0` for regular LTO, `OUT.1` and so on for each ThinLTO module.
fn link(job: &Job<'_>, inputs: &[FileInput<'_>]) -> Result<()> {
    let output = job.output.as_deref().unwrap_or_default();
    let output = OsStr::from_bytes(output).to_string_lossy().into_owned();
    if job.save_resolutions {
        let path = format!("{output}.resolution.txt");
        write_atomically(Path::new(&path), &resolution_text(inputs)?)?;
    }
    let outcome = on_session(job, inputs, session::run)?;
    told(&outcome.diagnostics);
    write_objects(job, &outcome.outputs)?;
    if let Some(file) = &job.stats_file {
        let text = outcome.stats.to_json(PROGRAM);
        write_atomically(Path::new(OsStr::from_bytes(file)), text.as_bytes())?;
    }
    Ok(())
}

/// Calls `f` with the link as a session takes it.
fn on_session<T>(
    job: &Job<'_>,
    inputs: &[FileInput<'_>],
    f: impl FnOnce(&Config, &[session::Input<'_>]) -> Result<T>,
) -> Result<T> {
    let output = job.output.as_deref().unwrap_or_default();
    let output = OsStr::from_bytes(output).to_string_lossy();
    let bytes =
        inputs.iter().map(|input| named(input, input.bytes())).collect::<Result<Vec<_>>>()?;
    let modules = inputs
        .iter()
        .zip(&bytes)
        .map(|(input, bytes)| {
            let file = named(input, InputFile::open(bytes))?;
            let name = String::from_utf8_lossy(input.path()).into_owned();
            Ok(session::Input {
                identifier: name.clone(),
                file: name,
                member: None,
                resolutions: input.resolve(&file.symbols().collect::<Vec<_>>())?,
                bitcode: file.bitcode,
                pages: Some(bytes),
                stamp: None,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let config = Config {
        jobs: (job.threads != 0).then_some(job.threads),
        save_temps: job.save_temps.then(|| format!("{output}.")),
        save_temps_beside_inputs: false,
        ..job.config.clone()
    };
    f(&config, &modules)
}

fn write_objects(job: &Job<'_>, objects: &[session::Output]) -> Result<()> {
    let output = job.output.as_deref().unwrap_or_default();
    for object in objects {
        let path = [output, format!(".{}", object.task).as_bytes()].concat();
        write_atomically(Path::new(OsStr::from_bytes(&path)), &object.bytes)?;
    }
    Ok(())
}

/// Passes on what LLVM says.
fn told(diagnostics: &[Diagnostic]) {
    for said in diagnostics {
        eprintln!("{PROGRAM}: {}: {}", said.module, said.text);
    }
}

fn named<T>(input: &FileInput<'_>, result: Result<T>) -> Result<T> {
    result.map_err(|e| e.in_file(String::from_utf8_lossy(input.path())))
}

/// The counts under LLVM's names for them.
fn stats(plan: &crate::thinlink::LinkPlan, values: usize) -> String {
    let live = plan.liveness.live_value_count();
    format!(
        "{{\n\t\"function-import.NumDeadSymbols\": {},\n\t\"function-import.NumLiveSymbols\": \
         {live},\n\t\"function-import.NumImportsThinLink\": {}\n}}\n",
        values.saturating_sub(live),
        plan.imports.count(),
    )
}

/// Whether objects for a triple are ELF files; LLVM asks `Triple::isOSBinFormatELF`.
fn is_elf(triple: &[u8]) -> bool {
    Triple::parse(triple).format == ObjectFormat::Elf
}

fn parse(arguments: &Arguments) -> Result<Job<'_>> {
    let mut job = Job {
        link: SavedLink::default(),
        output: None,
        distributed_indexes: false,
        emit_indexes: false,
        emit_imports: false,
        linked_objects: None,
        prefix: PrefixReplace::default(),
        save_index: false,
        save_resolutions: false,
        stats_file: None,
        shown: Shown::default(),
        save_temps: false,
        threads: 0,
        llvm: LlvmVersion::default(),
        options: ThinLinkOptions::default(),
        // `lto::Config` starts with it; the linker plugin asks its linker.
        config: Config { reloc_model: Some(RelocModel::Pic), ..Config::default() },
    };
    let (mut selected, mut all) = (false, false);
    let (mut remarks_file, mut remarks) = (None, RemarkOptions::default());
    let mut parser = Parser::new(arguments.words());
    while let Some(argument) = parser.next_argument() {
        let (name, value) = match argument {
            Argument::Positional(word) => {
                job.link.files.push(word);
                continue;
            }
            Argument::Option(name, value) => (name, value),
        };
        match &*name {
            b"r" => job.link.add_resolution(&name, value, &mut parser)?,
            b"o" => job.output = Some(parser.value(&name, value)?),
            b"thinlto-distributed-indexes" => job.distributed_indexes = boolean(&name, value)?,
            b"thinlto-emit-indexes" => job.emit_indexes = boolean(&name, value)?,
            b"unified-lto" => {
                job.config.unified_regular = match &*parser.value(&name, value)? {
                    b"full" => true,
                    b"thin" | b"default" => false,
                    _ => return Err(Error::misuse("invalid LTO mode")),
                };
            }
            b"pass-remarks-output" => {
                let value = parser.value(&name, value)?;
                remarks_file = Some(PathBuf::from(OsStr::from_bytes(&value)));
            }
            b"pass-remarks-filter" => {
                let value = parser.value(&name, value)?;
                remarks.passes = String::from_utf8_lossy(&value).into_owned();
            }
            b"pass-remarks-format" => {
                let value = parser.value(&name, value)?;
                remarks.format = String::from_utf8_lossy(&value).into_owned();
            }
            b"pass-remarks-with-hotness" => remarks.with_hotness = boolean(&name, value)?,
            b"pass-remarks-hotness-threshold" => {
                let value = parser.value(&name, value)?;
                remarks.hotness_threshold =
                    RemarkOptions::threshold(&String::from_utf8_lossy(&value))?;
            }
            b"opt-pipeline" => {
                let value = parser.value(&name, value)?;
                job.config.opt_pipeline = Some(String::from_utf8_lossy(&value).into_owned());
            }
            b"aa-pipeline" => {
                return Err(Error::unsupported(
                    "the option -aa-pipeline is not served: LLVM's C API has it in the newest \
                     versions alone",
                ));
            }
            b"thinlto-emit-imports" | b"thinlto-emit-imports-files" => {
                job.emit_imports = boolean(&name, value)?;
            }
            b"thinlto-index-only" => job.linked_objects = Some(parser.value(&name, value)?),
            b"thinlto-prefix-replace" => {
                job.prefix = PrefixReplace::parse(&parser.value(&name, value)?)?;
            }
            b"thinlto-threads" => {
                let value = parser.value(&name, value)?;
                job.threads = match &*value {
                    b"all" | b"" => 0,
                    digits => std::str::from_utf8(digits)
                        .ok()
                        .and_then(|s| s.parse().ok())
                        .ok_or_else(|| Error::misuse("--thinlto-threads: not a number"))?,
                };
            }
            b"select-save-temps" => {
                let stages = parser.value(&name, value)?;
                selected = true;
                for stage in stages.split(|&c| c == b',') {
                    match stage {
                        b"combinedindex" => {
                            job.save_index = true;
                            job.save(SavedStage::CombinedIndex);
                        }
                        b"resolution" => job.save_resolutions = true,
                        b"preopt" => job.save(SavedStage::PreOpt),
                        b"promote" => job.save(SavedStage::Promote),
                        b"internalize" => job.save(SavedStage::Internalize),
                        b"import" => job.save(SavedStage::Import),
                        b"opt" => job.save(SavedStage::Opt),
                        b"precodegen" => job.save(SavedStage::PreCodegen),
                        other => {
                            return Err(Error::misuse(format!(
                                "invalid -select-save-temps argument: {}",
                                String::from_utf8_lossy(other)
                            )));
                        }
                    }
                }
            }
            b"save-temps" => {
                job.save_index = boolean(&name, value)?;
                job.save_resolutions = job.save_index;
                job.save_temps = job.save_index;
                all = job.save_temps;
            }
            b"print-summary-global-ids" => job.shown.global_ids = boolean(&name, value)?,
            b"print-import-failures" => job.shown.failures = boolean(&name, value)?,
            b"dump-thin-cg-sccs" => job.shown.components = boolean(&name, value)?,
            b"stats-file" => job.stats_file = Some(parser.value(&name, value)?),
            b"llvm-version" => {
                job.llvm = LlvmVersion::parse(&parser.value(&name, value)?)?;
            }
            [b'O', level @ b'0'..=b'3'] => {
                job.config.opt_level = level - b'0';
                job.options.import = *level != b'0';
            }
            b"cg-opt-level" => {
                let value = parser.value(&name, value)?;
                job.config.codegen_opt_level = match *value {
                    [level @ b'0'..=b'3'] => level - b'0',
                    _ => return Err(Error::misuse("invalid cg optimization level")),
                };
            }
            b"override-triple" => {
                let value = parser.value(&name, value)?;
                job.config.override_triple = Some(String::from_utf8_lossy(&value).into_owned());
            }
            b"filetype" => {
                job.config.output = match &*parser.value(&name, value)? {
                    b"asm" => OutputKind::Assembly,
                    b"obj" => OutputKind::Objects,
                    _ => return Err(Error::misuse("invalid -filetype")),
                };
            }
            b"cache-dir" => {
                let value = parser.value(&name, value)?;
                job.config.cache_directory = Some(OsStr::from_bytes(&value).into());
            }
            b"lto-freestanding" => job.config.freestanding = boolean(&name, value)?,
            b"debug-pass-manager" => job.config.debug_pass_manager = boolean(&name, value)?,
            // How LLVM keeps its memory.
            b"lto-keep-symbol-copies" => {}
            // How LLVM up to 20 keeps debug information meanwhile.
            b"try-experimental-debuginfo-iterators" => {
                boolean(&name, value)?;
            }
            _ => flag(&mut job, &name, value, &mut parser)?,
        }
    }
    job.config.remarks = Remarks::wanted(remarks_file, remarks);
    if selected && all {
        return Err(Error::misuse("-save-temps cannot be specified with -select-save-temps"));
    }
    if job.link.files.is_empty() {
        return Err(Error::misuse(
            "Not enough positional command line arguments specified! Must specify at least 1 \
             positional argument",
        ));
    }
    if job.output.is_none() {
        return Err(Error::misuse("for the -o option: must be specified at least once!"));
    }
    Ok(job)
}

/// An option that steers the thin link or code generation, or is libLLVM's own.
fn flag<'a>(
    job: &mut Job<'a>,
    name: &[u8],
    value: Option<Word<'a>>,
    parser: &mut Parser<'a>,
) -> Result<()> {
    let text = String::from_utf8_lossy(name).into_owned();
    let wants_value = distributed::wants_value(&text) || Config::flag_wants_value(&text);
    let value = match value {
        None if wants_value => Some(parser.value(name, None)?),
        value => value,
    };
    let whole = match value {
        Some(value) => format!("{text}={}", String::from_utf8_lossy(&value)),
        None => text,
    };
    if distributed::take_option(&mut job.options, &whole)? {
        job.config.llvm_options.push(format!("-{whole}"));
        return Ok(());
    }
    job.config.take_flag(&format!("-{whole}"))
}

/// An option of LLVM's that steers the thin link.
pub(super) fn other_option<'a>(
    options: &mut ThinLinkOptions,
    name: &[u8],
    value: Option<Word<'a>>,
    parser: &mut Parser<'a>,
) -> Result<()> {
    let text = String::from_utf8_lossy(name).into_owned();
    let value = match value {
        None if distributed::wants_value(&text) => Some(parser.value(name, None)?),
        value => value,
    };
    let whole = match value {
        Some(value) => format!("{text}={}", String::from_utf8_lossy(&value)),
        None => text,
    };
    if distributed::take_option(options, &whole)? { Ok(()) } else { Err(not_here(name)) }
}

#[cold]
pub(super) fn not_here(name: &[u8]) -> Error {
    Error::misuse(format!("Unknown command line argument '-{}'", String::from_utf8_lossy(name)))
}

fn dump_symtab(files: impl Iterator<Item = OsString>) -> Result<()> {
    let mut text = Vec::new();
    for file in files {
        let name = file.to_string_lossy().into_owned();
        let bytes = FileBytes::open(Path::new(&file))?;
        dump_file(&bytes, &mut text).map_err(|e| e.in_file(name))?;
    }
    std::io::stdout().write_all(&text).map_err(|e| Error::io("cannot write", &e))
}

/// The text of `llvm-lto2 dump-symtab` for one file.
fn dump_file(bytes: &[u8], text: &mut Vec<u8>) -> Result<()> {
    let bitcode = container::find_bitcode(bytes)?;
    let contents = crate::bitcode::BitcodeFile::read(bitcode.bytes)?;
    let stored = contents.symtab.and_then(|b| version_and_producer(b, contents.symtab_strtab));
    if let Some((version, producer)) = stored {
        line(text, &[b"version: ", version.to_string().as_bytes()]);
        if version == irsymtab::VERSION {
            line(text, &[b"producer: ", producer]);
        }
    }
    let file = InputFile::from_bitcode(bitcode)?;
    line(text, &[b"target triple: ", file.target_triple()]);
    line(text, &[b"source filename: ", file.source_file_name()]);
    let format = Triple::parse(file.target_triple()).format;
    if format == ObjectFormat::Coff {
        line(text, &[b"linker opts: ", file.coff_linker_opts()]);
    }
    if format == ObjectFormat::Elf {
        text.extend_from_slice(b"dependent libraries:");
        for library in file.dependent_libraries() {
            text.extend_from_slice(&[b" \"", library, b"\""].concat());
        }
        text.push(b'\n');
    }
    let comdats: Vec<(&[u8], SelectionKind)> = file.comdats().collect();
    for symbol in file.symbols() {
        text.push(match symbol.visibility() {
            Visibility::Hidden => b'H',
            Visibility::Protected => b'P',
            Visibility::Default => b'D',
        });
        for (letter, on) in [
            (b'U', symbol.is_undefined()),
            (b'C', symbol.is_common()),
            (b'W', symbol.is_weak()),
            (b'I', symbol.is_indirect()),
            (b'O', symbol.can_be_omitted()),
            (b'T', symbol.is_tls()),
            (b'X', symbol.is_executable()),
        ] {
            text.push(if on { letter } else { b'-' });
        }
        line(text, &[b" ", symbol.name]);
        if symbol.is_common() {
            let size =
                format!("         size {} align {}", symbol.common_size, symbol.common_align);
            line(text, &[size.as_bytes()]);
        }
        if let Some((name, kind)) = symbol.comdat.and_then(|at| comdats.get(at as usize)) {
            let kind: &[u8] = match kind {
                SelectionKind::Any => b"any",
                SelectionKind::ExactMatch => b"exactmatch",
                SelectionKind::Largest => b"largest",
                SelectionKind::NoDeduplicate => b"nodeduplicate",
                SelectionKind::SameSize => b"samesize",
            };
            line(text, &[b"         comdat ", kind, b" ", name]);
        }
        if format == ObjectFormat::Coff && symbol.is_weak() && symbol.is_indirect() {
            line(text, &[b"         fallback ", symbol.coff_fallback]);
        }
        if !symbol.section.is_empty() {
            line(text, &[b"         section ", symbol.section]);
        }
    }
    text.push(b'\n');
    Ok(())
}
