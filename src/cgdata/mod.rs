//! Codegen data: what one round of code generation tells the next about the whole program.
//!
//! In: object files whose code was generated with `-codegen-data-generate`, or `.cgdata` files in
//! binary or text form. Out: one [`CodegenData`], merged over all of them, and its bytes as a
//! `.cgdata` file, which a code generator takes with `-codegen-data-use-path`.
//!
//! | module | what flows out of it |
//! |---|---|
//! | [`sections`] | the payloads in an object's sections |
//! | [`tree`], `tree_record` | the outlined hash tree: sequences of instructions worth outlining |
//! | [`map`], `map_record` | the stable function map: functions alike but for some operands |
//! | [`indexed`] | the `.cgdata` file, versions 1 to 4 |
//! | [`text`] | its text form, by `crate::yaml` |
//! | `bucket_order` | the order in which LLVM's merger meets functions, which numbers the names |
//!
//! The reference is LLVM's `lib/CGData`: the same inputs in the same order give the same bytes as
//! `llvm-cgdata --merge` of LLVM 22. docs/cgdata.md tells every layout and where we are stricter.
//!
//! This module must not know who generates code or when: it sees bytes and returns bytes.

use rayon::prelude::*;

use crate::error::Result;

mod bucket_order;
mod cursor;
pub mod indexed;
pub mod map;
mod map_record;
pub mod sections;
pub mod text;
pub mod tree;
mod tree_record;

pub use indexed::{CgdataFile, NEWEST_VERSION};
pub use map::{FinalizeOptions, StableFunctionMap};
pub use sections::{ObjectData, extract};
pub use tree::OutlinedHashTree;

use map::MapMerger;
use sections::Trees;

/// Codegen data of one object, one file, or a whole program.
///
/// A part that is None was not in the input at all; an empty part was there and said nothing. Files
/// keep the two apart in the kind field of their header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CodegenData {
    /// Sequences of instructions that were outlined, as a tree of their hashes.
    pub tree: Option<OutlinedHashTree>,
    /// Functions by their stable hash, for merging those that differ in some operands only.
    pub map: Option<StableFunctionMap>,
}

/// Merges codegen data of many objects, in the order in which it is added.
///
/// The order decides how the names of the stable function map are numbered and which of two
/// entries with the same hash and names comes first; it does not touch the outlined hash tree.
/// Give the objects in the order of their tasks, and the result is the same on every run.
#[derive(Debug, Default)]
pub struct Merger {
    trees: Trees,
    map: MapMerger,
}

impl Merger {
    /// A merger of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the codegen data of one object or file.
    ///
    /// # Errors
    /// Malformed where the terminals of a node no longer fit 32 bits, or there are more names or
    /// nodes than the format can number.
    pub fn add(&mut self, data: impl Into<ObjectData>) -> Result<()> {
        let data = data.into();
        for map in &data.maps {
            self.map.add(map)?;
        }
        data.tree.map_or(Ok(()), |tree| self.trees.add(tree))
    }

    /// Adds the codegen data of several objects, as [`Merger::add`] would one after another, but
    /// with the trees merged on all threads of the current rayon pool.
    ///
    /// # Errors
    /// As [`Merger::add`].
    pub fn add_all(&mut self, data: Vec<ObjectData>) -> Result<()> {
        let (trees, maps): (Vec<_>, Vec<_>) = data.into_iter().map(|d| (d.tree, d.maps)).unzip();
        for map in maps.iter().flatten() {
            self.map.add(map)?;
        }
        let tree = trees
            .into_par_iter()
            .flatten()
            .map(Ok)
            .reduce_with(|a, b| OutlinedHashTree::merge(&a?, &b?));
        tree.map_or(Ok(()), |tree| self.trees.add(tree?))
    }

    /// The merged data. A part that holds nothing, be it that there was none or that nothing in
    /// it is worth merging, is None, as `llvm-cgdata --merge` leaves it out.
    ///
    /// # Errors
    /// As [`Merger::add`].
    pub fn finish(mut self, options: &FinalizeOptions) -> Result<CodegenData> {
        // LLVM's merger begins with a tree of its own, whose root has no hash.
        self.trees.add(OutlinedHashTree::default())?;
        let map = self.map.finish(options);
        Ok(CodegenData {
            tree: self.trees.finish()?.filter(|t| !t.is_empty()),
            map: Some(map).filter(|m| !m.is_empty()),
        })
    }

    /// The merged data as a `.cgdata` file of the newest version.
    ///
    /// # Errors
    /// As [`Merger::add`].
    pub fn finish_file(self, options: &FinalizeOptions) -> Result<Vec<u8>> {
        indexed::write(&self.finish(options)?, NEWEST_VERSION)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgdata::text;

    fn data(text: &str) -> CodegenData {
        text::read(text.as_bytes()).unwrap()
    }

    #[test]
    fn trees_add_up_whatever_the_order_and_the_way() {
        let inputs: Vec<_> = (1..40u32)
            .map(|n| {
                data(&format!(
                    ":outlined_hash_tree\n\
                     0: {{Hash: 0, Terminals: 0, SuccessorIds: [1, 2]}}\n\
                     1: {{Hash: {}, Terminals: {n}, SuccessorIds: []}}\n\
                     2: {{Hash: 1, Terminals: 1, SuccessorIds: []}}\n",
                    n % 7 + 2,
                ))
            })
            .collect();
        let (mut one_by_one, mut backwards, mut at_once) =
            (Merger::new(), Merger::new(), Merger::new());
        for d in &inputs {
            one_by_one.add(d.clone()).unwrap();
        }
        for d in inputs.iter().rev() {
            backwards.add(d.clone()).unwrap();
        }
        at_once.add_all(inputs.into_iter().map(Into::into).collect()).unwrap();
        let options = FinalizeOptions::default();
        let merged = one_by_one.finish(&options).unwrap();
        assert_eq!(merged, backwards.finish(&options).unwrap());
        assert_eq!(merged, at_once.finish(&options).unwrap());
        let tree = merged.tree.unwrap();
        assert_eq!((tree.node_count(), tree.terminal_node_count(), tree.depth()), (9, 8, 1));
        // 39 inputs gave a terminal each to the node of hash 1, which comes last.
        assert_eq!(tree.nodes().last().map(|n| (n.hash, n.terminals)), Some((1, 39)));
        assert!(merged.map.is_none());
    }

    #[test]
    fn nothing_gives_a_file_that_says_so() {
        let file = Merger::new().finish_file(&FinalizeOptions::default()).unwrap();
        let mut expect = b"\xffcgdata\x81".to_vec();
        expect.extend([4, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(file, expect);
    }
}
