//! What the mock received.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// Requests kept; older ones are forgotten.
const KEPT: usize = 1_000;

/// The list of requests. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Recorded(Arc<Mutex<VecDeque<Value>>>);

impl Recorded {
    /// Adds a request; returns its number for [`Recorded::closed`].
    pub(crate) fn add(&self, request: Value) -> u64 {
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut request = request;
        if let Some(members) = request.as_object_mut() {
            members.insert("number".into(), json!(number));
            members.insert("closed_early".into(), json!(false));
        }
        if let Ok(mut list) = self.0.lock() {
            if list.len() >= KEPT {
                list.pop_front();
            }
            list.push_back(request);
        }
        number
    }

    /// Notes that the client left before the answer was complete.
    pub(crate) fn closed(&self, number: u64) {
        if let Ok(mut list) = self.0.lock() {
            for request in list
                .iter_mut()
                .filter(|request| request.get("number") == Some(&json!(number)))
            {
                if let Some(members) = request.as_object_mut() {
                    members.insert("closed_early".into(), json!(true));
                }
            }
        }
    }

    /// All of them, oldest first.
    #[must_use]
    pub fn list(&self) -> Value {
        self.0
            .lock()
            .map_or(Value::Null, |list| Value::Array(list.iter().cloned().collect()))
    }

    /// Forgets them.
    pub fn clear(&self) {
        if let Ok(mut list) = self.0.lock() {
            list.clear();
        }
    }
}
