//! Problems of a configuration, shown the way a compiler shows them.

use std::fmt::Write as _;

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can, but not all of it has an effect, or it is risky.
    Warning,
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// How bad.
    pub severity: Severity,
    /// Stable code, `E012`.
    pub code: &'static str,
    /// What is wrong. Never a secret.
    pub message: String,
    /// Line and column from 1, and the length of what is meant; `None`: the configuration as a whole.
    pub at: Option<(usize, usize, usize)>,
    /// What to do.
    pub help: Option<String>,
}

/// All codes and what they stand for.
pub const CODES: &[(&str, &str)] = &[
    ("E001", "the file is not YAML"),
    ("E002", "unknown key"),
    ("E003", "wrong type of value"),
    ("E004", "unknown word"),
    ("E005", "missing key"),
    ("E006", "name given twice"),
    ("E007", "bad address or URL"),
    ("E008", "bad number, size or duration"),
    ("E009", "environment variable is not set"),
    ("E010", "file cannot be read"),
    ("E011", "secret is too short"),
    ("E012", "unknown channel"),
    ("E013", "unknown environment variable"),
    ("E014", "nothing to serve"),
    ("E015", "header that cannot name users"),
    ("W001", "no effect in this version"),
    ("W002", "open to everybody"),
    ("W003", "channel without a key"),
    ("W004", "name that the file does not have"),
    ("W006", "variable is ignored"),
    ("W007", "listener that is not served"),
];

/// Renders all problems as text, with the lines they are about, and a summary.
#[must_use]
pub fn render(problems: &[Problem], file: &str, source: &str) -> String {
    let mut out = String::new();
    for problem in problems {
        let word = if problem.severity == Severity::Error {
            "error"
        } else {
            "warning"
        };
        let _ = writeln!(out, "{word}[{}]: {}", problem.code, masked(&problem.message));
        if let Some((line, column, length)) = problem.at {
            let text = masked(source.lines().nth(line.saturating_sub(1)).unwrap_or_default());
            let margin = " ".repeat(line.to_string().len());
            let _ = writeln!(out, "{margin}--> {file}:{line}:{column}");
            let _ = writeln!(out, "{margin} |\n{line} | {text}");
            let carets = "^".repeat(length.max(1));
            let _ = writeln!(out, "{margin} | {}{carets}", " ".repeat(column.saturating_sub(1)));
        }
        if let Some(help) = &problem.help {
            let _ = writeln!(out, "  = help: {help}");
        }
        out.push('\n');
    }
    let count = |severity| {
        problems
            .iter()
            .filter(|problem| problem.severity == severity)
            .count()
    };
    let plural = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let _ = writeln!(
        out,
        "{}, {} in {file}",
        plural(errors, "error"),
        plural(warnings, "warning")
    );
    out
}

/// A line in which whatever may be a secret is masked, character by character so that columns stay: known kinds of keys anywhere,
/// long words on lines about keys, and what stands in front of the `@` of an address. Names of variables are shown.
fn masked(line: &str) -> String {
    const KINDS: [&str; 6] = ["sk-", "AIza", "xai-", "gsk_", "ghp_", "Bearer"];
    const ABOUT: [&str; 5] = ["key", "token", "secret", "password", "hash"];
    let lower = line.to_ascii_lowercase();
    let about_keys = ABOUT.iter().any(|word| lower.contains(word));
    let user = before_at(line);
    let part = |c: char| c.is_ascii_alphanumeric() || "-_.+=~".contains(c);
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let length = rest.find(|c| !part(c)).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(length.max(first.len_utf8()));
        let variable = out.ends_with("${");
        let known = word.len() > 8 && KINDS.iter().any(|kind| word.starts_with(kind));
        let secret = length > 0 && (known || (about_keys && word.len() >= 16));
        let user = user.contains(&(line.len() - rest.len())) && !"${}:".contains(word);
        if !variable && (secret || user) {
            out.extend(word.chars().map(|_| '*'));
        } else {
            out.push_str(word);
        }
        rest = behind;
    }
    out
}

/// Between the scheme of an address and its last `@`: user and password.
fn before_at(line: &str) -> std::ops::Range<usize> {
    let start = line.find("://").map_or(line.len(), |at| at + 3);
    let length = line.get(start..).and_then(|address| address.rfind('@'));
    start..start + length.unwrap_or(0)
}

/// Renders all problems as one JSON document.
#[must_use]
pub fn render_json(problems: &[Problem], file: &str) -> String {
    let mut out = Vec::new();
    let mut w = ai_api_converter::json::Writer::new(&mut out);
    w.object(|w| {
        w.key("file").str(file);
        w.key("valid")
            .bool(!problems.iter().any(|problem| problem.severity == Severity::Error));
        w.key("problems").array(|w| {
            for problem in problems {
                w.item().object(|w| {
                    w.key("severity").str(if problem.severity == Severity::Error {
                        "error"
                    } else {
                        "warning"
                    });
                    w.key("code").str(problem.code);
                    w.key("message").str(&masked(&problem.message));
                    if let Some((line, column, _)) = problem.at {
                        w.key("line").u64(line as u64);
                        w.key("column").u64(column as u64);
                    }
                    if let Some(help) = &problem.help {
                        w.key("help").str(help);
                    }
                });
            }
        });
    });
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_a_line_are_masked_and_columns_stay() {
        let line = "  keys: [\"sk-proj-0123456789abcdef\", \"${OPENAI_API_KEY_NUMBER_TWO}\"]";
        let shown = masked(line);
        assert!(
            !shown.contains("0123456789") && shown.contains("OPENAI_API_KEY_NUMBER_TWO"),
            "{shown}"
        );
        assert_eq!(shown.len(), line.len());
        let shown = masked("    base_url: http://user:pass@host/v1");
        assert!(
            !shown.contains("user") && !shown.contains("pass") && shown.contains("@host/v1"),
            "{shown}"
        );
        let shown = masked("  redis_url: redis://:p!ss w/rd@${HOST}:x");
        assert_eq!(shown, "  redis_url: redis://:*********@${HOST}:x");
        let line = "  redis_url: redis://me:${REDIS_PASSWORD}@host";
        assert_eq!(masked(line), line.replace("me", "**"));
        assert_eq!(
            masked("  - name: claude-sonnet-4-5-20250929"),
            "  - name: claude-sonnet-4-5-20250929"
        );
    }
}
