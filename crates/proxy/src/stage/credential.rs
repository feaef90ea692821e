//! Where a credential may stand in a request (wire.md 7.1). All places are read; none is ever forwarded as it came.

use ai_api_converter::Format;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};

/// A credential and the place it came from.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The secret itself. Never logged.
    pub value: String,
    /// Where it stood.
    pub place: Place,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credential({:?})", self.place)
    }
}

/// The five places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `Authorization: Bearer X`, or a bare token.
    Authorization,
    /// `x-api-key`.
    XApiKey,
    /// `api-key` (Azure).
    ApiKey,
    /// `x-goog-api-key`.
    XGoogApiKey,
    /// `?key=`.
    Query,
}

/// The same place holds two different credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ambiguous(pub Place);

/// All credentials of a request, the format's usual places first.
///
/// # Errors
/// A header stands twice with different values.
pub fn credentials(
    headers: &HeaderMap,
    query: Option<&str>,
    format: Format,
) -> Result<Vec<Credential>, Ambiguous> {
    use Place::{ApiKey, Authorization, Query, XApiKey, XGoogApiKey};
    let order = match format {
        Format::Messages => [XApiKey, Authorization, ApiKey, XGoogApiKey, Query],
        Format::Chat | Format::Responses => [Authorization, ApiKey, XApiKey, XGoogApiKey, Query],
        Format::Gemini => [XGoogApiKey, Query, Authorization, XApiKey, ApiKey],
    };
    let mut found: Vec<Credential> = Vec::new();
    for place in order {
        if let Some(value) = at(headers, query, place)?
            && !found.iter().any(|known| known.value == value)
        {
            found.push(Credential { value, place });
        }
    }
    Ok(found)
}

fn at(headers: &HeaderMap, query: Option<&str>, place: Place) -> Result<Option<String>, Ambiguous> {
    static X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
    static API_KEY: HeaderName = HeaderName::from_static("api-key");
    static X_GOOG_API_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");
    let name = match place {
        Place::Authorization => &AUTHORIZATION,
        Place::XApiKey => &X_API_KEY,
        Place::ApiKey => &API_KEY,
        Place::XGoogApiKey => &X_GOOG_API_KEY,
        Place::Query => return Ok(query.and_then(|query| query_value(query, "key"))),
    };
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else {
        return Ok(None);
    };
    if values.any(|other| other != first) {
        return Err(Ambiguous(place));
    }
    let text = first.to_str().unwrap_or_default().trim();
    let value = if place == Place::Authorization {
        bearer(text)
    } else {
        text
    };
    Ok((!value.is_empty()).then(|| value.to_owned()))
}

/// The token of an `Authorization` value: scheme in any case, any number of blanks, or no scheme at all.
fn bearer(text: &str) -> &str {
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        Some(_) => "",
        None if text.eq_ignore_ascii_case("bearer") => "",
        None => text,
    }
}

/// The percent-decoded value of a query parameter.
#[must_use]
pub fn query_value(query: &str, name: &str) -> Option<String> {
    let pair = query
        .split('&')
        .find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name))?;
    let value = percent_decode(pair.1);
    (!value.is_empty()).then_some(value)
}

/// Decodes `%XX` and `+`; broken escapes stay as they are.
fn percent_decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        let escaped = behind
            .get(..2)
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match (byte, escaped) {
            (b'%', Some(value)) => {
                out.push(value);
                rest = behind.get(2..).unwrap_or_default();
            }
            (b'+', _) => out.push(b' '),
            _ => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(list: &[(&'static str, &'static str)], query: Option<&str>, format: Format) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(*name, value.parse().unwrap());
        }
        credentials(&headers, query, format)
            .unwrap()
            .into_iter()
            .map(|credential| credential.value)
            .collect()
    }

    #[test]
    fn all_five_places_are_read() {
        assert_eq!(
            values(&[("authorization", "bearer  k1")], None, Format::Chat),
            ["k1"]
        );
        assert_eq!(values(&[("authorization", "k1")], None, Format::Chat), ["k1"]);
        assert_eq!(values(&[("x-api-key", "k2")], None, Format::Chat), ["k2"]);
        assert_eq!(values(&[("api-key", "k3")], None, Format::Messages), ["k3"]);
        assert_eq!(
            values(&[("x-goog-api-key", "k4")], None, Format::Responses),
            ["k4"]
        );
        assert_eq!(values(&[], Some("alt=sse&key=k%2F5"), Format::Gemini), ["k/5"]);
        assert!(values(&[("x-goog-api-key", "")], None, Format::Gemini).is_empty());
        assert!(values(&[("authorization", "Basic abc")], None, Format::Chat).is_empty());
    }

    #[test]
    fn the_formats_own_place_comes_first() {
        let both = [("authorization", "Bearer oauth"), ("x-api-key", "mine")];
        assert_eq!(values(&both, None, Format::Messages), ["mine", "oauth"]);
        assert_eq!(values(&both, None, Format::Chat), ["oauth", "mine"]);
    }

    #[test]
    fn two_different_values_in_one_header_are_refused() {
        let mut headers = HeaderMap::new();
        headers.append("x-api-key", "a".parse().unwrap());
        headers.append("x-api-key", "b".parse().unwrap());
        assert_eq!(
            credentials(&headers, None, Format::Messages),
            Err(Ambiguous(Place::XApiKey))
        );
    }
}
