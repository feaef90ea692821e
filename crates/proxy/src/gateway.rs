//! The life of a request: one call per stage, readable as the picture in ARCHITECTURE.md.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ai_api_converter::models::{ModelEntry, list, one};
use ai_api_converter::stream::{Converter, Relay, RelayOptions, Stream};
use ai_api_converter::{Failure, FailureClass, Format, Usage, convert_response};
use arc_swap::ArcSwap;
use bytes::Bytes;
use opm_config::{ClientKey, Config};
use opm_core::RequestId;
use opm_routing::{NoRoute, Wanted, route, served_models};
use opm_telemetry::{Metrics, Outcome};
use rand::Rng as _;

use crate::attempt::{Answered, Exchange, Missed, transport};
use crate::net::client::Client;
use crate::net::drain::Drain;
use crate::net::server::Handler;
use crate::net::upstream::Upstreams;
use crate::pump::{Ending, Pump};
use crate::snapshot::Snapshot;
use crate::stage::credential::{Credential, credentials, query_value};
use crate::stage::path::{Api, Unrecognized, recognize};
use crate::{body, reply};

/// Attempts per request (promise P5).
const MAX_ATTEMPTS: usize = 3;
/// Largest answer that is converted as a whole, bytes.
const MAX_ANSWER: usize = 256 << 20;

/// The gateway: everything a request needs.
pub struct Gateway {
    snapshot: Arc<ArcSwap<Snapshot>>,
    upstreams: Upstreams,
    metrics: Metrics,
    drain: Drain,
    turn: AtomicU64,
}

/// What is recorded when a request is over, whatever happened to it.
struct Record {
    format: Option<Format>,
    api: &'static str,
    channel: Option<String>,
    status: u16,
    started: Instant,
    waited: Duration,
    attempts: usize,
}

/// A failure and the format to say it in.
type Refused = Option<Failure>;

impl Handler for Gateway {
    fn handle<'c>(&'c self, client: &'c mut Client) -> Pin<Box<dyn Future<Output = ()> + Send + 'c>> {
        Box::pin(self.serve(client))
    }
}

impl Gateway {
    /// A gateway over a configuration that may be swapped.
    #[must_use]
    pub fn new(
        snapshot: Arc<ArcSwap<Snapshot>>,
        upstreams: Upstreams,
        metrics: Metrics,
        drain: Drain,
    ) -> Self {
        Gateway {
            snapshot,
            upstreams,
            metrics,
            drain,
            turn: AtomicU64::new(0),
        }
    }

    async fn serve(&self, client: &mut Client) {
        let mut random = [0u8; 24];
        rand::rng().fill(&mut random);
        let id = RequestId::new(random);
        let mut record = Record {
            format: None,
            api: "unknown",
            channel: None,
            status: 499,
            started: Instant::now(),
            waited: Duration::ZERO,
            attempts: 0,
        };
        let snapshot = self.snapshot.load_full();
        if let Err(refused) = self.request(client, &id, &snapshot, &mut record).await {
            let format = record.format.unwrap_or_else(|| guess(client));
            if let Some(failure) = refused {
                record.status = reply::failure(client, format, &id, &failure).await;
            }
        }
        self.record(&id, &record);
    }

    fn record(&self, id: &RequestId, record: &Record) {
        let total = record.started.elapsed();
        self.metrics.request(&Outcome {
            format: record.format,
            api: record.api,
            channel: record.channel.as_deref(),
            status: record.status,
            total,
            upstream: record.waited,
        });
        tracing::info!(
            id = id.as_str(),
            format = record.format.map_or("none", Format::as_str),
            api = record.api,
            channel = record.channel.as_deref().unwrap_or("none"),
            status = record.status,
            attempts = record.attempts,
            total_ms = total.as_millis() as u64,
            upstream_ms = record.waited.as_millis() as u64,
            "request"
        );
    }

    /// Recognize, authenticate, read, route; then attempts.
    async fn request(
        &self,
        client: &mut Client,
        id: &RequestId,
        snapshot: &Snapshot,
        record: &mut Record,
    ) -> Result<(), Refused> {
        let config = &snapshot.config;
        let found = recognize(client.method(), client.path());
        let (api, hint) = match found {
            Ok(found) => (found.api, found.hint),
            Err(Unrecognized::NotFound(hint)) if client.method() == "POST" => {
                return self.by_shape(client, id, snapshot, hint, record).await;
            }
            Err(error) => return Err(Some(unrecognized(&error))),
        };
        record.api = api.name();
        match &api {
            Api::Live => return self.health(client, true, record).await,
            Api::Ready => return self.health(client, !self.drain.is_draining(), record).await,
            _ => {}
        }
        if self.drain.is_draining() {
            client.close_after();
            let failure = Failure::new(
                FailureClass::Overloaded,
                "The gateway is shutting down; try again.",
            );
            return Err(Some(failure));
        }
        let shape = match &api {
            Api::Generate { format, .. } | Api::PassThrough { format, .. } => *format,
            Api::ResponsesWebSocket => Format::Responses,
            _ => list_shape(client, hint),
        };
        record.format = Some(shape);
        let given = given(client, shape)?;
        let (key, caller) = authenticate(config, &given)?;
        match api {
            Api::Models => self.models(client, config, key, shape, id, record).await,
            Api::Model(name) => self.model(client, config, key, shape, &name, id, record).await,
            Api::ResponsesWebSocket => {
                let text = br#"{"error":{"message":"The Responses WebSocket is not offered here; use HTTP.","type":"invalid_request_error","param":null,"code":"upgrade_required"}}"#;
                let headers = [("content-type", "application/json"), ("upgrade", "HTTP/1.1")];
                record.status = 426;
                client
                    .respond(426, &headers, Bytes::from_static(text))
                    .await
                    .map_err(|_| None)
            }
            Api::Generate {
                format,
                model,
                stream,
            } => {
                let bytes = body::read(client, config.max_body).await?;
                let array = stream
                    && client
                        .query()
                        .is_none_or(|query| query_value(query, "alt").as_deref() != Some("sse"));
                let wish = Wish {
                    format,
                    model,
                    stream,
                    array,
                    endpoint: None,
                };
                self.generate(client, id, snapshot, wish, bytes, key, caller, record)
                    .await
            }
            Api::PassThrough { format, name, model } => {
                let bytes = body::read(client, config.max_body).await?;
                let wish = Wish {
                    format,
                    model,
                    stream: false,
                    array: false,
                    endpoint: Some(endpoint_path(format, name)),
                };
                self.generate(client, id, snapshot, wish, bytes, key, caller, record)
                    .await
            }
            Api::Live | Api::Ready => Ok(()),
        }
    }

    /// A path that nobody knows: the body's shape decides (wire.md 7.4).
    async fn by_shape(
        &self,
        client: &mut Client,
        id: &RequestId,
        snapshot: &Snapshot,
        hint: Option<Format>,
        record: &mut Record,
    ) -> Result<(), Refused> {
        let unknown = || unrecognized(&Unrecognized::NotFound(hint));
        let bytes = body::read(client, snapshot.config.max_body).await?;
        let shape = body::scanned(&bytes)
            .ok()
            .and_then(|scan| body::format_of(scan.shape));
        let deep = client.path().trim_matches('/').contains('/');
        let Some(format) = shape.filter(|_| !deep) else {
            return Err(Some(unknown()));
        };
        record.format = Some(format);
        record.api = "by_shape";
        let given = given(client, format)?;
        let (key, caller) = authenticate(&snapshot.config, &given)?;
        let wish = Wish {
            format,
            model: None,
            stream: false,
            array: false,
            endpoint: None,
        };
        self.generate(client, id, snapshot, wish, bytes, key, caller, record)
            .await
    }

    async fn health(&self, client: &mut Client, good: bool, record: &mut Record) -> Result<(), Refused> {
        record.status = if good { 200 } else { 503 };
        let text: &'static str = if good {
            "{\"status\":\"ok\"}"
        } else {
            "{\"status\":\"draining\"}"
        };
        client
            .respond(
                record.status,
                &[("content-type", "application/json")],
                text.into(),
            )
            .await
            .map_err(|_| None)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "each is one finished stage of the request"
    )]
    async fn generate(
        &self,
        client: &mut Client,
        id: &RequestId,
        snapshot: &Snapshot,
        wish: Wish,
        bytes: Bytes,
        key: Option<&ClientKey>,
        caller: Option<&Credential>,
        record: &mut Record,
    ) -> Result<(), Refused> {
        let scan = body::scanned(&bytes).map_err(Some)?;
        let model = model_of(&wish, &scan)?;
        let wanted = Wanted {
            model: &model,
            format: wish.format,
            key,
            same_format: wish.endpoint.is_some(),
        };
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let found = route(&snapshot.config, wanted, turn, &mut || {
            rand::rng().random::<f64>()
        });
        if let (Err(NoRoute::OtherApi), true) = (&found, wish.endpoint.is_some_and(is_counting)) {
            return self.count(client, &wish, &bytes, id, record).await;
        }
        let mut candidates = found.map_err(|error| Some(no_route(error, &model)))?;
        if wish.endpoint.is_some() {
            candidates
                .iter_mut()
                .for_each(|candidate| candidate.format = wish.format);
        }
        let exchange = Exchange {
            id,
            format: wish.format,
            model: &model,
            path_model: wish.model.is_some(),
            stream: wish.endpoint.is_none()
                && (wish.stream || (wish.format != Format::Gemini && scan.stream)),
            array: wish.array,
            body: &bytes,
            scan: &scan,
            endpoint: wish.endpoint,
            caller,
            now: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
        };
        let mut last = None;
        for candidate in candidates.iter().take(MAX_ATTEMPTS) {
            let Some((channel, peer)) = snapshot.channel(candidate.channel) else {
                continue;
            };
            record.channel = Some(channel.name.clone());
            record.attempts += 1;
            let missed = match exchange
                .attempt(
                    client,
                    &self.upstreams,
                    (channel, peer),
                    candidate,
                    &mut record.waited,
                )
                .await
            {
                Ok(answered) => match self.answer(client, &exchange, snapshot, answered, record).await {
                    Ok(()) => {
                        self.metrics.attempt(&channel.name, "ok");
                        return Ok(());
                    }
                    Err(missed) => missed,
                },
                Err(missed) => missed,
            };
            match missed {
                Missed::Gone => {
                    self.metrics.attempt(&channel.name, "client_gone");
                    return Err(None);
                }
                Missed::Failed(failure, other_channel) => {
                    self.metrics.attempt(&channel.name, "failed");
                    tracing::warn!(
                        id = id.as_str(),
                        channel = channel.name.as_str(),
                        class = ?failure.class,
                        upstream_status = failure.upstream_status,
                        "attempt failed"
                    );
                    let stop = !other_channel;
                    last = Some(more_telling(last, failure));
                    if stop {
                        break;
                    }
                }
            }
        }
        Err(Some(last.unwrap_or_else(|| {
            Failure::new(FailureClass::NoChannel, "No channel can serve the request now.")
        })))
    }

    /// The upstream said yes: its answer becomes the client's.
    async fn answer(
        &self,
        client: &mut Client,
        exchange: &Exchange<'_>,
        snapshot: &Snapshot,
        answered: Answered<'_>,
        record: &mut Record,
    ) -> Result<(), Missed> {
        let mut headers = answer_headers(exchange, &answered);
        let usage = if exchange.stream {
            let _open = self.metrics.stream();
            stream_headers(exchange, &mut headers);
            let stream = stream_of(exchange, &answered);
            let pump = Pump {
                client,
                stream,
                format: exchange.format,
                headers,
                idle: answered.idle,
                waited: &mut record.waited,
            };
            match pump.run(answered.response).await {
                Ending::Done(usage) => {
                    record.status = 200;
                    usage
                }
                Ending::Gone(usage) => usage,
                Ending::Broken(failure, usage) => {
                    record.status = failure.status(exchange.format);
                    tracing::warn!(id = exchange.id.as_str(), class = ?failure.class, "stream broke after it had begun");
                    usage
                }
                Ending::Nothing(failure) => {
                    let other = failure.is_channels_fault();
                    return Err(Missed::Failed(failure, other));
                }
            }
        } else {
            self.whole_answer(client, exchange, answered, headers, record)
                .await?
        };
        if let Some(channel) = &record.channel {
            self.metrics
                .tokens(channel, snapshot.model_label(exchange.model), &usage);
        }
        Ok(())
    }

    async fn whole_answer(
        &self,
        client: &mut Client,
        exchange: &Exchange<'_>,
        mut answered: Answered<'_>,
        mut headers: Vec<(&'static str, String)>,
        record: &mut Record,
    ) -> Result<Usage, Missed> {
        let started = Instant::now();
        let read = tokio::select! {
            biased;
            read = answered.response.body(MAX_ANSWER, answered.idle) => read,
            _ = client.gone() => return Err(Missed::Gone),
        };
        record.waited += started.elapsed();
        let bytes = read.map_err(|error| Missed::Failed(transport(error), true))?;
        let (bytes, usage) = match &answered.conversion {
            Some((context, _)) => {
                let answer = convert_response(&bytes, context).map_err(|failure| {
                    let other = failure.is_channels_fault();
                    Missed::Failed(failure, other)
                })?;
                if let Some(finish) = answer.native_finish {
                    headers.push(("x-gateway-native-finish", finish));
                }
                (answer.body.into(), answer.usage)
            }
            None => {
                let usage = relayed_usage(exchange, &bytes)?;
                (bytes, usage)
            }
        };
        headers.push(("content-type", "application/json".into()));
        record.status = answered.response.status();
        if reply::whole(client, record.status, &headers, bytes)
            .await
            .is_err()
        {
            record.status = 499;
        }
        Ok(usage)
    }

    /// No channel of the client's format counts: an estimate, marked as one.
    async fn count(
        &self,
        client: &mut Client,
        wish: &Wish,
        bytes: &Bytes,
        id: &RequestId,
        record: &mut Record,
    ) -> Result<(), Refused> {
        let body = ai_api_converter::count::estimate(bytes, wish.format)
            .map_err(|error| Some(Failure::from(error)))?;
        record.status = 200;
        let headers = [
            ("content-type", "application/json"),
            (reply::id_header(wish.format), id.as_str()),
            ("x-gateway-token-count", "estimated"),
        ];
        client.respond(200, &headers, body.into()).await.map_err(|_| None)
    }

    async fn models(
        &self,
        client: &mut Client,
        config: &Config,
        key: Option<&ClientKey>,
        shape: Format,
        id: &RequestId,
        record: &mut Record,
    ) -> Result<(), Refused> {
        let codex = client
            .query()
            .is_some_and(|query| query_value(query, "client_version").is_some());
        if codex {
            // Codex then uses the list it is built with.
            return Err(Some(Failure::new(
                FailureClass::NotFound,
                "No model catalogue for this client.",
            )));
        }
        let models = entries(config, key);
        record.status = 200;
        let headers = [
            ("content-type", "application/json"),
            (reply::id_header(shape), id.as_str()),
        ];
        client
            .respond(200, &headers, list(shape, &models).into())
            .await
            .map_err(|_| None)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "each is one finished stage of the request"
    )]
    async fn model(
        &self,
        client: &mut Client,
        config: &Config,
        key: Option<&ClientKey>,
        shape: Format,
        name: &str,
        id: &RequestId,
        record: &mut Record,
    ) -> Result<(), Refused> {
        let models = entries(config, key);
        let Some(found) = models.iter().find(|model| model.id == name) else {
            return Err(Some(no_route(NoRoute::UnknownModel, name)));
        };
        record.status = 200;
        let headers = [
            ("content-type", "application/json"),
            (reply::id_header(shape), id.as_str()),
        ];
        client
            .respond(200, &headers, one(shape, found).into())
            .await
            .map_err(|_| None)
    }
}

/// What the path asked for.
struct Wish {
    format: Format,
    model: Option<String>,
    stream: bool,
    array: bool,
    endpoint: Option<&'static str>,
}

/// The public model name: from the path, else from the body.
fn model_of(wish: &Wish, scan: &ai_api_converter::scan::Scan<'_>) -> Result<String, Refused> {
    let model = wish
        .model
        .clone()
        .or_else(|| scan.model.clone().map(std::borrow::Cow::into_owned));
    model.filter(|model| !model.is_empty()).ok_or_else(|| {
        let failure = Failure::new(FailureClass::InvalidRequest, "/model: `model` is required");
        Some(Failure {
            param: Some("/model".into()),
            ..failure
        })
    })
}

/// Is this one of the three counting endpoints?
fn is_counting(endpoint: &str) -> bool {
    matches!(
        endpoint,
        "messages/count_tokens" | "responses/input_tokens" | "models/{model}:countTokens"
    )
}

/// The upstream path of a pass-through endpoint.
fn endpoint_path(format: Format, name: &'static str) -> &'static str {
    match name {
        "count_tokens" if format == Format::Gemini => "models/{model}:countTokens",
        "count_tokens" => "messages/count_tokens",
        "compact" => "responses/compact",
        "input_tokens" => "responses/input_tokens",
        "images" => "images/generations",
        "audio" => "audio/speech",
        "embed_content" => "models/{model}:embedContent",
        "batch_embed_contents" => "models/{model}:batchEmbedContents",
        other => other,
    }
}

fn unrecognized(error: &Unrecognized) -> Failure {
    match error {
        Unrecognized::NotFound(_) => Failure::new(
            FailureClass::NotFound,
            "Unknown path. Known are /v1/chat/completions, /v1/responses, /v1/messages, /v1beta/models/MODEL:generateContent and /v1/models.",
        ),
        Unrecognized::Method(wanted, _) => Failure::new(
            FailureClass::MethodNotAllowed,
            format!("This path is served with {wanted}."),
        ),
        Unrecognized::Invalid => Failure::new(FailureClass::InvalidRequest, "The path is malformed."),
    }
}

fn no_route(error: NoRoute, model: &str) -> Failure {
    let model: String = model.chars().take(120).collect();
    match error {
        NoRoute::UnknownModel => Failure {
            param: Some("model".into()),
            ..Failure::new(
                FailureClass::ModelNotFound,
                format!("No channel serves the model `{model}`; GET /v1/models lists what is served."),
            )
        },
        NoRoute::ModelNotAllowed => Failure::new(
            FailureClass::Permission,
            format!("This key may not use the model `{model}`."),
        ),
        NoRoute::OtherApi => Failure::new(
            FailureClass::NotImplemented,
            format!("No channel offers this API for the model `{model}`."),
        ),
    }
}

/// The failure that tells the caller most: the last about the request itself, else the first about the upstream.
fn more_telling(before: Option<Failure>, now: Failure) -> Failure {
    match before {
        Some(before) if now.is_channels_fault() && !matches!(now.class, FailureClass::RateLimited) => before,
        _ => now,
    }
}

/// The format of a caller whose path said nothing.
fn guess(client: &Client) -> Format {
    list_shape(
        client,
        recognize("GET", client.path()).ok().and_then(|found| found.hint),
    )
}

/// Whose shape an ambiguous endpoint takes (wire.md 7.4, 7.5).
fn list_shape(client: &Client, hint: Option<Format>) -> Format {
    let has = |name: &str| client.headers().contains_key(name);
    if has("anthropic-version") || (has("x-api-key") && !has("authorization")) {
        return Format::Messages;
    }
    let google = has("x-goog-api-key") || has("x-goog-api-client");
    if google
        || client
            .query()
            .is_some_and(|query| query_value(query, "key").is_some())
    {
        return Format::Gemini;
    }
    hint.unwrap_or(Format::Chat)
}

fn given(client: &Client, format: Format) -> Result<Vec<Credential>, Refused> {
    credentials(client.headers(), client.query(), format).map_err(|_| {
        Some(Failure::new(
            FailureClass::InvalidRequest,
            "A credential header is given twice with different values.",
        ))
    })
}

/// The client key among the given credentials, and the credential that may be passed through.
fn authenticate<'a>(
    config: &'a Config,
    given: &'a [Credential],
) -> Result<(Option<&'a ClientKey>, Option<&'a Credential>), Refused> {
    if config.keys.is_empty() {
        return Ok((None, given.first()));
    }
    for credential in given {
        let digest = opm_core::digest(&credential.value);
        if let Some(key) = config.keys.iter().find(|key| key.key.matches(&digest)) {
            let other = given.iter().find(|other| other.value != credential.value);
            return Ok((Some(key), other));
        }
    }
    let text = if given.is_empty() {
        "No API key was given. Send one in Authorization, x-api-key, api-key or x-goog-api-key."
    } else {
        "The API key is not known here."
    };
    Err(Some(Failure::new(FailureClass::Auth, text)))
}

fn entries(config: &Config, key: Option<&ClientKey>) -> Vec<ModelEntry> {
    let served = served_models(config, key).into_iter();
    served
        .map(|(id, vendor)| ModelEntry {
            id,
            owned_by: vendor.as_str(),
        })
        .collect()
}

/// Headers of the upstream that may reach a client of the same format.
const RELAYED: &[&str] = &[
    "openai-model",
    "openai-version",
    "x-codex-turn-state",
    "x-models-etag",
    "x-reasoning-included",
];
/// Where upstreams state their own request id.
const UPSTREAM_IDS: &[&str] = &[
    "x-request-id",
    "request-id",
    "x-goog-request-id",
    "apim-request-id",
    "cf-ray",
];

fn answer_headers(exchange: &Exchange<'_>, answered: &Answered<'_>) -> Vec<(&'static str, String)> {
    let id = exchange.id.as_str();
    let mut headers = vec![
        (reply::id_header(exchange.format), id.to_owned()),
        ("x-gateway-request-id", id.to_owned()),
    ];
    if let Some(upstream) = UPSTREAM_IDS
        .iter()
        .find_map(|name| answered.response.header(name))
    {
        headers.push(("x-gateway-upstream-request-id", upstream.to_owned()));
    }
    match &answered.conversion {
        Some((context, report)) => reply::report_headers(report, context.upstream, &mut headers),
        None => headers.extend(
            RELAYED
                .iter()
                .filter_map(|name| Some((*name, answered.response.header(name)?.to_owned()))),
        ),
    }
    headers
}

fn stream_headers(exchange: &Exchange<'_>, headers: &mut Vec<(&'static str, String)>) {
    let array = exchange.format == Format::Gemini && exchange.array;
    let kind = if array {
        "application/json; charset=UTF-8"
    } else {
        "text/event-stream; charset=utf-8"
    };
    headers.push(("content-type", kind.into()));
    headers.push(("cache-control", "no-cache, no-transform".into()));
    headers.push(("x-accel-buffering", "no".into()));
}

fn stream_of(exchange: &Exchange<'_>, answered: &Answered<'_>) -> Stream {
    match &answered.conversion {
        Some((context, _)) => Stream::Convert(Box::new(Converter::new(context.clone()))),
        None => Stream::Relay(Box::new(Relay::new(RelayOptions {
            format: exchange.format,
            hide_usage: answered.hide_usage,
            array: exchange.array,
            model: exchange.model.to_owned(),
            rename: false,
            request_id: exchange.id.bare().to_owned(),
            now: exchange.now,
        }))),
    }
}

/// Usage of a relayed answer. An error document with status 200 is a failure, not an answer.
fn relayed_usage(exchange: &Exchange<'_>, bytes: &Bytes) -> Result<Usage, Missed> {
    if exchange.endpoint.is_some() {
        return Ok(Usage::default());
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Err(Missed::Failed(
            Failure::new(
                FailureClass::UpstreamBad,
                "The provider's answer could not be read.",
            ),
            true,
        ));
    };
    let decoded = ai_api_converter::decode::response(text, exchange.format);
    // An answer with answers in it is no error document.
    let suspect = decoded
        .as_ref()
        .map_or(true, |response| response.candidates.is_empty());
    if suspect && ai_api_converter::failure::document(text).is_some() {
        let failure = ai_api_converter::failure::from_upstream(None, &|_| None, bytes, true);
        let other = failure.is_channels_fault();
        return Err(Missed::Failed(failure, other));
    }
    match decoded {
        Ok(response) => Ok(response.usage),
        Err(_) => {
            let failure = Failure::new(
                FailureClass::UpstreamBad,
                "The provider's answer could not be read.",
            );
            Err(Missed::Failed(failure, true))
        }
    }
}
