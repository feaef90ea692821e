//! Which API a path means: tolerant prefixes, then the longest known suffix (wire.md 7.2, 7.3). One parsed path serves routing and
//! authorisation alike, so that the two can never disagree.

use std::borrow::Cow;

use ai_api_converter::Format;

/// The old endpoint `/v1/completions`, below the version.
pub(crate) const COMPLETIONS: &str = "completions";

/// The endpoint that judges texts, at no cost.
pub(crate) const MODERATIONS: &str = "moderations";

/// What a path asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Api {
    /// Generation in a format. The model stands in the path for Gemini and Azure.
    Generate {
        /// The client's format.
        format: Format,
        /// Model from the path.
        model: Option<String>,
        /// Gemini: `streamGenerateContent`.
        stream: bool,
    },
    /// Anything else below `/v1` of one provider, relayed to a channel of the same format: embeddings, counting, legacy completions.
    PassThrough {
        /// The client's format.
        format: Format,
        /// Short name for metrics: `embeddings`, `count_tokens` …
        name: &'static str,
        /// Model from the path.
        model: Option<String>,
    },
    /// `GET /v1/models`.
    Models,
    /// `GET /v1/models/{id}`.
    Model(String),
    /// The upgrade to the Responses WebSocket, answered with 426.
    ResponsesWebSocket,
    /// Liveness.
    Live,
    /// Readiness.
    Ready,
}

impl Api {
    /// The label of metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Api::Generate {
                format: Format::Chat, ..
            } => "chat_completions",
            Api::Generate {
                format: Format::Responses,
                ..
            }
            | Api::ResponsesWebSocket => "responses",
            Api::Generate {
                format: Format::Messages,
                ..
            } => "messages",
            Api::Generate {
                format: Format::Gemini,
                ..
            } => "generate_content",
            Api::PassThrough { name, .. } => name,
            Api::Models | Api::Model(_) => "models",
            Api::Live | Api::Ready => "health",
        }
    }
}

/// A path that was understood, and what its prefix said about the vendor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recognized {
    /// What it asks for.
    pub api: Api,
    /// A vendor prefix (`/anthropic`) or version (`/v1beta`): decides the shape of the ambiguous endpoints.
    pub hint: Option<Format>,
}

/// Why a path was not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unrecognized {
    /// No such path; the vendor hint decides the shape of the error.
    NotFound(Option<Format>),
    /// The path exists with this method.
    Method(&'static str, Option<Format>),
    /// The path holds control characters, dot segments or broken escapes.
    Invalid,
}

impl Unrecognized {
    /// Whose shape the error takes, as far as the path says.
    #[must_use]
    pub fn hint(&self) -> Option<Format> {
        match self {
            Unrecognized::NotFound(hint) | Unrecognized::Method(_, hint) => *hint,
            Unrecognized::Invalid => None,
        }
    }
}

const PREFIXES: &[(&str, Option<Format>)] = &[
    ("openai", Some(Format::Chat)),
    ("anthropic", Some(Format::Messages)),
    ("claude", Some(Format::Messages)),
    ("gemini", Some(Format::Gemini)),
    ("google", Some(Format::Gemini)),
    ("genai", Some(Format::Gemini)),
    ("azure", Some(Format::Chat)),
    ("vertex", Some(Format::Gemini)),
    ("api", None),
    ("proxy", None),
];

/// Understands a method and a raw path (without query).
///
/// # Errors
/// See [`Unrecognized`].
pub fn recognize(method: &str, raw: &str) -> Result<Recognized, Unrecognized> {
    let path = decode(raw).ok_or(Unrecognized::Invalid)?;
    let mut segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    if segments.iter().any(|segment| matches!(*segment, "." | "..")) {
        return Err(Unrecognized::Invalid);
    }
    let hint = strip_prefixes(&mut segments);
    let (wanted, api) = endpoint(&segments).ok_or(Unrecognized::NotFound(hint))?;
    let get_socket = method == "GET"
        && matches!(
            api,
            Api::Generate {
                format: Format::Responses,
                ..
            }
        );
    if get_socket {
        return Ok(Recognized {
            api: Api::ResponsesWebSocket,
            hint,
        });
    }
    if method != wanted && !(wanted == "GET" && method == "HEAD") {
        let format = match &api {
            Api::Generate { format, .. } | Api::PassThrough { format, .. } => Some(*format),
            _ => hint,
        };
        return Err(Unrecognized::Method(wanted, format));
    }
    Ok(Recognized { api, hint })
}

/// Percent-decodes once what may be encoded in a path (wire.md 7.2): `:`, `/` and unreserved characters.
fn decode(raw: &str) -> Option<Cow<'_, str>> {
    if raw
        .bytes()
        .any(|byte| byte < 0x21 || byte == 0x7f || byte == b'\\')
    {
        return None;
    }
    if !raw.contains('%') {
        return Some(Cow::Borrowed(raw));
    }
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digits = [bytes.next()?, bytes.next()?];
        let value = u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?;
        if value < 0x20 || value == 0x7f || value == b'\\' {
            return None;
        }
        out.push(value);
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

/// Drops vendor and mount prefixes, and repeated versions (`/v1/v1/…`); the last version that is left counts.
fn strip_prefixes(segments: &mut Vec<&str>) -> Option<Format> {
    let mut hint = None;
    loop {
        // `/v1beta/openai/…` is Google's OpenAI-compatible surface: the version in front of the vendor goes too.
        if segments.len() > 1 && is_version(segments.first().copied()) && segments.get(1) == Some(&"openai") {
            segments.remove(0);
            continue;
        }
        let first = segments.first().copied().unwrap_or_default();
        if let Some((_, format)) = PREFIXES.iter().find(|(prefix, _)| *prefix == first) {
            hint = format.or(hint);
            segments.remove(0);
            continue;
        }
        if is_version(Some(first)) {
            if is_version(segments.get(1).copied()) {
                segments.remove(0);
                continue;
            }
            if matches!(first, "v1beta" | "v1alpha") && hint.is_none() {
                hint = Some(Format::Gemini);
            }
            segments.remove(0);
        }
        return hint;
    }
}

fn is_version(segment: Option<&str>) -> bool {
    matches!(segment, Some("v1" | "v1beta" | "v1alpha" | "v2"))
}

/// The method and the API of a path whose prefixes are gone.
fn endpoint(segments: &[&str]) -> Option<(&'static str, Api)> {
    let generate = |format| Api::Generate {
        format,
        model: None,
        stream: false,
    };
    let pass = |format, name| Api::PassThrough {
        format,
        name,
        model: None,
    };
    let found = match segments {
        ["livez" | "healthz" | "health"] => ("GET", Api::Live),
        ["readyz" | "ready"] => ("GET", Api::Ready),
        ["chat", "completions"] => ("POST", generate(Format::Chat)),
        [COMPLETIONS] => ("POST", pass(Format::Chat, COMPLETIONS)),
        ["embeddings"] => ("POST", pass(Format::Chat, "embeddings")),
        [MODERATIONS] => ("POST", pass(Format::Chat, MODERATIONS)),
        ["rerank"] => ("POST", pass(Format::Chat, "rerank")),
        ["images", "generations"] => ("POST", pass(Format::Chat, "images")),
        ["audio", "speech"] => ("POST", pass(Format::Chat, "audio")),
        ["responses"] => ("POST", generate(Format::Responses)),
        ["responses", "compact"] => ("POST", pass(Format::Responses, "compact")),
        ["responses", "input_tokens"] => ("POST", pass(Format::Responses, "input_tokens")),
        ["messages"] => ("POST", generate(Format::Messages)),
        ["messages", "count_tokens"] => ("POST", pass(Format::Messages, "count_tokens")),
        ["models"] => ("GET", Api::Models),
        ["deployments", model, rest @ ..] | ["engines", model, rest @ ..] => deployment(model, rest)?,
        [
            "projects",
            _,
            "locations",
            _,
            "publishers",
            _,
            "models",
            rest @ ..,
        ]
        | ["models", rest @ ..] => models(&rest.join("/")),
        _ => return None,
    };
    Some(found)
}

/// Azure's `/openai/deployments/{model}/chat/completions`.
fn deployment(model: &str, rest: &[&str]) -> Option<(&'static str, Api)> {
    let model = Some(model.to_owned());
    match rest {
        ["chat", "completions"] => Some((
            "POST",
            Api::Generate {
                format: Format::Chat,
                model,
                stream: false,
            },
        )),
        ["embeddings"] => Some((
            "POST",
            Api::PassThrough {
                format: Format::Chat,
                name: "embeddings",
                model,
            },
        )),
        _ => None,
    }
}

/// `models/{id}` and Gemini's `models/{id}:method`.
fn models(id: &str) -> (&'static str, Api) {
    let gemini = |name, model: &str| {
        let model = Some(bare_model(model));
        (
            "POST",
            Api::PassThrough {
                format: Format::Gemini,
                name,
                model,
            },
        )
    };
    match id.rsplit_once(':') {
        Some((model, "generateContent")) => ("POST", generate_content(model, false)),
        Some((model, "streamGenerateContent")) => ("POST", generate_content(model, true)),
        Some((model, "countTokens")) => gemini("count_tokens", model),
        Some((model, "embedContent")) => gemini("embed_content", model),
        Some((model, "batchEmbedContents")) => gemini("batch_embed_contents", model),
        _ => ("GET", Api::Model(bare_model(id))),
    }
}

fn generate_content(model: &str, stream: bool) -> Api {
    Api::Generate {
        format: Format::Gemini,
        model: Some(bare_model(model)),
        stream,
    }
}

/// `models/x` spelled twice, as some SDKs do, is `x`.
fn bare_model(model: &str) -> String {
    model.strip_prefix("models/").unwrap_or(model).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &str, path: &str, wanted: &Api) {
        assert_eq!(
            recognize(method, path).map(|found| found.api).as_ref(),
            Ok(wanted),
            "{method} {path}"
        );
    }

    fn generate(format: Format) -> Api {
        Api::Generate {
            format,
            model: None,
            stream: false,
        }
    }

    #[test]
    fn prefixes_and_versions_are_tolerated() {
        for path in [
            "/v1/chat/completions",
            "/v1/v1/chat/completions",
            "/chat/completions",
            "/openai/v1/chat/completions",
            "/v1beta/openai/chat/completions",
            "/api/proxy//v1//chat/completions/",
        ] {
            check("POST", path, &generate(Format::Chat));
        }
        for path in [
            "/anthropic/v1/messages",
            "/v1/messages/",
            "//v1//messages",
            "/claude/messages",
        ] {
            check("POST", path, &generate(Format::Messages));
        }
        check("POST", "/v1/responses", &generate(Format::Responses));
    }

    #[test]
    fn gemini_models_stand_in_the_path_in_any_spelling() {
        let wanted = |stream| Api::Generate {
            format: Format::Gemini,
            model: Some("gemini-x".into()),
            stream,
        };
        check("POST", "/v1beta/models/gemini-x:generateContent", &wanted(false));
        check("POST", "/v1/models/gemini-x:generateContent", &wanted(false));
        check(
            "POST",
            "/v1beta/models/models%2Fgemini-x%3AstreamGenerateContent",
            &wanted(true),
        );
        check(
            "POST",
            "/v1/projects/p/locations/l/publishers/google/models/gemini-x:generateContent",
            &wanted(false),
        );
        check(
            "GET",
            "/v1/models/up-chat/mock:free",
            &Api::Model("up-chat/mock:free".into()),
        );
        let azure = Api::Generate {
            format: Format::Chat,
            model: Some("gpt".into()),
            stream: false,
        };
        check("POST", "/openai/deployments/gpt/chat/completions", &azure);
    }

    #[test]
    fn hints_come_from_prefix_and_version() {
        let hint = |path| recognize("GET", path).unwrap().hint;
        assert_eq!(hint("/anthropic/v1/models"), Some(Format::Messages));
        assert_eq!(hint("/v1beta/models"), Some(Format::Gemini));
        assert_eq!(hint("/v1beta/openai/models"), Some(Format::Chat));
        assert_eq!(hint("/v1/models"), None);
    }

    #[test]
    fn unknown_paths_methods_and_tricks_are_refused() {
        assert_eq!(
            recognize("POST", "/v1/threads/t/messages"),
            Err(Unrecognized::NotFound(None))
        );
        assert_eq!(
            recognize("GET", "/v1/chat/completions"),
            Err(Unrecognized::Method("POST", Some(Format::Chat)))
        );
        for path in [
            "/v1/../admin",
            "/v1/%2e%2e/models",
            "/v1/models%00",
            "/v1\\models",
            "/v1/models%zz",
        ] {
            assert_eq!(recognize("GET", path), Err(Unrecognized::Invalid), "{path}");
        }
        assert_eq!(
            recognize("GET", "/v1/responses").unwrap().api,
            Api::ResponsesWebSocket
        );
    }
}
