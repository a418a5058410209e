//! `lto-cgdata`: codegen data for people, with the command line of `llvm-cgdata`.
//!
//! In: object files, archives of them, or `.cgdata` files. Out: a `.cgdata` file, its text form, or
//! a summary. Options, defaults, output and exit codes are those of LLVM 22's `llvm-cgdata`; the
//! action may also be given as a first word (`merge`, `show`, `convert`), and `--output-version`
//! writes files for older LLVM. All work is done by the library's `cgdata` module.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;

use LTO::cgdata::{CgdataFile, FinalizeOptions, Merger, NEWEST_VERSION, ObjectData};
use LTO::cgdata::{extract, indexed, text};
use LTO::container::{Archive, FileBytes, FileKind, MemberData, identify};
use LTO::error::{Error, Result};
use LTO::tools::memory;
use rayon::prelude::*;

const HELP: &str = "\
OVERVIEW: codegen data: look at it, convert it, merge that of a program's objects

USAGE: lto-cgdata <action> [options] (<binary files>|<.cgdata file>)

Action (one, required; the word alone will do as the first argument):
  --convert, -c  Convert a .cgdata file between its text and its binary form.
  --merge, -m    Merge the codegen data in object files and archives into one .cgdata file.
                 The objects come from a compiler with -codegen-data-generate.
  --show, -s     Show a summary of a .cgdata file.

Generic Options:
  --help, -h     Display this help.
  --version, -v  Display the version.

OPTIONS:
  --cgdata-version         With --show: display the version of the file's format.
  --format <value>, -f     Output format, text or binary. Default: text for --convert, binary for
                           --merge.
  --output <file>, -o      Write to this file instead of the standard output (also called -).
  --output-version <n>     Write a binary file of version 1 to 4. Default: 4, that of LLVM 22.
  --skip-trim              With --merge: keep functions that merging would gain nothing from.
  -indexed-codegen-data-lazy-loading
                           Accepted for the sake of llvm-cgdata, where it saves memory.

A file called - is the standard input. The exit code is 0, or 1 after an error.

Examples:
  lto-cgdata --merge -o all.cgdata *.o libx.a     then: -mllvm -codegen-data-use-path=all.cgdata
  lto-cgdata --show all.cgdata
  lto-cgdata --convert all.cgdata > all.cgtext
";

/// Inputs that are open at once: each may be a mapping, of which a process has not many.
const BATCH: usize = 256;

/// Archives within archives, at most.
const MAX_NESTING: u32 = 8;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Convert,
    Merge,
    Show,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Text,
    Binary,
}

/// The command line, taken apart.
struct Args {
    action: Action,
    format: Format,
    inputs: Vec<String>,
    output: String,
    output_version: u32,
    show_version: bool,
    skip_trim: bool,
}

enum Parsed {
    Run(Args),
    /// Print this and be done.
    Print(String),
}

fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|a| a.to_string_lossy().into_owned()).collect();
    let outcome = match parse(&arguments) {
        Ok(Parsed::Print(text)) => write_output("-", text.as_bytes()).map_err(|e| e.to_string()),
        Ok(Parsed::Run(args)) => run(&args).map_err(|e| format!("error: {e}")),
        Err(message) => Err(message),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // Nobody is left to tell where the standard error is closed.
            let _ = writeln!(std::io::stderr(), "{message}");
            ExitCode::FAILURE
        }
    }
}

/// The options that stand for themselves, and those that take a value.
const FLAGS: [&str; 13] = [
    "--help",
    "-h",
    "--version",
    "-v",
    "--convert",
    "-c",
    "--merge",
    "-m",
    "--show",
    "-s",
    "--cgdata-version",
    "--skip-trim",
    "-indexed-codegen-data-lazy-loading",
];
const WITH_VALUE: [&str; 5] = ["--format", "-f", "--output", "-o", "--output-version"];

/// Takes the command line apart. The error is the whole line to print, as `llvm-cgdata` words it.
fn parse(arguments: &[String]) -> std::result::Result<Parsed, String> {
    let mut flags: Vec<&str> = Vec::new();
    let (mut format, mut output, mut output_version) = (None, None, None);
    let mut inputs: Vec<String> = Vec::new();
    let mut rest = arguments.iter();
    let mut first = true;
    while let Some(argument) = rest.next() {
        let is_first = std::mem::replace(&mut first, false);
        if argument.is_empty() {
            continue;
        }
        if is_first && matches!(argument.as_str(), "convert" | "merge" | "show") {
            flags.push(match argument.as_str() {
                "convert" => "--convert",
                "merge" => "--merge",
                _ => "--show",
            });
            continue;
        }
        if !argument.starts_with('-') || argument == "-" {
            inputs.push(argument.clone());
            continue;
        }
        if let Some(flag) = FLAGS.iter().find(|flag| *flag == argument) {
            flags.push(flag);
            continue;
        }
        let (name, value) = if WITH_VALUE.contains(&argument.as_str()) {
            match rest.next() {
                Some(value) => (argument.as_str(), value.as_str()),
                None => return Err(format!("{argument}: missing argument")),
            }
        } else if let Some(value) = argument.strip_prefix("-o") {
            ("-o", value)
        } else if let Some(value) = argument.strip_prefix("-f") {
            ("-f", value)
        } else {
            let hint = nearest(argument).map(|n| format!(", did you mean '{n}'?"));
            return Err(format!("unknown argument '{argument}'{}", hint.unwrap_or_default()));
        };
        match name {
            "--format" | "-f" => format = Some(value),
            "--output" | "-o" => output = Some(value),
            _ => output_version = Some(value),
        }
    }
    let has = |long: &str, short: &str| flags.iter().any(|f| *f == long || *f == short);
    if has("--help", "-h") {
        return Ok(Parsed::Print(HELP.to_owned()));
    }
    if has("--version", "-v") {
        return Ok(Parsed::Print(format!(
            "lto-cgdata {}\n  .cgdata versions 1 to {NEWEST_VERSION}\n",
            env!("CARGO_PKG_VERSION")
        )));
    }
    let fail = |message: String| Err(format!("error: {message}"));
    let format = match format {
        None => None,
        Some("text") => Some(Format::Text),
        Some("binary") => Some(Format::Binary),
        Some(other) => return fail(format!("unsupported format '{other}'")),
    };
    let output_version = match output_version.map(str::parse) {
        None => NEWEST_VERSION,
        Some(Ok(version)) if (1..=NEWEST_VERSION).contains(&version) => version,
        Some(_) => {
            return fail(format!("--output-version takes a number from 1 to {NEWEST_VERSION}"));
        }
    };
    if inputs.is_empty() {
        return fail("No input file is specified.".to_owned());
    }
    let output = output.unwrap_or("-").to_owned();
    if output != "-" && inputs.contains(&output) {
        return fail("Input file name cannot be the same as the output file name!".to_owned());
    }
    let mut actions = flags.iter().filter_map(|flag| match *flag {
        "--convert" | "-c" => Some(Action::Convert),
        "--merge" | "-m" => Some(Action::Merge),
        "--show" | "-s" => Some(Action::Show),
        _ => None,
    });
    let Some(action) = actions.next() else {
        return fail("One action is required.".to_owned());
    };
    if actions.next().is_some() {
        return fail("Only one action is allowed.".to_owned());
    }
    if action != Action::Merge && inputs.len() != 1 {
        return fail("only one input file is allowed.".to_owned());
    }
    let default = if action == Action::Merge { Format::Binary } else { Format::Text };
    Ok(Parsed::Run(Args {
        action,
        format: format.unwrap_or(default),
        inputs,
        output,
        output_version,
        show_version: has("--cgdata-version", ""),
        skip_trim: has("--skip-trim", ""),
    }))
}

/// The option that differs from what was typed by one character.
fn nearest(typed: &str) -> Option<&'static str> {
    FLAGS.iter().chain(&WITH_VALUE).copied().filter(|o| o.len() > 2).find(|o| one_edit(typed, o))
}

/// Whether one inserted, dropped or changed character makes `a` into `b`.
fn one_edit(a: &str, b: &str) -> bool {
    let same = |x: &mut dyn Iterator<Item = (char, char)>| x.take_while(|(a, b)| a == b).count();
    let (m, n) = (a.chars().count(), b.chars().count());
    let head = same(&mut a.chars().zip(b.chars()));
    let tail = same(&mut a.chars().rev().zip(b.chars().rev()));
    m.abs_diff(n) <= 1 && head + tail + 1 >= m.max(n)
}

fn run(args: &Args) -> Result<()> {
    match args.action {
        Action::Merge => {
            let options = FinalizeOptions { skip_trim: args.skip_trim, ..Default::default() };
            let data = merge(&args.inputs)?.finish(&options)?;
            write_output(&args.output, &serialize(&data, args)?)
        }
        Action::Convert => {
            let file = read_cgdata(args)?;
            write_output(&args.output, &serialize(&file.data, args)?)
        }
        Action::Show => {
            let file = read_cgdata(args)?;
            write_output(&args.output, show(&file, args.show_version).as_bytes())
        }
    }
}

fn serialize(data: &LTO::cgdata::CodegenData, args: &Args) -> Result<Vec<u8>> {
    match args.format {
        Format::Text => Ok(text::write(data)),
        Format::Binary => indexed::write(data, args.output_version),
    }
}

/// The one input of `--convert` and `--show`.
fn read_cgdata(args: &Args) -> Result<CgdataFile> {
    let name = args.inputs.first().map_or("-", String::as_str);
    CgdataFile::read(&open(name)?).map_err(|e| e.in_file(name))
}

fn show(file: &CgdataFile, with_version: bool) -> String {
    let mut out = String::new();
    let mut line = |what: &str, value: &dyn std::fmt::Display| {
        // A String takes all that is written to it.
        let _ = writeln!(out, "{what}{value}");
    };
    if with_version {
        line("Version: ", &file.version);
    }
    if let Some(tree) = &file.data.tree {
        line("Outlined hash tree:", &"");
        line("  Total Node Count: ", &tree.node_count());
        line("  Terminal Node Count: ", &tree.terminal_node_count());
        line("  Depth: ", &tree.depth());
    }
    if let Some(map) = &file.data.map {
        let counts = map.counts();
        line("Stable function map:", &"");
        line("  Unique hash Count: ", &counts.unique);
        line("  Total function Count: ", &counts.total);
        line("  Mergeable function Count: ", &counts.mergeable);
    }
    out
}

/// Merges the codegen data of all inputs in their order.
fn merge(inputs: &[String]) -> Result<Merger> {
    memory::prepare(0);
    let mut merger = Merger::new();
    for batch in inputs.chunks(BATCH) {
        let data: Vec<Result<(Vec<ObjectData>, FileBytes)>> = batch
            .par_iter()
            .map(|name| {
                let (bytes, mut found) = (open(name)?, Vec::new());
                collect(&bytes, Path::new(name), 0, &mut found)
                    .map_err(|e| e.in_file(name.as_str()))?;
                Ok((found, bytes))
            })
            .collect();
        // Files are let go of when all are read: to unmap one stops the threads that read others.
        let (mut all, mut files) = (Vec::new(), Vec::new());
        for found in data {
            let (found, file) = found?;
            all.extend(found);
            files.push(file);
        }
        merger.add_all(all)?;
    }
    Ok(merger)
}

/// Appends the codegen data in an object, or in the objects of an archive.
fn collect(bytes: &[u8], path: &Path, nesting: u32, found: &mut Vec<ObjectData>) -> Result<()> {
    match identify(bytes) {
        FileKind::Archive | FileKind::ThinArchive => {
            if nesting == MAX_NESTING {
                return Err(Error::unsupported("archives nested too deeply"));
            }
            let archive = Archive::parse(bytes)?;
            for member in archive.members() {
                let member = member?;
                let name = String::from_utf8_lossy(member.name).into_owned();
                let outcome = match (&member.data, member.path(path)) {
                    (MemberData::Here(bytes), _) => collect(bytes, path, nesting + 1, found),
                    (MemberData::File(_), Some(file)) => FileBytes::open(&file)
                        .and_then(|bytes| collect(&bytes, &file, nesting + 1, found)),
                    (MemberData::File(_), None) => Err(Error::malformed("a member without a name")),
                };
                outcome.map_err(|e| e.in_member(name))?;
            }
            Ok(())
        }
        FileKind::MachOUniversal => Err(Error::unsupported(
            "unsupported binary file: a universal Mach-O file; extract one architecture with lipo",
        )),
        FileKind::Bitcode => Err(Error::unsupported(
            "The file was not recognized as a valid object file: it is bitcode, which has no \
             codegen data before code is generated",
        )),
        _ => {
            found.extend(extract(bytes)?);
            Ok(())
        }
    }
}

/// An input's bytes; `-` is the standard input.
fn open(name: &str) -> Result<FileBytes> {
    if name == "-" {
        let mut bytes = Vec::new();
        std::io::stdin()
            .read_to_end(&mut bytes)
            .map_err(|e| Error::io("cannot read", &e).in_file("<stdin>"))?;
        return Ok(FileBytes::from(bytes));
    }
    FileBytes::open(Path::new(name))
}

/// Writes all of `bytes`; `-` is the standard output. A file that cannot be written whole is
/// removed.
fn write_output(name: &str, bytes: &[u8]) -> Result<()> {
    if name == "-" {
        let mut out = std::io::stdout().lock();
        return out
            .write_all(bytes)
            .and_then(|()| out.flush())
            .map_err(|e| Error::io("cannot write", &e).in_file("<stdout>"));
    }
    let path = Path::new(name);
    let mut file =
        std::fs::File::create(path).map_err(|e| Error::io("cannot create", &e).in_file(name))?;
    file.write_all(bytes).map_err(|e| {
        // Only a plain file of ours: never a device that was named as the output.
        if file.metadata().is_ok_and(|m| m.is_file()) {
            let _ = std::fs::remove_file(path);
        }
        Error::io("cannot write", &e).in_file(name)
    })
}
