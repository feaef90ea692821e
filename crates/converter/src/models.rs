//! Model lists in the shape the caller expects (wire.md 7.5).

use crate::format::Format;
use crate::json::{Kind, Reader, Writer};

/// One model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelEntry {
    /// Public name.
    pub id: String,
    /// Whose: `openai`, `anthropic`, `gemini`.
    pub owned_by: &'static str,
}

/// The date that models without a known one get: their list is sorted, not dated.
const EPOCH: &str = "2026-01-01T00:00:00Z";
const EPOCH_SECONDS: u64 = 1_767_225_600;

/// The list of models in a format's shape.
#[must_use]
pub fn list(format: Format, models: &[ModelEntry]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + models.len() * 160);
    let mut w = Writer::new(&mut out);
    w.object(|w| {
        if format == Format::Gemini {
            return w
                .key("models")
                .array(|w| models.iter().for_each(|model| entry(w.item(), format, model)));
        }
        if format != Format::Messages {
            w.key("object").str("list");
        }
        w.key("data")
            .array(|w| models.iter().for_each(|model| entry(w.item(), format, model)));
        w.key("has_more").bool(false);
        for (name, model) in [("first_id", models.first()), ("last_id", models.last())] {
            match model {
                Some(model) => w.key(name).str(&model.id),
                None => w.key(name).null(),
            }
        }
    });
    out
}

/// One model in a format's shape.
#[must_use]
pub fn one(format: Format, model: &ModelEntry) -> Vec<u8> {
    let mut out = Vec::with_capacity(160);
    entry(&mut Writer::new(&mut out), format, model);
    out
}

/// The names in a provider's model list, whichever of the shapes it has; `None` if it is none.
#[must_use]
pub fn ids(text: &str) -> Option<Vec<String>> {
    let mut found = None;
    let mut reader = Reader::new(text);
    let read = reader.object(|reader, key| {
        if !matches!(&**key, "data" | "models") || reader.kind() != Kind::Array {
            return reader.skip();
        }
        let names: &mut Vec<String> = found.get_or_insert_default();
        reader.array(|reader, _| {
            reader.object(|reader, key| {
                if matches!(&**key, "id" | "name") && reader.kind() == Kind::String {
                    let name = reader.text()?.decode();
                    names.push(name.strip_prefix("models/").unwrap_or(&name).to_owned());
                    return Ok(());
                }
                reader.skip()
            })
        })
    });
    read.ok().and(found)
}

fn entry(w: &mut Writer<'_>, format: Format, model: &ModelEntry) {
    w.object(|w| match format {
        Format::Gemini => {
            w.key("name").str(&format!("models/{}", model.id));
            w.key("version").str("001");
            w.key("displayName").str(&model.id);
            w.key("supportedGenerationMethods").array(|w| {
                for method in ["generateContent", "streamGenerateContent", "countTokens"] {
                    w.item().str(method);
                }
            });
        }
        Format::Messages => {
            w.key("type").str("model");
            w.key("id").str(&model.id);
            w.key("display_name").str(&model.id);
            w.key("created_at").str(EPOCH);
        }
        // Readers of the Messages shape that send no header get along with this one too.
        Format::Chat | Format::Responses => {
            w.key("id").str(&model.id);
            w.key("object").str("model");
            w.key("created").u64(EPOCH_SECONDS);
            w.key("owned_by").str(model.owned_by);
            w.key("type").str("model");
            w.key("display_name").str(&model.id);
            w.key("created_at").str(EPOCH);
        }
    });
}
