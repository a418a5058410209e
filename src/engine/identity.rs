//! Which build of the engine this is: what else than bitcode and settings an object depends on.
//!
//! In: a libLLVM and a configuration. Out: a text that differs where the code that makes objects
//! does. Nothing is loaded.

use super::worker::{own_path, worker_program};
use super::{EngineConfig, LibraryInfo};
use crate::container::FileBytes;
use crate::error::Result;
use std::fmt::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The identity of the code that makes objects: libLLVM, this library and the worker program.
///
/// # Errors
/// Where the worker program that the user named is not there.
pub fn identity(config: &EngineConfig, library: &LibraryInfo) -> Result<String> {
    let mut text = format!("libLLVM {} {}", library.version, of_file(&library.path));
    let own = own_path().map_or_else(String::new, |path| of_file(&path));
    // Writing to a String does not fail.
    let _ = write!(text, "; liblto {} {own}", env!("CARGO_PKG_VERSION"));
    if !config.in_process
        && let Some(worker) = worker_program(config)?
    {
        let _ = write!(text, "; worker {}", of_file(&worker));
    }
    Ok(text)
}

/// The build id that the linker gave the file, a hash of its contents; without one where the file
/// is, its size and the time of its last change.
fn of_file(path: &Path) -> String {
    if let Some(id) = build_id(path) {
        return id.iter().fold("build id ".to_owned(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
    }
    match std::fs::metadata(path) {
        Ok(m) => {
            format!("{} size {} time {}.{:09}", path.display(), m.len(), m.mtime(), m.mtime_nsec())
        }
        Err(_) => path.display().to_string(),
    }
}

fn build_id(path: &Path) -> Option<Vec<u8>> {
    use object::Object;
    let bytes = FileBytes::open(path).ok()?;
    let file = object::File::parse(&*bytes).ok()?;
    file.build_id().ok()?.filter(|id| !id.is_empty()).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_build_id_is_known_by_size_and_time() {
        let path = std::env::temp_dir().join(format!("liblto-identity-{}", std::process::id()));
        std::fs::write(&path, "not ELF").unwrap();
        let first = of_file(&path);
        assert!(first.contains("size 7"), "{first}");
        std::fs::write(&path, "not ELF!").unwrap();
        assert_ne!(of_file(&path), first);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(of_file(&path), path.display().to_string());
    }
}
