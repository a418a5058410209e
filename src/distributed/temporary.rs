//! Files in the folder for temporary files, with names that nobody else has.
//!
//! In: bytes. Out: the path of a new file with them. Whoever asked for it removes it.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::{Error, Result};

/// Writes a new file `<prefix>-<unique><suffix>` that only its owner may read. A file that cannot
/// be written whole is removed.
pub fn write_temporary(prefix: &str, suffix: &str, bytes: &[u8]) -> Result<PathBuf> {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    let folder = std::env::temp_dir();
    for _ in 0..1000 {
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("{prefix}-{}-{serial}{suffix}", std::process::id()));
        // `create_new` follows no link that somebody else put there.
        let mut file = match File::options().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
            Err(error) => {
                return Err(Error::io("cannot create a temporary file", &error)
                    .in_file(path.to_string_lossy()));
            }
        };
        return match file.write_all(bytes) {
            Ok(()) => Ok(path),
            Err(error) => {
                let _ = std::fs::remove_file(&path);
                Err(Error::io("cannot write a temporary file", &error)
                    .in_file(path.to_string_lossy()))
            }
        };
    }
    Err(Error::new(
        crate::error::ErrorKind::Io,
        format!("no free name for a temporary file in {}", folder.display()),
    ))
}
