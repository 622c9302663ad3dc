//! The report as a table for other programs.

use super::{Figures, Report};

const HEADER: &str = "film,package,codec,bytes,kbit_per_s,frames,identical,psnr_rgb,psnr_rgb_of_mean,psnr_y,psnr_y_of_mean,ssim,vmaf,reached";

impl Report {
    /// One line for every film that was measured, as CSV with a header. `film` is `package`, `bicubic`, `equal` (a codec at the
    /// package's bytes) or `curve`; `reached` says of `equal` whether bytes are within 1 % below.
    pub fn csv(&self) -> String {
        let mut text = format!("{HEADER}\n");
        let mut add = |kind: &str, package: &str, codec: &str, bytes: u64, own: &Figures, reached: &str| {
            let kbit = bytes as f64 * 8.0 / 1000.0 / self.film.seconds;
            let vmaf = own.vmaf.map_or(String::new(), |vmaf| format!("{vmaf:.4}"));
            text += &format!(
                "{kind},{},{codec},{bytes},{kbit:.3},{},{},{:.4},{:.4},{:.4},{:.4},{:.6},{vmaf},{reached}\n",
                quoted(package),
                own.frames,
                own.identical,
                own.psnr_rgb,
                own.psnr_rgb_of_mean,
                own.psnr_y,
                own.psnr_y_of_mean,
                own.ssim,
            );
        };
        for package in &self.packages {
            add("package", &package.name, "", package.bytes.total, &package.package, "");
            add("bicubic", &package.name, "", package.bytes.low, &package.bicubic, "");
            for equal in &package.equal {
                let reached = if equal.missed.is_none() { "true" } else { "false" };
                add("equal", &package.name, equal.codec.name(), equal.bytes, &equal.figures, reached);
            }
        }
        for curve in &self.curves {
            for point in &curve.points {
                add("curve", "", curve.codec.name(), point.bytes, &point.figures, "");
            }
        }
        text
    }
}

fn quoted(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.into()
    }
}
