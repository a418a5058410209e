//! Modules merged as LLVM's resolution-based LTO does: by `IRMover`, with what it is to keep.
//!
//! In: the merged module, and one module after another with the names of its definitions that are
//! kept. Out: the merged module, whose global values stand in LLVM's order. Knows nothing of why a
//! definition is kept.
//!
//! The C API merges by `Linker`, which chooses among definitions by linkage, brings variables before
//! functions, and learns all types of the merged module anew for each module that is added.
//! `IRMover` is C++; libLLVM exports its two functions in all versions from 14 on, LLVM's LTO being
//! one of their callers. The ABI is Itanium's, where a reference, and an argument that has a
//! destructor, travel as the address, and a result that has one goes to a place that the caller
//! names (llvm/Linker/IRMover.h, llvm/ADT/FunctionExtras.h).

#![allow(unsafe_code)]

use super::api;
use super::composite::Composite;
use super::edit::Editor;
use super::{GlobalKind, Linkage};
use crate::error::{Error, Result};
use std::collections::HashSet;
use std::ffi::c_void;

/// `ArrayRef<GlobalValue *>`.
#[repr(C)]
pub(super) struct Values {
    start: *const *mut api::Value,
    count: usize,
}

/// A result that the callee writes to memory; more than two words are returned so by every ABI. Of
/// an `Error` the first word counts: the address of what went wrong, whose lowest bit is a mark.
#[repr(C)]
pub(super) struct InMemory([usize; 4]);

impl InMemory {
    /// Of an `Error`, the address.
    pub(super) fn first_word(&self) -> usize {
        self.0[0] & !1
    }
}

/// `IRMover::move(unique_ptr<Module>, ArrayRef<GlobalValue *>, callback, bool)`.
pub(super) type Move =
    unsafe extern "C" fn(*mut c_void, *mut *mut api::Module, Values, *mut c_void, bool) -> InMemory;

/// Room for a callback's object.
type Callback = [u128; 16];

/// Merges `source`, which is consumed in any case: those of its definitions that `keep` names,
/// variables that are appended to, and what these refer to and no other module can define.
/// What is available_externally is passed over where there is a definition.
///
/// # Errors
/// Unsupported, where this libLLVM does not export the class; what LLVM says.
pub(super) fn merge(
    composite: Option<&mut Composite>,
    into: &Editor<'_>,
    source: &Editor<'_>,
    keep: &HashSet<&str>,
) -> Result<()> {
    let api = into.api;
    let (Some(composite), Some(call)) = (composite, api.mover()) else {
        // SAFETY: a module that nothing refers to.
        unsafe { (api.f.LLVMDisposeModule)(source.module) };
        return Err(Error::unsupported(
            "this libLLVM does not export llvm::IRMover, by which LTO merges modules",
        ));
    };
    let mut values = Vec::new();
    let appending = source.values(GlobalKind::Variable);
    values.extend(appending.filter(|&value| source.linkage(value) == Linkage::Appending));
    // The order of LLVM's symbol tables (`ModuleSymbolTable::addModule`).
    let kinds = [GlobalKind::Function, GlobalKind::Variable, GlobalKind::Alias, GlobalKind::IFunc];
    for value in kinds.into_iter().flat_map(|kind| source.values(kind)) {
        let name = String::from_utf8_lossy(source.name(value));
        if keep.contains(&*name)
            && (source.linkage(value) != Linkage::AvailableExternally || !into.defines(&name))
        {
            values.push(value);
        }
    }
    let mut module = source.module;
    // An empty callback: nothing is added on the way.
    let mut callback: Callback = [0; 16];
    let values = Values { start: values.as_ptr(), count: values.len() };
    // SAFETY: the object was constructed; the values are of the source, which is of the same
    // context as the merged module. The callee leaves null in `module`.
    let failed = unsafe {
        call(composite.mover(), &raw mut module, values, (&raw mut callback).cast(), false)
    };
    match api.error_of(failed) {
        None => Ok(()),
        Some(text) => Err(Error::malformed(text)),
    }
}
