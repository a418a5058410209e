//! Which LLVM the indexes of a thin link are for.
//!
//! In: `-llvm-version`, the libLLVM that `LTO_LLVM` names, and who wrote the modules. Out: the
//! [`Behaviour`] to decide and write by: the first of these that says. A program that compiles
//! has what its libLLVM does instead.

use crate::distributed::{self, Source, ThinInputs};
use crate::engine::{EngineConfig, Library};
use crate::error::{Error, Result};
use crate::summary::{ModuleSummaryIndex, ReadOptions};
use crate::thinlink::{Behaviour, ThinLinkOptions};

/// LLVM's major version that the user asks for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LlvmVersion(Option<u32>);

impl LlvmVersion {
    /// Reads the value of `-llvm-version`.
    ///
    /// # Errors
    /// Where it is no number.
    pub(super) fn parse(value: &[u8]) -> Result<Self> {
        let major = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
        major
            .map(|major| LlvmVersion(Some(major)))
            .ok_or_else(|| Error::misuse("--llvm-version: not a number"))
    }

    /// What the user says, by the option or by naming a libLLVM.
    fn asked(self) -> Result<Option<u32>> {
        let environment = EngineConfig::from_env();
        match self.0 {
            None if environment.llvm.is_some() => {
                Ok(Some(Library::locate(&environment, &[])?.version.major))
            }
            asked => Ok(asked),
        }
    }

    /// The LLVM for modules of which the newest was written by `newest`.
    ///
    /// # Errors
    /// Where `LTO_LLVM` names no libLLVM.
    pub(super) fn behaviour(self, newest: Option<u32>) -> Result<Behaviour> {
        let major = self.asked()?.or(newest).unwrap_or(Behaviour::LLVM_22.llvm);
        Ok(Behaviour::of_llvm(major))
    }

    /// The LLVM for an index.
    ///
    /// # Errors
    /// As [`LlvmVersion::behaviour`].
    pub(super) fn of_index(self, index: &ModuleSummaryIndex) -> Result<Behaviour> {
        self.behaviour(index.newest_llvm())
    }

    /// Reads all files of a link as [`distributed::read_with`] does, and sets the behaviour.
    ///
    /// # Errors
    /// As [`distributed::read_with`] and [`LlvmVersion::behaviour`].
    pub(super) fn read<S: Source>(
        self,
        sources: &[S],
        options: &mut ThinLinkOptions,
        wanted: &ReadOptions,
    ) -> Result<ThinInputs> {
        options.behaviour = self.behaviour(None)?;
        let read = distributed::read_with(sources, &options.behaviour, wanted)?;
        let behaviour = self.of_index(&read.index)?;
        let before = std::mem::replace(&mut options.behaviour, behaviour);
        // Who wrote the files shows only as they are read, and bears on how; few are not by the
        // newest LLVM.
        if behaviour.newest_runtime_library == before.newest_runtime_library {
            return Ok(read);
        }
        drop(read);
        distributed::read_with(sources, &options.behaviour, wanted)
    }
}
