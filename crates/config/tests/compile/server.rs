//! Listeners, and the header that names users.

use opm_config::{Environment, compile_env};

use crate::{config, one_problem, problems, said};

#[test]
fn no_two_listeners_have_one_address() {
    const TOKEN: &str = "token: a-token-that-is-long-enough";
    for (text, expected) in [
        (
            "metrics: { listen: \"0.0.0.0:8080\" }\n".to_owned(),
            "E007 the proxy and the metrics would listen on the same address | give them different ports",
        ),
        (
            format!(
                "server: {{ listen: \"127.0.0.1:7000\" }}\nadmin: {{ listen: \"0.0.0.0:7000\", {TOKEN} }}\n"
            ),
            "E007 the proxy and the admin API would listen on the same address",
        ),
        (
            format!(
                "metrics: {{ listen: \"127.0.0.1:7000\" }}\nadmin: {{ listen: \"127.0.0.1:7000\", {TOKEN} }}\n"
            ),
            "E007 the metrics and the admin API would listen on the same address",
        ),
        (
            "server: { listen: \"127.0.0.1:8081\" }\nstorage: { url: \"sqlite::memory:\" }\n".to_owned(),
            "W007 the proxy and the admin API would listen on the same address | the admin API is not served",
        ),
    ] {
        one_problem(&text, expected);
    }
    // Nobody asks for an admin API.
    let alone = config("server: { listen: \"127.0.0.1:8081\" }\n");
    assert!(alone.admin_is_taken() && !config("").admin_is_taken());
}

#[test]
fn a_header_that_nobody_can_send_or_that_holds_a_secret_names_no_users() {
    assert_eq!(
        config("server: { user_header: X-User-Id }\n").user_header,
        "x-user-id"
    );
    for (name, expected) in [
        (
            "bad header",
            "E015 5:24 `bad header` is not the name of a header | name a header that says who asks",
        ),
        ("a:b", "E015 5:24 `a:b` is not the name of a header"),
        ("Authorization", "E015 5:24 `Authorization` holds a secret"),
    ] {
        one_problem(&format!("server: {{ user_header: \"{name}\" }}\n"), expected);
    }
    for name in ["x-api-key", "x-\u{fc}ser", "cookie"] {
        let found = said(&compile_env(&Environment::new([("USER_HEADER", name)])).problems);
        assert!(
            found
                .iter()
                .any(|problem| problem.starts_with("E015 USER_HEADER ")),
            "{found:?}"
        );
    }
    assert!(problems("").is_empty());
}
