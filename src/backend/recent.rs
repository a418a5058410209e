//! What was last used, within a bound of memory.
//!
//! In: things by module, with their sizes. Out: those of them that were used last. It must not know
//! what they are.

use crate::summary::ModuleId;

/// Things of a few modules.
#[derive(Debug)]
pub(super) struct Recent<T> {
    /// The one used last is last.
    things: Vec<(ModuleId, T, usize)>,
    size: usize,
    most: usize,
}

impl<T: Clone> Recent<T> {
    /// Keeps things of up to `most` bytes in sum.
    pub fn new(most: usize) -> Self {
        Recent { things: Vec::new(), size: 0, most }
    }

    /// The module's, if it is still there.
    pub fn get(&mut self, id: ModuleId) -> Option<T> {
        let at = self.things.iter().position(|(module, ..)| *module == id)?;
        self.things.get_mut(at..)?.rotate_left(1);
        self.things.last().map(|(_, thing, _)| thing.clone())
    }

    /// Keeps a thing of so many bytes, and in its place forgets what was not used for longest. What
    /// would take most of the room alone is not kept.
    pub fn keep(&mut self, id: ModuleId, thing: T, size: usize) {
        if size > self.most / 2 || self.things.iter().any(|(module, ..)| *module == id) {
            return;
        }
        self.size += size;
        self.things.push((id, thing, size));
        while self.size > self.most && !self.things.is_empty() {
            let (_, _, size) = self.things.remove(0);
            self.size -= size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_last_stays() {
        let [a, b, c, d] = [0, 1, 2, 3].map(ModuleId);
        let mut recent = Recent::new(10);
        recent.keep(a, 'a', 4);
        recent.keep(b, 'b', 4);
        assert_eq!(recent.get(a), Some('a'));
        recent.keep(c, 'c', 4);
        assert_eq!([a, b, c].map(|id| recent.get(id)), [Some('a'), None, Some('c')]);
        recent.keep(d, 'd', 6);
        assert_eq!(recent.get(d), None);
        recent.keep(d, 'd', 5);
        assert_eq!([a, c, d].map(|id| recent.get(id)), [None, Some('c'), Some('d')]);
        recent.keep(d, 'x', 1);
        assert_eq!(recent.get(d), Some('d'), "it has not changed");
    }
}
