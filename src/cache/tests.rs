//! The cache as links use it, and what may become of its files meanwhile.

use std::fs::{self, File, FileTimes};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::*;

/// A directory of the test's own.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("liblto-cache-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    /// A cache in a folder that is not there yet.
    fn cache(&self) -> Cache {
        Cache::new(self.0.join("deep/cache"))
    }

    /// All files, by path within.
    fn files(&self) -> Vec<String> {
        fn walk(folder: &Path, root: &Path, out: &mut Vec<String>) {
            for item in fs::read_dir(folder).unwrap() {
                let path = item.unwrap().path();
                if path.is_dir() {
                    walk(&path, root, out);
                } else {
                    out.push(path.strip_prefix(root).unwrap().display().to_string());
                }
            }
        }
        let mut files = Vec::new();
        walk(&self.0, &self.0, &mut files);
        files.sort();
        files
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn key(name: &str) -> Key {
    let mut builder = KeyBuilder::new("test");
    builder.text("name", name);
    builder.finish()
}

fn touch(path: &Path, days_ago: u64) {
    let time = SystemTime::now() - Duration::from_secs(days_ago * 24 * 3600);
    let times = FileTimes::new().set_accessed(time).set_modified(time);
    File::options().append(true).open(path).unwrap().set_times(times).unwrap();
}

#[test]
fn what_is_stored_is_found() {
    let folder = Folder::new("found");
    let cache = folder.cache();
    assert!(cache.lookup(&key("a")).is_none());
    assert!(!cache.directory().exists(), "asking makes nothing");
    for object in [&b""[..], b"small", &[7; 100_000]] {
        let hit = cache.store(&key("a"), object).unwrap().unwrap();
        assert_eq!(&*hit.object, object);
        assert_eq!(fs::read(hit.entry.path()).unwrap(), object, "bare, as LLVM's");
        assert_eq!(&*cache.lookup(&key("a")).unwrap().object, object);
    }
    assert!(cache.lookup(&key("b")).is_none());
    let name = key("a");
    assert_eq!(
        folder.files(),
        [format!("deep/cache/.llvmcache-index/{name}"), format!("deep/cache/llvmcache-{name}")]
    );
}

#[test]
fn being_found_is_being_used() {
    let folder = Folder::new("used");
    let cache = folder.cache();
    let entry = cache.entry_path(&key("a"));
    cache.store(&key("a"), b"x").unwrap().unwrap();
    touch(&entry, 100);
    let written = fs::metadata(&entry).unwrap().modified().unwrap();
    cache.lookup(&key("a")).unwrap();
    let metadata = fs::metadata(&entry).unwrap();
    assert!(metadata.accessed().unwrap() > SystemTime::now() - Duration::from_secs(600));
    assert_eq!(metadata.modified().unwrap(), written);
}

#[test]
fn a_dearer_key_finds_what_a_cheap_one_no_longer_does() {
    let folder = Folder::new("levels");
    let cache = folder.cache();
    let mut search = cache.search();
    assert!(search.ask(Level::Link, key("link 1")).is_none());
    assert!(search.ask(Level::Job, key("job 1")).is_none());
    assert!(search.ask(Level::Linked, key("linked")).is_none());
    let stored = search.store(b"object").unwrap().unwrap();
    assert_eq!(stored.entry.path(), cache.entry_path(&key("job 1")));
    // Another link, for which only the last key is the same.
    let mut search = cache.search();
    assert!(search.ask(Level::Link, key("link 2")).is_none());
    assert!(search.ask(Level::Job, key("job 2")).is_none());
    let hit = search.ask(Level::Linked, key("linked")).unwrap();
    assert_eq!(&*hit.object, b"object");
    // From now on every one of its keys finds it, and there is an entry of its name.
    assert_eq!(hit.entry.path(), cache.entry_path(&key("job 2")));
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    assert_eq!(inode(hit.entry.path()), inode(stored.entry.path()), "a hard link");
    let mut search = cache.search();
    assert_eq!(&*search.ask(Level::Link, key("link 2")).unwrap().object, b"object");
    // A third, where nothing that concerns this object has changed, makes no new name.
    let mut search = cache.search();
    assert!(search.ask(Level::Link, key("link 3")).is_none());
    assert!(search.ask(Level::Job, key("job 2")).is_some());
    // The entry that came first may be pruned.
    fs::remove_file(stored.entry.path()).unwrap();
    assert!(cache.lookup(&key("job 1")).is_none() && cache.lookup(&key("link 1")).is_none());
    for name in ["link 2", "link 3", "job 2", "linked"] {
        assert_eq!(&*cache.lookup(&key(name)).unwrap().object, b"object", "{name}");
    }
    let statistics = cache.statistics();
    assert_eq!((statistics.hits, statistics.misses), ([1, 1, 1, 0], [3, 2, 1, 0]));
    assert_eq!((statistics.stored, statistics.not_stored), (1, 0));
    let mut files = folder.files();
    files.retain(|name| !name.contains("index/"));
    assert_eq!(files, [format!("deep/cache/llvmcache-{}", key("job 2"))]);
}

#[test]
fn a_key_that_may_not_fit_finds_only_what_it_was_given() {
    let folder = Folder::new("renamed");
    let cache = folder.cache();
    let mut search = cache.search();
    assert!(search.ask(Level::Job, key("job 1")).is_none());
    assert!(search.ask(Level::Renamed, key("renamed 1")).is_none());
    search.store(b"has names").unwrap();
    assert!(cache.search().ask(Level::Renamed, key("renamed 1")).is_none(), "asked by alone");
    let mut search = cache.search();
    assert!(search.ask(Level::Job, key("job 2")).is_none());
    search.also(key("renamed 2"), None);
    search.store(b"has none").unwrap();
    // Found by another job, it is that one's as well.
    let mut search = cache.search();
    assert!(search.ask(Level::Job, key("job 3")).is_none());
    assert_eq!(&*search.ask(Level::Renamed, key("renamed 2")).unwrap().object, b"has none");
    let hit = cache.search().ask(Level::Job, key("job 3")).unwrap();
    // And what was found otherwise may be given a key.
    cache.search().also(key("renamed 3"), Some(&hit));
    assert_eq!(&*cache.search().ask(Level::Renamed, key("renamed 3")).unwrap().object, b"has none");
}

#[test]
fn an_object_without_a_name_is_not_kept() {
    let folder = Folder::new("nameless");
    let cache = folder.cache();
    let mut search = cache.search();
    assert!(search.ask(Level::Link, key("link")).is_none());
    assert!(search.store(b"object").unwrap().is_none());
    assert!(folder.files().is_empty());
}

#[test]
fn a_lost_record_of_the_entry_is_made_again() {
    let folder = Folder::new("record");
    let cache = folder.cache();
    let mut search = cache.search();
    search.ask(Level::Job, key("1"));
    search.ask(Level::Linked, key("2"));
    search.store(b"object").unwrap();
    fs::remove_file(cache.record_path(&key("1"))).unwrap();
    let mut search = cache.search();
    assert!(search.ask(Level::Job, key("1")).is_none());
    assert!(search.ask(Level::Linked, key("2")).is_some());
    assert!(cache.search().ask(Level::Job, key("1")).is_some());
}

#[test]
fn every_corrupted_byte_is_a_miss() {
    let folder = Folder::new("corrupted");
    let cache = folder.cache();
    let object = b"\x7fELF an object of some bytes";
    let [entry, other] = [(key("a"), object.as_slice()), (key("b"), b"another object")]
        .map(|(key, object)| cache.store(&key, object).unwrap().unwrap().entry.path().to_owned());
    for path in [entry.clone(), cache.record_path(&key("a"))] {
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            for broken in [
                {
                    let mut b = whole.clone();
                    b[at] ^= 1;
                    b
                },
                {
                    let mut b = whole.clone();
                    b[at] ^= 0x80;
                    b
                },
                whole[..at].to_vec(),
                {
                    let mut b = whole.clone();
                    b.insert(at, b'0');
                    b
                },
            ] {
                fs::write(&path, &broken).unwrap();
                let found = cache.lookup(&key("a"));
                assert!(found.is_none(), "{} at {at}: {broken:?}", path.display());
            }
        }
        fs::write(&path, &whole).unwrap();
        assert_eq!(&*cache.lookup(&key("a")).unwrap().object, object);
    }
    // Files that changed places.
    fs::copy(&other, &entry).unwrap();
    assert!(cache.lookup(&key("a")).is_none());
    fs::copy(cache.record_path(&key("b")), cache.record_path(&key("a"))).unwrap();
    assert!(cache.lookup(&key("a")).is_none());
    // And what was a miss is mended by the next link.
    cache.store(&key("a"), object).unwrap().unwrap();
    assert_eq!(&*cache.lookup(&key("a")).unwrap().object, object);
}

#[test]
fn what_is_no_file_is_a_miss() {
    let folder = Folder::new("nofile");
    let cache = folder.cache();
    cache.store(&key("a"), b"object").unwrap().unwrap();
    let entry = cache.entry_path(&key("a"));
    for path in [entry, cache.record_path(&key("a"))] {
        fs::rename(&path, path.with_extension("away")).unwrap();
        assert!(cache.lookup(&key("a")).is_none());
        fs::create_dir(&path).unwrap();
        assert!(cache.lookup(&key("a")).is_none());
        assert!(cache.store(&key("a"), b"object").unwrap().is_none(), "a folder is in the way");
        fs::remove_dir(&path).unwrap();
        let status = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(status.success());
        assert!(cache.lookup(&key("a")).is_none(), "and does not wait for a writer");
        fs::rename(path.with_extension("away"), &path).unwrap();
    }
    assert!(!folder.files().iter().any(|name| name.contains("Thin-")), "{:?}", folder.files());
    assert_eq!(cache.statistics().not_stored, 2);
}

#[test]
fn a_directory_that_cannot_be_made_is_an_error_in_llvms_words() {
    let folder = Folder::new("nodir");
    fs::write(folder.0.join("deep"), "a file").unwrap();
    let cache = folder.cache();
    assert!(cache.lookup(&key("a")).is_none());
    let error = cache.store(&key("a"), b"x").unwrap_err().to_string();
    let path = cache.directory().display();
    assert!(error.starts_with(&format!("can't create cache directory {path}: ")), "{error}");
    assert_eq!(cache.prune(&Policy::default(), &LinkFiles::default()), Pruned::default());
}

#[test]
fn a_directory_that_goes_away_is_a_miss() {
    let folder = Folder::new("gone");
    let cache = folder.cache();
    cache.store(&key("a"), b"x").unwrap().unwrap();
    fs::remove_dir_all(cache.directory()).unwrap();
    assert!(cache.lookup(&key("a")).is_none());
    assert!(cache.store(&key("a"), b"x").unwrap().is_none());
}

#[test]
fn a_directory_without_permission_is_a_miss() {
    let folder = Folder::new("permission");
    let cache = folder.cache();
    cache.store(&key("a"), b"x").unwrap().unwrap();
    fs::set_permissions(cache.directory(), fs::Permissions::from_mode(0o500)).unwrap();
    let may = File::create(cache.directory().join("try")).is_ok();
    let stored = cache.store(&key("b"), b"y").unwrap().is_some();
    fs::set_permissions(cache.directory(), fs::Permissions::from_mode(0o700)).unwrap();
    // The administrator may write everywhere.
    assert_eq!(stored, may);
    assert!(cache.lookup(&key("a")).is_some());
}

#[test]
fn pruning_removes_what_is_old_and_touches_nothing_else() {
    let folder = Folder::new("old");
    let cache = folder.cache();
    for name in ["old", "new"] {
        cache.store(&key(name), name.as_bytes()).unwrap().unwrap();
    }
    let old = cache.entry_path(&key("old"));
    touch(&old, 8);
    for name in ["mine", "llvmcache-foreign", "Thin-123.tmp.o"] {
        fs::write(cache.directory().join(name), "").unwrap();
        touch(&cache.directory().join(name), 100);
    }
    let pruned = cache.prune(&Policy::default(), &LinkFiles::default());
    assert_eq!((pruned.looked, pruned.removed), (true, 3));
    assert!(cache.lookup(&key("old")).is_none() && cache.lookup(&key("new")).is_some());
    let name = key("new");
    assert_eq!(
        folder.files(),
        [
            format!("deep/cache/.llvmcache-index/{name}"),
            format!("deep/cache/llvmcache-{name}"),
            "deep/cache/llvmcache.timestamp".into(),
            "deep/cache/mine".into(),
        ]
    );
}

#[test]
fn what_was_noted_is_remembered_for_a_while() {
    let folder = Folder::new("notes");
    let cache = folder.cache();
    cache.store(&key("a"), b"x").unwrap().unwrap();
    assert_eq!(cache.note(Note::Link, &key("stamps")), None);
    cache.write_note(Note::Link, &key("stamps"), "some words");
    assert_eq!(cache.note(Note::Link, &key("stamps")), Some("some words".to_owned()));
    assert!(cache.lookup(&key("stamps")).is_none(), "no object");
    assert_eq!(cache.note(Note::Link, &key("a")), None, "an object");
    let path = cache.record_path(&key("stamps"));
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut broken = whole.clone();
        broken[at] ^= 1;
        fs::write(&path, &broken).unwrap();
        // None, or other words.
        assert_ne!(
            cache.note(Note::Link, &key("stamps")),
            Some("some words".to_owned()),
            "byte {at}"
        );
        fs::write(&path, &whole[..at]).unwrap();
        assert_eq!(cache.note(Note::Link, &key("stamps")), None, "cut at {at}");
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(cache.note(Note::Names, &key("stamps")), None, "about something else");
    let policy = Policy { interval: Some(Duration::ZERO), ..Policy::default() };
    touch(&path, 8);
    assert!(cache.note(Note::Link, &key("stamps")).is_some());
    cache.prune(&policy, &LinkFiles::default());
    assert!(path.exists(), "it was asked for");
    touch(&path, 8);
    cache.prune(&policy, &LinkFiles::default());
    assert!(!path.exists());
}

#[test]
fn pruning_waits_for_its_interval() {
    let folder = Folder::new("interval");
    let cache = folder.cache();
    let old = |name: &str| {
        cache.store(&key(name), b"x").unwrap().unwrap();
        touch(&cache.entry_path(&key(name)), 100);
    };
    let policy = |seconds: Option<u64>| Policy {
        interval: seconds.map(Duration::from_secs),
        ..Policy::default()
    };
    let prune = |policy: Policy| cache.prune(&policy, &LinkFiles::default()).looked;
    old("a");
    assert!(prune(policy(None)), "without a timestamp it looks, whatever the interval");
    old("a");
    assert!(!prune(policy(Some(1200))));
    assert!(!prune(policy(None)));
    assert!(cache.entry_path(&key("a")).exists());
    touch(&cache.directory().join("llvmcache.timestamp"), 1);
    assert!(!prune(policy(None)));
    assert!(prune(policy(Some(1200))));
    assert!(!cache.entry_path(&key("a")).exists());
    assert!(!prune(policy(Some(1200))), "the timestamp is new");
    assert!(prune(policy(Some(0))), "zero is always");
    let nothing = Policy {
        interval: Some(Duration::ZERO),
        expiration: Duration::ZERO,
        max_size_percentage_of_available_space: 0,
        max_size_bytes: 0,
        max_size_files: 0,
    };
    assert!(!prune(nothing));
}

#[test]
fn pruning_keeps_to_size_and_number_by_last_use() {
    // The cases of LLVM's test/ThinLTO/X86/cache.ll.
    let folder = Folder::new("size");
    let directory = folder.0.clone();
    let sizes = [(100 << 10, 50), (16, 49), (77 << 10, 48), (8, 47), (76, 46)];
    let fill = || {
        for (size, days) in sizes {
            let path = directory.join(format!("llvmcache-foo-{size}"));
            fs::write(&path, vec![0; size]).unwrap();
            touch(&path, days);
        }
    };
    let cache = Cache::new(&directory);
    let policy =
        Policy { interval: Some(Duration::ZERO), expiration: Duration::ZERO, ..Policy::default() };
    let left = || {
        let mut left = folder.files();
        left.retain(|name| name != "llvmcache.timestamp");
        left
    };
    fill();
    let pruned = cache.prune(
        &Policy { max_size_bytes: (77 << 10) - 1, ..policy },
        &LinkFiles { count: 1, bytes: 1 << 20 },
    );
    assert_eq!(pruned.removed, 3);
    assert_eq!(left(), ["llvmcache-foo-76", "llvmcache-foo-8"]);
    assert_eq!(
        pruned.warnings,
        ["ThinLTO cache pruning happens since the total size of the cache files consumed by the \
          current link job (1048576  bytes) exceeds maximum cache size (78847 bytes); consider \
          adjusting --thinlto-cache-policy"]
    );
    fill();
    let pruned =
        cache.prune(&Policy { max_size_files: 2, ..policy }, &LinkFiles { count: 3, bytes: 0 });
    assert_eq!((pruned.removed, left().len()), (3, 2));
    assert_eq!(left(), ["llvmcache-foo-76", "llvmcache-foo-8"]);
    assert!(pruned.warnings[0].contains("number of created files (3) exceeds"), "{pruned:?}");
    // One file under two names takes its space once.
    let (a, b) = (directory.join("llvmcache-foo-76"), directory.join("llvmcache-foo-again"));
    fs::hard_link(&a, &b).unwrap();
    let pruned = cache.prune(&Policy { max_size_bytes: 84, ..policy }, &LinkFiles::default());
    assert_eq!((pruned.removed, pruned.warnings.len()), (0, 0));
}

#[test]
fn objects_go_to_a_directory_as_hard_links() {
    let folder = Folder::new("objects");
    let cache = folder.cache();
    let hit = cache.store(&key("a"), b"object").unwrap().unwrap();
    let target = folder.0.join("0.x86_64.thinlto.o");
    link_or_write(Some(&hit.entry), &hit.object, &target).unwrap();
    assert_eq!(fs::metadata(&target).unwrap().nlink(), 2);
    // Replaced, not written into.
    link_or_write(None, b"another", &target).unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"another");
    assert_eq!(&*cache.lookup(&key("a")).unwrap().object, b"object");
    // An entry that another process has written to, or pruned, meanwhile.
    fs::write(hit.entry.path(), b"OBJECT").unwrap();
    link_or_write(Some(&hit.entry), &hit.object, &target).unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"object");
    fs::remove_file(hit.entry.path()).unwrap();
    link_or_write(Some(&hit.entry), &hit.object, &target).unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"object");
    assert!(link_or_write(None, b"x", &folder.0.join("no/such/folder")).is_err());
}

#[test]
fn several_share_it_while_another_prunes() {
    let folder = Folder::new("shared");
    let directory = folder.0.join("cache");
    let object = |i: usize| vec![i as u8; 10_000 + i];
    let policy = Policy { interval: Some(Duration::ZERO), max_size_files: 5, ..Policy::default() };
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let directory = &directory;
            scope.spawn(move || {
                // Each is a link of its own.
                let cache = Cache::new(directory);
                for round in 0..100 {
                    let i = (worker + round) % 10;
                    let mut search = cache.search();
                    let hit = search
                        .ask(Level::Job, key(&format!("1 {i} {}", round % 3)))
                        .or_else(|| search.ask(Level::Linked, key(&format!("2 {i}"))));
                    match hit {
                        Some(hit) => assert_eq!(&*hit.object, object(i)),
                        None => {
                            if let Some(hit) = search.store(&object(i)).unwrap() {
                                assert_eq!(&*hit.object, object(i));
                            }
                        }
                    }
                    if worker == 0 {
                        cache.prune(&policy, &LinkFiles::default());
                    }
                }
            });
        }
    });
    let left = folder.files();
    assert!(!left.iter().any(|name| name.contains("Thin-")), "{left:?}");
}

#[test]
fn what_was_found_stays_whatever_becomes_of_its_file() {
    let folder = Folder::new("stays");
    let cache = folder.cache();
    let object = vec![7; 100_000];
    let stored = cache.store(&key("job"), &object).unwrap().unwrap();
    let found = cache.lookup(&key("job")).unwrap();
    let file = File::options().write(true).open(stored.entry.path()).unwrap();
    file.write_all_at(b"other", 50_000).unwrap();
    assert_eq!((&stored.object, &found.object), (&object, &object));
    assert!(cache.lookup(&key("job")).is_none());
    file.set_len(10).unwrap();
    assert_eq!((&stored.object, &found.object), (&object, &object));
    assert!(cache.lookup(&key("job")).is_none());
}
