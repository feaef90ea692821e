//! `generationConfig` of a generateContent request.

use crate::decode::intake::Intake;
use crate::ir::{Effort, OutputFormat, Reasoning, ReasoningDepth, Show};
use crate::json::{Raw, from_str};
use crate::report::Class;
use crate::wire::{Budget, gemini as wire};

pub(super) fn reasoning(config: Option<wire::ThinkingConfig<'_>>, intake: &Intake) -> Reasoning {
    let Some(config) = config else {
        return Reasoning {
            show: Show::Hidden,
            ..Reasoning::default()
        };
    };
    let place = "generationConfig.thinkingConfig";
    intake.extra(place, &config.extra, &[]);
    if let Some(level) = &config.thinking_level
        && Effort::parse(level).is_none()
    {
        intake.lose(format!("{place}.thinkingLevel"), Class::Hint);
    }
    let show = if config.include_thoughts == Some(true) {
        Show::Summary
    } else {
        Show::Hidden
    };
    let depth = match (config.thinking_level, config.thinking_budget) {
        (Some(level), _) => Effort::parse(&level).map_or(ReasoningDepth::Unset, ReasoningDepth::Effort),
        (None, Some(Budget::Tokens(0))) => ReasoningDepth::Off,
        (None, Some(Budget::Tokens(budget))) => ReasoningDepth::Budget(budget),
        (None, Some(Budget::Dynamic)) => ReasoningDepth::Dynamic,
        (None, None) => ReasoningDepth::Unset,
    };
    Reasoning {
        depth,
        show,
        ..Reasoning::default()
    }
}

pub(super) fn output<'a>(config: &wire::GenerationConfig<'a>, intake: &Intake) -> OutputFormat<'a> {
    if config.response_mime_type.as_deref() == Some("text/x.enum") {
        // One of some words: nobody else has it, and a JSON schema would change the answer (conversion.md 11.1).
        intake.lose("generationConfig.responseMimeType".to_owned(), Class::Must);
    }
    let written = config.response_format.and_then(|raw| {
        from_str::<Vec<wire::ResponseFormat<'a>>>(raw.get())
            .or_else(|_| from_str::<wire::ResponseFormat<'a>>(raw.get()).map(|one| vec![one]))
            .ok()
    });
    let text = written
        .into_iter()
        .flatten()
        .find_map(|format: wire::ResponseFormat<'a>| format.text);
    if let Some(text) = text {
        return match text.json_schema.or(text.schema) {
            Some(schema) => json_schema(schema, false),
            None if text.mime_type.as_deref() == Some("application/json") => OutputFormat::JsonObject,
            None => OutputFormat::Text,
        };
    }
    let schema = config
        .response_json_schema
        .map(|schema| (schema, false))
        .or(config.response_schema.map(|schema| (schema, true)));
    match schema {
        Some((schema, openapi)) => json_schema(schema, openapi),
        None if config.response_mime_type.as_deref() == Some("application/json") => OutputFormat::JsonObject,
        None => OutputFormat::Text,
    }
}

pub(super) fn json_schema(schema: Raw<'_>, openapi: bool) -> OutputFormat<'_> {
    OutputFormat::JsonSchema {
        name: None,
        description: None,
        schema,
        openapi,
        strict: None,
    }
}
