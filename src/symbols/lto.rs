//! A module as libLTO shows it: names and attributes for ld64, cctools and their like.
//!
//! In: a file's bytes. Out: an [`LtoModule`], which owns all it shows, so that the bytes may go
//! away. Corresponds to LLVM's `LTOModule`.
//!
//! Order: the definitions of the module (functions, variables, aliases, ifuncs; what an Objective-C
//! class of the old ABI defines behind it), the definitions of module assembly, then all that is
//! undefined in the order of LLVM's hash table. Source: `LTOModule::parseSymbols`.

use std::ffi::CStr;

use super::asm;
use super::build::{coff_directives, linker_options};
use super::globals::{Globals, can_be_omitted, is_declaration_for_linker, sf};
use super::hash_order::{HashOrder, hash};
use super::mangle::Mangler;
use super::objc;
use super::triple::{ObjectFormat, Triple};
use crate::bitcode::{BitcodeFile, Extent, GlobalKind, GlobalValue, Module, block_id};
use crate::container;
use crate::error::{Error, Result};
use crate::ir::{DllStorage, Linkage, Visibility};

/// `lto_symbol_attributes` of llvm-c/lto.h.
#[allow(missing_docs)] // LLVM's names
pub mod attribute {
    pub const ALIGNMENT_MASK: u32 = 0x1f;
    pub const PERMISSIONS_MASK: u32 = 0xe0;
    pub const PERMISSIONS_CODE: u32 = 0xa0;
    pub const PERMISSIONS_DATA: u32 = 0xc0;
    pub const PERMISSIONS_RODATA: u32 = 0x80;
    pub const DEFINITION_MASK: u32 = 0x700;
    pub const DEFINITION_REGULAR: u32 = 0x100;
    pub const DEFINITION_TENTATIVE: u32 = 0x200;
    pub const DEFINITION_WEAK: u32 = 0x300;
    pub const DEFINITION_UNDEFINED: u32 = 0x400;
    pub const DEFINITION_WEAKUNDEF: u32 = 0x500;
    pub const SCOPE_MASK: u32 = 0x3800;
    pub const SCOPE_INTERNAL: u32 = 0x800;
    pub const SCOPE_HIDDEN: u32 = 0x1000;
    pub const SCOPE_PROTECTED: u32 = 0x2000;
    pub const SCOPE_DEFAULT: u32 = 0x1800;
    pub const SCOPE_DEFAULT_CAN_BE_HIDDEN: u32 = 0x2800;
    pub const COMDAT: u32 = 0x4000;
    pub const ALIAS: u32 = 0x8000;
}

/// One symbol; its name starts in the arena at `name` and has `len` bytes before its NUL.
#[derive(Clone, Copy, Debug)]
struct Entry {
    name: u32,
    len: u32,
    attributes: u32,
}

/// A module's symbols and properties.
#[derive(Clone, Debug)]
pub struct LtoModule {
    /// All names, each with a NUL behind it.
    names: Vec<u8>,
    entries: Vec<Entry>,
    triple: Vec<u8>,
    linker_opts: Vec<u8>,
    asm_undefined: Vec<Entry>,
    is_thinlto: bool,
    has_ctor_dtor: bool,
}

impl LtoModule {
    /// Reads the module in `bytes`.
    ///
    /// # Errors
    /// Those of [`container::find_bitcode`]; unsupported for an object that only embeds bitcode;
    /// malformed bitcode, or a file with none or several modules.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let file = BitcodeFile::read(lto_bitcode(bytes)?)?;
        let [module] = file.modules.as_slice() else {
            return Err(Error::malformed(format!(
                "expected a single module, the file has {}",
                file.modules.len()
            )));
        };
        let module = Module::read(module, Extent::Head)?;
        Self::of_module(&module)
    }

    /// The view of a module, of which the head is enough.
    ///
    /// # Errors
    /// Malformed records that a symbol depends on.
    pub fn of_module(module: &Module<'_>) -> Result<Self> {
        let globals = Globals::new(module);
        let mut b = Builder::new(&globals);
        b.run()?;
        let mut linker_opts = Vec::new();
        linker_options(&globals, |option| {
            linker_opts.push(b' ');
            linker_opts.extend_from_slice(option);
        })?;
        if globals.triple.format == ObjectFormat::Coff {
            b.coff_options(&mut linker_opts)?;
        }
        let summary = module.summary_block()?.map(|b| b.id);
        let has_ctor_dtor = module
            .globals
            .iter()
            .any(|g| matches!(&*g.name, b"llvm.global_ctors" | b"llvm.global_dtors"));
        Ok(LtoModule {
            entries: b.entries,
            names: b.names,
            asm_undefined: b.asm_undefined,
            triple: c_string(&module.triple),
            linker_opts: c_string(&linker_opts),
            is_thinlto: summary == Some(block_id::GLOBALVAL_SUMMARY),
            has_ctor_dtor,
        })
    }

    /// The number of symbols.
    pub fn num_symbols(&self) -> usize {
        self.entries.len()
    }

    /// The name of a symbol; None past the end.
    pub fn symbol_name(&self, index: usize) -> Option<&CStr> {
        self.entries.get(index).map(|e| self.name(e))
    }

    /// The name of a symbol with its NUL, without a look at the bytes between; None past the end.
    #[inline]
    pub fn symbol_name_with_nul(&self, index: usize) -> Option<&[u8]> {
        let e = self.entries.get(index)?;
        let start = e.name as usize;
        self.names.get(start..start + e.len as usize + 1)
    }

    /// The attributes of a symbol, bits of [`attribute`]; None past the end.
    pub fn symbol_attributes(&self, index: usize) -> Option<u32> {
        self.entries.get(index).map(|e| e.attributes)
    }

    /// All names and attributes in order.
    pub fn symbols(&self) -> impl ExactSizeIterator<Item = (&CStr, u32)> {
        self.entries.iter().map(|e| (self.name(e), e.attributes))
    }

    /// The symbols that module assembly refers to, defined here or not, in order.
    pub fn asm_undefined(&self) -> impl ExactSizeIterator<Item = &CStr> {
        self.asm_undefined.iter().map(|e| self.name(e))
    }

    fn name(&self, e: &Entry) -> &CStr {
        let start = e.name as usize;
        let bytes = self.names.get(start..start + e.len as usize + 1).unwrap_or(b"\0");
        CStr::from_bytes_until_nul(bytes).unwrap_or_default()
    }

    /// The target triple as the module has it.
    pub fn target_triple(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.triple).unwrap_or_default()
    }

    /// The module's options for the linker, each with a space before it.
    pub fn linker_opts(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.linker_opts).unwrap_or_default()
    }

    /// Whether the module has a summary for ThinLTO.
    pub fn is_thinlto(&self) -> bool {
        self.is_thinlto
    }

    /// Whether the module has static constructors or destructors.
    pub fn has_ctor_dtor(&self) -> bool {
        self.has_ctor_dtor
    }

    /// Mach-O cputype and cpusubtype of a triple.
    ///
    /// # Errors
    /// Unsupported where it is not one of Mach-O.
    pub fn macho_cpu(&self) -> Result<(u32, u32)> {
        let triple = self.target_triple();
        Triple::parse(triple.to_bytes()).macho_cpu().ok_or_else(|| {
            Error::unsupported(format!(
                "unsupported triple for mach-o cpu type: {}",
                triple.to_string_lossy()
            ))
        })
    }
}

/// The bitcode of a file that libLTO takes.
///
/// # Errors
/// Those of [`container::find_bitcode`]; unsupported for an object that only embeds bitcode.
pub fn lto_bitcode(bytes: &[u8]) -> Result<&[u8]> {
    let found = container::find_bitcode(bytes)?;
    if !found.carrier.is_lto_input() {
        return Err(Error::unsupported(
            "object file that embeds bitcode (.llvmbc) but is not compiled for LTO",
        ));
    }
    Ok(found.bytes)
}

/// Bytes with a NUL behind them. What follows a NUL within is not seen by C.
fn c_string(bytes: &[u8]) -> Vec<u8> {
    let mut v = Vec::with_capacity(bytes.len() + 1);
    v.extend_from_slice(bytes);
    v.push(0);
    v
}

/// Something that is undefined so far: an entry that may become a symbol, and what declared it.
struct Undefined {
    entry: Entry,
    declared_by: Option<u32>,
    /// Whether assembly has defined it; then it is no undefined symbol.
    is_function: bool,
}

struct Builder<'g, 'm, 'a> {
    globals: &'g Globals<'m, 'a>,
    mangler: Mangler,
    names: Vec<u8>,
    entries: Vec<Entry>,
    /// The value id of each entry's global, only where COFF directives need them.
    entry_ids: Vec<Option<u32>>,
    undefined: Vec<Undefined>,
    undefined_order: HashOrder,
    /// Names of definitions, only where a name may occur twice.
    defined: Option<HashOrder>,
    defined_names: Vec<Entry>,
    asm_undefined: Vec<Entry>,
}

impl<'g, 'm, 'a> Builder<'g, 'm, 'a> {
    fn new(globals: &'g Globals<'m, 'a>) -> Self {
        let all = &globals.module.globals;
        let bytes: usize = all.iter().map(|g| g.name.len() + 2).sum();
        Builder {
            globals,
            mangler: Mangler::new(globals.mangling),
            names: Vec::with_capacity(bytes),
            entries: Vec::with_capacity(all.len()),
            entry_ids: Vec::new(),
            undefined: Vec::new(),
            undefined_order: HashOrder::new(),
            defined: None,
            defined_names: Vec::new(),
            asm_undefined: Vec::new(),
        }
    }

    fn run(&mut self) -> Result<()> {
        let globals = self.globals;
        let asm = asm::collect(globals)?;
        // IR names are unique in a module, and symbol names made of them as well, unless a name
        // says that it is not to be mangled, or comes from elsewhere.
        let special = |g: &GlobalValue<'_>| {
            matches!(g.name.first(), Some(1) | None)
                || g.dll_storage == DllStorage::Import
                || globals.module.section_of(g).starts_with(b"__OBJC,")
        };
        if !asm.is_empty() || globals.module.globals.iter().any(special) {
            self.defined = Some(HashOrder::new());
        }
        for (id, g) in globals.in_order() {
            if globals.is_format_specific(g) {
                continue;
            }
            let name = self.mangled(id, g)?;
            if is_declaration_for_linker(g) {
                self.add_undefined(name, id, g);
            } else {
                self.add_defined(name, id, g)?;
                if g.section != 0 && g.kind == GlobalKind::Variable {
                    self.objc(id, g)?;
                }
            }
        }
        for symbol in asm {
            let entry = self.put(&symbol.name, 0);
            if symbol.flags & sf::UNDEFINED != 0 {
                self.add_asm_undefined(entry);
            } else if symbol.flags & sf::GLOBAL != 0 {
                self.add_asm_defined(entry, attribute::SCOPE_DEFAULT)?;
            } else {
                self.add_asm_defined(entry, attribute::SCOPE_INTERNAL)?;
            }
        }
        self.finish_undefined();
        Ok(())
    }

    /// Puts a name into the arena.
    fn put(&mut self, name: &[u8], attributes: u32) -> Entry {
        let start = self.names.len() as u32;
        self.names.extend_from_slice(name);
        self.names.push(0);
        Entry { name: start, len: name.len() as u32, attributes }
    }

    /// Puts a global's symbol name into the arena.
    fn mangled(&mut self, id: u32, g: &GlobalValue<'a>) -> Result<Entry> {
        if self.mangler.is_plain(&g.name, g.linkage, g.dll_storage)
            && self.globals.has_plain_convention(g)
        {
            return Ok(self.put(&g.name, 0));
        }
        let start = self.names.len();
        self.globals.name(&mut self.mangler, id, g, &mut self.names)?;
        let len = self.names.len() - start;
        self.names.push(0);
        Ok(Entry { name: start as u32, len: len as u32, attributes: 0 })
    }

    fn add_defined(&mut self, mut name: Entry, id: u32, g: &GlobalValue<'a>) -> Result<()> {
        name.attributes = self.defined_attributes(id, g)?;
        self.note_defined(name);
        self.push(name, Some(id));
        Ok(())
    }

    fn push(&mut self, entry: Entry, id: Option<u32>) {
        self.entries.push(entry);
        if self.globals.triple.format == ObjectFormat::Coff {
            self.entry_ids.push(id);
        }
    }

    fn defined_attributes(&self, id: u32, g: &GlobalValue<'a>) -> Result<u32> {
        // The alignment is kept as one more than its power of two.
        let mut bits = u32::from(g.alignment.saturating_sub(1)) & attribute::ALIGNMENT_MASK;
        bits |= match g.kind {
            GlobalKind::Function | GlobalKind::IFunc => attribute::PERMISSIONS_CODE,
            // Since LLVM 20 or so an alias of a function is code, but not an alias of an alias.
            GlobalKind::Alias if self.globals.is_direct_alias_of_function(g)? => {
                attribute::PERMISSIONS_CODE
            }
            GlobalKind::Variable if g.is_constant => attribute::PERMISSIONS_RODATA,
            _ => attribute::PERMISSIONS_DATA,
        };
        bits |= if g.linkage.is_weak() || g.linkage.is_linkonce() {
            attribute::DEFINITION_WEAK
        } else if g.linkage == Linkage::Common {
            attribute::DEFINITION_TENTATIVE
        } else {
            attribute::DEFINITION_REGULAR
        };
        bits |= if g.linkage.is_local() {
            attribute::SCOPE_INTERNAL
        } else {
            match g.visibility {
                Visibility::Hidden => attribute::SCOPE_HIDDEN,
                Visibility::Protected => attribute::SCOPE_PROTECTED,
                Visibility::Default if can_be_omitted(g) => attribute::SCOPE_DEFAULT_CAN_BE_HIDDEN,
                Visibility::Default => attribute::SCOPE_DEFAULT,
            }
        };
        let has_comdat = match g.kind {
            GlobalKind::IFunc => false,
            GlobalKind::Alias => self.globals.base_object(id)?.is_some_and(|o| {
                o.kind != GlobalKind::IFunc && (o.comdat != 0 || o.implicit_comdat)
            }),
            _ => g.comdat != 0 || g.implicit_comdat,
        };
        if has_comdat {
            bits |= attribute::COMDAT;
        }
        if g.kind == GlobalKind::Alias {
            bits |= attribute::ALIAS;
        }
        Ok(bits)
    }

    fn bytes<'n>(names: &'n [u8], e: &Entry) -> &'n [u8] {
        let start = e.name as usize;
        names.get(start..start + e.len as usize).unwrap_or(&[])
    }

    /// Adds a name to the definitions; whether it is new. Always true where nobody counts.
    fn note_defined(&mut self, entry: Entry) -> bool {
        let Some(defined) = &mut self.defined else { return true };
        let names = &self.names;
        let wanted = Self::bytes(names, &entry);
        let known = &self.defined_names;
        let id = known.len() as u32;
        let same = |i: u32| known.get(i as usize).is_some_and(|e| Self::bytes(names, e) == wanted);
        let new = defined.insert(hash(wanted), id, same).is_ok();
        if new {
            self.defined_names.push(entry);
        }
        new
    }

    /// The place of a name among the undefined, and whether it is new there.
    fn undefined_slot(&mut self, entry: Entry) -> (usize, bool) {
        let names = &self.names;
        let wanted = Self::bytes(names, &entry);
        let known = &self.undefined;
        let same =
            |i: u32| known.get(i as usize).is_some_and(|u| Self::bytes(names, &u.entry) == wanted);
        let id = known.len() as u32;
        match self.undefined_order.insert(hash(wanted), id, same) {
            Ok(()) => {
                self.undefined.push(Undefined { entry, declared_by: None, is_function: false });
                (id as usize, true)
            }
            Err(old) => (old as usize, false),
        }
    }

    fn add_undefined(&mut self, mut entry: Entry, id: u32, g: &GlobalValue<'a>) {
        entry.attributes = if g.linkage == Linkage::ExternalWeak {
            attribute::DEFINITION_WEAKUNDEF
        } else {
            attribute::DEFINITION_UNDEFINED
        };
        let (slot, new) = self.undefined_slot(entry);
        if let Some(u) = self.undefined.get_mut(slot).filter(|_| new) {
            u.declared_by = Some(id);
            u.is_function = g.kind == GlobalKind::Function;
        }
    }

    fn add_asm_undefined(&mut self, mut entry: Entry) {
        entry.attributes = attribute::DEFINITION_UNDEFINED | attribute::SCOPE_DEFAULT;
        self.undefined_slot(entry);
        self.asm_undefined.push(entry);
    }

    /// A definition in assembly. LLVM keeps whatever the IR said of the name, with a new scope.
    fn add_asm_defined(&mut self, entry: Entry, scope: u32) -> Result<()> {
        if !self.note_defined(entry) {
            return Ok(());
        }
        // LLVM enters the name among the undefined here, which moves the others in its order.
        let (slot, _) = self.undefined_slot(entry);
        let declared_by = self.undefined.get(slot).and_then(|u| u.declared_by);
        let global =
            declared_by.and_then(|id| Some((id, self.globals.module.globals.get(id as usize)?)));
        let (attributes, id) = match global {
            None => (attribute::PERMISSIONS_DATA | attribute::DEFINITION_REGULAR | scope, None),
            Some((id, g)) => {
                let bits = self.defined_attributes(id, g)?;
                (bits & !attribute::SCOPE_MASK | scope, Some(id))
            }
        };
        self.push(Entry { attributes, ..entry }, id);
        Ok(())
    }

    /// What the data structures of Objective-C's old ABI define and refer to.
    fn objc(&mut self, id: u32, g: &GlobalValue<'a>) -> Result<()> {
        let section = self.globals.module.section_of(g);
        let names = objc::symbols(self.globals, g, section)?;
        if let Some(name) = names.undefined {
            let entry = self.put(&name, attribute::DEFINITION_UNDEFINED);
            let (slot, new) = self.undefined_slot(entry);
            if let Some(u) = self.undefined.get_mut(slot).filter(|_| new) {
                u.declared_by = Some(id);
            }
        }
        if let Some(name) = names.defined {
            let bits = attribute::PERMISSIONS_DATA
                | attribute::DEFINITION_REGULAR
                | attribute::SCOPE_DEFAULT;
            let entry = self.put(&name, bits);
            self.note_defined(entry);
            self.push(entry, Some(id));
        }
        Ok(())
    }

    fn finish_undefined(&mut self) {
        let coff = self.globals.triple.format == ObjectFormat::Coff;
        for i in self.undefined_order.ids() {
            let Some(u) = self.undefined.get(i as usize) else { continue };
            if let Some(defined) = &self.defined {
                let name = Self::bytes(&self.names, &u.entry);
                let same = |i: u32| {
                    let e = self.defined_names.get(i as usize);
                    e.is_some_and(|e| Self::bytes(&self.names, e) == name)
                };
                if defined.find(hash(name), same).is_some() {
                    continue;
                }
            }
            self.entries.push(u.entry);
            if coff {
                self.entry_ids.push(u.declared_by);
            }
        }
    }

    fn coff_options(&mut self, out: &mut Vec<u8>) -> Result<()> {
        // LLVM mangles these with a mangler of their own, which counts unnamed values anew.
        let mut mangler = Mangler::new(self.globals.mangling);
        for id in self.entry_ids.iter().flatten() {
            if let Some(g) = self.globals.module.globals.get(*id as usize) {
                coff_directives(self.globals, &mut mangler, *id, g, out)?;
            }
        }
        Ok(())
    }
}
