//! Functions cloned for cold allocations, beside LLVM's own llvm-lto2: random trees of calls with
//! profiled contexts through both, and every file compared byte for byte.

mod support;

use std::collections::BTreeSet;
use std::fmt::Write;

use support::Scratch;

const OURS: &str = env!("CARGO_BIN_EXE_llvm-lto2");

const CLONING: &str = "-enable-memprof-context-disambiguation -supports-hot-cold-new";

const ALLOCATOR: &str = "declare ptr @_Znam(i64)\n@sink = internal global ptr null";

/// Numbers that are the same each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        ((self.next() >> 33) as usize) % limit
    }

    /// Whether something with this likelihood, in percent, is so.
    fn percent(&mut self, likely: usize) -> bool {
        self.below(100) < likely
    }
}

/// A call in the source: of a function, or an allocation with its contexts.
#[derive(Clone)]
struct Site {
    id: u64,
    callee: Option<usize>,
    tail: bool,
    /// Calls from the inside to the outside, and the type.
    contexts: Vec<(Vec<u64>, &'static str)>,
}

/// A program: by function its calls. The first is `main`.
struct Program {
    functions: Vec<Vec<Site>>,
    modules: usize,
    /// By function, the modules that define it.
    homes: Vec<Vec<usize>>,
    aliased: Vec<bool>,
    inlined: usize,
}

impl Program {
    fn new(seed: u64) -> Self {
        let random = &mut Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let count = 4 + random.below(9);
        let modules = 1 + random.below(3);
        let recursive = [0, 0, 15][random.below(3)];
        let tails = [0, 0, 20][random.below(3)];
        let mut functions: Vec<Vec<Site>> = Vec::new();
        for f in 0..count {
            let mut sites = Vec::new();
            let is_last = f + 1 == count;
            for _ in 0..if is_last { 0 } else { 1 + random.below(4) } {
                let next = f + 1 + random.below((count - f - 1).min(3));
                let callee =
                    Some(if random.percent(recursive) { random.below(count) } else { next });
                let tail = random.percent(tails);
                for _ in 0..1 + random.below(2) {
                    sites.push(Site { id: random.next(), callee, tail, contexts: Vec::new() });
                }
            }
            if is_last || f * 2 > count && random.percent(50) {
                sites.push(Site {
                    id: random.next(),
                    callee: None,
                    tail: false,
                    contexts: Vec::new(),
                });
            }
            functions.push(sites);
        }
        for f in 0..count {
            for s in 0..functions[f].len() {
                if functions[f][s].callee.is_none() {
                    functions[f][s].contexts = contexts(&functions, f, random);
                }
            }
        }
        let homes = (0..count).map(|f| {
            let home = random.below(modules);
            let weak = f != 0 && random.percent(15);
            if weak { (0..modules).map(|m| (home + m) % modules).collect() } else { vec![home] }
        });
        let homes = homes.collect();
        let aliased = (0..count).map(|f| f != 0 && random.percent(10)).collect();
        Program { functions, modules, homes, aliased, inlined: [0, 0, 25][random.below(3)] }
    }

    fn name(&self, f: usize) -> String {
        if f == 0 { "main".to_owned() } else { format!("f{f}") }
    }

    fn is_weak(&self, f: usize) -> bool {
        self.homes[f].len() > 1
    }

    /// The calls in the code of a function, with the frames that each is in, from the inside.
    fn code(&self, f: usize, outer: &[u64], random: &mut Random) -> Vec<(Site, Vec<u64>)> {
        let mut code = Vec::new();
        for site in &self.functions[f] {
            let frames: Vec<u64> = std::iter::once(site.id).chain(outer.iter().copied()).collect();
            match site.callee {
                Some(callee)
                    if callee > f
                        && !site.tail
                        && outer.len() < 2
                        && random.percent(self.inlined) =>
                {
                    code.extend(self.code(callee, &frames, random));
                }
                _ => code.push((site.clone(), frames)),
            }
        }
        code
    }

    /// Writes the modules `m0.ll` and so on, and the resolutions.
    fn write(&self, scratch: &Scratch, seed: u64) {
        let mut resolutions = String::new();
        for module in 0..self.modules {
            let mut text = "target datalayout = \
                            \"e-m:e-p270:32:32-p271:32:32-p272:64:64-i64:64-i128:128-f80:128-n8:16:32:64-S128\"\n\
                            target triple = \"x86_64-unknown-linux-gnu\"\n"
                .to_owned();
            let (mut nodes, mut mentioned, mut defined) =
                (Vec::new(), BTreeSet::new(), BTreeSet::new());
            for f in (0..self.functions.len()).filter(|&f| self.homes[f].contains(&module)) {
                let (name, weak) = (self.name(f), self.is_weak(f));
                let linkage = if weak { "linkonce_odr " } else { "" };
                let prevails = if self.homes[f][0] == module { "pl" } else { "" };
                let seen = if f == 0 { "x" } else { "" };
                writeln!(text, "define {linkage}void @{name}() nounwind {{").unwrap();
                writeln!(resolutions, "-r=m{module}.o,{name},{prevails}{seen}").unwrap();
                defined.insert(name.clone());
                // Copies of a function are alike.
                let random = &mut Random((seed << 8) | (f as u64 + 1));
                for (site, frames) in self.code(f, &[], random) {
                    let call = self.call(&site, &frames, random, &mut nodes, &mut mentioned);
                    writeln!(text, "  {call}").unwrap();
                }
                writeln!(text, "  ret void\n}}").unwrap();
                if self.aliased[f] && !weak {
                    writeln!(text, "@{name}a = alias void (), ptr @{name}").unwrap();
                    writeln!(resolutions, "-r=m{module}.o,{name}a,pl").unwrap();
                    defined.insert(format!("{name}a"));
                }
            }
            for name in mentioned.difference(&defined) {
                match name.as_str() {
                    "_Znam" => writeln!(text, "{ALLOCATOR}").unwrap(),
                    name => writeln!(text, "declare void @{name}()").unwrap(),
                }
                writeln!(resolutions, "-r=m{module}.o,{name},").unwrap();
            }
            text += "attributes #1 = { \"memprof\"=\"cold\" }\n";
            for (number, node) in nodes.iter().enumerate() {
                writeln!(text, "!{number} = !{{{node}}}").unwrap();
            }
            scratch.write(&format!("m{module}.ll"), text);
        }
        scratch.write("resolutions", resolutions);
    }

    fn call(
        &self,
        site: &Site,
        frames: &[u64],
        random: &mut Random,
        nodes: &mut Vec<String>,
        mentioned: &mut BTreeSet<String>,
    ) -> String {
        let mut node = |text: String| {
            nodes.push(text);
            nodes.len() - 1
        };
        let stack = |ids: &[u64]| {
            let ids: Vec<String> = ids.iter().map(|&id| format!("i64 {}", id as i64)).collect();
            ids.join(", ")
        };
        if let Some(callee) = site.callee {
            let alias = self.aliased[callee] && !self.is_weak(callee) && random.percent(50);
            let name = format!("{}{}", self.name(callee), if alias { "a" } else { "" });
            mentioned.insert(name.clone());
            if site.tail {
                return format!("tail call void @{name}()");
            }
            return format!("call void @{name}(), !callsite !{}", node(stack(frames)));
        }
        mentioned.insert("_Znam".to_owned());
        // Of a copy of the allocation, those contexts count that come through what it is inlined into.
        let inlined = &frames[1..];
        let contexts: Vec<_> = site
            .contexts
            .iter()
            .filter(|(calls, _)| calls.starts_with(inlined) && calls.len() > inlined.len())
            .collect();
        if contexts.is_empty() {
            let number = node(String::new());
            return used("@_Znam(i64 8) #1", number);
        }
        let mut mibs = Vec::new();
        for (calls, of_type) in contexts {
            let whole: Vec<u64> = [&[site.id], calls.as_slice()].concat();
            let whole = node(stack(&whole));
            mibs.push(format!("!{}", node(format!("!{whole}, !\"{of_type}\""))));
        }
        let (memprof, callsite) = (node(mibs.join(", ")), node(stack(frames)));
        let marks = format!("!memprof !{memprof}, !callsite !{callsite}");
        used(&format!("@_Znam(i64 8), {marks}"), callsite)
    }
}

/// An allocation that no optimizer takes for useless.
fn used(call: &str, number: usize) -> String {
    format!("%p{number} = call ptr {call}\n  store volatile ptr %p{number}, ptr @sink")
}

/// Random walks from a function to its callers. Tail calls leave no frame.
fn contexts(
    functions: &[Vec<Site>],
    allocating: usize,
    random: &mut Random,
) -> Vec<(Vec<u64>, &'static str)> {
    let mut found: Vec<(Vec<u64>, &'static str)> = Vec::new();
    for _ in 0..1 + random.below(9) {
        let (mut at, mut calls) = (allocating, Vec::new());
        for _ in 0..1 + random.below(6) {
            let callers: Vec<(usize, &Site)> = functions
                .iter()
                .enumerate()
                .flat_map(|(f, sites)| sites.iter().map(move |site| (f, site)))
                .filter(|(_, site)| site.callee == Some(at))
                .collect();
            if callers.is_empty() {
                break;
            }
            let (caller, site) = callers[random.below(callers.len())];
            if !site.tail {
                calls.push(site.id);
            }
            at = caller;
        }
        if !calls.is_empty() && found.iter().all(|(other, _)| *other != calls) {
            found.push((calls, ["cold", "notcold", "cold", "notcold", "hot"][random.below(5)]));
        }
    }
    found
}

/// Makes the modules of a program, by LLVM's `opt`; gives their names.
fn make(scratch: &Scratch, seed: u64, version: u32) -> String {
    let program = Program::new(seed);
    program.write(scratch, seed);
    let names: Vec<String> = (0..program.modules).map(|module| format!("m{module}.o")).collect();
    for module in 0..program.modules {
        let arguments = format!("-thinlto-bc m{module}.ll -o m{module}.o");
        scratch.run(&format!("opt-{version}"), &arguments);
    }
    names.join(" ")
}

/// Runs LLVM's llvm-lto2 and ours.
fn link(scratch: &Scratch, version: u32, arguments: &str) {
    let common = format!("{arguments} -thinlto-threads=1");
    scratch.run(&format!("llvm-lto2-{version}"), &format!("run {common} -o theirs"));
    let arguments = format!("run -llvm-version={version} {common} -o ours");
    let mut ours = scratch.command(OURS, &arguments);
    ours.env("LTO_LLVM", support::llvm(version));
    support::checked(ours);
}

/// Links to objects, and compares them. Gives ours, one behind the other.
fn compare_objects(
    scratch: &Scratch,
    version: u32,
    modules: &str,
    more: &str,
    what: &str,
) -> Vec<u8> {
    link(scratch, version, &format!("{modules} @resolutions {more}"));
    let mut all = Vec::new();
    for number in 1..=modules.split(' ').count() {
        let [ours, theirs] = ["ours", "theirs"].map(|o| scratch.read(&format!("{o}.{number}")));
        assert!(ours == theirs, "object {number} differs: {what}");
        all.extend(ours);
    }
    all
}

fn holds(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|at| at == text)
}

#[test]
fn indexes_are_those_of_llvm() {
    let scratch = Scratch::new("memprof-indexes");
    let mut changed = 0;
    for seed in 1..=40 {
        let modules = make(&scratch, seed, 19);
        let mut seen: Vec<Vec<Vec<u8>>> = Vec::new();
        // Whose the modules are is seen in them.
        for program in ["llvm-lto2-19", OURS] {
            for options in [CLONING, "-supports-hot-cold-new"] {
                let arguments = format!(
                    "run {modules} @resolutions -thinlto-distributed-indexes {options} -o lto"
                );
                scratch.run(program, &arguments);
                let names = modules.split(' ').map(|module| format!("{module}.thinlto.bc"));
                seen.push(names.map(|name| scratch.read(&name)).collect());
            }
        }
        let [theirs, their_plain, ours, our_plain] = &seen[..] else { panic!() };
        assert!(ours == theirs, "indexes differ: seed {seed}");
        assert!(our_plain == their_plain, "indexes without clones differ: seed {seed}");
        changed += usize::from(ours != our_plain);
    }
    assert!(changed > 20, "{changed}");
    let modules = make(&scratch, 1, 19);
    let dump = format!(
        "run {modules} @resolutions -thinlto-distributed-indexes {CLONING} -memprof-dump-ccg -o lto"
    );
    for program in ["llvm-lto2-19", OURS] {
        let output = scratch.command(program, &dump).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("Callsite Context Graph:"), "{program}: {said}");
    }
}

#[test]
fn clones_in_objects_are_those_of_llvm() {
    let scratch = Scratch::new("memprof-objects");
    let mut cloned = 0;
    for seed in 101..=112 {
        let modules = make(&scratch, seed, 19);
        let what = format!("seed {seed}");
        let objects = compare_objects(&scratch, 19, &modules, CLONING, &what);
        let cached = format!("{CLONING} -cache-dir=cache");
        for _ in 0..2 {
            assert!(compare_objects(&scratch, 19, &modules, &cached, &what) == objects);
        }
        cloned += usize::from(holds(&objects, b".memprof.1"));
    }
    assert!(cloned > 4, "{cloned}");
}

#[test]
fn an_allocator_that_cannot_be_told_is_not_told() {
    let scratch = Scratch::new("memprof-strip");
    let hinted = b"_Znam12__hot_cold_t";
    for version in [19, 22] {
        let mut told = 0;
        for seed in 201..=206 {
            let modules = make(&scratch, seed, version);
            let what = format!("seed {seed}, LLVM {version}");
            let objects =
                compare_objects(&scratch, version, &modules, "-optimize-hot-cold-new", &what);
            assert!(!holds(&objects, hinted), "{what}");
            if version == 19 {
                let options = "-optimize-hot-cold-new -supports-hot-cold-new";
                let objects = compare_objects(&scratch, version, &modules, options, &what);
                told += usize::from(holds(&objects, hinted));
            }
        }
        // The pipelines of newer versions, made by name, strip in any case.
        assert!(told > 0 || version > 19);
    }
}

/// What is not chosen as LLVM does is not chosen at all, and the code stays right.
#[test]
fn newer_versions_get_code_without_clones() {
    let scratch = Scratch::new("memprof-22");
    let modules = make(&scratch, 1, 22);
    let arguments = format!("run {modules} @resolutions {CLONING} -o ours");
    let mut ours = scratch.command(OURS, &arguments);
    ours.env("LTO_LLVM", support::llvm(22));
    support::checked(ours);
    for number in 1..=modules.split(' ').count() {
        assert!(!holds(&scratch.read(&format!("ours.{number}")), b".memprof."));
    }
}
