//! What was read last, up to a number of things: the one used least lately makes room.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Things by the offset they were read from.
#[derive(Debug)]
pub(super) struct Cache<T: ?Sized> {
    limit: usize,
    /// Counts every use, so that a larger number is a later use.
    uses: u64,
    things: BTreeMap<u64, (u64, Arc<T>)>,
    by_use: BTreeMap<u64, u64>,
}

impl<T: ?Sized> Cache<T> {
    pub(super) const fn new(limit: usize) -> Self {
        Self { limit, uses: 0, things: BTreeMap::new(), by_use: BTreeMap::new() }
    }

    pub(super) fn get(&mut self, key: u64) -> Option<Arc<T>> {
        let (last, thing) = self.things.get_mut(&key)?;
        self.by_use.remove(last);
        self.uses += 1;
        *last = self.uses;
        self.by_use.insert(self.uses, key);
        Some(Arc::clone(thing))
    }

    pub(super) fn put(&mut self, key: u64, thing: Arc<T>) {
        self.uses += 1;
        if let Some((last, _)) = self.things.insert(key, (self.uses, thing)) {
            self.by_use.remove(&last);
        }
        self.by_use.insert(self.uses, key);
        if self.things.len() > self.limit
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.things.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_least_lately_makes_room() {
        let mut cache: Cache<[u8]> = Cache::new(2);
        let thing = |byte: u8| Arc::from([byte]);
        cache.put(1, thing(1));
        cache.put(2, thing(2));
        assert_eq!(cache.get(1), Some(thing(1)));
        cache.put(3, thing(3));
        assert_eq!((cache.get(1), cache.get(2), cache.get(3)), (Some(thing(1)), None, Some(thing(3))));
        cache.put(1, thing(9));
        assert_eq!((cache.get(1), cache.get(3)), (Some(thing(9)), Some(thing(3))));
        assert_eq!((cache.things.len(), cache.by_use.len()), (2, 2));
    }
}
