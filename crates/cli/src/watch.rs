//! Notices that the configuration file changed. It is looked at, not subscribed to: that also sees editors that replace files and
//! the symbolic links of Kubernetes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

/// How often the file is looked at.
const LOOK: Duration = Duration::from_millis(500);

type Content = Option<[u8; 32]>;

fn content(path: &Path) -> Content {
    std::fs::read(path).ok().map(|bytes| Sha256::digest(bytes).into())
}

/// Calls `changed` whenever the file has other content than before and kept it for two looks: a file that is still being written is
/// not read half.
pub(crate) async fn watch(path: PathBuf, changed: impl Fn()) {
    let mut in_force = content(&path);
    let mut seen = in_force;
    loop {
        tokio::time::sleep(LOOK).await;
        let now = content(&path);
        if now.is_some() && now == seen && now != in_force {
            in_force = now;
            changed();
        }
        seen = now;
    }
}
