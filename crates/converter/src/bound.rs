//! Holding a request to fewer output tokens, by edits of its bytes: a token limiter's strict mode (reliability.md section 6).
//!
//! [`bound_output`] takes the client's body in the client's format, before it is relayed or converted. A bound that is larger than
//! allowed is lowered at every place it stands (another reader might take the first of two), a smaller one is left alone, and where
//! there is none the member that the upstream knows is put in. Nothing else changes.
//!
//! A conversion may raise an output limit to make room for a thinking budget: [`crate::Options::max_output`] keeps it down there.
//!
//! # Completions
//! A body with `prompt` and without `messages` is of `/v1/completions`, which knows `max_tokens` only. Without one OpenAI and its
//! like write 16 tokens, so no more than that is put in: a limit must not make an answer longer.
//!
//! # Thinking
//! Anthropic demands `1024 <= budget_tokens < max_tokens`. A budget that was valid and no longer fits is lowered to one below the
//! bound, as conversions do (conversion.md section 9). Where even the least budget does not fit, conversions drop thinking and report
//! it; here the client asked for it in the upstream's own words and would not be told, so the request is refused: [`TooLittle`]. A
//! budget that was not below `max_tokens` before stays: interleaved thinking allows that, and everything else Anthropic refuses
//! itself.

use std::fmt;
use std::ops::Range;

use crate::format::{Dialect, Format};
use crate::scan::{Bounding, OutputBound, Scan, UNBOUNDED};

/// Output tokens of a completion that names no bound (OpenAI API reference, `POST /v1/completions`).
const COMPLETION_DEFAULT: u64 = 16;
/// OpenAI's smallest output bound, tokens (conversion.md 10.3).
const LEAST_OPENAI: u64 = 16;
/// Anthropic's smallest thinking budget, and one token to say something (conversion.md section 9).
const LEAST_THINKING: u64 = 1025;

/// The request cannot be held to so few output tokens: the upstream would refuse it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLittle {
    /// Fewest output tokens that this request can be held to.
    pub least: u64,
}

impl fmt::Display for TooLittle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "this request needs a limit of at least {} output tokens",
            self.least
        )
    }
}

impl std::error::Error for TooLittle {}

/// How the output of a request is bounded: by the client's format and by what the upstream of the attempt knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputMember {
    client: Format,
    upstream: Format,
    compat: bool,
}

impl OutputMember {
    /// The member for a client's body on its way to an upstream.
    #[must_use]
    pub fn of(client: Format, upstream: Format, dialect: Dialect) -> Self {
        OutputMember {
            client,
            upstream,
            compat: upstream == Format::Chat && dialect.is_compat(),
        }
    }

    /// What the request itself allows, tokens for each of its answers ([`Scan::choices`]); `None`: it sets no bound that holds.
    #[must_use]
    pub fn given(self, scan: &Scan<'_>) -> Option<u64> {
        let open = self.client == Format::Gemini && scan.configs.iter().any(|config| !config.bounded);
        let largest = self.places(scan).map(|(_, tokens)| tokens).max();
        let given = largest.filter(|tokens| !open && *tokens != UNBOUNDED)?;
        // Conversions raise what the upstream would refuse.
        let raised = self.client != self.upstream;
        Some(if raised {
            given.max(self.least(scan))
        } else {
            given
        })
    }

    /// The members that bound the output in the client's format.
    fn members(self) -> &'static [Bounding] {
        match self.client {
            Format::Chat => &[Bounding::MaxTokens, Bounding::MaxCompletionTokens],
            Format::Responses => &[Bounding::MaxOutputTokens],
            Format::Messages => &[Bounding::MaxTokens],
            Format::Gemini => &[Bounding::Config],
        }
    }

    /// The member that is put in where there is none. Not Gemini: its member stands deeper.
    fn inserted(self, scan: &Scan<'_>) -> (Bounding, &'static str) {
        let old = self.compat || is_completion(scan);
        match self.client {
            Format::Chat if !old => (Bounding::MaxCompletionTokens, "max_completion_tokens"),
            Format::Chat | Format::Messages => (Bounding::MaxTokens, "max_tokens"),
            Format::Responses | Format::Gemini => (Bounding::MaxOutputTokens, "max_output_tokens"),
        }
    }

    /// Places of bounds with what holds there. A `null` beside a number of the same name may be the one that counts; alone it is as
    /// good as absent. Compatible servers read 0 as no bound (llama-cpp-python); OpenAI refuses it, Anthropic warms its cache.
    fn places<'s>(self, scan: &'s Scan<'_>) -> impl Iterator<Item = (&'s OutputBound, u64)> {
        let members = self.members();
        let zero_is_open = self.compat && self.client == Format::Chat && !is_completion(scan);
        let of_member = move |bound: &&OutputBound| members.contains(&bound.member);
        scan.bounds
            .iter()
            .filter(of_member)
            .filter(move |bound| {
                let same = |other: &&OutputBound| other.member == bound.member;
                scan.bounds
                    .iter()
                    .filter(same)
                    .any(|other| other.tokens.is_some())
            })
            .map(move |bound| match bound.tokens {
                Some(0) if zero_is_open => (bound, UNBOUNDED),
                tokens => (bound, tokens.unwrap_or(UNBOUNDED)),
            })
    }

    /// The smallest bound that the upstream takes.
    fn least(self, scan: &Scan<'_>) -> u64 {
        match self.upstream {
            Format::Responses => LEAST_OPENAI,
            Format::Chat if !self.compat && !is_completion(scan) => LEAST_OPENAI,
            _ => 1,
        }
    }
}

/// The body is of `/v1/completions`.
fn is_completion(scan: &Scan<'_>) -> bool {
    scan.shape.prompt && !scan.shape.messages
}

/// The body with its output bound at `min(given, most)`, tokens for each answer; `None`: it is held already. `scan` must be the scan
/// of this body, and the body a generating request. Ranges of the scan do not fit the new body: scan it again.
///
/// # Errors
/// The upstream does not take so small a bound.
pub fn bound_output(
    body: &[u8],
    scan: &Scan<'_>,
    member: OutputMember,
    most: u64,
) -> Result<Option<Vec<u8>>, TooLittle> {
    let mut edits = Vec::new();
    match member.client {
        Format::Gemini => in_configs(&mut edits, scan, most),
        _ => at_top(&mut edits, scan, member, most),
    }
    if edits.is_empty() {
        return Ok(None);
    }
    let least = member.least(scan);
    if most < least {
        return Err(TooLittle { least });
    }
    if member.client == Format::Messages && member.upstream == Format::Messages {
        lower_budgets(&mut edits, scan, member, most)?;
    }
    Ok(Some(applied(body, edits)))
}

type Edits = Vec<(Range<usize>, String)>;

fn at_top(edits: &mut Edits, scan: &Scan<'_>, member: OutputMember, most: u64) {
    let mut bounded = false;
    for (place, tokens) in member.places(scan) {
        bounded = true;
        if tokens > most {
            edits.push((place.at.clone(), most.to_string()));
        }
    }
    if bounded {
        return;
    }
    let value = if is_completion(scan) && member.client == Format::Chat {
        most.min(COMPLETION_DEFAULT)
    } else {
        most
    };
    let (kind, name) = member.inserted(scan);
    let nulls = scan.bounds.iter().filter(|bound| bound.member == kind);
    edits.extend(nulls.map(|bound| (bound.at.clone(), value.to_string())));
    if edits.is_empty() {
        let comma = if scan.shape.empty { "" } else { "," };
        let text = format!("\"{name}\":{value}{comma}");
        edits.push((scan.members_at..scan.members_at, text));
    }
}

/// Gemini: every `generationConfig` that might be the one that counts is held.
fn in_configs(edits: &mut Edits, scan: &Scan<'_>, most: u64) {
    let text = format!("\"maxOutputTokens\":{most}");
    for config in &scan.configs {
        match config.members_at {
            None => edits.push((config.at.clone(), format!("{{{text}}}"))),
            Some(at) if !config.bounded => {
                let comma = if config.empty { "" } else { "," };
                edits.push((at..at, format!("{text}{comma}")));
            }
            Some(_) => {}
        }
    }
    let places = scan
        .bounds
        .iter()
        .filter(|bound| bound.member == Bounding::Config);
    for place in places.filter(|place| place.tokens.is_none_or(|tokens| tokens > most)) {
        edits.push((place.at.clone(), most.to_string()));
    }
    if scan.configs.is_empty() {
        let comma = if scan.shape.empty { "" } else { "," };
        let text = format!("\"generationConfig\":{{{text}}}{comma}");
        edits.push((scan.members_at..scan.members_at, text));
    }
}

fn lower_budgets(
    edits: &mut Edits,
    scan: &Scan<'_>,
    member: OutputMember,
    most: u64,
) -> Result<(), TooLittle> {
    let before = member
        .places(scan)
        .map(|(_, tokens)| tokens)
        .max()
        .unwrap_or(UNBOUNDED);
    for place in &scan.bounds {
        let Some(budget) = place.tokens.filter(|budget| *budget < before && *budget >= most) else {
            continue;
        };
        if place.member != Bounding::ThinkingBudget {
            continue;
        }
        if most < LEAST_THINKING {
            return Err(TooLittle {
                least: LEAST_THINKING.min(budget.saturating_add(1)),
            });
        }
        edits.push((place.at.clone(), (most - 1).to_string()));
    }
    Ok(())
}

fn applied(body: &[u8], mut edits: Edits) -> Vec<u8> {
    edits.sort_by_key(|(at, _)| at.start);
    let longer: usize = edits.iter().map(|(_, text)| text.len()).sum();
    let mut out = Vec::with_capacity(body.len() + longer);
    let mut from = 0;
    for (at, text) in edits {
        out.extend_from_slice(body.get(from..at.start).unwrap_or_default());
        out.extend_from_slice(text.as_bytes());
        from = at.end;
    }
    out.extend_from_slice(body.get(from..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests;
