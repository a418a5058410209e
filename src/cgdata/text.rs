//! The text form of codegen data, as `llvm-cgdata --convert` writes it.
//!
//! In: codegen data. Out: text, and the way back. First a header, a line for each part that is
//! there, `:outlined_hash_tree` and `:stable_function_map`; then one YAML document for each, in
//! that order. Lines that begin with `#` are comments. The form has no version.
//!
//! LLVM: `CodeGenDataWriter::writeText`, `TextCodeGenDataReader::read`, and `yaml::Output` for how
//! lines are laid out and which names are quoted.

use std::borrow::Cow;
use std::fmt::Write;

use crate::error::{Error, Result};
use crate::yaml::{Fault, Node, Parser, Value};

use super::CodegenData;
use super::cursor::MALFORMED;
use super::map::{IndexOperandHash, Names, StableFunction, StableFunctionMap};
use super::tree::{OutlinedHashTree, RawNode};
use super::tree_record::Successors;

const TREE_KIND: &str = ":outlined_hash_tree";
const MAP_KIND: &str = ":stable_function_map";

/// A flow sequence goes on in a new line behind this column.
const WRAP_COLUMN: usize = 70;
/// Where the values of a tree's node begin: two columns of indentation and a key padded to 17.
const VALUE_COLUMN: usize = 19;

/// Whether the bytes begin like text, by LLVM's rule: the first eight are printable or space.
pub fn looks_like_text(bytes: &[u8]) -> bool {
    bytes.iter().take(8).all(|b| matches!(b, b' '..=b'~' | b'\t'..=b'\r'))
}

/// The text form.
pub fn write(data: &CodegenData) -> Vec<u8> {
    let mut out = String::new();
    if data.tree.is_some() {
        out += "# Outlined stable hash tree\n";
        out += TREE_KIND;
        out += "\n";
    }
    if data.map.is_some() {
        out += "# Stable function map\n";
        out += MAP_KIND;
        out += "\n";
    }
    if let Some(tree) = &data.tree {
        write_tree(tree, &mut out);
    }
    if let Some(map) = &data.map {
        write_map(map, &mut out);
    }
    out.into_bytes()
}

/// Appends formatted text; a String takes all that is written to it.
macro_rules! put {
    ($out:expr, $($arg:tt)*) => {{
        let _ = write!($out, $($arg)*);
    }};
}

fn write_tree(tree: &OutlinedHashTree, out: &mut String) {
    let successors = Successors::of(tree.nodes());
    out.push_str("---\n");
    for (id, node) in (0u32..).zip(tree.nodes()) {
        put!(out, "{id}:\n  Hash:            0x{:X}\n", node.hash);
        put!(out, "  Terminals:       {}\n  SuccessorIds:    [ ", node.terminals);
        let mut column = VALUE_COLUMN + 2;
        for (n, successor) in successors.of_node(id).iter().enumerate() {
            if n > 0 {
                out.push_str(", ");
                column += 2;
            }
            if column > WRAP_COLUMN {
                put!(out, "\n{:1$}", "", VALUE_COLUMN + 2);
                column = VALUE_COLUMN + 2;
            }
            let before = out.len();
            put!(out, "{successor}");
            column += out.len() - before;
        }
        out.push_str(" ]\n");
    }
    out.push_str("...\n");
}

fn write_map(map: &StableFunctionMap, out: &mut String) {
    out.push_str("---\n");
    let functions = map.sorted();
    if functions.is_empty() {
        out.push_str("[]\n");
    }
    for f in functions {
        put!(out, "- Hash:            {}\n", f.hash);
        put!(out, "  FunctionName:    {}\n", quoted(map.name(f.name)));
        put!(out, "  ModuleName:      {}\n", quoted(map.name(f.module)));
        put!(out, "  InstCount:       {}\n", f.inst_count);
        let operands = map.operands(f);
        out.push_str(if operands.is_empty() {
            "  IndexOperandHashes: []\n"
        } else {
            "  IndexOperandHashes:\n"
        });
        for o in operands {
            put!(out, "    - InstIndex:       {}\n", o.inst_index);
            put!(out, "      OpndIndex:       {}\n", o.opnd_index);
            put!(out, "      OpndHash:        {}\n", o.opnd_hash);
        }
    }
    out.push_str("...\n");
}

/// A name as a YAML scalar: plain where it can be, in single quotes where it must be, in double
/// quotes where it has bytes that need escapes.
fn quoted(name: &[u8]) -> Cow<'_, str> {
    let is_control = |b: &u8| (*b < 0x20 && *b != b'\t') || *b >= 0x7f;
    match str::from_utf8(name) {
        Ok(name) if !name.as_bytes().iter().any(is_control) => {
            if is_plain(name) {
                Cow::Borrowed(name)
            } else {
                Cow::Owned(format!("'{}'", name.replace('\'', "''")))
            }
        }
        _ => Cow::Owned(double_quoted(name)),
    }
}

/// Whether a printable ASCII name needs no quotes. LLVM quotes more than YAML asks for.
fn is_plain(name: &str) -> bool {
    let bytes = name.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    let is_space = |b: &u8| matches!(b, b' ' | b'\t');
    let is_safe = |b: &u8| {
        b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'^' | b'.' | b',' | b' ' | b'\t')
    };
    let means_something_else = matches!(
        name,
        "null" | "Null" | "NULL" | "~" | "true" | "True" | "TRUE" | "false" | "False" | "FALSE"
    ) || is_numeric(name);
    !is_space(first)
        && !is_space(last)
        && !matches!(first, b'-' | b',')
        && bytes.iter().all(is_safe)
        && !means_something_else
}

/// Whether YAML would read a number, by the rules of its core schema.
fn is_numeric(text: &str) -> bool {
    let digits = |s: &str| s.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    if matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    if let Some(octal) = text.strip_prefix("0o") {
        return !octal.is_empty() && octal.bytes().all(|b| matches!(b, b'0'..=b'7'));
    }
    if let Some(hex) = text.strip_prefix("0x") {
        return !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit());
    }
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(text, ".inf" | ".Inf" | ".INF") {
        return true;
    }
    // Digits, a point and digits, an exponent: each may be missing, but not all digits.
    let whole = text.len() - digits(text);
    let (head, rest) = text.split_at_checked(whole).unwrap_or((text, ""));
    let (fraction, rest) = match rest.strip_prefix('.') {
        None => ("", rest),
        Some(rest) => rest.split_at_checked(rest.len() - digits(rest)).unwrap_or((rest, "")),
    };
    if head.is_empty() && fraction.is_empty() {
        return false;
    }
    match rest.strip_prefix(['e', 'E']) {
        None => rest.is_empty(),
        Some(exponent) => {
            let signless = exponent.strip_prefix(['-', '+']);
            // LLVM takes "1e" for no number, nor "1e+".
            let number = signless.unwrap_or(exponent);
            !number.is_empty() && digits(number) == 0
        }
    }
}

/// A name in double quotes. Bytes that are no UTF-8 end it with a replacement character, as they do
/// in LLVM: the text form cannot carry them.
fn double_quoted(name: &[u8]) -> String {
    let mut out = String::from("\"");
    let (valid, rest) = match str::from_utf8(name) {
        Ok(valid) => (valid, false),
        Err(e) => {
            let valid = name.get(..e.valid_up_to()).unwrap_or(&[]);
            (str::from_utf8(valid).unwrap_or(""), true)
        }
    };
    for c in valid.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\0' => out.push_str("\\0"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\x0B' => out.push_str("\\v"),
            '\x0C' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            '\x1B' => out.push_str("\\e"),
            '\u{85}' => out.push_str("\\N"),
            '\u{A0}' => out.push_str("\\_"),
            '\u{2028}' => out.push_str("\\L"),
            '\u{2029}' => out.push_str("\\P"),
            // DEL needs the double quotes but has no escape there.
            '\x7F' => out.push(c),
            _ if is_printable(c) => out.push(c),
            _ => {
                let code = u32::from(c);
                match code {
                    0..=0xFF => put!(out, "\\x{code:02X}"),
                    0x100..=0xFFFF => put!(out, "\\u{code:04X}"),
                    _ => put!(out, "\\U{code:08X}"),
                }
            }
        }
    }
    if rest {
        out.push('\u{FFFD}');
    }
    out.push('"');
    out
}

/// Whether a character stands for itself. Rust's tables decide, which are of another Unicode
/// version than LLVM's: a character that one of them does not know yet is escaped or not.
fn is_printable(c: char) -> bool {
    // Quotes stand for themselves, where Rust would escape them.
    matches!(c, ' '..='~') || c.escape_debug().eq([c])
}

/// Reads the text form.
///
/// # Errors
/// Malformed, with the line and the offset.
pub fn read(text: &[u8]) -> Result<CodegenData> {
    read_parts(text).map_err(|(message, at)| {
        let line = 1 + text.get(..at).map_or(0, |t| t.iter().filter(|b| **b == b'\n').count());
        Error::malformed(format!("{message} (line {line})")).at_bit(at as u64 * 8)
    })
}

fn read_parts(text: &[u8]) -> Result<CodegenData, Fault> {
    let corrupt = |what: String, at| {
        Err((format!("invalid codegen data (file header is corrupt): {what}"), at))
    };
    let (mut has_tree, mut has_map, mut at) = (false, false, 0);
    for line in text.split_inclusive(|b| *b == b'\n') {
        let trimmed = line.trim_ascii_end();
        if let [b':', ..] = trimmed {
            if trimmed.eq_ignore_ascii_case(TREE_KIND.as_bytes()) {
                has_tree = true;
            } else if trimmed.eq_ignore_ascii_case(MAP_KIND.as_bytes()) {
                has_map = true;
            } else {
                let kind = String::from_utf8_lossy(trimmed);
                return corrupt(format!("no kind is called {kind}"), at);
            }
        } else if !trimmed.is_empty() && !trimmed.starts_with(b"#") {
            break;
        }
        at += line.len();
    }
    if at == text.len() && (has_tree || has_map) {
        return corrupt("nothing follows".to_owned(), at);
    }
    let within = |(message, at): Fault| (format!("{MALFORMED}: {message}"), at);
    let mut parser = Parser::new(text, at);
    let mut data = CodegenData::default();
    if has_tree {
        data.tree = Some(parser.document().and_then(read_tree).map_err(within)?);
    }
    if has_map {
        data.map = Some(parser.document().and_then(read_map).map_err(within)?);
    }
    Ok(data)
}

fn read_tree(document: Node<'_>) -> Result<OutlinedHashTree, Fault> {
    let entries = match document.value {
        Value::Null => return Ok(OutlinedHashTree::default()),
        Value::Mapping(entries) => entries,
        _ => return Err(("a tree is a mapping of nodes by id".to_owned(), document.at)),
    };
    let mut nodes = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        let [hash, terminals, ids] = fields(value, ["Hash", "Terminals", "SuccessorIds"])?;
        let ids = sequence(ids)?;
        nodes.push(RawNode {
            id: number(&key)?,
            hash: number(&hash)?,
            terminals: number(&terminals)?,
            successors: ids.iter().map(number).collect::<Result<_, _>>()?,
            place: key.at as u64,
        });
    }
    OutlinedHashTree::from_raw(nodes).map_err(|(message, place)| (message, place as usize))
}

fn read_map(document: Node<'_>) -> Result<StableFunctionMap, Fault> {
    let mut map = StableFunctionMap::default();
    // LLVM numbers names as it meets them: a function's, then its module's.
    let mut numbers = std::collections::HashMap::new();
    let mut name = |node: Node<'_>, names: &mut Names| -> Result<u32, Fault> {
        let Value::Scalar(name) = node.value else {
            return Err(("a name is a scalar".to_owned(), node.at));
        };
        if name.contains(&0) {
            return Err(("a name with a NUL in it".to_owned(), node.at));
        }
        let next = names.len() as u32;
        let number = *numbers.entry(name.to_vec()).or_insert(next);
        if number == next {
            names.push(&name);
        }
        Ok(number)
    };
    for function in sequence(document)? {
        let at = function.at;
        let keys = ["Hash", "FunctionName", "ModuleName", "InstCount", "IndexOperandHashes"];
        let [hash, function_name, module, inst_count, operands] = fields(function, keys)?;
        let function = StableFunction {
            hash: number(&hash)?,
            name: name(function_name, &mut map.names)?,
            module: name(module, &mut map.names)?,
            inst_count: number(&inst_count)?,
            operand_count: 0,
            operand_start: 0,
        };
        let mut list = Vec::new();
        for operand in sequence(operands)? {
            let [inst, opnd, hash] = fields(operand, ["InstIndex", "OpndIndex", "OpndHash"])?;
            list.push(IndexOperandHash {
                inst_index: number(&inst)?,
                opnd_index: number(&opnd)?,
                opnd_hash: number(&hash)?,
            });
        }
        map.push(function, list.into_iter()).map_err(|reason| (reason, at))?;
    }
    Ok(map)
}

fn sequence(node: Node<'_>) -> Result<Vec<Node<'_>>, Fault> {
    match node.value {
        Value::Null => Ok(Vec::new()),
        Value::Sequence(items) => Ok(items),
        _ => Err(("not a sequence".to_owned(), node.at)),
    }
}

/// The values of exactly these keys, in any order.
fn fields<'a, const N: usize>(node: Node<'a>, keys: [&str; N]) -> Result<[Node<'a>; N], Fault> {
    let Value::Mapping(entries) = node.value else {
        return Err((format!("not a mapping of {}", keys.join(", ")), node.at));
    };
    let mut found: [Option<Node<'a>>; N] = [const { None }; N];
    for (key, value) in entries {
        let Value::Scalar(name) = &key.value else {
            return Err(("a key is a scalar".to_owned(), key.at));
        };
        let slot = keys.iter().zip(&mut found).find(|(k, _)| k.as_bytes() == &name[..]);
        match slot {
            Some((_, slot @ None)) => *slot = Some(value),
            Some((k, _)) => return Err((format!("{k} is there twice"), key.at)),
            None => {
                return Err((format!("unknown key '{}'", String::from_utf8_lossy(name)), key.at));
            }
        }
    }
    let mut missing = None;
    let found = found.map(|slot| {
        slot.unwrap_or_else(|| {
            missing = Some(());
            Node { at: node.at, value: Value::Null }
        })
    });
    match missing {
        None => Ok(found),
        Some(()) => {
            let lacks = keys.iter().zip(&found).find(|(_, v)| matches!(v.value, Value::Null));
            Err((format!("missing required key '{}'", lacks.map_or("", |(k, _)| *k)), node.at))
        }
    }
}

/// An unsigned number as LLVM reads it: decimal, or after 0x, 0b, 0o or a leading 0 of base 16, 2,
/// 8 or 8.
fn number<T: TryFrom<u64>>(node: &Node<'_>) -> Result<T, Fault> {
    let text = match &node.value {
        Value::Scalar(text) => str::from_utf8(text).unwrap_or(""),
        _ => "",
    };
    let lower = text.to_ascii_lowercase();
    let (digits, radix) = if let Some(hex) = lower.strip_prefix("0x") {
        (hex, 16)
    } else if let Some(binary) = lower.strip_prefix("0b") {
        (binary, 2)
    } else if let Some(octal) = lower.strip_prefix("0o") {
        (octal, 8)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (&lower[..], 8)
    } else {
        (&lower[..], 10)
    };
    // Rust would take a sign as well.
    let value = Some(digits)
        .filter(|d| d.bytes().all(|b| b.is_ascii_alphanumeric()))
        .and_then(|d| u64::from_str_radix(d, radix).ok());
    match value.map(T::try_from) {
        Some(Ok(value)) => Ok(value),
        Some(Err(_)) => Err((format!("out of range number '{text}'"), node.at)),
        None => Err((format!("invalid number '{text}'"), node.at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_is_that_of_the_reference() {
        // As `llvm-cgdata --convert` of LLVM 22 prints it, long lines included.
        let successors: Vec<u32> = (1..30).collect();
        let mut text = String::from(":outlined_hash_tree\n");
        text += &format!("0: {{Hash: 0, Terminals: 0, SuccessorIds: {successors:?}}}\n");
        for id in successors {
            text += &format!("{id}: {{Hash: {}, Terminals: {id}, SuccessorIds: []}}\n", 99 - id);
        }
        let written = String::from_utf8(write(&read(text.as_bytes()).unwrap())).unwrap();
        let expect = "\
            # Outlined stable hash tree\n:outlined_hash_tree\n---\n\
            0:\n  Hash:            0x0\n  Terminals:       0\n  \
            SuccessorIds:    [ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, \n                     \
            16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, \n                     \
            29 ]\n\
            1:\n  Hash:            0x62\n  Terminals:       1\n  SuccessorIds:    [  ]\n";
        assert!(written.starts_with(expect), "{written}");
        assert!(written.ends_with("SuccessorIds:    [  ]\n...\n"));
    }

    #[test]
    fn numbers_as_yaml_and_llvm_have_them() {
        for text in ["1", "-1", "+1.5", ".5", "1.", "1.e5", "1e5", "1E-5", "0o7", "0xfF", "-.inf"] {
            assert!(is_numeric(text), "{text}");
        }
        for text in ["", "+", ".", "e5", ".e5", "1e", "1e+", "0o8", "0x", "-0x1", "1.5.", "inf"] {
            assert!(!is_numeric(text), "{text}");
        }
        let parse = |text: &'static str| {
            number::<u32>(&Node { at: 3, value: Value::Scalar(Cow::Borrowed(text.as_bytes())) })
        };
        for (text, value) in [("12", 12), ("0x1F", 31), ("0B11", 3), ("0o17", 15), ("017", 15)] {
            assert_eq!(parse(text), Ok(value));
        }
        for text in ["", "-1", "+1", "08", "0x", "1 2", "4294967296", "99999999999999999999"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn faults_are_named_with_their_line() {
        for (text, byte, words) in [
            (":x\n", 0, "file header is corrupt): no kind is called :x (line 1)"),
            (":outlined_hash_tree\n#\n", 22, "nothing follows (line 3)"),
            (":outlined_hash_tree\n- 1\n", 20, "a tree is a mapping of nodes by id (line 2)"),
            (
                ":outlined_hash_tree\n0:\n  Hash: 1\n",
                25,
                "missing required key 'Terminals' (line 3)",
            ),
            (":outlined_hash_tree\n0: {Hash: 1, Hash: 1}\n", 33, "Hash is there twice"),
            (":outlined_hash_tree\n0: {Hush: 1}\n", 24, "unknown key 'Hush'"),
            (
                ":outlined_hash_tree\n0: {Hash: 0, Terminals: 4294967296, SuccessorIds: []}\n",
                44,
                "out of range number '4294967296'",
            ),
            (
                ":outlined_hash_tree\n0: {Hash: 0, Terminals: 0, SuccessorIds: [0]}\n",
                20,
                "node 0: successor 0 does not come after its parent",
            ),
            (":stable_function_map\n---\n5\n", 25, "not a sequence (line 3)"),
            (
                ":stable_function_map\n- {Hash: 0, FunctionName: \"\\0\", ModuleName: m, InstCount: 1, \
                 IndexOperandHashes: []}\n",
                47,
                "a name with a NUL in it",
            ),
        ] {
            let e = read(text.as_bytes()).unwrap_err();
            assert!(e.to_string().contains(words), "{e}");
            assert_eq!(e.bit(), Some(byte * 8), "{e}");
        }
    }
}
