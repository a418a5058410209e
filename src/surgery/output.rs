//! The file around a module block in the making: string table, and where bodies are.
//!
//! In: names, and word of each body as it is about to be written. Out: the fields that stand for
//! names, the module's value symbol table, and at last the file. It must not know what a module
//! says, nor what is asked of it.
//!
//! Two offsets in a module point at other places of the file and are written anew, in 32-bit
//! words from one word before the identification block (so, in a file of one module, from its
//! start): VSTOFFSET in the module block points at the module's value symbol table, and each
//! FNENTRY in that table at a function's body. Both only serve lazy loading, but where they are
//! present the reader trusts them. (`writeGlobalValueSymbolTable` in LLVM's `BitcodeWriter.cpp`.)

use crate::bitcode::{BITCODE_MAGIC, Module, block_id, module_code, vst_code};
use crate::bitstream::{Abbrev, Scalar, Tail, Writer, abbrev_id};
use crate::error::{Error, Result};

/// The width of abbreviation ids at top level.
pub(super) const TOP: u32 = 2;
/// VSTOFFSET as a vbr6 of seven chunks: 35 bits of words, written before its value is known.
const VSTOFFSET_CHUNKS: u32 = 7;
const STRTAB_BLOB: u32 = 1;

/// A file of one module.
pub(super) struct Output {
    /// Where the module block goes.
    pub writer: Writer,
    strtab: Vec<u8>,
    /// Value id and word offset of each body that was written.
    functions: Vec<(usize, u64)>,
    vst_offset_bit: Option<u64>,
}

impl Output {
    /// Begins with the magic number and the identification of `module`, and a string table that
    /// already holds `strtab`.
    pub fn new(module: &Module<'_>, strtab: Vec<u8>, capacity: usize) -> Self {
        let mut writer = Writer::with_capacity(capacity);
        writer.bytes(&BITCODE_MAGIC);
        if let Some(identification) = &module.location.identification {
            writer.copy_block(TOP, module.location.data, identification);
        }
        Output { writer, strtab, functions: Vec::new(), vst_offset_bit: None }
    }

    /// Puts a name into the string table: its offset and its length.
    pub fn name(&mut self, name: &[u8]) -> [u64; 2] {
        let offset = self.strtab.len() as u64;
        self.strtab.extend_from_slice(name);
        [offset, name.len() as u64]
    }

    /// Writes VSTOFFSET, whose value is filled in by [`Output::symbol_table`].
    pub fn symbol_table_offset(&mut self, width: u32) {
        self.writer.fixed(abbrev_id::UNABBREV_RECORD, width);
        self.writer.vbr(u64::from(module_code::VSTOFFSET), 6);
        self.writer.vbr(1, 6);
        self.vst_offset_bit = Some(self.writer.bit());
        self.writer.vbr_padded(0, 6, VSTOFFSET_CHUNKS);
    }

    /// Notes that the body of `id` is written next.
    pub fn at_body(&mut self, id: usize) -> Result<()> {
        let word = self.word()?;
        self.functions.push((id, word));
        Ok(())
    }

    /// Where the writer stands, in words from the start of the file.
    fn word(&self) -> Result<u64> {
        let bit = self.writer.bit();
        match bit.is_multiple_of(32) {
            true => Ok(bit / 32),
            // LLVM's writer asserts the same of its own output.
            false => Err(Error::malformed("a function body that does not start at a word")),
        }
    }

    /// The module's value symbol table: FNENTRY `[value id, offset in words]` for each body.
    /// Nothing where no VSTOFFSET was written.
    pub fn symbol_table(&mut self, width: u32) -> Result<()> {
        let Some(offset_bit) = self.vst_offset_bit else { return Ok(()) };
        let word = self.word()?;
        const ABBREV_WIDTH: u32 = 4;
        let open = self.writer.begin_block(width, block_id::VALUE_SYMTAB, ABBREV_WIDTH);
        for &(id, offset) in &self.functions {
            self.writer.record(ABBREV_WIDTH, vst_code::FNENTRY, &[id as u64, offset]);
        }
        self.writer.end_block(open);
        self.writer.patch_vbr(offset_bit, word, 6, VSTOFFSET_CHUNKS);
        Ok(())
    }

    /// The file, ended by its string table. The module block must have ended.
    pub fn finish(mut self) -> Vec<u8> {
        const ABBREV_WIDTH: u32 = 3;
        let open = self.writer.begin_block(TOP, block_id::STRTAB, ABBREV_WIDTH);
        let blob =
            Abbrev { scalars: vec![Scalar::Literal(u64::from(STRTAB_BLOB))], tail: Tail::Blob };
        self.writer.define_abbrev(ABBREV_WIDTH, &blob);
        let first = abbrev_id::FIRST_APPLICATION as u32;
        self.writer.abbreviated(ABBREV_WIDTH, first, &blob, STRTAB_BLOB, &[], Some(&self.strtab));
        self.writer.end_block(open);
        self.writer.finish()
    }
}
