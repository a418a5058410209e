//! Programs linked by ld.bfd and ld.gold with our plugin, and run.

mod support;

use support::{CLANGS, LINKERS, MODES, Scratch};

const MAIN: &str = r#"
    #include <stdio.h>
    int foo(int);
    int counter;
    static int thrice(int x) { return x * 3; }
    __attribute__((constructor)) static void begin(void) { puts("constructed"); }
    __attribute__((weak)) int choose(void) { return 1; }
    int main(int argc, char **argv) {
        printf("%d %d %d\n", foo(argc), thrice(argc), choose());
        return 0;
    }
"#;

const FOO: &str = r#"
    int counter;
    int never_called(int x) { return x + 7; }
    int choose(void) { return 42; }
    int foo(int x) { return x + 1 + counter; }
"#;

#[test]
fn every_compiler_links_in_both_modes_by_both_linkers() {
    let s = Scratch::new("links-basic");
    s.write("main.c", MAIN).write("foo.c", FOO);
    for version in CLANGS {
        for mode in MODES {
            s.clang(version, &format!("-fcommon -O2 -flto={mode} -c main.c foo.c"));
            for linker in LINKERS {
                s.link(linker, "main.o foo.o -o prog");
                assert_eq!(
                    s.program("prog", ""),
                    "constructed\n2 3 42\n",
                    "clang {version} {mode} {linker}"
                );
                // A weak definition that lost, and a function that nobody calls.
                assert!(!s.has_symbol("prog", "never_called"), "{version} {mode} {linker}");
                let sections = s.run("readelf", "-SW prog");
                assert!(sections.contains(".init_array") && !sections.contains(".ctors"));
            }
        }
    }
}

#[test]
fn regular_thin_and_native_objects_of_different_compilers_mix() {
    let s = Scratch::new("links-mixed");
    s.write("main.c", MAIN).write("foo.c", FOO);
    let kinds =
        [(14, "-flto=full"), (16, "-flto=thin"), (19, "-flto=full"), (22, "-flto=thin"), (22, "")];
    for (i, (version, flag)) in kinds.iter().enumerate() {
        s.clang(*version, &format!("-fcommon -O2 {flag} -c main.c -o main{i}.o"));
        s.clang(*version, &format!("-fcommon -O2 {flag} -c foo.c -o foo{i}.o"));
    }
    for linker in LINKERS {
        for i in 0..kinds.len() {
            for j in 0..kinds.len() {
                s.link(linker, &format!("main{i}.o foo{j}.o -o prog"));
                assert_eq!(s.program("prog", ""), "constructed\n2 3 42\n", "{i} {j} {linker}");
            }
        }
    }
}
