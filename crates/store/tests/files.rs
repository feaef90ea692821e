//! A SQLite file between processes, its mode, and what is said when a store cannot be opened.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests may")]

use std::fs;
use std::process::{Command, Stdio};

use opm_store::NewKey;

fn key(name: &str) -> NewKey {
    NewKey {
        id: name.to_owned(),
        name: name.to_owned(),
        mac: [1; 32],
        hint: String::new(),
        channels: None,
        models: vec![],
        ip_ranges: vec![],
        limits: None,
        budget: None,
        expires_at: None,
        created_at: 1,
    }
}

const CHILD: &str = "OPM_TEST_CHILD";
const PROCESSES: usize = 6;
const KEYS: usize = 10;

/// What each process of the next test does; without the variable it is not one of them.
async fn create_keys(url: &str) {
    let store = opm_store::open(url).await.unwrap();
    for number in 0..KEYS {
        let name = format!("{}-{number}", std::process::id());
        store.create_key(key(&name)).await.unwrap();
    }
    store.close().await;
}

#[tokio::test]
async fn several_processes_start_at_once_on_one_new_file() {
    if let Ok(url) = std::env::var(CHILD) {
        return create_keys(&url).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/opm.db", folder.path().display());
    let start = |_| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "several_processes_start_at_once_on_one_new_file"])
            .env(CHILD, &url)
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    let children: Vec<_> = (0..PROCESSES).map(start).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let store = opm_store::open(&url).await.unwrap();
    assert_eq!(store.keys().await.unwrap().len(), PROCESSES * KEYS);
}

/// How far files may grow from now on, for this process.
#[cfg(target_os = "linux")]
fn limit_files(bytes: &str) {
    let process = std::process::id().to_string();
    let limit = format!("--fsize={bytes}:");
    let done = Command::new("prlimit").args(["--pid", &process, &limit]).status();
    assert!(done.unwrap().success());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_store_goes_on_when_its_disk_has_room_again() {
    if let Ok(url) = std::env::var(CHILD) {
        let store = opm_store::open(&url).await.unwrap();
        store.create_key(key("before")).await.unwrap();
        limit_files("1");
        for name in ["while", "while too"] {
            store.create_key(key(name)).await.unwrap_err();
        }
        limit_files("unlimited");
        store.create_key(key("after")).await.unwrap();
        let mut names: Vec<_> = store
            .keys()
            .await
            .unwrap()
            .into_iter()
            .map(|key| key.name)
            .collect();
        names.sort();
        assert_eq!(names, ["after", "before"]);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/opm.db", folder.path().display());
    // The signal of such a limit is ignored: a write fails, as on a full disk.
    let child = Command::new("sh")
        .args([
            "-c",
            "trap '' XFSZ; exec \"$0\" --exact a_store_goes_on_when_its_disk_has_room_again",
        ])
        .arg(std::env::current_exe().unwrap())
        .env(CHILD, &url)
        .output()
        .unwrap();
    assert!(
        child.status.success(),
        "{}",
        String::from_utf8_lossy(&child.stdout)
    );
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_can_read_the_database_and_its_log() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/opm.db", folder.path().display());
    let store = opm_store::open(&url).await.unwrap();
    store.create_key(key("one")).await.unwrap();
    for name in ["opm.db", "opm.db-wal", "opm.db-shm"] {
        let mode = fs::metadata(folder.path().join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

/// The error with its sources, as a log line shows it.
async fn refusal(url: &str) -> String {
    let error = opm_store::open(url).await.unwrap_err();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    println!("{text}");
    text
}

#[tokio::test]
async fn a_missing_directory_is_named() {
    let text = refusal("sqlite:///nowhere/at/all/opm.db").await;
    assert!(text.contains("/nowhere/at/all/opm.db") && text.contains("create its directory"));
}

#[tokio::test]
async fn a_file_that_is_no_database_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    let notes = "not a database, but longer than the header of one: ".repeat(20);
    fs::write(&path, &notes).unwrap();
    let text = refusal(&format!("sqlite://{}", path.display())).await;
    assert!(text.contains("must be a SQLite database"));
    assert_eq!(fs::read_to_string(&path).unwrap(), notes);
}

#[tokio::test]
async fn an_unreachable_server_is_named_without_the_password() {
    // A port that nobody listens on: it was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let text = refusal(&format!("postgres://me:hunter22@127.0.0.1:{port}/opm")).await;
    assert!(text.contains(&format!("postgres://me@127.0.0.1:{port}/opm")) && text.contains("check that"));
    assert!(text.contains("Connection refused"));
    assert!(!text.contains("hunter22"));
}
