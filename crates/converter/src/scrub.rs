//! Seals in bodies that are relayed (conversion.md 7.6), and the removal of all state after a state error (7.7).
//!
//! The body is not decoded: what must go or change is found by its place, and cut out of the bytes. Nothing else is touched.

use std::ops::Range;

use crate::format::Format;
use crate::ir::State;
use crate::json::{Kind, Raw, Reader, Writer};
use crate::names;
use crate::seal::{self, Broken};

/// Google's documented stand-in for a signature that is not there (conversion.md 7.5): base64 of
/// `skip_thought_signature_validator`.
pub(crate) const PLACEHOLDER: &str = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I=";

/// A relayed body without the seals of other vendors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scrubbed {
    /// The new body.
    pub body: Vec<u8>,
    /// States of the upstream itself that were unpacked.
    pub restored: u32,
    /// States that were removed.
    pub dropped: u32,
    /// Why the first one was: `foreign_origin`, `foreign_domain`, `bad_seal`, `too_large`.
    pub reason: Option<&'static str>,
}

/// Unpacks the seals of the upstream itself and removes all others, with the block, item, part or id suffix that carries them.
/// `None`: there is nothing to change; the body may hold the mark in prose.
#[must_use]
pub fn scrub(body: &[u8], format: Format, domain: u32, key: Option<&[u8; 32]>) -> Option<Scrubbed> {
    seal::first(body)?;
    let mut work = Work {
        restored: 0,
        dropped: 0,
        reason: None,
        open: Some((domain, key)),
    };
    let body = work.edit(body, format)?;
    Some(Scrubbed {
        body,
        restored: work.restored,
        dropped: work.dropped,
        reason: work.reason,
    })
}

/// Removes all opaque reasoning from an encoded request: thinking blocks, reasoning items, signatures. Calls that need a signature
/// get Google's placeholder. For one more try after the vendor refused the state. `None`: there was none.
#[must_use]
pub fn strip_state(body: &[u8], format: Format) -> Option<Vec<u8>> {
    let mut work = Work {
        restored: 0,
        dropped: 0,
        reason: None,
        open: None,
    };
    work.edit(body, format)
}

/// A value with its place in the source.
struct Node<'a> {
    at: Range<usize>,
    raw: Raw<'a>,
    inside: Inside<'a>,
}

enum Inside<'a> {
    /// Members with the offset where their key starts.
    Object(Vec<(String, usize, Node<'a>)>),
    Array(Vec<Node<'a>>),
    Other,
}

impl<'a> Node<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Node<'a>, crate::Error> {
        let start = reader.offset();
        let inside = match reader.kind() {
            Kind::Object => {
                let mut members = Vec::new();
                let mut behind = start + 1;
                reader.object(|reader, key| {
                    let node = Node::read(reader)?;
                    let end = node.at.end;
                    members.push((key.clone().into_owned(), behind, node));
                    behind = end;
                    Ok(())
                })?;
                Inside::Object(members)
            }
            Kind::Array => {
                let mut list = Vec::new();
                reader.array(|reader, _| {
                    list.push(Node::read(reader)?);
                    Ok(())
                })?;
                Inside::Array(list)
            }
            _ => {
                reader.skip()?;
                Inside::Other
            }
        };
        Ok(Node {
            at: start..reader.offset_behind(),
            raw: reader.since(start),
            inside,
        })
    }

    fn get(&self, names: &[&str]) -> Option<&Node<'a>> {
        match &self.inside {
            Inside::Object(members) => members
                .iter()
                .rev()
                .find(|(name, _, _)| names.contains(&name.as_str()))
                .map(|(_, _, node)| node),
            _ => None,
        }
    }

    fn list(&self) -> &[Node<'a>] {
        match &self.inside {
            Inside::Array(list) => list,
            _ => &[],
        }
    }

    fn text(&self) -> Option<String> {
        Some(self.raw.as_text()?.decode().into_owned())
    }

    fn word(&self, names: &[&str]) -> String {
        self.get(names).and_then(Node::text).unwrap_or_default()
    }
}

/// What happens to an element of a list.
#[derive(PartialEq, Eq)]
enum Fate {
    Keep,
    Remove,
}

type Edits = Vec<(Range<usize>, String)>;

struct Work<'k> {
    restored: u32,
    dropped: u32,
    reason: Option<&'static str>,
    /// Domain and key of the seals to open; `None`: everything goes.
    open: Option<(u32, Option<&'k [u8; 32]>)>,
}

impl Work<'_> {
    fn edit(&mut self, body: &[u8], format: Format) -> Option<Vec<u8>> {
        let text = std::str::from_utf8(body).ok()?;
        let mut reader = Reader::new(text);
        let root = Node::read(&mut reader).ok()?;
        let mut edits = Edits::new();
        let turns = root.get(match format {
            Format::Chat | Format::Messages => &["messages"],
            Format::Responses => &["input"],
            Format::Gemini => &["contents"],
        })?;
        let current = turns
            .list()
            .iter()
            .rposition(|turn| format == Format::Gemini && is_question(turn))
            .unwrap_or(0);
        let mut fates = Vec::new();
        for (index, turn) in turns.list().iter().enumerate() {
            fates.push(match format {
                Format::Chat => self.chat(turn, &mut edits),
                Format::Responses => self.item(turn, &mut edits),
                Format::Messages => self.message(turn, &mut edits),
                Format::Gemini => self.content(turn, index >= current, &mut edits),
            });
        }
        cut(turns.list(), &fates, &mut edits);
        if edits.is_empty() {
            return None;
        }
        edits.sort_by_key(|(range, _)| (range.start, range.end));
        let mut out = Vec::with_capacity(text.len());
        let mut at = 0;
        for (range, new) in edits {
            // An edit inside something that was removed with its container.
            if range.start < at {
                continue;
            }
            out.extend_from_slice(body.get(at..range.start)?);
            out.extend_from_slice(new.as_bytes());
            at = range.end;
        }
        out.extend_from_slice(body.get(at..)?);
        Some(out)
    }

    /// The state in a slot: `Ok(None)` leaves it alone, `Ok(Some)` unpacks, `Err` removes.
    fn state(&mut self, slot: &str, format: Format) -> Result<Option<State<'static>>, ()> {
        let Some((domain, key)) = self.open else {
            self.dropped += 1;
            return Err(());
        };
        let reason = match seal::open(slot, key) {
            Err(Broken::NotASeal) => return Ok(None),
            Err(broken) => broken.reason().unwrap_or("bad_seal"),
            Ok(state) if state.origin != format => "foreign_origin",
            Ok(state) if state.domain != Some(domain) => "foreign_domain",
            Ok(state) => {
                self.restored += 1;
                return Ok(Some(state.state));
            }
        };
        self.dropped += 1;
        self.reason.get_or_insert(reason);
        Err(())
    }

    /// Takes a seal off a call id.
    fn id(&mut self, node: Option<&Node<'_>>, edits: &mut Edits) {
        let Some((node, id)) = node.and_then(|node| Some((node, node.text()?))) else {
            return;
        };
        if self.open.is_some()
            && let (bare, Some(_)) = names::strip_seal(&id)
        {
            edits.push((node.at.clone(), quoted(bare)));
        }
    }

    fn chat(&mut self, turn: &Node<'_>, edits: &mut Edits) -> Fate {
        self.id(turn.get(&["tool_call_id"]), edits);
        for call in turn.get(&["tool_calls"]).map(Node::list).unwrap_or_default() {
            self.id(call.get(&["id"]), edits);
        }
        if let Some(details) = turn.get(&["reasoning_details"]) {
            let fates: Vec<Fate> = details
                .list()
                .iter()
                .map(|detail| match self.state(&detail.word(&["data"]), Format::Chat) {
                    Ok(None) => Fate::Keep,
                    // Chat's own state is plain text beside it.
                    Ok(Some(_)) | Err(()) => Fate::Remove,
                })
                .collect();
            cut(details.list(), &fates, edits);
        }
        Fate::Keep
    }

    fn item(&mut self, item: &Node<'_>, edits: &mut Edits) -> Fate {
        self.id(item.get(&["call_id"]), edits);
        if item.word(&["type"]) != "reasoning" {
            return Fate::Keep;
        }
        let slot = item.get(&["encrypted_content"]);
        let Some((slot, text)) = slot.and_then(|slot| Some((slot, slot.text()?))) else {
            return if self.open.is_none() {
                Fate::Remove
            } else {
                Fate::Keep
            };
        };
        match self.state(&text, Format::Responses) {
            Ok(None) => Fate::Keep,
            Ok(Some(State::Reasoning { id, encrypted })) => {
                edits.push((slot.at.clone(), quoted(&encrypted)));
                if let (Some(id), Some(node)) = (id, item.get(&["id"])) {
                    edits.push((node.at.clone(), quoted(&id)));
                }
                Fate::Keep
            }
            _ => Fate::Remove,
        }
    }

    fn message(&mut self, turn: &Node<'_>, edits: &mut Edits) -> Fate {
        let blocks = turn.get(&["content"]).map(Node::list).unwrap_or_default();
        let mut fates = Vec::with_capacity(blocks.len());
        for block in blocks {
            self.id(block.get(&["id", "tool_use_id"]), edits);
            let kind = block.word(&["type"]);
            let slot = match kind.as_str() {
                "thinking" => block.get(&["signature"]),
                "redacted_thinking" => block.get(&["data"]),
                _ => {
                    fates.push(Fate::Keep);
                    continue;
                }
            };
            let text = slot.and_then(Node::text).unwrap_or_default();
            fates.push(match (self.state(&text, Format::Messages), slot) {
                (Ok(None), _) => Fate::Keep,
                (Ok(Some(State::Signature(own) | State::Redacted(own))), Some(slot)) => {
                    edits.push((slot.at.clone(), quoted(&own)));
                    Fate::Keep
                }
                _ => Fate::Remove,
            });
        }
        cut(blocks, &fates, edits);
        // A message without content would be refused.
        if !fates.is_empty() && fates.iter().all(|fate| *fate == Fate::Remove) {
            Fate::Remove
        } else {
            Fate::Keep
        }
    }

    fn content(&mut self, turn: &Node<'_>, current: bool, edits: &mut Edits) -> Fate {
        let parts = turn.get(&["parts"]).map(Node::list).unwrap_or_default();
        let mut fates = Vec::with_capacity(parts.len());
        let mut first = current;
        for part in parts {
            let call = part.get(&["functionCall", "function_call"]);
            self.id(call.and_then(|call| call.get(&["id"])), edits);
            let needs = call.is_some() && std::mem::take(&mut first);
            let names = ["thoughtSignature", "thought_signature"];
            let Some(slot) = part.get(&names) else {
                fates.push(Fate::Keep);
                continue;
            };
            let text = slot.text().unwrap_or_default();
            fates.push(match self.state(&text, Format::Gemini) {
                Ok(None) => Fate::Keep,
                Ok(Some(State::CallSignature(own) | State::PartSignature(own))) => {
                    edits.push((slot.at.clone(), quoted(&own)));
                    Fate::Keep
                }
                _ if call.is_some() && needs => {
                    edits.push((slot.at.clone(), quoted(PLACEHOLDER)));
                    Fate::Keep
                }
                _ if call.is_none() && is_carrier(part) => Fate::Remove,
                _ => {
                    member_cut(part, &names, edits);
                    Fate::Keep
                }
            });
        }
        cut(parts, &fates, edits);
        if !fates.is_empty() && fates.iter().all(|fate| *fate == Fate::Remove) {
            Fate::Remove
        } else {
            Fate::Keep
        }
    }
}

/// A content of the user that is no function response: the current turn starts there.
fn is_question(turn: &Node<'_>) -> bool {
    let answers = |part: &Node<'_>| part.get(&["functionResponse", "function_response"]).is_some();
    let parts = turn.get(&["parts"]).map(Node::list).unwrap_or_default();
    turn.word(&["role"]) != "model" && !parts.iter().any(answers)
}

/// A thought, or a part with nothing in it but its signature.
fn is_carrier(part: &Node<'_>) -> bool {
    let thought = part
        .get(&["thought"])
        .is_some_and(|node| node.raw.get() == "true");
    let empty = part
        .get(&["text"])
        .is_none_or(|text| text.raw.as_text().is_some_and(|text| text.is_empty()));
    let data = [
        "inlineData",
        "inline_data",
        "fileData",
        "file_data",
        "functionResponse",
    ];
    thought || (empty && part.get(&data).is_none())
}

fn quoted(text: &str) -> String {
    let mut out = Vec::new();
    Writer::new(&mut out).str(text);
    String::from_utf8_lossy(&out).into_owned()
}

/// Cuts elements out of a list, with the comma that is theirs.
fn cut(list: &[Node<'_>], fates: &[Fate], edits: &mut Edits) {
    let mut kept = false;
    for (index, (node, fate)) in list.iter().zip(fates).enumerate() {
        if *fate == Fate::Keep {
            kept = true;
            continue;
        }
        let before = index.checked_sub(1).and_then(|before| list.get(before));
        let range = match (before.filter(|_| kept), list.get(index + 1)) {
            (Some(before), _) => before.at.end..node.at.end,
            (None, Some(after)) => node.at.start..after.at.start,
            (None, None) => node.at.clone(),
        };
        edits.push((range, String::new()));
    }
}

/// Cuts a member out of an object.
fn member_cut(object: &Node<'_>, names: &[&str], edits: &mut Edits) {
    let Inside::Object(members) = &object.inside else {
        return;
    };
    for (index, (name, behind, node)) in members.iter().enumerate() {
        if !names.contains(&name.as_str()) {
            continue;
        }
        // The first member takes the comma behind it along, the others the one in front.
        let end = match members.get(index + 1) {
            Some((_, after, _)) if index == 0 => after + 1,
            _ => node.at.end,
        };
        edits.push((*behind..end, String::new()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::Opaque;

    fn sealed(origin: Format, state: State<'static>) -> String {
        let state = Opaque {
            origin,
            domain: Some(7),
            state,
        };
        seal::seal(&state, None)
    }

    fn check(format: Format, body: &str, wanted: &str, restored: u32, dropped: u32) {
        let found = scrub(body.as_bytes(), format, 7, None).unwrap();
        assert_eq!(String::from_utf8(found.body).unwrap(), wanted);
        assert_eq!((found.restored, found.dropped), (restored, dropped));
    }

    #[test]
    fn foreign_seals_are_cut_out_and_own_ones_unpacked() {
        let foreign = sealed(
            Format::Responses,
            State::Reasoning {
                id: None,
                encrypted: "e".into(),
            },
        );
        let own = sealed(Format::Messages, State::Signature("sig".into()));
        check(
            Format::Messages,
            &format!(
                r#"{{"x":1.10, "messages":[{{"role":"assistant","content":[ {{"type":"thinking","thinking":"","signature":"{foreign}"}} , {{"type":"text","text":"Z3dzZWFs"}}, {{"type":"thinking","thinking":"t","signature":"{own}"}}]}}]}}"#
            ),
            r#"{"x":1.10, "messages":[{"role":"assistant","content":[ {"type":"text","text":"Z3dzZWFs"}, {"type":"thinking","thinking":"t","signature":"sig"}]}]}"#,
            1,
            1,
        );
        check(
            Format::Chat,
            &format!(
                r#"{{"messages":[{{"tool_calls":[{{"id":"c1__{own}"}}],"reasoning_details":[{{"data":"{own}"}}]}},{{"tool_call_id":"c1__{own}"}}]}}"#
            ),
            r#"{"messages":[{"tool_calls":[{"id":"c1"}],"reasoning_details":[]},{"tool_call_id":"c1"}]}"#,
            0,
            1,
        );
        check(
            Format::Responses,
            &format!(
                r#"{{"input":[{{"type":"message"}}, {{"type":"reasoning","id":"x","encrypted_content":"{own}"}}]}}"#
            ),
            r#"{"input":[{"type":"message"}]}"#,
            0,
            1,
        );
        check(
            Format::Gemini,
            &format!(
                r#"{{"contents":[{{"role":"model","parts":[{{"thought":true,"text":"t","thoughtSignature":"{own}"}},{{"thoughtSignature":"{own}", "functionCall":{{"name":"f"}}}},{{"text":"a","thoughtSignature":"{own}"}}]}}]}}"#
            ),
            &format!(
                r#"{{"contents":[{{"role":"model","parts":[{{"thoughtSignature":"{PLACEHOLDER}", "functionCall":{{"name":"f"}}}},{{"text":"a"}}]}}]}}"#
            ),
            0,
            3,
        );
    }

    #[test]
    fn prose_with_the_mark_is_left_alone() {
        let body = br#"{"messages":[{"role":"user","content":[{"type":"text","text":"Z3dzZWFsAAAA"}]}]}"#;
        assert_eq!(scrub(body, Format::Messages, 7, None), None);
    }

    #[test]
    fn all_state_can_be_stripped() {
        let strip = |body: &str, format| {
            strip_state(body.as_bytes(), format).map(|body| String::from_utf8(body).unwrap())
        };
        assert_eq!(
            strip(r#"{"messages":[{"content":[{"type":"thinking","signature":"s"},{"type":"text","text":"a"}]}]}"#, Format::Messages).unwrap(),
            r#"{"messages":[{"content":[{"type":"text","text":"a"}]}]}"#
        );
        assert_eq!(
            strip(r#"{"contents":[{"role":"user","parts":[{"text":"q"}]},{"role":"model","parts":[{"functionCall":{},"thoughtSignature":"s"}]}]}"#, Format::Gemini).unwrap(),
            format!(r#"{{"contents":[{{"role":"user","parts":[{{"text":"q"}}]}},{{"role":"model","parts":[{{"functionCall":{{}},"thoughtSignature":"{PLACEHOLDER}"}}]}}]}}"#)
        );
        assert_eq!(
            strip(r#"{"input":[{"type":"message"}]}"#, Format::Responses),
            None
        );
    }
}
