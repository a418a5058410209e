//! The symbols in an instruction's operands.
//!
//! In: an instruction's mnemonic and the tokens behind it. Out: uses of symbols. To tell them
//! from registers, conditions and the like it takes a little of each architecture's syntax, but
//! no instruction is known beyond that.

use super::expr::Expr;
use super::lexer::Token;
use super::parser::{Line, Parser};
use crate::symbols::triple::Arch;

/// Words of x86 that stand before a mnemonic.
const X86_PREFIXES: [&[u8]; 18] = [
    b"lock",
    b"rep",
    b"repe",
    b"repz",
    b"repne",
    b"repnz",
    b"data16",
    b"data32",
    b"addr16",
    b"addr32",
    b"notrack",
    b"bnd",
    b"xacquire",
    b"xrelease",
    b"rex64",
    b"cs",
    b"ds",
    b"wait",
];

/// Words of Intel syntax that are no symbols.
const INTEL_WORDS: [&[u8]; 38] = [
    b"byte", b"word", b"dword", b"fword", b"qword", b"mmword", b"tbyte", b"oword", b"xmmword",
    b"ymmword", b"zmmword", b"ptr", b"offset", b"short", b"near", b"far", b"and", b"or", b"not",
    b"xor", b"shl", b"shr", b"mod", b"lt", b"le", b"eq", b"ne", b"gt", b"ge", b"size", b"length",
    b"type", b"rel", b"flat", b"st", b"sae", b"z", b"proc",
];

/// Mnemonics of 64-bit ARM with an operand that is an address in the program.
const AARCH64_TARGETS: [&[u8]; 11] =
    [b"b", b"bl", b"cbz", b"cbnz", b"tbz", b"tbnz", b"adr", b"adrp", b"ldr", b"ldrsw", b"adrl"];

impl Parser {
    /// Notes the symbols that an instruction refers to.
    pub(super) fn instruction(&mut self, mnemonic: &[u8], line: &mut Line) {
        match self.syntax.arch {
            Arch::X86 | Arch::X86_64 => {
                let mut mnemonic = mnemonic.to_vec();
                while X86_PREFIXES.contains(&mnemonic.as_slice()) {
                    let Some(Token::Name(next)) = line.peek() else { break };
                    mnemonic = next.to_ascii_lowercase();
                    line.next();
                }
                if self.intel { self.intel_operands(line) } else { self.att_operands(line) }
            }
            Arch::AArch64 | Arch::AArch64_32 => {
                let target = AARCH64_TARGETS.contains(&mnemonic)
                    || mnemonic.starts_with(b"b.")
                    || mnemonic.starts_with(b"bc.");
                self.arm_operands(line, target, is_aarch64_register);
            }
            Arch::Arm => self.arm_operands(line, is_arm_target(mnemonic), is_arm_register),
            _ => self.other_operands(mnemonic, line),
        }
    }

    fn use_expression(&mut self, line: &mut Line) {
        match self.expression(line) {
            Some(expr) => self.use_all(&expr),
            None => {
                line.next();
            }
        }
    }

    /// AT&T syntax: registers have a `%`, so that every other name is a symbol.
    fn att_operands(&mut self, line: &mut Line) {
        while let Some(token) = line.peek() {
            match token {
                Token::Op("%") => {
                    line.next();
                    line.next();
                    // %st(1)
                    if matches!(line.peek_at(1), Some(Token::Integer(_)))
                        && line.peek_at(2) == Some(&Token::Op(")"))
                        && line.eat("(")
                    {
                        line.next();
                        line.next();
                    }
                    line.eat(":");
                }
                Token::Op("{") => skip_braces(line),
                // The registers of an address, but not the parentheses of an expression.
                Token::Op("(") if !matches!(line.peek_at(1), Some(Token::Op("%" | ","))) => {
                    self.use_expression(line);
                }
                Token::Op("*" | "," | "(" | ")" | "$" | "#") => {
                    line.next();
                }
                _ => self.use_expression(line),
            }
        }
    }

    /// Intel syntax: names are symbols unless they are registers or words of the syntax.
    fn intel_operands(&mut self, line: &mut Line) {
        while let Some(token) = line.peek() {
            match token {
                Token::Op("%") => {
                    line.next();
                    line.next();
                }
                Token::Op("{") => skip_braces(line),
                Token::Name(name) => {
                    let lower = name.to_ascii_lowercase();
                    let is_word =
                        INTEL_WORDS.contains(&lower.as_slice()) || is_x86_register(&lower);
                    if is_word {
                        line.next();
                    } else {
                        self.use_primary(line);
                    }
                }
                Token::Directional { .. } => self.use_primary(line),
                _ => {
                    line.next();
                }
            }
        }
    }

    /// One name or directional label with its modifier, and nothing behind it.
    fn use_primary(&mut self, line: &mut Line) {
        match line.next() {
            Some(Token::Name(name)) if name == b"." => {
                self.recorder.define(b"");
            }
            Some(Token::Name(name)) if self.constant_of(&name).is_none() => {
                self.recorder.use_symbol(&name);
            }
            Some(Token::Directional { number, forward }) => {
                let name = self.directional(number, forward);
                self.recorder.use_symbol(&name);
            }
            _ => {}
        }
        if line.peek() == Some(&Token::Op("@")) {
            line.next();
            line.next();
        }
    }

    /// ARM of either width. `target` says that a bare name is an address; `:lo12:name`,
    /// `name@PAGEOFF` and `=name` are so everywhere.
    fn arm_operands(&mut self, line: &mut Line, target: bool, is_register: fn(&[u8]) -> bool) {
        while let Some(token) = line.peek() {
            match token {
                Token::Op(":") if line.peek_at(2) == Some(&Token::Op(":")) => {
                    self.use_expression(line);
                }
                Token::Op("=") => {
                    line.next();
                    if let Some(value) = self.expression(line) {
                        self.literal(value);
                    }
                }
                Token::Op("{") => skip_braces(line),
                Token::Name(name) => {
                    let lower = name.to_ascii_lowercase();
                    let relocated = line.peek_at(1) == Some(&Token::Op("@"));
                    let register = is_register(&lower) || self.register_aliases.contains(&lower);
                    if (target || relocated) && !register {
                        self.use_expression(line);
                    } else {
                        line.next();
                    }
                }
                Token::Directional { .. } | Token::String(_) if target => self.use_expression(line),
                Token::Op("(") if target => self.use_expression(line),
                _ => {
                    line.next();
                }
            }
        }
    }

    /// `ldr register, =value`: a label in the literal pool, unless a move can make the value.
    fn literal(&mut self, value: Expr) {
        let movable = value.value.is_some_and(|v| {
            let v = v as u64;
            (0..4).any(|i| v & !(0xffff << (16 * i)) == 0)
        });
        if !movable {
            self.recorder.use_symbol(b"");
            self.pool.push(value);
        }
    }

    /// Every other architecture: the operand of a branch or call, and what has a modifier.
    fn other_operands(&mut self, mnemonic: &[u8], line: &mut Line) {
        let target = matches!(mnemonic.first(), Some(b'b' | b'j'))
            || matches!(
                mnemonic,
                b"call" | b"tail" | b"la" | b"lla" | b"lga" | b"dla" | b"larl" | b"lgrl" | b"lrl"
            )
            || mnemonic.starts_with(b"la.");
        while let Some(token) = line.peek() {
            match token {
                Token::Op("%") if line.peek_at(2) == Some(&Token::Op("(")) => {
                    self.use_expression(line);
                }
                Token::Op("%" | "$") => {
                    line.next();
                    line.next();
                }
                Token::Name(name) => {
                    let relocated = line.peek_at(1) == Some(&Token::Op("@"));
                    if relocated || (target && !looks_like_register(name)) {
                        self.use_expression(line);
                    } else {
                        line.next();
                    }
                }
                Token::Directional { .. } => self.use_expression(line),
                _ => {
                    line.next();
                }
            }
        }
    }
}

fn skip_braces(line: &mut Line) {
    while let Some(token) = line.next() {
        if token == Token::Op("}") {
            break;
        }
    }
}

/// A letter or two and a number, as in `r12` or `xmm0`; the letters must be in `kinds`.
fn numbered(name: &[u8], kinds: &[&[u8]], limit: u32) -> bool {
    kinds.iter().any(|kind| {
        let Some(number) = name.strip_prefix(*kind) else { return false };
        let text = std::str::from_utf8(number).ok();
        number.len() <= 2
            && number.iter().all(u8::is_ascii_digit)
            && text.and_then(|t| t.parse::<u32>().ok()).is_some_and(|n| n < limit)
    })
}

fn is_x86_register(name: &[u8]) -> bool {
    const NAMED: [&[u8]; 20] = [
        b"ax", b"bx", b"cx", b"dx", b"si", b"di", b"bp", b"sp", b"ip", b"al", b"bl", b"cl", b"dl",
        b"ah", b"bh", b"ch", b"dh", b"cs", b"ds", b"es",
    ];
    const MORE: [&[u8]; 9] = [b"fs", b"gs", b"ss", b"sil", b"dil", b"bpl", b"spl", b"eiz", b"riz"];
    let wide = name.strip_prefix(b"r").or(name.strip_prefix(b"e"));
    NAMED.contains(&name)
        || MORE.contains(&name)
        || wide.is_some_and(|n| n.len() == 2 && NAMED.iter().take(9).any(|r| *r == n))
        || numbered(
            name.strip_suffix(b"d")
                .or(name.strip_suffix(b"w"))
                .or(name.strip_suffix(b"b"))
                .unwrap_or(name),
            &[b"r"],
            32,
        ) && !numbered(name, &[b"r"], 8)
        || numbered(name, &[b"xmm", b"ymm", b"zmm"], 32)
        || numbered(name, &[b"k", b"mm", b"tmm"], 8)
        || numbered(name, &[b"cr", b"dr", b"bnd"], 16)
}

fn is_aarch64_register(name: &[u8]) -> bool {
    // `v0.4s`, `z0.d`: what stands behind the dot is the arrangement.
    let name = name.split(|&c| c == b'.').next().unwrap_or(name);
    matches!(name, b"sp" | b"wsp" | b"xzr" | b"wzr" | b"lr" | b"fp" | b"ip0" | b"ip1" | b"lsl")
        || numbered(name, &[b"x", b"w"], 31)
        || numbered(name, &[b"v", b"b", b"h", b"s", b"d", b"q", b"z", b"p"], 32)
}

fn is_arm_register(name: &[u8]) -> bool {
    matches!(
        name,
        b"sp"
            | b"lr"
            | b"pc"
            | b"ip"
            | b"fp"
            | b"sl"
            | b"sb"
            | b"lsl"
            | b"lsr"
            | b"asr"
            | b"ror"
            | b"rrx"
    ) || numbered(name, &[b"r"], 16)
        || numbered(name, &[b"a"], 5)
        || numbered(name, &[b"v"], 9)
        || numbered(name, &[b"s", b"d", b"q"], 32)
}

/// Branches, calls, and loads from a place in the program, with condition and width.
fn is_arm_target(mnemonic: &[u8]) -> bool {
    const CONDITIONS: [&[u8]; 17] = [
        b"", b"eq", b"ne", b"cs", b"hs", b"cc", b"lo", b"mi", b"pl", b"vs", b"vc", b"hi", b"ls",
        b"ge", b"lt", b"gt", b"le",
    ];
    let base = mnemonic.strip_suffix(b".w").or(mnemonic.strip_suffix(b".n")).unwrap_or(mnemonic);
    if matches!(base, b"cbz" | b"cbnz" | b"bal" | b"blal" | b"le" | b"wls" | b"dls") {
        return true;
    }
    let branches: [&[u8]; 6] = [b"b", b"bl", b"blx", b"adr", b"adrl", b"pld"];
    let loads: [&[u8]; 2] = [b"ldr", b"vldr"];
    branches.iter().any(|b| base.strip_prefix(*b).is_some_and(|c| CONDITIONS.contains(&c)))
        || loads.iter().any(|l| base.starts_with(l))
}

/// The registers of architectures whose names have no mark.
fn looks_like_register(name: &[u8]) -> bool {
    matches!(name, b"zero" | b"ra" | b"sp" | b"gp" | b"tp" | b"fp" | b"lr" | b"ctr")
        || numbered(
            name,
            &[b"x", b"a", b"t", b"s", b"r", b"f", b"ft", b"fs", b"fa", b"cr", b"v", b"vs"],
            64,
        )
}
