//! libLTO in Rust: link-time optimisation for the linkers and tools that load LLVM's libLTO.so or
//! its gold plugin, without LLVM inside.
//!
//! The folders are the way of a link, from left to right; each knows only those before it:
//!
//! | module | what flows out of it |
//! |---|---|
//! | [`error`], [`ir`] | the error type; LLVM's vocabulary |
//! | [`container`] | the bitcode inside whatever file was given |
//! | [`bitstream`] | records and blocks, without meaning |
//! | [`bitcode`] | what a module's records mean |
//! | [`symbols`] | the linker's view of a module |
//! | [`summary`] | what ThinLTO knows of a module without its code |
//! | [`resolution`] | what the linker said of each symbol |
//! | [`thinlink`] | the decisions of a ThinLTO link |
//! | [`distributed`] | an index file for every backend of a distributed build |
//! | [`surgery`] | bitcode with other linkages and fewer bodies |
//! | [`cgdata`] | codegen data of a whole program, for a second round of code generation |
//! | [`engine`] | machine code, by a libLLVM found at run time |
//! | [`cache`] | objects of earlier links |
//! | [`backend`] | a module of a ThinLTO link with what it imports, as an object |
//!
//! [`registry`] keeps what the handles of the C interfaces stand for.
//!
//! Front ends convert and delegate: [`capi`] (llvm-c/lto.h), [`thinlto_file`] (the ThinLTO file
//! API), [`plugin`] (the linker plugin API);
//! [`session`], [`regular`] and [`legacy`] run a link for them, the first with the knobs of [`config`];
//! [`schedule`] runs what they do at the same time.
//! ARCHITECTURE.md tells the whole way and what each module must not know.

// cargo names the file after the library, and linkers look for libLTO.so.
#![allow(non_snake_case)]
#![deny(unsafe_code)]
#![warn(missing_docs)]
#![deny(unused_must_use)]

#[cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used))]
#[cfg_attr(not(test), deny(clippy::panic, clippy::indexing_slicing))]
pub mod backend;
#[cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used))]
#[cfg_attr(not(test), deny(clippy::panic, clippy::indexing_slicing))]
pub mod bitcode;
#[cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used))]
#[cfg_attr(not(test), deny(clippy::panic, clippy::indexing_slicing))]
pub mod bitstream;
#[cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used))]
#[cfg_attr(not(test), deny(clippy::panic, clippy::indexing_slicing))]
pub mod cache;
pub mod capi;
#[cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used))]
#[cfg_attr(not(test), deny(clippy::panic, clippy::indexing_slicing))]
pub mod cgdata;
pub mod config;
#[cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used))]
#[cfg_attr(not(test), deny(clippy::panic, clippy::indexing_slicing))]
pub mod container;
pub mod distributed;
pub mod engine;
pub mod error;
pub mod ir;
pub mod legacy;
pub mod plugin;
pub mod registry;
pub mod regular;
pub mod resolution;
pub mod schedule;
pub mod session;
#[cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used))]
#[cfg_attr(not(test), deny(clippy::panic, clippy::indexing_slicing))]
pub mod summary;
pub mod surgery;
#[cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used))]
#[cfg_attr(not(test), deny(clippy::panic, clippy::indexing_slicing))]
pub mod symbols;
pub mod thinlink;
pub mod thinlto_file;
pub mod tools;
#[cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used))]
#[cfg_attr(not(test), deny(clippy::panic, clippy::indexing_slicing))]
mod yaml;
