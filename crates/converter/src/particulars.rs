//! What an answer says of itself besides its content, for traces: which answer it is, who made it, why it ended.

use crate::error::Error;
use crate::format::Format;
use crate::json::{Kind, Reader};

/// Longest id or model name that is kept, bytes: far beyond what any provider makes.
const LONGEST_NAME: usize = 256;
/// Longest reason, bytes.
const LONGEST_REASON: usize = 64;
/// Most generations of one answer.
const GENERATIONS: usize = 128;

/// The upstream's own words for an answer, of bounded length. Nothing of what was generated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Particulars {
    /// Id of the answer.
    pub id: Option<String>,
    /// The model that the upstream reports.
    pub model: Option<String>,
    /// Why each generation ended, by its number.
    finishes: Vec<(u32, String)>,
}

impl Particulars {
    /// Why the generations ended, in their order.
    pub fn finishes(&self) -> impl Iterator<Item = &str> {
        self.finishes.iter().map(|(_, reason)| reason.as_str())
    }

    /// The answer begins; what was noted of another one before it does not count.
    pub(crate) fn begin(&mut self, id: &str, model: Option<&str>) {
        *self = Particulars {
            id: name(id),
            model: model.and_then(name),
            finishes: Vec::new(),
        };
    }

    /// A generation ended. The first reason counts.
    pub(crate) fn finish(&mut self, number: u32, reason: &str) {
        // What says that the answer is not there yet is no reason.
        if matches!(reason, "" | "queued" | "in_progress") || self.finishes.len() >= GENERATIONS {
            return;
        }
        if let Err(place) = self.finishes.binary_search_by_key(&number, |(known, _)| *known) {
            let reason = start(reason, LONGEST_REASON).to_owned();
            self.finishes.insert(place, (number, reason));
        }
    }

    /// Reads a member of a whole answer, if it is one of those; false if it is still to be read.
    pub(crate) fn member(
        &mut self,
        key: &str,
        reader: &mut Reader<'_>,
        format: Format,
    ) -> Result<bool, Error> {
        match (format, key, reader.kind()) {
            (Format::Gemini, "responseId", Kind::String) => self.id = name(&reader.text()?.decode()),
            (Format::Gemini, "modelVersion", Kind::String) => self.model = name(&reader.text()?.decode()),
            (Format::Gemini, _, Kind::String) => return Ok(false),
            (_, "id", Kind::String) => self.id = name(&reader.text()?.decode()),
            (_, "model", Kind::String) => self.model = name(&reader.text()?.decode()),
            (Format::Messages, "stop_reason", Kind::String) | (Format::Responses, "status", Kind::String) => {
                self.finish(0, &reader.text()?.decode());
            }
            // The finer word counts, on whichever side of `status` it stands.
            (Format::Responses, "incomplete_details", Kind::Object) => {
                let status = std::mem::take(&mut self.finishes);
                self.reason_in("reason", 0, reader)?;
                if self.finishes.is_empty() {
                    self.finishes = status;
                }
            }
            // A prompt that is blocked is answered without candidates.
            (Format::Gemini, "promptFeedback", Kind::Object) => self.reason_in("blockReason", 0, reader)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Reads one of the generations of a whole answer of Chat or Gemini; false if it is still to be read.
    pub(crate) fn generation(
        &mut self,
        number: usize,
        reader: &mut Reader<'_>,
        format: Format,
    ) -> Result<bool, Error> {
        let key = match format {
            Format::Chat => "finish_reason",
            Format::Gemini => "finishReason",
            Format::Responses | Format::Messages => return Ok(false),
        };
        if reader.kind() != Kind::Object {
            return Ok(false);
        }
        self.reason_in(key, u32::try_from(number).unwrap_or(u32::MAX), reader)?;
        Ok(true)
    }

    /// Reads an object for the reason that stands in it.
    fn reason_in(&mut self, wanted: &str, number: u32, reader: &mut Reader<'_>) -> Result<(), Error> {
        reader.object(|reader, key| {
            if key == wanted && reader.kind() == Kind::String {
                self.finish(number, &reader.text()?.decode());
                return Ok(());
            }
            reader.skip()
        })
    }
}

fn name(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| start(text, LONGEST_NAME).to_owned())
}

/// The first bytes of a text, whole characters.
fn start(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{relayed, relayed_noting};

    fn noted(body: &str, format: Format) -> Particulars {
        let mut noted = Particulars::default();
        let found = relayed_noting(body, format, Some(&mut noted)).unwrap();
        assert_eq!(found, relayed(body, format).unwrap(), "{body}");
        noted
    }

    fn check(format: Format, body: &str, id: Option<&str>, model: Option<&str>, finishes: &[&str]) {
        let noted = noted(body, format);
        assert_eq!(
            (noted.id.as_deref(), noted.model.as_deref()),
            (id, model),
            "{body}"
        );
        assert_eq!(noted.finishes().collect::<Vec<_>>(), finishes, "{body}");
    }

    #[test]
    fn whole_answers_say_it_in_all_formats() {
        let chat = r#"{"id":"c1","model":"m","choices":[{"finish_reason":"stop","message":{"content":"x","model":"n"}},{"finish_reason":"length"}]}"#;
        check(Format::Chat, chat, Some("c1"), Some("m"), &["stop", "length"]);
        let old =
            r#"{"choices":[{"finish_reason":"function_call"}],"model":"m","usage":{"prompt_tokens":1}}"#;
        check(Format::Chat, old, None, Some("m"), &["function_call"]);
        let messages = r#"{"content":[{"type":"text","text":"stop_reason"}],"id":"msg_1","model":"m","stop_reason":"pause_turn"}"#;
        check(
            Format::Messages,
            messages,
            Some("msg_1"),
            Some("m"),
            &["pause_turn"],
        );
        let gemini = r#"{"candidates":[{"finishReason":"STOP"},{"finishReason":"SAFETY"}],"modelVersion":"m","responseId":"r","id":"x","model":"y"}"#;
        check(Format::Gemini, gemini, Some("r"), Some("m"), &["STOP", "SAFETY"]);
        let blocked = r#"{"promptFeedback":{"blockReason":"SAFETY"},"modelVersion":"m"}"#;
        check(Format::Gemini, blocked, None, Some("m"), &["SAFETY"]);
    }

    #[test]
    fn responses_says_a_reason_only_where_it_is_incomplete() {
        let full = r#"{"id":"r","model":"m","status":"completed","incomplete_details":null,"output":[]}"#;
        check(Format::Responses, full, Some("r"), Some("m"), &["completed"]);
        let before = r#"{"status":"incomplete","incomplete_details":{"reason":"steered"},"output":[]}"#;
        check(Format::Responses, before, None, None, &["steered"]);
        let behind = r#"{"incomplete_details":{"reason":"steered"},"output":[],"status":"incomplete"}"#;
        check(Format::Responses, behind, None, None, &["steered"]);
        let silent = r#"{"status":"incomplete","incomplete_details":{},"output":[]}"#;
        check(Format::Responses, silent, None, None, &["incomplete"]);
        let queued = r#"{"id":"r","status":"queued","output":[]}"#;
        check(Format::Responses, queued, Some("r"), None, &[]);
    }

    #[test]
    fn strange_members_are_no_reason_to_fail() {
        let odd =
            r#"{"id":7,"model":null,"choices":[null,"x",{"finish_reason":null},{"finish_reason":["a"]}]}"#;
        check(Format::Chat, odd, None, None, &[]);
        let empty = r#"{"id":"","model":"","choices":[{"finish_reason":""}]}"#;
        check(Format::Chat, empty, None, None, &[]);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let long = "ü".repeat(1_000);
        let choice = format!(r#"{{"finish_reason":"{long}"}}"#);
        let choices = vec![choice; 200].join(",");
        let noted = noted(
            &format!(r#"{{"id":"{long}","model":"{long}","choices":[{choices}]}}"#),
            Format::Chat,
        );
        assert_eq!(noted.id.unwrap().len(), LONGEST_NAME);
        assert_eq!(noted.finishes.len(), GENERATIONS);
        assert!(
            noted
                .finishes
                .iter()
                .all(|(_, reason)| reason.len() == LONGEST_REASON)
        );
    }
}
