//! One id per item of a Responses stream: some servers make a new one for every event or leave it out at the end
//! (wire.md 2.7), and SDKs refuse both.

use std::sync::LazyLock;

use memchr::memmem::{self, Finder};

use super::{Edits, string};
use crate::json::{Kind, Reader};

static ITEM_ID: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"item_id\":\""));

/// The ids of the items so far.
#[derive(Debug, Default)]
pub(super) struct Ids {
    known: Vec<(u64, String)>,
    /// The id that the last event named rightly.
    last: String,
}

/// A place where an id stands, or where it is missing.
#[derive(Debug, Default)]
struct Place {
    /// The id and where it stands, quotes included.
    id: Option<(std::ops::Range<usize>, String)>,
    /// Behind the opening brace of the item.
    inside: usize,
}

impl Ids {
    /// Adds the edits that give an event's items the ids they had first.
    pub(super) fn repair(&mut self, data: &str, edits: &mut Edits) {
        let named = ITEM_ID.find(data.as_bytes());
        let same = named.is_some_and(|at| {
            let rest = data.get(at + ITEM_ID.needle().len()..).unwrap_or_default();
            let behind = rest.strip_prefix(self.last.as_str());
            !self.last.is_empty() && behind.is_some_and(|rest| rest.starts_with('"'))
        });
        if !same && memmem::find(data.as_bytes(), b"\"i").is_some() {
            self.scan(data, edits);
        }
    }

    fn scan(&mut self, data: &str, edits: &mut Edits) {
        let mut index = None;
        let mut places: Vec<(Option<u64>, Place, bool)> = Vec::new();
        let mut reader = Reader::new(data);
        // The data was decoded before, so it reads without errors.
        let _ = reader.object(|reader, key| {
            match (key.as_ref(), reader.kind()) {
                ("output_index", Kind::Number) => index = Some(reader.u64()?),
                ("item_id", Kind::String) => {
                    let start = reader.offset();
                    let id = reader.text()?.decode().into_owned();
                    let place = Place {
                        id: Some((start..reader.offset_behind(), id)),
                        inside: start,
                    };
                    places.push((None, place, false));
                }
                ("item", Kind::Object) => places.push((None, item(reader)?, true)),
                ("response", Kind::Object) => reader.object(|reader, key| {
                    if key != "output" || reader.kind() != Kind::Array {
                        return reader.skip();
                    }
                    reader.array(|reader, at| {
                        if reader.kind() == Kind::Object {
                            places.push((Some(at as u64), item(reader)?, true));
                            return Ok(());
                        }
                        reader.skip()
                    })
                })?,
                _ => reader.skip()?,
            }
            Ok(())
        });
        for (own, place, insert) in places {
            if let Some(index) = own.or(index) {
                self.settle(index, place, insert, edits);
            }
        }
    }

    /// Compares a place with the item's first id, or makes its id the first.
    fn settle(&mut self, index: u64, place: Place, insert: bool, edits: &mut Edits) {
        let known = self.known.iter().find(|(known, _)| *known == index);
        match (known, place.id) {
            (None, Some((_, id))) if !id.is_empty() => {
                self.last.clone_from(&id);
                self.known.push((index, id));
            }
            (Some((_, first)), Some((_, id))) if *first == id => self.last = id,
            (Some((_, first)), Some((range, _))) => edits.push((range, string(first))),
            (Some((_, first)), None) if insert => {
                edits.push((place.inside..place.inside, format!("\"id\":{},", string(first))));
            }
            _ => {}
        }
    }
}

fn item(reader: &mut Reader<'_>) -> Result<Place, crate::Error> {
    let mut place = Place {
        inside: reader.offset() + 1,
        ..Place::default()
    };
    reader.object(|reader, key| {
        let start = reader.offset();
        if key == "id" && reader.kind() == Kind::String {
            let id = reader.text()?.decode().into_owned();
            place.id = Some((start..reader.offset_behind(), id));
            return Ok(());
        }
        reader.skip()
    })?;
    Ok(place)
}
