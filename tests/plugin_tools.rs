//! binutils' nm, ar and ranlib with our plugin.

mod support;

use support::Scratch;

const SOURCE: &str = r#"
    int function(void) { extern int missing(void); return missing(); }
    __attribute__((weak)) int weak_function(void) { return 1; }
    int data = 4;
    extern int weak_missing(void) __attribute__((weak));
    int common_variable[100];
    static int local(int x) { return x; }
    int user(int x) { return local(x) + (weak_missing ? weak_missing() : 0); }
"#;

#[test]
fn nm_lists_the_symbols_of_bitcode() {
    let s = Scratch::new("tools-nm");
    s.write("a.c", SOURCE);
    for version in support::CLANGS {
        for mode in support::MODES {
            s.clang(version, &format!("-fcommon -O2 -flto={mode} -c a.c"));
            let mut symbols: Vec<String> = s
                .run("nm", "--plugin $P a.o")
                .lines()
                .map(|line| line.split_whitespace().skip_while(|w| w.len() > 1).collect())
                .map(|words: Vec<&str>| words.join(" "))
                .collect();
            symbols.sort();
            assert_eq!(
                symbols,
                [
                    "C common_variable",
                    "D data",
                    "T function",
                    "T user",
                    "U missing",
                    "W weak_function",
                    "w weak_missing",
                ],
                "{version} {mode}"
            );
        }
    }
}

#[test]
fn archives_get_an_index_of_bitcode_members() {
    let s = Scratch::new("tools-ar");
    for n in 0..60 {
        s.write(&format!("m{n}.c"), format!("int member_{n}(void) {{ return {n}; }}"));
    }
    s.clang(
        22,
        &format!("-O2 -flto -c {}", (0..60).map(|n| format!("m{n}.c ")).collect::<String>()),
    );
    let objects: String = (0..60).map(|n| format!("m{n}.o ")).collect();
    s.run("ar", &format!("--plugin $P rcs indexed.a {objects}"));
    s.run("ar", &format!("--plugin $P rcS later.a {objects}"));
    s.run("ranlib", "--plugin $P later.a");
    for archive in ["indexed.a", "later.a"] {
        let index = s.run("nm", &format!("--plugin $P -s {archive}"));
        for n in 0..60 {
            assert!(index.contains(&format!("member_{n} in m{n}.o")), "{archive}: {index}");
        }
    }
}

#[test]
fn a_fat_object_is_bitcode_for_nm_and_the_linkers() {
    let s = Scratch::new("tools-fat");
    s.write("a.c", "int only_in_bitcode_order(void) { return 3; } int main(void) { return only_in_bitcode_order() - 3; }");
    s.clang(22, "-O2 -flto -ffat-lto-objects -c a.c");
    assert!(s.run("nm", "--plugin $P a.o").contains("T main"));
    for linker in support::LINKERS {
        let mut command =
            s.command("gcc", &format!("-fuse-ld={linker} -Wl,-plugin,$P a.o -o prog"));
        command.env("LTO_STATS", s.path().join("stats.json"));
        support::checked(command);
        s.program("prog", "");
        let stats = String::from_utf8(s.read("stats.json")).unwrap();
        assert!(stats.contains("\"modules\": 1"), "{linker}: {stats}");
        // Inlined, which the machine code in the object is not.
        assert!(!s.has_symbol("prog", "only_in_bitcode_order"), "{linker}");
    }
}

#[test]
fn broken_bitcode_is_an_error_of_nm_not_a_crash() {
    let s = Scratch::new("tools-broken");
    s.write("a.c", SOURCE);
    s.clang(22, "-O2 -flto -c a.c");
    let good = s.read("a.o");
    for len in (4..good.len()).step_by(97) {
        s.write("bad.o", &good[..len]);
        let output = s.command("nm", "--plugin $P bad.o").output().unwrap();
        assert!(output.status.code().is_some(), "{len}: {:?}", output.status);
    }
}
