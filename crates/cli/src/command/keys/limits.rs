//! Limits of client keys: from flags to the JSON that is kept, and back to words.

use anyhow::{Context as _, bail};
use opm_admin::keys::{ClientKeyView, JsonText};
use serde_json::{Map, Value};

use crate::args::keys::LimitFlags;

/// What is to be kept; `None`: nothing.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Wanted {
    pub(super) limits: Option<JsonText>,
    pub(super) budget: Option<JsonText>,
}

/// The flags over what is kept already: what no flag names stays.
pub(super) fn wanted(
    flags: &LimitFlags,
    limits: Option<&JsonText>,
    budget: Option<&JsonText>,
) -> anyhow::Result<Wanted> {
    let mut limits: Map<String, Value> = read(limits, "limits")?.unwrap_or_default();
    let members = [
        ("tpm", &flags.tpm),
        ("window", &flags.window),
        ("rpm", &flags.rpm),
        ("concurrent", &flags.concurrent),
    ];
    for (name, text) in members {
        if let Some(text) = text {
            limits.insert(name.to_owned(), number(text));
        }
    }
    let budgets = budgets(flags, read(budget, "budget")?.unwrap_or(Value::Null))?;
    Ok(Wanted {
        limits: (!limits.is_empty()).then(|| JsonText::new(&limits)).transpose()?,
        budget: match budgets.as_slice() {
            [] => None,
            [one] => Some(JsonText::new(one)?),
            several => Some(JsonText::new(&several)?),
        },
    })
}

fn read<T: serde::de::DeserializeOwned>(text: Option<&JsonText>, name: &str) -> anyhow::Result<Option<T>> {
    let Some(text) = text else { return Ok(None) };
    let read = serde_json::from_str(text.get());
    read.with_context(|| format!("what is kept cannot be read; --no-{name} forgets it"))
}

/// One budget for each period: a new amount takes the place of the old one, the rest of the budget stays.
fn budgets(flags: &LimitFlags, kept: Value) -> anyhow::Result<Vec<Value>> {
    let mut budgets = match kept {
        Value::Null => Vec::new(),
        Value::Array(list) => list,
        one => vec![one],
    };
    for text in &flags.budget {
        let Some((usd, per)) = text.split_once('/') else {
            bail!("--budget {text}: write US dollars and their period: --budget 50/month or --budget 5/day");
        };
        let same = |budget: &&mut Value| budget.get("per").is_some_and(|known| known == per);
        let mut found: Vec<&mut Value> = budgets.iter_mut().filter(same).collect();
        if found.len() > 1 {
            bail!(
                "there are several budgets per {per}, in different time zones: change them through the admin API, or forget them with --no-budget"
            );
        }
        let mut members = Map::from_iter([("usd".to_owned(), number(usd)), ("per".to_owned(), per.into())]);
        if let Some(zone) = &flags.budget_tz {
            members.insert("tz".to_owned(), zone.as_str().into());
        }
        match found.pop().and_then(Value::as_object_mut) {
            Some(budget) => budget.extend(members),
            None => budgets.push(Value::Object(members)),
        }
    }
    Ok(budgets)
}

/// Whole numbers as numbers; everything else as it was typed, so that no digit is lost.
fn number(text: &str) -> Value {
    text.parse::<u64>().map_or_else(|_| text.into(), Value::from)
}

/// The limits of a key in words.
pub(super) fn shown(key: &ClientKeyView) -> String {
    if key.limits.is_none() && key.budget.is_none() {
        return "none".to_owned();
    }
    let text = |member: &'_ Option<JsonText>| member.as_ref().map(|text| text.get().to_owned());
    match opm_config::stored_limits(text(&key.limits).as_deref(), text(&key.budget).as_deref()) {
        Ok(limits) => limits.to_string(),
        Err(problems) => {
            let why = problems.first().map(|problem| problem.message.as_str());
            format!("unreadable, so it is refused ({})", why.unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Option<JsonText> {
        serde_json::from_str(text).unwrap()
    }

    /// The order of members is the build's.
    fn value(text: Option<&JsonText>) -> Value {
        serde_json::from_str(text.unwrap().get()).unwrap()
    }

    fn flags(change: impl FnOnce(&mut LimitFlags)) -> LimitFlags {
        let mut flags = LimitFlags::default();
        change(&mut flags);
        flags
    }

    #[test]
    fn flags_become_the_json_of_the_config_file() {
        let flags = flags(|flags| {
            flags.tpm = Some("200k".into());
            flags.window = Some("60m".into());
            flags.rpm = Some("600".into());
            flags.budget = vec!["50.25/month".into()];
            flags.budget_tz = Some("Asia/Shanghai".into());
        });
        let wanted = wanted(&flags, None, None).unwrap();
        assert_eq!(
            value(wanted.limits.as_ref()),
            value(json(r#"{"rpm":600,"tpm":"200k","window":"60m"}"#).as_ref())
        );
        assert_eq!(
            value(wanted.budget.as_ref()),
            value(json(r#"{"per":"month","tz":"Asia/Shanghai","usd":"50.25"}"#).as_ref())
        );
        assert!(
            opm_config::stored_limits(
                wanted.limits.as_ref().map(JsonText::get),
                wanted.budget.as_ref().map(JsonText::get)
            )
            .is_ok()
        );
        assert_eq!(
            super::wanted(&LimitFlags::default(), None, None).unwrap(),
            Wanted::default()
        );
    }

    #[test]
    fn what_no_flag_names_stays() {
        let limits = json(r#"{"tpm":"1k","rpm":5,"mode":"estimate"}"#);
        let budget = json(r#"{"usd":50,"per":"month","action":"warn"}"#);
        let flags = flags(|flags| {
            flags.rpm = Some("9".into());
            flags.budget = vec!["60/month".into(), "5/day".into()];
        });
        let wanted = wanted(&flags, limits.as_ref(), budget.as_ref()).unwrap();
        assert_eq!(
            value(wanted.limits.as_ref()),
            value(json(r#"{"mode":"estimate","rpm":9,"tpm":"1k"}"#).as_ref())
        );
        assert_eq!(
            value(wanted.budget.as_ref()),
            value(json(r#"[{"action":"warn","per":"month","usd":60},{"per":"day","usd":5}]"#).as_ref())
        );
    }

    #[test]
    fn what_cannot_be_meant_is_said() {
        let budget = flags(|flags| flags.budget = vec!["50".into()]);
        assert!(
            wanted(&budget, None, None)
                .unwrap_err()
                .to_string()
                .contains("--budget 50/month")
        );
        let budget = flags(|flags| flags.budget = vec!["5/day".into()]);
        let two = json(r#"[{"usd":1,"per":"day"},{"usd":2,"per":"day","tz":"Asia/Shanghai"}]"#);
        assert!(
            wanted(&budget, None, two.as_ref())
                .unwrap_err()
                .to_string()
                .contains("several budgets per day")
        );
        let broken = json("\"tpm: 5\"");
        assert!(
            wanted(&budget, broken.as_ref(), None)
                .unwrap_err()
                .to_string()
                .contains("--no-limits")
        );
    }
}
