//! `lto_codegen_*`: regular LTO, many modules in and one object out.
//!
//! In: C's arguments. Out: a [`CodeGenerator`]'s answers as C values. Functions that may call the
//! user's diagnostic handler are `extern "C-unwind"`, since the handler may throw through them.

#![allow(unsafe_code)] // exports, and the caller's memory

use std::ffi::{c_char, c_int, c_uint, c_void};

use super::arguments::{self, pic_model, store, string, text};
use super::boundary::{boundary, reporting};
use super::codegen_object::{self, CODE_GENERATORS, CodeGenerator, find};
use super::diagnostics::Handler;
use super::module_object::MODULES;
use super::types::{
    BoolArgument, DebugModelArgument, PicModelArgument, lto_bool_t, lto_code_gen_t,
    lto_debug_model, lto_diagnostic_handler_t, lto_module_t,
};
use crate::error::{Error, Result};

/// Sets the function that is told of errors, warnings and remarks of `cg`, and the `ctxt` that it
/// gets back. Null takes it away; the messages of failures are then those of
/// `lto_get_error_message` alone.
///
/// The function is called by the thread that called the library, last of all, when `cg` may be
/// used again; so it may throw a C++ exception or call the library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_codegen_set_diagnostic_handler(
    cg: lto_code_gen_t,
    handler: lto_diagnostic_handler_t,
    ctxt: *mut c_void,
) {
    boundary("lto_codegen_set_diagnostic_handler", (), || {
        find(cg)?.set_handler(Handler { function: handler, context: ctxt });
        Ok(())
    });
}

/// Makes a code generator for regular LTO. Returns null on failure; otherwise it is the caller's,
/// for `lto_codegen_dispose`.
#[unsafe(no_mangle)]
pub extern "C" fn lto_codegen_create() -> lto_code_gen_t {
    boundary("lto_codegen_create", std::ptr::null_mut(), create)
}

/// As `lto_codegen_create`: every code generator here is independent of all others.
#[unsafe(no_mangle)]
pub extern "C" fn lto_codegen_create_in_local_context() -> lto_code_gen_t {
    boundary("lto_codegen_create_in_local_context", std::ptr::null_mut(), create)
}

/// Frees the code generator with the objects and names that it gave out. The handle is stale from
/// now on. Temporary files whose names it gave out stay.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_codegen_dispose(cg: lto_code_gen_t) {
    boundary("lto_codegen_dispose", (), || CODE_GENERATORS.remove(cg.addr()).map(drop));
}

/// Adds a module; the order of modules is the order of these calls. `mod` stays the caller's and
/// may be disposed of at once, but cannot be added again. Returns true on failure.
///
/// Modules are put together when code or merged bitcode is first asked for, so what is wrong with
/// their combination is said then.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn lto_codegen_add_module(
    cg: lto_code_gen_t,
    r#mod: lto_module_t,
) -> lto_bool_t {
    reporting("lto_codegen_add_module", true, |report| {
        codegen_object::report_to(cg, report)?;
        let code_generator = find(cg)?;
        let input = MODULES.with(r#mod.addr(), |module| module.take_input())?;
        code_generator.add(input);
        Ok(false)
    })
}

/// Makes `mod` the only module, in place of those added so far. The module passes to the code
/// generator: the handle `mod` is stale from now on.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn lto_codegen_set_module(cg: lto_code_gen_t, r#mod: lto_module_t) {
    reporting("lto_codegen_set_module", (), |report| {
        codegen_object::report_to(cg, report)?;
        let code_generator = find(cg)?;
        let input = MODULES.with(r#mod.addr(), |module| module.take_input())?;
        MODULES.remove(r#mod.addr())?;
        code_generator.set(input);
        Ok(())
    });
}

/// Says what debug information to write; as in LLVM, the modules decide and this changes nothing.
/// Returns true on failure, for an unknown value.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_codegen_set_debug_model(
    cg: lto_code_gen_t,
    model: DebugModelArgument,
) -> lto_bool_t {
    boundary("lto_codegen_set_debug_model", true, || {
        find(cg)?;
        let known = [lto_debug_model::LTO_DEBUG_MODEL_NONE, lto_debug_model::LTO_DEBUG_MODEL_DWARF];
        if !known.iter().any(|known| *known as c_uint == model) {
            return Err(Error::misuse(format!("Unknown debug model {model}")));
        }
        Ok(false)
    })
}

/// Says how the code reaches symbols. Returns true on failure, for an unknown value.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_codegen_set_pic_model(
    cg: lto_code_gen_t,
    model: PicModelArgument,
) -> lto_bool_t {
    boundary("lto_codegen_set_pic_model", true, || {
        find(cg)?.set_pic_model(pic_model(model)?);
        Ok(false)
    })
}

/// Names the processor to generate code for; the empty string is the target's default.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_codegen_set_cpu(cg: lto_code_gen_t, cpu: *const c_char) {
    boundary("lto_codegen_set_cpu", (), || {
        // SAFETY: the caller's clause: a string.
        find(cg)?.set_cpu(unsafe { text(cpu, "the processor's name") }?);
        Ok(())
    });
}

/// Accepted and without effect, as in LLVM: no assembler program is needed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_codegen_set_assembler_path(cg: lto_code_gen_t, path: *const c_char) {
    boundary("lto_codegen_set_assembler_path", (), || {
        let _ = path;
        find(cg).map(drop)
    });
}

/// Accepted and without effect, as in LLVM: no assembler program is needed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_codegen_set_assembler_args(
    cg: lto_code_gen_t,
    args: *mut *const c_char,
    nargs: c_int,
) {
    boundary("lto_codegen_set_assembler_args", (), || {
        let _ = (args, nargs);
        find(cg).map(drop)
    });
}

/// Names a symbol, as the object file has it, that must be in the generated code because something
/// outside of the modules uses it. May be called several times for the same symbol.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_codegen_add_must_preserve_symbol(
    cg: lto_code_gen_t,
    symbol: *const c_char,
) {
    boundary("lto_codegen_add_must_preserve_symbol", (), || {
        // SAFETY: the caller's clause: a string.
        let symbol = unsafe { string(symbol, "the symbol") }?;
        find(cg)?.preserve(symbol.to_bytes());
        Ok(())
    });
}

/// Writes the modules, put together, as bitcode into the file at `path`. Returns true on failure,
/// and leaves no file then.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn lto_codegen_write_merged_modules(
    cg: lto_code_gen_t,
    path: *const c_char,
) -> lto_bool_t {
    reporting("lto_codegen_write_merged_modules", true, |report| {
        codegen_object::report_to(cg, report)?;
        // SAFETY: the caller's clause: a string.
        find(cg)?.write_merged_modules(unsafe { arguments::path(path) }?, report)?;
        Ok(false)
    })
}

/// Optimizes the modules and generates one object file: `lto_codegen_optimize`, then
/// `lto_codegen_compile_optimized`.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn lto_codegen_compile(
    cg: lto_code_gen_t,
    length: *mut usize,
) -> *const c_void {
    reporting("lto_codegen_compile", std::ptr::null(), |report| {
        codegen_object::report_to(cg, report)?;
        let code_generator = find(cg)?;
        code_generator.optimize(report)?;
        let (object, size) = code_generator.compile_optimized(report)?;
        // SAFETY: the caller's clause: valid for a write.
        unsafe { store(length, size, "length") }?;
        Ok(object)
    })
}

/// As `lto_codegen_compile`, into a temporary file whose path is stored at `name`. The string is
/// the code generator's, the file the caller's to remove. Returns true on failure.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn lto_codegen_compile_to_file(
    cg: lto_code_gen_t,
    name: *mut *const c_char,
) -> lto_bool_t {
    reporting("lto_codegen_compile_to_file", true, |report| {
        codegen_object::report_to(cg, report)?;
        let code_generator = find(cg)?;
        // SAFETY: the caller's clause: valid for a write.
        unsafe { store(name, std::ptr::null(), "name") }?;
        code_generator.optimize(report)?;
        let path = code_generator.compile_optimized_to_file(report)?;
        // SAFETY: as above.
        unsafe { store(name, path, "name") }?;
        Ok(false)
    })
}

/// Puts the modules together and optimizes them. Returns true on failure.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn lto_codegen_optimize(cg: lto_code_gen_t) -> lto_bool_t {
    reporting("lto_codegen_optimize", true, |report| {
        codegen_object::report_to(cg, report)?;
        find(cg)?.optimize(report)?;
        Ok(false)
    })
}

/// Generates one object file of the modules as they are, without optimizing them. Returns its
/// first byte and stores its size in bytes at `length`, or returns null on failure.
///
/// The object belongs to the code generator and lives until that is disposed of.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn lto_codegen_compile_optimized(
    cg: lto_code_gen_t,
    length: *mut usize,
) -> *const c_void {
    reporting("lto_codegen_compile_optimized", std::ptr::null(), |report| {
        codegen_object::report_to(cg, report)?;
        let (object, size) = find(cg)?.compile_optimized(report)?;
        // SAFETY: the caller's clause: valid for a write.
        unsafe { store(length, size, "length") }?;
        Ok(object)
    })
}

/// Gives options for code generation, several in one string, separated by spaces.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_codegen_debug_options(cg: lto_code_gen_t, options: *const c_char) {
    boundary("lto_codegen_debug_options", (), || {
        // SAFETY: the caller's clause: a string.
        let options = unsafe { text(options, "the options") }?;
        find(cg)?.add_options(options.split_ascii_whitespace().map(str::to_owned).collect());
        Ok(())
    });
}

/// Gives options for code generation: `number` strings at `options`, each one option, which may
/// contain spaces. `options` may be null where `number` is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_codegen_debug_options_array(
    cg: lto_code_gen_t,
    options: *const *const c_char,
    number: c_int,
) {
    boundary("lto_codegen_debug_options_array", (), || {
        // SAFETY: the caller's clause: `number` strings.
        find(cg)?.add_options(unsafe { arguments::options(options, number) }?);
        Ok(())
    });
}

/// Says whether symbols that nothing outside of the modules uses may be made local (they are by
/// default) when code is generated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_codegen_set_should_internalize(
    cg: lto_code_gen_t,
    should_internalize: BoolArgument,
) {
    boundary("lto_codegen_set_should_internalize", (), || {
        find(cg)?.set_should_internalize(should_internalize != 0);
        Ok(())
    });
}

/// Says whether `lto_codegen_write_merged_modules` writes the order of uses too, so that whoever
/// reads the file optimizes it in the same way.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_codegen_set_should_embed_uselists(
    cg: lto_code_gen_t,
    should_embed_uselists: BoolArgument,
) {
    boundary("lto_codegen_set_should_embed_uselists", (), || {
        find(cg)?.set_should_embed_uselists(should_embed_uselists != 0);
        Ok(())
    });
}

fn create() -> Result<lto_code_gen_t> {
    codegen_object::keep(CodeGenerator::new()).map(std::ptr::without_provenance_mut)
}
