//! The folder of one run, held by one process at a time.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::TrainError;

/// An open run folder. The lock goes with the value, or with the process however that ends.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    _lock: File,
}

impl RunFolder {
    /// Opens `path` for a new run, or for continuing the one it holds.
    ///
    /// A folder that holds a run is refused unless `resume`; a folder another process trains in is refused
    /// always.
    pub fn open(path: impl Into<PathBuf>, resume: bool) -> Result<Self, TrainError> {
        let path = path.into();
        std::fs::create_dir_all(&path).map_err(TrainError::io(&path))?;
        let lock_path = path.join(".lock");
        let lock = File::create(&lock_path).map_err(TrainError::io(&lock_path))?;
        let refuse = |problem: &str| Err(TrainError::Folder { path: path.clone(), problem: problem.into() });
        if let Err(std::fs::TryLockError::WouldBlock) = lock.try_lock() {
            return refuse("another process is training in this folder; give this run its own --output");
        }
        let folder = Self { path: path.clone(), _lock: lock };
        let used = folder.config().exists() || folder.checkpoint().exists();
        if used && !resume {
            return refuse("holds a run already; continue it with --resume or choose another --output");
        }
        if resume && !folder.checkpoint().exists() {
            if used {
                // Killed before its first checkpoint: starting over is what continuing means.
                return Ok(folder);
            }
            return refuse("holds no run to resume");
        }
        Ok(folder)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The resolved settings.
    pub fn config(&self) -> PathBuf {
        self.path.join("config.toml")
    }

    /// The state from which a run goes on.
    pub fn checkpoint(&self) -> PathBuf {
        self.path.join("last.ckpt")
    }

    /// The best model so far.
    pub fn best(&self) -> PathBuf {
        self.path.join("best.safetensors")
    }

    /// One JSON object per epoch.
    pub fn metrics(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// A file of the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}
