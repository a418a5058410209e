//! Macros and repetitions: text to text.
//!
//! In: the header of a `.macro`, its body, and the arguments of a call. Out: the expanded text.
//! Source: `parseDirectiveMacro`, `parseMacroArguments` and `expandMacro` of LLVM's `AsmParser`.

use super::lexer::{Token, tokens};

/// A macro's parameter.
#[derive(Clone, Debug, Default)]
struct Parameter {
    name: Vec<u8>,
    default: Vec<u8>,
    vararg: bool,
}

/// A macro.
#[derive(Clone, Debug)]
pub(super) struct Macro {
    pub(super) name: Vec<u8>,
    parameters: Vec<Parameter>,
    pub(super) body: Vec<u8>,
}

impl Macro {
    /// Reads `name parameters`, the text behind `.macro`.
    pub(super) fn of_header(header: &[u8], body: Vec<u8>) -> Option<Self> {
        let header = header.trim_ascii();
        let end = header.iter().position(|&c| c.is_ascii_whitespace() || c == b',');
        let (name, rest) = header.split_at(end.unwrap_or(header.len()));
        if name.is_empty() {
            return None;
        }
        let mut parameters: Vec<Parameter> = Vec::new();
        for word in split(rest, true) {
            let (word, default) = match word.iter().position(|&c| c == b'=') {
                Some(at) => (word.get(..at)?, word.get(at + 1..)?),
                None => (word.as_slice(), &[][..]),
            };
            let (name, qualifier) = match word.iter().position(|&c| c == b':') {
                Some(at) => (word.get(..at)?, word.get(at + 1..)?),
                None => (word, &[][..]),
            };
            parameters.push(Parameter {
                name: name.trim_ascii().to_vec(),
                default: unquoted(default.trim_ascii()).to_vec(),
                vararg: qualifier.trim_ascii() == b"vararg",
            });
        }
        Some(Macro { name: name.to_vec(), parameters, body })
    }

    /// The body with the arguments of a call put in. `count` is how many macros were expanded
    /// before this one.
    pub(super) fn expand(&self, arguments: &[u8], count: u64, darwin: bool) -> Vec<u8> {
        let given = split(arguments, !darwin);
        if darwin && self.parameters.is_empty() {
            return substitute_numbers(&self.body, &given);
        }
        let mut values: Vec<Option<Vec<u8>>> = vec![None; self.parameters.len()];
        let mut next = 0;
        for (i, argument) in given.iter().enumerate() {
            let named = argument.iter().position(|&c| c == b'=').and_then(|at| {
                let name = argument.get(..at)?.trim_ascii();
                let index = self.parameters.iter().position(|p| p.name == name)?;
                Some((index, argument.get(at + 1..)?.trim_ascii().to_vec()))
            });
            let (index, value) = named.unwrap_or_else(|| (next, argument.clone()));
            next = index + 1;
            let Some(slot) = values.get_mut(index) else { break };
            if self.parameters.get(index).is_some_and(|p| p.vararg) {
                let rest = given.get(i..).unwrap_or(&[]);
                *slot = Some(rest.join(&b", "[..]));
                break;
            }
            *slot = Some(unquoted(&value).to_vec());
        }
        let find = |name: &[u8]| -> Option<Vec<u8>> {
            let index = self.parameters.iter().position(|p| p.name == name)?;
            let given = values.get(index).cloned().flatten().filter(|v| !v.is_empty());
            given.or_else(|| self.parameters.get(index).map(|p| p.default.clone()))
        };
        substitute(&self.body, find, count)
    }
}

/// Puts values where `\name` stands; `\@` is the count, `\()` nothing.
pub(super) fn substitute(
    body: &[u8],
    find: impl Fn(&[u8]) -> Option<Vec<u8>>,
    count: u64,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some(at) = rest.iter().position(|&c| c == b'\\') {
        let (before, tail) = rest.split_at(at);
        out.extend_from_slice(before);
        let tail = tail.get(1..).unwrap_or(&[]);
        if let Some(after) = tail.strip_prefix(b"@") {
            out.extend_from_slice(count.to_string().as_bytes());
            rest = after;
        } else if let Some(after) = tail.strip_prefix(b"()") {
            rest = after;
        } else {
            let is_name = |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'$' | b'.');
            let len = tail.iter().take_while(|c| is_name(c)).count();
            let (name, after) = tail.split_at(len);
            match find(name) {
                Some(value) => out.extend_from_slice(&value),
                None => {
                    out.push(b'\\');
                    out.extend_from_slice(name);
                }
            }
            rest = after;
        }
    }
    out.extend_from_slice(rest);
    out
}

/// Darwin's macros without parameters: `$0` to `$9`, `$n` for their number, `$$` for a dollar.
fn substitute_numbers(body: &[u8], arguments: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    let mut bytes = body.iter().copied().peekable();
    while let Some(c) = bytes.next() {
        match (c, bytes.peek().copied()) {
            (b'$', Some(b'$')) => {
                bytes.next();
                out.push(b'$');
            }
            (b'$', Some(b'n')) => {
                bytes.next();
                out.extend_from_slice(arguments.len().to_string().as_bytes());
            }
            (b'$', Some(digit @ b'0'..=b'9')) => {
                bytes.next();
                let argument = arguments.get(usize::from(digit - b'0'));
                out.extend_from_slice(argument.map_or(&[], Vec::as_slice));
            }
            _ => out.push(c),
        }
    }
    out
}

/// A string without its quotes, anything else as it is.
fn unquoted(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\"").and_then(|t| t.strip_suffix(b"\"")).unwrap_or(text)
}

/// Splits arguments at commas outside of parentheses and strings, and where `at_spaces` also at
/// white space that no operator stands beside.
pub(super) fn split(text: &[u8], at_spaces: bool) -> Vec<Vec<u8>> {
    let text = text.trim_ascii();
    let mut out: Vec<Vec<u8>> = Vec::new();
    if text.is_empty() {
        return out;
    }
    let mut start = 0;
    let mut depth = 0u32;
    let mut previous_end = 0;
    let mut previous_joins = true;
    for spanned in tokens(text) {
        let is_operator = matches!(
            &spanned.token,
            Token::Op(
                "+" | "-"
                    | "*"
                    | "/"
                    | "%"
                    | "&"
                    | "|"
                    | "^"
                    | "~"
                    | "!"
                    | "<<"
                    | ">>"
                    | "=="
                    | "!="
                    | "<>"
                    | "<="
                    | ">="
                    | "&&"
                    | "||"
                    | "<"
                    | ">"
                    | "="
                    | ":"
                    | "@"
            )
        );
        let gap = spanned.start > previous_end;
        if at_spaces
            && depth == 0
            && gap
            && !previous_joins
            && !is_operator
            && spanned.token != Token::Op(",")
        {
            out.push(text.get(start..previous_end).unwrap_or(&[]).trim_ascii().to_vec());
            start = spanned.start;
        }
        previous_joins = is_operator;
        match spanned.token {
            Token::Op("(") => depth += 1,
            Token::Op(")") => depth = depth.saturating_sub(1),
            Token::Op(",") if depth == 0 => {
                out.push(text.get(start..spanned.start).unwrap_or(&[]).trim_ascii().to_vec());
                start = spanned.end;
                previous_joins = true;
            }
            _ => {}
        }
        previous_end = spanned.end;
    }
    out.push(text.get(start..).unwrap_or(&[]).trim_ascii().to_vec());
    out
}
