//! `llvm-lto2 dump-symtab`: the symbols of files as linkers see them.
//!
//! In: names of files. Out: text on the standard output. Source of words: `dumpSymtab` of
//! llvm-lto2.cpp.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;

use super::command_line::line;
use crate::container::{self, FileBytes};
use crate::error::{Error, Result};
use crate::ir::{SelectionKind, Visibility};
use crate::symbols::InputFile;
use crate::symbols::irsymtab::{self, version_and_producer};
use crate::symbols::triple::{ObjectFormat, Triple};

/// Prints the symbols of files.
pub(super) fn dump_symtab(files: impl Iterator<Item = OsString>) -> Result<()> {
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
