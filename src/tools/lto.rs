//! `llvm-lto`: the legacy code generators of libLTO from the command line.
//!
//! Without an action it links by regular LTO. `-thinlto-action=thinlink` writes a combined index;
//! `distributedindexes` and `emitimports` write what backends need from such an index; the other
//! actions compile. In: arguments. Out: an exit code. Source of words and behaviour: llvm-lto.cpp,
//! `gatherImportedSummariesForModule` of ThinLTOCodeGenerator.cpp.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::command_line::{Argument, Arguments, Parser, Word, boolean};
use super::ending;
use super::help;
use super::llvm_version::LlvmVersion;
use super::lto_inspect::{self, Question};
use super::lto_regular::{self, RegularOptions};
use super::lto_stages;
use super::lto_thin::{self, CodeOptions};
use super::memory;
use crate::container::FileBytes;
use crate::distributed::{PrefixReplace, Shards, write_atomically};
use crate::error::{Error, Result};
use crate::legacy::{SingleStage, keep, preserved};
use crate::summary::{
    CombinedWriter, ModuleSummaryIndex, Overrides, ReadOptions, Selection, WriteOptions,
    combine_files, read_index,
};
use crate::symbols::InputFile;
use crate::thinlink::{Facts, IndirectCalls, LegacyPhases, LinkPlan, ThinLinkOptions};

pub(super) const PROGRAM: &str = "llvm-lto";

/// Runs the program.
pub fn main(arguments: impl Iterator<Item = OsString>) -> i32 {
    match Arguments::new(arguments.skip(1)).and_then(|arguments| run(&arguments)) {
        Ok(()) => 0,
        Err(error) => ending::fails(PROGRAM, &error),
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
    Single(SingleStage),
    Codegen,
    Run,
}

pub(super) struct Job<'a> {
    pub(super) files: Vec<Word<'a>>,
    action: Option<Action>,
    question: Option<Question>,
    pub(super) output: Option<Word<'a>>,
    llvm: LlvmVersion,
    index: Option<Word<'a>>,
    pub(super) exported: BTreeSet<Vec<u8>>,
    prefix: PrefixReplace,
    options: ThinLinkOptions,
    pub(super) code: CodeOptions,
    pub(super) regular: RegularOptions,
}

impl Job<'_> {
    fn read_index(&self) -> Result<ModuleSummaryIndex> {
        let name = self
            .index
            .as_ref()
            .ok_or_else(|| Error::misuse("Missing -thinlto-index for ThinLTO promotion stage"))?;
        read_index(&FileBytes::open(path(name))?, name, &ReadOptions::THIN_LINK)
    }

    /// One name for the output cannot be that of several.
    pub(super) fn check_output(&self) -> Result<()> {
        match self.files.len() != 1 && self.output.is_some() {
            false => Ok(()),
            true => Err(Error::misuse(
                "Can't handle a single output filename and multiple input files, do not provide an \
                 output filename and the output files will be suffixed from the input ones.",
            )),
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    if ending::presents(PROGRAM, help::LTO, arguments) {
        return Ok(());
    }
    let mut job = parse(arguments)?;
    if let Some(question) = job.question {
        let with_words = job.llvm.behaviour(None)?.llvm >= 20;
        return lto_inspect::answer(question, &job.files, with_words);
    }
    let Some(action) = job.action else { return lto_regular::run(&job) };
    if matches!(action, Action::Run | Action::Codegen | Action::Single(SingleStage::Optimize))
        && job.index.is_some()
    {
        let what = match action {
            Action::Run => "full ThinLTO process",
            Action::Codegen => "codegen stage",
            _ => "optimize stage",
        };
        eprintln!("Warning: -thinlto-index ignored for {what}");
    }
    match action {
        Action::Run => lto_thin::run(&job, false),
        Action::Codegen => lto_thin::run(&job, true),
        Action::Single(SingleStage::Optimize) => lto_stages::run(&job, SingleStage::Optimize, None),
        Action::Single(stage) => lto_stages::run(&job, stage, Some(job.read_index()?)),
        Action::Combine | Action::ThinLink => {
            job.code.thin_link(&mut job.options)?;
            thin_link(&job, action)
        }
        Action::DistributedIndexes | Action::EmitImports => {
            job.code.thin_link(&mut job.options)?;
            backends(&job, action)
        }
    }
}

fn parse(arguments: &Arguments) -> Result<Job<'_>> {
    let mut job = Job {
        files: Vec::new(),
        action: None,
        output: None,
        llvm: LlvmVersion::default(),
        index: None,
        question: None,
        exported: BTreeSet::new(),
        prefix: PrefixReplace::default(),
        options: ThinLinkOptions::default(),
        code: CodeOptions::default(),
        regular: RegularOptions::default(),
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
            b"thinlto" => {
                if boolean(&name, value)? && job.action.is_none() {
                    job.action = Some(Action::Combine);
                }
            }
            b"thinlto-action" => {
                let value = parser.value(&name, value)?;
                if matches!(job.action, Some(action) if action != Action::Combine) {
                    return Err(Error::misuse("You can't specify more than one -thinlto-action"));
                }
                job.action = Some(match &*value {
                    b"thinlink" => Action::ThinLink,
                    b"distributedindexes" => Action::DistributedIndexes,
                    b"emitimports" => Action::EmitImports,
                    b"promote" => Action::Single(SingleStage::Promote),
                    b"internalize" => Action::Single(SingleStage::Internalize),
                    b"import" => Action::Single(SingleStage::Import),
                    b"optimize" => Action::Single(SingleStage::Optimize),
                    b"codegen" => Action::Codegen,
                    b"run" => Action::Run,
                    other => {
                        return Err(Error::misuse(format!(
                            "for the --thinlto-action option: Cannot find option named '{}'!",
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
                job.llvm = LlvmVersion::parse(&parser.value(&name, value)?)?;
            }
            _ => {
                if let Some(question) = Question::parse(&name) {
                    if boolean(&name, value)? {
                        job.question = Some(question);
                    }
                } else if let Some(value) = job.regular.take(&name, value, &mut parser)? {
                    job.code.take(&name, value, &mut parser)?;
                }
            }
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

/// Writes a file, all of it or none; `-` is the standard output.
pub(super) fn write_output(target: &[u8], bytes: &[u8]) -> Result<()> {
    if target == b"-" {
        return std::io::stdout()
            .write_all(bytes)
            .map_err(|error| Error::io("cannot write to standard output", &error));
    }
    write_atomically(path(target), bytes)
}

/// A name with an ending.
pub(super) fn suffixed<'a>(output: Option<&'a Word<'a>>, file: &[u8], suffix: &str) -> Word<'a> {
    match output {
        Some(output) => Cow::Borrowed(output),
        None => Cow::Owned([file, suffix.as_bytes()].concat()),
    }
}

pub(super) fn path(word: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(word))
}

fn thin_link(job: &Job<'_>, action: Action) -> Result<()> {
    let output: &[u8] = match (&job.output, action) {
        (Some(output), _) => output,
        // The ending is the whole name then.
        (None, Action::Combine) => b"",
        (None, _) => {
            return Err(Error::misuse("OutputFilename is necessary to store the combined index"));
        }
    };
    memory::prepare(0);
    let files: Vec<&Path> = job.files.iter().map(|file| path(file)).collect();
    let index = combine_files(&files, &ReadOptions::THIN_LINK)?;
    let format = job.llvm.of_index(&index)?.format();
    if action == Action::ThinLink {
        let options = WriteOptions { format, function_table: false };
        return write_atomically(path(output), &index.to_bitcode(&options));
    }
    let facts = Facts::from_preserved(&index, &[]);
    let indirect = IndirectCalls::find(&index, &facts, &job.options);
    let callee = |caller, callee| indirect.callee(caller, callee);
    let bytes = CombinedWriter::new(&index).write(
        &Selection::All,
        &Overrides { callee: Some(&callee), ..Overrides::default() },
        &WriteOptions { format, function_table: false },
    );
    let output = [output, &b".thinlto.bc"[..]].concat();
    write_atomically(path(&output), &bytes)
}

fn backends(job: &Job<'_>, action: Action) -> Result<()> {
    job.check_output()?;
    let mut index = job.read_index()?;
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
    let producers = input.modules().iter().map(|module| Ok(input.producer(module)?.major()));
    let newest = producers.collect::<Result<Vec<_>>>()?.into_iter().max().flatten();
    let behaviour = job.llvm.behaviour(newest)?;
    let format = behaviour.format();
    let options = ThinLinkOptions { behaviour, ..job.options.clone() };
    let preserved = preserved(&input, &job.exported, &options.behaviour)?;
    let plan = LinkPlan::legacy(index, &preserved, LegacyPhases::Imports, &options)?;
    let shards = Shards::new(index, &plan);
    let module = index
        .find_module(job.code.module_id.as_deref().unwrap_or(file))
        .ok_or_else(|| Error::misuse("the index does not hold this module"))?;
    let (suffix, content) = match action {
        Action::EmitImports => (&b".imports"[..], shards.imports_file(module)),
        _ => (&b".thinlto.bc"[..], shards.writer().index_file(module, format)),
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
