//! The symbols of module-level inline assembly.
//!
//! In: a module's assembly text, its triple, and its globals (a `.symver` may name one). Out: the
//! symbols that the text defines and refers to, with the flags and in the order that LLVM's
//! `ModuleSymbolTable::CollectAsmSymbols` gives them.
//!
//! LLVM runs its whole assembler for this, with a streamer that only writes names down
//! (`RecordStreamer`). No encoder is needed for names: here the text is split into statements,
//! macros and conditionals are expanded, directives that define or bind symbols are followed, and
//! of instructions only the operands are read, as far as it takes to tell a symbol from a register.
//! LLVM shows no symbol of text with an error in it. Such text does not get into bitcode by way of
//! a compiler, and is read here as far as it makes sense.
//!
//! | file | what it does |
//! |---|---|
//! | `lexer` | statements and tokens, by the target's comments and separators |
//! | `expr` | expressions: the symbols in them, and their value if it is known |
//! | `macros` | `.macro`, `.rept`, `.irp`: text to text |
//! | `parser` | statements one by one: labels, directives, conditionals |
//! | `operands` | the symbols in an instruction's operands, by architecture |
//! | `recorder` | what is known of each symbol, and LLVM's order |

mod expr;
mod lexer;
mod macros;
mod operands;
mod parser;
mod recorder;

use std::cell::OnceCell;
use std::collections::HashMap;

use super::globals::{Globals, is_declaration_for_linker, sf};
use super::mangle::Mangler;
use super::triple::{Arch, ObjectFormat};
use crate::bitcode::module_flag;
use crate::error::Result;
use crate::ir::Linkage;

pub use recorder::State;
use recorder::{Attribute, Recorder};

/// A symbol that module assembly defines or refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AsmSymbol {
    /// The name in the object file; empty for the labels that LLVM makes for `.` in expressions.
    pub name: Vec<u8>,
    /// Bits of [`super::globals::sf`].
    pub flags: u32,
}

/// The symbols in LLVM's order.
///
/// # Errors
/// Unsupported where expanding the text's macros and repetitions never ends or outgrows every
/// sensible limit; malformed metadata.
pub fn collect(globals: &Globals<'_, '_>) -> Result<Vec<AsmSymbol>> {
    let module = globals.module;
    let mut symbols = Vec::new();
    if !module.asm.is_empty() {
        let mut recorder = record(globals)?;
        flush_symvers(globals, &mut recorder);
        symbols.extend(
            recorder
                .symbols()
                .map(|(name, state)| AsmSymbol { name: name.to_vec(), flags: flags_of(state) }),
        );
    }
    if needs_global_offset_table(globals)? {
        symbols.push(AsmSymbol {
            name: b"_GLOBAL_OFFSET_TABLE_".to_vec(),
            flags: sf::UNDEFINED | sf::GLOBAL,
        });
    }
    Ok(symbols)
}

/// The pairs of `.symver`: the symbol, and the versioned name for it as the text has it.
///
/// # Errors
/// As for [`collect`].
pub fn symvers(globals: &Globals<'_, '_>) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    if globals.module.asm.is_empty() {
        return Ok(Vec::new());
    }
    Ok(record(globals)?.symvers)
}

fn record(globals: &Globals<'_, '_>) -> Result<Recorder> {
    let mut parser = parser::Parser::new(lexer::Syntax::of(&globals.triple));
    parser.run(&globals.module.asm)?;
    Ok(if parser.failed { Recorder::default() } else { parser.recorder })
}

/// Every symbol of assembly is taken for code.
fn flags_of(state: State) -> u32 {
    sf::EXECUTABLE
        | match state {
            State::Defined => 0,
            State::DefinedGlobal => sf::GLOBAL,
            State::Global | State::Used => sf::UNDEFINED | sf::GLOBAL,
            State::DefinedWeak => sf::WEAK | sf::GLOBAL,
            State::UndefinedWeak => sf::WEAK | sf::UNDEFINED,
        }
}

/// Gives the versioned names the binding of the symbols that they stand for, which may be
/// defined in the IR (`RecordStreamer::flushSymverDirectives`).
fn flush_symvers(globals: &Globals<'_, '_>, recorder: &mut Recorder) {
    let symbols = OnceCell::new();
    let by_symbol = || symbols.get_or_init(|| by_symbol_name(globals));
    for (aliasee, alias) in std::mem::take(&mut recorder.symvers) {
        let state = recorder.state(&aliasee);
        let mut attribute = match state {
            Some(State::Global | State::DefinedGlobal) => Some(Attribute::Global),
            Some(State::UndefinedWeak | State::DefinedWeak) => Some(Attribute::Weak),
            _ => None,
        };
        let mut defined =
            matches!(state, Some(State::Defined | State::DefinedGlobal | State::DefinedWeak));
        if (attribute.is_none() || !defined)
            && let Some(g) = globals
                .named(&aliasee)
                .map(|(_, g)| g)
                .or_else(|| by_symbol().get(&aliasee).copied())
        {
            attribute = attribute.or(match g.linkage {
                Linkage::External => Some(Attribute::Global),
                l if l.is_weak_for_linker() => Some(Attribute::Weak),
                _ => None,
            });
            defined |= !is_declaration_for_linker(g);
        }
        let alias = versioned(&alias, defined);
        if defined {
            recorder.define(&alias);
        }
        recorder.use_symbol(&aliasee);
        if let Some(attribute) = attribute {
            recorder.bind(&alias, attribute);
        }
    }
}

/// `@@@` becomes `@@` for a symbol that is defined and `@` for one that is not.
fn versioned(alias: &[u8], defined: bool) -> Vec<u8> {
    let Some(at) = alias.windows(3).position(|w| w == b"@@@") else { return alias.to_vec() };
    let (name, version) = (alias.get(..at).unwrap_or(&[]), alias.get(at + 3..).unwrap_or(&[]));
    if version.is_empty() || version.starts_with(b"@") {
        return alias.to_vec();
    }
    let separator: &[u8] = if defined { b"@@" } else { b"@" };
    [name, separator, version].concat()
}

/// Globals by their symbol names, for those that assembly knows by no other.
fn by_symbol_name<'m, 'a>(
    globals: &Globals<'m, 'a>,
) -> HashMap<Vec<u8>, &'m crate::bitcode::GlobalValue<'a>> {
    let mut mangler = Mangler::new(globals.mangling);
    let named = globals.in_order().filter(|(_, g)| !g.name.is_empty());
    named
        .filter_map(|(id, g)| {
            let mut symbol = Vec::new();
            globals.plain_name(&mut mangler, id, g, &mut symbol).ok()?;
            Some((symbol, g))
        })
        .collect()
}

/// Code for 32-bit x86, and for x86-64 in its larger models, refers to the GOT without saying so.
fn needs_global_offset_table(globals: &Globals<'_, '_>) -> Result<bool> {
    let triple = &globals.triple;
    if triple.format != ObjectFormat::Elf {
        return Ok(false);
    }
    match triple.arch {
        Arch::X86 => Ok(true),
        Arch::X86_64 => large_code_model(globals),
        _ => Ok(false),
    }
}

/// Whether the module flag "Code Model" says medium (3) or large (4).
fn large_code_model(globals: &Globals<'_, '_>) -> Result<bool> {
    const FLAG: &[u8] = b"Code Model";
    let module = globals.module;
    // Hardly any module has the flag, and to look for its bytes among the strings is much faster
    // than to follow the nodes.
    if !globals.metadata()?.may_have_string(FLAG) {
        return Ok(false);
    }
    Ok(matches!(module_flag(module, FLAG)?, Some(3 | 4)))
}
