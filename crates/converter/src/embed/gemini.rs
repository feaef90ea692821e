//! Gemini's side of embeddings, on the Gemini API and on Vertex.

use std::borrow::Cow;

use super::{EmbedContext, EmbedOptions, Method, Request, Vector, Vectors, is_vertex_content_model, vector};
use crate::error::{Error, ErrorKind};
use crate::format::Dialect;
use crate::ir::request::Native;
use crate::json::{Raw, Text, Writer, from_str};
use crate::report::Class;
use crate::target::Target;
use crate::wire::gemini::Content;
use crate::wire::object;

object! {
    /// `:embedContent`, one request of `:batchEmbedContents`, or the batch itself.
    struct Wire {
        /// Model, `models/…`.
        model: Cow<'a, str> = "model",
        /// What to embed.
        content: Content<'a> = "content",
        /// The batch.
        requests: Vec<Wire<'a>> = "requests",
        /// Task.
        task_type: Text<'a> = "taskType" | "task_type",
        /// Title.
        title: Text<'a> = "title",
        /// Length of the vectors.
        dimensions: Raw<'a> = "outputDimensionality" | "output_dimensionality",
        /// The newer place of the same settings.
        config: Settings<'a> = "embedContentConfig" | "embed_content_config",
    }

    /// `embedContentConfig`.
    struct Settings {
        /// Task.
        task_type: Text<'a> = "taskType" | "task_type",
        /// Title.
        title: Text<'a> = "title",
        /// Length of the vectors.
        dimensions: Raw<'a> = "outputDimensionality" | "output_dimensionality",
    }

    /// Any answer.
    struct Answer {
        /// Of `:embedContent`.
        embedding: Values<'a> = "embedding",
        /// Of `:batchEmbedContents`.
        embeddings: Vec<Values<'a>> = "embeddings",
        /// Of `:predict`.
        predictions: Vec<Prediction<'a>> = "predictions",
        /// Usage.
        usage: Usage<'a> = "usageMetadata",
    }

    /// Of `:predict`.
    struct Prediction {
        /// The vector.
        embeddings: Values<'a> = "embeddings",
    }

    /// A vector.
    struct Values {
        /// Numbers.
        values: Raw<'a> = "values",
        /// Vertex.
        statistics: Statistics<'a> = "statistics",
    }

    /// Vertex.
    struct Statistics {
        /// Tokens.
        tokens: u64 = "tokenCount" | "token_count",
    }

    /// Usage.
    struct Usage {
        /// Tokens.
        tokens: u64 = "promptTokenCount",
    }
}

pub(super) fn decode(body: &str) -> Result<Request<'_>, Error> {
    let wire: Wire<'_> = from_str(body)?;
    let mut request = Request::default();
    let model = wire.model.clone().unwrap_or_default();
    match wire.requests {
        None => {
            request.single = true;
            one(wire, "", &mut request)?;
        }
        Some(requests) => {
            for (index, wire) in requests.into_iter().enumerate() {
                let path = format!("requests[{index}].");
                one(wire, &path, &mut request).map_err(|error| error.under_index(index).under("requests"))?;
            }
        }
    }
    if request.texts.is_empty() {
        return Err(Error::at(
            ErrorKind::Invalid,
            "/requests",
            "there is no text to embed",
        ));
    }
    let model = if request.model.is_empty() {
        model.into_owned()
    } else {
        request.model
    };
    request.model = model.strip_prefix("models/").unwrap_or(&model).to_owned();
    Ok(request)
}

/// One text and its settings. `path` is its client spelling with a final dot.
fn one<'a>(wire: Wire<'a>, path: &str, request: &mut Request<'a>) -> Result<(), Error> {
    let content = wire
        .content
        .ok_or_else(|| Error::at(ErrorKind::Missing, "/content", "`content` is required"))?;
    let mut words: Vec<Text<'a>> = Vec::new();
    for (index, part) in content.parts.unwrap_or_default().into_iter().enumerate() {
        let text = part.text.ok_or_else(|| {
            Error::at(
                ErrorKind::Unsupported,
                format!("/content/parts/{index}"),
                "the upstream of this model embeds text only",
            )
        })?;
        words.push(text);
    }
    let text = match words.len() {
        1 => words.pop().unwrap_or_default(),
        _ => {
            let words: Vec<_> = words.iter().map(Text::decode).collect();
            words.join("\n").into()
        }
    };
    super::check(&text, "/content")?;
    let config = wire.config.unwrap_or_default();
    let dimensions = wire.dimensions.or(config.dimensions);
    let first = request.texts.is_empty();
    if !first && request.dimensions.map(Raw::get) != dimensions.map(Raw::get) {
        return Err(Error::at(
            ErrorKind::Unsupported,
            "/outputDimensionality",
            "the upstream gives all vectors of a batch the same length",
        ));
    }
    request.dimensions = dimensions;
    request.task = request.task.take().or(wire.task_type).or(config.task_type);
    request.title = request.title.take().or(wire.title).or(config.title);
    if let Some(model) = wire.model {
        request.model = model.into_owned();
    }
    request.texts.push(text);
    let natives = wire.extra.into_iter().chain(
        config
            .extra
            .into_iter()
            .map(|(name, value)| (Cow::Owned(format!("embedContentConfig.{name}")), value)),
    );
    request.natives.extend(natives.map(|(name, value)| Native {
        path: format!("{path}{name}").into(),
        class: Class::Hint,
        value,
    }));
    Ok(())
}

pub(super) fn encode(
    request: &Request<'_>,
    target: &Target<'_>,
    options: &EmbedOptions,
) -> (Method, Vec<Vec<u8>>, Vec<usize>) {
    let vertex = target.dialect == Dialect::Vertex;
    let method = match (vertex, request.single) {
        (true, _) if is_vertex_content_model(target) => Method::EmbedContent,
        (true, _) => Method::Predict,
        (false, true) => Method::EmbedContent,
        (false, false) => Method::BatchEmbedContents,
    };
    let size = match method {
        Method::EmbedContent => 1,
        _ => options.batch.max(1),
    };
    let batches = request.texts.chunks(size);
    let bodies = batches.clone().map(|texts| body(method, texts, request, target));
    (method, bodies.collect(), batches.map(<[_]>::len).collect())
}

fn body(method: Method, texts: &[Text<'_>], request: &Request<'_>, target: &Target<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    let mut w = Writer::new(&mut out);
    w.object(|w| match method {
        Method::BatchEmbedContents => w.key("requests").array(|w| {
            for text in texts {
                w.item().object(|w| content(w, text, request, target));
            }
        }),
        Method::Predict => predict(w, texts, request),
        Method::EmbedContent | Method::Embeddings => {
            for text in texts {
                content(w, text, request, target);
            }
        }
    });
    out
}

fn content(w: &mut Writer<'_>, text: &Text<'_>, request: &Request<'_>, target: &Target<'_>) {
    if target.dialect != Dialect::Vertex {
        w.key("model").str(&format!("models/{}", target.model));
    }
    w.key("content").object(|w| {
        w.key("parts")
            .array(|w| w.item().object(|w| w.key("text").text(text)));
    });
    if let Some(task) = &request.task {
        w.key("taskType").text(task);
    }
    if let Some(title) = &request.title {
        w.key("title").text(title);
    }
    if let Some(dimensions) = request.dimensions {
        w.key("outputDimensionality").raw(dimensions);
    }
}

fn predict(w: &mut Writer<'_>, texts: &[Text<'_>], request: &Request<'_>) {
    w.key("instances").array(|w| {
        for text in texts {
            w.item().object(|w| {
                w.key("content").text(text);
                if let Some(task) = &request.task {
                    w.key("task_type").text(task);
                }
                if let Some(title) = &request.title {
                    w.key("title").text(title);
                }
            });
        }
    });
    if let Some(dimensions) = request.dimensions {
        w.key("parameters")
            .object(|w| w.key("outputDimensionality").raw(dimensions));
    }
}

pub(super) fn answer(body: &str) -> Result<Vectors<'_>, Error> {
    let wire: Answer<'_> = from_str(body)?;
    let predictions = wire.predictions.unwrap_or_default().into_iter();
    let list: Vec<Values<'_>> = wire
        .embedding
        .into_iter()
        .chain(wire.embeddings.unwrap_or_default())
        .chain(predictions.filter_map(|prediction| prediction.embeddings))
        .collect();
    let counted: Option<Vec<u64>> = list
        .iter()
        .map(|values| values.statistics.as_ref()?.tokens)
        .collect();
    let counted = counted
        .filter(|counts| !counts.is_empty())
        .map(|counts| counts.into_iter().fold(0, u64::saturating_add));
    Ok(Vectors {
        tokens: wire.usage.and_then(|usage| usage.tokens).or(counted),
        list: list
            .into_iter()
            .filter_map(|values| values.values)
            .map(Vector::Numbers)
            .collect(),
    })
}

pub(super) fn write(vectors: &Vectors<'_>, context: &EmbedContext) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(4096);
    let mut w = Writer::new(&mut out);
    let mut readable = true;
    let mut values = |w: &mut Writer<'_>, vector: &Vector<'_>| {
        w.object(|w| {
            readable &= vector::numbers(w.key("values"), vector, context.normalize).is_some();
        });
    };
    w.object(|w| {
        match vectors.list.as_slice() {
            [vector] if context.single => values(w.key("embedding"), vector),
            list => w
                .key("embeddings")
                .array(|w| list.iter().for_each(|vector| values(w.item(), vector))),
        }
        if let Some(tokens) = vectors.tokens {
            w.key("usageMetadata").object(|w| {
                w.key("promptTokenCount").u64(tokens);
                w.key("totalTokenCount").u64(tokens);
            });
        }
    });
    readable.then_some(out)
}
