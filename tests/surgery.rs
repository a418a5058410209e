//! Bitcode surgery against LLVM's own tools: what comes out is read, verified and printed by the
//! LLVM that wrote what went in, and compared with what LLVM's linker does to the same modules.

mod support;

use LTO::bitcode::{BitcodeFile, Extent, GlobalKind, Module};
use LTO::ir::{Linkage, Visibility};
use LTO::resolution::SymbolResolution;
use LTO::surgery::prevailing;
use LTO::surgery::slice::{SliceRequest, Tables, slice};
use LTO::surgery::thin::{self, Decision, Defined, Stage};
use LTO::surgery::{Edits, Fate, rewrite};
use std::collections::{BTreeMap, BTreeSet};
use support::{CLANGS, MODES, Scratch};

/// Rewrites the modules of `from`, one after another, to `to0.bc`, `to1.bc`...
fn operate(s: &Scratch, from: &str, to: &str, edits: impl Fn(&Module<'_>) -> Edits) -> usize {
    let bytes = s.read(from);
    let file = BitcodeFile::read(&bytes).unwrap();
    for (n, location) in file.modules.iter().enumerate() {
        let module = Module::read(location, Extent::All).unwrap();
        let out = rewrite(&module, &edits(&module)).unwrap_or_else(|e| panic!("{from}: {e}"));
        s.write(&format!("{to}{n}.bc"), out);
    }
    file.modules.len()
}

/// The module in words, as the LLVM of this version prints it, without what surgery leaves out:
/// the summary (lines with `^`) and the name of the file.
fn print(s: &Scratch, llvm: u32, file: &str) -> String {
    let text = s.run(&format!("llvm-dis-{llvm}"), &format!("{file} -o -"));
    let kept = text.lines().filter(|l| !l.starts_with('^') && !l.starts_with("; ModuleID"));
    kept.flat_map(|l| [l, "\n"]).collect::<String>().trim_end().to_owned()
}

/// What a thin link might decide: one in `every` does not prevail, and some locals are promoted.
fn decisions(module: &Module<'_>, every: usize) -> Vec<Decision> {
    // The index keeps what an alias stands for, so the thin link never decides otherwise.
    let any_alias = module.globals.iter().any(|g| g.kind == GlobalKind::Alias);
    let decision = |(id, g): (usize, &LTO::bitcode::GlobalValue<'_>)| {
        if g.is_declaration || g.name.starts_with(b"llvm.") || g.kind == GlobalKind::IFunc {
            return Decision { dso_local: id % 3 == 0, ..Decision::default() };
        }
        let is_odr = g.linkage.is_weak_for_linker() && !any_alias;
        let promoted = g.linkage.is_local() && id % 4 == 1;
        let linkage = match () {
            () if promoted => Linkage::External,
            () if is_odr && id % every != 0 => Linkage::AvailableExternally,
            () if id % 5 == 1 => Linkage::Internal,
            () => g.linkage,
        };
        Decision {
            defined: Some(Defined {
                live: true,
                linkage,
                visibility: Visibility::Default,
                can_auto_hide: id % 2 == 0,
            }),
            dso_local: id % 3 == 0,
            promoted: promoted.then(|| [&*g.name, b".llvm.1"].concat()),
        }
    };
    module.globals.iter().enumerate().map(decision).collect()
}

fn verify(s: &Scratch, llvm: u32, file: &str) {
    let output = s
        .command(&format!("opt-{llvm}"), &format!("-passes=verify {file} -o /dev/null"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{llvm} {file}: {said}");
    assert!(!said.contains("invalid debug info"), "{llvm} {file}: {said}");
}

/// The sources, and bitcode of each by one compiler. clang 14 writes typed pointers.
fn compile(s: &Scratch, clang: u32, flags: &str) -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/plugin/");
    let mut objects = Vec::new();
    for source in ["tracer_main.cpp", "tracer.cpp", "aliases.c", "shared.c"] {
        let object = format!("{source}.o");
        let (driver, standard) = match source.ends_with("cpp") {
            true => ("clang++", "-std=c++17"),
            false => ("clang", ""),
        };
        s.run(
            &format!("{driver}-{clang}"),
            &format!("{standard} {flags} -c {folder}{source} -o {object}"),
        );
        objects.push(object);
    }
    objects
}

/// What a linker might say, with every case in it: of the symbols, one in `every` does not
/// prevail, and some are not seen from outside.
fn resolutions(module: &Module<'_>, every: usize) -> Vec<Option<SymbolResolution>> {
    let said = |(id, g): (usize, &LTO::bitcode::GlobalValue<'_>)| {
        let known = !g.linkage.is_local() && !g.name.starts_with(b"llvm.");
        known.then(|| SymbolResolution {
            prevailing: !g.is_declaration && id % every != 0,
            final_definition_in_linkage_unit: id % 3 == 0,
            linker_redefined: id % 11 == 7,
            ..SymbolResolution::default()
        })
    };
    module.globals.iter().enumerate().map(said).collect()
}

/// Every check of the modules that one compiler writes.
fn by_compiler(clang: u32) {
    for (n, flags) in ["-O2 -flto=thin", "-O0 -g -flto=full"].iter().enumerate() {
        let s = Scratch::new(&format!("surgery-{clang}-{n}"));
        for object in compile(&s, clang, flags) {
            without_edits_it_stays_word_for_word(&s, clang, &object);
            what_a_linker_may_say_gives_valid_modules(&s, clang, &object);
            few_bodies_are_kept_as_asked_for(&s, clang, &object);
            a_slice_defines_what_is_imported(&s, clang, &object);
        }
    }
}

#[test]
fn modules_of_clang_14() {
    by_compiler(14);
}

#[test]
fn modules_of_clang_16() {
    by_compiler(16);
}

#[test]
fn modules_of_clang_19() {
    by_compiler(19);
}

#[test]
fn modules_of_clang_22() {
    by_compiler(22);
}

fn without_edits_it_stays_word_for_word(s: &Scratch, clang: u32, object: &str) {
    assert_eq!(operate(s, object, "same", |_| Edits::default()), 1);
    let (ours, theirs) = (print(s, clang, "same0.bc"), print(s, clang, object));
    assert!(ours == theirs, "{clang} {object}: {}", difference(&ours, &theirs));
}

fn what_a_linker_may_say_gives_valid_modules(s: &Scratch, clang: u32, object: &str) {
    for every in 1..=4 {
        operate(s, object, "said", |module| {
            prevailing::merging(module, &resolutions(module, every))
                .unwrap_or_else(|e| panic!("{clang} {object} {every}: {e}"))
                .edits
        });
        verify(s, clang, "said0.bc");
        for stage in [Stage::Promote, Stage::Internalize] {
            operate(s, object, "decided", |module| {
                thin::edits(module, &decisions(module, every), stage, every > 2)
                    .unwrap_or_else(|e| panic!("{clang} {object} {every}: {e}"))
            });
            verify(s, clang, "decided0.bc");
        }
    }
}

/// Every third function stays, renamed; all other definitions go but for local variables, among
/// them a table of addresses of blocks whose function is gone.
fn few_bodies_are_kept_as_asked_for(s: &Scratch, clang: u32, object: &str) {
    operate(s, object, "slice", |module| {
        let mut edits = Edits::default();
        for (id, g) in module.globals.iter().enumerate() {
            let stays = g.kind == GlobalKind::Variable && g.linkage.is_local();
            if g.is_declaration || stays || g.name.starts_with(b"llvm.") {
                continue;
            }
            let edit = edits.global(id);
            if g.kind == GlobalKind::Function && id % 3 == 0 {
                edit.linkage = Some(Linkage::External);
                edit.clear_comdat = true;
                edit.name = Some([b"kept.", &*g.name].concat());
            } else {
                edit.fate = Fate::Declare;
            }
        }
        edits
    });
    verify(s, clang, "slice0.bc");
    let text = print(s, clang, "slice0.bc");
    let kept = text.lines().filter(|l| l.starts_with("define")).collect::<Vec<_>>();
    assert!(kept.iter().all(|l| l.contains("@kept.")), "{kept:?}");
    if object == "aliases.c.o" {
        let dropped = !text.contains("@kept.jump");
        assert_eq!(dropped, !text.contains("blockaddress("), "{clang} {text}");
    }
}

/// Every second definition is imported, every alias of a function and no other alias.
fn a_slice_defines_what_is_imported(s: &Scratch, clang: u32, object: &str) {
    let bytes = s.read(object);
    let file = BitcodeFile::read(&bytes).unwrap();
    let module = Module::read(&file.modules[0], Extent::All).unwrap();
    let mut definitions = BTreeSet::new();
    let mut promoted = BTreeMap::new();
    for (id, g) in module.globals.iter().enumerate() {
        if g.linkage.is_local() {
            promoted.insert(id, [&*g.name, b".llvm.7"].concat());
        }
        let own = g.name.starts_with(b"llvm.");
        let wanted = match g.kind {
            GlobalKind::Alias => *g.name != *b"kept_data",
            GlobalKind::IFunc => false,
            _ => id % 2 == 0 && !g.is_declaration,
        };
        if wanted && !own {
            definitions.insert(id);
        }
    }
    let none = BTreeSet::new();
    let request = SliceRequest {
        definitions: &definitions,
        promoted: &promoted,
        write_only: &none,
        dso_local: &none,
        clear_dso_local_on_declarations: true,
        in_destination: &|_| false,
        declared_in_destination: None,
    };
    let slice = Tables::read(&module, false)
        .and_then(|tables| slice(&module, &tables, &request))
        .unwrap_or_else(|e| panic!("{clang} {object}: {e}"));
    s.write("import.bc", &slice.bitcode);
    verify(s, clang, "import.bc");
    assert_eq!(slice.imported.len(), definitions.len());
    let text = print(s, clang, "import.bc");
    for imported in &slice.imported {
        let name = String::from_utf8(imported.name.clone()).unwrap();
        let says = |l: &str| match imported.kind {
            GlobalKind::Function => l.starts_with("define") && l.contains(&format!("@{name}(")),
            _ => l.starts_with(&format!("@{name} = ")) && !l.contains("= external"),
        };
        assert!(text.lines().any(says), "{clang} {object}: {name} in {text}");
    }
    let defined = text.lines().filter(|l| l.starts_with("define")).collect::<Vec<_>>();
    assert!(defined.iter().all(|l| !l.contains("internal")), "{defined:?}");
    // What comes along is exactly what the imported definitions mention.
    let own = |name: &&str| !name.starts_with("llvm.");
    let mentioned: BTreeSet<&str> = mentioned(&text).into_iter().filter(own).collect();
    let text_of = |name: &Vec<u8>| String::from_utf8(name.clone()).unwrap();
    let imported = slice.imported.iter().map(|i| text_of(&i.name));
    let comes: BTreeSet<String> =
        slice.declared.iter().map(|d| text_of(&d.name)).chain(imported).collect();
    let comes: BTreeSet<&str> = comes.iter().map(String::as_str).collect();
    // Debug information may mention more.
    match text.contains("!DICompileUnit") {
        true => assert!(mentioned.is_subset(&comes), "{clang} {object}: {mentioned:?} {comes:?}"),
        false => assert_eq!(mentioned, comes, "{clang} {object}"),
    }
    assert!(!text.contains("comdat"), "{text}");
}

/// The globals that stand in bodies and initializers, and those that have them.
fn mentioned(text: &str) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    let mut in_body = false;
    for line in text.lines() {
        in_body |= line.starts_with("define");
        let variable = line.starts_with('@') && !line.contains("= external");
        if in_body || variable {
            for (at, _) in line.match_indices('@') {
                let rest = &line[at + 1..];
                let end = rest.find(|c: char| !(c.is_alphanumeric() || "._$-".contains(c)));
                let name = &rest[..end.unwrap_or(rest.len())];
                found.extend((!name.is_empty()).then_some(name));
            }
        }
        in_body &= line != "}";
    }
    found
}

/// Whatever the bits say: a slice or an error.
#[test]
fn damaged_modules_are_no_reason_to_panic() {
    let s = Scratch::new("surgery-damaged");
    let objects = compile(&s, 22, "-O1 -g -flto=thin");
    let none = BTreeSet::new();
    let (mut slices, mut errors) = (0, 0);
    for object in &objects {
        let whole = s.read(object);
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..120 {
            let mut bytes = whole.clone();
            for _ in 0..1 + seed % 3 {
                seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let at = (seed >> 33) as usize % bytes.len();
                bytes[at] ^= 1 << (seed >> 29 & 7);
            }
            let Ok(file) = BitcodeFile::read(&bytes) else { continue };
            for location in &file.modules {
                let Ok(module) = Module::read(location, Extent::All) else { continue };
                let globals = module.globals.iter().enumerate();
                let promoted: BTreeMap<usize, Vec<u8>> =
                    globals.clone().map(|(id, _)| (id, format!("g{id}").into_bytes())).collect();
                let definitions: BTreeSet<usize> = globals
                    .filter(|(_, g)| !g.is_declaration && g.kind != GlobalKind::IFunc)
                    .map(|(id, _)| id)
                    .collect();
                let request = SliceRequest {
                    definitions: &definitions,
                    promoted: &promoted,
                    write_only: &definitions,
                    dso_local: &none,
                    clear_dso_local_on_declarations: true,
                    in_destination: &|_| true,
                    declared_in_destination: Some(&|_| true),
                };
                match Tables::read(&module, false)
                    .and_then(|tables| slice(&module, &tables, &request))
                {
                    Ok(_) => slices += 1,
                    Err(_) => errors += 1,
                }
            }
        }
    }
    assert!(slices > 0 && errors > 0, "{slices} slices, {errors} errors");
}

#[test]
fn files_of_several_modules_are_split() {
    let s = Scratch::new("surgery-split");
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/plugin/");
    for clang in CLANGS {
        s.run(
            &format!("clang++-{clang}"),
            &format!(
                "-std=c++17 -O2 -flto=thin -fsplit-lto-unit -fwhole-program-vtables \
                 -fvisibility=hidden -c {folder}tracer.cpp -o split.o"
            ),
        );
        assert_eq!(operate(&s, "split.o", "part", |_| Edits::default()), 2, "{clang}");
        for part in ["part0.bc", "part1.bc"] {
            verify(&s, clang, part);
        }
        assert!(print(&s, clang, "part0.bc").contains("define"));
        assert!(print(&s, clang, "part1.bc").contains("@_ZTV"));
    }
}

#[test]
fn rustcs_modules_are_read_and_written() {
    let s = Scratch::new("surgery-rustc");
    s.write(
        "lib.rs",
        "pub fn f(v: &[u64]) -> Vec<String> { v.iter().map(|x| format!(\"{x}\")).collect() }
         pub static TABLE: [fn(&[u64]) -> Vec<String>; 1] = [f];",
    );
    s.run("rustc", "-g -O --crate-type rlib --emit=llvm-bc -Ccodegen-units=1 lib.rs -o lib.bc");
    operate(&s, "lib.bc", "out", |_| Edits::default());
    assert_eq!(print(&s, 22, "out0.bc"), print(&s, 22, "lib.bc"));
    for every in 1..4 {
        operate(&s, "lib.bc", "out", |module| {
            thin::edits(module, &decisions(module, every), Stage::Internalize, true).unwrap()
        });
        verify(&s, 22, "out0.bc");
    }
}

/// LLVM 22 links the same modules by the same resolutions; after promotion and after internalization,
/// each module must be ours word for word.
#[test]
fn the_stages_of_a_thin_link_are_llvms() {
    for (n, flags) in ["-O2 -fPIE", "-O2 -g -fPIC", "-O0 -fno-pic"].iter().enumerate() {
        let s = Scratch::new(&format!("surgery-stages-{n}"));
        for mode in MODES {
            compile(&s, 22, &format!("{flags} -flto={mode}"));
            let pie = if flags.contains("no-pic") { "-no-pie" } else { "-pie" };
            s.link(
                "bfd",
                &format!(
                    "{pie} -Wl,-plugin-opt=save-temps tracer_main.cpp.o tracer.cpp.o -lstdc++ -o ours"
                ),
            );
            let resolutions = String::from_utf8(s.read("ours.resolution.txt")).unwrap();
            let resolutions: String = resolutions
                .lines()
                .filter(|l| l.starts_with("-r="))
                .map(|l| format!("{l} "))
                .collect();
            let model = if flags.contains("no-pic") { "static" } else { "pic" };
            let stage = |name: &str, stage: &str| print(&s, 22, &format!("{name}.{stage}.bc"));
            s.run(
                "llvm-lto2-22",
                &format!(
                    "run tracer_main.cpp.o tracer.cpp.o {resolutions} -save-temps \
                     -relocation-model={model} -o theirs"
                ),
            );
            if mode == "thin" {
                for (ours, number) in ["tracer_main.cpp.o", "tracer.cpp.o"].iter().zip(1..) {
                    for step in ["0.preopt", "1.promote", "2.internalize"] {
                        let theirs = stage(&format!("theirs.{number}"), step);
                        let ours = stage(ours, step);
                        assert!(ours == theirs, "{flags} {step}: {}", difference(&ours, &theirs));
                    }
                }
            } else {
                // Merging puts functions in another order, and numbers follow it.
                let ours = stage("ours.0", "2.internalize");
                assert_eq!(heads(&ours), heads(&stage("theirs.0", "2.internalize")), "{flags}");
            }
        }
    }
}

/// The first lines that differ.
fn difference(a: &str, b: &str) -> String {
    let different = a.lines().zip(b.lines()).find(|(a, b)| a != b);
    format!("{different:#?}")
}

/// What is defined, with linkage and visibility, sorted.
fn heads(text: &str) -> Vec<String> {
    let mut heads: Vec<String> = text
        .lines()
        .filter(|l| l.starts_with("define ") || l.starts_with('@'))
        .map(|l| {
            let end = l.find([')', '{']).unwrap_or(l.len()).min(
                l.find(" = ")
                    .map_or(usize::MAX, |at| l[at..].find(['{', '[']).map_or(l.len(), |e| at + e)),
            );
            l[..end].to_owned()
        })
        .collect();
    heads.sort();
    heads
}
