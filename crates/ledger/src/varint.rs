//! Numbers and texts of the record format: LEB128 and length-prefixed UTF-8. Reading is total: any bytes, no panic.

/// Longest text a record keeps, in bytes. Names of models, channels and users are far shorter.
const MAX_TEXT: usize = 256;

/// Appends a number, seven bits per byte, lowest first.
pub(crate) fn put_number(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or_default();
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

/// Appends a text, cut at [`MAX_TEXT`]. Control characters become `?`: without NUL no text can contain the head of a
/// record, so a search for the next whole record never finds one that a client wrote.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    let cut = text.floor_char_boundary(MAX_TEXT);
    let kept = text.get(..cut).unwrap_or_default();
    put_number(out, kept.len() as u64);
    out.extend(
        kept.bytes()
            .map(|byte| if byte < 0x20 || byte == 0x7f { b'?' } else { byte }),
    );
}

/// Reads from the front of a payload.
pub(crate) struct Input<'i>(pub(crate) &'i [u8]);

impl<'i> Input<'i> {
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// A number that was added to the end of the format: older records do not have it.
    pub(crate) fn later(&mut self) -> Option<u64> {
        if self.0.is_empty() { Some(0) } else { self.number() }
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    pub(crate) fn small<T: TryFrom<u64>>(&mut self) -> Option<T> {
        T::try_from(self.number()?).ok()
    }

    pub(crate) fn text(&mut self) -> Option<&'i str> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest): (&'i [u8], _) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut out = Vec::new();
            put_number(&mut out, value);
            assert_eq!(Input(&out).number(), Some(value));
        }
        assert_eq!(Input(&[0xff; 10]).number(), None, "more than 64 bits");
        assert_eq!(Input(&[0x80; 3]).number(), None, "cut");
    }

    #[test]
    fn texts_are_cut_at_a_character_and_hold_no_control_characters() {
        let mut out = Vec::new();
        put_text(&mut out, &format!("a\0b\n{}", "你".repeat(200)));
        let text = Input(&out).text().unwrap();
        assert!(text.starts_with("a?b?你") && text.len() <= MAX_TEXT, "{text}");
        assert_eq!(text.len(), 4 + 84 * 3);
    }
}
