//! Records and blocks, without meaning.
