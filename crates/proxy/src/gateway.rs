//! The life of a request: one call per stage, readable as the picture in ARCHITECTURE.md.

use std::sync::Arc;
use std::time::Instant;

use ai_api_converter::scan::Scan;
use ai_api_converter::{Failure, FailureClass, Format, seal, settings};
use arc_swap::ArcSwap;
use bytes::Bytes;
use opm_core::{RequestId, user_name};
use opm_routing::{Live, Millis, NoRoute, Offer, Plan, UnderWay, Wanted, World, plan};
use opm_telemetry::{Metrics, Sink, Stage};
use rand::Rng as _;

use crate::attempt::Exchange;
use crate::dispatch::Dispatch;
use crate::finished::finished;
use crate::history::{History, Trail};
use crate::last_used::LastUsed;
use crate::listing::{Own, count_here};
use crate::metering::Metering;
use crate::metering::account::{Account, Asked, Task};
use crate::metering::headers::Left;
use crate::metering::rules::Who;
use crate::net::client::Client;
use crate::net::drain::Drain;
use crate::net::server::{Handler, Refusal, UNREADABLE, Work};
use crate::net::upstream::Upstreams;
use crate::record::{Record, millis};
use crate::refusal::{no_route, unrecognized};
use crate::snapshot::Snapshot;
use crate::stage::authenticate::{Caller, authenticate};
use crate::stage::conversation::{Conversation, conversation};
use crate::stage::credential::{Credential, credentials, query_value};
use crate::stage::path::{Api, COMPLETIONS, MODERATIONS, Unrecognized, recognize};
use crate::trace::traceparent;
use crate::{body, reply};

/// The gateway: everything a request needs.
pub struct Gateway {
    snapshot: Arc<ArcSwap<Snapshot>>,
    live: Arc<Live>,
    upstreams: Arc<Upstreams>,
    metrics: Metrics,
    drain: Drain,
    history: Arc<History>,
    used: Arc<LastUsed>,
    metering: Metering,
    sink: Option<Arc<dyn Sink>>,
    clock: Instant,
}

/// A failure to tell the client; `None`: it is gone, or was told already.
pub(crate) type Refused = Option<Failure>;

impl Handler for Gateway {
    fn handle<'c>(&'c self, client: &'c mut Client) -> Work<'c> {
        Box::pin(self.serve(client))
    }

    fn unreadable(&self) -> (Vec<(&'static str, String)>, Bytes) {
        let id = request_id(opm_ledger::unix_ms());
        let failure = Failure::new(FailureClass::InvalidRequest, UNREADABLE);
        let headers = vec![
            ("x-gateway-request-id", id.as_str().to_owned()),
            (reply::id_header(Format::Chat).as_str(), id.as_str().to_owned()),
            ("x-should-retry", "false".to_owned()),
        ];
        (headers, failure.body(Format::Chat, id.as_str()).into())
    }

    fn refuse<'c>(&'c self, client: &'c mut Client, refusal: Refusal) -> Work<'c> {
        Box::pin(async move {
            let (_, reason) = refusal.words();
            let class = match refusal {
                Refusal::Malformed(_) => FailureClass::InvalidRequest,
                Refusal::Stopping => FailureClass::Overloaded,
                Refusal::Broken => FailureClass::ServerError,
            };
            let format = guess(client);
            let id = request_id(opm_ledger::unix_ms());
            reply::failure(client, format, &id, &Failure::new(class, reason), &Left::new()).await;
        })
    }
}

/// What a gateway is made of; shared with the admin API.
#[derive(Clone)]
pub struct Parts {
    /// The configuration in force.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// What is known of the channels.
    pub live: Arc<Live>,
    /// Connections to upstreams.
    pub upstreams: Arc<Upstreams>,
    /// Metrics.
    pub metrics: Metrics,
    /// Whether the process is on its way out.
    pub drain: Drain,
    /// Why recent requests went where they went.
    pub history: Arc<History>,
    /// When issued client keys were last used.
    pub used: Arc<LastUsed>,
    /// Limits and the ledger.
    pub metering: Metering,
    /// Who is told of finished requests.
    pub sink: Option<Arc<dyn Sink>>,
    /// Zero of the clock that breakers and keys use.
    pub clock: Instant,
}

impl Parts {
    /// The moment on the clock that breakers and keys use.
    #[must_use]
    pub fn now(&self) -> Millis {
        millis(self.clock.elapsed())
    }
}

impl Gateway {
    /// A gateway.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts {
            snapshot,
            live,
            upstreams,
            metrics,
            drain,
            history,
            used,
            metering,
            sink,
            clock,
        } = parts;
        Gateway {
            snapshot,
            live,
            upstreams,
            metrics,
            drain,
            history,
            used,
            metering,
            sink,
            clock,
        }
    }

    pub(crate) fn now(&self) -> Millis {
        self.at(Instant::now())
    }

    /// A moment on the clock that breakers and keys use.
    pub(crate) fn at(&self, moment: Instant) -> Millis {
        millis(moment.saturating_duration_since(self.clock))
    }

    pub(crate) fn live(&self) -> &Live {
        &self.live
    }

    pub(crate) fn upstreams(&self) -> &Upstreams {
        &self.upstreams
    }

    /// False where nothing may be served that cannot be recorded, and nothing can be.
    fn is_recording(&self) -> bool {
        let ledger = self.metering.ledger.as_ref();
        ledger.is_none_or(opm_ledger::Ledger::is_accepting)
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    async fn serve(&self, client: &mut Client) {
        let now_ms = opm_ledger::unix_ms();
        let id = request_id(now_ms);
        let mut record = Record::new(now_ms / 1000);
        let snapshot = self.snapshot.load_full();
        if let Err(refused) = self.request(client, &id, &snapshot, &mut record).await {
            let format = record.format.unwrap_or_else(|| guess(client));
            if let Some(failure) = refused {
                let limits = std::mem::take(&mut record.limits);
                record.error = Some(failure.class.as_str());
                record.status = reply::failure(client, format, &id, &failure, &limits).await;
            }
        }
        record.close(&id, &self.metrics, &snapshot);
        let planned = record.trail.at > 0;
        if planned {
            if let Some(sink) = &self.sink {
                sink.finished(finished(&id, &mut record, &snapshot, client));
            }
            record.trail.status = record.status;
            self.history.add(id, record.trail);
        }
    }

    /// Recognize, authenticate, read, route; then attempts.
    async fn request(
        &self,
        client: &mut Client,
        id: &RequestId,
        snapshot: &Snapshot,
        record: &mut Record,
    ) -> Result<(), Refused> {
        let (api, hint) = match recognize(client.method(), client.path()) {
            Ok(found) => (found.api, found.hint),
            Err(Unrecognized::NotFound(hint)) if client.method() == "POST" => {
                return Box::pin(self.by_shape(client, id, snapshot, hint, record)).await;
            }
            Err(error) => {
                record.format = Some(list_shape(client, error.hint()));
                return Err(Some(unrecognized(&error)));
            }
        };
        record.api = api.name();
        let shape = match &api {
            Api::Generate { format, .. } | Api::PassThrough { format, .. } => *format,
            Api::ResponsesWebSocket => Format::Responses,
            _ => list_shape(client, hint),
        };
        match &api {
            Api::Live => return own(client, id, shape, record).health(true).await,
            Api::Ready => {
                return own(client, id, shape, record)
                    .health(!self.drain.is_draining() && self.is_recording())
                    .await;
            }
            _ => {}
        }
        if self.drain.is_draining() {
            client.close_after();
            let text = "The gateway is shutting down; try again.";
            return Err(Some(Failure::new(FailureClass::Overloaded, text)));
        }
        record.format = Some(shape);
        let given = given(client, shape)?;
        let caller = self.caller(client, snapshot, &given, record)?;
        let config = &snapshot.config;
        let wish = match api {
            Api::Models => return own(client, id, shape, record).models(config, caller.key).await,
            Api::Model(name) => {
                return own(client, id, shape, record)
                    .model(config, caller.key, &name)
                    .await;
            }
            Api::ResponsesWebSocket => return own(client, id, shape, record).no_web_socket().await,
            Api::Live | Api::Ready => return Ok(()),
            Api::Generate {
                format,
                model,
                stream,
            } => Wish {
                format,
                model,
                stream,
                array: stream && !asks_for_sse(client),
                endpoint: None,
            },
            Api::PassThrough { format, name, model } => Wish {
                format,
                model,
                stream: false,
                array: false,
                endpoint: Some(endpoint_path(format, name)),
            },
        };
        let bytes = receive(client, snapshot, record).await?;
        Box::pin(self.generate(client, id, snapshot, wish, &bytes, caller, record)).await
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
        let unknown = || Some(unrecognized(&Unrecognized::NotFound(hint)));
        if client.path().trim_matches('/').contains('/') {
            return Err(unknown());
        }
        // Who may not call gets no body read, whatever its format.
        let shape = list_shape(client, hint);
        record.format = Some(shape);
        let given = given(client, shape)?;
        let caller = self.caller(client, snapshot, &given, record)?;
        let bytes = receive(client, snapshot, record).await?;
        let found = body::scanned(&bytes).ok();
        let format = found
            .and_then(|scan| body::format_of(scan.shape))
            .ok_or_else(unknown)?;
        record.format = Some(format);
        record.api = "by_shape";
        let wish = Wish {
            format,
            model: None,
            stream: false,
            array: false,
            endpoint: None,
        };
        self.generate(client, id, snapshot, wish, &bytes, caller, record)
            .await
    }

    fn caller<'c>(
        &self,
        client: &Client,
        snapshot: &'c Snapshot,
        given: &'c [Credential],
        record: &mut Record,
    ) -> Result<Caller<'c>, Refused> {
        let now = i64::try_from(record.at).unwrap_or(i64::MAX);
        let from = origin(client, snapshot);
        let caller = authenticate(&snapshot.config, &snapshot.keyring, given, now, from).map_err(Some)?;
        record.key = caller.key.map(|key| key.name.clone());
        if let Some(key) = caller.key {
            self.used.note(&key.id, now);
        }
        Ok(caller)
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
        bytes: &Bytes,
        caller: Caller<'_>,
        record: &mut Record,
    ) -> Result<(), Refused> {
        let started = Instant::now();
        let scan = body::scanned(bytes).map_err(Some)?;
        let model = model_of(&wish, &scan)?;
        let notes = self.follow(client, record);
        let talk = conversation(
            client.headers(),
            &scan,
            bytes,
            caller.key.map(|key| key.id.as_str()),
        );
        let seal = seal::first(bytes);
        let domain = seal.and_then(|at| seal::domain_at(bytes, at));
        let now = self.at(started);
        let found = self.plan(
            client,
            snapshot,
            &wish,
            &model,
            caller,
            (talk, domain),
            now,
            record,
        );
        self.metrics.stage(Stage::Route, started.elapsed());
        let counts = wish.endpoint.map(offer) == Some(Offer::Counting);
        let count = async || {
            count_here(
                bytes,
                wish.format,
                (&snapshot.config, &self.metering.learned),
                &model,
            )
            .await
        };
        if counts && matches!(found, Err(NoRoute::OtherApi)) {
            let counted = count().await?;
            return own(client, id, wish.format, record).counted(counted).await;
        }
        let (plan, first) = found.map_err(|error| Some(no_route(&error, &model)))?;
        let exchange = Exchange {
            id,
            format: wish.format,
            model: &model,
            path_model: wish.format == Format::Gemini && wish.model.is_some(),
            stream: is_stream(&wish, &scan),
            array: wish.array,
            body: bytes,
            scan: &scan,
            sealed: seal.is_some(),
            endpoint: wish.endpoint,
            caller: caller.credential,
            notes,
            now: record.at,
            started: record.started,
            metrics: &self.metrics,
        };
        let person = person(client, snapshot, &scan);
        let who = who(&caller, &person, &model);
        let asked = Asked {
            id,
            format: wish.format,
            body: bytes,
            task: task(wish.endpoint),
            scan: &scan,
            stream: exchange.stream,
            started: record.started,
        };
        let mut account = Account::new(&self.metering, snapshot, &self.metrics, who, asked);
        record.stream = exchange.stream;
        record.max_tokens = scan.max_tokens;
        record.settings = record.trace.is_some().then(|| Box::new(settings(bytes)));
        let dispatch = Dispatch {
            gateway: self,
            snapshot,
            exchange: &exchange,
            plan: &plan,
            conversation: talk.map(|talk| talk.hash),
            first,
        };
        let mut ended = Box::pin(dispatch.run(client, record, &mut account)).await;
        if let Err(Some(failure)) = &ended
            && counts
            && is_unknown_there(failure)
        {
            match count().await {
                Ok(counted) => {
                    account.answered_here().await;
                    return own(client, id, wish.format, record).counted(counted).await;
                }
                Err(refused) => ended = Err(refused),
            }
        }
        if let Err(refused) = &ended {
            let expired = client.is_expired();
            unanswered((refused.as_ref(), expired), wish.format, record, &mut account).await;
        }
        record.bill = account.bill();
        ended
    }

    /// Gives the request its place in a trace, if somebody follows requests. True if its answer's particulars are to be noted.
    fn follow(&self, client: &Client, record: &mut Record) -> bool {
        let Some(sink) = &self.sink else {
            return false;
        };
        let following = sink.begin(traceparent(client.headers()));
        record.trace = following.trace.map(Box::new);
        following.particulars
    }

    /// The plan, and the first candidate's count of this request where counts decide.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is one finished stage of the request"
    )]
    fn plan(
        &self,
        client: &Client,
        snapshot: &Snapshot,
        wish: &Wish,
        model: &str,
        caller: Caller<'_>,
        (talk, domain): (Option<Conversation>, Option<u32>),
        now: Millis,
        record: &mut Record,
    ) -> Result<(Plan, Option<UnderWay>), NoRoute> {
        let known = talk
            .filter(|talk| talk.follows)
            .and_then(|talk| self.live.affinity.get(talk.hash, now));
        let wanted = Wanted {
            model,
            format: wish.format,
            key: caller.key,
            offer: wish.endpoint.map_or(Offer::Generation, offer),
            header: &|name| client.header(name),
            sticky: known.as_deref(),
            domain,
        };
        let world = World {
            channels: &snapshot.live,
            live: &self.live,
            now,
        };
        let choosing = snapshot.counts_requests.then(|| self.live.choosing.lock());
        let found = plan(&snapshot.config, &wanted, world, &mut || rand::rng().random());
        let first = choosing.as_ref().and_then(|_| {
            let first = found.as_ref().ok()?.candidates.first()?;
            Some(snapshot.live.get(first.channel)?.enter())
        });
        drop(choosing);
        let seen = found.as_ref().map_err(|(_, skipped)| skipped);
        record.trail = Trail::of(snapshot, &wanted, seen, now, record.at);
        found.map(|plan| (plan, first)).map_err(|(error, _)| error)
    }
}

/// The answer is read as a stream. Of what is passed through only old completions are: they share Chat's events but for `text` in
/// place of `delta`.
fn is_stream(wish: &Wish, scan: &Scan<'_>) -> bool {
    let said = wish.format != Format::Gemini && scan.stream;
    match wish.endpoint {
        None => wish.stream || said,
        Some(endpoint) => endpoint == COMPLETIONS && said,
    }
}

/// What an endpoint makes a model do.
fn task(endpoint: Option<&str>) -> Task {
    match endpoint {
        None | Some(COMPLETIONS) => Task::Write,
        Some(endpoint) if offer(endpoint) == Offer::Embeddings => Task::Read,
        Some(endpoint) if offer(endpoint) == Offer::Counting || endpoint == MODERATIONS => Task::Free,
        Some(_) => Task::Other,
    }
}

fn who<'w>(caller: &Caller<'w>, user: &'w str, model: &'w str) -> Who<'w> {
    Who {
        key: caller.key.map_or("", |key| &key.id),
        key_name: caller.key.map_or("", |key| &key.name),
        user,
        model,
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

/// Settles a request that has no answer, before its client is told.
async fn unanswered(
    (failure, expired): (Option<&Failure>, bool),
    format: Format,
    record: &mut Record,
    account: &mut Account<'_>,
) {
    match failure {
        Some(failure) => {
            account.failed(failure.status(format)).await;
            record.limits = account.headers();
        }
        None => account.abandoned(expired).await,
    }
}

/// Whom the request is for: by the header that names users, else by its body.
fn person(client: &Client, snapshot: &Snapshot, scan: &Scan<'_>) -> String {
    let named = snapshot.user_header.as_ref();
    let named = named.and_then(|name| client.headers().get(name));
    let named = named.map(|name| name.as_bytes());
    let given = named.or(scan.user.as_deref().map(str::as_bytes));
    user_name(given.unwrap_or_default()).into_owned()
}

/// True if the upstream does not know what it was asked for, and that is not the model.
fn is_unknown_there(failure: &Failure) -> bool {
    use FailureClass::{MethodNotAllowed, NotFound, NotImplemented};
    failure.upstream_status.is_some() && matches!(failure.class, NotFound | MethodNotAllowed | NotImplemented)
}

fn own<'o>(client: &'o mut Client, id: &'o RequestId, shape: Format, record: &'o mut Record) -> Own<'o> {
    Own {
        client,
        id,
        shape,
        record,
    }
}

fn request_id(now_ms: u64) -> RequestId {
    let mut random = [0u8; 17];
    rand::rng().fill(&mut random);
    RequestId::new(now_ms, random)
}

async fn receive(client: &mut Client, snapshot: &Snapshot, record: &mut Record) -> Result<Bytes, Refused> {
    let started = Instant::now();
    let bytes = body::read(client, snapshot.config.max_body).await;
    // The client's own pace is not our overhead.
    record.waited += started.elapsed();
    bytes
}

/// Where the caller is: the connection's address, or what a trusted proxy says of it.
fn origin(client: &Client, snapshot: &Snapshot) -> Option<std::net::IpAddr> {
    let address = client.address()?;
    let trusted = |address: &std::net::IpAddr| {
        let networks = &snapshot.config.trusted_proxies;
        networks.iter().any(|network| network.contains(address))
    };
    if !trusted(&address) {
        return Some(address);
    }
    let hops = client.header("x-forwarded-for").unwrap_or_default();
    let mut hops = hops.rsplit(',').map_while(|hop| hop.trim().parse().ok());
    Some(hops.find(|hop| !trusted(hop)).unwrap_or(address))
}

fn asks_for_sse(client: &Client) -> bool {
    let alt = client.query().and_then(|query| query_value(query, "alt"));
    alt.as_deref() == Some("sse")
}

/// The public model name. Gemini's stands in the path; elsewhere (Azure) the path only speaks where the body does not.
fn model_of(wish: &Wish, scan: &ai_api_converter::scan::Scan<'_>) -> Result<String, Refused> {
    let body = scan.model.clone().map(std::borrow::Cow::into_owned);
    let model = match wish.format {
        Format::Gemini => wish.model.clone().or(body),
        Format::Chat | Format::Responses | Format::Messages => body.or_else(|| wish.model.clone()),
    };
    model.filter(|model| !model.is_empty()).ok_or_else(|| {
        let failure = Failure::new(FailureClass::InvalidRequest, "/model: `model` is required");
        Some(Failure {
            param: Some("/model".into()),
            ..failure
        })
    })
}

/// What an endpoint needs of a channel.
pub(crate) fn offer(endpoint: &str) -> Offer {
    match endpoint {
        "messages/count_tokens" | "responses/input_tokens" | "models/{model}:countTokens" => Offer::Counting,
        "embeddings" | "models/{model}:embedContent" | "models/{model}:batchEmbedContents" => {
            Offer::Embeddings
        }
        _ => Offer::SameFormat,
    }
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

/// The format of a caller whose request could not be understood: what its path is about, with whatever method.
fn guess(client: &Client) -> Format {
    let found = recognize("POST", client.path()).or_else(|_| recognize("GET", client.path()));
    match found.map(|found| (found.api, found.hint)) {
        Ok((Api::Generate { format, .. } | Api::PassThrough { format, .. }, _)) => format,
        Ok((_, hint)) | Err(Unrecognized::NotFound(hint) | Unrecognized::Method(_, hint)) => {
            list_shape(client, hint)
        }
        Err(Unrecognized::Invalid) => list_shape(client, None),
    }
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
