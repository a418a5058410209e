//! The part of YAML that LLVM writes: codegen data as text, and indexes as its passes give them out.
//!
//! In: text. Out: its documents, as scalars, sequences and mappings that borrow from it.
//!
//! Understood are block and flow collections, plain, single- and double-quoted scalars of one line,
//! comments and document markers, which is what LLVM writes and what people write by hand. Anchors,
//! aliases, tags, block scalars and scalars over several lines are refused by name rather than
//! misread. It knows nothing of what the text means.

use std::borrow::Cow;

/// A value and the byte at which it begins.
#[derive(Debug)]
pub(crate) struct Node<'a> {
    pub at: usize,
    pub value: Value<'a>,
}

#[derive(Debug)]
pub(crate) enum Value<'a> {
    /// Nothing was written.
    Null,
    Scalar(Cow<'a, [u8]>),
    Sequence(Vec<Node<'a>>),
    Mapping(Vec<(Node<'a>, Node<'a>)>),
}

/// What is wrong, and at which byte.
pub(crate) type Fault = (String, usize);

/// Collections within collections, at most. Indexes have eight levels.
const MAX_DEPTH: u32 = 32;

pub(crate) struct Parser<'a> {
    text: &'a [u8],
    pos: usize,
    /// Where the line at hand begins.
    line: usize,
}

impl<'a> Parser<'a> {
    /// A parser of the documents in `text` from byte `pos` on, which begins a line.
    pub fn new(text: &'a [u8], pos: usize) -> Self {
        Parser { text, pos, line: pos }
    }

    /// The next document; Null where there is none.
    pub fn document(&mut self) -> Result<Node<'a>, Fault> {
        self.blank()?;
        while self.marker(b"...") {
            self.pos += 3;
            self.blank()?;
        }
        if self.marker(b"---") {
            self.pos += 3;
            self.blank()?;
        }
        let node = self.node(0, 0)?;
        self.blank()?;
        if self.pos < self.text.len() && !self.marker(b"---") && !self.marker(b"...") {
            return self.fault("something behind the end of the document");
        }
        Ok(node)
    }

    fn fault<T>(&self, message: impl Into<String>) -> Result<T, Fault> {
        Err((message.into(), self.pos))
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.pos).copied()
    }

    fn column(&self) -> usize {
        self.pos - self.line
    }

    fn starts_with(&self, prefix: &[u8]) -> bool {
        self.text.get(self.pos..).is_some_and(|rest| rest.starts_with(prefix))
    }

    /// Whether the byte `n` further on ends a token: white space or the end of the text.
    fn ends_at(&self, n: usize) -> bool {
        self.text.get(self.pos + n).is_none_or(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r'))
    }

    fn marker(&self, marker: &[u8]) -> bool {
        self.column() == 0 && self.starts_with(marker) && self.ends_at(marker.len())
    }

    /// Passes over spaces of this line.
    fn spaces(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r')) {
            self.pos += 1;
        }
    }

    /// Passes over white space, comments and the ends of lines.
    fn blank(&mut self) -> Result<(), Fault> {
        loop {
            self.spaces();
            // A comment stands at the start of a line or behind white space.
            let before = self.pos.checked_sub(1).and_then(|at| self.text.get(at));
            match self.peek() {
                Some(b'#') if before.is_none_or(u8::is_ascii_whitespace) => {
                    while self.peek().is_some_and(|b| b != b'\n') {
                        self.pos += 1;
                    }
                }
                Some(b'\n') => {
                    self.pos += 1;
                    self.line = self.pos;
                }
                _ => break,
            }
        }
        let indent = self.text.get(self.line..self.pos).unwrap_or(&[]);
        if indent.contains(&b'\t') && indent.iter().all(|b| matches!(b, b' ' | b'\t')) {
            return self.fault("a tab where lines are indented");
        }
        Ok(())
    }

    /// A value in block style, of at least `indent` columns.
    fn node(&mut self, indent: usize, depth: u32) -> Result<Node<'a>, Fault> {
        self.blank()?;
        let at = self.pos;
        if depth > MAX_DEPTH {
            return self.fault("collections nested too deeply");
        }
        let done = |value| Ok(Node { at, value });
        let column = self.column();
        if self.peek().is_none() || column < indent || self.marker(b"---") || self.marker(b"...") {
            return done(Value::Null);
        }
        if self.peek() == Some(b'-') && self.ends_at(1) {
            let mut items = Vec::new();
            while self.peek() == Some(b'-')
                && self.ends_at(1)
                && self.column() == column
                && !self.marker(b"---")
            {
                self.pos += 1;
                items.push(self.node(column + 1, depth + 1)?);
                self.blank()?;
            }
            return done(Value::Sequence(items));
        }
        if matches!(self.peek(), Some(b'[' | b'{')) {
            let value = self.flow(depth)?;
            return done(value);
        }
        let first = self.scalar(false)?;
        self.spaces();
        if !(self.peek() == Some(b':') && self.ends_at(1)) {
            return done(first);
        }
        let mut key = Node { at, value: first };
        let mut entries = Vec::new();
        loop {
            self.pos += 1;
            let line = self.line;
            self.blank()?;
            // A sequence may stand under its key without being indented.
            let sequence = self.peek() == Some(b'-') && self.ends_at(1) && self.line != line;
            let value = self.node(if sequence { column } else { column + 1 }, depth + 1)?;
            entries.push((key, value));
            self.blank()?;
            if self.peek().is_none()
                || self.column() != column
                || self.marker(b"---")
                || self.marker(b"...")
            {
                break;
            }
            key = Node { at: self.pos, value: self.scalar(false)? };
            self.spaces();
            if !(self.peek() == Some(b':') && self.ends_at(1)) {
                return self.fault("a key without a colon");
            }
        }
        done(Value::Mapping(entries))
    }

    /// A value in flow style.
    fn flow(&mut self, depth: u32) -> Result<Value<'a>, Fault> {
        if depth > MAX_DEPTH {
            return self.fault("collections nested too deeply");
        }
        let (close, is_mapping) = match self.peek() {
            Some(b'[') => (b']', false),
            Some(b'{') => (b'}', true),
            _ => return self.scalar(true),
        };
        self.pos += 1;
        let (mut items, mut entries) = (Vec::new(), Vec::new());
        loop {
            self.blank()?;
            if self.peek() == Some(close) {
                self.pos += 1;
                break;
            }
            let at = self.pos;
            let node = Node { at, value: self.flow(depth + 1)? };
            self.blank()?;
            if is_mapping {
                if self.peek() != Some(b':') {
                    return self.fault("a key without a colon");
                }
                self.pos += 1;
                self.blank()?;
                let at = self.pos;
                let value = self.flow(depth + 1)?;
                entries.push((node, Node { at, value }));
                self.blank()?;
            } else {
                items.push(node);
            }
            match self.peek() {
                Some(b',') => self.pos += 1,
                Some(b) if b == close => {}
                _ => return self.fault(format!("neither ',' nor '{}'", close as char)),
            }
        }
        Ok(if is_mapping { Value::Mapping(entries) } else { Value::Sequence(items) })
    }

    fn scalar(&mut self, flow: bool) -> Result<Value<'a>, Fault> {
        match self.peek() {
            Some(b'\'') => self.single_quoted(),
            Some(b'"') => self.double_quoted(),
            Some(b @ (b'&' | b'*' | b'!' | b'|' | b'>' | b'%' | b'@' | b'`')) => {
                self.fault(format!("'{}' is YAML that is not understood here", b as char))
            }
            _ => self.plain(flow),
        }
    }

    fn plain(&mut self, flow: bool) -> Result<Value<'a>, Fault> {
        let start = self.pos;
        let mut end = start;
        while let Some(b) = self.peek() {
            let ends = match b {
                b'\n' => true,
                b':' => {
                    self.ends_at(1)
                        || (flow
                            && matches!(
                                self.text.get(self.pos + 1),
                                Some(b',' | b'[' | b']' | b'{' | b'}')
                            ))
                }
                b'#' => end < self.pos,
                b',' | b'[' | b']' | b'{' | b'}' => flow,
                _ => false,
            };
            if ends {
                break;
            }
            self.pos += 1;
            if !matches!(b, b' ' | b'\t' | b'\r') {
                end = self.pos;
            }
        }
        match self.text.get(start..end) {
            Some(text) if !text.is_empty() => Ok(Value::Scalar(Cow::Borrowed(text))),
            _ => self.fault("a value is missing"),
        }
    }

    fn single_quoted(&mut self) -> Result<Value<'a>, Fault> {
        self.pos += 1;
        let mut text = Vec::new();
        loop {
            match self.peek() {
                Some(b'\'') if self.starts_with(b"''") => {
                    text.push(b'\'');
                    self.pos += 2;
                }
                Some(b'\'') => {
                    self.pos += 1;
                    return Ok(Value::Scalar(Cow::Owned(text)));
                }
                None | Some(b'\n') => return self.fault("a quote is not closed on its line"),
                Some(b) => {
                    text.push(b);
                    self.pos += 1;
                }
            }
        }
    }

    fn double_quoted(&mut self) -> Result<Value<'a>, Fault> {
        self.pos += 1;
        let mut text = Vec::new();
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.pos += 1;
                    return Ok(Value::Scalar(Cow::Owned(text)));
                }
                None | Some(b'\n') => return self.fault("a quote is not closed on its line"),
                Some(b'\\') => self.escape(&mut text)?,
                Some(b) => {
                    text.push(b);
                    self.pos += 1;
                }
            }
        }
    }

    fn escape(&mut self, text: &mut Vec<u8>) -> Result<(), Fault> {
        let kind = self.text.get(self.pos + 1).copied();
        let (code, digits) = match kind {
            Some(b'0') => (0, 0),
            Some(b'a') => (7, 0),
            Some(b'b') => (8, 0),
            Some(b't' | b'\t') => (9, 0),
            Some(b'n') => (10, 0),
            Some(b'v') => (11, 0),
            Some(b'f') => (12, 0),
            Some(b'r') => (13, 0),
            Some(b'e') => (27, 0),
            Some(b @ (b' ' | b'"' | b'/' | b'\\')) => (u32::from(b), 0),
            Some(b'N') => (0x85, 0),
            Some(b'_') => (0xA0, 0),
            Some(b'L') => (0x2028, 0),
            Some(b'P') => (0x2029, 0),
            Some(b'x') => (0, 2),
            Some(b'u') => (0, 4),
            Some(b'U') => (0, 8),
            _ => return self.fault("an escape that YAML does not have"),
        };
        let code = if digits == 0 {
            Some(code)
        } else {
            (self.text.get(self.pos + 2..self.pos + 2 + digits))
                .filter(|hex| hex.iter().all(u8::is_ascii_hexdigit))
                .and_then(|hex| str::from_utf8(hex).ok())
                .and_then(|hex| u32::from_str_radix(hex, 16).ok())
        };
        let Some(c) = code.and_then(char::from_u32) else {
            return self.fault("an escape that is no character");
        };
        text.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
        self.pos += 2 + digits;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(node: &Node<'_>) -> String {
        match &node.value {
            Value::Null => "~".to_owned(),
            Value::Scalar(s) => String::from_utf8_lossy(s).into_owned(),
            Value::Sequence(items) => {
                format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(","))
            }
            Value::Mapping(entries) => {
                let entries: Vec<_> =
                    entries.iter().map(|(k, v)| format!("{}={}", show(k), show(v))).collect();
                format!("{{{}}}", entries.join(","))
            }
        }
    }

    #[test]
    fn what_is_understood() {
        for (text, expect) in [
            ("", "~"),
            ("---\n...\n", "~"),
            (
                "# comment\n--- # more\na: 1 # one\nb:\n  c: x y # z\n  d: e#f\n",
                "{a=1,b={c=x y,d=e#f}}",
            ),
            (
                "- a: 1\n  b:\n    - x\n    - y: 2\n      z:\n- c: []\n",
                "[{a=1,b=[x,{y=2,z=~}]},{c=[]}]",
            ),
            ("a:\n- 1\n- 2\nb: {c: [ 1,\n   2 ], d: 'it''s' }\n", "{a=[1,2],b={c=[1,2],d=it's}}"),
            (r#"- "a\x41\u263A\t\"\\" "#, "[aA\u{263A}\t\"\\]"),
            ("- - 1\n  - 2\n-\n  3\n", "[[1,2],3]"),
            ("- a:b\n- -1\n- --- x\n", "[a:b,-1,--- x]"),
            ("1:\r\n  x: 2\r\n", "{1={x=2}}"),
        ] {
            let node = Parser::new(text.as_bytes(), 0).document().unwrap();
            assert_eq!(show(&node), expect, "{text:?}");
        }
    }

    #[test]
    fn documents_follow_one_another() {
        let mut parser = Parser::new(b"a: 1\n...\n---\n- 2\n---\n3\n", 0);
        let documents: Vec<_> = (0..4).map(|_| show(&parser.document().unwrap())).collect();
        assert_eq!(documents, ["{a=1}", "[2]", "3", "~"]);
    }

    #[test]
    fn what_is_refused() {
        for (text, at, word) in [
            ("a: &x 1\n", 3, "'&'"),
            ("a: |\n  b\n", 3, "'|'"),
            ("a: 'x\n'", 5, "not closed"),
            ("a: \"\\q\"", 4, "does not have"),
            ("a: \"\\ud800\"", 4, "no character"),
            ("a: [1, 2", 8, "neither"),
            ("a: 1\nb\n", 6, "without a colon"),
            ("a: 1\n  b: 2\n", 7, "behind the end"),
            ("a:\n\tb: 2\n", 4, "tab"),
            ("a: {b}\n", 5, "without a colon"),
        ] {
            let (message, place) = Parser::new(text.as_bytes(), 0).document().unwrap_err();
            assert!(message.contains(word) && place == at, "{text:?}: {message} at {place}");
        }
        for open in ["[", "- ", "{", "a: {"] {
            assert!(Parser::new(open.repeat(100_000).as_bytes(), 0).document().is_err());
        }
    }
}
