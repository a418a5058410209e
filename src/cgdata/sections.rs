//! Codegen data in the sections of object files.
//!
//! In: an object file's bytes. Out: the codegen data in it, all payloads merged by section.
//!
//! | format | outlined hash tree | stable function map |
//! |---|---|---|
//! | Mach-O | `__DATA,__llvm_outline` | `__DATA,__llvm_merge` |
//! | COFF | `.loutline` | `.lmerge` |
//! | others | `__llvm_outline` | `__llvm_merge` |
//!
//! (LLVM: `CodeGenData.inc`, `CodeGenDataReader::mergeFromObjectFile`, which does not look at the
//! segment of a Mach-O section either.) A section holds a bare payload, or several one after
//! another where a linker has joined objects; four zero bytes are an empty payload, so that padding
//! between them does no harm.
//!
//! Section tables are read by the `object` crate, which checks every offset against the buffer.

use object::elf::{FileHeader32, FileHeader64};
use object::read::elf::{FileHeader, SectionHeader};
use object::{BinaryFormat, Endianness, FileKind, Object, ObjectSection};

use crate::error::{Error, Result};

use super::cursor::Cursor;
use super::map::StableFunctionMap;
use super::tree::OutlinedHashTree;
use super::{CodegenData, map_record, tree_record};

/// The codegen data of one object, as a merger takes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectData {
    /// All outlined hash trees of the object, merged; None where it has no section for them.
    pub tree: Option<OutlinedHashTree>,
    /// Its stable function maps, one by payload: a linked object has as many as were linked, and
    /// each is merged for itself.
    pub maps: Vec<StableFunctionMap>,
}

impl From<CodegenData> for ObjectData {
    fn from(data: CodegenData) -> Self {
        ObjectData { tree: data.tree, maps: data.map.into_iter().collect() }
    }
}

/// The codegen data in an object file, or None where it has none.
///
/// # Errors
/// Unsupported where the bytes are no object file; malformed, with the offset in the file, where
/// its headers or the data are broken.
pub fn extract(object: &[u8]) -> Result<Option<ObjectData>> {
    let mut found = Found::default();
    match FileKind::parse(object) {
        Ok(FileKind::Elf32) => elf::<FileHeader32<Endianness>>(object, &mut found)?,
        Ok(FileKind::Elf64) => elf::<FileHeader64<Endianness>>(object, &mut found)?,
        Ok(_) => others(object, &mut found)?,
        Err(_) => {
            // LLVM's words.
            let what = "The file was not recognized as a valid object file";
            return Err(Error::unsupported(what));
        }
    }
    found.finish()
}

const TREE_SECTION: &[u8] = b"__llvm_outline";
const MAP_SECTION: &[u8] = b"__llvm_merge";

fn broken(e: object::Error) -> Error {
    Error::malformed(format!("object file: {e}"))
}

/// ELF by its section headers alone: an object may have thousands of sections, whose names need
/// only be compared, and symbols that nobody asks for.
fn elf<H: FileHeader<Endian = Endianness>>(object: &[u8], found: &mut Found) -> Result<()> {
    let header = H::parse(object).map_err(broken)?;
    let endian = header.endian().map_err(broken)?;
    let sections = header.section_headers(endian, object).map_err(broken)?;
    if sections.is_empty() {
        return Ok(());
    }
    let names = header.section_strings_index(endian, object).map_err(broken)?;
    let names = sections.get(names.0).ok_or_else(|| {
        Error::malformed("object file: the table of section names is none of its sections")
    })?;
    let names = names.data(endian, object).map_err(broken)?;
    for section in sections {
        let name = names.get(section.sh_name(endian) as usize..).unwrap_or(&[]);
        let is = |wanted: &[u8]| name.strip_prefix(wanted).is_some_and(|n| n.first() == Some(&0));
        let is_tree = is(TREE_SECTION);
        if is_tree || is(MAP_SECTION) {
            let bytes = section.data(endian, object).map_err(broken)?;
            found.section(is_tree, bytes, section.sh_offset(endian).into())?;
        }
    }
    Ok(())
}

/// Mach-O, COFF and whatever else the `object` crate reads.
fn others(object: &[u8], found: &mut Found) -> Result<()> {
    let file = object::File::parse(object).map_err(broken)?;
    let (outline, merge) = match file.format() {
        BinaryFormat::Coff | BinaryFormat::Pe => (&b".loutline"[..], &b".lmerge"[..]),
        _ => (TREE_SECTION, MAP_SECTION),
    };
    for section in file.sections() {
        let name = section.name_bytes().map_err(broken)?;
        if name == outline || name == merge {
            let start = section.file_range().map_or(0, |(start, _)| start);
            found.section(name == outline, section.data().map_err(broken)?, start)?;
        }
    }
    Ok(())
}

/// What has been found in an object so far.
#[derive(Default)]
struct Found {
    any: bool,
    trees: Trees,
    maps: Vec<StableFunctionMap>,
}

impl Found {
    /// Reads the payloads of a section that starts at byte `start` of the object.
    fn section(&mut self, is_tree: bool, bytes: &[u8], start: u64) -> Result<()> {
        self.any = true;
        let mut cursor = Cursor::new(bytes, start);
        while skip_empty(&mut cursor) {
            if is_tree {
                self.trees.add(tree_record::read(&mut cursor)?)?;
            } else {
                self.maps.push(map_record::read_any_version(&mut cursor)?);
            }
        }
        if is_tree && self.trees.is_empty() {
            self.trees.add(OutlinedHashTree::default())?;
        }
        Ok(())
    }

    fn finish(self) -> Result<Option<ObjectData>> {
        if !self.any {
            return Ok(None);
        }
        Ok(Some(ObjectData { tree: self.trees.finish()?, maps: self.maps }))
    }
}

/// Leaves the cursor before the next payload that holds something, or returns false where there is
/// none. A rest of zeros too short for a count is padding as well.
fn skip_empty(cursor: &mut Cursor<'_>) -> bool {
    let zeros = cursor.rest().iter().take_while(|b| **b == 0).count();
    let rest = cursor.rest().len();
    let skip = if zeros == rest { rest } else { zeros & !3 };
    cursor.skip(skip);
    !cursor.is_at_end()
}

/// Trees on their way to being one.
///
/// Those merged so far each have at least twice the nodes of the next: a tree joins others of about
/// its own size, so that a node is copied only as often as the logarithm of their number says.
#[derive(Debug, Default)]
pub(super) struct Trees(Vec<OutlinedHashTree>);

impl Trees {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a tree.
    ///
    /// # Errors
    /// Those of [`OutlinedHashTree::merge`].
    pub fn add(&mut self, mut tree: OutlinedHashTree) -> Result<()> {
        while let Some(top) = self.0.pop_if(|top| top.node_count() < 2 * tree.node_count()) {
            tree = OutlinedHashTree::merge(&top, &tree)?;
        }
        self.0.push(tree);
        Ok(())
    }

    /// All of them as one, or None where there was none.
    ///
    /// # Errors
    /// Those of [`OutlinedHashTree::merge`].
    pub fn finish(mut self) -> Result<Option<OutlinedHashTree>> {
        let Some(mut all) = self.0.pop() else { return Ok(None) };
        while let Some(tree) = self.0.pop() {
            all = OutlinedHashTree::merge(&tree, &all)?;
        }
        Ok(Some(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::write::Object as Writer;
    use object::{Architecture, SectionKind};

    const TREE: &[u8] = b"\x02\0\0\0\
        \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\x01\0\0\0\
        \x01\0\0\0\x09\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0";

    fn object(format: BinaryFormat, sections: &[(&str, &str, &[u8])]) -> Vec<u8> {
        let mut writer = Writer::new(format, Architecture::Aarch64, Endianness::Little);
        for (segment, name, data) in sections {
            let id = writer.add_section(
                segment.as_bytes().into(),
                name.as_bytes().into(),
                SectionKind::Data,
            );
            writer.append_section_data(id, data, 4);
        }
        writer.write().unwrap()
    }

    #[test]
    fn every_format_has_its_names() {
        for (format, segment, tree) in [
            (BinaryFormat::Elf, "", "__llvm_outline"),
            (BinaryFormat::MachO, "__DATA", "__llvm_outline"),
            (BinaryFormat::Coff, "", ".loutline"),
        ] {
            let twice = [TREE, &[0; 8], TREE, &[0; 3]].concat();
            let file = object(format, &[(segment, "other", b"x"), (segment, tree, &twice)]);
            let data = extract(&file).unwrap().unwrap();
            let tree = data.tree.unwrap();
            assert_eq!((tree.node_count(), tree.nodes()[1].terminals), (2, 6), "{format:?}");
            assert!(data.maps.is_empty());
            assert_eq!(extract(&object(format, &[(segment, "other", b"x")])).unwrap(), None);
        }
        // The names of one format mean nothing in another.
        let file = object(BinaryFormat::Elf, &[("", ".loutline", TREE)]);
        assert_eq!(extract(&file).unwrap(), None);
    }

    #[test]
    fn an_empty_section_is_an_empty_tree() {
        let file = object(BinaryFormat::Elf, &[("", "__llvm_outline", &[0; 4])]);
        assert!(extract(&file).unwrap().unwrap().tree.unwrap().is_empty());
    }

    #[test]
    fn broken_data_are_named_by_their_place_in_the_object() {
        for cut in 1..TREE.len() {
            let file = object(BinaryFormat::Elf, &[("", "__llvm_outline", &TREE[..cut])]);
            let at = file.windows(4).position(|w| w == &TREE[..4]).unwrap_or(0) as u64;
            match extract(&file) {
                Ok(_) => panic!("{cut} bytes are no tree"),
                Err(e) => assert!(e.bit().unwrap() >= at * 8, "{e}"),
            }
        }
        assert!(extract(b"BC\xC0\xDE").is_err());
        assert!(extract(b"").is_err());
    }
}
