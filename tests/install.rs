//! `make install` and `make uninstall`: what is put where, that it works from there, and that
//! nothing stays behind.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs to the end and returns standard output; a failure shows the command and all that it said.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{}\n{text}\n{errors}", output.status);
    text
}

/// The Makefile's target with cargo's dev profile, which the tests have just built.
fn make(target: &str, variables: &[String]) -> String {
    run(Command::new("make")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["--silent", "--no-print-directory", target, "PROFILE=dev"])
        .args(variables))
}

/// Every file and link below a folder, relative to it.
fn tree(folder: &Path) -> BTreeSet<String> {
    fn walk(base: &Path, folder: &Path, out: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                walk(base, &path, out);
            } else {
                out.insert(path.strip_prefix(base).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    let mut out = BTreeSet::new();
    walk(folder, folder, &mut out);
    out
}

fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("install").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn a_staged_installation_and_its_removal() {
    let stage = scratch("stage");
    // A header, a library and a plugin of somebody else, which must survive.
    for foreign in ["opt/lto/include/llvm-c/Core.h", "opt/lto/lib/other.so", "system/plugins/x.so"]
    {
        let path = stage.join(foreign);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "not ours").unwrap();
    }
    let before = tree(&stage);
    let variables = [
        format!("DESTDIR={}", stage.display()),
        "PREFIX=/opt/lto".to_owned(),
        "BFDPLUGINDIR=/system/plugins".to_owned(),
    ];
    make("install", &variables);

    let new: Vec<String> = tree(&stage).difference(&before).cloned().collect();
    assert_eq!(
        new,
        [
            "opt/lto/bin/lto-cgdata",
            "opt/lto/bin/lto-index",
            "opt/lto/include/llvm-c/lto.h",
            "opt/lto/include/thinlto_file.h",
            "opt/lto/lib/bfd-plugins/libLTO.so",
            "opt/lto/lib/libLTO.so",
            "opt/lto/lib/libLTO.so.1",
            "opt/lto/lib/libLTO.so.1.29",
            "opt/lto/lib/pkgconfig/libLTO.pc",
            "opt/lto/libexec/liblto/lto-worker",
            "system/plugins/libLTO.so",
        ]
    );
    // Every link leads to the library inside the staged tree.
    let library = fs::canonicalize(stage.join("opt/lto/lib/libLTO.so.1.29")).unwrap();
    for link in ["opt/lto/lib/libLTO.so", "opt/lto/lib/bfd-plugins/libLTO.so"] {
        assert_eq!(fs::canonicalize(stage.join(link)).unwrap(), library, "{link}");
    }
    let link = fs::read_link(stage.join("system/plugins/libLTO.so")).unwrap();
    assert_eq!(link, Path::new("../../opt/lto/lib/libLTO.so.1"));
    let dynamic = run(Command::new("readelf").arg("-d").arg(&library));
    assert!(dynamic.contains("Library soname: [libLTO.so.1]"), "{dynamic}");
    let pc = fs::read_to_string(stage.join("opt/lto/lib/pkgconfig/libLTO.pc")).unwrap();
    assert!(!pc.contains('@'), "an unfilled place in {pc}");
    assert!(pc.contains("libdir=/opt/lto/lib\n") && !pc.contains("stage"), "{pc}");

    make("uninstall", &variables);
    assert_eq!(tree(&stage), before);
}

#[test]
fn a_foreign_file_in_the_plugin_folder_stays() {
    let stage = scratch("foreign");
    let foreign = stage.join("plugins/libLTO.so");
    fs::create_dir_all(foreign.parent().unwrap()).unwrap();
    fs::write(&foreign, "somebody else's").unwrap();
    let variables = [
        format!("DESTDIR={}", stage.display()),
        "PREFIX=/usr".to_owned(),
        "BFDPLUGINDIR=/plugins".to_owned(),
    ];
    for target in ["install", "uninstall"] {
        make(target, &variables);
        assert_eq!(fs::read_to_string(&foreign).unwrap(), "somebody else's", "after {target}");
    }
}

/// A C program is built against the installed header and library.
#[test]
fn a_program_builds_against_the_installed_tree() {
    let prefix = scratch("prefix");
    let variables = [format!("PREFIX={}", prefix.display()), "BFDPLUGINDIR=none".to_owned()];
    make("install", &variables);

    let source = prefix.join("version.c");
    fs::write(
        &source,
        "#include <stdio.h>\n#include <llvm-c/lto.h>\n\
         int main(void) { printf(\"%u %u\\n\", LTO_API_VERSION, lto_api_version()); return 0; }\n",
    )
    .unwrap();
    let program = prefix.join("version");
    run(Command::new("gcc")
        .arg(format!("-I{}", prefix.join("include").display()))
        .arg(&source)
        .arg(format!("-L{}", prefix.join("lib").display()))
        .arg("-lLTO")
        .arg("-o")
        .arg(&program));
    let said = run(Command::new(&program).env("LD_LIBRARY_PATH", prefix.join("lib")));
    assert_eq!(said, "29 29\n");

    make("uninstall", &variables);
    let left: Vec<String> = tree(&prefix).into_iter().filter(|path| path.contains("LTO")).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Copies of the system's nm, ar and ranlib, put beside the installed library, handle bitcode without
/// a flag.
#[test]
fn installed_beside_binutils_nm_and_ar_read_bitcode() {
    let prefix = scratch("binutils");
    let variables = [format!("PREFIX={}", prefix.display()), "BFDPLUGINDIR=none".to_owned()];
    make("install", &variables);

    let bin = prefix.join("bin");
    fs::create_dir_all(&bin).unwrap();
    for tool in ["nm", "ar", "ranlib"] {
        let system = run(Command::new("sh").arg("-c").arg(format!("command -v {tool}")));
        fs::copy(system.trim(), bin.join(tool)).unwrap();
    }
    let (unit, object) = (prefix.join("unit.c"), prefix.join("unit.o"));
    fs::write(&unit, "int counter = 3; extern int other(void); int twice(void) { return 2 * other() + counter; }\n").unwrap();
    run(Command::new("clang-22").args(["-c", "-O1", "-flto"]).arg(&unit).arg("-o").arg(&object));
    let listed = run(Command::new(bin.join("nm")).arg(&object));
    // The letter of data depends on whether binutils takes the kind of a symbol from a plugin.
    let mut symbols: Vec<(&str, bool)> = listed
        .lines()
        .filter_map(|line| line.trim_start_matches(['0', ' ']).split_once(' '))
        .map(|(letter, name)| (name, letter != "U"))
        .collect();
    symbols.sort();
    assert_eq!(symbols, [("counter", true), ("other", false), ("twice", true)], "{listed}");

    let archive = prefix.join("unit.a");
    run(Command::new(bin.join("ar")).arg("rc").arg(&archive).arg(&object));
    run(Command::new(bin.join("ranlib")).arg(&archive));
    let index = run(Command::new(bin.join("nm")).arg("-s").arg(&archive));
    for symbol in ["counter in unit.o", "twice in unit.o"] {
        assert!(index.contains(symbol), "no {symbol} in the archive's index:\n{index}");
    }
}
