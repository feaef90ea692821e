//! How a request wants to be answered, for traces: what the GenAI conventions of OpenTelemetry name, and no content.

use crate::error::Error;
use crate::json::{Kind, Reader};

/// Longest text that is kept, bytes.
const LONGEST: usize = 256;
/// Most stop sequences.
const STOPS: usize = 16;

/// Settings of a request, as it states them. Texts are of bounded length.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// `temperature`.
    pub temperature: Option<f64>,
    /// `top_p`.
    pub top_p: Option<f64>,
    /// `top_k`.
    pub top_k: Option<f64>,
    /// `frequency_penalty`.
    pub frequency_penalty: Option<f64>,
    /// `presence_penalty`.
    pub presence_penalty: Option<f64>,
    /// `seed`.
    pub seed: Option<i64>,
    /// `n`, `candidateCount`.
    pub choices: Option<i64>,
    /// `stop`, `stop_sequences`.
    pub stop_sequences: Vec<String>,
    /// `service_tier`.
    pub service_tier: Option<String>,
    /// Id of the `conversation`.
    pub conversation: Option<String>,
}

/// Reads the settings of a body of any format. What cannot be read is left out.
#[must_use]
pub fn settings(body: &[u8]) -> Settings {
    let mut found = Settings::default();
    if let Ok(text) = std::str::from_utf8(body) {
        // A broken body has failed before; what was read of it stands.
        _ = Reader::new(text).object(|reader, key| found.member(reader, key));
    }
    found
}

impl Settings {
    fn member(&mut self, reader: &mut Reader<'_>, key: &str) -> Result<(), Error> {
        match (key, reader.kind()) {
            ("temperature", Kind::Number) => number(reader, &mut self.temperature),
            ("top_p" | "topP", Kind::Number) => number(reader, &mut self.top_p),
            ("top_k" | "topK", Kind::Number) => number(reader, &mut self.top_k),
            ("frequency_penalty" | "frequencyPenalty", Kind::Number) => {
                number(reader, &mut self.frequency_penalty)
            }
            ("presence_penalty" | "presencePenalty", Kind::Number) => {
                number(reader, &mut self.presence_penalty)
            }
            ("seed", Kind::Number) => number(reader, &mut self.seed),
            ("n" | "candidateCount" | "candidate_count", Kind::Number) => number(reader, &mut self.choices),
            ("stop" | "stop_sequences" | "stopSequences", Kind::String | Kind::Array) => self.stops(reader),
            ("service_tier" | "serviceTier", Kind::String) => text(reader, &mut self.service_tier),
            ("conversation", Kind::String) => text(reader, &mut self.conversation),
            ("conversation", Kind::Object) => reader.object(|reader, key| match (&**key, reader.kind()) {
                ("id", Kind::String) => text(reader, &mut self.conversation),
                _ => reader.skip(),
            }),
            ("generationConfig" | "generation_config", Kind::Object) => {
                reader.object(|reader, key| self.member(reader, key))
            }
            _ => reader.skip(),
        }
    }

    fn stops(&mut self, reader: &mut Reader<'_>) -> Result<(), Error> {
        match reader.kind() {
            Kind::Array => reader.array(|reader, _| self.stops(reader)),
            Kind::String if self.stop_sequences.len() < STOPS => {
                let mut stop = None;
                text(reader, &mut stop)?;
                self.stop_sequences.extend(stop);
                Ok(())
            }
            _ => reader.skip(),
        }
    }
}

fn number<T: std::str::FromStr>(reader: &mut Reader<'_>, found: &mut Option<T>) -> Result<(), Error> {
    *found = reader.number()?.get().parse().ok();
    Ok(())
}

fn text(reader: &mut Reader<'_>, found: &mut Option<String>) -> Result<(), Error> {
    let text = reader.text()?.decode();
    let end = text.floor_char_boundary(LONGEST);
    *found = text.get(..end).map(str::to_owned);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_in_every_format_and_content_is_not() {
        let chat = settings(
            br#"{"messages":[{"temperature":9}],"temperature":0.5,"top_p":1,"seed":-7,"n":2,"stop":["a","b"],
                "frequency_penalty":0.1,"presence_penalty":-2,"service_tier":"flex"}"#,
        );
        assert_eq!(
            (chat.temperature, chat.top_p, chat.seed),
            (Some(0.5), Some(1.0), Some(-7))
        );
        assert_eq!(
            (chat.choices, &chat.stop_sequences[..]),
            (Some(2), &["a".to_owned(), "b".to_owned()][..])
        );
        assert_eq!(
            (chat.frequency_penalty, chat.presence_penalty),
            (Some(0.1), Some(-2.0))
        );
        assert_eq!(chat.service_tier.as_deref(), Some("flex"));
        let gemini = settings(
            br#"{"contents":[],"generationConfig":{"temperature":1,"topK":40,"candidateCount":3,"stopSequences":["x"]}}"#,
        );
        assert_eq!(
            (gemini.temperature, gemini.top_k, gemini.choices),
            (Some(1.0), Some(40.0), Some(3))
        );
        assert_eq!(gemini.stop_sequences, ["x"]);
        let responses = settings(br#"{"input":"hi","conversation":{"id":"conv_1"},"temperature":null}"#);
        assert_eq!(
            (responses.conversation.as_deref(), responses.temperature),
            (Some("conv_1"), None)
        );
        let one = settings(br#"{"conversation":"conv_2","stop":"\n"}"#);
        assert_eq!(
            (one.conversation.as_deref(), one.stop_sequences),
            (Some("conv_2"), vec!["\n".to_owned()])
        );
    }

    #[test]
    fn what_is_odd_is_left_out_and_texts_are_bounded() {
        assert_eq!(settings(b"[]"), Settings::default());
        assert_eq!(
            settings(br#"{"temperature":"hot","seed":1.5,"stop":{},"#),
            Settings::default()
        );
        let long = format!(
            r#"{{"stop":[{}"{}"]}}"#,
            r#""s","#.repeat(40),
            "\u{e9}".repeat(400)
        );
        let found = settings(long.as_bytes()).stop_sequences;
        assert_eq!(found.len(), STOPS);
        let tier = settings(format!(r#"{{"service_tier":"{}"}}"#, "\u{e9}".repeat(400)).as_bytes());
        assert_eq!(tier.service_tier.unwrap().len(), LONGEST);
    }
}
