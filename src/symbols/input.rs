//! A bitcode file as the linker plugin and `lto_input` see it.
//!
//! In: a file's bytes, of any container. Out: an [`InputFile`]: symbols in the order of the
//! irsymtab, comdats, dependent libraries. No function body and no metadata is looked at where
//! the file carries a usable irsymtab.
//!
//! LLVM uses a stored irsymtab only where it is of its own version to the last letter of the
//! producer's name. We use any of the layout that we know, and derive anew what depends on the
//! producer: which runtime library functions are to be preserved ([`InputFile::is_used`]), and
//! the order of assembly symbols, which follows a hash function that changed in LLVM 17.

use super::build;
use super::irsymtab::{self, Irsymtab, Symbol, flag};
use super::preserved::Preserved;
use super::triple::Triple;
use crate::bitcode::{BitcodeFile, BitcodeModule, Extent, Module, Producer};
use crate::container;
use crate::error::{Error, Result};
use crate::ir::SelectionKind;

/// The first version of LLVM whose hash tables order symbols as LLVM 22's do.
const ORDER_SINCE: u32 = 17;

/// A bitcode file with its symbol table. Corresponds to `lto::InputFile`.
#[derive(Clone, Debug)]
pub struct InputFile<'a> {
    /// The raw bitcode, out of its container.
    pub bitcode: &'a [u8],
    /// What the bitcode was found in.
    pub carrier: container::Carrier,
    file: BitcodeFile<'a>,
    table: Irsymtab<'a>,
    stored: bool,
    preserved: Preserved,
}

impl<'a> InputFile<'a> {
    /// Opens a file.
    ///
    /// # Errors
    /// Those of [`container::find_bitcode`]; unsupported for an object that only embeds bitcode
    /// (`.llvmbc`) and is not an input of LTO; malformed bitcode, or a file without modules.
    pub fn open(bytes: &'a [u8]) -> Result<Self> {
        let found = container::find_bitcode(bytes)?;
        if !found.carrier.is_lto_input() {
            return Err(Error::unsupported(
                "object file that embeds bitcode (.llvmbc) but is not compiled for LTO",
            ));
        }
        Self::from_bitcode(found)
    }

    /// Opens bitcode that the caller took out of its container.
    ///
    /// # Errors
    /// Malformed bitcode, or a file without modules.
    pub fn from_bitcode(found: container::Bitcode<'a>) -> Result<Self> {
        let file = BitcodeFile::read(found.bytes)?;
        if file.modules.is_empty() {
            return Err(Error::malformed("Bitcode file does not contain any modules"));
        }
        let stored_table = match file.symtab {
            Some(blob) => usable(blob, &file)?,
            None => None,
        };
        let stored = stored_table.is_some();
        let table = match stored_table {
            Some(table) => table,
            None => build_table(&file)?,
        };
        let triple = table.target_triple();
        let preserved = Preserved::for_triple(&Triple::parse(triple), triple);
        Ok(InputFile {
            bitcode: found.bytes,
            carrier: found.carrier,
            file,
            table,
            stored,
            preserved,
        })
    }

    /// The symbols for the linker: global, and not of the format's own.
    pub fn symbols(&self) -> impl Iterator<Item = Symbol<'_>> {
        self.table.symbols().filter(is_for_linker)
    }

    /// The same of one module of the file.
    pub fn module_symbols(&self, module: usize) -> impl Iterator<Item = Symbol<'_>> {
        self.table.module_symbols(module).filter(is_for_linker)
    }

    /// Whether a symbol must be kept although nothing in the link refers to it: it is in
    /// `llvm.used`, module assembly refers to it, or code generation may.
    pub fn is_used(&self, symbol: &Symbol<'_>) -> bool {
        symbol.has(flag::USED) || self.preserved.contains(symbol.ir_name)
    }

    /// The whole table, with the symbols that are not for the linker.
    pub fn table(&self) -> &Irsymtab<'a> {
        &self.table
    }

    /// Whether the table is the one stored in the file.
    pub fn uses_stored_table(&self) -> bool {
        self.stored
    }

    /// The file's modules.
    pub fn modules(&self) -> &[BitcodeModule<'a>] {
        &self.file.modules
    }

    /// Who wrote a module of the file. What was made for the thin link alone does not say; its symbol
    /// table does ("19.1.7").
    ///
    /// # Errors
    /// Where the module's identification cannot be read.
    pub fn producer(&self, module: &BitcodeModule<'_>) -> Result<Producer> {
        producer(&self.file, module)
    }

    /// The target triple of the first module.
    pub fn target_triple(&self) -> &[u8] {
        self.table.target_triple()
    }

    /// The source file name of the first module.
    pub fn source_file_name(&self) -> &[u8] {
        self.table.source_file_name()
    }

    /// Comdats by the index that symbols have.
    pub fn comdats(&self) -> impl ExactSizeIterator<Item = (&[u8], SelectionKind)> {
        self.table.comdats()
    }

    /// The libraries that the source asks for.
    pub fn dependent_libraries(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.table.dependent_libraries()
    }

    /// COFF: directives for the linker.
    pub fn coff_linker_opts(&self) -> &[u8] {
        self.table.coff_linker_opts()
    }
}

fn is_for_linker(symbol: &Symbol<'_>) -> bool {
    symbol.flags & (flag::GLOBAL | flag::FORMAT_SPECIFIC) == flag::GLOBAL
}

/// [`InputFile::producer`].
///
/// # Errors
/// Where the module's identification cannot be read.
pub fn producer(file: &BitcodeFile<'_>, module: &BitcodeModule<'_>) -> Result<Producer> {
    let mut identification = module.identification()?;
    if identification.producer.is_empty()
        && let Some(table) = file.symtab
        && let Some((_, version)) = irsymtab::version_and_producer(table, file.symtab_strtab)
    {
        if version.first().is_some_and(u8::is_ascii_digit) {
            identification.producer = b"LLVM".to_vec();
        }
        identification.producer.extend_from_slice(version);
    }
    Ok(Producer::of(&identification))
}

/// Builds the table of all modules of a file, whatever is stored in it.
///
/// # Errors
/// Malformed module blocks; those of [`build::build`].
pub fn build_table<'a>(file: &BitcodeFile<'a>) -> Result<Irsymtab<'a>> {
    let modules = file.modules.iter().map(|m| Module::read(m, Extent::Head));
    build::build(&modules.collect::<Result<Vec<_>>>()?)
}

/// The stored table, if what it says is what we would say.
fn usable<'a>(blob: &'a [u8], file: &BitcodeFile<'a>) -> Result<Option<Irsymtab<'a>>> {
    let strtab = file.symtab_strtab;
    let Some((version, producer)) = irsymtab::version_and_producer(blob, strtab) else {
        return Ok(None);
    };
    if version != irsymtab::VERSION || strtab.is_empty() {
        return Ok(None);
    }
    let table = Irsymtab::open(blob, strtab)?;
    // A file that was made by concatenation has the table of its first part.
    if table.num_modules() != file.modules.len() {
        return Ok(None);
    }
    if table.has_asm_symbols() && !keeps_our_order(producer) {
        return Ok(None);
    }
    Ok(Some(table))
}

/// Whether the producer is an LLVM whose order of assembly symbols is ours. Apple numbers its
/// versions otherwise, by numbers that no LLVM has.
fn keeps_our_order(producer: &[u8]) -> bool {
    let digits: String =
        producer.iter().take_while(|c| c.is_ascii_digit()).map(|&c| char::from(c)).collect();
    digits.parse::<u32>().is_ok_and(|major| (ORDER_SINCE..100).contains(&major))
}
