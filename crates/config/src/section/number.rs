//! Members that are numbers: counts, amounts, sizes, durations, percentages.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::Reading;
use crate::node::{Node, Placed};
use crate::units::{COUNT_MAX, shown_decimal, shown_duration};

impl Reading<'_> {
    /// A whole number in a range.
    pub(crate) fn number(&mut self, node: &Placed, range: RangeInclusive<i64>) -> Option<i64> {
        match &node.value {
            Node::Int(number) if range.contains(number) => Some(*number),
            Node::Int(_) => {
                let help = format!("it must be between {} and {}", range.start(), range.end());
                self.error("E008", node, "the number is out of range".into(), Some(help));
                None
            }
            other => {
                self.error(
                    "E003",
                    node,
                    format!("a whole number was expected, found {}", other.name()),
                    None,
                );
                None
            }
        }
    }

    /// A number of things that are limited: `600`, `200k`, `2M`.
    pub(crate) fn count(&mut self, node: &Placed) -> Option<u64> {
        let found = match &node.value {
            Node::Int(number) => Some(u64::try_from(*number).unwrap_or(0)),
            Node::Text(_) => {
                let text = self.text(node)?;
                let found = crate::units::count(&text);
                if found.is_none() {
                    let help = Some("write a whole number: 600, 200k, 2M".into());
                    self.error("E008", node, format!("`{text}` is not a number"), help);
                }
                found
            }
            other => {
                let text = format!("a whole number was expected, found {}", other.name());
                self.error("E003", node, text, Some("write 600, 200k or 2M".into()));
                None
            }
        }?;
        if (1..=COUNT_MAX).contains(&found) {
            return Some(found);
        }
        let help = format!("it must be between 1 and {COUNT_MAX}; leave it out for no limit");
        self.error("E008", node, "the number is out of range".into(), Some(help));
        None
    }

    /// A decimal number in units of 10^-`places`, exactly as it is written, quoted or not.
    pub(crate) fn decimal(
        &mut self,
        node: &Placed,
        places: usize,
        range: RangeInclusive<u64>,
    ) -> Option<u64> {
        let text = match &node.value {
            Node::Float(value) => self.written(node, *value),
            Node::Int(_) | Node::Text(_) => self.text(node)?,
            other => {
                let text = format!("a number was expected, found {}", other.name());
                self.error("E003", node, text, None);
                return None;
            }
        };
        let Some(found) = crate::units::decimal(&text, places) else {
            let help = format!("write a plain number with at most {places} decimals, for example 1.25");
            self.error("E008", node, format!("`{text}` is not such a number"), Some(help));
            return None;
        };
        if range.contains(&found) {
            return Some(found);
        }
        let (least, most) = (
            shown_decimal(*range.start(), places),
            shown_decimal(*range.end(), places),
        );
        let help = format!("it must be between {least} and {most}");
        self.error("E008", node, "the number is out of range".into(), Some(help));
        None
    }

    /// The text of a number: YAML has rounded its value.
    fn written(&self, node: &Placed, value: f64) -> String {
        let span = node.defined.span();
        let ends = span
            .byte_offset()
            .zip(span.byte_len())
            .and_then(|(start, length)| {
                let start = usize::try_from(start).ok()?;
                Some(start..start.checked_add(usize::try_from(length).ok()?)?)
            });
        let text = ends.and_then(|ends| self.source.get(ends));
        // A place that does not fit the text (a byte order mark in front) shows in another value.
        let text = text.filter(|text| text.parse() == Ok(value));
        text.map_or_else(|| value.to_string(), str::to_owned)
    }

    /// A size: `32MiB`.
    pub(crate) fn bytes(&mut self, node: &Placed) -> Option<usize> {
        let text = self.text(node)?;
        let found = crate::units::bytes(&text);
        if found.is_none() {
            let help = Some("write 32MiB".into());
            self.error("E008", node, format!("`{text}` is not a size"), help);
        }
        found
    }

    /// A duration: `10m`.
    pub(crate) fn duration(&mut self, node: &Placed) -> Option<Duration> {
        let text = self.text(node)?;
        let found = crate::units::duration(&text);
        if found.is_none() {
            let help = Some("write a number and a unit: 100ms, 3s, 10m, 1h".into());
            self.error("E008", node, format!("`{text}` is not a duration"), help);
        }
        found
    }

    /// A duration in a range.
    pub(crate) fn duration_in(&mut self, node: &Placed, range: RangeInclusive<Duration>) -> Option<Duration> {
        let found = self.duration(node)?;
        if range.contains(&found) {
            return Some(found);
        }
        let (least, most) = (shown_duration(*range.start()), shown_duration(*range.end()));
        let help = format!("it must be between {least} and {most}");
        self.error("E008", node, "the duration is out of range".into(), Some(help));
        None
    }

    /// Two durations: `10s..5m`.
    pub(crate) fn span(&mut self, node: &Placed) -> Option<(Duration, Duration)> {
        let text = self.text(node)?;
        let both = text.split_once("..").unwrap_or((&text, &text));
        let found = (
            crate::units::duration(both.0.trim()),
            crate::units::duration(both.1.trim()),
        );
        if let (Some(least), Some(most)) = found
            && least <= most
        {
            return Some((least, most));
        }
        let help = Some("write two durations, the shorter first: 10s..5m".into());
        self.error("E008", node, format!("`{text}` is not a span of durations"), help);
        None
    }

    /// A percentage from 1 to 100: `50%`.
    pub(crate) fn percent(&mut self, node: &Placed) -> Option<u32> {
        let text = self.text(node)?;
        let found = text.strip_suffix('%').and_then(|number| number.parse().ok());
        let found = found.filter(|percent| (1..=100).contains(percent));
        if found.is_none() {
            let help = Some("write a percentage: 50%".into());
            self.error("E008", node, format!("`{text}` is not a percentage"), help);
        }
        found
    }
}
