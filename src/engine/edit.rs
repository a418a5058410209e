//! Changes of a module through the C API.
//!
//! In: a module in memory and names of its global values. Out: the module changed, or listed.
//! Knows nothing of why.

#![allow(unsafe_code)]

use super::api::{self, Api};
use super::memprof;
use super::{Edit, GlobalInfo, GlobalKind, Linkage, UnnamedAddr, Visibility};
use crate::error::{Error, Result};
use std::ffi::{CStr, CString, c_int, c_uint};

/// A module being changed; all pointers are live.
pub(super) struct Editor<'a> {
    pub(super) api: &'a Api,
    pub(super) context: *mut api::Context,
    pub(super) module: *mut api::Module,
}

/// Linkages by the C API's numbers (`LLVMLinkage`), which have gaps for what LLVM dropped.
const LINKAGES: [(c_int, Linkage); 11] = [
    (0, Linkage::External),
    (1, Linkage::AvailableExternally),
    (2, Linkage::LinkOnceAny),
    (3, Linkage::LinkOnceOdr),
    (5, Linkage::WeakAny),
    (6, Linkage::WeakOdr),
    (7, Linkage::Appending),
    (8, Linkage::Internal),
    (9, Linkage::Private),
    (12, Linkage::ExternalWeak),
    (14, Linkage::Common),
];
const PRIVATE: c_int = 9;
const APPENDING: c_int = 7;
const COMMON: c_int = 14;

/// The members of `llvm.used` before names were added to it; `None`: it did not exist.
pub(super) struct OriginalUsed(Option<Vec<*mut api::Value>>);

/// The name of a declaration that is set aside; no linker and no compiler makes such.
fn aside(name: &str) -> String {
    format!("set aside: {name}")
}

impl Editor<'_> {
    /// Makes one change.
    pub(super) fn apply(&self, edit: &Edit) -> Result<()> {
        let f = &self.api.f;
        // SAFETY, for all calls here: values of the live module, found by name, and C strings or
        // ranges that LLVM copies.
        match edit {
            Edit::SetLinkage { name, linkage } => {
                let value = self.find(name)?;
                let code = LINKAGES.iter().find(|(_, l)| l == linkage).map_or(0, |(code, _)| *code);
                unsafe { (f.LLVMSetLinkage)(value, code) };
            }
            Edit::SetVisibility { name, visibility } => {
                let value = self.find(name)?;
                unsafe { (f.LLVMSetVisibility)(value, *visibility as c_int) };
            }
            Edit::SetUnnamedAddr { name, unnamed_addr } => {
                let value = self.find(name)?;
                // LLVMUnnamedAddr: none, local, global.
                let code = match unnamed_addr {
                    UnnamedAddr::None => 0,
                    UnnamedAddr::Local => 1,
                    UnnamedAddr::Global => 2,
                };
                unsafe { (f.LLVMSetUnnamedAddress)(value, code) };
            }
            Edit::AddFnAttr { name, attr } => {
                let function = self.function(name)?;
                let kind = unsafe {
                    (f.LLVMGetEnumAttributeKindForName)(attr.as_ptr().cast(), attr.len())
                };
                if kind == 0 {
                    return Err(Error::misuse(format!("LLVM has no attribute {attr}")));
                }
                // LLVMAttributeFunctionIndex is -1.
                unsafe {
                    let attribute = (f.LLVMCreateEnumAttribute)(self.context, kind, 0);
                    (f.LLVMAddAttributeAtIndex)(function, c_uint::MAX, attribute);
                }
            }
            Edit::SetAside { names } => {
                for name in names {
                    let declared = |value: &*mut api::Value| {
                        // SAFETY: a live value.
                        unsafe { (f.LLVMIsDeclaration)(*value) != 0 }
                    };
                    if let Some(value) = self.function(name).ok().filter(declared) {
                        self.rename(value, &aside(name));
                    }
                }
            }
            Edit::Supersede { names } => names.iter().for_each(|name| self.supersede(name)),
            Edit::EraseUnused { names } => names.iter().for_each(|name| self.erase_unused(name)),
            Edit::ZeroInitializer { name } => {
                let variable = self.variable(name)?;
                unsafe {
                    let zero = (f.LLVMConstNull)((f.LLVMGlobalGetValueType)(variable));
                    (f.LLVMSetInitializer)(variable, zero);
                }
            }
            Edit::ClearMetadata { name } => {
                let value = self.find(name)?;
                // Aliases have none, and LLVM casts without looking.
                unsafe {
                    if !(f.LLVMIsAGlobalObject)(value).is_null() {
                        (f.LLVMGlobalClearMetadata)(value);
                    }
                }
            }
            Edit::SetSource { name, module, file } => {
                let function = self.function(name)?;
                for (kind, text) in [(c"thinlto_src_module", module), (c"thinlto_src_file", file)] {
                    unsafe {
                        let len = kind.to_bytes().len() as c_uint;
                        let kind = (f.LLVMGetMDKindIDInContext)(self.context, kind.as_ptr(), len);
                        let start = text.as_ptr().cast();
                        let mut string =
                            (f.LLVMMDStringInContext2)(self.context, start, text.len());
                        let node = (f.LLVMMDNodeInContext2)(self.context, &mut string, 1);
                        (f.LLVMGlobalSetMetadata)(function, kind, node);
                    }
                }
            }
            Edit::ResolvePublicTypeTests { whole_program } => {
                self.answer_type_tests(c"llvm.public.type.test", *whole_program);
            }
            Edit::AssumeTypeTests => self.answer_type_tests(c"llvm.type.test", false),
            Edit::StripMemProf => memprof::strip(self),
            Edit::UpgradeVcallVisibility { except } => self.upgrade_vcall_visibility(except),
            Edit::SetTriple { triple } => {
                let triple = CString::new(triple.as_str())
                    .map_err(|_| Error::misuse("a triple holds a zero byte"))?;
                unsafe { (f.LLVMSetTarget)(self.module, triple.as_ptr()) };
            }
            Edit::SetIdentifier { identifier } => unsafe {
                (f.LLVMSetModuleIdentifier)(
                    self.module,
                    identifier.as_ptr().cast(),
                    identifier.len(),
                );
            },
            Edit::SetSourceFileName { name } => unsafe {
                (f.LLVMSetSourceFileName)(self.module, name.as_ptr().cast(), name.len());
            },
            Edit::AppendToCompilerUsed { names } => {
                let values =
                    names.iter().map(|name| self.find(name)).collect::<Result<Vec<_>>>()?;
                self.append_to_used(c"llvm.compiler.used", values);
            }
            Edit::ResizeCommon { name, size, align } => self.resize_common(name, *size, *align)?,
        }
        Ok(())
    }

    fn find(&self, name: &str) -> Result<*mut api::Value> {
        let f = &self.api.f;
        let missing = || Error::misuse(format!("the module has no global value {name}"));
        let c_name = CString::new(name).map_err(|_| missing())?;
        let (start, len) = (c_name.as_ptr(), name.len());
        // SAFETY: a live module and a C string with its length.
        unsafe {
            [
                (f.LLVMGetNamedFunction)(self.module, start),
                (f.LLVMGetNamedGlobal)(self.module, start),
                (f.LLVMGetNamedGlobalAlias)(self.module, start, len),
                (f.LLVMGetNamedGlobalIFunc)(self.module, start, len),
            ]
        }
        .into_iter()
        .find(|value| !value.is_null())
        .ok_or_else(missing)
    }

    fn function(&self, name: &str) -> Result<*mut api::Value> {
        let value = self.find(name)?;
        // SAFETY: a live value.
        if unsafe { (self.api.f.LLVMIsAFunction)(value) }.is_null() {
            return Err(Error::misuse(format!("{name} is not a function")));
        }
        Ok(value)
    }

    fn variable(&self, name: &str) -> Result<*mut api::Value> {
        let value = self.find(name)?;
        // SAFETY: a live value.
        if unsafe { (self.api.f.LLVMIsAGlobalVariable)(value) }.is_null() {
            return Err(Error::misuse(format!("{name} is not a variable")));
        }
        Ok(value)
    }

    fn rename(&self, value: *mut api::Value, name: &str) {
        // SAFETY: a live value and a range that LLVM copies.
        unsafe { (self.api.f.LLVMSetValueName2)(value, name.as_ptr().cast(), name.len()) };
    }

    fn supersede(&self, name: &str) {
        let f = &self.api.f;
        let Ok(old) = self.function(&aside(name)) else { return };
        match self.find(name) {
            Err(_) => self.rename(old, name),
            // SAFETY: live values; a cast makes both of one type, and the old one has no uses left
            // when it is deleted.
            Ok(new) => unsafe {
                let as_old = (f.LLVMConstPointerCast)(new, (f.LLVMTypeOf)(old));
                (f.LLVMReplaceAllUsesWith)(old, as_old);
                (f.LLVMDeleteFunction)(old);
            },
        }
    }

    fn erase_unused(&self, name: &str) {
        let Ok(value) = self.find(name) else { return };
        let f = &self.api.f;
        // SAFETY: a live declaration without uses.
        unsafe {
            if (f.LLVMIsDeclaration)(value) == 0 || !(f.LLVMGetFirstUse)(value).is_null() {
                return;
            }
            if !(f.LLVMIsAFunction)(value).is_null() {
                (f.LLVMDeleteFunction)(value);
            } else if !(f.LLVMIsAGlobalVariable)(value).is_null() {
                (f.LLVMDeleteGlobal)(value);
            }
        }
    }

    /// Tests of types by an intrinsic become those of a known type, or true
    /// (`updatePublicTypeTestCalls` of WholeProgramDevirt.cpp).
    fn answer_type_tests(&self, intrinsic: &CStr, to_test: bool) {
        let f = &self.api.f;
        const TEST: &str = "llvm.type.test";
        // SAFETY: a live module; users of an intrinsic are calls, whose last operand is what they
        // call. The next use is looked for before this one goes.
        unsafe {
            let public = (f.LLVMGetNamedFunction)(self.module, intrinsic.as_ptr());
            if public.is_null() {
                return;
            }
            let id = (f.LLVMLookupIntrinsicID)(TEST.as_ptr().cast(), TEST.len());
            let test = to_test
                .then(|| (f.LLVMGetIntrinsicDeclaration)(self.module, id, std::ptr::null_mut(), 0));
            let mut next = (f.LLVMGetFirstUse)(public);
            while !next.is_null() {
                let call = (f.LLVMGetUser)(next);
                next = (f.LLVMGetNextUse)(next);
                let operands = (f.LLVMGetNumOperands)(call);
                let last = c_uint::try_from(operands).ok().and_then(|n| n.checked_sub(1));
                match (test, last) {
                    (Some(test), Some(last)) => {
                        (f.LLVMSetOperand)(call, last, test);
                        // LLVM makes a new call, which knows nothing of tails.
                        (f.LLVMSetTailCall)(call, 0);
                    }
                    _ => {
                        let yes = (f.LLVMConstInt)((f.LLVMTypeOf)(call), 1, 0);
                        (f.LLVMReplaceAllUsesWith)(call, yes);
                        (f.LLVMInstructionEraseFromParent)(call);
                    }
                }
            }
        }
    }

    fn upgrade_vcall_visibility(&self, except: &[String]) {
        let f = &self.api.f;
        // SAFETY: a live module, its context and its variables; the list of a variable's metadata is
        // disposed of when it was read.
        unsafe {
            let kind = |name: &CStr| {
                let len = name.to_bytes().len() as c_uint;
                (f.LLVMGetMDKindIDInContext)(self.context, name.as_ptr(), len)
            };
            let (tables, visibility) = (kind(c"type"), kind(c"vcall_visibility"));
            let number = |n| (f.LLVMConstInt)((f.LLVMInt64TypeInContext)(self.context), n, 0);
            let node = |n| {
                let mut operand = (f.LLVMValueAsMetadata)(number(n));
                (f.LLVMMDNodeInContext2)(self.context, &mut operand, 1)
            };
            let public = node(0);
            let mut variable = (f.LLVMGetFirstGlobal)(self.module);
            while !variable.is_null() {
                let mut count = 0;
                let entries = (f.LLVMGlobalCopyAllMetadata)(variable, &mut count);
                let of_kind = |wanted| {
                    (0..c_uint::try_from(count).unwrap_or(0))
                        .find(|&at| (f.LLVMValueMetadataEntriesGetKind)(entries, at) == wanted)
                };
                let is_public = of_kind(visibility).is_none_or(|at| {
                    // Nodes are unique, so that the address tells.
                    (f.LLVMValueMetadataEntriesGetMetadata)(entries, at) == public
                });
                let is_table = of_kind(tables).is_some();
                (f.LLVMDisposeValueMetadataEntries)(entries);
                let stays = || {
                    let name = self.name(variable);
                    let name = name.strip_prefix(b"\x01").unwrap_or(name);
                    except.iter().any(|other| {
                        other.as_bytes().strip_prefix(b"\x01").unwrap_or(other.as_bytes()) == name
                    })
                };
                if is_table && is_public && !stays() {
                    (f.LLVMGlobalSetMetadata)(variable, visibility, node(1));
                }
                variable = (f.LLVMGetNextGlobal)(variable);
            }
        }
    }

    /// What `LTO::runRegularLTO` does with a common: only the alignment is set where the size is
    /// right, and otherwise an array of bytes takes its place.
    fn resize_common(&self, name: &str, size: u32, align: u32) -> Result<()> {
        let c_name = CString::new(name).map_err(|_| Error::misuse("a name holds a zero byte"))?;
        if !align.is_power_of_two() {
            return Err(Error::misuse(format!("{name} is to be aligned to {align} bytes")));
        }
        let f = &self.api.f;
        let old = self.named_global(&c_name);
        if old.is_none() && self.find(name).is_ok() {
            return Ok(());
        }
        // SAFETY: a live module and its variables. All pointers of the address space of the old
        // one are of one type, since LLVM 15; before, a cast makes them so. The old variable has
        // no uses left when it is deleted.
        unsafe {
            let layout = (f.LLVMGetModuleDataLayout)(self.module);
            if let Some(old) = old {
                let has = (f.LLVMABISizeOfType)(layout, (f.LLVMGlobalGetValueType)(old));
                if has == u64::from(size) {
                    (f.LLVMSetAlignment)(old, align);
                    return Ok(());
                }
            }
            let bytes = (f.LLVMArrayType)((f.LLVMInt8TypeInContext)(self.context), size);
            let new = (f.LLVMAddGlobal)(self.module, bytes, c"".as_ptr());
            (f.LLVMSetInitializer)(new, (f.LLVMConstNull)(bytes));
            (f.LLVMSetLinkage)(new, COMMON);
            (f.LLVMSetAlignment)(new, align);
            if let Some(old) = old {
                let as_old = (f.LLVMConstPointerCast)(new, (f.LLVMTypeOf)(old));
                (f.LLVMReplaceAllUsesWith)(old, as_old);
                (f.LLVMDeleteGlobal)(old);
            }
            (f.LLVMSetValueName2)(new, c_name.as_ptr(), name.len());
        }
        Ok(())
    }

    fn named_global(&self, name: &CStr) -> Option<*mut api::Value> {
        // SAFETY: a live module and a C string.
        let value = unsafe { (self.api.f.LLVMGetNamedGlobal)(self.module, name.as_ptr()) };
        (!value.is_null()).then_some(value)
    }

    /// The elements of an array variable such as `llvm.used`.
    fn elements(&self, variable: *mut api::Value) -> Vec<*mut api::Value> {
        let f = &self.api.f;
        // SAFETY: a live variable; a declaration has a null initializer, and the operands of an
        // array constant (none, for zeroinitializer) are its elements.
        unsafe {
            let array = (f.LLVMGetInitializer)(variable);
            if array.is_null() {
                return Vec::new();
            }
            let count = c_uint::try_from((f.LLVMGetNumOperands)(array)).unwrap_or(0);
            (0..count).map(|at| (f.LLVMGetOperand)(array, at)).collect()
        }
    }

    /// Replaces the array variable `name` by one with the old elements and these new ones, each
    /// once, as LLVM's `appendToUsedList` does (ModuleUtils.cpp).
    fn append_to_used(&self, name: &CStr, values: Vec<*mut api::Value>) {
        if values.is_empty() {
            return;
        }
        let f = &self.api.f;
        let old = self.named_global(name);
        let mut list = old.map(|variable| self.elements(variable)).unwrap_or_default();
        // SAFETY: live values of one context; a constant cast is uniqued, so that pointers compare
        // as LLVM's own set would compare them.
        unsafe {
            let pointer = (f.LLVMPointerType)((f.LLVMInt8TypeInContext)(self.context), 0);
            for value in values {
                let value = (f.LLVMConstPointerCast)(value, pointer);
                if !list.contains(&value) {
                    list.push(value);
                }
            }
        }
        self.replace_used(name, old, &mut list);
    }

    fn replace_used(
        &self,
        name: &CStr,
        old: Option<*mut api::Value>,
        list: &mut [*mut api::Value],
    ) {
        let f = &self.api.f;
        // SAFETY: live values of one context; nothing refers to the old variable, since IR cannot
        // use variables whose names begin with "llvm.".
        unsafe {
            if let Some(old) = old {
                (f.LLVMDeleteGlobal)(old);
            }
            let pointer = (f.LLVMPointerType)((f.LLVMInt8TypeInContext)(self.context), 0);
            let count = c_uint::try_from(list.len()).unwrap_or(c_uint::MAX);
            let array = (f.LLVMConstArray)(pointer, list.as_mut_ptr(), count);
            let variable =
                (f.LLVMAddGlobal)(self.module, (f.LLVMArrayType)(pointer, count), name.as_ptr());
            (f.LLVMSetInitializer)(variable, array);
            (f.LLVMSetLinkage)(variable, APPENDING);
            (f.LLVMSetSection)(variable, c"llvm.metadata".as_ptr());
        }
    }

    /// Adds those of `names` that the module has to `llvm.used`.
    pub(super) fn preserve_by_used(&self, names: &[String]) -> Result<OriginalUsed> {
        let original = self.named_global(c"llvm.used").map(|variable| self.elements(variable));
        let values = names.iter().filter_map(|name| self.find(name).ok()).collect();
        self.append_to_used(c"llvm.used", values);
        Ok(OriginalUsed(original))
    }

    /// Takes back what `preserve_by_used` did. Its members must still exist.
    pub(super) fn restore_used(&self, original: OriginalUsed) -> Result<()> {
        let Some(current) = self.named_global(c"llvm.used") else { return Ok(()) };
        match original.0 {
            None => {
                // SAFETY: a live variable that nothing refers to.
                unsafe { (self.api.f.LLVMDeleteGlobal)(current) };
            }
            Some(mut list) if list.len() != self.elements(current).len() => {
                self.replace_used(c"llvm.used", Some(current), &mut list);
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// Every global value of the module.
    pub(super) fn globals(&self) -> Vec<GlobalInfo> {
        [GlobalKind::Function, GlobalKind::Variable, GlobalKind::Alias, GlobalKind::IFunc]
            .into_iter()
            .flat_map(|kind| self.values(kind).map(move |value| self.describe(value, kind)))
            .collect()
    }

    /// The global values of a kind, in the module's order. The list must not change meanwhile.
    pub(super) fn values(&self, kind: GlobalKind) -> impl Iterator<Item = *mut api::Value> {
        let f = &self.api.f;
        let (first, next) = match kind {
            GlobalKind::Function => (f.LLVMGetFirstFunction, f.LLVMGetNextFunction),
            GlobalKind::Variable => (f.LLVMGetFirstGlobal, f.LLVMGetNextGlobal),
            GlobalKind::Alias => (f.LLVMGetFirstGlobalAlias, f.LLVMGetNextGlobalAlias),
            GlobalKind::IFunc => (f.LLVMGetFirstGlobalIFunc, f.LLVMGetNextGlobalIFunc),
        };
        let some = |value: *mut api::Value| (!value.is_null()).then_some(value);
        // SAFETY: a live module, then live values of its list, which ends with null.
        let first = some(unsafe { first(self.module) });
        std::iter::successors(first, move |value| some(unsafe { next(*value) }))
    }

    /// `GlobalValue::getLinkage`.
    pub(super) fn linkage(&self, value: *mut api::Value) -> Linkage {
        // SAFETY: a live global value.
        let linkage = unsafe { (self.api.f.LLVMGetLinkage)(value) };
        let found = LINKAGES.iter().find(|(code, _)| *code == linkage);
        found.map_or(Linkage::External, |(_, linkage)| *linkage)
    }

    /// Whether the module has functions whose names begin so.
    pub(super) fn has_functions(&self, prefix: &[u8]) -> bool {
        self.values(GlobalKind::Function).any(|function| self.name(function).starts_with(prefix))
    }

    /// Whether the module has a definition of this name.
    pub(super) fn defines(&self, name: &str) -> bool {
        // SAFETY: a live global value.
        self.find(name).is_ok_and(|value| unsafe { (self.api.f.LLVMIsDeclaration)(value) == 0 })
    }

    fn describe(&self, value: *mut api::Value, kind: GlobalKind) -> GlobalInfo {
        let f = &self.api.f;
        // SAFETY: a live global value.
        unsafe {
            let aliases_function = kind == GlobalKind::Alias
                && !(f.LLVMIsAFunction)((f.LLVMAliasGetAliasee)(value)).is_null();
            GlobalInfo {
                name: String::from_utf8_lossy(self.name(value)).into_owned(),
                kind,
                linkage: self.linkage(value),
                visibility: match (f.LLVMGetVisibility)(value) {
                    1 => Visibility::Hidden,
                    2 => Visibility::Protected,
                    _ => Visibility::Default,
                },
                is_declaration: (f.LLVMIsDeclaration)(value) != 0,
                aliases_function,
            }
        }
    }

    /// The name in the IR.
    pub(super) fn name(&self, value: *mut api::Value) -> &[u8] {
        let mut len = 0;
        // SAFETY: a live value; its name belongs to it and outlives this borrow, during which
        // nothing renames it.
        unsafe {
            let start = (self.api.f.LLVMGetValueName2)(value, &mut len);
            if len == 0 { &[] } else { std::slice::from_raw_parts(start.cast(), len) }
        }
    }

    /// Static constructors of an ELF module as what code generation makes of them with
    /// `UseInitArray`: pointers in `.init_array` and `.fini_array`, with the priority in the
    /// section's name and the comdat of the entry's associated variable
    /// (`AsmPrinter::emitXXStructorList`, `getStaticStructorSection`).
    pub(super) fn constructors_to_init_array(&self) -> Result<()> {
        for (variable, section) in
            [(c"llvm.global_ctors", ".init_array"), (c"llvm.global_dtors", ".fini_array")]
        {
            let Some(list) = self.named_global(variable) else { continue };
            let mut entries = Vec::new();
            for entry in self.elements(list) {
                entries.extend(self.structor(entry));
            }
            // Stable, as LLVM's: equal priorities keep their order.
            entries.sort_by_key(|&(priority, ..)| priority);
            for (priority, function, key) in entries {
                self.add_structor(section, priority, function, key)?;
            }
            // SAFETY: a live variable that nothing refers to.
            unsafe { (self.api.f.LLVMDeleteGlobal)(list) };
        }
        Ok(())
    }

    /// Priority, function and associated value of one element; `None` for a null function.
    fn structor(&self, entry: *mut api::Value) -> Option<(u64, *mut api::Value, *mut api::Value)> {
        let f = &self.api.f;
        // SAFETY: operands of a live constant, each looked at before it is used: a zero struct has
        // none.
        unsafe {
            if (f.LLVMGetNumOperands)(entry) < 3 {
                return None;
            }
            let [priority, function, key] = [0, 1, 2].map(|at| (f.LLVMGetOperand)(entry, at));
            if (f.LLVMIsAConstantInt)(priority).is_null() || (f.LLVMIsNull)(function) != 0 {
                return None;
            }
            Some(((f.LLVMConstIntGetZExtValue)(priority), function, key))
        }
    }

    fn add_structor(
        &self,
        section: &str,
        priority: u64,
        function: *mut api::Value,
        key: *mut api::Value,
    ) -> Result<()> {
        let f = &self.api.f;
        let section = match priority {
            65535 => section.to_string(),
            _ => format!("{section}.{priority}"),
        };
        let section = CString::new(section).map_err(|_| Error::engine("a section with a zero"))?;
        // SAFETY: live constants of this module and C strings. The key may be a cast of a variable
        // (LLVM 14), whose operand is then the variable.
        unsafe {
            let variable = (f.LLVMAddGlobal)(self.module, (f.LLVMTypeOf)(function), c"".as_ptr());
            (f.LLVMSetInitializer)(variable, function);
            (f.LLVMSetGlobalConstant)(variable, 1);
            (f.LLVMSetLinkage)(variable, PRIVATE);
            (f.LLVMSetAlignment)(variable, 8);
            (f.LLVMSetSection)(variable, section.as_ptr());
            let mut key = key;
            if !(f.LLVMIsAConstantExpr)(key).is_null() && (f.LLVMGetNumOperands)(key) == 1 {
                key = (f.LLVMGetOperand)(key, 0);
            }
            if !(f.LLVMIsAGlobalObject)(key).is_null() {
                let comdat = (f.LLVMGetComdat)(key);
                if !comdat.is_null() {
                    (f.LLVMSetComdat)(variable, comdat);
                }
            }
        }
        Ok(())
    }

    /// One section for each function that has none, under the name that `FunctionSections` gives.
    /// Functions in a comdat have a section of their own in any case.
    pub(super) fn function_sections(&self) -> Result<()> {
        let f = &self.api.f;
        // SAFETY: a live module and its functions; a section that is not set is null or empty.
        unsafe {
            let mut function = (f.LLVMGetFirstFunction)(self.module);
            while !function.is_null() {
                let section = (f.LLVMGetSection)(function);
                let has_section = !section.is_null() && !CStr::from_ptr(section).is_empty();
                let is_definition = (f.LLVMIsDeclaration)(function) == 0;
                if is_definition && !has_section && (f.LLVMGetComdat)(function).is_null() {
                    let name = [b".text.", self.name(function)].concat();
                    if let Ok(name) = CString::new(name) {
                        (f.LLVMSetSection)(function, name.as_ptr());
                    }
                }
                function = (f.LLVMGetNextFunction)(function);
            }
        }
        Ok(())
    }
}
