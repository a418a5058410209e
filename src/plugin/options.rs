//! The plugin's options: what stands behind each `-plugin-opt=`.
//!
//! In: one string after another, as the linker hands them over. Out: [`Options`], and for each
//! string an error or a warning where it cannot be served. No linker is asked, no file opened.
//!
//! The words are those of LLVM's gold plugin (`process_plugin_option`); what it does not know
//! goes to libLLVM's own options, as there. Some of those LLVM's plugin itself registers
//! (`codegen::RegisterCodeGenFlags`): no libLLVM has them, so they are read here.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use crate::cache::Policy;
use crate::config::{Config, OutputKind, RelocModel, RemarkOptions, Remarks};
use crate::distributed::{IndexFiles, PrefixReplace, SuffixReplace, Unindexed};
use crate::error::{Error, Result};
use crate::session::index_only::IndexOnly;

/// What the options said.
#[derive(Clone, Debug)]
pub struct Options {
    /// What goes straight to the driver.
    config: Config,
    /// `obj-path=`: where to leave the objects; the first has this name, others a number behind.
    pub obj_path: Option<String>,
    /// `unifiedlto`, and whether `thinlto` was said: together they choose the mode.
    unified: bool,
    thin: bool,
    /// `save-temps`.
    pub save_temps: bool,
    /// `extra-library-path=`: told to the linker once the objects are there.
    pub extra_library_path: Option<String>,
    /// `opt-remarks-filename=`, and what the file is to hold.
    remarks_file: Option<PathBuf>,
    remarks: RemarkOptions,
    /// `time-trace=`: where to leave the times of the link's phases.
    pub time_trace: Option<String>,
    /// `thinlto-index-only`, with or without a file.
    index_only: bool,
    /// What the options of a distributed build say.
    distributed: IndexOnly,
    /// `time-trace-granularity=`: the shortest phase to write down; LLVM's default is 500.
    pub time_trace_granularity: Duration,
}

/// What LLVM's plugin has and we do not serve: its words, without value or up to and with the `=`.
const UNSERVED: [&str; 2] = ["cs-profile-generate", "dwo_dir="];

impl Default for Options {
    fn default() -> Self {
        Options {
            config: Config { relax_elf_relocations: false, ..Config::default() },
            obj_path: None,
            unified: false,
            thin: false,
            save_temps: false,
            extra_library_path: None,
            remarks_file: None,
            // Names of files end in it, so that without a word of it they end in a dot.
            remarks: RemarkOptions { format: String::new(), ..RemarkOptions::default() },
            time_trace: None,
            index_only: false,
            distributed: IndexOnly {
                files: IndexFiles { unindexed: Unindexed::NoBytes, ..IndexFiles::default() },
                ..IndexOnly::default()
            },
            time_trace_granularity: Duration::from_micros(500),
        }
    }
}

impl Options {
    /// Reads one option.
    ///
    /// # Errors
    /// A bad value, or an option that is not served yet. Options nobody knows are found out by
    /// libLLVM, later, but for words without a dash, which cannot be its options.
    pub fn add(&mut self, option: &str) -> Result<()> {
        if Self::is_for_gcc(option) {
            return Ok(());
        }
        if let Some((name, value)) = option.split_once('=') {
            let value = value.to_owned();
            match name {
                "mcpu" => self.config.cpu = value,
                "mtriple" => self.config.override_triple = Some(value),
                "obj-path" => self.obj_path = Some(value),
                "extra-library-path" => self.extra_library_path = Some(value),
                "stats-file" => self.config.stats_file = Some(PathBuf::from(value)),
                "jobs" => self.config.jobs = jobs(&value)?,
                "max-memory" => self.config.max_memory = Some(Policy::parse_bytes(&value)?),
                "cache-dir" => {
                    self.config.cache_directory = Some(PathBuf::from(value));
                    self.config.cache_policy.get_or_insert_default();
                }
                "cache-policy" => {
                    Policy::parse(&value)?;
                    self.config.cache_policy = Some(value);
                }
                "sample-profile" => {
                    let path = PathBuf::from(value);
                    self.config.sample_profile = (!path.as_os_str().is_empty()).then_some(path);
                }
                "cs-profile-path" => self.config.cs_profile = Some(PathBuf::from(value)),
                "opt-remarks-filename" => self.remarks_file = Some(PathBuf::from(value)),
                "opt-remarks-passes" => self.remarks.passes = value,
                "opt-remarks-format" => self.remarks.format = value,
                "opt-remarks-hotness-threshold" => {
                    self.remarks.hotness_threshold = RemarkOptions::threshold(&value)?;
                }
                "lto-partitions" => {
                    self.config.lto_partitions = value.parse().map_err(|_| {
                        Error::misuse(format!("Invalid codegen partition level: {value}"))
                    })?;
                }
                "time-trace" => self.time_trace = Some(value),
                "thinlto-index-only" => {
                    self.index_only = true;
                    self.distributed.linked_objects =
                        Some(PathBuf::from(value)).filter(|path| !path.as_os_str().is_empty());
                }
                "thinlto-prefix-replace" => {
                    self.distributed.files.prefix = PrefixReplace::parse(value.as_bytes())?;
                }
                "thinlto-object-suffix-replace" => {
                    self.distributed.suffix = SuffixReplace::parse(value.as_bytes())?;
                }
                "llvm-version" => {
                    let major = value.parse().map_err(|_| {
                        Error::misuse(format!("llvm-version expects a number, not '{value}'"))
                    })?;
                    self.distributed.llvm = Some(major);
                }
                "time-trace-granularity" => {
                    let micros = value.parse::<u32>().map_err(|_| {
                        Error::misuse(format!("Invalid time trace granularity: {value}"))
                    })?;
                    self.time_trace_granularity = Duration::from_micros(micros.into());
                }
                _ => return self.unserved(option),
            }
            return Ok(());
        }
        match option {
            "emit-llvm" => self.config.output = OutputKind::Bitcode,
            "emit-asm" => self.config.output = OutputKind::Assembly,
            "disable-output" => self.config.output = OutputKind::Nothing,
            "debug-pass-manager" => self.config.debug_pass_manager = true,
            "merge-functions" => self.config.merge_functions = true,
            "save-temps" => self.save_temps = true,
            "opt-remarks-with-hotness" => self.remarks.with_hotness = true,
            "unifiedlto" => self.unified = true,
            "thinlto-index-only" => self.index_only = true,
            "thinlto-emit-imports-files" => self.distributed.files.imports = true,
            "whole-program-visibility" => self.config.whole_program_visibility = true,
            // A module with a summary takes the thin way by itself; without `unifiedlto`, LLVM's
            // plugin uses the word only to keep files open.
            "thinlto" => self.thin = true,
            // LLVM's pass manager has been the new one for long.
            "new-pass-manager" | "disable-verify" => {}
            _ => match option.as_bytes() {
                [b'O', level] => {
                    let level = level.wrapping_sub(b'0');
                    if level > 3 {
                        return Err(Error::misuse("Optimization level must be between 0 and 3"));
                    }
                    self.config.opt_level = level;
                    self.config.codegen_opt_level = level;
                }
                _ => return self.unserved(option),
            },
        }
        Ok(())
    }

    /// What the gcc driver passes to its own plugin. mold has one plugin and gives it the options
    /// of all; ld.bfd and ld.gold know whose they are.
    fn is_for_gcc(option: &str) -> bool {
        option.ends_with("/lto-wrapper")
            || option.starts_with("-fresolution=")
            || option.starts_with("-pass-through=")
    }

    fn unserved(&mut self, option: &str) -> Result<()> {
        let word = option.split_inclusive('=').next().unwrap_or(option);
        match UNSERVED.contains(&word) {
            true => Err(Error::unsupported(format!("the option '{option}' is not supported yet"))),
            false => self.config.take_flag(option),
        }
    }

    /// Whether the link only gives bitcode, assembly, indexes or nothing, after which the linker
    /// has nothing left to do.
    pub fn ends_early(&self) -> bool {
        self.config.output != OutputKind::Objects || self.index_only
    }

    /// Whether a cache is named, and there will be objects to look for.
    pub fn caches(&self) -> bool {
        self.config.cache_directory.is_some() && !self.ends_early()
    }

    /// What a distributed build is to get, where the link is for one.
    pub fn index_only(&self) -> Option<&IndexOnly> {
        self.index_only.then_some(&self.distributed)
    }

    /// How the backends of a distributed build call a file of this name.
    pub fn backends_name<'p>(&self, name: &'p [u8]) -> Cow<'p, [u8]> {
        self.distributed.suffix.apply(name)
    }

    /// What the link is to give.
    pub fn output(&self) -> OutputKind {
        self.config.output
    }

    /// The driver's knobs: what was said, and LLVM's plugin's defaults for this kind of output.
    /// Functions and data get sections of their own but for `-r`, `reloc_model` is the linker's
    /// choice.
    pub fn config(&self, relocatable: bool, reloc_model: Option<RelocModel>) -> Config {
        let mut config = self.config.clone();
        config.function_sections.get_or_insert(!relocatable);
        config.data_sections.get_or_insert(!relocatable);
        config.reloc_model = config.reloc_model.or(reloc_model);
        config.unified_regular = self.unified && !self.thin;
        config.remarks = Remarks::wanted(self.remarks_file.clone(), self.remarks.clone());
        config.always_emit_regular_lto_object = self.obj_path.is_some();
        config
    }
}

/// `get_threadpool_strategy`: a number, `all`, or 0 and nothing for the default.
fn jobs(value: &str) -> Result<Option<usize>> {
    match value {
        "" | "0" | "all" => Ok(None),
        _ => match value.parse() {
            Ok(jobs) => Ok(Some(jobs)),
            Err(_) => Err(Error::misuse(format!("Invalid parallelism level: {value}"))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn parse(options: &[&str]) -> Result<Options> {
        let mut all = Options::default();
        for option in options {
            all.add(option)?;
        }
        Ok(all)
    }

    fn cause(option: &str) -> String {
        parse(&[option]).unwrap_err().message().to_owned()
    }

    #[test]
    fn what_clang_passes() {
        let options = parse(&[
            "mcpu=x86-64",
            "O3",
            "thinlto",
            "jobs=3",
            "-function-sections=1",
            "-data-sections=0",
            "-debugger-tune=gdb",
            "-mattr=+avx2,-sse4a",
            "-import-instr-limit=5",
        ])
        .unwrap();
        let config = options.config(true, Some(RelocModel::Pic));
        assert_eq!((config.cpu.as_str(), config.opt_level, config.jobs), ("x86-64", 3, Some(3)));
        assert_eq!((config.function_sections, config.data_sections), (Some(true), Some(false)));
        assert_eq!(config.attributes, ["+avx2", "-sse4a"]);
        assert_eq!(config.llvm_options, ["-import-instr-limit=5"]);
        assert_eq!(config.reloc_model, Some(RelocModel::Pic));
    }

    #[test]
    fn sections_are_split_but_for_relocatable_output() {
        let options = parse(&[]).unwrap();
        assert_eq!(options.config(false, None).function_sections, Some(true));
        assert_eq!(options.config(false, None).data_sections, Some(true));
        assert_eq!(options.config(true, None).function_sections, Some(false));
        assert_eq!(options.config(true, None).data_sections, Some(false));
    }

    #[test]
    fn what_gcc_passes_to_its_own_plugin_is_not_ours() {
        let options = parse(&[
            "/usr/lib/gcc/x86_64-linux-gnu/12/lto-wrapper",
            "-fresolution=/tmp/cc.res",
            "-pass-through=-lgcc_s",
        ]);
        assert!(options.unwrap().config(false, None).llvm_options.is_empty());
    }

    #[test]
    fn unified_lto_is_regular_unless_thin_is_said() {
        let regular =
            |options: &[&str]| parse(options).unwrap().config(false, None).unified_regular;
        assert!(regular(&["unifiedlto"]));
        assert!(!regular(&["unifiedlto", "thinlto"]));
        assert!(!regular(&["thinlto"]));
    }

    #[test]
    fn a_distributed_build_is_told_where_its_files_go() {
        assert!(parse(&["thinlto", "thinlto-emit-imports-files"]).unwrap().index_only().is_none());
        let options = parse(&[
            "thinlto-index-only=",
            "thinlto-prefix-replace=a/;b/",
            "thinlto-object-suffix-replace=.bc;.o",
        ]);
        let options = options.unwrap();
        assert!(options.ends_early());
        let job = options.index_only().unwrap();
        assert_eq!((job.linked_objects.as_deref(), job.files.imports), (None, false));
        assert_eq!(job.files.prefix.index_path(b"a/x"), b"b/x");
        assert_eq!(&*options.backends_name(b"x.bc"), b"x.o");
        let options = parse(&["thinlto-index-only=list", "thinlto-emit-imports-files"]).unwrap();
        let job = options.index_only().unwrap();
        assert_eq!(job.linked_objects.as_deref(), Some(Path::new("list")));
        assert!(job.files.imports);
        assert!(cause("thinlto-prefix-replace=x").contains("expects 'old;new"));
        assert!(cause("thinlto-object-suffix-replace=x").contains("expects 'old;new' format"));
        assert!(cause("llvm-version=new").contains("expects a number"));
    }

    #[test]
    fn bad_values_get_llvms_words() {
        assert_eq!(cause("O7"), "Optimization level must be between 0 and 3");
        assert_eq!(cause("Os"), "Optimization level must be between 0 and 3");
        assert_eq!(cause("lto-partitions=x"), "Invalid codegen partition level: x");
        assert_eq!(cause("jobs=many"), "Invalid parallelism level: many");
        assert_eq!(cause("time-trace-granularity=no"), "Invalid time trace granularity: no");
        assert!(cause("-function-sections=2").contains("invalid value for boolean"));
        assert!(cause("-relocation-model=rwpi").contains("Cannot find option named 'rwpi'"));
    }

    #[test]
    fn what_is_not_served_says_so() {
        for option in ["cs-profile-generate", "dwo_dir=x"] {
            assert_eq!(cause(option), format!("the option '{option}' is not supported yet"));
        }
        assert_eq!(cause("frobnicate"), "unknown option 'frobnicate'");
    }
}
