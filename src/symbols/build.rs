//! An irsymtab from module records.
//!
//! In: the modules of a file, read up to their first function body. Out: the same table that
//! LLVM's `irsymtab::build` stores in the file, opened. It is needed where a file has none, where
//! it is of another version, and where its contents depend on the version that wrote it.
//!
//! Order of symbols: for each module functions, variables, aliases, ifuncs, then the symbols of
//! module assembly. Source: `Builder` in LLVM's `IRSymtab.cpp`, `emitLinkerFlagsForGlobalCOFF` in
//! `Mangler.cpp`.

use std::borrow::Cow;

use super::asm;
use super::globals::{Globals, can_be_omitted, sf};
use super::irsymtab::{HEADER, Irsymtab, Strings, VERSION, flag};
use super::mangle::Mangler;
use super::preserved::Preserved;
use super::triple::{ObjectFormat, Windows};
use crate::bitcode::{Comdat, GlobalKind, GlobalValue, Module};
use crate::error::{Error, Result};
use crate::ir::{DllStorage, SelectionKind, UnnamedAddr, Visibility};

/// What stands in the producer field of a table that was made here; never stored in a file.
const PRODUCER: &[u8] = b"libLTO";

/// Builds the table of `modules`, which are all the modules of a file.
///
/// # Errors
/// Malformed where the file has no module or one of them has no data layout, as LLVM has it, or
/// where records that a symbol depends on are malformed.
pub fn build<'a>(modules: &[Module<'a>]) -> Result<Irsymtab<'a>> {
    let first = modules
        .first()
        .ok_or_else(|| Error::malformed("Bitcode file does not contain any modules"))?;
    let mut b = Builder {
        strings: Strings { base: first.location.strtab, extra: Vec::new() },
        ..Builder::default()
    };
    let producer = b.strings.add(PRODUCER);
    let triple = b.strings.add(&first.triple);
    let source = b.strings.add(&first.source_file_name);
    for module in modules {
        b.module(module)?;
    }
    let options = std::mem::take(&mut b.coff_opts);
    let options = b.strings.add(&options);
    b.finish([producer, triple, source, options])
}

#[derive(Default)]
struct Builder<'a> {
    strings: Strings<'a>,
    modules: Vec<[u32; 3]>,
    comdats: Vec<[u32; 3]>,
    symbols: Vec<[u32; 6]>,
    uncommons: Vec<[u32; 6]>,
    libraries: Vec<[u32; 2]>,
    coff_opts: Vec<u8>,
}

/// A comdat of one module: where in the table, if it got there.
type ComdatMap = Vec<Option<Option<u32>>>;

impl<'a> Builder<'a> {
    fn module(&mut self, module: &Module<'a>) -> Result<()> {
        if module.data_layout.is_empty() {
            return Err(Error::malformed("input module has no datalayout"));
        }
        let globals = Globals::new(module);
        let preserved = Preserved::for_triple(&globals.triple, &module.triple);
        let used = globals.used()?;
        let begin = self.symbols.len() as u32;
        let first_uncommon = self.uncommons.len() as u32;
        match globals.triple.format {
            ObjectFormat::Coff => {
                linker_options(&globals, |option| {
                    self.coff_opts.push(b' ');
                    self.coff_opts.extend_from_slice(option);
                })?;
            }
            ObjectFormat::Elf => self.dependent_libraries(&globals)?,
            _ => {}
        }
        let mut mangler = Mangler::new(globals.mangling);
        let mut comdats: ComdatMap = vec![None; module.comdats.len()];
        for (id, g) in globals.in_order() {
            let mut extra_flags = 0;
            if used.binary_search(&id).is_ok() || preserved.contains(&g.name) {
                extra_flags |= flag::USED;
            }
            self.symbol(&globals, &mut mangler, &mut comdats, id, g, extra_flags)?;
        }
        for symbol in asm::collect(&globals)? {
            let (start, size) = self.strings.add(&symbol.name);
            let mut flags = translate(symbol.flags);
            // What module assembly refers to is kept: nothing else tells of the reference.
            if symbol.flags & sf::UNDEFINED != 0 {
                flags |= flag::USED;
            }
            self.symbols.push([start, size, start, 0, u32::MAX, flags]);
        }
        self.modules.push([begin, self.symbols.len() as u32, first_uncommon]);
        Ok(())
    }

    fn symbol(
        &mut self,
        globals: &Globals<'_, 'a>,
        mangler: &mut Mangler,
        comdats: &mut ComdatMap,
        id: u32,
        g: &GlobalValue<'a>,
        extra_flags: u32,
    ) -> Result<()> {
        let ir_name = self.ir_name(&g.name);
        let name = if mangler.is_plain(&g.name, g.linkage, g.dll_storage)
            && globals.has_plain_convention(g)
        {
            ir_name
        } else {
            let mut out = Vec::new();
            globals.name(mangler, id, g, &mut out)?;
            self.strings.add(&out)
        };
        let sf = globals.flags(id, g)?;
        let mut flags = translate(sf) | extra_flags | g.visibility as u32;
        if g.thread_local != 0 {
            flags |= flag::TLS;
        }
        if g.unnamed_addr == UnnamedAddr::Global {
            flags |= flag::UNNAMED_ADDR;
        }
        if can_be_omitted(g) {
            flags |= flag::MAY_OMIT;
        }
        let mut uncommon: Option<[u32; 6]> = None;
        if sf & sf::COMMON != 0 {
            if g.kind != GlobalKind::Variable {
                return Err(
                    Error::malformed("only variables can have common linkage").at_bit(g.record_bit)
                );
            }
            let ty = globals.value_type(g)?;
            let size = globals.alloc_size(ty)?;
            let unc = uncommon.get_or_insert_default();
            // The field has 32 bits; LLVM cuts as well.
            unc[0] = size as u32;
            unc[1] = g.alignment_bytes().unwrap_or(0) as u32;
        }
        let object = globals.base_object(id)?.ok_or_else(|| {
            Error::malformed("Unable to determine comdat of alias!").at_bit(g.record_bit)
        })?;
        let comdat = self.comdat(globals, mangler, comdats, object)?;
        if globals.triple.format == ObjectFormat::Coff {
            self.coff_directives(globals, mangler, id, g)?;
            if sf & sf::WEAK != 0 && sf & sf::INDIRECT != 0 {
                let fallback = globals
                    .constants_base(u64::from(g.operand))?
                    .and_then(|f| Some((f, globals.module.globals.get(f as usize)?)))
                    .ok_or_else(|| {
                        Error::malformed("invalid weak external").at_bit(g.record_bit)
                    })?;
                let mut out = Vec::new();
                globals.name(mangler, fallback.0, fallback.1, &mut out)?;
                let (start, size) = self.strings.add(&out);
                let unc = uncommon.get_or_insert_default();
                unc[2] = start;
                unc[3] = size;
            }
        }
        let section = globals.module.section_of(object);
        if !section.is_empty() {
            let (start, size) = self.strings.add(section);
            let unc = uncommon.get_or_insert_default();
            unc[4] = start;
            unc[5] = size;
        }
        if let Some(uncommon) = uncommon {
            flags |= flag::HAS_UNCOMMON;
            self.uncommons.push(uncommon);
        }
        let comdat = comdat.unwrap_or(u32::MAX);
        self.symbols.push([name.0, name.1, ir_name.0, ir_name.1, comdat, flags]);
        Ok(())
    }

    /// A name of the first module's string table keeps its place, any other is added.
    fn ir_name(&mut self, name: &[u8]) -> (u32, u32) {
        let base = self.strings.base;
        // The difference of the addresses is the offset if the name is a part of the table; the
        // comparison then confirms it.
        let offset = (name.as_ptr() as usize).wrapping_sub(base.as_ptr() as usize);
        match base.get(offset..offset.wrapping_add(name.len())) {
            Some(same) if std::ptr::eq(same, name) => (offset as u32, name.len() as u32),
            _ => self.strings.add(name),
        }
    }

    /// The index of the object's comdat in the table.
    fn comdat(
        &mut self,
        globals: &Globals<'_, 'a>,
        mangler: &mut Mangler,
        map: &mut ComdatMap,
        object: &GlobalValue<'a>,
    ) -> Result<Option<u32>> {
        if object.kind == GlobalKind::IFunc {
            return Ok(None);
        }
        if object.implicit_comdat {
            let comdat = Comdat { name: object.name.clone(), selection: SelectionKind::Any };
            return self.add_comdat(globals, mangler, &comdat);
        }
        let Some(comdat) = globals.module.comdat_of(object) else { return Ok(None) };
        let index = object.comdat as usize - 1;
        if let Some(Some(known)) = map.get(index) {
            return Ok(*known);
        }
        let added = self.add_comdat(globals, mangler, comdat)?;
        if let Some(slot) = map.get_mut(index) {
            *slot = Some(added);
        }
        Ok(added)
    }

    fn add_comdat(
        &mut self,
        globals: &Globals<'_, 'a>,
        mangler: &mut Mangler,
        comdat: &Comdat<'a>,
    ) -> Result<Option<u32>> {
        let name = if globals.triple.format == ObjectFormat::Coff {
            // On COFF a comdat is known by its leader's symbol; a local leader takes no part.
            let (id, leader) = globals
                .named(&comdat.name)
                .ok_or_else(|| Error::malformed("could not find a comdat's leader"))?;
            if leader.linkage.is_local() {
                return Ok(None);
            }
            let mut out = Vec::new();
            globals.plain_name(mangler, id, leader, &mut out)?;
            self.strings.add(&out)
        } else {
            self.ir_name(&comdat.name)
        };
        self.comdats.push([name.0, name.1, comdat.selection as u32]);
        Ok(Some(self.comdats.len() as u32 - 1))
    }

    fn dependent_libraries(&mut self, globals: &Globals<'_, 'a>) -> Result<()> {
        let metadata = globals.metadata()?;
        let Some(nodes) = metadata.named(b"llvm.dependent-libraries") else { return Ok(()) };
        for &node in nodes {
            let operand = metadata.node(node)?.and_then(|o| o.first().copied().flatten());
            let string = match operand {
                Some(id) => metadata.string(id)?,
                None => None,
            };
            let string =
                string.ok_or_else(|| Error::malformed("dependent library that is no string"))?;
            let (start, size) = self.strings.add(&string);
            self.libraries.push([start, size]);
        }
        Ok(())
    }

    fn coff_directives(
        &mut self,
        globals: &Globals<'_, 'a>,
        mangler: &mut Mangler,
        id: u32,
        g: &GlobalValue<'a>,
    ) -> Result<()> {
        let mut out = std::mem::take(&mut self.coff_opts);
        let result = coff_directives(globals, mangler, id, g, &mut out);
        self.coff_opts = out;
        result
    }

    fn finish(self, [producer, triple, source, options]: [(u32, u32); 4]) -> Result<Irsymtab<'a>> {
        fn part<const N: usize>(at: &mut usize, entries: &[[u32; N]]) -> [u32; 2] {
            let range = [*at as u32, entries.len() as u32];
            *at += entries.len() * N * 4;
            range
        }
        let mut at = HEADER;
        let modules = part(&mut at, &self.modules);
        let comdats = part(&mut at, &self.comdats);
        let symbols = part(&mut at, &self.symbols);
        let uncommons = part(&mut at, &self.uncommons);
        let libraries = part(&mut at, &self.libraries);
        if u32::try_from(at).is_err() {
            return Err(Error::unsupported("more symbols than a symbol table can hold"));
        }
        let mut blob = Vec::with_capacity(at);
        let mut put = |words: &[u32]| {
            for word in words {
                blob.extend_from_slice(&word.to_le_bytes());
            }
        };
        put(&[VERSION, producer.0, producer.1]);
        [modules, comdats, symbols, uncommons].iter().for_each(|range| put(range));
        [triple, source, options].iter().for_each(|s| put(&[s.0, s.1]));
        put(&libraries);
        self.modules.iter().for_each(|e| put(e));
        self.comdats.iter().for_each(|e| put(e));
        self.symbols.iter().for_each(|e| put(e));
        self.uncommons.iter().for_each(|e| put(e));
        self.libraries.iter().for_each(|e| put(e));
        Irsymtab::checked(Cow::Owned(blob), self.strings)
    }
}

/// Flags of ModuleSymbolTable as flags of the irsymtab.
fn translate(from: u32) -> u32 {
    [
        (sf::UNDEFINED, flag::UNDEFINED),
        (sf::WEAK, flag::WEAK),
        (sf::COMMON, flag::COMMON),
        (sf::INDIRECT, flag::INDIRECT),
        (sf::GLOBAL, flag::GLOBAL),
        (sf::FORMAT_SPECIFIC, flag::FORMAT_SPECIFIC),
        (sf::EXECUTABLE, flag::EXECUTABLE),
    ]
    .into_iter()
    .filter(|(bit, _)| from & bit != 0)
    .fold(0, |flags, (_, bit)| flags | bit)
}

/// The strings of `llvm.linker.options`, in order.
///
/// # Errors
/// Malformed metadata.
pub(super) fn linker_options(globals: &Globals<'_, '_>, mut each: impl FnMut(&[u8])) -> Result<()> {
    let metadata = globals.metadata()?;
    let Some(nodes) = metadata.named(b"llvm.linker.options") else { return Ok(()) };
    for &node in nodes {
        for operand in metadata.node(node)?.unwrap_or_default() {
            let string = match operand {
                Some(id) => metadata.string(id)?,
                None => None,
            };
            each(&string.ok_or_else(|| Error::malformed("linker option that is no string"))?);
        }
    }
    Ok(())
}

/// What a definition asks of a COFF linker: to export it, or on MinGW not to.
///
/// # Errors
/// As for [`Globals::name`].
pub(super) fn coff_directives<'a>(
    globals: &Globals<'_, 'a>,
    mangler: &mut Mangler,
    id: u32,
    g: &GlobalValue<'a>,
    out: &mut Vec<u8>,
) -> Result<()> {
    if is_bare_declaration(g) {
        return Ok(());
    }
    let triple = &globals.triple;
    let msvc = triple.windows == Windows::Msvc;
    let quotes = !g.name.is_empty() && !g.name.iter().all(|&c| unquoted(c));
    let quote = |out: &mut Vec<u8>| out.extend(quotes.then_some(b'"'));
    let without_prefix = |mangler: &mut Mangler, out: &mut Vec<u8>| -> Result<()> {
        let mut name = Vec::new();
        globals.plain_name(mangler, id, g, &mut name)?;
        let prefix = globals.mangling.global_prefix();
        let skip = usize::from(prefix.is_some() && name.first().copied() == prefix);
        out.extend_from_slice(name.get(skip..).unwrap_or(&[]));
        Ok(())
    };
    if g.dll_storage == DllStorage::Export {
        out.extend_from_slice(if msvc { b" /EXPORT:" } else { b" -export:" });
        quote(out);
        if triple.is_cygming() {
            without_prefix(mangler, out)?;
        } else {
            globals.plain_name(mangler, id, g, out)?;
        }
        if triple.is_arm64ec()
            && let Some(demangled) = arm64ec_demangled(&g.name)
        {
            out.extend_from_slice(b",EXPORTAS,");
            out.extend_from_slice(&demangled);
        }
        quote(out);
        let is_function = match g.kind {
            GlobalKind::Function | GlobalKind::IFunc => true,
            GlobalKind::Variable => false,
            GlobalKind::Alias => {
                let ty = globals.value_type(g)?;
                matches!(globals.types()?.get(ty)?, crate::bitcode::Type::Function { .. })
            }
        };
        if !is_function {
            out.extend_from_slice(if msvc { b",DATA" } else { b",data" });
        }
    }
    if g.visibility == Visibility::Hidden && triple.is_cygming() {
        out.extend_from_slice(b" -exclude-symbols:");
        quote(out);
        without_prefix(mangler, out)?;
        quote(out);
    }
    Ok(())
}

/// `GlobalValue::isDeclaration`: unlike for the linker, available_externally is a definition.
fn is_bare_declaration(g: &GlobalValue<'_>) -> bool {
    g.is_declaration
}

fn unquoted(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'_' | b'@' | b'#')
}

/// The name without ARM64EC's mark, or None where it has none.
fn arm64ec_demangled(name: &[u8]) -> Option<Vec<u8>> {
    if let Some(rest) = name.strip_prefix(b"#") {
        return Some(rest.to_vec());
    }
    if !name.starts_with(b"?") {
        return None;
    }
    let at = name.windows(3).position(|w| w == b"$$h")?;
    let (front, back) = name.split_at_checked(at)?;
    let back = back.get(3..).filter(|b| !b.is_empty())?;
    Some([front, back].concat())
}
