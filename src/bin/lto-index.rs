//! `lto-index`: indexes of ThinLTO for people.
//!
//! In: bitcode files, native objects with bitcode, and archives of both. Out: whether they have an
//! index, its text, one index of many, an index in a native object, the differences of two; and why
//! a thin link imports what it does. All work is done by the library's `summary`, `thinlto_file` and
//! `tools::explain`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};

use LTO::container::{
    Archive, FileBytes, FileKind, MemberData, OpenFile, find_bitcode, identify, wrap_in_object,
};
use LTO::error::{Error, Result};
use LTO::summary::{
    FILES_AT_ONCE, Format, IndexPart, IndexParts, ModuleSummaryIndex, ReadOptions, ValueId,
    WriteOptions, has_summary, read_file, write_assembly,
};
use LTO::thinlto_file::{find_name, write_atomically, write_json};
use LTO::tools::{explain, memory};
use rayon::prelude::*;

const HELP: &str = "\
OVERVIEW: indexes of ThinLTO: find them, look at them, merge, wrap and compare them

USAGE: lto-index <command> [options] FILE...

Commands:
  has FILE...             Say for each file whether it has an index; exit code 1 if one has none.
  show FILE [FUNCTION]    Print the index, or what there is of one function or variable (its name
                          or GUID), as llvm-dis does: ^0 = module: ...
  merge -o OUT FILE...    Write one combined index of all files, in their order.
  wrap --triple T -o OUT FILE
                          Put a file of bitcode into a native object for a target.
  diff A B                Compare two indexes entry by entry; exit code 1 if they differ.
  why MODULE FUNCTION LINK...
                          Why a ThinLTO link imports the function into the module, or why it does
                          not: every call looked into, every copy, what each had against it; exit
                          code 1 if it is not imported.
  graph [--dot] LINK...   Which module imports how much from which; --dot for Graphviz.

Options:
  --json                  With has and show: print JSON.
  -o, --output FILE       With merge and wrap: the file to write; - is the standard output.
  --triple T              With merge and wrap: write a native object for this target.
  --format LLVM           With merge: the first LLVM that is to read the file, from 14 on. Default: 22.
  --function-table        With merge: add a table by which one function is found quickly.
  -h, --help              Display this help.
  -V, --version           Display the version.

A LINK is its files with resolutions as llvm-lto2 takes them: -r FILE,SYMBOL,LETTERS, and @FILE for
more arguments, such as the resolution.txt that linkers write with save-temps. Files alone are taken
for a shared library in which the first definition of a name prevails. Options of the thin link
(-import-instr-limit=N and so on) and -O0 work as for llvm-lto2.

A FILE is bitcode, a native object (ELF, Mach-O, COFF) with bitcode in it, or an archive of these;
a member goes by archive(member). The exit code is 0, 1 where the answer is no, 2 after an error.

Examples:
  lto-index has *.o
  lto-index show main.o main
  lto-index merge -o all.thinlto.bc *.o libx.a
  lto-index diff old.thinlto.bc new.thinlto.bc
  lto-index why main.o compute @program.resolution.txt
  lto-index graph --dot @program.resolution.txt | dot -Tsvg > imports.svg
";

/// Archives within archives, at most.
const MAX_NESTING: u32 = 8;

#[derive(Default)]
struct Args {
    words: Vec<String>,
    json: bool,
    output: Option<String>,
    triple: Option<String>,
    write: WriteOptions,
}

fn main() -> ExitCode {
    match std::env::args_os().nth(1).as_deref().and_then(OsStr::to_str) {
        Some("why" | "graph") if !std::env::args_os().any(|word| word == "--help") => {
            finish(about_a_link())
        }
        _ => about_indexes(),
    }
}

/// The commands that do a thin link.
fn about_a_link() -> std::result::Result<bool, Failure> {
    let arguments = || std::env::args_os().skip(2);
    let (text, yes) = match std::env::args_os().nth(1) {
        Some(command) if command == "why" => {
            let answer = explain::why(arguments())?;
            (answer.text, answer.imported)
        }
        _ => (explain::graph(arguments())?, true),
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(yes)
}

fn about_indexes() -> ExitCode {
    let words: Vec<String> =
        std::env::args_os().skip(1).map(|a| a.to_string_lossy().into_owned()).collect();
    match parse(words) {
        Ok(Some(args)) => finish(run(&args)),
        Ok(None) => ExitCode::SUCCESS,
        Err(message) => fail(&format!("{message}\nTry lto-index --help.")),
    }
}

fn finish(done: std::result::Result<bool, Failure>) -> ExitCode {
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(Failure::Io(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(Failure::Io(error)) => fail(&format!("error: cannot write: {error}")),
        Err(Failure::Lto(error)) => fail(&format!("error: {error}")),
    }
}

fn fail(message: &str) -> ExitCode {
    // Nobody is left to tell where the standard error is closed.
    let _ = writeln!(io::stderr(), "lto-index: {message}");
    ExitCode::from(2)
}

enum Failure {
    Io(io::Error),
    Lto(Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Io(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Lto(error)
    }
}

/// The command line; none where the answer has been printed already.
fn parse(words: Vec<String>) -> std::result::Result<Option<Args>, String> {
    let mut args = Args::default();
    let mut words = words.into_iter();
    let mut only_files = false;
    while let Some(word) = words.next() {
        if only_files || !word.starts_with('-') || word == "-" {
            args.words.push(word);
            continue;
        }
        let (name, joined) = match word.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (word.clone(), None),
        };
        let mut value = || {
            joined.clone().or_else(|| words.next()).ok_or_else(|| format!("{name} needs a value"))
        };
        match name.as_str() {
            "--" => only_files = true,
            "-h" | "--help" => {
                let _ = io::stdout().write_all(HELP.as_bytes());
                return Ok(None);
            }
            "-V" | "--version" => {
                let _ = writeln!(io::stdout(), "lto-index {}", env!("CARGO_PKG_VERSION"));
                return Ok(None);
            }
            "--json" => args.json = true,
            "-o" | "--output" => args.output = Some(value()?),
            "--triple" => args.triple = Some(value()?),
            "--function-table" => args.write.function_table = true,
            "--format" => {
                let llvm = value()?;
                args.write.format = llvm
                    .parse()
                    .ok()
                    .and_then(Format::of_llvm)
                    .ok_or_else(|| format!("--format is an LLVM from 14 on, not {llvm}"))?;
            }
            _ => return Err(format!("unknown option {word}")),
        }
    }
    let files = args.words.len().saturating_sub(1);
    match args.words.first().map(String::as_str) {
        None => Err("no command".to_owned()),
        Some("has") if files == 0 => Err("has needs at least one file".to_owned()),
        Some("show") if !(1..=2).contains(&files) => {
            Err("show needs one file, and perhaps a function".to_owned())
        }
        Some("diff") if files != 2 => Err("diff needs two files".to_owned()),
        Some("merge") if files == 0 => Err("merge needs at least one file".to_owned()),
        Some("wrap") if files != 1 => Err("wrap needs one file".to_owned()),
        Some("wrap") if args.triple.is_none() => Err("wrap needs --triple".to_owned()),
        Some("merge" | "wrap") if args.output.is_none() => {
            Err("the file to write is missing: -o".to_owned())
        }
        Some("has" | "show" | "merge" | "wrap" | "diff") => Ok(Some(args)),
        Some(other) => Err(format!("unknown command {other}")),
    }
}

fn run(args: &Args) -> std::result::Result<bool, Failure> {
    let [command, files @ ..] = args.words.as_slice() else { return Ok(false) };
    match (command.as_str(), files) {
        ("has", files) => has(files, args.json),
        ("show", [file]) => show(file, None, args.json),
        ("show", [file, function]) => show(file, Some(function), args.json),
        ("merge", files) => {
            memory::prepare(0);
            let index = read_all(files)?.combine()?;
            write(args, &index.to_bitcode(&args.write))?;
            Ok(true)
        }
        ("wrap", [file]) => {
            let bytes = FileBytes::open(Path::new(file))?;
            let bitcode = find_bitcode(&bytes).map_err(|error| error.in_file(file))?;
            write(args, bitcode.bytes)?;
            Ok(true)
        }
        ("diff", [a, b]) => diff(a, b),
        _ => Ok(false),
    }
}

/// Writes bitcode to the output, in an object where a triple was given.
fn write(args: &Args, bitcode: &[u8]) -> std::result::Result<(), Failure> {
    let file = match &args.triple {
        None => Cow::Borrowed(bitcode),
        Some(triple) => Cow::Owned(wrap_in_object(bitcode, triple)?),
    };
    match args.output.as_deref() {
        Some("-") | None => io::stdout().write_all(&file)?,
        Some(path) => write_atomically(Path::new(path), &file)?,
    }
    Ok(())
}

/// Calls `each` with the bytes of a file, or of each member of an archive.
fn each_member(path: &str, each: &mut dyn FnMut(&str, &[u8]) -> Result<()>) -> Result<()> {
    each_member_of(&OpenFile::open(Path::new(path))?, path, each)
}

/// As [`each_member`], for a file that is open already.
fn each_member_of(
    file: &OpenFile,
    path: &str,
    each: &mut dyn FnMut(&str, &[u8]) -> Result<()>,
) -> Result<()> {
    let bytes = file.bytes()?;
    members(&bytes, path, Path::new(path), MAX_NESTING, each)
}

fn members(
    bytes: &[u8],
    name: &str,
    file: &Path,
    nesting: u32,
    each: &mut dyn FnMut(&str, &[u8]) -> Result<()>,
) -> Result<()> {
    if !matches!(identify(bytes), FileKind::Archive | FileKind::ThinArchive) {
        return each(name, bytes);
    }
    let Some(nesting) = nesting.checked_sub(1) else {
        return Err(Error::unsupported("archives are nested too deeply").in_file(name));
    };
    let in_file = |error: Error| error.in_file(name);
    let mut seen = std::collections::HashSet::new();
    for member in Archive::parse(bytes).map_err(in_file)?.members() {
        let member = member.map_err(in_file)?;
        let mut inner = format!("{name}({})", String::from_utf8_lossy(member.name));
        if !seen.insert(inner.clone()) {
            inner = format!("{inner} at {}", member.offset);
        }
        match (&member.data, member.path(file)) {
            (MemberData::Here(bytes), _) => members(bytes, &inner, file, nesting, each)?,
            (MemberData::File(_), Some(path)) => {
                members(&FileBytes::open(&path)?, &inner, &path, nesting, each)?;
            }
            (MemberData::File(_), None) => {}
        }
    }
    Ok(())
}

/// Whether bytes begin like a file that can have an index; others in an archive are passed over.
fn may_have_index(bytes: &[u8]) -> bool {
    find_bitcode(bytes).is_ok()
}

fn has(files: &[String], json: bool) -> std::result::Result<bool, Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut all = true;
    let mut answers = Vec::new();
    for file in files {
        each_member(file, &mut |name, bytes| {
            let yes = has_summary(bytes);
            all &= yes;
            answers.push((name.to_owned(), yes));
            Ok(())
        })?;
    }
    for (at, (name, yes)) in answers.iter().enumerate() {
        if json {
            let open = if at == 0 { "[" } else { ",\n " };
            write!(out, "{open}{{\"file\": {}, \"has_index\": {yes}}}", write_json::text(name))?;
        } else {
            writeln!(out, "{name}: {}", if *yes { "index" } else { "no index" })?;
        }
    }
    if json {
        writeln!(out, "{}", if answers.is_empty() { "[]" } else { "]" })?;
    }
    out.flush()?;
    Ok(all)
}

/// The summaries of all files, in their order.
fn read_all(files: &[String]) -> Result<IndexParts> {
    let done = AtomicUsize::new(0);
    let progress = files.len() > 50 && io::stderr().is_terminal();
    let add = |parts: &mut IndexParts, file: &String| {
        let name = file.as_bytes();
        let options = &ReadOptions::THIN_LINK;
        let opened = OpenFile::open(Path::new(file))?;
        if !parts.add_module_of(&opened, name, options) {
            let read = read_parts(&opened, file, options)?;
            if read.is_empty() {
                return Err(Error::unsupported("the file has no summary").in_file(file));
            }
            read.into_iter().for_each(|part| parts.add(part));
        }
        let count = done.fetch_add(1, Ordering::Relaxed) + 1;
        if progress && count.is_multiple_of(16) {
            let _ = write!(io::stderr(), "\rreading {count} of {}", files.len());
        }
        Ok(())
    };
    let read: Vec<Result<IndexParts>> = files
        .par_iter()
        .with_max_len(FILES_AT_ONCE)
        .fold(
            || Ok(IndexParts::default()),
            |parts: Result<IndexParts>, file| {
                let mut parts = parts?;
                add(&mut parts, file)?;
                Ok(parts)
            },
        )
        .collect();
    if progress {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
    let mut parts = IndexParts::default();
    for more in read {
        parts.append(more?);
    }
    Ok(parts)
}

fn read_parts(opened: &OpenFile, file: &str, options: &ReadOptions) -> Result<Vec<IndexPart>> {
    let mut parts = Vec::new();
    each_member_of(opened, file, &mut |name, bytes| {
        // A file of its own must be right; an archive may have members without bitcode.
        if name == file || may_have_index(bytes) {
            let mut read = read_file(bytes, name.as_bytes(), options)?;
            // A file split for type metadata has a second module, for regular LTO.
            if read.len() > 1 {
                for part in read.iter_mut().filter(|part| part.is_full_lto()) {
                    part.set_path(format!("{name} (regular LTO)").as_bytes());
                }
            }
            parts.extend(read);
        }
        Ok(())
    })?;
    Ok(parts)
}

/// The index of a file, or of all members of an archive together.
fn index_of(file: &str) -> Result<ModuleSummaryIndex> {
    let opened = OpenFile::open(Path::new(file))?;
    let mut parts = read_parts(&opened, file, &ReadOptions::EVERYTHING)?;
    match (parts.pop(), parts.is_empty()) {
        (None, _) => Err(Error::unsupported("the file has no summary").in_file(file)),
        (Some(only), true) => ModuleSummaryIndex::from_part(only),
        (Some(last), false) => {
            parts.push(last);
            ModuleSummaryIndex::combine(parts)
        }
    }
}

fn show(file: &str, function: Option<&String>, json: bool) -> std::result::Result<bool, Failure> {
    let index = index_of(file)?;
    let only = match function {
        None => None,
        Some(name) => {
            let by_guid = || index.find(LTO::ir::Guid(name.parse().ok()?));
            let Some(value) = find_name(&index, name.as_bytes()).or_else(by_guid) else {
                let _ = writeln!(io::stderr(), "lto-index: {file} has nothing of {name}");
                return Ok(false);
            };
            Some(value)
        }
    };
    let mut out = BufWriter::new(io::stdout().lock());
    if json {
        write_json::index(&index, only, &mut out)?;
    } else {
        write_assembly(&index, only, &mut out)?;
    }
    out.flush()?;
    Ok(true)
}

/// The entries of an index by what they are of, with names in place of slots.
fn entries(index: &ModuleSummaryIndex) -> io::Result<BTreeMap<String, String>> {
    let mut whole = Vec::new();
    write_assembly(index, None, &mut whole)?;
    let whole = String::from_utf8_lossy(&whole);
    let mut modules: Vec<String> = index
        .modules()
        .iter()
        .map(|module| String::from_utf8_lossy(&module.path).into_owned())
        .collect();
    modules.sort();
    if let [only] = modules.as_mut_slice() {
        // The same module from two places is to compare equal.
        *only = "the module".to_owned();
    }
    let values = modules.len()..modules.len() + index.guids().len();
    let name = |slot: usize| match modules.get(slot) {
        Some(path) => format!("<{path}>"),
        None if values.contains(&slot) => {
            let guid = index.guid(ValueId((slot - values.start) as u32)).0;
            format!("<{guid}>")
        }
        None => "<type>".to_owned(),
    };
    let mut entries = BTreeMap::new();
    for line in whole.lines() {
        let Some((slot, rest)) = line.strip_prefix('^').and_then(|l| l.split_once(" = ")) else {
            continue;
        };
        let slot = slot.parse().unwrap_or(usize::MAX);
        let rest = match (modules.len(), rest.split_once(", hash: ")) {
            (1, Some((_, hash))) if slot == 0 => format!("module: (hash: {hash}"),
            _ => named(rest, &name),
        };
        let key = match slot < values.end {
            true => name(slot),
            false => rest.split(',').next().unwrap_or("").to_owned(),
        };
        entries.insert(key, rest);
    }
    Ok(entries)
}

/// `line` with the names of slots in place of `^N`, but within quotes.
fn named(line: &str, name: &dyn Fn(usize) -> String) -> String {
    let mut out = String::with_capacity(line.len());
    let mut quoted = false;
    let mut rest = line.chars().peekable();
    while let Some(c) = rest.next() {
        quoted ^= c == '"';
        if c != '^' || quoted {
            out.push(c);
            continue;
        }
        let mut slot = String::new();
        while let Some(digit) = rest.next_if(char::is_ascii_digit) {
            slot.push(digit);
        }
        out.push_str(&slot.parse().map_or_else(|_| "^".to_owned(), name));
    }
    out
}

fn diff(a: &str, b: &str) -> std::result::Result<bool, Failure> {
    let (old, new) = (entries(&index_of(a)?)?, entries(&index_of(b)?)?);
    let mut out = BufWriter::new(io::stdout().lock());
    let mut same = true;
    for key in old.keys().chain(new.keys().filter(|key| !old.contains_key(*key))) {
        let (old, new) = (old.get(key), new.get(key));
        if old == new {
            continue;
        }
        same = false;
        for (sign, line) in [('-', old), ('+', new)] {
            if let Some(line) = line {
                writeln!(out, "{sign} {key} {line}")?;
            }
        }
    }
    out.flush()?;
    Ok(same)
}
