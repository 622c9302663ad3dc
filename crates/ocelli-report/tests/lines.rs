//! Line charts.

use ocelli_report::chart::{LineChart, Series, panels};

use crate::support::{parse_svg, texts};

fn chart(points: Vec<(f64, f64)>) -> LineChart {
    LineChart {
        title: "loss".into(),
        x_label: "epoch".into(),
        y_label: "nats".into(),
        series: vec![Series::new("train", points)],
        ..LineChart::default()
    }
}

fn count(svg: &str, tag: &str) -> usize {
    parse_svg(svg).descendants().filter(|node| node.tag_name().name() == tag).count()
}

#[test]
fn an_ordinary_chart() {
    let svg = chart((1..=12).map(|x| (f64::from(x), 1.0 / f64::from(x))).collect()).to_svg();
    let document = parse_svg(&svg);
    let texts = texts(&document, "text");
    for text in ["loss", "epoch", "nats", "train", "12"] {
        assert!(texts.iter().any(|t| t == text), "{text} in {texts:?}");
    }
    assert_eq!(document.root_element().attribute("aria-label"), Some("loss: train"));
    assert_eq!(count(&svg, "circle"), 12);
}

#[test]
fn the_key_stands_above_the_plot() {
    let series = (0..30).map(|n| Series::new(format!("a series with number {n}"), vec![(0.0, f64::from(n))]));
    let chart = LineChart { series: series.collect(), ..chart(Vec::new()) };
    let svg = chart.to_svg();
    let document = parse_svg(&svg);
    let bottom_of = |what: &str| {
        let found =
            document.descendants().filter(|n| n.is_element() && n.text().is_some_and(|t| t.contains(what)));
        found.filter_map(|n| n.attribute("y")?.parse::<f64>().ok()).fold(0.0, f64::max)
    };
    let plot = document.descendants().filter(|n| n.tag_name().name() == "svg").nth(1).unwrap();
    let top: f64 = plot.attribute("y").unwrap().parse().unwrap();
    assert!(bottom_of("a series with number") < top);
    assert!(bottom_of("+ 6 more") < top && bottom_of("+ 6 more") > 0.0);
}

#[test]
fn gaps_break_the_line() {
    let nan = f64::NAN;
    let svg = chart(vec![(1.0, 1.0), (2.0, 2.0), (3.0, nan), (4.0, 1.0), (5.0, f64::INFINITY), (6.0, 2.0)])
        .to_svg();
    // The line has one piece of two points; each point that can be drawn has a dot.
    let document = parse_svg(&svg);
    let lines: Vec<&str> = document
        .descendants()
        .filter(|n| n.attribute("class") == Some("oc-k0") && n.attribute("stroke-linejoin").is_some())
        .filter_map(|n| n.attribute("d"))
        .collect();
    assert_eq!(lines.len(), 1);
    assert_eq!((lines[0].matches('M').count(), lines[0].matches('L').count()), (1, 1));
    assert_eq!(count(&svg, "circle"), 4);
}

#[test]
fn charts_without_a_line() {
    for points in [vec![], vec![(1.0, f64::NAN)], vec![(f64::INFINITY, 1.0)], vec![(0.0, 1e200)]] {
        let svg = chart(points).to_svg();
        assert!(texts(&parse_svg(&svg), "text").iter().any(|t| t == "no data"));
    }
    parse_svg(&LineChart::default().to_svg());
    assert_eq!(count(&chart(vec![(3.0, 0.5)]).to_svg(), "circle"), 1);
    assert_eq!(count(&chart(vec![(1.0, 0.0), (2.0, 0.0)]).to_svg(), "circle"), 2);
    assert_eq!(count(&chart(vec![(1.0, 7e9), (2.0, 7e9)]).to_svg(), "circle"), 2);
}

#[test]
fn logarithmic_axes_leave_out_what_is_not_positive() {
    let points = vec![(1.0, 0.0), (2.0, -3.0), (3.0, 1e-3), (4.0, 10.0)];
    let svg = LineChart { y_log: true, ..chart(points) }.to_svg();
    assert_eq!(count(&svg, "circle"), 2);
    let none = LineChart { y_log: true, ..chart(vec![(1.0, 0.0)]) }.to_svg();
    assert_eq!(count(&none, "circle"), 0);
    let ranged = LineChart { y_log: true, y_range: Some((-1.0, 5.0)), ..chart(vec![(1.0, 2.0)]) };
    parse_svg(&ranged.to_svg());
}

#[test]
fn odd_ranges_and_bands() {
    let nan = f64::NAN;
    for y_range in [(0.0, 0.0), (5.0, -5.0), (nan, 1.0), (0.0, f64::INFINITY), (0.4, 0.6)] {
        let band = Some(vec![
            (0.0, 0.0, 1.0),
            (1.0, nan, 1.0),
            (2.0, -1e300, 1.0),
            (3.0, 0.5, 0.4),
            (4.0, 0.0, 9.0),
        ]);
        let series = vec![Series { band, dashed: true, ..Series::new("x", vec![(0.0, 0.5), (4.0, 1e140)]) }];
        let marks = vec![(2.0, "here".into()), (nan, "nowhere".into()), (99.0, "outside".into())];
        let chart = LineChart { series, y_range: Some(y_range), x_marks: marks, ..LineChart::default() };
        let svg = chart.to_svg();
        let all = texts(&parse_svg(&svg), "text");
        assert!(all.iter().any(|t| t == "here") && !all.iter().any(|t| t == "nowhere" || t == "outside"));
    }
}

#[test]
fn text_is_escaped() {
    let evil = "<script>alert('x')</script> & \"co\"";
    let chart = LineChart {
        title: evil.into(),
        x_label: evil.into(),
        y_label: evil.into(),
        series: vec![Series::new(evil, vec![(0.0, 1.0)])],
        x_marks: vec![(0.0, evil.into())],
        ..LineChart::default()
    };
    for svg in [chart.to_svg(), panels(vec![chart]).to_svg()] {
        assert!(!svg.contains("<script"));
        parse_svg(&svg);
    }
}

#[test]
fn long_series_are_thinned_but_keep_their_spikes() {
    let mut points: Vec<(f64, f64)> = (0..200_000).map(|i| (f64::from(i), f64::from(i % 7))).collect();
    let smooth = chart(points.clone()).to_svg();
    points[123_457].1 = 1000.0;
    let spiked = chart(points.clone()).to_svg();
    assert!(smooth.len() < 100_000 && spiked.len() < 100_000, "{} {}", smooth.len(), spiked.len());
    let highest = |svg: &str| {
        let document = parse_svg(svg);
        let line = document.descendants().find(|n| n.attribute("stroke-linejoin").is_some()).unwrap();
        let numbers = line.attribute("d").unwrap().split(['M', 'L']).filter_map(|p| p.split(' ').nth(1));
        numbers.map(|y| y.parse::<f64>().unwrap()).fold(f64::INFINITY, f64::min)
    };
    // The plot's upper end, with the axis reaching just to the spike.
    assert!(highest(&spiked) < 80.0, "{}", highest(&spiked));
    for point in points.iter_mut().step_by(2) {
        point.1 = f64::NAN;
    }
    assert!(chart(points).to_svg().len() < 500_000);
}
