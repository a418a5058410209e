//! What a `lto_module_t` stands for: the answers about one module, and its bitcode where a code
//! generator may want it.
//!
//! In: bytes of a file, or of the caller's memory. Out: symbols, strings that C can read, and an
//! [`Input`] for a link. The caller may free its memory as soon as the module exists, so all that
//! is answered later is made at once; a module that is going to be linked copies its bitcode.

use std::ffi::{CStr, CString, c_char, c_uint};
use std::sync::{Mutex, PoisonError};

use crate::container::{self, FileBytes};
use crate::error::{Error, Result};
use crate::registry::{Kind, Registry};
use crate::regular::{Input, InputBytes};

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
    listing: Listing,
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

/// What the linker sees of a module.
#[derive(Default)]
struct Listing {
    /// All names, each with a NUL behind it.
    names: Vec<u8>,
    symbols: Vec<Symbol>,
    /// Where in `names` the symbols are that inline assembly uses and does not define.
    asm_undefined: Vec<u32>,
    linker_options: CString,
    triple: CString,
    has_ctor_dtor: bool,
    is_thinlto: bool,
}

#[derive(Clone, Copy)]
struct Symbol {
    /// Where in `names`.
    name: u32,
    attributes: c_uint,
}

impl ModuleObject {
    /// Whether the bytes are an LTO input whose triple begins with `prefix`.
    pub fn is_for_target(bytes: &[u8], prefix: &[u8]) -> Result<bool> {
        if !container::is_lto_input(bytes) {
            return Ok(false);
        }
        Ok(Listing::read(bytes)?.triple.to_bytes().starts_with(prefix))
    }

    /// Whether the bytes have Objective-C or Swift classes or categories.
    pub fn has_objc_category(bytes: &[u8]) -> Result<bool> {
        Listing::read(bytes).map(|_| false)
    }

    /// Reads a module from memory that is the caller's.
    pub fn from_memory(bytes: &[u8], path: &str, purpose: Purpose) -> Result<Self> {
        let read = || {
            let bitcode = container::find_bitcode(bytes)?.bytes;
            let listing = Listing::read(bitcode)?;
            let copy = (purpose == Purpose::Link).then(|| InputBytes::Memory(bitcode.to_vec()));
            Ok(Self::new(listing, path, copy))
        };
        read().map_err(|error: Error| error.in_file(path))
    }

    /// Reads a module from a file that is ours.
    pub fn from_file(file: FileBytes, path: &str) -> Result<Self> {
        let read = |file: &FileBytes| {
            let bitcode = container::find_bitcode(file)?.bytes;
            let start = bitcode.as_ptr().addr() - file.as_ptr().addr();
            Ok((Listing::read(bitcode)?, start..start + bitcode.len()))
        };
        let (listing, range) = read(&file).map_err(|error: Error| error.in_file(path))?;
        Ok(Self::new(listing, path, Some(InputBytes::File(file, range))))
    }

    fn new(listing: Listing, path: &str, bitcode: Option<InputBytes>) -> Self {
        ModuleObject {
            listing,
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
                .listing
                .asm_undefined
                .iter()
                .map(|at| self.listing.name(*at).map(|name| name.to_bytes().to_vec()))
                .collect::<Result<_>>()?,
        })
    }

    pub fn target_triple(&self) -> *const c_char {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.triples.last().unwrap_or(&self.listing.triple).as_ptr()
    }

    pub fn set_target_triple(&self, triple: &CStr) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.triples.push(triple.to_owned());
    }

    pub fn symbol_count(&self) -> c_uint {
        self.listing.symbols.len() as c_uint
    }

    pub fn symbol_name(&self, index: c_uint) -> Result<*const c_char> {
        self.listing.name(self.symbol(index)?.name).map(CStr::as_ptr)
    }

    pub fn symbol_attributes(&self, index: c_uint) -> Result<c_uint> {
        Ok(self.symbol(index)?.attributes)
    }

    fn symbol(&self, index: c_uint) -> Result<&Symbol> {
        let symbols = &self.listing.symbols;
        symbols.get(index as usize).ok_or_else(|| no_such("symbol", index, symbols.len()))
    }

    pub fn asm_undefined_count(&self) -> c_uint {
        self.listing.asm_undefined.len() as c_uint
    }

    pub fn asm_undefined_name(&self, index: c_uint) -> Result<*const c_char> {
        let names = &self.listing.asm_undefined;
        let at = names
            .get(index as usize)
            .ok_or_else(|| no_such("undefined symbol of inline assembly", index, names.len()))?;
        self.listing.name(*at).map(CStr::as_ptr)
    }

    pub fn linker_options(&self) -> *const c_char {
        self.listing.linker_options.as_ptr()
    }

    pub fn macho_cpu_type(&self) -> Result<(c_uint, c_uint)> {
        Err(Error::unsupported("CPU types are not known yet").in_file(self.path.as_str()))
    }

    pub fn has_ctor_dtor(&self) -> bool {
        self.listing.has_ctor_dtor
    }

    pub fn is_thinlto(&self) -> bool {
        self.listing.is_thinlto
    }
}

impl Listing {
    fn read(bitcode: &[u8]) -> Result<Self> {
        let _ = bitcode;
        Err(Error::unsupported("symbols are not read yet"))
    }

    /// The name at a place in `names`.
    fn name(&self, at: u32) -> Result<&CStr> {
        let name =
            self.names.get(at as usize..).and_then(|rest| CStr::from_bytes_until_nul(rest).ok());
        name.ok_or_else(|| Error::misuse("the name is not there"))
    }
}

fn no_such(what: &str, index: c_uint, number: usize) -> Error {
    Error::misuse(format!("{what} {index} of {number}"))
}
