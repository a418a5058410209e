//! The command line of `llvm-lto2 run`.
//!
//! In: arguments. Out: a [`Job`], or an error for what is not served. Source of words: llvm-lto2.cpp.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use super::command_line::{Argument, Arguments, Parser, Word, boolean};
use super::llvm_version::LlvmVersion;
use super::saved_link::SavedLink;
use super::shown::Shown;
use crate::config::{Config, OutputKind, RelocModel, RemarkOptions, Remarks, SavedStage};
use crate::distributed::{self, PrefixReplace, write_atomically};
use crate::error::{Error, Result};
use crate::session::Stats;
use crate::thinlink::ThinLinkOptions;

/// What `run` was asked to do.
pub(super) struct Job<'a> {
    pub(super) link: SavedLink<'a>,
    pub(super) output: Option<Word<'a>>,
    pub(super) distributed_indexes: bool,
    /// Write the same files, and link all the same.
    pub(super) emit_indexes: bool,
    pub(super) emit_imports: bool,
    pub(super) linked_objects: Option<Word<'a>>,
    pub(super) prefix: PrefixReplace,
    pub(super) save_index: bool,
    pub(super) save_resolutions: bool,
    pub(super) save_temps: bool,
    pub(super) stats_file: Option<Word<'a>>,
    /// Where times go, if anywhere, and the shortest to write down.
    pub(super) time_trace: Option<PathBuf>,
    pub(super) time_trace_granularity: Duration,
    pub(super) shown: Shown,
    pub(super) threads: usize,
    pub(super) llvm: LlvmVersion,
    pub(super) options: ThinLinkOptions,
    pub(super) config: Config,
}

impl Job<'_> {
    /// A stage that is asked for by name.
    fn save(&mut self, stage: SavedStage) {
        self.save_temps = true;
        self.config.save_stages.get_or_insert_default().push(stage);
    }

    /// Writes down how long everything took, if that was asked for.
    pub(super) fn write_trace(&self, times: &Stats) -> Result<()> {
        let Some(path) = &self.time_trace else { return Ok(()) };
        write_atomically(path, times.time_trace(self.time_trace_granularity).as_bytes())
    }
}

/// What LLVM's program has and ours does not: passes from plugins, profiles that the passes
/// of the link count, distribution of backends.
const UNSERVED: [&[u8]; 8] = [
    b"load",
    b"load-pass-plugin",
    b"lto-cspgo-gen",
    b"dtlto-compiler",
    b"dtlto-compiler-arg",
    b"dtlto-compiler-prepend-arg",
    b"dtlto-distributor",
    b"dtlto-distributor-arg",
];

/// Where times go: to the file that is named, or else beside the output; `timeTraceProfilerWrite`.
fn trace(wanted: bool, file: Option<&[u8]>, output: Option<&[u8]>) -> Option<PathBuf> {
    let name = match (file.unwrap_or_default(), output.unwrap_or_default()) {
        (b"", b"-") => b"out.time-trace".to_vec(),
        (b"", output) => [output, b".time-trace"].concat(),
        (file, _) => file.to_vec(),
    };
    wanted.then(|| PathBuf::from(OsStr::from_bytes(&name)))
}

/// Reads the command line.
pub(super) fn parse(arguments: &Arguments) -> Result<Job<'_>> {
    let mut job = Job {
        link: SavedLink::default(),
        output: None,
        distributed_indexes: false,
        emit_indexes: false,
        emit_imports: false,
        linked_objects: None,
        prefix: PrefixReplace::default(),
        save_index: false,
        save_resolutions: false,
        stats_file: None,
        time_trace: None,
        time_trace_granularity: Duration::from_micros(500),
        shown: Shown::default(),
        save_temps: false,
        threads: 0,
        llvm: LlvmVersion::default(),
        options: ThinLinkOptions::default(),
        // `lto::Config` starts with it; the linker plugin asks its linker.
        config: Config { reloc_model: Some(RelocModel::Pic), ..Config::default() },
    };
    let (mut selected, mut all) = (false, false);
    let (mut traces, mut trace_file) = (false, None);
    let (mut remarks_file, mut remarks) = (None, RemarkOptions::default());
    let mut parser = Parser::new(arguments.words());
    while let Some(argument) = parser.next_argument() {
        let (name, value) = match argument {
            Argument::Positional(word) => {
                job.link.files.push(word);
                continue;
            }
            Argument::Option(name, value) => (name, value),
        };
        match &*name {
            b"r" => job.link.add_resolution(&name, value, &mut parser)?,
            b"o" => job.output = Some(parser.value(&name, value)?),
            b"thinlto-distributed-indexes" => job.distributed_indexes = boolean(&name, value)?,
            b"thinlto-emit-indexes" => job.emit_indexes = boolean(&name, value)?,
            b"unified-lto" => {
                job.config.unified_regular = match &*parser.value(&name, value)? {
                    b"full" => true,
                    b"thin" | b"default" => false,
                    _ => return Err(Error::misuse("invalid LTO mode")),
                };
            }
            b"pass-remarks-output" => {
                let value = parser.value(&name, value)?;
                remarks_file = Some(PathBuf::from(OsStr::from_bytes(&value)));
            }
            b"pass-remarks-filter" => {
                let value = parser.value(&name, value)?;
                remarks.passes = String::from_utf8_lossy(&value).into_owned();
            }
            b"pass-remarks-format" => {
                let value = parser.value(&name, value)?;
                remarks.format = String::from_utf8_lossy(&value).into_owned();
            }
            b"pass-remarks-with-hotness" => remarks.with_hotness = boolean(&name, value)?,
            b"pass-remarks-hotness-threshold" => {
                let value = parser.value(&name, value)?;
                remarks.hotness_threshold =
                    RemarkOptions::threshold(&String::from_utf8_lossy(&value))?;
            }
            b"opt-pipeline" => {
                let value = parser.value(&name, value)?;
                job.config.opt_pipeline = Some(String::from_utf8_lossy(&value).into_owned());
            }
            b"time-trace" => traces = boolean(&name, value)?,
            b"time-trace-file" => trace_file = Some(parser.value(&name, value)?),
            b"time-trace-granularity" => {
                let value = parser.value(&name, value)?;
                let micros = std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok());
                let micros: u32 = micros.ok_or_else(|| {
                    Error::misuse(format!(
                        "for the --time-trace-granularity option: '{}' value invalid for uint \
                         argument!",
                        String::from_utf8_lossy(&value)
                    ))
                })?;
                job.time_trace_granularity = Duration::from_micros(micros.into());
            }
            b"lto-cspgo-profile-file" => {
                let value = parser.value(&name, value)?;
                let path = PathBuf::from(OsStr::from_bytes(&value));
                job.config.cs_profile = Some(path).filter(|path| !path.as_os_str().is_empty());
            }
            b"lto-sample-profile-file" => {
                let value = parser.value(&name, value)?;
                let path = PathBuf::from(OsStr::from_bytes(&value));
                job.config.sample_profile = Some(path).filter(|path| !path.as_os_str().is_empty());
            }
            b"default-triple" => {
                let value = parser.value(&name, value)?;
                job.config.default_triple = Some(String::from_utf8_lossy(&value).into_owned())
                    .filter(|triple| !triple.is_empty());
            }
            b"aa-pipeline" => {
                let value = parser.value(&name, value)?;
                job.config.aa_pipeline = Some(String::from_utf8_lossy(&value).into_owned())
                    .filter(|pipeline| !pipeline.is_empty());
            }
            b"thinlto-emit-imports" | b"thinlto-emit-imports-files" => {
                job.emit_imports = boolean(&name, value)?;
            }
            b"thinlto-index-only" => job.linked_objects = Some(parser.value(&name, value)?),
            b"thinlto-prefix-replace" => {
                job.prefix = PrefixReplace::parse(&parser.value(&name, value)?)?;
            }
            b"thinlto-threads" => {
                let value = parser.value(&name, value)?;
                job.threads = match &*value {
                    b"all" | b"" => 0,
                    digits => std::str::from_utf8(digits)
                        .ok()
                        .and_then(|s| s.parse().ok())
                        .ok_or_else(|| Error::misuse("--thinlto-threads: not a number"))?,
                };
            }
            b"select-save-temps" => {
                let stages = parser.value(&name, value)?;
                selected = true;
                for stage in stages.split(|&c| c == b',') {
                    match stage {
                        b"combinedindex" => {
                            job.save_index = true;
                            job.save(SavedStage::CombinedIndex);
                        }
                        b"resolution" => job.save_resolutions = true,
                        b"preopt" => job.save(SavedStage::PreOpt),
                        b"promote" => job.save(SavedStage::Promote),
                        b"internalize" => job.save(SavedStage::Internalize),
                        b"import" => job.save(SavedStage::Import),
                        b"opt" => job.save(SavedStage::Opt),
                        b"precodegen" => job.save(SavedStage::PreCodegen),
                        other => {
                            return Err(Error::misuse(format!(
                                "invalid -select-save-temps argument: {}",
                                String::from_utf8_lossy(other)
                            )));
                        }
                    }
                }
            }
            b"save-temps" => {
                job.save_index = boolean(&name, value)?;
                job.save_resolutions = job.save_index;
                job.save_temps = job.save_index;
                all = job.save_temps;
            }
            b"print-summary-global-ids" => job.shown.global_ids = boolean(&name, value)?,
            b"print-import-failures" => job.shown.failures = boolean(&name, value)?,
            b"dump-thin-cg-sccs" => job.shown.components = boolean(&name, value)?,
            b"stats-file" => job.stats_file = Some(parser.value(&name, value)?),
            b"llvm-version" => {
                job.llvm = LlvmVersion::parse(&parser.value(&name, value)?)?;
            }
            [b'O', digits @ ..] if digits.len() < 2 => {
                let level = match digits {
                    [digit] => *digit,
                    _ => match *parser.value(&name, value)? {
                        [digit] => digit,
                        _ => 0,
                    },
                };
                if !level.is_ascii_digit() || level > b'3' {
                    return Err(Error::misuse("optimization level must be between 0 and 3"));
                }
                job.config.opt_level = level - b'0';
                job.options.import = level != b'0';
            }
            b"cg-opt-level" => {
                let value = parser.value(&name, value)?;
                job.config.codegen_opt_level = match *value {
                    [level @ b'0'..=b'3'] => level - b'0',
                    _ => {
                        let value = String::from_utf8_lossy(&value);
                        return Err(Error::misuse(format!(
                            "invalid cg optimization level: {value}"
                        )));
                    }
                };
            }
            b"override-triple" => {
                let value = parser.value(&name, value)?;
                job.config.override_triple = Some(String::from_utf8_lossy(&value).into_owned())
                    .filter(|triple| !triple.is_empty());
            }
            b"filetype" => {
                job.config.output = match &*parser.value(&name, value)? {
                    b"asm" => OutputKind::Assembly,
                    b"obj" => OutputKind::Objects,
                    b"null" => {
                        return Err(Error::unsupported("the option -filetype=null is not served"));
                    }
                    other => {
                        return Err(Error::misuse(format!(
                            "for the --filetype option: Cannot find option named '{}'!",
                            String::from_utf8_lossy(other)
                        )));
                    }
                };
            }
            b"cache-dir" => {
                let value = parser.value(&name, value)?;
                job.config.cache_directory = Some(OsStr::from_bytes(&value).into());
            }
            b"lto-freestanding" => job.config.freestanding = boolean(&name, value)?,
            b"debug-pass-manager" => job.config.debug_pass_manager = boolean(&name, value)?,
            // How LLVM keeps its memory.
            b"lto-keep-symbol-copies" => {}
            // How LLVM up to 20 keeps debug information meanwhile.
            b"try-experimental-debuginfo-iterators" => {
                boolean(&name, value)?;
            }
            name if UNSERVED.contains(&name) => {
                return Err(Error::unsupported(format!(
                    "the option -{} is not served",
                    String::from_utf8_lossy(name)
                )));
            }
            _ => flag(&mut job, &name, value, &mut parser)?,
        }
    }
    job.time_trace = trace(traces, trace_file.as_deref(), job.output.as_deref());
    job.config.remarks = Remarks::wanted(remarks_file, remarks);
    if selected && all {
        return Err(Error::misuse("-save-temps cannot be specified with -select-save-temps"));
    }
    if job.link.files.is_empty() {
        return Err(Error::misuse(
            "Not enough positional command line arguments specified! Must specify at least 1 \
             positional argument",
        ));
    }
    if job.output.is_none() {
        return Err(Error::misuse("for the -o option: must be specified at least once!"));
    }
    Ok(job)
}

/// An option that steers the thin link or code generation, or is libLLVM's own.
fn flag<'a>(
    job: &mut Job<'a>,
    name: &[u8],
    value: Option<Word<'a>>,
    parser: &mut Parser<'a>,
) -> Result<()> {
    let text = String::from_utf8_lossy(name).into_owned();
    let wants_value = distributed::wants_value(&text) || Config::flag_wants_value(&text);
    let value = match value {
        None if wants_value => Some(parser.value(name, None)?),
        value => value,
    };
    let whole = match value {
        Some(value) => format!("{text}={}", String::from_utf8_lossy(&value)),
        None => text,
    };
    if distributed::take_option(&mut job.options, &whole)? {
        job.config.llvm_options.push(format!("-{whole}"));
        return Ok(());
    }
    job.config.take_flag(&format!("-{whole}"))
}

/// An option of LLVM's that steers the thin link.
pub(super) fn other_option<'a>(
    options: &mut ThinLinkOptions,
    name: &[u8],
    value: Option<Word<'a>>,
    parser: &mut Parser<'a>,
) -> Result<()> {
    let text = String::from_utf8_lossy(name).into_owned();
    let value = match value {
        None if distributed::wants_value(&text) => Some(parser.value(name, None)?),
        value => value,
    };
    let whole = match value {
        Some(value) => format!("{text}={}", String::from_utf8_lossy(&value)),
        None => text,
    };
    if distributed::take_option(options, &whole)? { Ok(()) } else { Err(not_here(name)) }
}

#[cold]
pub(super) fn not_here(name: &[u8]) -> Error {
    Error::misuse(format!("Unknown command line argument '-{}'", String::from_utf8_lossy(name)))
}
