//! Regular LTO as libLTO does it: many modules are put together, what nobody outside uses becomes
//! local, the whole is optimized, and one object comes out.
//!
//! In: bitcode of modules in link order, the symbols that must stay, settings. Out: an object, or
//! the merged module as bitcode, and the diagnostics of the engine. It must not know who calls it
//! nor how the engine runs.
//!
//! The order of steps is that of `LTOCodeGenerator` (LLVM's `lib/LTO/LTOCodeGenerator.cpp`),
//! because objects are to be the same bytes: link into an empty module named `ld-temp.o`, verify,
//! keep by `llvm.compiler.used` what the linker wants of the discardable definitions and what code
//! generation or inline assembly may call, internalize, `lto<On>`, emit. Unlike there, nothing is
//! linked before the first step that needs it: which libLLVM is to be loaded depends on who
//! produced the inputs.

mod library_functions;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::{Deref, Range};

use crate::bitcode::{BitcodeFile, Extent, Module};
use crate::config::BitcodeEmbedding;
use crate::container::FileBytes;
use crate::distributed::write_atomically;
use crate::engine::options::Options;
use crate::engine::{
    Bytes, Diagnostic, Edit, Engine, EngineConfig, FileType, GlobalInfo, GlobalKind, Lease,
    Library, PassOptions, Producer, RelocModel, Severity, TargetConfig, default_cpu,
};
use crate::error::{Error, Result};
use crate::ir::Linkage;
use crate::symbols::InputFile;
use crate::symbols::data_layout::Mangling;
use crate::symbols::mangle::Mangler;
use crate::thinlink::ThinLinkOptions;
use library_functions::LibraryFunctions;

/// What LLVM's libLTO calls the module that the others are linked into.
const MERGED_NAME: &str = "ld-temp.o";
/// The first LLVM whose bitcode writer takes the order of uses from an option.
const USELIST_OPTION_SINCE: u32 = 20;

/// The bitcode of a module.
#[derive(Debug)]
pub enum InputBytes {
    /// A part of a file.
    File(FileBytes, Range<usize>),
    /// A copy of memory that is not ours.
    Memory(Vec<u8>),
}

impl Deref for InputBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            InputBytes::File(file, range) => file.get(range.clone()).unwrap_or_default(),
            InputBytes::Memory(bytes) => bytes,
        }
    }
}

/// A module to link.
#[derive(Debug)]
pub struct Input {
    /// What messages call it.
    pub identifier: String,
    /// Its bitcode, out of its container.
    pub bitcode: InputBytes,
    /// The triple that takes the place of its own.
    pub triple: Option<String>,
    /// Symbols, as the object file has them, that its inline assembly uses and does not define.
    pub asm_undefined: Vec<Vec<u8>>,
}

/// What the caller wishes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Options in LLVM's words, in the order given.
    pub options: Vec<String>,
    /// The processor; empty is the target's default.
    pub cpu: String,
    /// The relocation model; none is the modules' and the target's own.
    pub reloc: Option<RelocModel>,
    /// Symbols, as the object file has them, that something outside of the modules uses.
    pub must_preserve: BTreeSet<Vec<u8>>,
    /// Whether what nobody outside uses may become local.
    pub should_internalize: bool,
    /// Whether merged bitcode carries the order of uses.
    pub should_embed_uselists: bool,
    /// Whether what became local gets its old linkage back before code is generated.
    pub restore_linkage: bool,
    /// What code generation gives.
    pub file_type: FileType,
    /// Print each pass as it runs.
    pub debug_pass_manager: bool,
    /// Verify the module before and after optimization, too (`DisableVerify`, the other way round),
    /// unless `-disable-llvm-verifier` says otherwise.
    pub verify: bool,
}

/// A regular LTO link.
pub struct RegularLto {
    /// May change until the step that they matter to. Options matter when the first step runs.
    pub settings: Settings,
    inputs: Vec<Input>,
    /// The first input is not linked into an empty module, but is the module.
    based_on_first: bool,
    work: Option<Work>,
    /// The merged module was optimized, whether or not it is still there.
    optimized: bool,
    diagnostics: Vec<Diagnostic>,
}

/// The merged module on its machine, and how far it has come.
struct Work {
    lease: Lease,
    options: Options,
    target: Target,
    /// Inputs from here on are not linked yet.
    linked: usize,
    verified: bool,
    scope_restricted: bool,
    optimized: bool,
    /// Names and linkages before anything became local, where they are to be restored.
    linkages: Vec<(String, Linkage)>,
}

/// What the merged module is for, as far as its symbols' names go.
struct Target {
    triple: String,
    mangling: Mangling,
}

impl Target {
    /// By names in the IR, the symbols of what is global and has more in its symbol than its name:
    /// functions of Windows' calling conventions, whose arguments count.
    fn decorated(&self, inputs: &[Input]) -> Result<HashMap<Vec<u8>, Vec<u8>>> {
        let mut decorated = HashMap::new();
        if !matches!(self.mangling, Mangling::WinCoff | Mangling::WinCoffX86) {
            return Ok(decorated);
        }
        for input in inputs {
            let blame = |error: Error| error.in_file(input.identifier.as_str());
            let file = InputFile::open(&input.bitcode).map_err(blame)?;
            for symbol in file.symbols().filter(|symbol| symbol.name.contains(&b'@')) {
                decorated.insert(symbol.ir_name.to_vec(), symbol.name.to_vec());
            }
        }
        Ok(decorated)
    }
}

impl RegularLto {
    /// A link without modules, with these options in LLVM's words.
    pub fn new(options: Vec<String>) -> Self {
        RegularLto {
            settings: Settings {
                options,
                cpu: String::new(),
                // `lto::Config` starts with this one.
                reloc: Some(RelocModel::Pic),
                must_preserve: BTreeSet::new(),
                should_internalize: true,
                should_embed_uselists: false,
                restore_linkage: false,
                file_type: FileType::Object,
                debug_pass_manager: false,
                verify: false,
            },
            inputs: Vec::new(),
            based_on_first: false,
            work: None,
            optimized: false,
            diagnostics: Vec::new(),
        }
    }

    /// Adds a module behind all others.
    pub fn add(&mut self, input: Input) {
        self.inputs.push(input);
    }

    /// Replaces all modules by one, which keeps its name.
    pub fn set(&mut self, input: Input) {
        self.inputs = vec![input];
        self.based_on_first = true;
        self.work = None;
        self.optimized = false;
    }

    /// What the engine said since the last call, in order.
    pub fn take_diagnostics(&mut self) -> Vec<Diagnostic> {
        std::mem::take(&mut self.diagnostics)
    }

    /// The merged module as bitcode, optimized if it was.
    ///
    /// # Errors
    /// No libLLVM that reads the inputs; an option that is not known; modules that cannot be
    /// linked, or are broken.
    pub fn merged_bitcode(&mut self) -> Result<Bytes> {
        self.step(|work, inputs, settings, said| {
            work.verify(inputs)?;
            work.restrict_scope(inputs, settings, said)?;
            work.lease.write_bitcode()
        })
    }

    /// The merged module as bitcode, as the optimizer gets it.
    ///
    /// # Errors
    /// As [`Self::merged_bitcode`].
    pub fn bitcode_before_optimization(&mut self) -> Result<Bytes> {
        self.step(|work, inputs, settings, said| {
            work.prepare(inputs, settings, said)?;
            work.lease.write_bitcode()
        })
    }

    /// Links, internalizes and optimizes.
    ///
    /// # Errors
    /// As [`Self::merged_bitcode`]; what the optimizer reports as an error.
    pub fn optimize(&mut self) -> Result<()> {
        self.step(|work, inputs, settings, said| work.optimize(inputs, settings, said))?;
        self.optimized = true;
        Ok(())
    }

    /// Generates code for the merged module as it is.
    ///
    /// # Errors
    /// As [`Self::merged_bitcode`]; what code generation reports as an error.
    pub fn compile_optimized(&mut self) -> Result<Bytes> {
        let object = self.step(|work, inputs, settings, _| {
            work.verify(inputs)?;
            work.restore_linkage()?;
            let object = work.code(settings)?;
            if let Some(file) = work.options.remarks.as_ref().and_then(|r| r.file.as_ref()) {
                write_atomically(file, &work.lease.take_remarks()?)?;
            }
            Ok(object)
        });
        // Code generation uses up the module. Whoever asks again gets it made again.
        self.work = None;
        object
    }

    /// Generates code for the merged module as it is, in so many parts one after another: an object
    /// for each.
    ///
    /// # Errors
    /// As [`Self::compile_optimized`].
    pub fn compile_parts(&mut self, count: u32) -> Result<Vec<Bytes>> {
        let objects = self.step(|work, inputs, settings, _| {
            work.verify(inputs)?;
            work.restore_linkage()?;
            let parts = work.lease.split(count)?;
            let generate = |bitcode: &[u8]| {
                work.lease.reset()?;
                work.lease.load(MERGED_NAME, bitcode)?;
                work.set_target(inputs, settings)?;
                work.code(settings)
            };
            parts.iter().map(generate).collect()
        });
        self.work = None;
        objects
    }

    /// Runs a step on the merged module, which is made first where there is none. After an error
    /// the module is in no state to go on with, and the next step begins anew.
    fn step<R>(
        &mut self,
        step: impl FnOnce(&mut Work, &[Input], &Settings, &mut Vec<Diagnostic>) -> Result<R>,
    ) -> Result<R> {
        let mut work = match self.work.take() {
            Some(work) => work,
            None => Work::start(&self.inputs, &self.settings)?,
        };
        let run = || {
            work.link(&self.inputs, self.based_on_first)?;
            work.set_target(&self.inputs, &self.settings)?;
            if self.optimized && !work.optimized {
                work.optimize(&self.inputs, &self.settings, &mut self.diagnostics)?;
            }
            step(&mut work, &self.inputs, &self.settings, &mut self.diagnostics)
        };
        let result = run();
        self.diagnostics.extend(work.lease.take_diagnostics());
        if result.is_ok() {
            self.work = Some(work);
        }
        result
    }
}

impl Work {
    fn start(inputs: &[Input], settings: &Settings) -> Result<Work> {
        let options = Options::parse(&settings.options)?;
        let mut config = EngineConfig::from_env();
        config.jobs = 1;
        config.prints = settings.debug_pass_manager;
        config.cl_opts.clone_from(&options.llvm);
        let mut producers = Vec::new();
        let mut newest: Option<(Producer, &Input)> = None;
        let mut target = Target { triple: String::new(), mangling: Mangling::of(b"") };
        let mut has_layout = false;
        for input in inputs {
            let facts = Facts::read(input)?;
            if newest.as_ref().is_none_or(|(known, _)| known.major() < facts.producer.major()) {
                newest = Some((facts.producer.clone(), input));
            }
            if !producers.contains(&facts.producer) {
                producers.push(facts.producer);
            }
            // The module that is linked into takes the first triple and the first layout.
            if target.triple.is_empty() {
                target.triple = facts.triple;
            }
            if !has_layout && !facts.data_layout.is_empty() {
                target.mangling = Mangling::of(&facts.data_layout);
                has_layout = true;
            }
        }
        if settings.should_embed_uselists {
            let library = Library::locate(&config, &producers)?;
            if library.version.major >= USELIST_OPTION_SINCE {
                config.cl_opts.push("-preserve-bc-uselistorder".to_owned());
            }
        }
        let engine = Engine::start(&config, &producers).map_err(|error| match newest {
            // No libLLVM reads what this one wrote; the user wants to know which file it was.
            Some((producer, input)) if error.to_string().contains(&producer.to_string()) => {
                error.in_file(input.identifier.as_str())
            }
            _ => error,
        });
        let mut lease = engine?.lease()?;
        if let Some(remarks) = &options.remarks {
            lease.write_remarks(&remarks.options)?;
        }
        Ok(Work {
            lease,
            options,
            target,
            linked: 0,
            verified: false,
            scope_restricted: false,
            optimized: false,
            linkages: Vec::new(),
        })
    }

    /// Gives what is still there, and local, the linkage back that it had.
    fn restore_linkage(&mut self) -> Result<()> {
        let old: BTreeMap<String, Linkage> = self.linkages.drain(..).collect();
        if old.is_empty() {
            return Ok(());
        }
        let local = self.lease.globals()?.into_iter().filter(|g| g.linkage.is_local());
        let edits: Vec<Edit> = local
            .filter_map(|g| {
                let linkage = *old.get(&g.name)?;
                Some(Edit::SetLinkage { name: g.name, linkage })
            })
            .collect();
        self.lease.edit(&edits)
    }

    /// Links the inputs that were added since the last time.
    fn link(&mut self, inputs: &[Input], based_on_first: bool) -> Result<()> {
        if self.linked == 0 && !based_on_first {
            self.lease.new_module(MERGED_NAME)?;
        }
        for (at, input) in inputs.iter().enumerate().skip(self.linked) {
            if at == 0 && based_on_first {
                self.lease.load(&input.identifier, &input.bitcode)?;
            } else {
                self.lease.link(&input.identifier, &input.bitcode)?;
            }
            self.verified = false;
            self.linked = at + 1;
        }
        Ok(())
    }

    /// What `determineTarget` and `createTargetMachine` set up.
    fn set_target(&mut self, inputs: &[Input], settings: &Settings) -> Result<()> {
        let mut config = TargetConfig {
            triple: inputs.first().and_then(|input| input.triple.clone()),
            default_triple: None,
            cpu: settings.cpu.clone(),
            features: String::new(),
            cg_opt_level: self.level(),
            reloc: settings.reloc,
            code_model: None,
            flags_steer_optimizer: false,
            function_sections: false,
            // `LTOCodeGenerator` switches it on from LLVM 16 on.
            data_sections: self.lease.llvm_major() > 15,
            use_init_array: true,
            emit_addrsig: false,
            relax_elf_relocations: true,
            asm_verbose: false,
            debugger_tuning: None,
            contract_objc_arc: true,
            library_functions: true,
        };
        self.options.apply(&mut config);
        if config.cpu.is_empty() {
            config.cpu = default_cpu(&self.target.triple).to_owned();
        }
        self.lease.set_target(&config)
    }

    /// Code for the module in the lease.
    fn code(&mut self, settings: &Settings) -> Result<Bytes> {
        if self.options.embed_bitcode == BitcodeEmbedding::Optimized {
            self.lease.embed_bitcode(false)?;
        }
        self.lease.emit(settings.file_type)
    }

    fn level(&self) -> u8 {
        self.options.opt_level.unwrap_or(2)
    }

    fn verify(&mut self, _: &[Input]) -> Result<()> {
        if !self.verified {
            self.lease.verify()?;
            self.verified = true;
        }
        Ok(())
    }

    /// What is done before the optimizer runs. Doing it twice changes nothing.
    fn prepare(
        &mut self,
        inputs: &[Input],
        settings: &Settings,
        said: &mut Vec<Diagnostic>,
    ) -> Result<()> {
        self.lease.edit(&virtual_calls(&self.options)?)?;
        self.verify(inputs)?;
        self.restrict_scope(inputs, settings, said)
    }

    fn optimize(
        &mut self,
        inputs: &[Input],
        settings: &Settings,
        said: &mut Vec<Diagnostic>,
    ) -> Result<()> {
        self.prepare(inputs, settings, said)?;
        let level = self.level();
        let options = PassOptions {
            debug_logging: settings.debug_pass_manager,
            freestanding: self.options.freestanding,
            ..PassOptions::at_level(level)
        };
        if self.options.embed_bitcode == BitcodeEmbedding::PostMergePreOptimized {
            self.lease.embed_bitcode(true)?;
        }
        let pipeline = match self.options.disable_verify.unwrap_or(!settings.verify) {
            true => format!("lto<O{level}>"),
            false => format!("verify,lto<O{level}>,verify"),
        };
        self.lease.passes(&pipeline, options)?;
        self.optimized = true;
        Ok(())
    }

    /// `applyScopeRestrictions`: says what must stay and makes the rest local.
    fn restrict_scope(
        &mut self,
        inputs: &[Input],
        settings: &Settings,
        said: &mut Vec<Diagnostic>,
    ) -> Result<()> {
        if self.scope_restricted {
            return Ok(());
        }
        let globals = self.lease.globals()?;
        let mut mangler = Mangler::new(self.target.mangling);
        let mut symbol = Vec::new();
        let mut must_preserve = Vec::new();
        let mut wanted = Vec::new();
        let mut called = Vec::new();
        let library = LibraryFunctions::for_triple(&self.target.triple);
        let asm_undefined: BTreeSet<&[u8]> =
            inputs.iter().flat_map(|input| &input.asm_undefined).map(Vec::as_slice).collect();
        let decorated = self.target.decorated(inputs)?;
        for (global, id) in globals.iter().zip(0..).filter(|(global, _)| !global.name.is_empty()) {
            symbol.clear();
            match decorated.get(global.name.as_bytes()) {
                Some(name) => symbol.extend_from_slice(name),
                None => {
                    let name = global.name.as_bytes();
                    mangler.mangle_plain(&mut symbol, id, name, global.linkage, None);
                }
            }
            if settings.must_preserve.contains(&symbol) {
                must_preserve.push(global.name.clone());
                if !global.is_declaration
                    && global.linkage.is_discardable_if_unused()
                    && global.kind != GlobalKind::IFunc
                {
                    match unwanted(global) {
                        Some(warning) => said.push(warning),
                        None => wanted.push(global.name.clone()),
                    }
                }
            }
            if is_called(global, &library) || asm_calls(global, &symbol, &asm_undefined) {
                called.push(global.name.clone());
            }
        }
        let mut edits = Vec::new();
        if !wanted.is_empty() {
            edits.push(Edit::AppendToCompilerUsed { names: wanted });
        }
        if settings.should_internalize && !called.is_empty() {
            edits.push(Edit::AppendToCompilerUsed { names: called });
        }
        if !edits.is_empty() {
            self.lease.edit(&edits)?;
        }
        // LLVM does the first half anew at every step while internalizing is off; the result is
        // the same.
        if settings.should_internalize {
            if settings.restore_linkage {
                let kept = globals.iter().filter(|g| {
                    g.linkage != Linkage::AvailableExternally
                        && !g.linkage.is_local()
                        && !g.name.is_empty()
                });
                self.linkages = kept.map(|g| (g.name.clone(), g.linkage)).collect();
            }
            self.lease.internalize(&must_preserve)?;
            self.scope_restricted = true;
        }
        Ok(())
    }
}

/// The warning for a definition that the linker wants and that cannot stay.
fn unwanted(global: &GlobalInfo) -> Option<Diagnostic> {
    let what = match global.linkage {
        Linkage::AvailableExternally => "available_externally",
        Linkage::Internal => "internal",
        _ => return None,
    };
    Some(Diagnostic {
        severity: Severity::Warning,
        text: format!("Linker asked to preserve {what} global: '{}'", global.name),
        module: MERGED_NAME.to_owned(),
    })
}

/// What optimization may take for granted of virtual tables and tests of their types. Who calls has
/// no other word for it than LLVM's options.
fn virtual_calls(options: &Options) -> Result<Vec<Edit>> {
    let mut visibility = ThinLinkOptions::default();
    for option in &options.llvm {
        let option = option.trim_start_matches('-');
        let name = option.split_once('=').map_or(option, |(name, _)| name);
        if ["whole-program-visibility", "disable-whole-program-visibility"].contains(&name) {
            visibility.take(option)?;
        }
    }
    let whole_program = visibility.has_whole_program_visibility();
    let mut edits = vec![Edit::ResolvePublicTypeTests { whole_program }];
    if whole_program {
        edits.push(Edit::UpgradeVcallVisibility { except: Vec::new() });
    }
    Ok(edits)
}

/// Whether later passes may add calls of this definition, by the name that they know it by.
fn is_called(global: &GlobalInfo, library: &LibraryFunctions) -> bool {
    let function = match global.kind {
        GlobalKind::Function => true,
        GlobalKind::Alias => global.aliases_function,
        GlobalKind::Variable | GlobalKind::IFunc => false,
    };
    function
        && !global.is_declaration
        && global.linkage != Linkage::Private
        && library.contains(global.name.as_bytes())
}

/// Whether inline assembly refers to this definition.
fn asm_calls(global: &GlobalInfo, symbol: &[u8], asm_undefined: &BTreeSet<&[u8]>) -> bool {
    !global.is_declaration
        && global.linkage != Linkage::Private
        && global.kind != GlobalKind::IFunc
        && asm_undefined.contains(symbol)
}

/// What must be known of an input before a libLLVM is chosen.
struct Facts {
    producer: Producer,
    triple: String,
    data_layout: Vec<u8>,
}

impl Facts {
    fn read(input: &Input) -> Result<Facts> {
        let read = || {
            let file = BitcodeFile::read(&input.bitcode)?;
            let [module] = file.modules.as_slice() else {
                return Err(Error::malformed(format!(
                    "{} modules in one file, where regular LTO needs one",
                    file.modules.len()
                )));
            };
            let identification = module.identification()?;
            let head = Module::read(module, Extent::Head)?;
            let triple = String::from_utf8_lossy(&head.triple).into_owned();
            Ok(Facts {
                producer: Producer::parse(&String::from_utf8_lossy(&identification.producer)),
                triple: input.triple.clone().unwrap_or(triple),
                data_layout: head.data_layout,
            })
        };
        read().map_err(|error: Error| error.in_file(input.identifier.as_str()))
    }
}
