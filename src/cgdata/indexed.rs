//! The `.cgdata` file in its binary ("indexed") form.
//!
//! In: a file's bytes. Out: the codegen data in it, and the way back. All little-endian
//! (LLVM: `IndexedCGData::Header::readFromBuffer`, `CodeGenDataWriter::writeImpl`):
//!
//! | field | bytes | since version |
//! |---|---|---|
//! | magic, `ff` `cgdata` `81` | 8 | 1 |
//! | version | 4 | 1 |
//! | kind: 1 outlined hash tree, 2 stable function map, 3 both | 4 | 1 |
//! | offset of the outlined hash tree | 8 | 1 |
//! | offset of the stable function map | 8 | 2 |
//!
//! Offsets are in bytes from the start of the file. One whose part is missing stands where the part
//! would have begun. Versions 3 and 4 changed the map's layout only, see `map_record`.

use crate::error::{Error, Result};

use super::CodegenData;
use super::cursor::Cursor;
use super::text;
use super::{map_record, tree_record};

/// The newest version there is, that of LLVM 22, and the one written unless asked otherwise.
pub const NEWEST_VERSION: u32 = 4;

const MAGIC: [u8; 8] = *b"\xffcgdata\x81";
const TREE: u32 = 1;
const MAP: u32 = 2;
/// The shortest header, that of version 1.
const MIN_HEADER: usize = 24;

/// A `.cgdata` file of either form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgdataFile {
    /// The version its header tells; 0 for the text form, which has none.
    pub version: u32,
    /// What is in it.
    pub data: CodegenData,
}

impl CgdataFile {
    /// Reads a file, binary or text.
    ///
    /// # Errors
    /// Malformed or unsupported, with LLVM's words for what is wrong and the offset.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        if bytes.is_empty() {
            Err(Error::malformed("empty codegen data"))
        } else if bytes.starts_with(&MAGIC) {
            read(bytes)
        } else if text::looks_like_text(bytes) {
            Ok(CgdataFile { version: 0, data: text::read(bytes)? })
        } else {
            Err(Error::malformed(
                "malformed codegen data: neither the magic of a .cgdata file nor text",
            ))
        }
    }
}

/// Reads a binary file, whose magic has been seen.
fn read(bytes: &[u8]) -> Result<CgdataFile> {
    let corrupt = |what: &str| {
        Error::malformed(format!("invalid codegen data (file header is corrupt): {what}"))
    };
    if bytes.len() < MIN_HEADER {
        return Err(corrupt("the file ends within it"));
    }
    let mut header = Cursor::new(bytes, 0);
    header.take(MAGIC.len(), "the magic")?;
    let version = header.u32("the version")?;
    if version == 0 || version > NEWEST_VERSION {
        return Err(Error::unsupported(format!(
            "unsupported codegen data version: {version}, and 1 to {NEWEST_VERSION} are known"
        ))
        .at_bit(8 * 8));
    }
    let kind = header.u32("the kind")?;
    let known = if version < map_record::FIRST_VERSION { TREE } else { TREE | MAP };
    if kind & !known != 0 {
        return Err(corrupt(&format!("version {version} has no kind {kind}")).at_bit(12 * 8));
    }
    let tree_at = header.u64("the offset of the tree")?;
    let map_at = if version >= map_record::FIRST_VERSION {
        header.u64("the offset of the map").map_err(|_| corrupt("the file ends within it"))?
    } else {
        0
    };
    let header_size = header.pos();
    let part = |offset: u64, what: &str| {
        let inside = usize::try_from(offset).ok().and_then(|at| bytes.get(at..));
        match inside {
            Some(part) if !part.is_empty() && offset >= header_size as u64 => {
                Ok(Cursor::new(part, offset))
            }
            Some(part) if !part.is_empty() => {
                Err(corrupt(&format!("the {what} would begin within it, at byte {offset}")))
            }
            _ => Err(Error::malformed(format!(
                "end of File: the {what} would begin at byte {offset} of {}",
                bytes.len()
            ))),
        }
    };
    let mut data = CodegenData::default();
    if kind & TREE != 0 {
        data.tree = Some(tree_record::read(&mut part(tree_at, "outlined hash tree")?)?);
    }
    if kind & MAP != 0 {
        data.map = Some(map_record::read(&mut part(map_at, "stable function map")?, version)?);
    }
    Ok(CgdataFile { version, data })
}

/// The bytes of a file of the given version, which is [`NEWEST_VERSION`] unless an older LLVM is
/// to read it.
///
/// # Errors
/// Unsupported where the version does not exist or cannot hold the data.
pub fn write(data: &CodegenData, version: u32) -> Result<Vec<u8>> {
    if version == 0 || version > NEWEST_VERSION {
        return Err(Error::unsupported(format!("there is no version {version} of codegen data")));
    }
    let mut out = MAGIC.to_vec();
    out.extend(version.to_le_bytes());
    let tree_kind = if data.tree.is_some() { TREE } else { 0 };
    let map_kind = if data.map.is_some() { MAP } else { 0 };
    out.extend((tree_kind | map_kind).to_le_bytes());
    let has_map_offset = version >= map_record::FIRST_VERSION;
    let tree_at = if has_map_offset { MIN_HEADER + 8 } else { MIN_HEADER };
    out.extend((tree_at as u64).to_le_bytes());
    let mut tree = Vec::new();
    if let Some(t) = &data.tree {
        tree_record::write(t, &mut tree)?;
    }
    if has_map_offset {
        out.extend(((tree_at + tree.len()) as u64).to_le_bytes());
    }
    out.append(&mut tree);
    if let Some(map) = &data.map {
        map_record::write(map, version, &mut out)?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(version: u32, kind: u32, offsets: &[u64]) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend(version.to_le_bytes());
        out.extend(kind.to_le_bytes());
        out.extend(offsets.iter().flat_map(|o| o.to_le_bytes()));
        out
    }

    #[test]
    fn every_version_is_written_and_read() {
        let both = text::read(
            b":outlined_hash_tree\n:stable_function_map\n---\n\
              0: {Hash: 0, Terminals: 0, SuccessorIds: [1]}\n\
              1: {Hash: 5, Terminals: 2, SuccessorIds: []}\n...\n---\n\
              - {Hash: 1, FunctionName: f, ModuleName: m, InstCount: 3, IndexOperandHashes: []}\n",
        )
        .unwrap();
        let tree = CodegenData { map: None, ..both.clone() };
        for version in 1..=NEWEST_VERSION {
            for data in [&both, &tree, &CodegenData::default()] {
                let file = write(data, version);
                if version == 1 && data.map.is_some() {
                    assert!(file.unwrap_err().to_string().contains("no stable function map"));
                    continue;
                }
                let file = file.unwrap();
                let size = if version == 1 { 24 } else { 32 };
                assert_eq!(file[16..24], (size as u64).to_le_bytes());
                assert_eq!(
                    CgdataFile::read(&file).unwrap(),
                    CgdataFile { version, data: data.clone() }
                );
            }
        }
        assert!(write(&both, 0).is_err() && write(&both, 5).is_err());
    }

    #[test]
    fn headers_that_lie() {
        let mut long = header(4, 1, &[32, 32]);
        long.resize(100, 0);
        for (file, words) in [
            (vec![], "empty codegen data"),
            (vec![0xff], "malformed codegen data"),
            (MAGIC.to_vec(), "invalid codegen data (file header is corrupt)"),
            (header(4, 1, &[32]), "invalid codegen data (file header is corrupt)"),
            (header(5, 1, &[32, 32]), "unsupported codegen data version: 5"),
            (header(0, 1, &[32, 32]), "unsupported codegen data version: 0"),
            (header(4, 4, &[32, 32]), "has no kind 4"),
            (header(1, 2, &[24]), "version 1 has no kind 2"),
            (header(1, 1, &[24]), "end of File"),
            (header(4, 3, &[32, u64::MAX]), "end of File"),
            (header(4, 2, &[0, 8]), "within it, at byte 8"),
        ] {
            let e = CgdataFile::read(&file).unwrap_err().to_string();
            assert!(e.contains(words), "{e}");
        }
        // Zeros are a tree of no nodes.
        assert!(CgdataFile::read(&long).unwrap().data.tree.unwrap().is_empty());
    }
}
