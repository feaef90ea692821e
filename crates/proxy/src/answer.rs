//! The upstream said yes: its answer becomes the client's, whole or as a stream.

use std::time::{Duration, Instant};

use ai_api_converter::decode::relayed_noting;
use ai_api_converter::stream::{Converter, Relay, RelayOptions, Stream};
use ai_api_converter::{
    Context, Failure, FailureClass, Format, Particulars, Report, Usage, convert_response_noting,
};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use opm_routing::Stage;
use opm_telemetry::Metrics;

use crate::abandoned;
use crate::attempt::{Answered, Exchange, Missed};
use crate::headers::{JSON, answer_headers, put, stream_headers};
use crate::metering::account::{Account, Seen};
use crate::net::client::Client;
use crate::net::patience::until;
use crate::pump::{Ending, Pump};
use crate::record::Record;
use crate::reply;
use crate::stage::path::COMPLETIONS;
use crate::waiting::waiting;

/// Largest answer that is converted as a whole, bytes.
const MAX_ANSWER: usize = 256 << 20;

/// An answer that the client has, or has as much of as it stayed for.
pub(crate) struct Given {
    /// From the sending of the request to the first content, or to the whole answer.
    pub(crate) first_token: Duration,
    /// The upstream broke off after its answer had begun: it counts against the channel although the request is over.
    pub(crate) broken: bool,
}

/// Passes an answer on.
///
/// # Errors
/// Nothing was sent to the client yet: another channel may be tried.
pub(crate) async fn give(
    client: &mut Client,
    exchange: &Exchange<'_>,
    answered: Answered<'_>,
    metrics: &Metrics,
    record: &mut Record,
    account: &mut Account<'_>,
) -> Result<Given, Missed> {
    if exchange.stream && !is_whole(exchange, &answered) {
        let _open = metrics.stream();
        // Once per stream; unboxed, its state would be moved with every request.
        Box::pin(stream(client, exchange, answered, record, account)).await
    } else {
        whole(client, exchange, answered, record, account).await
    }
}

/// The upstream does not stream old completions: their whole answers are not made into streams.
fn is_whole(exchange: &Exchange<'_>, answered: &Answered<'_>) -> bool {
    const WHOLE: &[u8] = b"application/json";
    let kind = answered.response.headers().get(CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.as_bytes().get(..WHOLE.len()));
    exchange.endpoint.is_some() && kind.is_some_and(|kind| kind.eq_ignore_ascii_case(WHOLE))
}

async fn stream(
    client: &mut Client,
    exchange: &Exchange<'_>,
    answered: Answered<'_>,
    record: &mut Record,
    account: &mut Account<'_>,
) -> Result<Given, Missed> {
    let mut headers = answer_headers(exchange, &answered, account.headers());
    stream_headers(exchange, &mut headers);
    let mut committed = None;
    let mut stream = stream_of(exchange, &answered);
    if exchange.notes {
        stream.take_notes();
    }
    let pump = Pump {
        client,
        stream: &mut stream,
        format: exchange.format,
        headers,
        idle: answered.idle,
        end: answered.deadline,
        sent: answered.sent,
        waited: &mut record.waited,
        committed: &mut committed,
        account,
    };
    let ending = pump.run(answered.response).await;
    let first_token = committed.map_or(answered.sent.elapsed(), |at: Instant| {
        at.duration_since(answered.sent)
    });
    let given = |broken| Given { first_token, broken };
    if !matches!(ending, Ending::Nothing(_)) {
        record.particulars = stream.particulars().map(Box::new);
    }
    match ending {
        Ending::Done => {
            record.status = 200;
            Ok(given(false))
        }
        Ending::Gone => {
            record.status = 499;
            Ok(given(false))
        }
        Ending::Broken(failure) => {
            record.status = failure.status(exchange.format);
            record.error = Some(failure.class.as_str());
            tracing::warn!(id = exchange.id.as_str(), class = ?failure.class, "stream broke after it had begun");
            Ok(given(failure.is_channels_fault()))
        }
        Ending::Nothing(failure) => {
            account.told(stream.usage().clone().believed());
            Err(Missed::Failed(failure, Stage::FirstEvent))
        }
    }
}

async fn whole(
    client: &mut Client,
    exchange: &Exchange<'_>,
    mut answered: Answered<'_>,
    record: &mut Record,
    account: &mut Account<'_>,
) -> Result<Given, Missed> {
    let mut headers = answer_headers(exchange, &answered, account.headers());
    let started = Instant::now();
    let status = answered.response.status();
    // What is passed through may be sound, or a stream of an endpoint that is not converted.
    let kind = match exchange.endpoint {
        Some(_) => answered.response.headers().get(CONTENT_TYPE),
        None => None,
    };
    let kind = kind.filter(|kind| kind.to_str().is_ok()).cloned();
    let body = answered.response.body(MAX_ANSWER, answered.idle);
    let mut body = std::pin::pin!(until(answered.deadline, body));
    let read = tokio::select! {
        biased;
        read = &mut body => Some(read),
        _ = client.gone() => None,
    };
    let Some(read) = read else {
        if let Some(_place) = account.may_drain().filter(|_| !client.is_expired())
            && let Some(Some(Ok(bytes))) = until(abandoned::deadline(), body).await
        {
            let conversion = answered.conversion.as_deref();
            // Boxed, as it is rare.
            let settling = abandoned::settle(exchange, conversion, &bytes, answered.sent, account);
            record.particulars = Box::pin(settling).await;
        }
        return Err(Missed::Gone);
    };
    let now = Instant::now();
    record.waited += now.duration_since(started);
    let first_token = now.duration_since(answered.sent);
    let bytes = read.ok_or_else(|| too_long(Stage::Answer))??;
    let upstream = (
        bytes.clone(),
        answered.conversion.as_deref().map(|both| both.0.upstream),
    );
    let mut notes = exchange.notes.then(Box::<Particulars>::default);
    let (bytes, usage) = match answered.conversion.as_deref() {
        Some((context, report)) => {
            let answer =
                convert_response_noting(&bytes, context, notes.as_deref_mut()).map_err(|failure| {
                    account.told(usage_of_failed(&bytes, context.upstream));
                    Missed::Failed(failure, Stage::Answer)
                })?;
            reply::also_dropped(report, &answer.dropped, &mut headers);
            if let Some(finish) = answer.native_finish {
                put(&mut headers, "x-gateway-native-finish", finish);
            }
            (answer.body.into(), answer.usage)
        }
        None => {
            let usage = relayed_usage(exchange, &bytes, notes.as_deref_mut())
                .inspect_err(|_| account.told(usage_of_failed(&bytes, exchange.format)))?;
            (bytes, usage)
        }
    };
    headers.insert(CONTENT_TYPE, kind.unwrap_or(JSON));
    record.status = status;
    record.particulars = notes;
    let seen = seen_whole(exchange, usage.believed(), &upstream);
    account.answered(record.status, &seen, first_token).await;
    let answering = client.answer(status, headers, bytes);
    if waiting(answering, &mut record.waited).await.is_err() {
        record.status = 499;
    }
    Ok(Given {
        first_token,
        broken: false,
    })
}

/// The whole request took longer than the channel allows.
pub(crate) fn too_long(stage: Stage) -> Missed {
    let text = "The request took longer than the gateway waits in all.";
    Missed::Failed(Failure::new(FailureClass::Timeout, text), stage)
}

fn stream_of(exchange: &Exchange<'_>, answered: &Answered<'_>) -> Stream {
    match answered.conversion.as_deref() {
        Some((context, _)) => Stream::Convert(Box::new(Converter::new(context.clone()))),
        None => Stream::Relay(Box::new(Relay::new(RelayOptions {
            format: exchange.format,
            hide_usage: answered.hide_usage,
            rename: false,
            array: exchange.array,
            model: exchange.model.to_owned(),
            request_id: exchange.id.bare().to_owned(),
            now: exchange.now,
        }))),
    }
}

/// What a whole answer shows: its usage, and where the upstream has not counted the output, our own count of it.
fn seen_whole(
    exchange: &Exchange<'_>,
    reported: Usage,
    (bytes, converted): &(Bytes, Option<Format>),
) -> Seen {
    if reported.output.is_some() || exchange.endpoint.is_some_and(|endpoint| endpoint != COMPLETIONS) {
        return Seen {
            reported,
            ..Seen::default()
        };
    }
    // A document is counted as a stream of one event would be.
    let mut counter = Stream::Relay(Box::new(Relay::new(RelayOptions {
        format: converted.unwrap_or(exchange.format),
        hide_usage: false,
        rename: false,
        array: false,
        model: String::new(),
        request_id: String::new(),
        now: exchange.now,
    })));
    let mut out = Vec::new();
    counter.push(bytes, &mut out);
    counter.end(&mut out);
    let (likely, most) = (counter.output_estimate(), counter.output_most());
    let bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    Seen {
        reported,
        // Old completions have a shape of their own: their text is nearly all of the body.
        likely: match exchange.endpoint {
            Some(COMPLETIONS) if likely == 0 => bytes / 4,
            _ => likely,
        },
        most: if likely > 0 { most } else { bytes },
        ..Seen::default()
    }
}

/// Usage of a whole answer. What else is wanted of it is noted on the way.
pub(crate) fn usage_of(
    exchange: &Exchange<'_>,
    conversion: Option<&(Context, Report)>,
    bytes: &Bytes,
    notes: Option<&mut Particulars>,
) -> Result<Usage, Missed> {
    match conversion {
        None => relayed_usage(exchange, bytes, notes),
        Some((context, _)) => convert_response_noting(bytes, context, notes)
            .map(|answer| answer.usage)
            .map_err(|failure| Missed::Failed(failure, Stage::Answer)),
    }
}

/// Usage of a relayed answer. An error document with status 200 is a failure, not an answer.
fn relayed_usage(
    exchange: &Exchange<'_>,
    bytes: &Bytes,
    notes: Option<&mut Particulars>,
) -> Result<Usage, Missed> {
    if exchange.endpoint.is_some() {
        return Ok(usage_of_endpoint(exchange, bytes, notes));
    }
    let Ok(text) = ai_api_converter::json::text(bytes) else {
        return Err(unreadable());
    };
    let found = relayed_noting(text, exchange.format, notes);
    // An answer with something in it is no error document.
    let suspect = found.as_ref().map_or(true, |found| !found.has_content);
    if suspect && ai_api_converter::failure::document(text).is_some() {
        let failure = ai_api_converter::failure::from_upstream(None, &|_| None, bytes, true);
        return Err(Missed::Failed(failure, Stage::Answer));
    }
    match found {
        Ok(found) if found.is_answer => Ok(found.usage),
        _ => Err(unreadable()),
    }
}

/// Usage of an endpoint that is passed through, as far as its answer tells; audio and lists tell nothing.
fn usage_of_endpoint(exchange: &Exchange<'_>, bytes: &Bytes, notes: Option<&mut Particulars>) -> Usage {
    /// `usage`, `usageMetadata`.
    const NAME: &[u8] = b"\"usage";
    let text = std::str::from_utf8(bytes).ok();
    let text = text.filter(|text| memchr::memmem::find(text.as_bytes(), NAME).is_some());
    let found = text.and_then(|text| relayed_noting(text, exchange.format, notes).ok());
    found.map(|found| found.usage).unwrap_or_default()
}

/// What the answer says it has used, although it is a failure.
fn usage_of_failed(bytes: &Bytes, upstream: Format) -> Usage {
    let text = std::str::from_utf8(bytes).ok();
    let found = text.and_then(|text| relayed_noting(text, upstream, None).ok());
    found.map(|found| found.usage.believed()).unwrap_or_default()
}

fn unreadable() -> Missed {
    let text = "The provider's answer could not be read.";
    Missed::Failed(Failure::new(FailureClass::UpstreamBad, text), Stage::Answer)
}
