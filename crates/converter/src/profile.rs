//! What each upstream model accepts (conversion.md section 15). Data, not code: a new model is a new row.

use crate::format::{Dialect, Format};
use crate::ir::Effort::{self, High, Low, Max, Medium, Minimal, None as No, XHigh};

/// Forms of Anthropic's thinking member that a model accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thinking {
    /// None at all.
    No,
    /// `enabled` with a budget.
    Budget,
    /// `adaptive` with an effort.
    Adaptive,
    /// Both.
    Both,
}

/// What a model does with sampling members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// Takes them.
    Full,
    /// Rejects them: they are dropped.
    Fixed,
    /// Ignores them: they are dropped.
    Ignored,
}

/// What an upstream model accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Maximum output, tokens.
    pub max_output: u64,
    /// Thinking forms (Messages).
    pub thinking: Thinking,
    /// Reasoning can be switched off.
    pub can_disable: bool,
    /// Sonnet 5.5: "off" is spelled `between_tools`.
    pub between_tools: bool,
    /// Levels it knows, lowest first; empty: no reasoning control by level.
    pub efforts: &'static [Effort],
    /// Token budget range of reasoning (Gemini 2.5): lowest above 0, and highest; whether 0 is allowed is `can_disable`.
    pub budget: Option<(u64, u64)>,
    /// Sampling members.
    pub sampling: Sampling,
    /// The last turn may be the assistant's (Messages).
    pub prefill: bool,
    /// A tool may be forced (Messages).
    pub forced_tools: bool,
    /// System messages may stand inside the conversation (Messages).
    pub mid_system: bool,
    /// Thinking blocks are bound to the prefix (Messages).
    pub preserved_thinking: bool,
    /// Structured output by schema is native.
    pub structured_output: bool,
    /// Function tools with reasoning only on Responses.
    pub tools_need_responses: bool,
    /// Chat's `stop` is taken (OpenAI).
    pub stop: bool,
    /// `parallel_tool_calls` is taken (OpenAI).
    pub parallel_switch: bool,
    /// It is a reasoning model (OpenAI: `developer` role).
    pub reasoning: bool,
    /// Function calls carry ids (Gemini 3).
    pub call_ids: bool,
    /// Tool loops need thought signatures (Gemini 3).
    pub signatures: bool,
    /// Schemas go as JSON Schema (Gemini 2 and later).
    pub json_schema: bool,
}

impl Profile {
    /// The level to ask for: the wanted one, or the nearest that the model knows. A tie goes up, but above `high` it goes down:
    /// nobody pays for more than they asked (conversion.md section 9).
    #[must_use]
    pub fn nearest(&self, wanted: Effort) -> Option<Effort> {
        let distance = |effort: &Effort| {
            let apart = (*effort as i8 - wanted as i8).unsigned_abs();
            (apart, (*effort > wanted) == (wanted > High))
        };
        self.efforts
            .iter()
            .copied()
            .filter(|effort| wanted == No || *effort != No)
            .min_by_key(distance)
    }
}

const BASE: Profile = Profile {
    max_output: 32_000,
    thinking: Thinking::No,
    can_disable: true,
    between_tools: false,
    efforts: &[],
    budget: None,
    sampling: Sampling::Full,
    prefill: true,
    forced_tools: true,
    mid_system: false,
    preserved_thinking: false,
    structured_output: true,
    tools_need_responses: false,
    stop: true,
    parallel_switch: true,
    reasoning: false,
    call_ids: true,
    signatures: false,
    json_schema: true,
};

/// Claude with a thinking budget (up to 4.5).
const CLAUDE_BUDGET: Profile = Profile {
    max_output: 64_000,
    thinking: Thinking::Budget,
    ..BASE
};
/// Claude 4.6.
const CLAUDE_46: Profile = Profile {
    max_output: 128_000,
    thinking: Thinking::Both,
    efforts: &[Low, Medium, High, Max],
    prefill: false,
    ..BASE
};
/// Claude after 4.6: adaptive thinking, fixed sampling.
const CLAUDE_NEW: Profile = Profile {
    thinking: Thinking::Adaptive,
    efforts: &[Low, Medium, High, XHigh, Max],
    sampling: Sampling::Fixed,
    ..CLAUDE_46
};
/// Claude 5.5 and the 5.1+ specials: always thinking, bound to the prefix, no forced tools.
const CLAUDE_55: Profile = Profile {
    can_disable: false,
    forced_tools: false,
    mid_system: true,
    preserved_thinking: true,
    ..CLAUDE_NEW
};

/// Rows are tried from the top; the first whose prefix starts the model name wins.
const CLAUDE: &[(&str, Profile)] = &[
    (
        "claude-3-5-haiku",
        Profile {
            max_output: 8_192,
            structured_output: false,
            ..BASE
        },
    ),
    (
        "claude-3-5",
        Profile {
            max_output: 8_192,
            structured_output: false,
            ..BASE
        },
    ),
    (
        "claude-3-7",
        Profile {
            max_output: 64_000,
            thinking: Thinking::Budget,
            structured_output: false,
            ..BASE
        },
    ),
    (
        "claude-3-",
        Profile {
            max_output: 4_096,
            structured_output: false,
            ..BASE
        },
    ),
    (
        "claude-opus-4-5",
        Profile {
            efforts: &[Low, Medium, High],
            ..CLAUDE_BUDGET
        },
    ),
    ("claude-haiku-4-5", CLAUDE_BUDGET),
    ("claude-sonnet-4-5", CLAUDE_BUDGET),
    ("claude-sonnet-4-6", CLAUDE_46),
    ("claude-opus-4-6", CLAUDE_46),
    ("claude-opus-4-7", CLAUDE_NEW),
    (
        "claude-opus-4-8",
        Profile {
            mid_system: true,
            ..CLAUDE_NEW
        },
    ),
    (
        "claude-opus-4",
        Profile {
            max_output: 32_000,
            structured_output: false,
            ..CLAUDE_BUDGET
        },
    ),
    (
        "claude-sonnet-4",
        Profile {
            structured_output: false,
            ..CLAUDE_BUDGET
        },
    ),
    (
        "claude-haiku-5-5",
        Profile {
            can_disable: true,
            forced_tools: true,
            ..CLAUDE_55
        },
    ),
    (
        "claude-sonnet-5-5",
        Profile {
            between_tools: true,
            ..CLAUDE_55
        },
    ),
    ("claude-opus-5-5", CLAUDE_55),
    ("claude-fable-5-", CLAUDE_55),
    ("claude-mythos-5-", CLAUDE_55),
    (
        "claude-fable-5",
        Profile {
            can_disable: false,
            mid_system: true,
            ..CLAUDE_NEW
        },
    ),
    (
        "claude-mythos-5",
        Profile {
            can_disable: false,
            mid_system: true,
            ..CLAUDE_NEW
        },
    ),
    (
        "claude-mythos-preview",
        Profile {
            can_disable: false,
            ..CLAUDE_NEW
        },
    ),
    (
        "claude-opus-5",
        Profile {
            mid_system: true,
            ..CLAUDE_NEW
        },
    ),
    ("claude-sonnet-5", CLAUDE_NEW),
];

const GPT_REASONING: Profile = Profile {
    max_output: 128_000,
    sampling: Sampling::Fixed,
    reasoning: true,
    can_disable: false,
    ..BASE
};
const GPT_NEW: Profile = Profile {
    tools_need_responses: true,
    can_disable: true,
    ..GPT_REASONING
};

const OPENAI: &[(&str, Profile)] = &[
    (
        "o1",
        Profile {
            efforts: &[Low, Medium, High],
            parallel_switch: false,
            ..GPT_REASONING
        },
    ),
    (
        "o3",
        Profile {
            efforts: &[Low, Medium, High],
            parallel_switch: false,
            stop: false,
            ..GPT_REASONING
        },
    ),
    (
        "o4",
        Profile {
            efforts: &[Low, Medium, High],
            parallel_switch: false,
            stop: false,
            ..GPT_REASONING
        },
    ),
    (
        "gpt-5.1",
        Profile {
            efforts: &[No, Low, Medium, High],
            can_disable: true,
            ..GPT_REASONING
        },
    ),
    (
        "gpt-5.4",
        Profile {
            efforts: &[No, Low, Medium, High, XHigh],
            ..GPT_NEW
        },
    ),
    (
        "gpt-5.5",
        Profile {
            efforts: &[No, Low, Medium, High, XHigh],
            ..GPT_NEW
        },
    ),
    (
        "gpt-5.6",
        Profile {
            efforts: &[No, Low, Medium, High, XHigh],
            ..GPT_NEW
        },
    ),
    (
        "gpt-5.",
        Profile {
            efforts: &[No, Low, Medium, High],
            can_disable: true,
            ..GPT_REASONING
        },
    ),
    (
        "gpt-5",
        Profile {
            efforts: &[Minimal, Low, Medium, High],
            ..GPT_REASONING
        },
    ),
    (
        "gpt-6-astra",
        Profile {
            efforts: &[Low, Medium, High, XHigh, Max],
            can_disable: false,
            ..GPT_NEW
        },
    ),
    (
        "gpt-6.1-sol",
        Profile {
            efforts: &[Low, Medium, High, XHigh, Max],
            can_disable: false,
            ..GPT_NEW
        },
    ),
    (
        "gpt-6.2",
        Profile {
            efforts: &[Low, Medium, High, XHigh, Max],
            can_disable: false,
            ..GPT_NEW
        },
    ),
    (
        "gpt-6",
        Profile {
            efforts: &[No, Low, Medium, High, XHigh, Max],
            ..GPT_NEW
        },
    ),
    (
        "gpt-4",
        Profile {
            max_output: 16_384,
            ..BASE
        },
    ),
    (
        "gpt-3",
        Profile {
            max_output: 4_096,
            structured_output: false,
            ..BASE
        },
    ),
    (
        "chatgpt-4o",
        Profile {
            max_output: 16_384,
            ..BASE
        },
    ),
];

/// Any other model behind an OpenAI format: every level passes as it is.
const OPENAI_OTHER: Profile = Profile {
    efforts: &[No, Minimal, Low, Medium, High, XHigh, Max],
    ..BASE
};

const GEMINI_25: Profile = Profile {
    max_output: 65_536,
    call_ids: false,
    ..BASE
};
const GEMINI_3: Profile = Profile {
    max_output: 65_536,
    signatures: true,
    can_disable: false,
    efforts: &[Minimal, Low, Medium, High],
    ..BASE
};

const GEMINI: &[(&str, Profile)] = &[
    (
        "gemini-2.5-flash-lite",
        Profile {
            budget: Some((512, 24_576)),
            ..GEMINI_25
        },
    ),
    (
        "gemini-2.5-flash",
        Profile {
            budget: Some((1, 24_576)),
            ..GEMINI_25
        },
    ),
    (
        "gemini-2.5-pro",
        Profile {
            budget: Some((128, 32_768)),
            can_disable: false,
            ..GEMINI_25
        },
    ),
    (
        "gemini-2",
        Profile {
            max_output: 8_192,
            ..GEMINI_25
        },
    ),
    (
        "gemini-1",
        Profile {
            max_output: 8_192,
            json_schema: false,
            ..GEMINI_25
        },
    ),
    (
        "gemini-pro",
        Profile {
            max_output: 8_192,
            ..GEMINI_25
        },
    ),
    (
        "gemini-3.5-flash-lite",
        Profile {
            sampling: Sampling::Ignored,
            ..GEMINI_3
        },
    ),
    (
        "gemini-3.6",
        Profile {
            sampling: Sampling::Ignored,
            ..GEMINI_3
        },
    ),
    (
        "gemini-3.7",
        Profile {
            sampling: Sampling::Ignored,
            efforts: &[Low, Medium, High],
            ..GEMINI_3
        },
    ),
    (
        "gemini-3.8",
        Profile {
            sampling: Sampling::Ignored,
            efforts: &[Low, Medium, High],
            ..GEMINI_3
        },
    ),
    (
        "gemini-4",
        Profile {
            sampling: Sampling::Ignored,
            efforts: &[Low, Medium, High],
            ..GEMINI_3
        },
    ),
];

/// Gemini 3 Pro knows only two levels.
const GEMINI_3_PRO: Profile = Profile {
    efforts: &[Low, High],
    ..GEMINI_3
};

/// The profile of a model behind this format and dialect. Unknown models get their family's newest; a name of no family gets the
/// cautious subset that every server of the format knows.
#[must_use]
pub fn profile(format: Format, dialect: Dialect, model: &str) -> Profile {
    // `models/gemini-x`, `anthropic/claude-x`, `publishers/google/models/gemini-x`: the last segment counts.
    let name = model.rsplit('/').next().unwrap_or(model).to_ascii_lowercase();
    match format {
        Format::Messages => row(CLAUDE, &name).unwrap_or(if name.starts_with("claude") {
            CLAUDE_NEW
        } else if dialect == Dialect::AnthropicCompat {
            BASE
        } else {
            Profile {
                thinking: Thinking::Both,
                efforts: &[Low, Medium, High, XHigh, Max],
                ..BASE
            }
        }),
        Format::Gemini if name.starts_with("gemini-3") && name.contains("-pro") => GEMINI_3_PRO,
        Format::Gemini => row(GEMINI, &name).unwrap_or(GEMINI_3),
        Format::Chat | Format::Responses => row(OPENAI, &name).unwrap_or(OPENAI_OTHER),
    }
}

fn row(table: &[(&str, Profile)], name: &str) -> Option<Profile> {
    table
        .iter()
        .find(|(prefix, _)| name.starts_with(prefix))
        .map(|(_, profile)| *profile)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claude(model: &str) -> Profile {
        profile(Format::Messages, Dialect::Native, model)
    }

    #[test]
    fn the_most_specific_row_wins() {
        assert!(claude("claude-haiku-5-5").forced_tools);
        assert!(!claude("claude-opus-5-5-20261001").forced_tools);
        assert_eq!(claude("claude-opus-4-5").thinking, Thinking::Budget);
        assert_eq!(claude("claude-opus-4-6").thinking, Thinking::Both);
        assert_eq!(claude("claude-opus-4-20250514").max_output, 32_000);
        assert!(claude("anthropic/claude-sonnet-5-5").between_tools);
        assert_eq!(
            profile(Format::Chat, Dialect::Native, "gpt-5-mini")
                .efforts
                .first(),
            Some(&Minimal)
        );
        assert!(profile(Format::Chat, Dialect::Native, "gpt-5.6-luna").tools_need_responses);
        assert_eq!(
            profile(Format::Gemini, Dialect::Native, "models/gemini-3-pro").efforts,
            [Low, High]
        );
        assert!(!profile(Format::Gemini, Dialect::Native, "gemini-2.5-flash").call_ids);
    }

    #[test]
    fn unknown_models_get_the_newest_of_their_family() {
        assert_eq!(claude("claude-next").sampling, Sampling::Fixed);
        assert_eq!(claude("my-model").max_output, 32_000);
        assert!(profile(Format::Gemini, Dialect::Native, "gemini-5-ultra").signatures);
    }

    #[test]
    fn the_nearest_level_is_asked_and_a_tie_goes_up_to_high_only() {
        assert_eq!(claude("claude-opus-4-6").nearest(XHigh), Some(High));
        assert_eq!(
            profile(Format::Gemini, Dialect::Native, "gemini-3-pro").nearest(Medium),
            Some(High)
        );
        assert_eq!(
            profile(Format::Chat, Dialect::Native, "gpt-5").nearest(Max),
            Some(High)
        );
        assert_eq!(
            profile(Format::Chat, Dialect::Native, "gpt-4o").nearest(Low),
            None
        );
    }
}
