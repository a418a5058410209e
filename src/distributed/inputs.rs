//! From the files of a link to a combined index and what the linker said of its symbols.
//!
//! In: [`Source`]s, in the order of the link. Out: [`ThinInputs`]. Files are opened, read and let
//! go one by one on each thread, so that only summaries stay in memory.

use rayon::prelude::*;
use std::ops::Deref;
use std::time::Instant;

use crate::error::{Error, Result};
use crate::ir::Guid;
use crate::resolution::SymbolResolution;
use crate::summary::{
    Excerpt, HashedNames, IndexFlags, IndexPart, ModuleId, ModuleSummaryIndex, ReadOptions,
    guid_of, read_module_hashing,
};
use crate::symbols::irsymtab::flag;
use crate::symbols::{InputFile, Symbol};
use crate::thinlink::{Behaviour, LinkPlan, Liveness, Mention, ModuleSymbols, ThinLinkOptions};

/// A file of the link.
pub trait Source: Sync {
    /// What holds its bytes.
    type Bytes: Deref<Target = [u8]>;

    /// The name that the module goes by in the index, in imports files and in the names of what
    /// is written for it.
    fn path(&self) -> &[u8];

    /// Its bytes.
    ///
    /// # Errors
    /// Where they cannot be read.
    fn bytes(&self) -> Result<Self::Bytes>;

    /// What of its bytes summary and symbols are read from, where these can be had for less than
    /// all of them.
    fn excerpt(&self) -> Option<Excerpt> {
        None
    }

    /// What the linker said of the file's `symbols`, which are those of [`InputFile::symbols`], in
    /// their order.
    ///
    /// # Errors
    /// Where resolutions and symbols do not fit.
    fn resolve(&self, symbols: &[Symbol<'_>]) -> Result<Vec<SymbolResolution>>;

    /// Is told when the file was read, by the thread that did it.
    fn was_read(&self, _begin: Instant) {}
}

/// What the paths of modules of regular LTO begin with in an index; the file's follows.
pub(super) const REGULAR_LTO: &[u8] = b"\0regular LTO\0";

/// A module as it was read.
struct Read {
    part: Option<IndexPart>,
    regular: bool,
    split_lto_unit: bool,
    mentions: Vec<Mention>,
}

/// A module of the link.
#[derive(Debug)]
struct Module {
    id: Option<ModuleId>,
    regular: bool,
    split_lto_unit: bool,
    mentions: Vec<Mention>,
}

/// What a thin link starts from.
#[derive(Debug)]
pub struct ThinInputs {
    /// The combined index.
    pub index: ModuleSummaryIndex,
    /// The target triple of the first file.
    pub target_triple: Vec<u8>,
    modules: Vec<Module>,
    /// By source, its module with a ThinLTO summary.
    thin: Vec<Option<ModuleId>>,
}

/// Reads all files of a link, with what `options` want ([`super::read_options`]). Where a function
/// makes virtual calls that are to be resolved, all is read once more, with what that takes.
///
/// # Errors
/// That of the first file that has one, naming it; misuse where two files go by one name.
pub fn read_with<S: Source>(
    sources: &[S],
    behaviour: &Behaviour,
    options: &ReadOptions,
) -> Result<ThinInputs> {
    let read = read_all(sources, behaviour, options)?;
    match !options.type_id_metadata && read.index.mentions_types() {
        false => Ok(read),
        true => {
            drop(read);
            read_all(sources, behaviour, &options.with_types())
        }
    }
}

fn read_all<S: Source>(
    sources: &[S],
    behaviour: &Behaviour,
    options: &ReadOptions,
) -> Result<ThinInputs> {
    let read_file = |source: &S| {
        let begin = Instant::now();
        let read = read_file(source, behaviour, options);
        source.was_read(begin);
        read
    };
    let files: Vec<Result<FileRead>> = sources.par_iter().with_max_len(1).map(read_file).collect();
    let mut parts = Vec::new();
    let mut modules = Vec::new();
    let mut thin = Vec::with_capacity(sources.len());
    let mut target_triple = Vec::new();
    for (number, file) in files.into_iter().enumerate() {
        let (read, triple) = file.map_err(|e| match sources.get(number) {
            Some(source) => e.in_file(String::from_utf8_lossy(source.path())),
            None => e,
        })?;
        if number == 0 {
            target_triple = triple;
        }
        let mut of_file = None;
        for module in read {
            let id = module.part.map(|part| {
                parts.push(part);
                ModuleId(parts.len() as u32 - 1)
            });
            if let (Some(id), false) = (id, module.regular)
                && of_file.replace(id).is_some()
            {
                return Err(in_source(
                    sources,
                    number,
                    Error::unsupported("Expected at most one ThinLTO module per bitcode file"),
                ));
            }
            modules.push(Module {
                id,
                regular: module.regular,
                split_lto_unit: module.split_lto_unit,
                mentions: module.mentions,
            });
        }
        thin.push(of_file);
    }
    let index = ModuleSummaryIndex::combine(parts)?;
    Ok(ThinInputs { index, target_triple, modules, thin })
}

fn in_source<S: Source>(sources: &[S], number: usize, error: Error) -> Error {
    match sources.get(number) {
        Some(source) => error.in_file(String::from_utf8_lossy(source.path())),
        None => error,
    }
}

/// The modules of a file, and its target triple.
type FileRead = (Vec<Read>, Vec<u8>);

fn read_file<S: Source>(
    source: &S,
    behaviour: &Behaviour,
    options: &ReadOptions,
) -> Result<FileRead> {
    // An error is told by who has read all of the file, and knows the bits' places in it.
    // An excerpt need not have all names.
    if !options.type_id_metadata
        && let Some(excerpt) = source.excerpt()
        && let Ok(file) = InputFile::open(&excerpt)
        && file.uses_stored_table()
        && let Ok(read) = read_modules(source, &file, behaviour, options)
        && let [Read { part: Some(part), .. }] = read.0.as_slice()
        && excerpt.holds(part)
    {
        return Ok(read);
    }
    let bytes = source.bytes()?;
    read_modules(source, &InputFile::open(&bytes)?, behaviour, options)
}

fn read_modules<S: Source>(
    source: &S,
    file: &InputFile<'_>,
    behaviour: &Behaviour,
    options: &ReadOptions,
) -> Result<FileRead> {
    let all_symbols: Vec<Vec<Symbol<'_>>> =
        (0..file.modules().len()).map(|number| in_one_piece(file.module_symbols(number))).collect();
    let resolutions = match all_symbols.as_slice() {
        [symbols] => source.resolve(symbols)?,
        several => source.resolve(&several.concat())?,
    };
    let mut resolutions = resolutions.into_iter();
    let mut modules = Vec::with_capacity(1);
    for (module, symbols) in file.modules().iter().zip(&all_symbols) {
        let mut hashed = HashedNames::default();
        let mut part = read_module_hashing(module, source.path(), options, Some(&mut hashed))?;
        if let Some(part) = part.as_mut().filter(|part| part.newest_llvm().is_none()) {
            part.set_newest_llvm(file.producer(module)?.major());
        }
        let regular = part.as_ref().is_none_or(|part| part.is_full_lto());
        if let (true, Some(part)) = (regular, &mut part) {
            // Regular LTO modules will be one; LLVM calls it by the empty path. Ours must differ,
            // and none can be taken for a file's.
            let mut path = REGULAR_LTO.to_vec();
            path.extend_from_slice(source.path());
            part.set_path(&path);
        }
        let names = hashed.guids_of(module.strtab, symbols.iter().map(|symbol| symbol.name));
        let mut mentions = Vec::with_capacity(symbols.len());
        for (symbol, name) in symbols.iter().zip(names) {
            let Some(resolution) = resolutions.next() else {
                return Err(Error::misuse("there are fewer resolutions than symbols"));
            };
            let used = is_used(file, symbol, behaviour);
            let mut mention = mention(symbol, name, used, resolution);
            if let Some(stored) = mention.ir.and_then(|ir| hashed.renamed(ir)) {
                // Modules that only declare it know it by the hash of its name.
                (mention.ir, mention.used) = (Some(stored), true);
            }
            mentions.push(mention);
        }
        let split_lto_unit =
            part.as_ref().is_some_and(|p| p.flags().has(IndexFlags::ENABLE_SPLIT_LTO_UNIT));
        modules.push(Read { part, regular, split_lto_unit, mentions });
    }
    if resolutions.next().is_some() {
        return Err(Error::misuse("there are more resolutions than symbols"));
    }
    Ok((modules, file.target_triple().to_vec()))
}

/// Collects what is mostly as much as the iterator says that it is at most.
fn in_one_piece<T>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut all = Vec::with_capacity(items.size_hint().1.unwrap_or(0));
    all.extend(items);
    all
}

/// Whether a symbol must be kept although nothing refers to it, as an LLVM sees it.
pub fn is_used(file: &InputFile<'_>, symbol: &Symbol<'_>, behaviour: &Behaviour) -> bool {
    if behaviour.newest_runtime_library || !file.uses_stored_table() {
        file.is_used(symbol)
    } else {
        symbol.has(flag::USED)
    }
}

fn mention(symbol: &Symbol<'_>, name: Guid, used: bool, resolution: SymbolResolution) -> Mention {
    let escaped = symbol.ir_name.starts_with(b"\x01");
    let plain = if escaped { &symbol.ir_name[1..] } else { symbol.ir_name };
    let ir = match plain {
        b"" => None,
        plain if plain == symbol.name => Some(name),
        plain => Some(guid_of(plain)),
    };
    Mention { name, ir, escaped, used, resolution }
}

impl ThinInputs {
    /// Decides.
    ///
    /// # Errors
    /// As [`LinkPlan::resolution_based`].
    pub fn plan(&self, options: &ThinLinkOptions) -> Result<LinkPlan> {
        LinkPlan::resolution_based(&self.index, &self.symbols(), options)
    }

    /// What is live.
    ///
    /// # Errors
    /// As [`LinkPlan::liveness`].
    pub fn liveness(&self, options: &ThinLinkOptions) -> Result<Liveness> {
        LinkPlan::liveness(&self.index, &self.symbols(), options)
    }

    /// [`ModuleSummaryIndex::lacks_type_resolutions`] in this link.
    pub fn lacks_type_resolutions(&self) -> bool {
        self.index.lacks_type_resolutions(self.modules.iter().any(|module| module.regular))
    }

    fn symbols(&self) -> Vec<ModuleSymbols<'_>> {
        self.modules
            .iter()
            .map(|module| ModuleSymbols {
                module: module.id,
                regular: module.regular,
                split_lto_unit: module.split_lto_unit,
                mentions: &module.mentions,
            })
            .collect()
    }

    /// The module of the index that a source became; `None` where it has no ThinLTO summary.
    pub fn thin_module(&self, source: usize) -> Option<ModuleId> {
        self.thin.get(source).copied().flatten()
    }

    /// Lets go of what was said of symbols, which a plan has taken in.
    pub fn forget_symbols(&mut self) {
        self.modules = Vec::new();
    }
}
