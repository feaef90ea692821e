//! `${NAME}` and `${NAME:-default}` in text values; `$${` stands for `${`. Resolved after parsing, so that a value can never become
//! structure.

use crate::env::Environment;

/// Why a template could not be resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unresolved {
    /// The variable is not set and has no default.
    Unset(String),
    /// A value with a line break.
    LineBreak(String),
    /// `${` without `}`.
    Open,
}

/// Resolves a text.
pub(crate) fn resolve(text: &str, env: &Environment) -> Result<String, Unresolved> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, behind) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = behind.get(2..).unwrap_or_default();
            continue;
        }
        out.push_str(before);
        let inside = behind.get(2..).unwrap_or_default();
        let (name, after) = inside.split_once('}').ok_or(Unresolved::Open)?;
        let (name, default) = name
            .split_once(":-")
            .map_or((name, None), |(name, default)| (name, Some(default)));
        let value = match (env.get(name).filter(|value| !value.is_empty()), default) {
            (Some(value), _) => value.to_owned(),
            (None, Some(default)) => default.to_owned(),
            (None, None) => return Err(Unresolved::Unset(name.to_owned())),
        };
        if value.contains(['\n', '\r']) {
            return Err(Unresolved::LineBreak(name.to_owned()));
        }
        out.push_str(&value);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_defaults_and_escapes_are_resolved() {
        let env = Environment::new([("A", "x"), ("EMPTY", ""), ("LINES", "a\nb")]);
        let check = |text: &str| resolve(text, &env);
        assert_eq!(check("pre-${A}-post").as_deref(), Ok("pre-x-post"));
        assert_eq!(check("${B:-y}${EMPTY:-}").as_deref(), Ok("y"));
        assert_eq!(check("$${A}").as_deref(), Ok("${A}"));
        assert_eq!(check("${B}"), Err(Unresolved::Unset("B".into())));
        assert_eq!(check("${LINES}"), Err(Unresolved::LineBreak("LINES".into())));
        assert_eq!(check("${A"), Err(Unresolved::Open));
    }
}
