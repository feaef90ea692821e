//! Which class an upstream's error belongs to: by its codes and words, else by its status (wire.md 6.2). Data, not branches.

use super::FailureClass;
use super::document::UpstreamError;

/// One way to recognise a class. Every condition that is not empty must hold.
struct Rule {
    /// HTTP statuses.
    statuses: &'static [u16],
    /// `code`, `type` or `status` of the error is one of these.
    codes: &'static [&'static str],
    /// Code, message or details contain one of these, in lower case.
    words: &'static [&'static str],
    class: FailureClass,
}

const fn codes(codes: &'static [&'static str], class: FailureClass) -> Rule {
    Rule {
        statuses: &[],
        codes,
        words: &[],
        class,
    }
}

const fn words(statuses: &'static [u16], words: &'static [&'static str], class: FailureClass) -> Rule {
    Rule {
        statuses,
        codes: &[],
        words,
        class,
    }
}

/// In order: the first that fits counts.
const RULES: &[Rule] = &[
    // OpenAI's account limits, with 429 or 400.
    codes(
        &[
            "insufficient_quota",
            "credit_balance_exhausted",
            "organization_spend_limit_exceeded",
            "project_spend_limit_exceeded",
            "organization_usage_limit_exceeded",
            "billing_hard_limit_reached",
        ],
        FailureClass::QuotaExhausted,
    ),
    codes(
        &["slow_down", "server_is_overloaded", "overloaded_error"],
        FailureClass::Overloaded,
    ),
    words(
        &[429, 503],
        &["model_capacity_exhausted"],
        FailureClass::Overloaded,
    ),
    // Anthropic's spend limits.
    words(
        &[400, 402, 403],
        &[
            "enforced_spend_limit_reached",
            "ramp_limit_exceeded",
            "contract_spend_limit_reached",
            "credit balance",
        ],
        FailureClass::UpstreamBilling,
    ),
    // Google's daily quotas.
    words(
        &[429],
        &[
            "perday",
            "daily",
            "quota_exhausted",
            "limit: 0,",
            "limit: 0\n",
            "limit: 0 ",
        ],
        FailureClass::QuotaExhausted,
    ),
    Rule {
        statuses: &[400],
        codes: &["FAILED_PRECONDITION"],
        words: &["user location", "billing"],
        class: FailureClass::UpstreamBilling,
    },
    words(
        &[403],
        &["billing_disabled", "billing"],
        FailureClass::UpstreamBilling,
    ),
    words(
        &[400],
        &["api_key_invalid", "api key not valid", "api key expired"],
        FailureClass::UpstreamAuth,
    ),
    codes(&["invalid_api_key"], FailureClass::UpstreamAuth),
    codes(
        &["context_length_exceeded", "exceed_context_size_error"],
        FailureClass::ContextOverflow,
    ),
    words(&[400, 413, 422, 500], OVERFLOW, FailureClass::ContextOverflow),
    codes(
        &[
            "content_policy_violation",
            "content_filter",
            "invalid_prompt",
            "moderation_blocked",
            "ResponsibleAIPolicyViolation",
            "data_inspection_failed",
        ],
        FailureClass::ContentBlocked,
    ),
    codes(
        &["model_not_found", "DeploymentNotFound"],
        FailureClass::ModelNotFound,
    ),
    Rule {
        statuses: &[404],
        codes: &["NOT_FOUND"],
        words: &[],
        class: FailureClass::ModelNotFound,
    },
    words(&[404], &["model", "deployment"], FailureClass::ModelNotFound),
];

/// What servers say when a prompt is longer than the model's context.
const OVERFLOW: &[&str] = &[
    // Anthropic, Bedrock
    "prompt is too long",
    "input is too long",
    // OpenAI, Azure, vLLM, DeepSeek, Mistral, OpenRouter
    "maximum context length",
    "context_length_exceeded",
    "context window",
    // Gemini
    "input token count",
    "exceeds the maximum number of tokens",
    // Groq
    "reduce the length of the messages",
    // llama.cpp, LM Studio
    "available context size",
    "exceed_context_size",
    "context the overflows",
    // xAI
    "maximum prompt length",
    // Moonshot, Zhipu, Qwen, MiniMax
    "exceeded model token limit",
    "prompt exceeds max length",
    "range of input length should be",
    "context window exceeds limit",
    // Cohere, TGI
    "too many tokens",
    "`inputs` tokens + `max_new_tokens`",
];

/// Limits of a subscription's period at Anthropic: without a stated wait they last.
const PERIOD: &[&str] = &["unified", "usage tier", "usage limit"];

/// The class of a status that no rule knows better.
const STATUSES: &[(u16, FailureClass)] = &[
    (400, FailureClass::InvalidRequest),
    (401, FailureClass::UpstreamAuth),
    (402, FailureClass::UpstreamBilling),
    (403, FailureClass::UpstreamAuth),
    (404, FailureClass::NotFound),
    (408, FailureClass::Timeout),
    (409, FailureClass::Conflict),
    (413, FailureClass::TooLarge),
    (415, FailureClass::UnsupportedMedia),
    (422, FailureClass::Unprocessable),
    (429, FailureClass::RateLimited),
    // Google's word for a call that ended before it was done; nobody here ended it.
    (499, FailureClass::Timeout),
    (500, FailureClass::ServerError),
    (501, FailureClass::NotImplemented),
    (503, FailureClass::Overloaded),
    (504, FailureClass::Timeout),
    // Cloudflare: the origin did not answer in time. Its other codes mean a broken way to it.
    (522, FailureClass::Timeout),
    (524, FailureClass::Timeout),
    (529, FailureClass::Overloaded),
];

/// The status that an in-band error's words stand for.
const WORDS: &[(&str, u16)] = &[
    ("overloaded_error", 529),
    ("rate_limit_error", 429),
    ("rate_limit_exceeded", 429),
    ("RESOURCE_EXHAUSTED", 429),
    ("requests", 429),
    ("tokens", 429),
    ("insufficient_quota", 429),
    ("authentication_error", 401),
    ("invalid_api_key", 401),
    ("UNAUTHENTICATED", 401),
    ("billing_error", 402),
    ("permission_error", 403),
    ("PERMISSION_DENIED", 403),
    ("not_found_error", 404),
    ("model_not_found", 404),
    ("NOT_FOUND", 404),
    ("conflict_error", 409),
    ("ABORTED", 409),
    ("request_too_large", 413),
    ("timeout_error", 504),
    ("DEADLINE_EXCEEDED", 504),
    ("UNAVAILABLE", 503),
    ("service_unavailable_error", 503),
    ("server_is_overloaded", 503),
    ("slow_down", 503),
    ("api_error", 500),
    ("server_error", 500),
    ("internal_server_error", 500),
    ("INTERNAL", 500),
    ("UNIMPLEMENTED", 501),
    ("CANCELLED", 499),
    ("invalid_request_error", 400),
    ("INVALID_ARGUMENT", 400),
    ("FAILED_PRECONDITION", 400),
    ("OUT_OF_RANGE", 400),
    ("context_length_exceeded", 400),
    ("content_policy_violation", 400),
    ("invalid_prompt", 400),
];

/// The status of an error that came without one.
pub(super) fn status_of(error: &UpstreamError) -> Option<u16> {
    let of = |word: &str| {
        WORDS
            .iter()
            .find(|(known, _)| *known == word)
            .map(|(_, status)| *status)
    };
    of(&error.code).or_else(|| of(&error.kind))
}

/// The class of an error. `stated`: its headers say how long to wait.
pub(super) fn classify(status: u16, error: &UpstreamError, stated: bool) -> FailureClass {
    let text = format!(
        "{} {} {} {}",
        error.message, error.code, error.kind, error.details
    )
    .to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let fits = |rule: &&Rule| {
        let code = [error.code.as_str(), error.kind.as_str()];
        (rule.statuses.is_empty() || rule.statuses.contains(&status))
            && (rule.codes.is_empty() || rule.codes.iter().any(|known| code.contains(known)))
            && (rule.words.is_empty() || says(rule.words))
    };
    if let Some(rule) = RULES.iter().find(fits) {
        return rule.class;
    }
    if status == 429 && !stated && error.retry_delay.is_none() && says(PERIOD) {
        return FailureClass::QuotaExhausted;
    }
    let known = STATUSES.iter().find(|(known, _)| *known == status);
    match known {
        Some((_, class)) => *class,
        None if (400..500).contains(&status) => FailureClass::InvalidRequest,
        None => FailureClass::UpstreamBad,
    }
}
