//! The commands that work on the store and on the running gateway, as processes.

#![expect(clippy::unwrap_used, reason = "tests may")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread::JoinHandle;

use serde_json::Value;
use tempfile::TempDir;

const TOKEN: &str = "an-admin-token-for-tests";

/// A folder with a configuration.
struct Place(TempDir);

impl Place {
    fn new(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "version: 1\nchannels:\n  - name: main\n    format: openai\n    base_url: http://127.0.0.1:9\n    keys: [sk-provider-0123456789]\n{more}"
        );
        std::fs::write(folder.path().join("opm.yaml"), text).unwrap();
        Place(folder)
    }

    fn stored() -> Self {
        Place::new("storage: { url: \"sqlite:./opm.db\" }\n")
    }

    fn admin(port: u16) -> Self {
        Place::new(&format!(
            "admin: {{ listen: \"127.0.0.1:{port}\", token: {TOKEN} }}\n"
        ))
    }

    fn run(&self, args: &[&str]) -> Output {
        self.fed(args, "")
    }

    fn fed(&self, args: &[&str], input: &str) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_opm"))
            .args(args)
            .current_dir(self.0.path())
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that does not read its input may be gone already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    fn json(&self, args: &[&str]) -> Value {
        let output = self.run(&[args, &["--format", "json"]].concat());
        assert!(output.status.success(), "{args:?}: {}", err(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_key_is_created_shown_rotated_and_revoked_and_every_step_is_audited() {
    let place = Place::stored();
    let args = [
        "keys",
        "create",
        "--name",
        "team-a",
        "--channel",
        "main",
        "--model",
        "gpt-*",
        "--network",
        "10.0.0.0/8",
    ];
    let issued = place.json(&args);
    let (id, key) = (issued["id"].as_str().unwrap(), issued["key"].as_str().unwrap());
    assert!(key.starts_with(&format!("sk-opm-{id}-")));
    assert_eq!(issued["name"], "team-a");
    let list = place.json(&["keys", "list"]);
    assert_eq!(list["keys"][0]["channels"][0], "main");
    assert!(!list.to_string().contains(&key[16..]));
    let shown = place.run(&["keys", "show", "team-a"]);
    assert!(out(&shown).contains("networks   10.0.0.0/8\n"), "{}", out(&shown));
    let rotated = place.json(&["keys", "rotate", id]);
    assert_ne!(rotated["key"], issued["key"]);
    let revoked = place.run(&["keys", "revoke", "team-a", "-c", "opm.yaml"]);
    assert!(
        out(&revoked).contains(&format!("client key {id} `team-a` is revoked")),
        "{}",
        err(&revoked)
    );
    for name in [id, "team-a"] {
        assert_eq!(place.json(&["keys", "show", name])["state"], "revoked");
    }
    let table = place.run(&["keys", "list"]);
    assert!(
        out(&table).starts_with("ID        NAME    STATE    KEY"),
        "{}",
        out(&table)
    );
    let store = block_on(opm_store::open(&format!(
        "sqlite:{}",
        place.0.path().join("opm.db").display()
    )));
    let audit = block_on(store.unwrap().audits(10, None)).unwrap();
    let done: Vec<String> = audit
        .iter()
        .map(|record| format!("{} {}", record.entry.actor, record.entry.action))
        .collect();
    assert_eq!(done, ["cli key.revoke", "cli key.rotate", "cli key.create"]);
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(future)
}

#[test]
fn a_key_is_made_with_limits_that_can_be_changed_and_forgotten() {
    let place = Place::stored();
    let args = [
        "keys",
        "create",
        "--name",
        "app",
        "--tpm",
        "200k",
        "--window",
        "60m",
        "--rpm",
        "600",
        "--concurrent",
        "20",
        "--budget",
        "50.25/month",
        "--budget-tz",
        "Asia/Shanghai",
    ];
    place.json(&args);
    let shown = out(&place.run(&["keys", "show", "app"]));
    let words =
        "200k tokens per 1h, 600 requests per minute, 20 at a time, 50.25 USD per month of Asia/Shanghai";
    assert!(shown.contains(&format!("limits     {words}\n")), "{shown}");
    let listed = out(&place.run(&["keys", "list"]));
    assert!(listed.lines().nth(1).unwrap().ends_with(words), "{listed}");
    let view = place.json(&["keys", "list"])["keys"][0].clone();
    assert_eq!(
        (&view["limits"]["tpm"], &view["limits"]["rpm"]),
        (&"200k".into(), &600.into())
    );
    let changed = place.run(&["keys", "update", "app", "--rpm", "900", "--budget", "60/month"]);
    let words = words.replace("600", "900").replace("50.25", "60");
    assert!(
        out(&changed).contains(&words),
        "{}{}",
        out(&changed),
        err(&changed)
    );
    let forgotten = place.json(&[
        "keys",
        "update",
        "app",
        "--no-limits",
        "--no-budget",
        "--budget",
        "5/day",
    ]);
    assert_eq!(
        (&forgotten["limits"], &forgotten["budget"]["usd"]),
        (&Value::Null, &5.into())
    );
    for (args, text) in [
        (&["keys", "update", "app"] as &[_], "nothing is to be changed"),
        (&["keys", "update", "ap", "--rpm", "5"], "did you mean `app`?"),
        (
            &["keys", "update", "app", "--rpm", "0"],
            "/limits/rpm: the number is out of range",
        ),
        (
            &["keys", "update", "app", "--window", "1h"],
            "/limits/window: `window` is the window of `tpm`",
        ),
        (
            &["keys", "create", "--name", "b", "--budget", "50"],
            "--budget 50/month",
        ),
        (
            &["keys", "create", "--name", "b", "--budget", "50/week"],
            "/budget/per: unknown word `week`",
        ),
        (
            &["keys", "create", "--name", "b", "--tpm", "lots"],
            "/limits/tpm: `lots` is not a number; write a whole number",
        ),
    ] {
        let output = place.run(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(err(&output).contains(text), "{args:?}: {}", err(&output));
    }
    let keys = place.json(&["keys", "list"]);
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1);
}

#[test]
fn a_new_key_stands_alone_on_standard_output() {
    let place = Place::stored();
    let output = place.run(&["keys", "create", "--name", "a"]);
    let text = out(&output);
    assert!(opm_core::client_key::parse(text.trim_end()).is_some(), "{text}");
    assert!(err(&output).contains("shown this once"));
}

#[test]
fn key_commands_say_what_is_wrong_and_what_to_do() {
    let without = Place::new("");
    let output = without.run(&["keys", "list"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(err(&output).contains("add `storage:"), "{}", err(&output));
    let memory = Place::new("storage: { url: \"sqlite::memory:\" }\n");
    assert_eq!(memory.run(&["keys", "list"]).status.code(), Some(78));
    let broken = Place::new("stroage: 1\n").run(&["keys", "list"]);
    assert_eq!(broken.status.code(), Some(78));
    assert!(
        err(&broken).contains("did you mean `storage`?"),
        "{}",
        err(&broken)
    );
    let place = Place::stored();
    let output = place.run(&["keys", "list"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        err(&output).contains("there is no store at /"),
        "{}",
        err(&output)
    );
    place.json(&["keys", "create", "--name", "team-a"]);
    for (args, text) in [
        (
            &["keys", "create", "--name", "team-a"] as &[_],
            "`team-a` exists already",
        ),
        (
            &["keys", "create", "--name", "b", "--channel", "mian"],
            "did you mean `main`?",
        ),
        (
            &["keys", "create", "--name", "b", "--expires", "soon"],
            "write 2027-06-30",
        ),
        (
            &["keys", "revoke", "team-b"],
            "there is no client key `team-b`; did you mean `team-a`?",
        ),
    ] {
        let output = place.run(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(err(&output).contains(text), "{args:?}: {}", err(&output));
    }
}

#[test]
fn a_key_made_under_another_pepper_is_not_handed_out() {
    let place = Place::stored();
    place.json(&["keys", "create", "--name", "a"]);
    std::fs::remove_file(place.0.path().join("opm.db.pepper")).unwrap();
    let output = place.run(&["keys", "create", "--name", "b"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("pepper"), "{}", err(&output));
    assert!(output.stdout.is_empty());
}

#[test]
fn a_hash_fits_the_config_file() {
    let place = Place::stored();
    let output = place.fed(&["keys", "hash"], "0123456789abcdef0123\n");
    let text = format!("keys: [{{ name: a, hash: \"{}\" }}]\n", out(&output).trim_end());
    let checked = Place::new(&text).run(&["check"]);
    assert!(checked.status.success(), "{}", err(&checked));
    assert_eq!(place.fed(&["keys", "hash"], "short\n").status.code(), Some(1));
}

#[test]
fn a_check_lists_every_limit_of_a_valid_file() {
    let plain = Place::new("").run(&["check"]);
    assert_eq!(out(&plain), "./opm.yaml: valid\n");
    let text = "keys: [{ name: team-a, key: a-key-that-is-long-enough, limits: { rpm: 600 } }]\nusers: { budget: { usd: 5, per: day } }\nlimits: [{ name: large, by: user, models: [\"gpt-5*\"], keys: [team-a], tpm: 10k }]\nshared: { redis_url: \"redis://:hunter22@cache\" }\n";
    let output = Place::new(text).run(&["check"]);
    let expected = "./opm.yaml: valid

LIMIT       COUNTED APART BY  FOR                         HOW MUCH
key team-a  -                 -                           600 requests per minute
users       key, user         all                         5 USD per day
large       user              keys team-a; models gpt-5*  10k tokens per 1m

counted by all instances of `opm` together, over Redis
";
    assert_eq!(out(&output), expected, "{}", err(&output));
}

/// Answers one request and gives back its head and body.
fn answering(status: u16, headers: &str, body: &str) -> (u16, JoinHandle<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let thread = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream);
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if let Some(number) = line.strip_prefix("content-length: ") {
                length = number.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
            head.push_str(&line);
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        reader.get_mut().write_all(answer.as_bytes()).unwrap();
        (head, String::from_utf8(body).unwrap())
    });
    (port, thread)
}

const REPORT: &str = r#"{"channel":"main","model":"m","ok":false,"status":503,"time_to_first_token_ms":null,"total_ms":7,"error":"overloaded","models":[]}"#;

#[test]
fn a_channel_that_is_not_well_ends_in_code_3() {
    let (port, asked) = answering(200, "", REPORT);
    let output = Place::admin(port).run(&["channels", "test", "ma in", "--model", "m"]);
    assert_eq!(output.status.code(), Some(3), "{}", err(&output));
    assert_eq!(
        out(&output),
        "channel main is not well, model m, status 503, 7 ms in all: overloaded\n"
    );
    let (head, body) = asked.join().unwrap();
    assert!(
        head.starts_with("POST /api/v1/channels/ma%20in/test HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(head.contains(&format!("authorization: Bearer {TOKEN}\r\n")));
    assert_eq!(body, r#"{"model":"m"}"#);
    let (port, _asked) = answering(200, "", &REPORT.replace("false", "true"));
    assert!(
        Place::admin(port)
            .run(&["channels", "test", "main", "--format", "json"])
            .status
            .success()
    );
}

#[test]
fn a_question_is_put_as_it_was_typed() {
    let answer = r#"{"model":"m","format":"messages","key":null,"strategy":"weighted","route":null,"sticky":false,"last_resort":false,"refusal":"no channel serves this model","candidates":[],"skipped":[{"channel":"main","reason":"does not serve the model"}],"attempts":[],"status":null,"at":null}"#;
    let (port, asked) = answering(200, "", answer);
    let args = [
        "explain",
        "--model",
        "a/b",
        "--key",
        "team",
        "--format",
        "messages",
        "--header",
        "x-tier=g d",
    ];
    let output = Place::admin(port).run(&args);
    assert!(
        out(&output).contains("refused   no channel serves this model\n"),
        "{}",
        err(&output)
    );
    let (head, _) = asked.join().unwrap();
    let line = head.lines().next().unwrap();
    assert_eq!(
        line,
        "GET /api/v1/explain?model=a%2Fb&format=messages&key=team&header.x-tier=g%20d HTTP/1.1"
    );
    let (port, asked) = answering(
        404,
        "",
        r#"{"error":{"code":"not_found","message":"no request","help":"look"}}"#,
    );
    let output = Place::admin(port).run(&["explain", "--request", "req_1", "--format", "json"]);
    assert_eq!(
        (output.status.code(), err(&output).as_str()),
        (Some(1), "opm: no request; look\n")
    );
    assert!(asked.join().unwrap().0.starts_with("GET /api/v1/explain/req_1 "));
}

#[test]
fn a_reload_shows_what_changed_or_every_problem() {
    let answer = r#"{"changed":["channel main: weight"],"warnings":[],"needs_restart":["server.listen"]}"#;
    let (port, _asked) = answering(200, "", answer);
    let output = Place::admin(port).run(&["reload"]);
    assert_eq!(out(&output), "channel main: weight\n", "{}", err(&output));
    assert!(err(&output).contains("after a restart only: server.listen"));
    let refused = r#"{"error":{"code":"invalid","message":"no","problems":[{"severity":"error","code":"E002","message":"unknown key `x`","line":3,"column":5,"help":"did you mean `y`?"}]}}"#;
    let (port, _asked) = answering(422, "", refused);
    let output = Place::admin(port).run(&["reload"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(
        err(&output).starts_with(
            "error[E002]: unknown key `x`\n --> line 3, column 5\n  = help: did you mean `y`?\n"
        )
    );
}

#[test]
fn a_gateway_that_is_not_there_or_refuses_is_explained() {
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let output = Place::admin(closed).run(&["channels", "list"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        err(&output).contains("start it with `opm serve`"),
        "{}",
        err(&output)
    );
    let (port, _asked) = answering(401, "", r#"{"error":{"code":"unauthorized","message":"no"}}"#);
    let output = Place::admin(port).run(&["reload"]);
    assert!(
        err(&output).contains("does not take the admin token from `admin.token` in"),
        "{}",
        err(&output)
    );
    assert!(!err(&output).contains(TOKEN));
    let (port, _asked) = answering(
        200,
        "x-opm-pending: not yet\r\n",
        r#"{"name":"main","in_force":null,"stored":null}"#,
    );
    let output = Place::admin(port).run(&["channels", "drain", "main"]);
    assert!(
        err(&output).contains("not in force yet: not yet"),
        "{}",
        err(&output)
    );
}

#[test]
fn without_a_token_nothing_is_sent_and_none_is_made() {
    let output = Place::new("").run(&["channels", "list"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(err(&output).contains("OPM_ADMIN_TOKEN"), "{}", err(&output));
    let place = Place::stored();
    let output = place.run(&["channels", "list"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        err(&output).contains("opm.db.admin: the gateway makes it"),
        "{}",
        err(&output)
    );
    assert!(!Path::new(&place.0.path().join("opm.db.admin")).exists());
}

#[test]
fn every_help_of_these_commands_has_three_examples() {
    let place = Place::stored();
    for command in [
        "keys",
        "keys create",
        "keys list",
        "keys show",
        "keys update",
        "keys revoke",
        "keys rotate",
        "keys hash",
        "channels",
        "channels list",
        "channels test",
        "channels drain",
        "channels enable",
        "channels disable",
        "reload",
        "explain",
        "usage",
        "logs",
        "logs tail",
        "logs show",
    ] {
        let args: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        let text = out(&place.run(&args));
        let examples = text.split("Examples:\n").nth(1).unwrap_or_default();
        let count = examples
            .lines()
            .filter(|line| line.contains(&format!("opm {command}")))
            .count();
        assert!(count >= 3, "{command}: {text}");
    }
}
