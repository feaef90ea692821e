//! Trailing windows by brute force.

/// The largest sum of any trailing window `(t - length, t]`; it is reached at one of the events.
pub(crate) fn worst(events: &mut [(u64, u64)], length: u64) -> u64 {
    events.sort_unstable();
    let (mut from, mut sum, mut worst) = (0, 0, 0);
    for at in 0..events.len() {
        sum += events[at].1;
        while events[from].0 + length <= events[at].0 {
            sum -= events[from].1;
            from += 1;
        }
        worst = worst.max(sum);
    }
    worst
}
