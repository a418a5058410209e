//! What `llvm-lto` tells of files without linking them.
//!
//! In: files and a [`Question`]. Out: text on the standard output. Source of words: `testLTOModule`
//! and the functions beside it in llvm-lto.cpp.

use std::io::Write;

use super::command_line::Word;
use super::lto::path;
use crate::container::FileBytes;
use crate::error::{Error, Result};
use crate::summary::{ReadOptions, SummaryKind, read_index};
use crate::symbols::{InputFile, LtoModule, attribute, has_objc_category};

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    Symbols,
    CtorDtor,
    DependentLibraries,
    IndexStats,
    ObjC,
    MachOCpu,
}

impl Question {
    /// The question that an option asks.
    pub(super) fn parse(option: &[u8]) -> Option<Self> {
        Some(match option {
            b"list-symbols-only" => Question::Symbols,
            b"query-hasCtorDtor" => Question::CtorDtor,
            b"list-dependent-libraries-only" => Question::DependentLibraries,
            b"thinlto-index-stats" => Question::IndexStats,
            b"check-for-objc" => Question::ObjC,
            b"print-macho-cpu-only" => Question::MachOCpu,
            _ => return None,
        })
    }
}

/// Answers for each file in turn.
///
/// `with_words`: LLVM says since version 21 or 22 what a symbol is, too.
pub(super) fn answer(question: Question, files: &[Word<'_>], with_words: bool) -> Result<()> {
    for file in files {
        let mut text = Vec::new();
        FileBytes::open(path(file))
            .and_then(|bytes| say(question, file, &bytes, with_words, &mut text))
            .map_err(|e| e.in_file(String::from_utf8_lossy(file)))?;
        std::io::stdout()
            .write_all(&text)
            .map_err(|error| Error::io("cannot write to standard output", &error))?;
    }
    Ok(())
}

/// What a symbol's attributes are called.
fn words(attributes: u32) -> String {
    const PERMISSIONS: [(u32, &str); 3] = [
        (attribute::PERMISSIONS_CODE, "function"),
        (attribute::PERMISSIONS_DATA, "data"),
        (attribute::PERMISSIONS_RODATA, "constant"),
    ];
    const DEFINITIONS: [(u32, &str); 5] = [
        (attribute::DEFINITION_REGULAR, "defined"),
        (attribute::DEFINITION_TENTATIVE, "common"),
        (attribute::DEFINITION_WEAK, "weak"),
        (attribute::DEFINITION_UNDEFINED, "extern"),
        (attribute::DEFINITION_WEAKUNDEF, "extern-weak"),
    ];
    const SCOPES: [(u32, &str); 5] = [
        (attribute::SCOPE_INTERNAL, "internal"),
        (attribute::SCOPE_HIDDEN, "hidden"),
        (attribute::SCOPE_PROTECTED, "protected"),
        (attribute::SCOPE_DEFAULT, "default"),
        (attribute::SCOPE_DEFAULT_CAN_BE_HIDDEN, "omitted"),
    ];
    let masked = |mask: u32, table: &[(u32, &'static str)]| {
        table.iter().find(|(bits, _)| attributes & mask == *bits).map(|(_, word)| *word)
    };
    let flag = |bit: u32, word| (attributes & bit != 0).then_some(word);
    let words = [
        masked(attribute::PERMISSIONS_MASK, &PERMISSIONS),
        masked(attribute::DEFINITION_MASK, &DEFINITIONS),
        masked(attribute::SCOPE_MASK, &SCOPES),
        flag(attribute::COMDAT, "comdat"),
        flag(attribute::ALIAS, "alias"),
    ];
    format!("    {{ {} }}", words.into_iter().flatten().collect::<Vec<_>>().join(" "))
}

fn say(
    question: Question,
    file: &[u8],
    bytes: &[u8],
    with_words: bool,
    text: &mut Vec<u8>,
) -> Result<()> {
    let mut line = |parts: &[&[u8]]| super::command_line::line(text, parts);
    match question {
        Question::Symbols => {
            line(&[file, b":"]);
            let module = LtoModule::read(bytes)?;
            for (name, attributes) in module.symbols() {
                let words = if with_words { words(attributes) } else { String::new() };
                line(&[name.to_bytes(), words.as_bytes()]);
            }
            for name in module.asm_undefined().filter(|_| with_words) {
                line(&[name.to_bytes(), b"    { asm extern }"]);
            }
        }
        Question::CtorDtor => {
            let has = LtoModule::read(bytes)?.has_ctor_dtor();
            line(&[file, b": hasCtorDtor = ", has.to_string().as_bytes()]);
        }
        Question::DependentLibraries => {
            line(&[file, b":"]);
            InputFile::open(bytes)?.dependent_libraries().for_each(|library| line(&[library]));
        }
        Question::IndexStats => {
            let index = read_index(bytes, file, &ReadOptions::THIN_LINK)?;
            if index.modules().is_empty() {
                return Err(Error::misuse("does not contain an index"));
            }
            line(&[b"Index ", file, b" contains ", stats(&index).as_bytes()]);
        }
        Question::ObjC => {
            let does: &[u8] = match has_objc_category(bytes)? {
                true => b" contains ObjC",
                false => b" does not contain ObjC",
            };
            line(&[b"Bitcode ", file, does]);
        }
        Question::MachOCpu => {
            let (cpu, subtype) = LtoModule::read(bytes)?.macho_cpu()?;
            let numbers = format!("cputype: {cpu}\ncpusubtype: {subtype}");
            line(&[file, b":\n", numbers.as_bytes()]);
        }
    }
    Ok(())
}

fn stats(index: &crate::summary::ModuleSummaryIndex) -> String {
    let [mut functions, mut aliases, mut variables, mut refs, mut calls] = [0; 5];
    for summary in index.summaries() {
        refs += summary.refs().len();
        match summary.kind() {
            SummaryKind::Function => {
                functions += 1;
                calls += summary.callees().len();
            }
            SummaryKind::Alias => aliases += 1,
            SummaryKind::Variable => variables += 1,
        }
    }
    format!(
        "{} nodes ({functions} functions, {aliases} alias, {variables} globals) and {} edges \
         ({refs} refs and {calls} calls)",
        functions + aliases + variables,
        refs + calls
    )
}
