//! Indexes as text, for LLVM's passes that read one from a file.
//!
//! In: [`TypeIdSummary`]s and functions with CFI jump tables, for a pass that does as they say; or
//! summaries, for one that finds resolutions. Out: the YAML that `-lowertypetests-read-summary` and
//! `-wholeprogramdevirt-read-summary` take. Source: ModuleSummaryIndexYAML.h, the same in LLVM 14
//! to 22. All is written in YAML's flow style, strings in double quotes, as names hold whatever a
//! language puts into them.

use std::fmt::Write as _;

use super::index::{ModuleSummaryIndex, Summary};
use super::read_yaml::PassSummary;
use super::types::*;
use crate::error::{Error, Result};
use crate::ir::Guid;

/// The document. Numbers that LLVM has no word for are left to its default.
///
/// # Errors
/// Unsupported, where a name is not UTF-8: LLVM's reader would end the process.
pub fn type_ids_as_yaml<'t>(
    type_ids: impl Iterator<Item = &'t TypeIdSummary>,
    cfi_function_defs: impl Iterator<Item = &'t [u8]>,
    cfi_function_decls: impl Iterator<Item = &'t [u8]>,
) -> Result<Vec<u8>> {
    let mut plain = Ok(());
    let mut string = |out: &mut Vec<u8>, name: &[u8]| match std::str::from_utf8(name) {
        Ok(name) => quote(out, name),
        Err(_) => plain = Err(name_error(name)),
    };
    let mut out = b"---\n{ TypeIdMap: {".to_vec();
    list(&mut out, type_ids, |out, id| {
        // Marked as a key, since others may not have more than 1024 characters.
        out.extend_from_slice(b"? ");
        string(out, &id.name);
        out.extend_from_slice(b" : { TTRes: { ");
        let t = &id.type_test;
        let kinds = ["Unsat", "ByteArray", "Inline", "Single", "AllOnes", "Unknown"];
        word(out, &kinds, t.kind);
        text(
            out,
            format_args!(
                "SizeM1BitWidth: {}, AlignLog2: {}, SizeM1: {}, BitMask: {}, InlineBits: {} }}, \
                 WPDRes: {{",
                t.size_m1_bit_width, t.align_log2, t.size_m1, t.bit_mask, t.inline_bits
            ),
        );
        list(out, id.devirtualization.iter(), |out, (offset, way)| {
            text(out, format_args!("{offset}: {{ "));
            word(out, &["Indir", "SingleImpl", "BranchFunnel"], way.kind);
            out.extend_from_slice(b"SingleImplName: ");
            string(out, &way.single_impl_name);
            out.extend_from_slice(b", ResByArg: {");
            list(out, way.by_arg.iter(), |out, (args, by_arg)| {
                let args: Vec<String> = args.iter().map(u64::to_string).collect();
                text(out, format_args!("\"{}\": {{ ", args.join(",")));
                let kinds = ["Indir", "UniformRetVal", "UniqueRetVal", "VirtualConstProp"];
                word(out, &kinds, by_arg.kind);
                let DevirtByArg { kind: _, info, byte, bit } = by_arg;
                text(out, format_args!("Info: {info}, Byte: {byte}, Bit: {bit} }}"));
            });
            out.extend_from_slice(b"} }");
        });
        out.extend_from_slice(b"} }");
    });
    out.extend_from_slice(b"}, CfiFunctionDefs: [");
    list(&mut out, cfi_function_defs, &mut string);
    out.extend_from_slice(b"], CfiFunctionDecls: [");
    list(&mut out, cfi_function_decls, &mut string);
    out.extend_from_slice(b"] }\n...\n");
    plain.map(|()| out)
}

/// The document with all summaries, as far as the passes look at them: who refers to what, tests
/// which types and calls through which. YAML has functions alone, so that all others are written
/// as such; who refers to an alias refers to what it stands for as well.
///
/// `is_live`: what the index will say. `dead_stripping`: whether that was found out. `found`: what
/// an earlier pass made of it, whose type tests go over the index's.
pub fn index_as_yaml(
    index: &ModuleSummaryIndex,
    is_live: impl Fn(SummaryId) -> bool,
    dead_stripping: bool,
    found: Option<&PassSummary>,
) -> Vec<u8> {
    let mut out = b"---\n{ GlobalValueMap: {".to_vec();
    let values = (0..index.guids().len() as u32).map(ValueId);
    let defined = values.filter(|&value| !index.copies(value).is_empty());
    list(&mut out, defined, |out, value| {
        let guid = index.guid(value);
        text(out, format_args!("{}: [", guid.0));
        let copies = index.copies(value).iter().enumerate();
        let copies = copies.filter_map(|(at, &id)| Some((at, index.summary(id)?)));
        list(out, copies, |out, (at, summary)| {
            let tests = found.map_or(summary.type_tests(), |found| found.type_tests(guid, at));
            summary_as_yaml(out, index, summary, is_live(summary.id()), tests);
        });
        out.push(b']');
    });
    text(&mut out, format_args!("}}, WithGlobalValueDeadStripping: {dead_stripping} }}\n...\n"));
    out
}

fn summary_as_yaml(
    out: &mut Vec<u8>,
    index: &ModuleSummaryIndex,
    summary: Summary<'_>,
    live: bool,
    tests: &[Guid],
) {
    let linkage = summary.flags().0 & 0xf;
    text(out, format_args!("{{ Linkage: {linkage}, Live: {live}, Refs: ["));
    let aliasee = |&id: &SummaryId| index.summary(id)?.aliasee().map(|s| s.guid());
    let guids = summary.refs().iter().flat_map(|reference| {
        let value = reference.value();
        let aliasees = index.copies(value).iter().filter_map(aliasee);
        std::iter::once(index.guid(value)).chain(aliasees)
    });
    list(out, guids, |out, guid| text(out, format_args!("{}", guid.0)));
    out.extend_from_slice(b"], TypeTests: [");
    list(out, tests.iter(), |out, guid| text(out, format_args!("{}", guid.0)));
    let calls = [
        ("TypeTestAssumeVCalls", summary.type_test_assume_vcalls()),
        ("TypeCheckedLoadVCalls", summary.type_checked_load_vcalls()),
    ];
    for (key, calls) in calls {
        text(out, format_args!("], {key}: ["));
        list(out, calls.iter(), virtual_function);
    }
    let calls = [
        ("TypeTestAssumeConstVCalls", summary.type_test_assume_const_vcalls()),
        ("TypeCheckedLoadConstVCalls", summary.type_checked_load_const_vcalls()),
    ];
    for (key, calls) in calls {
        text(out, format_args!("], {key}: ["));
        list(out, calls.iter(), |out, call| {
            out.extend_from_slice(b"{ VFunc: ");
            virtual_function(out, &call.function);
            out.extend_from_slice(b", Args: [");
            list(out, call.args.iter(), |out, arg| text(out, format_args!("{arg}")));
            out.extend_from_slice(b"] }");
        });
    }
    out.extend_from_slice(b"] }");
}

fn virtual_function(out: &mut Vec<u8>, function: &VFuncId) {
    text(out, format_args!("{{ GUID: {}, Offset: {} }}", function.guid.0, function.offset));
}

fn name_error(name: &[u8]) -> Error {
    let name = String::from_utf8_lossy(name);
    Error::unsupported(format!("a type or function of the link has a name that is no text: {name}"))
}

fn list<T>(
    out: &mut Vec<u8>,
    items: impl Iterator<Item = T>,
    mut write: impl FnMut(&mut Vec<u8>, T),
) {
    for (at, item) in items.enumerate() {
        out.extend_from_slice(if at == 0 { b"\n  " } else { b",\n  " });
        write(out, item);
    }
}

fn word(out: &mut Vec<u8>, words: &[&str], number: u64) {
    if let Some(word) = usize::try_from(number).ok().and_then(|number| words.get(number)) {
        text(out, format_args!("Kind: {word}, "));
    }
}

fn text(out: &mut Vec<u8>, arguments: std::fmt::Arguments<'_>) {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = text.write_fmt(arguments);
    out.extend_from_slice(text.as_bytes());
}

/// What is not plain ASCII goes as an escape, since YAML allows few other characters as they are.
fn quote(out: &mut Vec<u8>, name: &str) {
    out.push(b'"');
    for c in name.chars() {
        match c {
            '"' | '\\' => text(out, format_args!("\\{c}")),
            ' '..='~' => text(out, format_args!("{c}")),
            _ => text(out, format_args!("\\U{:08X}", u32::from(c))),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::Guid;

    #[test]
    fn all_of_a_resolution_is_written() {
        let by_arg = DevirtByArg { kind: 2, info: 5, byte: 6, bit: 7 };
        let id = TypeIdSummary {
            name: b"a \"b\"\x01".as_slice().into(),
            guid: Guid(1),
            type_test: TypeTestResolution {
                kind: 4,
                size_m1_bit_width: 7,
                align_log2: 3,
                size_m1: 9,
                bit_mask: 1,
                inline_bits: 2,
            },
            devirtualization: vec![(
                8,
                WholeProgramDevirtResolution {
                    kind: 1,
                    single_impl_name: b"f".as_slice().into(),
                    by_arg: vec![(vec![1, 2].into(), by_arg)],
                },
            )],
        };
        let yaml =
            type_ids_as_yaml([id].iter(), [&b"d"[..]].into_iter(), std::iter::empty()).unwrap();
        let words: Vec<&str> = std::str::from_utf8(&yaml).unwrap().split_whitespace().collect();
        assert_eq!(
            words.join(" "),
            "--- { TypeIdMap: { ? \"a \\\"b\\\"\\U00000001\" : { TTRes: { Kind: AllOnes, SizeM1BitWidth: 7, \
             AlignLog2: 3, SizeM1: 9, BitMask: 1, InlineBits: 2 }, WPDRes: { 8: { Kind: SingleImpl, \
             SingleImplName: \"f\", ResByArg: { \"1,2\": { Kind: UniqueRetVal, Info: 5, Byte: 6, \
             Bit: 7 }} }} }}, CfiFunctionDefs: [ \"d\"], CfiFunctionDecls: [] } ..."
        );
    }

    #[test]
    fn names_are_text() {
        let names = |name: &'static [u8]| {
            let yaml = type_ids_as_yaml([].iter(), [name].into_iter(), std::iter::empty());
            yaml.map(|yaml| String::from_utf8(yaml).unwrap())
        };
        assert!(names("\u{e9}\u{80}".as_bytes()).unwrap().contains(r#""\U000000E9\U00000080""#));
        assert!(names(b"\xff").is_err());
    }
}
