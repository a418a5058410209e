//! The arrows of ARCHITECTURE.md: a module uses only modules that stand before it in the way of a
//! link. Reads every source file and fails on an arrow the other way.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules in the order of the way through; those on one line may not use each other.
const LAYERS: &[&[&str]] = &[
    &["error"],
    &["ir"],
    &["config"],
    &["yaml"],
    &["container"],
    &["bitstream"],
    &["bitcode"],
    &["symbols"],
    &["summary"],
    &["resolution"],
    &["thinlink"],
    &["distributed"],
    &["surgery"],
    &["cgdata"],
    &["engine"],
    &["cache", "schedule"],
    &["backend"],
    &["session", "regular", "legacy"],
    &["registry"],
    &["capi", "plugin", "tools"],
    // The ThinLTO file API reports through lto_get_error_message, and so shares capi's boundary.
    &["thinlto_file"],
];

fn rank(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// The modules named by `crate::NAME` or, in a grouped import, `crate::{NAME, NAME::...}`.
fn used_modules(source: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let code: String = source
        .lines()
        .map(|line| if line.trim_start().starts_with("//") { "" } else { line })
        .collect::<Vec<_>>()
        .join("\n");
    for (at, _) in code.match_indices("crate::") {
        // `$crate::` and `other_crate::` are other words.
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        let rest = &code[at + "crate::".len()..];
        let names: Vec<String> = match rest.strip_prefix('{') {
            None => vec![identifier(rest)],
            Some(group) => top_level_names(group),
        };
        found.extend(names.into_iter().map(|name| (line, name)));
    }
    found
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The first word of each item of a braced import list, up to its closing brace.
fn top_level_names(group: &str) -> Vec<String> {
    let (mut depth, mut item, mut names) = (0, String::new(), Vec::new());
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(identifier(std::mem::take(&mut item).trim())),
            _ if depth == 0 => item.push(c),
            _ => {}
        }
    }
    names.push(identifier(item.trim()));
    names.retain(|name| !name.is_empty());
    names
}

fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

#[test]
fn no_module_uses_a_later_one() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let (mut wrong, mut arrows) = (Vec::new(), BTreeMap::new());
    for file in &files {
        let relative = file.strip_prefix(&src).unwrap();
        let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
        let module = first.strip_suffix(".rs").unwrap_or(first);
        if module == "lib" || module == "bin" {
            continue;
        }
        let Some(own) = rank(module) else {
            wrong.push(format!("{module} has no place in LAYERS of tests/layering.rs"));
            continue;
        };
        for (line, used) in used_modules(&fs::read_to_string(file).unwrap()) {
            // `crate::LTO_API_VERSION` and the like: an item of the root, not a module.
            if used == module || used.starts_with(|c: char| c.is_uppercase()) {
                continue;
            }
            *arrows.entry((module.to_owned(), used.clone())).or_insert(0) += 1;
            match rank(&used) {
                Some(other) if other < own => {}
                Some(_) => wrong.push(format!(
                    "src/{}:{line}: {module} uses {used}, which does not stand before it",
                    relative.display()
                )),
                None => wrong.push(format!("src/{}:{line}: unknown {used}", relative.display())),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(!arrows.is_empty() || files.len() < 10, "no arrow found at all: the reader is blind");
}

#[test]
fn the_reader_sees_every_form_of_import() {
    let source = "use crate::error::Error;\nuse crate::{ir::{Guid, Linkage}, bitcode, symbols as s};\n\
                  // use crate::plugin;\nfn f() { let _ = crate::engine::locate(); $crate::x!() }\n";
    let names: Vec<String> = used_modules(source).into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["error", "ir", "bitcode", "symbols", "engine"]);
}
