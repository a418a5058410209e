//! A profile that is named for the link (`cs-profile-path=`), as clang names that of `-fprofile-use`
//! whether or not the link has any use for it.
//!
//! In: the file's name. Out: what of libLLVM's options stands for it, or an error. It must not know
//! which front end named it.
//!
//! The first profile of instrumented code is used before the link; what a link can use is the second
//! part, counted after inlining. Without that part LLVM's passes leave the module alone, and all that
//! is left of the option is that the inliner of ThinLTO's pipeline may put off a call (`EnableDeferral`
//! where there are `PGOOptions`). A profile with that part needs these options of `PassBuilder`, for
//! which the C API has nothing.

use std::path::Path;

use crate::container::OpenFile;
use crate::error::{Error, Result};

/// `IndexedInstrProf::Magic` as it is stored.
const MAGIC: &[u8; 8] = b"\xfflprofi\x81";
/// `VARIANT_MASK_CSIR_PROF` of InstrProfData.inc, in the version of the format.
const CONTEXT_SENSITIVE: u64 = 1 << 57;

/// The options of libLLVM for a link that has ThinLTO modules or has none.
///
/// # Errors
/// Io, where the file cannot be read; malformed, where it is no profile of instrumented code;
/// unsupported, where it has counts that the link's own passes would use.
pub(super) fn options(path: &Path, thin: bool) -> Result<Vec<String>> {
    let blame = |error: Error| error.in_file(path.to_string_lossy());
    let file = OpenFile::open(path).map_err(blame)?;
    let (mut magic, mut version) = ([0; 8], [0; 8]);
    let read = file.read_at(0, &mut magic).and_then(|()| file.read_at(8, &mut version));
    if read.is_none() || magic != *MAGIC {
        return Err(blame(Error::malformed("not a profile of instrumented code")));
    }
    if u64::from_le_bytes(version) & CONTEXT_SENSITIVE != 0 {
        return Err(blame(Error::unsupported(
            "a context-sensitive profile (-fcs-profile-generate) is not supported yet",
        )));
    }
    Ok(if thin { vec!["-inline-deferral".to_owned()] } else { Vec::new() })
}
