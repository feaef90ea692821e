//! The plan of a request: its candidates in order, and why every other channel is not among them.

use std::fmt;
use std::sync::Arc;

use ai_api_converter::Format;
use opm_config::{Channel, ChannelState, ClientKey, Config, Match, Origin, Rule, Strategy, Vendor};

use crate::breaker::{Millis, Standing};
use crate::live::{ChannelLive, Live};
use crate::provider_keys::Parked;
use crate::strategy::order;

/// What is asked for.
#[derive(Clone, Copy)]
pub struct Wanted<'w> {
    /// Public model name.
    pub model: &'w str,
    /// The client's format.
    pub format: Format,
    /// Who asks.
    pub key: Option<&'w ClientKey>,
    /// What the channel must offer.
    pub offer: Offer,
    /// The text of a request header.
    pub header: &'w dyn Fn(&str) -> Option<&'w str>,
    /// The channel that holds the conversation's state or prompt cache.
    pub sticky: Option<&'w str>,
    /// The signature domain of sealed state in the conversation.
    pub domain: Option<u32>,
}

/// What a request needs of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Offer {
    /// Answers; their format can be converted.
    #[default]
    Generation,
    /// Something that only channels of the client's own format have.
    SameFormat,
    /// Embeddings, OpenAI's or Gemini's.
    Embeddings,
    /// Counting of tokens: Messages, Responses or Gemini.
    Counting,
}

/// What is known besides the configuration.
#[derive(Clone, Copy)]
pub struct World<'w> {
    /// The live sides of the configuration's channels, in its order.
    pub channels: &'w [Arc<ChannelLive>],
    /// What is decided across channels.
    pub live: &'w Live,
    /// Milliseconds of a monotonic clock.
    pub now: Millis,
}

/// A channel that can serve the request, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its number in the configuration.
    pub channel: usize,
    /// Model name there.
    pub model: String,
    /// Format spoken there.
    pub format: Format,
}

/// Why a channel is not a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip {
    /// The route names other channels.
    NotInRoute,
    /// It does not serve the model.
    Model,
    /// The client key is bound to other channels.
    Key,
    /// It does not offer this API.
    Api,
    /// An operator switched it off, or lets it run dry.
    State(ChannelState),
    /// Its breaker is open until then.
    Open(Millis),
    /// All its keys are parked until then.
    Parked(Millis, Parked),
}

impl Skip {
    /// When it passes by itself.
    #[must_use]
    pub fn until(&self) -> Option<Millis> {
        match self {
            Skip::Open(until) | Skip::Parked(until, _) => Some(*until),
            _ => None,
        }
    }
}

/// Where a request may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// In the order in which they are tried.
    pub candidates: Vec<Candidate>,
    /// The others, and why not.
    pub skipped: Vec<(usize, Skip)>,
    /// All that could serve are broken or out of keys: the one that recovers first is tried once all the same. The last channel is
    /// never ejected: an honest error of the provider tells the caller more than our silence.
    pub last_resort: bool,
    /// How candidates of equal standing were ordered.
    pub strategy: Strategy,
    /// The route that matched, by number.
    pub rule: Option<usize>,
    /// The first candidate was chosen because it knows the conversation.
    pub sticky: bool,
}

/// Nobody serves the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// No channel serves the model.
    UnknownModel,
    /// The key may not use the model.
    ModelNotAllowed,
    /// Channels serve the model, but not with this API.
    OtherApi,
    /// All that serve it are switched off.
    SwitchedOff,
}

impl fmt::Display for NoRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NoRoute::UnknownModel => "no channel serves this model",
            NoRoute::ModelNotAllowed => "the key may not use this model",
            NoRoute::OtherApi => "no channel serves this API for this model",
            NoRoute::SwitchedOff => "the channels of this model are switched off",
        })
    }
}

/// The plan of a request. `chance` gives numbers in 0..1. Higher priority comes first, then the client's own format, then the
/// strategy; a channel that knows the conversation comes before its equals.
///
/// # Errors
/// See [`NoRoute`]; what was skipped and why comes with it.
pub fn plan(
    config: &Config,
    wanted: &Wanted<'_>,
    world: World<'_>,
    chance: &mut dyn FnMut() -> f64,
) -> Result<Plan, (NoRoute, Vec<(usize, Skip)>)> {
    let forbidden = |key: &ClientKey| {
        !key.models.is_empty() && !key.models.iter().any(|glob| matches(glob, wanted.model))
    };
    if wanted.key.is_some_and(forbidden) {
        return Err((NoRoute::ModelNotAllowed, Vec::new()));
    }
    let alias = config.aliases.iter().find(|(alias, _)| alias == wanted.model);
    let model = alias.map_or(wanted.model, |(_, model)| model.as_str());
    let number = config
        .rules
        .iter()
        .position(|rule| applies(&rule.matches, wanted, model));
    let rule = number.and_then(|number| config.rules.get(number));
    let mut found = gather(config, wanted, world, model, rule);
    let last_resort = found.candidates.is_empty() && !found.hindered.is_empty();
    found.hindered.sort_by_key(|(_, why)| why.until());
    let mut hindered = std::mem::take(&mut found.hindered).into_iter();
    if last_resort {
        found
            .candidates
            .extend(hindered.next().map(|(candidate, _)| candidate));
    }
    found
        .skipped
        .extend(hindered.map(|(candidate, why)| (candidate.channel, why)));
    if found.candidates.is_empty() {
        return Err((found.reason(), found.skipped));
    }
    let strategy = rule.and_then(|rule| rule.strategy).unwrap_or(config.strategy);
    let by_rule = rule
        .map(|rule| rule.channels.as_slice())
        .filter(|channels| !channels.is_empty());
    let known = (!last_resort)
        .then(|| known(config, &found.candidates, wanted))
        .flatten();
    // A conversation that stays where it is takes nobody's turn.
    let turn = known.is_none();
    let mut candidates = order(
        config,
        found.candidates,
        wanted.format,
        strategy,
        by_rule,
        (world, turn),
        chance,
    );
    let place = known.and_then(|known| candidates.iter().position(|candidate| candidate.channel == known));
    if let Some(front) = place.and_then(|place| candidates.get_mut(..=place)) {
        front.rotate_right(1);
    }
    let sticky = place.is_some();
    Ok(Plan {
        candidates,
        skipped: found.skipped,
        last_resort,
        strategy,
        rule: number,
        sticky,
    })
}

#[derive(Default)]
struct Gathered {
    candidates: Vec<Candidate>,
    /// Fit, but with an open breaker or without a key.
    hindered: Vec<(Candidate, Skip)>,
    skipped: Vec<(usize, Skip)>,
}

impl Gathered {
    /// Why there is no candidate: the reason that is nearest to serving.
    fn reason(&self) -> NoRoute {
        let any = |test: fn(&Skip) -> bool| self.skipped.iter().any(|(_, why)| test(why));
        if any(|why| matches!(why, Skip::State(_))) {
            NoRoute::SwitchedOff
        } else if any(|why| matches!(why, Skip::Api)) {
            NoRoute::OtherApi
        } else {
            NoRoute::UnknownModel
        }
    }
}

fn gather(
    config: &Config,
    wanted: &Wanted<'_>,
    world: World<'_>,
    model: &str,
    rule: Option<&Rule>,
) -> Gathered {
    let mut found = Gathered::default();
    for (number, channel) in config.channels.iter().enumerate() {
        match fit(number, channel, wanted, model, rule) {
            Ok(candidate) => match hindrance(channel, world.channels.get(number), world.now) {
                None => found.candidates.push(candidate),
                Some(why) if why.until().is_some() => found.hindered.push((candidate, why)),
                Some(why) => found.skipped.push((number, why)),
            },
            Err(why) => found.skipped.push((number, why)),
        }
    }
    let nobody = found.candidates.is_empty() && found.hindered.is_empty();
    if nobody && config.origin == Origin::Transparent {
        found.candidates.extend(transparent(config, wanted));
    }
    found
}

/// Could the channel serve the request at all?
fn fit(
    number: usize,
    channel: &Channel,
    wanted: &Wanted<'_>,
    model: &str,
    rule: Option<&Rule>,
) -> Result<Candidate, Skip> {
    let ruled = rule.filter(|rule| !rule.channels.is_empty());
    if ruled.is_some_and(|rule| !rule.channels.contains(&number)) {
        return Err(Skip::NotInRoute);
    }
    let bound = wanted.key.and_then(|key| key.channels.as_ref());
    if bound.is_some_and(|channels| !channels.contains(&number)) {
        return Err(Skip::Key);
    }
    // A rule that names the channel overrides what the channel lists.
    let own = rule.and_then(|rule| rule.models.iter().find(|(at, _)| *at == number));
    let name = own
        .map(|(_, model)| model.clone())
        .or_else(|| channel.upstream_model(model))
        .or_else(|| ruled.map(|_| model.to_owned()));
    let model = name.ok_or(Skip::Model)?;
    let format = offered(channel, wanted).ok_or(Skip::Api)?;
    Ok(Candidate {
        channel: number,
        model,
        format,
    })
}

/// What keeps a fit channel from serving now.
fn hindrance(channel: &Channel, live: Option<&Arc<ChannelLive>>, now: Millis) -> Option<Skip> {
    if channel.state != ChannelState::Enabled {
        return Some(Skip::State(channel.state));
    }
    let live = live?;
    if let Some((until, why)) = live.all_parked(now) {
        return Some(Skip::Parked(until, why));
    }
    match live.standing(now) {
        Standing::Open(until) => Some(Skip::Open(until)),
        Standing::Closed | Standing::HalfOpen => None,
    }
}

/// The channel that knows the conversation, if it is among those of highest priority. State counts more than a cache.
fn known(config: &Config, candidates: &[Candidate], wanted: &Wanted<'_>) -> Option<usize> {
    let both = candidates
        .iter()
        .filter_map(|candidate| Some((candidate.channel, config.channels.get(candidate.channel)?)));
    let highest = both.clone().map(|(_, channel)| channel.priority).max()?;
    let equals = both.filter(|(_, channel)| channel.priority == highest);
    let holds_state = |channel: &Channel| wanted.domain.is_some_and(|domain| channel.domain() == domain);
    let served = |channel: &Channel| wanted.sticky == Some(channel.name.as_str());
    let by_state = equals.clone().find(|(_, channel)| holds_state(channel));
    let found = by_state.or_else(|| equals.clone().find(|(_, channel)| served(channel)));
    found.map(|(number, _)| number)
}

fn applies(wish: &Match, wanted: &Wanted<'_>, model: &str) -> bool {
    let by_model = wish
        .model
        .as_ref()
        .is_none_or(|glob| matches(glob, wanted.model) || matches(glob, model));
    let by_key = wish
        .key
        .as_ref()
        .is_none_or(|glob| wanted.key.is_some_and(|key| matches(glob, &key.name)));
    let by_header = wish
        .headers
        .iter()
        .all(|(name, glob)| (wanted.header)(name).is_some_and(|value| matches(glob, value)));
    by_model && by_key && by_header
}

pub(crate) fn matches(glob: &str, text: &str) -> bool {
    opm_config::matches_glob(glob, text)
}

/// An unknown model with nothing configured: whoever speaks the client's format may know it.
fn transparent(config: &Config, wanted: &Wanted<'_>) -> Option<Candidate> {
    let vendor = match wanted.format {
        Format::Chat | Format::Responses => Vendor::OpenAi,
        Format::Messages => Vendor::Anthropic,
        Format::Gemini => Vendor::Gemini,
    };
    let channel = config
        .channels
        .iter()
        .position(|channel| channel.vendor == vendor)?;
    Some(Candidate {
        channel,
        model: wanted.model.to_owned(),
        format: wanted.format,
    })
}

fn speaks(channel: &Channel, format: Format) -> bool {
    channel.formats.contains(&format)
        || (channel.vendor == Vendor::OpenAi && matches!(format, Format::Chat | Format::Responses))
}

/// In which format the channel offers what is wanted; `None`: it does not.
fn offered(channel: &Channel, wanted: &Wanted<'_>) -> Option<Format> {
    match wanted.offer {
        Offer::Generation => Some(format_for(channel, wanted.format)),
        Offer::SameFormat => speaks(channel, wanted.format).then_some(wanted.format),
        Offer::Embeddings => match channel.vendor {
            Vendor::OpenAi => channel.embeddings.then_some(Format::Chat),
            Vendor::Gemini => channel.embeddings.then_some(Format::Gemini),
            Vendor::Anthropic => None,
        },
        Offer::Counting => {
            let formats = || {
                channel
                    .formats
                    .iter()
                    .copied()
                    .filter(|format| *format != Format::Chat)
            };
            formats()
                .find(|format| *format == wanted.format)
                .or_else(|| formats().next())
        }
    }
}

/// The client's own format where the channel has it, else the channel's preferred one.
fn format_for(channel: &Channel, client: Format) -> Format {
    if channel.formats.contains(&client) {
        client
    } else {
        channel.formats.first().copied().unwrap_or(client)
    }
}
