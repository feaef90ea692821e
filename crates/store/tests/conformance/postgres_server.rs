//! A Postgres server of its own for the tests, from Debian's package: on a socket in a temporary folder, no port.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

const PACKAGES: &str = "/usr/lib/postgresql";
const READY_WITHIN: Duration = Duration::from_secs(60);

/// A running server; stopped when dropped, also by a panic.
pub(crate) struct Server {
    process: Child,
    folder: TempDir,
    programs: PathBuf,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let programs = programs();
        let folder = tempfile::tempdir().unwrap();
        give_to_postgres(folder.path());
        let data = folder.path().join("data");
        let made = as_postgres(&programs.join("initdb"))
            .args([
                "--auth=trust",
                "--username=postgres",
                "--encoding=UTF8",
                "--no-sync",
                "-D",
            ])
            .arg(&data)
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let mut server = Server {
            process: launch(&programs, folder.path()),
            folder,
            programs,
        };
        server.wait().await;
        server
    }

    /// Stops it and ends all connections.
    pub(crate) fn stop(&mut self) {
        let stopped = as_postgres(&self.programs.join("pg_ctl"))
            .args(["stop", "--mode=immediate", "-D"])
            .arg(self.folder.path().join("data"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !stopped.is_ok_and(|status| status.success()) {
            drop(self.process.kill());
        }
        drop(self.process.wait());
    }

    /// Starts it again after [`Server::stop`], with what was committed.
    pub(crate) async fn start_again(&mut self) {
        self.process = launch(&self.programs, self.folder.path());
        self.wait().await;
    }

    /// The storage URL of its database.
    pub(crate) fn url(&self) -> String {
        format!(
            "postgres://postgres@localhost/postgres?host={}",
            self.folder.path().display()
        )
    }

    async fn wait(&mut self) {
        let end = Instant::now() + READY_WITHIN;
        while PgConnection::connect(&self.url()).await.is_err() {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap();
            assert!(
                self.process.try_wait().unwrap().is_none(),
                "postgres ended: {log}"
            );
            assert!(Instant::now() < end, "postgres is not ready: {log}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn launch(programs: &Path, folder: &Path) -> Child {
    as_postgres(&programs.join("postgres"))
        .arg("-D")
        .arg(folder.join("data"))
        .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c"])
        .arg(format!("unix_socket_directories={}", folder.display()))
        .stdout(Stdio::null())
        .stderr(fs::File::create(folder.join("log")).unwrap())
        .spawn()
        .unwrap()
}

/// The newest server that Debian's packages installed, which are not on the PATH; elsewhere the one on the PATH.
fn programs() -> PathBuf {
    let complete = |folder: &PathBuf| folder.join("initdb").exists() && folder.join("postgres").exists();
    let installed = fs::read_dir(PACKAGES).into_iter().flatten().flatten();
    let newest = installed
        .map(|version| version.path().join("bin"))
        .filter(complete)
        .max_by_key(|folder| version(folder));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = newest.or_else(|| std::env::split_paths(&path).find(complete));
    found.unwrap_or_else(|| {
        panic!(
            "no Postgres server: install Debian's package `postgresql` (apt-get install postgresql), or run ./dev test, which does"
        )
    })
}

/// 15 of `/usr/lib/postgresql/15/bin`.
fn version(folder: &Path) -> Option<u32> {
    folder.parent()?.file_name()?.to_str()?.parse().ok()
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout == b"0\n"
}

/// Postgres refuses to run as root: then it runs as the user that its package made. It ends with the thread that started it.
fn as_postgres(program: &Path) -> Command {
    if !cfg!(target_os = "linux") {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "INT"]);
    if is_root() {
        command.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]);
    }
    command.arg("--").arg(program);
    command
}

fn give_to_postgres(folder: &Path) {
    if is_root() {
        let given = Command::new("chown")
            .arg("postgres:postgres")
            .arg(folder)
            .status();
        assert!(given.unwrap().success(), "there is no user `postgres`");
    }
}
