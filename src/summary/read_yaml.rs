//! What LLVM's passes give out of an index: resolutions of type identifiers.
//!
//! In: the YAML that `-lowertypetests-write-summary` and `-wholeprogramdevirt-write-summary` leave.
//! Out: a [`PassSummary`]. Source: ModuleSummaryIndexYAML.h, the same in LLVM 14 to 22; keys of
//! which nothing is asked here are passed over.

use std::collections::{BTreeMap, BTreeSet};

use super::guid::{guid_of, guid_of_value};
use super::types::*;
use crate::error::{Error, Result};
use crate::ir::Guid;
use crate::yaml::{Fault, Node, Parser, Value};

/// An index as a pass has left it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PassSummary {
    /// Resolutions of type identifiers, by name.
    pub type_ids: BTreeMap<Box<[u8]>, TypeIdSummary>,
    /// Functions of the link with CFI jump tables.
    pub cfi_function_defs: BTreeSet<CfiFunction>,
    /// Functions from elsewhere with CFI jump tables.
    pub cfi_function_decls: BTreeSet<CfiFunction>,
    /// By value and copy, the types that are tested.
    type_tests: BTreeMap<Guid, Vec<Vec<Guid>>>,
}

impl PassSummary {
    /// Reads what a pass wrote.
    ///
    /// # Errors
    /// Engine, where that is not what is known of these files.
    pub fn read(text: &[u8]) -> Result<Self> {
        let error = |(message, at): Fault| {
            Error::engine(format!("LLVM's resolutions of types cannot be read: {message} at {at}"))
        };
        let document = Parser::new(text, 0).document().map_err(error)?;
        let mut summary = PassSummary::default();
        for (key, value) in entries(document).map_err(error)? {
            summary.take(&key, value).map_err(error)?;
        }
        Ok(summary)
    }

    fn take(&mut self, key: &[u8], value: Node<'_>) -> Result<(), Fault> {
        match key {
            b"GlobalValueMap" => {
                for (guid, copies) in entries(value)? {
                    let guid = Guid(number_of(&guid, copies.at)?);
                    let tests = items(copies)?.into_iter().map(type_tests);
                    self.type_tests.insert(guid, tests.collect::<Result<_, _>>()?);
                }
            }
            b"TypeIdMap" => {
                for (name, value) in entries(value)? {
                    let id = type_id(&name, value)?;
                    self.type_ids.insert(name, id);
                }
            }
            b"CfiFunctionDefs" => self.cfi_function_defs = cfi_functions(value)?,
            b"CfiFunctionDecls" => self.cfi_function_decls = cfi_functions(value)?,
            _ => {}
        }
        Ok(())
    }

    /// The types that a copy of a value tests.
    pub fn type_tests(&self, value: Guid, copy: usize) -> &[Guid] {
        self.type_tests.get(&value).and_then(|all| all.get(copy)).map_or(&[], Vec::as_slice)
    }
}

fn type_tests(copy: Node<'_>) -> Result<Vec<Guid>, Fault> {
    let mut tests = Vec::new();
    for (key, value) in entries(copy)? {
        if &*key == b"TypeTests" {
            tests = items(value)?.iter().map(|n| number(n).map(Guid)).collect::<Result<_, _>>()?;
        }
    }
    Ok(tests)
}

fn type_id(name: &[u8], node: Node<'_>) -> Result<TypeIdSummary, Fault> {
    let mut id = TypeIdSummary {
        name: name.into(),
        guid: guid_of(name),
        type_test: TypeTestResolution::UNKNOWN,
        devirtualization: Vec::new(),
    };
    for (key, value) in entries(node)? {
        match &*key {
            b"TTRes" => type_test(&mut id.type_test, value)?,
            b"WPDRes" => {
                for (offset, value) in entries(value)? {
                    let offset = number_of(&offset, value.at)?;
                    id.devirtualization.push((offset, devirtualization(value)?));
                }
            }
            _ => {}
        }
    }
    id.devirtualization.sort_by_key(|(offset, _)| *offset);
    Ok(id)
}

fn type_test(to: &mut TypeTestResolution, node: Node<'_>) -> Result<(), Fault> {
    for (key, value) in entries(node)? {
        let place = match &*key {
            b"Kind" => {
                let words = ["Unsat", "ByteArray", "Inline", "Single", "AllOnes", "Unknown"];
                to.kind = word(&value, &words)?;
                continue;
            }
            b"SizeM1BitWidth" => &mut to.size_m1_bit_width,
            b"AlignLog2" => &mut to.align_log2,
            b"SizeM1" => &mut to.size_m1,
            b"BitMask" => &mut to.bit_mask,
            b"InlineBits" => &mut to.inline_bits,
            _ => continue,
        };
        *place = number(&value)?;
    }
    Ok(())
}

fn devirtualization(node: Node<'_>) -> Result<WholeProgramDevirtResolution, Fault> {
    let mut way = WholeProgramDevirtResolution {
        kind: 0,
        single_impl_name: Box::default(),
        by_arg: Vec::new(),
    };
    for (key, value) in entries(node)? {
        match &*key {
            b"Kind" => way.kind = word(&value, &["Indir", "SingleImpl", "BranchFunnel"])?,
            b"SingleImplName" => way.single_impl_name = scalar(value)?,
            b"ResByArg" => {
                for (args, value) in entries(value)? {
                    let args = args.split(|&c| c == b',').filter(|arg| !arg.is_empty());
                    let args = args.map(|arg| number_of(arg, value.at));
                    let args = args.collect::<Result<Vec<u64>, _>>()?.into();
                    way.by_arg.push((args, by_arg(value)?));
                }
            }
            _ => {}
        }
    }
    way.by_arg.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(way)
}

fn by_arg(node: Node<'_>) -> Result<DevirtByArg, Fault> {
    let mut by_arg = DevirtByArg { kind: 0, info: 0, byte: 0, bit: 0 };
    for (key, value) in entries(node)? {
        match &*key {
            b"Kind" => {
                let words = ["Indir", "UniformRetVal", "UniqueRetVal", "VirtualConstProp"];
                by_arg.kind = word(&value, &words)?;
            }
            b"Info" => by_arg.info = number(&value)?,
            b"Byte" => by_arg.byte = number(&value)?,
            b"Bit" => by_arg.bit = number(&value)?,
            _ => {}
        }
    }
    Ok(by_arg)
}

fn cfi_functions(node: Node<'_>) -> Result<BTreeSet<CfiFunction>, Fault> {
    let function = |node| {
        let name = scalar(node)?;
        let guid = guid_of_value(&name, None);
        Ok(CfiFunction { name, guid })
    };
    items(node)?.into_iter().map(function).collect()
}

/// A key and what stands behind it.
type Entry<'a> = (Box<[u8]>, Node<'a>);

fn entries(node: Node<'_>) -> Result<Vec<Entry<'_>>, Fault> {
    match node.value {
        Value::Null => Ok(Vec::new()),
        Value::Mapping(entries) => {
            entries.into_iter().map(|(key, value)| Ok((scalar(key)?, value))).collect()
        }
        _ => Err(("not a mapping".to_owned(), node.at)),
    }
}

fn items(node: Node<'_>) -> Result<Vec<Node<'_>>, Fault> {
    match node.value {
        Value::Null => Ok(Vec::new()),
        Value::Sequence(items) => Ok(items),
        _ => Err(("not a sequence".to_owned(), node.at)),
    }
}

fn scalar(node: Node<'_>) -> Result<Box<[u8]>, Fault> {
    match node.value {
        Value::Scalar(text) => Ok(text.into()),
        Value::Null => Ok(Box::default()),
        _ => Err(("not a text".to_owned(), node.at)),
    }
}

fn number(node: &Node<'_>) -> Result<u64, Fault> {
    match &node.value {
        Value::Scalar(text) => number_of(text, node.at),
        _ => Err(("not a number".to_owned(), node.at)),
    }
}

fn number_of(text: &[u8], at: usize) -> Result<u64, Fault> {
    let text = std::str::from_utf8(text).unwrap_or_default();
    let number = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number.map_err(|_| (format!("{text:?} is no number"), at))
}

/// The place of a word among those of an enumeration.
fn word(node: &Node<'_>, words: &[&str]) -> Result<u64, Fault> {
    let found = match &node.value {
        Value::Scalar(text) => words.iter().position(|word| word.as_bytes() == &**text),
        _ => None,
    };
    found.map(|at| at as u64).ok_or_else(|| ("an unknown word".to_owned(), node.at))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As LLVM 19 and 22 write it.
    const TEXT: &str = "---
GlobalValueMap:
  42:
    - Linkage:         0
      Live:            true
      Refs:            [ 7 ]
      TypeTests:       [ 123, 18446744073709551615 ]
    - Linkage:         0
      Live:            false
TypeIdMap:
  _ZTS1A:
    TTRes:
      Kind:            Inline
      SizeM1BitWidth:  5
      AlignLog2:       3
      SizeM1:          4
      BitMask:         0
      InlineBits:      21
    WPDRes:
      8:
        Kind:            SingleImpl
        SingleImplName:  f
        ResByArg:        {}
      0:
        Kind:            Indir
        SingleImplName:  ''
        ResByArg:
          '1,2':
            Kind:            UniqueRetVal
            Info:            1
            Byte:            0
            Bit:             0
  'a: b':
    TTRes:
      Kind:            Unsat
WithGlobalValueDeadStripping: true
CfiFunctionDefs:
  - f
CfiFunctionDecls:
  - g
  - \"\\x01h\"
...
";

    #[test]
    fn all_is_read() {
        let read = PassSummary::read(TEXT.as_bytes()).unwrap();
        assert_eq!(read.type_tests(Guid(42), 0), [Guid(123), Guid(u64::MAX)]);
        assert!(read.type_tests(Guid(42), 1).is_empty());
        let a = &read.type_ids[&b"_ZTS1A"[..]];
        let t = a.type_test;
        assert_eq!((t.kind, t.size_m1_bit_width, t.align_log2), (2, 5, 3));
        assert_eq!((t.size_m1, t.inline_bits), (4, 21));
        let [(0, virtual_call), (8, direct)] = &a.devirtualization[..] else { panic!("{a:?}") };
        assert_eq!((direct.kind, &*direct.single_impl_name), (1, &b"f"[..]));
        let (args, by_arg) = &virtual_call.by_arg[0];
        assert_eq!((&**args, by_arg.kind, by_arg.info), (&[1, 2][..], 2, 1));
        assert_eq!(read.type_ids[&b"a: b"[..]].type_test.kind, 0);
        let names = |all: &BTreeSet<CfiFunction>| -> Vec<(Box<[u8]>, Guid)> {
            all.iter().map(|f| (f.name.clone(), f.guid)).collect()
        };
        assert_eq!(names(&read.cfi_function_defs), [(b"f"[..].into(), guid_of(b"f"))]);
        let decls = names(&read.cfi_function_decls);
        assert!(decls.contains(&(b"\x01h"[..].into(), guid_of(b"h"))) && decls.len() == 2);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for text in ["TypeIdMap: 5", "TypeIdMap: { a: { TTRes: { Kind: Maybe } } }", "[ 1 ]"] {
            assert!(PassSummary::read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
