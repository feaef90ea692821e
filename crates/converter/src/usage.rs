//! Token usage, the same for all formats (conversion.md section 13).

/// Token counters of one answer. `None` means that the upstream did not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Everything read: cached, written to the cache and tool prompts included.
    pub input: Option<u64>,
    /// Part of `input` that was read from a prompt cache.
    pub cache_read: Option<u64>,
    /// Part of `input` that was written to a prompt cache.
    pub cache_write: Option<u64>,
    /// Part of `cache_write` with the short lifetime (5 or 30 minutes).
    pub cache_write_short: Option<u64>,
    /// Part of `cache_write` with the long lifetime (1 or 12 hours).
    pub cache_write_long: Option<u64>,
    /// Everything generated, reasoning included.
    pub output: Option<u64>,
    /// Part of `output` that is reasoning.
    pub reasoning: Option<u64>,
    /// Part of `input` that is the prompt of server-side tools (Gemini).
    pub tool_prompt: Option<u64>,
    /// Part of `input` that is text (documents included).
    pub input_text: Option<u64>,
    /// Part of `input` that is audio.
    pub input_audio: Option<u64>,
    /// Part of `input` that is images.
    pub input_image: Option<u64>,
    /// Part of `output` that is text.
    pub output_text: Option<u64>,
    /// Part of `output` that is audio.
    pub output_audio: Option<u64>,
    /// Part of `output` that is images.
    pub output_image: Option<u64>,
    /// Searches that a hosted tool made.
    pub web_searches: Option<u64>,
    /// Pages that a hosted tool fetched.
    pub web_fetches: Option<u64>,
    /// Accepted and rejected tokens of a prediction (OpenAI).
    pub prediction: Option<(u64, u64)>,
    /// The tier that served it, where that is not the usual one: it has prices of its own.
    pub tier: Option<ServiceTier>,
    /// It was made in the United States alone, which costs more (Anthropic's `inference_geo`).
    pub in_us: Option<bool>,
}

/// A service tier with prices of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceTier {
    /// Anthropic's and Gemini's batches.
    Batch,
    /// Cheaper, slower (OpenAI, Gemini).
    Flex,
    /// Dearer, faster.
    Priority,
    /// OpenAI's fastest.
    Ultrafast,
    /// Anthropic's `speed: fast`.
    Fast,
}

const TIERS: [(ServiceTier, &str); 5] = [
    (ServiceTier::Batch, "batch"),
    (ServiceTier::Flex, "flex"),
    (ServiceTier::Priority, "priority"),
    (ServiceTier::Ultrafast, "ultrafast"),
    (ServiceTier::Fast, "fast"),
];

impl ServiceTier {
    /// The tier that an answer names; `default`, `standard`, `scale` and the like are the usual one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        TIERS.iter().find(|row| row.1 == name).map(|row| row.0)
    }

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        TIERS.iter().find(|row| row.0 == self).map_or("", |row| row.1)
    }
}

impl Usage {
    /// With the tier of this name.
    #[must_use]
    pub(crate) fn in_tier(mut self, name: Option<&str>) -> Self {
        self.tier = self.tier.or(name.and_then(ServiceTier::from_name));
        self
    }

    /// A report of an upstream as it is, or none at all if one of its counts is more than any request has: it counts nonsense, and limits,
    /// budgets and sums must not take it for true.
    #[must_use]
    pub fn believed(self) -> Self {
        /// A thousand times the largest context there is.
        const MOST: u64 = 1_000_000_000;
        /// Searches and pages of one request.
        const MOST_CALLS: u64 = 100_000;
        let tokens = [
            self.input,
            self.output,
            self.cache_read,
            self.cache_write,
            self.cache_write_short,
            self.cache_write_long,
            self.reasoning,
            self.tool_prompt,
            self.input_text,
            self.input_audio,
            self.input_image,
            self.output_text,
            self.output_audio,
            self.output_image,
        ];
        let calls = [self.web_searches, self.web_fetches];
        let below = |counts: &[Option<u64>], most: u64| counts.iter().flatten().all(|count| *count <= most);
        if below(&tokens, MOST) && below(&calls, MOST_CALLS) {
            self
        } else {
            Usage::default()
        }
    }

    /// `input + output`, if anything is known.
    #[must_use]
    pub fn total(&self) -> Option<u64> {
        match (self.input, self.output) {
            (None, None) => None,
            (input, output) => Some(input.unwrap_or(0).saturating_add(output.unwrap_or(0))),
        }
    }

    /// `input` without what the cache gave or took: Anthropic's `input_tokens`.
    #[must_use]
    pub fn input_uncached(&self) -> Option<u64> {
        let cached = self
            .cache_read
            .unwrap_or(0)
            .saturating_add(self.cache_write.unwrap_or(0));
        self.input.map(|input| input.saturating_sub(cached))
    }

    /// A later report of the same answer whose input is that of this one as far as it says nothing of it: what it leaves away, or has at 0,
    /// stands in this one.
    #[must_use]
    pub(crate) fn continued(&self, mut later: Usage) -> Usage {
        let known =
            |later: Option<u64>, before: Option<u64>| later.filter(|count| *count > 0).or(before).or(later);
        let uncached = known(later.input_uncached(), self.input_uncached());
        later.cache_read = known(later.cache_read, self.cache_read);
        later.cache_write = known(later.cache_write, self.cache_write);
        later.cache_write_short = known(later.cache_write_short, self.cache_write_short);
        later.cache_write_long = known(later.cache_write_long, self.cache_write_long);
        let cached = [later.cache_read, later.cache_write].into_iter().flatten();
        let cached = cached.fold(0, u64::saturating_add);
        later.input = uncached.map(|uncached| uncached.saturating_add(cached));
        later
    }

    /// Takes over every counter that `later` knows: upstreams repeat cumulative numbers, the last one counts.
    pub fn update(&mut self, later: &Usage) {
        fn take<T: Copy>(old: &mut Option<T>, new: Option<T>) {
            if new.is_some() {
                *old = new;
            }
        }
        take(&mut self.input, later.input);
        take(&mut self.cache_read, later.cache_read);
        take(&mut self.cache_write, later.cache_write);
        take(&mut self.cache_write_short, later.cache_write_short);
        take(&mut self.cache_write_long, later.cache_write_long);
        take(&mut self.output, later.output);
        take(&mut self.reasoning, later.reasoning);
        take(&mut self.tool_prompt, later.tool_prompt);
        take(&mut self.input_text, later.input_text);
        take(&mut self.input_audio, later.input_audio);
        take(&mut self.input_image, later.input_image);
        take(&mut self.output_text, later.output_text);
        take(&mut self.output_audio, later.output_audio);
        take(&mut self.output_image, later.output_image);
        take(&mut self.web_searches, later.web_searches);
        take(&mut self.web_fetches, later.web_fetches);
        take(&mut self.prediction, later.prediction);
        take(&mut self.tier, later.tier);
        take(&mut self.in_us, later.in_us);
    }

    /// The first counter that contradicts another (parts larger than their whole): passed on as it is, but worth a report.
    #[must_use]
    pub fn contradiction(&self) -> Option<&'static str> {
        let larger = |parts: u64, whole: Option<u64>| whole.is_some_and(|whole| parts > whole);
        let cached = self
            .cache_read
            .unwrap_or(0)
            .saturating_add(self.cache_write.unwrap_or(0));
        if larger(cached, self.input) {
            return Some("usage.cached");
        }
        larger(self.reasoning.unwrap_or(0), self.output).then_some("usage.reasoning")
    }

    /// True if nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Usage::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{relayed, response};
    use crate::format::Format;
    use crate::stream::{Relay, RelayOptions, Stream};

    #[test]
    fn answers_say_which_tier_served_them() {
        let chat = r#"{"choices":[],"usage":{"prompt_tokens":1},"service_tier":"priority"}"#;
        let before = r#"{"service_tier":"flex","output":[],"usage":{"input_tokens":1}}"#;
        let messages = r#"{"content":[],"usage":{"input_tokens":1,"service_tier":"batch"}}"#;
        let gemini =
            r#"{"candidates":[],"usageMetadata":{"promptTokenCount":1,"trafficType":"ON_DEMAND_FLEX"}}"#;
        let served = r#"{"candidates":[],"usageMetadata":{"promptTokenCount":1,"serviceTier":"priority"}}"#;
        let usual = r#"{"choices":[],"usage":{"prompt_tokens":1},"service_tier":"default"}"#;
        let fast = r#"{"content":[],"usage":{"input_tokens":1,"service_tier":"standard","speed":"fast"}}"#;
        for (body, format, tier) in [
            (chat, Format::Chat, Some(ServiceTier::Priority)),
            (before, Format::Responses, Some(ServiceTier::Flex)),
            (messages, Format::Messages, Some(ServiceTier::Batch)),
            (gemini, Format::Gemini, Some(ServiceTier::Flex)),
            (served, Format::Gemini, Some(ServiceTier::Priority)),
            (usual, Format::Chat, None),
            (fast, Format::Messages, Some(ServiceTier::Fast)),
        ] {
            assert_eq!(relayed(body, format).unwrap().usage.tier, tier, "{body}");
            assert_eq!(response(body, format).unwrap().usage.tier, tier, "{body}");
        }
    }

    fn relay(format: Format) -> Stream {
        Stream::Relay(Box::new(Relay::new(RelayOptions {
            format,
            hide_usage: false,
            rename: false,
            array: false,
            model: "m".into(),
            request_id: "r".into(),
            now: 0,
        })))
    }

    #[test]
    fn searches_beside_the_usage_are_counted_wherever_they_are_said() {
        let answer = |first: &str, then: &str| format!("{{\"id\":\"r\",\"output\":[],{first},{then}}}");
        let usage = r#""usage":{"input_tokens":5,"output_tokens":1}"#;
        let tools = r#""tool_usage":{"web_search":{"num_requests":2}}"#;
        for body in [answer(usage, tools), answer(tools, usage)] {
            let whole = [
                relayed(&body, Format::Responses).unwrap().usage,
                response(&body, Format::Responses).unwrap().usage,
            ];
            let mut stream = relay(Format::Responses);
            let event =
                |kind: &str| format!("event: {kind}\ndata: {{\"type\":\"{kind}\",\"response\":{body}}}\n\n");
            let text = event("response.created") + &event("response.completed");
            stream.push(text.as_bytes(), &mut Vec::new());
            for usage in whole.into_iter().chain([stream.usage().clone()]) {
                assert_eq!((usage.input, usage.web_searches), (Some(5), Some(2)), "{body}");
            }
        }
    }

    #[test]
    fn requests_say_which_tier_they_want() {
        for (members, tier) in [
            (r#""service_tier":"flex""#, Some(ServiceTier::Flex)),
            (r#""speed":"fast","service_tier":"auto""#, Some(ServiceTier::Fast)),
            (r#""speed":"standard""#, None),
            (r#""speed":null"#, None),
        ] {
            let body = format!(r#"{{"model":"m",{members},"messages":[]}}"#);
            assert_eq!(crate::scan::scan(body.as_bytes()).unwrap().tier, tier, "{body}");
        }
    }

    #[test]
    fn zeros_that_are_not_said_are_known_all_the_same() {
        let blocked = r#"{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":11,"totalTokenCount":11}}"#;
        let usage = relayed(blocked, Format::Gemini).unwrap().usage;
        assert_eq!((usage.input, usage.output), (Some(11), Some(0)));
        let unsaid = r#"{"candidates":[],"usageMetadata":{"promptTokenCount":11}}"#;
        assert_eq!(relayed(unsaid, Format::Gemini).unwrap().usage.output, None);
        let long = r#"{"content":[],"usage":{"input_tokens":700,"output_tokens":1,"cache_creation":{"ephemeral_1h_input_tokens":300}}}"#;
        let usage = relayed(long, Format::Messages).unwrap().usage;
        assert_eq!((usage.input, usage.cache_write), (Some(1_000), Some(300)));
    }

    #[test]
    fn a_report_of_nonsense_is_none() {
        let of = |input, cache_read| Usage {
            input: Some(input),
            cache_read,
            tier: Some(ServiceTier::Flex),
            ..Usage::default()
        };
        for nonsense in [
            of(u64::MAX, None),
            of(1_000_000_001, Some(0)),
            of(3, Some(5_000_000_000)),
            Usage {
                cache_write_long: Some(1 << 63),
                ..of(3, None)
            },
            Usage {
                web_searches: Some(1_000_000),
                ..of(3, None)
            },
        ] {
            assert!(nonsense.believed().is_empty());
        }
        let large = of(1_000_000_000, Some(999_999_999));
        assert_eq!(large.clone().believed(), large);
    }

    #[test]
    fn a_message_delta_leaves_the_input_of_the_start_as_it_is_where_it_says_nothing_of_it() {
        let start = r#"{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","model":"c","content":[],"usage":{"input_tokens":10,"cache_read_input_tokens":900,"cache_creation_input_tokens":90,"cache_creation":{"ephemeral_1h_input_tokens":90},"output_tokens":1}}}"#;
        let more = Usage {
            input: Some(1_020),
            cache_read: Some(920),
            ..Usage::default()
        };
        for (delta, input, read) in [
            (r#""output_tokens":50"#, 1_000, 900),
            (r#""input_tokens":10,"output_tokens":50"#, 1_000, 900),
            (
                r#""input_tokens":0,"cache_read_input_tokens":0,"cache_creation_input_tokens":0,"output_tokens":50"#,
                1_000,
                900,
            ),
            (
                r#""input_tokens":10,"cache_read_input_tokens":920,"cache_creation_input_tokens":90,"output_tokens":50"#,
                1_020,
                920,
            ),
        ] {
            let end = format!(
                r#"{{"type":"message_delta","delta":{{"stop_reason":"end_turn"}},"usage":{{{delta}}}}}"#
            );
            let mut relay = self::relay(Format::Messages);
            let text =
                format!("event: message_start\ndata: {start}\n\nevent: message_delta\ndata: {end}\n\n");
            relay.push(text.as_bytes(), &mut Vec::new());
            let usage = relay.usage();
            assert_eq!(
                (usage.input, usage.cache_read),
                (Some(input), Some(read)),
                "{delta}"
            );
            assert_eq!(
                (usage.cache_write, usage.cache_write_long, usage.output),
                (Some(90), Some(90), Some(50)),
                "{delta}"
            );
        }
        assert_eq!(Usage::default().continued(more.clone()), more);
    }

    #[test]
    fn a_usage_that_cannot_be_read_is_none_and_the_answer_counts() {
        for (body, format) in [
            (
                r#"{"choices":[{"message":{"content":"x"}}],"usage":{"prompt_tokens":"5","completion_tokens":1},"id":"r"}"#,
                Format::Chat,
            ),
            (
                r#"{"output":[],"status":"completed","usage":{"input_tokens":true},"id":"r"}"#,
                Format::Responses,
            ),
            (
                r#"{"content":[{"type":"text","text":"x"}],"usage":{"input_tokens":{}},"id":"r"}"#,
                Format::Messages,
            ),
            (
                r#"{"candidates":[],"usageMetadata":{"promptTokenCount":[1]},"responseId":"r"}"#,
                Format::Gemini,
            ),
            (
                r#"{"choices":[{"message":{"content":"x"}}],"usage":"x","id":"r"}"#,
                Format::Chat,
            ),
        ] {
            assert_eq!(relayed(body, format).unwrap().usage, Usage::default(), "{body}");
            assert_eq!(response(body, format).unwrap().usage, Usage::default(), "{body}");
        }
    }

    #[test]
    fn thoughts_that_only_the_total_knows_are_output() {
        let total = r#"{"candidates":[],"usageMetadata":{"promptTokenCount":100,"candidatesTokenCount":50,"totalTokenCount":180}}"#;
        assert_eq!(relayed(total, Format::Gemini).unwrap().usage.output, Some(80));
    }

    #[test]
    fn streams_say_it_too() {
        let chunk = |rest: &str| {
            format!("data: {{\"id\":\"c\",\"model\":\"m\",\"service_tier\":\"priority\",{rest}}}\n\n")
        };
        let text = chunk(r#""choices":[{"index":0,"delta":{"content":"x"}}]"#)
            + &chunk(r#""choices":[{"index":0,"delta":{},"finish_reason":"stop"}]"#)
            + "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}\n\ndata: [DONE]\n\n";
        let mut relay = relay(Format::Chat);
        relay.push(text.as_bytes(), &mut Vec::new());
        let usage = relay.usage();
        assert_eq!((usage.output, usage.tier), (Some(1), Some(ServiceTier::Priority)));
        let start = r#"{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","model":"c","content":[],"usage":{"input_tokens":3,"output_tokens":1,"service_tier":"standard","speed":"fast","inference_geo":"us"}}}"#;
        let end = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":7,"service_tier":"standard"}}"#;
        let text = format!(
            "event: message_start\ndata: {start}\n\nevent: message_delta\ndata: {end}\n\nevent: message_stop\ndata: {{\"type\":\"message_stop\"}}\n\n"
        );
        let mut relay = self::relay(Format::Messages);
        relay.push(text.as_bytes(), &mut Vec::new());
        let usage = relay.usage();
        assert_eq!(
            (usage.output, usage.tier, usage.in_us),
            (Some(7), Some(ServiceTier::Fast), Some(true))
        );
    }
}
