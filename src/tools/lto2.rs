//! `llvm-lto2`: resolution-based LTO from the command line.
//!
//! `run` reads bitcode files and a resolution for each of their symbols and links them, to objects
//! or, with `-thinlto-distributed-indexes`, to an index file for each; `dump-symtab` prints a
//! file's symbols. In: arguments. Out: an exit code. Source of words and formats: llvm-lto2.cpp.

use std::ffi::{OsStr, OsString};
use std::mem::ManuallyDrop;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Instant;

use super::command_line::Arguments;
use super::ending;
use super::help;
use super::lto2_options::{Job, parse};
use super::memory;
use super::saved_link::{FileInput, resolution_text};
use super::symtab::dump_symtab;
use crate::config::Config;
use crate::distributed::{
    self, IndexFiles, Shards, Source, ThinInputs, Unindexed, write_atomically,
};
use crate::engine::Diagnostic;
use crate::error::Result;
use crate::session::{self, Phase, Stats};
use crate::summary::{Format, ModuleId, guid_of};
use crate::symbols::InputFile;
use crate::symbols::triple::{ObjectFormat, Triple};
use crate::thinlink::VisibilityScheme;

const PROGRAM: &str = "llvm-lto2";

/// Runs the program.
pub fn main(arguments: impl Iterator<Item = OsString>) -> i32 {
    let mut arguments = arguments.skip(1);
    let done = match arguments.next().as_deref().map(OsStr::as_bytes) {
        Some(b"run") => {
            Arguments::new(arguments).and_then(|arguments| run(&ManuallyDrop::new(arguments)))
        }
        Some(b"dump-symtab") => dump_symtab(arguments),
        Some(b"print-guid") => match arguments.next() {
            // Of others LLVM's program takes no notice.
            Some(name) => {
                println!("{}", guid_of(name.as_bytes()).0);
                return 0;
            }
            None => return usage(),
        },
        Some(b"--version" | b"-version") => {
            println!("{}", ending::version(PROGRAM));
            return 0;
        }
        _ => return usage(),
    };
    match done {
        Ok(()) => 0,
        Err(error) => ending::fails(PROGRAM, &error),
    }
}

fn usage() -> i32 {
    eprintln!("Available subcommands: dump-symtab run print-guid");
    1
}

fn run(arguments: &Arguments) -> Result<()> {
    if ending::presents(PROGRAM, help::LTO2, arguments) {
        return Ok(());
    }
    let job = parse(arguments)?;
    if job.distributed_indexes {
        memory::prepare(job.threads);
    } else if job.threads != 0 {
        // Fails only where a pool exists already, which then serves as well.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(job.threads).build_global();
    }
    let mut options = job.options.clone();
    if job.distributed_indexes {
        session::index_only::check_options(&job.config)?;
    }
    let mut times = Stats { began: Some(Instant::now()), ..Stats::default() };
    let mut clock = Instant::now();
    let mut phase = |phase: Phase| {
        times.phases.push((phase, clock.elapsed()));
        clock = Instant::now();
    };
    let inputs = job.link.inputs()?;
    job.shown.show(&inputs, &options, job.llvm)?;
    if !job.distributed_indexes && !job.emit_indexes {
        return link(&job, &inputs);
    }
    // The index and the plan are not taken apart at the end: the process is about to go.
    let wanted = distributed::read_options(&options);
    let mut read = ManuallyDrop::new(job.llvm.read(&inputs, &mut options, &wanted)?);
    phase(Phase::Read);
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
        phase(Phase::Compile);
    }
    let plan = read.plan(&options).map_err(|error| error.context("LTO::run failed"))?;
    let plan = ManuallyDrop::new(plan);
    read.forget_symbols();
    phase(Phase::ThinLink);
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
    phase(Phase::WriteIndexes);
    job.write_trace(&times)?;
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
    job.write_trace(&outcome.stats)?;
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
