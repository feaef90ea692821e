//! The decision over all charges of one request: all or nothing.

use crate::charge::{Ask, PerCharge};
use crate::rule::Dimension;

/// What each charge is granted, given what is free for each: at least its least, which must be free. Those that take what is left are
/// granted alike within a dimension, no more than fits everywhere; one that asks for an exact amount, as a rule by what is likely does,
/// holds nobody to it.
pub(crate) fn grant(asks: &[Ask], free: &[u64]) -> PerCharge<u64> {
    let common = |dimension: Dimension| {
        asks.iter()
            .zip(free)
            .filter(|(ask, _)| ask.rule.dimension() == dimension && ask.least < ask.amount)
            .map(|(ask, free)| ask.amount.min(*free))
            .min()
            .unwrap_or(u64::MAX)
    };
    let granted = |ask: &Ask| ask.least.max(ask.amount.min(common(ask.rule.dimension())));
    asks.iter().map(granted).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::rule::{Over, Rule};
    use crate::subject::Key;
    use crate::window::Window;

    fn ask(dimension: Dimension, least: u64, amount: u64) -> Ask {
        let over = Over::Window(Window::new(Duration::from_secs(60)).unwrap());
        let rule = Arc::new(Rule::new("r", dimension, 1_000_000, over).unwrap());
        Ask {
            rule,
            key: Key(0),
            amount,
            least,
        }
    }

    #[test]
    fn charges_that_take_what_is_left_are_granted_what_fits_everywhere_and_exact_ones_their_own() {
        let asks = [
            ask(Dimension::Tokens, 10, 500),
            ask(Dimension::Tokens, 10, 500),
            ask(Dimension::Tokens, 200, 200),
            ask(Dimension::Requests, 1, 1),
        ];
        assert_eq!(grant(&asks, &[90, 400, 300, 1]).as_slice(), [90, 90, 200, 1]);
        assert_eq!(grant(&asks, &[900, 900, 900, 1]).as_slice(), [500, 500, 200, 1]);
    }
}
