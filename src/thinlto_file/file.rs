//! Whether there is an index, indexes from files, and files from indexes.
//!
//! In: C's arguments. Out: handles, answers and files.

#![allow(unsafe_code)] // exports, and the caller's memory

use std::ffi::{c_char, c_int, c_void};

use super::index_object::{INDEXES, ThinIndex};
use super::types::{lto_thinlto_write_options_t, thin_lto_t};
use crate::capi::arguments::{self, bytes, string, text};
use crate::capi::boundary::boundary;
use crate::capi::types::lto_bool_t;
use crate::container::{FileBytes, OpenFile};
use crate::distributed::write_atomically;
use crate::error::{Error, Result};
use crate::ir::Guid;
use crate::summary::{
    Format, ModuleId, WriteOptions, file_has_summary, has_summary, write_module_index,
};

/// Tells whether the file at `path`, bitcode or a native object with bitcode in it, has the
/// summary of a module or is a combined index. It looks and does not parse; a file that cannot be
/// read has none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_has_thinlto_index(path: *const c_char) -> lto_bool_t {
    boundary("lto_has_thinlto_index", false, || {
        // SAFETY: the caller's clause: a string.
        let path = unsafe { arguments::path(path) }?;
        file_has_summary(&OpenFile::open(path)?)
    })
}

/// As `lto_has_thinlto_index`, for the `length` bytes at `mem`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_has_thinlto_index_in_memory(
    mem: *const c_void,
    length: usize,
) -> lto_bool_t {
    boundary("lto_has_thinlto_index_in_memory", false, || {
        // SAFETY: the caller's clause: `length` bytes.
        Ok(has_summary(unsafe { bytes(mem, length, "the buffer") }?))
    })
}

/// Reads the index in the file at `path`: a module's own or a combined one, in bitcode or in a
/// native object. A module goes by `path`. Returns null on failure, and the message of
/// `lto_get_error_message` says why. The index is the caller's, for `lto_thinlto_dispose`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_create(path: *const c_char) -> thin_lto_t {
    boundary("lto_thinlto_create", std::ptr::null_mut(), || {
        // SAFETY: the caller's clause: a string.
        keep(ThinIndex::open(unsafe { arguments::path(path) }?))
    })
}

/// As `lto_thinlto_create`, for the first `size` bytes of the open file `fd`, or for all of it
/// where `size` is 0. The descriptor stays the caller's and may be closed afterwards; its position
/// is neither used nor changed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_create_from_fd(
    fd: c_int,
    path: *const c_char,
    size: usize,
) -> thin_lto_t {
    boundary("lto_thinlto_create_from_fd", std::ptr::null_mut(), || {
        // SAFETY: the caller's clause: a string.
        let path = unsafe { string(path, "the path") }?;
        let size = (size != 0).then_some(size as u64);
        let bytes = FileBytes::from_fd(fd, 0, size)
            .map_err(|error| error.in_file(path.to_string_lossy()))?;
        keep(ThinIndex::read(&bytes, path.to_bytes()))
    })
}

/// As `lto_thinlto_create`, for the `length` bytes at `mem`, which the caller may free afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_create_from_memory(
    mem: *const c_void,
    path: *const c_char,
    length: usize,
) -> thin_lto_t {
    boundary("lto_thinlto_create_from_memory", std::ptr::null_mut(), || {
        // SAFETY: the caller's clause: `length` bytes and a string.
        let (bytes, path) =
            unsafe { (bytes(mem, length, "the buffer")?, string(path, "the path")?) };
        keep(ThinIndex::read(bytes, path.to_bytes()))
    })
}

/// As `lto_thinlto_create`, but of a combined index nothing is read now except where its functions
/// are: for `lto_thinlto_read_function`. The file must not change while the index lives. Any other
/// question reads all of it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_create_lazy(path: *const c_char) -> thin_lto_t {
    boundary("lto_thinlto_create_lazy", std::ptr::null_mut(), || {
        // SAFETY: the caller's clause: a string.
        keep(ThinIndex::open_lazily(unsafe { arguments::path(path) }?))
    })
}

/// Reads the summaries of the function or variable of external linkage with this name from an index
/// of `lto_thinlto_create_lazy`, and returns them as an index of their own, for
/// `lto_thinlto_dispose`. Null on error, as where there are none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_read_function(
    index: thin_lto_t,
    name: *const c_char,
) -> thin_lto_t {
    boundary("lto_thinlto_read_function", std::ptr::null_mut(), || {
        // SAFETY: the caller's clause: a string.
        let name = unsafe { string(name, "the name") }?;
        keep(INDEXES.with(index.addr(), |index| index.read_function(name.to_bytes())))
    })
}

/// As `lto_thinlto_read_function`, by GUID.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_read_guid(index: thin_lto_t, guid: u64) -> thin_lto_t {
    boundary("lto_thinlto_read_guid", std::ptr::null_mut(), || {
        keep(INDEXES.with(index.addr(), |index| index.read_guid(Guid(guid))))
    })
}

/// Returns an index of no modules, to merge others into, or null on failure. It is the caller's,
/// for `lto_thinlto_dispose`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_create_empty() -> thin_lto_t {
    boundary("lto_thinlto_create_empty", std::ptr::null_mut(), || keep(Ok(ThinIndex::default())))
}

/// Frees the index and all strings that it gave out. The handle is stale from now on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_dispose(index: thin_lto_t) {
    boundary("lto_thinlto_dispose", (), || INDEXES.remove(index.addr()).map(drop));
}

/// Adds the modules of `from` behind those of `into`, which becomes a combined index; `from`
/// stays as it is. Where several modules define one function, each keeps its entry. Numbers of
/// values and summaries of `into` are different afterwards. Returns true on error, as where both
/// have a module of one path; `into` is then unchanged.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_merge(into: thin_lto_t, from: thin_lto_t) -> lto_bool_t {
    boundary("lto_thinlto_merge", true, || {
        if into.addr() == from.addr() {
            return Err(Error::misuse("an index cannot be merged into itself"));
        }
        let other = INDEXES.with(from.addr(), ThinIndex::index)?;
        INDEXES.with(into.addr(), |index| index.merge(&other))?;
        Ok(false)
    })
}

/// Tells whether the index is a combined one: read from such a file, or merged into.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_is_combined(index: thin_lto_t) -> lto_bool_t {
    boundary("lto_thinlto_is_combined", false, || {
        INDEXES.with(index.addr(), ThinIndex::is_combined)
    })
}

/// Writes the index as a combined one to the file at `path`: bitcode where `triple` is null,
/// otherwise a native object for `triple` with the index in the section where readers look for
/// bitcode. The file is there whole or not at all. Returns true on error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_write_to_file(
    index: thin_lto_t,
    path: *const c_char,
    triple: *const c_char,
) -> lto_bool_t {
    boundary("lto_thinlto_write_to_file", true, || {
        // SAFETY: the caller's clause: two strings.
        unsafe { write(index, path, triple, &WriteOptions::default()) }
    })
}

/// As `lto_thinlto_write_to_file`, with options; null for none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_write_to_file_with_options(
    index: thin_lto_t,
    path: *const c_char,
    triple: *const c_char,
    options: *const lto_thinlto_write_options_t,
) -> lto_bool_t {
    boundary("lto_thinlto_write_to_file_with_options", true, || {
        // SAFETY: the caller's clause: two strings and a structure.
        unsafe { write(index, path, triple, &write_options(options)?) }
    })
}

/// Writes the file of a module at `input` again, to `output`, which may be the same path, with
/// what `index` says of the module of path `module` as its summary. It stays what it is: bitcode,
/// raw or wrapped, or an object file, of which everything but the section of the bitcode keeps its
/// bytes and its place (in Wasm, what stands behind it moves). `module` may be null where the index
/// has one module. A summary that the file has is replaced; everything else stays bit by bit.
/// `options` may be null. Returns true on
/// error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_write_module_index(
    index: thin_lto_t,
    module: *const c_char,
    input: *const c_char,
    output: *const c_char,
    options: *const lto_thinlto_write_options_t,
) -> lto_bool_t {
    boundary("lto_thinlto_write_module_index", true, || {
        // SAFETY: the caller's clause: strings and a structure.
        let (input, output, options) =
            unsafe { (arguments::path(input)?, arguments::path(output)?, write_options(options)?) };
        let index = INDEXES.with(index.addr(), ThinIndex::index)?;
        let module = if module.is_null() {
            match index.modules() {
                [_] => ModuleId(0),
                all => {
                    let count = all.len();
                    let what = format!("the index has {count} modules: one must be named");
                    return Err(Error::misuse(what));
                }
            }
        } else {
            // SAFETY: the caller's clause: a string.
            let path = unsafe { string(module, "the module") }?;
            index.find_module(path.to_bytes()).ok_or_else(|| {
                Error::misuse(format!("the index has no module {}", path.to_string_lossy()))
            })?
        };
        let bytes = FileBytes::open(input)?;
        let in_file = |error: Error| error.in_file(input.to_string_lossy());
        let file = write_module_index(&bytes, &index, module, options.format).map_err(in_file)?;
        write_atomically(output, &file)?;
        Ok(false)
    })
}

/// # Safety
/// As `lto_thinlto_write_to_file` asks.
unsafe fn write(
    index: thin_lto_t,
    path: *const c_char,
    triple: *const c_char,
    options: &WriteOptions,
) -> Result<lto_bool_t> {
    // SAFETY: the caller's clause.
    let path = unsafe { arguments::path(path) }?;
    let triple = match triple.is_null() {
        true => None,
        // SAFETY: the caller's clause.
        false => Some(unsafe { text(triple, "the triple") }?),
    };
    INDEXES.with(index.addr(), |index| index.write(path, triple.as_deref(), options))?;
    Ok(false)
}

/// # Safety
/// Null, or the first member says how many bytes may be read.
unsafe fn write_options(options: *const lto_thinlto_write_options_t) -> Result<WriteOptions> {
    type Options = lto_thinlto_write_options_t;
    if options.is_null() {
        return Ok(WriteOptions::default());
    }
    // SAFETY: not null, and the first member is the caller's clause.
    let size = unsafe { options.cast::<usize>().read() };
    if size < std::mem::size_of::<Options>() {
        return Err(Error::misuse(format!("struct_size of the options is {size}, too small")));
    }
    // SAFETY: the size says that all of it is there.
    let options = unsafe { options.read() };
    let format = match options.format {
        0 => Format::default(),
        llvm => Format::of_llvm(llvm).ok_or_else(|| {
            Error::misuse(format!("no format for LLVM {llvm}: the oldest is that of 14"))
        })?,
    };
    Ok(WriteOptions { format, function_table: options.function_table != 0 })
}

/// Keeps an index and makes the handle for C.
pub(super) fn keep(index: Result<ThinIndex>) -> Result<thin_lto_t> {
    INDEXES.insert(index?).map(std::ptr::without_provenance_mut)
}
