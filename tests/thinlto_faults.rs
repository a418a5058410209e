//! What becomes of a ThinLTO link when something goes wrong meanwhile: a worker is killed, the disk
//! is full, the cache is damaged or pruned by others, there is little stack, the linker loads the
//! library twice. An error or a right program, never a wrong one, and nothing is left behind.

mod support;

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use support::{LINKERS, Scratch, llvm};

/// A program of several modules that import from one another.
struct Program {
    scratch: Scratch,
    objects: String,
    /// What it prints.
    right: String,
}

const MODULES: u32 = 6;

impl Program {
    fn new(name: &str) -> Self {
        let scratch = Scratch::new(&format!("faults-{name}"));
        let mut main = "int printf(const char *, ...);\n".to_owned();
        let (mut calls, mut objects) = (Vec::new(), "main.o".to_owned());
        for n in 0..MODULES {
            let next = (n + 1) % MODULES;
            let text = format!(
                "static int table{n}[64]; int leaf{next}(int);\n\
                 static int step(int x) {{ table{n}[x & 63] += x; return table{n}[x & 31] + {n}; }}\n\
                 int leaf{n}(int x) {{ return step(x * {n} + 3); }}\n\
                 int work{n}(int x) {{ int s = 0; for (int i = 0; i < x; i++) s += leaf{next}(i) ^\n\
                 step(i); return s; }}\n"
            );
            scratch.write(&format!("m{n}.c"), text);
            scratch.clang(22, &format!("-O2 -flto=thin -c m{n}.c"));
            main += &format!("int work{n}(int);\n");
            calls.push(format!("work{n}(c + {n})"));
            objects += &format!(" m{n}.o");
        }
        main += &format!(
            "int main(int c, char **v) {{ (void)v; printf(\"%d\\n\", {}); }}\n",
            calls.join("+")
        );
        scratch.write("main.c", main);
        scratch.clang(22, "-O2 -flto=thin -c main.c");
        scratch.run("clang-22", &format!("-O0 -x c {} -o plain", objects.replace(".o", ".c")));
        let right = scratch.program("plain", "");
        fs::create_dir_all(scratch.path().join("tmp")).unwrap();
        Program { scratch, objects, right }
    }

    /// A link to `output` by gcc with our plugin, whose temporary files go to a folder of their own.
    fn link(&self, linker: &str, options: &str, output: &str) -> Command {
        let args = format!(
            "-fuse-ld={linker} -Wl,-plugin,$P -Wl,-plugin-opt=jobs=2 {options} {} -o {output}",
            self.objects
        );
        let mut command = self.scratch.command("gcc", &args);
        command.env("TMPDIR", self.scratch.path().join("tmp")).env("LTO_LLVM", llvm(22));
        command
    }

    /// Whether the link succeeded. Then the program is right; otherwise there is none, and the
    /// linker said why.
    fn judge(&self, output: &Output, program: &str, what: &str) -> bool {
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            assert_eq!(self.scratch.program(program, ""), self.right, "{what}: {said}");
            fs::remove_file(self.scratch.path().join(program)).unwrap();
        } else {
            assert!(output.status.code().is_some(), "{what}: {:?} {said}", output.status);
            assert!(!said.is_empty(), "{what}");
            assert!(!self.scratch.exists(program), "{what}: {said}");
        }
        self.nothing_left(what);
        output.status.success()
    }

    /// Temporary files are gone; a process that waits for the end of the linker may still be at it.
    fn nothing_left(&self, what: &str) {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let left: Vec<_> = fs::read_dir(self.scratch.path().join("tmp"))
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                // gcc's own, of a linker that was not heard out.
                .filter(|name| !name.to_string_lossy().starts_with("cc"))
                .collect();
            let hidden: Vec<String> =
                self.scratch.files().into_iter().filter(|f| f.ends_with(".tmp")).collect();
            if left.is_empty() && hidden.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "{what}: {left:?} {hidden:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A link of the worker program under a name by which its processes can be told from others'.
fn named_worker(folder: &Path) -> PathBuf {
    let path = folder.join(format!("worker-{}", std::process::id()));
    // Not a copy: a file that was open for writing while another test forks cannot be executed.
    fs::hard_link(env!("CARGO_BIN_EXE_lto-worker"), &path).unwrap();
    path
}

/// The processes that run this program.
fn processes_of(program: &Path) -> Vec<i32> {
    let runs = |pid: &i32| {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| {
            line.split(|byte| *byte == 0).next() == program.to_str().map(str::as_bytes)
        })
    };
    let entries = fs::read_dir("/proc").unwrap();
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(runs).collect()
}

#[test]
fn a_worker_killed_at_any_moment() {
    let p = Program::new("killed");
    let worker = named_worker(p.scratch.path());
    for linker in LINKERS {
        let start = Instant::now();
        let mut link = p.link(linker, "", "prog");
        assert!(p.judge(&link.env("LTO_WORKER", &worker).output().unwrap(), "prog", "undisturbed"));
        let usual = start.elapsed();
        let mut failed = 0;
        for round in 0..12u32 {
            // All of the link, and a bit of what comes after.
            let delay = usual * round / 11;
            let done = AtomicBool::new(false);
            let options = match round % 2 {
                0 => String::new(),
                _ => format!("-Wl,-plugin-opt=cache-dir=cache-{linker}"),
            };
            let mut link = p.link(linker, &options, "prog");
            link.env("LTO_WORKER", &worker);
            let (output, killed) = std::thread::scope(|scope| {
                let killer = scope.spawn(|| {
                    std::thread::sleep(delay);
                    while !done.load(Ordering::Relaxed) {
                        let pids = processes_of(&worker);
                        if let Some(&pid) = pids.get(round as usize % pids.len().max(1)) {
                            // SAFETY: a process that this test started, and nobody has waited for.
                            return unsafe { libc::kill(pid, libc::SIGKILL) } == 0;
                        }
                    }
                    false
                });
                let output = link.output().unwrap();
                done.store(true, Ordering::Relaxed);
                (output, killer.join().unwrap())
            });
            let what = format!("{linker}, after {delay:?}");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            if !p.judge(&output, "prog", &what) {
                assert!(killed && said.contains("lto-worker"), "{what}: {said}");
                failed += 1;
            }
            // What the link left in the cache is good.
            let mut again = p.link(linker, &options, "prog");
            assert!(p.judge(&again.output().unwrap(), "prog", &format!("{what}, again")));
            assert!(processes_of(&worker).is_empty(), "{what}");
        }
        assert!(failed > 0, "{linker}: no worker was killed while it was needed");
    }
}

/// Makes files that grow beyond so many bytes errors for the command, and not signals: what a full
/// disk is to whoever writes.
fn with_full_disk(command: &mut Command, bytes: u64) {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    // SAFETY: both calls may be made between fork and exec, and read only what they are given.
    unsafe {
        command.pre_exec(move || {
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            match libc::setrlimit(libc::RLIMIT_FSIZE, &limit) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        });
    }
}

#[test]
fn a_full_disk() {
    let p = Program::new("full-disk");
    let s = &p.scratch;
    for linker in LINKERS {
        let mut succeeded = [0, 0];
        for bytes in [0, 100, 1000, 2000, 4000, 8000, 16_000, 64_000, 1 << 30] {
            for options in [
                "",
                "-Wl,-plugin-opt=cache-dir=cache",
                "-Wl,-plugin-opt=save-temps",
                "-Wl,-plugin-opt=obj-path=kept.o",
            ] {
                let mut link = p.link(linker, options, "prog");
                with_full_disk(&mut link, bytes);
                let what = format!("{linker} {options} {bytes}");
                let right = p.judge(&link.output().unwrap(), "prog", &what);
                succeeded[usize::from(right)] += 1;
                // A cache that a link could not write whole serves the next.
                let mut again = p.link(linker, options, "prog");
                assert!(p.judge(&again.output().unwrap(), "prog", &format!("{what}, again")));
                let _ = fs::remove_dir_all(s.path().join("cache"));
            }
        }
        assert!(succeeded.iter().all(|n| *n > 0), "{linker}: {succeeded:?}");
    }
}

/// Objects that llvm-lto2 writes itself are whole or not there.
#[test]
fn a_full_disk_for_objects() {
    let p = Program::new("full-disk-objects");
    let s = &p.scratch;
    s.run(
        "ld.lld-22",
        &format!(
            "--unresolved-symbols=ignore-all -e main {} -o out --save-temps=resolution \
             --thinlto-index-only",
            p.objects
        ),
    );
    let run = |output: &str, bytes: Option<u64>| {
        let args = format!("run @out.resolution.txt -o {output} -save-temps -cache-dir=cache");
        let mut command = s.command(env!("CARGO_BIN_EXE_llvm-lto2"), &args);
        command.env("LTO_LLVM", llvm(22));
        bytes.into_iter().for_each(|bytes| with_full_disk(&mut command, bytes));
        command.output().unwrap()
    };
    let whole = run("whole", None);
    assert!(whole.status.success(), "{}", String::from_utf8_lossy(&whole.stderr));
    fs::remove_dir_all(s.path().join("cache")).unwrap();
    let mut failed = 0;
    for bytes in [0, 200, 500, 1000, 1500, 2000, 2500, 3000, 4000, 6000, 1 << 30] {
        let output = run("part", Some(bytes));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(matches!(output.status.code(), Some(0 | 1)), "{bytes}: {said}");
        failed += usize::from(!output.status.success());
        assert_eq!(output.status.success(), said.is_empty(), "{bytes}: {said}");
        for file in s.files().iter().filter(|f| f.starts_with("part.")) {
            let right = s.read(&file.replacen("part", "whole", 1));
            // Paths are in the resolutions, and nowhere else.
            assert!(s.read(file) == right, "{bytes}: {file} is not what it is otherwise");
            fs::remove_file(s.path().join(file)).unwrap();
        }
        p.nothing_left(&bytes.to_string());
    }
    assert!(failed > 0);
    // The device that is always full.
    let mut link = p.link("bfd", "-Wl,-plugin-opt=obj-path=/dev/full", "prog");
    assert!(!p.judge(&link.output().unwrap(), "prog", "/dev/full"));
    let promote = "-thinlto-action=promote -thinlto-index=index.bc m1.o -o /dev/full";
    s.run("llvm-lto-22", &format!("-thinlto-action=thinlink {} -o index.bc", p.objects));
    let mut command = s.command(env!("CARGO_BIN_EXE_llvm-lto"), promote);
    let output = command.env("LTO_LLVM", llvm(22)).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("/dev/full"), "{said}");
}

/// Every file of the cache with a byte changed, or cut short, here and there.
#[test]
fn a_damaged_cache() {
    let p = Program::new("damaged-cache");
    let options = "-Wl,-plugin-opt=cache-dir=cache";
    let linked = |linker: &str, what: &str| {
        let output = p.link(linker, options, "prog").output().unwrap();
        assert!(p.judge(&output, "prog", what), "{}", String::from_utf8_lossy(&output.stderr));
    };
    linked("bfd", "cold");
    let mut files = Vec::new();
    for folder in ["cache", "cache/.llvmcache-index"] {
        let entries = fs::read_dir(p.scratch.path().join(folder)).unwrap();
        files.extend(entries.map(|e| e.unwrap().path()).filter(|path| path.is_file()));
    }
    assert!(files.len() > 2 * MODULES as usize, "{files:?}");
    let mut seed = 1u64;
    for round in 0..24 {
        // In every file another byte, which is another one in every round.
        for path in &files {
            let Ok(mut bytes) = fs::read(path) else { continue };
            if bytes.is_empty() {
                continue;
            }
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let at = (seed >> 33) as usize % bytes.len();
            match round % 3 {
                0 => bytes[at] ^= 1 << (seed >> 60 & 7),
                1 => bytes.truncate(at),
                _ => bytes[at..].fill(0),
            }
            // Not through the file, which may be a hard link of something else.
            fs::remove_file(path).unwrap();
            fs::write(path, bytes).unwrap();
        }
        linked(LINKERS[round % 2], &format!("round {round}"));
    }
}

/// Several links at a time whose policy removes what the others have just made.
#[test]
fn a_cache_that_others_prune() {
    let p = Program::new("pruned-cache");
    for round in 0..6 {
        let links: Vec<_> = (0..4)
            .map(|n| {
                let options = format!(
                    "-Wl,-plugin-opt=cache-dir=cache -Wl,-plugin-opt=O{} \
                     -Wl,-plugin-opt=cache-policy=prune_interval=0s:cache_size_files={}",
                    n % 3 + 1,
                    round + 1
                );
                let program = format!("prog{n}");
                let mut link = p.link(LINKERS[n % 2], &options, &program);
                let link = link.stderr(std::process::Stdio::piped()).spawn().unwrap();
                (program, link)
            })
            .collect();
        let outputs: Vec<_> =
            links.into_iter().map(|(p, link)| (p, link.wait_with_output().unwrap())).collect();
        for (program, output) in outputs {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(p.judge(&output, &program, &format!("round {round}")), "{said}");
        }
    }
}

/// wild gives plugins two megabytes of stack.
#[test]
fn little_stack() {
    let p = Program::new("stack");
    for linker in LINKERS {
        for engine in ["", "in-process"] {
            let mut link = p.link(linker, "", "prog");
            link.env("LTO_ENGINE", engine);
            let limit = libc::rlimit { rlim_cur: 2 << 20, rlim_max: 2 << 20 };
            // SAFETY: setrlimit may be called between fork and exec, and reads what it is given.
            unsafe {
                link.pre_exec(move || match libc::setrlimit(libc::RLIMIT_STACK, &limit) {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                });
            }
            let output = link.output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(p.judge(&output, "prog", &format!("{linker} {engine}")), "{said}");
        }
    }
}

/// ld.bfd takes no notice of a plugin that is given again, ld.gold and mold load it a second time,
/// and mold does its work in a process that it forks.
#[test]
fn loaded_twice_and_forked() {
    let p = Program::new("twice");
    for linker in ["bfd", "gold", "mold"] {
        for again in ["-Wl,-plugin,$P", "-Wl,-plugin,$P -Wl,-plugin-opt=jobs=1"] {
            let output = p.link(linker, again, "prog").output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(p.judge(&output, "prog", linker), "{linker}: {said}");
        }
        let output = p.link(linker, "", "prog").output().unwrap();
        assert!(p.judge(&output, "prog", linker));
    }
}
