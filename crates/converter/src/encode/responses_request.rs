//! The IR to request bodies of Responses.

mod input;
mod results;
mod settings;
mod tools;

use super::parts::natives;
use crate::Format;
use crate::error::Error;
use crate::ir::Request;
use crate::json::Writer;
use crate::profile::profile;
use crate::report::Report;
use crate::target::{Options, Target};
use input::input;
use settings::{caching, identity, limits, others, reasoning, text};
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
    let alone = request.system.len() == 1 && request.system.iter().all(|block| block.text.cache.is_none());
    if let Some(block) = request.system.first().filter(|_| alone) {
        w.key("instructions").text(&block.text.text);
    }
    input(&mut w, request, !alone, target, report)?;
    tools(&mut w, request, target, report)?;
    limits(&mut w, request, &profile, report)?;
    reasoning(&mut w, request, &profile, report);
    text(&mut w, request);
    identity(&mut w, request, report)?;
    caching(&mut w, request, target, report)?;
    others(request, report)?;
    if report.client() != Format::Responses || request.store.is_some() {
        w.key("store").bool(request.store.unwrap_or(false));
    }
    if request.stream {
        w.key("stream").bool(true);
    }
    natives(&mut w, request, target, report)?;
    w.end_object();
    Ok(out)
}
