//! How the record of a global value says what an edit wants.
//!
//! In: a record's code and fields, and a [`GlobalEdit`]. Out: the new code and fields. It knows
//! the order of the fields (from [`crate::bitcode::field`]) and nothing of the module around.
//!
//! Records of older writers, and GLOBALVAR's short form, end early; what is set beyond their end
//! makes them longer, with the zeros that the reader assumes.

use super::{Fate, GlobalEdit};
use crate::bitcode::field::{alias, function, ifunc, variable};
use crate::bitcode::{GlobalKind, Module, module_code};
use crate::bitstream::{BlockInfo, BlockReader, Entry, Record};
use crate::error::{Error, Result};
use crate::ir::{DllStorage, Linkage, UnnamedAddr, Visibility};

/// How many fields the name takes at the front of each record.
const NAME: usize = 2;

/// A record in the making.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GlobalRecord {
    /// Which kind it is; [`Fate::Declare`] changes it for an alias.
    pub kind: GlobalKind,
    /// All fields, the name's two first.
    pub fields: Vec<u64>,
}

/// The records of all global values as they stand, by value id: an alias needs its aliasee's.
pub(super) fn originals(module: &Module<'_>) -> Result<Vec<GlobalRecord>> {
    let mut reader =
        BlockReader::new(module.location.data, &module.location.block, &BlockInfo::default());
    let mut record = Record::new();
    let mut found: Vec<GlobalRecord> = Vec::with_capacity(module.globals.len());
    while found.len() < module.globals.len() {
        match reader.next(&mut record)? {
            Entry::End { .. } => break,
            Entry::Record => {
                if let Some(kind) = kind_of(record.code) {
                    found.push(GlobalRecord { kind, fields: record.fields.clone() });
                }
            }
            _ => {}
        }
    }
    if found.len() != module.globals.len() {
        return Err(Error::malformed("the module's global values changed while reading"));
    }
    Ok(found)
}

/// Which kind of global value a record of this code is.
pub(super) fn kind_of(code: u32) -> Option<GlobalKind> {
    match code {
        module_code::FUNCTION => Some(GlobalKind::Function),
        module_code::GLOBALVAR => Some(GlobalKind::Variable),
        module_code::ALIAS | module_code::ALIAS_OLD => Some(GlobalKind::Alias),
        module_code::IFUNC => Some(GlobalKind::IFunc),
        _ => None,
    }
}

/// What an alias stands for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Aliasee<'r> {
    /// The record of the function or variable at the end of it.
    pub record: Option<&'r GlobalRecord>,
    /// The alias's own type is a function's.
    pub is_function: bool,
}

/// Where a kind of record has a property; `None` where it cannot have it.
struct Layout {
    linkage: usize,
    visibility: usize,
    dll_storage: Option<usize>,
    unnamed_addr: Option<usize>,
    comdat: Option<usize>,
    dso_local: usize,
    /// Offset of its name; its length follows.
    partition: usize,
}

const FUNCTION: Layout = Layout {
    linkage: function::LINKAGE,
    visibility: function::VISIBILITY,
    dll_storage: Some(function::DLL_STORAGE),
    unnamed_addr: Some(function::UNNAMED_ADDR),
    comdat: Some(function::COMDAT),
    dso_local: function::DSO_LOCAL,
    partition: function::PARTITION_OFFSET,
};

const VARIABLE: Layout = Layout {
    linkage: variable::LINKAGE,
    visibility: variable::VISIBILITY,
    dll_storage: Some(variable::DLL_STORAGE),
    unnamed_addr: Some(variable::UNNAMED_ADDR),
    comdat: Some(variable::COMDAT),
    dso_local: variable::DSO_LOCAL,
    partition: variable::PARTITION_OFFSET,
};

const ALIAS: Layout = Layout {
    linkage: alias::LINKAGE,
    visibility: alias::VISIBILITY,
    dll_storage: Some(alias::DLL_STORAGE),
    unnamed_addr: Some(alias::UNNAMED_ADDR),
    comdat: None,
    dso_local: alias::DSO_LOCAL,
    partition: alias::PARTITION_OFFSET,
};

const IFUNC: Layout = Layout {
    linkage: ifunc::LINKAGE,
    visibility: ifunc::VISIBILITY,
    dll_storage: None,
    unnamed_addr: None,
    comdat: None,
    dso_local: ifunc::DSO_LOCAL,
    partition: ifunc::PARTITION_OFFSET,
};

impl GlobalRecord {
    fn layout(&self) -> &'static Layout {
        match self.kind {
            GlobalKind::Function => &FUNCTION,
            GlobalKind::Variable => &VARIABLE,
            GlobalKind::Alias => &ALIAS,
            GlobalKind::IFunc => &IFUNC,
        }
    }

    /// A nameless record in which everything is zero.
    pub fn empty(kind: GlobalKind) -> Self {
        GlobalRecord { kind, fields: Vec::new() }.start(kind)
    }

    /// The record's code.
    pub fn code(&self) -> u32 {
        match self.kind {
            GlobalKind::Function => module_code::FUNCTION,
            GlobalKind::Variable => module_code::GLOBALVAR,
            GlobalKind::Alias => module_code::ALIAS,
            GlobalKind::IFunc => module_code::IFUNC,
        }
    }

    /// The field at a position behind the name; 0 where the record ends before it.
    pub fn get(&self, position: usize) -> u64 {
        self.fields.get(NAME + position).copied().unwrap_or(0)
    }

    /// Sets a field. A zero behind the end is already said by the end.
    pub fn set(&mut self, position: usize, value: u64) {
        let index = NAME + position;
        if index >= self.fields.len() {
            if value == 0 {
                return;
            }
            self.fields.resize(index + 1, 0);
        }
        if let Some(field) = self.fields.get_mut(index) {
            *field = value;
        }
    }

    /// Names it anew: offset and length in the string table.
    pub fn set_name(&mut self, name: [u64; NAME]) {
        for (field, value) in self.fields.iter_mut().zip(name) {
            *field = value;
        }
    }

    /// Names its partition anew, where it has one.
    pub fn set_partition(&mut self, name: [u64; NAME]) {
        let partition = NAME + self.layout().partition;
        for (field, value) in self.fields.iter_mut().skip(partition).zip(name) {
            *field = value;
        }
    }

    /// Does what `edit` says.
    pub fn apply(&mut self, edit: &GlobalEdit, aliasee: Aliasee<'_>) {
        match edit.fate {
            Fate::Keep => {}
            Fate::Declare => self.declare(aliasee),
        }
        let layout = self.layout();
        let mut linkage = edit.linkage;
        if edit.fate == Fate::Declare {
            linkage = linkage.or(match Linkage::from_record(self.get(layout.linkage)) {
                Linkage::ExternalWeak => None,
                _ => Some(Linkage::External),
            });
        }
        if let Some(linkage) = linkage {
            self.set(layout.linkage, linkage.to_record());
            if linkage.is_local() {
                self.set(layout.visibility, 0);
                self.set_optional(layout.dll_storage, 0);
                self.set(layout.dso_local, 1);
            }
        }
        if let Some(visibility) = edit.visibility {
            self.set(layout.visibility, visibility_code(visibility));
        }
        if let Some(dll_storage) = edit.dll_storage {
            self.set_optional(layout.dll_storage, dll_storage_code(dll_storage));
        }
        if let Some(dso_local) = edit.dso_local {
            self.set(layout.dso_local, u64::from(dso_local));
        }
        if let Some(unnamed_addr) = edit.unnamed_addr {
            self.set_optional(layout.unnamed_addr, unnamed_addr_code(unnamed_addr));
        }
        if edit.clear_comdat || linkage == Some(Linkage::AvailableExternally) {
            self.set_optional(layout.comdat, 0);
        }
    }

    fn set_optional(&mut self, position: Option<usize>, value: u64) {
        if let Some(position) = position {
            self.set(position, value);
        }
    }

    fn declare(&mut self, aliasee: Aliasee<'_>) {
        match self.kind {
            GlobalKind::Function => {
                self.set(function::IS_PROTO, 1);
                for position in [
                    function::SECTION,
                    function::PROLOGUE_DATA,
                    function::COMDAT,
                    function::PREFIX_DATA,
                    function::PERSONALITY,
                ] {
                    self.set(position, 0);
                }
            }
            GlobalKind::Variable => {
                self.set(variable::INIT_ID, 0);
                self.set(variable::COMDAT, 0);
            }
            GlobalKind::Alias if !aliasee.is_function => self.declare_as_variable(),
            GlobalKind::Alias | GlobalKind::IFunc => self.declare_as_function(aliasee),
        }
    }

    fn declare_as_function(&mut self, aliasee: Aliasee<'_>) {
        let mut new = self.start(GlobalKind::Function);
        new.set(function::ADDR_SPACE, self.get(alias::ADDR_SPACE));
        new.set(function::TYPE, self.get(alias::TYPE));
        new.set(function::IS_PROTO, 1);
        // A call by another convention than the callee's is undefined, so a declaration in an
        // alias's place must have its aliasee's. Attributes only fit the same parameters. The
        // resolver of an ifunc has nothing to do with its calls.
        let function = aliasee.record.filter(|a| a.kind == GlobalKind::Function);
        if let Some(of) = function.filter(|_| self.kind == GlobalKind::Alias) {
            new.set(function::CALLING_CONV, of.get(function::CALLING_CONV));
            if of.get(function::TYPE) == self.get(alias::TYPE) {
                new.set(function::PARAM_ATTR, of.get(function::PARAM_ATTR));
            }
        }
        self.take_over(new);
    }

    fn declare_as_variable(&mut self) {
        let mut new = self.start(GlobalKind::Variable);
        new.set(variable::TYPE, self.get(alias::TYPE));
        // Bit 1: the type is the value's own.
        new.set(variable::IS_CONST, 2 | self.get(alias::ADDR_SPACE) << 2);
        new.set(variable::THREAD_LOCAL, self.get(alias::THREAD_LOCAL));
        self.take_over(new);
    }

    /// An alias becomes a copy of what it stands for, under its own name and linkage.
    pub fn become_copy(&mut self, of: &GlobalRecord) {
        let mut new = self.start(of.kind);
        new.fields.truncate(NAME);
        new.fields.extend(of.fields.iter().skip(NAME));
        self.take_over(new);
    }

    /// A record of `kind` with this one's name and all that is always there.
    fn start(&self, kind: GlobalKind) -> GlobalRecord {
        let mut fields: Vec<u64> = self.fields.iter().take(NAME).copied().collect();
        let least = match kind {
            GlobalKind::Function => function::VISIBILITY,
            GlobalKind::Variable => variable::SECTION,
            GlobalKind::Alias | GlobalKind::IFunc => alias::LINKAGE,
        };
        fields.resize(NAME + least + 1, 0);
        GlobalRecord { kind, fields }
    }

    /// Takes the place of this record and keeps what is the name's own: linkage, visibility,
    /// DLL storage class, whether it is local and whether the address matters.
    fn take_over(&mut self, mut new: GlobalRecord) {
        let (from, to) = (self.layout(), new.layout());
        new.set(to.linkage, self.get(from.linkage));
        new.set(to.visibility, self.get(from.visibility));
        new.set(to.dso_local, self.get(from.dso_local));
        let optional = |position: Option<usize>| position.map_or(0, |p| self.get(p));
        new.set_optional(to.dll_storage, optional(from.dll_storage));
        new.set_optional(to.unnamed_addr, optional(from.unnamed_addr));
        *self = new;
    }
}

fn visibility_code(visibility: Visibility) -> u64 {
    match visibility {
        Visibility::Default => 0,
        Visibility::Hidden => 1,
        Visibility::Protected => 2,
    }
}

fn dll_storage_code(dll_storage: DllStorage) -> u64 {
    match dll_storage {
        DllStorage::None => 0,
        DllStorage::Import => 1,
        DllStorage::Export => 2,
    }
}

/// In a record, 1 is global and 2 is local.
fn unnamed_addr_code(unnamed_addr: UnnamedAddr) -> u64 {
    match unnamed_addr {
        UnnamedAddr::None => 0,
        UnnamedAddr::Global => 1,
        UnnamedAddr::Local => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(fields: &[u64]) -> GlobalRecord {
        GlobalRecord { kind: GlobalKind::Variable, fields: fields.to_vec() }
    }

    #[test]
    fn a_short_variable_grows_for_what_is_behind_its_end() {
        // name, type, constant, initializer, internal, alignment, section
        let mut record = variable(&[0, 4, 7, 3, 9, 3, 1, 0]);
        record.apply(&GlobalEdit::default(), Aliasee::default());
        assert_eq!(record.fields.len(), 8);
        let edit = GlobalEdit { dso_local: Some(true), ..GlobalEdit::default() };
        record.apply(&edit, Aliasee::default());
        assert_eq!(record.fields.len(), NAME + variable::DSO_LOCAL + 1);
        assert_eq!(record.get(variable::DSO_LOCAL), 1);
        assert_eq!(record.get(variable::COMDAT), 0);
    }

    #[test]
    fn a_declaration_is_external_unless_it_is_weak() {
        let mut record = variable(&[0, 4, 7, 3, 9, 16, 1, 0]);
        let edit = GlobalEdit { fate: Fate::Declare, ..GlobalEdit::default() };
        record.apply(&edit, Aliasee::default());
        assert_eq!(record.get(variable::LINKAGE), Linkage::External.to_record());
        assert_eq!(record.get(variable::INIT_ID), 0);
        let mut record = variable(&[0, 4, 7, 3, 0, 7, 1, 0]);
        record.apply(&edit, Aliasee::default());
        assert_eq!(record.get(variable::LINKAGE), Linkage::ExternalWeak.to_record());
    }

    #[test]
    fn local_linkage_takes_visibility_with_it() {
        let mut fields = vec![0, 4, 7, 0, 0, 16, 0, 0, 0, 1];
        fields.resize(NAME + function::DSO_LOCAL + 1, 0);
        fields[NAME + function::DLL_STORAGE] = 2;
        let mut record = GlobalRecord { kind: GlobalKind::Function, fields };
        let edit = GlobalEdit { linkage: Some(Linkage::Internal), ..GlobalEdit::default() };
        record.apply(&edit, Aliasee::default());
        assert_eq!(record.get(function::VISIBILITY), 0);
        assert_eq!(record.get(function::DLL_STORAGE), 0);
        assert_eq!(record.get(function::DSO_LOCAL), 1);
    }

    #[test]
    fn an_alias_becomes_a_declaration_of_its_aliasees_convention() {
        let mut of = GlobalRecord { kind: GlobalKind::Function, fields: vec![0; 12] };
        of.set(function::TYPE, 9);
        of.set(function::CALLING_CONV, 8);
        of.set(function::PARAM_ATTR, 5);
        // name, type, address space, aliasee, weak_odr, hidden, -, -, unnamed, dso_local
        let mut record = GlobalRecord {
            kind: GlobalKind::Alias,
            fields: vec![3, 2, 9, 0, 1, 17, 1, 0, 0, 1, 1],
        };
        let edit = GlobalEdit { fate: Fate::Declare, ..GlobalEdit::default() };
        record.apply(&edit, Aliasee { record: Some(&of), is_function: true });
        assert_eq!(record.code(), module_code::FUNCTION);
        assert_eq!(record.fields[..NAME], [3, 2]);
        assert_eq!(record.get(function::TYPE), 9);
        assert_eq!(record.get(function::IS_PROTO), 1);
        assert_eq!(record.get(function::CALLING_CONV), 8);
        assert_eq!(record.get(function::PARAM_ATTR), 5);
        assert_eq!(record.get(function::VISIBILITY), 1);
        assert_eq!(record.get(function::DSO_LOCAL), 1);
        assert_eq!(record.get(function::UNNAMED_ADDR), 1);
    }
}
