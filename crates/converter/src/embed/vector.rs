//! Vectors: numbers with their digits, and OpenAI's base64 of little-endian f32.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Vector;
use crate::json::{Raw, Writer, from_str};

/// Writes a vector as a list of numbers. Digits stay as they were unless the vector must be scaled.
pub(super) fn numbers(w: &mut Writer<'_>, vector: &Vector<'_>, normalize: bool) -> Option<()> {
    let scaled = if normalize { scaled(vector)? } else { None };
    match (vector, scaled) {
        (Vector::Numbers(raw), None) => w.raw(*raw),
        (_, scaled) => {
            let values = scaled.or_else(|| values(vector))?;
            w.array(|w| {
                for value in values {
                    // The shortest digits that give the same f32 back.
                    w.item().bytes().extend_from_slice(value.to_string().as_bytes());
                }
            });
        }
    }
    Some(())
}

/// Base64 of the little-endian f32 values.
pub(super) fn base64(vector: &Vector<'_>, normalize: bool) -> Option<String> {
    let scaled = if normalize { scaled(vector)? } else { None };
    match (vector, scaled) {
        (Vector::Base64(text), None) => Some(text.decode().into_owned()),
        (_, scaled) => {
            let values = scaled.or_else(|| values(vector))?;
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            Some(STANDARD.encode(bytes))
        }
    }
}

/// The vector at unit length; the inner `None` if it has that already, or has no direction.
fn scaled(vector: &Vector<'_>) -> Option<Option<Vec<f32>>> {
    let mut values = values(vector)?;
    let squares = values.iter().map(|value| f64::from(*value).powi(2));
    let length = squares.sum::<f64>().sqrt();
    if !length.is_normal() || (length - 1.0).abs() <= 1e-6 {
        return Some(None);
    }
    for value in &mut values {
        #[expect(clippy::cast_possible_truncation, reason = "f32 is what embeddings are")]
        let scaled = (f64::from(*value) / length) as f32;
        *value = scaled;
    }
    Some(Some(values))
}

fn values(vector: &Vector<'_>) -> Option<Vec<f32>> {
    match vector {
        Vector::Numbers(raw) => {
            let list: Vec<Raw<'_>> = from_str(raw.get()).ok()?;
            list.iter().map(|raw| raw.get().parse::<f32>().ok()).collect()
        }
        Vector::Base64(text) => {
            let bytes = STANDARD.decode(text.decode().as_bytes()).ok()?;
            if bytes.len() % 4 != 0 {
                return None;
            }
            let values = bytes
                .chunks_exact(4)
                .map(|chunk| <[u8; 4]>::try_from(chunk).ok().map(f32::from_le_bytes));
            values.collect()
        }
    }
}
