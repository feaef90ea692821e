//! Embeddings between OpenAI (`POST /v1/embeddings`) and Gemini (conversion.md 14.1).
//!
//! [`request`] makes the bodies to send and says for which method; each answer is collected, and [`answer`] makes the client's
//! answer out of all of them, in order.
//!
//! | target | method of the URL | bodies |
//! |---|---|---|
//! | OpenAI | `/v1/embeddings` | one |
//! | Gemini API, one text | `{model}:embedContent` | one |
//! | Gemini API, a list | `{model}:batchEmbedContents` | one for each [`EmbedOptions::batch`] texts |
//! | Vertex, Gemini models | `{model}:embedContent` | one for each text |
//! | Vertex, other models | `{model}:predict` | one for each [`EmbedOptions::batch`] texts |

use crate::error::{Error, ErrorKind};
use crate::failure::Failure;
use crate::format::Format;
use crate::ir::request::Native;
use crate::json::{Raw, Text};
use crate::report::{Class, Mode, Report};
use crate::target::{Source, Target};
use crate::{Answer, FailureClass};

mod gemini;
mod openai;
mod vector;

/// Texts that Gemini takes in one batch (conversion.md 14.1).
const BATCH: usize = 100;

/// Settings of an embedding conversion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbedOptions {
    /// What happens to members without an equivalent.
    pub mode: Mode,
    /// Most texts in one body for Gemini; at least 1.
    pub batch: usize,
    /// Scale Gemini's vectors to unit length where the client asked for fewer dimensions, as OpenAI's always are.
    pub normalize: bool,
}

impl Default for EmbedOptions {
    fn default() -> Self {
        EmbedOptions {
            mode: Mode::Default,
            batch: BATCH,
            normalize: true,
        }
    }
}

/// Which method of the upstream takes the bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// OpenAI: `POST /v1/embeddings`.
    Embeddings,
    /// Gemini: `POST …/{model}:embedContent`.
    EmbedContent,
    /// Gemini: `POST …/{model}:batchEmbedContents`.
    BatchEmbedContents,
    /// Vertex: `POST …/{model}:predict`.
    Predict,
}

impl Method {
    /// What stands behind the colon of a Gemini URL; `None` for OpenAI.
    #[must_use]
    pub fn verb(self) -> Option<&'static str> {
        match self {
            Method::Embeddings => None,
            Method::EmbedContent => Some("embedContent"),
            Method::BatchEmbedContents => Some("batchEmbedContents"),
            Method::Predict => Some("predict"),
        }
    }
}

/// A converted embedding request.
#[derive(Clone, Debug)]
pub struct Embedded {
    /// The method that takes the bodies.
    pub method: Method,
    /// One or more bodies; each gets an answer of its own.
    pub bodies: Vec<Vec<u8>>,
    /// What the way back needs.
    pub context: EmbedContext,
    /// What was lost.
    pub report: Report,
}

/// What [`answer`] must remember of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbedContext {
    client: Format,
    method: Method,
    /// Model as the client named it.
    model: String,
    /// Texts of each body.
    texts: Vec<usize>,
    /// OpenAI client: vectors as base64 of little-endian f32.
    base64: bool,
    /// Gemini client: it called `embedContent`, not the batch.
    single: bool,
    normalize: bool,
}

/// A request, whatever format it came in.
#[derive(Clone, Debug, Default)]
struct Request<'a> {
    model: String,
    texts: Vec<Text<'a>>,
    /// One text, not a list of one.
    single: bool,
    dimensions: Option<Raw<'a>>,
    base64: bool,
    task: Option<Text<'a>>,
    title: Option<Text<'a>>,
    user: Option<Text<'a>>,
    natives: Vec<Native<'a>>,
}

/// Vectors and usage of one answer.
#[derive(Clone, Debug, Default)]
struct Vectors<'a> {
    list: Vec<Vector<'a>>,
    tokens: Option<u64>,
}

/// A vector as its vendor spelled it.
#[derive(Clone, Debug)]
enum Vector<'a> {
    /// Numbers, with their digits.
    Numbers(Raw<'a>),
    /// Base64 of little-endian f32.
    Base64(Text<'a>),
}

/// Converts a request body. A client of Chat or Responses speaks OpenAI's embeddings.
///
/// # Errors
/// Not an embedding request; token ids, media or an empty text; dimensions that differ inside a batch.
pub fn request(
    body: &[u8],
    source: &Source<'_>,
    target: &Target<'_>,
    options: &EmbedOptions,
) -> Result<Embedded, Error> {
    let body =
        std::str::from_utf8(body).map_err(|_| Error::new(ErrorKind::Syntax, "the body is not UTF-8"))?;
    let mut report = Report::new(source.format, target.format, options.mode);
    let mut request = match source.format {
        Format::Gemini => gemini::decode(body)?,
        Format::Chat | Format::Responses | Format::Messages => openai::decode(body)?,
    };
    if let Some(model) = source.model {
        request.model = model.to_owned();
    }
    for native in &request.natives {
        report.cannot_carry(native.path.clone().into_owned(), native.class)?;
    }
    let (method, bodies, texts) = if target.format == Format::Gemini {
        gemini::encode(&request, target, options)
    } else {
        if request.task.is_some() {
            report.cannot_carry("taskType", Class::Hint)?;
        }
        if request.title.is_some() {
            report.cannot_carry("title", Class::Hint)?;
        }
        openai::encode(&request, target)
    };
    let normalize = options.normalize && request.dimensions.is_some() && target.format == Format::Gemini;
    Ok(Embedded {
        method,
        bodies,
        context: EmbedContext {
            client: source.format,
            method,
            model: request.model,
            texts,
            base64: request.base64,
            single: request.single,
            normalize,
        },
        report,
    })
}

/// Converts the answers to all bodies of a request, in their order, to the client's answer. The usage is unknown if any of them
/// does not state it; OpenAI's format then still needs a number, which is 0.
///
/// # Errors
/// An answer is unreadable, an error document, or has not as many vectors as the body had texts.
pub fn answer(answers: &[&[u8]], context: &EmbedContext) -> Result<Answer, Failure> {
    let bad = |why: &'static str| Failure::new(FailureClass::UpstreamBad, why);
    if answers.len() != context.texts.len() {
        return Err(bad("The provider did not answer every part of the request."));
    }
    let mut all = Vectors {
        tokens: Some(0),
        ..Vectors::default()
    };
    for (answer, texts) in answers.iter().zip(&context.texts) {
        let text = std::str::from_utf8(answer).map_err(|_| bad("The provider's answer is not UTF-8."))?;
        let vectors = decode(text, context.method)
            .ok()
            .filter(|vectors| vectors.list.len() == *texts)
            .ok_or_else(|| {
                crate::convert::in_band(text)
                    .unwrap_or_else(|| bad("The provider's answer does not hold the vectors asked for."))
            })?;
        all.list.extend(vectors.list);
        all.tokens = all
            .tokens
            .zip(vectors.tokens)
            .map(|(sum, more)| sum.saturating_add(more));
    }
    let usage = counted(all.tokens);
    let body = match context.client {
        Format::Gemini => gemini::write(&all, context),
        Format::Chat | Format::Responses | Format::Messages => openai::write(&all, context),
    };
    Ok(Answer {
        body: body.ok_or_else(|| bad("The provider's answer holds a vector that cannot be read."))?,
        usage,
        native_finish: None,
        dropped: Vec::new(),
    })
}

/// What the answers that are there say to have used, though others are missing.
#[must_use]
pub fn usage_of(answers: &[&[u8]], context: &EmbedContext) -> crate::Usage {
    let vectors = answers.iter().filter_map(|answer| {
        let text = std::str::from_utf8(answer).ok()?;
        decode(text, context.method).ok()
    });
    let tokens = vectors.filter_map(|vectors| vectors.tokens);
    counted(tokens.reduce(u64::saturating_add))
}

fn decode(text: &str, method: Method) -> Result<Vectors<'_>, Error> {
    match method {
        Method::Embeddings => openai::answer(text),
        _ => gemini::answer(text),
    }
}

fn counted(tokens: Option<u64>) -> crate::Usage {
    crate::Usage {
        input: tokens,
        output: tokens.map(|_| 0),
        ..crate::Usage::default()
    }
}

/// An empty text has no meaning to embed, and the vendors refuse it with less helpful words.
fn check(text: &Text<'_>, at: &str) -> Result<(), Error> {
    if text.is_empty() {
        return Err(Error::at(
            ErrorKind::Invalid,
            at,
            "an empty text cannot be embedded",
        ));
    }
    Ok(())
}

/// True for Vertex models that take `embedContent`; the older ones take `predict`.
fn is_vertex_content_model(target: &Target<'_>) -> bool {
    let name = target.model.rsplit('/').next().unwrap_or_default();
    name.contains("gemini") || name.contains("maas")
}

#[cfg(test)]
mod tests;
