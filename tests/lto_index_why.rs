//! `lto-index why` and `lto-index graph`: what the thin link imports, and why not more.

mod support;

use support::Scratch;

/// What the thin link decides about the functions that `why_main` calls, and what it has against
/// each.
const WHY: [(&str, &str); 3] = [
    (
        "why_main.c",
        r#"
        int small(int), middle(int), big(int), never(int), weak_one(int), rare(int), outside(int);
        extern int shared_state;
        static __attribute__((noinline)) int twin(int x) { return x + shared_state; }
        static int dead(int x) { return only_dead_calls(x); }
        int why_main(int x) {
            return small(x) + middle(x) + big(x) + never(x) + weak_one(x) + outside(x) + twin(x);
        }
        "#,
    ),
    (
        "why_other.c",
        r#"
        int deep(int);
        int shared_state;
        int small(int x) { return x + 1; }
        int middle(int x) { return deep(x) + 2; }
        #define TWICE(x) x; x
        int big(int x) {
            volatile int v = x;
            TWICE(TWICE(TWICE(TWICE(TWICE(TWICE(v = v * 3 + x))))));
            return v;
        }
        __attribute__((noinline)) int never(int x) { return x * 7; }
        __attribute__((weak)) int weak_one(int x) { return x - 1; }
        int only_dead_calls(int x) { return x; }
        "#,
    ),
    (
        "why_deep.c",
        r#"
        int deep(int x) {
            volatile int v = x;
            v++; v++; v++; v++; v++; v++; v++; v++; v++; v++; v++; v++; v++; v++; v++;
            v++; v++; v++; v++; v++; v++; v++; v++; v++; v++;
            return v;
        }
        __attribute__((weak)) int weak_one(int x) { return x - 2; }
        "#,
    ),
];

#[test]
fn why_says_what_each_copy_had_against_it() {
    let s = Scratch::new("lto-index-why");
    for (name, source) in WHY {
        s.write(name, source);
    }
    let names = "why_main.c why_other.c why_deep.c";
    s.clang(22, &format!("-O1 -Wno-everything -fPIC -flto=thin -c {names}"));
    let link = "why_main.o why_other.o why_deep.o";
    // Files alone, and the same link as a linker saved it.
    s.run("ld.lld-22", &format!("-shared --save-temps=resolution -o lib.so {link}"));
    for link in [link, "@lib.so.resolution.txt"] {
        let ask = |module: &str, function: &str, code: i32| {
            let mut command = s.command(env!("CARGO_BIN_EXE_lto-index"), "why");
            let output = command.args([module, function]).args(link.split(' ')).output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert_eq!(output.status.code(), Some(code), "{function}: {text}");
            text
        };
        let has = |function: &str, code: i32, words: &[&str]| {
            let text = ask("why_main.o", function, code);
            for word in words {
                assert!(text.contains(word), "{function}: no '{word}' in\n{text}");
            }
        };
        has(
            "small",
            0,
            &["imports small from why_other.o", "why_main calls it: up to 100 ", "taken"],
        );
        has("middle", 0, &["imports middle from why_other.o"]);
        has("deep", 1, &["middle (why_other.o) calls it: up to 70 ", "refused: more than 70"]);
        has("big", 1, &["does not import big", "refused: more than 100"]);
        has("never", 1, &["why_other.o, ", "refused: it is marked noinline"]);
        has(
            "weak_one",
            1,
            &[
                "why_other.o, ",
                "allows another definition to replace it",
                "not the prevailing copy",
            ],
        );
        has("outside", 1, &["why_main calls it", "no module with a summary defines it"]);
        has("twin", 1, &["why_main.o defines twin itself"]);
        has("shared_state", 0, &["imports shared_state from why_other.o", "twin refers to it"]);
        has("rare", 2, &[]);
        // By the end of a path, by a promoted name, and from the other side.
        assert!(ask("why_other.o", "deep.llvm.123", 0).contains("middle calls it: up to 100"));
        assert!(ask("why_deep.o", "small", 1).contains("nothing in the module refers to it"));
        assert!(ask("why_deep.o", "small", 1).contains("why_main (why_main.o) refers to it"));
        assert_eq!(ask("nonesuch.o", "small", 2), "");
        let limit = s
            .command(env!("CARGO_BIN_EXE_lto-index"), "why why_main.o big")
            .args(link.split(' ').chain(["-import-instr-limit=1000"]))
            .output()
            .unwrap();
        assert!(limit.status.success(), "a larger limit lets it in");
    }
    let unoptimized = format!("why why_main.o small -O0 {link}");
    let said = s.command(env!("CARGO_BIN_EXE_lto-index"), &unoptimized).output().unwrap();
    assert!(String::from_utf8_lossy(&said.stdout).contains("nothing is imported at -O0"));
}

#[test]
fn graph_shows_who_imports_from_whom() {
    let s = Scratch::new("lto-index-graph");
    for (name, source) in WHY {
        s.write(name, source);
    }
    let names = "why_main.c why_other.c why_deep.c";
    s.clang(22, &format!("-O1 -Wno-everything -fPIC -flto=thin -c {names}"));
    // As a saved link names the members of archives, by either linker.
    s.run("llvm-ar-22", "rcS lib.a why_other.o why_deep.o");
    let index = env!("CARGO_BIN_EXE_lto-index");
    let plain = s.run(index, "graph why_main.o why_other.o why_deep.o");
    assert_eq!(
        plain,
        "why_main.o imports 2 functions and 1 variable from why_other.o\n\
                       why_other.o imports 1 function from why_deep.o\n"
    );
    let dot = s.run(index, "graph --dot why_main.o why_other.o why_deep.o");
    assert!(dot.starts_with("digraph imports {\n") && dot.ends_with("}\n"), "{dot}");
    assert!(dot.contains("  \"why_main.o\" -> \"why_other.o\" [label=\"2\"];\n"), "{dot}");
    let archive = s.read("lib.a");
    let at = archive.windows(4).position(|four| four == b"BC\xc0\xde").unwrap();
    for (linker, name) in [
        ("gold", format!("lib.a.llvm.{at}.why_other.c")),
        ("lld", format!("lib.a(why_other.o at {})", at - 60)),
    ] {
        let output = s.command(index, "graph why_main.o").arg(&name).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let expected = format!("why_main.o imports 2 functions and 1 variable from {name}\n");
        assert_eq!(text, expected, "{linker}");
    }
    assert!(s.fail(index, "graph lib.a.llvm.9.x.c").contains("no member at 9"));
    assert!(s.fail(index, "graph").contains("needs the files"));
    assert!(s.fail(index, "why a b").contains("needs a module, a function"));
}
