//! Writes sample pages with made-up numbers: `cargo run --release -p ocelli-report --example demo -- DIR`.

use std::error::Error;
use std::path::PathBuf;

use ocelli_report::atomic::write_atomic;
use ocelli_report::chart::{Bar, BarChart, Heatmap, LineChart, Series};
use ocelli_report::html::Page;
use ocelli_report::png::encode_rgb;
use ocelli_report::tensorboard::{EventWriter, now};
use ocelli_report::training::{EpochRow, Sample, TrainingReport};

const MADE_UP: &str = "Every number and picture on this page is made up, to show what a report looks like.";

fn main() -> Result<(), Box<dyn Error>> {
    let dir = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "target/report-demo".into()));
    std::fs::create_dir_all(&dir)?;
    let names = ["plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];
    let ten: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let hundred: Vec<String> =
        (0..100).map(|i| format!("{} {i}, a class with rather a long name", names[i % 10])).collect();

    let report = report("demo-ten-classes", 12, ten)?;
    write_atomic(dir.join("training.html"), report.to_html().as_bytes())?;
    write_atomic(dir.join("curves.svg"), report.curves_svg().as_bytes())?;
    let hard = self::report("demo-hundred-classes", 3, hundred)?;
    write_atomic(dir.join("hundred.html"), hard.to_html().as_bytes())?;
    write_atomic(dir.join("charts.html"), charts().as_bytes())?;

    let mut events = EventWriter::resume(dir.join("events"), 0)?;
    for row in &report.epochs {
        events.add_scalar("train/loss", row.train_loss, i64::from(row.epoch), now())?;
    }
    events.flush()?;
    println!("wrote {}", dir.display());
    Ok(())
}

/// A repeatable value in 0..1.
fn noise(seed: usize) -> f64 {
    let mixed = (seed as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 11) as f64 / (1_u64 << 53) as f64
}

fn report(name: &str, epochs: usize, classes: Vec<String>) -> Result<TrainingReport, Box<dyn Error>> {
    let size = classes.len();
    let rows: Vec<EpochRow> = (1..=epochs)
        .map(|epoch| {
            let t = epoch as f64 / 12.0;
            let wobble = 0.02 * (noise(epoch) - 0.5);
            EpochRow {
                epoch: epoch as u32,
                lr: 0.0005 * (1.0 + (std::f64::consts::PI * epoch as f64 / epochs as f64).cos()),
                train_loss: 0.15 + 2.1 * (-3.2 * t).exp(),
                train_acc: Some(0.99 - 0.7 * (-3.0 * t).exp()),
                val_loss: Some(0.32 + 1.8 * (-3.4 * t).exp() + 0.12 * t * t + wobble),
                val_top1: Some(0.925 - 0.6 * (-3.4 * t).exp() - 0.02 * t * t + wobble),
                val_top5: Some(0.998 - 0.25 * (-4.0 * t).exp()),
                images_per_s: 1480.0 + 90.0 * noise(epoch + 50),
                seconds: 33.0 + noise(epoch + 99),
                data_wait_share: 0.04,
            }
        })
        .collect();
    let confusion: Vec<Vec<u64>> = (0..size)
        .map(|truth| {
            let mut row: Vec<u64> = (0..size)
                .map(|column| {
                    (noise(truth * size + column).powi(if size > 20 { 60 } else { 6 }) * 9.0) as u64
                })
                .collect();
            row[truth] = 0;
            if classes[truth].starts_with("cat") {
                row[(truth + 2) % size] += 17;
            }
            row[truth] = 100_u64.saturating_sub(row.iter().sum());
            row
        })
        .collect();
    let hits: u64 = (0..size).map(|i| confusion[i][i]).sum();
    let best = rows.iter().max_by(|a, b| a.val_top1.unwrap_or(0.0).total_cmp(&b.val_top1.unwrap_or(0.0)));
    let samples = (0..12).map(|i| sample(&classes, i)).collect::<Result<Vec<_>, _>>()?;
    Ok(TrainingReport {
        run_name: name.into(),
        model: "made-up-net-small".into(),
        dataset: "a made-up data set".into(),
        device: "a made-up device".into(),
        params: 2_341_770,
        macs: Some(58_300_000),
        best_epoch: best.map(|row| row.epoch),
        final_top1: Some(hits as f64 / (size as f64 * 100.0)),
        final_top5: Some(0.991),
        epochs: rows,
        confusion,
        samples,
        classes,
        config_toml: "# made up\n[train]\nepochs = 12\nbatch_size = 128\nlr = 1e-3\nseed = 7\n".into(),
        next_commands: vec![
            "ocelli predict --model runs/demo/best.safetensors photo.jpg".into(),
            "ocelli eval --model runs/demo/best.safetensors --data data/val".into(),
        ],
        notes: vec![MADE_UP.into()],
    })
}

/// A picture of a coloured blob with made-up predictions; every fifth one is wrong.
fn sample(classes: &[String], i: usize) -> Result<Sample, Box<dyn Error>> {
    let side = 32_u32;
    let hue = [noise(i), noise(i + 7), noise(i + 13)];
    let centre = (10.0 + 12.0 * noise(i + 20), 10.0 + 12.0 * noise(i + 30));
    let mut rgb = Vec::new();
    for y in 0..side {
        for x in 0..side {
            let far = (f64::from(x) - centre.0).hypot(f64::from(y) - centre.1) / 14.0;
            for channel in hue {
                let light = 0.25 + 0.75 * channel * (1.0 - far).clamp(0.0, 1.0) + 0.3 * f64::from(y) / 32.0;
                rgb.push((light.clamp(0.0, 1.0) * 255.0) as u8);
            }
        }
    }
    let class = |n: usize| classes[n % classes.len()].clone();
    let (first, second) = if i % 5 == 3 { (i + 2, i) } else { (i, i + 2) };
    let sure = 0.55 + 0.44 * noise(i + 60) as f32;
    Ok(Sample {
        png: encode_rgb(side, side, &rgb)?,
        truth: Some(class(i)),
        predictions: vec![
            (class(first), sure),
            (class(second), (1.0 - sure) * 0.7),
            (class(i + 5), (1.0 - sure) * 0.2),
        ],
    })
}

/// The charts on their own, with hard cases.
fn charts() -> String {
    let arm = |name: &str, level: f64, seed: usize| {
        let seeds: Vec<f64> = (0..5).map(|i| level + 1.6 * (noise(seed + i) - 0.5)).collect();
        Bar::of_seeds(name, &seeds)
    };
    let bars = BarChart {
        title: "Made-up accuracy of four arms over five seeds".into(),
        x_label: "top-1 accuracy in %".into(),
        bars: vec![
            arm("teacher", 93.1, 1),
            arm("student with distillation", 91.2, 10),
            arm("student alone", 89.0, 20),
            arm("student at 8 bits", 88.7, 30),
        ],
        ..BarChart::default()
    };
    let zoomed = BarChart { x_range: Some((86.0, 95.0)), ..bars.clone() };
    let steps: Vec<(f64, f64)> = (0..50_000)
        .map(|i| (f64::from(i), 2.0 * (-f64::from(i) / 9000.0).exp() + 0.2 * noise(i as usize)))
        .collect();
    let long = LineChart {
        title: "50,000 made-up steps on a logarithmic axis".into(),
        x_label: "step".into(),
        y_label: "loss".into(),
        y_log: true,
        series: vec![Series::new("loss", steps)],
        ..LineChart::default()
    };
    let band = (0..=20).map(f64::from).map(|x| (x, 50.0 + 2.0 * x, 60.0 + 1.8 * x)).collect();
    let gaps =
        vec![(0.0, 55.0), (5.0, 64.0), (8.0, f64::NAN), (10.0, 75.0), (12.0, f64::INFINITY), (20.0, 93.0)];
    let banded = LineChart {
        title: "A band, gaps and a dashed line".into(),
        x_label: "epoch".into(),
        y_label: "accuracy in %".into(),
        series: vec![
            Series { band: Some(band), ..Series::new("made-up mean of seeds", gaps) },
            Series { dashed: true, ..Series::new("made-up baseline", vec![(0.0, 70.0), (20.0, 70.0)]) },
        ],
        ..LineChart::default()
    };
    let many = (0..10).map(|n| {
        let points = (0..8).map(|x| (f64::from(x), noise(n) * 3.0 + f64::from(x) * noise(n + 40))).collect();
        Series::new(format!("series number {n}"), points)
    });
    let many = LineChart { title: "Ten series".into(), series: many.collect(), ..LineChart::default() };
    let empty = LineChart { title: "No points at all".into(), ..LineChart::default() };
    let one = LineChart {
        title: "One point".into(),
        series: vec![Series::new("loss", vec![(1.0, 0.731)])],
        ..LineChart::default()
    };
    let constant = LineChart {
        title: "A constant".into(),
        series: vec![Series::new("rate", (0..6).map(|x| (f64::from(x), 3e-4)).collect())],
        ..LineChart::default()
    };
    let three = Heatmap {
        title: "Three classes".into(),
        labels: vec!["yes".into(), "no".into(), "R&D <maybe>".into()],
        cells: vec![vec![90, 5, 5], vec![12, 85, 3], vec![0, 0, 0]],
    };
    let thousand: Vec<Vec<u64>> = (0..1000)
        .map(|i| (0..1000).map(|j| if i == j { 40 } else { (noise(i * 1000 + j) > 0.99) as u64 }).collect())
        .collect();
    let thousand = Heatmap { title: "A thousand classes".into(), labels: Vec::new(), cells: thousand };
    Page::new("Charts")
        .subtitle(MADE_UP)
        .section("Lines")
        .charts(&[&banded, &long, &many, &empty, &one, &constant])
        .section("Bars")
        .charts(&[&bars, &zoomed])
        .section("Heat maps")
        .charts(&[&three])
        .charts(&[&thousand])
        .render()
}
