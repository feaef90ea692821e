//! What decoders share besides the body: a list of what no member of the IR can hold, and how opaque data is read.

use std::borrow::Cow;
use std::cell::RefCell;

use crate::ir::{Loss, Opaque, Request, State};
use crate::json::{Raw, from_str};
use crate::names;
use crate::report::Class;
use crate::seal;
use crate::wire::Extra;

/// LiteLLM puts a Gemini signature behind the call id.
const LITELLM_JOINT: &str = "__thought__";

/// One decoding of a request.
#[derive(Default)]
pub(crate) struct Intake {
    losses: RefCell<Vec<Loss>>,
}

impl Intake {
    /// Moves what was noticed into the request.
    pub(crate) fn finish(self, request: &mut Request<'_>) {
        request.losses = self.losses.into_inner();
    }

    /// Opaque data in a slot of the client's own format: a seal, which [`crate::unseal`] opens, or the vendor's own state wrapped
    /// by `own`.
    pub(crate) fn opaque<'a>(
        &self,
        data: Cow<'a, str>,
        own: impl FnOnce(Cow<'a, str>) -> Option<Opaque<'a>>,
    ) -> Option<Opaque<'a>> {
        if data.starts_with(seal::MARK) {
            Some(closed(data))
        } else {
            own(data)
        }
    }

    /// A call id and the seal or state that rode on it.
    pub(crate) fn call_id<'a>(&self, id: Cow<'a, str>) -> (Cow<'a, str>, Option<Opaque<'a>>) {
        let (bare, sealed) = names::strip_seal(&id);
        if let Some(sealed) = sealed {
            let state = closed(Cow::Owned(sealed.to_owned()));
            return (Cow::Owned(bare.to_owned()), Some(state));
        }
        if let Some((bare, signature)) = id.split_once(LITELLM_JOINT) {
            let state = State::CallSignature(Cow::Owned(signature.to_owned()));
            let state = Opaque {
                origin: crate::Format::Gemini,
                domain: None,
                state,
            };
            return (Cow::Owned(bare.to_owned()), Some(state));
        }
        (id, None)
    }

    /// A call id without what rode on it; the call itself gives the state.
    pub(crate) fn bare_id<'a>(&self, id: Cow<'a, str>) -> Cow<'a, str> {
        let (bare, _) = names::strip_seal(&id);
        let bare = bare.split_once(LITELLM_JOINT).map_or(bare, |(bare, _)| bare);
        if bare.len() == id.len() {
            return id;
        }
        Cow::Owned(bare.to_owned())
    }

    /// Google's signature on a tool call of its OpenAI-compatible surface, or of LiteLLM's histories.
    pub(crate) fn google_signature<'a>(&self, extra: Option<Raw<'a>>) -> Option<Opaque<'a>> {
        crate::wire::object! {
            /// `extra_content` or `provider_specific_fields`.
            pub(crate) struct ExtraContent {
                /// Google's part.
                google: Google<'a> = "google",
                /// LiteLLM's spelling.
                thought_signature: Cow<'a, str> = "thought_signature",
                /// LiteLLM's spelling on messages.
                thought_signatures: Vec<Cow<'a, str>> = "thought_signatures",
            }
            /// `extra_content.google`.
            pub(crate) struct Google {
                /// Signature.
                thought_signature: Cow<'a, str> = "thought_signature",
            }
        }
        let extra: ExtraContent<'a> = from_str(extra?.get()).ok()?;
        let google = extra.google.and_then(|google| google.thought_signature);
        let list = extra.thought_signatures.and_then(|list| list.into_iter().next());
        let signature = google.or(extra.thought_signature).or(list)?;
        self.opaque(signature, |signature| {
            Some(Opaque {
                origin: crate::Format::Gemini,
                domain: None,
                state: State::CallSignature(signature),
            })
        })
    }

    /// A member that is lost towards every other format.
    pub(crate) fn lose(&self, path: String, class: Class) {
        self.losses.borrow_mut().push(Loss { path, class });
    }

    /// Members that a wire type does not know. What `known` lists has its class there, the rest are hints; `null` is nothing.
    pub(crate) fn extra(&self, path: &str, extra: &Extra<'_>, known: &[(&str, Class)]) {
        for (name, value) in extra {
            if value.is_null() {
                continue;
            }
            let class = known
                .iter()
                .find(|(known, _)| known == name)
                .map_or(Class::Hint, |(_, class)| *class);
            let path = if path.is_empty() {
                name.clone().into_owned()
            } else {
                format!("{path}.{name}")
            };
            self.lose(path, class);
        }
    }
}

/// A seal that is still closed. Whose it is shows when it is opened.
fn closed(data: Cow<'_, str>) -> Opaque<'_> {
    Opaque {
        origin: crate::Format::Chat,
        domain: None,
        state: State::Sealed(data),
    }
}
