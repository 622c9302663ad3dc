//! The report as a page of its own.

use ocelli_report::chart::{Chart, LineChart, Series, count};
use ocelli_report::html::Page;

use super::words::{break_even, db, lead};
use super::{Figures, PackageReport, Report};

/// Chunks that a table lists.
const MOST_CHUNKS: usize = 200;

impl Report {
    /// The report as a self-contained page.
    pub fn page(&self) -> String {
        let film = &self.film;
        let mut page = Page::new(format!("Neural delivery of {}", film.name)).subtitle(format!(
            "{}x{}, {} frames, {:.2} s; every {} compared",
            film.width,
            film.height,
            film.frames,
            film.seconds,
            ordinal(self.every)
        ));
        if let [package] = self.packages.as_slice() {
            page = page.stat_tiles(&tiles(package));
        }
        page = page.section("Who wins").list(&self.verdicts());
        page = page.section("Quality").table(
            &[
                "",
                "bytes",
                "kbit/s",
                "PSNR rgb",
                "of mean square",
                "PSNR Y",
                "of mean square",
                "SSIM",
                "VMAF",
            ],
            &self.quality_rows(),
        );
        page = page.text("PSNR in dB. Bytes of a package: coded frames, weights, modulations, manifest; of a codec: coded frames.");
        page = page.section("Rate and distortion").charts(&[
            &self.curve("PSNR over colours", "dB", |own| own.psnr_rgb),
            &self.curve("Structural similarity of luma", "SSIM", |own| own.ssim),
        ]);
        page = self.chunks(page.section("Chunks"));
        page = self.places(page);
        page = page.section("Bytes").table(
            &["", "coded frames", "shared", "modulations", "manifest", "together", "a modulation / shared"],
            &self.packages.iter().map(byte_row).collect::<Vec<_>>(),
        );
        for package in &self.packages {
            let (bytes, name) = (&package.bytes, &package.name);
            page = page.text(format!(
                "{name}: {} {} bytes of container{} are left out, as those of the codecs.",
                break_even(package),
                count(bytes.container),
                if bytes.audio > 0 { format!(" and {} of audio", count(bytes.audio)) } else { String::new() }
            ));
        }
        page = page.section("Waiting for the first frame").table(
            &["reception", "package", "interpolated after s", "enlarged after s"],
            &self.packages.iter().flat_map(delay_rows).collect::<Vec<_>>(),
        );
        page = page.section("How it was measured").list(&self.method());
        if !self.notes.is_empty() {
            page = page.section("Notes").list(&self.notes);
        }
        page.render()
    }

    /// Rows of the table of quality, and how they begin: name, bytes, rate.
    fn quality_rows(&self) -> Vec<Vec<String>> {
        let kbit = |bytes: u64| format!("{:.1}", bytes as f64 * 8.0 / 1000.0 / self.film.seconds);
        let row = |name: String, bytes: u64, own: &Figures| {
            [name, count(bytes), kbit(bytes)].into_iter().chain(figures(own)).collect::<Vec<String>>()
        };
        let mut rows = Vec::new();
        for package in &self.packages {
            let bytes = &package.bytes;
            rows.push(row(package.name.clone(), bytes.total, &package.package));
            rows.push(row("  interpolated".into(), bytes.low, &package.bicubic));
            for equal in &package.equal {
                let share = 100.0 * equal.bytes as f64 / bytes.total.max(1) as f64;
                let name = format!("  {} at {share:.1} % of the bytes", equal.codec.encoder());
                rows.push(row(name, equal.bytes, &equal.figures));
            }
        }
        rows
    }

    fn curve(&self, title: &str, unit: &str, quality: fn(&Figures) -> f64) -> LineChart {
        let at = |bytes: u64, own: &Figures| (bytes as f64 * 8.0 / 1000.0 / self.film.seconds, quality(own));
        let mut series: Vec<Series> = self
            .curves
            .iter()
            .map(|curve| {
                let points = curve.points.iter().map(|own| at(own.bytes, &own.figures));
                Series::new(curve.codec.encoder(), points.collect())
            })
            .collect();
        let own = |points: fn(&PackageReport) -> (u64, &Figures)| {
            let mut points: Vec<(f64, f64)> = self
                .packages
                .iter()
                .map(|package| {
                    let (bytes, figures) = points(package);
                    at(bytes, figures)
                })
                .collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            points
        };
        series.push(Series::new("package", own(|package| (package.bytes.total, &package.package))));
        series.push(Series {
            dashed: true,
            ..Series::new("interpolated", own(|package| (package.bytes.low, &package.bicubic)))
        });
        LineChart {
            title: title.into(),
            x_label: "kbit/s".into(),
            y_label: unit.into(),
            series,
            height: 340,
            ..LineChart::default()
        }
    }

    /// Charts over time, and tables.
    fn chunks(&self, mut page: Page) -> Page {
        for package in &self.packages {
            let middle = |at: usize| {
                let chunk = &package.chunks[at];
                (chunk.start + chunk.end) / 2.0
            };
            let line = |name: &str, of: &dyn Fn(usize) -> Option<Figures>| {
                let points = (0..package.chunks.len())
                    .map(|at| (middle(at), of(at).map_or(f64::NAN, |own| finite(own.psnr_rgb))));
                Series::new(name, points.collect())
            };
            let mut series: Vec<Series> =
                package.equal.iter().map(|own| line(own.codec.encoder(), &|at| own.chunks[at])).collect();
            series.push(line("package", &|at| package.chunks[at].package));
            series.push(Series { dashed: true, ..line("interpolated", &|at| package.chunks[at].bicubic) });
            let chart = LineChart {
                title: format!("PSNR over colours by chunk: {}", package.name),
                x_label: "s".into(),
                y_label: "dB".into(),
                series,
                width: 1000,
                height: 280,
                ..LineChart::default()
            };
            page = page.svg(Chart::to_svg(&chart));
            page = page.details(format!("Chunks of {}", package.name), |page| chunk_table(page, package));
        }
        page
    }

    fn places(&self, mut page: Page) -> Page {
        if self.pictures.is_empty() {
            return page;
        }
        page = page.section("Where the package differs most from interpolation");
        for shown in &self.pictures {
            let [row, column] = shown.at;
            page = page.text(format!(
                "Frame {}, {}x{} pixels from row {row} and column {column} on, enlarged",
                shown.frame, shown.size[1], shown.size[0]
            ));
            page = page.gallery(&shown.cards());
        }
        page
    }

    fn method(&self) -> Vec<String> {
        let ffmpeg = self.ffmpeg.as_deref().unwrap_or("of unknown version");
        vec![
            format!(
                "The film was coded by ffmpeg {ffmpeg} in two passes, preset {}, key frames as the encoders set them, without audio, to at most the \
                 package's bytes and at least 99 % of them, in up to six tries. Packages have a key frame at every chunk.",
                self.preset
            ),
            "Bytes are those of coded frames, for packages plus weights, modulations and the manifest as they lie on disk. Containers are left out on both sides."
                .into(),
            "All films were decoded to 8-bit RGB; packages by the player's own code with networks in floating point.".into(),
            format!(
                "PSNR rgb: mean square over the three colours, {} pixels cut from every side. PSNR Y: of the sum of colours weighted by 65.738, 129.057 and \
                 25.064 over 256, {} pixels cut; it is several dB higher. Both are means of dB over frames; frames without any difference are left out ({} of \
                 packages). SSIM: luma, Gaussian windows of 11 pixels.",
                self.cut,
                self.cut - 6,
                self.packages.iter().map(|package| package.package.identical).sum::<usize>()
            ),
            "Bjøntegaard deltas and bytes at equal PSNR: monotone piecewise cubics over the logarithm of bytes.".into(),
        ]
    }
}

fn tiles(package: &PackageReport) -> Vec<(String, String, String)> {
    let bytes = &package.bytes;
    let mut tiles = vec![
        ("Package".into(), format!("{} B", count(bytes.total)), format!("{:.1} kbit/s", package.kbit_per_s)),
        ("PSNR rgb".into(), format!("{} dB", db(package.package.psnr_rgb)), package.network.clone()),
        (
            "Over interpolation".into(),
            format!("{:+.2} dB", package.package.psnr_rgb - package.bicubic.psnr_rgb),
            package.low.clone(),
        ),
    ];
    tiles.extend(package.equal.iter().map(|equal| {
        let hint = if equal.missed.is_some() { "bytes not reached" } else { "at equal bytes" };
        (format!("Against {}", equal.codec.encoder()), lead(-equal.ahead), hint.to_string())
    }));
    tiles
}

/// Cells of a table.
fn figures(own: &Figures) -> [String; 6] {
    [
        db(own.psnr_rgb),
        db(own.psnr_rgb_of_mean),
        db(own.psnr_y),
        db(own.psnr_y_of_mean),
        format!("{:.4}", own.ssim),
        own.vmaf.map_or(String::new(), |vmaf| format!("{vmaf:.2}")),
    ]
}

fn finite(psnr: f64) -> f64 {
    if psnr >= crate::deliver::metrics::IDENTICAL { f64::NAN } else { psnr }
}

fn byte_row(package: &PackageReport) -> Vec<String> {
    let bytes = &package.bytes;
    let parts = [bytes.low, bytes.shared, bytes.modulations, bytes.manifest, bytes.total];
    std::iter::once(package.name.clone())
        .chain(parts.map(count))
        .chain([format!("{:.2} %", 100.0 * bytes.modulation_share)])
        .collect()
}

fn delay_rows(package: &PackageReport) -> Vec<Vec<String>> {
    let row = |delay: &super::Delay| {
        vec![
            format!("{} Mbit/s", delay.mbit_per_s),
            package.name.clone(),
            format!("{:.2}", delay.interpolated),
            format!("{:.2}", delay.enlarged),
        ]
    };
    package.delays.iter().map(row).collect()
}

fn chunk_table(page: Page, package: &PackageReport) -> Page {
    let cell = |own: Option<Figures>| own.map_or("–".into(), |own| db(own.psnr_rgb));
    let rows: Vec<Vec<String>> = package
        .chunks
        .iter()
        .take(MOST_CHUNKS)
        .map(|chunk| {
            let codecs = package.equal.iter().map(|equal| cell(equal.chunks[chunk.index]));
            [
                chunk.index.to_string(),
                format!("{:.2}", chunk.start),
                format!("{:.2}", chunk.end),
                if chunk.sr { "network" } else { "interpolation" }.to_string(),
                count(chunk.modulation),
                cell(chunk.package),
                cell(chunk.bicubic),
            ]
            .into_iter()
            .chain(codecs)
            .collect()
        })
        .collect();
    let codecs: Vec<String> = package.equal.iter().map(|equal| equal.codec.encoder().to_string()).collect();
    let fixed = ["chunk", "from s", "to s", "by", "modulation bytes", "PSNR rgb", "interpolated"];
    let header: Vec<String> = fixed.iter().map(|name| name.to_string()).chain(codecs).collect();
    let page = page.table(&header, &rows);
    match package.chunks.len() {
        more if more > MOST_CHUNKS => page.text(format!("The first {MOST_CHUNKS} of {more} chunks.")),
        _ => page,
    }
}

/// `frame`, `2nd frame`, `5th frame`.
fn ordinal(number: usize) -> String {
    let ending = match (number % 10, number % 100) {
        _ if number == 1 => return "frame".into(),
        (1, tens) if tens != 11 => "st",
        (2, tens) if tens != 12 => "nd",
        (3, tens) if tens != 13 => "rd",
        _ => "th",
    };
    format!("{number}{ending} frame")
}
