//! An engine that starts when it is needed: where everything is found in a cache, no libLLVM is
//! loaded.
//!
//! In: as for [`Engine::start`]. Out: which libLLVM it will be, at once, and the engine on demand.

use super::worker::worker_program;
use super::{Engine, EngineConfig, Library, LibraryInfo, Producer, identity};
use crate::error::Result;
use once_cell::sync::OnceCell;

/// An engine that may never start.
pub struct LazyEngine {
    config: EngineConfig,
    producers: Vec<Producer>,
    library: LibraryInfo,
    engine: OnceCell<Engine>,
}

impl LazyEngine {
    /// Chooses a libLLVM that reads what all of `producers` wrote.
    ///
    /// # Errors
    /// Where there is none.
    pub fn new(config: EngineConfig, producers: Vec<Producer>) -> Result<Self> {
        let library = Library::locate(&config, &producers)?;
        Ok(LazyEngine { config, producers, library, engine: OnceCell::new() })
    }

    /// Which libLLVM it is, or will be.
    pub fn library(&self) -> &LibraryInfo {
        &self.library
    }

    /// The options for LLVM that it is started with.
    pub fn cl_opts(&self) -> &[String] {
        &self.config.cl_opts
    }

    /// Which build of all that makes objects it is: [`identity`].
    ///
    /// # Errors
    /// As [`identity`].
    pub fn identity(&self) -> Result<String> {
        identity(&self.config, &self.library)
    }

    /// The engine, started if it was not.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub fn get(&self) -> Result<&Engine> {
        self.engine.get_or_try_init(|| Engine::start(&self.config, &self.producers))
    }

    /// The engine, if it was started.
    pub fn started(&self) -> Option<&Engine> {
        self.engine.get()
    }

    /// Whether LLVM runs in processes of its own.
    ///
    /// # Errors
    /// As [`Engine::start`], for a worker program that was named and is not there.
    pub fn has_workers(&self) -> Result<bool> {
        Ok(!self.config.in_process && worker_program(&self.config)?.is_some())
    }

    /// Another engine with the same library, and these options for LLVM as well.
    ///
    /// # Errors
    /// As [`LazyEngine::new`].
    pub fn with_options(&self, options: &[String]) -> Result<LazyEngine> {
        let mut config = self.config.clone();
        config.cl_opts.extend_from_slice(options);
        LazyEngine::new(config, self.producers.clone())
    }

    /// Another engine with the same library, and one option in place of another.
    ///
    /// # Errors
    /// As [`LazyEngine::new`].
    pub fn with_other_options(&self, old: &str, new: &str) -> Result<LazyEngine> {
        let mut config = self.config.clone();
        for option in config.cl_opts.iter_mut().filter(|option| *option == old) {
            new.clone_into(option);
        }
        LazyEngine::new(config, self.producers.clone())
    }
}
