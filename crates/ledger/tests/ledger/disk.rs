use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use opm_ledger::{Disk, Io, Ledger, Options, Outcome, Segment, Sync};
use tempfile::tempdir;

use crate::fixture::{Store, block_on, ending, fed, open, request, segments, slot, until, written};

/// A disk that can be filled, that can hang, and whose syncs can fail.
#[derive(Debug, Default)]
struct Faults {
    full: AtomicBool,
    /// Bytes that still fit into the write that meets the full disk.
    last_bytes: AtomicUsize,
    no_truncate: AtomicBool,
    no_sync: AtomicBool,
    syncs: AtomicUsize,
    writes: AtomicUsize,
    hang: Mutex<bool>,
    /// Writes that hang.
    hanging: AtomicUsize,
    resumed: Condvar,
}

#[derive(Debug)]
struct FaultyIo(Arc<Faults>);

#[derive(Debug)]
struct FaultySegment(Arc<Faults>, Arc<dyn Segment>);

impl Io for FaultyIo {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn Segment>> {
        Ok(Arc::new(FaultySegment(self.0.clone(), Disk.create(path)?)))
    }
}

impl Segment for FaultySegment {
    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.writes.fetch_add(1, SeqCst);
        let mut hang = self.0.hang.lock().unwrap();
        while *hang {
            self.0.hanging.fetch_add(1, SeqCst);
            hang = self.0.resumed.wait(hang).unwrap();
        }
        if !self.0.full.load(SeqCst) {
            return self.1.append(bytes);
        }
        match self.0.last_bytes.swap(0, SeqCst) {
            0 => Err(ErrorKind::StorageFull.into()),
            some => self.1.append(&bytes[..some.min(bytes.len())]),
        }
    }

    fn sync(&self) -> io::Result<()> {
        if self.0.no_sync.load(SeqCst) {
            return Err(io::Error::other("I/O error"));
        }
        self.0.syncs.fetch_add(1, SeqCst);
        self.1.sync()
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        if self.0.no_truncate.load(SeqCst) {
            return Err(io::Error::other("I/O error"));
        }
        self.1.truncate(length)
    }
}

fn faulty(dir: &Path, options: Options) -> (Ledger, Arc<Faults>) {
    let faults = Arc::new(Faults::default());
    let io = Arc::new(FaultyIo(faults.clone()));
    let (ledger, _) = Ledger::open(dir, Options { io, ..options }).unwrap();
    (ledger, faults)
}

#[test]
fn a_full_disk_blocks_nobody_and_loses_nothing_that_fits_into_memory() {
    let dir = tempdir().unwrap();
    let (ledger, faults) = faulty(dir.path(), Options::default());
    let running = ledger.start(request("before"));
    assert!(written(&ledger, running.started()));
    faults.full.store(true, SeqCst);
    let began = Instant::now();
    assert!(!written(&ledger, running.end(ending(Outcome::Finished))));
    for number in 0..100 {
        ledger
            .start(request(&format!("r{number}")))
            .end(ending(Outcome::Finished));
    }
    assert!(began.elapsed() < Duration::from_secs(1));
    let health = ledger.health();
    assert!(health.failing);
    assert_eq!((health.backlog, health.dropped), (201, 0));
    faults.full.store(false, SeqCst);
    until("the backlog is written", || {
        ledger.health().backlog == 0 && !ledger.health().failing
    });
    let store = fed(&ledger);
    assert_eq!(store.len(), 101);
    assert_eq!(store.request("before").unwrap().outcome, Outcome::Finished);
}

#[test]
fn what_a_full_disk_has_not_taken_is_stored_when_the_gateway_ends() {
    let dir = tempdir().unwrap();
    let (ledger, faults) = faulty(dir.path(), Options::default());
    let running = ledger.start(request("before"));
    assert!(written(&ledger, running.started()));
    faults.full.store(true, SeqCst);
    assert!(!written(&ledger, running.end(ending(Outcome::Finished))));
    for number in 0..5_000 {
        ledger
            .start(request(&format!("r{number}")))
            .end(ending(Outcome::Finished));
    }
    let store: &'static Store = Box::leak(Box::default());
    block_on(ledger.feeder().run(store, std::future::ready(())));
    assert_eq!((store.len(), ledger.health().dropped), (5_001, 0));
    assert_eq!(store.request("before").unwrap().outcome, Outcome::Finished);
}

#[test]
fn the_backlog_is_bounded_and_what_is_lost_is_counted() {
    let dir = tempdir().unwrap();
    let options = Options {
        max_backlog_bytes: 8 << 10,
        ..Options::default()
    };
    let (ledger, faults) = faulty(dir.path(), options);
    faults.full.store(true, SeqCst);
    for number in 0..200 {
        ledger
            .start(request(&format!("r{number}")))
            .end(ending(Outcome::Finished));
    }
    let health = ledger.health();
    assert_eq!(health.backlog + health.dropped, 400);
    assert!(health.dropped > 0 && health.backlog > 0);
    faults.full.store(false, SeqCst);
    until("the backlog is written", || ledger.health().backlog == 0);
    assert!(ledger.health().bytes <= (8 << 10) + 4096);
}

fn short_segments() -> Options {
    Options {
        segment_bytes: 1024,
        sync: Sync::Every(Duration::from_millis(1)),
        ..Options::default()
    }
}

/// Finishes requests until a third segment has begun; returns how many.
fn fill_two_segments(ledger: &Ledger, dir: &Path) -> usize {
    let number = AtomicUsize::new(0);
    until("another segment", || {
        let id = format!("r{}", number.fetch_add(1, SeqCst));
        written(ledger, ledger.start(request(&id)).end(ending(Outcome::Finished)));
        segments(dir).len() > 2
    });
    number.into_inner()
}

#[test]
fn a_start_stays_as_long_as_its_end_waits_for_the_disk() {
    let dir = tempdir().unwrap();
    let (ledger, faults) = faulty(dir.path(), short_segments());
    let running = ledger.start(request("running"));
    assert!(written(&ledger, running.started()));
    let first = segments(dir.path())[0].0.clone();
    let finished = fill_two_segments(&ledger, dir.path());
    faults.full.store(true, SeqCst);
    assert!(!written(&ledger, running.end(ending(Outcome::Finished))));
    let store = fed(&ledger);
    assert_eq!(store.len(), finished);
    assert!(
        first.exists(),
        "if the process is killed now, only the start is known"
    );
    faults.full.store(false, SeqCst);
    until("the backlog is written", || ledger.health().backlog == 0);
    until("the segment is not needed any more", || {
        fed(&ledger);
        !first.exists()
    });
}

#[test]
fn fed_segments_go_also_if_there_is_no_room_for_the_cursor() {
    let dir = tempdir().unwrap();
    let (ledger, _) = faulty(dir.path(), short_segments());
    std::fs::create_dir(slot(dir.path()).join("cursor.new")).unwrap();
    let first = segments(dir.path())[0].0.clone();
    let finished = fill_two_segments(&ledger, dir.path());
    let store = fed(&ledger);
    assert!(!first.exists());
    assert_eq!(store.len(), finished);
    let left: u64 = segments(dir.path()).iter().map(|(_, bytes)| bytes).sum();
    assert_eq!(ledger.health().bytes, left);
}

#[test]
fn half_a_record_is_cut_off_again() {
    let dir = tempdir().unwrap();
    let (ledger, faults) = faulty(dir.path(), Options::default());
    written(&ledger, ledger.start(request("a")).end(ending(Outcome::Finished)));
    faults.last_bytes.store(50, SeqCst);
    faults.full.store(true, SeqCst);
    let entry = ledger.start(request("b"));
    assert!(!written(&ledger, entry.started()));
    assert_eq!(segments(dir.path())[0].1, ledger.health().bytes);
    faults.full.store(false, SeqCst);
    until("the backlog is written", || ledger.health().backlog == 0);
    entry.end(ending(Outcome::Finished));
    assert_eq!(fed(&ledger).len(), 2);
    drop(ledger);
    let (_, recovered) = open(dir.path());
    assert_eq!((recovered.corrupt_bytes, recovered.torn_bytes), (0, 0));
}

#[test]
fn half_a_record_that_cannot_be_cut_off_ends_its_segment() {
    let dir = tempdir().unwrap();
    let (ledger, faults) = faulty(dir.path(), Options::default());
    written(&ledger, ledger.start(request("a")).end(ending(Outcome::Finished)));
    faults.last_bytes.store(50, SeqCst);
    faults.no_truncate.store(true, SeqCst);
    faults.full.store(true, SeqCst);
    let entry = ledger.start(request("b"));
    assert!(!written(&ledger, entry.started()));
    faults.full.store(false, SeqCst);
    until("a new segment", || {
        segments(dir.path()).len() == 2 && ledger.health().backlog == 0
    });
    entry.end(ending(Outcome::Finished));
    let store = fed(&ledger);
    assert!(store.request("a").is_some() && store.request("b").is_some());
}

/// Answers each byte with itself, `w` when a record is durable.
async fn echo(mut line: tokio::net::TcpStream, ledger: Ledger) -> io::Result<()> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    loop {
        let byte = line.read_u8().await?;
        if byte == b'w' {
            let entry = ledger.start(request("w"));
            ledger.durable(entry.started()).await;
        }
        line.write_u8(byte).await?;
    }
}

#[test]
fn a_worker_that_hangs_in_a_write_stops_no_other() {
    use std::io::{Read as _, Write as _};
    let dir = tempdir().unwrap();
    let (ledger, faults) = faulty(dir.path(), Options::default());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = runtime.unwrap();
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
        .unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move {
        while let Ok((line, _)) = listener.accept().await {
            tokio::spawn(echo(line, ledger.clone()));
        }
    });
    let connect = || {
        let line = std::net::TcpStream::connect(address).unwrap();
        line.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        line
    };
    let ask = |mut line: &std::net::TcpStream, byte: u8| line.write_all(&[byte]).unwrap();
    let told = |mut line: &std::net::TcpStream| {
        let mut byte = [0];
        line.read_exact(&mut byte).map(|()| byte[0])
    };
    let (writer, other) = (connect(), connect());
    for round in 0..10 {
        *faults.hang.lock().unwrap() = true;
        ask(&writer, b'w');
        until("a write that hangs", || faults.hanging.load(SeqCst) > round);
        ask(&other, b'x');
        let answered = told(&other);
        *faults.hang.lock().unwrap() = false;
        faults.resumed.notify_all();
        assert_eq!(answered.unwrap(), b'x', "round {round}");
        assert_eq!(told(&writer).unwrap(), b'w');
    }
}

#[test]
fn a_disk_that_hangs_holds_up_one_request_and_no_other() {
    let dir = tempdir().unwrap();
    let (ledger, faults) = faulty(dir.path(), Options::default());
    *faults.hang.lock().unwrap() = true;
    let stuck = {
        let ledger = ledger.clone();
        std::thread::spawn(move || drop(ledger.start(request("stuck"))))
    };
    until("a write that hangs", || faults.hanging.load(SeqCst) == 1);
    until("others go on", || {
        drop(ledger.start(request("other")));
        ledger.health().stalls > 0
    });
    let began = Instant::now();
    drop(ledger.start(request("another")));
    assert!(began.elapsed() < Duration::from_millis(500));
    assert!(!stuck.is_finished());
    let ticket = ledger.start(request("patient")).end(ending(Outcome::Finished));
    assert!(!written(&ledger, ticket), "after a second it gives up");
    *faults.hang.lock().unwrap() = false;
    faults.resumed.notify_all();
    stuck.join().unwrap();
    assert!(written(&ledger, ticket), "what waited is in the log now");
    until("the backlog is written", || ledger.health().backlog == 0);
    let store = fed(&ledger);
    assert!(store.request("stuck").is_some() && store.request("another").is_some());
}

#[test]
fn syncs_are_shared_and_records_wait_for_none() {
    let dir = tempdir().unwrap();
    let (ledger, faults) = faulty(dir.path(), Options::default());
    let before = faults.syncs.load(SeqCst);
    for number in 0..1000 {
        let entry = ledger.start(request(&format!("r{number}")));
        assert!(written(&ledger, entry.end(ending(Outcome::Finished))));
    }
    until("the sync", || faults.syncs.load(SeqCst) > before);
    assert!(faults.syncs.load(SeqCst) - before < 100);
    drop(ledger);
}

#[test]
fn requests_that_are_ready_together_share_a_write() {
    let dir = tempdir().unwrap();
    // The keeper must not write in between.
    let options = Options {
        sync: Sync::Every(Duration::from_secs(3600)),
        ..Options::default()
    };
    let (ledger, faults) = faulty(dir.path(), options);
    let one = async |name: &str| {
        let entry = ledger.start(request(name));
        assert!(ledger.durable(entry.started()).await);
        assert!(ledger.durable(entry.end(ending(Outcome::Finished))).await);
    };
    block_on(async { tokio::join!(one("a"), one("b"), one("c"), one("d")) });
    assert_eq!(
        faults.writes.load(SeqCst),
        2,
        "one for the starts, one for the ends"
    );
    block_on(one("e"));
    assert_eq!(faults.writes.load(SeqCst), 4);
    assert_eq!(fed(&ledger).len(), 5);
}

#[test]
fn what_nobody_waits_for_is_written_soon() {
    let dir = tempdir().unwrap();
    let (ledger, faults) = faulty(dir.path(), Options::default());
    ledger.start(request("a")).end(ending(Outcome::Finished));
    until("the keeper's write", || ledger.health().backlog == 0);
    assert!(faults.writes.load(SeqCst) > 0);
    drop(ledger.start(request("b")));
    assert_eq!(ledger.health().backlog, 0, "a dropped entry is written at once");
}

#[test]
fn always_means_that_a_record_is_synced_when_its_ticket_is_through() {
    let dir = tempdir().unwrap();
    let (ledger, faults) = faulty(
        dir.path(),
        Options {
            sync: Sync::Always,
            ..Options::default()
        },
    );
    let ticket = ledger.start(request("a")).end(ending(Outcome::Finished));
    let before = faults.syncs.load(SeqCst);
    assert!(written(&ledger, ticket));
    assert!(faults.syncs.load(SeqCst) > 0 || before > 0);
    faults.no_sync.store(true, SeqCst);
    let ticket = ledger.start(request("b")).end(ending(Outcome::Finished));
    assert!(
        !written(&ledger, ticket),
        "not promised when the disk does not sync"
    );
    assert!(ledger.health().failing && ledger.health().sync_errors > 0);
    faults.no_sync.store(false, SeqCst);
    until("health", || !ledger.health().failing);
    assert!(!written(&ledger, ticket), "a later sync cannot bring it back");
    let ticket = ledger.start(request("c")).end(ending(Outcome::Finished));
    assert!(written(&ledger, ticket));
    assert_eq!(fed(&ledger).len(), 3);
}

#[test]
fn the_last_handle_syncs_the_last_records() {
    let dir = tempdir().unwrap();
    let options = Options {
        sync: Sync::Every(Duration::from_secs(3600)),
        ..Options::default()
    };
    let (ledger, faults) = faulty(dir.path(), options);
    ledger.start(request("a")).end(ending(Outcome::Finished));
    let before = faults.syncs.load(SeqCst);
    drop(ledger);
    assert_eq!(faults.syncs.load(SeqCst), before + 1);
}

#[test]
fn a_write_that_the_kernel_refuses_as_full_is_survived() {
    /// The first segment is `/dev/full`, which answers ENOSPC to every write (and takes no sync).
    #[derive(Debug, Default)]
    struct FullDevice(AtomicBool);
    #[derive(Debug)]
    struct Unsynced(std::fs::File);

    impl Io for FullDevice {
        fn create(&self, path: &Path) -> io::Result<Arc<dyn Segment>> {
            let real = Disk.create(path)?;
            let device = || std::fs::OpenOptions::new().append(true).open("/dev/full");
            if self.0.swap(true, SeqCst) {
                Ok(real)
            } else {
                Ok(Arc::new(Unsynced(device()?)))
            }
        }
    }

    impl Segment for Unsynced {
        fn append(&self, bytes: &[u8]) -> io::Result<usize> {
            Segment::append(&self.0, bytes)
        }
        fn sync(&self) -> io::Result<()> {
            Ok(())
        }
        fn truncate(&self, length: u64) -> io::Result<()> {
            Segment::truncate(&self.0, length)
        }
    }

    let dir = tempdir().unwrap();
    let options = Options {
        io: Arc::<FullDevice>::default(),
        ..Options::default()
    };
    let (ledger, _) = Ledger::open(dir.path(), options).unwrap();
    let ticket = ledger.start(request("a")).end(ending(Outcome::Finished));
    assert!(!written(&ledger, ticket));
    assert!(ledger.health().failing);
    assert_eq!(ledger.health().backlog, 2);
}
