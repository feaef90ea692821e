//! `opm usage` and `opm logs` as processes, on rows that were put into a store of SQLite or Postgres.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests may"
)]

#[path = "../../store/tests/conformance/postgres_server.rs"]
mod postgres_server;

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use opm_store::{AttemptOutcome, Billed, NewKey, Store, UsageRow, UsageSource};
use serde_json::Value;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// A request of the key `team` that ended so many milliseconds ago.
fn row(request: &str, age_ms: i64) -> UsageRow {
    let at_ms = now_ms() - age_ms;
    UsageRow {
        request_id: request.into(),
        attempt: 1,
        started_ms: at_ms - 3_210,
        at_ms,
        key_id: "key00001".into(),
        user: "ann".into(),
        model: "gpt-4o".into(),
        upstream_model: "opus-5".into(),
        channel: "one".into(),
        format: "chat".into(),
        upstream_format: "messages".into(),
        status: 200,
        input: 1_200,
        output: 340,
        cached_input: 1_100,
        cache_write: 0,
        reasoning: 20,
        cost_pico_usd: Some(8_112_500_000),
        held: 0,
        held_cost: 0,
        billed: Billed::Yes,
        source: UsageSource::Reported,
        outcome: AttemptOutcome::Answered,
        ttft_ms: Some(410),
        total_ms: 3_210,
        budgets: [].into(),
    }
}

fn failed(request: &str, age_ms: i64) -> UsageRow {
    UsageRow {
        outcome: AttemptOutcome::Failed,
        status: 502,
        key_id: "static:file".into(),
        user: "".into(),
        model: "claude".into(),
        upstream_model: "claude".into(),
        upstream_format: "chat".into(),
        channel: "two".into(),
        source: UsageSource::Estimated,
        held: 0,
        billed: Billed::Estimated,
        cost_pico_usd: None,
        ttft_ms: None,
        total_ms: 90,
        ..row(request, age_ms)
    }
}

/// A first attempt that another one followed.
fn retried(request: &str, age_ms: i64) -> UsageRow {
    UsageRow {
        attempt: 0,
        outcome: AttemptOutcome::Retried,
        status: 503,
        held: 0,
        billed: Billed::No,
        cost_pico_usd: None,
        ttft_ms: None,
        total_ms: 120,
        ..row(request, age_ms)
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap().block_on(future)
}

/// A folder with a configuration, and the store that it names.
struct Place {
    folder: TempDir,
    url: String,
}

impl Place {
    fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/opm.db", folder.path().display());
        Place::at(folder, url)
    }

    fn at(folder: TempDir, url: String) -> Self {
        let text = format!(
            "version: 1\nstorage: {{ url: \"{url}\" }}\nkeys: [{{ name: file, key: client-key-0123456789 }}]\nchannels:\n  - {{ name: one, \
             format: openai, base_url: \"http://127.0.0.1:9\", keys: [sk-provider-0123456789] }}\n"
        );
        std::fs::write(folder.path().join("opm.yaml"), text).unwrap();
        let place = Place { folder, url };
        place.with(async |store| {
            let key = NewKey {
                id: "key00001".to_owned(),
                name: "team".to_owned(),
                mac: [7; 32],
                hint: "sk-opm-…abcd".to_owned(),
                channels: None,
                models: Vec::new(),
                ip_ranges: Vec::new(),
                limits: None,
                budget: None,
                expires_at: None,
                created_at: 1,
            };
            store.create_key(key).await.unwrap();
        });
        place
    }

    fn with(&self, work: impl AsyncFnOnce(Arc<dyn Store>)) {
        block_on(async {
            let store = opm_store::open(&self.url).await.unwrap();
            work(Arc::clone(&store)).await;
            store.close().await;
        });
    }

    fn fill(&self, rows: &[UsageRow]) {
        self.with(async |store| store.record_usage(rows).await.unwrap());
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_opm"));
        command
            .args(args)
            .current_dir(self.folder.path())
            .env_clear()
            .stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Standard output of a command that goes well.
    fn out(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", err(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.out(&[args, &["--format", "json"]].concat())).unwrap()
    }
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Ids of requests, one JSON object a line.
fn ids(text: &str) -> Vec<String> {
    let id = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        format!("{}/{}", row["request_id"].as_str().unwrap(), row["attempt"])
    };
    text.lines().map(id).collect()
}

#[test]
fn usage_is_a_table_for_people_with_the_rest_on_standard_error() {
    let place = Place::sqlite();
    place.fill(&[row("a", 1_000), row("b", 1_000), failed("c", 1_000)]);
    let output = place.run(&["usage"]);
    assert_eq!(
        String::from_utf8(output.stdout.clone()).unwrap(),
        "\
MODEL   REQUESTS  FAILED  INPUT  CACHED  OUTPUT  COST USD  FIRST TOKEN   TIME
gpt-4o         2       0  2,400   2,200     680  0.016225       410 ms  3.2 s
claude         1       1  1,200   1,100     340  0.000000            -  90 ms
total          3       1  3,600   3,300   1,020  0.016225       410 ms  2.1 s
"
    );
    let notes = err(&output);
    assert!(
        notes.starts_with("from 20") && notes.contains("Z to 20"),
        "{notes}"
    );
    assert!(
        notes.contains("\nbilled at a price nobody knows, so not in the cost: 1 of 3 attempts\n"),
        "{notes}"
    );
    assert!(
        notes.contains("\nwith estimated tokens, which their channels did not count: 1 of 3 attempts\n"),
        "{notes}"
    );
    let keys = place.out(&["usage", "--by", "key", "--since", "1h"]);
    let lines: Vec<&str> = keys
        .lines()
        .map(|line| line.split("  ").next().unwrap())
        .collect();
    assert_eq!(lines, ["KEY", "team", "file", "total"]);
    assert!(keys.contains("team   key00001"), "{keys}");
    let limited = place.run(&["usage", "--limit", "1"]);
    assert!(err(&limited).contains("there are more: ask for more with --limit"));
}

#[test]
fn usage_is_json_and_csv_for_programs() {
    let place = Place::sqlite();
    place.fill(&[row("a", 1_000), failed("b", 1_000)]);
    let report = place.json(&["usage", "--by", "channel", "--key", "team", "--since", "2h"]);
    assert_eq!(report["groups"][0]["name"], "one");
    assert_eq!(report["groups"][0]["cost_usd"], "0.0081125");
    assert_eq!(report["total"]["requests"], 1);
    let csv = place.out(&["usage", "--by", "user", "--format", "csv"]);
    assert_eq!(
        csv,
        "user,key_name,requests,attempts,failures,estimated,unpriced,input_tokens,cached_input_tokens,cache_write_tokens,output_tokens,\
         reasoning_tokens,cost_usd,cost_pico_usd,average_time_to_first_token_ms,average_total_ms\r\n\
         ann,,1,1,0,0,0,1200,1100,0,340,20,0.0081125,8112500000,410,3210\r\n\
         ,,1,1,1,1,1,1200,1100,0,340,20,0.00,0,,90\r\n"
    );
    let days = place.json(&[
        "usage", "--by", "time", "--since", "30d", "--step", "1d", "--model", "gpt-4o",
    ]);
    let start = now_ms() / 86_400_000 * 86_400;
    let found = days["groups"][0]["start"].as_i64().unwrap();
    // The day may have turned since the row was made.
    assert!([start, start - 86_400].contains(&found), "{days}");
    let none = place.run(&["usage", "--user", "nobody"]);
    assert!(none.status.success() && none.stdout.is_empty());
    assert!(
        err(&none).starts_with("nothing was used from 20") && !err(&none).contains("mean"),
        "{}",
        err(&none)
    );
    let near = err(&place.run(&["usage", "--model", "gpt4o", "--channel", "far"]));
    assert!(
        near.ends_with("\nno model `gpt4o` was used: did you mean `gpt-4o`?\n"),
        "{near}"
    );
}

#[test]
fn the_newest_requests_come_oldest_first_and_filtered() {
    let place = Place::sqlite();
    place.fill(&[
        failed("a", 7_200_000),
        retried("b", 301_000),
        row("b", 300_000),
        row("c", 20_000),
    ]);
    let table = place.out(&["logs", "tail"]);
    let lines: Vec<&str> = table.lines().collect();
    assert!(
        lines[0].starts_with("ENDED                 STATUS  OUTCOME   FORMAT"),
        "{table}"
    );
    assert!(
        lines[2].contains("     200  answered  chat → messages  gpt-4o → opus-5  one            1  team"),
        "{table}"
    );
    assert!(
        lines[2].ends_with(" 1,200   1,100     340  0.008113       410 ms  3.2 s  b"),
        "{table}"
    );
    assert!(
        lines[1].contains(" claude           two            1  file  ~1,200   1,100    ~340         -"),
        "{table}"
    );
    for (args, found) in [
        (&[] as &[_], &["a/1", "b/1", "c/1"] as &[_]),
        (&["-n", "1"], &["c/1"]),
        (&["-n", "0"], &[]),
        (&["--attempts"], &["a/1", "b/0", "b/1", "c/1"]),
        (&["--outcome", "retried"], &["b/0"]),
        (&["--status", "500"], &["a/1"]),
        (&["--key", "team", "--since", "1h"], &["b/1", "c/1"]),
        (&["--key", "file"], &["a/1"]),
        (&["--key", "client-key-0123456789"], &["a/1"]),
        (&["--key", "static:gone"], &[]),
        (
            &[
                "--user",
                "ann",
                "--channel",
                "one",
                "--model",
                "gpt-4o",
                "--until",
                "150s",
            ],
            &["b/1"],
        ),
    ] {
        let text = place.out(&[&["logs", "tail", "--format", "json"], args].concat());
        assert_eq!(ids(&text), found, "{args:?}");
    }
    let csv = place.out(&["logs", "tail", "--format", "csv", "-n", "2"]);
    let lines: Vec<&str> = csv.split_terminator("\r\n").collect();
    assert!(
        lines[0]
            .starts_with("request_id,attempt,outcome,status,started_ms,ended_ms,key_id,key_name,user,model")
    );
    assert!(
        lines[2].starts_with("c,1,answered,200,") && lines[2].ends_with(",0.0081125,8112500000,410,3210")
    );
    assert_eq!(lines.len(), 3);
}

#[test]
fn a_request_is_shown_with_every_attempt() {
    let place = Place::sqlite();
    let mut first = retried("req_1", 2_000);
    (first.attempt, first.channel) = (1, "zero".into());
    let mut second = row("req_1", 1_000);
    second.attempt = 2;
    place.fill(&[first, second]);
    let text = place.out(&["logs", "show", "req_1"]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[..5],
        [
            "request  req_1",
            "key      team (key00001)",
            "user     ann",
            "model    gpt-4o",
            "format   chat",
        ]
    );
    assert!(lines[5].starts_with("started  20"), "{text}");
    assert_eq!(
        lines[6..11],
        [
            "outcome  answered, status 200",
            "time     3.2 s in all, first token after 410 ms",
            "tokens   1,200 in (1,100 from the cache, 0 into it), 340 out (20 reasoning); counted by the channel",
            "cost     0.0081125 USD",
            "",
        ]
    );
    assert!(
        lines[12].starts_with("      1  20")
            && lines[12].contains("zero     opus-5  chat → messages  retried      503  no"),
        "{text}"
    );
    assert!(
        lines[13].starts_with("      2  20")
            && lines[13].contains("one      opus-5  chat → messages  answered     200  yes"),
        "{text}"
    );
    let shown = place.json(&["logs", "show", "req_1"]);
    assert_eq!(
        (
            shown["settled"].as_bool(),
            shown["attempts"].as_array().unwrap().len()
        ),
        (Some(true), 2)
    );
    let unknown = place.run(&["logs", "show", "req_2"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(
        err(&unknown).contains("no attempt of a request `req_2`"),
        "{}",
        err(&unknown)
    );
}

#[test]
fn what_clients_send_cannot_reach_the_terminal() {
    let place = Place::sqlite();
    let mut odd = row("a", 1_000);
    odd.model = "\u{1b}[2J\u{9b}1m\u{202e}evil\n".into();
    odd.user = "=cmd()".into();
    odd.channel = "\u{7}".into();
    place.fill(&[odd]);
    for args in [
        &["usage"] as &[_],
        &["usage", "--by", "channel"],
        &["usage", "--format", "csv"],
        &["logs", "tail"],
        &["logs", "tail", "--format", "csv"],
        &["logs", "show", "a"],
    ] {
        let text = place.out(args);
        let obeyed: Vec<char> = text
            .chars()
            .filter(|c| c.is_control() && !['\n', '\r'].contains(c) || *c == '\u{202e}')
            .collect();
        assert!(obeyed.is_empty(), "{args:?}: {text:?}");
    }
    let csv = place.out(&["usage", "--by", "user", "--format", "csv"]);
    assert!(csv.contains("\n\"'=cmd()\","), "{csv}");
}

#[test]
fn a_wrong_question_is_told_what_is_wrong() {
    let place = Place::sqlite();
    for (args, text) in [
        (
            &["usage", "--since", "yesterday"] as &[_],
            "opm: since: it is neither an age nor a time; write 7d",
        ),
        (
            &["usage", "--step", "1h"],
            "opm: step: it goes with sums by time only; ask `by` time",
        ),
        (
            &["usage", "--limit", "0"],
            "opm: limit: 0 is out of bounds; ask for 1 to 1000",
        ),
        (
            &["usage", "--key", "teem"],
            "opm: there is no client key `teem`; did you mean `team`?",
        ),
        (
            &["logs", "tail", "--key", "nobody-knows"],
            "opm: there is no client key `nobody-knows`; `opm keys list` shows",
        ),
    ] {
        let output = place.run(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(err(&output).starts_with(text), "{args:?}: {}", err(&output));
    }
    for args in [
        &["usage", "--by", "day"] as &[_],
        &["logs", "tail", "--outcome", "ok"],
        &["logs", "tail", "-n", "1001"],
        &["logs", "tail", "--status", "99"],
        &["logs", "tail", "-f", "--until", "1h"],
    ] {
        assert_eq!(place.run(args).status.code(), Some(2), "{args:?}");
    }
    let file = place.folder.path().join("opm.yaml");
    let without = std::fs::read_to_string(&file)
        .unwrap()
        .replace("storage:", "# storage:");
    std::fs::write(&file, without).unwrap();
    let output = place.run(&["usage"]);
    assert_eq!(output.status.code(), Some(78), "{}", err(&output));
    assert!(
        err(&output).contains("names no store, so no usage is kept"),
        "{}",
        err(&output)
    );
}

/// `opm logs tail -f` while it runs.
struct Follow {
    child: Child,
    lines: Receiver<String>,
    reader: Option<std::thread::JoinHandle<BufReader<ChildStdout>>>,
}

impl Follow {
    /// Reads so many lines of it, then stops reading without closing.
    fn start(place: &Place, args: &[&str], most: usize) -> Self {
        let mut command = place.command(&[&["logs", "tail", "-f", "--format", "json"], args].concat());
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = channel();
        let reader = std::thread::spawn(move || {
            for _ in 0..most {
                let mut line = String::new();
                if out.read_line(&mut line).unwrap() == 0 || send.send(line).is_err() {
                    break;
                }
            }
            out
        });
        Follow {
            child,
            lines,
            reader: Some(reader),
        }
    }

    fn next(&self) -> String {
        ids(&self.lines.recv_timeout(PATIENCE).unwrap()).remove(0)
    }

    fn close(&mut self) {
        drop(self.reader.take().unwrap().join().unwrap());
    }

    /// Its exit code and what it wrote to standard error.
    fn end(mut self) -> (Option<i32>, String) {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                self.child.kill().unwrap();
                panic!("it did not end");
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let mut text = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        (status.code(), text)
    }
}

#[test]
fn followers_see_what_ends_once_even_if_it_is_stored_late() {
    let place = Place::sqlite();
    place.fill(&[
        row("old", 4_000),
        row("a", 3_000),
        row("b", 2_000),
        failed("other", 1_000),
    ]);
    let mut follow = Follow::start(&place, &["-n", "1", "--key", "team"], 5);
    assert_eq!(follow.next(), "b/1");
    // It ended before what was shown, and was stored after.
    place.fill(&[row("late", 5_000)]);
    assert_eq!(follow.next(), "late/1");
    place.fill(&[failed("other2", 0), row("c", 0)]);
    assert_eq!(follow.next(), "c/1");
    place.fill(&[row("d", 0), row("e", 0)]);
    let mut both = [follow.next(), follow.next()];
    both.sort();
    assert_eq!(both, ["d/1", "e/1"], "nothing was shown twice");
    // Nobody reads any more, and nothing more comes that would have to be written.
    follow.close();
    assert_eq!(follow.end(), (Some(0), String::new()));
}

#[test]
fn following_begins_with_an_empty_store_and_ends_with_ctrl_c() {
    let place = Place::sqlite();
    let follow = Follow::start(&place, &[], usize::MAX);
    place.fill(&[row("a", 0)]);
    assert_eq!(follow.next(), "a/1");
    let pid = follow.child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(follow.end(), (Some(0), String::new()));
}

#[test]
fn on_postgres_all_of_it_works_and_following_survives_a_restart() {
    let mut server = block_on(postgres_server::Server::start());
    let place = Place::at(tempfile::tempdir().unwrap(), server.url());
    place.fill(&[failed("a", 60_000), retried("b", 30_000), row("b", 29_000)]);
    let report = place.json(&["usage", "--by", "key", "--since", "1h"]);
    assert_eq!(report["groups"][0]["key_name"], "team");
    assert_eq!(report["total"]["attempts"], 3);
    assert_eq!(
        place.json(&["logs", "show", "b"])["attempts"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let mut follow = Follow::start(&place, &["--attempts"], 4);
    assert_eq!(
        [follow.next(), follow.next(), follow.next()],
        ["a/1", "b/0", "b/1"]
    );
    server.stop();
    let mut errors = BufReader::new(follow.child.stderr.take().unwrap());
    let mut told = String::new();
    errors.read_line(&mut told).unwrap();
    assert!(told.contains("going on when it answers again"), "{told}");
    block_on(server.start_again());
    place.fill(&[row("c", 0)]);
    assert_eq!(follow.next(), "c/1");
    follow.close();
    follow.child.stderr = Some(errors.into_inner());
    assert_eq!(follow.end().0, Some(0));
}
