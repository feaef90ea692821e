//! One try at one channel: encode, send, judge the answer's head.

use std::time::{Duration, Instant};

use ai_api_converter::bound::{OutputMember, TooLittle, bound_output};
use ai_api_converter::failure::from_upstream;
use ai_api_converter::scan::{Scan, scan};
use ai_api_converter::{
    Context, Failure, FailureClass, Format, Options, Report, Source, Target, convert_request, scrub,
};
use bytes::Bytes;
use http::HeaderValue;
use opm_config::Channel;
use opm_core::RequestId;
use opm_routing::{Candidate, Stage};
use opm_telemetry::Metrics;
use tokio::time::Instant as Deadline;

use crate::abandoned::{self, rest_of_answer};
use crate::answer::too_long;
use crate::body;
use crate::metering::account::Account;
use crate::net::client::Client;
use crate::net::peer::EndpointPeer;
use crate::net::sending::{Begun, Sending};
use crate::net::upstream::{UpstreamError, UpstreamErrorKind, UpstreamResponse, Upstreams};
use crate::outgoing::{Credentials, Outgoing};
use crate::record::Record;
use crate::stage::credential::Credential;

/// Largest error body that is read, bytes.
const MAX_ERROR: usize = 256 * 1024;

/// What is known of the request when attempts begin.
pub(crate) struct Exchange<'e> {
    pub(crate) id: &'e RequestId,
    pub(crate) format: Format,
    /// Public model name.
    pub(crate) model: &'e str,
    /// Gemini: the model stands in the path.
    pub(crate) path_model: bool,
    pub(crate) stream: bool,
    pub(crate) array: bool,
    pub(crate) body: &'e Bytes,
    pub(crate) scan: &'e Scan<'e>,
    /// The body holds state that we have sealed.
    pub(crate) sealed: bool,
    /// Path below the version, for pass-through endpoints; `{model}` stands for the model.
    pub(crate) endpoint: Option<&'e str>,
    /// The caller's credential, for channels without keys.
    pub(crate) caller: Option<&'e Credential>,
    /// What the answer says of itself is to be noted.
    pub(crate) notes: bool,
    pub(crate) now: u64,
    /// When the request came.
    pub(crate) started: Instant,
    pub(crate) metrics: &'e Metrics,
}

/// An upstream that answered with success, and how its answer becomes the client's.
pub(crate) struct Answered<'a> {
    pub(crate) response: UpstreamResponse<'a>,
    /// `None`: same format, the answer is relayed.
    pub(crate) conversion: Option<Conversion>,
    /// Relay of Chat or of old completions: usage was asked for by us only, so the client must not see it.
    pub(crate) hide_usage: bool,
    pub(crate) idle: Duration,
    /// When the whole request must be over.
    pub(crate) deadline: Deadline,
    /// When it was sent.
    pub(crate) sent: Instant,
}

/// What the way back needs, and what the way there has lost.
pub(crate) type Conversion = Box<(Context, Report)>;

/// Why an attempt did not answer.
pub(crate) enum Missed {
    /// The client left meanwhile.
    Gone,
    /// A failure, and how far the attempt had come.
    Failed(Failure, Stage),
}

impl From<UpstreamError> for Missed {
    fn from(error: UpstreamError) -> Self {
        use UpstreamErrorKind as K;
        let stage = match error.kind {
            K::Dns | K::Connect | K::Tls | K::ConnectTimeout | K::Late => Stage::Connect,
            K::FirstByteTimeout => Stage::FirstByte,
            K::IdleTimeout | K::Reset | K::Protocol => Stage::Answer,
        };
        Missed::Failed(transport(error), stage)
    }
}

/// A broken transport as a failure.
pub(crate) fn transport(error: UpstreamError) -> Failure {
    use UpstreamErrorKind as K;
    let class = match error.kind {
        K::ConnectTimeout | K::Late | K::FirstByteTimeout | K::IdleTimeout => FailureClass::Timeout,
        K::Dns | K::Connect | K::Tls | K::Reset | K::Protocol => FailureClass::UpstreamBad,
    };
    Failure::new(class, error.to_string())
}

impl Exchange<'_> {
    /// When the request must be over at this channel.
    pub(crate) fn deadline(&self, channel: &Channel) -> Deadline {
        let total = if self.stream {
            channel.timeouts.total_stream
        } else {
            channel.timeouts.total
        };
        Deadline::from_std(self.started + total)
    }

    /// Sends the request to a candidate with the key of this number and reads the head of its answer.
    pub(crate) async fn attempt<'a>(
        &self,
        client: &mut Client,
        upstreams: &'a Upstreams,
        (channel, peer): (&'a Channel, &'a EndpointPeer),
        (candidate, key): (&Candidate, Option<usize>),
        record: &mut Record,
        account: &mut Account<'_>,
    ) -> Result<Answered<'a>, Missed> {
        let credential = self.credential(channel, key)?;
        let same = candidate.format == self.format;
        let encoding = Instant::now();
        let (body, conversion) = self.encode(channel, candidate, account.output_most())?;
        self.metrics
            .stage(opm_telemetry::Stage::Encode, encoding.elapsed());
        let endpoint = self
            .endpoint
            .map(|endpoint| endpoint.replace("{model}", &candidate.model));
        let outgoing = Outgoing {
            channel,
            format: candidate.format,
            model: &candidate.model,
            stream: self.stream,
            array: same && self.array,
            same,
            endpoint: endpoint.as_deref(),
            credential,
            trace: record.trace.as_deref(),
        };
        let mut request = outgoing.request(Some(client), body);
        let betas = conversion.iter().flat_map(|both| &both.1.betas);
        for beta in betas {
            request
                .headers
                .append("anthropic-beta", HeaderValue::from_static(beta));
        }
        let own_credential = matches!(outgoing.credential, Some(Credentials::Own(_)));
        let deadline = self.deadline(channel);
        account.dispatch().await;
        let sent = Instant::now();
        let begun = Begun::default();
        let mut sending = Sending::new(upstreams, peer, &request, channel.timeouts.first_byte, &begun);
        let response = loop {
            let mut answer = std::pin::pin!(sending.answer(account.send_by()));
            let answered = tokio::select! {
                biased;
                response = tokio::time::timeout_at(deadline, &mut answer) => response,
                _ = client.gone() => {
                    if !begun.has() {
                        account.unsent();
                        return Err(Missed::Gone);
                    }
                    let place = account.may_drain().filter(|_| !client.is_expired());
                    let Some(_place) = place else { return Err(Missed::Gone) };
                    if self.stream {
                        // Its pump finds nobody there and reads it to the end.
                        match tokio::time::timeout_at(abandoned::deadline(), answer).await {
                            Ok(Ok(response)) => break Ok(Ok(response)),
                            _ => return Err(Missed::Gone),
                        }
                    }
                    if let Some(bytes) = Box::pin(rest_of_answer(answer, abandoned::deadline())).await {
                        let conversion = conversion.as_deref();
                        // Boxed, as all that is rare here: it does not weigh on every request.
                        record.particulars = Box::pin(abandoned::settle(self, conversion, &bytes, sent, account)).await;
                    }
                    return Err(Missed::Gone);
                }
            };
            match answered {
                // It has to be counted from now on; the connection waits.
                Ok(Err(error)) if error.kind == UpstreamErrorKind::Late && account.renew() => {}
                other => break other,
            }
        };
        record.waited += sent.elapsed();
        let stage = if begun.has() {
            Stage::Answer
        } else {
            Stage::Connect
        };
        let mut response = response.map_err(|_| too_long(stage))??;
        if response.status() >= 300 {
            let read = Instant::now();
            let missed = tokio::select! {
                missed = Box::pin(refused(&mut response, channel.timeouts.idle, own_credential, &channel.keys)) => missed,
                _ = client.gone() => Missed::Gone,
            };
            record.waited += read.elapsed();
            return Err(missed);
        }
        Ok(Answered {
            response,
            conversion,
            hide_usage: same && self.asks_for_usage() && self.scan.include_usage != Some(true),
            idle: channel.timeouts.idle,
            deadline,
            sent,
        })
    }

    /// Streams of Chat and of old completions tell their usage only to those who ask.
    fn asks_for_usage(&self) -> bool {
        self.stream && self.format == Format::Chat
    }

    pub(crate) fn credential<'c>(
        &'c self,
        channel: &'c Channel,
        key: Option<usize>,
    ) -> Result<Option<Credentials<'c>>, Missed> {
        if let Some(key) = key.and_then(|key| channel.keys.get(key)) {
            return Ok(Some(Credentials::Own(key.expose())));
        }
        let Some(caller) = self.caller else {
            return Ok(None);
        };
        if let Err(mismatch) = opm_routing::check_credential(&caller.value, channel.vendor) {
            let text = format!(
                "The model `{}` is served by {}, but the credential looks like one of {}; it was not forwarded.",
                self.model.chars().take(80).collect::<String>(),
                mismatch.wanted.as_str(),
                mismatch.looks_like.as_str(),
            );
            return Err(Missed::Failed(
                Failure::new(FailureClass::Auth, text),
                Stage::Answer,
            ));
        }
        Ok(Some(Credentials::Caller(caller)))
    }

    /// The body for a channel of the client's own format: its bytes, but for the model's name.
    fn relayed(
        &self,
        channel: &Channel,
        candidate: &Candidate,
        (body, scanned): (&Bytes, &Scan<'_>),
    ) -> Result<Bytes, Missed> {
        let nested = match self.endpoint {
            Some(_) if self.path_model => body::nested(body, self.model, &candidate.model)
                .map_err(|failure| Missed::Failed(failure, Stage::Answer))?,
            _ => Vec::new(),
        };
        let edits = body::Edits {
            model: (!self.path_model).then_some(candidate.model.as_str()),
            ask_usage: self.asks_for_usage(),
            nested: &nested,
        };
        // State of another vendor that the client still carries is cut out; the rest of the bytes stay.
        let scrubbed = match self.endpoint {
            None if self.sealed => scrub(body, self.format, channel.domain(), None),
            _ => None,
        };
        if let Some(scrubbed) = scrubbed {
            let body = Bytes::from(scrubbed.body);
            if let Ok(scan) = scan(&body) {
                return Ok(body::relayed(&body, &scan, &edits));
            }
        }
        Ok(body::relayed(body, scanned, &edits))
    }

    /// The body for this channel: relayed bytes, or a conversion; held to `most` output tokens where limits demand it.
    fn encode(
        &self,
        channel: &Channel,
        candidate: &Candidate,
        most: Option<u64>,
    ) -> Result<(Bytes, Option<Conversion>), Missed> {
        let bounded = match most {
            None => None,
            Some(most) => {
                let member = OutputMember::of(self.format, candidate.format, channel.dialect);
                let bounded = bound_output(self.body, self.scan, member, most);
                bounded.map_err(|error| held_too_short(&error))?
            }
        };
        let Some(bounded) = bounded.map(Bytes::from) else {
            return self.encoded(channel, candidate, most, (self.body, self.scan));
        };
        let scanned = scan(&bounded).map_err(|error| Missed::Failed(Failure::from(error), Stage::Answer))?;
        self.encoded(channel, candidate, most, (&bounded, &scanned))
    }

    fn encoded(
        &self,
        channel: &Channel,
        candidate: &Candidate,
        most: Option<u64>,
        (body, scanned): (&Bytes, &Scan<'_>),
    ) -> Result<(Bytes, Option<Conversion>), Missed> {
        if candidate.format == self.format {
            let body = self.relayed(channel, candidate, (body, scanned))?;
            return Ok((body, None));
        }
        let source = Source {
            format: self.format,
            model: self.path_model.then_some(self.model),
            stream: self.stream,
            array: self.array,
        };
        let target = Target {
            format: candidate.format,
            dialect: channel.dialect,
            model: &candidate.model,
            domain: channel.domain(),
        };
        let options = Options {
            default_max_tokens: channel.default_max_tokens,
            max_output: most,
            request_id: self.id.bare().to_owned(),
            now: self.now,
            ..Options::default()
        };
        // What this channel's format cannot carry, a channel of the client's own format could.
        let converted = convert_request(body, &source, &target, &options)
            .map_err(|error| Missed::Failed(Failure::from(error), Stage::Answer))?;
        Ok((
            converted.body.into(),
            Some(Box::new((converted.context, converted.report))),
        ))
    }
}

/// A limit leaves the request less than its model can work with.
fn held_too_short(error: &TooLittle) -> Missed {
    let text = format!("The caller's limits leave too little for an answer: {error}.");
    Missed::Failed(Failure::new(FailureClass::TooLarge, text), Stage::Answer)
}

/// Reads what the upstream says when it refuses.
pub(crate) async fn refused(
    response: &mut UpstreamResponse<'_>,
    idle: Duration,
    own_credential: bool,
    keys: &[opm_core::Secret],
) -> Missed {
    let status = response.status();
    // Redirects are never followed: they would carry the provider key somewhere else.
    let status = if status < 400 { 502 } else { status };
    let read = response.body(MAX_ERROR, idle).await.unwrap_or_default();
    let header = |name: &str| response.header(name).map(str::to_owned);
    let mut failure = from_upstream(Some(status), &header, &read, own_credential);
    // Some providers repeat the key they refuse.
    for key in keys.iter().map(opm_core::Secret::expose) {
        if failure.message.contains(key) {
            failure.message = failure.message.replace(key, "***").into();
        }
    }
    Missed::Failed(failure, Stage::Answer)
}
