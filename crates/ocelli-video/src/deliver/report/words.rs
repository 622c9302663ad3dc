//! Who wins, in words.

use ocelli_report::chart::{count, duration};

use super::bd::{Point, bd_rate};
use super::{Delta, Equal, Needs, PackageReport, Report};
use crate::deliver::metrics::IDENTICAL;

/// Less than this, in dB, is no lead.
const EVEN: f64 = 0.05;

/// A ratio in dB, or that there is no difference.
pub(super) fn db(value: f64) -> String {
    if value >= IDENTICAL { "identical".into() } else { format!("{value:.2}") }
}

/// A difference in dB. Between a film that is the reference to the bit and one that is not it is no number.
pub(super) fn lead(difference: f64) -> String {
    if difference.abs() < IDENTICAL / 2.0 { format!("{difference:+.2} dB") } else { "infinitely".into() }
}

impl Report {
    /// Who wins and by how much, a sentence or two for every package and codec: first against codecs, then what the networks add to
    /// interpolation, then Bjøntegaard deltas.
    pub fn verdicts(&self) -> Vec<String> {
        let named = self.packages.len() > 1;
        let mut verdicts = Vec::new();
        for package in &self.packages {
            let name = if named { format!("package {}", package.name) } else { "the package".into() };
            verdicts.extend(package.equal.iter().map(|equal| against(package, equal, &name)));
            verdicts.push(over_bicubic(package, &name));
        }
        verdicts.extend(self.deltas.iter().map(delta));
        verdicts.extend(self.worth());
        verdicts
    }
}

impl Report {
    /// Whether bytes of networks are better spent than on more of the low-resolution film, where several packages tell.
    fn worth(&self) -> Option<String> {
        let all = |point: fn(&PackageReport) -> (u64, f64)| -> Vec<Point> {
            let points = self.packages.iter().map(point);
            points.map(|(bytes, quality)| Point { rate: bytes as f64, quality }).collect()
        };
        let plain = all(|own| (own.bytes.low, own.bicubic.psnr_rgb));
        let own = all(|own| (own.bytes.total, own.package.psnr_rgb));
        let rate = bd_rate(&plain, &own)?;
        let (verdict, more, rate) =
            if rate < 0.0 { ("pay", "fewer", -rate) } else { ("do not pay", "more", rate) };
        Some(format!(
            "The bytes of the networks {verdict}: for the same PSNR packages take {rate:.1} % {more} bytes than a low-resolution film that is only interpolated (Bjøntegaard)."
        ))
    }
}

fn against(package: &PackageReport, equal: &Equal, name: &str) -> String {
    let (encoder, goal) = (equal.codec.encoder(), package.bytes.total);
    let size = match &equal.missed {
        None => format!("At equal bytes ({})", count(goal)),
        Some(_) => format!(
            "At {} bytes, {:.1} % of the {} of {name},",
            count(equal.bytes),
            100.0 * equal.bytes as f64 / goal as f64,
            count(goal)
        ),
    };
    let mut ratios = [equal.figures.psnr_rgb, package.package.psnr_rgb];
    if equal.ahead < 0.0 {
        // The better one comes first.
        ratios.reverse();
    }
    let ratios = format!("{} against {} dB PSNR over colours", db(ratios[0]), db(ratios[1]));
    let ahead = equal.ahead;
    // A codec that took more bytes and is better has won nothing, and one that took fewer and is worse has lost nothing.
    let unfair = equal.missed.is_some() && (equal.bytes > goal) == (ahead > 0.0);
    let result = if unfair {
        format!("the PSNR of {encoder} is {ahead:+.2} dB from that of {name}, which does not say who wins")
    } else if ahead.abs() < EVEN {
        format!("{encoder} and {name} are even ({ratios})")
    } else {
        let (winner, loser) = if ahead > 0.0 { (encoder, name) } else { (name, encoder) };
        format!(
            "{winner} wins: it is {} better than {loser} ({ratios})",
            lead(ahead.abs()).trim_start_matches('+')
        )
    };
    format!("{size} {result}.{}{}", needs(&equal.needs, encoder, name), missed(equal))
}

fn needs(needs: &Needs, encoder: &str, name: &str) -> String {
    let times = |how: &str, times: f64| {
        format!(" For the PSNR of {name} {encoder} needs {how}{times:.2} times its bytes.")
    };
    match *needs {
        Needs { times: Some(value), .. } => times("", value),
        Needs { less_than: Some(value), .. } => times("less than ", value),
        Needs { more_than: Some(value), .. } => times("more than ", value),
        Needs { .. } => String::new(),
    }
}

fn missed(equal: &Equal) -> String {
    equal.missed.as_ref().map_or(String::new(), |why| format!(" Equal bytes were not reached: {why}."))
}

fn over_bicubic(package: &PackageReport, name: &str) -> String {
    let (own, bicubic) = (package.package.psnr_rgb, package.bicubic.psnr_rgb);
    let used = package.chunks.iter().filter(|chunk| chunk.sr).count();
    format!(
        "The network of {name} adds {:+.2} dB to bicubic interpolation of the same low-resolution film ({} against {} dB); {used} of {} chunks use it.",
        own - bicubic,
        db(own),
        db(bicubic),
        package.chunks.len()
    )
}

fn delta(delta: &Delta) -> String {
    let encoder = delta.codec.encoder();
    let few = match delta.packages {
        4.. => String::new(),
        points => format!(" (a curve of {points} packages; four are usual)"),
    };
    match (delta.rate_rgb, delta.psnr_rgb) {
        (Some(rate), quality) => {
            let (more, rate) = if rate < 0.0 { ("fewer", -rate) } else { ("more", rate) };
            let quality = quality.map_or(String::new(), |own| format!(", {own:+.2} dB at the same bytes"));
            format!(
                "Bjøntegaard: packages take {rate:.1} % {more} bytes than {encoder} at the same PSNR over colours{quality}{few}."
            )
        }
        (None, Some(quality)) => format!(
            "Bjøntegaard: packages are {quality:+.2} dB from {encoder} at the same bytes; no PSNR is common to both curves{few}."
        ),
        (None, None) => {
            format!(
                "Bjøntegaard: the curves of packages and {encoder} share no range, so there is no delta{few}."
            )
        }
    }
}

/// When shared weights are paid off.
pub(super) fn break_even(package: &PackageReport) -> String {
    let bytes = &package.bytes;
    let share = 100.0 * bytes.shared as f64 / bytes.total.max(1) as f64;
    if bytes.break_even.is_finite() {
        format!(
            "The shared weights are {share:.1} % of it; in a film of {} and more at the same rate they are below {:.0} %.",
            duration(bytes.break_even),
            100.0 * super::account::AMORTISED
        )
    } else {
        format!("The shared weights are {share:.1} % of it.")
    }
}
