//! Most events of a stream differ from the one before in a text alone. What stood around that text is compared, not read again: the same
//! bytes mean the same.

use crate::json::{Reader, Text};

/// Events that may differ from the one before in more than their text before nothing is remembered any more: there are streams that
/// count their events.
const PATIENCE: u32 = 8;

/// What stands around the text of an event, and around one more string that changes and means nothing (OpenAI's `obfuscation`); and
/// what that says of the text.
#[derive(Debug, Default)]
pub(super) struct Envelope<M> {
    /// Up to and including the quote before each string, and what follows the last one.
    around: Vec<String>,
    /// Which of the strings is the text.
    place: usize,
    meaning: M,
    misses: u32,
}

impl<M: Copy> Envelope<M> {
    /// The text of an event that is like the one remembered in all else, and what was remembered of that one.
    pub(super) fn text<'d>(&mut self, data: &'d str) -> Option<(Text<'d>, M)> {
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
        Some((found, self.meaning))
    }

    /// False once it is not worth it to remember more events of this stream.
    pub(super) fn learns(&self) -> bool {
        self.misses < PATIENCE
    }

    /// Remembers an event that says nothing but `text`. Both strings are slices of `data`, as they stand between their quotes.
    pub(super) fn learn(&mut self, data: &str, text: &Text<'_>, idle: Option<&Text<'_>>, meaning: M) {
        let Some(text) = place_of(data, text) else { return };
        self.misses += 1;
        self.meaning = meaning;
        self.around.clear();
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
    use proptest::prelude::*;

    use super::super::{Decode, chat, messages};
    use super::*;
    use crate::stream::event::{Event, Sink};

    #[derive(Default)]
    struct Told(Vec<String>);

    impl Sink for Told {
        fn event(&mut self, event: Event<'_>) {
            self.0.push(format!("{event:?}"));
        }
    }

    /// What a decoder makes of a stream; with `blanks`, of one whose events all differ in their spelling.
    fn told(mut decoder: impl Decode, datas: &[String], blanks: bool) -> Vec<String> {
        let mut told = Told::default();
        for (number, data) in datas.iter().enumerate() {
            let blank = " ".repeat(if blanks { number + 1 } else { 0 });
            let data = format!("{{{blank}{}", &data[1..]);
            if decoder.event(None, &data, &mut told).is_err() {
                told.0.push("failed".into());
            }
        }
        told.0
    }

    fn texts() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "",
            "a",
            " word",
            r#"\"q\\"#,
            r"\u00e9\n",
            "你好",
            "}",
            ",",
            r#"x\"}"#,
        ])
    }

    fn chunk() -> impl Strategy<Value = String> {
        let delta = prop_oneof![
            6 => texts().prop_map(|text| format!(r#""content":"{text}""#)),
            1 => texts().prop_map(|text| format!(r#""role":"assistant","content":"{text}""#)),
            1 => texts().prop_map(|text| format!(r#""reasoning_content":"{text}""#)),
            1 => texts().prop_map(|text| format!(r#""content":"{text}","refusal":"no""#)),
            1 => texts().prop_map(|text| format!(r#""content":"{text}","content":"b""#)),
            1 => Just(r#""content":[{"type":"text","text":"p"}]"#.to_owned()),
            1 => texts().prop_map(|text| {
                format!(r#""tool_calls":[{{"index":0,"id":"c","function":{{"name":"f","arguments":"{text}"}}}}]"#)
            }),
            1 => Just(String::new()),
        ];
        let finish = prop::sample::select(vec!["null", "null", "null", "null", r#""""#, r#""stop""#]);
        let rest = prop::sample::select(vec![
            "",
            "",
            "",
            r#","obfuscation":"xy""#,
            r#","obfuscation":"z""#,
            r#","usage":{"prompt_tokens":1,"completion_tokens":2}"#,
            r#","usage":null"#,
            r#","service_tier":"flex""#,
        ]);
        let index = prop::sample::select(vec![0, 0, 0, 1]);
        // Old completions have a text where Chat has a delta; a delta wins.
        let said = prop_oneof![
            4 => delta.prop_map(|delta| format!(r#""delta":{{{delta}}}"#)),
            3 => texts().prop_map(|text| format!(r#""text":"{text}""#)),
            1 => texts().prop_map(|text| format!(r#""text":"{text}","delta":{{"content":"{text}"}}"#)),
        ];
        (said, finish, rest, index).prop_map(|(said, finish, rest, index)| {
            format!(
                r#"{{"id":"x","model":"m","choices":[{{"index":{index},{said},"finish_reason":{finish}}}]{rest}}}"#
            )
        })
    }

    fn message_event() -> impl Strategy<Value = String> {
        let index = || prop::sample::select(vec![0, 0, 1]);
        let start = prop::sample::select(vec![
            r#"{"type":"text","text":""}"#,
            r#"{"type":"thinking","thinking":""}"#,
            r#"{"type":"tool_use","id":"t","name":"f","input":{}}"#,
        ]);
        let kind = prop::sample::select(vec![
            ("text_delta", "text"),
            ("text_delta", "text"),
            ("thinking_delta", "thinking"),
            ("input_json_delta", "partial_json"),
            ("text_delta", "thinking"),
        ]);
        prop_oneof![
            1 => (start, index()).prop_map(|(block, index)| {
                format!(r#"{{"type":"content_block_start","index":{index},"content_block":{block}}}"#)
            }),
            6 => (kind, index(), texts()).prop_map(|((kind, member), index, text)| {
                format!(r#"{{"type":"content_block_delta","index":{index},"delta":{{"type":"{kind}","{member}":"{text}"}}}}"#)
            }),
            1 => index().prop_map(|index| format!(r#"{{"type":"content_block_stop","index":{index}}}"#)),
        ]
    }

    proptest! {
        #[test]
        fn a_stream_means_the_same_whether_its_events_are_alike_or_not(
            chunks in prop::collection::vec(chunk(), 0..30),
            events in prop::collection::vec(message_event(), 0..30),
        ) {
            let chat = |blanks| told(chat::Decoder::default(), &chunks, blanks);
            prop_assert_eq!(chat(false), chat(true));
            let messages = |blanks| told(messages::Decoder::default(), &events, blanks);
            prop_assert_eq!(messages(false), messages(true));
        }
    }

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

    fn learned(data: &str) -> Envelope<u8> {
        let mut envelope = Envelope::default();
        envelope.learn(data, &member(data, "t").unwrap(), member(data, "o").as_ref(), 7);
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
            let found = envelope.text(data).map(|(text, meaning)| {
                assert_eq!(meaning, 7);
                text.decode().into_owned()
            });
            assert_eq!(found.as_deref(), text, "{data}");
        }
    }

    #[test]
    fn a_second_string_may_change_on_either_side() {
        for data in [r#"{"t":"x","o":"zz"}"#, r#"{"o":"zz","t":"x"}"#] {
            let mut envelope = learned(data);
            let next = data.replace("\"x\"", "\"more\"").replace("zz", "u");
            assert_eq!(envelope.text(&next), Some((Text::from("more"), 7)), "{next}");
            assert_eq!(envelope.text(&data.replace("\"zz\"", "null")), None);
        }
    }

    #[test]
    fn a_stream_that_always_differs_is_not_remembered_for_ever() {
        let mut envelope = Envelope::default();
        for number in 0..20 {
            let data = format!(r#"{{"n":{number},"t":"x"}}"#);
            assert_eq!(envelope.text(&data), None);
            assert_eq!(envelope.learns(), number < 8);
            if envelope.learns() {
                envelope.learn(&data, &member(&data, "t").unwrap(), None, ());
            }
        }
        assert_eq!(envelope.misses, PATIENCE);
        let mut other = Envelope::default();
        other.learn(r#"{"t":"x"}"#, &Text::from("x"), None, ());
        assert_eq!(
            other.text(r#"{"t":"x"}"#),
            None,
            "the text is none of the event's"
        );
    }
}
