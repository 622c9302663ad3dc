//! The programs: where they are, what they can do.

use super::process::Process;
use crate::error::{DataError, Result};
use std::ffi::OsString;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};

/// How to come by the programs; ends an error.
pub(super) const INSTALL: &str = ". Install ffmpeg (Debian, Ubuntu: `apt install ffmpeg`; Fedora: `dnf install ffmpeg-free`; \
     macOS: `brew install ffmpeg`; Windows: `winget install Gyan.FFmpeg`), or set OCELLI_FFMPEG and OCELLI_FFPROBE \
     to the programs";

/// The programs `ffmpeg` and `ffprobe`, looked up on PATH or where `OCELLI_FFMPEG` and `OCELLI_FFPROBE` point.
#[derive(Clone, Debug)]
pub struct Ffmpeg {
    ffmpeg: PathBuf,
    ffprobe: PathBuf,
    version: Arc<OnceLock<Option<String>>>,
}

impl Ffmpeg {
    /// Looks the programs up in the process's environment.
    ///
    /// # Errors
    /// [`DataError::Invalid`] when one is missing; the message says how to install it.
    pub fn find() -> Result<Self> {
        Self::find_with(|name| std::env::var_os(name))
    }

    /// As [`find`](Self::find), in the environment that `lookup` gives: `OCELLI_FFMPEG`, `OCELLI_FFPROBE`, `PATH`.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn find_with(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        Ok(Self::at(
            locate("ffmpeg", "OCELLI_FFMPEG", &lookup)?,
            locate("ffprobe", "OCELLI_FFPROBE", &lookup)?,
        ))
    }

    /// The programs at these paths. Nothing is checked before they are used.
    pub fn at(ffmpeg: impl Into<PathBuf>, ffprobe: impl Into<PathBuf>) -> Self {
        Self { ffmpeg: ffmpeg.into(), ffprobe: ffprobe.into(), version: Arc::default() }
    }

    /// Whether this ffmpeg has the encoder, as `libx264`. `false` too when it cannot be run.
    pub fn has_encoder(&self, name: &str) -> bool {
        self.lists("-encoders", name)
    }

    /// Whether this ffmpeg has the filter, as `libvmaf`. `false` too when it cannot be run.
    pub fn has_filter(&self, name: &str) -> bool {
        self.lists("-filters", name)
    }

    /// The version as ffmpeg states it, as `5.1.9-0+deb12u1`; `None` when it cannot be run.
    pub fn version(&self) -> Option<String> {
        self.version
            .get_or_init(|| {
                let text = self.run(self.command().arg("-version"), "version").ok()?;
                let text = String::from_utf8_lossy(&text).into_owned();
                Some(text.strip_prefix("ffmpeg version ")?.split_whitespace().next()?.to_string())
            })
            .clone()
    }

    /// `ffmpeg -nostdin -hide_banner -loglevel error`, to be completed and given to [`run`](Self::run).
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.ffmpeg);
        command.args(["-nostdin", "-hide_banner", "-loglevel", "error"]);
        command
    }

    /// Runs `command` to its end without input and gives what it wrote to stdout. `what` names the task in errors.
    ///
    /// # Errors
    /// [`DataError::Program`] when it cannot be started or fails, with the last lines of its stderr.
    pub fn run(&self, command: &mut Command, what: &str) -> Result<Vec<u8>> {
        let mut process = Process::spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()), what)?;
        let mut output = Vec::new();
        if let Some(mut pipe) = process.child().stdout.take() {
            pipe.read_to_end(&mut output)
                .map_err(|e| process.error(format!("cannot read its output: {e}")))?;
        }
        process.succeed()?;
        Ok(output)
    }

    /// `ffprobe -hide_banner -loglevel error`, kept to local files.
    pub(super) fn ffprobe(&self) -> Command {
        let mut command = Command::new(&self.ffprobe);
        // A playlist inside a file must not make us open addresses on the network.
        command.args(["-hide_banner", "-loglevel", "error", "-protocol_whitelist", "file"]);
        command
    }

    /// The option that passes every frame on once: `-fps_mode` since ffmpeg 5.1, `-vsync` before.
    pub fn passthrough(&self) -> [&'static str; 2] {
        let old = self.version().is_some_and(|version| is_before_5_1(&version));
        [if old { "-vsync" } else { "-fps_mode" }, "passthrough"]
    }

    fn lists(&self, list: &str, name: &str) -> bool {
        self.run(self.command().arg(list), list).is_ok_and(|output| {
            String::from_utf8_lossy(&output).lines().any(|line| line.split_whitespace().nth(1) == Some(name))
        })
    }
}

/// Builds from a git snapshot (`N-109-g...`) are taken as new.
fn is_before_5_1(version: &str) -> bool {
    let mut numbers = version.trim_start_matches('n').split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next().and_then(|n| n.parse::<u32>().ok());
    match (next(), next()) {
        (Some(major), minor) => (major, minor.unwrap_or(0)) < (5, 1),
        (None, _) => false,
    }
}

fn locate(program: &str, variable: &str, lookup: &impl Fn(&str) -> Option<OsString>) -> Result<PathBuf> {
    if let Some(path) = lookup(variable).filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        if path.is_file() {
            return Ok(path);
        }
        let found = format!("{}, which is no file", path.display());
        return Err(DataError::invalid(variable, format!("the path of the program {program}"), found));
    }
    let file = format!("{program}{}", std::env::consts::EXE_SUFFIX);
    let path = lookup("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(&file)).find(|path| path.is_file()).ok_or_else(
        || DataError::invalid(program, "the program on PATH", format!("no such program{INSTALL}")),
    )
}

#[cfg(test)]
mod tests {
    use super::is_before_5_1;

    #[test]
    fn versions_are_told_apart() {
        for old in ["4.4.2-0ubuntu0.22.04.1", "5.0", "n4.3"] {
            assert!(is_before_5_1(old), "{old}");
        }
        for new in ["5.1.9-0+deb12u1", "n6.0", "7.1", "8", "N-109-gabc", "git-2024"] {
            assert!(!is_before_5_1(new), "{new}");
        }
    }
}
