//! The process is killed at random moments under load; what it acknowledged is compared with what the next one finds.
//!
//! A test program of its own: a process that is being started holds, for a moment, the locks of all ledgers of the one
//! that starts it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may"
)]

#[expect(dead_code, reason = "shared with the other tests, which need more of it")]
#[path = "../ledger/fixture.rs"]
mod fixture;

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use opm_ledger::{Expected, Ledger, Options, Outcome, Settled, Sink, SinkError, Sync, Ticket};
use tempfile::tempdir;

use crate::fixture::{Store, block_on, ending, request, usage};

const DIRECTORY: &str = "OPM_LEDGER_KILL_TEST";
const ROUND: &str = "OPM_LEDGER_KILL_ROUND";
const THREADS: usize = 4;
const ROUNDS: u32 = 20;

/// Small segments, so that rotation and deletion are killed too.
fn options() -> Options {
    Options {
        segment_bytes: 32 << 10,
        sync: Sync::Every(Duration::from_millis(5)),
        ..Options::default()
    }
}

/// One line, in one write: the acknowledgement.
fn say(line: &str) {
    std::io::stdout()
        .write_all(format!("\n@{line}\n").as_bytes())
        .unwrap();
}

/// Prints what it stores: this is the store that survives the process.
struct Printer;

impl Sink for Printer {
    async fn feed(&self, batch: &[Settled]) -> Result<(), SinkError> {
        let lines = batch.iter().map(|settled| {
            let row = &settled.row;
            format!(
                "fed {} {} {} {}",
                row.request_id,
                row.attempt,
                settled.is_request,
                row.outcome.as_str()
            )
        });
        say(&lines.collect::<Vec<_>>().join("\n@"));
        Ok(())
    }
}

/// Says what the ledger says is in the log, as a gateway would go on; the rest is counted.
fn acknowledge(ledger: &Ledger, ticket: Ticket, what: &str, id: &str) {
    let is_sure = block_on(ledger.durable(ticket));
    say(&format!("{} {id}", if is_sure { what } else { "unsure" }));
}

/// The child: appends until it is killed.
fn append_for_ever(directory: &str, round: &str) -> ! {
    let (ledger, _) = Ledger::open(directory, options()).unwrap();
    for thread in 0..THREADS {
        let ledger = ledger.clone();
        let round = round.to_owned();
        std::thread::spawn(move || {
            for number in 0.. {
                let id = format!("{round}-{thread}-{number}");
                let mut entry = ledger.start(request(&id));
                acknowledge(&ledger, entry.started(), "start", &id);
                if number % 3 == 0 {
                    entry.attempt(ending(Outcome::Failed));
                    entry.dispatch(crate::fixture::target("second"), Expected::default());
                }
                if number % 2 == 0 {
                    entry.checkpoint(&usage(10, 3), None);
                }
                acknowledge(&ledger, entry.end(ending(Outcome::Finished)), "end", &id);
            }
        });
    }
    block_on(ledger.feeder().run(Printer, std::future::pending()));
    unreachable!("the feeder is never stopped")
}

fn spawn(directory: &Path, round: u32) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "nothing_acknowledged_is_lost_or_doubled_by_kill_9",
            "--nocapture",
        ])
        .env(DIRECTORY, directory)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The lines of the child, as they come. A line that the kill cut in half is no acknowledgement.
fn listen(child: &mut Child) -> Receiver<String> {
    let (sender, lines) = channel();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    std::thread::spawn(move || {
        let mut line = String::new();
        while output.read_line(&mut line).unwrap() > 0 {
            if let Some(line) = line.strip_prefix('@').and_then(|line| line.strip_suffix('\n')) {
                _ = sender.send(line.to_owned());
            }
            line.clear();
        }
    });
    lines
}

/// What children acknowledged and stored, over all rounds.
#[derive(Default)]
struct Acknowledged {
    started: HashSet<String>,
    ended: HashSet<String>,
    /// Records that were not in the log after a second, because the disk or a processor took longer.
    unsure: usize,
    stored: HashMap<(String, String), (String, String)>,
}

impl Acknowledged {
    fn hear(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["start", id] => assert!(self.started.insert(id.into())),
            ["end", id] => assert!(self.ended.insert(id.into())),
            ["unsure", _] => self.unsure += 1,
            ["fed", id, attempt, is_request, outcome] => self.store(id, attempt, is_request, outcome),
            _ => panic!("what is {line:?}?"),
        }
    }

    /// As a store does: the second row with a key changes nothing, and must say the same.
    fn store(&mut self, id: &str, attempt: &str, is_request: &str, outcome: &str) {
        let row = (is_request.to_owned(), outcome.to_owned());
        let before = self.stored.insert((id.into(), attempt.into()), row.clone());
        assert!(
            before.as_ref().is_none_or(|before| *before == row),
            "{id} {attempt}: {before:?}, then {row:?}"
        );
    }

    fn compare(&self) {
        let mut settled: HashMap<&str, &str> = HashMap::new();
        for ((id, _), (is_request, outcome)) in &self.stored {
            if is_request == "true" {
                assert!(settled.insert(id, outcome).is_none(), "{id} is settled twice");
            }
        }
        for id in &self.started {
            assert!(settled.contains_key(id.as_str()), "{id} was started and is lost");
        }
        for id in &self.ended {
            assert_eq!(settled[id.as_str()], "finished", "{id} was ended");
        }
        for (id, outcome) in settled {
            assert!(["finished", "crashed"].contains(&outcome), "{id}: {outcome}");
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_or_doubled_by_kill_9() {
    if let (Ok(directory), Ok(round)) = (std::env::var(DIRECTORY), std::env::var(ROUND)) {
        append_for_ever(&directory, &round);
    }
    let dir = tempdir().unwrap();
    let mut acknowledged = Acknowledged::default();
    let (mut crashed, mut torn) = (0, 0);
    for round in 0..ROUNDS {
        let mut child = spawn(dir.path(), round);
        let lines = listen(&mut child);
        // The load must run before the kill means anything; then a random moment.
        let first = lines.recv_timeout(Duration::from_secs(30)).unwrap();
        acknowledged.hear(&first);
        let random = Duration::from_micros(
            u64::from(Instant::now().elapsed().subsec_nanos() % 97 + round) * 4321 % 250_000,
        );
        let until = Instant::now() + random;
        while let Ok(line) = lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            acknowledged.hear(&line);
            if Instant::now() >= until {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        lines.iter().for_each(|line| acknowledged.hear(&line));
        let (ledger, recovered) = Ledger::open(dir.path(), options()).unwrap();
        crashed += recovered.crashed.len();
        torn += recovered.torn_bytes;
        assert_eq!(recovered.corrupt_bytes, 0);
        // Every second round the next child has to bring the rows of this one.
        if round % 2 == 1 {
            store_the_rest(&ledger, &mut acknowledged);
            acknowledged.compare();
        }
    }
    let (ended, unsure) = (acknowledged.ended.len(), acknowledged.unsure);
    println!("{ended} ends acknowledged, {unsure} records unsure, {crashed} crashed, {torn} torn bytes");
    assert!(ended > 1000 && crashed > 0 && unsure < ended / 100);
}

fn store_the_rest(ledger: &Ledger, acknowledged: &mut Acknowledged) {
    let store = Store::default();
    block_on(async { ledger.feeder().feed_all(&&store).await });
    for settled in store.rows.into_inner().unwrap().into_values() {
        let row = settled.row;
        let is_request = settled.is_request.to_string();
        acknowledged.store(
            &row.request_id,
            &row.attempt.to_string(),
            &is_request,
            row.outcome.as_str(),
        );
    }
}
