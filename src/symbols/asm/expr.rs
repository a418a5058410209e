//! Expressions.
//!
//! In: the tokens of a statement from some position on. Out: the symbols that the expression
//! refers to, in order, and its value where all of it is known. Labels have no value here: nothing
//! is laid out. Source: `AsmParser::parseExpression`, with the precedences of GNU as.

use super::lexer::Token;
use super::parser::{Line, Parser};

/// An expression.
#[derive(Clone, Debug, Default)]
pub(super) struct Expr {
    pub(super) value: Option<i64>,
    /// Names of symbols, with those of the directional labels that the parser made.
    pub(super) symbols: Vec<Vec<u8>>,
    /// Whether it is a single symbol.
    pub(super) is_symbol: bool,
}

impl Expr {
    fn constant(value: Option<i64>) -> Self {
        Expr { value, ..Expr::default() }
    }

    fn symbol(name: Vec<u8>) -> Self {
        Expr { value: None, symbols: vec![name], is_symbol: true }
    }
}

/// Parentheses and signs within each other deeper than this are not read.
const MAX_DEPTH: u32 = 200;

/// The precedence of a binary operator, or None for what is none.
fn precedence(token: Option<&Token>) -> Option<u8> {
    let Some(Token::Op(op)) = token else { return None };
    Some(match *op {
        "&&" | "||" => 1,
        "==" | "!=" | "<>" | "<" | "<=" | ">" | ">=" => 2,
        "+" | "-" => 3,
        "|" | "^" | "&" | "!" => 4,
        "*" | "/" | "%" | "<<" | ">>" => 5,
        _ => return None,
    })
}

impl Parser {
    /// Reads an expression; None where there is none at this position.
    pub(super) fn expression(&mut self, line: &mut Line) -> Option<Expr> {
        self.binary(line, 1, 0)
    }

    fn binary(&mut self, line: &mut Line, lowest: u8, depth: u32) -> Option<Expr> {
        if depth > MAX_DEPTH {
            return None;
        }
        let mut left = self.primary(line, depth)?;
        while let Some(p) = precedence(line.peek()).filter(|&p| p >= lowest) {
            let Some(Token::Op(op)) = line.next() else { break };
            let right = self.binary(line, p + 1, depth + 1)?;
            let value = match (left.value, right.value) {
                (Some(a), Some(b)) => apply(op, a, b),
                // The difference of a symbol and itself.
                _ => None,
            };
            left.value = value;
            left.is_symbol = false;
            left.symbols.extend(right.symbols);
        }
        Some(left)
    }

    fn primary(&mut self, line: &mut Line, depth: u32) -> Option<Expr> {
        if depth > MAX_DEPTH {
            return None;
        }
        let expr = match line.peek()? {
            Token::Name(name) if name == b"." => {
                line.next();
                // The assembler makes a label for the place, without a name.
                self.recorder.define(b"");
                Expr::symbol(Vec::new())
            }
            Token::Name(_) | Token::String(_) => {
                let (Token::Name(name) | Token::String(name)) = line.next()? else { return None };
                match self.constant_of(&name) {
                    Some(value) => Expr::constant(Some(value)),
                    None => Expr::symbol(name),
                }
            }
            Token::Integer(value) => {
                let value = *value;
                line.next();
                Expr::constant(value)
            }
            Token::Directional { number, forward } => {
                let (number, forward) = (*number, *forward);
                line.next();
                Expr::symbol(self.directional(number, forward))
            }
            Token::Op("(") => {
                line.next();
                let inner = self.binary(line, 1, depth + 1)?;
                if line.peek() == Some(&Token::Op(")")) {
                    line.next();
                }
                inner
            }
            Token::Op("[") => {
                line.next();
                let inner = self.binary(line, 1, depth + 1)?;
                if line.peek() == Some(&Token::Op("]")) {
                    line.next();
                }
                inner
            }
            Token::Op(op @ ("-" | "+" | "~" | "!")) => {
                let op = *op;
                line.next();
                let mut inner = self.primary(line, depth + 1)?;
                inner.is_symbol = false;
                inner.value = inner.value.map(|v| match op {
                    "-" => v.wrapping_neg(),
                    "~" => !v,
                    "!" => i64::from(v == 0),
                    _ => v,
                });
                inner
            }
            // `%hi(sym)` and its like, `:lo12:sym`, and `$sym` within an expression.
            Token::Op("%") if matches!(line.peek_at(2), Some(Token::Op("("))) => {
                line.next();
                line.next();
                self.primary(line, depth + 1)?
            }
            Token::Op(":") if matches!(line.peek_at(2), Some(Token::Op(":"))) => {
                line.next();
                line.next();
                line.next();
                self.binary(line, 1, depth + 1)?
            }
            _ => return None,
        };
        self.skip_modifier(line);
        Some(expr)
    }

    /// `@PLT`, `@GOTPCREL`, and ARM's `(PLT)`.
    fn skip_modifier(&mut self, line: &mut Line) {
        if line.peek() == Some(&Token::Op("@")) && matches!(line.peek_at(1), Some(Token::Name(_))) {
            line.next();
            line.next();
        }
        let arm = self.syntax.arch == crate::symbols::triple::Arch::Arm;
        if arm
            && line.peek() == Some(&Token::Op("("))
            && matches!(line.peek_at(1), Some(Token::Name(_)))
            && line.peek_at(2) == Some(&Token::Op(")"))
        {
            for _ in 0..3 {
                line.next();
            }
        }
    }
}

/// Comparisons are -1 or 1 in assemblers of different schools; only whether they are zero counts.
fn apply(op: &str, a: i64, b: i64) -> Option<i64> {
    Some(match op {
        "+" => a.wrapping_add(b),
        "-" => a.wrapping_sub(b),
        "*" => a.wrapping_mul(b),
        "/" => a.checked_div(b)?,
        "%" => a.checked_rem(b)?,
        "<<" => a.checked_shl(u32::try_from(b).ok()?).unwrap_or(0),
        ">>" => (a as u64).checked_shr(u32::try_from(b).ok()?).unwrap_or(0) as i64,
        "&" => a & b,
        "|" => a | b,
        "^" => a ^ b,
        "!" => a | !b,
        "&&" => i64::from(a != 0 && b != 0),
        "||" => i64::from(a != 0 || b != 0),
        "==" => i64::from(a == b),
        "!=" | "<>" => i64::from(a != b),
        "<" => i64::from(a < b),
        "<=" => i64::from(a <= b),
        ">" => i64::from(a > b),
        ">=" => i64::from(a >= b),
        _ => return None,
    })
}
