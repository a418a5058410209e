//! The module block.
//!
//! In: a [`BitcodeModule`]. Out: everything that stands in records at module level, and where the
//! blocks within are. Blocks are skipped by their length; whoever needs one reads it.

use std::borrow::Cow;

use super::file::BitcodeModule;
use super::global::GlobalValue;
use super::guid_list::GuidList;
use super::{block_id, module_code, vst_code};
use crate::bitstream::{Block, BlockInfo, BlockReader, Entry, Fields, Record};
use crate::error::{Error, Result};
use crate::ir::{ModuleHash, SelectionKind};

/// How much of the module block to walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Up to the first function body: every record that LLVM's writers put in front of them.
    /// Summary, value symbol table and hash stand behind the bodies and are not seen. Of a
    /// function or variable nothing behind its comdat is read; what is there counts as absent.
    Head,
    /// All of it.
    All,
}

/// A COMDAT record: `[strtab_offset, strtab_size, selection_kind]`, before version 2
/// `[selection_kind, size, character...]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comdat<'a> {
    /// Its key.
    pub name: Cow<'a, [u8]>,
    /// Which copy the linker keeps.
    pub selection: SelectionKind,
}

/// A module's records. Strings are bytes: LLVM does not promise UTF-8.
#[derive(Clone, Debug)]
pub struct Module<'a> {
    /// Where it is.
    pub location: BitcodeModule<'a>,
    /// The version of the module block: 0 absolute, 1 relative value ids, 2 names in the string
    /// table.
    pub version: u64,
    /// The target triple.
    pub triple: Vec<u8>,
    /// The data layout string.
    pub data_layout: Vec<u8>,
    /// The source file name.
    pub source_file_name: Vec<u8>,
    /// Module level inline assembly.
    pub asm: Vec<u8>,
    /// Section names; a global's `section` is 1 + an index into it.
    pub sections: Vec<Vec<u8>>,
    /// Names of garbage collectors.
    pub gcs: Vec<Vec<u8>>,
    /// Comdats; a global's `comdat` is 1 + an index into it.
    pub comdats: Vec<Comdat<'a>>,
    /// All global values; the index is the value id.
    pub globals: Vec<GlobalValue<'a>>,
    /// The GUIDs that it stores (LLVM 23), where [`Extent::All`] was read.
    pub guids: GuidList,
    /// The module's hash, where it has one and [`Extent::All`] was read.
    pub hash: Option<ModuleHash>,
    /// The offset of the module's value symbol table as the record gives it, in words.
    pub vst_offset: Option<u64>,
    /// The blocks within, in file order, but for BLOCKINFO and function bodies.
    pub blocks: Vec<Block>,
    /// The function bodies, in file order: the n-th belongs to the n-th function that is no
    /// declaration. Empty where only the head was read.
    pub bodies: Vec<Block>,
    /// The abbreviations that BLOCKINFO gives to the blocks within.
    pub block_info: BlockInfo,
    /// How much was read.
    pub extent: Extent,
    /// Where the first function body starts, in bits, if there is one.
    pub first_body: Option<u64>,
}

impl<'a> Module<'a> {
    /// Reads the module block. A module without a string table (before LLVM 5) gets its names
    /// from its value symbol table and is always read whole.
    pub fn read(location: &BitcodeModule<'a>, extent: Extent) -> Result<Self> {
        let mut m = Module {
            location: *location,
            version: 0,
            triple: Vec::new(),
            data_layout: Vec::new(),
            source_file_name: Vec::new(),
            asm: Vec::new(),
            sections: Vec::new(),
            gcs: Vec::new(),
            // Few modules have less, and none many times more than these take to grow to.
            comdats: Vec::with_capacity(32),
            globals: Vec::with_capacity(128),
            guids: GuidList::default(),
            hash: None,
            vst_offset: None,
            blocks: Vec::new(),
            bodies: Vec::new(),
            block_info: BlockInfo::default(),
            extent,
            first_body: None,
        };
        let data = location.data;
        let mut reader = BlockReader::new(data, &location.block, &BlockInfo::default());
        let mut record = Record::new();
        let wanted = |code| match extent {
            Extent::Head if code == module_code::GUIDLIST => 0,
            Extent::Head => GlobalValue::fields_to_comdat(code).unwrap_or(usize::MAX),
            Extent::All => usize::MAX,
        };
        loop {
            let entry = reader.next_after_plain(&mut record, wanted, |record| m.record(record))?;
            match entry {
                Entry::End { .. } => break,
                Entry::DefineAbbrev { .. } => {}
                Entry::Block(block) => match block.id {
                    crate::bitstream::BLOCKINFO_BLOCK_ID => m.block_info.read(data, &block)?,
                    block_id::FUNCTION => {
                        m.first_body.get_or_insert(block.start);
                        if m.extent == Extent::Head && m.version >= 2 {
                            m.check()?;
                            return Ok(m);
                        }
                        m.bodies.push(block);
                    }
                    _ => m.blocks.push(block),
                },
                Entry::Record => m.record(&record)?,
            }
        }
        // The whole block was walked, whatever was asked for.
        m.extent = Extent::All;
        if m.version < 2 {
            m.names_from_symbol_table()?;
        }
        m.check()?;
        let defined = m.functions_with_bodies().count();
        if m.bodies.len() > defined {
            return Err(Error::malformed(format!(
                "{} function bodies for {defined} defined functions",
                m.bodies.len()
            ))
            .at_bit(m.location.block.start));
        }
        Ok(m)
    }

    fn record(&mut self, record: &Record<'a>) -> Result<()> {
        match record.code {
            module_code::FUNCTION
            | module_code::GLOBALVAR
            | module_code::ALIAS
            | module_code::ALIAS_OLD
            | module_code::IFUNC => {
                let has_strtab = self.version >= 2;
                GlobalValue::read_onto(record, &self.location, has_strtab, &mut self.globals)?;
            }
            module_code::VERSION => {
                self.version = Fields::new(record, "VERSION").next("version")?;
                if self.version > 2 {
                    return Err(Error::unsupported(format!(
                        "module block of version {}, the newest known is 2",
                        self.version
                    ))
                    .at_bit(record.start));
                }
            }
            module_code::TRIPLE => self.triple = record.string(),
            module_code::DATALAYOUT => self.data_layout = record.string(),
            module_code::SOURCE_FILENAME => self.source_file_name = record.string(),
            module_code::ASM => self.asm = record.string(),
            module_code::SECTIONNAME => self.sections.push(record.string()),
            module_code::GCNAME => self.gcs.push(record.string()),
            module_code::GUIDLIST if self.extent == Extent::All => {
                self.guids = GuidList::read(record)?;
            }
            module_code::COMDAT => {
                let comdat = self.comdat(record)?;
                self.comdats.push(comdat);
            }
            module_code::VSTOFFSET => {
                self.vst_offset = Some(Fields::new(record, "VSTOFFSET").next("offset")?);
            }
            module_code::HASH => {
                let mut fields = Fields::new(record, "HASH");
                let mut hash = ModuleHash::default();
                for word in &mut hash.0 {
                    *word = fields.next_u32("word")?;
                }
                self.hash = Some(hash);
            }
            // Codes that we do not know are skipped, as LLVM's reader does.
            _ => {}
        }
        Ok(())
    }

    fn comdat(&self, record: &Record<'_>) -> Result<Comdat<'a>> {
        let mut f = Fields::new(record, "COMDAT");
        if self.version >= 2 {
            let name = self.location.string(f.next("strtab offset")?, f.next("strtab size")?);
            let name = name.map_err(|e| e.at_bit(record.start))?.into();
            return Ok(Comdat {
                name,
                selection: SelectionKind::from_record(f.next("selection kind")?),
            });
        }
        let selection = SelectionKind::from_record(f.next("selection kind")?);
        let size = f.next("name size")?;
        let name: Vec<u8> = f.take(size, "characters")?.iter().map(|&c| c as u8).collect();
        Ok(Comdat { name: name.into(), selection })
    }

    /// Section and comdat numbers must name something; users may then index without a thought.
    fn check(&self) -> Result<()> {
        for g in &self.globals {
            if g.section as usize > self.sections.len() {
                return Err(Error::malformed(format!(
                    "global {} in section {} of {}",
                    String::from_utf8_lossy(&g.name),
                    g.section,
                    self.sections.len()
                ))
                .at_bit(g.record_bit));
            }
            if g.comdat as usize > self.comdats.len() {
                return Err(Error::malformed(format!(
                    "global {} in comdat {} of {}",
                    String::from_utf8_lossy(&g.name),
                    g.comdat,
                    self.comdats.len()
                ))
                .at_bit(g.record_bit));
            }
        }
        Ok(())
    }

    /// Before module version 2 a global's name is in the value symbol table: ENTRY
    /// `[valueid, character...]`, FNENTRY `[valueid, offset, character...]`.
    fn names_from_symbol_table(&mut self) -> Result<()> {
        let Some(block) = self.block(block_id::VALUE_SYMTAB) else { return Ok(()) };
        let mut reader = BlockReader::new(self.location.data, &block, &self.block_info);
        let mut record = Record::new();
        loop {
            match reader.next(&mut record)? {
                Entry::End { .. } => return Ok(()),
                Entry::Record => {
                    let mut f = Fields::new(&record, "value symbol table");
                    let id = f.next("value id")?;
                    match record.code {
                        vst_code::ENTRY => {}
                        vst_code::FNENTRY => {
                            f.next("offset")?;
                        }
                        _ => continue,
                    }
                    let name: Vec<u8> = f.rest().iter().map(|&c| c as u8).collect();
                    if let Some(global) = self.globals.get_mut(id as usize) {
                        global.name = name.into();
                    }
                }
                _ => {}
            }
        }
    }

    /// The module's summary block, of ThinLTO (GLOBALVAL_SUMMARY) or full LTO, if it has one.
    ///
    /// It stands behind the function bodies. Where only the head was read, the bodies are jumped
    /// over: the value symbol table, whose place the head gives, has the offset of every body.
    ///
    /// # Errors
    /// Malformed blocks.
    pub fn summary_block(&self) -> Result<Option<Block>> {
        let is_summary = |b: &Block| {
            matches!(b.id, block_id::GLOBALVAL_SUMMARY | block_id::FULL_LTO_GLOBALVAL_SUMMARY)
        };
        if let Some(block) = self.blocks.iter().find(|b| is_summary(b)) {
            return Ok(Some(*block));
        }
        let Some(first_body) = self.first_body.filter(|_| self.extent == Extent::Head) else {
            return Ok(None);
        };
        let data = self.location.data;
        let mut reader = BlockReader::new(data, &self.location.block, &BlockInfo::default());
        let mut record = Record::new();
        // From the last body on there are few blocks; without the offsets, from the first.
        reader.seek(self.last_body().unwrap_or(first_body).max(first_body))?;
        loop {
            match reader.next(&mut record)? {
                Entry::End { .. } => return Ok(None),
                Entry::Block(block) if is_summary(&block) => return Ok(Some(block)),
                _ => {}
            }
        }
    }

    /// Where the last function body starts, by the offsets of FNENTRY `[value id, offset, ...]`.
    /// None where they cannot be had; they only save time.
    fn last_body(&self) -> Option<u64> {
        let bit = self.location.offset_to_bit(self.vst_offset?).ok()?;
        let data = self.location.data;
        let mut reader = BlockReader::new(data, &self.location.block, &BlockInfo::default());
        let mut record = Record::new();
        reader.seek(bit).ok()?;
        let Ok(Entry::Block(table)) = reader.next(&mut record) else { return None };
        if table.id != block_id::VALUE_SYMTAB {
            return None;
        }
        let mut reader = BlockReader::new(data, &table, &self.block_info);
        let mut last = 0;
        loop {
            match reader.next(&mut record).ok()? {
                Entry::End { .. } => break,
                Entry::Record if record.code == vst_code::FNENTRY => {
                    last = last.max(record.fields.get(1).copied()?);
                    // LLVM lists the functions in the order of their bodies, in records of one
                    // form, of which only the last matters. In any other order more is walked.
                    if let Some(bit) = reader.skip_run(record.abbrev) {
                        reader.seek(bit).ok()?;
                    }
                }
                _ => {}
            }
        }
        let bit = self.location.offset_to_bit(last).ok()?;
        // A body's offset must lead to a body.
        let mut reader = BlockReader::new(data, &self.location.block, &BlockInfo::default());
        reader.seek(bit).ok()?;
        match reader.next(&mut record) {
            Ok(Entry::Block(block)) if block.id == block_id::FUNCTION => Some(bit),
            _ => None,
        }
    }

    /// The first block of this id, of those that were seen.
    pub fn block(&self, id: u32) -> Option<Block> {
        self.blocks.iter().find(|b| b.id == id).copied()
    }

    /// The value ids of the functions that have a body, in order: the order of `bodies`.
    pub fn functions_with_bodies(&self) -> impl Iterator<Item = usize> + '_ {
        self.globals.iter().enumerate().filter_map(|(id, g)| {
            (g.kind == super::GlobalKind::Function && !g.is_declaration).then_some(id)
        })
    }

    /// The section of a global; empty for none.
    pub fn section_of(&self, g: &GlobalValue<'_>) -> &[u8] {
        let index = (g.section as usize).wrapping_sub(1);
        self.sections.get(index).map_or(&[], Vec::as_slice)
    }

    /// The comdat of a global. An implicit one is not in the table and not given here.
    pub fn comdat_of(&self, g: &GlobalValue<'_>) -> Option<&Comdat<'a>> {
        self.comdats.get((g.comdat as usize).wrapping_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BITCODE_MAGIC, BitcodeFile, GlobalKind};
    use super::*;
    use crate::bitstream::Writer;
    use crate::ir::{Linkage, Visibility};

    /// A file of one module with these records and this string table.
    fn file(records: &[(u32, &[u64])], strtab: &[u8]) -> Vec<u8> {
        let mut w = Writer::new();
        w.bytes(&BITCODE_MAGIC);
        let module = w.begin_block(2, block_id::MODULE, 3);
        w.record(3, module_code::VERSION, &[2]);
        for (code, fields) in records {
            w.record(3, *code, fields);
        }
        w.end_block(module);
        let block = w.begin_block(2, block_id::STRTAB, 3);
        let blob = crate::bitstream::Abbrev {
            scalars: vec![crate::bitstream::Scalar::Literal(1)],
            tail: crate::bitstream::Tail::Blob,
        };
        w.define_abbrev(3, &blob);
        w.abbreviated(3, 4, &blob, 1, &[], Some(strtab));
        w.end_block(block);
        w.finish()
    }

    fn check(records: &[(u32, &[u64])], test: impl Fn(Result<Module<'_>>)) {
        let bytes = file(records, b"mainvarg");
        let file = BitcodeFile::read(&bytes).unwrap();
        test(Module::read(&file.modules[0], Extent::All));
    }

    #[test]
    fn a_function_and_a_short_variable() {
        check(
            &[
                (module_code::FUNCTION, &[0, 4, 5, 0, 1, 19, 0, 0, 0, 1]),
                (module_code::GLOBALVAR, &[4, 3, 2, 3, 7, 9, 3, 0]),
            ],
            |module| {
                let m = module.unwrap();
                let f = &m.globals[0];
                assert_eq!((&*f.name, f.kind), (&b"main"[..], GlobalKind::Function));
                assert_eq!((f.linkage, f.visibility), (Linkage::LinkOnceOdr, Visibility::Hidden));
                assert!(f.is_declaration && f.dso_local);
                let v = &m.globals[1];
                assert_eq!((&*v.name, v.kind), (&b"var"[..], GlobalKind::Variable));
                assert!(v.is_constant && v.explicit_type && !v.is_declaration);
                assert_eq!(v.alignment_bytes(), Some(4));
                assert_eq!((v.linkage, v.operand), (Linkage::Private, 7));
            },
        );
    }

    #[test]
    fn names_outside_of_the_string_table_are_refused() {
        check(&[(module_code::GLOBALVAR, &[6, 3, 0, 3, 0, 0, 0, 0])], |module| {
            let error = module.unwrap_err();
            assert!(error.to_string().contains("string table of 8 bytes"), "{error}");
            assert!(error.bit().is_some());
        });
    }

    #[test]
    fn comdats_and_sections_must_exist() {
        let function = [0, 4, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
        check(&[(module_code::COMDAT, &[0, 4, 1]), (module_code::FUNCTION, &function)], |module| {
            assert!(module.unwrap_err().to_string().contains("comdat 2 of 1"))
        });
        check(&[(module_code::GLOBALVAR, &[4, 3, 0, 2, 0, 0, 0, 1])], |module| {
            assert!(module.unwrap_err().to_string().contains("section 1 of 0"));
        });
    }

    #[test]
    fn a_record_that_ends_early_names_its_field() {
        check(&[(module_code::FUNCTION, &[0, 4, 0, 0, 1])], |module| {
            assert!(module.unwrap_err().to_string().contains("FUNCTION record: no linkage"));
        });
    }

    #[test]
    fn two_modules_share_a_string_table_and_garbage_behind_is_ignored() {
        let mut bytes = file(&[(module_code::TRIPLE, &[u64::from(b'x')])], b"a");
        bytes.extend_from_slice(&[0; 8]);
        let file = BitcodeFile::read(&bytes).unwrap();
        assert_eq!(file.modules.len(), 1);
        assert_eq!(file.modules[0].strtab, b"a");
        let module = Module::read(&file.modules[0], Extent::Head).unwrap();
        assert_eq!((module.triple, module.extent), (b"x".to_vec(), Extent::All));
    }
}
