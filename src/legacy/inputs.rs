//! The modules of a link.
//!
//! In: [`Input`]s. Out: [`Modules`]: each with its symbols, on demand their summaries, and the triple
//! that they share. Errors begin with LLVM's words, where LLVM has some.

use std::collections::BTreeSet;

use rayon::prelude::*;

use super::Input;
use crate::backend::Source;
use crate::bitcode::BitcodeModule;
use crate::cache::{Key, KeyBuilder};
use crate::distributed::inputs::is_used;
use crate::distributed::read_options;
use crate::engine::Producer;
use crate::error::{Error, Result};
use crate::ir::Guid;
use crate::summary::{
    ModuleId, ModuleSummaryIndex, ReadOptions, guid_of_value, read_module, renamed_values,
};
use crate::symbols::InputFile;
use crate::symbols::triple::Triple;
use crate::thinlink::{Behaviour, ThinLinkOptions};

/// A module.
pub(super) struct Module<'a> {
    pub(super) identifier: String,
    /// Out of its container.
    pub(super) bitcode: &'a [u8],
    file: InputFile<'a>,
    pub(super) location: BitcodeModule<'a>,
}

/// All modules of a link; at least one.
pub(super) struct Modules<'a> {
    modules: Vec<Module<'a>>,
    triple: String,
}

impl<'a> Modules<'a> {
    pub(super) fn read(inputs: &[Input<'a>]) -> Result<Self> {
        let read: Vec<Result<Module<'a>>> = inputs
            .par_iter()
            .with_max_len(1)
            .map(|input| {
                read(input).map_err(|error| {
                    let error = error.in_file(&input.identifier);
                    error.context("ThinLTO cannot create input file")
                })
            })
            .collect();
        let modules = read.into_iter().collect::<Result<Vec<_>>>()?;
        let mut triples =
            modules.iter().map(|m| (m, String::from_utf8_lossy(m.file.target_triple())));
        let triple = triples.next().map(|(_, triple)| triple).unwrap_or_default().into_owned();
        for (module, other) in triples {
            if !are_compatible(&triple, &other) {
                let error = Error::misuse(format!(
                    "ThinLTO modules with incompatible triples not supported: {triple} and {other}"
                ));
                return Err(error.in_file(&module.identifier));
            }
        }
        Ok(Modules { modules, triple })
    }

    pub(super) fn len(&self) -> usize {
        self.modules.len()
    }

    pub(super) fn get(&self, number: usize) -> Option<&Module<'a>> {
        self.modules.get(number)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Module<'a>> {
        self.modules.iter()
    }

    /// The first module's triple.
    pub(super) fn triple(&self) -> &str {
        &self.triple
    }

    /// The triple's first word.
    pub(super) fn arch_name(&self) -> &str {
        self.triple.split('-').next().unwrap_or_default()
    }

    /// Who wrote them, each once.
    pub(super) fn producers(&self) -> Result<Vec<Producer>> {
        let mut producers = Vec::new();
        for module in &self.modules {
            let name = module
                .location
                .identification()
                .map_err(|error| error.in_file(&module.identifier))?
                .producer;
            let producer = Producer::parse(&String::from_utf8_lossy(&name));
            if !producers.contains(&producer) {
                producers.push(producer);
            }
        }
        Ok(producers)
    }

    /// A hash of each module's bitcode, with its name.
    pub(super) fn digests(&self) -> Vec<(&str, Key)> {
        let digest = |module: &'_ Module<'a>| {
            let mut key = KeyBuilder::new("bitcode");
            key.bytes("bytes", module.bitcode);
            key.finish()
        };
        let keys: Vec<Key> = self.modules.par_iter().with_max_len(1).map(digest).collect();
        self.modules.iter().map(|m| m.identifier.as_str()).zip(keys).collect()
    }

    /// The combined index, and by module which one of it it is; `None` for one without a summary.
    pub(super) fn index(
        &self,
        thin_link: &ThinLinkOptions,
    ) -> Result<(ModuleSummaryIndex, Vec<Option<ModuleId>>)> {
        let options = read_options(thin_link);
        let read = self.combined(&options)?;
        match !options.type_id_metadata && read.0.mentions_types() {
            false => Ok(read),
            // What virtual calls call takes more than most links need.
            true => self.combined(&options.with_types()),
        }
    }

    fn combined(
        &self,
        options: &ReadOptions,
    ) -> Result<(ModuleSummaryIndex, Vec<Option<ModuleId>>)> {
        let read = |module: &Module<'a>| {
            read_module(&module.location, module.identifier.as_bytes(), options).map_err(|error| {
                let error = error.in_file(&module.identifier);
                error.context("can't create module summary index for buffer")
            })
        };
        let read: Vec<Result<_>> = self.modules.par_iter().with_max_len(1).map(read).collect();
        let (mut parts, mut ids) = (Vec::new(), Vec::with_capacity(self.modules.len()));
        for part in read {
            ids.push(part?.map(|part| {
                parts.push(part);
                ModuleId(parts.len() as u32 - 1)
            }));
        }
        Ok((ModuleSummaryIndex::combine(parts)?, ids))
    }

    /// By module of the index, where its bitcode is.
    pub(super) fn sources(&self, ids: &[Option<ModuleId>]) -> Vec<Option<Source<'a>>> {
        let with_summary = self.modules.iter().zip(ids).filter(|(_, id)| id.is_some());
        with_summary
            .map(|(module, _)| {
                Some(Source {
                    identifier: module.identifier.clone(),
                    place: module.identifier.clone(),
                    location: module.location,
                })
            })
            .collect()
    }

    /// What must stay, in any of the modules.
    ///
    /// # Errors
    /// Malformed bitcode.
    pub(super) fn preserved(
        &self,
        names: &BTreeSet<Vec<u8>>,
        behaviour: &Behaviour,
    ) -> Result<Vec<Guid>> {
        let mut all = Vec::new();
        for m in &self.modules {
            let preserved = preserved(&m.file, names, behaviour);
            all.extend(preserved.map_err(|error| error.in_file(&m.identifier))?);
        }
        Ok(all)
    }
}

fn read<'a>(input: &Input<'a>) -> Result<Module<'a>> {
    let file = InputFile::open(input.bytes)?;
    let &[location] = file.modules() else {
        return Err(Error::unsupported(format!(
            "{} modules in one file, where ThinLTO needs one",
            file.modules().len()
        )));
    };
    Ok(Module { identifier: input.identifier.clone(), bitcode: file.bitcode, file, location })
}

/// The symbols of a file to preserve: those asked for by the linker's name, and those used in
/// ways that no reference shows (`computeGUIDPreservedSymbols`, `addUsedSymbolToPreservedGUID`). So
/// are those whose stored GUID other modules cannot know.
///
/// # Errors
/// Malformed bitcode.
pub fn preserved(
    file: &InputFile<'_>,
    names: &BTreeSet<Vec<u8>>,
    behaviour: &Behaviour,
) -> Result<Vec<Guid>> {
    let mut guids: Vec<Guid> = file
        .symbols()
        .filter(|symbol| names.contains(symbol.name) || is_used(file, symbol, behaviour))
        .filter(|symbol| !symbol.ir_name.is_empty())
        .map(|symbol| guid_of_value(symbol.ir_name, None))
        .collect();
    for module in file.modules() {
        guids.extend(renamed_values(module)?.into_values());
    }
    Ok(guids)
}

/// `Triple::isCompatibleWith`, but for Thumb: the same but for the version of an Apple system.
fn are_compatible(one: &str, other: &str) -> bool {
    if one == other {
        return true;
    }
    let (a, b) = (Triple::parse(one.as_bytes()), Triple::parse(other.as_bytes()));
    let words = |triple: &str| -> Vec<String> {
        let plain =
            |word: &str| word.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.').to_owned();
        triple.split('-').map(plain).collect()
    };
    a.is_darwin && a.arch_name == b.arch_name && words(one) == words(other)
}

#[cfg(test)]
mod tests {
    use super::are_compatible;

    #[test]
    fn versions_of_a_system_do_not_matter() {
        let yes = |a: &str, b: &str| assert!(are_compatible(a, b), "{a} {b}");
        let no = |a: &str, b: &str| assert!(!are_compatible(a, b), "{a} {b}");
        yes("x86_64-apple-macosx10.11.0", "x86_64-apple-macosx10.12.0");
        yes("x86_64-pc-linux-gnu", "x86_64-pc-linux-gnu");
        no("x86_64-apple-macosx10.11.0", "arm64-apple-macosx10.11.0");
        no("x86_64-apple-macosx10.11.0", "x86_64-apple-ios10.11.0");
        no("x86_64-pc-linux-gnu", "x86_64-pc-linux-musl");
        no("x86_64-pc-linux-gnu", "aarch64-pc-linux-gnu");
    }
}
