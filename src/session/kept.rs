//! The cache of a link: what of it is asked for, and what is not.
//!
//! In: a [`Config`], inputs and their resolutions. Out: keys for [`backend`](crate::backend), and
//! all objects at once where nothing has changed since an earlier link. Regular LTO is not kept, as
//! in LLVM: any change changes its one module.

use rayon::prelude::*;

use super::{FileStamp, Input, Output};
use crate::backend::{Cached, Settings};
use crate::cache::{Cache, Key, KeyBuilder, LinkFiles, Note, Policy, Statistics, content_key};
use crate::config::{Config, OutputKind};
use crate::engine::{Diagnostic, LazyEngine};
use crate::error::Result;
use crate::resolution::SymbolResolution;
use crate::summary::has_summary;
use crate::symbols::InputFile;
use crate::thinlink::ThinLinkOptions;

/// What a cache has for a link.
#[derive(Default)]
pub(super) struct Found<'k> {
    /// For the backends.
    pub(super) cached: Option<Cached<'k>>,
    /// The link's outcome, where nothing has changed.
    pub(super) unchanged: Option<(Vec<Output>, Vec<Diagnostic>)>,
    /// That was known without a look at the inputs' contents.
    pub(super) by_stamps: bool,
    /// The link's keys of written files and of contents, where the one should find the other the
    /// next time.
    pub(super) unwritten: Option<(Key, Key)>,
}

/// The cache and when its entries go.
pub(super) struct Kept {
    cache: Cache,
    policy: Option<Policy>,
}

impl Kept {
    /// The cache that the user names. None too where what comes out is for people or for tests.
    ///
    /// # Errors
    /// Misuse, for a policy that is none.
    pub(super) fn open(config: &Config) -> Result<Option<Kept>> {
        let policy = config.cache_policy.as_deref().map(Policy::parse).transpose()?;
        let objects = matches!(config.output, OutputKind::Objects | OutputKind::Assembly);
        Ok(match &config.cache_directory {
            Some(directory) if objects => Some(Kept { cache: Cache::new(directory), policy }),
            _ => None,
        })
    }

    /// The cache itself.
    pub(super) fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Looks for all objects at once, and prepares its use by the backends.
    ///
    /// # Errors
    /// Where the engine's build cannot be told.
    pub(super) fn find<'k>(
        &'k self,
        config: &Config,
        thin_link: &ThinLinkOptions,
        engine: &LazyEngine,
        settings: &Settings,
        inputs: &[Input<'_>],
        files: &[InputFile<'_>],
    ) -> Result<Found<'k>> {
        let cached = Cached::new(&self.cache, engine, settings)?;
        let stamps: Option<Vec<Key>> = inputs.iter().map(stamp_key).collect();
        let stamps = stamps.map(|keys| {
            cached.link_key(link_key("written files 1", config, thin_link, inputs, &keys))
        });
        if let Some(link) = stamps.and_then(|stamps| self.noted(&stamps)) {
            let cached = cached.with_link(link);
            if let Some(unchanged) = unchanged(config, &cached, inputs, files) {
                let (cached, unchanged) = (Some(cached), Some(unchanged));
                return Ok(Found { cached, unchanged, by_stamps: true, unwritten: None });
            }
        }
        let contents: Vec<Key> =
            inputs.par_iter().with_max_len(1).map(|input| content_key(input.bitcode)).collect();
        let link = cached.link_key(link_key("link 3", config, thin_link, inputs, &contents));
        let cached = cached.with_link(link);
        let unchanged = unchanged(config, &cached, inputs, files);
        let unwritten = stamps.map(|stamps| (stamps, link));
        Ok(Found { cached: Some(cached), unchanged, by_stamps: false, unwritten })
    }

    /// The key of a link's contents, if it is known of its files' stamps.
    fn noted(&self, stamps: &Key) -> Option<Key> {
        Key::parse(&self.cache.note(Note::Link, stamps)?)
    }

    /// What it was good for; and what was not used for long goes, where the user wants that.
    /// `unwritten` is what [`Kept::find`] gave.
    pub(super) fn close(&self, unwritten: Option<(Key, Key)>) -> Statistics {
        if let Some((stamps, link)) = unwritten {
            self.cache.write_note(Note::Link, &stamps, &link.to_string());
        }
        if let Some(policy) = &self.policy {
            // LLVM's plugin gives no warnings of objects that do not fit.
            self.cache.prune(policy, &LinkFiles::default());
        }
        self.cache.statistics()
    }
}

/// Everything that decides what becomes of a module, but for what the backends' settings say.
/// `contents` stand for the inputs' bitcode, in the way that `kind` names.
fn link_key(
    kind: &str,
    config: &Config,
    thin_link: &ThinLinkOptions,
    inputs: &[Input<'_>],
    contents: &[Key],
) -> KeyBuilder {
    let Config {
        unified_regular,
        // Of the thin link's options.
        whole_program_visibility: _,
        supports_hot_cold_new: _,
        internalize: _,
        always_emit_regular_lto_object,
        // In the backends' settings.
        opt_level: _,
        codegen_opt_level: _,
        cpu: _,
        attributes: _,
        override_triple: _,
        default_triple: _,
        reloc_model,
        code_model: _,
        debugger_tuning: _,
        freestanding: _,
        merge_functions: _,
        embed_bitcode: _,
        function_sections: _,
        data_sections: _,
        use_ctors: _,
        addrsig: _,
        output: _,
        llvm_options: _,
        opt_pipeline: _,
        aa_pipeline: _,
        debug_pass_manager: _,
        relax_elf_relocations: _,
        // Objects are the same.
        lto_partitions: _,
        jobs: _,
        max_memory: _,
        save_temps: _,
        save_stages: _,
        save_temps_beside_inputs: _,
        stats_file: _,
        remarks: _,        // nothing is kept then
        sample_profile: _, // nothing is kept then
        cs_profile: _,     // an option of libLLVM stands for it
        cache_directory: _,
        cache_policy: _,
    } = config;
    let mut key = KeyBuilder::new(kind);
    key.flag("unified_regular", *unified_regular)
        .flag("always_emit_regular_lto_object", *always_emit_regular_lto_object)
        .debug("reloc_model", reloc_model)
        .debug("thin link", thin_link);
    for (input, content) in inputs.iter().zip(contents) {
        // Where it lies is for messages; its name decides the order in which it is imported.
        let Input { identifier, file: _, member: _, bitcode: _, pages: _, stamp: _, resolutions } =
            input;
        key.text("identifier", identifier).key("content", content);
        key.bytes("resolutions", &said(resolutions));
    }
    key
}

/// What the system knows of the input's file instead of its contents.
fn stamp_key(input: &Input<'_>) -> Option<Key> {
    let FileStamp { stamp, offset, len } = input.stamp?;
    let mut key = KeyBuilder::new("written file 1");
    key.debug("stamp", &stamp).number("offset", offset).number("len", len as u64);
    Some(key.finish())
}

fn said(resolutions: &[SymbolResolution]) -> Vec<u8> {
    resolutions
        .iter()
        .map(|said| {
            let SymbolResolution {
                prevailing,
                final_definition_in_linkage_unit,
                visible_to_regular_obj,
                export_dynamic,
                linker_redefined,
            } = *said;
            u8::from(prevailing)
                | u8::from(final_definition_in_linkage_unit) << 1
                | u8::from(visible_to_regular_obj) << 2
                | u8::from(export_dynamic) << 3
                | u8::from(linker_redefined) << 4
        })
        .collect()
}

/// All objects, where every input takes part in the thin link and all is as it was: without a thin
/// link and without libLLVM.
fn unchanged(
    config: &Config,
    cached: &Cached<'_>,
    inputs: &[Input<'_>],
    files: &[InputFile<'_>],
) -> Option<(Vec<Output>, Vec<Diagnostic>)> {
    if config.unified_regular || config.always_emit_regular_lto_object || inputs.is_empty() {
        return None;
    }
    // Whoever wants the stages gets those of the thin link in any case.
    if config.save_temps.is_some() {
        return None;
    }
    let thin = |(input, file): (&Input<'_>, &InputFile<'_>)| {
        file.modules().len() == 1 && has_summary(input.bitcode)
    };
    if !inputs.par_iter().zip(files).all(thin) {
        return None;
    }
    let find = |(number, input): (usize, &Input<'_>)| {
        let object = cached.whole_link(number)?.object?;
        let task = number + config.regular_tasks();
        Some(Output { task, name: input.identifier.clone(), bytes: object })
    };
    let outputs = inputs.par_iter().enumerate().map(find).collect::<Option<Vec<Output>>>()?;
    Some((outputs, Vec::new()))
}
