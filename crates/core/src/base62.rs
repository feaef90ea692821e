//! Base62: digits, upper case, lower case; the alphabet of every id and key that we make.

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The digit of `value` modulo 62.
pub(crate) fn digit(value: u8) -> u8 {
    ALPHABET.get(usize::from(value % 62)).copied().unwrap_or(b'0')
}

/// The number in big-endian `bytes`, as exactly `length` digits; digits above `length` are cut off.
pub(crate) fn encode(bytes: &[u8], length: usize) -> String {
    let mut number = bytes.to_vec();
    let mut digits: Vec<char> = (0..length)
        .map(|_| char::from(digit(divide(&mut number))))
        .collect();
    digits.reverse();
    digits.into_iter().collect()
}

/// Divides the big-endian number by 62 in place and returns the remainder.
fn divide(number: &mut [u8]) -> u8 {
    let mut rest = 0_u16;
    for byte in number {
        let value = rest << 8 | u16::from(*byte);
        // Both fit a byte: `rest` is below 62, so `value` is below 62 * 256.
        *byte = (value / 62).to_le_bytes()[0];
        rest = value % 62;
    }
    rest.to_le_bytes()[0]
}

/// True if every character of `text` is a base62 digit and there are `length` of them.
pub(crate) fn is(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_base_62() {
        assert_eq!(encode(&[0], 3), "000");
        assert_eq!(encode(&[61], 3), "00z");
        assert_eq!(encode(&[1, 0], 3), "048");
        assert_eq!(encode(&[0xff; 32], 43).len(), 43);
    }

    #[test]
    fn forty_three_digits_hold_256_bits() {
        // The largest number has a 44th digit of zero, so nothing is ever cut off.
        assert!(encode(&[0xff; 32], 44).starts_with('0'));
        assert!(!encode(&[0xff; 32], 43).starts_with('0'));
    }
}
