//! What the tests of the plugin share: folders, commands, compilers and linkers.
//!
//! The library under test is the one that cargo built beside the test; the worker is named to it
//! by `LTO_WORKER`, as in the build folder it does not lie where an installed one would.

#![allow(dead_code)] // each test uses some of it

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The shared library under test.
pub fn library() -> PathBuf {
    std::env::current_exe().unwrap().with_file_name("libLTO.so")
}

/// The libLLVM of a major version, as Debian's packages install it.
pub fn llvm(major: u32) -> PathBuf {
    PathBuf::from(format!("/usr/lib/llvm-{major}/lib/libLLVM.so"))
}

/// Both linkers that the plugin is tested with everywhere.
pub const LINKERS: [&str; 2] = ["bfd", "gold"];
/// Both sorts of LTO, as `-flto=` has them.
pub const MODES: [&str; 2] = ["full", "thin"];
/// The compilers, by the version of LLVM.
pub const CLANGS: [u32; 4] = [14, 16, 19, 22];

/// A folder of a test's own, empty.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file.
    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> &Self {
        fs::write(self.0.join(name), contents).unwrap();
        self
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.0.join(name)).unwrap()
    }

    pub fn exists(&self, name: &str) -> bool {
        self.0.join(name).exists()
    }

    /// The names of the files in it, sorted.
    pub fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<String> =
            entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// A command that runs in the folder, with the environment that the plugin needs. `$P` in an
    /// argument is the library.
    pub fn command(&self, program: &str, args: &str) -> Command {
        let library = library();
        let mut command = Command::new(program);
        command
            .current_dir(&self.0)
            .env("LTO_WORKER", env!("CARGO_BIN_EXE_lto-worker"))
            .env("TMPDIR", &self.0)
            .env("LC_ALL", "C")
            .env_remove("LTO_LLVM")
            .env_remove("LTO_ENGINE")
            .env_remove("LTO_STATS");
        for arg in args.split_whitespace() {
            command.arg(arg.replace("$P", &library.to_string_lossy()));
        }
        command
    }

    /// Runs a command that must succeed, and gives what it printed.
    pub fn run(&self, program: &str, args: &str) -> String {
        checked(self.command(program, args))
    }

    /// Runs a command that must fail with an exit status, not a signal; gives what it complained.
    pub fn fail(&self, program: &str, args: &str) -> String {
        let output = output(&mut self.command(program, args));
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            matches!(output.status.code(), Some(code) if code != 0),
            "{program} {args}: {:?}\n{complaint}",
            output.status
        );
        complaint
    }

    /// Compiles to bitcode.
    pub fn clang(&self, version: u32, args: &str) -> &Self {
        self.run(&format!("clang-{version}"), args);
        self
    }

    /// Links through gcc with our plugin.
    pub fn link(&self, linker: &str, args: &str) -> &Self {
        self.run("gcc", &format!("-fuse-ld={linker} -Wl,-plugin,$P {args}"));
        self
    }

    /// Runs a program of the folder.
    pub fn program(&self, name: &str, args: &str) -> String {
        let path = self.0.join(name);
        self.run(&path.to_string_lossy(), args)
    }

    /// The symbols of a linked file, as nm has them without addresses: "T main".
    pub fn symbols(&self, file: &str) -> Vec<String> {
        let listing = self.run("nm", file);
        let last_two = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words[words.len() - 2..].join(" ")
        };
        listing.lines().map(last_two).collect()
    }

    /// Whether a linked file has a symbol of this name, whatever its kind.
    pub fn has_symbol(&self, file: &str, name: &str) -> bool {
        self.symbols(file).iter().any(|s| s.split(' ').nth(1) == Some(name))
    }
}

/// Runs a command that must succeed, and gives its standard output.
pub fn checked(mut command: Command) -> String {
    let output = output(&mut command);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|e| panic!("{:?}: {e}", command.get_program()))
}

/// The sources that scripts/build-inputs.sh unpacks.
pub fn sources() -> PathBuf {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let build = std::env::var_os("LTO_BUILD_DIR").map_or(top.join("build"), PathBuf::from);
    if !build.join("sources/.stamp").exists() {
        let mut script = Command::new(top.join("scripts/build-inputs.sh"));
        script.arg("22");
        checked(script);
    }
    build.join("sources")
}

/// The folder of a crate, whatever its version.
pub fn folder_in(folder: &Path, prefix: &str) -> PathBuf {
    let entries = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    let mut found = entries
        .filter(|p| p.is_dir() && p.file_name().unwrap().to_string_lossy().starts_with(prefix));
    found.next().unwrap_or_else(|| panic!("{prefix} in {}", folder.display()))
}
