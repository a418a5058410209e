//! `lto-index why` and `lto-index graph`: what the thin link imports, and why not more.
//!
//! In: a saved link, or files alone; for `why` a module and a function. Out: text for people, and
//! for `graph` Graphviz's.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write;

use super::command_line::{Argument, Arguments, Parser, Word, boolean};
use super::llvm_version::LlvmVersion;
use super::lto2_options::other_option;
use super::saved_link::SavedLink;
use crate::distributed::ThinInputs;
use crate::error::{Error, Result};
use crate::summary::{
    ModuleId, ModuleSummaryIndex, ReadOptions, Summary, SummaryId, SummaryKind, ValueId, guid_of,
};
use crate::symbols::triple::{ObjectFormat, Triple};
use crate::thinlink::{
    Considered, Explanation, FailureReason, LinkPlan, ThinLinkOptions, VisibilityScheme,
};

/// What `lto-index why` answers.
pub struct Answer {
    /// Whether the function is imported.
    pub imported: bool,
    /// The reasons, in lines.
    pub text: String,
}

/// `why MODULE FUNCTION FILE...`, with `-r` and the thin link's options as for llvm-lto2 and
/// `@FILE` for more arguments; without any `-r` the files are taken for a shared library.
///
/// # Errors
/// As the thin link; misuse where the link has no such module or function.
pub fn why(arguments: impl Iterator<Item = OsString>) -> Result<Answer> {
    let arguments = Arguments::new(arguments)?;
    let mut job = parse(&arguments)?;
    if job.link.files.len() < 3 {
        return Err(Error::misuse("why needs a module, a function, and the files of the link"));
    }
    let rest = job.link.files.split_off(2);
    let question = std::mem::replace(&mut job.link.files, rest);
    let [module, function] = question.as_slice() else {
        return Err(Error::misuse("why needs a module and a function"));
    };
    let (read, plan) = run(&mut job)?;
    let index = &read.index;
    let module = find_module(index, module)?;
    let functions = find_functions(index, function)?;
    let report =
        Report { index, plan: &plan, module, explanation: &Explanation::of(index, &plan, module) };
    let mut answer = Answer { imported: false, text: String::new() };
    for value in functions {
        answer.imported |= report.value(value, &mut answer.text);
    }
    Ok(answer)
}

/// `graph [--dot] FILE...`: who imports how much from whom.
///
/// # Errors
/// As the thin link.
pub fn graph(arguments: impl Iterator<Item = OsString>) -> Result<String> {
    let arguments = Arguments::new(arguments)?;
    let mut job = parse(&arguments)?;
    if job.link.files.is_empty() {
        return Err(Error::misuse("graph needs the files of the link"));
    }
    let (read, plan) = run(&mut job)?;
    let index = &read.index;
    let mut edges: BTreeMap<(ModuleId, ModuleId), [usize; 2]> = BTreeMap::new();
    for module in (0..index.modules().len() as u32).map(ModuleId) {
        for import in plan.imports.of(module).sorted() {
            let Some(summary) = index.summary(import.summary).filter(|_| !import.declaration)
            else {
                continue;
            };
            let counts = edges.entry((module, summary.module())).or_default();
            let [functions, variables] = counts;
            match summary.base_object().kind() {
                SummaryKind::Variable => *variables += 1,
                _ => *functions += 1,
            }
        }
    }
    Ok(match job.dot {
        true => dot(index, &edges),
        false => table(index, &edges),
    })
}

type Edges = BTreeMap<(ModuleId, ModuleId), [usize; 2]>;

fn table(index: &ModuleSummaryIndex, edges: &Edges) -> String {
    let mut text = String::new();
    for (&(importer, source), [functions, variables]) in edges {
        let (importer, source) = (path(index, importer), path(index, source));
        let _ = writeln!(
            text,
            "{importer} imports {} from {source}",
            [count(*functions, "function"), count(*variables, "variable")]
                .into_iter()
                .filter(|part| !part.starts_with("0 "))
                .collect::<Vec<_>>()
                .join(" and ")
        );
    }
    text
}

fn dot(index: &ModuleSummaryIndex, edges: &Edges) -> String {
    let quote = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let mut text = String::from("digraph imports {\n  node [shape=box];\n");
    for module in (0..index.modules().len() as u32).map(ModuleId) {
        let summaries = index.module_summaries(module);
        if !path(index, module).starts_with('\0') {
            let defined = count(summaries.len(), "definition");
            let name = quote(&path(index, module));
            let label = quote(&format!("{}\n{defined}", path(index, module)));
            let _ = writeln!(text, "  {name} [label={}];", label.replace('\n', "\\n"));
        }
    }
    for (&(importer, source), [functions, variables]) in edges {
        let (importer, source) = (quote(&path(index, importer)), quote(&path(index, source)));
        let (label, style) = match (functions, variables) {
            (0, variables) => (variables, ", style=dashed"),
            (functions, _) => (functions, ""),
        };
        let _ = writeln!(text, "  {importer} -> {source} [label=\"{label}\"{style}];");
    }
    text.push_str("}\n");
    text
}

struct Job<'a> {
    link: SavedLink<'a>,
    llvm: LlvmVersion,
    options: ThinLinkOptions,
    dot: bool,
}

fn parse(arguments: &Arguments) -> Result<Job<'_>> {
    let mut job = Job {
        link: SavedLink::default(),
        llvm: LlvmVersion::default(),
        options: ThinLinkOptions::default(),
        dot: false,
    };
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
            b"dot" => job.dot = boolean(&name, value)?,
            b"llvm-version" => {
                job.llvm = LlvmVersion::parse(&parser.value(&name, value)?)?;
            }
            b"O0" | b"O1" | b"O2" | b"O3" => job.options.import = &*name != b"O0",
            // Where a link's own command line would write to.
            b"o" => drop(parser.value(&name, value)?),
            b"thinlto-distributed-indexes" | b"thinlto-emit-imports" | b"save-temps" => {}
            _ => other_option(&mut job.options, &name, value, &mut parser)?,
        }
    }
    Ok(job)
}

fn run(job: &mut Job<'_>) -> Result<(ThinInputs, LinkPlan)> {
    if !job.link.has_resolutions() {
        job.link.assume_resolutions()?;
    }
    let named = ReadOptions { names: true, ..ReadOptions::THIN_LINK };
    let read = job.llvm.read(&job.link.inputs()?, &mut job.options, &named)?;
    if Triple::parse(&read.target_triple).format == ObjectFormat::Elf {
        job.options.visibility_scheme = VisibilityScheme::Elf;
    }
    let plan = read.plan(&job.options)?;
    Ok((read, plan))
}

/// A module by its path, or by the end of it where only one ends so.
fn find_module(index: &ModuleSummaryIndex, name: &Word<'_>) -> Result<ModuleId> {
    if let Some(id) = index.find_module(name) {
        return Ok(id);
    }
    let mut matching = (0..index.modules().len() as u32).map(ModuleId).filter(|&id| {
        let path = index.module(id).map_or(&[][..], |module| &module.path);
        path.strip_suffix(&**name).is_some_and(|rest| rest.ends_with(b"/"))
    });
    match (matching.next(), matching.next()) {
        (Some(id), None) => Ok(id),
        (Some(_), Some(_)) => Err(Error::misuse(format!(
            "several modules of the link end in {}",
            String::from_utf8_lossy(name)
        ))),
        _ => Err(Error::misuse(format!(
            "the link has no module {} with a ThinLTO summary",
            String::from_utf8_lossy(name)
        ))),
    }
}

/// The values of a name: one of external linkage, and the local ones of every module. A name that
/// a promoted function got (`f.llvm.123`) will do.
fn find_functions(index: &ModuleSummaryIndex, name: &[u8]) -> Result<Vec<ValueId>> {
    let plain = memchr::memmem::rfind(name, b".llvm.").and_then(|at| name.get(..at));
    for name in [Some(name), plain].into_iter().flatten() {
        let global = index.find(guid_of(name));
        let values: Vec<ValueId> = (0..index.guids().len() as u32)
            .map(ValueId)
            .filter(|&value| Some(value) == global || index.name(value) == name)
            .collect();
        if !values.is_empty() {
            return Ok(values);
        }
    }
    let name = String::from_utf8_lossy(name);
    Err(Error::misuse(format!("nothing in the link is called {name}")))
}

/// What there is to say of one module.
struct Report<'r> {
    index: &'r ModuleSummaryIndex,
    plan: &'r LinkPlan,
    module: ModuleId,
    explanation: &'r Explanation,
}

impl Report<'_> {
    /// Says all there is to say of one value, and whether it is imported.
    fn value(&self, value: ValueId, text: &mut String) -> bool {
        let (index, module) = (self.index, path(self.index, self.module));
        let name = self.name(value);
        if let Some(own) = index.summary_in_module(value, self.module) {
            let _ = writeln!(text, "{module} defines {name} itself{}", self.state(own));
            return false;
        }
        let taken = self
            .plan
            .imports
            .of(self.module)
            .sorted()
            .into_iter()
            .find(|import| index.summary(import.summary).is_some_and(|s| s.value() == value));
        match taken.and_then(|import| Some((import, index.summary(import.summary)?))) {
            Some((import, summary)) => {
                let how = if import.declaration { " as a declaration" } else { "" };
                let source = path(index, summary.module());
                let _ = writeln!(text, "{module} imports {name} from {source}{how}");
            }
            None => {
                let _ = writeln!(text, "{module} does not import {name}");
            }
        }
        let mut calls = 0;
        for call in self.explanation.calls_of(value) {
            calls += 1;
            self.call(call, text);
        }
        for &(referrer, variable) in &self.explanation.variables {
            if index.summary(variable).is_some_and(|v| v.value() == value) {
                calls += 1;
                let _ = writeln!(text, "  {} refers to it", self.function(referrer));
            }
        }
        match (calls, taken) {
            (0, Some(_)) => {
                let _ = writeln!(text, "  the workload definition asks for it");
            }
            (0, None) => self.without_calls(value, text),
            _ => {}
        }
        taken.is_some_and(|import| !import.declaration)
    }

    /// A call that was looked into, and each copy of the callee.
    fn call(&self, call: &Considered, text: &mut String) {
        let limit = call.threshold;
        let _ = writeln!(
            text,
            "  {} calls it: up to {} there",
            self.function(call.caller),
            count(limit as usize, "instruction")
        );
        for &(copy, reason) in &call.copies {
            let Some(summary) = self.index.summary(copy) else { continue };
            let size = count(summary.base_object().inst_count() as usize, "instruction");
            let verdict = match reason {
                None => "taken".to_owned(),
                Some(reason) => {
                    let mut verdict = format!("refused: {}", reason.explanation());
                    if reason == FailureReason::TooLarge {
                        verdict = format!("refused: more than {limit}");
                    }
                    verdict
                }
            };
            let of = path(self.index, summary.module());
            let _ = writeln!(text, "    {of}, {size}{}: {verdict}", self.state(copy));
        }
        if call.copies.is_empty() {
            let _ = writeln!(text, "    no module with a summary defines it");
        }
    }

    /// Why no call was looked into.
    fn without_calls(&self, value: ValueId, text: &mut String) {
        let index = self.index;
        if !self.plan.options.import {
            let _ = writeln!(text, "  nothing is imported at -O0");
            return;
        }
        if index.copies(value).is_empty() {
            let _ = writeln!(text, "  no module with a summary defines it");
        }
        let calls = |s: &Summary<'_>| {
            let virtual_calls = self.plan.devirtualization.calls(s.id());
            s.calls().chain(virtual_calls).any(|(callee, _)| callee == value)
        };
        let callers: Vec<Summary<'_>> = index
            .summaries()
            .filter(|s| calls(s) || s.refs().iter().any(|reference| reference.value() == value))
            .collect();
        let (own, others): (Vec<_>, Vec<_>) =
            callers.into_iter().partition(|caller| caller.module() == self.module);
        for caller in &own {
            let name = self.name(caller.value());
            let live = self.plan.liveness.is_live(caller.id().index());
            let why = match (live, calls(caller)) {
                (false, _) => "refers to it, but nothing that is kept refers to that",
                (true, true) => "calls it, and the limit on imports (-import-cutoff) was reached",
                (true, false) => "refers to it without a call, which imports no function",
            };
            let _ = writeln!(text, "  {name} {why}");
        }
        if own.is_empty() {
            let _ = writeln!(text, "  nothing in the module refers to it");
        }
        const SHOWN: usize = 5;
        for caller in others.iter().take(SHOWN) {
            let _ = writeln!(
                text,
                "  {} refers to it, and is not imported here",
                self.function(caller.id())
            );
        }
        if let Some(more @ 1..) = others.len().checked_sub(SHOWN) {
            let _ = writeln!(text, "  and {more} more in other modules");
        }
    }

    /// A function with its module where that is another.
    fn function(&self, id: SummaryId) -> String {
        let Some(summary) = self.index.summary(id) else { return String::new() };
        let name = self.name(summary.value());
        match summary.module() == self.module {
            true => name,
            false => format!("{name} ({})", path(self.index, summary.module())),
        }
    }

    /// What else is worth knowing of a copy, after a comma.
    fn state(&self, id: SummaryId) -> String {
        let Some(summary) = self.index.summary(id) else { return String::new() };
        let mut state = String::new();
        let base = summary.base_object();
        if summary.kind() == SummaryKind::Alias {
            let _ = write!(state, ", an alias of {}", self.name(base.value()));
        }
        if !self.plan.liveness.is_live(id.index()) {
            state.push_str(", not live");
        }
        let local = summary.flags().linkage().is_local();
        let module = summary.module();
        if !local && !self.plan.facts.is_prevailing(summary.value(), id, module) {
            state.push_str(", not the prevailing copy");
        }
        state
    }

    fn name(&self, value: ValueId) -> String {
        match self.index.name(value) {
            b"" => format!("GUID {}", self.index.guid(value).0),
            name => String::from_utf8_lossy(name).into_owned(),
        }
    }
}

fn path(index: &ModuleSummaryIndex, module: ModuleId) -> String {
    index.module(module).map_or_else(String::new, |m| String::from_utf8_lossy(&m.path).into_owned())
}

/// "1 function", "2 functions".
fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
