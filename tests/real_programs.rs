//! Real programs through the plugin: sqlite3, zstd and lua compiled to bitcode by clang 14, 16, 19
//! and 22, linked by ld.bfd and ld.gold, run, and compared with what the same sources print when
//! gcc builds them without LTO; and ripgrep from crates.io.
//!
//! scripts/build-inputs.sh and scripts/build-ripgrep.sh make the inputs and keep them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

const CLANGS: &[&str] = &["14", "16", "19", "22"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn build_dir() -> PathBuf {
    std::env::var_os("LTO_BUILD_DIR").map_or_else(|| root().join("build"), PathBuf::from)
}

/// The library under test, which cargo puts beside the test programs.
fn library() -> PathBuf {
    let library = std::env::current_exe().unwrap().parent().unwrap().join("libLTO.so");
    assert!(library.exists(), "{} is not built", library.display());
    library
}

/// Runs to the end and returns the output; a failure shows the command and all that it said.
fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(
        output.status.success(),
        "{command:?}\n{}\nstdout: {}\nstderr: {}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    output
}

/// Compiles the inputs once per test run, or finds them there.
fn inputs() -> PathBuf {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        run(Command::new(root().join("scripts/build-inputs.sh")).args(CLANGS));
    });
    build_dir().join("inputs")
}

/// A folder of its own for what one test links, emptied first.
fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("real_programs").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn objects(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "o"))
        .collect();
    found.sort();
    assert!(!found.is_empty(), "{} is empty", folder.display());
    found
}

fn link(linker: &str, objects: &[PathBuf], program: &Path) {
    link_with(&[], linker, objects, program);
}

fn link_with(options: &[&str], linker: &str, objects: &[PathBuf], program: &Path) {
    let mut command = Command::new("gcc");
    command
        .arg(format!("-fuse-ld={linker}"))
        .arg(format!("-Wl,-plugin={}", library().display()))
        .args(["-Wl,-plugin-opt=O2", "-Wl,-plugin-opt=mcpu=x86-64"])
        .args(options.iter().map(|option| format!("-Wl,-plugin-opt={option}")))
        .args(objects)
        .arg("-o")
        .arg(program)
        .args(["-lm", "-ldl", "-lpthread"])
        .env("LTO_WORKER", env!("CARGO_BIN_EXE_lto-worker"));
    let output = run(&mut command);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.trim().is_empty(), "{command:?} said: {said}");
}

/// Runs a linked program on its input and compares with the native one's output.
fn check(name: &str, program: &Path) {
    let inputs = inputs();
    let mut command = Command::new(program);
    match name {
        "sqlite3" => command.arg(inputs.join("main/sqlite3.in")),
        "lua" => command.arg(inputs.join("main/lua.in")).args(["one", "two"]),
        _ => &mut command,
    };
    let output = run(&mut command);
    let expected = fs::read(inputs.join("native").join(format!("{name}.expected"))).unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&expected),
        "{} does not print what the native program prints",
        program.display()
    );
}

fn every_clang(name: &str, mode: &str, linker: &str) {
    let folder = scratch(&format!("{name}-{mode}-{linker}"));
    for clang in CLANGS {
        let program = folder.join(format!("{name}-{clang}"));
        let modules = inputs().join(format!("clang-{clang}/{mode}/{name}"));
        link(linker, &objects(&modules), &program);
        check(name, &program);
    }
    // Nothing but the programs may be left: no object, no temporary file.
    assert_eq!(fs::read_dir(&folder).unwrap().count(), CLANGS.len());
}

macro_rules! programs {
    ($($test:ident: $name:literal $mode:literal $linker:literal;)*) => {$(
        #[test]
        fn $test() {
            every_clang($name, $mode, $linker);
        }
    )*};
}

programs! {
    lua_full_bfd: "lua" "full" "bfd";
    lua_full_gold: "lua" "full" "gold";
    lua_thin_bfd: "lua" "thin" "bfd";
    lua_thin_gold: "lua" "thin" "gold";
    zstd_full_bfd: "zstd" "full" "bfd";
    zstd_full_gold: "zstd" "full" "gold";
    zstd_thin_bfd: "zstd" "thin" "bfd";
    zstd_thin_gold: "zstd" "thin" "gold";
    sqlite3_full_bfd: "sqlite3" "full" "bfd";
    sqlite3_full_gold: "sqlite3" "full" "gold";
    sqlite3_thin_bfd: "sqlite3" "thin" "bfd";
    sqlite3_thin_gold: "sqlite3" "thin" "gold";
}

/// Modules of four producers, with and without a summary, in one link.
#[test]
fn producers_and_modes_mixed() {
    let folder = scratch("mixed");
    let first = inputs().join("clang-22/full/lua");
    let mixed: Vec<PathBuf> = objects(&first)
        .iter()
        .enumerate()
        .map(|(i, object)| {
            let clang = CLANGS[i % CLANGS.len()];
            let mode = if (i / CLANGS.len()).is_multiple_of(2) { "full" } else { "thin" };
            inputs().join(format!("clang-{clang}/{mode}/lua")).join(object.file_name().unwrap())
        })
        .collect();
    for linker in ["bfd", "gold"] {
        let program = folder.join(linker);
        link(linker, &mixed, &program);
        check("lua", &program);
    }
}

/// `unifiedlto` merges modules with a summary too: one object, and functions of one source file
/// inlined into another's.
#[test]
fn unified_lto_optimises_across_thin_modules() {
    let folder = scratch("unified");
    let modules = objects(&inputs().join("clang-22/thin/lua"));
    let (program, stats) = (folder.join("lua"), folder.join("stats.json"));
    link_with(
        &["unifiedlto", &format!("stats-file={}", stats.display())],
        "bfd",
        &modules,
        &program,
    );
    check("lua", &program);
    let stats = fs::read_to_string(stats).unwrap();
    assert!(stats.contains(&format!("\"regular_modules\": {},", modules.len())), "{stats}");
    assert!(stats.contains("\"objects\": 1,"), "{stats}");
    // The functions of lstring.c, which most other files call.
    let symbols = |program: &Path| run(Command::new("nm").arg(program)).stdout;
    let separate = folder.join("separate");
    link("bfd", &modules, &separate);
    let count = |program: &Path| {
        String::from_utf8_lossy(&symbols(program)).lines().filter(|l| l.contains(" luaS_")).count()
    };
    assert!(count(&program) < count(&separate), "{} {}", count(&program), count(&separate));
}

/// ripgrep and its crates, linked by gcc and ld.bfd, finds what the ordinary build finds.
#[test]
fn ripgrep_finds_the_same() {
    run(Command::new(root().join("scripts/build-ripgrep.sh"))
        .arg(library())
        .env("LTO_WORKER", env!("CARGO_BIN_EXE_lto-worker")));
    inputs();
    let (haystack, ripgrep) = (build_dir().join("sources"), build_dir().join("ripgrep"));
    let searches: &[&[&str]] = &[
        &["--version"],
        &["--count-matches", "static"],
        &["-n", r"\bZSTD_[a-z]+Stream\w*\(", "--type", "c"],
        &["-i", "--multiline", r"struct\s+\w+\s*\{[^}]*mutex", "--stats", "--no-messages"],
        &["-w", "-o", "--json", "coroutine", "-g", "*.c"],
        &["--files-without-match", "the", "-uu"],
    ];
    for search in searches {
        let answer = |build: &str| {
            let mut command = Command::new(ripgrep.join(build).join("bin/rg"));
            // One thread and a fixed order, so that the outputs can be compared as they are.
            command.args(["--no-config", "-j1", "--sort", "path"]).args(*search);
            if *search != ["--version"] {
                command.arg(&haystack);
            }
            let output = command.output().unwrap();
            // Times taken are the one thing that may differ.
            let text: String = String::from_utf8_lossy(&output.stdout)
                .lines()
                .filter(|line| !line.contains("elapsed") && !line.contains("seconds"))
                .map(|line| format!("{line}\n"))
                .collect();
            (output.status.code(), text)
        };
        let (plain, lto) = (answer("plain"), answer("lto"));
        assert!(plain.1.len() > 20, "{search:?} finds nothing to compare: {plain:?}");
        assert_eq!(plain, lto, "{search:?}");
    }
}
