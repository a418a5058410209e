//! `llvm-lto`: the thin link of the legacy code generator from the command line.
//!
//! `-thinlto-action=thinlink` writes a combined index; `distributedindexes` and `emitimports`
//! write what backends need from such an index. In: arguments. Out: an exit code. Source of words
//! and behaviour: llvm-lto.cpp, `gatherImportedSummariesForModule` of ThinLTOCodeGenerator.cpp.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::command_line::{Argument, Arguments, Parser, Word};
use super::lto_thin::{self, CodeOptions};
use crate::container::FileBytes;
use crate::distributed::{PrefixReplace, Shards, write_atomically};
use crate::error::{Error, Result};
use crate::legacy::preserved;
use crate::summary::{
    CombinedWriter, Format, GvFlags, ModuleSummaryIndex, Overrides, ReadOptions, Selection,
    SummaryId, VariableFlags, WriteOptions, read_and_combine, read_index,
};
use crate::symbols::InputFile;
use crate::thinlink::{Behaviour, Facts, IndirectCalls, LegacyPhases, LinkPlan, ThinLinkOptions};

const PROGRAM: &str = "llvm-lto";

/// Runs the program.
pub fn main(arguments: impl Iterator<Item = OsString>) -> i32 {
    match Arguments::new(arguments.skip(1)).and_then(|arguments| run(&arguments)) {
        Ok(()) => 0,
        Err(error) => {
            // Nobody is left to tell where the standard error cannot be written.
            let _ = writeln!(std::io::stderr(), "{PROGRAM}: {error}");
            1
        }
    }
}

/// A stage of ThinLTO.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    /// `-thinlto`: as thinlink, with indirect calls resolved and another name for the file.
    Combine,
    ThinLink,
    DistributedIndexes,
    EmitImports,
    Codegen,
    Run,
}

struct Job<'a> {
    files: Vec<Word<'a>>,
    action: Option<Action>,
    output: Option<Word<'a>>,
    index: Option<Word<'a>>,
    exported: BTreeSet<Vec<u8>>,
    prefix: PrefixReplace,
    options: ThinLinkOptions,
    code: CodeOptions,
}

impl Job<'_> {
    fn format(&self) -> Format {
        if self.options.behaviour == Behaviour::LLVM_19 { Format::Llvm19 } else { Format::Llvm22 }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let mut job = parse(arguments)?;
    if let Some(action @ (Action::Run | Action::Codegen)) = job.action {
        let codegen_only = action == Action::Codegen;
        return lto_thin::run(
            &job.files,
            job.output.as_ref(),
            job.exported,
            &job.code,
            codegen_only,
        );
    }
    job.code.thin_link(&mut job.options)?;
    match job.action {
        Some(action @ (Action::Combine | Action::ThinLink)) => thin_link(&job, action),
        Some(action) => backends(&job, action),
        None => Err(Error::unsupported(
            "only ThinLTO is served: give \
             -thinlto-action=thinlink|distributedindexes|emitimports|codegen|run",
        )),
    }
}

fn parse(arguments: &Arguments) -> Result<Job<'_>> {
    let mut job = Job {
        files: Vec::new(),
        action: None,
        output: None,
        index: None,
        exported: BTreeSet::new(),
        prefix: PrefixReplace::default(),
        options: ThinLinkOptions::default(),
        code: CodeOptions::default(),
    };
    let mut parser = Parser::new(arguments.words());
    while let Some(argument) = parser.next_argument() {
        let (name, value) = match argument {
            Argument::Positional(word) => {
                job.files.push(word);
                continue;
            }
            Argument::Option(name, value) => (name, value),
        };
        match &*name {
            b"thinlto" => job.action = Some(Action::Combine),
            b"thinlto-action" => {
                let value = parser.value(&name, value)?;
                job.action = Some(match &*value {
                    b"thinlink" => Action::ThinLink,
                    b"distributedindexes" => Action::DistributedIndexes,
                    b"emitimports" => Action::EmitImports,
                    b"codegen" => Action::Codegen,
                    b"run" => Action::Run,
                    other => {
                        return Err(Error::unsupported(format!(
                            "for the --thinlto-action option: '{}' is not served",
                            String::from_utf8_lossy(other)
                        )));
                    }
                });
            }
            b"o" => job.output = Some(parser.value(&name, value)?),
            b"thinlto-index" => job.index = Some(parser.value(&name, value)?),
            b"exported-symbol" => {
                job.exported.insert(parser.value(&name, value)?.into_owned());
            }
            b"thinlto-prefix-replace" => {
                job.prefix = PrefixReplace::parse(&parser.value(&name, value)?)?;
            }
            b"llvm-version" => {
                let value = parser.value(&name, value)?;
                let major = std::str::from_utf8(&value).ok().and_then(|s| s.parse().ok());
                let major = major.ok_or_else(|| Error::misuse("--llvm-version: not a number"))?;
                job.options.behaviour = Behaviour::of_llvm(major);
            }
            b"O0" | b"O1" | b"O2" | b"O3" => {}
            _ => job.code.take(&name, value, &mut parser)?,
        }
    }
    if job.files.is_empty() {
        return Err(Error::misuse(
            "Not enough positional command line arguments specified! Must specify at least 1 \
             positional argument",
        ));
    }
    Ok(job)
}

pub(super) fn path(word: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(word))
}

fn thin_link(job: &Job<'_>, action: Action) -> Result<()> {
    let output = job
        .output
        .as_ref()
        .ok_or_else(|| Error::misuse("OutputFilename is necessary to store the combined index"))?;
    let opened: Vec<(FileBytes, &[u8])> = job
        .files
        .iter()
        .map(|file| Ok((FileBytes::open(path(file))?, &**file)))
        .collect::<Result<_>>()?;
    let index = read_and_combine(&opened, &ReadOptions::THIN_LINK)?;
    if action == Action::ThinLink {
        let options = WriteOptions { format: job.format(), function_table: false };
        return write_atomically(path(output), &index.to_bitcode(&options));
    }
    let facts = Facts::from_preserved(&index, &[]);
    let indirect = IndirectCalls::find(&index, &facts, &job.options);
    let callee = |caller, callee| indirect.callee(caller, callee);
    let bytes = CombinedWriter::new(&index).write(
        &Selection::All,
        &Overrides { callee: Some(&callee), ..Overrides::default() },
        &WriteOptions { format: job.format(), function_table: false },
    );
    let output = [output, &b".thinlto.bc"[..]].concat();
    write_atomically(path(&output), &bytes)
}

fn backends(job: &Job<'_>, action: Action) -> Result<()> {
    if job.files.len() != 1 && job.output.is_some() {
        return Err(Error::misuse(
            "Can't handle a single output filename and multiple input files, do not provide an \
             output filename and the output files will be suffixed from the input ones.",
        ));
    }
    let name = job
        .index
        .as_ref()
        .ok_or_else(|| Error::misuse("Missing -thinlto-index for ThinLTO promotion stage"))?;
    let mut index = read_index(&FileBytes::open(path(name))?, name, &ReadOptions::THIN_LINK)?;
    for file in &job.files {
        backend(job, action, &mut index, file)
            .map_err(|e| e.in_file(String::from_utf8_lossy(file)))?;
    }
    Ok(())
}

fn backend(
    job: &Job<'_>,
    action: Action,
    index: &mut ModuleSummaryIndex,
    file: &[u8],
) -> Result<()> {
    let bytes = FileBytes::open(path(file))?;
    let input = InputFile::open(&bytes)?;
    let preserved = preserved(&input, &job.exported, &job.options.behaviour)?;
    let plan = LinkPlan::legacy(index, &preserved, LegacyPhases::Imports, &job.options)?;
    let shards = Shards::new(index, &plan);
    let module = index
        .find_module(file)
        .ok_or_else(|| Error::misuse("the index does not hold this module"))?;
    let (suffix, content) = match action {
        Action::EmitImports => (&b".imports"[..], shards.imports_file(module)),
        _ => (&b".thinlto.bc"[..], shards.writer().index_file(module, job.format())),
    };
    let output = match &job.output {
        Some(output) => Cow::Borrowed(&**output),
        None => Cow::Owned([file, suffix].concat()),
    };
    let output = job.prefix.index_path(&output);
    if let Some(folder) = path(&output).parent().filter(|f| !f.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)
            .map_err(|e| Error::io(format!("cannot create {}", folder.display()), &e))?;
    }
    write_atomically(path(&output), &content)?;
    keep(index, &plan);
    Ok(())
}

/// LLVM makes its changes in the one index that it has read, so that what was found for one file
/// counts for the files after it; and so here.
fn keep(index: &mut ModuleSummaryIndex, plan: &LinkPlan) {
    let changed: Vec<(SummaryId, GvFlags, VariableFlags)> = index
        .summaries()
        .map(|summary| (summary.id(), plan.flags(summary), plan.variable_flags(summary)))
        .collect();
    for (id, flags, variable_flags) in changed {
        index.set_summary_flags(id, flags);
        index.set_variable_flags(id, variable_flags);
    }
    index.set_flags(plan.index_flags);
}
