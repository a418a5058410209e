//! Machine code, by a libLLVM found at run time.
