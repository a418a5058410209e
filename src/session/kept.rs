//! The cache of a link: what of it is asked for, and what is not.
//!
//! In: a [`Config`], inputs and their resolutions. Out: keys for [`backend`](crate::backend), and
//! all objects at once where nothing has changed since an earlier link. Regular LTO is not kept, as
//! in LLVM: any change changes its one module.

use rayon::prelude::*;

use super::{Input, Output};
use crate::backend::{Cached, Made, Settings};
use crate::cache::{Cache, Key, KeyBuilder, LinkFiles, Policy, Statistics, content_key};
use crate::config::{Config, OutputKind};
use crate::engine::{Diagnostic, LazyEngine};
use crate::error::Result;
use crate::resolution::SymbolResolution;
use crate::summary::has_summary;
use crate::symbols::InputFile;
use crate::thinlink::ThinLinkOptions;

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

    /// Its use by the backends.
    ///
    /// # Errors
    /// Where the engine's build cannot be told.
    pub(super) fn cached<'k>(
        &'k self,
        config: &Config,
        thin_link: &ThinLinkOptions,
        engine: &LazyEngine,
        settings: &Settings,
        inputs: &[Input<'_>],
    ) -> Result<Cached<'k>> {
        Cached::new(&self.cache, engine, settings, Some(link_key(config, thin_link, inputs)))
    }

    /// What it was good for; and what was not used for long goes, where the user wants that.
    pub(super) fn close(&self) -> Statistics {
        if let Some(policy) = &self.policy {
            // LLVM's plugin gives no warnings of objects that do not fit.
            self.cache.prune(policy, &LinkFiles::default());
        }
        self.cache.statistics()
    }
}

/// Everything that decides what becomes of a module, but for what the backends' settings say.
fn link_key(config: &Config, thin_link: &ThinLinkOptions, inputs: &[Input<'_>]) -> KeyBuilder {
    let Config {
        unified_regular,
        // Of the thin link's options.
        whole_program_visibility: _,
        always_emit_regular_lto_object,
        // In the backends' settings.
        opt_level: _,
        codegen_opt_level: _,
        cpu: _,
        attributes: _,
        override_triple: _,
        reloc_model,
        code_model: _,
        function_sections: _,
        data_sections: _,
        output: _,
        llvm_options: _,
        opt_pipeline: _,
        debug_pass_manager: _,
        relax_elf_relocations: _,
        // Objects are the same.
        jobs: _,
        max_memory: _,
        save_temps: _,
        save_stages: _,
        save_temps_beside_inputs: _,
        stats_file: _,
        remarks: _,    // nothing is kept then
        cs_profile: _, // an option of libLLVM stands for it
        cache_directory: _,
        cache_policy: _,
    } = config;
    let mut key = KeyBuilder::new("link 2");
    key.flag("unified_regular", *unified_regular)
        .flag("always_emit_regular_lto_object", *always_emit_regular_lto_object)
        .debug("reloc_model", reloc_model)
        .debug("thin link", thin_link);
    let digests: Vec<Key> = inputs.par_iter().with_max_len(1).map(digest).collect();
    for (input, digest) in inputs.iter().zip(&digests) {
        key.text("identifier", &input.identifier).key("input", digest);
    }
    key
}

fn digest(input: &Input<'_>) -> Key {
    // Where it lies is for messages; its name decides the order in which it is imported.
    let Input { identifier: _, file: _, member: _, bitcode, pages: _, content, resolutions } =
        input;
    let said: Vec<u8> = resolutions
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
        .collect();
    let mut key = KeyBuilder::new("input");
    let content = content.unwrap_or_else(|| content_key(bitcode));
    key.key("content", &content).bytes("resolutions", &said);
    key.finish()
}

/// All objects, where every input takes part in the thin link and all is as it was: without a thin
/// link and without libLLVM.
pub(super) fn unchanged(
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
        let Made { object, entry, .. } = cached.whole_link(number)?;
        // Task 0 is regular LTO's.
        Some(Output { task: number + 1, name: input.identifier.clone(), bytes: object?, entry })
    };
    let outputs = inputs.par_iter().enumerate().map(find).collect::<Option<Vec<Output>>>()?;
    Some((outputs, Vec::new()))
}
