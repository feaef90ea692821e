//! What a relay reads of the stream that it passes on.

use crate::estimate::Estimator;
use crate::failure::Failure;
use crate::stream::encode::Encode;
use crate::stream::event::{BlockKind, Event, Sink, Start};
use crate::stream::normalise::spliced;
use crate::stream::notes::Notes;
use crate::usage::Usage;

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Tap {
    pub(super) content: bool,
    pub(super) ended: bool,
    pub(super) usage: Usage,
    pub(super) output: Estimator,
    /// Only where they were asked for.
    pub(super) notes: Option<Box<Notes>>,
    id: Option<String>,
    /// Answers that began, and whether each is finished.
    choices: Vec<(u32, bool)>,
}

impl Tap {
    /// Every answer that began has its finish.
    pub(super) fn is_finished(&self) -> bool {
        !self.choices.is_empty() && self.choices.iter().all(|(_, finished)| *finished)
    }

    fn note_start(&mut self, start: &Start<'_>) {
        if let Some(notes) = &mut self.notes {
            notes.start(start);
        }
    }

    fn choice(&mut self, number: u32, finished: bool) {
        if let Some((_, known)) = self.choices.iter_mut().find(|(known, _)| *known == number) {
            *known |= finished;
        } else if self.choices.len() < 128 {
            self.choices.push((number, finished));
        }
    }
}

/// A tap with the encoder that must know how the answer began, in case it has to end it.
pub(super) struct TapSink<'t> {
    pub(super) tap: &'t mut Tap,
    pub(super) encoder: &'t mut dyn Encode,
    /// The event begins the same answer again.
    pub(super) repeated: bool,
    pub(super) failure: Option<Failure>,
}

impl Sink for TapSink<'_> {
    fn event(&mut self, event: Event<'_>) {
        let tap = &mut *self.tap;
        event.frame(&mut tap.output);
        match event {
            Event::Start(start) => match &tap.id {
                None => {
                    tap.note_start(&start);
                    tap.id = Some(start.id.clone().into_owned());
                    self.encoder.resume(&start);
                }
                Some(id) if *id == *start.id => self.repeated = true,
                Some(_) if tap.content => self.failure = Some(spliced()),
                Some(_) => {
                    tap.note_start(&start);
                    tap.id = Some(start.id.into_owned());
                }
            },
            Event::BlockStart { choice, kind, .. } => {
                tap.choice(choice, false);
                if let BlockKind::Tool { name, .. } = kind {
                    tap.content = true;
                    tap.output.add(&name);
                }
            }
            Event::Text { text, .. } | Event::Reasoning { text, .. } | Event::Refusal { text, .. } => {
                tap.content |= !text.is_empty();
                tap.output.add_text(&text);
            }
            Event::Arguments { fragment, .. } => tap.output.add_text(&fragment),
            Event::Seal { state, .. } => tap.content |= !matches!(state.state, crate::ir::State::Plain),
            Event::Media { .. } => tap.content = true,
            Event::Usage { usage, .. } => tap.usage.update(&usage),
            Event::Finish { choice, stop } => {
                if let Some(notes) = &mut tap.notes {
                    notes.finish(choice, &stop);
                }
                tap.choice(choice, true);
                tap.content = true;
            }
            Event::End => tap.ended = true,
            _ => {}
        }
    }
}
