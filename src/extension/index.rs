//! A hash index over a list: groups within one aggregate.
//!
//! The list holds the entries, in the order in which they came; the index finds their positions. Its memory is the
//! server's, so it counts as the aggregate's and goes with it. At most 4,294,967,295 entries.
//!
//! Keys come from whoever writes turns. The hash has a random secret, or he could choose keys that all fall on one slot
//! and make each look-up walk over all of them.

use super::abi::PgBuffer;
use crate::measures::sketch::Buffer;
use pgrx::pg_sys::MemoryContext;
use std::hash::{BuildHasher, Hash, RandomState};

/// What finds an entry of a list by its key: open addressing, each slot the entry's position + 1 and half its hash.
pub struct Index {
    slots: PgBuffer<u64>,
    used: usize,
    secret: RandomState,
}

impl Index {
    /// An empty one that will grow in `context`.
    pub fn new(context: MemoryContext) -> Self {
        Self {
            slots: PgBuffer::new(context),
            used: 0,
            secret: RandomState::new(),
        }
    }

    /// The position of the entry that `is_it` accepts and true, or, when there is none, that of the one to be pushed
    /// now and false.
    #[inline]
    pub fn position(&mut self, key: impl Hash, is_it: impl Fn(usize) -> bool) -> (usize, bool) {
        if self.used * 2 >= self.slots.len() {
            self.grow();
        }
        let mark = self.secret.hash_one(key) & !u64::from(u32::MAX);
        let mut at = self.first(mark);
        while let Some(slot) = self.slots.get(at).copied().filter(|slot| *slot != 0) {
            let position = (slot & u64::from(u32::MAX)) as usize - 1;
            if slot & !u64::from(u32::MAX) == mark && is_it(position) {
                return (position, true);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
        self.used += 1;
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = mark | self.used as u64;
        }
        (self.used - 1, false)
    }

    fn first(&self, mark: u64) -> usize {
        (mark >> 32) as usize & (self.slots.len() - 1)
    }

    #[cold]
    fn grow(&mut self) {
        let former = self.slots.to_vec();
        self.slots.grow((former.len() * 2).max(64));
        self.slots.fill(0);
        for slot in former.into_iter().filter(|slot| *slot != 0) {
            let mut at = self.first(slot & !u64::from(u32::MAX));
            while self.slots.get(at).is_some_and(|other| *other != 0) {
                at = (at + 1) & (self.slots.len() - 1);
            }
            if let Some(place) = self.slots.get_mut(at) {
                *place = slot;
            }
        }
    }
}
