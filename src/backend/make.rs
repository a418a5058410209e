//! Objects of a link's modules: from the cache, or made.
//!
//! In: a [`Link`] and an engine that may not have started, and a [`Cache`] or none. Out: for one
//! module after another its object. The order of asking is that of [`Level`]: with every step more
//! is known and more has been paid for.

use std::io::Write;

use super::renamed::PromotedNames;
use super::{Job, Link, Settings, Stage, common_key, compile, linked_key};
use crate::bitcode::{BitcodeFile, Extent, Module};
use crate::cache::{Cache, Entry, Hit, Key, KeyBuilder, Level, Note, Search, reads_other_files};
use crate::engine::{Bytes, Diagnostic, LazyEngine, Lease, Severity};
use crate::error::Result;
use crate::summary::ModuleId;

/// Is called after each step with the module in the lease as it stands then; false ends the job.
pub type Watch<'w> = dyn FnMut(Stage, &mut Lease) -> Result<bool> + 'w;

/// What of a link's cache the backends use.
#[derive(Clone, Copy)]
pub struct Cached<'c> {
    cache: &'c Cache,
    /// Engine and settings.
    common: Key,
    /// Everything that the link is made from, where that was hashed.
    link: Option<Key>,
}

impl<'c> Cached<'c> {
    /// Over `cache`.
    ///
    /// # Errors
    /// Where the engine's build cannot be told.
    pub fn new(cache: &'c Cache, engine: &LazyEngine, settings: &Settings) -> Result<Self> {
        Ok(Cached { cache, common: common_key(engine, settings)?, link: None })
    }

    /// The key of the whole link. `link` has every input of the link and all that the linker said, and
    /// names the link's kind; what is said here of engine and settings need not be in it.
    pub fn link_key(&self, mut link: KeyBuilder) -> Key {
        link.key("common", &self.common);
        link.finish()
    }

    /// Has modules asked for by the key of the whole link, too.
    pub fn with_link(self, link: Key) -> Self {
        Cached { link: Some(link), ..self }
    }

    /// Asks for module `number` of the link by the key of the whole link.
    pub fn whole_link(&self, number: usize) -> Option<Made> {
        self.number_key(number)
            .and_then(|key| self.cache.search().ask(Level::Link, key))
            .map(Made::from)
    }

    fn number_key(&self, number: usize) -> Option<Key> {
        let link = self.link?;
        let mut key = KeyBuilder::new("link's module 1");
        key.key("link", &link).number("module", number as u64);
        Some(key.finish())
    }
}

/// What a module came to.
#[derive(Debug, Default)]
pub struct Made {
    /// The object, or what was asked for instead; none where the job was ended before.
    pub object: Option<Bytes>,
    /// Of a merged module, what stands behind the object where code was generated in parts.
    pub further: Vec<Bytes>,
    /// Its file in the cache, where it has one.
    pub entry: Option<Entry>,
    /// What LLVM said.
    pub diagnostics: Vec<Diagnostic>,
    /// The contents of its file of optimization remarks, where one is wanted.
    pub remarks: Option<Bytes>,
    /// The most memory that LLVM took, in bytes, where that is known.
    pub peak_memory: Option<u64>,
}

impl From<Hit> for Made {
    fn from(hit: Hit) -> Self {
        Made { object: Some(hit.object.into()), entry: Some(hit.entry), ..Made::default() }
    }
}

impl Link<'_, '_> {
    /// The object of a module, which is number `number` of the link. `cached` is `None` for one
    /// that shall not be looked for and not be kept. For people who read the modules of each stage
    /// it is made again, whether there is one or not.
    ///
    /// # Errors
    /// Of reading bitcode, of the engine; and where the cache's directory cannot be made.
    pub fn make(
        &self,
        id: ModuleId,
        number: usize,
        settings: &Settings,
        engine: &LazyEngine,
        cached: Option<&Cached<'_>>,
        watch: &mut Watch<'_>,
    ) -> Result<Made> {
        let job = self.job(id)?;
        // What was made before has left no remarks.
        let Some(cached) = cached.filter(|_| settings.remarks.is_none()) else {
            return job.run(settings, engine, watch);
        };
        let mut search = cached.cache.search();
        let wanted = |_: &Hit| !settings.keep_value_names;
        if let Some(key) = cached.number_key(number)
            && let Some(hit) = search.ask(Level::Link, key).filter(wanted)
        {
            return Ok(hit.into());
        }
        if let Some(hit) = search.ask(Level::Job, job.key(&cached.common)).filter(wanted) {
            return Ok(hit.into());
        }
        // What cannot be looked through is not kept; libLLVM will say what is wrong with it.
        if job.reads_other_files().unwrap_or(true) {
            return job.run(settings, engine, watch);
        }
        let names = PromotedNames::of(&job);
        let (types, memprof) = (job.types.clone(), job.memprof.clone());
        let mut found = None;
        let mut renamed = None;
        let made = job.run(settings, engine, &mut |stage, lease| {
            if !watch(stage, lease)? {
                return Ok(false);
            }
            if stage == Stage::Import {
                let linked = lease.write_bitcode()?;
                let key = linked_key(&cached.common, &linked, types.as_deref(), memprof.as_deref());
                found = search.ask(Level::Linked, key).filter(wanted);
                if found.is_none() {
                    renamed = names.renamed_key(&cached.common, &linked);
                    let named = renamed.and_then(|key| {
                        // Without the note it will not be found.
                        let parts = cached.cache.note(Note::Names, &key).unwrap_or_default();
                        search.ask(Level::Renamed, names.named_key(&key, &parts)?)
                    });
                    found = named.filter(wanted);
                }
            }
            Ok(found.is_none())
        })?;
        let object = found.as_ref().map(|hit| &*hit.object).or(made.object.as_deref());
        if let (Some(renamed), Some(object)) = (renamed, object) {
            let parts = names.parts_named_in(object);
            if let Some(key) = names.named_key(&renamed, &parts) {
                cached.cache.write_note(Note::Names, &renamed, &parts);
                search.also(key, found.as_ref());
            }
        }
        match found {
            Some(hit) => Ok(Made { diagnostics: made.diagnostics, ..hit.into() }),
            None => keep(&search, made),
        }
    }
}

fn keep(search: &Search<'_>, made: Made) -> Result<Made> {
    let stored = match &made.object {
        Some(object) => search.store(object)?,
        None => None,
    };
    Ok(match stored {
        // What was made is right whatever becomes of the cache.
        Some(hit) => Made { entry: Some(hit.entry), ..made },
        None => made,
    })
}

impl Job {
    /// Makes the object, without a look at any cache.
    ///
    /// # Errors
    /// The engine's.
    pub fn run(
        mut self,
        settings: &Settings,
        engine: &LazyEngine,
        watch: &mut Watch<'_>,
    ) -> Result<Made> {
        let mut lease = engine.get()?.lease()?;
        if !self.printed.is_empty() {
            // In one piece: other modules' lines stand before or behind it. Nobody is left to tell
            // where it cannot be written.
            let _ = std::io::stderr().write_all(self.printed.as_bytes());
        }
        let (place, warnings) = (self.place.clone(), std::mem::take(&mut self.warnings));
        let object = compile(self, settings, &mut lease, watch);
        let remarks = match &settings.remarks {
            Some(_) if object.is_ok() => Some(lease.take_remarks()?),
            _ => None,
        };
        let peak_memory = lease.peak_memory();
        let warning =
            |text| Diagnostic { severity: Severity::Warning, text, module: place.clone() };
        let mut diagnostics: Vec<Diagnostic> = warnings.into_iter().map(warning).collect();
        diagnostics.extend(lease.take_diagnostics());
        // An error says it already.
        diagnostics.retain(|said| object.is_ok() || said.severity != Severity::Error);
        Ok(Made { object: object?, diagnostics, remarks, peak_memory, ..Made::default() })
    }

    /// Whether the object may depend on files that inline assembly reads.
    pub(super) fn reads_other_files(&self) -> Result<bool> {
        let bitcodes =
            std::iter::once(&self.destination).chain(self.parts.iter().map(|p| &p.bitcode));
        for bitcode in bitcodes {
            for location in &BitcodeFile::read(bitcode)?.modules {
                let module = Module::read(location, Extent::All)?;
                let mut reads = reads_other_files(&module.asm);
                if !reads {
                    module.inline_asm(|text| {
                        reads = reads_other_files(text);
                        !reads
                    })?;
                }
                if reads {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}
