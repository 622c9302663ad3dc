//! The results as a page: the claim beside what was measured, whichever way it came out.

use std::fmt::Write;

use ocelli_report::chart::{Bar, BarChart};

use super::{ArmResults, Experiment, Results, apart, mean_std};

/// Markdown for `docs/results/`; `command` is what re-runs it.
pub fn markdown(experiment: &Experiment, results: &Results, command: &str) -> String {
    let mut text = String::new();
    let seeds = results.arms.first().map_or(0, |arm| arm.accuracy.len());
    writeln!(text, "# {}\n", results.experiment).ok();
    writeln!(text, "**The paper's claim.** {}. ({})\n", sentence(experiment.claim), experiment.source).ok();
    writeln!(text, "**Expected at this size.** {}.\n", experiment.expectation).ok();
    writeln!(text, "**Measured.** {}\n", verdict(experiment, results)).ok();
    writeln!(
        text,
        "| arm | parameters | MACs | test accuracy % (seeds) | mean ± std | train loss | training s |\n\
         | --- | ---: | ---: | --- | ---: | ---: | ---: |"
    )
    .ok();
    for arm in &results.arms {
        let (mean, std) = mean_std(&arm.accuracy);
        let each: Vec<String> = arm.accuracy.iter().map(|a| format!("{:.2}", 100.0 * a)).collect();
        writeln!(
            text,
            "| {} | {} | {:.3} M | {} | {:.2} ± {:.2} | {:.3} | {:.0} |",
            arm.name,
            arm.parameters,
            arm.macs as f64 / 1e6,
            each.join(", "),
            100.0 * mean,
            100.0 * std,
            mean_std(&arm.train_loss).0,
            mean_std(&arm.seconds).0
        )
        .ok();
    }
    choices(&mut text, results);
    flips(&mut text, results);
    writeln!(
        text,
        "\n{} training and {} test pictures of {}, {} px, {} epochs, {seeds} seed{}; {}, batch 64, shift and mirror; accuracy after the last epoch. Small-scale results: \
         not comparable with published full-data figures. {:.0} minutes in all.\n",
        results.train_pictures,
        results.test_pictures,
        results.data,
        results.side,
        results.epochs,
        if seeds == 1 { "" } else { "s" },
        experiment.recipe.text(),
        results.seconds / 60.0
    )
    .ok();
    writeln!(text, "```\n{command}\n```").ok();
    text
}

/// Which resolutions the test pictures went to, where an arm has several.
fn choices(text: &mut String, results: &Results) {
    let several: Vec<&ArmResults> = results.arms.iter().filter(|arm| !arm.choices.is_empty()).collect();
    if several.is_empty() {
        return;
    }
    writeln!(
        text,
        "\nMACs are means over the test pictures and seeds, the choice's own cost included. Shares of the test pictures \
         per resolution, largest first:\n\n| arm | % (seeds) |\n| --- | --- |"
    )
    .ok();
    for arm in several {
        let seeds: Vec<String> = arm
            .choices
            .iter()
            .map(|counts| {
                let total = counts.iter().sum::<u64>().max(1) as f64;
                let shares: Vec<String> =
                    counts.iter().map(|&count| format!("{:.0}", 100.0 * count as f64 / total)).collect();
                shares.join("/")
            })
            .collect();
        writeln!(text, "| {} | {} |", arm.name, seeds.join(", ")).ok();
    }
}

/// How many binary weights fine-tuning turned round, where there is any.
fn flips(text: &mut String, results: &Results) {
    let tuned: Vec<&ArmResults> = results.arms.iter().filter(|arm| !arm.flips.is_empty()).collect();
    if tuned.is_empty() {
        return;
    }
    writeln!(
        text,
        "\nThe train loss is the finished network's cross entropy on the training pictures as they are. Binary weights that fine-tuning \
         turned round:\n\n| arm | % (seeds) |\n| --- | --- |"
    )
    .ok();
    for arm in tuned {
        let seeds: Vec<String> = arm.flips.iter().map(|rate| format!("{:.2}", 100.0 * rate)).collect();
        writeln!(text, "| {} | {} |", arm.name, seeds.join(", ")).ok();
    }
}

/// Mean and seeds of every arm as a chart, zoomed to where they lie.
pub fn chart(results: &Results) -> String {
    let percent = |arm: &ArmResults| arm.accuracy.iter().map(|a| 100.0 * a).collect::<Vec<f64>>();
    let all: Vec<f64> = results.arms.iter().flat_map(percent).collect();
    let low = all.iter().copied().fold(100.0, f64::min).floor() - 1.0;
    let high = all.iter().copied().fold(0.0, f64::max).ceil() + 1.0;
    BarChart {
        title: format!("{}: test accuracy", results.experiment),
        x_label: "test accuracy, %".into(),
        bars: results.arms.iter().map(|arm| Bar::of_seeds(arm.name.clone(), &percent(arm))).collect(),
        x_range: Some((low, high)),
        ..Default::default()
    }
    .to_svg()
}

/// What the figures say about the expectation.
pub fn verdict(experiment: &Experiment, results: &Results) -> String {
    let sentences: Vec<String> = experiment
        .order
        .iter()
        .map(|&(better, worse)| compare(&results.arms[better], &results.arms[worse]))
        .collect();
    sentences.join(" ")
}

fn compare(a: &ArmResults, b: &ArmResults) -> String {
    let (points, noise, word) = apart(&a.accuracy, &b.accuracy);
    format!(
        "\"{}\" {:+.2} points against \"{}\" (two standard errors {:.2}): {word}.",
        a.name,
        100.0 * points,
        b.name,
        100.0 * noise
    )
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}
