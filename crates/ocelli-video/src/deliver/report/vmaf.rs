//! VMAF, where ffmpeg has it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use ocelli_data::video::{Codec, Destination, Ffmpeg, Probe};

use crate::VideoError;
use crate::deliver::package::Package;
use crate::deliver::play::{PlayOptions, play};

/// ffmpeg's filter.
pub(super) const FILTER: &str = "libvmaf";

/// Measures against one film.
pub(super) struct Vmaf<'a> {
    pub ffmpeg: &'a Ffmpeg,
    pub film: &'a Probe,
    pub every: u64,
    pub threads: usize,
    /// Where everything goes.
    pub folder: &'a Path,
}

impl Vmaf<'_> {
    /// The mean over every so-manieth frame of `film`; motion is that of all frames.
    pub fn of(&self, film: &Path) -> Result<f64, VideoError> {
        let mut command = self.ffmpeg.command();
        command.current_dir(self.folder);
        for path in [film, self.film.file.as_path()] {
            let mut name = OsString::from("file:");
            name.push(fs::canonicalize(path).map_err(VideoError::io(path))?);
            command.arg("-i").arg(name);
        }
        let (width, height) = (self.film.width, self.film.height);
        // Frames are paired by their number: containers round times differently.
        let own = format!(
            "settb=1/25,setpts=N,crop={width}:{height}:0:0,scale=out_color_matrix=bt709:out_range=tv:flags=bicubic,format=yuv420p"
        );
        let graph = format!(
            "[0:V:0]{own}[a];[1:V:0]{own}[b];[a][b]{FILTER}=log_fmt=json:log_path=vmaf.json:n_subsample={}:n_threads={}",
            self.every, self.threads
        );
        command.args(["-lavfi", &graph, "-an", "-f", "null", "-"]);
        self.ffmpeg.run(&mut command, &format!("{}: VMAF", self.film.path))?;
        let path = self.folder.join("vmaf.json");
        let text = fs::read(&path).map_err(VideoError::io(&path))?;
        let json: serde_json::Value = serde_json::from_slice(&text)
            .map_err(|error| VideoError::malformed(&path, format!("expected VMAF's JSON: {error}")))?;
        json["pooled_metrics"]["vmaf"]["mean"]
            .as_f64()
            .ok_or_else(|| VideoError::malformed(&path, "expected pooled_metrics.vmaf.mean, found none"))
    }

    /// The same of what a package or interpolation of its low-resolution film shows.
    pub fn of_package(&self, package: &Package, bicubic: bool) -> Result<f64, VideoError> {
        let path: PathBuf = self.folder.join("played.mkv");
        let options = PlayOptions {
            threads: self.threads,
            bicubic,
            codec: Codec::Ffv1,
            overwrite: true,
            ..PlayOptions::default()
        };
        play(self.ffmpeg, package, Destination::File(&path), &options, &mut |_, _| {})?;
        let mean = self.of(&path)?;
        fs::remove_file(&path).map_err(VideoError::io(&path))?;
        Ok(mean)
    }
}
