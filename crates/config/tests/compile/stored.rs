//! Limits that were made at run time.

use std::time::Duration;

use opm_config::{Limits, Named, OnFailure, Per, add_stored, stored_limits};

use crate::{config, said};

#[test]
fn stored_limits_have_the_members_of_the_file() {
    let limits = r#"{"tpm":"200k","window":"60m","rpm":600,"concurrent":20,"on_failure":"deny"}"#;
    let found = stored_limits(
        Some(limits),
        Some(r#"{"usd":50.25,"per":"month","tz":"Asia/Shanghai"}"#),
    )
    .unwrap();
    assert_eq!(found.tokens, Some((200_000, Duration::from_secs(3600))));
    assert_eq!(
        (found.requests, found.concurrent, found.on_failure),
        (Some(600), Some(20), OnFailure::Deny)
    );
    assert_eq!(
        (found.budgets[0].pico_usd, found.budgets[0].per),
        (50_250_000_000_000, Per::Month)
    );
    let two = stored_limits(None, Some(r#"[{"usd":1,"per":"day"},{"usd":"9","per":"month"}]"#)).unwrap();
    assert_eq!(two.budgets.len(), 2);
    assert_eq!(stored_limits(None, None), Ok(Limits::default()));
    assert_eq!(stored_limits(Some("null"), Some("null")), Ok(Limits::default()));
}

#[test]
fn every_problem_of_stored_limits_has_a_json_pointer() {
    let problems = |limits, budget| said(&stored_limits(limits, budget).unwrap_err());
    assert_eq!(
        problems(
            Some(r#"{"tpm":0,"rmp":5}"#),
            Some(r#"[{"usd":1,"per":"day"},{"usd":"a/b","per":"week"}]"#)
        ),
        [
            "E008 /limits/tpm: the number is out of range | it must be between 1 and 9007199254740991; leave it out for no limit",
            "E002 /limits/rmp: unknown key `rmp` | did you mean `rpm`?",
            "E008 /budget/1/usd: `a/b` is not such a number | write a plain number with at most 12 decimals, for example 1.25",
            "E004 /budget/1/per: unknown word `week` | the words are day, month",
        ]
    );
    assert_eq!(
        problems(Some("{\"a/b~\": 1, \"rpm\": 1}"), None)[0]
            .split(':')
            .next(),
        Some("E002 /limits/a~1b~0")
    );
    assert!(problems(Some("{}"), None)[0].starts_with("E005 /limits: `limits` limits nothing"));
    assert!(problems(Some("[1]"), None)[0].starts_with("E003 /limits: `limits` must be a mapping"));
    assert!(problems(Some("{\"rpm\":"), None)[0].starts_with("E001 /limits: "));
    // What stands in the store never learns of the environment.
    assert!(problems(Some(r#"{"rpm":"${HOME}"}"#), None)[0].starts_with("E009 /limits/rpm"));
}

#[test]
fn what_stored_limits_do_not_say_is_as_the_file_says() {
    let mut filed = config("shared: { on_failure: deny }\n");
    let found = filed.stored_limits(Some(r#"{"rpm":1}"#), None).unwrap();
    assert_eq!(found.on_failure, OnFailure::Deny);
    let named = Named {
        name: "kept".into(),
        definition:
            r#"{"format":"openai","limits":{"rpm":1},"budget":{"usd":1,"per":"day"},"cost_multiplier":0.5}"#
                .into(),
        keys: Vec::new(),
    };
    assert_eq!(add_stored(&mut filed, &[named], None), []);
    let kept = filed.channels.last().unwrap();
    assert_eq!(
        (kept.limits.on_failure, kept.limits.requests),
        (OnFailure::Deny, Some(1))
    );
    assert_eq!((kept.limits.budgets.len(), kept.cost_millionths), (1, 500_000));
}
