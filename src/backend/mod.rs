//! ThinLTO's backends: one module of a link, with what it imports, made into an object.
//!
//! In: the combined index, the [`LinkPlan`](crate::thinlink::LinkPlan) and every module's bitcode.
//! Out: for each module a [`Job`], which holds all that its object depends on, and from an engine
//! the object. It must not know which driver asks, nor where objects go.
//!
//! ```text
//! link        plan and bitcode -> what surgery needs of each module      surgery::{thin, slice}
//! job         the module after surgery, the slices that it imports, and
//!             what is left to do in LLVM
//! compile     job -> load, link the slices, optimize, generate code      engine
//! make        the same, or the object from the cache                     cache
//! renamed     the key of a linked module but for hashes in names         cache
//! types       what LLVM must be told of the types that a module tests
//! memprof     which functions LLVM clones for MemProf, or that its marks go
//! rounds      code generated twice, for outlining across modules         cgdata
//! ```
//!
//! This is LLVM's `lto::thinBackend`, and with other [`Phases`] its
//! `ProcessThinLTOModule` (ThinLTOCodeGenerator.cpp).

mod compile;
mod job;
mod key;
mod link;
mod make;
mod memprof;
mod recent;
mod renamed;
mod rounds;
mod sizes;
mod types;

pub use compile::{Compiled, Settings, Stage, compile};
pub use job::{Job, Part};
pub use key::{common_key, linked_key};
pub use link::{Link, Marks, Phases, Source, Values};
pub use make::{Cached, Made, Watch};
pub use rounds::{First, Rounded, Rounds, Second, TwoRounds};
pub use sizes::RoundSizes;
