//! Offsets in texts (conversion.md 12.6): OpenAI counts code points, Gemini bytes of UTF-8.

/// Code points in front of a byte offset. An offset inside a code point counts as its start; one beyond the end is none.
pub(crate) fn points_before(text: &str, byte: u64) -> Option<u64> {
    let byte = usize::try_from(byte).ok().filter(|byte| *byte <= text.len())?;
    let start = (0..=byte).rev().find(|at| text.is_char_boundary(*at))?;
    Some(points(text.get(..start)?))
}

/// Bytes in front of a code point; none beyond the end.
pub(crate) fn bytes_before(text: &str, point: u64) -> Option<u64> {
    let point = usize::try_from(point).ok()?;
    let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    ends.skip(point).map(|at| at as u64).next()
}

/// Code points of a text.
pub(crate) fn points(text: &str) -> u64 {
    text.chars().count() as u64
}

/// What stands between two code points.
pub(crate) fn slice(text: &str, from: u64, to: u64) -> Option<&str> {
    let (from, to) = (bytes_before(text, from)?, bytes_before(text, to)?);
    text.get(usize::try_from(from).ok()?..usize::try_from(to).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_code_points_are_converted_through_the_text() {
        let text = "aé🙂z";
        assert_eq!(points_before(text, 3), Some(2));
        assert_eq!(points_before(text, 4), Some(2), "inside the smiley");
        assert_eq!(points_before(text, 8), Some(4));
        assert_eq!(points_before(text, 9), None);
        assert_eq!(bytes_before(text, 3), Some(7));
        assert_eq!(bytes_before(text, 4), Some(8));
        assert_eq!(bytes_before(text, 5), None);
        assert_eq!(slice(text, 1, 3), Some("é🙂"));
    }
}
