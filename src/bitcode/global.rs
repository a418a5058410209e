//! GLOBALVAR, FUNCTION, ALIAS and IFUNC records.
//!
//! In: one record and the module's string table. Out: a [`GlobalValue`]. The positions of fields
//! that rewriting needs are in [`field`], so that their order is written down once.
//!
//! Source: `parseGlobalVarRecord`, `parseFunctionRecord` and `parseGlobalIndirectSymbolRecord`
//! of LLVM's `BitcodeReader.cpp`. Since module version 2 (LLVM 5) each record starts with offset
//! and length of its name in the string table; before, names stand in the value symbol table.

use std::borrow::Cow;

use super::file::BitcodeModule;
use super::module_code;
use crate::bitstream::{Fields, Record};
use crate::error::Result;
use crate::ir::{DllStorage, Linkage, UnnamedAddr, Visibility};

/// Positions of fields behind the name (which takes two fields in module version 2).
#[allow(missing_docs)] // LLVM's names of the fields
pub mod field {
    /// `[type, isconst|explicit<<1|addrspace<<2, initid, linkage, alignment, section, visibility,
    /// threadlocal, unnamed_addr, externally_initialized, dllstorageclass, comdat, attributes,
    /// dso_local, partition offset, partition size, sanitizer, code_model]`. Up to and including
    /// the section are always there. LLVM writes a short form (six fields, by abbreviation) where
    /// the rest is default.
    pub mod variable {
        pub const TYPE: usize = 0;
        pub const IS_CONST: usize = 1;
        pub const INIT_ID: usize = 2;
        pub const LINKAGE: usize = 3;
        pub const ALIGNMENT: usize = 4;
        pub const SECTION: usize = 5;
        pub const VISIBILITY: usize = 6;
        pub const THREAD_LOCAL: usize = 7;
        pub const UNNAMED_ADDR: usize = 8;
        pub const EXTERNALLY_INITIALIZED: usize = 9;
        pub const DLL_STORAGE: usize = 10;
        pub const COMDAT: usize = 11;
        pub const ATTRIBUTES: usize = 12;
        pub const DSO_LOCAL: usize = 13;
        pub const PARTITION_OFFSET: usize = 14;
        pub const PARTITION_SIZE: usize = 15;
        pub const SANITIZER: usize = 16;
        pub const CODE_MODEL: usize = 17;
    }

    /// `[type, callingconv, isproto, linkage, paramattr, alignment, section, visibility, gc,
    /// unnamed_addr, prologuedata, dllstorageclass, comdat, prefixdata, personalityfn, dso_local,
    /// addrspace, partition offset, partition size]`; up to the visibility always there.
    pub mod function {
        pub const TYPE: usize = 0;
        pub const CALLING_CONV: usize = 1;
        pub const IS_PROTO: usize = 2;
        pub const LINKAGE: usize = 3;
        pub const PARAM_ATTR: usize = 4;
        pub const ALIGNMENT: usize = 5;
        pub const SECTION: usize = 6;
        pub const VISIBILITY: usize = 7;
        pub const GC: usize = 8;
        pub const UNNAMED_ADDR: usize = 9;
        pub const PROLOGUE_DATA: usize = 10;
        pub const DLL_STORAGE: usize = 11;
        pub const COMDAT: usize = 12;
        pub const PREFIX_DATA: usize = 13;
        pub const PERSONALITY: usize = 14;
        pub const DSO_LOCAL: usize = 15;
        pub const ADDR_SPACE: usize = 16;
        pub const PARTITION_OFFSET: usize = 17;
        pub const PARTITION_SIZE: usize = 18;
    }

    /// `[type, addrspace, aliasee, linkage, visibility, dllstorageclass, threadlocal,
    /// unnamed_addr, dso_local, partition offset, partition size]`; up to the linkage always
    /// there. An ALIAS_OLD has no addrspace.
    pub mod alias {
        pub const TYPE: usize = 0;
        pub const ADDR_SPACE: usize = 1;
        pub const ALIASEE: usize = 2;
        pub const LINKAGE: usize = 3;
        pub const VISIBILITY: usize = 4;
        pub const DLL_STORAGE: usize = 5;
        pub const THREAD_LOCAL: usize = 6;
        pub const UNNAMED_ADDR: usize = 7;
        pub const DSO_LOCAL: usize = 8;
        pub const PARTITION_OFFSET: usize = 9;
        pub const PARTITION_SIZE: usize = 10;
    }

    /// `[type, addrspace, resolver, linkage, visibility, dso_local, partition offset, partition
    /// size]`; up to the linkage always there.
    pub mod ifunc {
        pub const TYPE: usize = 0;
        pub const ADDR_SPACE: usize = 1;
        pub const RESOLVER: usize = 2;
        pub const LINKAGE: usize = 3;
        pub const VISIBILITY: usize = 4;
        pub const DSO_LOCAL: usize = 5;
        pub const PARTITION_OFFSET: usize = 6;
        pub const PARTITION_SIZE: usize = 7;
    }
}

/// Which record a global value stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum GlobalKind {
    Function,
    Variable,
    Alias,
    IFunc,
}

/// A global value of a module. Its value id is its position among the module's globals.
#[derive(Clone, Debug)]
pub struct GlobalValue<'a> {
    /// The name as it stands in the IR, before mangling; empty for an unnamed value.
    /// Borrowed from the string table but in modules older than LLVM 5.
    pub name: Cow<'a, [u8]>,
    /// Which record it stands in.
    pub kind: GlobalKind,
    /// Its linkage.
    pub linkage: Linkage,
    /// Its visibility; always default where the linkage is local.
    pub visibility: Visibility,
    /// The DLL storage class.
    pub dll_storage: DllStorage,
    /// Whether its address matters.
    pub unnamed_addr: UnnamedAddr,
    /// The thread local mode's code, 0 where it is not thread local.
    pub thread_local: u8,
    /// Whether it has no body, no initializer. Aliases and ifuncs are never declarations.
    pub is_declaration: bool,
    /// A variable's constness.
    pub is_constant: bool,
    /// Whether the record says so, or linkage and visibility imply it (`inferDSOLocal`).
    pub dso_local: bool,
    /// Whether linkage alone puts it into a comdat of its own name, as old writers meant it.
    pub implicit_comdat: bool,
    /// The power of two of its alignment plus one; 0 where it has none.
    pub alignment: u8,
    /// The calling convention of a function.
    pub calling_conv: u32,
    /// 1 + the index of its section name; 0 for none.
    pub section: u32,
    /// 1 + the index of its comdat; 0 for none.
    pub comdat: u32,
    /// The type id: of the value where `explicit_type`, else of the pointer to it.
    pub type_id: u32,
    /// Whether `type_id` is the value's own type and not, as before LLVM 3.7, a pointer to it.
    pub explicit_type: bool,
    /// The address space, 0 where the record has none.
    pub address_space: u32,
    /// The attribute list (function) or set (variable): 1 + its index; 0 for none.
    pub attributes: u32,
    /// What it is made of: the initializer of a variable (1 + value id, 0 for none), the aliasee
    /// or resolver (value id); 0 for a function.
    pub operand: u32,
    /// The partition; mostly empty.
    pub partition: &'a [u8],
    /// Where its record starts, in bits.
    pub record_bit: u64,
}

impl<'a> GlobalValue<'a> {
    /// Decodes a record of one of the four kinds and appends it; any other is left alone.
    /// `has_strtab` says that the module's version is 2 and the record starts with its name.
    ///
    /// The value is filled in where it will stay: it is large, and a module has thousands. After
    /// an error the last value of `out` is not to be used.
    #[inline]
    pub fn read_onto(
        record: &Record<'_>,
        module: &BitcodeModule<'a>,
        has_strtab: bool,
        out: &mut Vec<Self>,
    ) -> Result<()> {
        let kind = match record.code {
            module_code::FUNCTION => GlobalKind::Function,
            module_code::GLOBALVAR => GlobalKind::Variable,
            module_code::ALIAS | module_code::ALIAS_OLD => GlobalKind::Alias,
            module_code::IFUNC => GlobalKind::IFunc,
            _ => return Ok(()),
        };
        out.push(Self::empty(kind, record));
        let Some(g) = out.last_mut() else { return Ok(()) };
        match kind {
            GlobalKind::Function => g.read_function(record, module, has_strtab),
            GlobalKind::Variable => g.read_variable(record, module, has_strtab),
            GlobalKind::Alias | GlobalKind::IFunc => g.read_indirect(record, module, has_strtab),
        }
    }

    /// How many fields a record of this code has up to its comdat, the name included: more than
    /// what symbols depend on stands there. None for codes that have no comdat.
    pub(super) fn fields_to_comdat(code: u32) -> Option<usize> {
        const NAME: usize = 2;
        match code {
            module_code::FUNCTION => Some(NAME + field::function::COMDAT + 1),
            module_code::GLOBALVAR => Some(NAME + field::variable::COMDAT + 1),
            _ => None,
        }
    }

    fn empty(kind: GlobalKind, record: &Record<'_>) -> Self {
        GlobalValue {
            name: Cow::Borrowed(&[]),
            kind,
            linkage: Linkage::External,
            visibility: Visibility::Default,
            dll_storage: DllStorage::None,
            unnamed_addr: UnnamedAddr::None,
            thread_local: 0,
            is_declaration: false,
            is_constant: false,
            dso_local: false,
            implicit_comdat: false,
            alignment: 0,
            calling_conv: 0,
            section: 0,
            comdat: 0,
            type_id: 0,
            explicit_type: true,
            address_space: 0,
            attributes: 0,
            operand: 0,
            partition: &[],
            record_bit: record.start,
        }
    }

    /// Linkage and what follows from its code; the caller then adds what the record says.
    #[inline(always)]
    fn set_linkage(&mut self, code: u64) {
        self.linkage = Linkage::from_record(code);
    }

    /// A value of local linkage always has default visibility, whatever old writers put there.
    #[inline(always)]
    fn set_visibility(&mut self, code: u64) {
        if !self.linkage.is_local() {
            self.visibility = Visibility::from_record(code);
        }
    }

    #[inline(always)]
    fn set_dll_storage(&mut self, field: Option<u64>, linkage_code: u64) {
        match field {
            Some(code) if !self.linkage.is_local() => {
                self.dll_storage = DllStorage::from_record(code);
            }
            Some(_) => {}
            None => {
                self.dll_storage =
                    Linkage::code_implies_dll_storage(linkage_code).unwrap_or_default();
            }
        }
    }

    #[inline(always)]
    fn set_comdat(&mut self, fields: &Fields<'_>, field: Option<u64>, code: u64) -> Result<()> {
        match field {
            Some(comdat) => self.comdat = narrow(fields, "comdat", comdat)?,
            None => self.implicit_comdat = Linkage::code_implies_comdat(code),
        }
        Ok(())
    }

    #[inline(always)]
    fn set_dso_local(&mut self, code: u64) {
        // LLVM infers it where the writer left it out.
        let implied = self.linkage.is_local()
            || (self.visibility != Visibility::Default && self.linkage != Linkage::ExternalWeak);
        self.dso_local = code == 1 || implied;
    }

    #[inline(always)]
    fn set_partition(&mut self, module: &BitcodeModule<'a>, offset: u64, size: u64) -> Result<()> {
        if size != 0 {
            self.partition = module.string(offset, size).map_err(|e| e.context("partition"))?;
        }
        Ok(())
    }

    #[inline(always)]
    fn read_name(
        &mut self,
        fields: &mut Fields<'_>,
        module: &BitcodeModule<'a>,
        has_strtab: bool,
    ) -> Result<()> {
        if has_strtab {
            let offset = fields.next("strtab offset")?;
            let size = fields.next("strtab size")?;
            let name = module.string(offset, size).map_err(|e| e.at_bit(self.record_bit))?;
            self.name = Cow::Borrowed(name);
        }
        Ok(())
    }

    fn read_function(
        &mut self,
        record: &Record<'_>,
        module: &BitcodeModule<'a>,
        has_strtab: bool,
    ) -> Result<()> {
        use field::function as at;
        let g = self;
        let mut f = Fields::new(record, "FUNCTION");
        g.read_name(&mut f, module, has_strtab)?;
        let mut padded = [0; at::COMDAT + 1];
        let (r, all) = behind_name(&mut f, &FUNCTION_REQUIRED, &mut padded)?;
        g.type_id = narrow(&f, "type", r[at::TYPE])?;
        g.calling_conv = narrow(&f, "calling convention", r[at::CALLING_CONV])?;
        g.is_declaration = r[at::IS_PROTO] != 0;
        let linkage = r[at::LINKAGE];
        g.set_linkage(linkage);
        g.attributes = narrow(&f, "paramattr", r[at::PARAM_ATTR])?;
        g.alignment = alignment(&f, r[at::ALIGNMENT])?;
        g.section = narrow(&f, "section", r[at::SECTION])?;
        g.set_visibility(r[at::VISIBILITY]);
        g.unnamed_addr = UnnamedAddr::from_record(r[at::UNNAMED_ADDR]);
        g.set_dll_storage((all.len() > at::DLL_STORAGE).then_some(r[at::DLL_STORAGE]), linkage);
        g.set_comdat(&f, (all.len() > at::COMDAT).then_some(r[at::COMDAT]), linkage)?;
        let late = |at: usize| all.get(at).copied().unwrap_or(0);
        g.set_dso_local(late(at::DSO_LOCAL));
        g.address_space = late(at::ADDR_SPACE) as u32;
        g.set_partition(module, late(at::PARTITION_OFFSET), late(at::PARTITION_SIZE))
    }

    fn read_variable(
        &mut self,
        record: &Record<'_>,
        module: &BitcodeModule<'a>,
        has_strtab: bool,
    ) -> Result<()> {
        use field::variable as at;
        let g = self;
        let mut f = Fields::new(record, "GLOBALVAR");
        g.read_name(&mut f, module, has_strtab)?;
        let mut padded = [0; at::COMDAT + 1];
        let (r, all) = behind_name(&mut f, &VARIABLE_REQUIRED, &mut padded)?;
        g.type_id = narrow(&f, "type", r[at::TYPE])?;
        let flags = r[at::IS_CONST];
        g.is_constant = flags & 1 != 0;
        g.explicit_type = flags & 2 != 0;
        g.address_space = if g.explicit_type { (flags >> 2) as u32 } else { 0 };
        g.operand = narrow(&f, "initializer", r[at::INIT_ID])?;
        g.is_declaration = g.operand == 0;
        let linkage = r[at::LINKAGE];
        g.set_linkage(linkage);
        g.alignment = alignment(&f, r[at::ALIGNMENT])?;
        g.section = narrow(&f, "section", r[at::SECTION])?;
        g.set_visibility(r[at::VISIBILITY]);
        g.thread_local = r[at::THREAD_LOCAL].min(255) as u8;
        g.unnamed_addr = UnnamedAddr::from_record(r[at::UNNAMED_ADDR]);
        g.set_dll_storage((all.len() > at::DLL_STORAGE).then_some(r[at::DLL_STORAGE]), linkage);
        g.set_comdat(&f, (all.len() > at::COMDAT).then_some(r[at::COMDAT]), linkage)?;
        let late = |at: usize| all.get(at).copied().unwrap_or(0);
        g.attributes = late(at::ATTRIBUTES) as u32;
        g.set_dso_local(late(at::DSO_LOCAL));
        g.set_partition(module, late(at::PARTITION_OFFSET), late(at::PARTITION_SIZE))
    }

    fn read_indirect(
        &mut self,
        record: &Record<'_>,
        module: &BitcodeModule<'a>,
        has_strtab: bool,
    ) -> Result<()> {
        let g = self;
        let name = if g.kind == GlobalKind::IFunc { "IFUNC" } else { "ALIAS" };
        let mut f = Fields::new(record, name);
        g.read_name(&mut f, module, has_strtab)?;
        g.type_id = f.next_u32("type")?;
        if record.code == module_code::ALIAS_OLD {
            g.explicit_type = false;
        } else {
            g.address_space = f.next_u32("address space")?;
        }
        g.operand = f.next_u32("aliasee")?;
        let linkage = f.next("linkage")?;
        g.set_linkage(linkage);
        g.set_visibility(f.next_or(0));
        if g.kind == GlobalKind::Alias {
            g.set_dll_storage(f.next_if_any(), linkage);
            g.thread_local = f.next_or(0).min(255) as u8;
            g.unnamed_addr = UnnamedAddr::from_record(f.next_or(0));
        }
        g.set_dso_local(f.next_or(0));
        let (offset, size) = (f.next_or(0), f.next_or(0));
        g.set_partition(module, offset, size)
    }

    /// The alignment in bytes; `None` where the record gives none.
    pub fn alignment_bytes(&self) -> Option<u64> {
        self.alignment.checked_sub(1).map(|log2| 1u64 << log2.min(63))
    }
}

const FUNCTION_REQUIRED: [&str; 8] = [
    "type",
    "calling convention",
    "isproto",
    "linkage",
    "paramattr",
    "alignment",
    "section",
    "visibility",
];
const VARIABLE_REQUIRED: [&str; 6] =
    ["type", "isconst", "initializer", "linkage", "alignment", "section"];

/// LLVM's largest exponent of an alignment (`Value::MaxAlignmentExponent`).
const MAX_ALIGNMENT_EXPONENT: u64 = 32;

/// The fields behind the name at the places of [`field`]: the first `N` of them, with zero for
/// those that an older writer did not know, and all that are there. `required` names those that
/// none leaves out.
#[inline(always)]
fn behind_name<'r, const N: usize>(
    fields: &mut Fields<'r>,
    required: &[&'static str],
    padded: &'r mut [u64; N],
) -> Result<(&'r [u64; N], &'r [u64])> {
    let all = fields.rest();
    if let Some(first) = all.first_chunk() {
        return Ok((first, all));
    }
    if let Some(missing) = required.get(all.len()) {
        return Err(fields.error(format_args!("no {missing}")));
    }
    for (place, field) in padded.iter_mut().zip(all) {
        *place = *field;
    }
    Ok((padded, all))
}

#[inline(always)]
fn alignment(fields: &Fields<'_>, value: u64) -> Result<u8> {
    if value > MAX_ALIGNMENT_EXPONENT + 1 {
        return Err(fields.error(format_args!("alignment of 2^{}", value - 1)));
    }
    Ok(value as u8)
}

#[inline(always)]
fn narrow(fields: &Fields<'_>, what: &str, value: u64) -> Result<u32> {
    u32::try_from(value).map_err(|_| fields.error(format_args!("{what} {value} is too large")))
}
