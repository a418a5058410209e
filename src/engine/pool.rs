//! Job slots: who may use which machine.
//!
//! In: a configuration and the producers of all inputs. Out: leases, at most one for each job
//! slot at a time; each is a conversation with one machine. Knows nothing of how a machine works.

use super::locate::{Library, LibraryInfo};
use super::partitions;
use super::protocol::{Answer, Request};
use super::worker::Connection;
use super::{
    Bytes, Diagnostic, Edit, EngineConfig, FileType, GlobalInfo, PassOptions, Producer,
    TargetConfig, TypePass,
};
use crate::config::RemarkOptions;
use crate::error::{Error, Result};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// How many requests may wait for their answers. What is on its way in both directions must fit the
/// socket's buffers, or both sides would wait for each other.
const AHEAD: usize = 16;

/// A libLLVM at work for one link. Leases keep it alive.
pub struct Engine(Arc<Shared>);

struct Shared {
    config: EngineConfig,
    library: LibraryInfo,
    version: String,
    slots: Mutex<Slots>,
    freed: Condvar,
}

struct Slots {
    idle: Vec<Connection>,
    leased: usize,
}

impl Engine {
    /// Chooses a libLLVM that reads what all of `producers` wrote, and starts one machine with it,
    /// so that a library that does not load and an option that LLVM does not know are errors here.
    pub fn start(config: &EngineConfig, producers: &[Producer]) -> Result<Engine> {
        let library = Library::locate(config, producers)?;
        let (first, version) = Connection::start(config, &library)?;
        let mut config = config.clone();
        if config.jobs == 0 {
            config.jobs = std::thread::available_parallelism().map_or(1, usize::from);
        }
        Ok(Engine(Arc::new(Shared {
            config,
            library,
            version,
            slots: Mutex::new(Slots { idle: vec![first], leased: 0 }),
            freed: Condvar::new(),
        })))
    }

    /// Which libLLVM this is and why it was chosen.
    pub fn library(&self) -> &LibraryInfo {
        &self.0.library
    }

    /// LLVM's major version, by which some of its front ends' defaults differ.
    pub fn llvm_major(&self) -> u32 {
        self.0.library.version.major
    }

    /// The version that the loaded library itself reports, "22.1.8"; where it cannot say (before
    /// LLVM 16), the one in its name.
    pub fn llvm_version(&self) -> &str {
        &self.0.version
    }

    /// Exclusive use of a machine; waits while all job slots are taken. A thread that asks for a
    /// second lease while it holds one can thereby wait for itself.
    pub fn lease(&self) -> Result<Lease> {
        let shared = &self.0;
        let mut slots = shared.slots.lock();
        while slots.leased >= shared.config.jobs {
            shared.freed.wait(&mut slots);
        }
        slots.leased += 1;
        let idle = slots.idle.pop();
        drop(slots);
        let machine = match idle {
            Some(machine) => Ok(machine),
            None => Connection::start(&shared.config, &shared.library).map(|(machine, _)| machine),
        };
        if let Ok(machine) = &machine {
            machine.reset_peak_memory();
        }
        match machine {
            Ok(machine) => Ok(Lease {
                engine: Arc::clone(shared),
                machine: Some(machine),
                module: String::new(),
                diagnostics: Vec::new(),
                clean: true,
                retires: false,
                ahead: false,
                asked: VecDeque::new(),
            }),
            Err(error) => {
                shared.give_back(None);
                Err(error)
            }
        }
    }
}

impl Shared {
    fn give_back(&self, machine: Option<Connection>) {
        let mut slots = self.slots.lock();
        slots.leased -= 1;
        slots.idle.extend(machine);
        self.freed.notify_one();
    }
}

/// Exclusive use of one machine. Steps change its module; an error leaves the module as it was
/// before or, where LLVM had begun to change it, unusable until [`Lease::reset`]. After the death
/// of a machine every step fails; the next lease gets a new one.
pub struct Lease {
    engine: Arc<Shared>,
    /// `None` once it died.
    machine: Option<Connection>,
    /// What errors call the thing being worked on.
    module: String,
    diagnostics: Vec<Diagnostic>,
    /// Nothing was done since the last reset.
    clean: bool,
    /// The machine ends with the lease.
    retires: bool,
    /// Steps are sent without waiting for those before.
    ahead: bool,
    /// What was sent and not answered.
    asked: VecDeque<Asked>,
}

/// A request on its way, and the module that its errors are said of.
struct Asked {
    request: Request,
    place: String,
    /// It links what is imported from there.
    imported: bool,
}

impl Asked {
    /// Says of an error where it happened.
    fn blame(&self, error: Error) -> Error {
        match self.imported {
            true => error.context(format_args!("cannot import from {}", self.place)),
            false => error.in_file(self.place.as_str()),
        }
    }
}

impl Lease {
    /// From now on, until [`Lease::reset`], steps that give nothing back do not wait until they are
    /// done, so that the machine finds the next one when it has ended one. Their errors are those of
    /// a later step, at the latest of the next that gives something.
    pub fn send_ahead(&mut self) {
        self.ahead = true;
    }

    /// Whether the names of values, which only people read, are kept in modules made from now on,
    /// until [`Lease::reset`] (`ShouldDiscardValueNames` of LLVM's LTO, the other way round).
    pub fn keep_value_names(&mut self, keep: bool) -> Result<()> {
        self.done(Request::KeepValueNames { keep }, None)
    }

    /// Lets what is done with modules made from now on, until [`Lease::reset`], write remarks, for
    /// [`Lease::take_remarks`].
    pub fn write_remarks(&mut self, options: &RemarkOptions) -> Result<()> {
        self.done(Request::Remarks { options: options.clone() }, None)
    }

    /// The remarks of this module so far, as the contents of a file; to be asked for once, at its
    /// end. Nothing where there is no module.
    pub fn take_remarks(&mut self) -> Result<Bytes> {
        self.bulk(Request::TakeRemarks)
    }

    /// Starts from an empty module with this identifier ("ld-temp.o").
    pub fn new_module(&mut self, identifier: &str) -> Result<()> {
        self.module = identifier.to_string();
        self.done(Request::NewModule { identifier: identifier.to_string() }, None)
    }

    /// Parses bitcode (one module, raw or wrapped); it becomes the module.
    pub fn load(&mut self, identifier: &str, bitcode: &[u8]) -> Result<()> {
        self.module = identifier.to_string();
        self.done(Request::Load { identifier: identifier.to_string() }, Some(bitcode))
            .map_err(|error| error.in_file(identifier))
    }

    /// Parses bitcode and links it into the module, as `Linker::linkModules` does without flags.
    pub fn link(&mut self, identifier: &str, bitcode: &[u8]) -> Result<()> {
        self.done(Request::Link { identifier: identifier.to_string() }, Some(bitcode))
            .map_err(|error| error.in_file(identifier))
    }

    /// Parses bitcode and merges it into the module as LLVM's resolution-based LTO does: the
    /// definitions that `keep` names (by their names in the IR), and what they refer to and no other
    /// module can define.
    pub fn merge(&mut self, identifier: &str, bitcode: &[u8], keep: Vec<String>) -> Result<()> {
        self.done(Request::Merge { identifier: identifier.to_string(), keep }, Some(bitcode))
            .map_err(|error| error.in_file(identifier))
    }

    /// As [`Lease::link`], of what is imported from the module `identifier`, as errors then say.
    pub fn import(&mut self, identifier: &str, bitcode: &[u8]) -> Result<()> {
        let request = Request::Link { identifier: identifier.to_string() };
        let asked = Asked { request, place: identifier.to_string(), imported: true };
        self.submit(asked, Some(bitcode))
    }

    /// Sets what code is generated for, gives the module its triple and, where the module has
    /// none, its data layout. Needed before `internalize`, `passes` and `emit`.
    pub fn set_target(&mut self, config: &TargetConfig) -> Result<()> {
        self.done(Request::SetTarget { config: config.clone() }, None)
    }

    /// Changes the module, in order; stops at the first change that cannot be made.
    pub fn edit(&mut self, edits: &[Edit]) -> Result<()> {
        self.done(Request::Edit { edits: edits.to_vec() }, None)
    }

    /// Runs the verifier as LTO does once on its input: a broken module is an error; invalid debug
    /// info is stripped, with a warning among the diagnostics.
    pub fn verify(&mut self) -> Result<()> {
        self.done(Request::Verify, None)
    }

    /// `internalizeModule`: makes every definition local that is not named (by its name in the
    /// IR) in `preserve` and not in `llvm.used`.
    pub fn internalize(&mut self, preserve: &[String]) -> Result<()> {
        self.done(Request::Internalize { preserve: preserve.to_vec() }, None)
    }

    /// Runs a pass pipeline in the syntax of `opt -passes=`: "lto<O2>", "thinlto<O3>".
    pub fn passes(&mut self, pipeline: &str, options: PassOptions) -> Result<()> {
        // It takes long, and is in vain on what could not be made.
        self.settle()?;
        self.done(Request::Passes { pipeline: pipeline.to_string(), options }, None)
    }

    /// Does type tests and virtual calls by the resolutions of type identifiers
    /// ([`crate::summary::type_ids_as_yaml`]), as the first passes of LLVM's ThinLTO backend do.
    pub fn resolve_types(&mut self, types: &[u8]) -> Result<()> {
        self.done(Request::ResolveTypes, Some(types))
    }

    /// Runs a pass over the module that finds out how the types of the whole program are tested and
    /// how virtual functions are called, with the summaries of all other modules
    /// ([`crate::summary::index_as_yaml`]). Gives what [`crate::summary::PassSummary`] reads.
    pub fn export_types(&mut self, pass: TypePass, summaries: &[u8]) -> Result<Bytes> {
        self.step(Request::ExportTypes { pass }, Some(summaries))?
            .1
            .ok_or_else(|| Error::engine("the worker answered without the result"))
    }

    /// Clones functions, and gives calls and allocations what the thin link chose for each clone, as the
    /// first pass of LLVM's ThinLTO backend does. `index` is the module's distributed index.
    pub fn clone_for_memprof(&mut self, index: &[u8]) -> Result<()> {
        self.done(Request::CloneForMemProf, Some(index))
    }

    /// The module as bitcode.
    pub fn write_bitcode(&mut self) -> Result<Bytes> {
        self.bulk(Request::WriteBitcode)
    }

    /// Puts the module's bitcode into it, for `.llvmbc`; with `command_line` an empty `.llvmcmd`, too.
    pub fn embed_bitcode(&mut self, command_line: bool) -> Result<()> {
        self.done(Request::EmbedBitcode { command_line }, None)
    }

    /// Takes the module apart into so many others, as bitcode, whose code together is that of the
    /// module. It consumes the module, as [`Lease::emit`] does.
    pub fn split(&mut self, count: u32) -> Result<Parts> {
        let bytes = self.bulk(Request::Split { count })?;
        let ranges = partitions::ranges(&bytes)?;
        Ok(Parts { bytes, ranges })
    }

    /// Generates code. It consumes the module: only `reset`, `new_module` and `load` may follow.
    pub fn emit(&mut self, file_type: FileType) -> Result<Bytes> {
        self.bulk(Request::Emit { file_type })
    }

    /// The module's global values: functions, variables, aliases, ifuncs, each in module order.
    pub fn globals(&mut self) -> Result<Vec<GlobalInfo>> {
        match self.step(Request::Globals, None)?.0 {
            Answer::Globals(globals) => Ok(globals),
            other => Err(unexpected(&other)),
        }
    }

    /// Forgets module, target and everything LLVM keeps in a context.
    pub fn reset(&mut self) -> Result<()> {
        self.ahead = false;
        // Whatever came of what was sent is forgotten as well.
        let _ = self.settle();
        self.done(Request::Reset, None)?;
        self.clean = true;
        Ok(())
    }

    /// The major version of this lease's LLVM.
    pub fn llvm_major(&self) -> u32 {
        self.engine.library.version.major
    }

    /// The most memory that LLVM had since the lease began, in bytes; `None` where it is not in a
    /// process of its own.
    pub fn peak_memory(&self) -> Option<u64> {
        self.machine.as_ref()?.peak_memory()
    }

    /// No lease after this one gets its machine, of whose state not all can be taken back.
    pub fn retire(&mut self) {
        self.retires = true;
    }

    /// What LLVM's diagnostic handler received since the last call, in order.
    pub fn take_diagnostics(&mut self) -> Vec<Diagnostic> {
        std::mem::take(&mut self.diagnostics)
    }

    /// A step that gives nothing back.
    fn done(&mut self, request: Request, bulk: Option<&[u8]>) -> Result<()> {
        let asked = self.asked(request);
        self.submit(asked, bulk)
    }

    fn bulk(&mut self, request: Request) -> Result<Bytes> {
        self.step(request, None)?
            .1
            .ok_or_else(|| Error::engine("the worker answered without the result"))
    }

    fn asked(&self, request: Request) -> Asked {
        // What goes wrong while a module is linked in is said of that module.
        let place = match &request {
            Request::Link { identifier } | Request::Merge { identifier, .. } => identifier,
            _ => &self.module,
        };
        Asked { place: place.clone(), request, imported: false }
    }

    /// Sends a step that gives nothing back, and waits for it unless steps are sent ahead.
    fn submit(&mut self, asked: Asked, bulk: Option<&[u8]>) -> Result<()> {
        self.send(asked, bulk)?;
        while self.asked.len() > AHEAD {
            self.receive()?;
        }
        if self.ahead {
            return Ok(());
        }
        self.settle()
    }

    /// Waits for the steps that were sent ahead.
    fn settle(&mut self) -> Result<()> {
        while !self.asked.is_empty() {
            self.receive()?;
        }
        Ok(())
    }

    /// Waits for the answer to a step that gives nothing back.
    fn receive(&mut self) -> Result<()> {
        match self.answer()? {
            None | Some((Answer::Done, _)) => Ok(()),
            Some((other, _)) => Err(unexpected(&other)),
        }
    }

    fn step(&mut self, request: Request, bulk: Option<&[u8]>) -> Result<(Answer, Option<Bytes>)> {
        self.settle()?;
        let asked = self.asked(request);
        self.send(asked, bulk)?;
        self.answer()?.ok_or_else(|| Error::engine("the worker gave no answer"))
    }

    fn send(&mut self, asked: Asked, bulk: Option<&[u8]>) -> Result<()> {
        self.clean = false;
        let Some(machine) = &mut self.machine else {
            return Err(Error::engine("the worker of this lease is gone").in_file(&*self.module));
        };
        let Err(error) = machine.ask(&asked.request, bulk) else {
            self.asked.push_back(asked);
            return Ok(());
        };
        // It may have said before what ended it.
        self.settle()?;
        match self.machine.take() {
            Some(mut machine) => Err(asked.blame(machine.post_mortem(&asked.request, Some(error)))),
            None => Err(asked.blame(error)),
        }
    }

    /// The answer to the first request that has none yet; `None` where there is none. An error is
    /// that of the request; what was sent behind it is forgotten.
    fn answer(&mut self) -> Result<Option<(Answer, Option<Bytes>)>> {
        let Some(asked) = self.asked.pop_front() else { return Ok(None) };
        let answer = self.answer_to(&asked);
        if answer.is_err() {
            // The machine must be found without answers that nobody waits for.
            while let Some(later) = self.asked.pop_front() {
                if self.machine.is_some() {
                    let _ = self.answer_to(&later);
                }
            }
        }
        answer.map(Some)
    }

    fn answer_to(&mut self, asked: &Asked) -> Result<(Answer, Option<Bytes>)> {
        let Some(machine) = &mut self.machine else {
            return Err(Error::engine("the worker of this lease is gone").in_file(&*self.module));
        };
        match machine.answer(&asked.request) {
            Ok((reply, bulk)) => {
                self.diagnostics.extend(reply.diagnostics);
                if reply.fatal {
                    self.machine = None;
                }
                match reply.result {
                    Ok(answer) => Ok((answer, bulk)),
                    Err(error) => {
                        let error = match asked.imported {
                            // The message names it.
                            true => error.without_place(),
                            false => error,
                        };
                        Err(asked.blame(error).read_by(format!("LLVM {}", self.engine.version)))
                    }
                }
            }
            Err(error) => {
                self.machine = None;
                Err(asked.blame(error))
            }
        }
    }
}

/// What [`Lease::split`] gives.
#[derive(Debug)]
pub struct Parts {
    bytes: Bytes,
    ranges: Vec<Range<usize>>,
}

impl Parts {
    /// The bitcode of each part, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.ranges.iter().map(|range| self.bytes.get(range.clone()).unwrap_or_default())
    }
}

fn unexpected(answer: &Answer) -> Error {
    Error::engine(format!("the worker gave an answer to another question: {answer:?}"))
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.retires {
            self.machine = None;
        }
        if !self.clean && self.machine.is_some() {
            // The next lease must find nothing of this one; a machine that cannot do that goes.
            if self.reset().is_err() {
                self.machine = None;
            }
        }
        let machine = self.machine.take();
        self.engine.give_back(machine);
    }
}
