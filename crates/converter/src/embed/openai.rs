//! OpenAI's side of embeddings.

use std::borrow::Cow;

use super::{EmbedContext, Method, Request, Vector, Vectors, vector};
use crate::error::{Error, ErrorKind};
use crate::ir::request::Native;
use crate::json::{Kind, Raw, Reader, Text, Writer, from_str};
use crate::report::Class;
use crate::target::Target;
use crate::wire::object;

object! {
    /// `POST /v1/embeddings`.
    struct Wire {
        /// Model.
        model: Cow<'a, str> = "model",
        /// A text, a list of texts, or token ids.
        input: Raw<'a> = "input",
        /// Length of the vectors.
        dimensions: Raw<'a> = "dimensions",
        /// float or base64.
        encoding_format: Cow<'a, str> = "encoding_format",
        /// End user.
        user: Text<'a> = "user",
        /// Extension: Gemini's task.
        task_type: Text<'a> = "task_type",
        /// Extension: Gemini's title.
        title: Text<'a> = "title",
    }

    /// The answer.
    struct Answer {
        /// Vectors.
        data: Vec<Entry<'a>> = "data",
        /// Usage.
        usage: Usage<'a> = "usage",
    }

    /// One vector.
    struct Entry {
        /// Which text.
        index: u64 = "index",
        /// Numbers or base64.
        embedding: Raw<'a> = "embedding",
    }

    /// Usage.
    struct Usage {
        /// Tokens read.
        prompt_tokens: u64 = "prompt_tokens",
    }
}

pub(super) fn decode(body: &str) -> Result<Request<'_>, Error> {
    let wire: Wire<'_> = from_str(body)?;
    let input = wire
        .input
        .ok_or_else(|| Error::at(ErrorKind::Missing, "/input", "`input` is required"))?;
    let (texts, single) = texts(input)?;
    let base64 = match wire.encoding_format.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => {
            return Err(Error::at(
                ErrorKind::Invalid,
                "/encoding_format",
                "the encoding is `float` or `base64`",
            ));
        }
    };
    let natives = wire.extra.into_iter().filter(|(_, value)| !value.is_null());
    Ok(Request {
        model: wire.model.unwrap_or_default().into_owned(),
        texts,
        single,
        dimensions: wire.dimensions.filter(|raw| !raw.is_null()),
        base64,
        task: wire.task_type,
        title: wire.title,
        user: wire.user,
        natives: natives
            .map(|(path, value)| Native {
                path,
                class: Class::Hint,
                value,
            })
            .collect(),
    })
}

fn texts(input: Raw<'_>) -> Result<(Vec<Text<'_>>, bool), Error> {
    let at = |error: Error| error.under("input");
    if let Some(text) = input.as_text() {
        super::check(&text, "/input")?;
        return Ok((vec![text], true));
    }
    let mut list = Vec::new();
    let mut reader = Reader::new(input.get());
    reader
        .array(|reader, _| {
            if matches!(reader.kind(), Kind::Number | Kind::Array) {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    "token ids mean something else to every model: send the text",
                ));
            }
            let text = reader.text()?;
            super::check(&text, "")?;
            list.push(text);
            Ok(())
        })
        .map_err(at)?;
    if list.is_empty() {
        return Err(Error::at(
            ErrorKind::Invalid,
            "/input",
            "there is no text to embed",
        ));
    }
    Ok((list, false))
}

pub(super) fn encode(request: &Request<'_>, target: &Target<'_>) -> (Method, Vec<Vec<u8>>, Vec<usize>) {
    let mut out = Vec::with_capacity(256);
    Writer::new(&mut out).object(|w| {
        w.key("model").str(target.model);
        match request.texts.as_slice() {
            [text] if request.single => w.key("input").text(text),
            texts => w
                .key("input")
                .array(|w| texts.iter().for_each(|text| w.item().text(text))),
        }
        if let Some(dimensions) = request.dimensions {
            w.key("dimensions").raw(dimensions);
        }
        w.key("encoding_format").str("float");
        if let Some(user) = &request.user {
            w.key("user").text(user);
        }
    });
    (Method::Embeddings, vec![out], vec![request.texts.len()])
}

pub(super) fn answer(body: &str) -> Result<Vectors<'_>, Error> {
    let wire: Answer<'_> = from_str(body)?;
    let mut entries = wire.data.unwrap_or_default();
    // The order is stated, not implied.
    entries.sort_by_key(|entry| entry.index.unwrap_or(0));
    let vectors = entries.into_iter().filter_map(|entry| entry.embedding);
    Ok(Vectors {
        list: vectors
            .map(|raw| raw.as_text().map_or(Vector::Numbers(raw), Vector::Base64))
            .collect(),
        tokens: wire.usage.and_then(|usage| usage.prompt_tokens),
    })
}

pub(super) fn write(vectors: &Vectors<'_>, context: &EmbedContext) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(4096);
    let mut w = Writer::new(&mut out);
    let mut readable = true;
    w.object(|w| {
        w.key("object").str("list");
        w.key("data").array(|w| {
            for (index, vector) in vectors.list.iter().enumerate() {
                w.item().object(|w| {
                    w.key("object").str("embedding");
                    w.key("index").u64(index as u64);
                    let value = w.key("embedding");
                    let written = if context.base64 {
                        vector::base64(vector, context.normalize).map(|text| value.str(&text))
                    } else {
                        vector::numbers(value, vector, context.normalize)
                    };
                    readable &= written.is_some();
                });
            }
        });
        w.key("model").str(&context.model);
        let tokens = vectors.tokens.unwrap_or(0);
        w.key("usage").object(|w| {
            w.key("prompt_tokens").u64(tokens);
            w.key("total_tokens").u64(tokens);
        });
    });
    readable.then_some(out)
}
