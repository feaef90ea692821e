//! Request bodies of generateContent to the IR.

mod config;
mod parts;
mod tools;

use super::intake::Intake;
use super::openai::natives;
use crate::error::{Error, ErrorKind};
use crate::ir::{Block, Request, Speech, SystemBlock, TextBlock};
use crate::json::from_str;
use crate::report::Class;
use crate::wire::gemini as wire;
use config::{output, reasoning};
use parts::{resolution, turn};
use std::borrow::Cow;
use tools::{tool_choice, tools};

/// Members without a place in the IR (conversion.md 4.4); what is not listed is a hint.
const CLASSES: &[(&str, Class)] = &[
    ("cachedContent", Class::Must),
    ("modelArmorConfig", Class::Must),
    ("generationOutputConfig", Class::Must),
    ("continuationToken", Class::Must),
    ("safetySettings", Class::Inert),
    ("generationConfig.modelArmorConfig", Class::Must),
    ("generationConfig.generationOutputConfig", Class::Must),
    ("generationConfig.audioTranscriptionConfig", Class::Must),
    ("generationConfig.translationConfig", Class::Must),
    ("generationConfig.audioTimestamp", Class::Must),
    ("generationConfig.enableEnhancedCivicAnswers", Class::Inert),
];

pub(super) fn decode<'a>(body: &'a str, intake: &Intake) -> Result<Request<'a>, Error> {
    let wire: wire::Request<'_> = from_str(body)?;
    let contents = wire
        .contents
        .ok_or_else(|| Error::at(ErrorKind::Missing, "/contents", "`contents` is required"))?;
    let mut config = wire.generation_config.unwrap_or_default();
    let extra = std::mem::take(&mut config.extra).into_iter();
    let mut outside: Vec<_> = wire
        .extra
        .into_iter()
        .map(|(name, value)| (camel(name), value))
        .collect();
    outside.extend(extra.map(|(name, value)| {
        let name = camel(name);
        (Cow::Owned(format!("generationConfig.{name}")), value)
    }));
    let natives = natives(outside, CLASSES);
    let tool_config = wire.tool_config.unwrap_or_default();
    intake.extra(
        "toolConfig",
        &tool_config.extra,
        &[
            ("includeServerSideToolInvocations", Class::Inert),
            ("include_server_side_tool_invocations", Class::Inert),
        ],
    );
    let mut request = Request {
        model: wire
            .model
            .map(|model| {
                model
                    .strip_prefix("models/")
                    .map_or(model.clone(), |bare| bare.to_owned().into())
            })
            .unwrap_or_default(),
        include_usage: true,
        system: system(wire.system_instruction, intake),
        tools: tools(wire.tools.unwrap_or_default(), intake)?,
        tool_choice: tool_config.function_calling_config.and_then(tool_choice),
        temperature: config.temperature,
        top_p: config.top_p,
        top_k: config.top_k,
        frequency_penalty: config.frequency_penalty,
        presence_penalty: config.presence_penalty,
        seed: config.seed,
        candidates: config.candidate_count.map(u64::from),
        max_output_tokens: config.max_output_tokens.map(u64::from),
        stop: config.stop_sequences.take().unwrap_or_default(),
        logprobs: config.response_logprobs.unwrap_or(false),
        top_logprobs: config.logprobs.map(u64::from),
        reasoning: reasoning(config.thinking_config.take(), intake),
        output: output(&config, intake),
        modalities: config
            .response_modalities
            .take()
            .unwrap_or_default()
            .into_iter()
            .map(|word| Cow::Owned(word.to_ascii_lowercase()))
            .collect(),
        speech: config.speech_config.take().map(|speech| {
            let voice = speech.voice_config.and_then(|voice| voice.prebuilt);
            Speech {
                voice: voice.and_then(|voice| voice.voice_name),
                format: None,
            }
        }),
        media_detail: config.media_resolution.as_deref().and_then(resolution),
        metadata: wire.labels,
        service_tier: wire.service_tier.map(|tier| {
            let tier = tier.to_ascii_lowercase();
            let bare = tier.strip_prefix("service_tier_").map(str::to_owned);
            Cow::Owned(bare.unwrap_or(tier))
        }),
        store: wire.store,
        natives,
        ..Request::default()
    };
    for (index, content) in contents.0.into_iter().enumerate() {
        turn(content, index, &mut request, intake)
            .map_err(|error| error.under_index(index).under("contents"))?;
    }
    if let Some(detail) = request.media_detail {
        for block in request.turns.iter_mut().flat_map(|turn| &mut turn.blocks) {
            if let Block::Media(media) = block
                && media.kind == crate::ir::MediaKind::Image
            {
                media.detail.get_or_insert(detail);
            }
        }
    }
    Ok(request)
}

/// `cached_content` as `cachedContent`: both spellings are read, one is reported.
fn camel(name: Cow<'_, str>) -> Cow<'_, str> {
    if !name.contains('_') {
        return name;
    }
    let mut out = String::with_capacity(name.len());
    let mut up = false;
    for c in name.chars() {
        if c == '_' && !out.is_empty() {
            up = true;
        } else {
            out.push(if up { c.to_ascii_uppercase() } else { c });
            up = false;
        }
    }
    Cow::Owned(out)
}

fn system<'a>(content: Option<wire::Content<'a>>, intake: &Intake) -> Vec<SystemBlock<'a>> {
    let parts = content.and_then(|content| content.parts).unwrap_or_default();
    let texts = parts
        .into_iter()
        .enumerate()
        .filter_map(|(index, part)| {
            if part.text.is_none() {
                intake.lose(format!("systemInstruction.parts[{index}]"), Class::Must);
            }
            part.text
        })
        .filter(|text| !text.is_empty());
    texts
        .map(|text| SystemBlock {
            developer: false,
            text: TextBlock {
                text,
                ..TextBlock::default()
            },
        })
        .collect()
}
