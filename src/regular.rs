//! Regular LTO as libLTO does it: many modules are put together, what nobody outside uses becomes
//! local, the whole is optimized, and one object comes out.
//!
//! In: bitcode of modules in link order, the symbols that must stay, settings. Out: an object, or
//! the merged module as bitcode, and the diagnostics of the engine. It must not know who calls it
//! nor how the engine runs.

use std::collections::BTreeSet;
use std::ops::{Deref, Range};

use crate::container::FileBytes;
use crate::error::{Error, Result};

/// The bytes of an object or of merged bitcode.
pub type Bytes = Vec<u8>;

/// `Reloc::Model`, as far as LTO uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the variants are LLVM's words
pub enum Reloc {
    Static,
    Pic,
    DynamicNoPic,
}

/// `DiagnosticSeverity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the variants are LLVM's words
pub enum Severity {
    Error,
    Warning,
    Remark,
    Note,
}

/// One message of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The text, without a line end.
    pub text: String,
}

/// The bitcode of a module.
#[derive(Debug)]
pub enum InputBytes {
    /// A part of a file.
    File(FileBytes, Range<usize>),
    /// A copy of memory that is not ours.
    Memory(Vec<u8>),
}

impl Deref for InputBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            InputBytes::File(file, range) => file.get(range.clone()).unwrap_or_default(),
            InputBytes::Memory(bytes) => bytes,
        }
    }
}

/// A module to link.
#[derive(Debug)]
pub struct Input {
    /// What messages call it.
    pub identifier: String,
    /// Its bitcode.
    pub bitcode: InputBytes,
    /// The triple that takes the place of its own.
    pub triple: Option<String>,
    /// Symbols, as the object file has them, that its inline assembly uses and does not define.
    pub asm_undefined: Vec<Vec<u8>>,
}

/// What the caller wishes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Options in LLVM's words, in the order given.
    pub options: Vec<String>,
    /// The processor; empty is the target's default.
    pub cpu: String,
    /// The relocation model; none is the target's and the modules' default.
    pub reloc: Option<Reloc>,
    /// Symbols, as the object file has them, that something outside of the modules uses.
    pub must_preserve: BTreeSet<Vec<u8>>,
    /// Whether what nobody outside uses may become local.
    pub should_internalize: bool,
    /// Whether merged bitcode carries the order of uses.
    pub should_embed_uselists: bool,
}

/// A regular LTO link.
pub struct RegularLto {
    /// May change until the step that they matter to.
    pub settings: Settings,
    inputs: Vec<Input>,
    diagnostics: Vec<Diagnostic>,
}

impl RegularLto {
    /// A link without modules.
    pub fn new(options: Vec<String>) -> Self {
        RegularLto {
            settings: Settings {
                options,
                cpu: String::new(),
                reloc: None,
                must_preserve: BTreeSet::new(),
                should_internalize: true,
                should_embed_uselists: false,
            },
            inputs: Vec::new(),
            diagnostics: Vec::new(),
        }
    }

    /// Adds a module behind all others.
    pub fn add(&mut self, input: Input) -> Result<()> {
        self.inputs.push(input);
        Ok(())
    }

    /// Replaces all modules by one.
    pub fn set(&mut self, input: Input) -> Result<()> {
        self.inputs = vec![input];
        Ok(())
    }

    /// What the engine said since the last call.
    pub fn take_diagnostics(&mut self) -> Vec<Diagnostic> {
        std::mem::take(&mut self.diagnostics)
    }

    /// The merged module as bitcode.
    pub fn merged_bitcode(&mut self) -> Result<Bytes> {
        self.no_engine()
    }

    /// Optimizes the merged module.
    pub fn optimize(&mut self) -> Result<()> {
        self.no_engine()
    }

    /// Generates code for the merged module.
    pub fn compile_optimized(&mut self) -> Result<Bytes> {
        self.no_engine()
    }

    fn no_engine<R>(&self) -> Result<R> {
        let number = self.inputs.len();
        Err(Error::engine(format!("there is no code generator for the {number} modules yet")))
    }
}
