//! Links with a profile of samples: objects are those of LLVM's programs with the same libLLVM.

mod support;

use support::{Scratch, checked, llvm};

const FLAGS: &str =
    "-fprofile-sample-use=other.prof -fdebug-info-for-profiling -gline-tables-only -fPIC";

/// Two modules in `mode`, one with an indirect call, and the samples of a program made of them.
fn program(s: &Scratch, version: u32, mode: &str) -> String {
    s.write(
        "a.c",
        "int g(int);\nint often(int x) {\n  int n = 0;\n  for (int i = 0; i < x; i++)\n    n += g(i);\n  return n;\n}\n\
         int (*volatile which)(int) = g;\nint main(int c, char **v) {\n  if (c > 7)\n    return which(c);\n  return often(c);\n}\n",
    );
    s.write(
        "b.c",
        "int h(int x) {\n  return x % 7 ? x * 3 : x / 11;\n}\nint g(int x) {\n  if (x & 1)\n    return h(x) + h(x + 1);\n  return x;\n}\n",
    );
    s.write(
        "samples.prof",
        "main:9000:100\n 1: 100\n 2: 60 g:60\n 3: 40 often:40\noften:90000:40\n 1: 40\n 2: 4000\n 3: 3960 g:3960\n 4: 40\n\
         g:60000:4020\n 1: 4020\n 2: 2000 h:4000\n 3: 2020\nh:40000:4000\n 1: 4000\n",
    );
    // The compiler has seen none of it.
    s.write("other.prof", "other:9:1\n 1: 1\n");
    for file in ["a", "b"] {
        s.clang(version, &format!("-O2 {FLAGS} -flto={mode} -c {file}.c -o {file}.o"));
    }
    "run a.o b.o -r a.o,g, -r a.o,often,pl -r a.o,which,pl -r a.o,main,plx -r b.o,h,pl -r b.o,g,pl"
        .to_owned()
}

#[test]
fn samples_steer_the_link_as_they_steer_llvms() {
    for version in [14, 19, 22] {
        for (mode, tasks) in [("thin", &[1, 2][..]), ("full", &[0])] {
            let s = Scratch::new(&format!("sample-profiles-{version}-{mode}"));
            let link = program(&s, version, mode);
            for level in ["-O1", "-O2", "-O3", "-O0"] {
                let linked = |who: &str, option: &str| {
                    let program = match who {
                        "their" => format!("llvm-lto2-{version}"),
                        _ => env!("CARGO_BIN_EXE_llvm-lto2").to_owned(),
                    };
                    let mut command =
                        s.command(&program, &format!("{link} -o {who} {level} {option}"));
                    command.env("LTO_LLVM", llvm(version));
                    checked(command);
                    tasks.iter().map(|task| s.read(&format!("{who}.{task}"))).collect::<Vec<_>>()
                };
                let option = "-lto-sample-profile-file=samples.prof";
                let ours = linked("our", option);
                assert!(ours == linked("their", option), "LLVM {version} {mode} {level}");
                // Without optimization nothing looks at it; LLVM 14 finds nothing new.
                if level == "-O0" || (level != "-O1" && version > 14) {
                    let plain = linked("plain", "");
                    assert_eq!(ours == plain, level == "-O0", "LLVM {version} {mode} {level}");
                }
            }
        }
    }
}

#[test]
fn linkers_name_samples_for_the_plugin() {
    for mode in ["thin", "full"] {
        let s = Scratch::new(&format!("sample-profiles-plugin-{mode}"));
        program(&s, 22, mode);
        let linked = |plugin: &str, out: &str, option: &str| {
            let args = format!(
                "-shared -plugin {plugin} -plugin-opt obj-path={out} {option} a.o b.o -o prog"
            );
            let mut command = s.command("ld.gold", &args);
            command.env("LTO_LLVM", llvm(22));
            checked(command);
            s.read(&format!("{out}{}", if mode == "thin" { "1" } else { "" }))
        };
        let option = "-plugin-opt=sample-profile=samples.prof";
        let cached = format!("{option} -plugin-opt=cache-dir=cache");
        let ours = linked("$P", "our", option);
        assert!(ours == linked("/usr/lib/llvm-22/lib/LLVMgold.so", "their", option), "{mode}");
        assert!(ours != linked("$P", "plain", "-plugin-opt=cache-dir=cache"), "{mode}");
        // What was made without the samples, or with others, is not taken.
        assert!(ours == linked("$P", "first", &cached), "{mode}");
        s.write("samples.prof", "main:9:1\n 1: 1\n");
        assert!(ours != linked("$P", "second", &cached), "{mode}");
        for (profile, cause) in [("none", "none: "), ("a.c", "a.c")] {
            let args =
                format!("-shared -plugin $P -plugin-opt=sample-profile={profile} a.o b.o -o prog");
            let said = s.fail("ld.gold", &args);
            assert!(said.contains(cause), "{mode} {profile}: {said}");
        }
    }
}
