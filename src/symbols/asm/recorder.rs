//! What assembly says of each symbol.
//!
//! In: definitions, bindings and uses in the order of the text. Out: a state for each symbol, in
//! the order of LLVM's hash table. Source: `RecordStreamer`, whose transitions these are.

use crate::symbols::hash_order::{HashOrder, hash};

/// `RecordStreamer::State`, but for NeverSeen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Made global, not defined.
    Global,
    /// Defined and local.
    Defined,
    /// Defined and global.
    DefinedGlobal,
    /// Defined and weak.
    DefinedWeak,
    /// Referred to only.
    Used,
    /// Made weak, not defined.
    UndefinedWeak,
}

/// The bindings that count; every other attribute of a symbol leaves its state alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attribute {
    Global,
    Weak,
}

/// The symbols seen so far.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    order: HashOrder,
    symbols: Vec<(Vec<u8>, State)>,
    /// `.symver`: the symbol, and the versioned name.
    pub(super) symvers: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Recorder {
    fn find(&self, name: &[u8]) -> Option<usize> {
        let same = |i: u32| self.symbols.get(i as usize).is_some_and(|s| s.0 == name);
        self.order.find(hash(name), same).map(|i| i as usize)
    }

    /// Moves a symbol to another state; `next` gets None for one that was never seen.
    fn update(&mut self, name: &[u8], next: impl FnOnce(Option<State>) -> State) {
        if let Some(i) = self.find(name) {
            if let Some(symbol) = self.symbols.get_mut(i) {
                symbol.1 = next(Some(symbol.1));
            }
            return;
        }
        let id = self.symbols.len() as u32;
        // It was not found, so no other can be the same.
        if self.order.insert(hash(name), id, |_| false).is_ok() {
            self.symbols.push((name.to_vec(), next(None)));
        }
    }

    /// `markDefined`.
    pub(super) fn define(&mut self, name: &[u8]) {
        self.update(name, |state| match state {
            Some(State::DefinedGlobal | State::Global) => State::DefinedGlobal,
            None | Some(State::Defined | State::Used) => State::Defined,
            Some(State::DefinedWeak | State::UndefinedWeak) => State::DefinedWeak,
        });
    }

    /// `markGlobal`.
    pub(super) fn bind(&mut self, name: &[u8], attribute: Attribute) {
        let weak = attribute == Attribute::Weak;
        self.update(name, |state| match state {
            Some(State::DefinedGlobal | State::Defined) if weak => State::DefinedWeak,
            Some(State::DefinedGlobal | State::Defined) => State::DefinedGlobal,
            None | Some(State::Global | State::Used) if weak => State::UndefinedWeak,
            None | Some(State::Global | State::Used) => State::Global,
            Some(kept @ (State::UndefinedWeak | State::DefinedWeak)) => kept,
        });
    }

    /// `markUsed`.
    pub(super) fn use_symbol(&mut self, name: &[u8]) {
        self.update(name, |state| state.unwrap_or(State::Used));
    }

    /// What is known of a symbol.
    pub(super) fn state(&self, name: &[u8]) -> Option<State> {
        self.find(name).and_then(|i| self.symbols.get(i)).map(|s| s.1)
    }

    /// All symbols in LLVM's order.
    pub(super) fn symbols(&self) -> impl Iterator<Item = (&[u8], State)> {
        let symbol = |i: u32| self.symbols.get(i as usize);
        self.order.ids().filter_map(symbol).map(|(name, state)| (name.as_slice(), *state))
    }
}
