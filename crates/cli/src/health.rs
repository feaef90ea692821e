//! Background probes: channels that ask for it have their model list read at an interval. A broken one is found before a request
//! finds it, a recovered one is used again before its pause is over.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use ai_api_converter::FailureClass;
use opm_proxy::Parts;
use opm_proxy::net::upstream::Upstreams;
use opm_proxy::probe::Probe;

/// How often it is looked which channels are due.
const TICK: Duration = Duration::from_millis(250);

/// Probes for the life of the process.
pub(crate) async fn probe(parts: Parts, upstreams: Upstreams) {
    let mut asked: HashMap<String, Instant> = HashMap::new();
    loop {
        tokio::time::sleep(TICK).await;
        let snapshot = parts.snapshot.load_full();
        let due = snapshot
            .config
            .channels
            .iter()
            .enumerate()
            .filter(|(_, channel)| {
                let last = asked.get(&channel.name);
                let interval = channel.health.as_ref().map(|health| health.interval);
                interval.is_some_and(|interval| last.is_none_or(|last| last.elapsed() >= interval))
            });
        for number in due.map(|(number, _)| number).collect::<Vec<_>>() {
            let Some((channel, peer)) = snapshot.channel(number) else {
                continue;
            };
            let (Some(live), Some(health)) = (snapshot.live.get(number), &channel.health) else {
                continue;
            };
            asked.insert(channel.name.clone(), Instant::now());
            let probe = Probe {
                upstreams: &upstreams,
                channel,
                peer,
                key: (!channel.keys.is_empty()).then_some(0),
            };
            let answer = probe.models(&health.path).await;
            // What the provider says of the request or the key is no sign of illness.
            let ill = answer.is_err_and(|failure| {
                matches!(
                    failure.class,
                    FailureClass::UpstreamBad
                        | FailureClass::ServerError
                        | FailureClass::Overloaded
                        | FailureClass::Timeout
                )
            });
            live.probed(parts.now(), !ill, rand::random());
        }
        asked.retain(|name, _| {
            snapshot
                .config
                .channels
                .iter()
                .any(|channel| channel.name == *name)
        });
    }
}
