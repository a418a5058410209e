//! Statements: labels, assignments, directives, conditionals; what is left is an instruction.
//!
//! In: assembly text. Out: the state of a [`Recorder`]. Source: `AsmParser::parseStatement` and
//! the directives of `ELFAsmParser`, `DarwinAsmParser` and the targets' parsers, of which only
//! those are followed that reach `RecordStreamer`: labels, assignments, commons, `.globl` and
//! `.weak`, data, `.symver`, `.lazy_reference`, instructions. A `.` in any expression makes a
//! label, so the expressions of other directives are read as well.

use std::collections::{HashMap, HashSet};

use super::expr::Expr;
use super::lexer::{Spanned, Syntax, Token, tokens};
use super::macros::{Macro, split, substitute};
use super::recorder::{Attribute, Recorder};
use crate::error::{Error, Result};

/// LLVM's limit of macros within macros.
const MAX_DEPTH: u32 = 20;
/// Statements in all, expanded ones included.
const MAX_STATEMENTS: u32 = 2_000_000;
/// Bytes that macros and repetitions may expand to in all.
const MAX_EXPANSION: usize = 64 << 20;

/// A statement's tokens and how many are read.
#[derive(Debug)]
pub(super) struct Line {
    text: Vec<u8>,
    tokens: Vec<Spanned>,
    next: usize,
}

impl Line {
    fn new(text: Vec<u8>) -> Self {
        Line { tokens: tokens(&text), text, next: 0 }
    }

    pub(super) fn peek(&self) -> Option<&Token> {
        self.peek_at(0)
    }

    pub(super) fn peek_at(&self, ahead: usize) -> Option<&Token> {
        self.tokens.get(self.next + ahead).map(|s| &s.token)
    }

    pub(super) fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.next).map(|s| s.token.clone());
        self.next += 1;
        token
    }

    /// Whether the next token is this operator; then it is read.
    pub(super) fn eat(&mut self, op: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Op(o)) if *o == op);
        self.next += usize::from(found);
        found
    }

    /// A symbol's name.
    fn name(&mut self) -> Option<Vec<u8>> {
        match self.peek()? {
            Token::Name(name) | Token::String(name) => {
                let name = name.clone();
                self.next += 1;
                Some(name)
            }
            _ => None,
        }
    }

    /// The text from the next token on.
    fn rest(&self) -> &[u8] {
        let start = self.tokens.get(self.next).map_or(self.text.len(), |s| s.start);
        self.text.get(start..).unwrap_or(&[]).trim_ascii()
    }
}

/// One `.if` that has not ended.
#[derive(Clone, Copy, Debug)]
struct Condition {
    /// Whether any of its branches was taken.
    met: bool,
    /// Whether the text is passed over now.
    ignore: bool,
    /// Whether it stands itself in text that is passed over.
    outer: bool,
}

/// What assembly has said so far.
#[derive(Debug)]
pub(super) struct Parser {
    pub(super) syntax: Syntax,
    pub(super) recorder: Recorder,
    /// Symbols that are defined, with their values where these are known.
    values: HashMap<Vec<u8>, Option<i64>>,
    macros: HashMap<Vec<u8>, Macro>,
    expansions: u64,
    conditions: Vec<Condition>,
    /// How often each directional label was defined.
    instances: HashMap<i64, u32>,
    directional_names: HashMap<(i64, u32), Vec<u8>>,
    /// `.intel_syntax` is on.
    pub(super) intel: bool,
    /// Names of registers by `.req`.
    pub(super) register_aliases: HashSet<Vec<u8>>,
    /// What literal pools hold that are not yet placed.
    pub(super) pool: Vec<Expr>,
    /// Whether the text has an error by which LLVM gives up on all of its symbols.
    pub(super) failed: bool,
    statements: u32,
    expanded: usize,
    /// `.end` or the end of a macro by `.exitm` was reached.
    stop: Stop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    No,
    Macro,
    All,
}

impl Parser {
    pub(super) fn new(syntax: Syntax) -> Self {
        Parser {
            syntax,
            recorder: Recorder::default(),
            values: HashMap::new(),
            macros: HashMap::new(),
            expansions: 0,
            conditions: Vec::new(),
            instances: HashMap::new(),
            directional_names: HashMap::new(),
            intel: false,
            register_aliases: HashSet::new(),
            pool: Vec::new(),
            failed: false,
            statements: 0,
            expanded: 0,
            stop: Stop::No,
        }
    }

    /// Reads all of a module's assembly.
    pub(super) fn run(&mut self, text: &[u8]) -> Result<()> {
        self.block(text, 0)?;
        self.flush_pool();
        Ok(())
    }

    fn block(&mut self, mut text: &[u8], depth: u32) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(Error::unsupported(format!(
                "module assembly: macros nested more than {MAX_DEPTH} levels deep"
            )));
        }
        while self.stop == Stop::No {
            let Some(statement) = self.syntax.statement(&mut text) else { break };
            self.statements += 1;
            if self.statements > MAX_STATEMENTS {
                return Err(Error::unsupported(format!(
                    "module assembly of more than {MAX_STATEMENTS} statements"
                )));
            }
            self.statement(Line::new(statement), &mut text, depth)?;
        }
        Ok(())
    }

    /// Reads text that a macro or repetition made.
    fn expansion(&mut self, text: &[u8], depth: u32) -> Result<()> {
        self.expanded = self.expanded.saturating_add(text.len());
        if self.expanded > MAX_EXPANSION {
            return Err(Error::unsupported("module assembly: macros expand without end"));
        }
        let conditions = self.conditions.len();
        self.block(text, depth + 1)?;
        if self.stop == Stop::Macro {
            self.stop = Stop::No;
            self.conditions.truncate(conditions);
        }
        Ok(())
    }

    fn ignoring(&self) -> bool {
        self.conditions.last().is_some_and(|c| c.ignore)
    }

    fn statement(&mut self, mut line: Line, text: &mut &[u8], depth: u32) -> Result<()> {
        // Labels, of which several may stand before a statement.
        while matches!(line.peek_at(1), Some(Token::Op(":"))) {
            let label = match line.peek() {
                Some(Token::Name(name) | Token::String(name)) => Label::Named(name.clone()),
                Some(Token::Integer(Some(number))) => Label::Directional(*number),
                _ => break,
            };
            line.next += 2;
            if !self.ignoring() {
                self.label(label);
            }
        }
        let Some(Token::Name(name)) = line.peek().cloned() else {
            // `"name" = value`, else nothing that makes a symbol.
            if matches!(line.peek(), Some(Token::String(_)))
                && line.peek_at(1) == Some(&Token::Op("="))
                && !self.ignoring()
                && let Some(name) = line.name()
            {
                line.next += 1;
                self.assign(name, &mut line);
            }
            return Ok(());
        };
        line.next += 1;
        let word = name.to_ascii_lowercase();
        if word.starts_with(b".") && self.conditional(&word, &mut line) {
            return Ok(());
        }
        if self.ignoring() {
            // A macro in text that is passed over may hold conditionals of its own; LLVM as well
            // reads through it line by line.
            return Ok(());
        }
        if line.peek() == Some(&Token::Op("=")) {
            line.next += 1;
            if name == b"." {
                self.expression(&mut line);
            } else {
                self.assign(name, &mut line);
            }
            return Ok(());
        }
        if let Some(found) = self.macros.get(&name) {
            let darwin = self.syntax.is_darwin();
            let body = found.expand(line.rest(), self.expansions, darwin);
            self.expansions += 1;
            return self.expansion(&body, depth);
        }
        if word.starts_with(b".") {
            return self.directive(&word, line, text, depth);
        }
        if matches!(line.peek(), Some(Token::Name(n)) if n.eq_ignore_ascii_case(b".req")) {
            self.register_aliases.insert(word);
            return Ok(());
        }
        self.instruction(&word, &mut line);
        Ok(())
    }

    fn label(&mut self, label: Label) {
        match label {
            Label::Named(name) => {
                self.recorder.define(&name);
                self.values.insert(name, None);
            }
            Label::Directional(number) => {
                let instance = self.instances.entry(number).or_insert(0);
                *instance += 1;
                let key = (number, *instance);
                let name = self.directional_name(key);
                self.recorder.define(&name);
            }
        }
    }

    /// The name of the last or next definition of a directional label.
    pub(super) fn directional(&mut self, number: i64, forward: bool) -> Vec<u8> {
        let instance = self.instances.get(&number).copied().unwrap_or(0) + u32::from(forward);
        // A label that is still to come is backward from nowhere: an error in LLVM's eyes.
        self.failed |= instance == 0;
        self.directional_name((number, instance))
    }

    fn directional_name(&mut self, key: (i64, u32)) -> Vec<u8> {
        let count = self.directional_names.len();
        let prefix = self.syntax.private_prefix;
        let name = self.directional_names.entry(key);
        name.or_insert_with(|| format!("{prefix}tmp{count}").into_bytes()).clone()
    }

    /// The value of a symbol that was set to a constant.
    pub(super) fn constant_of(&self, name: &[u8]) -> Option<i64> {
        self.values.get(name).copied().flatten()
    }

    fn assign(&mut self, name: Vec<u8>, line: &mut Line) {
        let Some(value) = self.expression(line) else { return };
        self.recorder.define(&name);
        self.use_all(&value);
        self.values.insert(name, value.value);
    }

    pub(super) fn use_all(&mut self, expr: &Expr) {
        for name in &expr.symbols {
            self.recorder.use_symbol(name);
        }
    }

    /// Places the literal pool: each entry gets a label, and its value is data.
    fn flush_pool(&mut self) {
        for value in std::mem::take(&mut self.pool) {
            self.recorder.define(b"");
            self.use_all(&value);
        }
    }

    /// Handles the directives of conditionals; whether it was one.
    fn conditional(&mut self, word: &[u8], line: &mut Line) -> bool {
        let outer = self.ignoring();
        let met = match word {
            b".else" => {
                if let Some(c) = self.conditions.last_mut() {
                    c.ignore = c.outer || c.met;
                    c.met = true;
                }
                return true;
            }
            b".elseif" => {
                let open = self.conditions.last().is_some_and(|c| !c.outer && !c.met);
                let met = open && self.absolute(line).is_some_and(|v| v != 0);
                if let Some(c) = self.conditions.last_mut() {
                    c.ignore = !met;
                    c.met |= met;
                }
                return true;
            }
            b".endif" => {
                self.conditions.pop();
                return true;
            }
            b".if" | b".ifeq" | b".ifne" | b".ifge" | b".ifgt" | b".ifle" | b".iflt" | b".ifb"
            | b".ifnb" | b".ifc" | b".ifnc" | b".ifeqs" | b".ifnes" | b".ifdef" | b".ifndef"
            | b".ifnotdef" => !outer && self.test(word, line),
            _ => return false,
        };
        self.conditions.push(Condition { met, ignore: outer || !met, outer });
        true
    }

    fn absolute(&mut self, line: &mut Line) -> Option<i64> {
        self.expression(line)?.value
    }

    fn test(&mut self, word: &[u8], line: &mut Line) -> bool {
        let halves = |line: &Line| {
            let parts = line.rest().splitn(2, |&c| c == b',').map(|p| p.trim_ascii().to_vec());
            let mut parts = parts.collect::<Vec<_>>().into_iter();
            (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
        };
        match word {
            b".ifb" => line.rest().is_empty(),
            b".ifnb" => !line.rest().is_empty(),
            b".ifc" | b".ifeqs" => {
                let (a, b) = halves(line);
                a == b
            }
            b".ifnc" | b".ifnes" => {
                let (a, b) = halves(line);
                a != b
            }
            b".ifdef" | b".ifndef" | b".ifnotdef" => {
                let name = line.name().unwrap_or_default();
                self.values.contains_key(&name) == (word == b".ifdef")
            }
            _ => {
                let Some(v) = self.absolute(line) else { return false };
                match word {
                    b".ifeq" => v == 0,
                    b".ifge" => v >= 0,
                    b".ifgt" => v > 0,
                    b".ifle" => v <= 0,
                    b".iflt" => v < 0,
                    _ => v != 0,
                }
            }
        }
    }

    fn directive(
        &mut self,
        word: &[u8],
        mut line: Line,
        text: &mut &[u8],
        depth: u32,
    ) -> Result<()> {
        match word {
            b".globl" | b".global" => self.bind_all(&mut line, Attribute::Global),
            b".weak" => self.bind_all(&mut line, Attribute::Weak),
            b".lazy_reference" => {
                while let Some(name) = line.name() {
                    self.recorder.use_symbol(&name);
                    line.eat(",");
                }
            }
            b".set" | b".equ" | b".equiv" => {
                if let Some(name) = line.name()
                    && line.eat(",")
                {
                    self.assign(name, &mut line);
                }
            }
            b".comm" | b".common" => {
                if let Some(name) = line.name() {
                    self.recorder.define(&name);
                    self.values.insert(name, None);
                }
            }
            b".zerofill" => {
                // Segment and section come first.
                let names = split(line.rest(), false);
                if let Some(name) = names.get(2).filter(|n| !n.is_empty()) {
                    self.recorder.define(name);
                    self.values.insert(name.clone(), None);
                }
            }
            b".symver" => {
                let parts = split(line.rest(), false);
                if let [name, alias, ..] = parts.as_slice() {
                    self.recorder.symvers.push((name.clone(), alias.clone()));
                }
            }
            b".byte" | b".short" | b".value" | b".2byte" | b".long" | b".int" | b".4byte"
            | b".quad" | b".8byte" | b".hword" | b".half" | b".word" | b".xword" | b".dword"
            | b".dc" | b".dc.a" | b".dc.b" | b".dc.l" | b".dc.w" | b".llong" | b".tlsdesccall" => {
                self.data(&mut line);
            }
            b".size" => {
                line.name();
                line.eat(",");
                self.expression(&mut line);
            }
            b".fill" | b".space" | b".skip" | b".zero" | b".org" | b".align" | b".balign"
            | b".balignw" | b".balignl" | b".p2align" | b".p2alignw" | b".p2alignl"
            | b".uleb128" | b".sleb128" | b".reloc" => {
                while self.expression(&mut line).is_some() && line.eat(",") {}
            }
            b".intel_syntax" => self.intel = true,
            b".att_syntax" => self.intel = false,
            b".ltorg" | b".pool" => self.flush_pool(),
            b".end" => self.stop = Stop::All,
            b".exitm" if depth > 0 => self.stop = Stop::Macro,
            b".purgem" => {
                if let Some(name) = line.name() {
                    self.macros.remove(&name);
                }
            }
            b".macro" => {
                let body = self.body(text, &[b".macro"], &[b".endm", b".endmacro"]);
                if let Some(found) = Macro::of_header(line.rest(), body) {
                    self.macros.insert(found.name.clone(), found);
                }
            }
            b".rept" | b".rep" | b".irp" | b".irpc" => {
                let opens: [&[u8]; 4] = [b".rept", b".rep", b".irp", b".irpc"];
                let body = self.body(text, &opens, &[b".endr"]);
                self.repeat(word, &mut line, &body, depth)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn bind_all(&mut self, line: &mut Line, attribute: Attribute) {
        while let Some(name) = line.name() {
            self.recorder.bind(&name, attribute);
            if !line.eat(",") {
                break;
            }
        }
    }

    fn data(&mut self, line: &mut Line) {
        loop {
            let Some(value) = self.expression(line) else { return };
            self.use_all(&value);
            if !line.eat(",") {
                return;
            }
        }
    }

    fn repeat(&mut self, word: &[u8], line: &mut Line, body: &[u8], depth: u32) -> Result<()> {
        if matches!(word, b".rept" | b".rep") {
            let count = self.absolute(line).unwrap_or(0);
            for i in 0..count.max(0) {
                // An empty body would make no progress towards the limit.
                if body.is_empty() || self.stop != Stop::No {
                    break;
                }
                let text = substitute(body, |_| None, i as u64);
                self.expansion(&text, depth)?;
            }
            return Ok(());
        }
        let Some(parameter) = line.name() else { return Ok(()) };
        line.eat(",");
        let values: Vec<Vec<u8>> = if word == b".irp" {
            let values = split(line.rest(), !self.syntax.is_darwin());
            // Without any value the body is read once, with nothing put in.
            if values.is_empty() { vec![Vec::new()] } else { values }
        } else {
            line.rest().iter().filter(|c| !c.is_ascii_whitespace()).map(|&c| vec![c]).collect()
        };
        for value in values {
            if self.stop != Stop::No {
                break;
            }
            let find = |name: &[u8]| (name == parameter).then(|| value.clone());
            let text = substitute(body, find, self.expansions);
            self.expansion(&text, depth)?;
        }
        Ok(())
    }

    /// The text up to the directive that ends the body, which is read.
    fn body(&self, text: &mut &[u8], opens: &[&[u8]], closes: &[&[u8]]) -> Vec<u8> {
        let start = *text;
        let mut nested = 0u32;
        loop {
            let before = *text;
            let Some(statement) = self.syntax.statement(text) else { return start.to_vec() };
            let statement = statement.trim_ascii();
            let end = statement.iter().position(u8::is_ascii_whitespace);
            let word = statement.get(..end.unwrap_or(statement.len())).unwrap_or(&[]);
            let word = word.to_ascii_lowercase();
            if opens.contains(&word.as_slice()) {
                nested += 1;
            } else if closes.contains(&word.as_slice()) {
                if nested == 0 {
                    let len = start.len() - before.len();
                    return start.get(..len).unwrap_or(&[]).to_vec();
                }
                nested -= 1;
            }
        }
    }
}

enum Label {
    Named(Vec<u8>),
    Directional(i64),
}
