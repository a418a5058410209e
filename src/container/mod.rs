//! The bitcode inside whatever file was given.
