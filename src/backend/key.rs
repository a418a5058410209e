//! The keys under which a job's object is kept.
//!
//! In: a [`Job`], [`Settings`], the engine's build. Out: [`Key`]s. Structs are taken apart field by
//! field, so that a new one does not compile until somebody has decided whether it changes objects.

use std::path::Path;

use super::{Job, Part, Settings};
use crate::cache::{Key, KeyBuilder};
use crate::config::OutputKind;
use crate::container::FileBytes;
use crate::engine::{LazyEngine, PassOptions, TargetConfig};
use crate::error::Result;

/// Everything but the module: the engine's build, its options, how modules are compiled. Raised
/// number: what this library does with the same fields has changed.
///
/// # Errors
/// As [`LazyEngine::identity`].
pub fn common_key(engine: &LazyEngine, settings: &Settings) -> Result<Key> {
    let mut key = KeyBuilder::new("settings 1");
    key.text("engine", &engine.identity()?);
    key.texts("cl_opts", engine.cl_opts());
    for option in engine.cl_opts() {
        named_file(&mut key, option);
    }
    let Settings {
        target,
        pipeline,
        passes,
        embed_bitcode,
        codegen_only,
        output,
        keep_value_names,
        remarks: _, // nothing is kept then
    } = settings;
    target_key(&mut key, target);
    key.text("pipeline", pipeline).flag("codegen_only", *codegen_only).debug("output", output);
    // The names stand in comments of assembly, and in no object.
    let names_show = *output != OutputKind::Objects && *keep_value_names;
    key.flag("keep_value_names", names_show).debug("embed_bitcode", embed_bitcode);
    let PassOptions {
        loop_vectorization,
        slp_vectorization,
        debug_logging: _, // prints
        verify_each: _,   // fails or does nothing
        merge_functions,
        freestanding,
        aa_pipeline,
    } = passes;
    key.flag("loop_vectorization", *loop_vectorization)
        .flag("slp_vectorization", *slp_vectorization)
        .flag("merge_functions", *merge_functions)
        .flag("freestanding", *freestanding)
        .debug("aa_pipeline", aa_pipeline);
    Ok(key.finish())
}

fn target_key(key: &mut KeyBuilder, target: &TargetConfig) {
    let TargetConfig {
        triple,
        default_triple,
        cpu,
        features,
        cg_opt_level,
        reloc,
        code_model,
        flags_steer_optimizer,
        function_sections,
        data_sections,
        use_init_array,
        emit_addrsig,
        relax_elf_relocations,
        asm_verbose,
        debugger_tuning,
        contract_objc_arc,
        library_functions,
    } = target;
    key.debug("triple", triple)
        .debug("default_triple", default_triple)
        .text("cpu", cpu)
        .text("features", features)
        .number("cg_opt_level", u64::from(*cg_opt_level))
        .debug("reloc", reloc)
        .debug("code_model", code_model)
        .flag("flags_steer_optimizer", *flags_steer_optimizer)
        .flag("function_sections", *function_sections)
        .flag("data_sections", *data_sections)
        .flag("use_init_array", *use_init_array)
        .flag("emit_addrsig", *emit_addrsig)
        .flag("relax_elf_relocations", *relax_elf_relocations)
        .flag("asm_verbose", *asm_verbose)
        .debug("debugger_tuning", debugger_tuning)
        .flag("contract_objc_arc", *contract_objc_arc)
        .flag("library_functions", *library_functions);
}

/// An option of LLVM's may name a file (a profile, a list of functions): what is in it counts.
fn named_file(key: &mut KeyBuilder, option: &str) {
    let value = option.split_once('=').map_or(option, |(_, value)| value);
    if !value.is_empty() && Path::new(value).is_file() {
        match FileBytes::open(Path::new(value)) {
            Ok(bytes) => key.bytes("file", &bytes),
            Err(_) => key.text("file", "unreadable"),
        };
    }
}

impl Job {
    /// The key of the job's object. `common` is [`common_key`].
    pub fn key(&self, common: &Key) -> Key {
        let Job {
            // Names of modules and files are for messages: no object has them.
            identifier: _,
            place: _,
            destination,
            prepare,
            parts,
            finish,
            warnings: _, // said where the object is made
            printed: _,
            types,
            memprof,
        } = self;
        let mut key = KeyBuilder::new("job 2");
        key.key("common", common);
        key.bytes("destination", destination).debug("prepare", prepare);
        key.number("parts", parts.len() as u64);
        // The suffix is in the bitcode, where it is in use.
        for Part { place: _, suffix: _, bitcode, before, after } in parts {
            key.bytes("part", bitcode).debug("before", before).debug("after", after);
        }
        key.debug("finish", finish).bytes("types", types.as_deref().unwrap_or_default());
        if let Some(index) = memprof {
            key.bytes("memprof", index);
        }
        key.finish()
    }
}

/// The key of the object of a job whose module is `bitcode` when the optimizer gets it: with what that
/// is told of types ([`Job::types`]) and clones ([`Job::memprof`]).
pub fn linked_key(
    common: &Key,
    bitcode: &[u8],
    types: Option<&[u8]>,
    memprof: Option<&[u8]>,
) -> Key {
    let mut key = KeyBuilder::new("linked 2");
    key.key("common", common).bytes("bitcode", bitcode);
    key.bytes("types", types.unwrap_or_default());
    if let Some(index) = memprof {
        key.bytes("memprof", index);
    }
    key.finish()
}
