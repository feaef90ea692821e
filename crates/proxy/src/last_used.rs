//! When client keys were last used: noted per request, taken away in batches by whoever keeps it.

use std::collections::HashMap;

use parking_lot::Mutex;

/// Key id -> seconds since 1970.
#[derive(Debug, Default)]
pub struct LastUsed(Mutex<HashMap<String, i64>>);

impl LastUsed {
    /// A key was used now.
    pub(crate) fn note(&self, id: &str, now: i64) {
        let mut used = self.0.lock();
        match used.get_mut(id) {
            Some(at) => *at = now,
            None => {
                used.insert(id.to_owned(), now);
            }
        }
    }

    /// What was noted since the last time.
    #[must_use]
    pub fn take(&self) -> Vec<(String, i64)> {
        std::mem::take(&mut *self.0.lock()).into_iter().collect()
    }
}
