//! The combined index as a picture: what LLVM leaves as `OUT.index.dot` beside `OUT.index.bc`.
//!
//! In: the index, the plan, and the files, as names of values stand in modules only. Out: the text
//! for Graphviz of `ModuleSummaryIndex::exportToDot`, of the index as it is before linkages are
//! decided.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Write as _};

use crate::bitcode::BitcodeFile;
use crate::error::Result;
use crate::ir::{Guid, Linkage, Visibility};
use crate::summary::{
    FunctionFlags, ModuleSummaryIndex, Summary, SummaryKind, ValueId, named_values,
};
use crate::thinlink::LinkPlan;

use super::inputs::REGULAR_LTO;

/// Names of values, by GUID.
#[derive(Default)]
pub struct ValueNames(HashMap<Guid, Vec<u8>>);

impl ValueNames {
    /// The name of a value, where a file that was added has it.
    pub fn get(&self, guid: Guid) -> Option<&[u8]> {
        self.0.get(&guid).map(Vec::as_slice)
    }

    /// Adds those of a file's modules; what a later file says counts.
    ///
    /// # Errors
    /// Malformed bitcode.
    pub fn add(&mut self, bitcode: &[u8]) -> Result<()> {
        for module in &BitcodeFile::read(bitcode)?.modules {
            let values = named_values(module)?.into_iter().filter(|value| !value.name.is_empty());
            self.0.extend(values.map(|value| (value.guid, value.name.to_vec())));
        }
        Ok(())
    }
}

/// Draws the index: a box for each module with what it defines, and an edge for each reference,
/// call and alias.
pub fn graph(index: &ModuleSummaryIndex, plan: &LinkPlan, names: &ValueNames) -> Vec<u8> {
    let mut paths: Vec<&[u8]> = index.modules().iter().map(|m| shown_path(&m.path)).collect();
    paths.sort_unstable();
    paths.dedup();
    let numbers: HashMap<&[u8], usize> = paths.into_iter().zip(0..).collect();
    let mut modules: BTreeMap<&[u8], BTreeMap<Guid, Summary<'_>>> = BTreeMap::new();
    for summary in index.summaries() {
        let path = index.module(summary.module()).map_or(&b""[..], |m| shown_path(&m.path));
        modules.entry(path).or_default().insert(summary.guid(), summary);
    }
    let mut drawing = Drawing { plan, names, out: Vec::new() };
    let mut across = Vec::new();
    let mut where_defined: HashMap<Guid, Vec<Option<usize>>> = HashMap::new();
    drawing.text("digraph Summary {\n");
    for (path, defined) in &modules {
        let number = numbers.get(path).copied().unwrap_or(0);
        drawing.text("  // Module: ");
        drawing.out.extend_from_slice(path);
        drawing.write(format_args!(
            "\n  subgraph cluster_{number} {{\n    style = filled;\n    color = lightgrey;\n    \
             label = \""
        ));
        drawing.out.extend_from_slice(file_name(path));
        drawing.text("\";\n    node [style=filled,fillcolor=lightblue];\n");
        for (&guid, &summary) in defined {
            where_defined.entry(guid).or_default().push(Some(number));
            drawing.node(number, summary);
        }
        drawing.text("    // Edges:\n");
        for (&from, &summary) in defined {
            for (to, kind) in edges(summary) {
                let to = index.guid(to);
                match defined.contains_key(&to) {
                    true => {
                        drawing.edge("    ", (Some(number), from), (Some(number), to), kind);
                    }
                    false => across.push((number, from, to, kind)),
                }
            }
        }
        drawing.text("  }\n");
    }
    drawing.text("  // Cross-module edges:\n");
    for (number, from, to, kind) in across {
        let modules = where_defined.entry(to).or_insert_with(|| {
            drawing.write(format_args!("  {} [label=\"", to.0));
            drawing.name(to);
            drawing.text("\"]; // defined externally\n");
            vec![None]
        });
        // Edges within the module are there already.
        for &module in modules.iter().filter(|&&module| module != Some(number)) {
            drawing.edge("  ", (Some(number), from), (module, to), kind);
        }
    }
    drawing.text("}");
    drawing.out
}

/// LLVM takes all modules of regular LTO for one without a path.
fn shown_path(path: &[u8]) -> &[u8] {
    if path.starts_with(REGULAR_LTO) { b"" } else { path }
}

/// `sys::path::filename`.
fn file_name(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|&c| c == b'/') {
        Some(0) if path.len() == 1 => path,
        Some(last) if last + 1 == path.len() => b".",
        Some(last) => path.get(last + 1..).unwrap_or_default(),
        None => path,
    }
}

/// What an edge stands for, as the end of its line.
type EdgeKind = &'static str;

/// A summary's references, then what an alias stands for or what a function calls.
fn edges(summary: Summary<'_>) -> Vec<(ValueId, EdgeKind)> {
    let reference = |r: &crate::summary::Ref| {
        let kind = match (r.is_write_only(), r.is_read_only()) {
            (true, _) => " [style=dashed,color=violetred]; // writeOnly-ref",
            (_, true) => " [style=dashed,color=forestgreen]; // const-ref",
            _ => " [style=dashed]; // ref",
        };
        (r.value(), kind)
    };
    let mut edges: Vec<(ValueId, EdgeKind)> = summary.refs().iter().map(reference).collect();
    match summary.kind() {
        SummaryKind::Alias => edges.extend(
            summary.aliasee().map(|aliasee| (aliasee.value(), " [style=dotted]; // alias")),
        ),
        SummaryKind::Function => edges.extend(summary.calls().map(|(callee, info)| {
            use crate::summary::Hotness::*;
            let kind = match info.hotness() {
                Unknown => " // call (hotness : Unknown)",
                Cold => " [color=blue]; // call (hotness : Cold)",
                None => " // call (hotness : None)",
                Hot => " [color=brown]; // call (hotness : Hot)",
                Critical => " [style=bold,color=red]; // call (hotness : Critical)",
            };
            (callee, kind)
        })),
        SummaryKind::Variable => {}
    }
    edges
}

struct Drawing<'a> {
    plan: &'a LinkPlan,
    names: &'a ValueNames,
    out: Vec<u8>,
}

impl Drawing<'_> {
    fn text(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn write(&mut self, args: fmt::Arguments<'_>) {
        let mut text = String::new();
        // A string takes everything.
        let _ = text.write_fmt(args);
        self.text(&text);
    }

    /// A value's name, or its GUID where it has none.
    fn name(&mut self, guid: Guid) {
        match self.names.get(guid) {
            Some(name) => self.out.extend_from_slice(name),
            None => self.write(format_args!("@{}", guid.0)),
        }
    }

    /// Nodes go by GUID, with a module's number where one defines them: several may.
    fn id(&mut self, (module, guid): (Option<usize>, Guid)) {
        match module {
            Some(number) => self.write(format_args!("M{number}_{}", guid.0)),
            None => self.write(format_args!("{}", guid.0)),
        }
    }

    fn edge(
        &mut self,
        indent: &str,
        from: (Option<usize>, Guid),
        to: (Option<usize>, Guid),
        kind: EdgeKind,
    ) {
        self.text(indent);
        self.id(from);
        self.text(" -> ");
        self.id(to);
        self.text(kind);
        self.text("\n");
    }

    fn node(&mut self, module: usize, summary: Summary<'_>) {
        let flags = self.plan.before_linkage().flags(summary);
        let mut notes = Vec::new();
        self.text("    ");
        self.id((Some(module), summary.guid()));
        self.text(match summary.kind() {
            SummaryKind::Function => {
                notes.push("function");
                " [shape=\"record\""
            }
            SummaryKind::Alias => {
                notes.push("alias");
                " [style=\"dotted,filled\",shape=\"box\""
            }
            SummaryKind::Variable => {
                notes.push("variable");
                let variable = self.plan.variable_flags(summary);
                let known = [
                    (variable.maybe_read_only(), "immutable"),
                    (variable.maybe_write_only(), "writeOnly"),
                    (variable.constant(), "constant"),
                ];
                notes.extend(known.iter().filter(|(on, _)| *on && flags.live()).map(|&(_, n)| n));
                " [shape=\"Mrecord\""
            }
        });
        let more = [
            (flags.visibility() != Visibility::Default, "visibility"),
            (flags.dso_local(), "dsoLocal"),
            (flags.can_auto_hide(), "canAutoHide"),
            (!flags.import_as_declaration(), "definition"),
            (flags.import_as_declaration(), "declaration"),
            (self.plan.facts.preserved.get(summary.value().index()), "preserved"),
        ];
        notes.extend(more.iter().filter(|(on, _)| *on).map(|&(_, note)| note));
        self.text(",label=\"");
        self.name(summary.guid());
        if summary.kind() != SummaryKind::Alias {
            self.write(format_args!("|{}", linkage(flags.linkage())));
            if summary.kind() == SummaryKind::Function {
                let bits = function_flags(summary.function_flags());
                self.write(format_args!(" (inst: {}, ffl: {bits})", summary.inst_count()));
            }
            self.text("}");
        }
        self.text("\"");
        if !flags.live() {
            notes.push("dead");
            self.text(",fillcolor=\"red\"");
        } else if flags.not_eligible_to_import() {
            notes.push("not eligible to import");
            self.text(",fillcolor=\"yellow\"");
        }
        self.write(format_args!("]; // {}\n", notes.join(", ")));
    }
}

fn linkage(linkage: Linkage) -> &'static str {
    match linkage {
        Linkage::External => "extern",
        Linkage::AvailableExternally => "av_ext",
        Linkage::LinkOnceAny => "linkonce",
        Linkage::LinkOnceOdr => "linkonce_odr",
        Linkage::WeakAny => "weak",
        Linkage::WeakOdr => "weak_odr",
        Linkage::Appending => "appending",
        Linkage::Internal => "internal",
        Linkage::Private => "private",
        Linkage::ExternalWeak => "extern_weak",
        Linkage::Common => "common",
    }
}

/// The flags from the lowest bit on, as ones and zeros.
fn function_flags(flags: FunctionFlags) -> String {
    (0..10).map(|bit| if flags.0 >> bit & 1 == 1 { '1' } else { '0' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_those_of_llvm() {
        for (path, name) in
            [("a.o", "a.o"), ("x/a.o", "a.o"), ("/a.o", "a.o"), ("x/", "."), ("/", "/"), ("", "")]
        {
            assert_eq!(file_name(path.as_bytes()), name.as_bytes(), "{path}");
        }
    }
}
