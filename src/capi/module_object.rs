//! What a `lto_module_t` stands for: the answers about one module, and its bitcode where a code
//! generator may want it.
//!
//! In: bytes of a file, or of the caller's memory. Out: symbols, strings that C can read, and an
//! [`Input`] for a link. The caller may free its memory as soon as the module exists, so all that
//! is answered later is made at once; a module that is going to be linked copies its bitcode.

use std::ffi::{CStr, CString, c_char, c_uint};
use std::sync::{Mutex, PoisonError};

use crate::bitcode::{BitcodeFile, Extent, Module};
use crate::container::{self, FileBytes};
use crate::error::{Error, Result};
use crate::registry::{Kind, Registry};
use crate::regular::{Input, InputBytes};
use crate::symbols::triple::Triple;
use crate::symbols::{LtoModule, lto_bitcode};

/// All live modules.
pub(crate) static MODULES: Registry<ModuleObject> = Registry::new(Kind::Module);

/// What a module is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Listing symbols only.
    Symbols,
    /// Code generation as well.
    Link,
}

/// The state behind a `lto_module_t`.
pub(crate) struct ModuleObject {
    module: LtoModule,
    path: String,
    state: Mutex<State>,
}

struct State {
    /// The triple in use is the last; earlier ones may be in the caller's hands.
    triples: Vec<CString>,
    /// `None` for a module that was read for its symbols only, or that has been linked.
    bitcode: Option<InputBytes>,
    linked: bool,
}

impl ModuleObject {
    /// Whether the bytes are an LTO input whose triple begins with `prefix`.
    pub fn is_for_target(bytes: &[u8], prefix: &[u8]) -> Result<bool> {
        if !container::is_lto_input(bytes) {
            return Ok(false);
        }
        let file = BitcodeFile::read(lto_bitcode(bytes)?)?;
        let Some(module) = file.modules.first() else { return Ok(false) };
        Ok(Module::read(module, Extent::Head)?.triple.starts_with(prefix))
    }

    /// Reads a module from memory that is the caller's.
    pub fn from_memory(bytes: &[u8], path: &str, purpose: Purpose) -> Result<Self> {
        let read = || {
            let bitcode = lto_bitcode(bytes)?;
            let module = LtoModule::read(bitcode)?;
            let copy = (purpose == Purpose::Link).then(|| InputBytes::Memory(bitcode.to_vec()));
            Ok(Self::new(module, path, copy))
        };
        read().map_err(|error: Error| error.in_file(path))
    }

    /// Reads a module from a file that is ours.
    pub fn from_file(file: FileBytes, path: &str) -> Result<Self> {
        let read = |file: &FileBytes| {
            let bitcode = lto_bitcode(file)?;
            let start = bitcode.as_ptr().addr() - file.as_ptr().addr();
            Ok((LtoModule::read(bitcode)?, start..start + bitcode.len()))
        };
        let (module, range) = read(&file).map_err(|error: Error| error.in_file(path))?;
        Ok(Self::new(module, path, Some(InputBytes::File(file, range))))
    }

    fn new(module: LtoModule, path: &str, bitcode: Option<InputBytes>) -> Self {
        ModuleObject {
            module,
            path: path.to_owned(),
            state: Mutex::new(State { triples: Vec::new(), bitcode, linked: false }),
        }
    }

    /// Hands the module over to a link, once.
    pub fn take_input(&self) -> Result<Input> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(bitcode) = state.bitcode.take() else {
            let why = if state.linked {
                "the module has been added to a code generator already"
            } else {
                "the module was created in a local context, which is for listing symbols only"
            };
            return Err(Error::misuse(why).in_file(self.path.as_str()));
        };
        state.linked = true;
        Ok(Input {
            identifier: self.path.clone(),
            bitcode,
            triple: state.triples.last().map(|triple| triple.to_string_lossy().into_owned()),
            asm_undefined: self
                .module
                .asm_undefined()
                .map(|name| name.to_bytes().to_vec())
                .collect(),
        })
    }

    pub fn target_triple(&self) -> *const c_char {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.triples.last().map_or_else(|| self.module.target_triple(), CString::as_c_str).as_ptr()
    }

    pub fn set_target_triple(&self, triple: &CStr) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.triples.push(triple.to_owned());
    }

    pub fn symbol_count(&self) -> c_uint {
        self.module.num_symbols() as c_uint
    }

    pub fn symbol_name(&self, index: c_uint) -> Result<*const c_char> {
        let name = self.module.symbol_name_with_nul(index as usize);
        name.map(|name| name.as_ptr().cast())
            .ok_or_else(|| no_such("symbol", index, self.symbol_count()))
    }

    pub fn symbol_attributes(&self, index: c_uint) -> Result<c_uint> {
        let attributes = self.module.symbol_attributes(index as usize);
        attributes.ok_or_else(|| no_such("symbol", index, self.symbol_count()))
    }

    pub fn asm_undefined_count(&self) -> c_uint {
        self.module.asm_undefined().len() as c_uint
    }

    pub fn asm_undefined_name(&self, index: c_uint) -> Result<*const c_char> {
        let name = self.module.asm_undefined().nth(index as usize);
        name.map(CStr::as_ptr).ok_or_else(|| {
            no_such("undefined symbol of inline assembly", index, self.asm_undefined_count())
        })
    }

    pub fn linker_options(&self) -> *const c_char {
        self.module.linker_opts().as_ptr()
    }

    /// Of the triple in use, as in LLVM.
    pub fn macho_cpu_type(&self) -> Result<(c_uint, c_uint)> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let triple = state.triples.last().map(CString::as_c_str);
        let triple = triple.unwrap_or_else(|| self.module.target_triple());
        Triple::parse(triple.to_bytes()).macho_cpu().ok_or_else(|| {
            let triple = triple.to_string_lossy();
            Error::unsupported(format!("Unsupported triple for mach-o cpu type: {triple}"))
                .in_file(self.path.as_str())
        })
    }

    pub fn has_ctor_dtor(&self) -> bool {
        self.module.has_ctor_dtor()
    }

    pub fn is_thinlto(&self) -> bool {
        self.module.is_thinlto()
    }
}

fn no_such(what: &str, index: c_uint, number: c_uint) -> Error {
    Error::misuse(format!("{what} {index} of {number}"))
}
