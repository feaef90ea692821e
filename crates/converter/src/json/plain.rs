//! Where the characters are that strings cannot hold as they are.

/// How many of the first bytes are neither quotes nor backslashes nor control characters. Most strings are names and words, so that
/// the first bytes are looked at by words of eight; what is longer, by blocks that the compiler makes vectors of.
pub(super) fn plain_length(bytes: &[u8]) -> usize {
    const SHORT: usize = 32;
    const BLOCK: usize = 64;
    let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    let mut length = 0;
    loop {
        let rest = bytes.get(length..).unwrap_or_default();
        if length >= SHORT
            && let Some(block) = rest.first_chunk::<BLOCK>()
            && !block.iter().fold(false, |found, byte| found | special(byte))
        {
            length += BLOCK;
            continue;
        }
        let Some(word) = rest.first_chunk() else {
            return length + rest.iter().position(special).unwrap_or(rest.len());
        };
        match special_in(u64::from_le_bytes(*word)) {
            0 => length += 8,
            // A count of bits in a word fits.
            found => return length + (found.trailing_zeros() / 8) as usize,
        }
    }
}

/// The top bit of the first special byte of a word is set; above it the answer is not exact.
fn special_in(word: u64) -> u64 {
    /// 0x01 in each byte.
    const ONES: u64 = u64::MAX / 255;
    let below = |word: u64, least: u64| word.wrapping_sub(ONES * least) & !word & (ONES << 7);
    let quotes = below(word ^ (ONES * u64::from(b'"')), 1);
    let backslashes = below(word ^ (ONES * u64::from(b'\\')), 1);
    quotes | backslashes | below(word, 0x20)
}

#[cfg(test)]
mod tests {
    use super::plain_length;

    #[test]
    fn the_plain_start_of_a_string_ends_at_its_first_special_byte() {
        for length in (0..300).chain([1_000, 5_000, 70_000]) {
            for plain in [
                b'x', 0x20, 0x21, 0x23, 0x5b, 0x5d, 0x7f, 0x80, 0x9f, 0xa2, 0xdc, 0xff,
            ] {
                let mut text = vec![plain; length];
                assert_eq!(plain_length(&text), length);
                for special in [b'"', b'\\', 0, 1, 0x1f] {
                    text.push(special);
                    text.extend([b'x', b'"', 0, b'\\', 0x21, b'y', b'z', b'a', b'b']);
                    assert_eq!(
                        plain_length(&text),
                        length,
                        "{special} behind {length} of {plain}"
                    );
                    text.truncate(length);
                }
            }
        }
    }
}
