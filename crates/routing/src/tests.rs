//! Plans: who may serve, in which order.

use std::collections::HashMap;
use std::sync::Arc;

use ai_api_converter::Format;
use opm_config::{ChannelState, Config, Environment, compile_file};

use crate::*;

const TWO: &str = "version: 1\nchannels:\n  - { name: a, format: openai, base_url: 'http://a', keys: [k], models: ['m*'], weight: 3 }\n  - { name: b, format: anthropic, base_url: 'http://b', keys: [k], models: ['m*'], weight: 1 }\n";

struct Scene {
    config: Config,
    live: Live,
    channels: Vec<Arc<ChannelLive>>,
    state: u64,
}

impl Scene {
    fn new(text: &str) -> Self {
        let loaded = compile_file("opm.yaml".as_ref(), text, &Environment::default());
        let config = loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.problems));
        let live = Live::default();
        let channels = live.adopt(&config);
        Scene {
            config,
            live,
            channels,
            state: 1,
        }
    }

    /// Four channels of one format with these weights.
    fn equals(strategy: &str, weights: &[u32]) -> Self {
        let mut text = String::from("version: 1\nchannels:\n");
        for (at, weight) in weights.iter().enumerate() {
            text += &format!(
                "  - {{ name: c{at}, format: openai, base_url: 'http://c{at}', keys: [k], models: ['m'], weight: {weight} }}\n"
            );
        }
        Scene::new(&(text + &format!("routes: {{ strategy: {strategy} }}\n")))
    }

    fn plan_at(&mut self, now: Millis, change: impl FnOnce(&mut Wanted<'_>)) -> Result<Plan, NoRoute> {
        let mut wanted = Wanted {
            model: "m",
            format: Format::Chat,
            key: None,
            offer: Offer::Generation,
            header: &|_| None,
            sticky: None,
            domain: None,
        };
        change(&mut wanted);
        let world = World {
            channels: &self.channels,
            live: &self.live,
            now,
        };
        let state = &mut self.state;
        let mut chance = || {
            *state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            f64::from(u32::try_from(*state >> 33).unwrap()) / f64::from(1u32 << 31)
        };
        plan(&self.config, &wanted, world, &mut chance).map_err(|(why, _)| why)
    }

    fn order(&mut self, now: Millis) -> Vec<usize> {
        let found = self.plan_at(now, |_| {}).unwrap();
        found
            .candidates
            .into_iter()
            .map(|candidate| candidate.channel)
            .collect()
    }

    fn firsts(&mut self, count: usize) -> HashMap<usize, usize> {
        let mut firsts = HashMap::new();
        for _ in 0..count {
            *firsts.entry(self.order(0)[0]).or_default() += 1;
        }
        firsts
    }

    fn break_channel(&self, at: usize, now: Millis) {
        for _ in 0..5 {
            let admitted = self.channels[at].admit(now, false).unwrap();
            self.channels[at].failed(now, admitted, 0.5);
        }
    }
}

#[test]
fn the_same_format_comes_first_at_equal_priority() {
    let mut scene = Scene::new(TWO);
    for _ in 0..50 {
        assert_eq!(scene.order(0), [0, 1]);
        let found = scene
            .plan_at(0, |wanted| wanted.format = Format::Messages)
            .unwrap();
        assert_eq!(found.candidates[0].channel, 1);
    }
}

#[test]
fn priority_stands_above_format_and_strategy() {
    let mut scene = Scene::new(&TWO.replace("weight: 1", "weight: 1, priority: 1"));
    assert_eq!(scene.order(0), [1, 0]);
}

#[test]
fn weights_converge_and_no_channel_comes_twice() {
    let mut scene = Scene::equals("weighted", &[3, 1, 0]);
    let firsts = scene.firsts(10_000);
    assert!((7_350..7_650).contains(&firsts[&0]), "{firsts:?}");
    assert_eq!(
        firsts.get(&2),
        None,
        "a weight of 0 is only for when nobody else is left"
    );
    let mut order = scene.order(0);
    assert_eq!(order[2], 2);
    order.sort_unstable();
    assert_eq!(order, [0, 1, 2]);
}

#[test]
fn round_robin_is_exact() {
    let mut scene = Scene::equals("round_robin", &[5, 3, 2]);
    let firsts = scene.firsts(10_000);
    assert_eq!([firsts[&0], firsts[&1], firsts[&2]], [5_000, 3_000, 2_000]);
}

#[test]
fn failover_keeps_the_order_of_the_file_or_of_the_route() {
    let mut scene = Scene::equals("failover", &[1, 9, 1]);
    assert_eq!(scene.order(0), [0, 1, 2]);
    scene.break_channel(0, 0);
    assert_eq!(scene.order(1), [1, 2]);
    assert_eq!(
        scene.order(10_000),
        [0, 1, 2],
        "half open: one request may try the main channel"
    );
}

#[test]
fn least_connections_follows_the_requests_under_way_for_each_weight() {
    let mut scene = Scene::equals("least_connections", &[1, 1, 2]);
    let mut open = Vec::new();
    for _ in 0..40 {
        let first = scene.order(0)[0];
        open.push(scene.channels[first].enter());
    }
    let counts: Vec<usize> = scene.channels.iter().map(|live| live.in_flight()).collect();
    assert_eq!(counts, [10, 10, 20]);
    drop(open);
    assert!(scene.channels.iter().all(|live| live.in_flight() == 0));
}

#[test]
fn least_connections_draws_by_weight_among_idle_channels() {
    let firsts = Scene::equals("least_connections", &[3, 1]).firsts(10_000);
    assert!((7_300..7_700).contains(&firsts[&0]), "{firsts:?}");
}

#[test]
fn requests_are_counted_exactly_while_they_end_concurrently() {
    let scene = Scene::equals("least_connections", &[1]);
    let live = &scene.channels[0];
    std::thread::scope(|threads| {
        for _ in 0..8 {
            threads.spawn(|| (0..10_000).for_each(|_| drop(live.enter())));
        }
    });
    assert_eq!(live.in_flight(), 0);
}

#[test]
fn latency_prefers_the_faster_of_two_and_gives_new_channels_a_chance() {
    let mut scene = Scene::equals("latency", &[1, 1, 1]);
    assert_eq!(scene.firsts(3_000).len(), 3, "nothing is known yet");
    for (at, time) in [(0, 2_000.0), (1, 50.0), (2, 100.0)] {
        scene.channels[at].observe(0, time);
    }
    let firsts = scene.firsts(3_000);
    assert_eq!(firsts.get(&0), None, "the slowest loses against any other");
    assert!(
        firsts[&1] > 1_800 && firsts[&2] > 800,
        "two of three pairs hold the fastest: {firsts:?}"
    );
}

#[test]
fn open_channels_are_stepped_around_but_the_last_is_never_ejected() {
    let mut scene = Scene::equals("failover", &[1, 1]);
    scene.break_channel(0, 0);
    let found = scene.plan_at(1, |_| {}).unwrap();
    assert_eq!(
        (found.candidates.len(), found.skipped.as_slice()),
        (1, &[(0, Skip::Open(10_000))][..])
    );
    scene.break_channel(1, 1);
    let found = scene.plan_at(2, |_| {}).unwrap();
    assert!(found.last_resort);
    assert_eq!(found.candidates.len(), 1, "an outage is not multiplied");
}

#[test]
fn channels_whose_keys_are_all_parked_are_the_last_resort_the_first_to_come_back_first() {
    let mut scene = Scene::equals("failover", &[1, 1]);
    scene.channels[0].park_key(0, 5_000, Parked::Limited);
    assert_eq!(scene.order(0), [1]);
    scene.channels[1].park_key(0, 3_000, Parked::Limited);
    let found = scene.plan_at(0, |_| {}).unwrap();
    assert!(found.last_resort && found.candidates.len() == 1 && found.candidates[0].channel == 1);
    assert_eq!(found.skipped, [(0, Skip::Parked(5_000, Parked::Limited))]);
    let found = scene.plan_at(3_000, |_| {}).unwrap();
    assert!(!found.last_resort && found.candidates[0].channel == 1);
}

#[test]
fn switched_off_channels_get_nothing_new() {
    let mut scene = Scene::equals("failover", &[1, 1]);
    scene.config.channels[0].state = ChannelState::Draining;
    assert_eq!(scene.order(0), [1]);
    scene.config.channels[1].state = ChannelState::Disabled;
    assert_eq!(scene.plan_at(0, |_| {}), Err(NoRoute::SwitchedOff));
}

#[test]
fn a_conversation_goes_where_it_is_known_among_equals_and_yields_on_failure() {
    let mut scene = Scene::equals("weighted", &[1, 1, 1]);
    let domain = scene.config.channels[1].domain();
    for _ in 0..50 {
        let found = scene.plan_at(0, |wanted| wanted.sticky = Some("c2")).unwrap();
        assert!(found.sticky && found.candidates[0].channel == 2);
        let found = scene
            .plan_at(0, |wanted| {
                (wanted.sticky, wanted.domain) = (Some("c2"), Some(domain))
            })
            .unwrap();
        assert_eq!(found.candidates[0].channel, 1, "state counts more than a cache");
    }
    scene.break_channel(2, 0);
    let found = scene.plan_at(1, |wanted| wanted.sticky = Some("c2")).unwrap();
    assert!(!found.sticky && found.candidates.len() == 2);
    scene.config.channels[0].priority = 5;
    let found = scene.plan_at(1, |wanted| wanted.sticky = Some("c1")).unwrap();
    assert_eq!(found.candidates[0].channel, 0, "priority stands above affinity");
}

#[test]
fn unknown_models_and_forbidden_ones_are_told_apart() {
    let text = TWO.to_owned()
        + "keys:\n  - { name: k, key: '01234567890123456789', models: ['m1'], channels: [b] }\n";
    let mut scene = Scene::new(&text);
    let key = scene.config.keys[0].clone();
    let mut asked = |model: &'static str, with_key: bool| {
        let key = key.clone();
        scene.plan_at(0, move |wanted| {
            wanted.model = model;
            wanted.key = with_key.then(|| &*Box::leak(Box::new(key)));
        })
    };
    assert_eq!(asked("m2", true), Err(NoRoute::ModelNotAllowed));
    assert_eq!(asked("x", false), Err(NoRoute::UnknownModel));
    let found = asked("m1", true).unwrap();
    assert_eq!(
        (found.candidates.len(), found.candidates[0].format),
        (1, Format::Messages)
    );
    assert_eq!(found.skipped, [(0, Skip::Key)]);
}

#[test]
fn routes_match_model_header_and_key_and_give_each_channel_its_own_model() {
    let text = TWO.to_owned()
        + "keys: [{ name: batch, key: '01234567890123456789' }]\nroutes:\n  aliases: { smart: m9 }\n  rules:\n    - match: { model: smart }\n      channels: [b, a]\n      models: { a: gpt-x }\n      strategy: failover\n    - match: { header: { x-tier: 'b*' } }\n      channels: [b]\n    - match: { key: batch, model: 'm*' }\n      channels: [a]\n";
    let mut scene = Scene::new(&text);
    let models = |found: Plan| -> Vec<(usize, String)> {
        found
            .candidates
            .into_iter()
            .map(|candidate| (candidate.channel, candidate.model))
            .collect()
    };
    let found = scene
        .plan_at(0, |wanted| {
            (wanted.model, wanted.format) = ("smart", Format::Gemini)
        })
        .unwrap();
    assert_eq!(models(found), [(1, "m9".to_owned()), (0, "gpt-x".to_owned())]);
    let found = scene
        .plan_at(0, |wanted| {
            wanted.header = &|name| (name == "x-tier").then_some("batch")
        })
        .unwrap();
    assert_eq!(models(found), [(1, "m".to_owned())]);
    let key: &'static opm_config::ClientKey = Box::leak(Box::new(scene.config.keys[0].clone()));
    let found = scene
        .plan_at(0, |wanted| {
            (wanted.key, wanted.format) = (Some(key), Format::Messages)
        })
        .unwrap();
    assert_eq!(models(found), [(0, "m".to_owned())]);
}

#[test]
fn globs_are_listed_with_the_well_known_models_they_cover() {
    let scene = Scene::new(
        "version: 1\nchannels:\n  - { name: a, format: anthropic, base_url: 'http://a', keys: [k], models: ['claude-opus*', mine] }\n",
    );
    let names: Vec<String> = served_models(&scene.config, None)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert!(
        names.contains(&"mine".to_owned()) && names.contains(&"claude-opus-5-5".to_owned()),
        "{names:?}"
    );
    assert!(
        names
            .iter()
            .all(|name| !name.contains('*') && !name.starts_with("claude-sonnet"))
    );
    assert!(serves_model(&scene.config, None, "claude-opus-9").is_some());
    assert!(serves_model(&scene.config, None, "gpt-5").is_none());
}
