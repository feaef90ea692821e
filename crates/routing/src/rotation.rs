//! Smooth weighted round robin (nginx's): every window of as many requests as the weights add up to holds each channel exactly as
//! often as its weight, spread as evenly as can be. Each set of channels has turns of its own.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use parking_lot::Mutex;

/// Sets of channels whose turns are remembered; beyond, the counting starts again.
const MAX_SETS: usize = 1_024;

/// Whose turn it is, for every set of channels.
#[derive(Debug, Default)]
pub struct Rotation {
    sets: Mutex<HashMap<u64, Vec<i64>>>,
}

impl Rotation {
    /// Orders the members of a set (name and weight each): whose turn it is first, then by how much each is due. One turn passes.
    pub fn order(&self, members: &[(&str, u32)]) -> Vec<usize> {
        let mut hasher = DefaultHasher::new();
        members.hash(&mut hasher);
        let mut sets = self.sets.lock();
        if sets.len() >= MAX_SETS {
            sets.clear();
        }
        let due = sets
            .entry(hasher.finish())
            .or_insert_with(|| vec![0; members.len()]);
        let total: i64 = members.iter().map(|(_, weight)| i64::from(*weight)).sum();
        for (due, (_, weight)) in due.iter_mut().zip(members) {
            *due += i64::from(*weight);
        }
        let mut order: Vec<usize> = (0..members.len()).collect();
        // A weight of 0 means: only when nobody else is left.
        let weight = |at: &usize| members.get(*at).map_or(0, |(_, weight)| *weight);
        order.sort_by_key(|at| {
            (
                weight(at) == 0,
                std::cmp::Reverse(due.get(*at).copied().unwrap_or(0)),
            )
        });
        if let Some(first) = order.first().and_then(|at| due.get_mut(*at)) {
            *first -= total;
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_follow_the_weights_exactly_and_smoothly() {
        let rotation = Rotation::default();
        let members = [("a", 5), ("b", 1), ("c", 1), ("never", 0)];
        let firsts: Vec<usize> = (0..14).map(|_| rotation.order(&members)[0]).collect();
        assert_eq!(firsts, [0, 0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(rotation.order(&members).len(), 4);
        assert_eq!(rotation.order(&[("never", 0)]), [0]);
    }
}
