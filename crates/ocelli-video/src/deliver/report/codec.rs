//! Films coded in two passes by x264 and x265, to a size.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use ocelli_data::video::{Ffmpeg, Probe, packets};

use crate::VideoError;
use crate::deliver::low::{LowCodec, to_yuv, yuv_matrix};

/// How often the rate is adjusted.
pub const ADJUSTMENTS: usize = 5;
/// How far below the goal a film may be.
pub const TOLERANCE: f64 = 0.01;

/// A coded film.
#[derive(Clone, Debug)]
pub(in crate::deliver) struct Coded {
    /// The file, without audio.
    pub path: PathBuf,
    /// Bytes of its coded frames: its packets.
    pub bytes: u64,
    /// The rate that was asked for, in kbit/s; encoders know no finer step.
    pub kbit: u64,
}

/// What an attempt to land at a size came to.
#[derive(Clone, Debug)]
pub(in crate::deliver) struct Landing {
    pub coded: Coded,
    /// Encodings that it took.
    pub tries: usize,
    /// Why the size is not within [`TOLERANCE`] below the goal, if it is not.
    pub missed: Option<String>,
}

/// Codes a film.
pub(in crate::deliver) struct Coder<'a> {
    pub ffmpeg: &'a Ffmpeg,
    pub film: &'a Probe,
    pub codec: LowCodec,
    pub preset: &'a str,
    pub threads: usize,
    /// Where everything goes.
    pub folder: &'a Path,
    /// The rate of the first pass whose notes lie in the folder, in kbit/s.
    noted: Option<u64>,
    number: usize,
}

impl<'a> Coder<'a> {
    pub fn new(
        ffmpeg: &'a Ffmpeg,
        film: &'a Probe,
        (codec, preset, threads): (LowCodec, &'a str, usize),
        folder: &'a Path,
    ) -> Result<Self, VideoError> {
        if !ffmpeg.has_encoder(codec.encoder()) {
            return Err(VideoError::Config(format!(
                "this ffmpeg has no encoder {}, which the package is to be compared with; install one that has or leave it out",
                codec.encoder()
            )));
        }
        Ok(Self { ffmpeg, film, codec, preset, threads, folder, noted: None, number: 0 })
    }

    /// The rate of `bytes` in kbit/s.
    pub fn kbit(&self, bytes: f64) -> u64 {
        (bytes * 8.0 / 1000.0 / self.film.duration).round().max(1.0) as u64
    }

    /// Codes at a rate, in two passes.
    pub fn at(&mut self, kbit: u64) -> Result<Coded, VideoError> {
        // A first pass at a rate close by tells the second one as much.
        let close = |noted: u64| kbit as f64 / noted as f64 > 0.8 && kbit as f64 / (noted as f64) < 1.25;
        if !self.noted.is_some_and(close) {
            self.pass(1, kbit, None)?;
            self.noted = Some(kbit);
        }
        self.number += 1;
        let name = format!("{}-{}.mp4", self.codec.name(), self.number);
        self.pass(2, kbit, Some(&name))?;
        let path = self.folder.join(name);
        let bytes = packets(self.ffmpeg, &path)?.iter().map(|packet| packet.bytes).sum();
        Ok(Coded { path, bytes, kbit })
    }

    /// Codes to at most `goal` bytes and at least [`TOLERANCE`] below; what comes closest where that cannot be. `told` hears of every try.
    pub fn near(&mut self, goal: u64, told: &mut dyn FnMut(usize)) -> Result<Landing, VideoError> {
        let mut tried: Vec<Coded> = Vec::new();
        let mut kbit = self.kbit(goal as f64 * (1.0 - TOLERANCE / 2.0));
        loop {
            let coded = self.at(kbit)?;
            let lands = within(coded.bytes, goal);
            tried.push(coded);
            told(tried.len());
            let next = next(&tried, goal);
            match next.filter(|_| !lands && tried.len() <= ADJUSTMENTS) {
                Some(next) => kbit = next,
                None => break,
            }
        }
        let tries = tried.len();
        let missed = missed(&tried, goal, self.codec.encoder());
        let best = best(&tried, goal);
        let coded = tried.swap_remove(best);
        for other in tried {
            remove(&other)?;
        }
        Ok(Landing { coded, tries, missed })
    }

    fn pass(&self, pass: u8, kbit: u64, output: Option<&str>) -> Result<(), VideoError> {
        let film = self.film;
        let mut command = self.ffmpeg.command();
        // Notes of the first pass go by relative names: x265 splits its parameters at colons.
        command.current_dir(self.folder);
        let mut source = OsString::from("file:");
        source.push(fs::canonicalize(&film.file).map_err(VideoError::io(&film.file))?);
        command.arg("-y").arg("-i").arg(source).args(["-map", "0:V:0", "-an", "-sn", "-dn"]);
        command.args(["-map_metadata", "-1", "-vf", &filters(film)]).args(self.ffmpeg.passthrough());
        if film.variable_rate {
            // The grid of the average rate would put frames at the same time.
            command.args(["-enc_time_base", "-1"]);
        }
        command.args(["-c:v", self.codec.encoder(), "-preset", self.preset, "-b:v", &format!("{kbit}k")]);
        let (pass, threads) = (pass.to_string(), self.threads.max(1).to_string());
        match self.codec {
            LowCodec::H264 => command.args(["-threads", &threads, "-pass", &pass, "-passlogfile", "x264"]),
            LowCodec::H265 => {
                let own = format!("log-level=error:pools={threads}:pass={pass}:stats=x265.log");
                command.args(["-tag:v", "hvc1", "-x265-params", &own])
            }
        };
        command.args(["-colorspace", yuv_matrix(film)]);
        for (flag, value) in [("-color_primaries", &film.primaries), ("-color_trc", &film.transfer)] {
            if let Some(value) = value {
                command.args([flag, value]);
            }
        }
        match output {
            None => command.args(["-f", "null", "-"]),
            Some(name) => command.args(["-f", "mp4", name]),
        };
        let what = format!("{}: coding it with {} at {kbit} kbit/s", film.path, self.codec.encoder());
        self.ffmpeg.run(&mut command, &what)?;
        Ok(())
    }
}

/// Removes a coded film that is measured: they are many.
pub(super) fn remove(coded: &Coded) -> Result<(), VideoError> {
    fs::remove_file(&coded.path).map_err(VideoError::io(&coded.path))
}

fn within(bytes: u64, goal: u64) -> bool {
    bytes <= goal && bytes as f64 >= goal as f64 * (1.0 - TOLERANCE)
}

/// The tries next to the goal: the highest rate that stays below and the lowest that does not.
fn around(tried: &[Coded], goal: u64) -> [Option<&Coded>; 2] {
    let below = tried.iter().filter(|coded| coded.bytes <= goal).max_by_key(|coded| coded.kbit);
    let above = tried.iter().filter(|coded| coded.bytes > goal).min_by_key(|coded| coded.kbit);
    [below, above]
}

/// The rate to try next, in kbit/s; nothing where no other is left.
fn next(tried: &[Coded], goal: u64) -> Option<u64> {
    let wanted = goal as f64 * (1.0 - TOLERANCE / 2.0);
    let scaled = |coded: &Coded| {
        // Where a rate has no effect, farther ones are tried, but not without end.
        let ratio = (wanted / coded.bytes.max(1) as f64).clamp(0.25, 4.0);
        (coded.kbit as f64 * ratio).round() as u64
    };
    let next = match around(tried, goal) {
        [Some(below), Some(above)] => {
            if above.kbit <= below.kbit + 1 {
                return None;
            }
            let logarithm = |coded: &Coded| (coded.bytes.max(1) as f64).ln();
            let share = (wanted.ln() - logarithm(below)) / (logarithm(above) - logarithm(below));
            let between = below.kbit as f64 + share * (above.kbit - below.kbit) as f64;
            (between.round() as u64).clamp(below.kbit + 1, above.kbit - 1)
        }
        [Some(below), None] => scaled(below).max(below.kbit + 1),
        [None, Some(above)] => scaled(above).min(above.kbit - 1).max(1),
        [None, None] => return None,
    };
    (!tried.iter().any(|coded| coded.kbit == next)).then_some(next)
}

/// The try that counts: the largest that is not above the goal, else the smallest.
fn best(tried: &[Coded], goal: u64) -> usize {
    let at = |coded: &(usize, &Coded)| coded.1.bytes;
    let below = tried.iter().enumerate().filter(|(_, coded)| coded.bytes <= goal).max_by_key(at);
    below.or_else(|| tried.iter().enumerate().min_by_key(at)).map_or(0, |(index, _)| index)
}

fn missed(tried: &[Coded], goal: u64, encoder: &str) -> Option<String> {
    if tried.iter().any(|coded| within(coded.bytes, goal)) {
        return None;
    }
    let landed = &tried[best(tried, goal)];
    let share = 100.0 * landed.bytes as f64 / goal as f64;
    let (bytes, kbit) = (landed.bytes, landed.kbit);
    Some(match around(tried, goal) {
        [None, _] => format!(
            "{encoder} does not get down to {goal} bytes: at {kbit} kbit/s it takes {bytes}, {share:.1} % of them"
        ),
        [_, None] => format!(
            "{encoder} does not get up to {goal} bytes: at {kbit} kbit/s it takes {bytes}, {share:.1} % of them"
        ),
        _ => format!(
            "{encoder} lands at {bytes} bytes, {share:.1} % of {goal}, after {} tries; rates come in steps of 1 kbit/s",
            tried.len()
        ),
    })
}

/// ffmpeg's filters: 8 bits, chroma halved both ways as every player shows it, and padded to even sides.
fn filters(film: &Probe) -> String {
    let mut filters = format!("setpts=PTS-STARTPTS,{}", to_yuv(film));
    let (right, bottom) = (film.width % 2, film.height % 2);
    if right + bottom > 0 {
        let (wide, tall) = (film.width + right, film.height + bottom);
        filters += &format!(
            "format=yuv444p,pad={wide}:{tall}:0:0,fillborders=right={right}:bottom={bottom}:mode=smear,"
        );
    }
    filters + "format=yuv420p"
}

/// What coding itself loses of `film`, where that is worth a word.
pub(super) fn loses(film: &Probe) -> Option<String> {
    let halved = ["yuv420p", "yuvj420p", "nv12"].contains(&film.pixel_format.as_str());
    (!halved).then(|| {
        format!(
            "the film is {}; the codecs, as the low-resolution film, get it with 8 bits and halved chroma (yuv420p)",
            film.pixel_format
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kbit: u64, bytes: u64) -> Coded {
        Coded { path: PathBuf::new(), bytes, kbit }
    }

    #[test]
    fn the_next_rate_closes_in_on_the_goal() {
        assert_eq!(next(&[of(100, 2000)], 1000), Some(50));
        assert_eq!(next(&[of(100, 500)], 1000), Some(199));
        // Between two rates by logarithms, and never one that was tried.
        let tried = [of(100, 500), of(200, 1100)];
        let found = next(&tried, 1000).unwrap();
        assert!((180..200).contains(&found), "{found}");
        assert_eq!(next(&[of(100, 980), of(101, 1001)], 1000), None);
        assert_eq!(next(&[of(1, 5000)], 1000), None, "below 1 kbit/s there is nothing");
    }

    #[test]
    fn the_try_below_the_goal_counts_and_a_miss_is_told() {
        let tried = [of(100, 1500), of(50, 900), of(60, 970)];
        assert_eq!(best(&tried, 1000), 2);
        assert!(missed(&tried, 1000, "libx264").unwrap().contains("97.0 %"));
        assert!(missed(&[of(100, 995)], 1000, "libx264").is_none());
        let floor = missed(&[of(10, 3000), of(2, 2900)], 1000, "libx264").unwrap();
        assert!(floor.contains("does not get down to 1000 bytes: at 2 kbit/s it takes 2900"), "{floor}");
        assert_eq!(best(&[of(10, 3000), of(2, 2900)], 1000), 1);
        let ceiling = missed(&[of(10, 300), of(40, 310)], 1000, "libx264").unwrap();
        assert!(ceiling.contains("does not get up to"), "{ceiling}");
    }
}
