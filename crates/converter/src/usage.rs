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
}

impl Usage {
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
