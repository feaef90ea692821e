//! Most events of a stream differ from the one before in a text alone. What stood around that text is compared, not read again: the same
//! bytes mean the same.

use crate::json::{Reader, Text};

/// Events that may differ from the one before in more than their text before nothing is remembered any more: there are streams that
/// count their events.
const PATIENCE: u32 = 8;

/// What stands around the text of an event, and around one more string that changes and means nothing (OpenAI's `obfuscation`).
#[derive(Debug, Default)]
pub(super) struct Envelope {
    /// Up to and including the quote before each string, and what follows the last one.
    around: Vec<String>,
    /// Which of the strings is the text.
    place: usize,
    misses: u32,
}

impl Envelope {
    /// The text of an event that is like the one remembered in all else.
    pub(super) fn text<'d>(&mut self, data: &'d str) -> Option<Text<'d>> {
        let (last, before) = self.around.split_last()?;
        let (mut rest, mut found) = (data, None);
        for (number, before) in before.iter().enumerate() {
            // The quote is part of the string that is read.
            let string = rest.strip_prefix(before.as_str())?;
            let mut reader = Reader::new(string);
            let text = reader.text().ok()?;
            rest = string.get(reader.offset_behind()..)?;
            if number == self.place {
                found = Some(text);
            }
        }
        let found = found.filter(|text| rest == last && !text.is_empty())?;
        self.misses = 0;
        Some(found)
    }

    /// Remembers an event that says nothing but `text`. Both strings are slices of `data`, as they stand between their quotes.
    pub(super) fn learn(&mut self, data: &str, text: &Text<'_>, idle: Option<&Text<'_>>) {
        if self.misses >= PATIENCE {
            return;
        }
        self.misses += 1;
        self.around.clear();
        let Some(text) = place_of(data, text) else { return };
        let idle = idle.and_then(|idle| place_of(data, idle));
        let mut places = vec![text];
        match idle {
            Some(idle) if idle.0 > text.1 => places.push(idle),
            Some(idle) if idle.1 < text.0 => places.insert(0, idle),
            _ => {}
        }
        self.place = usize::from(places.first() != Some(&text));
        let mut from = 0;
        for (start, end) in places {
            let before = data.get(from..start).unwrap_or_default();
            self.around.push(before.to_owned());
            from = end;
        }
        self.around.push(data.get(from..).unwrap_or_default().to_owned());
    }
}

/// Where a string stands in `data`, quotes included; `None` if it is no slice of it.
fn place_of(data: &str, text: &Text<'_>) -> Option<(usize, usize)> {
    let Text::Escaped(inside) = text else { return None };
    let start = inside.as_ptr().addr().checked_sub(data.as_ptr().addr())?;
    let (start, end) = (start.checked_sub(1)?, start + inside.len() + 1);
    let is_string = data.get(start..end)?.strip_prefix('"')?.strip_suffix('"')? == *inside;
    is_string.then_some((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value of a member of an object.
    fn member<'d>(data: &'d str, wanted: &str) -> Option<Text<'d>> {
        let mut found = None;
        let mut reader = Reader::new(data);
        let read = reader.object(|reader, key| {
            if key == wanted {
                found = Some(reader.text()?);
                return Ok(());
            }
            reader.skip()
        });
        read.unwrap();
        found
    }

    fn learned(data: &str) -> Envelope {
        let mut envelope = Envelope::default();
        envelope.learn(data, &member(data, "t").unwrap(), member(data, "o").as_ref());
        envelope
    }

    #[test]
    fn only_the_text_may_differ() {
        let mut envelope = learned(r#"{"a":1,"t":"x","b":null}"#);
        for (data, text) in [
            (r#"{"a":1,"t":"y","b":null}"#, Some("y")),
            (r#"{"a":1,"t":"say \"ü\\","b":null}"#, Some("say \"ü\\")),
            (r#"{"a":1,"t":"x","b":null} "#, None),
            (r#"{"a":1,"t":"x","c":null}"#, None),
            (r#"{"a":2,"t":"x","b":null}"#, None),
            (r#"{"a":1,"t":"","b":null}"#, None),
            (r#"{"a":1,"t":"x","b":null,"b":null}"#, None),
            (r#"{"a":1,"t":"x\","b":null}"#, None),
            (r#"{"a":1,"t":"\q","b":null}"#, None),
            (r#"{"a":1,"t":7,"b":null}"#, None),
            ("", None),
        ] {
            let found = envelope.text(data).map(|text| text.decode().into_owned());
            assert_eq!(found.as_deref(), text, "{data}");
        }
    }

    #[test]
    fn a_second_string_may_change_on_either_side() {
        for data in [r#"{"t":"x","o":"zz"}"#, r#"{"o":"zz","t":"x"}"#] {
            let mut envelope = learned(data);
            let next = data.replace("\"x\"", "\"more\"").replace("zz", "u");
            assert_eq!(envelope.text(&next), Some(Text::from("more")), "{next}");
            assert_eq!(envelope.text(&data.replace("\"zz\"", "null")), None);
        }
    }

    #[test]
    fn a_stream_that_always_differs_is_not_remembered_for_ever() {
        let mut envelope = Envelope::default();
        for number in 0..20 {
            let data = format!(r#"{{"n":{number},"t":"x"}}"#);
            assert_eq!(envelope.text(&data), None);
            envelope.learn(&data, &member(&data, "t").unwrap(), None);
        }
        assert_eq!(envelope.misses, PATIENCE);
        let mut other = Envelope::default();
        other.learn(r#"{"t":"x"}"#, &Text::from("x"), None);
        assert_eq!(
            other.text(r#"{"t":"x"}"#),
            None,
            "the text is none of the event's"
        );
    }
}
