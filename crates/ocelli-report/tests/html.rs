//! Pages.

use ocelli_report::chart::LineChart;
use ocelli_report::html::{Card, Page, Picture};
use ocelli_report::png::encode_rgb;

use crate::support::{html_texts, parse_html};

const EVIL: &str = "<script>alert(\"x\")</script> & 'co'";

fn full_page() -> String {
    let card = |good| Card {
        image: Picture::png(encode_rgb(2, 2, &[9; 12]).unwrap()),
        caption_lines: vec![EVIL.into(), "second".into()],
        good,
    };
    let evil = [EVIL, EVIL, EVIL];
    Page::new(EVIL)
        .subtitle(EVIL)
        .stat_tiles(&[(EVIL, EVIL, EVIL), ("a", "1", "")])
        .section(EVIL)
        .text(format!("{EVIL}\n\nsecond"))
        .list(&[EVIL])
        .table(&evil, &[vec![EVIL, "1.0", "2"], vec!["short"]])
        .section("Charts")
        .svg(LineChart { title: EVIL.into(), ..LineChart::default() }.to_svg())
        .charts(&[&LineChart::default(), &LineChart::default()])
        .section("More")
        .gallery(&[card(Some(true)), card(Some(false)), card(None)])
        .code("\"><script>", EVIL)
        .details(EVIL, |page| page.section("inner").text(EVIL).table(&["a"], &[vec!["b"]]))
        .columns(|left| left.text(EVIL), |right| right.details("x", |page| page))
        .render()
}

#[test]
fn everything_is_escaped_and_balanced() {
    let html = full_page();
    assert!(!html.contains("<script"));
    let document = parse_html(&html);
    assert_eq!(html_texts(&document, "h1"), [EVIL]);
    assert_eq!(html_texts(&document, "h2"), [EVIL, "Charts", "More"]);
    assert_eq!(html_texts(&document, "code"), [EVIL]);
    let paragraphs = html_texts(&document, "p");
    assert!(paragraphs.contains(&EVIL.to_owned()) && paragraphs.contains(&"second".to_owned()));
}

#[test]
fn nothing_is_fetched() {
    let html = full_page();
    let document = parse_html(&html);
    for node in document.descendants() {
        for attribute in node.attributes() {
            match attribute.name() {
                "src" => assert!(attribute.value().starts_with("data:image/png;base64,")),
                "href" => assert!(attribute.value().starts_with('#')),
                name => assert!(!name.starts_with("on"), "{name}"),
            }
        }
    }
    assert!(!html.contains("url(") && !html.contains("@import"));
}

#[test]
fn it_is_accessible() {
    let html = full_page();
    let document = parse_html(&html);
    let elements = || document.descendants().filter(roxmltree::Node::is_element);
    assert_eq!(document.root_element().attribute("lang"), Some("en"));
    assert!(elements().filter(|n| n.has_tag_name("img")).all(|n| n.attribute("alt").is_some()));
    assert!(elements().filter(|n| n.has_tag_name("th")).all(|n| n.attribute("scope").is_some()));
    let ids: Vec<&str> = elements().filter_map(|n| n.attribute("id")).collect();
    let mut unique = ids.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(ids.len(), unique.len());
    for link in elements().filter_map(|n| n.attribute("href")) {
        assert!(ids.contains(&&link[1..]), "{link}");
    }
    for label in elements().filter_map(|n| n.attribute("aria-labelledby")) {
        assert!(ids.contains(&label), "{label}");
    }
}

#[test]
fn columns_of_numbers_align_right() {
    let rows = [vec!["cat", "91.2%", "–", "12 ms"], vec!["7up", "−3", "1,234", "a word"]];
    let html = Page::new("t").table(&["name", "a", "b", "c"], &rows).render();
    let document = parse_html(&html);
    let numeric: Vec<bool> = document
        .descendants()
        .filter(|n| n.attribute("scope") == Some("col"))
        .map(|n| n.attribute("class") == Some("number"))
        .collect();
    assert_eq!(numeric, [false, true, true, false]);
}

#[test]
fn small_pictures_keep_their_pixels() {
    let card = |side: u32| Card {
        image: Picture::png(encode_rgb(side, side, &vec![0; (side * side * 3) as usize]).unwrap()),
        caption_lines: Vec::new(),
        good: None,
    };
    let html = Page::new("t").gallery(&[card(32), card(96)]).render();
    assert!(html.contains("<img class=\"pixels\" width=\"32\" height=\"32\""));
    assert!(html.contains("<img width=\"96\" height=\"96\""));
    let jpeg = Card { image: Picture::encoded("image/jpeg", vec![1, 2, 3]), ..card(1) };
    assert!(Page::new("t").gallery(&[jpeg]).render().contains("data:image/jpeg;base64,AQID"));
}

#[test]
fn empty_blocks_leave_nothing() {
    let bare = Page::new("t").render();
    let none: [(&str, &str, &str); 0] = [];
    let empty = Page::new("t").stat_tiles(&none).list::<&str>(&[]).text(" \n\n ").charts(&[]).gallery(&[]);
    assert_eq!(empty.render(), bare);
}
