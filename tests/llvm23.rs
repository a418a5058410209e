//! What LLVM 23 writes: GUIDs stored in the module, MemProf records behind their functions, GUIDs
//! of CFI functions. The files in `llvm23` are its own, with the text that its llvm-dis shows;
//! `scripts/llvm23-goldens.sh` makes them.

mod support;

use std::path::Path;

use LTO::bitcode::{BITCODE_MAGIC, BitcodeFile, Extent, Module, block_id, module_code};
use LTO::bitstream::Writer;
use LTO::ir::{Guid, Linkage};
use LTO::summary::{
    Format, ModuleId, ModuleSummaryIndex, ReadOptions, fs, guid_of, guids_of_module, read_index,
    write_assembly, write_module_index,
};
use support::Scratch;

fn golden(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/llvm23").join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn text(index: &ModuleSummaryIndex) -> String {
    let mut out = Vec::new();
    write_assembly(index, None, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn read(file: &[u8], name: &str) -> ModuleSummaryIndex {
    read_index(file, name.as_bytes(), &ReadOptions::EVERYTHING).unwrap()
}

#[test]
fn every_field_is_what_llvm_23_shows() {
    for name in ["guids", "caller", "memprof", "memprof-index", "cfi-index", "combined"] {
        let bitcode = format!("{name}.bc");
        let index = read(&golden(&bitcode), &bitcode);
        assert_eq!(index.version(), 14);
        let theirs = String::from_utf8(golden(&format!("{name}.txt"))).unwrap();
        assert_eq!(text(&index), theirs, "{name}");
    }
}

#[test]
fn stored_guids_count_and_not_names() {
    let file = golden("guids.bc");
    for options in [ReadOptions::EVERYTHING, ReadOptions::THIN_LINK] {
        let index = read_index(&file, b"guids.bc", &options).unwrap();
        for (guid, name) in [(111, "local"), (333, "variable"), (222u64.wrapping_neg(), "renamed")]
        {
            let value = index.find(Guid(guid)).unwrap();
            assert!(options.names == (index.name(value) == name.as_bytes()));
            let summary = index.summary(index.copies(value)[0]).unwrap();
            // A local value's original name is the hash of its name all the same.
            let local = summary.flags().linkage().is_local();
            let original = if local { guid_of(name.as_bytes()) } else { Guid(guid) };
            assert_eq!(summary.original_name(), Some(original));
        }
        assert!(index.find(guid_of(b"renamed")).is_none());
        let plain = index.find(guid_of(b"plain")).unwrap();
        let callee = index.summary(index.copies(plain)[0]).unwrap().calls().next().unwrap().0;
        assert_eq!(index.guid(callee), Guid(111));
    }
    let bitcode = BitcodeFile::read(&file).unwrap();
    let module = Module::read(&bitcode.modules[0], Extent::All).unwrap();
    let of = |name: &[u8]| {
        let id = module.globals.iter().position(|g| &*g.name == name).unwrap();
        guids_of_module(&module)[id]
    };
    assert_eq!([of(b"local"), of(b"variable")], [Guid(111), Guid(333)]);
    assert_eq!([of(b"plain"), of(b"outside")], [guid_of(b"plain"), guid_of(b"outside")]);
}

#[test]
fn a_summary_is_written_by_stored_guids() {
    let file = golden("guids.bc");
    let index = read(&file, "guids.bc");
    let carried = write_module_index(&file, &index, ModuleId(0), Format::Llvm22).unwrap();
    let again = read(&carried, "guids.bc");
    assert_eq!(again.version(), 12);
    assert_eq!(text(&again), text(&index).replace(", noRenameOnPromotion: 0", ""));
    // The module keeps its list.
    let bitcode = BitcodeFile::read(&carried).unwrap();
    let module = Module::read(&bitcode.modules[0], Extent::All).unwrap();
    assert!(!module.guids.is_empty());
}

#[test]
fn memprof_records_stand_behind_their_function_from_version_13_on() {
    let file = golden("memprof.bc");
    // FS_VERSION, not abbreviated: abbreviation 3 in four bits, code 10, one field.
    let version = |version: u64| 3 | 10 << 4 | 1 << 10 | version << 16;
    let words: Vec<u32> =
        file.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect();
    let is_version = |&word: &u32| u64::from(word) & 0x3f_ffff == version(14);
    let at = words.iter().position(is_version).unwrap();
    let with = |number: u64| {
        let mut words = words.clone();
        words[at] = words[at] & !0x3f_ffff | version(number) as u32;
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        read(&bytes, "memprof.bc")
    };
    let newest = text(&with(14));
    assert_eq!(text(&with(13)), newest);
    // A version that may yet come has no record here that is not known.
    assert_eq!(text(&with(15)), newest);
    let counts = |index: &ModuleSummaryIndex| {
        ["allocates", "middle", "root"].map(|name| {
            let value = index.find(guid_of(name.as_bytes())).unwrap();
            let summary = index.summary(index.copies(value)[0]).unwrap();
            (summary.allocs().len(), summary.callsites().len())
        })
    };
    assert_eq!(counts(&with(14)), [(1, 0), (0, 1), (0, 2)]);
    // Before version 13, a record is the next function's, and what follows the last is nobody's.
    assert_eq!(counts(&with(12)), [(0, 0), (1, 0), (0, 1)]);
}

/// A module with these records in its summary, and a GUIDLIST of these words where there are any.
fn module(summary: &[(u32, &[u64])], words: &[u64]) -> Vec<u8> {
    let mut w = Writer::new();
    w.bytes(&BITCODE_MAGIC);
    let module = w.begin_block(2, block_id::MODULE, 3);
    w.record(3, module_code::VERSION, &[2]);
    if !words.is_empty() {
        w.record(3, module_code::GUIDLIST, words);
    }
    w.record(3, module_code::FUNCTION, &[0; 20]);
    let block = w.begin_block(3, block_id::GLOBALVAL_SUMMARY, 4);
    for (code, fields) in summary {
        w.record(4, *code, fields);
    }
    w.end_block(block);
    w.end_block(module);
    w.finish()
}

#[test]
fn what_no_version_has_is_refused() {
    let refused = |summary: &[(u32, &[u64])], words: &[u64], what: &str| {
        let file = module(summary, words);
        let error = read_index(&file, b"m.bc", &ReadOptions::EVERYTHING).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    };
    let function: (u32, &[u64]) = (fs::PERMODULE_PROFILE, &[0, 0, 1, 0, 0, 0, 0]);
    let version = |n: &'static [u64]| (fs::VERSION, n);
    let unknown: (u32, &[u64]) = (99, &[1]);
    refused(&[version(&[15]), function, unknown], &[], "summary of version 15 with record 99");
    refused(&[version(&[14]), (26, &[0]), function], &[], "follows no function");
    refused(&[version(&[14]), function], &[1], "no low word");
    refused(&[version(&[14]), function], &[1, 1 << 32], "GUIDLIST");
    refused(&[version(&[14]), function, (17, &[1, 0])], &[], "no strtab size");
    // Within versions that are known, codes that are not are skipped, as LLVM does.
    let file = module(&[version(&[14]), function, unknown], &[1, 2]);
    assert_eq!(read(&file, "m.bc").guids(), [Guid(1 << 32 | 2)]);
}

#[test]
fn a_renamed_function_is_not_lost_in_a_link() {
    let scratch = Scratch::new("llvm23-link");
    for name in ["caller.bc", "guids.bc"] {
        scratch.write(name, golden(name));
    }
    // `calls` is all that is asked for; it calls `renamed`, whose GUID only guids.bc knows.
    scratch.run(
        env!("CARGO_BIN_EXE_llvm-lto2"),
        "run caller.bc guids.bc -thinlto-distributed-indexes -o out -r caller.bc,calls,plx \
         -r caller.bc,renamed,l -r caller.bc,plain,l -r guids.bc,renamed,pl -r guids.bc,plain,pl \
         -r guids.bc,other,pl -r guids.bc,outside,",
    );
    let index = read(&scratch.read("guids.bc.thinlto.bc"), "index");
    let of = |guid: Guid| {
        let value = index.find(guid).unwrap();
        index.summary(index.copies(value)[0]).unwrap().flags()
    };
    let renamed = of(Guid(222u64.wrapping_neg()));
    assert!(renamed.live() && renamed.linkage() == Linkage::External);
    // Of the others, names and GUIDs agree, and what nobody uses is dead.
    assert!(of(guid_of(b"plain")).live() && !of(guid_of(b"other")).live());
}
