//! `llvm-lto2`: resolution-based LTO from the command line.
//!
//! `run` reads bitcode files and a resolution for each of their symbols and does the thin link;
//! `dump-symtab` prints a file's symbols. In: arguments. Out: an exit code. Source of words and
//! formats: llvm-lto2.cpp.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::command_line::{Argument, Arguments, Parser, Word, boolean};
use crate::container::{self, FileBytes};
use crate::distributed::{
    self, IndexFiles, PrefixReplace, Shards, Source, Unindexed, write_atomically,
};
use crate::error::{Error, Result};
use crate::ir::{SelectionKind, Visibility};
use crate::resolution::SymbolResolution;
use crate::summary::{Format, ModuleId};
use crate::symbols::InputFile;
use crate::symbols::irsymtab::{self, version_and_producer};
use crate::symbols::triple::{ObjectFormat, Triple};
use crate::thinlink::{Behaviour, ThinLinkOptions, VisibilityScheme};

const PROGRAM: &str = "llvm-lto2";

/// Runs the program.
pub fn main(arguments: impl Iterator<Item = OsString>) -> i32 {
    let mut arguments = arguments.skip(1);
    let done = match arguments.next().as_deref().map(OsStr::as_bytes) {
        Some(b"run") => Arguments::new(arguments).and_then(|arguments| run(&arguments)),
        Some(b"dump-symtab") => dump_symtab(arguments),
        _ => {
            eprintln!("Available subcommands: dump-symtab run");
            return 1;
        }
    };
    match done {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{PROGRAM}: {error}");
            1
        }
    }
}

/// A resolution on the command line. Links have millions of them.
struct Said<'a> {
    symbol: Cow<'a, [u8]>,
    resolution: SymbolResolution,
}

/// What was said of each file's symbols.
#[derive(Default)]
struct Resolutions<'a> {
    by_file: HashMap<Vec<u8>, usize>,
    said: Vec<(Word<'a>, Vec<Said<'a>>)>,
}

impl<'a> Resolutions<'a> {
    /// The list of a file. Saved resolutions stand file by file, so that the last one is tried
    /// before the table.
    fn of(&mut self, file: Word<'a>) -> &mut Vec<Said<'a>> {
        let last = self.said.len().wrapping_sub(1);
        let at = match self.said.last() {
            Some((name, _)) if *name == file => last,
            _ => match self.by_file.get(&*file) {
                Some(&at) => at,
                None => {
                    self.by_file.insert(file.to_vec(), self.said.len());
                    if let Some((_, said)) = self.said.last_mut() {
                        said.shrink_to_fit();
                    }
                    self.said.push((file, Vec::new()));
                    self.said.len() - 1
                }
            },
        };
        &mut self.said[at].1
    }

    fn get(&self, file: &[u8]) -> &[Said<'a>] {
        self.by_file.get(file).map_or(&[], |&at| &self.said[at].1)
    }
}

/// What `run` was asked to do.
struct Job<'a> {
    files: Vec<Word<'a>>,
    resolutions: Resolutions<'a>,
    output: Option<Word<'a>>,
    distributed_indexes: bool,
    emit_imports: bool,
    linked_objects: Option<Word<'a>>,
    prefix: PrefixReplace,
    save_index: bool,
    save_resolutions: bool,
    stats_file: Option<Word<'a>>,
    threads: usize,
    options: ThinLinkOptions,
}

fn run(arguments: &Arguments) -> Result<()> {
    let job = parse(arguments)?;
    if job.threads != 0 {
        // Fails only where a pool exists already, which then serves as well.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(job.threads).build_global();
    }
    let mut options = job.options.clone();
    let inputs: Vec<FileInput<'_>> =
        job.files.iter().map(|path| FileInput { path, said: job.resolutions.get(path) }).collect();
    let known: HashSet<&[u8]> = job.files.iter().map(|file| &**file).collect();
    if let Some((file, said)) = job
        .resolutions
        .said
        .iter()
        .filter(|(file, _)| !known.contains(&**file))
        .min_by_key(|f| &f.0)
    {
        let symbol = said.first().map_or(&b""[..], |said| &said.symbol);
        return Err(unused(file, symbol));
    }
    let mut read = distributed::read(&inputs, &options.behaviour)?;
    if is_elf(&read.target_triple) {
        options.visibility_scheme = VisibilityScheme::Elf;
    }
    let plan = read.plan(&options)?;
    read.forget_symbols();
    let shards = Shards::new(&read.index, &plan);
    let format =
        if options.behaviour == Behaviour::LLVM_19 { Format::Llvm19 } else { Format::Llvm22 };
    if let (true, Some(output)) = (job.save_index, &job.output) {
        let path = [output, &b".index.bc"[..]].concat();
        write_atomically(
            Path::new(OsStr::from_bytes(&path)),
            &shards.combined_index_before_linkage(format),
        )?;
    }
    if let (true, Some(output)) = (job.save_resolutions, &job.output) {
        let path = [output, &b".resolution.txt"[..]].concat();
        write_atomically(Path::new(OsStr::from_bytes(&path)), &resolution_text(&inputs))?;
    }
    if job.distributed_indexes {
        let modules: Vec<(&[u8], Option<ModuleId>)> = job
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
        target.write(&shards, &modules)?;
        if let Some(file) = &job.linked_objects {
            let thin = modules.iter().filter(|(_, id)| id.is_some());
            let text = target.linked_objects(thin.map(|(path, _)| *path));
            write_atomically(Path::new(OsStr::from_bytes(file)), &text)?;
        }
    }
    if let Some(file) = &job.stats_file {
        let text = stats(&plan, read.index.guids().len());
        write_atomically(Path::new(OsStr::from_bytes(file)), text.as_bytes())?;
    }
    Ok(())
}

/// The resolutions as LLVM saves them, and as `run` takes them again.
fn resolution_text(inputs: &[FileInput<'_>]) -> Vec<u8> {
    let mut text = Vec::new();
    for input in inputs {
        line(&mut text, &[input.path]);
        for said in input.said {
            let r = said.resolution;
            let letters: Vec<u8> = [
                (r.prevailing, b'p'),
                (r.final_definition_in_linkage_unit, b'l'),
                (r.visible_to_regular_obj, b'x'),
                (r.linker_redefined, b'r'),
            ]
            .iter()
            .filter(|(on, _)| *on)
            .map(|&(_, letter)| letter)
            .collect();
            line(&mut text, &[b"-r=", input.path, b",", &said.symbol, b",", &letters]);
        }
    }
    text
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
        files: Vec::new(),
        resolutions: Resolutions::default(),
        output: None,
        distributed_indexes: false,
        emit_imports: false,
        linked_objects: None,
        prefix: PrefixReplace::default(),
        save_index: false,
        save_resolutions: false,
        stats_file: None,
        threads: 0,
        options: ThinLinkOptions::default(),
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
            b"r" => add_resolution(&mut job, parser.value(&name, value)?)?,
            b"o" => job.output = Some(parser.value(&name, value)?),
            b"thinlto-distributed-indexes" => job.distributed_indexes = boolean(&name, value)?,
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
                for stage in stages.split(|&c| c == b',') {
                    match stage {
                        b"combinedindex" => job.save_index = true,
                        b"resolution" => job.save_resolutions = true,
                        // Stages of code generation, of which there is none here.
                        b"preopt" | b"promote" | b"internalize" | b"import" | b"opt"
                        | b"precodegen" => {}
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
            }
            b"stats-file" => job.stats_file = Some(parser.value(&name, value)?),
            b"whole-program-visibility-enabled-in-lto" => {
                job.options.whole_program_visibility = boolean(&name, value)?;
            }
            b"llvm-version" => {
                let value = parser.value(&name, value)?;
                let major = std::str::from_utf8(&value).ok().and_then(|s| s.parse().ok());
                let major = major.ok_or_else(|| Error::misuse("--llvm-version: not a number"))?;
                job.options.behaviour = Behaviour::of_llvm(major);
            }
            b"O0" | b"O1" | b"O2" | b"O3" => job.options.import = &*name != b"O0",
            // Matters to code generation alone, or to how LLVM keeps its memory.
            b"lto-keep-symbol-copies" | b"cg-opt-level" => {
                if value.is_none() && &*name == b"cg-opt-level" {
                    parser.value(&name, None)?;
                }
            }
            _ => other_option(&mut job.options, &name, value, &mut parser)?,
        }
    }
    if job.files.is_empty() {
        return Err(Error::misuse(
            "Not enough positional command line arguments specified! Must specify at least 1 \
             positional argument",
        ));
    }
    if job.output.is_none() {
        return Err(Error::misuse("for the -o option: must be specified at least once!"));
    }
    if !job.distributed_indexes && !job.save_index {
        return Err(Error::unsupported(
            "only the thin link is served: give -thinlto-distributed-indexes",
        ));
    }
    Ok(job)
}

/// An option of LLVM's that steers the thin link.
pub(super) fn other_option<'a>(
    options: &mut ThinLinkOptions,
    name: &[u8],
    value: Option<Word<'a>>,
    parser: &mut Parser<'a, impl Iterator<Item = Word<'a>>>,
) -> Result<()> {
    let text = String::from_utf8_lossy(name).into_owned();
    let value = match value {
        None if ThinLinkOptions::wants_value(&text) => Some(parser.value(name, None)?),
        value => value,
    };
    let whole = match value {
        Some(value) => format!("{text}={}", String::from_utf8_lossy(&value)),
        None => text,
    };
    if options.take(&whole)? { Ok(()) } else { Err(not_here(name)) }
}

#[cold]
pub(super) fn not_here(name: &[u8]) -> Error {
    Error::misuse(format!("Unknown command line argument '-{}'", String::from_utf8_lossy(name)))
}

/// `-r FILE,SYMBOL,RESOLUTION`; neither file nor symbol may hold a comma.
fn add_resolution<'a>(job: &mut Job<'a>, text: Word<'a>) -> Result<()> {
    let bad = |text: &[u8]| {
        Error::misuse(format!("invalid resolution: {}", String::from_utf8_lossy(text)))
    };
    let first = memchr::memchr(b',', &text).ok_or_else(|| bad(&text))?;
    let rest = &text[first + 1..];
    if rest.is_empty() {
        return Err(bad(&text));
    }
    let second = memchr::memchr(b',', rest);
    let symbol = first + 1..first + 1 + second.unwrap_or(rest.len());
    let mut resolution = SymbolResolution::default();
    for &c in second.and_then(|at| rest.get(at + 1..)).unwrap_or(&[]) {
        match c {
            b'p' => resolution.prevailing = true,
            b'l' => resolution.final_definition_in_linkage_unit = true,
            b'x' => resolution.visible_to_regular_obj = true,
            b'r' => resolution.linker_redefined = true,
            other => {
                return Err(Error::misuse(format!(
                    "invalid character {} in resolution: {}",
                    char::from(other),
                    String::from_utf8_lossy(&text)
                )));
            }
        }
    }
    let (file, symbol) = match &text {
        Cow::Borrowed(text) => (Cow::Borrowed(&text[..first]), Cow::Borrowed(&text[symbol])),
        Cow::Owned(text) => (Cow::Owned(text[..first].to_vec()), Cow::Owned(text[symbol].to_vec())),
    };
    job.resolutions.of(file).push(Said { symbol, resolution });
    Ok(())
}

/// A file of the command line and what was said of its symbols.
struct FileInput<'a> {
    path: &'a [u8],
    said: &'a [Said<'a>],
}

impl Source for FileInput<'_> {
    type Bytes = FileBytes;

    fn path(&self) -> &[u8] {
        self.path
    }

    fn bytes(&self) -> Result<FileBytes> {
        FileBytes::open(Path::new(OsStr::from_bytes(self.path)))
    }

    fn resolve(&self, file: &InputFile<'_>) -> Result<Vec<SymbolResolution>> {
        // Saved resolutions stand in the order of the symbols, so that most often no look-up is
        // needed. A symbol that stands several times takes its resolutions in their order.
        let in_order: Vec<SymbolResolution> = file
            .symbols()
            .zip(self.said)
            .take_while(|(symbol, said)| symbol.name == &*said.symbol)
            .map(|(_, said)| said.resolution)
            .collect();
        if in_order.len() == self.said.len() && in_order.len() == file.symbols().count() {
            return Ok(in_order);
        }
        let mut by_name: HashMap<&[u8], VecDeque<SymbolResolution>> = HashMap::new();
        for said in self.said {
            by_name.entry(&said.symbol).or_default().push_back(said.resolution);
        }
        let mut resolutions = Vec::new();
        for symbol in file.symbols() {
            // Splitting a module adds a dot and a hash to the names of promoted locals.
            let short = symbol.name.iter().rposition(|&c| c == b'.');
            let short = short.map(|at| &symbol.name[..at]);
            let known = if by_name.get(symbol.name).is_some_and(|q| !q.is_empty()) {
                by_name.get_mut(symbol.name)
            } else {
                short.and_then(|name| by_name.get_mut(name))
            };
            match known.and_then(VecDeque::pop_front) {
                Some(resolution) => resolutions.push(resolution),
                None => {
                    return Err(Error::misuse(format!(
                        "missing symbol resolution for {},{}",
                        String::from_utf8_lossy(self.path),
                        String::from_utf8_lossy(symbol.name)
                    )));
                }
            }
        }
        match by_name.iter().filter(|(_, left)| !left.is_empty()).map(|(name, _)| name).min() {
            Some(name) => Err(unused(self.path, name)),
            None => Ok(resolutions),
        }
    }
}

#[cold]
fn unused(file: &[u8], symbol: &[u8]) -> Error {
    Error::misuse(format!(
        "unused symbol resolution for {},{}",
        String::from_utf8_lossy(file),
        String::from_utf8_lossy(symbol)
    ))
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

fn line(text: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        text.extend_from_slice(part);
    }
    text.push(b'\n');
}
