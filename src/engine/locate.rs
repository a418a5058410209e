//! Which libLLVM: found and chosen from names alone.
//!
//! In: what the user named, the producers of all inputs, and the folders of this machine. Out: one
//! library, or an error that says who wrote the input, what was found, where was looked and what
//! to install. Nothing is loaded here.
//!
//! Searched in this order: what the user named (`LTO_LLVM` or an option: it alone), the active
//! Rust toolchain's own libLLVM, the system's. Chosen: the newest major version that reads every
//! input; of equal ones the first in that order.
//!
//! A file's version stands in its name (of the file itself, behind all links), as LLVM's and
//! rustc's builds and every distribution write it:
//!
//! | name | version |
//! |---|---|
//! | `libLLVM-14.so.1`, `libLLVM-14.0.6.so.1` | 14, 14.0.6 |
//! | `libLLVM.so.19.1`, `libLLVM.so.22.1` | 19.1, 22.1 |
//! | `libLLVM.so.22.1-rust-1.95.0-stable` | 22.1 |
//! | `libLLVM-22-rust-1.95.0-stable.so` | a linker script of 42 bytes: not a library |
//!
//! Where the name does not say, the ELF soname does.

use super::{EngineConfig, Producer};
use crate::error::{Error, Result};
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The oldest LLVM whose C API has what the engine needs.
const OLDEST: u32 = 14;
/// What the advice names where no input asks for more.
const CURRENT: u32 = 22;

/// A version of LLVM, as far as it is known; 0 where it is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)] // the words say it
pub struct Version {
    pub major: u32,
    pub minor: u32,
    pub patch: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// Why a library was considered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The user named it.
    Named,
    /// The active Rust toolchain carries it.
    RustToolchain,
    /// It is installed on the system.
    System,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Origin::Named => "named by the user",
            Origin::RustToolchain => "the Rust toolchain's own",
            Origin::System => "the system's",
        })
    }
}

/// A libLLVM that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LibraryInfo {
    /// The file, behind all links.
    pub path: PathBuf,
    /// The version in its name.
    pub version: Version,
    /// Why it was considered.
    pub origin: Origin,
}

impl fmt::Display for LibraryInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LLVM {} ({}, {})", self.version, self.path.display(), self.origin)
    }
}

/// The search for a libLLVM.
pub struct Library;

impl Library {
    /// Finds the library to use, without loading anything.
    pub fn locate(config: &EngineConfig, producers: &[Producer]) -> Result<LibraryInfo> {
        if let Some(named) = &config.llvm {
            return locate_named(named, producers);
        }
        let mut search = Search::default();
        match rust_sysroot() {
            Some(sysroot) => search.rust_toolchain(sysroot),
            None => search.looked.push("the Rust toolchain (no rustc found)".to_string()),
        }
        search.system();
        choose(&search.found, producers).cloned().ok_or_else(|| search.nothing_fits(producers))
    }

    /// All libraries of the search, in its order, each once: for people who ask what there is.
    pub fn find_all() -> Vec<LibraryInfo> {
        let mut search = Search::default();
        if let Some(sysroot) = rust_sysroot() {
            search.rust_toolchain(sysroot);
        }
        search.system();
        search.found
    }
}

/// The newest major version that reads everything; of equal ones the first.
fn choose<'l>(found: &'l [LibraryInfo], producers: &[Producer]) -> Option<&'l LibraryInfo> {
    let fits = |library: &&LibraryInfo| {
        let major = library.version.major;
        major >= OLDEST && producers.iter().all(|producer| producer.readable_by(major))
    };
    // `max_by_key` would prefer the last of equals.
    found.iter().filter(fits).rev().max_by_key(|library| library.version.major)
}

fn newest(producers: &[Producer]) -> Option<&Producer> {
    producers.iter().max_by_key(|producer| producer.major())
}

fn advice(producers: &[Producer]) -> String {
    let needed = newest(producers).and_then(Producer::major).unwrap_or(CURRENT).max(OLDEST);
    // Debian's and Ubuntu's package names: libllvm19, but libllvm14 as well; libLLVM in it.
    format!(
        "install LLVM {needed} or newer (Debian: apt install libllvm{needed}), or name a libLLVM \
         in LTO_LLVM"
    )
}

fn locate_named(named: &Path, producers: &[Producer]) -> Result<LibraryInfo> {
    let metadata = std::fs::metadata(named)
        .map_err(|error| Error::io("the libLLVM that LTO_LLVM names", &error))
        .map_err(|error| error.in_file(named.to_string_lossy()))?;
    let library = if metadata.is_dir() {
        let mut search = Search::default();
        search.folder(named, Origin::Named);
        search.folder(&named.join("lib"), Origin::Named);
        choose(&search.found, producers).cloned().ok_or_else(|| search.nothing_fits(producers))?
    } else {
        identify(named, Origin::Named)
            .ok_or_else(|| {
                Error::engine("neither the name nor the soname says that this is a libLLVM")
            })
            .map_err(|error| error.in_file(named.to_string_lossy()))?
    };
    let major = library.version.major;
    if major < OLDEST {
        return Err(Error::unsupported(format!("{library} is older than LLVM {OLDEST}")));
    }
    match producers.iter().find(|producer| !producer.readable_by(major)) {
        None => Ok(library),
        Some(producer) => Err(Error::engine(format!(
            "an input was written by {producer}, which {library} cannot read; {}",
            advice(producers)
        ))
        .from_producer(producer.to_string())),
    }
}

/// What was looked at and what was found.
#[derive(Default)]
struct Search {
    found: Vec<LibraryInfo>,
    looked: Vec<String>,
}

impl Search {
    fn rust_toolchain(&mut self, sysroot: &Path) {
        self.folder(&sysroot.join("lib"), Origin::RustToolchain);
        for target in entries(&sysroot.join("lib/rustlib")) {
            let lib = target.join("lib");
            if lib.is_dir() {
                self.folder(&lib, Origin::RustToolchain);
            }
        }
    }

    fn system(&mut self) {
        for base in ["/usr/lib", "/usr/local", "/opt"] {
            for folder in entries(Path::new(base)) {
                let name = folder.file_name().unwrap_or_default().to_string_lossy();
                if name.starts_with("llvm") {
                    self.folder(&folder.join("lib"), Origin::System);
                    self.folder(&folder.join("lib64"), Origin::System);
                }
            }
        }
        let arch = std::env::consts::ARCH;
        for folder in [
            format!("/usr/lib/{arch}-linux-gnu"),
            "/usr/lib64".to_string(),
            "/usr/lib".to_string(),
            "/usr/local/lib64".to_string(),
            "/usr/local/lib".to_string(),
        ] {
            self.folder(Path::new(&folder), Origin::System);
        }
        self.loader_cache();
    }

    /// What `ldconfig -p` would list: the cache holds the paths as plain strings.
    fn loader_cache(&mut self) {
        let cache = Path::new("/etc/ld.so.cache");
        self.looked.push(cache.display().to_string());
        let Ok(bytes) = std::fs::read(cache) else { return };
        for string in bytes.split(|&byte| byte == 0) {
            let Ok(string) = std::str::from_utf8(string) else { continue };
            let path = Path::new(string);
            if path.is_absolute() && is_candidate(path) {
                self.file(path, Origin::System);
            }
        }
    }

    fn folder(&mut self, folder: &Path, origin: Origin) {
        self.looked.push(folder.display().to_string());
        let mut candidates: Vec<PathBuf> =
            entries(folder).into_iter().filter(|path| is_candidate(path)).collect();
        // The answer must not depend on the order in which a file system lists its entries.
        candidates.sort();
        for path in candidates {
            self.file(&path, origin);
        }
    }

    fn file(&mut self, path: &Path, origin: Origin) {
        if let Some(library) = identify(path, origin) {
            match self.found.iter_mut().find(|other| other.path == library.path) {
                // Another link to the same file may say more of its version.
                Some(known) => known.version = known.version.max(library.version),
                None => self.found.push(library),
            }
        }
    }

    fn nothing_fits(&self, producers: &[Producer]) -> Error {
        let found = if self.found.is_empty() {
            "found none".to_string()
        } else {
            let list: Vec<String> = self.found.iter().map(LibraryInfo::to_string).collect();
            format!("found {}", list.join(", "))
        };
        let reader = match newest(producers) {
            Some(producer) => format!("no libLLVM that reads what {producer} wrote"),
            None => "no libLLVM".to_string(),
        };
        let error = Error::engine(format!(
            "{reader}: {found}; looked in {}; {}",
            self.looked.join(", "),
            advice(producers)
        ));
        match newest(producers) {
            Some(producer) => error.from_producer(producer.to_string()),
            None => error,
        }
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    entries.sort();
    entries
}

fn is_candidate(path: &Path) -> bool {
    path.file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| name.starts_with("libLLVM") && version_in_name(name).is_some())
}

/// The version in a file's name; `None` where the name is not one of a libLLVM.
fn version_in_name(name: &str) -> Option<Version> {
    let rest = name.strip_prefix("libLLVM")?;
    let mut version = Version::default();
    // "-14.0.6.so.1" or ".so.19.1..."; in the older form the number after ".so" is no version.
    let (numbers, is_so) = match rest.strip_prefix('-') {
        Some(rest) => rest.split_once(".so").map_or((rest, false), |(numbers, _)| (numbers, true)),
        None => match rest.strip_prefix(".so") {
            Some(rest) => (rest.strip_prefix('.').unwrap_or(""), true),
            None => return None,
        },
    };
    let numbers = numbers.split('-').next().unwrap_or_default();
    let mut fields = numbers.split('.').map_while(|field| field.parse::<u32>().ok());
    version.major = fields.next().unwrap_or(0);
    version.minor = fields.next().unwrap_or(0);
    version.patch = fields.next().unwrap_or(0);
    is_so.then_some(version)
}

/// What library a path leads to; `None` where it is no ELF file or no libLLVM.
fn identify(path: &Path, origin: Origin) -> Option<LibraryInfo> {
    let real = path.canonicalize().ok()?;
    let mut header = [0; 20];
    std::fs::File::open(&real).ok()?.read_exact(&mut header).ok()?;
    if !is_loadable(&header) {
        return None;
    }
    let of = |path: &Path| version_in_name(path.file_name()?.to_str()?);
    // A link may be more exact than the file ("libLLVM-14.0.6.so.1"), or say nothing.
    let version = of(path).unwrap_or_default().max(of(&real).unwrap_or_default());
    let version = if version.major == 0 { version_in_name(&soname(&real)?)? } else { version };
    (version.major != 0).then_some(LibraryInfo { path: real, version, origin })
}

/// Whether an ELF header is one of this machine's shared objects: the loader's cache also lists
/// those of other architectures that the processor runs.
fn is_loadable(header: &[u8; 20]) -> bool {
    use object::elf::{ELFCLASS32, ELFCLASS64, EM_AARCH64, EM_RISCV, EM_X86_64};
    let class = if cfg!(target_pointer_width = "64") { ELFCLASS64 } else { ELFCLASS32 };
    let own = match std::env::consts::ARCH {
        "x86_64" => Some(EM_X86_64),
        "aarch64" => Some(EM_AARCH64),
        "riscv64" => Some(EM_RISCV),
        _ => None,
    };
    let [b'\x7f', b'E', b'L', b'F', file_class, .., machine_0, machine_1] = *header else {
        return false;
    };
    let machine = u16::from_ne_bytes([machine_0, machine_1]);
    file_class == class && own.is_none_or(|own| own == machine)
}

/// DT_SONAME of an ELF file, or `None`.
fn soname(path: &Path) -> Option<String> {
    use object::Endianness;
    use object::elf::{DT_SONAME, DT_STRSZ, DT_STRTAB, FileHeader64};
    use object::read::elf::{Dyn, FileHeader, ProgramHeader};
    let cache = object::ReadCache::new(std::fs::File::open(path).ok()?);
    let header = FileHeader64::<Endianness>::parse(&cache).ok()?;
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, &cache).ok()?;
    let dynamic = segments.iter().find_map(|s| s.dynamic(endian, &cache).ok().flatten())?;
    let value =
        |tag: u32| dynamic.iter().find(|d| d.tag32(endian) == Some(tag)).map(|d| d.d_val(endian));
    let (table, size, at) = (value(DT_STRTAB)?, value(DT_STRSZ)?, value(DT_SONAME)?);
    let strings =
        segments.iter().find_map(|s| s.data_range(endian, &cache, table, size).ok().flatten())?;
    let name = strings.get(usize::try_from(at).ok()?..)?.split(|&byte| byte == 0).next()?;
    String::from_utf8(name.to_vec()).ok()
}

/// The sysroot of the active Rust toolchain; looked up once in a process.
fn rust_sysroot() -> Option<&'static Path> {
    static SYSROOT: OnceLock<Option<PathBuf>> = OnceLock::new();
    SYSROOT.get_or_init(find_rust_sysroot).as_deref()
}

fn find_rust_sysroot() -> Option<PathBuf> {
    let env =
        |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    // Under cargo and rustup the environment names the toolchain; that saves running rustc.
    let of_program = |program: PathBuf| {
        let program = program.canonicalize().ok()?;
        Some(program.parent()?.parent()?.to_path_buf())
    };
    let rustup = env("RUSTUP_TOOLCHAIN").and_then(|toolchain| {
        let home = env("RUSTUP_HOME").or_else(|| env("HOME").map(|home| home.join(".rustup")))?;
        // An absolute path is allowed there, and `join` takes it as it is.
        Some(home.join("toolchains").join(toolchain))
    });
    let candidates = [
        rustup,
        env("RUSTC").filter(|path| path.is_absolute()).and_then(of_program),
        env("CARGO").filter(|path| path.is_absolute()).and_then(of_program),
    ];
    if let Some(sysroot) = candidates.into_iter().flatten().find(|path| has_libllvm(path)) {
        return Some(sysroot);
    }
    // A rustc that is no rustup proxy stands in its sysroot's bin; a proxy must be asked.
    let rustc = env("RUSTC").filter(|path| path.is_absolute()).or_else(|| on_path("rustc"))?;
    if let Some(sysroot) = of_program(rustc.clone()).filter(|path| has_libllvm(path)) {
        return Some(sysroot);
    }
    // rustup itself says where the toolchain is in a third of the time that its rustc needs.
    let rustup = rustc.canonicalize().ok().filter(|real| real.ends_with("rustup"));
    if let Some(rustup) = rustup {
        let which = run_briefly(&rustup, &["which", "rustc"])?;
        if let Some(sysroot) = of_program(PathBuf::from(which.trim_end())) {
            return Some(sysroot);
        }
    }
    let printed = run_briefly(&rustc, &["--print", "sysroot"])?;
    Some(PathBuf::from(printed.trim_end())).filter(|path| path.is_dir())
}

fn has_libllvm(sysroot: &Path) -> bool {
    // "/usr" of a distribution's rustc shares the system's libLLVM: that is no toolchain's own.
    sysroot.join("lib/rustlib").is_dir()
        && entries(&sysroot.join("lib")).iter().any(|path| is_candidate(path))
}

fn on_path(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// The standard output of a program that may take five seconds at most.
fn run_briefly(program: &Path, arguments: &[&str]) -> Option<String> {
    let mut child = Command::new(program)
        .args(arguments)
        // A toolchain file may name a toolchain that is not there; it must not be downloaded now.
        .env("RUSTUP_AUTO_INSTALL", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let deadline = Instant::now() + Duration::from_secs(5);
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(2));
            }
            _ => break None,
        }
    };
    if status.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    // A path fits into the pipe, so nothing was lost by reading only now.
    let mut text = String::new();
    child.stdout.take()?.take(1 << 16).read_to_string(&mut text).ok()?;
    status?.success().then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_real_names() {
        for (name, version) in [
            ("libLLVM-14.so.1", Some((14, 0, 0))),
            ("libLLVM-14.0.6.so.1", Some((14, 0, 6))),
            ("libLLVM-14.so", Some((14, 0, 0))),
            ("libLLVM.so.19.1", Some((19, 1, 0))),
            ("libLLVM.so.22.1-rust-1.95.0-stable", Some((22, 1, 0))),
            ("libLLVM-22-rust-1.95.0-stable.so", Some((22, 0, 0))),
            ("libLLVM.so", Some((0, 0, 0))),
            ("libLLVM.so.1", Some((1, 0, 0))),
            ("libLLVMCore.a", None),
            ("libLLVM-C.dylib", None),
            ("liblldb.so", None),
        ] {
            let version = version.map(|(major, minor, patch)| Version { major, minor, patch });
            assert_eq!(version_in_name(name), version, "{name}");
        }
    }

    fn library(major: u32, origin: Origin) -> LibraryInfo {
        LibraryInfo {
            path: PathBuf::from(format!("/x/libLLVM.so.{major}")),
            version: Version { major, minor: 1, patch: 0 },
            origin,
        }
    }

    #[test]
    fn the_newest_that_reads_everything_and_the_first_of_equals() {
        let found = [
            library(22, Origin::RustToolchain),
            library(19, Origin::System),
            library(22, Origin::System),
        ];
        let chosen = |producers: &[&str]| {
            let producers: Vec<_> = producers.iter().map(|p| Producer::parse(p)).collect();
            choose(&found, &producers).map(|library| (library.version.major, library.origin))
        };
        let rust = Some((22, Origin::RustToolchain));
        assert_eq!(chosen(&[]), rust);
        assert_eq!(chosen(&["LLVM14.0.6", "LLVM22.1.8"]), rust);
        assert_eq!(chosen(&["LLVM23.0.0git"]), None);
        assert_eq!(choose(&[library(13, Origin::System)], &[]), None);
    }

    #[test]
    fn nothing_that_fits_is_told_in_full() {
        let search = Search {
            found: vec![library(19, Origin::System)],
            looked: vec!["/usr/lib".into(), "/opt".into()],
        };
        let error =
            search.nothing_fits(&[Producer::parse("LLVM14.0.6"), Producer::parse("LLVM99.1.0")]);
        assert_eq!(
            error.message(),
            "no libLLVM that reads what LLVM99.1.0 wrote: found LLVM 19.1.0 (/x/libLLVM.so.19, \
             the system's); looked in /usr/lib, /opt; install LLVM 99 or newer (Debian: apt \
             install libllvm99), or name a libLLVM in LTO_LLVM"
        );
    }

    #[test]
    fn libraries_of_other_machines_are_passed_over() {
        let mut header = [0; 20];
        let own = std::env::current_exe().unwrap();
        std::fs::File::open(own).unwrap().read_exact(&mut header).unwrap();
        assert!(is_loadable(&header));
        let mut other = header;
        other[4] ^= 3;
        assert!(!is_loadable(&other));
        other = header;
        other[18] ^= 1;
        assert!(!is_loadable(&other));
        assert!(!is_loadable(b"/* GNU ld script */\n"));
    }

    #[test]
    fn a_named_library_is_taken_or_refused() {
        let named = |path: &Path| {
            let config = EngineConfig { llvm: Some(path.into()), ..EngineConfig::default() };
            Library::locate(&config, &[]).map(|library| library.version.major)
        };
        let missing = named(Path::new("/nonexistent/libLLVM.so")).unwrap_err();
        assert!(missing.to_string().starts_with("/nonexistent/libLLVM.so: "), "{missing}");
        // The test program itself is an ELF file, and no libLLVM.
        assert!(named(&std::env::current_exe().unwrap()).is_err());
    }
}
