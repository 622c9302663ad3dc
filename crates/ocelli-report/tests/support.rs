//! What several tests need.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory of its own for a test, removed at the end.
pub struct TempDir(pub PathBuf);

impl TempDir {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ocelli-report-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// The names in the directory, sorted.
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Parses an SVG, and checks that no attribute holds a number that is none.
pub fn parse_svg(svg: &str) -> roxmltree::Document<'_> {
    let document = roxmltree::Document::parse(svg).unwrap_or_else(|error| panic!("{error}\n{svg}"));
    for node in document.descendants() {
        for attribute in node.attributes() {
            if attribute.name() == "aria-label" {
                continue;
            }
            let value = attribute.value();
            assert!(!value.contains("NaN") && !value.contains("inf"), "{}={value}", attribute.name());
        }
    }
    document
}

/// Parses a page: what this crate writes is XML too, so every element must be closed.
pub fn parse_html(html: &str) -> roxmltree::Document<'_> {
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
    roxmltree::Document::parse_with_options(html, options).unwrap_or_else(|error| panic!("{error}\n{html}"))
}

/// The texts of elements called `name`.
pub fn texts(document: &roxmltree::Document<'_>, name: &str) -> Vec<String> {
    let found = document.descendants().filter(|node| node.has_tag_name(("http://www.w3.org/2000/svg", name)));
    found.map(|node| node.text().unwrap_or_default().to_owned()).collect()
}

/// The texts of HTML elements called `name`, with those of their children.
pub fn html_texts(document: &roxmltree::Document<'_>, name: &str) -> Vec<String> {
    let found = document.descendants().filter(|node| node.is_element() && node.tag_name().name() == name);
    found
        .map(|node| node.descendants().filter(roxmltree::Node::is_text).filter_map(|n| n.text()).collect())
        .collect()
}

/// Repeatable numbers in 0..1.
pub struct Random(pub u64);

impl Random {
    pub fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 11) as f64) / (1_u64 << 53) as f64
    }
}
