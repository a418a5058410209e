//! Summaries beside LLVM's own tools: what clang, opt and llvm-lto wrote is read, written again and
//! compared byte for byte; and what nobody wrote must be refused without harm.

mod support;

use std::path::Path;

use LTO::container::wrap_in_object;
use LTO::summary::{
    Format, IndexPart, LazyIndex, ModuleId, ModuleSummaryIndex, ReadOptions, SummaryKind, ValueId,
    WriteOptions, combine_files, guid_of, has_summary, read_and_combine, read_file, read_index,
    write_module_index,
};
use support::Scratch;

/// Sources with calls across modules, locals, aliases, weak and inline functions, constants,
/// virtual tables and references to data.
const SOURCES: [(&str, &str); 3] = [
    (
        "one.cpp",
        r#"
        struct Base { virtual int f(int); virtual ~Base(); };
        struct Derived : Base { int f(int) override; int more[4]; };
        int Base::f(int x) { return x; }
        Base::~Base() {}
        int Derived::f(int x) { return x + more[x & 3]; }
        int call(Base *b, int x) { return b->f(x); }
        static int hidden(int x) { return x * 3; }
        int (*pointer)(int) = hidden;
        extern "C" int target(int x) { return pointer(x); }
        extern "C" int other_name(int x) __attribute__((alias("target")));
        const int table[] = {1, 2, 3};
        extern int written;
        inline int shared(int x) { return x + table[x & 1]; }
        int use(int x) { written = x; Derived d; return call(&d, shared(x)); }
        "#,
    ),
    (
        "two.cpp",
        r#"
        int written;
        extern const int table[];
        extern "C" int target(int);
        __attribute__((weak)) int maybe() { return 1; }
        inline int shared(int x) { return x + table[x & 1]; }
        static int hidden(int x) { return x * 5; }
        int two(int x) { return shared(x) + target(x) + hidden(written) + maybe(); }
        "#,
    ),
    (
        "three.c",
        "int two_c(int x) { return x; }\nstatic int local;\nint *three(void) { return &local; }\n",
    ),
];

/// IR with what clang writes only under rare options: MemProf, type tests and virtual calls,
/// parameter accesses, block counts.
const RARE: &str = r#"
source_filename = "rare.ll"
target datalayout = "e-m:e-p270:32:32-p271:32:32-p272:64:64-i64:64-i128:128-f80:128-n8:16:32:64-S128"
target triple = "x86_64-pc-linux-gnu"

declare ptr @_Znam(i64)
declare i1 @llvm.type.test(ptr, metadata)
declare void @llvm.assume(i1)
declare void @outside(ptr)

define ptr @allocates() {
  %a = call ptr @_Znam(i64 10), !memprof !0, !callsite !5
  ret ptr %a
}

define ptr @middle() {
  %a = call ptr @allocates(), !callsite !6
  ret ptr %a
}

define ptr @root() {
  %a = call ptr @middle(), !callsite !7
  %b = call ptr @middle(), !callsite !8
  ret ptr %a
}

define i32 @tests(ptr %object) {
  %vtable = load ptr, ptr %object
  %known = call i1 @llvm.type.test(ptr %vtable, metadata !"a type")
  call void @llvm.assume(i1 %known)
  %slot = getelementptr ptr, ptr %vtable, i32 2
  %function = load ptr, ptr %slot
  %result = call i32 %function(ptr %object, i32 42)
  %used = call i1 @llvm.type.test(ptr %vtable, metadata !"another")
  %wide = zext i1 %used to i32
  %sum = add i32 %result, %wide
  ret i32 %sum
}

define void @accesses(ptr %p, ptr %q) sanitize_memtag {
  %at = getelementptr i8, ptr %p, i64 -3
  store i32 0, ptr %at
  call void @outside(ptr %q)
  ret void
}

!0 = !{!1, !3}
!1 = !{!2, !"notcold"}
!2 = !{i64 9086428284934609951, i64 -5964873800580613432, i64 2732490490862098848, i64 8632435727821051414}
!3 = !{!4, !"cold"}
!4 = !{i64 9086428284934609951, i64 -5964873800580613432, i64 2732490490862098848, i64 -3421689549917153178}
!5 = !{i64 9086428284934609951}
!6 = !{i64 -5964873800580613432}
!7 = !{i64 8632435727821051414}
!8 = !{i64 -3421689549917153178}
"#;

/// Modules by a clang of this version, and one by its opt; their names.
fn modules(scratch: &Scratch, version: u32) -> Vec<String> {
    let mut names = Vec::new();
    for (source, text) in SOURCES {
        scratch.write(source, text);
        let name = format!("{source}.o");
        let flags =
            "-O2 -flto=thin -fwhole-program-vtables -fno-split-lto-unit -fvisibility=hidden";
        scratch.clang(version, &format!("{flags} -c {source} -o {name}"));
        names.push(name);
    }
    if version >= 19 {
        scratch.write("rare.ll", RARE);
        scratch.run(&format!("opt-{version}"), "-module-summary rare.ll -o rare.o");
        names.push("rare.o".to_owned());
    }
    names
}

fn format(version: u32) -> Format {
    if version < 20 { Format::Llvm19 } else { Format::Llvm22 }
}

fn combine(scratch: &Scratch, names: &[String], options: &ReadOptions) -> ModuleSummaryIndex {
    let files: Vec<(Vec<u8>, &[u8])> =
        names.iter().map(|name| (scratch.read(name), name.as_bytes())).collect();
    read_and_combine(&files, options).unwrap()
}

/// What llvm-lto of this version makes of the modules.
fn llvm_lto(scratch: &Scratch, version: u32, names: &[String]) -> Vec<u8> {
    let names = names.join(" ");
    let args = format!("-thinlto-action=thinlink -o llvm.bc {names}");
    scratch.run(&format!("llvm-lto-{version}"), &args);
    scratch.read("llvm.bc")
}

fn assert_same(ours: &[u8], theirs: &[u8], what: &str) {
    let first = ours.iter().zip(theirs).position(|(a, b)| a != b);
    assert!(ours == theirs, "{what}: {} and {} bytes, {first:?}", ours.len(), theirs.len());
}

#[test]
fn a_combined_index_is_what_llvm_lto_writes() {
    for (producer, linker) in [(19, 19), (22, 22), (19, 22), (16, 22), (14, 22)] {
        let scratch = Scratch::new(&format!("summary-combined-{producer}-{linker}"));
        let names = modules(&scratch, producer);
        let theirs = llvm_lto(&scratch, linker, &names);
        let options = WriteOptions { format: format(linker), function_table: false };
        let index = combine(&scratch, &names, &ReadOptions::THIN_LINK);
        let what = format!("modules of LLVM {producer}, index of LLVM {linker}");
        assert_same(&index.to_bitcode(&options), &theirs, &what);
        // And so it stays when it is read and written again.
        let again = read_index(&theirs, b"llvm.bc", &ReadOptions::EVERYTHING).unwrap();
        assert!(again.is_combined());
        assert_same(&again.to_bitcode(&options), &theirs, &what);
    }
}

#[test]
fn a_modules_summary_is_what_llvm_wrote() {
    for version in [19, 22] {
        let scratch = Scratch::new(&format!("summary-module-{version}"));
        for name in modules(&scratch, version) {
            let file = scratch.read(&name);
            let index = read_index(&file, name.as_bytes(), &ReadOptions::EVERYTHING).unwrap();
            let ours = write_module_index(&file, &index, ModuleId(0), format(version)).unwrap();
            assert_same(&ours, &file, &name);
        }
    }
}

#[test]
fn a_module_without_a_summary_gets_one() {
    let scratch = Scratch::new("summary-added");
    for name in modules(&scratch, 22) {
        scratch.run("opt-22", &format!("{name} -o bare.bc"));
        let bare = scratch.read("bare.bc");
        assert!(!has_summary(&bare));
        let file = scratch.read(&name);
        let index = read_index(&file, name.as_bytes(), &ReadOptions::EVERYTHING).unwrap();
        for format in [Format::Llvm19, Format::Llvm22] {
            let carried = write_module_index(&bare, &index, ModuleId(0), format).unwrap();
            assert!(has_summary(&carried));
            scratch.write("carried.bc", &carried);
            let text = |file: &str| {
                let text = scratch.run("llvm-dis-22", &format!("{file} -o -"));
                let lines = text.lines().filter(|l| !l.starts_with("; ModuleID"));
                let lines = lines.filter(|l| !l.starts_with("^0 = module:"));
                lines.collect::<Vec<_>>().join("\n")
            };
            assert_eq!(text("carried.bc"), text(&name), "{name}");
        }
    }
}

#[test]
fn a_module_in_an_object_file_stays_in_it() {
    let scratch = Scratch::new("summary-object");
    scratch.write("m.c", "int g; int f(int x) { return x + g; }\n");
    scratch.clang(22, "-O2 -flto=thin -c m.c -o m.o");
    scratch.run("opt-22", "m.o -o bare.bc");
    let (file, bare) = (scratch.read("m.o"), scratch.read("bare.bc"));
    let index = read_index(&file, b"m.o", &ReadOptions::EVERYTHING).unwrap();
    let raw = write_module_index(&bare, &index, ModuleId(0), Format::Llvm22).unwrap();
    for (triple, section) in [
        ("x86_64-unknown-linux-gnu", ".llvmbc"),
        ("x86_64-pc-windows-msvc", ".llvmbc"),
        ("arm64-apple-macosx11.0.0", "__LLVM,__bitcode"),
        ("powerpc-apple-darwin8", "__LLVM,__bitcode"),
    ] {
        let object = wrap_in_object(&bare, triple).unwrap();
        assert!(!has_summary(&object));
        let carried = write_module_index(&object, &index, ModuleId(0), Format::Llvm22).unwrap();
        assert!(has_summary(&carried));
        scratch.write("carried.o", &carried);
        scratch.run("llvm-readobj-22", "--sections carried.o");
        scratch
            .run("llvm-objcopy-22", &format!("--dump-section={section}=inner.bc carried.o out.o"));
        assert_eq!(scratch.read("inner.bc"), raw, "{triple}");
    }
}

#[test]
fn a_module_in_a_wasm_object_stays_in_it() {
    let scratch = Scratch::new("summary-wasm");
    scratch.write("m.c", "int g; int f(int x) { return x + g; }\n");
    scratch.clang(22, "--target=wasm32 -O2 -flto=thin -c m.c -o thin.o");
    scratch.clang(22, "--target=wasm32 -O2 -fembed-bitcode=all -c m.c -o m.o");
    let index = read_index(&scratch.read("thin.o"), b"m.o", &ReadOptions::EVERYTHING).unwrap();
    let object = scratch.read("m.o");
    assert!(!has_summary(&object));
    let carried = write_module_index(&object, &index, ModuleId(0), Format::Llvm22).unwrap();
    let again = read_index(&carried, b"m.o", &ReadOptions::EVERYTHING).unwrap();
    assert_eq!(again.guids(), index.guids());
    scratch.write("carried.o", &carried);
    scratch.run("llvm-objcopy-22", "--dump-section=.llvmbc=inner.bc carried.o out.o");
    let text = scratch.run("llvm-dis-22", "inner.bc -o -");
    assert!(text.contains("gv: (name: \"f\", summaries: (function:"), "{text}");
    // Code, symbols and relocations are as they were.
    for name in ["carried", "m"] {
        let args = format!("{name}.o --no-entry --export=f --strip-all -o {name}.wasm");
        scratch.run("wasm-ld-22", &args);
    }
    assert_eq!(scratch.read("carried.wasm"), scratch.read("m.wasm"));
}

#[test]
fn what_a_function_has_is_what_its_source_says() {
    let scratch = Scratch::new("summary-content");
    modules(&scratch, 22);
    let one = scratch.read("one.cpp.o");
    let index = read_index(&one, b"one.cpp.o", &ReadOptions::EVERYTHING).unwrap();
    let find = |name: &str| {
        let value = index.find(guid_of(name.as_bytes())).unwrap();
        index.summary(index.copies(value)[0]).unwrap()
    };
    let alias = find("other_name");
    assert_eq!(alias.kind(), SummaryKind::Alias);
    assert_eq!(alias.aliasee().unwrap().id(), find("target").id());
    assert!(find("target").function_flags().has_unknown_call());
    let vtable = find("_ZTV7Derived");
    assert_eq!(vtable.kind(), SummaryKind::Variable);
    assert!(vtable.variable_flags().constant() && vtable.vtable_funcs().len() >= 3);
    assert!(index.type_id_compatible_vtables().iter().any(|t| &*t.name == b"_ZTS7Derived"));
    let written = index.find(guid_of(b"written")).unwrap();
    assert_eq!(index.name(written), b"written");
    assert!(index.copies(written).is_empty());
    assert!(find("_Z3usei").refs().iter().any(|r| r.value() == written && r.is_write_only()));

    let rare = scratch.read("rare.o");
    let index = read_index(&rare, b"rare.o", &ReadOptions::EVERYTHING).unwrap();
    let find = |name: &str| {
        let value = index.find(guid_of(name.as_bytes())).unwrap();
        index.summary(index.copies(value)[0]).unwrap()
    };
    let [alloc] = find("allocates").allocs() else { panic!("one allocation") };
    let types: Vec<u8> = alloc.mibs.iter().map(|mib| mib.alloc_type).collect();
    assert_eq!(types, [1, 2]);
    let last = |n: usize| index.stack_ids()[*alloc.mibs[n].stack_ids.last().unwrap() as usize];
    assert_eq!([last(0), last(1)], [8632435727821051414, -3421689549917153178i64 as u64]);
    assert_eq!(find("root").callsites().len(), 2);
    assert_eq!(find("tests").type_tests(), [guid_of(b"another")]);
    let [call] = find("tests").type_test_assume_const_vcalls() else { panic!("one call") };
    assert_eq!((call.function.guid, call.function.offset), (guid_of(b"a type"), 16));
    assert_eq!(*call.args, [42]);
    let [access, ..] = find("accesses").param_accesses() else { panic!("an access") };
    assert_eq!((access.param_no, access.range.lower, access.range.upper), (0, -3, 1));
}

#[test]
fn the_merge_is_the_same_at_any_number_of_threads() {
    let scratch = Scratch::new("summary-threads");
    let names = modules(&scratch, 22);
    // Many modules, each under several names: enough that several threads write.
    let mut many = Vec::new();
    for copy in 0..220 {
        for name in &names {
            let copied = format!("{copy}-{name}");
            scratch.write(&copied, scratch.read(name));
            many.push(copied);
        }
    }
    let mut all = Vec::new();
    for threads in [1, 2, 3, 8] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let bytes = pool.install(|| {
            combine(&scratch, &many, &ReadOptions::THIN_LINK).to_bitcode(&WriteOptions::default())
        });
        all.push(bytes);
    }
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
    assert_same(&all[0], &llvm_lto(&scratch, 22, &many), "many modules");
    // One after another gives the same as all at once.
    let mut folded = ModuleSummaryIndex::new();
    for name in &many[..20] {
        let parts = read_file(&scratch.read(name), name.as_bytes(), &ReadOptions::THIN_LINK);
        folded.merge(parts.unwrap()).unwrap();
    }
    let paths: Vec<_> = many[..20].iter().map(|name| scratch.path().join(name)).collect();
    let paths: Vec<&Path> = paths.iter().map(|path| path.as_path()).collect();
    let mut at_once = combine_files(&paths, &ReadOptions::THIN_LINK).unwrap();
    assert_eq!(folded.summary_count(), at_once.summary_count());
    assert_eq!(folded.guids(), at_once.guids());
    // A module that is there already is refused, and nothing changes.
    let again: Vec<IndexPart> =
        read_file(&scratch.read(&many[0]), many[0].as_bytes(), &ReadOptions::THIN_LINK).unwrap();
    assert!(folded.merge(again).unwrap_err().to_string().contains("0-one.cpp.o"));
    assert_eq!(folded.modules().len(), 20);
    at_once.merge(Vec::new()).unwrap();
    assert_eq!(at_once.modules().len(), 20);
}

#[test]
fn one_function_is_read_alone() {
    let scratch = Scratch::new("summary-lazy");
    let names = modules(&scratch, 22);
    let index = combine(&scratch, &names, &ReadOptions::THIN_LINK);
    for function_table in [false, true] {
        let file = index.to_bitcode(&WriteOptions { format: Format::Llvm22, function_table });
        let lazy = LazyIndex::new(&file[..], b"index").unwrap();
        assert_eq!(lazy.has_function_table(), function_table);
        assert!(lazy.is_combined());
        for (number, &guid) in index.guids().iter().enumerate() {
            let copies = index.copies(ValueId(number as u32));
            let Some(small) = lazy.read(guid).unwrap() else {
                assert!(copies.is_empty());
                continue;
            };
            let value = small.find(guid).unwrap();
            assert_eq!(small.copies(value).len(), copies.len());
            for (&id, &of) in small.copies(value).iter().zip(copies) {
                let (small_one, one) = (small.summary(id).unwrap(), index.summary(of).unwrap());
                let place = |i: &ModuleSummaryIndex, m| i.module(m).unwrap().clone();
                assert_eq!(place(&small, small_one.module()), place(&index, one.module()));
                assert_eq!(small_one.flags(), one.flags());
                assert_eq!(small_one.inst_count(), one.inst_count());
                assert_eq!(small_one.original_name(), one.original_name());
                assert_eq!(small_one.type_tests(), one.type_tests());
                assert_eq!(small_one.callsites().len(), one.callsites().len());
                let written = |value| !index.copies(value).is_empty();
                let theirs = one.calls().filter(|(callee, _)| written(*callee));
                let theirs = theirs.map(|(callee, info)| (index.guid(callee), info));
                let ours = small_one.calls().map(|(callee, info)| (small.guid(callee), info));
                assert!(ours.eq(theirs));
            }
        }
        assert!(lazy.read_function(b"target").unwrap().is_some());
        assert!(lazy.read_function(b"no such function").unwrap().is_none());
        // LLVM's tools take no notice of the table.
        scratch.write("index.bc", &file);
        scratch.run("llvm-dis-22", "index.bc -o index.ll");
        scratch.run("llvm-bcanalyzer-22", "index.bc");
    }
}

/// Changes a few bits or the length of a file, always the same way for the same number.
fn mutate(file: &[u8], number: u64) -> Vec<u8> {
    let mut random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = |limit: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % limit.max(1) as u64) as usize
    };
    let mut file = file.to_vec();
    if number.is_multiple_of(5) {
        file.truncate(next(file.len()) & !3);
        return file;
    }
    for _ in 0..=next(3) {
        let at = next(file.len());
        match next(3) {
            0 => file[at] ^= 1 << next(8),
            1 => file[at] = 0xff,
            _ => {
                let end = (at + 4).min(file.len());
                file[at..end].fill(0xff);
            }
        }
    }
    file
}

#[test]
fn broken_files_are_refused() {
    let scratch = Scratch::new("summary-broken");
    let names = modules(&scratch, 22);
    let index = combine(&scratch, &names, &ReadOptions::THIN_LINK);
    let table = WriteOptions { format: Format::Llvm22, function_table: true };
    let mut files: Vec<Vec<u8>> = names.iter().map(|name| scratch.read(name)).collect();
    files.push(index.to_bitcode(&table));
    files.push(index.to_bitcode(&WriteOptions { format: Format::Llvm19, function_table: false }));
    let (mut refused, mut read) = (0, 0);
    for file in &files {
        for number in 0..1200 {
            let broken = mutate(file, number);
            has_summary(&broken);
            match read_index(&broken, b"broken", &ReadOptions::EVERYTHING) {
                Err(error) => {
                    assert!(error.to_string().starts_with("broken: "), "{error}");
                    refused += 1;
                }
                Ok(index) => {
                    read += 1;
                    let guids: Vec<_> = index.guids().to_vec();
                    let bytes = index.to_bitcode(&table);
                    read_index(&bytes, b"again", &ReadOptions::EVERYTHING).unwrap();
                    let _ = write_module_index(&broken, &index, ModuleId(0), Format::Llvm22);
                    if let Ok(lazy) = LazyIndex::new(&broken[..], b"broken") {
                        for guid in guids.into_iter().take(50) {
                            let _ = lazy.read(guid);
                        }
                    }
                }
            }
        }
    }
    assert!(refused > 500 && read > 500, "{refused} refused, {read} read");
}
