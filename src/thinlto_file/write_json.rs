//! An index as JSON.
//!
//! In: an index. Out: one object: what is said of the whole, the modules, and the values with
//! their summaries. GUIDs, hashes of stacks and type identifiers are strings of decimal digits,
//! as numbers of 64 bits get lost in many readers of JSON. Lists that are empty are left out.

use std::fmt::Display;
use std::io::{self, Write};

use crate::summary::{
    CfiFunction, ConstVCall, ModuleSummaryIndex, Summary, SummaryKind, VFuncId, ValueId,
};

/// Writes the whole index, or what there is of one value.
///
/// # Errors
/// Those of `out`.
pub fn index(
    index: &ModuleSummaryIndex,
    only: Option<ValueId>,
    out: &mut dyn Write,
) -> io::Result<()> {
    if let Some(value) = only {
        write_value(index, value, out)?;
        return writeln!(out);
    }
    writeln!(
        out,
        "{{\"version\": {}, \"combined\": {}, \"full_lto\": {}, \"flags\": {}, \
         \"block_count\": {},\n \"modules\": [",
        index.version(),
        index.is_combined(),
        index.is_full_lto(),
        index.flags().0,
        index.block_count(),
    )?;
    for (at, module) in index.modules().iter().enumerate() {
        let path = text(&String::from_utf8_lossy(&module.path));
        let hash: String = module.hash.0.iter().map(|word| format!("{word:08x}")).collect();
        let comma = if at == 0 { "" } else { ",\n" };
        write!(out, "{comma}  {{\"path\": {path}, \"hash\": \"{hash}\"}}")?;
    }
    write!(out, "\n ],\n \"values\": [")?;
    for value in (0u32..).map(ValueId).take(index.guids().len()) {
        out.write_all(if value.0 == 0 { b"\n  " } else { b",\n  " })?;
        write_value(index, value, out)?;
    }
    write!(out, "\n ],\n \"type_ids\": [")?;
    for (at, id) in index.type_ids().iter().enumerate() {
        let name = text(&String::from_utf8_lossy(&id.name));
        let t = &id.type_test;
        write!(
            out,
            "{}\n  {{\"name\": {name}, \"guid\": \"{}\", \"type_test\": {{\"kind\": {}, \
             \"size_m1_bit_width\": {}, \"align_log2\": {}, \"size_m1\": {}, \"bit_mask\": {}, \
             \"inline_bits\": {}}}, \"devirtualization\": {}}}",
            comma(at),
            id.guid.0,
            t.kind,
            t.size_m1_bit_width,
            t.align_log2,
            t.size_m1,
            t.bit_mask,
            t.inline_bits,
            array(&id.devirtualization, |(offset, way)| format!(
                "{{\"offset\": {offset}, \"kind\": {}, \"single_impl_name\": {}, \"by_arg\": {}}}",
                way.kind,
                text(&String::from_utf8_lossy(&way.single_impl_name)),
                array(&way.by_arg, |(args, by)| format!(
                    "{{\"args\": {}, \"kind\": {}, \"info\": {}, \"byte\": {}, \"bit\": {}}}",
                    array(args, |arg| string(arg)),
                    by.kind,
                    by.info,
                    by.byte,
                    by.bit
                )),
            )),
        )?;
    }
    write!(out, "],\n \"type_id_compatible_vtables\": [")?;
    for (at, id) in index.type_id_compatible_vtables().iter().enumerate() {
        let name = text(&String::from_utf8_lossy(&id.name));
        let tables = array(&id.vtables, |(offset, value)| {
            format!("{{\"offset\": {offset}, \"vtable\": {}}}", guid(index, *value))
        });
        write!(out, "{}\n  {{\"name\": {name}, \"vtables\": {tables}}}", comma(at))?;
    }
    let names = |all: &[CfiFunction]| array(all, |f| text(&String::from_utf8_lossy(&f.name)));
    writeln!(
        out,
        "],\n \"cfi_function_defs\": {},\n \"cfi_function_decls\": {}\n}}",
        names(index.cfi_function_defs()),
        names(index.cfi_function_decls())
    )
}

/// A string of JSON, with its quotes.
pub fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn comma(at: usize) -> &'static str {
    if at == 0 { "" } else { "," }
}

fn string(number: impl Display) -> String {
    format!("\"{number}\"")
}

fn array<T, D: Display>(items: &[T], each: impl Fn(&T) -> D) -> String {
    let items: Vec<String> = items.iter().map(|item| each(item).to_string()).collect();
    format!("[{}]", items.join(", "))
}

fn guid(index: &ModuleSummaryIndex, value: ValueId) -> String {
    string(index.guid(value).0)
}

fn write_value(index: &ModuleSummaryIndex, value: ValueId, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "{{\"guid\": {}", guid(index, value))?;
    let name = index.name(value);
    if !name.is_empty() {
        write!(out, ", \"name\": {}", text(&String::from_utf8_lossy(name)))?;
    }
    write!(out, ", \"summaries\": [")?;
    for (at, s) in index.copies(value).iter().filter_map(|&id| index.summary(id)).enumerate() {
        out.write_all(comma(at).as_bytes())?;
        write_summary(index, s, out)?;
    }
    write!(out, "]}}")
}

fn write_summary(
    index: &ModuleSummaryIndex,
    s: Summary<'_>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let f = s.flags();
    write!(
        out,
        "\n    {{\"kind\": \"{}\", \"module\": {}, \"linkage\": \"{:?}\", \
         \"visibility\": \"{:?}\", \"not_eligible_to_import\": {}, \"live\": {}, \
         \"dso_local\": {}, \"can_auto_hide\": {}, \"import_as_declaration\": {}",
        match s.kind() {
            SummaryKind::Alias => "alias",
            SummaryKind::Function => "function",
            SummaryKind::Variable => "variable",
        },
        s.module().index(),
        f.linkage(),
        f.visibility(),
        f.not_eligible_to_import(),
        f.live(),
        f.dso_local(),
        f.can_auto_hide(),
        f.import_as_declaration(),
    )?;
    if let Some(original) = s.original_name().filter(|&original| original != s.guid()) {
        write!(out, ", \"original_name\": \"{}\"", original.0)?;
    }
    match s.kind() {
        SummaryKind::Alias => match s.aliasee_value() {
            Some(aliasee) => write!(out, ", \"aliasee\": {}", guid(index, aliasee))?,
            None => write!(out, ", \"aliasee\": null")?,
        },
        SummaryKind::Function => write!(
            out,
            ", \"insts\": {}, \"entry_count\": {}, \"function_flags\": {}",
            s.inst_count(),
            s.entry_count(),
            s.function_flags().0
        )?,
        SummaryKind::Variable => {
            let own = s.variable_flags();
            write!(
                out,
                ", \"maybe_read_only\": {}, \"maybe_write_only\": {}, \"constant\": {}, \
                 \"vcall_visibility\": {}",
                own.maybe_read_only(),
                own.maybe_write_only(),
                own.constant(),
                own.vcall_visibility()
            )?;
        }
    }
    for (name, items) in lists(index, s) {
        if items != "[]" {
            write!(out, ", \"{name}\": {items}")?;
        }
    }
    write!(out, "}}")
}

/// Everything of a summary that is a list.
fn lists(index: &ModuleSummaryIndex, s: Summary<'_>) -> Vec<(&'static str, String)> {
    let stack_ids = |places: &[u32]| {
        array(places, |&at| string(index.stack_ids().get(at as usize).unwrap_or(&0)))
    };
    let calls: Vec<_> = s.calls().enumerate().collect();
    let frequencies = s.rel_block_freqs();
    vec![
        (
            "calls",
            array(&calls, |&(at, (callee, call))| {
                let frequency = frequencies
                    .get(at)
                    .map_or(String::new(), |f| format!(", \"rel_block_freq\": {f}"));
                format!(
                    "{{\"callee\": {}, \"hotness\": \"{:?}\", \"tail_call\": {}{frequency}}}",
                    guid(index, callee),
                    call.hotness(),
                    call.has_tail_call()
                )
            }),
        ),
        (
            "refs",
            array(s.refs(), |r| {
                format!(
                    "{{\"value\": {}, \"read_only\": {}, \"write_only\": {}}}",
                    guid(index, r.value()),
                    r.is_read_only(),
                    r.is_write_only()
                )
            }),
        ),
        ("type_tests", array(s.type_tests(), |guid| string(guid.0))),
        ("type_test_assume_vcalls", array(s.type_test_assume_vcalls(), vcall)),
        ("type_checked_load_vcalls", array(s.type_checked_load_vcalls(), vcall)),
        ("type_test_assume_const_vcalls", array(s.type_test_assume_const_vcalls(), const_vcall)),
        ("type_checked_load_const_vcalls", array(s.type_checked_load_const_vcalls(), const_vcall)),
        (
            "param_accesses",
            array(s.param_accesses(), |access| {
                format!(
                    "{{\"param\": {}, \"lower\": {}, \"upper\": {}, \"calls\": {}}}",
                    access.param_no,
                    access.range.lower,
                    access.range.upper,
                    array(&access.calls, |call| format!(
                        "{{\"callee\": {}, \"param\": {}, \"lower\": {}, \"upper\": {}}}",
                        guid(index, call.callee),
                        call.param_no,
                        call.offsets.lower,
                        call.offsets.upper
                    ))
                )
            }),
        ),
        (
            "callsites",
            array(s.callsites(), |site| {
                format!(
                    "{{\"callee\": {}, \"clones\": {}, \"stack_ids\": {}}}",
                    site.callee.map_or("null".to_owned(), |callee| guid(index, callee)),
                    array(&site.clones, u32::to_string),
                    stack_ids(&site.stack_ids)
                )
            }),
        ),
        (
            "allocs",
            array(s.allocs(), |alloc| {
                format!(
                    "{{\"versions\": {}, \"contexts\": {}, \"context_sizes\": {}}}",
                    array(&alloc.versions, u8::to_string),
                    array(&alloc.mibs, |mib| format!(
                        "{{\"type\": {}, \"stack_ids\": {}}}",
                        mib.alloc_type,
                        stack_ids(&mib.stack_ids)
                    )),
                    array(&alloc.context_sizes, |sizes| array(sizes, |size| format!(
                        "{{\"full_stack_id\": \"{}\", \"total_size\": {}}}",
                        size.full_stack_id, size.total_size
                    )))
                )
            }),
        ),
        (
            "vtable_funcs",
            array(s.vtable_funcs(), |f| {
                let function = guid(index, f.function);
                format!("{{\"function\": {function}, \"offset\": {}}}", f.offset)
            }),
        ),
    ]
}

fn vcall(call: &VFuncId) -> String {
    format!("{{\"type_id\": \"{}\", \"offset\": {}}}", call.guid.0, call.offset)
}

fn const_vcall(call: &ConstVCall) -> String {
    format!(
        "{{\"type_id\": \"{}\", \"offset\": {}, \"args\": {}}}",
        call.function.guid.0,
        call.function.offset,
        array(&call.args, |arg| string(arg))
    )
}
