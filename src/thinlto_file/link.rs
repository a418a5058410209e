//! The thin link of a distributed build.
//!
//! In: C's arguments. Out: handles, symbols, and an index for every backend.

#![allow(unsafe_code)] // exports, and the caller's memory

use std::ffi::{c_char, c_int};
use std::path::PathBuf;
use std::ptr;

use super::fill::fill;
use super::link_object::{LINKS, Place, ThinLink};
use super::link_types::{
    lto_thinlto_link_options_t, lto_thinlto_resolution_t, lto_thinlto_symbol_t, thin_link_t,
};
use crate::capi::arguments::{self, store, string, text};
use crate::capi::boundary::boundary;
use crate::capi::types::lto_bool_t;
use crate::config::Config;
use crate::distributed::{IndexFiles, PrefixReplace, SuffixReplace, Unindexed};
use crate::error::{Error, Result};
use crate::resolution::SymbolResolution;
use crate::session::index_only::IndexOnly;
use crate::summary::Format;

/// Returns a link of no files, or null on failure. It is the caller's, for
/// `lto_thinlto_link_dispose`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_link_create() -> thin_link_t {
    boundary("lto_thinlto_link_create", ptr::null_mut(), || {
        LINKS.insert(ThinLink::default()).map(ptr::without_provenance_mut)
    })
}

/// Frees the link and all strings that it gave out. The handle is stale from now on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_link_dispose(link: thin_link_t) {
    boundary("lto_thinlto_link_dispose", (), || LINKS.remove(link.addr()).map(drop));
}

/// Adds the file at `path`, bitcode or a native object with bitcode in it, behind those that are
/// there; inputs are numbered from 0. The file must not change while the link lives. Stores how
/// many symbols it has; `num_symbols` may be null. Returns true on error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_link_add_file(
    link: thin_link_t,
    path: *const c_char,
    num_symbols: *mut usize,
) -> lto_bool_t {
    boundary("lto_thinlto_link_add_file", true, || {
        // SAFETY: the caller's clause: a string, and null or room for a number.
        unsafe { add(link, path, Place::File, num_symbols) }
    })
}

/// As `lto_thinlto_link_add_file`, for the member of the archive at `path` whose contents start at
/// `offset` bytes. It goes by LLVM's name for it, `path.llvm.offset.source`, and
/// `lto_thinlto_link_write` leaves it under that name as a file that backends can open. Returns
/// true on error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_link_add_member(
    link: thin_link_t,
    path: *const c_char,
    offset: u64,
    num_symbols: *mut usize,
) -> lto_bool_t {
    boundary("lto_thinlto_link_add_member", true, || {
        // SAFETY: the caller's clause: a string, and null or room for a number.
        unsafe { add(link, path, Place::Member(offset), num_symbols) }
    })
}

/// Notes a file that the link does not need. It gets an index that tells its backend to make an
/// empty object, for build systems that want a file for each. Returns true on error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_link_add_unused(
    link: thin_link_t,
    path: *const c_char,
) -> lto_bool_t {
    boundary("lto_thinlto_link_add_unused", true, || {
        // SAFETY: the caller's clause: a string.
        let path = unsafe { text(path, "the path") }?;
        LINKS.with(link.addr(), |link| {
            link.add_unused(path);
            Ok(false)
        })
    })
}

/// Fills in a symbol of an input; symbols are numbered from 0 in the order of the file. Returns
/// true on error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_link_get_symbol(
    link: thin_link_t,
    input: usize,
    symbol: usize,
    info: *mut lto_thinlto_symbol_t,
) -> lto_bool_t {
    boundary("lto_thinlto_link_get_symbol", true, || {
        LINKS.with(link.addr(), |link| {
            link.symbol(input, symbol, |symbol, _| {
                let answer = lto_thinlto_symbol_t {
                    struct_size: 0,
                    name: symbol.name.as_ptr(),
                    comdat: symbol.comdat.as_ref().map_or(ptr::null(), |name| name.as_ptr()),
                    section: symbol.section.as_ref().map_or(ptr::null(), |name| name.as_ptr()),
                    flags: symbol.flags,
                    visibility: symbol.visibility,
                    common_size: symbol.common_size,
                    common_align: symbol.common_align,
                };
                // SAFETY: the caller's clause: a structure that says its size.
                unsafe { fill(info, answer) }
            })
        })?;
        Ok(false)
    })
}

/// Says what the linker makes of a symbol: `lto_thinlto_resolution_t`, or-ed. A symbol of which
/// nothing is said neither prevails nor is seen from outside. Returns true on error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_link_set_resolution(
    link: thin_link_t,
    input: usize,
    symbol: usize,
    resolution: u32,
) -> lto_bool_t {
    boundary("lto_thinlto_link_set_resolution", true, || {
        let said = resolution_of(resolution)?;
        LINKS.with(link.addr(), |link| {
            link.symbol(input, symbol, |_, resolution| {
                *resolution = said;
                Ok(false)
            })
        })
    })
}

/// Decides what each module imports, keeps and shares, and writes an index for every input, and
/// what else `options` ask for; null for none. Files are those of LLVM's linkers
/// (docs/thinlink.md); each is there whole or not at all. Returns true on error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lto_thinlto_link_write(
    link: thin_link_t,
    options: *const lto_thinlto_link_options_t,
) -> lto_bool_t {
    boundary("lto_thinlto_link_write", true, || {
        // SAFETY: the caller's clause: null, or a structure that says its size.
        let options = unsafe { read_options(options) }?;
        LINKS.with(link.addr(), |link| {
            link.write(&options.config, &options.job, options.regular_object.as_deref())
        })?;
        Ok(false)
    })
}

/// # Safety
/// As `lto_thinlto_link_add_file` asks.
unsafe fn add(
    link: thin_link_t,
    path: *const c_char,
    place: Place,
    num_symbols: *mut usize,
) -> Result<lto_bool_t> {
    // SAFETY: the caller's clause.
    let path = unsafe { arguments::path(path) }?;
    let (_, count) = LINKS.with(link.addr(), |link| link.add(path, place))?;
    if !num_symbols.is_null() {
        // SAFETY: the caller's clause.
        unsafe { store(num_symbols, count, "num_symbols") }?;
    }
    Ok(false)
}

/// The resolution of or-ed bits.
fn resolution_of(bits: u32) -> Result<SymbolResolution> {
    use lto_thinlto_resolution_t as Bit;
    let mut left = bits;
    let mut take = |bit: Bit| {
        let on = left & bit as u32 != 0;
        left &= !(bit as u32);
        on
    };
    let said = SymbolResolution {
        prevailing: take(Bit::LTO_THINLTO_PREVAILING),
        final_definition_in_linkage_unit: take(Bit::LTO_THINLTO_FINAL_DEFINITION),
        visible_to_regular_obj: take(Bit::LTO_THINLTO_VISIBLE_TO_REGULAR_OBJ),
        export_dynamic: take(Bit::LTO_THINLTO_EXPORT_DYNAMIC),
        linker_redefined: take(Bit::LTO_THINLTO_LINKER_REDEFINED),
    };
    match left {
        0 => Ok(said),
        _ => Err(Error::misuse(format!("unknown bits in the resolution {bits:#x}"))),
    }
}

/// What a caller's options say.
struct Options {
    config: Config,
    job: IndexOnly,
    regular_object: Option<PathBuf>,
}

/// # Safety
/// Null, or the first member says how many bytes may be read, and every pointer is null or to
/// what its member asks for.
unsafe fn read_options(options: *const lto_thinlto_link_options_t) -> Result<Options> {
    type Given = lto_thinlto_link_options_t;
    let mut job = IndexOnly {
        files: IndexFiles { unindexed: Unindexed::NoBytes, ..IndexFiles::default() },
        elf_visibility: true,
        ..IndexOnly::default()
    };
    let mut config = Config::default();
    if options.is_null() {
        return Ok(Options { config, job, regular_object: None });
    }
    // SAFETY: not null, and the first member is the caller's clause.
    let size = unsafe { options.cast::<usize>().read() };
    if size < std::mem::size_of::<Given>() {
        return Err(Error::misuse(format!("struct_size of the options is {size}, too small")));
    }
    // SAFETY: the size says that all of it is there.
    let given = unsafe { options.read() };
    // SAFETY: null or a string, by the caller's clause.
    let or_empty = |pointer: *const c_char| match pointer.is_null() {
        true => Ok(Vec::new()),
        false => unsafe { string(pointer, "the option") }.map(|s| s.to_bytes().to_vec()),
    };
    // SAFETY: as above.
    let or_none = |pointer: *const c_char| match pointer.is_null() {
        true => Ok(None),
        false => unsafe { arguments::path(pointer) }.map(|path| Some(path.to_owned())),
    };
    job.files.prefix = PrefixReplace {
        old: or_empty(given.old_prefix)?,
        new: or_empty(given.new_prefix)?,
        object: or_empty(given.object_prefix)?,
    };
    job.suffix =
        SuffixReplace { old: or_empty(given.old_suffix)?, new: or_empty(given.new_suffix)? };
    job.files.imports = given.emit_imports != 0;
    job.linked_objects = or_none(given.linked_objects)?;
    job.llvm = match given.llvm_version {
        0 => None,
        llvm if Format::of_llvm(llvm).is_some() => Some(llvm),
        llvm => return Err(Error::misuse(format!("no indexes for LLVM {llvm}: from 14 on"))),
    };
    config.whole_program_visibility = given.whole_program_visibility != 0;
    let count = c_int::try_from(given.num_llvm_options)
        .map_err(|_| Error::misuse("there cannot be so many options"))?;
    // SAFETY: the caller's clause: so many strings.
    config.llvm_options = unsafe { arguments::options(given.llvm_options, count) }?;
    if given.import_nothing != 0 {
        config.opt_level = 0;
        config.codegen_opt_level = 0;
    }
    let regular_object = or_none(given.regular_object)?;
    config.always_emit_regular_lto_object = regular_object.is_some();
    Ok(Options { config, job, regular_object })
}
