//! `thinlto_*`: ThinLTO, many modules in and as many objects out.
//!
//! In: C's arguments. Out: a [`ThinCodeGenerator`]'s settings and answers as C values.

#![allow(unsafe_code)] // exports, and the caller's memory

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::sync::{Mutex, PoisonError};

use super::arguments::{self, counted, path, pic_model, text};
use super::boundary::boundary;
use super::codegen_object::reloc;
use super::options;
use super::progress::Callback;
use super::thin_object::{ThinCodeGenerator, ThinInput};
use super::types::{
    BoolArgument, LTOObjectBuffer, PicModelArgument, lto_bool_t, thinlto_code_gen_t,
    thinlto_progress_t,
};
use crate::error::{Error, Result};
use crate::registry::{Kind, Registry};

static THIN_CODE_GENERATORS: Registry<Mutex<ThinCodeGenerator>> =
    Registry::new(Kind::ThinCodeGenerator);

/// Calls `change` with the code generator behind `cg`.
fn change<R>(
    cg: thinlto_code_gen_t,
    change: impl FnOnce(&mut ThinCodeGenerator) -> Result<R>,
) -> Result<R> {
    THIN_CODE_GENERATORS
        .with(cg.addr(), |thin| change(&mut thin.lock().unwrap_or_else(PoisonError::into_inner)))
}

/// Makes a code generator for ThinLTO. Returns null on failure; otherwise it is the caller's, for
/// `thinlto_codegen_dispose`.
#[unsafe(no_mangle)]
pub extern "C" fn thinlto_create_codegen() -> thinlto_code_gen_t {
    boundary("thinlto_create_codegen", std::ptr::null_mut(), || {
        let mut thin = ThinCodeGenerator::default();
        thin.settings.options = options::for_process();
        THIN_CODE_GENERATORS.insert(Mutex::new(thin)).map(std::ptr::without_provenance_mut)
    })
}

/// Frees the code generator with all objects and names that it gave out. The handle is stale from
/// now on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn thinlto_codegen_dispose(cg: thinlto_code_gen_t) {
    boundary("thinlto_codegen_dispose", (), || THIN_CODE_GENERATORS.remove(cg.addr()).map(drop));
}

/// Adds the module in the `length` bytes at `data`, which stay the caller's and must stay as they
/// are until the code generator is disposed of. `identifier` is unique among the modules.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn thinlto_codegen_add_module(
    cg: thinlto_code_gen_t,
    identifier: *const c_char,
    data: *const c_char,
    length: c_int,
) {
    boundary("thinlto_codegen_add_module", (), || {
        // SAFETY: the caller's clause: a string, and `length` bytes that outlive the code
        // generator, which alone keeps the slice.
        let (identifier, bitcode) =
            unsafe { (text(identifier, "the identifier")?, counted(data, length, "the module")?) };
        change(cg, |thin| thin.add(ThinInput { identifier, bitcode }))
    });
}

/// Generates code for all modules. Without a way to return a failure: there are no objects then,
/// and `lto_get_error_message` says why.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn thinlto_codegen_process(cg: thinlto_code_gen_t) {
    boundary("thinlto_codegen_process", (), || change(cg, |thin| thin.process()));
}

/// Names the function that is told how far `thinlto_codegen_process` is: several times a second, on
/// the thread that called it. `callback` may be null, which is the default: a line on standard error
/// where that is a terminal. Not in LLVM's libLTO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn thinlto_codegen_set_progress_callback(
    cg: thinlto_code_gen_t,
    callback: thinlto_progress_t,
    context: *mut c_void,
) {
    boundary("thinlto_codegen_set_progress_callback", (), || {
        change(cg, |thin| {
            thin.progress = Callback { function: callback, context };
            Ok(())
        })
    });
}

/// Returns the number of objects in memory that `thinlto_codegen_process` made.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn thinlto_module_get_num_objects(cg: thinlto_code_gen_t) -> c_uint {
    boundary("thinlto_module_get_num_objects", 0, || {
        change(cg, |thin| Ok(count(thin.objects().len())))
    })
}

/// Returns object `index`, which the code generator owns; a null buffer of size 0 where there is
/// none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn thinlto_module_get_object(
    cg: thinlto_code_gen_t,
    index: c_uint,
) -> LTOObjectBuffer {
    boundary("thinlto_module_get_object", LTOObjectBuffer::NONE, || {
        change(cg, |thin| {
            let objects = thin.objects();
            let object = objects
                .get(index as usize)
                .ok_or_else(|| missing("object", index, objects.len()))?;
            Ok(LTOObjectBuffer { Buffer: object.as_ptr().cast(), Size: object.len() })
        })
    })
}

/// Returns the number of object files that `thinlto_codegen_process` wrote into the directory of
/// `thinlto_set_generated_objects_dir`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn thinlto_module_get_num_object_files(cg: thinlto_code_gen_t) -> c_uint {
    boundary("thinlto_module_get_num_object_files", 0, || {
        change(cg, |thin| Ok(count(thin.files().len())))
    })
}

/// Returns the path of object file `index`, a string of the code generator; null where there is
/// none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn thinlto_module_get_object_file(
    cg: thinlto_code_gen_t,
    index: c_uint,
) -> *const c_char {
    boundary("thinlto_module_get_object_file", std::ptr::null(), || {
        change(cg, |thin| {
            let files = thin.files();
            let file = files.get(index as usize);
            Ok(file.ok_or_else(|| missing("object file", index, files.len()))?.as_ptr())
        })
    })
}

/// Says how the code reaches symbols. Returns true on failure, for an unknown value.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn thinlto_codegen_set_pic_model(
    cg: thinlto_code_gen_t,
    model: PicModelArgument,
) -> lto_bool_t {
    boundary("thinlto_codegen_set_pic_model", true, || {
        let model = reloc(pic_model(model)?);
        change(cg, |thin| {
            thin.settings.reloc = model;
            Ok(false)
        })
    })
}

/// Names the directory, with its final separator, that gets the bitcode of every stage.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn thinlto_codegen_set_savetemps_dir(
    cg: thinlto_code_gen_t,
    save_temps_dir: *const c_char,
) {
    boundary("thinlto_codegen_set_savetemps_dir", (), || {
        // SAFETY: the caller's clause: a string.
        let save_temps_dir = unsafe { path(save_temps_dir) }?.to_owned();
        change(cg, |thin| {
            thin.settings.save_temps = Some(save_temps_dir);
            Ok(())
        })
    });
}

/// Names the directory that gets the objects; they are then not given out in memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn thinlto_set_generated_objects_dir(
    cg: thinlto_code_gen_t,
    save_temps_dir: *const c_char,
) {
    boundary("thinlto_set_generated_objects_dir", (), || {
        // SAFETY: the caller's clause: a string.
        let save_temps_dir = unsafe { path(save_temps_dir) }?.to_owned();
        change(cg, |thin| {
            thin.settings.objects_directory = Some(save_temps_dir);
            Ok(())
        })
    });
}

/// Names the processor to generate code for; the empty string is the target's default.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn thinlto_codegen_set_cpu(cg: thinlto_code_gen_t, cpu: *const c_char) {
    boundary("thinlto_codegen_set_cpu", (), || {
        // SAFETY: the caller's clause: a string.
        let cpu = unsafe { text(cpu, "the processor's name") }?;
        change(cg, |thin| {
            thin.settings.cpu = cpu;
            Ok(())
        })
    });
}

/// Says whether to stop before machine code is generated; the objects are then bitcode.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn thinlto_codegen_disable_codegen(
    cg: thinlto_code_gen_t,
    disable: BoolArgument,
) {
    boundary("thinlto_codegen_disable_codegen", (), || {
        change(cg, |thin| {
            thin.settings.disable_codegen = disable != 0;
            Ok(())
        })
    });
}

/// Says whether to generate machine code only, without optimizing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn thinlto_codegen_set_codegen_only(
    cg: thinlto_code_gen_t,
    codegen_only: BoolArgument,
) {
    boundary("thinlto_codegen_set_codegen_only", (), || {
        change(cg, |thin| {
            thin.settings.codegen_only = codegen_only != 0;
            Ok(())
        })
    });
}

/// Sets options for everything that this process generates code for from now on: `number` strings
/// at `options`, each one option. `options` may be null where `number` is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn thinlto_debug_options(options: *const *const c_char, number: c_int) {
    boundary("thinlto_debug_options", (), || {
        // LLVM ignores a null array whatever its length is said to be, and ld64 relies on it.
        if !options.is_null() {
            // SAFETY: the caller's clause: `number` strings.
            options::add_for_process(unsafe { arguments::options(options, number) }?);
        }
        Ok(())
    });
}

/// How many there are, for C.
fn count(length: usize) -> c_uint {
    c_uint::try_from(length).unwrap_or(c_uint::MAX)
}

fn missing(what: &str, index: c_uint, length: usize) -> Error {
    Error::misuse(format!("{what} {index} of {length}"))
}

/// Names a symbol, as the object file has it, that must be in the generated code because something
/// outside of the ThinLTO modules uses it. `length` is the name's in bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn thinlto_codegen_add_must_preserve_symbol(
    cg: thinlto_code_gen_t,
    name: *const c_char,
    length: c_int,
) {
    boundary("thinlto_codegen_add_must_preserve_symbol", (), || {
        // SAFETY: the caller's clause: `length` bytes.
        let name = unsafe { counted(name, length, "the symbol") }?.to_vec();
        change(cg, |thin| {
            thin.settings.preserved.insert(name);
            Ok(())
        })
    });
}

/// Names a symbol that one ThinLTO module defines and another uses: it may go when no use is left.
/// `length` is the name's in bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn thinlto_codegen_add_cross_referenced_symbol(
    cg: thinlto_code_gen_t,
    name: *const c_char,
    length: c_int,
) {
    boundary("thinlto_codegen_add_cross_referenced_symbol", (), || {
        // SAFETY: the caller's clause: `length` bytes.
        let name = unsafe { counted(name, length, "the symbol") }?.to_vec();
        change(cg, |thin| {
            // LLVM keeps it as well; it may go only where the linker lets it.
            thin.settings.preserved.insert(name);
            Ok(())
        })
    });
}

/// Names the directory of the cache, and so turns it on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn thinlto_codegen_set_cache_dir(
    cg: thinlto_code_gen_t,
    cache_dir: *const c_char,
) {
    boundary("thinlto_codegen_set_cache_dir", (), || {
        // SAFETY: the caller's clause: a string.
        let cache_dir = unsafe { path(cache_dir) }?.to_owned();
        change(cg, |thin| {
            thin.cache_directory = Some(cache_dir);
            Ok(())
        })
    });
}

/// Sets the seconds between two prunings of the cache: negative is never, 0 always.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn thinlto_codegen_set_cache_pruning_interval(
    cg: thinlto_code_gen_t,
    interval: c_int,
) {
    boundary("thinlto_codegen_set_cache_pruning_interval", (), || {
        change(cg, |thin| {
            thin.policy = thin.policy.with_interval(interval);
            Ok(())
        })
    });
}

/// Sets the most that the cache takes, as a percentage of the space that is free or the cache's
/// already. More than 100 is 100, and 0 changes nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn thinlto_codegen_set_final_cache_size_relative_to_available_space(
    cg: thinlto_code_gen_t,
    percentage: c_uint,
) {
    boundary("thinlto_codegen_set_final_cache_size_relative_to_available_space", (), || {
        change(cg, |thin| {
            thin.policy = thin.policy.with_percentage(percentage);
            Ok(())
        })
    });
}

/// Sets the seconds after which an unused cache entry goes; 0 changes nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn thinlto_codegen_set_cache_entry_expiration(
    cg: thinlto_code_gen_t,
    expiration: c_uint,
) {
    boundary("thinlto_codegen_set_cache_entry_expiration", (), || {
        change(cg, |thin| {
            thin.policy = thin.policy.with_expiration(expiration);
            Ok(())
        })
    });
}

/// Sets the most bytes that the cache takes; 0 changes nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn thinlto_codegen_set_cache_size_bytes(
    cg: thinlto_code_gen_t,
    max_size_bytes: c_uint,
) {
    boundary("thinlto_codegen_set_cache_size_bytes", (), || {
        change(cg, |thin| {
            thin.policy = thin.policy.with_size_bytes(u64::from(max_size_bytes));
            Ok(())
        })
    });
}

/// Sets the most that the cache takes, in units of 2^20 bytes; 0 changes nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn thinlto_codegen_set_cache_size_megabytes(
    cg: thinlto_code_gen_t,
    max_size_megabytes: c_uint,
) {
    boundary("thinlto_codegen_set_cache_size_megabytes", (), || {
        change(cg, |thin| {
            thin.policy = thin.policy.with_size_bytes(u64::from(max_size_megabytes) << 20);
            Ok(())
        })
    });
}

/// Sets the most files that the cache has; 0 changes nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn thinlto_codegen_set_cache_size_files(
    cg: thinlto_code_gen_t,
    max_size_files: c_uint,
) {
    boundary("thinlto_codegen_set_cache_size_files", (), || {
        change(cg, |thin| {
            thin.policy = thin.policy.with_size_files(max_size_files);
            Ok(())
        })
    });
}
