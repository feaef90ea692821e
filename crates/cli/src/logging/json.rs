//! Log lines as JSON objects: what `tracing_subscriber`'s own formatter writes when it is flattened, without its detours through
//! serde and a string for each value. One line belongs to every request.

use std::cell::Cell;
use std::fmt::{self, Debug, Write as _};
use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::Context;

thread_local! {
    /// Kept from line to line for its room.
    static LINE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    /// A second since 1970 and its text.
    static SECOND: Cell<(u64, [u8; 19])> = const { Cell::new((0, *b"1970-01-01T00:00:00")) };
}

/// Writes each event as one line, in one write.
pub(super) struct JsonLines<W>(pub(super) W);

impl<S: Subscriber, W: for<'w> MakeWriter<'w> + 'static> Layer<S> for JsonLines<W> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // A value that logs while it is written finds an empty line here, and a thread that ends finds none at all.
        let mut line = LINE.try_with(Cell::take).unwrap_or_default();
        line.clear();
        write_line(&mut line, event);
        let mut out = self.0.make_writer_for(event.metadata());
        // Whom should be told that nobody can be told anything?
        let _ = out.write_all(&line);
        let _ = LINE.try_with(|kept| kept.set(line));
    }
}

fn write_line(line: &mut Vec<u8>, event: &Event<'_>) {
    line.extend_from_slice(b"{\"timestamp\":\"");
    timestamp(line, SystemTime::now());
    line.extend_from_slice(b"\",\"level\":\"");
    line.extend_from_slice(event.metadata().level().as_str().as_bytes());
    line.push(b'"');
    event.record(&mut Members(line));
    line.extend_from_slice(b"}\n");
}

/// `2026-11-25T02:39:56.699080Z`
fn timestamp(line: &mut Vec<u8>, now: SystemTime) {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (second, mut text) = SECOND.try_with(Cell::get).unwrap_or_default();
    if second != since.as_secs() {
        let stamp = jiff::Timestamp::from_second(i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
        let stamp = stamp.unwrap_or_default().to_string();
        if let Some(whole) = stamp.as_bytes().first_chunk() {
            text = *whole;
            let _ = SECOND.try_with(|kept| kept.set((since.as_secs(), text)));
        }
    }
    line.extend_from_slice(&text);
    let _ = write!(line, ".{:06}Z", since.subsec_micros());
}

/// Writes fields as members of an object that has some already.
struct Members<'l>(&'l mut Vec<u8>);

impl Members<'_> {
    fn name(&mut self, field: &Field) {
        // Names are Rust's own: nothing in them needs an escape.
        self.0.extend_from_slice(b",\"");
        self.0.extend_from_slice(field.name().as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    /// A value whose `Display` is JSON.
    fn plain(&mut self, field: &Field, value: impl fmt::Display) {
        self.name(field);
        // A vector takes every write.
        let _ = write!(self.0, "{value}");
    }
}

impl Visit for Members<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.plain(field, format_args!("{value:?}"));
        } else {
            self.plain(field, "null");
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.name(field);
        self.0.push(b'"');
        escape(self.0, value);
        self.0.push(b'"');
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.name(field);
        self.0.push(b'"');
        // Only a broken `Debug` fails; the line stays whole.
        let _ = write!(Escaped(self.0), "{value:?}");
        self.0.push(b'"');
    }
}

/// Text inside a JSON string.
struct Escaped<'l>(&'l mut Vec<u8>);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escape(self.0, text);
        Ok(())
    }
}

fn escape(line: &mut Vec<u8>, text: &str) {
    let special = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    if !text.bytes().any(special) {
        line.extend_from_slice(text.as_bytes());
        return;
    }
    for character in text.chars() {
        match character {
            '"' => line.extend_from_slice(b"\\\""),
            '\\' => line.extend_from_slice(b"\\\\"),
            '\n' => line.extend_from_slice(b"\\n"),
            '\r' => line.extend_from_slice(b"\\r"),
            '\t' => line.extend_from_slice(b"\\t"),
            '\u{8}' => line.extend_from_slice(b"\\b"),
            '\u{c}' => line.extend_from_slice(b"\\f"),
            control if u32::from(control) < 0x20 => {
                let _ = write!(line, "\\u{:04x}", u32::from(control));
            }
            plain => {
                let mut utf8 = [0; 4];
                line.extend_from_slice(plain.encode_utf8(&mut utf8).as_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use tracing::subscriber::with_default;
    use tracing_subscriber::prelude::*;

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Kept {
        /// Without the timestamps.
        fn lines(&self) -> Vec<String> {
            let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
            let behind = |line: &str| line.split_once(",\"level\"").unwrap().1.to_owned();
            text.lines().map(behind).collect()
        }
    }

    fn say_everything() {
        let error = std::io::Error::other("a \"bad\"\nthing \u{1} \u{8}\u{c}\t\\ ü");
        tracing::info!(
            id = "req_1",
            count = 3_u64,
            left = -4,
            share = 0.5,
            whole = 2.0,
            yes = true,
            "request"
        );
        tracing::warn!(%error, debug = ?Some("x\ty"), none = f64::NAN, r#type = "reserved", "told: {}", "ü \"q\"");
        tracing::error!(error = &error as &dyn std::error::Error, large = u128::MAX);
    }

    #[test]
    fn lines_are_those_of_the_usual_formatter() {
        let (ours, theirs) = (Kept::default(), Kept::default());
        let (one, other) = (ours.clone(), theirs.clone());
        let registry = tracing_subscriber::registry().with(JsonLines(move || one.clone()));
        with_default(registry, say_everything);
        let usual = tracing_subscriber::fmt::layer().with_target(false).json();
        let usual = usual.flatten_event(true).with_writer(move || other.clone());
        with_default(tracing_subscriber::registry().with(usual), say_everything);
        assert_eq!(ours.lines().len(), 3);
        assert_eq!(ours.lines(), theirs.lines());
    }

    #[test]
    fn moments_are_written_to_the_microsecond() {
        let mut line = Vec::new();
        for micros in [
            1_795_574_396_699_080,
            1_795_574_396_000_001,
            1_795_574_397_999_999,
        ] {
            timestamp(&mut line, UNIX_EPOCH + Duration::from_micros(micros));
            line.push(b' ');
        }
        let wanted = "2026-11-25T02:39:56.699080Z 2026-11-25T02:39:56.000001Z 2026-11-25T02:39:57.999999Z ";
        assert_eq!(String::from_utf8(line).unwrap(), wanted);
    }
}
