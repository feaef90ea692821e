//! `ENABLE_RATE_LIMITING` and its companions, with and without a file.

use std::time::Duration;

use opm_config::{Environment, Limit, Limits, Scope, Subject, compile_env};

use crate::{read_with, said};

fn users(tokens: u64, minutes: u64) -> Limit {
    Limit {
        name: "users".into(),
        by: vec![Subject::Key, Subject::User],
        scope: Scope::default(),
        limits: Limits {
            tokens: Some((tokens, Duration::from_secs(minutes * 60))),
            ..Limits::default()
        },
    }
}

/// The limits of an environment alone and beside a file.
fn limits(pairs: &[(&str, &str)], file: &str) -> [Vec<Limit>; 2] {
    let env = Environment::new(pairs.iter().copied());
    [compile_env(&env), read_with(file, &env)].map(|loaded| {
        assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
        loaded.config.unwrap().limits
    })
}

#[test]
fn rate_limiting_of_the_environment_is_per_key_and_user() {
    for on in ["true", "1", "TRUE"] {
        let pairs = [("ENABLE_RATE_LIMITING", on)];
        assert_eq!(limits(&pairs, ""), [[users(1000, 60)], [users(1000, 60)]]);
    }
    let pairs = [
        ("ENABLE_RATE_LIMITING", "1"),
        ("MAX_TOKENS", "200k"),
        ("RATE_LIMIT_WINDOW_MIN", "5"),
    ];
    assert_eq!(limits(&pairs, ""), [[users(200_000, 5)], [users(200_000, 5)]]);
    for off in ["false", "0", ""] {
        let pairs = [("ENABLE_RATE_LIMITING", off), ("MAX_TOKENS", "whatever")];
        assert!(limits(&pairs, "").iter().all(Vec::is_empty), "{off}");
    }
}

#[test]
fn limits_of_users_in_the_file_win_over_the_environment() {
    let pairs = [("ENABLE_RATE_LIMITING", "true"), ("MAX_TOKENS", "7")];
    let [_, filed] = limits(&pairs, "users: { limits: { rpm: 5 } }\n");
    assert_eq!(
        (filed.len(), filed[0].limits.tokens, filed[0].limits.requests),
        (1, None, Some(5))
    );
    let [_, budgeted] = limits(&pairs, "users: { budget: { usd: 5, per: day } }\n");
    assert_eq!((budgeted.len(), budgeted[0].limits.budgets.len()), (1, 1));
    assert_eq!(budgeted[0].limits.tokens, users(7, 60).limits.tokens);
    let [_, named] = limits(&pairs, "limits: [{ name: a, rpm: 5 }]\n");
    assert_eq!(named.len(), 2);
}

#[test]
fn bad_numbers_of_the_environment_are_named_beside_a_file_too() {
    for (name, value, expected) in [
        (
            "MAX_TOKENS",
            "lots",
            "E008 MAX_TOKENS is not a usable number | use a whole number between 1 and 9007199254740991",
        ),
        ("MAX_TOKENS", "0", "E008 MAX_TOKENS is not a usable number"),
        ("MAX_TOKENS", "-5", "E008 MAX_TOKENS is not a usable number"),
        (
            "RATE_LIMIT_WINDOW_MIN",
            "60m",
            "E008 RATE_LIMIT_WINDOW_MIN is not a usable number | use a whole number between 1 and 44640",
        ),
        (
            "RATE_LIMIT_WINDOW_MIN",
            "44641",
            "E008 RATE_LIMIT_WINDOW_MIN is not a usable number",
        ),
        (
            "ENABLE_RATE_LIMITING",
            "yes",
            "E004 ENABLE_RATE_LIMITING is neither true nor false",
        ),
    ] {
        let pairs = [("ENABLE_RATE_LIMITING", "true"), (name, value)];
        let env = Environment::new(pairs);
        for loaded in [
            compile_env(&env),
            read_with("", &env),
            read_with("users: { limits: { rpm: 1 } }\n", &env),
        ] {
            let found = said(&loaded.problems);
            assert!(
                found.len() == 1 && found[0].starts_with(expected),
                "{name}={value}: {found:?}"
            );
            assert!(loaded.config.is_none());
        }
    }
}
