//! One LLVM context and the module in it: the end of the engine that does the work.
//!
//! In: requests, one at a time, in the thread that made the machine. Out: results, and what
//! LLVM's diagnostic handler was told meanwhile. Knows nothing of sockets and processes.
//!
//! A module goes through these states; a request that does not fit is an error:
//!
//! ```text
//! empty --NewModule, Load--> building --Link, Edit, Internalize, Passes, ...--> building
//! building --Emit--> spent (code generation rewrites the IR)      any --Reset--> empty
//! ```
//!
//! A context always has a diagnostic handler: without one, LLVM's C API ends the process on
//! malformed bitcode.

#![allow(unsafe_code)]

mod target;

use super::api::{self, Api};
use super::builtins;
use super::clopt;
use super::composite::Composite;
use super::debugger;
use super::diagnostics::{Diagnostics, Sink};
use super::edit;
use super::embed;
use super::libcalls;
use super::memprof;
use super::mover;
use super::partitions;
use super::protocol::{Answer, Request};
use super::remarks::Remarks;
use super::type_ids;
use super::{FileType, PassOptions, TargetConfig};
use crate::config::RemarkOptions;
use crate::error::{Error, Result};
use std::ffi::{CString, c_char};
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;

/// The LLVM whose code generation contracts the reference counting of Objective-C by itself.
const CODEGEN_CONTRACTS_ARC: u32 = 22;

/// A libLLVM with at most one module being worked on.
pub(super) struct Machine {
    api: Arc<Api>,
    /// Behind a pointer, since LLVM keeps its address.
    sink: Rc<Sink>,
    state: Option<State>,
    opaque_pointers: bool,
    keep_value_names: bool,
    /// Which remarks new contexts write.
    remarks: Option<RemarkOptions>,
}

/// A context with its module. Freed by [`Machine::reset`], in the order that LLVM wants.
struct State {
    context: *mut api::Context,
    module: *mut api::Module,
    /// What links other modules into it, from the first on.
    linker: Option<Composite>,
    /// Once remarks were asked for.
    remarks: Option<Remarks>,
    target: Option<TargetConfig>,
    /// The identifier of a module into which nothing was linked yet.
    empty: Option<String>,
    /// Code generation has consumed the module.
    spent: bool,
}

impl State {
    fn new(context: *mut api::Context, module: *mut api::Module) -> State {
        State {
            context,
            module,
            linker: None,
            remarks: None,
            target: None,
            empty: None,
            spent: false,
        }
    }
}

impl Machine {
    /// `remarks`: whether optimization remarks were asked for.
    pub(super) fn new(api: Arc<Api>, remarks: bool, list: Diagnostics) -> Machine {
        let sink = Rc::new(Sink::new(api.clone(), remarks, list));
        Machine {
            api,
            sink,
            state: None,
            opaque_pointers: false,
            keep_value_names: false,
            remarks: None,
        }
    }

    /// Does what is asked; `bulk` is the bitcode that came with the request. `result` is called
    /// with the bytes of an answer that has some.
    pub(super) fn run(
        &mut self,
        request: &Request,
        bulk: Option<&[u8]>,
        result: impl FnOnce(&[u8]) -> Result<()>,
    ) -> Result<Answer> {
        let no_bulk = || Error::engine("a request came without its bitcode");
        match request {
            Request::Hello { .. } => Err(Error::engine("a second greeting")),
            Request::KeepValueNames { keep } => {
                self.keep_value_names = *keep;
                Ok(Answer::Done)
            }
            Request::Remarks { options } => {
                self.remarks = Some(options.clone());
                Ok(Answer::Done)
            }
            Request::TakeRemarks => {
                let written = match &mut self.state {
                    Some(State { context, remarks: Some(remarks), .. }) => {
                        remarks.take(*context)?
                    }
                    _ => Vec::new(),
                };
                result(&written)?;
                Ok(Answer::Done)
            }
            Request::NewModule { identifier } => {
                self.new_module(identifier)?;
                Ok(Answer::Done)
            }
            Request::Load { identifier } => {
                let bitcode = bulk.ok_or_else(no_bulk)?;
                self.load(identifier, bitcode)?;
                Ok(Answer::Done)
            }
            Request::Link { identifier } => {
                let bitcode = bulk.ok_or_else(no_bulk)?;
                let outer = self.sink.module.replace(identifier.clone());
                let linked = self.link(identifier, bitcode);
                self.sink.module.replace(outer);
                linked.map(|()| Answer::Done)
            }
            Request::Merge { identifier, keep } => {
                let bitcode = bulk.ok_or_else(no_bulk)?;
                let outer = self.sink.module.replace(identifier.clone());
                let merged = self.merge(identifier, bitcode, keep);
                self.sink.module.replace(outer);
                merged.map(|()| Answer::Done)
            }
            Request::SetTarget { config } => {
                self.set_target(config)?;
                Ok(Answer::Done)
            }
            Request::Edit { edits } => {
                let (context, module) = self.building()?;
                let editor = edit::Editor { api: &self.api, context, module };
                edits.iter().try_for_each(|edit| editor.apply(edit))?;
                Ok(Answer::Done)
            }
            Request::Verify => {
                self.verify()?;
                Ok(Answer::Done)
            }
            Request::Internalize { preserve } => {
                self.internalize(preserve)?;
                Ok(Answer::Done)
            }
            Request::Passes { pipeline, options } => {
                self.passes(pipeline, options.clone())?;
                Ok(Answer::Done)
            }
            Request::ResolveTypes => {
                let types = bulk.ok_or_else(no_bulk)?;
                type_ids::during(&self.api, types, |pipeline| {
                    self.passes(pipeline, PassOptions::at_level(0))
                })?;
                Ok(Answer::Done)
            }
            Request::ExportTypes { pass } => {
                let summaries = bulk.ok_or_else(no_bulk)?;
                let found = type_ids::export(&self.api, *pass, summaries, |pipeline| {
                    self.passes(pipeline, PassOptions::at_level(0))
                })?;
                result(&found)?;
                Ok(Answer::Done)
            }
            Request::CloneForMemProf => {
                let index = bulk.ok_or_else(no_bulk)?;
                memprof::during(&self.api, index, |pipeline| {
                    self.passes(pipeline, PassOptions::at_level(0))
                })?;
                Ok(Answer::Done)
            }
            Request::WriteBitcode => {
                let (_, module) = self.building()?;
                // SAFETY: a live module.
                let buffer = unsafe { (self.api.f.LLVMWriteBitcodeToMemoryBuffer)(module) };
                self.api.with_buffer(buffer, result)?;
                Ok(Answer::Done)
            }
            Request::EmbedBitcode { command_line } => {
                let (_, module) = self.building()?;
                embed::embed(&self.api, module, *command_line)?;
                Ok(Answer::Done)
            }
            Request::Split { count } => {
                let (_, module) = self.building()?;
                let parts = partitions::split(&self.api, module, *count)?;
                if let Some(state) = &mut self.state {
                    state.spent = true;
                }
                self.sink.check(false, "").and_then(|()| result(&parts))?;
                Ok(Answer::Done)
            }
            Request::Emit { file_type } => {
                self.emit(*file_type, result)?;
                Ok(Answer::Done)
            }
            Request::Globals => {
                let (context, module) = self.building()?;
                let editor = edit::Editor { api: &self.api, context, module };
                Ok(Answer::Globals(editor.globals()))
            }
            Request::Reset | Request::Exit => {
                self.reset();
                self.keep_value_names = false;
                self.remarks = None;
                Ok(Answer::Done)
            }
        }
    }

    /// Takes down LLVM in this process, for what it prints then (`-time-passes`, `-stats`).
    pub(super) fn shut_down(mut self) {
        self.reset();
        // SAFETY: the only context is gone, and nothing calls LLVM hereafter.
        unsafe { (self.api.f.LLVMShutdown)() };
    }

    fn reset(&mut self) {
        self.sink.module.borrow_mut().clear();
        if let Some(state) = self.state.take() {
            // SAFETY: both are live and ours; a module goes before its context.
            unsafe {
                (self.api.f.LLVMDisposeModule)(state.module);
                (self.api.f.LLVMContextDispose)(state.context);
            }
            drop((state.linker, state.remarks));
        }
    }

    fn new_module(&mut self, identifier: &str) -> Result<()> {
        self.reset();
        identifier.clone_into(&mut self.sink.module.borrow_mut());
        let name = c_string(identifier)?;
        let context = self.new_context();
        // SAFETY: a C string and a live context.
        let module =
            unsafe { (self.api.f.LLVMModuleCreateWithNameInContext)(name.as_ptr(), context) };
        let identifier = identifier.to_string();
        self.state = Some(State { empty: Some(identifier), ..State::new(context, module) });
        self.write_remarks()
    }

    /// Where remarks are wanted, lets the new module's context write them.
    fn write_remarks(&mut self) -> Result<()> {
        if let (Some(options), Some(state)) = (&self.remarks, &mut self.state) {
            state.remarks = Some(Remarks::set_up(&self.api, state.context, options)?);
        }
        Ok(())
    }

    fn load(&mut self, identifier: &str, bitcode: &[u8]) -> Result<()> {
        self.reset();
        identifier.clone_into(&mut self.sink.module.borrow_mut());
        let context = self.new_context();
        match self.parse(context, identifier, bitcode) {
            Ok(module) => {
                self.state = Some(State::new(context, module));
                self.write_remarks()
            }
            Err(error) => {
                // SAFETY: a context of ours that nothing refers to.
                unsafe { (self.api.f.LLVMContextDispose)(context) };
                if self.switch_to_opaque_pointers(&error) {
                    return self.load(identifier, bitcode);
                }
                Err(error)
            }
        }
    }

    fn link(&mut self, identifier: &str, bitcode: &[u8]) -> Result<()> {
        let source = self.second_module(identifier, bitcode)?;
        let (_, module) = self.building()?;
        // SAFETY: two modules of one context; the source is consumed in any case.
        let failed = unsafe {
            match self.linker().and_then(|linker| linker.link(source)) {
                Some(failed) => failed,
                None => (self.api.f.LLVMLinkModules2)(module, source) != 0,
            }
        };
        self.sink.check(failed, "linking failed")
    }

    fn merge(&mut self, identifier: &str, bitcode: &[u8], keep: &[String]) -> Result<()> {
        let source = self.second_module(identifier, bitcode)?;
        let (context, module) = self.building()?;
        let api = self.api.clone();
        let into = edit::Editor { api: &api, context, module };
        let source = edit::Editor { api: &api, context, module: source };
        mover::merge(self.linker(), &into, &source, &keep.iter().map(String::as_str).collect())?;
        self.sink.check(false, "")
    }

    /// What all other modules become parts of the module by.
    fn linker(&mut self) -> Option<&mut Composite> {
        let state = self.state.as_mut()?;
        if state.linker.is_none() {
            // SAFETY: a live module; where this gives a linker once, it is always used.
            state.linker = unsafe { Composite::new(&self.api, state.module) };
        }
        state.linker.as_mut()
    }

    /// Parses a module that is to become a part of the one that is there.
    fn second_module(&mut self, identifier: &str, bitcode: &[u8]) -> Result<*mut api::Module> {
        let (context, _) = self.building()?;
        let source = match self.parse(context, identifier, bitcode) {
            Ok(source) => source,
            Err(error) => {
                // The kind of pointers can change as long as there is nothing in the context.
                let empty = self.state.as_ref().and_then(|state| state.empty.clone());
                if let Some(empty) = empty.filter(|_| self.switch_to_opaque_pointers(&error)) {
                    self.new_module(&empty)?;
                    return self.second_module(identifier, bitcode);
                }
                return Err(error);
            }
        };
        if let Some(state) = &mut self.state {
            state.empty = None;
        }
        Ok(source)
    }

    /// LLVM 14 reads opaque pointers only if told to before; from then on every module of this
    /// process has them. True once, on the error that asks for it.
    fn switch_to_opaque_pointers(&mut self, error: &Error) -> bool {
        let asks = error.message().contains("-opaque-pointers mode");
        if !asks || self.opaque_pointers {
            return false;
        }
        self.opaque_pointers = true;
        self.sink.list.borrow_mut().clear();
        clopt::apply(&self.api, &["-opaque-pointers".to_string()]).is_ok()
    }

    /// A context as LLVM's LTO sets its own up (`LTOLLVMContext`, `LTOCodeGenerator`).
    fn new_context(&self) -> *mut api::Context {
        let f = &self.api.f;
        // SAFETY: the sink outlives every context: `reset` disposes of them, at the latest when
        // the machine is dropped. The C++ member function takes `this` as a C function would its
        // argument, in every ABI that libLLVM is built for.
        unsafe {
            let context = (f.LLVMContextCreate)();
            self.sink.attach(context);
            (f.LLVMContextSetDiscardValueNames)(context, (!self.keep_value_names).into());
            if let Some(enable) = f._ZN4llvm11LLVMContext26enableDebugTypeODRUniquingEv {
                enable(context);
            }
            context
        }
    }

    fn parse(
        &self,
        context: *mut api::Context,
        identifier: &str,
        bitcode: &[u8],
    ) -> Result<*mut api::Module> {
        let f = &self.api.f;
        let name = c_string(identifier)?;
        let mut module = ptr::null_mut();
        // SAFETY: the buffer borrows `bitcode` without a copy and is gone before this returns:
        // a complete parse keeps nothing of it.
        let failed = unsafe {
            let buffer = (f.LLVMCreateMemoryBufferWithMemoryRange)(
                bitcode.as_ptr().cast(),
                bitcode.len(),
                name.as_ptr(),
                0,
            );
            let failed = (f.LLVMParseBitcodeInContext2)(context, buffer, &mut module);
            (f.LLVMDisposeMemoryBuffer)(buffer);
            failed
        };
        if failed != 0 || module.is_null() {
            let cause =
                self.sink.first_error().unwrap_or_else(|| "it cannot be parsed".to_string());
            return Err(Error::malformed(cause).in_file(identifier));
        }
        self.sink.check(false, "").map(|()| module)
    }

    fn building(&self) -> Result<(*mut api::Context, *mut api::Module)> {
        match &self.state {
            None => Err(Error::misuse("there is no module yet")),
            Some(state) if state.spent => {
                Err(Error::misuse("the module was consumed by code generation"))
            }
            Some(state) => Ok((state.context, state.module)),
        }
    }

    /// `LTOCodeGenerator::verifyMergedModuleOnce`.
    fn verify(&mut self) -> Result<()> {
        let (_, module) = self.building()?;
        let broken = || {
            let mut message: *mut c_char = ptr::null_mut();
            // SAFETY: a live module; 2 is LLVMReturnStatusAction.
            let failed = unsafe { (self.api.f.LLVMVerifyModule)(module, 2, &mut message) };
            let message = self.api.message(message);
            (failed != 0).then_some(message)
        };
        let Some(message) = broken() else { return Ok(()) };
        // The C API does not tell invalid debug info from invalid code; its removal does.
        // SAFETY: a live module.
        let stripped = unsafe { (self.api.f.LLVMStripModuleDebugInfo)(module) };
        match broken() {
            None if stripped != 0 => {
                self.sink.warn("Invalid debug info found, debug info will be stripped".to_string());
                Ok(())
            }
            None => Ok(()),
            Some(_) => {
                let first: Vec<&str> = message.lines().take(3).collect();
                Err(Error::malformed(format!("Broken module found: {}", first.join("; "))))
            }
        }
    }

    fn internalize(&mut self, preserve: &[String]) -> Result<()> {
        let (_, context, module) = self.configured()?;
        // The pass takes names since LLVM 17, written into the pipeline's text, where these
        // characters have a meaning.
        let plain = |name: &String| {
            !name.is_empty() && !name.contains([',', '(', ')', '<', '>', ';', '\0'])
        };
        if self.api.version.0 >= 17 && preserve.iter().all(plain) {
            let names: Vec<String> =
                preserve.iter().map(|name| format!("preserve-gv={name}")).collect();
            let pipeline = match names.is_empty() {
                true => "internalize".to_string(),
                false => format!("internalize<{}>", names.join(";")),
            };
            return self.passes(&pipeline, PassOptions::at_level(0));
        }
        // Everywhere else by what the pass never touches: the members of llvm.used.
        let editor = edit::Editor { api: &self.api, context, module };
        let original = editor.preserve_by_used(preserve)?;
        let result = self.passes("internalize", PassOptions::at_level(0));
        let editor = edit::Editor { api: &self.api, context, module };
        editor.restore_used(original)?;
        result
    }

    fn passes(&self, pipeline: &str, options: PassOptions) -> Result<()> {
        let (config, context, module) = self.configured()?;
        let text = c_string(pipeline)?;
        let machine = self.target_machine(&config, module, false)?;
        machine.apply(&config);
        let f = &self.api.f;
        // Destructured, so that a new option cannot be forgotten here.
        let PassOptions {
            loop_vectorization,
            slp_vectorization,
            debug_logging,
            verify_each,
            merge_functions,
            freestanding,
            aa_pipeline,
        } = options;
        let analyses = match (&aa_pipeline, f.LLVMPassBuilderOptionsSetAAPipeline) {
            (None, _) => None,
            (Some(text), Some(set)) => Some((c_string(text)?, set)),
            (Some(_), None) => {
                return Err(Error::unsupported(format!(
                    "the option -aa-pipeline is not served with LLVM {}, whose C API has nothing \
                     for it",
                    self.api.version.0
                )));
            }
        };
        // SAFETY: live options, module and machine; the text outlives the call.
        let run = || unsafe {
            let options = (f.LLVMCreatePassBuilderOptions)();
            (f.LLVMPassBuilderOptionsSetLoopVectorization)(options, loop_vectorization.into());
            (f.LLVMPassBuilderOptionsSetSLPVectorization)(options, slp_vectorization.into());
            (f.LLVMPassBuilderOptionsSetDebugLogging)(options, debug_logging.into());
            (f.LLVMPassBuilderOptionsSetVerifyEach)(options, verify_each.into());
            // Without, LLVM's own option says.
            if merge_functions {
                (f.LLVMPassBuilderOptionsSetMergeFunctions)(options, 1);
            }
            if let Some((text, set)) = &analyses {
                set(options, text.as_ptr());
            }
            let error = (f.LLVMRunPasses)(module, text.as_ptr(), machine.raw, options);
            (f.LLVMDisposePassBuilderOptions)(options);
            error
        };
        let editor = edit::Editor { api: &self.api, context, module };
        let error = if freestanding { builtins::without(&editor, run) } else { run() };
        let error = self.api.error(error);
        drop(machine);
        // The passes themselves say what they have to say by diagnostics.
        if let Some(text) = error {
            let (what, description) = match &aa_pipeline {
                Some(analyses) if text.contains("alias analysis name") => ("AA", &**analyses),
                _ => ("pass", pipeline),
            };
            return Err(Error::engine(format!(
                "LLVM ERROR: unable to parse {what} pipeline description '{description}': {text}"
            )));
        }
        self.sink.check(false, "")
    }

    fn emit(
        &mut self,
        file_type: FileType,
        result: impl FnOnce(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let (config, context, module) = self.configured()?;
        let library_functions = config.library_functions;
        let editor = edit::Editor { api: &self.api, context, module };
        // As `ModuleHasARC`: all that it looks for are intrinsics of this kind.
        if config.contract_objc_arc
            && self.api.version.0 < CODEGEN_CONTRACTS_ARC
            && editor.has_functions(b"llvm.objc.")
        {
            self.passes("objc-arc-contract", PassOptions::at_level(0))?;
        }
        let machine = self.target_machine(&config, module, true)?;
        let missing = machine.apply(&config);
        let editor = edit::Editor { api: &self.api, context, module };
        if uses_elf(&self.triple(module).to_string_lossy()) {
            if missing.use_init_array {
                editor.constructors_to_init_array()?;
            }
            if missing.function_sections {
                editor.function_sections()?;
            }
        }
        let mut unserved = Vec::new();
        if let Some(debugger) = config.debugger_tuning {
            match self.api.debugger.get_or_init(|| debugger::find(&self.api)) {
                Some(field) => machine.tune_for(*field, debugger),
                None => unserved.push("debugger-tune"),
            }
        }
        if missing.data_sections {
            unserved.push("data-sections");
        }
        if missing.emit_addrsig {
            unserved.push("addrsig");
        }
        for option in unserved {
            self.sink.warn(format!("this libLLVM offers no way to set {option}; it stays off"));
        }
        let emit = || {
            machine.emit(module, file_type == FileType::Object, |bytes| {
                // Code that LLVM generated in spite of an error is not handed out.
                self.sink.check(false, "").and_then(|()| result(bytes))
            })
        };
        let sent = match library_functions {
            true => libcalls::known(&self.api, module, emit),
            false => emit(),
        };
        drop(machine);
        if let Some(state) = &mut self.state {
            state.spent = true;
        }
        match sent {
            Ok(sent) => sent,
            Err(error) => self.sink.check(true, error.message()),
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.reset();
    }
}

fn c_string(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::misuse("a name holds a zero byte"))
}

/// Whether objects for this triple are ELF, as far as static constructors are concerned.
fn uses_elf(triple: &str) -> bool {
    !["apple", "windows", "cygwin", "wasm", "aix", "uefi", "darwin", "macho", "coff", "xcoff"]
        .iter()
        .any(|other| triple.contains(other))
}
