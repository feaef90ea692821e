//! A Redis of its own for each test: Debian's binary, a free loopback port, a directory that goes with it.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use opm_limits::{Limiter, SharedSettings};

pub(crate) struct Server {
    child: Child,
    port: u16,
    dir: PathBuf,
}

const START: Duration = Duration::from_secs(10);

impl Server {
    pub(crate) fn start() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("opm-limits-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let child = spawn(port, &dir);
        let server = Server { child, port, dir };
        server.wait();
        server
    }

    /// Ends it and starts another one on the same port, with what was saved: empty, if nothing was.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.child = spawn(self.port, &self.dir);
        self.wait();
    }

    /// Ends it in good order and starts it again with all it had.
    pub(crate) fn restart_saved(&mut self) {
        let mut line = redis::Client::open(self.url()).unwrap().get_connection().unwrap();
        // It ends without an answer.
        let _ = redis::cmd("SHUTDOWN").arg("SAVE").query::<()>(&mut line);
        self.child.wait().unwrap();
        self.child = spawn(self.port, &self.dir);
        self.wait();
    }

    pub(crate) fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// A file of this test.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(crate) fn command(&self, name: &str) -> redis::Value {
        let mut line = redis::Client::open(self.url()).unwrap().get_connection().unwrap();
        redis::cmd(name).query(&mut line).unwrap()
    }

    /// How many keys are of this pattern.
    pub(crate) fn keys(&self, pattern: &str) -> usize {
        let mut line = redis::Client::open(self.url()).unwrap().get_connection().unwrap();
        let keys: Vec<String> = redis::cmd("KEYS").arg(pattern).query(&mut line).unwrap();
        keys.len()
    }

    /// The value of a key.
    pub(crate) fn text(&self, key: &str) -> String {
        let mut line = redis::Client::open(self.url()).unwrap().get_connection().unwrap();
        redis::cmd("GET").arg(key).query(&mut line).unwrap()
    }

    pub(crate) async fn limiter(&self) -> Limiter {
        self.limiter_at(now()).await
    }

    pub(crate) async fn limiter_at(&self, now: u64) -> Limiter {
        Limiter::shared(&SharedSettings::new(&self.url()), 10_000, now)
            .await
            .unwrap()
    }

    fn wait(&self) {
        let end = Instant::now() + START;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(
                Instant::now() < end,
                "redis-server does not listen after {START:?}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn spawn(port: u16, dir: &std::path::Path) -> Child {
    Command::new("redis-server")
        .args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ])
        .current_dir(dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("redis-server is needed (Debian: apt-get install redis-server): {error}")
        })
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

pub(crate) fn now() -> u64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// Waits for a condition, at most five seconds.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let end = Instant::now() + Duration::from_secs(5);
    while !holds().await {
        assert!(Instant::now() < end, "not within 5 s: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
