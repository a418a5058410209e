//! Profiles that are named for the link: `cs-profile-path=`, as clang names that of `-fprofile-use`
//! whether or not the link has any use for it, and `sample-profile=`.
//!
//! In: the files' names. Out: what of libLLVM's options and passes stands for them, or an error. It
//! must not know which front end named them.
//!
//! The first profile of instrumented code is used before the link; what a link can use is the second
//! part, counted after inlining. Without that part LLVM's passes leave the module alone, and all that
//! is left of the option is that the inliner of ThinLTO's pipeline may put off a call (`EnableDeferral`
//! where there are `PGOOptions`). A profile with that part needs these options of `PassBuilder`, for
//! which the C API has nothing.
//!
//! A profile of samples is loaded before everything else that the pipelines of LTO do, but for
//! looking at types and, in ThinLTO's, promoting indirect calls, which then comes behind it
//! (`buildModuleSimplificationPipeline`, `buildLTODefaultPipeline`). So the same passes in front of
//! the pipeline do the same, with the options by which libLLVM's own tests say what `PGOOptions` say.
//! One difference remains: sections of a profile that are marked as flat are not left out for
//! ThinLTO.

use std::path::Path;

use crate::config::{Config, TRUE};
use crate::container::OpenFile;
use crate::error::{Error, Result};

/// `IndexedInstrProf::Magic` as it is stored.
const MAGIC: &[u8; 8] = b"\xfflprofi\x81";
/// `VARIANT_MASK_CSIR_PROF` of InstrProfData.inc, in the version of the format.
const CONTEXT_SENSITIVE: u64 = 1 << 57;

/// What the pipelines have in front of them where samples are loaded.
const LOADER: &str = "sample-profile,require<profile-summary>,";

/// The option by which ThinLTO's pipeline has what it needs of the samples already.
const FLATTENED: &str = "flattened-profile-used";

/// The profile of samples that the passes of this link look at.
fn samples(config: &Config) -> Option<&Path> {
    let looks = config.opt_level > 0 && config.opt_pipeline.is_none();
    config.sample_profile.as_deref().filter(|_| looks)
}

/// The options of libLLVM for a link that has ThinLTO modules or has none.
///
/// # Errors
/// Io, where a file cannot be read; malformed, where it is no profile of instrumented code;
/// unsupported, where it has counts that the link's own passes would use.
pub(super) fn options(config: &Config, thin: bool) -> Result<Vec<String>> {
    let deferral = || if thin { vec!["-inline-deferral".to_owned()] } else { Vec::new() };
    match (&config.sample_profile, &config.cs_profile) {
        (Some(path), _) => {
            OpenFile::open(path).map_err(|error| error.in_file(path.to_string_lossy()))?;
            Ok(deferral())
        }
        (None, Some(path)) => instrumented(path).map(|()| deferral()),
        (None, None) => Ok(Vec::new()),
    }
}

/// The options of libLLVM with which it loads samples.
pub(super) fn loading(config: &Config) -> Vec<String> {
    let Some(path) = samples(config) else { return Vec::new() };
    // A worker need not be where we are.
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    vec![format!("-sample-profile-file={}", path.display()), "-icp-samplepgo".to_owned()]
}

/// The passes in front of the pipeline `sort`: `lto` or `thinlto`.
pub(super) fn passes_before(config: &Config, sort: &str) -> &'static str {
    let says = |option: &String| {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        name.trim_start_matches('-') == FLATTENED && TRUE.contains(&value)
    };
    let flattened = sort == "thinlto" && config.llvm_options.iter().any(says);
    if samples(config).is_some() && !flattened { LOADER } else { "" }
}

/// Checks that the second part of a profile of instrumented code is empty.
fn instrumented(path: &Path) -> Result<()> {
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
    Ok(())
}
