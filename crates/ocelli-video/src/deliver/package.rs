//! Packages on disk.

use std::fs;
use std::path::{Path, PathBuf};

use super::config::Config;
use super::container::{self, Modulation, Shared};
use super::manifest::{self, Manifest, Part, digest};
use super::net::Net;
use crate::VideoError;

/// A package that was opened.
#[derive(Clone, Debug)]
pub struct Package {
    /// Its folder.
    pub root: PathBuf,
    /// What it holds.
    pub manifest: Manifest,
}

/// The bytes of a file, refused above `limit` before they are read.
fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>, VideoError> {
    let meta = fs::metadata(path).map_err(VideoError::io(path))?;
    if meta.is_dir() {
        return Err(VideoError::malformed(path, "is a folder, expected a file"));
    }
    if meta.len() > limit {
        let found = meta.len();
        return Err(VideoError::malformed(path, format!("holds {found} bytes, expected at most {limit}")));
    }
    fs::read(path).map_err(VideoError::io(path))
}

impl Package {
    /// Opens the package in the folder `root` (or whose manifest `root` is).
    ///
    /// # Errors
    /// If there is no manifest, or it contradicts itself.
    pub fn open(root: &Path) -> Result<Self, VideoError> {
        let path = if root.is_dir() { root.join("manifest.json") } else { root.to_path_buf() };
        let root = path.parent().map_or_else(PathBuf::new, Path::to_path_buf);
        if !path.exists() {
            let text = if root.is_dir() {
                "expected a package: a folder with a manifest.json (an encoding that was interrupted has none; run it again)"
            } else {
                "no such file or folder; expected a package"
            };
            return Err(VideoError::malformed(&path, text));
        }
        let manifest = Manifest::parse(&path, &read_limited(&path, manifest::MAX_BYTES)?)?;
        Ok(Self { root, manifest })
    }

    /// The network, for all chunks.
    pub fn config(&self) -> &Config {
        &self.manifest.sr.network
    }

    /// Where `part` lies.
    pub fn path(&self, part: &Part) -> PathBuf {
        self.root.join(&part.uri)
    }

    /// The bytes of `part`, checked.
    ///
    /// # Errors
    /// If the file is missing, of another length, or its checksum is another.
    pub fn read(&self, part: &Part) -> Result<Vec<u8>, VideoError> {
        let path = self.path(part);
        if !path.exists() {
            return Err(VideoError::malformed(&path, "is missing from the package"));
        }
        let bytes = read_limited(&path, part.bytes.max(1))?;
        if bytes.len() as u64 != part.bytes {
            let problem = format!("holds {} bytes, the manifest says {}", bytes.len(), part.bytes);
            return Err(VideoError::malformed(&path, problem));
        }
        let found = digest(&bytes);
        if found != part.sha256 {
            let expected = &part.sha256;
            return Err(VideoError::malformed(
                &path,
                format!("damaged: SHA-256 {found}, the manifest says {expected}"),
            ));
        }
        Ok(bytes)
    }

    /// The shared weights.
    ///
    /// # Errors
    /// If the file is missing, damaged, or of another network.
    pub fn shared(&self) -> Result<Shared, VideoError> {
        let part = &self.manifest.sr.shared;
        let bytes = self.read(part)?;
        Ok(container::read_shared(&self.path(part), &bytes, self.config())?.0)
    }

    /// The modulation of `chunk`, if it has one.
    ///
    /// # Errors
    /// As [`shared`](Self::shared).
    pub fn modulation(&self, chunk: usize) -> Result<Option<Modulation>, VideoError> {
        let Some(part) = &self.manifest.chunks[chunk].modulation else { return Ok(None) };
        let bytes = self.read(part)?;
        container::read_modulation(&self.path(part), &bytes, self.config(), chunk).map(Some)
    }

    /// The network of `chunk`; nothing where interpolation is better.
    ///
    /// # Errors
    /// As [`shared`](Self::shared).
    pub fn net(&self, shared: &Shared, chunk: usize) -> Result<Option<Net>, VideoError> {
        if !self.manifest.chunks[chunk].sr {
            return Ok(None);
        }
        let modulation = self.modulation(chunk)?;
        Ok(Some(container::assemble(self.config(), shared, modulation.as_slice())))
    }

    /// The files that give the frames of `chunk`: initialisation and segment, both checked.
    ///
    /// # Errors
    /// If one is missing or damaged.
    pub fn segment(&self, chunk: usize) -> Result<Vec<PathBuf>, VideoError> {
        let parts = [&self.manifest.lr.init, &self.manifest.chunks[chunk].segment];
        parts.into_iter().map(|part| self.read(part).map(|_| self.path(part))).collect()
    }

    /// Checks every file.
    ///
    /// # Errors
    /// With the first that is missing or damaged.
    pub fn verify(&self) -> Result<(), VideoError> {
        self.manifest.parts().try_for_each(|part| self.read(part).map(drop))
    }
}
