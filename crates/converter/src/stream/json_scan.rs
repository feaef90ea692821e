//! Follows the text of one JSON value to its end, in any pieces.

/// Knows whether an object or array is complete.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct JsonScan {
    depth: usize,
    string: bool,
    escaped: bool,
    complete: bool,
}

impl JsonScan {
    /// The value has ended.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// Takes the next piece of decoded text.
    pub(super) fn push(&mut self, text: &str) {
        for byte in text.bytes() {
            if self.string {
                self.string = self.escaped || byte != b'"';
                self.escaped = self.string && !self.escaped && byte == b'\\';
                continue;
            }
            match byte {
                b'"' => self.string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    self.complete |= self.depth == 0;
                }
                _ => {}
            }
        }
    }
}
