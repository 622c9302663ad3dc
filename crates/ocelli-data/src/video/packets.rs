//! The packets of a video stream, read line by line: a long film has millions.

use super::process::Process;
use super::tools::Ffmpeg;
use super::{MAX_PACKETS, literal};
use crate::error::{DataError, Result};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Stdio;

/// No line of ffprobe's is longer than this, in bytes, unless something is wrong.
const MAX_LINE: u64 = 65_536;

/// A packet of a video stream: one coded frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Packet {
    /// When the frame is shown, in s, as stored in the file. Where the file does not say: when it is decoded, and
    /// where it does not say that either, NaN.
    pub time: f64,
    /// Its size in bytes.
    pub bytes: u64,
    /// Whether decoding can begin here.
    pub key: bool,
    /// Whether the frame is shown. Edit lists keep frames in the file that are only decoded, and a film cut out of
    /// another begins with frames that refer to ones it lacks.
    pub shown: bool,
}

/// The packets of the first video stream, in the order they are stored.
///
/// # Errors
/// [`DataError::Program`] when ffprobe cannot read the file, [`DataError::TooLarge`] past [`MAX_PACKETS`].
pub fn packets(ffmpeg: &Ffmpeg, path: &Path) -> Result<Vec<Packet>> {
    Ok(scan(ffmpeg, path, None)?.packets)
}

/// What a pass over the file found.
pub(super) struct Scan {
    pub(super) packets: Vec<Packet>,
    /// When the packets are decoded, in s; NaN where the file does not say. Empty where nobody needs to know.
    pub(super) decoded: Vec<f64>,
    /// Whether every packet says when it is shown.
    pub(super) timed: bool,
    /// How long the frame shown last is shown, in s, where the file says so.
    pub(super) last_duration: Option<f64>,
    /// What ffprobe complained of while it read on.
    pub(super) said: String,
}

/// When the first frame of the first video stream is shown, in s on the file's clock; `None` where it does not say.
/// Reads the first packets only.
pub(super) fn start(ffmpeg: &Ffmpeg, path: &Path) -> Result<Option<f64>> {
    let scan = scan(ffmpeg, path, Some(128))?;
    let times = scan.packets.iter().filter(|packet| packet.shown && !packet.time.is_nan());
    Ok(times.map(|packet| packet.time).min_by(f64::total_cmp))
}

/// Reads the packets, or the first `most` of them.
pub(super) fn scan(ffmpeg: &Ffmpeg, path: &Path, most: Option<usize>) -> Result<Scan> {
    let name = path.display().to_string();
    let mut command = ffmpeg.ffprobe();
    if let Some(most) = most {
        command.args(["-read_intervals", &format!("%+#{most}")]);
    }
    command.args(["-select_streams", "V:0", "-show_entries"]);
    command.args(["packet=pts_time,dts_time,duration_time,size,flags", "-of", "compact"]);
    command.arg(literal(path)).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut process = Process::spawn(&mut command, &name)?;
    let mut scan = Scan {
        packets: Vec::new(),
        decoded: Vec::new(),
        timed: true,
        last_duration: None,
        said: String::new(),
    };
    let mut last = f64::NEG_INFINITY;
    if let Some(pipe) = process.child().stdout.take() {
        let mut lines = BufReader::new(pipe);
        let mut line = String::new();
        while next_line(&mut lines, &mut line).map_err(|e| process.error(format!("{e} in its output")))? {
            let Some((packet, extra)) = parse(&line) else { continue };
            if scan.packets.len() as u64 >= MAX_PACKETS {
                return Err(DataError::TooLarge {
                    name,
                    found: "more video packets".into(),
                    limit: MAX_PACKETS.to_string(),
                });
            }
            scan.timed &= extra.timed;
            if packet.shown && packet.time > last {
                (last, scan.last_duration) = (packet.time, extra.duration);
            }
            scan.packets.push(packet);
            scan.decoded.push(extra.decoded);
        }
    }
    if scan.timed {
        scan.decoded = Vec::new();
    }
    scan.said = process.succeed()?;
    hide_undecodable(ffmpeg, path, &mut scan)?;
    Ok(scan)
}

/// Marks the frames before the first key frame, in the order of storage or of showing, that the decoder does not give:
/// they refer to frames before the beginning. Which ones depends on codec and encoder, so the decoder is asked.
fn hide_undecodable(ffmpeg: &Ffmpeg, path: &Path, scan: &mut Scan) -> Result<()> {
    let Some(key) = scan.packets.iter().position(|packet| packet.key) else { return Ok(()) };
    let from = scan.packets[key].time;
    let doubtful = |i: usize, packet: &Packet| packet.shown && (i < key || packet.time < from);
    let Some(last) = scan.packets.iter().enumerate().rposition(|(i, packet)| doubtful(i, packet)) else {
        return Ok(());
    };
    let given = if scan.timed { decoded_times(ffmpeg, path, last + 1)? } else { Vec::new() };
    for (i, packet) in scan.packets.iter_mut().enumerate().take(last + 1) {
        // Without times the rule of thumb has to do.
        let hidden = if scan.timed { given.iter().all(|t| (t - packet.time).abs() > 2e-6) } else { i < key };
        packet.shown &= !(doubtful(i, packet) && hidden);
    }
    Ok(())
}

/// When the frames are shown, in s, that the first so many packets give.
fn decoded_times(ffmpeg: &Ffmpeg, path: &Path, packets: usize) -> Result<Vec<f64>> {
    let mut command = ffmpeg.ffprobe();
    command.args(["-select_streams", "V:0", "-read_intervals", &format!("%+#{packets}"), "-of", "compact"]);
    command.args(["-show_entries", "frame=best_effort_timestamp_time"]).arg(literal(path));
    let output = ffmpeg.run(&mut command, &path.display().to_string())?;
    let time = |line: &str| {
        let (_, time) = line.split_once("best_effort_timestamp_time=")?;
        time.split('|').next()?.trim().parse().ok()
    };
    Ok(String::from_utf8_lossy(&output).lines().filter_map(time).collect())
}

fn next_line(lines: &mut impl BufRead, line: &mut String) -> std::io::Result<bool> {
    line.clear();
    Ok(lines.take(MAX_LINE).read_line(line)? > 0)
}

/// What a line tells besides the packet.
struct Extra {
    /// Whether it says when the frame is shown.
    timed: bool,
    /// When the packet is decoded, in s; NaN where it does not say.
    decoded: f64,
    /// For how long the frame is shown, in s.
    duration: Option<f64>,
}

/// Reads `packet|pts_time=0.040000|dts_time=N/A|duration_time=0.040000|size=2483|flags=K_`.
fn parse(line: &str) -> Option<(Packet, Extra)> {
    let (mut pts, mut dts, mut duration, mut bytes, mut flags) = (None, None, None, 0, "");
    for field in line.trim_end().strip_prefix("packet|")?.split('|') {
        let Some((key, value)) = field.split_once('=') else { continue };
        let number = || value.parse::<f64>().ok().filter(|n| n.is_finite());
        match key {
            "pts_time" => pts = number(),
            "dts_time" => dts = number(),
            "duration_time" => duration = number().filter(|n| *n > 0.0),
            "size" => bytes = value.parse().unwrap_or(0),
            "flags" => flags = value,
            _ => {}
        }
    }
    let packet = Packet {
        time: pts.or(dts).unwrap_or(f64::NAN),
        bytes,
        key: flags.contains('K'),
        // AVI repeats a frame by a packet of no bytes, of which no frame comes.
        shown: !flags.contains('D') && bytes > 0,
    };
    Some((packet, Extra { timed: pts.is_some(), decoded: dts.unwrap_or(f64::NAN), duration }))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn lines_are_read_with_and_without_times() {
        let (packet, extra) =
            parse("packet|pts_time=1.48|dts_time=1.4|duration_time=0.04|size=9|flags=K__|side_data|\n")
                .unwrap();
        assert!(extra.timed && packet.key && packet.shown && packet.bytes == 9 && packet.time == 1.48);
        assert_eq!((extra.duration, extra.decoded), (Some(0.04), 1.4));
        let (packet, extra) = parse("packet|pts_time=N/A|dts_time=0.5|size=9|flags=_D").unwrap();
        assert!(!extra.timed && !packet.key && !packet.shown && packet.time == 0.5);
        assert!(parse("packet|pts_time=N/A|dts_time=N/A|size=9|flags=__").unwrap().0.time.is_nan());
        assert!(parse("side_data|x=1").is_none());
    }
}
