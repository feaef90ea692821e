//! Fake providers of all four wire formats on one port: what `opm demo` and the tests talk to.
//!
//! It shares no code with the converter, so that it cannot share its bugs. What it does is scripted by a marker in the last user
//! text or in the model name, `[[scenario]]` or `model@scenario`; without one it answers with text, or calls tools if it was given
//! some. Every request is recorded and can be read at `GET /_mock/requests`. Bodies with members that the provider does not know, or
//! with broken pairing of tool calls, are refused with 400 as the provider would.

mod answer;
mod completions;
mod gemini;
mod messages;
mod openai;
mod record;
mod server;
mod strict;

pub use record::Recorded;
pub use server::{Mock, spawn};
