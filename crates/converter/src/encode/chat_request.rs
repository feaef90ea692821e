//! The IR to request bodies of Chat Completions.

mod media;
mod messages;
mod results;
mod settings;
mod tools;

pub(super) use media::{detail_word, envelope, envelope_ends, url};
pub(super) use messages::{breakpoint, knows_breakpoints};
pub(super) use results::result_string;
pub(super) use settings::{
    MIN_OUTPUT, bucket, cache_key, effort, json_schema, openai_tier, safety_identifier,
};
pub(super) use tools::{grammar, parameters_of, shim, validated_strict};

use super::parts::natives;
use crate::error::Error;
use crate::ir::Request;
use crate::json::{Raw, Writer};
use crate::profile::profile;
use crate::report::Report;
use crate::target::{Options, Target};
use messages::messages;
use settings::{caching, identity, limits, output, reasoning, sampling, spoken};
use tools::tools;

pub(super) fn encode(
    request: &Request<'_>,
    target: &Target<'_>,
    _options: &Options,
    report: &mut Report,
) -> Result<Vec<u8>, Error> {
    let mut out = Vec::with_capacity(4096);
    let mut w = Writer::new(&mut out);
    let profile = profile(target.format, target.dialect, target.model);
    w.begin_object();
    w.key("model").str(target.model);
    w.key("messages");
    messages(&mut w, request, target, &profile, report)?;
    tools(&mut w, request, target, &profile, report)?;
    limits(&mut w, request, target, &profile, report)?;
    sampling(&mut w, request, &profile, target, report)?;
    reasoning(&mut w, request, target, &profile, report);
    output(&mut w, request);
    spoken(&mut w, request, target, report)?;
    identity(&mut w, request, target, report)?;
    caching(&mut w, request, target, report)?;
    if request.stream {
        w.key("stream").bool(true);
        w.key("stream_options")
            .raw(Raw::of_const(r#"{"include_usage":true}"#));
    }
    natives(&mut w, request, target, report)?;
    w.end_object();
    Ok(out)
}
