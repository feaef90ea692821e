//! What one conversion dropped, changed or emulated (conversion.md section 2).

use std::borrow::Cow;

use crate::error::{Error, ErrorKind};
use crate::format::Format;

/// How much a member without an equivalent matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// No effect on the answer. Dropped without a word.
    Inert,
    /// Influences quality, sampling, cost or latency. Dropped and reported.
    Hint,
    /// Changes what the caller gets back or what the model sees. Refused.
    Must,
}

/// What happens to members without an equivalent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mode {
    /// Everything that cannot be carried is dropped and reported.
    Lenient,
    /// Hints are dropped and reported, musts are refused.
    #[default]
    Default,
    /// Hints and musts are refused.
    Strict,
}

/// The list of losses of one conversion. Paths are spelled as in the client's format: `temperature`, `tools[3]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    client: Format,
    upstream: Format,
    mode: Mode,
    /// Dropped members, `x-gateway-dropped`.
    pub dropped: Vec<Cow<'static, str>>,
    /// Changed members with numbers and enums only, `x-gateway-altered`: `temperature=1.4>1`.
    pub altered: Vec<Cow<'static, str>>,
    /// Emulated members, `x-gateway-emulated`: `tools[2]=shim`.
    pub emulated: Vec<Cow<'static, str>>,
    /// Members without any effect that were dropped; for verbose reports only (class I).
    pub inert: Vec<Cow<'static, str>>,
    /// Beta features that the encoded body uses: values for the upstream's `anthropic-beta` header.
    pub betas: Vec<&'static str>,
    /// How many opaque reasoning states were restored.
    pub states_restored: u32,
    /// How many were dropped, and the first reason.
    pub states_dropped: u32,
    /// The first reason of a dropped state: `foreign_origin`, `foreign_domain`, `edited_turn`, `bad_seal`, `too_large`.
    pub state_reason: Option<&'static str>,
}

impl Report {
    /// An empty report of a conversion between these formats.
    #[must_use]
    pub fn new(client: Format, upstream: Format, mode: Mode) -> Self {
        Report {
            client,
            upstream,
            mode,
            dropped: Vec::new(),
            altered: Vec::new(),
            emulated: Vec::new(),
            inert: Vec::new(),
            betas: Vec::new(),
            states_restored: 0,
            states_dropped: 0,
            state_reason: None,
        }
    }

    /// The format of the client, whose spelling the paths use.
    #[must_use]
    pub fn client(&self) -> Format {
        self.client
    }

    /// The policy in force.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// A member that cannot be carried. `path` is its client spelling (`stop[1]`, `tools[3].strict`).
    ///
    /// # Errors
    /// The class and the mode refuse it.
    pub fn cannot_carry(&mut self, path: impl Into<Cow<'static, str>>, class: Class) -> Result<(), Error> {
        let path = path.into();
        let refuse = match (class, self.mode) {
            (Class::Inert, _) => {
                push(&mut self.inert, path);
                return Ok(());
            }
            (_, Mode::Lenient) | (Class::Hint, Mode::Default) => false,
            (Class::Must, _) | (Class::Hint, Mode::Strict) => true,
        };
        if refuse {
            let upstream = self.upstream;
            let client = self.client;
            return Err(Error::at(
                ErrorKind::Unsupported,
                pointer(&path),
                format!(
                    "`{path}` of the {client} format has no equivalent in the {upstream} format of the upstream that serves this model"
                ),
            ));
        }
        push(&mut self.dropped, path);
        Ok(())
    }

    /// A hint that is dropped whatever the mode says (because the mode was asked before or the member is not the client's doing).
    pub fn dropped(&mut self, path: impl Into<Cow<'static, str>>) {
        push(&mut self.dropped, path.into());
    }

    /// A member that was changed; numbers and enums only, never content: `altered("max_tokens", "5", "16")`.
    pub fn altered(&mut self, path: &str, from: &str, to: &str) {
        push(&mut self.altered, format!("{path}={from}>{to}").into());
    }

    /// A member that is carried by an emulation.
    pub fn emulated(&mut self, path: &str, by: &str) {
        push(&mut self.emulated, format!("{path}={by}").into());
    }

    /// The body uses a beta feature of Messages: its name in the `anthropic-beta` header.
    pub fn beta(&mut self, name: &'static str) {
        if !self.betas.contains(&name) {
            self.betas.push(name);
        }
    }

    /// An opaque state that could not go to this upstream.
    pub fn state_dropped(&mut self, reason: &'static str) {
        self.states_dropped += 1;
        self.state_reason.get_or_insert(reason);
    }

    /// True if nothing was lost or changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.dropped.is_empty()
            && self.altered.is_empty()
            && self.emulated.is_empty()
            && self.states_dropped == 0
    }
}

fn push(list: &mut Vec<Cow<'static, str>>, entry: Cow<'static, str>) {
    if !list.contains(&entry) {
        list.push(entry);
    }
}

/// `messages[2].name` as the JSON pointer `/messages/2/name`.
pub(crate) fn pointer(path: &str) -> String {
    let mut out = String::with_capacity(path.len() + 1);
    for part in path.split(['.', '[']) {
        out.push('/');
        out.push_str(part.trim_end_matches(']'));
    }
    out
}
