//! `shared:` and `REDIS_URL`.

use std::time::Duration;

use opm_config::{Environment, OnFailure, Shared, compile_env};

use crate::{config, one_problem, read_with, said};

fn with_env(file: &str, url: &str) -> Option<Shared> {
    let loaded = read_with(file, &Environment::new([("REDIS_URL", url)]));
    assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
    loaded.config.unwrap().shared
}

#[test]
fn a_shared_store_has_defaults() {
    let found = config("shared: { redis_url: \"redis://:hunter22@cache:6379/1\" }\n");
    let shared = found.shared.unwrap();
    assert_eq!(shared.redis_url.expose(), "redis://:hunter22@cache:6379/1");
    assert_eq!(
        (shared.namespace.as_str(), shared.timeout),
        ("opm", Duration::from_millis(50))
    );
    assert_eq!(found.on_failure, OnFailure::Local);
    assert!(!format!("{shared:?}").contains("hunter22"));
    let text = "shared: { redis_url: unix:///run/redis.sock, namespace: prod.eu_1, timeout: 20ms, on_failure: deny }\n";
    let found = config(text);
    assert_eq!(found.on_failure, OnFailure::Deny);
    let shared = found.shared.unwrap();
    assert_eq!(
        (shared.namespace.as_str(), shared.timeout),
        ("prod.eu_1", Duration::from_millis(20))
    );
}

#[test]
fn the_address_may_ask_for_tls() {
    let url = "rediss://me:hunter22@cache:6380/1";
    let shared = config(&format!("shared: {{ redis_url: \"{url}\" }}\n"))
        .shared
        .unwrap();
    assert_eq!(shared.redis_url.expose(), url);
    assert_eq!(with_env("", url).unwrap().redis_url.expose(), url);
}

#[test]
fn the_policy_of_the_shared_store_is_for_limits_that_do_not_say_and_not_for_budgets() {
    let text = "shared: { on_failure: allow }\nusers: { limits: { rpm: 1 }, budget: { usd: 1, per: day } }\nlimits: [{ name: a, rpm: 1, on_failure: deny }]\n";
    let found = config(text).limits;
    assert_eq!(found[0].limits.on_failure, OnFailure::Allow);
    assert_eq!(found[0].limits.budgets[0].on_failure, OnFailure::Deny);
    assert_eq!(found[1].limits.on_failure, OnFailure::Deny);
}

#[test]
fn an_address_of_the_environment_counts_where_the_file_has_none() {
    let expose = |shared: Option<Shared>| shared.map(|shared| shared.redis_url.expose().to_owned());
    assert_eq!(expose(with_env("", "redis://env")), Some("redis://env".into()));
    assert_eq!(
        expose(with_env("shared: { redis_url: \"\" }\n", "redis://env")),
        Some("redis://env".into())
    );
    assert_eq!(
        expose(with_env(
            "shared: { redis_url: \"redis://file\" }\n",
            "redis://env"
        )),
        Some("redis://file".into())
    );
    let template = "shared: { redis_url: \"${REDIS_URL:-}\", namespace: eu }\n";
    assert_eq!(with_env(template, "redis://env").unwrap().namespace, "eu");
    assert!(config(template).shared.is_none());
    assert!(with_env("", " ").is_none());
    let alone = compile_env(&Environment::new([("REDIS_URL", "redis://env")]));
    assert!(alone.config.unwrap().shared.is_some());
}

#[test]
fn wrong_addresses_are_refused_without_repeating_them() {
    for (members, expected) in [
        (
            "redis_url: \"rediss://:hunter22@host#insecure\"",
            "E007 5:22 `redis_url` is not usable: certificates are always checked | take `#insecure` away",
        ),
        (
            "redis_url: hunter22",
            "E007 5:22 `redis_url` is not usable: it does not begin with redis://",
        ),
        ("redis_url: 5", "E007 5:22"),
        ("namespace: \"a b\"", "E004 5:22 `a b` is no namespace"),
        ("namespace: \"\"", "E004 5:22 `` is no namespace"),
        (
            "timeout: 0ms",
            "E008 5:20 the duration is out of range | it must be between 1ms and 5s",
        ),
        (
            "on_failure: closed",
            "E004 5:23 unknown word `closed` | the words are local, deny, allow",
        ),
        ("redis: x", "E002 5:11 unknown key `redis`"),
    ] {
        one_problem(&format!("shared: {{ {members} }}\n"), expected);
    }
    let env = Environment::new([("REDIS_URL", "rediss://:hunter22@host#insecure")]);
    for loaded in [compile_env(&env), read_with("", &env)] {
        let found = said(&loaded.problems);
        assert!(
            found[0].starts_with("E007 REDIS_URL is not usable: certificates are always checked"),
            "{found:?}"
        );
        assert!(!found[0].contains("hunter22"));
    }
}
