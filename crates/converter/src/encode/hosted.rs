//! What vendors' own tools did, as far as another format can show it: searches and code (conversion.md 6.3, 6.4, 12.8).

use std::borrow::Cow;

use crate::format::Format;
use crate::ir::{Block, State, Thought};
use crate::json::{Raw, Text, from_str};
use crate::wire::object;

object! {
    /// A block, item or part of any vendor.
    struct Wire {
        /// Anthropic's and OpenAI's type.
        kind: Cow<'a, str> = "type",
        /// Anthropic's tool.
        name: Cow<'a, str> = "name",
        /// Anthropic's tool input.
        input: Details<'a> = "input",
        /// Anthropic's result.
        content: Raw<'a> = "content",
        /// OpenAI's search.
        action: Details<'a> = "action",
        /// OpenAI's code.
        code: Text<'a> = "code",
        /// OpenAI's results.
        outputs: Vec<Output<'a>> = "outputs",
        /// Gemini's code.
        executable: Details<'a> = "executableCode",
        /// Gemini's result.
        result: Details<'a> = "codeExecutionResult",
        /// Gemini's searches.
        queries: Vec<Text<'a>> = "webSearchQueries",
    }

    /// Members of calls and results.
    struct Details {
        /// Search words.
        query: Text<'a> = "query",
        /// Search words.
        queries: Vec<Text<'a>> = "queries",
        /// Code.
        code: Text<'a> = "code" | "command",
        /// Gemini's result, Anthropic's result.
        output: Text<'a> = "output" | "stdout",
        /// Anthropic's error output.
        errors: Text<'a> = "stderr",
        /// How it went.
        outcome: Text<'a> = "outcome",
    }

    /// One result of OpenAI's interpreter.
    struct Output {
        /// Log text.
        logs: Text<'a> = "logs",
    }
}

/// What a vendor's block shows.
#[derive(Debug, PartialEq)]
pub(crate) enum Hosted<'a> {
    /// It searched the web.
    Search(Vec<Text<'a>>),
    /// It ran code; the result may stand beside it.
    Code(Text<'a>, Option<String>),
    /// The result of code that stood in an earlier block.
    CodeResult(String),
}

/// What a block shows, if another format has a word for it.
pub(crate) fn of_block<'b>(block: &'b Block<'_>) -> Option<Hosted<'b>> {
    match block {
        Block::Thought(Thought {
            state: Some(opaque), ..
        }) => match &opaque.state {
            State::Native(json) if opaque.origin != Format::Chat => of_json(json),
            _ => None,
        },
        Block::Native(native) => of_json(native.json.get()),
        _ => None,
    }
}

fn of_json(json: &str) -> Option<Hosted<'_>> {
    let wire: Wire<'_> = from_str(json).ok()?;
    if let Some(queries) = wire.queries {
        return Some(Hosted::Search(queries));
    }
    if let Some(code) = wire.executable.and_then(|details| details.code) {
        return Some(Hosted::Code(code, None));
    }
    if let Some(result) = wire.result {
        return Some(Hosted::CodeResult(
            result.output.unwrap_or_default().decode().into_owned(),
        ));
    }
    match wire.kind.as_deref()? {
        "web_search_call" => {
            let action = wire.action.unwrap_or_default();
            let queries = action.queries.or(action.query.map(|query| vec![query]));
            Some(Hosted::Search(queries.unwrap_or_default()))
        }
        "code_interpreter_call" => {
            let logs = wire.outputs.unwrap_or_default().into_iter();
            let logs: Vec<String> = logs
                .filter_map(|output| output.logs)
                .map(|logs| logs.decode().into_owned())
                .collect();
            let logs = (!logs.is_empty()).then(|| logs.join("\n"));
            Some(Hosted::Code(wire.code.unwrap_or_default(), logs))
        }
        "server_tool_use" => {
            let input = wire.input.unwrap_or_default();
            match wire.name.as_deref()? {
                "web_search" => Some(Hosted::Search(input.query.into_iter().collect())),
                "code_execution" | "bash_code_execution" => Some(Hosted::Code(input.code?, None)),
                _ => None,
            }
        }
        "code_execution_tool_result" | "bash_code_execution_tool_result" => {
            let details: Details<'_> = from_str(wire.content?.get()).ok()?;
            let mut text = details.output.unwrap_or_default().decode().into_owned();
            text.push_str(&details.errors.unwrap_or_default().decode());
            Some(Hosted::CodeResult(text))
        }
        _ => None,
    }
}

/// The output of the code in front: the first result behind it, unless other code comes before.
pub(crate) fn result_behind(blocks: &[Block<'_>]) -> Option<String> {
    for block in blocks {
        match of_block(block) {
            Some(Hosted::CodeResult(text)) => return Some(text),
            Some(Hosted::Code(..)) => return None,
            _ => {}
        }
    }
    None
}
