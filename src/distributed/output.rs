//! Files that are there whole or not at all.
//!
//! In: bytes and a path. Out: the file. It is written under another name beside its place and
//! renamed; whoever reads the path meanwhile sees the old file or the new one, never half of one.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::{Error, Result};

/// Writes `bytes` to `path`. A device or a pipe that stands there is written to and stays, and so
/// does a link.
///
/// # Errors
/// Io; what was at `path` is then unchanged, unless it was a device or a pipe.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    let failed =
        |what: &str, error: &std::io::Error| Error::io(what, error).in_file(path.to_string_lossy());
    let there = fs::symlink_metadata(path).ok();
    let is_link = there.as_ref().is_some_and(fs::Metadata::is_symlink);
    // The links of /dev and /proc stand for what a process has open, which is not to be replaced.
    let is_open = is_link && (path.starts_with("/dev") || path.starts_with("/proc"));
    let there = if is_link { fs::metadata(path).ok() } else { there };
    if is_open || there.is_some_and(|there| !there.is_file() && !there.is_dir()) {
        return fs::write(path, bytes).map_err(|error| failed("cannot write", &error));
    }
    // Another link stays, and what it points to is written.
    let target = if is_link { fs::canonicalize(path).ok() } else { None };
    let path = target.as_deref().unwrap_or(path);
    let Some(name) = path.file_name() else {
        return Err(Error::misuse("the path names no file").in_file(path.to_string_lossy()));
    };
    let folder = path.parent().unwrap_or(Path::new(""));
    for _ in 0..1000 {
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let mut temporary = PathBuf::with_capacity(path.as_os_str().len() + 40);
        temporary.push(folder);
        temporary.push(".");
        let temporary = temporary.as_mut_os_string();
        temporary.push(name);
        // To a string of an operating system nothing can fail to be written.
        let _ = write!(temporary, ".{}-{serial}.tmp", std::process::id());
        let temporary = Path::new(temporary);
        let mut file = match File::options().write(true).create_new(true).open(temporary) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(failed("cannot create the file", &error)),
        };
        let written = file.write_all(bytes).and_then(|()| fs::rename(temporary, path));
        return written.map_err(|error| {
            let _ = fs::remove_file(temporary);
            failed("cannot write", &error)
        });
    }
    Err(Error::new(crate::error::ErrorKind::Io, "no free name for a temporary file")
        .in_file(path.to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn nothing_is_left_of_a_failure() {
        let folder = std::env::temp_dir().join(format!("thinlto-output-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let place = folder.join("taken");
        fs::create_dir_all(place.join("inner")).unwrap();
        assert!(write_atomically(&place, b"x").is_err(), "a folder is no file");
        assert!(write_atomically(&folder.join("none/x"), b"x").is_err());
        let good = folder.join("good");
        write_atomically(&good, b"one").unwrap();
        write_atomically(&good, b"two").unwrap();
        assert_eq!(fs::read(&good).unwrap(), b"two");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
        let link = folder.join("link");
        std::os::unix::fs::symlink("good", &link).unwrap();
        write_atomically(&link, b"three").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&good).unwrap(), b"three");
        let open = File::create(folder.join("open")).unwrap();
        let by_number = format!("/proc/self/fd/{}", open.as_raw_fd());
        write_atomically(Path::new(&by_number), b"four").unwrap();
        assert_eq!(open.metadata().unwrap().len(), 4, "the open file itself was written");
        fs::remove_dir_all(folder).unwrap();
        write_atomically(Path::new("/dev/null"), b"x").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
