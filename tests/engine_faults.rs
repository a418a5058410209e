//! What becomes of a link when LLVM, its worker or its input fails.

use LTO::engine::{
    Bytes, Engine, EngineConfig, FileType, Lease, Library, PassOptions, Producer, Severity,
    TargetConfig, options::Options,
};
use LTO::error::{Error, ErrorKind};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("faults-{name}"));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// The newest libLLVM here that has its clang beside it.
fn newest() -> (PathBuf, u32, PathBuf) {
    let mut found: Vec<_> = Library::find_all()
        .into_iter()
        .filter_map(|library| {
            let major = library.version.major;
            let clang = PathBuf::from(format!("/usr/lib/llvm-{major}/bin/clang"));
            clang.is_file().then_some((library.path, major, clang))
        })
        .collect();
    found.sort_by_key(|(_, major, _)| *major);
    found.pop().expect("these tests need a libLLVM with its clang")
}

/// Bitcode of a text in LLVM's assembly.
fn assemble(name: &str, text: &str) -> Vec<u8> {
    let folder = scratch(name);
    let (ll, bc) = (folder.join("x.ll"), folder.join("x.bc"));
    std::fs::write(&ll, text).unwrap();
    let status = Command::new(newest().2)
        .args(["-x", "ir", "-c", "-emit-llvm", "-Wno-override-module", "-o"])
        .args([&bc, &ll])
        .status()
        .unwrap();
    assert!(status.success());
    std::fs::read(bc).unwrap()
}

const HARMLESS: &str = "target triple = \"x86_64-unknown-linux-gnu\"\n\
                        define i32 @f(i32 %x) { ret i32 %x }\n";

fn worker() -> PathBuf {
    env!("CARGO_BIN_EXE_lto-worker").into()
}

fn config(worker: PathBuf) -> EngineConfig {
    EngineConfig {
        llvm: Some(newest().0),
        worker: Some(worker),
        jobs: 2,
        ..EngineConfig::default()
    }
}

fn in_process() -> EngineConfig {
    EngineConfig { in_process: true, ..config(worker()) }
}

/// A copy of the worker program under a name by which its processes can be told from others'.
fn named_worker(name: &str) -> PathBuf {
    let path = scratch(name).join(format!("lto-worker-{name}-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    // Not a copy: a file that was open for writing while another test forks cannot be executed.
    std::fs::hard_link(worker(), &path).unwrap();
    path
}

/// A program that takes the worker's place.
fn script(name: &str, text: &str) -> PathBuf {
    let path = scratch(name).join("lto-worker");
    // Written by another process, for the reason given at `named_worker`.
    let mut writer = Command::new("sh")
        .args(["-c", "cat > \"$0\" && chmod 755 \"$0\""])
        .arg(&path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let content = format!("#!/bin/sh\n{text}\n");
    writer.stdin.take().unwrap().write_all(content.as_bytes()).unwrap();
    assert!(writer.wait().unwrap().success());
    path
}

/// The processes whose program is this file, zombies included.
fn processes_of(program: &Path) -> Vec<i32> {
    let name: String = program.file_name().unwrap().to_str().unwrap().chars().take(15).collect();
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            let by_command = std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| {
                line.split(|byte| *byte == 0).next() == program.to_str().map(str::as_bytes)
            });
            // A zombie has no command line any more, but a name, cut to 15 bytes.
            let by_name = std::fs::read_to_string(format!("/proc/{pid}/stat"))
                .is_ok_and(|stat| stat.contains(&format!("({name})")) && stat.contains(") Z"));
            by_command || by_name
        })
        .collect()
}

fn wait_until(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn loaded(engine: &Engine, bitcode: &[u8]) -> Lease {
    let mut lease = engine.lease().unwrap();
    lease.load("a.o", bitcode).unwrap();
    lease.set_target(&TargetConfig::default()).unwrap();
    lease
}

fn compile(lease: &mut Lease) -> Result<Bytes, Error> {
    lease.passes("lto<O2>", PassOptions::at_level(2))?;
    lease.emit(FileType::Object)
}

#[test]
fn a_killed_worker_is_an_error_and_the_next_lease_works() {
    let program = named_worker("kill");
    let engine = Engine::start(&config(program.clone()), &[]).unwrap();
    let bitcode = assemble("kill", HARMLESS);
    let mut lease = loaded(&engine, &bitcode);
    let [pid] = processes_of(&program)[..] else { panic!("one worker") };
    // Stopped first, so that the request is certainly under way when it is killed.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGSTOP) }, 0);
    let killer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(unsafe { libc::kill(pid, libc::SIGKILL) }, 0);
    });
    let error = compile(&mut lease).unwrap_err();
    killer.join().unwrap();
    assert_eq!(error.kind(), ErrorKind::Engine);
    assert_eq!(
        error.to_string(),
        "a.o: the lto-worker was killed by signal 9 (SIGKILL) while optimizing"
    );
    assert!(lease.emit(FileType::Object).unwrap_err().to_string().contains("gone"));
    drop(lease);
    assert!(processes_of(&program).is_empty(), "a zombie or a live worker is left");
    assert!(!compile(&mut loaded(&engine, &bitcode)).unwrap().is_empty());
    drop(engine);
    assert!(processes_of(&program).is_empty());
}

#[test]
fn a_worker_that_exits_is_quoted() {
    let program = script("exit", "echo no memory >&2\nexit 3");
    let error = Engine::start(&config(program), &[]).err().unwrap();
    assert_eq!(
        error.message(),
        "the lto-worker exited with status 3 while loading libLLVM; it last said: no memory"
    );
}

#[test]
fn a_worker_that_talks_nonsense_is_ended() {
    for (name, text) in [
        ("zeros", "head -c 4096 /dev/zero >&0\nexec sleep 1000"),
        ("noise", "head -c 4096 /dev/urandom >&0\nexec sleep 1000"),
        // A well-formed message whose body means nothing.
        (
            "body",
            "printf 'LTOw\\0\\0\\0\\0\\3\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0xyz' >&0\nexec sleep 1000",
        ),
        ("mute", "exec 0<&-\nexec sleep 0.2"),
    ] {
        let started = Instant::now();
        let error = Engine::start(&config(script(name, text)), &[]).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Engine, "{name}: {error}");
        assert!(started.elapsed() < Duration::from_secs(5), "{name}");
    }
}

#[test]
fn a_program_that_is_not_there_or_cannot_run() {
    let missing = Engine::start(&config("/nonexistent/lto-worker".into()), &[]).err().unwrap();
    assert!(missing.to_string().starts_with("/nonexistent/lto-worker: "), "{missing}");
    let path = scratch("norun").join("lto-worker");
    std::fs::write(&path, "no program").unwrap();
    let error = Engine::start(&config(path), &[]).err().unwrap();
    assert!(error.message().starts_with("starting the worker program"), "{error}");
}

#[test]
fn a_worker_has_nothing_of_the_linkers_but_its_socket() {
    let program = named_worker("fds");
    let inherited = std::fs::File::open("/dev/zero").unwrap();
    // As a linker's own files are: not closed on exec.
    unsafe { libc::fcntl(inherited.as_raw_fd(), libc::F_SETFD, 0) };
    let engine = Engine::start(&config(program.clone()), &[]).unwrap();
    let [pid] = processes_of(&program)[..] else { panic!("one worker") };
    let mut open: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|entry| {
            Some(std::fs::read_link(entry.ok()?.path()).ok()?.to_str()?.to_string())
        })
        .collect();
    open.sort();
    open.retain(|target| !target.starts_with("socket:"));
    assert_eq!(open.len(), 3, "{open:?}");
    assert_eq!(open[..2], ["/dev/null", "/dev/null"]);
    assert!(open[2].starts_with("/memfd:"), "{open:?}");
    // Ctrl-C goes to the whole process group; what it means is the linker's decision.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGINT) }, 0);
    let bitcode = assemble("fds", HARMLESS);
    assert!(!compile(&mut loaded(&engine, &bitcode)).unwrap().is_empty());
    assert_eq!(processes_of(&program), [pid]);
}

#[test]
fn a_worker_outlives_the_thread_that_started_it() {
    let program = named_worker("thread");
    let for_thread = program.clone();
    let engine = std::thread::spawn(move || Engine::start(&config(for_thread), &[]).unwrap())
        .join()
        .unwrap();
    std::thread::sleep(Duration::from_millis(50));
    let bitcode = assemble("thread", HARMLESS);
    assert!(!compile(&mut loaded(&engine, &bitcode)).unwrap().is_empty());
}

#[test]
fn a_worker_dies_with_its_linker() {
    const ROLE: &str = "LIBLTO_TEST_WORKER";
    if let Some(program) = std::env::var_os(ROLE) {
        // The linker's part: start, say so, and hang.
        let _engine = Engine::start(&config(program.into()), &[]).unwrap();
        println!("\nstarted");
        std::thread::sleep(Duration::from_secs(60));
        unreachable!("nobody killed us");
    }
    let program = named_worker("orphan");
    let mut linker = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_worker_dies_with_its_linker", "--nocapture"])
        .env(ROLE, &program)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(linker.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "started"));
    let [pid] = processes_of(&program)[..] else { panic!("one worker") };
    linker.kill().unwrap();
    linker.wait().unwrap();
    wait_until("the worker lives on", || !Path::new(&format!("/proc/{pid}/fd/0")).exists());
}

#[test]
fn truncated_and_damaged_bitcode() {
    let bitcode = assemble("cut", HARMLESS);
    for config in [config(worker()), in_process()] {
        let engine = Engine::start(&config, &[]).unwrap();
        let mut lease = engine.lease().unwrap();
        for cut in [0, 3, 4, 20, bitcode.len() / 2, bitcode.len() - 8] {
            let error = lease.load("cut.o", &bitcode[..cut]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Malformed, "{cut}: {error}");
            assert!(error.to_string().starts_with("cut.o: "), "{error}");
            assert!(lease.take_diagnostics().iter().all(|d| d.module == "cut.o"));
        }
        lease.load("whole.o", &bitcode).unwrap();
        assert!(lease.link("cut.o", &bitcode[..bitcode.len() / 2]).is_err());
        lease.load("whole.o", &bitcode).unwrap();
        lease.set_target(&TargetConfig::default()).unwrap();
        assert!(!compile(&mut lease).unwrap().is_empty());
    }
}

#[test]
fn bitcode_of_a_newer_producer() {
    let producers = [Producer::parse("LLVM14.0.6"), Producer::parse("LLVM99.1.0")];
    for config in [EngineConfig::default(), config(worker())] {
        let error = Engine::start(&config, &producers).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Engine);
        let text = error.to_string();
        assert!(text.contains("LLVM99.1.0") && text.contains("install LLVM 99"), "{text}");
    }
}

#[test]
fn fatal_errors_and_error_diagnostics_end_a_request_and_not_the_host() {
    // Instruction selection gives up with report_fatal_error.
    let fatal = assemble(
        "fatal",
        "target triple = \"x86_64-unknown-linux-gnu\"\n\
         declare i32 @llvm.aarch64.crc32b(i32, i32)\n\
         define i32 @f(i32 %x) { %r = call i32 @llvm.aarch64.crc32b(i32 %x, i32 %x)\n\
         ret i32 %r }\n",
    );
    // The assembler complains to the diagnostic handler, and LLVM goes on.
    let assembly = assemble(
        "asm",
        "target triple = \"x86_64-unknown-linux-gnu\"\n\
         define void @f() { call void asm sideeffect \"bogus_insn\", \"\"()\n ret void }\n",
    );
    let harmless = assemble("harmless", HARMLESS);
    for config in [config(worker()), in_process()] {
        let engine = Engine::start(&config, &[]).unwrap();
        let mut lease = loaded(&engine, &assembly);
        let error = compile(&mut lease).unwrap_err();
        assert!(
            error.message().contains("bogus_insn") || error.message().contains("invalid instr")
        );
        assert_eq!(lease.take_diagnostics()[0].severity, Severity::Error);
        drop(lease);
        let mut lease = loaded(&engine, &fatal);
        let error = compile(&mut lease).unwrap_err();
        assert!(error.to_string().starts_with("a.o: LLVM ERROR: "), "{error}");
        assert!(lease.emit(FileType::Object).is_err());
        drop(lease);
        assert!(!compile(&mut loaded(&engine, &harmless)).unwrap().is_empty());
    }
}

#[test]
fn an_unknown_target_is_an_error() {
    let bitcode = assemble("target", HARMLESS);
    let engine = Engine::start(&config(worker()), &[]).unwrap();
    let mut lease = engine.lease().unwrap();
    lease.load("a.o", &bitcode).unwrap();
    let target = TargetConfig { triple: Some("vax-dec-ultrix".into()), ..TargetConfig::default() };
    let error = lease.set_target(&target).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("vax"), "{error}");
    // Nothing was set, so nothing can be compiled.
    assert_eq!(compile(&mut lease).unwrap_err().kind(), ErrorKind::Misuse);
}

#[test]
fn options_are_judged_by_llvm() {
    for config in [config(worker()), in_process()] {
        let start = |options: &[&str]| {
            let options = Options::parse(options).unwrap();
            Engine::start(&EngineConfig { cl_opts: options.llvm, ..config.clone() }, &[])
        };
        let refused = |options: &[&str]| {
            let error = start(options).err().unwrap_or_else(|| panic!("{options:?} was taken"));
            assert_eq!(error.kind(), ErrorKind::Misuse, "{error}");
            error.message().to_string()
        };
        assert_eq!(
            refused(&["-no-such-thing=3"]),
            "Unknown command line argument '-no-such-thing=3'.  Try: 'libLLVMLTO --help'"
        );
        assert!(refused(&["-inline-threshold=x"]).contains("'x' value invalid"));
        assert!(refused(&["-inline-threshold"]).contains("requires a value"));
        assert!(refused(&["-enable-gvn-hoist=perhaps"]).contains("'perhaps'"));
        assert!(refused(&["stray"]).contains("stray"));
        assert!(refused(&["-help"]).contains("-help"));
        start(&["-inline-threshold=50", "-enable-gvn-hoist", "-function-sections"]).unwrap();
        // In one process the options of an earlier engine are still set; that is no error.
        start(&["-inline-threshold=50"]).unwrap();
    }
}

#[test]
fn nothing_is_left_behind() {
    let count = |what: &str| std::fs::read_dir(format!("/proc/self/{what}")).unwrap().count();
    let bitcode = assemble("left", HARMLESS);
    let program = named_worker("left");
    let run = |config: &EngineConfig| {
        let engine = Engine::start(config, &[]).unwrap();
        let (mut one, mut two) = (loaded(&engine, &bitcode), loaded(&engine, &bitcode));
        assert_eq!(*compile(&mut one).unwrap(), *compile(&mut two).unwrap());
    };
    // Other tests of this program run beside this one, so the worker's own count is what is
    // compared, and a leak shows because it grows with every round.
    for config in [config(program.clone()), in_process()] {
        run(&config);
        let before = count("fd") + count("task");
        for _ in 0..30 {
            run(&config);
        }
        let after = count("fd") + count("task");
        assert!(after < before + 30, "{before} descriptors and threads became {after}");
        assert!(processes_of(&program).is_empty());
    }
}
