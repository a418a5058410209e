//! The search for one object by keys of rising cost.
//!
//! In: one key after another, each computed only when those before it failed. Out: the object, or
//! where it is not there, a place to put it when it is made. Whatever key finds the object, the
//! others that were asked by find it from then on.

use super::record::Record;
use super::{Cache, Hit, Key};
use crate::error::Result;

/// The keys of an object, from the one that is cheapest and changes most to the one that is dearest
/// and changes least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Of everything that the whole link is made from: nothing at all has changed.
    Link,
    /// Of all that this one object is made from. The entry bears this key's name.
    Job,
    /// Of the module as the optimizer gets it.
    Linked,
    /// Of the same, but for names that not every object has in it.
    Renamed,
}

/// How many levels there are.
pub(super) const LEVELS: usize = 4;

/// The search for one object.
#[derive(Debug)]
pub struct Search<'c> {
    cache: &'c Cache,
    /// The key of [`Level::Job`].
    name: Option<Key>,
    /// The other keys that were tried.
    aliases: Vec<Key>,
}

impl<'c> Search<'c> {
    pub(super) fn new(cache: &'c Cache) -> Self {
        Search { cache, name: None, aliases: Vec::new() }
    }

    /// Asks by another key of the same object. After a hit the search is over.
    pub fn ask(&mut self, level: Level, key: Key) -> Option<Hit> {
        let hit = self.cache.lookup(&key);
        self.cache.count(level, hit.is_some());
        match level {
            Level::Job => self.name = Some(key),
            Level::Link | Level::Linked => self.aliases.push(key),
            // Whether it stands for the object shows when that is there.
            Level::Renamed => {}
        }
        let mut hit = hit?;
        if let Some(name) = &self.name
            && let Some(adopted) = self.cache.adopt(name, &hit)
        {
            hit = adopted;
        }
        self.refer(&hit.record);
        Some(hit)
    }

    /// Makes another key stand for the object, that was found, or else that will be stored: one of
    /// [`Level::Renamed`], where the object has none of the names in it.
    pub fn also(&mut self, key: Key, found: Option<&Hit>) {
        if let Some(hit) = found {
            self.cache.refer(&key, &hit.record);
        }
        self.aliases.push(key);
    }

    /// Puts the object in that was searched for; as [`Cache::store`]. Without a key of
    /// [`Level::Job`] it has no name and is not stored.
    ///
    /// # Errors
    /// Io, where the cache's directory cannot be made.
    pub fn store(&self, object: &[u8]) -> Result<Option<Hit>> {
        let Some(name) = &self.name else { return Ok(None) };
        let stored = self.cache.store(name, object)?;
        if let Some(hit) = &stored {
            self.refer(&hit.record);
        }
        Ok(stored)
    }

    fn refer(&self, record: &Record) {
        for key in &self.aliases {
            self.cache.refer(key, record);
        }
    }
}
