//! A linker made for testing: what no linker at hand does, but the interface allows or others do.
//!
//! The hooks' state is one for the process, as it is for a linker, so that one test holds all.
#![allow(unsafe_code)]

mod support;

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::ptr;
use std::sync::Mutex;

use LTO::plugin::abi::{self, InputFile, LDPS_OK, Status, Symbol, TransferVector, Value, tag};
use LTO::plugin::onload;
use support::Scratch;

/// What the plugin told us.
#[derive(Default)]
struct Linker {
    claim: Option<abi::ClaimFileHandlerV2>,
    all_symbols_read: Option<abi::Handler>,
    cleanup: Option<abi::Handler>,
    versions: Option<(c_int, c_int)>,
    /// By handle.
    symbols: Vec<Vec<String>>,
    views: Vec<Vec<u8>>,
    objects: Vec<String>,
    messages: Vec<String>,
}

static LINKER: Mutex<Option<Linker>> = Mutex::new(None);

fn with<T>(f: impl FnOnce(&mut Linker) -> T) -> T {
    f(LINKER.lock().unwrap().get_or_insert_default())
}

unsafe extern "C" fn register_claim(handler: abi::ClaimFileHandlerV2) -> Status {
    with(|l| l.claim = Some(handler));
    LDPS_OK
}

unsafe extern "C" fn register_read(handler: abi::Handler) -> Status {
    with(|l| l.all_symbols_read = Some(handler));
    LDPS_OK
}

unsafe extern "C" fn register_cleanup(handler: abi::Handler) -> Status {
    with(|l| l.cleanup = Some(handler));
    LDPS_OK
}

unsafe extern "C" fn add_symbols(
    handle: *mut c_void,
    count: c_int,
    symbols: *const Symbol,
) -> Status {
    // SAFETY: so many symbols, by the interface.
    let symbols = unsafe { std::slice::from_raw_parts(symbols, count as usize) };
    // SAFETY: the plugin's names end in NUL.
    let name = |s: &Symbol| unsafe { CStr::from_ptr(s.name) }.to_str().unwrap().to_owned();
    let names = symbols.iter().map(name).collect();
    with(|l| l.symbols[handle as usize] = names);
    LDPS_OK
}

/// Files 0 and 1 are in the link, others are not; everything defined in them prevails.
unsafe extern "C" fn get_symbols(
    handle: *const c_void,
    count: c_int,
    symbols: *mut Symbol,
) -> Status {
    if handle as usize > 1 {
        return abi::LDPS_NO_SYMS;
    }
    // SAFETY: so many symbols, by the interface.
    for symbol in unsafe { std::slice::from_raw_parts_mut(symbols, count as usize) } {
        symbol.resolution = match symbol.def {
            abi::def::UNDEF => abi::resolution::RESOLVED_IR,
            _ => abi::resolution::PREVAILING_DEF,
        };
    }
    LDPS_OK
}

unsafe extern "C" fn get_view(handle: *const c_void, view: *mut *const c_void) -> Status {
    let bytes = with(|l| l.views[handle as usize].as_ptr());
    // SAFETY: a place for the pointer, by the interface.
    unsafe { *view = bytes.cast() };
    LDPS_OK
}

unsafe extern "C" fn add_input_file(path: *const c_char) -> Status {
    // SAFETY: the plugin's string.
    let path = unsafe { CStr::from_ptr(path) }.to_str().unwrap().to_owned();
    with(|l| l.objects.push(path));
    LDPS_OK
}

/// A variadic function cannot be written in Rust; on the ABIs tested here, the first variable
/// argument comes where a fixed one would.
unsafe extern "C" fn message(_level: c_int, _format: *const c_char, text: *const c_char) -> Status {
    // SAFETY: the plugin's format is "%s".
    let text = unsafe { CStr::from_ptr(text) }.to_str().unwrap().to_owned();
    with(|l| l.messages.push(text));
    LDPS_OK
}

/// mold's and wild's strings may be anything; nothing may follow them.
unsafe extern "C" fn get_api_version(
    _name: *const c_char,
    _version: *const c_char,
    least: c_int,
    most: c_int,
    linker: *mut *const c_char,
    linker_version: *mut *const c_char,
) -> c_int {
    with(|l| l.versions = Some((least, most)));
    // SAFETY: two places, by the interface.
    unsafe {
        *linker = ptr::without_provenance(1);
        *linker_version = ptr::null();
    }
    abi::api_version::V1
}

fn vector() -> Vec<TransferVector> {
    // SAFETY: a function pointer of another signature, only called as what it is.
    let message: abi::Message = unsafe {
        std::mem::transmute::<unsafe extern "C" fn(c_int, *const c_char, *const c_char) -> Status, _>(
            message,
        )
    };
    let entry = |tag, value| TransferVector { tag, value };
    vec![
        // No linker sends this one, yet.
        entry(1000, Value { int: 7 }),
        entry(tag::OPTION, Value { string: c"O1".as_ptr() }),
        entry(
            tag::REGISTER_CLAIM_FILE_HOOK_V2,
            Value { register_claim_file_v2: Some(register_claim) },
        ),
        entry(tag::GET_API_VERSION, Value { get_api_version: Some(get_api_version) }),
        entry(tag::REGISTER_ALL_SYMBOLS_READ_HOOK, Value { register_handler: Some(register_read) }),
        entry(tag::REGISTER_CLEANUP_HOOK, Value { register_handler: Some(register_cleanup) }),
        entry(tag::ADD_SYMBOLS_V2, Value { add_symbols: Some(add_symbols) }),
        entry(tag::GET_SYMBOLS_V3, Value { get_symbols: Some(get_symbols) }),
        entry(tag::GET_VIEW, Value { get_view: Some(get_view) }),
        entry(tag::ADD_INPUT_FILE, Value { take_path: Some(add_input_file) }),
        entry(tag::LINKER_OUTPUT, Value { int: abi::output::PIE }),
        entry(tag::OUTPUT_NAME, Value { string: c"out".as_ptr() }),
        entry(tag::MESSAGE, Value { message: Some(message) }),
        entry(tag::NULL, Value { int: 0 }),
    ]
}

/// Offers a file as `handle`; whether it was claimed.
fn claim(path: &Path, handle: usize) -> (Status, bool) {
    let hook = with(|l| l.claim).unwrap();
    let file = File::open(path).unwrap();
    let name = CString::new(path.to_str().unwrap()).unwrap();
    let offered = InputFile {
        name: name.as_ptr(),
        fd: file.as_raw_fd(),
        offset: 0,
        filesize: file.metadata().unwrap().len() as libc::off_t,
        handle: ptr::without_provenance_mut(handle),
    };
    let mut claimed = -1;
    // SAFETY: the file is good for the call.
    let status = unsafe { hook(&offered, &mut claimed, 1) };
    (status, claimed == 1)
}

#[test]
fn loaded_twice_claimed_by_threads_and_linked() {
    let s = Scratch::new("protocol");
    s.write("a.c", "int b(void); int main(void) { return b(); }");
    s.write("b.c", "int b(void) { return 0; }");
    s.write("c.c", "int c(void) { return 0; }");
    s.clang(22, "-O1 -flto=full -c a.c b.c");
    s.clang(22, "-O1 -flto=thin -c c.c");
    s.write("text.o", "This is no bitcode, but long enough to look at.");
    s.write("broken.o", &s.read("b.o")[..400]);
    // SAFETY: no other thread looks at the environment.
    unsafe { std::env::set_var("LTO_WORKER", env!("CARGO_BIN_EXE_lto-worker")) };

    let names = ["a.o", "b.o", "c.o", "text.o", "broken.o"];
    with(|l| {
        l.symbols = vec![Vec::new(); 200];
        l.views = names.iter().map(|name| s.read(name)).collect();
        l.views.resize(200, s.read("c.o"));
    });
    let vector = vector();
    // mold loads the plugin, claims, and does it all again from the start.
    for _ in 0..2 {
        // SAFETY: the vector is as the interface wants it.
        assert_eq!(unsafe { onload(vector.as_ptr()) }, LDPS_OK);
        assert_eq!(with(|l| l.versions), Some((0, 1)));
        assert_eq!(claim(&s.path().join("a.o"), 0), (LDPS_OK, true));
    }
    assert_eq!(claim(&s.path().join("b.o"), 1), (LDPS_OK, true));
    assert_eq!(claim(&s.path().join("text.o"), 3), (LDPS_OK, false));
    let c = s.path().join("c.o");
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let c = &c;
            scope.spawn(move || {
                for n in 0..20 {
                    assert_eq!(claim(c, 10 + thread * 20 + n), (LDPS_OK, true));
                }
            });
        }
    });
    with(|l| {
        assert_eq!(l.symbols[0], ["main", "b"]);
        assert!(l.symbols[10..170].iter().all(|names| names == &["c"]));
        assert!(l.symbols[3].is_empty() && l.messages.is_empty());
    });
    let read = with(|l| l.all_symbols_read).unwrap();
    // SAFETY: a hook of the plugin's.
    assert_eq!(unsafe { read() }, LDPS_OK, "{:?}", with(|l| std::mem::take(&mut l.messages)));
    let objects = with(|l| l.objects.clone());
    assert_eq!(objects.len(), 1, "{objects:?}");
    let object = std::fs::read(&objects[0]).unwrap();
    assert!(object.starts_with(b"\x7fELF"));
    // A second call finds nothing to do.
    // SAFETY: as above.
    assert_eq!(unsafe { read() }, LDPS_OK);
    assert_eq!(with(|l| l.objects.len()), 1);
    let cleanup = with(|l| l.cleanup).unwrap();
    // SAFETY: a hook of the plugin's.
    assert_eq!(unsafe { cleanup() }, LDPS_OK);

    // SAFETY: as above.
    assert_eq!(unsafe { onload(vector.as_ptr()) }, LDPS_OK);
    let (status, claimed) = claim(&s.path().join("broken.o"), 4);
    assert!(status != LDPS_OK && claimed);
    // SAFETY: as above.
    assert!(unsafe { read() } != LDPS_OK);
    let messages = with(|l| l.messages.clone());
    // Once, when it was claimed.
    let [message] = &messages[..] else { panic!("{messages:?}") };
    assert!(message.starts_with("LLVM gold plugin has failed to create LTO module: "), "{message}");
    assert!(message.contains("broken.o (at bit "), "{message}");
}
