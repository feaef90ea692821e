//! What a decoded request is made of, part by part, for whoever counts it.

use crate::ir::{Arguments, Block, Request, Source, ToolKind};
use crate::json::Text;

/// Tokens of a message's frame.
const PER_MESSAGE: u64 = 4;
/// Tokens of an image or document whose size is unknown.
const PER_MEDIA: u64 = 800;

/// Counts tokens.
pub(crate) trait Counter {
    /// Adds a text; escapes count as the characters they stand for.
    fn text(&mut self, text: &Text<'_>);

    /// Adds tokens of something that is no text.
    fn tokens(&mut self, tokens: u64);
}

/// Gives all that costs input tokens to a counter.
pub(crate) fn walk(request: &Request<'_>, counter: &mut dyn Counter) {
    for block in &request.system {
        counter.tokens(PER_MESSAGE);
        counter.text(&block.text.text);
    }
    for turn in &request.turns {
        counter.tokens(PER_MESSAGE);
        turn.blocks.iter().for_each(|part| block(part, counter));
    }
    for tool in &request.tools {
        counter.text(&Text::from(&*tool.name));
        tool.description.iter().for_each(|text| counter.text(text));
        match &tool.kind {
            ToolKind::Function { parameters, .. } => {
                plain(parameters.iter().map(|schema| schema.get()), counter)
            }
            ToolKind::Custom { format } => plain(format.iter().map(|format| format.get()), counter),
            ToolKind::Hosted { json, .. } => plain([json.get()], counter),
        }
    }
}

fn plain<'t>(texts: impl IntoIterator<Item = &'t str>, counter: &mut dyn Counter) {
    for text in texts {
        counter.text(&Text::from(text));
    }
}

fn block(part: &Block<'_>, counter: &mut dyn Counter) {
    match part {
        Block::Text(text) => counter.text(&text.text),
        Block::Refusal(text) => counter.text(text),
        Block::Thought(thought) => thought.text.iter().for_each(|text| counter.text(text)),
        Block::ToolCall(call) => {
            plain([&*call.name], counter);
            match &call.arguments {
                Arguments::Object(raw) => plain([raw.get()], counter),
                Arguments::Encoded(text) | Arguments::Freeform(text) => counter.text(text),
            }
        }
        Block::ToolResult(result) => {
            result.parts.iter().for_each(|part| block(part, counter));
            plain(result.structured.iter().map(|raw| raw.get()), counter);
        }
        Block::Media(media) => match &media.source {
            Source::Text(text) => counter.text(text),
            Source::Blocks(blocks) => blocks.iter().for_each(|part| block(part, counter)),
            _ => counter.tokens(PER_MEDIA),
        },
        Block::Native(_) => {}
    }
}
