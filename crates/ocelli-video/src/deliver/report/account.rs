//! What a package takes, and how long one waits for it.

use std::fs;

use serde::{Deserialize, Serialize};

use crate::VideoError;
use crate::deliver::manifest::Manifest;
use crate::deliver::package::Package;

/// Bytes of a package's parts, audio left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bytes {
    /// Coded frames of the low-resolution film: its packets.
    pub low: u64,
    /// Shared weights.
    pub shared: u64,
    /// Modulations.
    pub modulations: u64,
    /// The manifest's file.
    pub manifest: u64,
    /// The four above: what a codec has to get along with.
    pub total: u64,
    /// Playlist, initialisation and boxes around the packets. Not in the total, as a codec's container is not counted either.
    pub container: u64,
    /// Audio. Not in the total.
    pub audio: u64,
    /// A modulation's share of the shared bytes in the mean, from 0 to 1.
    pub modulation_share: f64,
    /// Seconds of film from which on the shared weights are below [`AMORTISED`] of everything, if the rest goes on as here.
    pub break_even: f64,
    /// Where the manifest's own account is not what the files say.
    pub differences: Vec<String>,
}

/// The share of shared weights in the stream at which they count as paid off.
pub const AMORTISED: f64 = 0.05;

/// Rates of reception that [`Delay`]s are given for, in Mbit/s.
pub const RATES: [f64; 5] = [0.5, 1.0, 2.0, 5.0, 20.0];

/// How long one waits before the film begins.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delay {
    /// Reception in Mbit/s.
    pub mbit_per_s: f64,
    /// Seconds to manifest, initialisation and first segment (audio included): the film begins, interpolated.
    pub interpolated: f64,
    /// Seconds to these, the shared weights and the first modulation: the film begins as it is meant to be.
    pub enlarged: f64,
}

/// Seconds from which on `shared` bytes are below [`AMORTISED`] of a stream whose other bytes come at `rest` per second: the solution of
/// `shared = AMORTISED (shared + rest t)`.
pub fn break_even(shared: u64, rest: f64) -> f64 {
    shared as f64 * (1.0 - AMORTISED) / AMORTISED / rest
}

/// How long `bytes` take at `mbit_per_s`, in seconds.
pub fn seconds(bytes: u64, mbit_per_s: f64) -> f64 {
    bytes as f64 * 8.0 / (mbit_per_s * 1e6)
}

impl Bytes {
    /// Of `package`, whose low-resolution film has `packets` bytes of coded frames.
    ///
    /// # Errors
    /// If a file is missing or damaged.
    pub fn of(package: &Package, packets: u64) -> Result<Self, VideoError> {
        package.verify()?;
        let manifest = &package.manifest;
        let path = package.root.join("manifest.json");
        let own = fs::metadata(&path).map_err(VideoError::io(&path))?.len();
        Ok(Self::from_manifest(manifest, packets, own))
    }

    /// As [`of`](Self::of), of files that are as `manifest` says, itself a file of `own` bytes.
    pub fn from_manifest(manifest: &Manifest, packets: u64, own: u64) -> Self {
        let segments: u64 = manifest.chunks.iter().map(|chunk| chunk.segment.bytes).sum();
        let files = segments + manifest.lr.init.bytes;
        let shared = manifest.sr.shared.bytes;
        let parts: Vec<u64> =
            manifest.chunks.iter().filter_map(|chunk| Some(chunk.modulation.as_ref()?.bytes)).collect();
        let modulations: u64 = parts.iter().sum();
        let audio = manifest.lr.audio_bytes;
        let rest = (packets + modulations + own) as f64 / manifest.video.duration;
        let mean = modulations as f64 / parts.len().max(1) as f64;
        let account = &manifest.account;
        let playlist = manifest.lr.playlist.bytes;
        let differences = [
            ("lr", account.lr, files.saturating_sub(audio)),
            ("lr.bytes", manifest.lr.bytes, files),
            ("shared", account.shared, shared),
            ("mod_total", account.mod_total, modulations),
            ("total", account.total, account.lr + account.shared + account.mod_total + account.manifest),
        ]
        .into_iter()
        .filter(|(_, said, found)| said != found)
        .map(|(name, said, found)| format!("{name}: {said} bytes in the manifest's account, {found} found"))
        // The account was made before its own digits were in the manifest.
        .chain((account.manifest.abs_diff(own + playlist) > 256).then(|| {
            let found = own + playlist;
            format!("manifest: {} bytes in the manifest's account, {found} found", account.manifest)
        }))
        .collect();
        Self {
            low: packets,
            shared,
            modulations,
            manifest: own,
            total: packets + shared + modulations + own,
            container: (files + playlist).saturating_sub(packets + audio),
            audio,
            modulation_share: mean / shared.max(1) as f64,
            break_even: break_even(shared, rest),
            differences,
        }
    }
}

/// The delays at every one of [`RATES`].
pub fn delays(manifest: &Manifest, own: u64) -> Vec<Delay> {
    let Some(first) = manifest.chunks.first() else { return Vec::new() };
    let plain = own + manifest.lr.init.bytes + first.segment.bytes;
    let all = plain + manifest.sr.shared.bytes + first.modulation.as_ref().map_or(0, |part| part.bytes);
    let delay = |rate: f64| Delay {
        mbit_per_s: rate,
        interpolated: seconds(plain, rate),
        enlarged: seconds(all, rate),
    };
    RATES.into_iter().map(delay).collect()
}
