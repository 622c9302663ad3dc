//! Bar charts.

use ocelli_report::chart::{Bar, BarChart};

use crate::support::{parse_svg, texts};

fn draw(bars: Vec<Bar>, x_range: Option<(f64, f64)>) -> String {
    BarChart { title: "arms".into(), x_label: "top-1".into(), bars, x_range, ..BarChart::default() }.to_svg()
}

fn bars(svg: &str) -> usize {
    let document = parse_svg(svg);
    document.descendants().filter(|n| n.tag_name().name() == "rect" && n.attribute("rx").is_some()).count()
}

#[test]
fn seeds_give_mean_and_deviation() {
    let bar = Bar::of_seeds("arm", &[90.0, 92.0, f64::NAN, 91.0]);
    assert_eq!((bar.value, bar.error), (91.0, Some((90.0, 92.0))));
    assert_eq!(bar.text.as_deref(), Some("91.0 ± 1.0"));
    assert_eq!(bar.points.len(), 3);
    assert!(Bar::of_seeds("none", &[]).value.is_nan());
    assert_eq!(Bar::of_seeds("one", &[5.0]).error, None);
}

#[test]
fn ordinary_bars() {
    let svg = draw(vec![Bar::of_seeds("a & <b>", &[1.0, 2.0, 3.0]), Bar::new("b", 4.0)], None);
    assert_eq!(bars(&svg), 2);
    let document = parse_svg(&svg);
    let texts = texts(&document, "text");
    assert!(texts.iter().any(|t| t == "a & <b>") && texts.iter().any(|t| t == "2.0 ± 1.0"), "{texts:?}");
}

#[test]
fn without_zero_there_are_dots() {
    assert_eq!(bars(&draw(vec![Bar::new("a", 91.0), Bar::new("b", 92.0)], Some((90.0, 93.0)))), 0);
}

#[test]
fn labels_make_their_own_room() {
    let width = |svg: &str| parse_svg(svg).root_element().attribute("width").unwrap().parse::<f64>().unwrap();
    let name = "D-GridConv, standard grid, kept as it is";
    let with = |label: &str| draw(vec![Bar::new("arm", 1.0), Bar::new(label, 2.0)], None);
    let (short, long, longer) = (with("b"), with(name), with(&format!("{name}, twice")));
    assert!(texts(&parse_svg(&long), "text").iter().any(|text| text == name), "cut short");
    assert!(width(&short) == 520.0 && width(&long) > 520.0 && width(&longer) > width(&long));
    // The room of the bars does not shrink with the labels.
    let bar = |svg: &str| {
        let document = parse_svg(svg);
        let rects = document.descendants().filter(|node| node.attribute("rx").is_some());
        rects.map(|rect| rect.attribute("width").unwrap().parse::<f64>().unwrap()).fold(0.0, f64::max)
    };
    assert!(bar(&long) > 150.0 && (bar(&long) - bar(&longer)).abs() < 1.5, "{}", bar(&long));
    let endless = draw(vec![Bar::new("a label far too long for its place ".repeat(20), 1.0)], None);
    assert!(width(&endless) < 900.0, "{}", width(&endless));
}

#[test]
fn odd_bars() {
    for value in [0.0, -3.0, f64::NAN, f64::INFINITY, 1e300] {
        let error = Some((f64::NAN, 1.0));
        let bar = Bar { error, points: vec![value, 0.5], ..Bar::new("a", value) };
        for range in [None, Some((0.0, 0.0)), Some((2.0, -2.0)), Some((f64::NAN, 1.0))] {
            parse_svg(&draw(vec![bar.clone()], range));
        }
    }
    let svg = draw(Vec::new(), None);
    assert!(texts(&parse_svg(&svg), "text").iter().any(|t| t == "no data"));
    let long = "a label far too long for its place ".repeat(20);
    parse_svg(&draw(vec![Bar::new(long, 1.0)], None));
}
