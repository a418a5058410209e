//! Tables beside the records, for what few summaries have.
//!
//! In: summary numbers in rising order, each with what it has. Out: look-ups by number. A summary
//! without an entry costs nothing.

/// One value for some summaries.
#[derive(Clone, Debug, Default)]
pub(super) struct Side<T> {
    keys: Vec<u32>,
    values: Vec<T>,
}

impl<T: Copy> Side<T> {
    /// Adds an entry; keys come in rising order.
    pub(super) fn push(&mut self, key: u32, value: T) {
        debug_assert!(self.keys.last().is_none_or(|&last| last < key));
        self.keys.push(key);
        self.values.push(value);
    }

    pub(super) fn get(&self, key: u32) -> Option<T> {
        let at = self.keys.binary_search(&key).ok()?;
        self.values.get(at).copied()
    }

    /// The values by key, for keys below `count`; `T`'s default where there is none.
    pub(super) fn dense(&self, count: usize) -> Vec<T>
    where
        T: Default,
    {
        let mut all = vec![T::default(); count];
        for (&key, &value) in self.keys.iter().zip(&self.values) {
            if let Some(slot) = all.get_mut(key as usize) {
                *slot = value;
            }
        }
        all
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Appends another table whose keys all come behind once `offset` is added.
    pub(super) fn append(&mut self, other: &Self, offset: u32) {
        self.keys.extend(other.keys.iter().map(|key| key + offset));
        self.values.extend_from_slice(&other.values);
    }

    /// The same entries under other keys: the n-th new summary is the old one `order[n]`.
    pub(super) fn reorder(&self, order: &[u32]) -> Self {
        let mut out = Side { keys: Vec::new(), values: Vec::new() };
        if self.keys.is_empty() {
            return out;
        }
        for (new, &old) in (0u32..).zip(order) {
            if let Some(value) = self.get(old) {
                out.push(new, value);
            }
        }
        out
    }

    pub(super) fn reserve(&mut self, count: usize) {
        self.keys.reserve_exact(count);
        self.values.reserve_exact(count);
    }

    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.values.clear();
    }
}

/// A list of values for some summaries.
#[derive(Clone, Debug)]
pub(super) struct SideLists<T> {
    keys: Vec<u32>,
    /// Where the list of each key ends in `items`.
    ends: Vec<u32>,
    items: Vec<T>,
}

impl<T> Default for SideLists<T> {
    fn default() -> Self {
        SideLists { keys: Vec::new(), ends: Vec::new(), items: Vec::new() }
    }
}

impl<T> SideLists<T> {
    /// Adds a summary's list, if it is not empty; keys come in rising order.
    pub(super) fn push(&mut self, key: u32, items: impl IntoIterator<Item = T>) {
        debug_assert!(self.keys.last().is_none_or(|&last| last < key));
        let before = self.items.len();
        self.items.extend(items);
        if self.items.len() > before {
            self.keys.push(key);
            self.ends.push(self.items.len() as u32);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(super) fn get(&self, key: u32) -> &[T] {
        match self.keys.binary_search(&key) {
            Ok(at) => self.list(at),
            Err(_) => &[],
        }
    }

    fn list(&self, at: usize) -> &[T] {
        let start = at.checked_sub(1).and_then(|i| self.ends.get(i)).copied().unwrap_or(0);
        let end = self.ends.get(at).copied().unwrap_or(start);
        self.items.get(start as usize..end as usize).unwrap_or(&[])
    }

    /// The summaries with a list, in rising order.
    pub(super) fn keys(&self) -> &[u32] {
        &self.keys
    }

    pub(super) fn items_mut(&mut self) -> &mut [T] {
        &mut self.items
    }

    /// Moves another table behind its own; the keys all come behind once `offset` is added. The
    /// other is empty then and keeps its room.
    pub(super) fn append(&mut self, other: &mut Self, offset: u32) {
        let items = self.items.len() as u32;
        self.keys.extend(other.keys.drain(..).map(|key| key + offset));
        self.ends.extend(other.ends.drain(..).map(|end| end + items));
        self.items.append(&mut other.items);
    }

    /// Makes room for `count` lists of `items` values together.
    pub(super) fn reserve(&mut self, (count, items): (usize, usize)) {
        self.keys.reserve_exact(count);
        self.ends.reserve_exact(count);
        self.items.reserve_exact(items);
    }

    /// How many lists it holds, and how many values they have together.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.keys.len(), self.items.len())
    }

    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.ends.clear();
        self.items.clear();
    }

    /// The same entries under other keys: the n-th new summary is the old one `order[n]`.
    pub(super) fn reorder(&self, order: &[u32]) -> Self
    where
        T: Clone,
    {
        let mut out = Self::default();
        if self.keys.is_empty() {
            return out;
        }
        for (new, &old) in (0u32..).zip(order) {
            out.push(new, self.get(old).iter().cloned());
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_found_by_key() {
        let mut lists = SideLists::default();
        lists.push(2, [1, 2]);
        lists.push(3, []);
        lists.push(7, [3]);
        let mut more = SideLists::default();
        more.push(0, [9, 9, 9]);
        lists.append(&mut more, 8);
        assert!(more.is_empty());
        assert_eq!(lists.get(2), [1, 2]);
        assert_eq!(lists.get(3), [0i32; 0]);
        assert_eq!(lists.get(7), [3]);
        assert_eq!(lists.get(8), [9, 9, 9]);
        let order = lists.reorder(&[8, 2]);
        assert_eq!(
            (order.get(0), order.get(1), order.get(2)),
            (&[9, 9, 9][..], &[1, 2][..], &[][..])
        );
    }

    #[test]
    fn values_are_found_by_key() {
        let mut side = Side::default();
        side.push(1, 10u64);
        side.push(4, 40);
        assert_eq!((side.get(1), side.get(2), side.get(4)), (Some(10), None, Some(40)));
        let other = side.reorder(&[4, 0, 1]);
        assert_eq!((other.get(0), other.get(1), other.get(2)), (Some(40), None, Some(10)));
    }
}
