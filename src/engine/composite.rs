//! One `llvm::Linker` for all that becomes a part of a module.
//!
//! In: a module, then modules of the same context to link into it. Out: the first with all the
//! others in it. Knows nothing of where modules come from, nor of merging by resolutions (`mover`),
//! for which it only keeps the object.
//!
//! `LLVMLinkModules2` makes a `Linker` for each call, which goes through every instruction of
//! the module so far to find the types in use: 3 % of all that libLLVM does for RocksDB, whose
//! modules import from ten others each. LLVM's own LTO keeps one. So does this file, where libLLVM exports
//! the class's two functions and its objects are found to be laid out as here:
//!
//! | word | field (IRMover.h, DenseMap.h of LLVM 14 to 22) |
//! |---|---|
//! | 0 | `Module &Composite` |
//! | 1 to 3 | `IdentifiedStructTypes.OpaqueStructTypes`: buckets of 8 bytes |
//! | 4 to 6 | `IdentifiedStructTypes.NonOpaqueStructTypes`: buckets of 8 bytes |
//! | 7 to 9 | `SharedMDs`: buckets of 16 bytes |
//! | 10 to 12 | `NamedMDNodes`, in LLVM 22 but not in 19: buckets of 96 bytes |
//!
//! A `DenseMap` is a pointer to its buckets and three 32-bit numbers: entries, tombstones, buckets.
//!
//! The class has no destructor that could be called; its tables are given back when the
//! context is gone, since until then metadata knows the places in them that mention it. What a
//! bucket of `NamedMDNodes` has outside of it is lost: some hundred bytes for a name with more
//! than eight nodes.

#![allow(unsafe_code)]

use super::api::{Api, Module};
use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;

/// Room for a `Linker`, in words: more than any version's, so that it shows if one is larger.
const ROOM: usize = 64;
/// What [`ROOM`] is filled with before.
const UNTOUCHED: u64 = 0xa5a5_a5a5_a5a5_a5a5;
/// First word of each table, and how large its buckets are in bytes.
const TABLES: [(usize, usize); 4] = [(1, 8), (4, 8), (7, 16), (10, 96)];
/// How many of them every version has.
const OLD_TABLES: usize = 3;

/// A `Linker`. Must be dropped after the context of its module.
pub(super) struct Composite {
    api: Arc<Api>,
    /// Where it lives: it must not move.
    object: Box<[u64; ROOM]>,
    /// It is laid out as this file says. Otherwise its tables stay for ever.
    is_known: bool,
}

/// An empty `std::function` of libstdc++: the last but one word, the manager, is null.
type EmptyFunction = [usize; 4];

impl Composite {
    /// A linker into this module; `None` where libLLVM offers none.
    ///
    /// # Safety
    /// `module` is alive, and no other becomes a part of it but through what is returned.
    pub(super) unsafe fn new(api: &Arc<Api>, module: *mut Module) -> Option<Composite> {
        let construct = api.f._ZN4llvm6LinkerC1ERNS_6ModuleE?;
        let object = Box::new([UNTOUCHED; ROOM]);
        let mut composite = Composite { api: api.clone(), object, is_known: false };
        // SAFETY: a constructor takes `this` and its arguments as a C function would; there is
        // more than enough room for the object.
        unsafe { construct(composite.object.as_mut_ptr().cast(), module) };
        composite.is_known = composite.looks_known(module);
        Some(composite)
    }

    /// The object, which is an `IRMover` in the first place.
    pub(super) fn mover(&mut self) -> *mut c_void {
        self.object.as_mut_ptr().cast()
    }

    /// Whether the object is laid out as this file says.
    fn looks_known(&self, module: *mut Module) -> bool {
        let untouched = |from: usize| {
            self.object.get(from..).is_some_and(|rest| rest.iter().all(|word| *word == UNTOUCHED))
        };
        let tables = match untouched(10) {
            true => OLD_TABLES,
            false => TABLES.len(),
        };
        self.object.first() == Some(&(module.expose_provenance() as u64))
            && untouched(13)
            && TABLES
                .iter()
                .take(tables)
                .all(|&(at, _)| self.table(at).is_some_and(|it| it.is_sane()))
    }

    fn table(&self, at: usize) -> Option<Table> {
        let &[start, first, second] = self.object.get(at..at + 3)? else { return None };
        Some(Table {
            start,
            entries: first as u32,
            tombstones: (first >> 32) as u32,
            buckets: second as u32,
        })
    }

    /// Links `source` into the module; true on error, of which the context's handler was told.
    /// `None`, and nothing is done, where another way costs less than tables that stay for ever.
    ///
    /// # Safety
    /// The module and its context are alive. `source` is of the same context; it is consumed.
    pub(super) unsafe fn link(&mut self, source: *mut Module) -> Option<bool> {
        let f = &self.api.f;
        let link_in_module = f._ZN4llvm6Linker12linkInModuleESt10unique_ptrINS_6ModuleESt14default_deleteIS2_EEjSt8functionIFvRS2_RKNS_9StringSetINS_15MallocAllocatorEEEEE
            .filter(|_| self.is_known)?;
        let mut owner = source;
        let mut no_callback: EmptyFunction = [0; 4];
        // SAFETY: arguments whose classes have destructors are passed by their address (Itanium
        // C++ ABI, 3.1.2.3) and destroyed by the caller: the function object is empty before and
        // after, and a pointer that was not moved from still owns its module.
        unsafe {
            let failed = link_in_module(
                self.object.as_mut_ptr().cast(),
                &mut owner,
                0,
                no_callback.as_mut_ptr().cast(),
            );
            if !owner.is_null() {
                (f.LLVMDisposeModule)(owner);
            }
            Some(failed)
        }
    }
}

/// The words of a `DenseMap`.
struct Table {
    start: u64,
    entries: u32,
    tombstones: u32,
    buckets: u32,
}

impl Table {
    fn is_sane(&self) -> bool {
        let used = u64::from(self.entries) + u64::from(self.tombstones);
        match self.buckets {
            0 => self.start == 0 && used == 0,
            buckets => {
                self.start != 0
                    && self.start.is_multiple_of(8)
                    && buckets.is_power_of_two()
                    && used < u64::from(buckets)
            }
        }
    }
}

impl Drop for Composite {
    fn drop(&mut self) {
        let free = self.api.f._ZN4llvm17deallocate_bufferEPvmm.filter(|_| self.is_known);
        let Some(free) = free else { return };
        for (at, size) in TABLES {
            let Some(table) =
                self.table(at).filter(|table| table.start != 0 && table.start != UNTOUCHED)
            else {
                continue;
            };
            let bytes = size.saturating_mul(table.buckets as usize);
            // SAFETY: buckets that the table allocated with this size and alignment; the context
            // is gone, so nothing knows of them any more.
            unsafe {
                free(ptr::with_exposed_provenance_mut::<c_void>(table.start as usize), bytes, 8)
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Library;
    use crate::engine::diagnostics::{Diagnostics, Sink};

    /// A module with one variable, which is 0.
    fn module(api: &Api, context: *mut super::super::api::Context, variable: &str) -> *mut Module {
        let name = std::ffi::CString::new(variable).unwrap();
        // SAFETY: a live context, C strings.
        unsafe {
            let module = (api.f.LLVMModuleCreateWithNameInContext)(name.as_ptr(), context);
            let kind = (api.f.LLVMInt8TypeInContext)(context);
            let variable = (api.f.LLVMAddGlobal)(module, kind, name.as_ptr());
            (api.f.LLVMSetInitializer)(variable, (api.f.LLVMConstNull)(kind));
            module
        }
    }

    #[test]
    fn every_libllvm_has_the_linker_that_is_known() {
        let libraries = Library::find_all();
        assert!(!libraries.is_empty());
        for library in libraries {
            let named = library.version;
            let api = Api::load(&library.path, (named.major, named.minor, named.patch)).unwrap();
            let api = Arc::new(api);
            let list = Diagnostics::default();
            let sink = Sink::new(api.clone(), false, list.clone());
            // SAFETY: modules of one live context; it goes after them and before the linker.
            unsafe {
                let context = (api.f.LLVMContextCreate)();
                sink.attach(context);
                let into = module(&api, context, "a");
                let mut linker = Composite::new(&api, into).expect("no linker");
                for variable in ["b", "c"] {
                    assert_eq!(linker.link(module(&api, context, variable)), Some(false));
                    let name = std::ffi::CString::new(variable).unwrap();
                    assert!(!(api.f.LLVMGetNamedGlobal)(into, name.as_ptr()).is_null());
                }
                assert!(list.borrow().is_empty());
                let twice = linker.link(module(&api, context, "b"));
                assert_eq!(twice, Some(true), "two definitions");
                assert!(!list.borrow().is_empty());
                (api.f.LLVMDisposeModule)(into);
                (api.f.LLVMContextDispose)(context);
            }
        }
    }
}
