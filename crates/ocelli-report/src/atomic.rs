//! Files that are either wholly the old ones or wholly the new ones.
//!
//! The bytes go to a temporary file beside the target, reach the disk (`fsync`), and only then take the
//! target's name. A crash, a full disk or an error on the way leaves the old file as it was.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Writes `bytes` to `path` so that a reader sees either the old contents or all of the new ones.
///
/// # Errors
///
/// Any I/O error. The temporary file is removed then and the old file is untouched, with one exception:
/// when only the last step, syncing the directory, fails, the new contents are in place but may not
/// survive a power cut.
pub fn write_atomic(path: impl AsRef<Path>, bytes: &[u8]) -> io::Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes)?;
    file.commit()
}

/// A file under construction: written beside its target, put in place by [`commit`](AtomicFile::commit),
/// and removed when dropped without one.
///
/// Writes are not buffered; wrap a `&mut AtomicFile` in a [`BufWriter`](io::BufWriter) for many small ones.
/// A target that is a symbolic link keeps being one: the file it points at is replaced. The permissions of
/// an existing target are kept.
#[derive(Debug)]
pub struct AtomicFile {
    target: PathBuf,
    temporary: PathBuf,
    /// `None` once the file is closed.
    file: Option<File>,
    failed: bool,
    committed: bool,
}

impl AtomicFile {
    /// Opens a temporary file in the directory of `path`.
    ///
    /// # Errors
    ///
    /// When `path` names no file, is a directory, or the temporary file cannot be created beside it.
    pub fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        let target = resolve(path.as_ref());
        let Some(name) = target.file_name() else {
            let message = format!("{} does not name a file", target.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        };
        let existing = fs::metadata(&target).ok();
        if existing.as_ref().is_some_and(fs::Metadata::is_dir) {
            let message = format!("{} is a directory", target.display());
            return Err(io::Error::new(io::ErrorKind::IsADirectory, message));
        }
        let (temporary, file) = create_beside(&target, name)?;
        let this = Self { target, temporary, file: Some(file), failed: false, committed: false };
        if let (Some(existing), Some(file)) = (existing, &this.file) {
            file.set_permissions(existing.permissions())?;
        }
        Ok(this)
    }

    /// The file that [`commit`](AtomicFile::commit) will replace.
    #[must_use]
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Syncs what was written and puts it in place of the target.
    ///
    /// # Errors
    ///
    /// Any I/O error, and any file to which an earlier write failed, even if the caller overlooked that
    /// failure. The target is untouched then, except as [`write_atomic`] says.
    pub fn commit(mut self) -> io::Result<()> {
        if self.failed {
            let message = format!("an earlier write failed, so {} was not replaced", self.target.display());
            return Err(io::Error::other(message));
        }
        if let Some(file) = self.file.take() {
            file.sync_all()?;
        }
        fs::rename(&self.temporary, &self.target)?;
        self.committed = true;
        sync_directory(&self.target)
    }

    fn note<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result {
            // `write_all` retries an interrupted write, so it has lost nothing.
            self.failed |= error.kind() != io::ErrorKind::Interrupted;
        }
        result
    }

    fn open(&mut self) -> io::Result<&mut File> {
        self.file.as_mut().ok_or_else(|| io::Error::other("the file is closed"))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.open().and_then(|file| file.write(bytes));
        self.note(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.open().and_then(|file| file.flush());
        self.note(result)
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.committed {
            self.file = None;
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Follows a symbolic link to the file it stands for; other paths stay as they are.
fn resolve(path: &Path) -> PathBuf {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf()),
        _ => path.to_path_buf(),
    }
}

fn create_beside(target: &Path, name: &std::ffi::OsStr) -> io::Result<(PathBuf, File)> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    loop {
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        let mut temporary = OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{}.{count}.tmp", std::process::id()));
        let path = target.with_file_name(temporary);
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((path, file)),
            // Left over from a process that had the same id: take the next number.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// Makes the rename itself durable, where the system can sync a directory.
fn sync_directory(target: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    let directory = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    match File::open(directory).and_then(|directory| directory.sync_all()) {
        // Some network file systems cannot sync a directory, some directories may not be read.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied
            ) =>
        {
            Ok(())
        }
        other => other,
    }
}
