//! Code generated twice, so that outlining and function merging see across modules.
//!
//! In: the jobs of a link. Out: their objects, of the second round. It must not know which driver
//! asks, nor what a cache does with its files.
//!
//! ```text
//! first    optimize, keep the bitcode, generate code with -codegen-data-generate into scratch,
//!          and take the codegen data out of the object
//! merge    over all modules, in their order                                   cgdata
//! second   generate code again, from the kept bitcode, with the merged data
//! ```
//!
//! This is LLVM's `-codegen-data-thinlto-two-rounds` (LTO.cpp, CodeGenData.cpp). LLVM publishes the
//! merged data within the process; its C API has no way to, but every code generation can read a
//! file (`-codegen-data-use-path`), once in the life of a process. So each round has an engine of
//! its own, with workers that have generated nothing before.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::make::Watch;
use super::sizes::{self, BothRounds, Code, RoundSizes};
use super::{Job, Made, Settings, Stage, common_key};
use crate::cache::{Cache, Key, KeyBuilder};
use crate::cgdata::{FinalizeOptions, Merger, ObjectData, extract};
use crate::config::OutputKind;
use crate::engine::{Bytes, LazyEngine, NamedBytes};
use crate::error::{Error, Result};
use crate::schedule::{self, Done, Part, Progress, Schedule};

/// The first LLVM whose code generation knows codegen data.
const FIRST_LLVM: u32 = 20;
/// The first LLVM whose library keeps the order of uses in bitcode when an option says so; before,
/// only its programs could. Without it some instructions come in another order than LLVM's own.
const FIRST_WITH_ORDER: u32 = 22;
const GENERATE: &str = "-codegen-data-generate";
/// How much kept bitcode may be in memory where the user sets no bound, in bytes.
const MEMORY: u64 = 2 << 30;

/// That two rounds are wanted, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rounds {
    /// `-thinlto-two-rounds-cache-path`: where objects and bitcode of the first round are kept, if
    /// not in the link's cache.
    pub cache: Option<PathBuf>,
    /// `-thinlto-two-rounds-report`, which LLVM does not have: say what was saved.
    pub report: bool,
}

impl Rounds {
    /// Takes LLVM's options for two rounds out of a list of options.
    ///
    /// # Errors
    /// Misuse, for a value that is none.
    pub fn take(options: &mut Vec<String>) -> Result<Option<Rounds>> {
        let (mut wanted, mut rounds) = (false, Rounds::default());
        let mut bad = None;
        options.retain(|option| {
            let name = option.trim_start_matches('-');
            let (name, value) = match name.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (name, None),
            };
            match (name, value) {
                ("codegen-data-thinlto-two-rounds", None | Some("" | "1" | "true")) => {
                    wanted = true;
                }
                ("codegen-data-thinlto-two-rounds", Some("0" | "false")) => wanted = false,
                ("codegen-data-thinlto-two-rounds", Some(_)) => bad = Some(option.clone()),
                ("thinlto-two-rounds-report", None) => rounds.report = true,
                ("thinlto-two-rounds-report", Some(_)) => bad = Some(option.clone()),
                ("thinlto-two-rounds-cache-path", None) => bad = Some(option.clone()),
                ("thinlto-two-rounds-cache-path", Some(path)) => {
                    rounds.cache = (!path.is_empty()).then(|| PathBuf::from(path));
                }
                _ => return true,
            }
            false
        });
        match bad {
            Some(option) => Err(Error::misuse(format!("'{option}': not a value of the option"))),
            None => Ok(wanted.then_some(rounds)),
        }
    }
}

/// The first round, and what is needed for the second.
pub struct TwoRounds<'c> {
    engine: LazyEngine,
    /// Of the link.
    cache: Option<&'c Cache>,
    /// For these rounds.
    own_cache: Option<Cache>,
    /// Engine and settings without codegen data; see [`common_key`].
    common: Key,
    in_memory: AtomicU64,
    memory: u64,
    report: bool,
}

/// What the first round left of a module.
#[derive(Debug, Default)]
pub struct First {
    /// LLVM's name for the module.
    identifier: String,
    /// Optimized; `None` where the job was ended before.
    bitcode: Option<Bytes>,
    data: Option<ObjectData>,
    code: Code,
    /// Whether all that its object is made from is known.
    may_be_kept: bool,
    /// What LLVM said, and the most memory that it took.
    pub made: Made,
}

/// The second round.
pub struct Second<'r> {
    rounds: &'r TwoRounds<'r>,
    engine: LazyEngine,
    /// The merged data, under the name that the engine's options have.
    _data: NamedBytes,
    digest: Key,
}

/// The object of the last round, and the code of both where there were two.
pub type Rounded = (Made, Option<BothRounds>);

impl<'c> TwoRounds<'c> {
    /// Prepares. `settings` are those of the link, `engine` the one it would use without, `cache`
    /// the link's.
    ///
    /// # Errors
    /// Unsupported, where the LLVM is older than 20 or runs within this process; where the engine's
    /// build cannot be told.
    pub fn new(
        rounds: &Rounds,
        engine: &LazyEngine,
        settings: &Settings,
        max_memory: Option<u64>,
        cache: Option<&'c Cache>,
    ) -> Result<Self> {
        let version = engine.library().version;
        if version.major < FIRST_LLVM {
            return Err(Error::unsupported(format!(
                "-codegen-data-thinlto-two-rounds needs LLVM {FIRST_LLVM} or newer; this is {version}"
            )));
        }
        if !engine.has_workers()? {
            return Err(Error::unsupported(
                "-codegen-data-thinlto-two-rounds needs the lto-worker program: LLVM reads codegen \
                 data once in a process",
            ));
        }
        Ok(TwoRounds {
            common: common_key(engine, settings)?,
            engine: engine.with_options(&first_options(version.major))?,
            cache,
            own_cache: rounds.cache.as_deref().map(Cache::new),
            in_memory: AtomicU64::new(0),
            memory: max_memory.unwrap_or(MEMORY),
            report: rounds.report,
        })
    }

    /// The engine of the first round.
    pub fn engine(&self) -> &LazyEngine {
        &self.engine
    }

    /// The first round of a module.
    ///
    /// # Errors
    /// The engine's; malformed codegen data, naming the module.
    pub fn first(&self, mut job: Job, settings: &Settings, watch: &mut Watch<'_>) -> Result<First> {
        // Codegen data has names of modules; they are LLVM's.
        job.place.clone_from(&job.identifier);
        let cache = self.own_cache.as_ref().or(self.cache);
        let may_be_kept = cache.is_some() && !job.reads_other_files()?;
        let kept = cache.filter(|_| may_be_kept).map(|cache| (cache, self.first_keys(&job)));
        if let Some((cache, (object, bitcode))) = &kept
            // One without the other is nothing: they must be of one compilation.
            && let (Some(object), Some(bitcode)) = (cache.lookup(object), cache.lookup(bitcode))
        {
            let object = Bytes::from(object.object);
            let first =
                self.taken(job.identifier, &object, bitcode.object.into(), Made::default())?;
            return Ok(First { may_be_kept, ..first });
        }
        let settings = Settings { output: OutputKind::Objects, ..settings.clone() };
        let mut bitcode = None;
        let identifier = job.identifier.clone();
        let mut made = job.run(&settings, &self.engine, &mut |stage, lease| {
            if stage == Stage::PreCodegen {
                bitcode = Some(lease.write_bitcode()?);
                return Ok(true);
            }
            watch(stage, lease)
        })?;
        let (Some(object), Some(bitcode)) = (made.object.take(), bitcode) else {
            return Ok(First { identifier, made, ..First::default() });
        };
        if let Some((cache, (object_key, bitcode_key))) = &kept {
            cache.store(object_key, &object)?;
            cache.store(bitcode_key, &bitcode)?;
        }
        let bitcode = self.keep(bitcode)?;
        let first = self.taken(identifier, &object, bitcode, made)?;
        Ok(First { may_be_kept, ..first })
    }

    /// Keys of the first round's object and bitcode.
    fn first_keys(&self, job: &Job) -> (Key, Key) {
        let hashed = job.key(&self.common);
        let key = |kind| {
            let mut key = KeyBuilder::new(kind);
            // Names of modules are in the data.
            key.key("job", &hashed).text("identifier", &job.identifier);
            key.finish()
        };
        (key("first round's object 1"), key("first round's bitcode 1"))
    }

    fn taken(
        &self,
        identifier: String,
        object: &[u8],
        bitcode: Bytes,
        made: Made,
    ) -> Result<First> {
        let data = extract(object).map_err(|e| e.in_file(&identifier))?;
        let code = Code::of(object);
        Ok(First { identifier, bitcode: Some(bitcode), data, code, may_be_kept: false, made })
    }

    /// Bitcode goes to a file where too much of it is in memory.
    fn keep(&self, bitcode: Bytes) -> Result<Bytes> {
        let size = bitcode.len() as u64;
        let before = self.in_memory.fetch_add(size, Ordering::Relaxed);
        if before.saturating_add(size) <= self.memory {
            return Ok(bitcode);
        }
        self.in_memory.fetch_sub(size, Ordering::Relaxed);
        bitcode.spilled()
    }

    /// Both rounds of all jobs, on the threads of `schedule`: `first` makes the first round of a
    /// job, `second` what is left of it. A job that has one round alone leaves nothing in `first`.
    /// Out come the objects, and what the rounds of each module came to that had two.
    ///
    /// # Errors
    /// The first in the order of the jobs.
    pub fn run(
        &self,
        schedule: &Schedule,
        jobs: &[schedule::Job],
        progress: &dyn Progress,
        first: impl Fn(usize) -> Result<First> + Sync,
        second: impl Fn(usize, First, &Second<'_>) -> Result<Rounded> + Sync,
    ) -> Result<(Vec<Made>, Vec<RoundSizes>)> {
        let round = |before, to_come| Part { progress, before, to_come };
        let mut firsts = schedule.run(jobs, &round(0, jobs.len()), |number| {
            let result = first(number)?;
            let peak_memory = result.made.peak_memory;
            Ok(Done { result, peak_memory })
        })?;
        let data = self.second(&mut firsts)?;
        let firsts: Vec<Mutex<First>> = firsts.into_iter().map(Mutex::new).collect();
        let rounded = schedule.run(jobs, &round(jobs.len(), 0), |number| {
            let first = firsts.get(number).map(|first| std::mem::take(&mut *first.lock()));
            let result = second(number, first.unwrap_or_default(), &data)?;
            let peak_memory = result.0.peak_memory;
            Ok(Done { result, peak_memory })
        })?;
        let (mut made, both): (Vec<Made>, Vec<_>) = rounded.into_iter().unzip();
        let sizes = sizes::compare(both.into_iter().flatten().collect());
        if let (true, Some(last)) = (self.report, made.last_mut()) {
            last.diagnostics.extend(RoundSizes::report(&sizes));
        }
        Ok((made, sizes))
    }

    /// Merges the codegen data of all modules, in their order, which decides nothing but the order
    /// of names.
    ///
    /// # Errors
    /// As [`Merger::add`]; where a file cannot be made.
    fn second(&self, firsts: &mut [First]) -> Result<Second<'_>> {
        let mut merger = Merger::new();
        for first in firsts {
            if let Some(data) = first.data.take() {
                merger.add(data).map_err(|e| e.in_file(&first.identifier))?;
            }
        }
        let merged = merger.finish(&FinalizeOptions::default())?;
        let nothing = merged.tree.is_none() && merged.map.is_none();
        let bytes = crate::cgdata::indexed::write(&merged, crate::cgdata::NEWEST_VERSION)?;
        let data = NamedBytes::new(c"codegen-data", &bytes)?;
        // Where there is nothing to use, LLVM goes on to generate.
        let option = match nothing {
            true => GENERATE.to_owned(),
            false => format!("-codegen-data-use-path={}", data.path().display()),
        };
        let mut digest = KeyBuilder::new("codegen data");
        digest.bytes("file", &bytes);
        Ok(Second {
            rounds: self,
            engine: self.engine.with_other_options(GENERATE, &option)?,
            _data: data,
            digest: digest.finish(),
        })
    }
}

impl Second<'_> {
    /// The second round of a module, and the code of both.
    ///
    /// # Errors
    /// The engine's.
    pub fn make(
        &self,
        first: First,
        settings: &Settings,
        watch: &mut Watch<'_>,
    ) -> Result<Rounded> {
        let First { identifier, bitcode, code, may_be_kept, made, .. } = first;
        let Some(bitcode) = bitcode else { return Ok((made, None)) };
        let mut key = KeyBuilder::new("second round's object 1");
        key.key("common", &self.rounds.common).key("codegen data", &self.digest);
        key.bytes("bitcode", &bitcode);
        let key = key.finish();
        let cache = self.rounds.cache.or(self.rounds.own_cache.as_ref()).filter(|_| may_be_kept);
        let found = cache.and_then(|cache| cache.lookup(&key));
        let mut second = match found {
            Some(hit) => Made::from(hit),
            None => {
                let job = Job {
                    identifier: identifier.clone(),
                    place: identifier.clone(),
                    destination: bitcode.to_vec(),
                    ..Job::default()
                };
                let settings = Settings { codegen_only: true, ..settings.clone() };
                let made = job.run(&settings, &self.engine, watch)?;
                let stored = match (cache, &made.object) {
                    (Some(cache), Some(object)) => cache.store(&key, object)?,
                    _ => None,
                };
                Made { entry: stored.map(|hit| hit.entry), ..made }
            }
        };
        let mut diagnostics = made.diagnostics;
        diagnostics.append(&mut second.diagnostics);
        second.diagnostics = diagnostics;
        let both = second.object.as_deref().map(|object| BothRounds {
            module: identifier,
            first: code,
            second: Code::of(object),
        });
        Ok((second, both))
    }
}

/// The options of the first round.
fn first_options(llvm: u32) -> Vec<String> {
    let mut options = vec![GENERATE.to_owned()];
    if llvm >= FIRST_WITH_ORDER {
        // The second round is to see users of values in the order in which the first saw them.
        options.push("-preserve-bc-uselistorder".to_owned());
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(options: &[&str]) -> (Result<Option<Rounds>>, Vec<String>) {
        let mut options: Vec<String> = options.iter().map(|o| (*o).to_owned()).collect();
        (Rounds::take(&mut options), options)
    }

    #[test]
    fn llvms_options_are_taken_out() {
        let (rounds, rest) = take(&[
            "-enable-machine-outliner",
            "--codegen-data-thinlto-two-rounds",
            "-thinlto-two-rounds-cache-path=/c",
            "-thinlto-two-rounds-report",
        ]);
        assert_eq!(rounds.unwrap(), Some(Rounds { cache: Some("/c".into()), report: true }));
        assert_eq!(rest, ["-enable-machine-outliner"]);
        assert_eq!(take(&["-codegen-data-thinlto-two-rounds=false"]).0.unwrap(), None);
        assert_eq!(take(&["-codegen-data-generate"]).0.unwrap(), None);
        assert!(take(&["-codegen-data-thinlto-two-rounds=perhaps"]).0.is_err());
        assert!(take(&["-thinlto-two-rounds-cache-path"]).0.is_err());
        assert!(take(&["-thinlto-two-rounds-report=1"]).0.is_err());
    }
}
