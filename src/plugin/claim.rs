//! Claiming: is this file bitcode, and which symbols does it have?
//!
//! In: a file that the linker offers. Out: nothing for a file that is not ours, or a
//! [`ClaimedFile`] whose symbols the linker has got. Most files offered are not bitcode, so that
//! is found out from a few bytes at the front before anything is mapped.

use std::collections::{HashMap, HashSet};
use std::ffi::c_char;
use std::hash::{BuildHasherDefault, Hasher};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::SystemTime;

use parking_lot::Mutex;
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128};

use super::abi::{self, def, section_kind, symbol_type, visibility};
use super::linker::{Handle, Linker, text};
use crate::container::{self, Carrier, FileBytes, FileKind, Stamp};
use crate::distributed::member_name;
use crate::error::{Error, Result};
use crate::ir::{SelectionKind, Visibility};
use crate::session::FileStamp;
use crate::symbols::{InputFile, Symbol};

/// A file that is ours.
pub struct ClaimedFile {
    /// The linker's name for it.
    pub handle: Handle,
    /// The path; of an archive for its members (ld.bfd gives the member's name).
    pub path: String,
    /// Where in the file it starts, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub len: usize,
    /// LLVM's name for it: a member's has its place in the archive and its source file.
    pub identifier: String,
    /// The symbols, where the linker may look at them as long as it likes.
    pub symbols: Box<[abi::Symbol]>,
    /// What else is needed of each symbol before the file is read again.
    pub traits: Box<[Traits]>,
    /// The file, unless only the linker can give it.
    pub bytes: Option<FileBytes>,
    /// The file as it was when it was claimed; where a cache asks.
    pub stamp: Option<FileStamp>,
    /// What `symbols` points to.
    _names: Vec<u8>,
}

// SAFETY: the pointers in `symbols` are to `_names`, which moves along and is never changed.
unsafe impl Send for ClaimedFile {}

/// What all files of a link say together of a name.
#[derive(Clone, Copy, Debug)]
pub struct Traits {
    /// `canBeOmittedFromSymbolTable`.
    pub can_be_omitted: bool,
    /// Of default visibility.
    pub default_visibility: bool,
    /// In a section whose name is a C identifier. The linker makes `__start_` and `__stop_` symbols
    /// for such a section, by which the contents are found without their names.
    pub in_named_set: bool,
}

impl ClaimedFile {
    /// The name of a symbol, without the NUL.
    pub fn name(symbol: &abi::Symbol) -> &[u8] {
        // SAFETY: `name` points to a string that lives as long as the symbol's file.
        unsafe { std::ffi::CStr::from_ptr(symbol.name) }.to_bytes()
    }
}

/// A hash of names for tables as large as a link: the usual one takes several times as long.
#[derive(Default)]
pub struct NameHasher(u64);

impl Hasher for NameHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    /// A name's length, which is in the hash of its bytes.
    fn write_usize(&mut self, _: usize) {}
}

/// Weak definitions that stand alone in a comdat, whose keys ld.bfd got: hashes of their names.
///
/// It makes a section for every key of a file, takes the first of each name, and drops the others with
/// the symbols in them. Of weak definitions it takes the first without a key as well. But the first must
/// have one: only for a key are the comdats of native objects behind it dropped, of which else neither
/// the symbols nor those of the object made from bitcode would be there.
#[derive(Default)]
pub struct GivenKeys(Mutex<HashSet<u128, BuildHasherDefault<NameHasher>>>);

impl GivenKeys {
    /// Whether `name` was there before; from now on it is.
    fn had(&self, name: &[u8]) -> bool {
        !self.0.lock().insert(xxh3_128(name))
    }
}

/// Claims `file` if it is bitcode. `caches` is to note when it was written; `given` are the
/// keys so far, where `file` is in the link for sure and the linker makes a section for each.
///
/// # Errors
/// It is bitcode, but not as it should be; or the linker refused the symbols.
///
/// # Safety
/// `file` is as the linker gave it to the claim hook, which is still running.
pub unsafe fn claim(
    linker: &Linker,
    file: &abi::InputFile,
    caches: bool,
    given: Option<&GivenKeys>,
) -> Result<Option<ClaimedFile>> {
    // SAFETY: the linker's string.
    let path = unsafe { text(file.name) };
    let offset = u64::try_from(file.offset).unwrap_or(0);
    let len = usize::try_from(file.filesize).unwrap_or(0);
    let blame = |error: Error| blame(error, &path, offset);
    if len < 4 || !may_be_bitcode(file, offset) {
        return Ok(None);
    }
    let handle = Handle::of(file);
    // Before anything is read: who writes to it from now on changes the stamp.
    let stamp = match caches && file.fd >= 0 {
        // SAFETY: the linker has the file open while the hook runs.
        true => Stamp::settled(unsafe { BorrowedFd::borrow_raw(file.fd) }, SystemTime::now()),
        false => None,
    };
    // Pages of a mapping of our own can be given back. ld.bfd makes a view by reading the file into
    // memory; ld.gold wants to be told to keep its file open for that.
    let maps = file.fd >= 0 || !linker.has_view();
    let mapped = match maps {
        false => None,
        true => Some(FileBytes::from_fd(file.fd, offset, Some(len as u64)).map_err(blame)?),
    };
    let bytes = match &mapped {
        Some(mapped) => mapped,
        // SAFETY: used only in this call, while the linker offers the file.
        None => unsafe { linker.view(handle, len) }.map_err(blame)?,
    };
    let found = match container::find_bitcode(bytes) {
        Ok(found) if found.carrier.is_lto_input() => found,
        // Wrapped or not, it begins like bitcode: nobody else will make something of it.
        Err(error) if container::is_bitcode(bytes) => return Err(blame(error)),
        Ok(_) | Err(_) => return Ok(None),
    };
    let is_ours =
        matches!(found.carrier, Carrier::Raw | Carrier::Wrapper { .. } | Carrier::LlvmLto);
    if !is_ours {
        return Ok(None);
    }
    let input = InputFile::from_bitcode(found).map_err(blame)?;
    let mut claimed = symbols(&input, handle, path.clone(), offset, len, given);
    if !claimed.symbols.is_empty() {
        // SAFETY: the caller keeps the file as long as the plugin may be asked about it, and
        // where the plugin is unloaded before, forgets it.
        unsafe { linker.add_symbols(handle, &claimed.symbols) }.map_err(blame)?;
    }
    claimed.stamp = stamp.map(|stamp| FileStamp { stamp, offset, len });
    claimed.bytes = mapped.filter(|_| linker.links());
    Ok(Some(claimed))
}

/// Puts an error into its place: the file, and for an archive, which has no names here, the
/// member that starts at `offset`.
pub fn blame(error: Error, path: &str, offset: u64) -> Error {
    match offset {
        0 => error.in_file(path),
        _ => error.in_member(MemberNames::default().get(path, offset)).in_file(path),
    }
}

/// What people call the members of archives, by their offsets. An archive is read when the first
/// of its members is asked for, and once.
#[derive(Default)]
pub struct MemberNames {
    archives: HashMap<String, HashMap<u64, String>>,
}

impl MemberNames {
    /// The member at `offset` of the archive `path`; its offset where that cannot be found out.
    pub fn get(&mut self, path: &str, offset: u64) -> String {
        let names = self
            .archives
            .entry(path.to_owned())
            .or_insert_with(|| read_members(path).unwrap_or_default());
        names.get(&offset).cloned().unwrap_or_else(|| format!("member at {offset}"))
    }
}

fn read_members(path: &str) -> Result<HashMap<u64, String>> {
    let bytes = FileBytes::open(Path::new(path))?;
    let archive = container::Archive::parse(&bytes)?;
    let mut names = HashMap::new();
    for member in archive.members() {
        let member = member?;
        names.insert(member.offset, String::from_utf8_lossy(member.name).into_owned());
    }
    Ok(names)
}

/// Looks at the first bytes, where the linker has the file open. When in doubt, yes.
fn may_be_bitcode(file: &abi::InputFile, offset: u64) -> bool {
    let mut head = [0u8; 64];
    let (Ok(at), true) = (libc::off_t::try_from(offset), file.fd >= 0) else { return true };
    // SAFETY: pread writes at most so many bytes to the buffer and leaves the descriptor's own
    // position alone.
    let got = unsafe { libc::pread(file.fd, head.as_mut_ptr().cast(), head.len(), at) };
    match usize::try_from(got).ok().and_then(|got| head.get(..got)) {
        Some(head) if head.len() >= 20 => matches!(
            container::identify(head),
            FileKind::Bitcode | FileKind::Elf | FileKind::Coff | FileKind::Wasm
        ),
        _ => true,
    }
}

fn symbols(
    input: &InputFile<'_>,
    handle: Handle,
    path: String,
    offset: u64,
    len: usize,
    given: Option<&GivenKeys>,
) -> ClaimedFile {
    let mut comdats: Vec<Comdat<'_>> = input.comdats().map(Comdat::from).collect();
    // A link may have millions of symbols, and fresh memory is dear: everything is as large as it
    // will be from the start.
    let (mut count, mut len_of_names) = (0, 0);
    for symbol in input.symbols() {
        count += 1;
        len_of_names += symbol.name.len() + 1;
        if let Some(comdat) = symbol.comdat.and_then(|i| comdats.get_mut(i as usize)) {
            comdat.members += 1;
        }
    }
    // All names one behind the other, each with a NUL at its end, and where each begins. One with a
    // NUL in it ends there for a linker, as with LLVM's plugin.
    let mut names = Vec::with_capacity(len_of_names);
    let mut keep = |name: &[u8]| {
        let at = names.len();
        names.extend_from_slice(name.split(|&c| c == 0).next().unwrap_or(name));
        names.push(0);
        at
    };
    let mut symbols = Vec::with_capacity(count);
    let mut traits = Vec::with_capacity(count);
    let mut places = Vec::with_capacity(count);
    for symbol in input.symbols() {
        let place = keep(symbol.name);
        let comdat = symbol.comdat.and_then(|i| comdats.get_mut(i as usize));
        let comdat = comdat.and_then(|comdat| {
            let spared = given.is_some_and(|given| comdat.is(&symbol) && given.had(symbol.name));
            if spared { None } else { comdat.key(symbol.name, place, &mut keep) }
        });
        places.push((place, comdat));
        symbols.push(abi::Symbol {
            def: kind(&symbol),
            symbol_type: match symbol.ir_name {
                [] => symbol_type::UNKNOWN,
                _ if symbol.is_executable() => symbol_type::FUNCTION,
                _ => symbol_type::VARIABLE,
            },
            section_kind: section_kind::DEFAULT,
            visibility: match symbol.visibility() {
                Visibility::Default => visibility::DEFAULT,
                Visibility::Hidden => visibility::HIDDEN,
                Visibility::Protected => visibility::PROTECTED,
            },
            size: u64::from(symbol.common_size),
            ..abi::Symbol::EMPTY
        });
        traits.push(Traits {
            can_be_omitted: symbol.can_be_omitted(),
            default_visibility: symbol.visibility() == Visibility::Default,
            in_named_set: is_c_identifier(symbol.section),
        });
    }
    let name = |at: usize| names.get(at..).map_or(std::ptr::null(), <[u8]>::as_ptr);
    for (symbol, (place, comdat)) in symbols.iter_mut().zip(places) {
        symbol.name = name(place).cast::<c_char>().cast_mut();
        symbol.comdat_key =
            comdat.map_or(std::ptr::null_mut(), |at| name(at).cast::<c_char>().cast_mut());
    }
    let identifier = match offset {
        0 => path.clone(),
        offset => member_name(&path, offset, input.source_file_name()),
    };
    ClaimedFile {
        handle,
        path,
        offset,
        len,
        identifier,
        symbols: symbols.into(),
        traits: traits.into(),
        bytes: None,
        stamp: None,
        _names: names,
    }
}

/// A comdat whose name the linker is told when the first of its symbols is.
struct Comdat<'a> {
    name: &'a [u8],
    /// Without a key the linker does not take one for another.
    has_key: bool,
    /// How many symbols are in it.
    members: u32,
    /// Where its name is kept.
    place: Option<usize>,
}

impl<'a> From<(&'a [u8], SelectionKind)> for Comdat<'a> {
    fn from((name, selection): (&'a [u8], SelectionKind)) -> Self {
        Comdat { name, has_key: selection != SelectionKind::NoDeduplicate, members: 0, place: None }
    }
}

impl Comdat<'_> {
    /// Whether it is this weak definition and nothing else that has a symbol.
    fn is(&self, symbol: &Symbol<'_>) -> bool {
        self.members == 1 && self.name == symbol.name && symbol.is_weak() && !symbol.is_undefined()
    }

    /// Where its key is kept. Most have the name of their one symbol, which is at `at`.
    fn key(
        &mut self,
        symbol: &[u8],
        at: usize,
        keep: &mut impl FnMut(&[u8]) -> usize,
    ) -> Option<usize> {
        let name = self.name;
        let place = || if name == symbol { at } else { keep(name) };
        self.has_key.then(|| *self.place.get_or_insert_with(place))
    }
}

fn kind(symbol: &Symbol<'_>) -> c_char {
    match (symbol.is_undefined(), symbol.is_weak()) {
        (true, false) => def::UNDEF,
        (true, true) => def::WEAKUNDEF,
        (false, _) if symbol.is_common() => def::COMMON,
        (false, true) => def::WEAKDEF,
        (false, false) => def::DEF,
    }
}

fn is_c_identifier(name: &[u8]) -> bool {
    let word = |c: &u8| c.is_ascii_alphanumeric() || *c == b'_';
    name.first().is_some_and(|c| !c.is_ascii_digit()) && name.iter().all(word)
}

#[cfg(test)]
mod tests {
    use super::is_c_identifier;

    #[test]
    fn sections_that_are_c_words() {
        for (section, is_one) in
            [("my_set", true), ("_x1", true), (".data", false), ("1a", false), ("", false)]
        {
            assert_eq!(is_c_identifier(section.as_bytes()), is_one, "{section}");
        }
    }
}
