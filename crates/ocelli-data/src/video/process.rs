//! A child process whose stderr is drained and that never outlives its handle.

use crate::error::{DataError, Result};
use std::collections::VecDeque;
use std::io::Read;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;

/// How much of what a program says is kept: its last bytes.
const KEPT: usize = 4096;
/// How many of its lines go into an error.
const LINES: usize = 8;

/// A running program. Dropped, it is killed and reaped.
pub(super) struct Process {
    child: Child,
    stderr: Option<JoinHandle<String>>,
    program: String,
    name: String,
}

impl Process {
    /// Starts `command` for the file or task `name`. The caller sets stdin and stdout.
    pub(super) fn spawn(command: &mut Command, name: &str) -> Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command.stderr(Stdio::piped()).spawn().map_err(|e| {
            let help = if e.kind() == std::io::ErrorKind::NotFound { super::tools::INSTALL } else { "" };
            DataError::program(name, &program, format!("cannot start it: {e}{help}"))
        })?;
        let stderr = child.stderr.take().map(|pipe| std::thread::spawn(move || drain(pipe)));
        Ok(Self { child, stderr, program, name: name.into() })
    }

    pub(super) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Waits for the end: the exit status and the last lines of stderr.
    pub(super) fn wait(&mut self) -> Result<(ExitStatus, String)> {
        let status = self.child.wait().map_err(|e| self.error(format!("cannot wait for it: {e}")))?;
        Ok((status, self.said()))
    }

    /// Waits for the end, which has to be a good one: the last lines of stderr.
    pub(super) fn succeed(&mut self) -> Result<String> {
        let (status, said) = self.wait()?;
        if status.success() { Ok(said) } else { Err(self.error(failure(status, &said))) }
    }

    /// An error of this program on its file.
    pub(super) fn error(&self, message: impl Into<String>) -> DataError {
        DataError::program(&self.name, &self.program, message)
    }

    /// Ends the process now, whatever it is at.
    pub(super) fn kill(&mut self) {
        // Both fail only where the process is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.said();
    }

    fn said(&mut self) -> String {
        self.stderr.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// How a program ended that should not have, with what it said.
pub(super) fn failure(status: ExitStatus, said: &str) -> String {
    if said.is_empty() { status.to_string() } else { format!("{said} ({status})") }
}

/// Reads to the end so that the program never waits for us; keeps the last lines.
fn drain(mut pipe: ChildStderr) -> String {
    let mut kept: VecDeque<u8> = VecDeque::with_capacity(KEPT);
    let mut chunk = [0u8; 1024];
    loop {
        match pipe.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => {
                kept.extend(&chunk[..n]);
                kept.drain(..kept.len().saturating_sub(KEPT));
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    let bytes: Vec<u8> = kept.into();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().map(message).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(LINES)..].join("; ")
}

/// A line without who says it: `[mov,mp4 @ 0x55b6] moov atom not found`.
fn message(line: &str) -> &str {
    let line = line.trim();
    match line.split_once("] ") {
        Some((who, what)) if who.starts_with('[') && who.contains(" @ 0x") => what.trim(),
        _ => line,
    }
}
