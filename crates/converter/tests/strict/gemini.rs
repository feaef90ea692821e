//! wire.md 3.3.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Check, Ending, Frame, Stable, need};

/// The array form: valid as a whole, and at every prefix once it is closed.
pub(crate) fn array(out: &str) -> Result<Vec<Frame>, String> {
    let closed = out.trim_end().ends_with(']');
    let whole = if closed {
        out.to_owned()
    } else {
        format!("{}]", out.trim_end())
    };
    let values: Vec<Value> = serde_json::from_str(&whole).map_err(|error| format!("{error}: {out}"))?;
    let mut frames: Vec<Frame> = values.into_iter().map(Frame::Event).collect();
    if closed {
        frames.push(Frame::Close);
    }
    Ok(frames)
}

pub(crate) fn check(frames: &[Frame], ending: Ending) -> Check {
    let mut stable = Stable::default();
    let (mut seen, mut finished) = (BTreeSet::new(), BTreeSet::new());
    let (mut errors, mut raw) = (0, 0);
    for frame in frames {
        let value = match frame {
            Frame::Event(value) => value,
            Frame::Raw(value) => {
                raw += 1;
                need(errors == 1 && value["error"]["code"].is_u64(), || {
                    format!("raw line {value}")
                })?;
                continue;
            }
            Frame::Close => continue,
            other => return Err(format!("unexpected {other:?}")),
        };
        need(errors == 0, || format!("{value} behind the error"))?;
        if value.get("error").is_some() {
            errors += 1;
            let error = &value["error"];
            need(error["code"].is_u64() && error["status"].is_string(), || {
                format!("error {value}")
            })?;
            continue;
        }
        stable.same("modelVersion", &value["modelVersion"])?;
        stable.same("responseId", &value["responseId"])?;
        let candidates = value["candidates"].as_array().filter(|list| !list.is_empty());
        for candidate in candidates.ok_or_else(|| format!("no candidates in {value}"))? {
            one(candidate, &mut seen, &mut finished).map_err(|why| format!("{why} in {value}"))?;
        }
        need(
            finished.is_empty() || value["usageMetadata"]["totalTokenCount"].is_u64(),
            || format!("no usage at the end: {value}"),
        )?;
    }
    match ending {
        Ending::Good => need(!seen.is_empty() && seen == finished && errors == 0, || {
            "no good end".into()
        }),
        Ending::Error => {
            let array = frames.last() == Some(&Frame::Close);
            need(errors == 1 && (array || raw == 1), || {
                "no double error at the end".into()
            })
        }
    }
}

fn one(candidate: &Value, seen: &mut BTreeSet<u64>, finished: &mut BTreeSet<u64>) -> Check {
    let index = candidate["index"].as_u64().ok_or("no index")?;
    seen.insert(index);
    need(!finished.contains(&index), || {
        "something behind the finish".into()
    })?;
    let content = &candidate["content"];
    need(content["role"] == "model", || "no role".into())?;
    let parts = content["parts"].as_array().filter(|parts| !parts.is_empty());
    for part in parts.ok_or("no parts")? {
        need(part.as_object().is_some_and(|part| !part.is_empty()), || {
            "an empty part".into()
        })?;
        if let Some(call) = part.get("functionCall") {
            let whole = call["name"].is_string() && call["args"].is_object() && call["id"].is_string();
            need(whole, || format!("call {call}"))?;
        }
    }
    if candidate["finishReason"].is_string() {
        finished.insert(index);
    }
    Ok(())
}
