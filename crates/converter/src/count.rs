//! Counting tokens for a client whose upstream cannot: an estimate in the shape of the client's endpoint (conversion.md 14.2).

use crate::decode;
use crate::error::{Error, ErrorKind};
use crate::estimate::Estimator;
use crate::format::Format;
use crate::json::Writer;

/// The answer to `messages/count_tokens`, `responses/input_tokens` or `:countTokens`.
///
/// # Errors
/// Not a request of this format.
pub fn estimate(body: &[u8], format: Format) -> Result<Vec<u8>, Error> {
    let text =
        std::str::from_utf8(body).map_err(|_| Error::new(ErrorKind::Syntax, "the body is not UTF-8"))?;
    let tokens = Estimator::of_request(&decode::counted(text, format)?).max(1);
    let mut out = Vec::with_capacity(64);
    Writer::new(&mut out).object(|w| match format {
        Format::Gemini => w.key("totalTokens").u64(tokens),
        Format::Responses => {
            w.key("object").str("response.input_tokens");
            w.key("input_tokens").u64(tokens);
        }
        Format::Chat | Format::Messages => w.key("input_tokens").u64(tokens),
    });
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counting_endpoint_gets_its_own_shape() {
        let count =
            |body: &str, format| String::from_utf8(estimate(body.as_bytes(), format).unwrap()).unwrap();
        let messages = count(
            r#"{"model":"m","messages":[{"role":"user","content":"four words of text"}]}"#,
            Format::Messages,
        );
        assert!(messages.starts_with(r#"{"input_tokens":"#), "{messages}");
        let gemini = count(r#"{"contents":[{"parts":[{"text":"hi"}]}]}"#, Format::Gemini);
        assert!(gemini.starts_with(r#"{"totalTokens":"#), "{gemini}");
        assert!(estimate(b"{}", Format::Messages).is_err());
    }
}
