//! Records on their way to the file: those of requests that come together go in one write.

use std::collections::VecDeque;

use crate::record::{Kind, has_room};

/// Longer queues than this wait for a disk, not for the next write.
const SHORT: usize = 64;

/// Bytes of one write at most, beyond the first record: so that a disk which fills up takes what it can.
const WRITE: usize = 256 << 10;

/// A record that is not in the file yet.
#[derive(Debug)]
struct Waiting {
    record: Vec<u8>,
    /// The segment that its request kept from being deleted: it can go when this record is in the file.
    pin: Option<u64>,
}

/// Records that are not in the file yet, in order. Every record has a number, from 1.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    records: VecDeque<Waiting>,
    bytes: usize,
    /// The number of the newest record.
    last: u64,
}

impl Queue {
    /// Takes a record, with the pin that it gives back, and numbers it; `None` if the queue holds `most` bytes.
    pub(crate) fn push(
        &mut self,
        kind: Kind,
        mut record: Vec<u8>,
        pin: Option<u64>,
        most: usize,
    ) -> Option<u64> {
        if !has_room(kind, self.bytes as u64, most as u64) {
            return None;
        }
        if self.records.len() >= SHORT {
            record.shrink_to_fit();
        }
        self.bytes += record.len();
        self.records.push_back(Waiting { record, pin });
        self.last += 1;
        Some(self.last)
    }

    /// Puts together the records of the next write; they stay until they are [`Queue::written`]. Tells how many they are, and how many
    /// are left.
    pub(crate) fn gather(&self, out: &mut Vec<u8>) -> (usize, usize) {
        out.clear();
        let mut count = 0;
        for Waiting { record, .. } in &self.records {
            if count > 0 && out.len() + record.len() > WRITE {
                break;
            }
            out.extend_from_slice(record);
            count += 1;
        }
        (count, self.records.len() - count)
    }

    /// All of them, as they will stand in the file.
    pub(crate) fn all(&self) -> Vec<u8> {
        let records = self.records.iter().map(|waiting| &*waiting.record);
        records.collect::<Vec<_>>().concat()
    }

    /// The first so many records are in the file. Gives their pins back and returns the number of the last one in the file.
    pub(crate) fn written(&mut self, count: usize, unpin: impl FnMut(u64)) -> u64 {
        let count = count.min(self.records.len());
        let bytes = &mut self.bytes;
        let written = self.records.drain(..count);
        written
            .filter_map(|waiting| {
                *bytes = bytes.saturating_sub(waiting.record.len());
                waiting.pin
            })
            .for_each(unpin);
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
            assert_eq!(
                queue.push(Kind::Start, vec![number; 2], None, 100),
                Some(number.into())
            );
        }
        let mut out = vec![9];
        assert_eq!((queue.gather(&mut out), &*out), ((3, 0), &[1, 1, 2, 2, 3, 3][..]));
        queue.push(Kind::End, vec![4], Some(7), 100);
        let mut pins = Vec::new();
        assert_eq!((queue.written(3, |pin| pins.push(pin)), queue.len()), (3, 1));
        assert!(pins.is_empty());
        assert_eq!((queue.gather(&mut out), &*out), ((1, 0), &[4][..]));
        assert_eq!(
            (queue.written(1, |pin| pins.push(pin)), queue.len(), queue.bytes),
            (4, 0, 0)
        );
        assert_eq!(pins, [7]);
    }

    #[test]
    fn a_write_is_bounded_and_has_one_record_at_least() {
        let mut queue = Queue::default();
        queue.push(Kind::Start, vec![0; WRITE + 1], None, usize::MAX);
        queue.push(Kind::Start, vec![1; WRITE], None, usize::MAX);
        queue.push(Kind::Start, vec![2], None, usize::MAX);
        let mut out = Vec::new();
        for number in 1..=3u8 {
            let left = 3 - usize::from(number);
            assert_eq!(
                (queue.gather(&mut out), queue.written(1, |_| {})),
                ((1, left), number.into())
            );
        }
    }

    #[test]
    fn the_last_sixteenth_is_for_ends() {
        let mut queue = Queue::default();
        assert_eq!(queue.push(Kind::Start, vec![0; 150], None, 160), Some(1));
        assert_eq!(queue.push(Kind::Start, vec![0; 1], None, 160), None);
        assert_eq!(queue.push(Kind::End, vec![0; 10], None, 160), Some(2));
        assert_eq!(queue.push(Kind::End, vec![0; 1], None, 160), None);
    }
}
