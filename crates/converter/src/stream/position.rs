//! Places in a streamed text: Gemini counts UTF-8 bytes, everybody else Unicode code points (conversion.md 12.6).

use crate::json::Text;

/// Bytes of text beyond ASCII that are kept to convert places, per answer.
const MAX_KEPT: usize = 1 << 20;

/// Counts a text as it comes. Only what follows the first character beyond ASCII is kept: before it both counts are the same.
#[derive(Debug, Default)]
pub(super) struct Position {
    ascii: u64,
    rest: String,
    points: u64,
    bytes: u64,
    /// More came than is kept: later places cannot be converted.
    full: bool,
}

/// Code points of a text.
pub(super) fn points(text: &Text<'_>) -> u64 {
    text.decode().chars().count() as u64
}

impl Position {
    /// Adds a piece of text.
    pub(super) fn add(&mut self, text: &Text<'_>) {
        let text = text.decode();
        self.points += text.chars().count() as u64;
        self.bytes += text.len() as u64;
        if self.rest.is_empty() && text.is_ascii() {
            self.ascii += text.len() as u64;
        } else if self.rest.len() + text.len() <= MAX_KEPT {
            self.rest.push_str(&text);
        } else {
            self.full = true;
        }
    }

    /// Code points so far.
    pub(super) fn points(&self) -> u64 {
        self.points
    }

    /// Bytes so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The byte place of a code point place; `None` beyond the end.
    pub(super) fn to_bytes(&self, points: u64) -> Option<u64> {
        let Some(over) = points.checked_sub(self.ascii).filter(|over| *over > 0) else {
            return Some(points);
        };
        let over = usize::try_from(over).ok()?;
        let mut places = self.rest.char_indices().map(|(at, _)| at);
        let end = (self.rest.chars().count() == over && !self.full).then_some(self.rest.len());
        places.nth(over).or(end).map(|at| self.ascii + at as u64)
    }

    /// The code point place of a byte place; inside a character its start counts. `None` beyond the end.
    pub(super) fn to_points(&self, bytes: u64) -> Option<u64> {
        let Some(over) = bytes.checked_sub(self.ascii).filter(|over| *over > 0) else {
            return Some(bytes);
        };
        let mut over = usize::try_from(over).ok()?;
        if over > self.rest.len() {
            return None;
        }
        while !self.rest.is_char_boundary(over) {
            over -= 1;
        }
        let before = self.rest.get(..over)?.chars().count() as u64;
        Some(self.ascii + before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_converted_both_ways() {
        let mut position = Position::default();
        for piece in ["ab", "c", "é你", "z"] {
            position.add(&Text::from(piece));
        }
        assert_eq!((position.points(), position.bytes()), (6, 9));
        for (points, bytes) in [(0, 0), (2, 2), (3, 3), (4, 5), (5, 8), (6, 9)] {
            assert_eq!(position.to_bytes(points), Some(bytes), "{points}");
            assert_eq!(position.to_points(bytes), Some(points), "{bytes}");
        }
        assert_eq!(position.to_points(6), Some(4), "inside a character");
        assert_eq!(position.to_bytes(7), None);
        assert_eq!(position.to_points(10), None);
    }
}
