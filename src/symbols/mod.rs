//! The linker's view of a module.
