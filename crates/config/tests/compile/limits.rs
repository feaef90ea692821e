//! `limits` and `budget` under keys, channels and users, and the list `limits:`.

use std::time::Duration;

use opm_config::{Budget, Limit, Limits, Mode, OnFailure, Per, Scope, Subject};

use crate::{config, one_problem, problems};

const HOUR: Duration = Duration::from_secs(3600);

/// The limits of the channel, whose line they stand in.
fn of_channel(members: &str) -> Limits {
    let text = format!(
        "channels: [{{ name: main, format: openai, base_url: 'http://up', keys: [k], {members} }}]\n"
    );
    let loaded = opm_config::compile_file("opm.yaml".as_ref(), &text, &opm_config::Environment::default());
    assert!(loaded.problems.is_empty(), "{members}: {:?}", loaded.problems);
    loaded.config.unwrap().channels.remove(0).limits
}

fn fifty_a_month() -> Budget {
    Budget {
        pico_usd: 50_000_000_000_000,
        per: Per::Month,
        zone: "UTC".into(),
        warn_at: vec![80, 100],
        blocks: true,
        mode: Mode::Strict,
        on_failure: OnFailure::Deny,
    }
}

#[test]
fn keys_channels_and_users_have_the_same_limits() {
    let members =
        "limits: { tpm: 200k, window: 60m, rpm: 600, concurrent: 20 }, budget: { usd: 50, per: month }";
    let expected = Limits {
        tokens: Some((200_000, HOUR)),
        requests: Some(600),
        concurrent: Some(20),
        budgets: vec![fifty_a_month()],
        mode: Mode::Strict,
        on_failure: OnFailure::Local,
    };
    assert_eq!(of_channel(members), expected);
    let users = config(&format!("users: {{ {members} }}\n")).limits;
    let by = vec![Subject::Key, Subject::User];
    let name = "users".to_owned();
    let scope = Scope::default();
    assert_eq!(
        users,
        [Limit {
            name,
            by,
            scope,
            limits: expected.clone()
        }]
    );
    let text = format!(
        "version: 1\nchannels: [{{ name: a, format: openai, keys: [k] }}]\nkeys: [{{ name: b, key: a-key-that-is-long-enough, {members} }}]\n"
    );
    let loaded = opm_config::compile_file("f".as_ref(), &text, &opm_config::Environment::default());
    assert_eq!(loaded.config.unwrap().keys[0].limits, expected);
}

#[test]
fn tokens_are_per_minute_unless_a_window_is_given_in_any_order() {
    let tokens = |members: &str| of_channel(&format!("limits: {{ {members} }}")).tokens;
    assert_eq!(tokens("tpm: 2M"), Some((2_000_000, Duration::from_secs(60))));
    assert_eq!(tokens("window: 1s, tpm: 1"), Some((1, Duration::from_secs(1))));
    assert_eq!(tokens("tpm: 1_000, window: 31d"), Some((1000, 744 * HOUR)));
    assert_eq!(
        tokens("tpm: \"9007199254740991\""),
        Some(((1 << 53) - 1, Duration::from_secs(60)))
    );
    assert_eq!(of_channel("limits:").tokens, None);
}

#[test]
fn how_limits_reserve_and_fail_is_said_apart_for_budgets() {
    let limits = of_channel(
        "limits: { rpm: 1, mode: estimate, on_failure: allow }, \
         budget: [{ usd: 1, per: day, mode: estimate, on_failure: local }, { usd: 2, per: month, action: warn }]",
    );
    assert_eq!(
        (limits.mode, limits.on_failure),
        (Mode::Estimate, OnFailure::Allow)
    );
    let day = Budget {
        pico_usd: 1_000_000_000_000,
        per: Per::Day,
        mode: Mode::Estimate,
        on_failure: OnFailure::Local,
        ..fifty_a_month()
    };
    let month = Budget {
        pico_usd: 2_000_000_000_000,
        blocks: false,
        on_failure: OnFailure::Allow,
        ..fifty_a_month()
    };
    assert_eq!(limits.budgets, [day, month]);
}

#[test]
fn amounts_of_money_are_exact_to_the_picodollar() {
    for (usd, pico_usd) in [
        ("0.000001", 1_000_000),
        ("50.25", 50_250_000_000_000),
        ("\"50.25\"", 50_250_000_000_000),
        ("0.1", 100_000_000_000),
        ("1.000000000001", 1_000_000_000_001),
        // More digits than a floating point number holds.
        ("9007198.123456789012", 9_007_198_123_456_789_012),
        ("9007199", 9_007_199_000_000_000_000),
    ] {
        let found = of_channel(&format!("budget: {{ usd: {usd}, per: day }}"));
        assert_eq!(found.budgets[0].pico_usd, pico_usd, "{usd}");
    }
}

#[test]
fn a_budget_has_a_zone_and_reports_on_its_way() {
    let budget = |members: &str| {
        of_channel(&format!("budget: {{ usd: 1, per: day, {members} }}"))
            .budgets
            .remove(0)
    };
    assert_eq!(budget("tz: Asia/Shanghai").zone, "Asia/Shanghai");
    // One zone, one name: it is part of what a counter is found by.
    assert_eq!(budget("tz: utc").zone, "UTC");
    assert_eq!(budget("at: [100%, 50%, 50%]").warn_at, [50, 100]);
    assert_eq!(budget("at: 90%").warn_at, [90]);
    assert!(budget("at: []").warn_at.is_empty());
}

#[test]
fn wrong_limits_are_pointed_out() {
    for (members, expected) in [
        (
            "limits: { tmp: 5 }",
            "E002 5:20 unknown key `tmp` | did you mean `tpm`?",
        ),
        (
            "limits: { tpm: 0 }",
            "E008 5:25 the number is out of range | it must be between 1 and 9007199254740991",
        ),
        ("limits: { rpm: -5 }", "E008 5:25 the number is out of range"),
        (
            "limits: { tpm: 9007199254740992 }",
            "E008 5:25 the number is out of range",
        ),
        (
            "limits: { tpm: 200 thousand }",
            "E008 5:25 `200 thousand` is not a number | write a whole number: 600, 200k, 2M",
        ),
        (
            "limits: { concurrent: 1.5 }",
            "E003 5:32 a whole number was expected, found a decimal number",
        ),
        (
            "limits: { tpm: [1] }",
            "E003 5:25 a whole number was expected, found a list",
        ),
        (
            "limits: { tpm: 1, window: 60 }",
            "E008 5:36 `60` is not a duration",
        ),
        (
            "limits: { tpm: 1, window: 999ms }",
            "E008 5:36 the duration is out of range | it must be between 1s and 31d",
        ),
        (
            "limits: { tpm: 1, window: 32d }",
            "E008 5:36 the duration is out of range",
        ),
        (
            "limits: { rpm: 1, window: 1h }",
            "E005 5:28 `window` is the window of `tpm`, which is missing | add `tpm`",
        ),
        (
            "limits: { rpm: 1, mode: loose }",
            "E004 5:34 unknown word `loose` | the words are strict, estimate",
        ),
        (
            "limits: { rpm: 1, on_failure: open }",
            "E004 5:40 unknown word `open` | the words are local, deny, allow",
        ),
        (
            "limits: {}",
            "E005 5:18 `limits` limits nothing | give `tpm`, `rpm` or `concurrent`",
        ),
        (
            "limits: 5",
            "E003 5:18 `limits` must be a mapping, found a number",
        ),
        (
            "limit: {}",
            "E002 5:10 unknown key `limit` | did you mean `limits`?",
        ),
    ] {
        one_problem(&format!("users: {{ {members} }}\n"), expected);
    }
}

#[test]
fn wrong_budgets_are_pointed_out() {
    for (members, expected) in [
        (
            "{}",
            "E005 5:18 a budget needs `usd` and `per` | write { usd: 50, per: month }",
        ),
        ("{ usd: 5 }", "E005 5:18 a budget needs `per`"),
        ("{ per: day }", "E005 5:18 a budget needs `usd`"),
        ("50", "E003 5:18 `budget` must be a mapping, found a number"),
        (
            "{ usd: 0, per: day }",
            "E008 5:25 the number is out of range | it must be between 0.000001 and 9007199",
        ),
        (
            "{ usd: 0.0000009, per: day }",
            "E008 5:25 the number is out of range",
        ),
        (
            "{ usd: 9007199.1, per: day }",
            "E008 5:25 the number is out of range",
        ),
        (
            "{ usd: 99999999999999999999, per: day }",
            "E008 5:25 the number is out of range",
        ),
        (
            "{ usd: 1e3, per: day }",
            "E008 5:25 `1e3` is not such a number | write a plain number with at most 12 decimals",
        ),
        (
            "{ usd: 0.1234567890123, per: day }",
            "E008 5:25 `0.1234567890123` is not such a number",
        ),
        ("{ usd: $5, per: day }", "E008 5:25 `$5` is not such a number"),
        ("{ usd: -5, per: day }", "E008 5:25 `-5` is not such a number"),
        (
            "{ usd: true, per: day }",
            "E003 5:25 a number was expected, found a boolean",
        ),
        (
            "{ usd: 5, per: week }",
            "E004 5:33 unknown word `week` | the words are day, month",
        ),
        (
            "{ usd: 5, per: day, tz: Asia/Shangai }",
            "E004 5:42 no time zone is named `Asia/Shangai` | did you mean `Asia/Shanghai`?",
        ),
        (
            "{ usd: 5, per: day, tz: Beijing-time }",
            "E004 5:42 no time zone is named `Beijing-time` | write an IANA name",
        ),
        (
            "{ usd: 5, per: day, at: 80 }",
            "E008 5:42 `80` is not a percentage",
        ),
        (
            "{ usd: 5, per: day, at: [101%] }",
            "E008 5:43 `101%` is not a percentage",
        ),
        (
            "{ usd: 5, per: day, action: stop }",
            "E004 5:46 unknown word `stop` | the words are block, warn",
        ),
        (
            "{ usd: 5, per: day, on_failure: closed }",
            "E004 5:50 unknown word `closed`",
        ),
        (
            "{ usd: 5, per: day, every: day }",
            "E002 5:38 unknown key `every`",
        ),
        (
            "[{ usd: 5, per: day }, { usd: 9, per: day, tz: utc }]",
            "E006 5:41 another budget has this period and time zone",
        ),
    ] {
        one_problem(&format!("users: {{ budget: {members} }}\n"), expected);
    }
}

#[test]
fn a_named_limit_says_whom_it_concerns_and_what_it_counts_apart() {
    let text = "limits:\n- name: free-models\n  by: [user, model]\n  keys: [team-a]\n  users: [\"*@example.com\"]\n  models: [\"gpt-*\", o3]\n  channels: [main]\n  tpm: 1k\n  window: 60m\n  on_failure: deny\n  budget: { usd: 50, per: month }\n- { name: everybody_2, by: key, concurrent: 3 }\n- { name: money, budget: [{ usd: 50, per: month }] }\n";
    let found = config(text).limits;
    let list = |items: &[&str]| {
        items
            .iter()
            .map(|item| (*item).to_owned())
            .collect::<Vec<String>>()
    };
    let first = Limit {
        name: "free-models".into(),
        by: vec![Subject::User, Subject::Model],
        scope: Scope {
            keys: list(&["team-a"]),
            users: list(&["*@example.com"]),
            models: list(&["gpt-*", "o3"]),
            channels: list(&["main"]),
        },
        limits: Limits {
            tokens: Some((1000, HOUR)),
            on_failure: OnFailure::Deny,
            budgets: vec![fifty_a_month()],
            ..Limits::default()
        },
    };
    assert_eq!(found[0], first);
    assert_eq!(
        (found[1].by.as_slice(), found[1].limits.concurrent),
        (&[Subject::Key][..], Some(3))
    );
    assert_eq!(found[2].limits.budgets, [fifty_a_month()]);
}

#[test]
fn wrong_named_limits_are_pointed_out() {
    for (members, expected) in [
        ("{ rpm: 1 }", "E005 6:3 a limit needs `name`"),
        (
            "{ name: A, rpm: 1 }",
            "E004 6:11 `A` is no name for a limit | take 1 to 40 of a-z",
        ),
        ("{ name: \"\", rpm: 1 }", "E004 6:11 `` is no name"),
        (
            "{ name: a23456789b123456789c123456789d1234567890x, rpm: 1 }",
            "E004 6:11",
        ),
        ("{ name: users, rpm: 1 }", "E006 6:11 `users` is taken"),
        ("{ name: key, rpm: 1 }", "E006 6:11 `key` is taken"),
        (
            "{ name: a }",
            "E005 6:3 the limit limits nothing | give `tpm`, `rpm`, `concurrent` or `budget`",
        ),
        (
            "{ name: a, by: [keys], rpm: 1 }",
            "E004 6:19 unknown word `keys` | did you mean `key`?",
        ),
        (
            "{ name: a, chanels: [main], rpm: 1 }",
            "E002 6:14 unknown key `chanels` | did you mean `channels`?",
        ),
        (
            "{ name: a, channels: [mian], rpm: 1 }",
            "E012 6:25 no channel is named `mian` | did you mean `main`?",
        ),
        (
            "{ name: a, keys: [team-b], rpm: 1 }",
            "W004 6:21 no client key is named `team-b`; did you mean `team-a`?",
        ),
        (
            "{ name: a, models: [\"\"], rpm: 1 }",
            "E004 6:23 an empty name fits nothing",
        ),
        ("{ name: a, rpm: 0 }", "E008 6:19"),
        (
            "{ name: a, rpm: 1 }\n- { name: a, tpm: 1 }",
            "E006 7:3 another limit is named `a`",
        ),
        (
            "just-a-name",
            "E003 6:3 `a limit` must be a mapping, found a text",
        ),
    ] {
        one_problem(&format!("limits:\n- {members}\n"), expected);
    }
    one_problem(
        "limits: { name: a }\n",
        "E003 5:9 `limits` must be a list, found a mapping",
    );
}

#[test]
fn what_may_be_in_the_store_is_not_an_error() {
    let storage = "storage: { url: 'sqlite:./opm.db' }\nlimits:\n";
    let text = format!("{storage}- {{ name: a, keys: [team-b], rpm: 1 }}\n");
    assert_eq!(config(&text).limits[0].scope.keys, ["team-b"]);
    let text = format!("{storage}- {{ name: a, channels: [mian], rpm: 1 }}\n");
    one_problem(
        &text,
        "W004 7:25 no channel of the file is named `mian`; did you mean `main`?",
    );
}

#[test]
fn the_order_of_the_file_does_not_matter() {
    let text = "limits: [{ name: a, channels: [b], keys: [c], rpm: 1 }]\nkeys: [{ name: c, key: a-key-that-is-long-enough, limits: { rpm: 1 } }]\nchannels: [{ name: b, format: openai, keys: [k], limits: { rpm: 1 } }]\nshared: { on_failure: deny }\n";
    let loaded = opm_config::compile_file("f".as_ref(), text, &opm_config::Environment::default());
    assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
    let config = loaded.config.unwrap();
    for limits in [
        &config.limits[0].limits,
        &config.keys[0].limits,
        &config.channels[0].limits,
    ] {
        assert_eq!(limits.on_failure, OnFailure::Deny);
    }
}

#[test]
fn several_mistakes_are_shown_at_once_in_the_order_of_the_file() {
    let found = problems("users:\n  limits: { tpm: 0, rpm: x }\n  budget: { usd: 5, per: week, tz: Mars }\n");
    assert_eq!(found.len(), 4, "{found:?}");
    let found = problems(
        "storage: { sync: never }\nlimits: [{ name: A, rpm: 1 }]\nprices: [{ models: [m] }]\nusers: 5\n",
    );
    let lines: Vec<&str> = found
        .iter()
        .filter_map(|problem| problem.split([' ', ':']).nth(1))
        .collect();
    assert_eq!(lines, ["5", "6", "7", "8"], "{found:?}");
}

#[test]
fn what_a_channel_really_costs_is_exact() {
    let cost = |text: &str| {
        let text = format!("channels: [{{ name: a, format: openai, keys: [k], cost_multiplier: {text} }}]\n");
        opm_config::compile_file("f".as_ref(), &text, &opm_config::Environment::default())
    };
    for (text, millionths) in [
        ("0.8", 800_000),
        ("1", 1_000_000),
        ("0", 0),
        ("\"1.25\"", 1_250_000),
        ("1000", 1_000_000_000),
    ] {
        assert_eq!(
            cost(text).config.unwrap().channels[0].cost_millionths,
            millionths,
            "{text}"
        );
    }
    for text in ["-1", "0.0000001", "1001", "80%", "[1]"] {
        assert!(cost(text).config.is_none(), "{text}");
    }
}
