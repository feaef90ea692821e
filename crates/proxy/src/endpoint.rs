//! Embeddings and token counts across formats: small whole calls, one or several per request (conversion.md section 14).

use std::time::Instant;

use ai_api_converter::embed::{EmbedContext, EmbedOptions};
use ai_api_converter::{Answer, Failure, Format, Options, Report, Source, Target, count, embed};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use opm_config::Channel;
use opm_routing::{Candidate, Offer, Stage};

use crate::answer::{Given, too_long};
use crate::attempt::{Exchange, Missed, refused};
use crate::gateway::offer;
use crate::headers::{JSON, of_request, put};
use crate::metering::account::{Account, Seen};
use crate::metering::headers::Left;
use crate::net::client::Client;
use crate::net::peer::EndpointPeer;
use crate::net::upstream::{UpstreamRequest, Upstreams};
use crate::outgoing::Outgoing;
use crate::record::Record;
use crate::reply;
use crate::waiting::waiting;

/// Largest answer, bytes.
const MAX_ANSWER: usize = 256 << 20;

/// What is sent, and what the way back needs.
struct Calls {
    path: &'static str,
    bodies: Vec<Vec<u8>>,
    report: Report,
    /// `None`: a count.
    embedding: Option<EmbedContext>,
}

/// True if the endpoint is served by a channel of another format.
pub(crate) fn is_converted(exchange: &Exchange<'_>, candidate: &Candidate) -> bool {
    exchange.endpoint.is_some() && candidate.format != exchange.format
}

/// Sends the calls of a request and gives the client their answer.
pub(crate) async fn call(
    client: &mut Client,
    exchange: &Exchange<'_>,
    upstreams: &Upstreams,
    (channel, peer): (&Channel, &EndpointPeer),
    (candidate, key): (&Candidate, Option<usize>),
    record: &mut Record,
    account: &mut Account<'_>,
) -> Result<Given, Missed> {
    let calls =
        calls(exchange, channel, candidate).map_err(|failure| Missed::Failed(failure, Stage::Answer))?;
    let endpoint = calls.path.replace("{model}", &candidate.model);
    let outgoing = Outgoing {
        channel,
        format: candidate.format,
        model: &candidate.model,
        stream: false,
        array: false,
        same: false,
        endpoint: Some(&endpoint),
        credential: exchange.credential(channel, key)?,
        trace: record.trace.as_deref(),
    };
    account.dispatch().await;
    let sent = Instant::now();
    let mut answers = Vec::with_capacity(calls.bodies.len());
    for body in calls.bodies {
        let request = outgoing.request(Some(client), body.into());
        let asking = ask(upstreams, (channel, peer), key, &request);
        let answer = tokio::select! {
            biased;
            answer = tokio::time::timeout_at(exchange.deadline(channel), asking) => answer.unwrap_or_else(|_| Err(too_long(Stage::Answer))),
            _ = client.gone() => Err(Missed::Gone),
        };
        match answer {
            Ok(answer) => answers.push(answer),
            Err(missed) => {
                if let Some(context) = calls.embedding.as_ref().filter(|_| !answers.is_empty()) {
                    account.worked(embed::usage_of(&texts(&answers), context).believed());
                }
                return Err(missed);
            }
        }
    }
    let first_token = sent.elapsed();
    record.waited += first_token;
    let answer = answer(&answers, calls.embedding.as_ref(), exchange.format)
        .map_err(|failure| Missed::Failed(failure, Stage::Answer))?;
    let seen = Seen {
        reported: answer.usage.clone().believed(),
        ..Seen::default()
    };
    account.answered(200, &seen, first_token).await;
    let headers = account.headers();
    give(
        client,
        exchange,
        (calls.report, candidate.format),
        (&answer, headers),
        record,
    )
    .await;
    Ok(Given {
        first_token,
        broken: false,
    })
}

async fn ask(
    upstreams: &Upstreams,
    (channel, peer): (&Channel, &EndpointPeer),
    key: Option<usize>,
    request: &UpstreamRequest,
) -> Result<Bytes, Missed> {
    let mut response = upstreams.send(peer, request, channel.timeouts.first_byte).await?;
    if response.status() >= 300 {
        return Err(refused(&mut response, channel.timeouts.idle, key.is_some(), &channel.keys).await);
    }
    Ok(response.body(MAX_ANSWER, channel.timeouts.idle).await?)
}

fn texts(answers: &[Bytes]) -> Vec<&[u8]> {
    answers.iter().map(|answer| &**answer).collect()
}

fn calls(exchange: &Exchange<'_>, channel: &Channel, candidate: &Candidate) -> Result<Calls, Failure> {
    let source = Source {
        format: exchange.format,
        model: exchange.path_model.then_some(exchange.model),
        stream: false,
        array: false,
    };
    let target = Target {
        format: candidate.format,
        dialect: channel.dialect,
        model: &candidate.model,
        domain: channel.domain(),
    };
    if exchange.endpoint.map(offer) == Some(Offer::Embeddings) {
        let made = embed::request(exchange.body, &source, &target, &EmbedOptions::default())?;
        return Ok(Calls {
            path: match made.method {
                embed::Method::Embeddings => "embeddings",
                embed::Method::EmbedContent => "models/{model}:embedContent",
                embed::Method::BatchEmbedContents => "models/{model}:batchEmbedContents",
                embed::Method::Predict => "models/{model}:predict",
            },
            bodies: made.bodies,
            report: made.report,
            embedding: Some(made.context),
        });
    }
    let made = count::request(exchange.body, &source, &target, &Options::default())?;
    let made = made.ok_or_else(|| {
        Failure::new(
            ai_api_converter::FailureClass::NotImplemented,
            "The channel does not count tokens.",
        )
    })?;
    Ok(Calls {
        path: match candidate.format {
            Format::Messages => "messages/count_tokens",
            Format::Gemini => "models/{model}:countTokens",
            Format::Responses | Format::Chat => "responses/input_tokens",
        },
        bodies: vec![made.body],
        report: made.report,
        embedding: None,
    })
}

fn answer(answers: &[Bytes], embedding: Option<&EmbedContext>, client: Format) -> Result<Answer, Failure> {
    let texts = texts(answers);
    match embedding {
        Some(context) => embed::answer(&texts, context),
        None => count::answer(texts.first().copied().unwrap_or_default(), client),
    }
}

async fn give(
    client: &mut Client,
    exchange: &Exchange<'_>,
    (mut report, upstream): (Report, Format),
    (answer, limits): (&Answer, Left),
    record: &mut Record,
) {
    report.dropped.extend(answer.dropped.iter().cloned());
    let mut headers = of_request(exchange, limits);
    headers.insert(CONTENT_TYPE, JSON);
    reply::report_headers(&report, upstream, &mut headers);
    if exchange.endpoint.map(offer) == Some(Offer::Embeddings) && answer.usage.input.is_none() {
        put(&mut headers, "x-gateway-usage", "unknown".to_owned());
    }
    record.status = 200;
    let body = answer.body.clone().into();
    let answering = client.answer(200, headers, body);
    if waiting(answering, &mut record.waited).await.is_err() {
        record.status = 499;
    }
}
