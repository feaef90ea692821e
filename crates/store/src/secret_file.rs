//! Files that only their owner can read: the database itself and the secrets beside it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::material::{MaterialError, Purpose, checked, fresh, hex, random};

/// Reads the file, or makes it.
pub(crate) fn text(purpose: Purpose, path: &Path) -> Result<Zeroizing<String>, MaterialError> {
    let failed = |doing| {
        move |source| MaterialError::File {
            path: path.to_owned(),
            doing,
            variable: purpose.variable(),
            source,
        }
    };
    if !path.try_exists().map_err(failed("looking for it"))? {
        // Whoever comes second finds the first one's file; both then read the same.
        match create(path, &fresh()?) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed("making it")(error));
            }
            Ok(()) | Err(_) => {}
        }
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(failed("reading it"))?);
    checked(&text, || path.display().to_string())
}

/// Makes a file of mode 0600 that is complete from the moment it can be seen, and never replaces one.
fn create(path: &Path, text: &str) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    name.push(random::<4>().map_or_else(|_| String::new(), |tail| hex(&tail)));
    let draft = PathBuf::from(name);
    let mut file = private(&draft)?;
    let written = writeln!(file, "{text}")
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::hard_link(&draft, path));
    fs::remove_file(&draft)?;
    written?;
    // The name must outlive a crash too: with the file all client keys would be lost.
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

/// Makes a new file that only its owner can read.
pub(crate) fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
