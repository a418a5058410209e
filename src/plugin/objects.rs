//! Where the objects of a link are until the linker has read them.
//!
//! In: the bytes of an object. Out: a path that the linker can open. Nothing is left behind whatever ends the linker, Ctrl-C and SIGKILL included: an
//! object is a file that this process holds open, and its path `/proc/self/fd/N` is good while the
//! process lives: an anonymous one in memory (memfd). A file of a cache it never is, to which others
//! may write before the linker has read it.
//!
//! Where that does not work (no memfd, no /proc, too few descriptors) the objects go into a
//! private folder of the temporary directory, and a small process waits for the end of this one
//! to remove it.

use std::ffi::CStr;
use std::fs::{self, DirBuilder, File};
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::session::Output;

/// An object for the linker.
#[derive(Clone, Copy, Debug)]
pub struct Object<'a> {
    /// For people.
    pub name: &'a str,
    /// What is in it.
    pub bytes: &'a [u8],
}

impl<'a> From<&'a Output> for Object<'a> {
    fn from(output: &'a Output) -> Self {
        Object { name: &output.name, bytes: &output.bytes }
    }
}

/// Objects that the linker was told of.
#[derive(Debug, Default)]
pub struct Objects {
    open: Vec<File>,
    folder: Option<Folder>,
    files: usize,
}

/// Descriptors that the linker should have for itself.
const SPARE_DESCRIPTORS: u64 = 256;

impl Objects {
    /// Keeps objects and gives the paths under which they can be read, in their order.
    ///
    /// # Errors
    /// Io, where neither memory nor the temporary directory takes them.
    pub fn add(&mut self, objects: &[Object<'_>]) -> Result<Vec<String>> {
        let wanted = (self.open.len() + objects.len()) as u64;
        let by_descriptor = self.folder.is_none() && enough_descriptors(wanted) && has_proc();
        let files: Vec<Option<File>> = match by_descriptor {
            true => objects.par_iter().map(|object| in_memory(object.bytes)).collect(),
            false => objects.iter().map(|_| None).collect(),
        };
        let mut paths = Vec::with_capacity(objects.len());
        for (object, file) in objects.iter().zip(files) {
            paths.push(match file {
                Some(file) => {
                    let path = path(&file);
                    self.open.push(file);
                    path
                }
                None => self.write(object.name, object.bytes)?,
            });
        }
        Ok(paths)
    }

    fn write(&mut self, name: &str, bytes: &[u8]) -> Result<String> {
        if self.folder.is_none() {
            self.folder = Some(Folder::new()?);
        }
        let Some(folder) = &self.folder else {
            return Err(Error::engine("no folder for objects"));
        };
        self.files += 1;
        let plain: String =
            name.chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).collect();
        let path = folder.path.join(format!("{}.{plain}.o", self.files));
        fs::write(&path, bytes)
            .map_err(|e| Error::io(format_args!("cannot write {}", path.display()), &e))?;
        Ok(path.to_string_lossy().into_owned())
    }

    /// Removes what was written to disk. Open files stay, a linker may still open them by path.
    pub fn remove_files(&mut self) {
        self.folder = None;
    }
}

/// Whether so many more descriptors leave enough for the linker. Takes up to the hard limit:
/// the soft one is low for the sake of programs that use select.
fn enough_descriptors(used: u64) -> bool {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: getrlimit fills in the struct it is given.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return false;
    }
    let wanted = used + SPARE_DESCRIPTORS;
    if limit.rlim_cur >= wanted {
        return true;
    }
    limit.rlim_cur = wanted.next_power_of_two().min(limit.rlim_max);
    // SAFETY: setrlimit reads the struct it is given.
    limit.rlim_cur >= wanted && unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } == 0
}

fn in_memory(bytes: &[u8]) -> Option<File> {
    const NAME: &CStr = c"lto-object";
    // SAFETY: the name ends in NUL; the answer is a new descriptor or -1.
    let fd = unsafe { libc::memfd_create(NAME.as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return None;
    }
    // SAFETY: the descriptor is new and nobody else's.
    let mut file = unsafe { File::from_raw_fd(fd) };
    file.write_all(bytes).ok()?;
    Some(file)
}

fn path(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// Whether descriptors can be opened by their paths: a sandbox may have no /proc.
fn has_proc() -> bool {
    in_memory(b"").is_some_and(|file| File::open(path(&file)).is_ok())
}

/// A folder that goes away with this process.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    reaper: Option<Child>,
}

impl Folder {
    fn new() -> Result<Self> {
        /// No name is used twice: what removes a folder may come to it a second time.
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let parent = std::env::temp_dir();
        for _ in 0..1000 {
            let n = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = parent.join(format!("lto-{}-{n}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {
                    let reaper = reaper(&path);
                    return Ok(Folder { path, reaper });
                }
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => {
                    return Err(Error::io(format_args!("cannot create {}", path.display()), &e));
                }
            }
        }
        Err(Error::engine(format!("no free name for a folder in {}", parent.display())))
    }
}

/// A shell that reads from us until we are gone, however that happens, and then removes the
/// folder. In a process group of its own, so that Ctrl-C does not reach it.
fn reaper(path: &Path) -> Option<Child> {
    Command::new("/bin/sh")
        .args(["-c", "trap '' HUP INT TERM; cat >/dev/null; rm -rf -- \"$0\""])
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .ok()
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed now, the reaper tries again.
        let _ = fs::remove_dir_all(&self.path);
        if let Some(mut reaper) = self.reaper.take() {
            drop(reaper.stdin.take());
            let _ = reaper.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object<'a>(name: &'a str, bytes: &'a [u8]) -> Object<'a> {
        Object { name, bytes }
    }

    #[test]
    fn an_object_in_memory_can_be_opened_by_path() {
        let mut objects = Objects::default();
        let paths = objects.add(&[object("a", b"first"), object("b", b"second")]).unwrap();
        let [a, b] = &paths[..] else { panic!("{paths:?}") };
        assert!(a.starts_with("/proc/self/fd/"));
        assert_eq!(fs::read(a).unwrap(), b"first");
        assert_eq!(fs::read(b).unwrap(), b"second");
    }

    #[test]
    fn a_folder_is_removed_with_its_files() {
        let mut objects = Objects { folder: Some(Folder::new().unwrap()), ..Default::default() };
        let path = objects.add(&[object("lib/a b.o", b"bytes")]).unwrap().remove(0);
        assert!(path.ends_with("/1.libab.o.o"), "{path}");
        assert_eq!(fs::read(&path).unwrap(), b"bytes");
        objects.remove_files();
        assert!(!Path::new(&path).parent().unwrap().exists());
    }

    #[test]
    fn the_reaper_removes_the_folder_when_its_input_ends() {
        let mut folder = Folder::new().unwrap();
        fs::write(folder.path.join("x"), b"x").unwrap();
        let path = folder.path.clone();
        let mut reaper = folder.reaper.take().unwrap();
        std::mem::forget(folder);
        drop(reaper.stdin.take());
        assert!(reaper.wait().unwrap().success());
        assert!(!path.exists());
    }
}
