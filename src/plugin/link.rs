//! The link: what the linker said, into the driver; what came out, to the linker.
//!
//! In: the claimed files. Out: objects that the linker has been told of, or files where the
//! options asked for them. The rules from linker resolutions to LLVM's are those of LLVM's gold
//! plugin (`addModule`), the names of files too.

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::hash::BuildHasherDefault;

use super::abi::{Level, output, resolution};
use super::claim::{ClaimedFile, MemberNames, NameHasher, blame};
use super::objects::Object;
use super::{Plugin, abi};
use crate::config::{OutputKind, RelocModel};
use crate::container::find_bitcode;
use crate::engine::{Diagnostic, Severity};
use crate::error::{Error, Result};
use crate::resolution::SymbolResolution;
use crate::session::{self, Input};
use crate::symbols::InputFile;

/// What all files say of a name (LLVM's `ResolutionInfo`).
#[derive(Clone, Copy, Debug)]
struct Said {
    can_omit_from_dyn_sym: bool,
    default_visibility: bool,
}

impl Default for Said {
    fn default() -> Self {
        Said { can_omit_from_dyn_sym: true, default_visibility: true }
    }
}

type SaidByName<'c> = HashMap<&'c [u8], Said, BuildHasherDefault<NameHasher>>;

/// What --wrap makes of a name.
#[derive(Clone, Copy, Debug, Default)]
struct Wrap {
    cannot_inline: bool,
    used_in_regular_obj: bool,
}

/// Does the link.
///
/// # Errors
/// Of reading the files again, the linker's and the driver's.
pub(super) fn link(plugin: &Plugin, mut claimed: Vec<ClaimedFile>) -> Result<()> {
    let linker = &plugin.linker;
    let mut config = plugin.options.config(
        linker.output == Some(output::REL),
        match linker.output {
            Some(output::EXEC) => Some(RelocModel::Static),
            Some(output::DYN | output::PIE) => Some(RelocModel::Pic),
            _ => None,
        },
    );
    let mut resolution_file = None;
    if plugin.options.save_temps {
        config.save_temps = Some(format!("{}.", linker.output_name));
        resolution_file = Some(String::new());
    }
    let stats_file = config
        .stats_file
        .take()
        .or_else(|| std::env::var_os("LTO_STATS").filter(|path| !path.is_empty()).map(Into::into));

    let held = Held::hold(plugin, &claimed)?;
    let mut wanted = Vec::new();
    for file in &mut claimed {
        let there = linker.get_symbols(file.handle, &mut file.symbols);
        wanted.push(there.map_err(|error| blame(error, &file.path, file.offset))?);
    }
    let names = Names::new(plugin, &claimed)?;
    let mut inputs = Vec::new();
    let mut skipped = Vec::new();
    let mut members = MemberNames::default();
    let executable = matches!(linker.output, Some(output::EXEC | output::PIE));
    for (file, wanted) in claimed.iter().zip(wanted) {
        if !wanted {
            skipped.push(file.identifier.clone());
            continue;
        }
        let blame = |error| blame(error, &file.path, file.offset);
        let bytes = match &file.bytes {
            Some(bytes) => bytes,
            // SAFETY: the bytes are used within all_symbols_read, and gold's file is held.
            None => unsafe { linker.view(file.handle, file.len) }.map_err(blame)?,
        };
        let resolutions = (file.symbols.iter().zip(&file.traits))
            .map(|(said, traits)| resolve(said, traits.in_named_set, &names, executable))
            .collect::<Vec<_>>();
        let identifier = file.identifier.clone();
        if let Some(text) = &mut resolution_file {
            let name = plugin.options.backends_name(identifier.as_bytes());
            let input = InputFile::open(bytes).map_err(blame)?;
            write_resolutions(text, &String::from_utf8_lossy(&name), &input, &resolutions);
        }
        inputs.push(Input {
            identifier,
            file: file.path.clone(),
            member: (file.offset != 0).then(|| members.get(&file.path, file.offset)),
            bitcode: find_bitcode(bytes).map_err(blame)?.bytes,
            stamp: file.stamp,
            pages: file.bytes.as_ref(),
            resolutions,
        });
    }
    if let Some(text) = resolution_file {
        write(&format!("{}.resolution.txt", linker.output_name), text.as_bytes())?;
    }

    let outcome = match plugin.options.index_only() {
        Some(job) => session::index_only::run(&config, &inputs, &skipped, job)?,
        None => session::run(&config, &inputs)?,
    };
    for diagnostic in &outcome.diagnostics {
        let level = match diagnostic.severity {
            Severity::Error => Level::Error,
            Severity::Warning => Level::Warning,
            Severity::Remark | Severity::Note => Level::Info,
        };
        let Diagnostic { module, text, .. } = diagnostic;
        // Where LLVM says which file it means, once is enough.
        let place = if text.contains(module.as_str()) { "" } else { &format!("{module}: ") };
        linker.message(level, &format!("LLVM gold plugin: {place}{text}"));
    }
    if let Some(path) = stats_file {
        write(&path.to_string_lossy(), outcome.stats.to_json(linker_name(plugin)).as_bytes())?;
    }
    if let Some(path) = &plugin.options.time_trace {
        let trace = outcome.stats.time_trace(plugin.options.time_trace_granularity);
        write(path, trace.as_bytes())?;
    }
    deliver(plugin, &outcome)?;
    // To unmap all the files takes a while, in which the linker can go on. A linker that unloads its
    // plugins does no harm: a live thread of the pool keeps this library in memory.
    drop((inputs, names, held));
    rayon::spawn(move || drop((outcome, claimed)));
    Ok(())
}

/// Hands over what came out, by the way that the options ask for.
fn deliver(plugin: &Plugin, outcome: &session::Outcome) -> Result<()> {
    let linker = &plugin.linker;
    let options = &plugin.options;
    let place = match options.output() {
        OutputKind::Nothing => {
            // ld.bfd has made its output by now, though nothing will be in it.
            return remove_output(plugin);
        }
        OutputKind::Bitcode => Some(linker.output_name.clone()),
        OutputKind::Assembly => {
            options.obj_path.clone().or_else(|| Some(linker.output_name.clone()))
        }
        OutputKind::Objects => options
            .obj_path
            .clone()
            .or_else(|| options.save_temps.then(|| format!("{}.lto.o", linker.output_name))),
    };
    if options.index_only().is_some() && linker.is_bfd {
        // As above. ld.gold makes its output last, so that what is there is an older one.
        remove_output(plugin)?;
    }
    let outputs = &outcome.outputs;
    let paths: Vec<String> = match &place {
        Some(place) => {
            let path = |task: usize| match task {
                0 => place.clone(),
                task => format!("{place}{task}"),
            };
            for output in outputs {
                write(&path(output.task), &output.bytes)?;
            }
            outputs.iter().map(|output| path(output.task)).collect()
        }
        None => {
            let objects: Vec<Object<'_>> = outputs.iter().map(Object::from).collect();
            plugin.objects.lock().add(&objects)?
        }
    };
    if !options.ends_early() {
        paths.iter().try_for_each(|path| linker.add_input_file(path))?;
    }
    if let Some(path) = options.extra_library_path.as_deref().filter(|_| !options.ends_early()) {
        linker.set_extra_library_path(path)?;
    }
    Ok(())
}

/// Removes the linker's output, where there is one.
fn remove_output(plugin: &Plugin) -> Result<()> {
    let path = &plugin.linker.output_name;
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(format_args!("cannot remove {path}"), &e))
        }
        _ => Ok(()),
    }
}

fn write(path: &str, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).map_err(|e| Error::io(format_args!("Could not open file {path}"), &e))
}

fn linker_name(plugin: &Plugin) -> &'static str {
    match (plugin.linker.is_bfd, plugin.linker.is_gold) {
        (true, _) => "ld.bfd",
        (_, true) => "ld.gold",
        _ => "other",
    }
}

/// What the files say together, and what --wrap makes of it.
struct Names<'c> {
    claimed: &'c [ClaimedFile],
    /// Only of names of which they say something else than the default. An executable asks rarely.
    said: OnceCell<SaidByName<'c>>,
    wrapped: HashMap<Vec<u8>, Wrap>,
}

impl<'c> Names<'c> {
    fn new(plugin: &Plugin, claimed: &'c [ClaimedFile]) -> Result<Self> {
        let names = match plugin.linker.wrap_symbols()? {
            Some(names) => names.into_iter().collect(),
            None => wrapped_by_their_names(claimed),
        };
        Ok(Names { claimed, said: OnceCell::new(), wrapped: wraps(names) })
    }

    fn said(&self, name: &[u8]) -> Said {
        let said = self.said.get_or_init(|| {
            let mut names = SaidByName::default();
            names.reserve(self.claimed.iter().map(|file| file.symbols.len()).sum::<usize>() / 2);
            for file in self.claimed {
                for (symbol, traits) in file.symbols.iter().zip(&file.traits) {
                    if traits.can_be_omitted && traits.default_visibility {
                        continue;
                    }
                    let said = names.entry(ClaimedFile::name(symbol)).or_default();
                    said.can_omit_from_dyn_sym &= traits.can_be_omitted;
                    said.default_visibility &= traits.default_visibility;
                }
            }
            names
        });
        said.get(name).copied().unwrap_or_default()
    }

    fn wrap(&self, name: &[u8]) -> Wrap {
        match self.wrapped.is_empty() {
            true => Wrap::default(),
            false => self.wrapped.get(name).copied().unwrap_or_default(),
        }
    }
}

/// What becomes of the names that --wrap redirects.
fn wraps(names: BTreeSet<Vec<u8>>) -> HashMap<Vec<u8>, Wrap> {
    let mut wrapped: HashMap<Vec<u8>, Wrap> = HashMap::new();
    for name in names {
        let with = |prefix: &[u8]| [prefix, &name].concat();
        wrapped.entry(with(b"__wrap_")).or_default().used_in_regular_obj = true;
        wrapped.entry(with(b"__real_")).or_default().cannot_inline = true;
        let own = wrapped.entry(name).or_default();
        own.cannot_inline = true;
        own.used_in_regular_obj = true;
    }
    wrapped
}

/// What --wrap may redirect, where the linker cannot be asked (ld.bfd before 2.43, wild): whatever
/// has a wrapper, or is called from one. To take too many for redefined costs some inlining.
fn wrapped_by_their_names(claimed: &[ClaimedFile]) -> BTreeSet<Vec<u8>> {
    let symbols = claimed.iter().flat_map(|file| &file.symbols).map(ClaimedFile::name);
    let plain = |name: &[u8]| {
        let plain = name.strip_prefix(b"__wrap_").or_else(|| name.strip_prefix(b"__real_"));
        plain.map(<[u8]>::to_vec)
    };
    symbols.filter_map(plain).collect()
}

/// One symbol's resolution.
fn resolve(
    said: &abi::Symbol,
    in_named_set: bool,
    names: &Names<'_>,
    executable: bool,
) -> SymbolResolution {
    let name = ClaimedFile::name(said);
    let mut r = SymbolResolution::default();
    let defined = !matches!(said.def, abi::def::UNDEF | abi::def::WEAKUNDEF);
    match said.resolution {
        resolution::RESOLVED_DYN => r.export_dynamic = true,
        resolution::PREVAILING_DEF_IRONLY => r.prevailing = defined,
        resolution::PREVAILING_DEF => {
            r.prevailing = defined;
            r.visible_to_regular_obj = true;
        }
        resolution::PREVAILING_DEF_IRONLY_EXP => {
            r.prevailing = defined;
            r.export_dynamic = true;
            r.visible_to_regular_obj = !names.said(name).can_omit_from_dyn_sym;
        }
        resolution::UNDEF
        | resolution::PREEMPTED_REG
        | resolution::PREEMPTED_IR
        | resolution::RESOLVED_IR
        | resolution::RESOLVED_EXEC => {}
        // A linker that does not say must be taken to use it.
        _ => r.visible_to_regular_obj = true,
    }
    r.visible_to_regular_obj |= in_named_set;
    let elsewhere = matches!(said.resolution, resolution::RESOLVED_DYN | resolution::UNDEF);
    r.final_definition_in_linkage_unit =
        !elsewhere && (executable || !names.said(name).default_visibility);
    let wrap = names.wrap(name);
    r.linker_redefined = wrap.cannot_inline;
    r.visible_to_regular_obj |= wrap.used_in_regular_obj;
    r
}

/// The `resolution.txt` of `save-temps`, which `llvm-lto2 run` takes as arguments.
fn write_resolutions(
    text: &mut String,
    identifier: &str,
    input: &InputFile<'_>,
    resolutions: &[SymbolResolution],
) {
    text.push_str(identifier);
    text.push('\n');
    for (symbol, r) in input.symbols().zip(resolutions) {
        let name = String::from_utf8_lossy(symbol.name);
        text.push_str(&format!("-r={identifier},{name},"));
        for (said, letter) in [
            (r.prevailing, 'p'),
            (r.final_definition_in_linkage_unit, 'l'),
            (r.visible_to_regular_obj, 'x'),
            (r.linker_redefined, 'r'),
        ] {
            if said {
                text.push(letter);
            }
        }
        text.push('\n');
    }
}

/// Files that ld.gold keeps open meanwhile, one handle for each, since its views end with the file.
struct Held<'p> {
    plugin: &'p Plugin,
    handles: Vec<super::linker::Handle>,
}

impl<'p> Held<'p> {
    fn hold(plugin: &'p Plugin, claimed: &[ClaimedFile]) -> Result<Self> {
        let mut held = Held { plugin, handles: Vec::new() };
        if !plugin.linker.is_gold {
            return Ok(held);
        }
        let mut seen = BTreeSet::new();
        let viewed = claimed.iter().filter(|file| file.bytes.is_none());
        for file in viewed.filter(|file| seen.insert(file.path.as_str())) {
            plugin.linker.hold(file.handle).map_err(|e| e.in_file(&file.path))?;
            held.handles.push(file.handle);
        }
        Ok(held)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        for &handle in &self.handles {
            // The link is over; what the linker cannot close it keeps.
            let _ = self.plugin.linker.release(handle);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(resolution: i32, def: std::ffi::c_char) -> abi::Symbol {
        abi::Symbol { name: c"name".as_ptr().cast_mut(), resolution, def, ..abi::Symbol::EMPTY }
    }

    fn names(wrapped: &[&[u8]]) -> Names<'static> {
        let wrapped = wraps(wrapped.iter().map(|name| name.to_vec()).collect());
        Names { claimed: &[], said: OnceCell::new(), wrapped }
    }

    #[test]
    fn a_shared_object_exports_what_must_be_in_the_dynamic_table() {
        let said = said(resolution::PREVAILING_DEF_IRONLY_EXP, abi::def::DEF);
        let inline = resolve(&said, false, &names(&[]), false);
        assert!(inline.prevailing && inline.export_dynamic && !inline.visible_to_regular_obj);
        assert!(!inline.final_definition_in_linkage_unit);
        let names = names(&[]);
        let needed = Said { can_omit_from_dyn_sym: false, default_visibility: true };
        let _ = names.said.set(HashMap::from_iter([(&b"name"[..], needed)]));
        assert!(resolve(&said, false, &names, false).visible_to_regular_obj);
    }

    #[test]
    fn an_undefined_symbol_never_prevails() {
        let said = said(resolution::PREVAILING_DEF_IRONLY, abi::def::UNDEF);
        assert!(!resolve(&said, false, &names(&[]), true).prevailing);
    }

    #[test]
    fn what_is_in_a_set_is_visible() {
        let said = said(resolution::PREVAILING_DEF_IRONLY, abi::def::DEF);
        for in_set in [true, false] {
            let r = resolve(&said, in_set, &names(&[]), true);
            assert_eq!(r.visible_to_regular_obj, in_set);
        }
    }

    #[test]
    fn a_wrapped_name_is_redefined() {
        let said = said(resolution::PREVAILING_DEF_IRONLY, abi::def::DEF);
        let r = resolve(&said, false, &names(&[b"name"]), true);
        assert!(r.linker_redefined && r.visible_to_regular_obj);
    }
}
