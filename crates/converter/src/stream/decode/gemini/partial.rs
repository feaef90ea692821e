//! Arguments that Vertex streams as pieces with paths, written as JSON text while they come (wire.md 4.3).

use crate::json::{Text, Writer};

use super::wire::PartialArg;

/// One container or member of the path that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

/// Writes pieces as one JSON object. Pieces of a container that was left again would need a second pass: they start a
/// new member of the same name, and the last one counts for every reader.
#[derive(Debug, Default)]
pub(super) struct ArgumentWriter {
    /// Path of the value written last.
    path: Vec<Step>,
    begun: bool,
    /// The value written last is a string that goes on.
    string: bool,
}

impl ArgumentWriter {
    /// The text that a piece adds.
    pub(super) fn piece(&mut self, piece: &PartialArg<'_>) -> String {
        let path = steps(&piece.path.as_ref().map(Text::decode).unwrap_or_default());
        let mut out = Vec::new();
        let same = self.begun && self.path == path;
        if self.string && same {
            if let Some(text) = &piece.string {
                Writer::new(&mut out).text_inside(text);
            }
        } else {
            self.go_to(path, &mut out);
            value(piece, &mut out);
            self.string = piece.string.is_some();
        }
        if self.string && piece.more != Some(true) {
            out.push(b'"');
            self.string = false;
        }
        String::from_utf8_lossy(&out).into_owned()
    }

    /// The text that ends the object.
    pub(super) fn end(&mut self) -> String {
        let mut out = Vec::new();
        if self.string {
            out.push(b'"');
            self.string = false;
        }
        if !self.begun {
            return "{}".to_owned();
        }
        self.close(0, &mut out);
        out.push(b'}');
        String::from_utf8_lossy(&out).into_owned()
    }

    /// Closes the containers that the next path does not share and opens those that it needs.
    fn go_to(&mut self, path: Vec<Step>, out: &mut Vec<u8>) {
        if self.string {
            out.push(b'"');
        }
        if !std::mem::replace(&mut self.begun, true) {
            out.push(b'{');
            open(&path, 0, out);
            self.path = path;
            return;
        }
        let mut shared = self.path.iter().zip(&path).take_while(|(a, b)| a == b).count();
        // The last step is the value itself, not a container.
        shared = shared
            .min(path.len().saturating_sub(1))
            .min(self.path.len().saturating_sub(1));
        self.close(shared, out);
        out.push(b',');
        open(&path, shared, out);
        self.path = path;
    }

    /// Closes every container below `depth`; the value itself has no bracket.
    fn close(&mut self, depth: usize, out: &mut Vec<u8>) {
        for step in self.path.iter().skip(depth + 1).rev() {
            out.push(match step {
                Step::Key(_) => b'}',
                Step::Index(_) => b']',
            });
        }
    }
}

/// Opens the containers of a path below `depth`, up to where its value stands.
fn open(path: &[Step], depth: usize, out: &mut Vec<u8>) {
    for (at, step) in path.iter().enumerate().skip(depth) {
        match step {
            Step::Key(key) => {
                if at > depth {
                    out.push(b'{');
                }
                Writer::new(out).str(key);
                out.push(b':');
            }
            Step::Index(_) => {
                if at > depth {
                    out.push(b'[');
                }
            }
        }
    }
}

fn value(piece: &PartialArg<'_>, out: &mut Vec<u8>) {
    if let Some(text) = &piece.string {
        out.push(b'"');
        Writer::new(out).text_inside(text);
    } else if let Some(number) = piece.number {
        Writer::new(out).raw(number);
    } else if let Some(boolean) = piece.boolean {
        Writer::new(out).bool(boolean);
    } else {
        out.extend_from_slice(b"null");
    }
}

/// Steps of a JSON path: `$.a.b[0]`, `$['a b'][1]`.
fn steps(path: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rest = path.strip_prefix('$').unwrap_or(path);
    while !rest.is_empty() {
        if let Some(inside) = rest.strip_prefix('[') {
            let (word, behind) = match inside.chars().next() {
                Some(quote @ ('\'' | '"')) => {
                    let inside = inside.get(1..).unwrap_or_default();
                    let (key, behind) = inside.split_once(quote).unwrap_or((inside, ""));
                    steps.push(Step::Key(key.to_owned()));
                    rest = behind.strip_prefix(']').unwrap_or(behind);
                    continue;
                }
                _ => inside.split_once(']').unwrap_or((inside, "")),
            };
            steps.push(match word.parse() {
                Ok(index) => Step::Index(index),
                Err(_) => Step::Key(word.to_owned()),
            });
            rest = behind;
            continue;
        }
        let inside = rest.strip_prefix('.').unwrap_or(rest);
        let end = inside.find(['.', '[']).unwrap_or(inside.len());
        let (key, behind) = inside.split_at(end);
        if !key.is_empty() {
            steps.push(Step::Key(key.to_owned()));
        }
        if behind.len() == rest.len() {
            break;
        }
        rest = behind;
    }
    if steps.is_empty() {
        steps.push(Step::Key(String::new()));
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Raw;

    fn piece<'a>(path: &'a str, value: &'a str, more: bool) -> PartialArg<'a> {
        let mut piece = PartialArg {
            path: Some(Text::from(path)),
            more: Some(more),
            ..PartialArg::default()
        };
        match value {
            "true" | "false" => piece.boolean = Some(value == "true"),
            "null" => piece.null = Some(Text::from("NULL_VALUE")),
            number if number.parse::<f64>().is_ok() => piece.number = Some(Raw(number)),
            text => piece.string = Some(Text::from(text)),
        }
        piece
    }

    fn written(pieces: &[(&str, &str, bool)]) -> String {
        let mut writer = ArgumentWriter::default();
        let mut out: String = pieces
            .iter()
            .map(|(path, value, more)| writer.piece(&piece(path, value, *more)))
            .collect();
        out.push_str(&writer.end());
        out
    }

    #[test]
    fn pieces_become_one_object() {
        assert_eq!(
            written(&[("$.a", "x", true), ("$.a", "y", false), ("$.b", "2", false)]),
            r#"{"a":"xy","b":2}"#
        );
        assert_eq!(
            written(&[
                ("$.a.b[0]", "true", false),
                ("$.a.b[1]", "null", false),
                ("$.a.c", "1.10", false),
                ("$.d[0].e", "q\"", true),
                ("$.d[0].f", "2", false),
                ("$.d[1].e", "3", false),
            ]),
            r#"{"a":{"b":[true,null],"c":1.10},"d":[{"e":"q\"","f":2},{"e":3}]}"#
        );
        assert_eq!(written(&[]), "{}");
        assert_eq!(written(&[("$['x y']", "z", false)]), r#"{"x y":"z"}"#);
        assert_eq!(written(&[("$.a", "cut", true)]), r#"{"a":"cut"}"#);
    }
}
