//! What is decided before a Messages request is written: limits, thinking and forced tools depend on each other.

use crate::Format;
use crate::encode::parts::OPERATOR_NOTE;
use crate::ir::{Block, Effort, Member, ReasoningDepth, Request, Role, Thought, ToolChoice};
use crate::profile::{Profile, Thinking};
use crate::report::Report;
use crate::target::Options;

/// Anthropic's smallest thinking budget, tokens.
pub(super) const MIN_BUDGET: u64 = 1024;

/// What is decided before anything is written: limits, thinking and forced tools depend on each other.
pub(super) struct Plan {
    pub(super) max_tokens: u64,
    pub(super) thinking: Form,
    pub(super) effort: Option<Effort>,
    /// A tool that the model cannot be forced to call: it is asked to, in words.
    pub(super) plea: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Absent,
    Disabled,
    BetweenTools,
    Adaptive,
    Budget(u64),
}

pub(super) fn thinking_plan(
    request: &Request<'_>,
    profile: &Profile,
    options: &Options,
    report: &mut Report,
) -> Plan {
    let default = options
        .default_max_tokens
        .map_or(profile.max_output, |limit| limit.min(profile.max_output));
    let most = options.max_output.unwrap_or(u64::MAX);
    let mut max_tokens = request.max_output_tokens.unwrap_or(default).min(most);
    let asked = asked_effort(request);
    let adaptive = matches!(profile.thinking, Thinking::Adaptive | Thinking::Both);
    let off = request.reasoning.depth == ReasoningDepth::Off;
    let dynamic = request.reasoning.depth == ReasoningDepth::Dynamic;
    let path = Member::Effort.path(report.client());
    let mut effort = if off {
        None
    } else {
        asked.and_then(|effort| profile.nearest(effort))
    };
    let mut thinking = match profile.thinking {
        Thinking::No => {
            if asked.is_some_and(|effort| effort != Effort::None) || dynamic {
                report.dropped(path);
            }
            Form::Absent
        }
        _ if off && profile.can_disable => Form::Disabled,
        _ if off && profile.between_tools => Form::BetweenTools,
        _ if off => {
            effort = profile.efforts.first().copied();
            Form::Absent
        }
        _ if adaptive => match request.reasoning.depth {
            // The client's own budget, where the model still takes one.
            ReasoningDepth::Budget(budget)
                if profile.thinking == Thinking::Both && report.client() == Format::Messages =>
            {
                effort = request
                    .reasoning
                    .effort
                    .and_then(|effort| profile.nearest(effort));
                Form::Budget(budget)
            }
            ReasoningDepth::Unset if asked.is_none() => Form::Absent,
            _ => Form::Adaptive,
        },
        _ => match (request.reasoning.depth, asked) {
            (ReasoningDepth::Budget(budget), _) => Form::Budget(budget),
            (_, Some(effort)) => Form::Budget(budget_of(effort)),
            // How much is left to the model, which has no word for that.
            _ => Form::Absent,
        },
    };
    if let (Some(asked), Some(given)) = (asked, effort)
        && asked != given
        && request.reasoning.depth != ReasoningDepth::Off
    {
        report.altered(path, asked.as_str(), given.as_str());
    }
    if let Form::Budget(budget) = thinking {
        thinking = budget_form(budget, request, (&mut max_tokens, most), profile, report);
    }
    if matches!(thinking, Form::Budget(_)) && report.client() != Format::Messages {
        effort = None;
    }
    let forcible = profile.forced_tools && !matches!(thinking, Form::Budget(_));
    Plan {
        max_tokens,
        thinking,
        effort,
        plea: if forcible { None } else { plea(request) },
    }
}

/// What is said to a model that cannot be forced to call a tool (conversion.md 8.5).
pub(super) fn plea(request: &Request<'_>) -> Option<String> {
    match &request.tool_choice {
        Some(ToolChoice::Tool(name) | ToolChoice::Hosted(name)) => {
            Some(format!("{OPERATOR_NOTE}Call the tool {name} now."))
        }
        Some(ToolChoice::Any | ToolChoice::Subset { required: true, .. }) => {
            Some(format!("{OPERATOR_NOTE}Call one of the tools now."))
        }
        _ => None,
    }
}

/// A budget that fits below the output limit, or no thinking at all (conversion.md section 9, 8.5, 7.5).
pub(super) fn budget_form(
    budget: u64,
    request: &Request<'_>,
    (max_tokens, most): (&mut u64, u64),
    profile: &Profile,
    report: &mut Report,
) -> Form {
    let path = Member::Effort.path(report.client());
    let forced = matches!(
        request.tool_choice,
        Some(ToolChoice::Any | ToolChoice::Tool(_) | ToolChoice::Subset { required: true, .. })
    );
    if forced || open_loop_without_thinking(request) {
        report.dropped(path);
        return Form::Disabled;
    }
    let budget = budget.max(MIN_BUDGET);
    if request.max_output_tokens.is_none() || report.client() != Format::Messages {
        // The output limits of the other formats do not count thinking where the vendor's does.
        *max_tokens = (*max_tokens)
            .max(budget + MIN_BUDGET)
            .min(profile.max_output.max(*max_tokens))
            .min(most);
    }
    if *max_tokens <= MIN_BUDGET {
        report.dropped(path);
        return Form::Disabled;
    }
    Form::Budget(budget.min(*max_tokens - 1))
}

/// The budget form demands that an open tool loop starts with a thinking block.
pub(super) fn open_loop_without_thinking(request: &Request<'_>) -> bool {
    let mut turns = request.turns.iter().rev();
    if !matches!(turns.next(), Some(turn) if turn.role == Role::Tool) {
        return false;
    }
    let last = turns.find(|turn| turn.role == Role::Assistant);
    !last.is_some_and(|turn| {
        turn.blocks.iter().any(|block| matches!(block, Block::Thought(Thought { state: Some(state), .. }) if state.origin == Format::Messages))
    })
}

pub(super) fn asked_effort(request: &Request<'_>) -> Option<Effort> {
    match request.reasoning.depth {
        ReasoningDepth::Effort(effort) => Some(effort),
        ReasoningDepth::Budget(tokens) => Some(crate::encode::chat_request::bucket(tokens)),
        ReasoningDepth::Off => Some(Effort::None),
        ReasoningDepth::Unset | ReasoningDepth::Dynamic => request.reasoning.effort,
    }
}

/// Levels as token budgets (conversion.md section 9; the numbers of Google's own OpenAI surface).
pub(in crate::encode) fn budget_of(effort: Effort) -> u64 {
    match effort {
        Effort::None => 0,
        Effort::Minimal | Effort::Low => 1_024,
        Effort::Medium => 8_192,
        Effort::High => 24_576,
        Effort::XHigh => 32_000,
        Effort::Max => 48_000,
    }
}
