//! Records on their way to the file: those of requests that come together go in one write.

use std::collections::VecDeque;

use crate::record::{Kind, has_room};

/// Bytes of one write at most, beyond the first record: so that a disk which fills up takes what it can.
const WRITE: usize = 256 << 10;

/// Records that are not in the file yet, in order. Every record has a number, from 1.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    records: VecDeque<Vec<u8>>,
    bytes: usize,
    /// The number of the newest record.
    last: u64,
}

impl Queue {
    /// Takes a record and numbers it; `None` if the queue holds `most` bytes.
    pub(crate) fn push(&mut self, kind: Kind, record: Vec<u8>, most: usize) -> Option<u64> {
        if !has_room(kind, self.bytes as u64, most as u64) {
            return None;
        }
        self.bytes += record.len();
        self.records.push_back(record);
        self.last += 1;
        Some(self.last)
    }

    /// Puts together the records of the next write; they stay until they are [`Queue::written`]. Tells how many they are, and how many
    /// are left.
    pub(crate) fn gather(&self, out: &mut Vec<u8>) -> (usize, usize) {
        out.clear();
        let mut count = 0;
        for record in &self.records {
            if count > 0 && out.len() + record.len() > WRITE {
                break;
            }
            out.extend_from_slice(record);
            count += 1;
        }
        (count, self.records.len() - count)
    }

    /// The first so many records are in the file. Returns the number of the last one in it.
    pub(crate) fn written(&mut self, count: usize) -> u64 {
        for record in self.records.drain(..count.min(self.records.len())) {
            self.bytes = self.bytes.saturating_sub(record.len());
        }
        self.last - self.len()
    }

    /// The number of the newest record.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// How many wait.
    pub(crate) fn len(&self) -> u64 {
        self.records.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_stay_in_order_until_they_are_written() {
        let mut queue = Queue::default();
        for number in 1..=3u8 {
            assert_eq!(queue.push(Kind::Start, vec![number; 2], 100), Some(number.into()));
        }
        let mut out = vec![9];
        assert_eq!((queue.gather(&mut out), &*out), ((3, 0), &[1, 1, 2, 2, 3, 3][..]));
        queue.push(Kind::End, vec![4], 100);
        assert_eq!((queue.written(3), queue.len()), (3, 1));
        assert_eq!((queue.gather(&mut out), &*out), ((1, 0), &[4][..]));
        assert_eq!((queue.written(1), queue.len(), queue.bytes), (4, 0, 0));
    }

    #[test]
    fn a_write_is_bounded_and_has_one_record_at_least() {
        let mut queue = Queue::default();
        queue.push(Kind::Start, vec![0; WRITE + 1], usize::MAX);
        queue.push(Kind::Start, vec![1; WRITE], usize::MAX);
        queue.push(Kind::Start, vec![2], usize::MAX);
        let mut out = Vec::new();
        for number in 1..=3u8 {
            let left = 3 - usize::from(number);
            assert_eq!(
                (queue.gather(&mut out), queue.written(1)),
                ((1, left), number.into())
            );
        }
    }

    #[test]
    fn the_last_sixteenth_is_for_ends() {
        let mut queue = Queue::default();
        assert_eq!(queue.push(Kind::Start, vec![0; 150], 160), Some(1));
        assert_eq!(queue.push(Kind::Start, vec![0; 1], 160), None);
        assert_eq!(queue.push(Kind::End, vec![0; 10], 160), Some(2));
        assert_eq!(queue.push(Kind::End, vec![0; 1], 160), None);
    }
}
