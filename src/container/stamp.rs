//! Whether a file is the one that was looked at before, without a look into it.
//!
//! In: an open file. Out: a [`Stamp`], which goes with the file and changes whenever somebody writes
//! to it: `make` and `git` know changed files by less.
//!
//! The system's clock ticks, and a write in the same tick as the one before leaves the same times.
//! So the stamp of a file that was written a moment ago tells nothing; and on a file system that
//! other machines write to, or that keeps no time of change, no stamp does ([`Stamp::settled`]).

use std::os::fd::BorrowedFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{FileType, fstat, fstatfs};

/// How long nobody must have written to a file. Clocks of Linux tick every few milliseconds, ext3
/// and others keep whole seconds.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// `f_type` of file systems whose files no other machine changes and which keep the time of change:
/// ext2 to ext4, XFS, btrfs, F2FS, bcachefs, ZFS, tmpfs, overlayfs.
const LOCAL: [u64; 8] = [
    0xEF53,
    0x5846_5342,
    0x9123_683E,
    0xF2F5_2010,
    0xCA45_1A4E,
    0x2FC1_2FC1,
    0x0102_1994,
    0x794C_7630,
];

/// What tells a file from any other, and from itself with other contents. Times are seconds since
/// 1970 and nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    /// When the contents were last written to, as whoever owns the file would have it.
    modified: (i64, u64),
    /// When contents or properties were last changed; the system's alone to set.
    changed: (i64, u64),
}

impl Stamp {
    /// The stamp of a regular file; None of anything else.
    pub fn of(fd: BorrowedFd<'_>) -> Option<Self> {
        let stat = fstat(fd).ok()?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return None;
        }
        Some(Stamp {
            device: stat.st_dev,
            inode: stat.st_ino,
            bytes: u64::try_from(stat.st_size).ok()?,
            modified: (stat.st_mtime, stat.st_mtime_nsec),
            changed: (stat.st_ctime, stat.st_ctime_nsec),
        })
    }

    /// The stamp of a file that every write will change: it is on a file system where writes are
    /// noticed, and nobody has written to it so shortly before `now`, which is not to come, that
    /// the next write could go unnoticed.
    pub fn settled(fd: BorrowedFd<'_>, now: SystemTime) -> Option<Self> {
        let kind = u64::try_from(fstatfs(fd).ok()?.f_type).ok()?;
        Stamp::of(fd).filter(|stamp| LOCAL.contains(&kind) && stamp.is_older(now, SETTLED_AFTER))
    }

    /// Whether the last change was longer ago. The file may have any time of modification, even one
    /// to come.
    fn is_older(&self, now: SystemTime, age: Duration) -> bool {
        let (seconds, nanoseconds) = self.changed;
        let (Ok(seconds), Ok(nanoseconds)) = (u64::try_from(seconds), u32::try_from(nanoseconds))
        else {
            return false;
        };
        let time = UNIX_EPOCH.checked_add(Duration::new(seconds, nanoseconds));
        time.and_then(|time| now.duration_since(time).ok()).is_some_and(|past| past > age)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, FileTimes};
    use std::os::fd::AsFd;
    use std::path::Path;

    use super::*;

    fn stamp(path: &Path) -> Stamp {
        Stamp::of(File::open(path).unwrap().as_fd()).unwrap()
    }

    /// Past the tick of the file system's clock.
    fn wait() {
        std::thread::sleep(Duration::from_millis(30));
    }

    #[test]
    fn a_stamp_changes_with_every_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, b"one").unwrap();
        let first = stamp(&path);
        assert_eq!(stamp(&path), first);
        wait();
        // The same length, and the time of modification put back.
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, b"two").unwrap();
        assert_ne!(stamp(&path), first);
        let file = File::options().write(true).open(&path).unwrap();
        file.set_times(FileTimes::new().set_modified(modified)).unwrap();
        assert_ne!(stamp(&path), first);
        // Another file with the same bytes and times.
        let copy = folder.path().join("b");
        fs::copy(&path, &copy).unwrap();
        File::open(&copy).unwrap().set_times(FileTimes::new().set_modified(modified)).unwrap();
        assert_ne!(stamp(&copy), stamp(&path));
        // A link of it changes nothing but the time of change.
        let before = stamp(&path);
        wait();
        fs::hard_link(&path, folder.path().join("c")).unwrap();
        assert_ne!(stamp(&path), before);
    }

    #[test]
    fn a_file_that_was_just_written_is_not_settled() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, b"one").unwrap();
        let (stamp, now) = (stamp(&path), SystemTime::now());
        assert!(!stamp.is_older(now, SETTLED_AFTER));
        assert!(stamp.is_older(now + 2 * SETTLED_AFTER, SETTLED_AFTER));
        assert!(!stamp.is_older(now - SETTLED_AFTER, Duration::ZERO), "the clock was set back");
        let file = File::open(&path).unwrap();
        assert_eq!(Stamp::settled(file.as_fd(), now), None);
        // Of a file system that the system makes up, nothing is known.
        let file = File::open("/proc/self/status").unwrap();
        assert_eq!(Stamp::settled(file.as_fd(), now + 2 * SETTLED_AFTER), None);
        assert!(Stamp::of(File::open(folder.path()).unwrap().as_fd()).is_none(), "no regular file");
    }
}
