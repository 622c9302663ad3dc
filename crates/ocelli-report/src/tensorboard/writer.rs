//! The writer of event files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::{event, record::frame};

/// Writes scalars to a TensorBoard event file.
///
/// Every writer starts a file of its own, `events.out.tfevents.<seconds>.<host>`, and never touches an
/// older one. Its name sorts after those already in the directory, because TensorBoard reads a run's files
/// in the order of their names. Dropping the writer flushes it; call [`flush`](EventWriter::flush) to see
/// errors, and after each epoch to keep a live TensorBoard up to date.
#[derive(Debug)]
pub struct EventWriter {
    path: PathBuf,
    out: BufWriter<File>,
}

impl EventWriter {
    /// Creates `dir` if need be, and a new event file in it.
    ///
    /// In a directory that holds a run already, its curves and the new ones show as one; a run that goes on
    /// wants [`resume`](EventWriter::resume).
    ///
    /// # Errors
    ///
    /// Any I/O error.
    pub fn create(dir: impl AsRef<Path>) -> io::Result<Self> {
        let dir = dir.as_ref();
        fs::create_dir_all(dir)?;
        let host = host_name();
        let mut seconds = (now() as u64).max(newest(dir)?.map_or(0, |last| last.saturating_add(1)));
        loop {
            let path = dir.join(format!("events.out.tfevents.{seconds:010}.{host}"));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => {
                    let mut this = Self { path, out: BufWriter::new(file) };
                    this.write(&event::file_version(now()))?;
                    this.flush()?;
                    return Ok(this);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => seconds += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Like [`create`](EventWriter::create), for a run that goes on at `step`: TensorBoard drops what older
    /// files of the run say about `step` and later ones, so that curves do not double back.
    ///
    /// # Errors
    ///
    /// Any I/O error.
    pub fn resume(dir: impl AsRef<Path>, step: i64) -> io::Result<Self> {
        let mut this = Self::create(dir)?;
        this.write(&event::session_start(now(), step))?;
        this.flush()?;
        Ok(this)
    }

    /// Adds one point of the curve `tag`. `wall_time` is in seconds since 1970; see [`now`]. TensorBoard
    /// stores scalars in single precision.
    ///
    /// # Errors
    ///
    /// Any I/O error.
    pub fn add_scalar(&mut self, tag: &str, value: f64, step: i64, wall_time: f64) -> io::Result<()> {
        self.write(&event::scalar(wall_time, step, tag, value as f32))
    }

    /// Hands everything written so far to the system.
    ///
    /// # Errors
    ///
    /// Any I/O error.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// The file being written.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn write(&mut self, payload: &[u8]) -> io::Result<()> {
        self.out.write_all(&frame(payload))
    }
}

/// The wall time now, in seconds since 1970, as [`EventWriter::add_scalar`] wants it.
#[must_use]
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |elapsed| elapsed.as_secs_f64())
}

/// The greatest `<seconds>` among the event files in `dir`.
fn newest(dir: &Path) -> io::Result<Option<u64>> {
    let mut newest = None;
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix("events.out.tfevents.")) else {
            continue;
        };
        let seconds = rest.split('.').next().and_then(|digits| digits.parse().ok());
        newest = newest.max(seconds);
    }
    Ok(newest)
}

fn host_name() -> String {
    let name = ["/proc/sys/kernel/hostname", "/etc/hostname"]
        .iter()
        .find_map(|path| fs::read_to_string(path).ok())
        .or_else(|| std::env::var("HOSTNAME").ok())
        .or_else(|| std::env::var("COMPUTERNAME").ok())
        .unwrap_or_default();
    let name: String =
        name.trim().chars().filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).take(64).collect();
    if name.is_empty() { "localhost".to_owned() } else { name }
}
