//! A request that is over, told to whoever follows requests. Only facts that are no content.

use std::time::SystemTime;

use ai_api_converter::{Dialect, FailureClass, Format, Particulars};
use opm_config::{Channel, Vendor};
use opm_core::RequestId;
use opm_telemetry::{Attempt, Finished};

use crate::history::{Trail, Tried};
use crate::net::client::Client;
use crate::record::Record;
use crate::snapshot::Snapshot;
use crate::trace::tracestate;

/// APIs whose operation has another name in the GenAI conventions.
const OPERATIONS: &[(&str, &str)] = &[
    ("chat_completions", "chat"),
    ("responses", "chat"),
    ("messages", "chat"),
    ("compact", "chat"),
    ("completions", "text_completion"),
    ("embed_content", "embeddings"),
    ("batch_embed_contents", "embeddings"),
    ("input_tokens", "count_tokens"),
];

/// What is told of a request that was planned.
pub(crate) fn finished(
    id: &RequestId,
    record: &mut Record,
    snapshot: &Snapshot,
    client: &Client,
) -> Finished {
    let particulars = record.particulars.take();
    let trail = &record.trail;
    let (now, total) = (SystemTime::now(), record.started.elapsed());
    let format = record.format.unwrap_or(Format::Chat);
    let gone = (record.status == 499).then_some(FailureClass::Cancelled.as_str());
    let attempts = trail.attempts.iter();
    Finished {
        request_id: id.as_str().to_owned(),
        format,
        api: record.api,
        operation: operation(record.api, format),
        label: snapshot.model_label(&trail.model).to_owned(),
        model: trail.model.clone(),
        stream: record.stream,
        max_tokens: record.max_tokens,
        settings: record.settings.take().map(|boxed| *boxed).unwrap_or_default(),
        status: record.status,
        error: record.error.or(gone),
        started: now.checked_sub(total).unwrap_or(now),
        total,
        first_token: record.first_token,
        usage: record.bill.usage.clone(),
        cost_pico_usd: record.bill.cost.map(|cost| cost.0),
        key: record.key.clone(),
        particulars: particulars.map_or_else(Particulars::default, |boxed| *boxed),
        tracestate: record
            .trace
            .as_deref()
            .and_then(|trace| tracestate(client.headers(), trace)),
        trace: record.trace.as_deref().copied(),
        attempts: attempts
            .filter_map(|tried| attempt(tried, trail, snapshot))
            .collect(),
    }
}

fn operation(api: &'static str, format: Format) -> &'static str {
    if api == "by_shape" {
        return if format == Format::Gemini {
            "generate_content"
        } else {
            "chat"
        };
    }
    let known = OPERATIONS.iter().find(|(known, _)| *known == api);
    known.map_or(api, |(_, operation)| operation)
}

fn attempt(tried: &Tried, trail: &Trail, snapshot: &Snapshot) -> Option<Attempt> {
    let (_, model, format) = trail
        .candidates
        .iter()
        .find(|(name, ..)| *name == tried.channel)?;
    let number = snapshot.live.iter().position(|live| live.name == tried.channel)?;
    let (channel, _) = snapshot.channel(number)?;
    Some(Attempt {
        span: tried.span,
        channel: tried.channel.clone(),
        provider: provider(channel),
        model: model.clone(),
        format: *format,
        server_address: channel.base_url.host.clone(),
        server_port: channel.base_url.port,
        outcome: tried.outcome,
        status: tried.status,
        after: tried.after,
        time: tried.time,
    })
}

/// `gen_ai.provider.name` of a channel; compatible servers count as those whose format they speak.
fn provider(channel: &Channel) -> &'static str {
    match (channel.dialect, channel.vendor) {
        (Dialect::DeepSeek, _) => "deepseek",
        (Dialect::OpenRouter, _) => "openrouter",
        (Dialect::GoogleCompat, _) => "gcp.gemini",
        (Dialect::Vertex, _) => "gcp.vertex_ai",
        (_, Vendor::OpenAi) => "openai",
        (_, Vendor::Anthropic) => "anthropic",
        (_, Vendor::Gemini) => "gcp.gemini",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_have_the_names_of_the_conventions() {
        for (api, format, wanted) in [
            ("chat_completions", Format::Chat, "chat"),
            ("responses", Format::Responses, "chat"),
            ("messages", Format::Messages, "chat"),
            ("generate_content", Format::Gemini, "generate_content"),
            ("by_shape", Format::Gemini, "generate_content"),
            ("by_shape", Format::Messages, "chat"),
            ("batch_embed_contents", Format::Gemini, "embeddings"),
            ("embeddings", Format::Chat, "embeddings"),
            ("completions", Format::Chat, "text_completion"),
            ("rerank", Format::Chat, "rerank"),
        ] {
            assert_eq!(operation(api, format), wanted, "{api} {format:?}");
        }
    }
}
