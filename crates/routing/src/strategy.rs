//! The order of candidates of equal standing: five strategies below priority and format.

use std::cmp::Reverse;

use ai_api_converter::Format;
use opm_config::{Channel, Config, Strategy};

use crate::plan::{Candidate, World};

/// Orders candidates: priority, the client's own format, then the strategy. With `turn` false nobody's turn passes.
pub(crate) fn order(
    config: &Config,
    mut candidates: Vec<Candidate>,
    client: Format,
    strategy: Strategy,
    by_rule: Option<&[usize]>,
    (world, turn): (World<'_>, bool),
    chance: &mut dyn FnMut() -> f64,
) -> Vec<Candidate> {
    let channel = |candidate: &Candidate| config.channels.get(candidate.channel);
    let standing = |candidate: &Candidate| {
        let priority = channel(candidate).map_or(0, |channel| channel.priority);
        (Reverse(priority), candidate.format != client)
    };
    candidates.sort_by_key(standing);
    let mut ordered = Vec::with_capacity(candidates.len());
    let mut first_group = turn;
    while let Some(first) = candidates.first().map(standing) {
        let size = candidates
            .iter()
            .take_while(|candidate| standing(candidate) == first)
            .count();
        let mut group: Vec<Candidate> = candidates.drain(..size).collect();
        if group.len() > 1 {
            let ranks = ranks(config, &group, strategy, by_rule, world, first_group, chance);
            let mut numbered: Vec<(f64, Candidate)> = ranks.into_iter().zip(group).collect();
            numbered.sort_by(|a, b| a.0.total_cmp(&b.0));
            group = numbered.into_iter().map(|(_, candidate)| candidate).collect();
        }
        ordered.extend(group);
        first_group = false;
    }
    ordered
}

/// One number per candidate; the smallest comes first.
fn ranks(
    config: &Config,
    group: &[Candidate],
    strategy: Strategy,
    by_rule: Option<&[usize]>,
    world: World<'_>,
    takes_turn: bool,
    chance: &mut dyn FnMut() -> f64,
) -> Vec<f64> {
    let channels: Vec<Option<&Channel>> = group
        .iter()
        .map(|candidate| config.channels.get(candidate.channel))
        .collect();
    let weight = |at: usize| {
        channels
            .get(at)
            .copied()
            .flatten()
            .map_or(1, |channel| channel.weight)
    };
    let in_flight = |at: usize| {
        let live = group
            .get(at)
            .and_then(|candidate| world.channels.get(candidate.channel));
        live.map_or(0, |live| live.in_flight())
    };
    let latency = |at: usize| {
        let live = group
            .get(at)
            .and_then(|candidate| world.channels.get(candidate.channel));
        live.map_or(0.0, |live| live.latency(world.now))
    };
    // Exponential clocks: the smallest of -ln(u)/w wins with probability w / sum, and so does each next one.
    let mut clock = || -chance().max(f64::MIN_POSITIVE).ln();
    let per_weight = |at: usize, load: f64| load / f64::from(weight(at).max(1));
    let mut ranks: Vec<f64> = match strategy {
        Strategy::Weighted => (0..group.len()).map(|at| per_weight(at, clock())).collect(),
        Strategy::RoundRobin => turns(&channels, world, takes_turn),
        Strategy::Failover => {
            let place = |candidate: &Candidate| {
                let listed =
                    by_rule.and_then(|list| list.iter().position(|number| *number == candidate.channel));
                number(listed.unwrap_or(candidate.channel))
            };
            group.iter().map(place).collect()
        }
        // The fraction breaks ties, by weight again; it is smaller than any difference between two loads.
        Strategy::LeastConnections => (0..group.len())
            .map(|at| per_weight(at, number(in_flight(at)) + clock() * 1e-6))
            .collect(),
        Strategy::Latency => {
            let costs: Vec<f64> = (0..group.len())
                .map(|at| (latency(at) + 1e-3) * (number(in_flight(at)) + 1.0))
                .collect();
            two_choices(&costs, chance)
        }
    };
    for (at, rank) in ranks.iter_mut().enumerate() {
        // A weight of 0 means: only when nobody else is left.
        if weight(at) == 0 {
            *rank = f64::INFINITY;
        }
    }
    ranks
}

fn turns(channels: &[Option<&Channel>], world: World<'_>, takes_turn: bool) -> Vec<f64> {
    if !takes_turn {
        return (0..channels.len()).map(number).collect();
    }
    let members: Vec<(&str, u32)> = channels
        .iter()
        .map(|channel| channel.map_or(("", 0), |channel| (channel.name.as_str(), channel.weight)))
        .collect();
    let mut ranks = vec![0.0; members.len()];
    for (place, at) in world.live.rotation.order(&members).into_iter().enumerate() {
        if let Some(rank) = ranks.get_mut(at) {
            *rank = number(place);
        }
    }
    ranks
}

/// Costs that differ by less than a tenth, or by less than five milliseconds, are equal.
const NOISE: f64 = 0.1;
const NOISE_MS: f64 = 5.0;

/// The cheaper of two picked at random comes first, then the other one, then the rest by cost: nobody is flooded by everybody who
/// saw the same lowest number (the power of two choices).
fn two_choices(costs: &[f64], chance: &mut dyn FnMut() -> f64) -> Vec<f64> {
    let first = pick(costs.len(), chance);
    let second = (first + 1 + pick(costs.len() - 1, chance)) % costs.len();
    let cost = |at: usize| costs.get(at).copied().unwrap_or(f64::INFINITY);
    // What differs by less than noise is equal: then chance has chosen already.
    let noise = (cost(first).min(cost(second)) * NOISE).max(NOISE_MS);
    let (winner, other) = if cost(second) + noise < cost(first) {
        (second, first)
    } else {
        (first, second)
    };
    let rank = |(at, cost): (usize, &f64)| match at {
        at if at == winner => -2.0,
        at if at == other => -1.0,
        _ => *cost,
    };
    costs.iter().enumerate().map(rank).collect()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "chance is in 0..1, so the product is below the count"
)]
fn pick(count: usize, chance: &mut dyn FnMut() -> f64) -> usize {
    ((chance() * number(count)) as usize).min(count.saturating_sub(1))
}

#[expect(clippy::cast_precision_loss, reason = "counts of channels and requests")]
fn number(count: usize) -> f64 {
    count as f64
}
