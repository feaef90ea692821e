//! Texts that many rows have in common, kept once: a batch of rows names a few keys, models and channels.

use std::collections::HashSet;
use std::sync::Arc;

/// Texts kept at most; then it begins anew. Users come in any number.
const MOST: usize = 4_096;

/// Which text of a row.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Key,
    User,
    Model,
    UpstreamModel,
    Channel,
}

const PLACES: usize = Place::Channel as usize + 1;

/// What has been read so far.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    /// Those of the last row: mostly the next one has the same.
    last: [Arc<str>; PLACES],
    known: HashSet<Arc<str>>,
}

impl Texts {
    /// The text, shared with the rows before.
    pub(crate) fn share(&mut self, place: Place, text: &str) -> Arc<str> {
        if let Some(last) = self.last.get(place as usize)
            && **last == *text
        {
            return last.clone();
        }
        let shared = self.known(text);
        if let Some(last) = self.last.get_mut(place as usize) {
            last.clone_from(&shared);
        }
        shared
    }

    fn known(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.known.get(text) {
            return known.clone();
        }
        if self.known.len() >= MOST {
            self.known.clear();
        }
        let new: Arc<str> = text.into();
        self.known.insert(new.clone());
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_kept_once_and_the_number_of_texts_is_bounded() {
        let mut texts = Texts::default();
        let first = texts.share(Place::Key, "team");
        let other = texts.share(Place::Key, "other");
        assert!(Arc::ptr_eq(&first, &texts.share(Place::Channel, "team")));
        assert!(Arc::ptr_eq(&other, &texts.share(Place::Key, "other")));
        for number in 0..3 * MOST {
            let name = number.to_string();
            assert_eq!(&*texts.share(Place::User, &name), name);
            assert!(texts.known.len() <= MOST);
        }
    }
}
