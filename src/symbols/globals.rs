//! What a module's records say of its globals as symbols.
//!
//! In: a [`Module`]. Out: for each global its symbol name, the flags that LLVM's
//! `ModuleSymbolTable` gives it, the object behind an alias, the comdat. Both tables, the irsymtab
//! and libLTO's, are made of these answers; constants, types and the layout are read when the
//! first question needs them.
//!
//! Source: LLVM's `Globals.cpp` (`findBaseObject`, `canBeOmittedFromSymbolTable`) and
//! `ModuleSymbolTable.cpp` (`getSymbolFlags`, `printSymbolName`).

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;

use super::data_layout::{DataLayout, Mangling, SizeCache};
use super::mangle::{ByteCount, Mangler, X86_FASTCALL, X86_STDCALL, X86_VECTORCALL};
use super::param_attrs::ParamAttrs;
use super::triple::Triple;
use crate::bitcode::{
    Constants, GlobalKind, GlobalValue, Metadata, Module, Type, TypeTable, constant_code as code,
};
use crate::error::{Error, Result};
use crate::ir::{Linkage, UnnamedAddr, Visibility};

/// `object::BasicSymbolRef::Flags`, as far as IR symbols have them.
#[allow(missing_docs)] // LLVM's names
pub mod sf {
    pub const UNDEFINED: u32 = 1 << 0;
    pub const GLOBAL: u32 = 1 << 1;
    pub const WEAK: u32 = 1 << 2;
    pub const COMMON: u32 = 1 << 4;
    pub const INDIRECT: u32 = 1 << 5;
    pub const FORMAT_SPECIFIC: u32 = 1 << 7;
    pub const HIDDEN: u32 = 1 << 9;
    pub const CONST: u32 = 1 << 10;
    pub const EXECUTABLE: u32 = 1 << 11;
}

/// A constant expression or alias chain of more steps than this is taken for a cycle.
const MAX_STEPS: u32 = 4096;

/// The opcode of a bitcast in a CE_CAST record.
const BITCAST: u64 = 11;

/// Answers about one module's globals.
pub struct Globals<'m, 'a> {
    /// The module.
    pub module: &'m Module<'a>,
    /// Its triple, parsed.
    pub triple: Triple,
    /// How its names are mangled.
    pub mangling: Mangling,
    constants: OnceCell<Constants>,
    types: OnceCell<TypeTable>,
    layout: OnceCell<DataLayout>,
    attrs: OnceCell<ParamAttrs>,
    metadata: OnceCell<Metadata<'a>>,
    by_name: OnceCell<HashMap<&'m [u8], u32>>,
    sizes: RefCell<SizeCache>,
}

impl<'m, 'a> Globals<'m, 'a> {
    /// Starts asking about `module`.
    pub fn new(module: &'m Module<'a>) -> Self {
        Globals {
            module,
            triple: Triple::parse(&module.triple),
            mangling: Mangling::of(&module.data_layout),
            constants: OnceCell::new(),
            types: OnceCell::new(),
            layout: OnceCell::new(),
            attrs: OnceCell::new(),
            metadata: OnceCell::new(),
            by_name: OnceCell::new(),
            sizes: RefCell::default(),
        }
    }

    /// Value ids in the order of LLVM's `Module::global_values`.
    pub fn in_order(&self) -> impl Iterator<Item = (u32, &'m GlobalValue<'a>)> + use<'m, 'a> {
        let globals = &self.module.globals;
        // LLVM's writer puts all of a kind in a row, so that there are few runs, and the values
        // are not looked at once for each kind.
        let mut runs: Vec<(GlobalKind, std::ops::Range<usize>)> = Vec::with_capacity(4);
        for (id, g) in globals.iter().enumerate() {
            match runs.last_mut() {
                Some((kind, run)) if *kind == g.kind => run.end = id + 1,
                _ => runs.push((g.kind, id..id + 1)),
            }
        }
        // A stable sort keeps the order within a kind.
        runs.sort_by_key(|(kind, _)| match kind {
            GlobalKind::Function => 0,
            GlobalKind::Variable => 1,
            GlobalKind::Alias => 2,
            GlobalKind::IFunc => 3,
        });
        runs.into_iter().flat_map(move |(_, run)| {
            let values = globals.get(run.clone()).unwrap_or(&[]);
            run.zip(values).map(|(id, g)| (id as u32, g))
        })
    }

    /// The module's constants.
    pub fn constants(&self) -> Result<&Constants> {
        get_or_try(&self.constants, || Constants::read(self.module))
    }

    /// The module's types.
    pub fn types(&self) -> Result<&TypeTable> {
        get_or_try(&self.types, || TypeTable::read(self.module))
    }

    /// The global with an IR name.
    pub fn named(&self, name: &[u8]) -> Option<(u32, &'m GlobalValue<'a>)> {
        let map = self.by_name.get_or_init(|| {
            // Of several of a name, which no writer makes, the first is meant.
            let all = self.module.globals.iter().enumerate().rev();
            all.filter(|(_, g)| !g.name.is_empty()).map(|(id, g)| (&*g.name, id as u32)).collect()
        });
        let id = *map.get(name)?;
        Some((id, self.module.globals.get(id as usize)?))
    }

    /// The bytes that a value of a type takes in memory.
    ///
    /// # Errors
    /// Those of [`DataLayout::alloc_size`].
    pub fn alloc_size(&self, ty: u32) -> Result<u64> {
        self.layout().alloc_size(self.types()?, ty, &mut self.sizes.borrow_mut())
    }

    /// The module's metadata.
    pub fn metadata(&self) -> Result<&Metadata<'a>> {
        get_or_try(&self.metadata, || Metadata::read(self.module))
    }

    /// The module's layout.
    pub fn layout(&self) -> &DataLayout {
        self.layout.get_or_init(|| DataLayout::parse(&self.module.data_layout))
    }

    /// The function, variable or ifunc that a global is or stands for (`getAliaseeObject`); None
    /// where an alias leads to none.
    ///
    /// # Errors
    /// Malformed constants.
    pub fn base_object(&self, id: u32) -> Result<Option<&'m GlobalValue<'a>>> {
        let mut next = u64::from(id);
        for _ in 0..MAX_STEPS {
            match self.module.globals.get(next as usize) {
                Some(g) if g.kind == GlobalKind::Alias => next = u64::from(g.operand),
                Some(g) => return Ok(Some(g)),
                None => match self.base_operand(next)? {
                    Some(operand) => next = operand,
                    None => return Ok(None),
                },
            }
        }
        Ok(None)
    }

    /// Whether an alias names a function itself, not by way of another alias or an address in it.
    ///
    /// # Errors
    /// Malformed constants.
    pub fn is_direct_alias_of_function(&self, alias: &GlobalValue<'_>) -> Result<bool> {
        let mut next = u64::from(alias.operand);
        for _ in 0..MAX_STEPS {
            if let Some(g) = self.module.globals.get(next as usize) {
                return Ok(g.kind == GlobalKind::Function);
            }
            // The bitcasts of typed pointers are no more than the value since LLVM 17.
            match self.constants()?.get(next) {
                Some(c) if c.code == code::CE_CAST && c.fields.first() == Some(&BITCAST) => {
                    let Some(&operand) = c.fields.get(2) else { return Ok(false) };
                    next = operand;
                }
                _ => return Ok(false),
            }
        }
        Ok(false)
    }

    /// One step of `findBaseObject` through a constant expression.
    fn base_operand(&self, value: u64) -> Result<Option<u64>> {
        let constants = self.constants()?;
        let Some(constant) = constants.get(value) else { return Ok(None) };
        Ok(match constant.code {
            code::CE_CAST
            | code::CE_GEP
            | code::CE_GEP_OLD
            | code::CE_INBOUNDS_GEP
            | code::CE_GEP_WITH_INRANGE
            | code::CE_GEP_WITH_INRANGE_INDEX_OLD => constants.operands(constant).first().copied(),
            code::CE_BINOP => {
                // [opcode, left, right], where 0 is an addition and 1 a subtraction.
                let operands = constants.operands(constant);
                let (left, right) = (operands.first().copied(), operands.get(1).copied());
                let found = |v: Option<u64>| -> Result<Option<u64>> {
                    let Some(v) = v else { return Ok(None) };
                    Ok(constants.base_global(v).map(|g| g as u64))
                };
                match constant.fields.first() {
                    // Of two addresses neither is the base.
                    Some(0) => match (found(left)?, found(right)?) {
                        (Some(_), Some(_)) => None,
                        (l, r) => l.or(r),
                    },
                    Some(1) if found(right)?.is_none() => left,
                    _ => None,
                }
            }
            _ => None,
        })
    }

    /// `getSymbolFlags`: bits of [`sf`].
    ///
    /// # Errors
    /// Malformed constants behind an alias.
    pub fn flags(&self, id: u32, g: &GlobalValue<'_>) -> Result<u32> {
        let mut flags = 0;
        if is_declaration_for_linker(g) {
            flags |= sf::UNDEFINED;
        } else if g.visibility == Visibility::Hidden && !g.linkage.is_local() {
            flags |= sf::HIDDEN;
        }
        let executable = match g.kind {
            GlobalKind::Function | GlobalKind::IFunc => true,
            GlobalKind::Variable => false,
            GlobalKind::Alias => self
                .base_object(id)?
                .is_some_and(|o| matches!(o.kind, GlobalKind::Function | GlobalKind::IFunc)),
        };
        if executable {
            flags |= sf::EXECUTABLE;
        }
        match g.kind {
            GlobalKind::Alias => flags |= sf::INDIRECT,
            GlobalKind::Variable if g.is_constant => flags |= sf::CONST,
            _ => {}
        }
        match g.linkage {
            Linkage::Private => flags |= sf::FORMAT_SPECIFIC,
            Linkage::Internal => {}
            Linkage::Common => flags |= sf::GLOBAL | sf::COMMON,
            Linkage::LinkOnceAny
            | Linkage::LinkOnceOdr
            | Linkage::WeakAny
            | Linkage::WeakOdr
            | Linkage::ExternalWeak => flags |= sf::GLOBAL | sf::WEAK,
            Linkage::External | Linkage::AvailableExternally | Linkage::Appending => {
                flags |= sf::GLOBAL;
            }
        }
        if self.is_format_specific(g) {
            flags |= sf::FORMAT_SPECIFIC;
        }
        Ok(flags)
    }

    /// Not for the linker by its name or section.
    pub fn is_format_specific(&self, g: &GlobalValue<'_>) -> bool {
        g.linkage == Linkage::Private
            || g.name.starts_with(b"llvm.")
            || (g.kind == GlobalKind::Variable
                && g.section != 0
                && self.module.section_of(g) == b"llvm.metadata")
    }

    /// Appends the symbol name, with `__imp_` where it is imported from a DLL.
    ///
    /// # Errors
    /// Malformed types, where the name needs the size of a function's arguments.
    pub fn name(
        &self,
        mangler: &mut Mangler,
        id: u32,
        g: &GlobalValue<'_>,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let count = self.byte_count(id, g)?;
        mangler.mangle(out, id, &g.name, g.linkage, g.dll_storage, count);
        Ok(())
    }

    /// As [`Globals::name`], without `__imp_`.
    ///
    /// # Errors
    /// As there.
    pub fn plain_name(
        &self,
        mangler: &mut Mangler,
        id: u32,
        g: &GlobalValue<'_>,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let count = self.byte_count(id, g)?;
        mangler.mangle_plain(out, id, &g.name, g.linkage, count);
        Ok(())
    }

    /// Whether the calling convention leaves the name alone; of an alias it is not asked.
    pub fn has_plain_convention(&self, g: &GlobalValue<'_>) -> bool {
        match g.kind {
            GlobalKind::Function => {
                !matches!(g.calling_conv, X86_VECTORCALL | X86_STDCALL | X86_FASTCALL)
            }
            GlobalKind::Alias => !self.mangling.keeps_question_mark(),
            _ => true,
        }
    }

    /// The global that an operand is through casts alone (`stripPointerCasts`), which does not
    /// look through aliases.
    ///
    /// # Errors
    /// Malformed constants.
    pub fn constants_base(&self, value: u64) -> Result<Option<u32>> {
        if value < self.module.globals.len() as u64 {
            return Ok(Some(value as u32));
        }
        Ok(self.constants()?.base_global(value).map(|id| id as u32))
    }

    fn byte_count(&self, id: u32, g: &GlobalValue<'_>) -> Result<Option<ByteCount>> {
        let mode = self.mangling;
        let stdcall_counts = mode == Mangling::WinCoffX86;
        // A vectorcall function is rare, and without one nothing below can matter.
        let concerns = |conv| match conv {
            X86_VECTORCALL => true,
            X86_STDCALL | X86_FASTCALL => stdcall_counts,
            _ => false,
        };
        let function = match g.kind {
            GlobalKind::Function => g,
            GlobalKind::Alias if stdcall_counts || mode == Mangling::WinCoff => {
                match self.base_object(id)? {
                    Some(f) if f.kind == GlobalKind::Function => f,
                    _ => return Ok(None),
                }
            }
            _ => return Ok(None),
        };
        if !concerns(function.calling_conv)
            || g.name.starts_with(b"\x01")
            || (mode.keeps_question_mark() && g.name.starts_with(b"?"))
        {
            return Ok(None);
        }
        let bytes = self.argument_bytes(function)?;
        Ok(Some(ByteCount { calling_conv: function.calling_conv, bytes }))
    }

    /// The sum over the arguments of their sizes, each rounded up to a pointer's; None for a
    /// variadic function with parameters of its own.
    fn argument_bytes(&self, f: &GlobalValue<'_>) -> Result<Option<u64>> {
        let types = self.types()?;
        let Type::Function { vararg, parameters, .. } = types.get(self.value_type(f)?)? else {
            return Err(Error::malformed("function without a function type").at_bit(f.record_bit));
        };
        let attrs = get_or_try(&self.attrs, || ParamAttrs::read(self.module))?;
        let first_is_sret = attrs.is_sret(f.attributes, 0);
        let sole_sret = parameters.len() == 1 && first_is_sret;
        if *vararg && !parameters.is_empty() && !sole_sret {
            return Ok(None);
        }
        let pointer = self.layout().pointer_size(0).max(1);
        let mut total = 0u64;
        for (i, &ty) in parameters.iter().enumerate() {
            if attrs.is_sret(f.attributes, i) {
                continue;
            }
            let ty = match attrs.by_value(f.attributes, i) {
                Some(Some(pointee)) => pointee,
                // LLVM 14's typed pointers say it themselves.
                Some(None) => match types.get(ty)? {
                    Type::Pointer { pointee: Some(pointee), .. } => *pointee,
                    _ => ty,
                },
                None => ty,
            };
            let size = self.alloc_size(ty)?;
            let size = size.checked_next_multiple_of(pointer);
            total = size
                .and_then(|s| total.checked_add(s))
                .ok_or_else(|| Error::malformed("arguments larger than the address space"))?;
        }
        Ok(Some(total))
    }

    /// The id of a global's own type.
    ///
    /// # Errors
    /// Malformed where an old record names a type that is no pointer.
    pub fn value_type(&self, g: &GlobalValue<'_>) -> Result<u32> {
        if g.explicit_type {
            // Before opaque pointers a function's record may still name the pointer to its type.
            if g.kind == GlobalKind::Function
                && let Type::Pointer { pointee: Some(pointee), .. } =
                    self.types()?.get(g.type_id)?
            {
                return Ok(*pointee);
            }
            return Ok(g.type_id);
        }
        match self.types()?.get(g.type_id)? {
            Type::Pointer { pointee: Some(pointee), .. } => Ok(*pointee),
            _ => Err(Error::malformed("global whose type is no pointer").at_bit(g.record_bit)),
        }
    }

    /// The globals in `llvm.used` and `llvm.compiler.used`, by value id.
    ///
    /// # Errors
    /// Malformed constants.
    pub fn used(&self) -> Result<Vec<u32>> {
        let mut used = Vec::new();
        for g in &self.module.globals {
            let list = matches!(&*g.name, b"llvm.used" | b"llvm.compiler.used");
            if list && g.kind == GlobalKind::Variable && g.operand != 0 {
                let ids = self.constants()?.globals_in_array(u64::from(g.operand - 1))?;
                used.extend(ids.into_iter().map(|id| id as u32));
            }
        }
        used.sort_unstable();
        used.dedup();
        Ok(used)
    }
}

fn get_or_try<T>(cell: &OnceCell<T>, make: impl FnOnce() -> Result<T>) -> Result<&T> {
    if let Some(value) = cell.get() {
        return Ok(value);
    }
    let value = make()?;
    Ok(cell.get_or_init(|| value))
}

/// No definition that an object file of this module would have (`isDeclarationForLinker`).
#[inline]
pub fn is_declaration_for_linker(g: &GlobalValue<'_>) -> bool {
    g.is_declaration || g.linkage == Linkage::AvailableExternally
}

/// `canBeOmittedFromSymbolTable`.
pub fn can_be_omitted(g: &GlobalValue<'_>) -> bool {
    g.linkage == Linkage::LinkOnceOdr
        && (g.unnamed_addr == UnnamedAddr::Global
            || (g.unnamed_addr == UnnamedAddr::Local
                && (g.kind != GlobalKind::Variable || g.is_constant)))
}
