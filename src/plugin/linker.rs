//! The linker as seen from inside: its transfer vector, read once, and its calls made safe.
//!
//! In: the vector that `onload` gets. Out: [`Linker`], whose methods ask the linker for one thing
//! each and turn its answers into our types. It knows no bitcode and keeps no state of the link.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;

use super::abi::{self, Level, Status, Symbol, TransferVector, api_version, tag};
use crate::error::{Error, Result};

/// A linker's own name for a file that it offered. Only ever given back to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Handle(*mut c_void);

// SAFETY: the pointer is never followed here, it is a name.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Handle {
    /// The handle in an offered file.
    pub fn of(file: &abi::InputFile) -> Self {
        Handle(file.handle)
    }
}

/// What the transfer vector held.
#[derive(Clone, Debug, Default)]
pub struct Linker {
    message: Option<abi::Message>,
    register_claim_file: Option<abi::RegisterClaimFile>,
    register_claim_file_v2: Option<abi::RegisterClaimFileV2>,
    register_all_symbols_read: Option<abi::RegisterHandler>,
    register_cleanup: Option<abi::RegisterHandler>,
    add_symbols: Option<abi::AddSymbols>,
    add_symbols_v2: Option<abi::AddSymbols>,
    /// By version, the first at 0.
    get_symbols: [Option<abi::GetSymbols>; 3],
    add_input_file: Option<abi::TakePath>,
    set_extra_library_path: Option<abi::TakePath>,
    get_input_file: Option<abi::GetInputFile>,
    release_input_file: Option<abi::ReleaseInputFile>,
    get_view: Option<abi::GetView>,
    get_wrap_symbols: Option<abi::GetWrapSymbols>,
    get_api_version: Option<abi::GetApiVersion>,
    /// Every LDPT_OPTION, in order.
    pub options: Vec<String>,
    /// LDPT_OUTPUT_NAME.
    pub output_name: String,
    /// LDPT_LINKER_OUTPUT; ar, nm and ranlib do not say.
    pub output: Option<c_int>,
    /// Whether this is ld.gold, by its version tag.
    pub is_gold: bool,
    /// Whether this is ld.bfd, by its version tag.
    pub is_bfd: bool,
}

impl Linker {
    /// Reads the transfer vector. Tags that we do not know are passed over, as the interface
    /// wants it.
    ///
    /// # Safety
    /// `vector` is null or points to entries of which the last has the tag NULL; every entry's
    /// value is the member that its tag calls for, and stays good while the plugin is loaded.
    pub unsafe fn read(vector: *const TransferVector) -> Self {
        let mut linker = Linker::default();
        let mut entry = vector;
        while !entry.is_null() {
            // SAFETY: the caller's clause; the entry with the tag NULL has not been passed.
            let TransferVector { tag, value } = unsafe { *entry };
            // SAFETY: the tag says which member of the union was written, by the caller's clause.
            unsafe {
                match tag {
                    tag::NULL => break,
                    tag::GOLD_VERSION => linker.is_gold = true,
                    tag::GNU_LD_VERSION => linker.is_bfd = true,
                    tag::LINKER_OUTPUT => linker.output = Some(value.int),
                    tag::OPTION => linker.options.push(text(value.string)),
                    tag::OUTPUT_NAME => linker.output_name = text(value.string),
                    tag::REGISTER_CLAIM_FILE_HOOK => {
                        linker.register_claim_file = value.register_claim_file;
                    }
                    tag::REGISTER_CLAIM_FILE_HOOK_V2 => {
                        linker.register_claim_file_v2 = value.register_claim_file_v2;
                    }
                    tag::REGISTER_ALL_SYMBOLS_READ_HOOK => {
                        linker.register_all_symbols_read = value.register_handler;
                    }
                    tag::REGISTER_CLEANUP_HOOK => linker.register_cleanup = value.register_handler,
                    tag::ADD_SYMBOLS => linker.add_symbols = value.add_symbols,
                    tag::ADD_SYMBOLS_V2 => linker.add_symbols_v2 = value.add_symbols,
                    tag::GET_SYMBOLS => linker.get_symbols[0] = value.get_symbols,
                    tag::GET_SYMBOLS_V2 => linker.get_symbols[1] = value.get_symbols,
                    tag::GET_SYMBOLS_V3 => linker.get_symbols[2] = value.get_symbols,
                    tag::ADD_INPUT_FILE => linker.add_input_file = value.take_path,
                    tag::SET_EXTRA_LIBRARY_PATH => linker.set_extra_library_path = value.take_path,
                    tag::MESSAGE => linker.message = value.message,
                    tag::GET_INPUT_FILE => linker.get_input_file = value.get_input_file,
                    tag::RELEASE_INPUT_FILE => {
                        linker.release_input_file = value.release_input_file;
                    }
                    tag::GET_VIEW => linker.get_view = value.get_view,
                    tag::GET_WRAP_SYMBOLS => linker.get_wrap_symbols = value.get_wrap_symbols,
                    tag::GET_API_VERSION => linker.get_api_version = value.get_api_version,
                    _ => {}
                }
                entry = entry.add(1);
            }
        }
        linker
    }

    /// Agrees on the version of the interface, where the linker asks for that. mold does a
    /// second pass over its inputs with a plugin that does not.
    pub fn negotiate(&self) {
        let Some(get_api_version) = self.get_api_version else { return };
        let mut name: *const c_char = ptr::null();
        let mut version: *const c_char = ptr::null();
        // SAFETY: the function is the linker's for this tag. The strings are ours and end in NUL;
        // what it leaves in `name` and `version` (null, or for mold anything) is not looked at.
        unsafe {
            get_api_version(
                c"libLTO".as_ptr(),
                c"29".as_ptr(),
                api_version::V0,
                api_version::V1,
                &mut name,
                &mut version,
            );
        }
    }

    /// Registers the hooks that the linker has a place for.
    ///
    /// # Errors
    /// The linker has no place for a claim hook or for symbols, or refused.
    pub fn register(
        &self,
        claim: abi::ClaimFileHandler,
        claim_v2: abi::ClaimFileHandlerV2,
        all_symbols_read: abi::Handler,
        cleanup: abi::Handler,
    ) -> Result<()> {
        // SAFETY: the functions are the linker's for their tags, and take such a hook.
        let statuses = unsafe {
            [
                match (self.register_claim_file_v2, self.register_claim_file) {
                    (Some(register), _) => register(claim_v2),
                    (None, Some(register)) => register(claim),
                    (None, None) => {
                        return Err(Error::misuse("the linker has no register_claim_file"));
                    }
                },
                self.register_all_symbols_read.map_or(abi::LDPS_OK, |r| r(all_symbols_read)),
                self.register_cleanup.map_or(abi::LDPS_OK, |r| r(cleanup)),
            ]
        };
        if self.add_symbols.is_none() && self.add_symbols_v2.is_none() {
            return Err(Error::misuse("the linker has no add_symbols"));
        }
        if statuses.iter().any(|&status| status != abi::LDPS_OK) {
            return Err(Error::misuse("the linker refused a hook"));
        }
        Ok(())
    }

    /// Whether this is a link, and not ar, nm or ranlib listing symbols.
    pub fn links(&self) -> bool {
        self.register_all_symbols_read.is_some()
    }

    /// Tells the user. With [`Level::Fatal`] most linkers do not return.
    pub fn message(&self, level: Level, text: &str) {
        let clean = text.replace('\0', "\u{fffd}");
        match (self.message, CString::new(clean)) {
            (Some(message), Ok(text)) => {
                // SAFETY: the function is the linker's printf; the format takes one string.
                unsafe {
                    message(level as c_int, c"%s".as_ptr(), text.as_ptr());
                }
            }
            _ => eprintln!("libLTO: {text}"),
        }
    }

    /// Hands over the symbols of a file that is being claimed.
    ///
    /// # Safety
    /// The symbols and what they point to stay where they are as long as the linker has the file
    /// open, which may be longer than the plugin is loaded.
    pub unsafe fn add_symbols(&self, handle: Handle, symbols: &[Symbol]) -> Result<()> {
        let add = self.add_symbols_v2.or(self.add_symbols);
        let count = c_int::try_from(symbols.len())
            .map_err(|_| Error::unsupported("more symbols than the linker can count"))?;
        // SAFETY: the linker's function, its own handle, and so many symbols.
        let status = add.map(|add| unsafe { add(handle.0, count, symbols.as_ptr()) });
        check(status, "add_symbols")
    }

    /// Gets the resolutions of a claimed file's symbols. False: it is not in the link.
    pub fn get_symbols(&self, handle: Handle, symbols: &mut [Symbol]) -> Result<bool> {
        let [v1, v2, v3] = self.get_symbols;
        let get = v3.or(v2).or(v1);
        let count = symbols.len() as c_int;
        // SAFETY: the linker's function, its own handle, and as many symbols as it was given.
        let status = get.map(|get| unsafe { get(handle.0, count, symbols.as_mut_ptr()) });
        match status {
            Some(abi::LDPS_NO_SYMS) => Ok(false),
            status => check(status, "get_symbols").map(|()| true),
        }
    }

    /// Whether [`Linker::view`] can be asked; binutils' ar, nm and ranlib have nothing to ask.
    pub fn has_view(&self) -> bool {
        self.get_view.is_some()
    }

    /// The `len` bytes of an offered file.
    ///
    /// # Safety
    /// The linker keeps the bytes while it offers the file, and for a claimed file while
    /// all_symbols_read runs; the caller chooses a lifetime within that.
    pub unsafe fn view<'a>(&self, handle: Handle, len: usize) -> Result<&'a [u8]> {
        let mut view: *const c_void = ptr::null();
        // SAFETY: the linker's function, its own handle, and a place for the pointer.
        let status = self.get_view.map(|get_view| unsafe { get_view(handle.0, &mut view) });
        check(status, "get_view")?;
        if len == 0 {
            return Ok(&[]);
        }
        if view.is_null() {
            return Err(Error::misuse("the linker's get_view gave no view"));
        }
        // SAFETY: the view is of the file whose size the linker gave as `len`, by the interface.
        Ok(unsafe { std::slice::from_raw_parts(view.cast(), len) })
    }

    /// Asks the linker to keep the file of `handle` open until [`Linker::release`].
    pub fn hold(&self, handle: Handle) -> Result<()> {
        let mut file = abi::InputFile {
            name: ptr::null(),
            fd: -1,
            offset: 0,
            filesize: 0,
            handle: ptr::null_mut(),
        };
        // SAFETY: the linker's function, its own handle, and a file for it to fill in.
        let status = self.get_input_file.map(|get| unsafe { get(handle.0, &mut file) });
        check(status, "get_input_file")
    }

    /// Ends what [`Linker::hold`] began.
    pub fn release(&self, handle: Handle) -> Result<()> {
        // SAFETY: the linker's function and its own handle.
        check(self.release_input_file.map(|release| unsafe { release(handle.0) }), "release")
    }

    /// The names that --wrap gives another meaning; `None` where the linker does not tell.
    pub fn wrap_symbols(&self) -> Result<Option<Vec<Vec<u8>>>> {
        let Some(get) = self.get_wrap_symbols else { return Ok(None) };
        // wild's names have no NUL at the end, so that their length cannot be known. It sends
        // neither of the version tags that linkers with the GNU interface send, and mold,
        // which does not either, sends SET_EXTRA_LIBRARY_PATH.
        if self.set_extra_library_path.is_none() {
            return Ok(None);
        }
        let mut count = 0u64;
        let mut names: *const *const c_char = ptr::null();
        // SAFETY: the linker's function and two places for its answer.
        check(Some(unsafe { get(&mut count, &mut names) }), "get_wrap_symbols")?;
        let count = usize::try_from(count).unwrap_or(0);
        if count == 0 || names.is_null() {
            return Ok(Some(Vec::new()));
        }
        // SAFETY: the linker says that so many names stand there, each ended by NUL.
        Ok(Some(unsafe {
            std::slice::from_raw_parts(names, count)
                .iter()
                .filter(|name| !name.is_null())
                .map(|&name| CStr::from_ptr(name).to_bytes().to_vec())
                .collect()
        }))
    }

    /// Adds an object to the link.
    pub fn add_input_file(&self, path: &str) -> Result<()> {
        Self::take_path(self.add_input_file, path, "add_input_file")
    }

    /// Adds a directory to the linker's library search.
    pub fn set_extra_library_path(&self, path: &str) -> Result<()> {
        Self::take_path(self.set_extra_library_path, path, "set_extra_library_path")
    }

    fn take_path(take: Option<abi::TakePath>, path: &str, what: &str) -> Result<()> {
        let path = CString::new(path).map_err(|_| Error::misuse("a path with a NUL in it"))?;
        // SAFETY: the linker's function; all linkers copy the string.
        check(take.map(|take| unsafe { take(path.as_ptr()) }), what)
    }
}

fn check(status: Option<Status>, what: &str) -> Result<()> {
    match status {
        Some(abi::LDPS_OK) => Ok(()),
        Some(status) => Err(Error::misuse(format!("the linker's {what} failed with {status}"))),
        None => Err(Error::misuse(format!("the linker has no {what}"))),
    }
}

/// A string of the linker's, copied.
///
/// # Safety
/// `string` is null or points to a string ended by NUL.
pub unsafe fn text(string: *const c_char) -> String {
    if string.is_null() {
        return String::new();
    }
    // SAFETY: the caller's clause.
    unsafe { CStr::from_ptr(string) }.to_string_lossy().into_owned()
}
