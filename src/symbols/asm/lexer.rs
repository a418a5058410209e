//! Statements and tokens of assembly text.
//!
//! In: text and the target's syntax. Out: one statement at a time without its comments, and the
//! tokens of a statement. Source: LLVM's `AsmLexer` and the `MCAsmInfo` of the targets.

use crate::symbols::triple::{Arch, ObjectFormat, Triple};

/// What of a target the lexer and parser depend on.
#[derive(Clone, Debug)]
pub(super) struct Syntax {
    pub(super) arch: Arch,
    pub(super) format: ObjectFormat,
    /// The line comment besides `//`, `/* */` and a `#` at the start of a line.
    comment: u8,
    /// What ends a statement besides the end of the line.
    separator: &'static [u8],
    /// Before the names of the labels that the assembler makes.
    pub(super) private_prefix: &'static str,
}

impl Syntax {
    pub(super) fn of(triple: &Triple) -> Self {
        let darwin = triple.format == ObjectFormat::MachO;
        let (comment, separator): (u8, &'static [u8]) = match triple.arch {
            Arch::AArch64 | Arch::AArch64_32 if darwin => (b';', b"%%"),
            // Both comments of 64-bit ARM are `//`.
            Arch::AArch64 | Arch::AArch64_32 => (0, b";"),
            Arch::Arm => (b'@', b";"),
            Arch::Sparc => (b'!', b";"),
            _ => (b'#', b";"),
        };
        let private_prefix = match (triple.format, triple.arch) {
            (ObjectFormat::MachO, _) | (ObjectFormat::Coff, Arch::X86) => "L",
            (ObjectFormat::Elf, Arch::Mips) => "$",
            (ObjectFormat::Xcoff, _) => "L..",
            _ => ".L",
        };
        Syntax { arch: triple.arch, format: triple.format, comment, separator, private_prefix }
    }

    pub(super) fn is_darwin(&self) -> bool {
        self.format == ObjectFormat::MachO
    }

    /// Takes the next statement off `text`, with its comments removed. The statement may be
    /// empty; None at the end of the text.
    pub(super) fn statement(&self, text: &mut &[u8]) -> Option<Vec<u8>> {
        if text.is_empty() {
            return None;
        }
        let mut out = Vec::new();
        let mut at = 0;
        while let Some(&c) = text.get(at) {
            let rest = text.get(at..).unwrap_or(&[]);
            if c == b'\n' || c == b'\r' {
                at += 1;
                break;
            } else if rest.starts_with(self.separator) {
                at += self.separator.len();
                break;
            } else if c == b'"' {
                let len = string_len(rest);
                out.extend_from_slice(rest.get(..len).unwrap_or(&[]));
                at += len;
            } else if c == b'\'' && rest.len() >= 3 && rest.get(1) != Some(&b'\n') {
                // A character constant: its character is not a comment or separator.
                let len = if rest.get(1) == Some(&b'\\') { 3 } else { 2 };
                out.extend_from_slice(rest.get(..len).unwrap_or(&[]));
                at += len.min(rest.len());
            } else if rest.starts_with(b"/*") {
                let end = rest.windows(2).skip(2).position(|w| w == b"*/");
                at += end.map_or(rest.len(), |e| e + 4);
                out.push(b' ');
            } else if rest.starts_with(b"//")
                || (c == self.comment && c != 0)
                || (c == b'#' && out.iter().all(u8::is_ascii_whitespace))
            {
                at += rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
            } else {
                out.push(c);
                at += 1;
            }
        }
        *text = text.get(at..).unwrap_or(&[]);
        Some(out)
    }
}

/// The bytes of a string with its quotes, at most up to the end of the line.
fn string_len(text: &[u8]) -> usize {
    let mut at = 1;
    while let Some(&c) = text.get(at) {
        match c {
            b'\\' => at += 2,
            b'"' => return at + 1,
            b'\n' => return at,
            _ => at += 1,
        }
    }
    text.len()
}

/// A token of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A name, or a directive with its dot.
    Name(Vec<u8>),
    /// An integer; None where it has more than 64 bits or is a floating point number.
    Integer(Option<i64>),
    /// `1b` and `1f`.
    Directional { number: i64, forward: bool },
    /// A string, without its quotes and with its escapes resolved.
    String(Vec<u8>),
    /// One of the operators of two characters, or a single character.
    Op(&'static str),
    /// Any other character.
    Other(u8),
}

const OPERATORS: [&str; 35] = [
    "<<", ">>", "==", "!=", "<>", "<=", ">=", "&&", "||", "(", ")", "[", "]", "{", "}", ",", "+",
    "-", "*", "/", "%", "&", "|", "^", "~", "!", "<", ">", "=", ":", "@", "$", "#", "'", "\\",
];

/// A token and where in the statement it starts and ends.
#[derive(Clone, Debug)]
pub(super) struct Spanned {
    pub(super) token: Token,
    pub(super) start: usize,
    pub(super) end: usize,
}

fn starts_name(c: u8) -> bool {
    c.is_ascii_alphabetic() || matches!(c, b'_' | b'.' | b'?') || c >= 0x80
}

fn continues_name(c: u8) -> bool {
    starts_name(c) || c.is_ascii_digit() || c == b'$'
}

/// The tokens of a statement.
pub(super) fn tokens(text: &[u8]) -> Vec<Spanned> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(&c) = text.get(at) {
        if c.is_ascii_whitespace() {
            at += 1;
            continue;
        }
        let rest = text.get(at..).unwrap_or(&[]);
        let (token, len) = token(c, rest);
        out.push(Spanned { token, start: at, end: at + len });
        at += len.max(1);
    }
    out
}

fn token(c: u8, rest: &[u8]) -> (Token, usize) {
    if starts_name(c) {
        let len = rest.iter().take_while(|&&c| continues_name(c)).count();
        return (Token::Name(rest.get(..len).unwrap_or(&[]).to_vec()), len);
    }
    if c.is_ascii_digit() {
        return number(rest);
    }
    if c == b'"' {
        let len = string_len(rest);
        let inner = rest.get(1..len).unwrap_or(&[]);
        return (Token::String(unescape(inner.strip_suffix(b"\"").unwrap_or(inner))), len);
    }
    if c == b'\'' {
        // 'a' or 'a without an end; an escape is two characters.
        let escaped = rest.get(1) == Some(&b'\\');
        let body = if escaped { 2 } else { 1 };
        let value = rest.get(body).map(|&c| match (escaped, c) {
            (true, b'n') => 10,
            (true, b't') => 9,
            (true, b'r') => 13,
            (_, c) => i64::from(c),
        });
        let closed = rest.get(body + 1) == Some(&b'\'');
        return (Token::Integer(value), (body + 1 + usize::from(closed)).min(rest.len()));
    }
    match OPERATORS.iter().find(|op| rest.starts_with(op.as_bytes())) {
        Some(op) => (Token::Op(op), op.len()),
        None => (Token::Other(c), 1),
    }
}

fn number(rest: &[u8]) -> (Token, usize) {
    let digits = rest.iter().take_while(|c| c.is_ascii_digit()).count();
    let after = rest.get(digits).copied();
    let follows = rest.get(digits + 1).copied();
    // `1b` and `1f`, but not 0b101 nor 1foo.
    if let Some(direction @ (b'b' | b'f')) = after {
        let binary =
            direction == b'b' && rest.starts_with(b"0b") && matches!(follows, Some(b'0' | b'1'));
        if !binary && !follows.is_some_and(continues_name) {
            let number = parse(rest.get(..digits).unwrap_or(&[]), 10);
            if let Some(number) = number {
                return (Token::Directional { number, forward: direction == b'f' }, digits + 1);
            }
        }
    }
    let len = rest.iter().take_while(|c| c.is_ascii_alphanumeric() || **c == b'.').count();
    let word = rest.get(..len).unwrap_or(&[]).to_ascii_lowercase();
    let value = if let Some(hex) = word.strip_prefix(b"0x") {
        parse(hex, 16)
    } else if let Some(binary) = word.strip_prefix(b"0b") {
        parse(binary, 2)
    } else if word.len() > 1 && word.starts_with(b"0") && word.iter().all(u8::is_ascii_digit) {
        parse(&word, 8)
    } else if let Some(hex) = word.strip_suffix(b"h") {
        parse(hex, 16)
    } else {
        let suffix = word.iter().rev().take_while(|c| matches!(c, b'u' | b'l')).count();
        parse(word.get(..word.len() - suffix).unwrap_or(&[]), 10)
    };
    (Token::Integer(value), len)
}

fn parse(digits: &[u8], radix: u32) -> Option<i64> {
    let digits = std::str::from_utf8(digits).ok()?;
    u64::from_str_radix(digits, radix).ok().map(|v| v as i64)
}

fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(&c) = bytes.next() {
        if c != b'\\' {
            out.push(c);
            continue;
        }
        match bytes.next() {
            Some(b'n') => out.push(b'\n'),
            Some(b't') => out.push(b'\t'),
            Some(&c) => out.push(c),
            None => {}
        }
    }
    out
}
