//! What a link did, in numbers.
//!
//! In: the driver's phases as they end. Out: [`Stats`], and their JSON for those who asked by
//! `stats-file=` or `LTO_STATS`.

use std::fmt::Write;
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::plan::{Plan, UnitKind};
use super::{Input, Output};
use crate::backend::RoundSizes;
use crate::cache::{Level, Statistics};
use crate::engine::LazyEngine;
use crate::summary::ModuleSummaryIndex;
use crate::thinlink::LinkPlan;

/// The phases of [`super::run`], in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Modules and symbols of the inputs.
    Read,
    /// Resolutions, units, edits.
    Plan,
    /// The decisions of the thin link.
    ThinLink,
    /// The files of a distributed build.
    WriteIndexes,
    /// Finding libLLVM, and in a distributed build starting the first worker.
    StartEngine,
    /// Finding libLLVM; hashing all inputs that may have changed, and looking for their objects.
    Cache,
    /// Surgery, optimization and code generation.
    Compile,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Phase::Read => "read",
            Phase::Plan => "plan",
            Phase::ThinLink => "thin_link",
            Phase::WriteIndexes => "write_indexes",
            Phase::StartEngine => "start_engine",
            Phase::Cache => "cache",
            Phase::Compile => "compile",
        }
    }
}

/// What a thin link found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThinLinkStats {
    /// Values of the combined index.
    pub values: usize,
    /// Those that something reaches.
    pub live: usize,
    /// Summaries of all modules.
    pub summaries: usize,
    /// Imports of all modules.
    pub imports: usize,
}

/// A piece of a phase: what was done for one module, and by which thread.
#[derive(Clone, Debug)]
pub struct Span {
    /// What was done.
    pub what: &'static str,
    /// LLVM's name of the module.
    pub module: String,
    /// When it began.
    pub begin: Instant,
    /// How long it took.
    pub time: Duration,
    /// The number of the thread among those that share the work.
    pub thread: usize,
}

impl Span {
    /// What began at `begin` and ends now, on this thread.
    pub fn ends(what: &'static str, module: &str, begin: Instant) -> Self {
        let thread = rayon::current_thread_index().unwrap_or(0);
        Span { what, module: module.to_owned(), begin, time: begin.elapsed(), thread }
    }
}

/// Pieces of a phase, noted by whichever threads do them.
#[derive(Default)]
pub(super) struct Spans(Mutex<Noted>);

#[derive(Default)]
struct Noted {
    spans: Vec<Span>,
    /// The threads that have noted something; their places are their numbers.
    threads: Vec<ThreadId>,
}

impl Spans {
    /// Does something for a module, and notes how long it took.
    pub fn during<R>(&self, what: &'static str, module: &str, work: impl FnOnce() -> R) -> R {
        let begin = Instant::now();
        let result = work();
        let time = begin.elapsed();
        let (mut noted, own) = (self.0.lock(), thread::current().id());
        let known = noted.threads.iter().position(|&id| id == own);
        let thread = known.unwrap_or(noted.threads.len());
        if known.is_none() {
            noted.threads.push(own);
        }
        noted.spans.push(Span { what, module: module.to_owned(), begin, time, thread });
        result
    }

    /// All of them.
    pub fn into_spans(self) -> Vec<Span> {
        self.0.into_inner().spans
    }
}

/// What a link did.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Inputs, as the linker gave them.
    pub inputs: usize,
    /// Bytes of bitcode in them.
    pub bitcode_bytes: u64,
    /// Symbols that the linker resolved, counted in each input.
    pub symbols: usize,
    /// Different names among them; 0 where the link did not count them.
    pub names: usize,
    /// Modules merged by regular LTO.
    pub regular_modules: usize,
    /// Modules compiled on their own.
    pub thin_modules: usize,
    /// The producers' identification strings, each once.
    pub producers: Vec<String>,
    /// The path of the libLLVM that was used.
    pub llvm_path: String,
    /// Its version.
    pub llvm_version: String,
    /// Why it was chosen.
    pub llvm_origin: String,
    /// What the thin link found, where it was made.
    pub thin_link: Option<ThinLinkStats>,
    /// What the cache was good for, where there was one.
    pub cache: Option<Statistics>,
    /// Inputs that were not hashed to find objects in the cache, as nobody had written to them.
    pub unwritten: usize,
    /// Where code was generated in two rounds, what they came to, by module.
    pub two_rounds: Vec<RoundSizes>,
    /// Bytes of all objects.
    pub object_bytes: u64,
    /// How many objects.
    pub objects: usize,
    /// How long each phase took.
    pub phases: Vec<(Phase, Duration)>,
    /// When the first phase began.
    pub began: Option<Instant>,
    /// What was done for each module, where that was noted.
    pub spans: Vec<Span>,
}

impl Stats {
    pub(super) fn start(inputs: &[Input<'_>]) -> Self {
        Stats {
            inputs: inputs.len(),
            bitcode_bytes: inputs.iter().map(|i| i.bitcode.len() as u64).sum(),
            symbols: inputs.iter().map(|i| i.resolutions.len()).sum(),
            began: Some(Instant::now()),
            ..Stats::default()
        }
    }

    pub(super) fn planned(&mut self, plan: &Plan<'_>) {
        self.names = plan.names;
        for unit in &plan.units {
            match &unit.kind {
                UnitKind::Regular { modules, .. } => self.regular_modules = modules.len(),
                UnitKind::Made { modules, .. } => self.regular_modules = *modules,
                UnitKind::Thin { .. } => self.thin_modules += 1,
            }
        }
    }

    pub(super) fn thin_link(&mut self, index: &ModuleSummaryIndex, plan: &LinkPlan) {
        self.thin_link = Some(ThinLinkStats {
            values: index.guids().len(),
            live: plan.liveness.live_value_count(),
            summaries: index.summary_count(),
            imports: plan.imports.count(),
        });
    }

    pub(super) fn engine(&mut self, engine: &LazyEngine) {
        let library = engine.library();
        self.llvm_path = library.path.display().to_string();
        self.llvm_version = match engine.started() {
            Some(engine) => engine.llvm_version().to_owned(),
            None => library.version.to_string(),
        };
        self.llvm_origin = library.origin.to_string();
    }

    pub(super) fn compiled(&mut self, outputs: &[Output]) {
        self.objects = outputs.len();
        self.object_bytes = outputs.iter().map(|o| o.bytes.len() as u64).sum();
    }

    /// The phases, and what was done for each module, as a trace that Chrome's and Perfetto's
    /// viewers show: `-ftime-trace`'s format, times in microseconds. What is shorter than
    /// `granularity` is left out. Phases are thread 1, the threads that work follow.
    pub fn time_trace(&self, granularity: Duration) -> String {
        let mut start = Duration::ZERO;
        let mut events = Vec::new();
        for (phase, time) in &self.phases {
            if *time >= granularity {
                events.push(format!(
                    "{{\"pid\":1,\"tid\":1,\"ph\":\"X\",\"ts\":{},\"dur\":{},\"name\":{}}}",
                    start.as_micros(),
                    time.as_micros(),
                    quote(phase.name())
                ));
            }
            start += *time;
        }
        for span in self.spans.iter().filter(|span| span.time >= granularity) {
            let start = self.began.map(|began| span.begin.saturating_duration_since(began));
            events.push(format!(
                "{{\"pid\":1,\"tid\":{},\"ph\":\"X\",\"ts\":{},\"dur\":{},\"name\":{},\
                 \"args\":{{\"detail\":{}}}}}",
                span.thread + 2,
                start.unwrap_or_default().as_micros(),
                span.time.as_micros(),
                quote(span.what),
                quote(&span.module)
            ));
        }
        format!("{{\"traceEvents\":[{}]}}\n", events.join(","))
    }

    /// The numbers as one JSON object. `linker` is who asked.
    pub fn to_json(&self, linker: &str) -> String {
        let mut json = String::from("{\n");
        let mut field = |name: &str, value: String| {
            let _ = writeln!(json, "  {}: {value},", quote(name));
        };
        field("linker", quote(linker));
        field("llvm_path", quote(&self.llvm_path));
        field("llvm_version", quote(&self.llvm_version));
        field("llvm_origin", quote(&self.llvm_origin));
        let producers: Vec<_> = self.producers.iter().map(|p| quote(p)).collect();
        field("producers", format!("[{}]", producers.join(", ")));
        field("inputs", self.inputs.to_string());
        field("bitcode_bytes", self.bitcode_bytes.to_string());
        field("modules", (self.regular_modules + self.thin_modules).to_string());
        field("regular_modules", self.regular_modules.to_string());
        field("thin_modules", self.thin_modules.to_string());
        field("symbols_resolved", self.symbols.to_string());
        if self.names != 0 {
            field("symbol_names", self.names.to_string());
        }
        if let Some(thin) = &self.thin_link {
            field("index_values", thin.values.to_string());
            field("live_values", thin.live.to_string());
            field("dead_values", thin.values.saturating_sub(thin.live).to_string());
            field("summaries", thin.summaries.to_string());
            field("imports", thin.imports.to_string());
        }
        if let Some(cache) = &self.cache {
            for (name, level) in [
                ("link", Level::Link),
                ("job", Level::Job),
                ("linked", Level::Linked),
                ("renamed", Level::Renamed),
            ] {
                field(&format!("cache_hits_{name}"), cache.hits(level).to_string());
                field(&format!("cache_misses_{name}"), cache.misses(level).to_string());
            }
            field("cache_unwritten_inputs", self.unwritten.to_string());
            field("cache_stored", cache.stored.to_string());
            field("cache_not_stored", cache.not_stored.to_string());
        }
        field("objects", self.objects.to_string());
        field("object_bytes", self.object_bytes.to_string());
        if !self.two_rounds.is_empty() {
            field("two_rounds", rounds(&self.two_rounds));
        }
        let phases: Vec<_> = self
            .phases
            .iter()
            .map(|(phase, time)| format!("{}: {:.6}", quote(phase.name()), time.as_secs_f64()))
            .collect();
        let _ = write!(json, "  \"seconds\": {{{}}}\n}}\n", phases.join(", "));
        json
    }
}

/// Sizes of two rounds, of all modules and of each.
fn rounds(modules: &[RoundSizes]) -> String {
    let sizes = |s: &RoundSizes| {
        format!(
            "\"first_code_bytes\": {}, \"second_code_bytes\": {}, \"first_copied_bytes\": {}, \
             \"second_copied_bytes\": {}, \"outlined_functions\": {}, \"merged_functions\": {}, \
             \"saved_by_outlining_bytes\": {}, \"saved_by_merging_bytes\": {}",
            s.first_code,
            s.second_code,
            s.first_copies,
            s.second_copies,
            s.outlined_functions,
            s.merged_functions,
            s.saved_by_outlining,
            s.saved_by_merging
        )
    };
    let list: Vec<_> = modules
        .iter()
        .map(|m| format!("{{\"module\": {}, {}}}", quote(&m.module), sizes(m)))
        .collect();
    format!("{{{}, \"modules\": [{}]}}", sizes(&RoundSizes::total(modules)), list.join(", "))
}

/// A JSON string.
fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            c if c < ' ' => {
                let _ = write!(quoted, "\\u{:04x}", c as u32);
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_with_what_needs_quoting() {
        let stats = Stats {
            llvm_path: "/a \"b\"\\c\n".into(),
            phases: vec![(Phase::Read, Duration::from_millis(1500))],
            ..Stats::default()
        };
        let json = stats.to_json("ld.bfd");
        assert!(json.contains(r#""llvm_path": "/a \"b\"\\c\u000a","#), "{json}");
        assert!(json.ends_with("  \"seconds\": {\"read\": 1.500000}\n}\n"), "{json}");
    }
}
