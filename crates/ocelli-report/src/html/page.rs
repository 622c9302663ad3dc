//! The page builder.

use std::fmt::Write;

use super::gallery::{Card, gallery};
use super::style::style_sheet;
use super::table::table;
use crate::chart::Chart;
use crate::escape::escape;

/// A page under construction. Each call adds a block below those before it; [`render`](Page::render) gives
/// the document.
///
/// All text is escaped. Only [`svg`](Page::svg) takes markup as it is.
#[derive(Debug, Clone)]
pub struct Page {
    title: String,
    subtitle: String,
    body: String,
    /// Titles of the sections so far, in order.
    sections: Vec<String>,
    section_open: bool,
    /// Inside a folded block; sections there are plain headings.
    nested: bool,
}

impl Page {
    /// An empty page.
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            subtitle: String::new(),
            body: String::new(),
            sections: Vec::new(),
            section_open: false,
            nested: false,
        }
    }

    /// A line below the title.
    #[must_use]
    pub fn subtitle(mut self, text: impl Into<String>) -> Self {
        self.subtitle = text.into();
        self
    }

    /// Large numbers in a row: `(label, value, hint)`. An empty hint takes no room.
    #[must_use]
    pub fn stat_tiles<S: AsRef<str>>(mut self, tiles: &[(S, S, S)]) -> Self {
        if tiles.is_empty() {
            return self;
        }
        self.body.push_str("<dl class=\"tiles\">");
        for (label, value, hint) in tiles {
            let (label, value, hint) =
                (escape(label.as_ref()), escape(value.as_ref()), escape(hint.as_ref()));
            let _ = write!(self.body, "<div><dt>{label}</dt><dd class=\"value\">{value}</dd>");
            if !hint.is_empty() {
                let _ = write!(self.body, "<dd class=\"hint\">{hint}</dd>");
            }
            self.body.push_str("</div>");
        }
        self.body.push_str("</dl>");
        self
    }

    /// Starts a section with a heading. A page of three or more has a table of contents.
    #[must_use]
    pub fn section(mut self, title: impl Into<String>) -> Self {
        let title = title.into();
        if self.nested {
            let _ = write!(self.body, "<h3>{}</h3>", escape(&title));
            return self;
        }
        self.close_section();
        let number = self.sections.len() + 1;
        let _ = write!(
            self.body,
            "<section id=\"s{number}\" aria-labelledby=\"h{number}\"><h2 id=\"h{number}\">{}</h2>",
            escape(&title)
        );
        self.sections.push(title);
        self.section_open = true;
        self
    }

    /// Paragraphs; an empty line starts a new one.
    #[must_use]
    pub fn text(mut self, text: impl AsRef<str>) -> Self {
        for paragraph in text.as_ref().split("\n\n").map(str::trim).filter(|p| !p.is_empty()) {
            let _ = write!(self.body, "<p>{}</p>", escape(paragraph));
        }
        self
    }

    /// A bulleted list.
    #[must_use]
    pub fn list<S: AsRef<str>>(mut self, items: &[S]) -> Self {
        if !items.is_empty() {
            self.body.push_str("<ul>");
            for item in items {
                let _ = write!(self.body, "<li>{}</li>", escape(item.as_ref()));
            }
            self.body.push_str("</ul>");
        }
        self
    }

    /// Two groups of blocks side by side, or one below the other where there is no room.
    #[must_use]
    pub fn columns(mut self, left: impl FnOnce(Self) -> Self, right: impl FnOnce(Self) -> Self) -> Self {
        let (left, right) = (self.inside(left), self.inside(right));
        let _ = write!(self.body, "<div class=\"columns\"><div>{left}</div><div>{right}</div></div>");
        self
    }

    /// A table. The first cell of a row is its heading; columns of numbers align right. Short rows are
    /// filled with empty cells.
    #[must_use]
    pub fn table<H: AsRef<str>, C: AsRef<str>>(mut self, headers: &[H], rows: &[Vec<C>]) -> Self {
        let name = self.sections.last().unwrap_or(&self.title);
        self.body.push_str(&table(name, headers, rows));
        self
    }

    /// An SVG, as it is: this is the one call that does not escape, so give it only markup you trust, such
    /// as that of a [`Chart`].
    #[must_use]
    pub fn svg(mut self, svg: impl AsRef<str>) -> Self {
        let _ = write!(self.body, "<figure class=\"chart\">{}</figure>", svg.as_ref());
        self
    }

    /// Charts side by side, as many as fit.
    #[must_use]
    pub fn charts(mut self, charts: &[&dyn Chart]) -> Self {
        if !charts.is_empty() {
            self.body.push_str("<div class=\"charts\">");
            for chart in charts {
                self = self.svg(chart.to_svg());
            }
            self.body.push_str("</div>");
        }
        self
    }

    /// Pictures with captions.
    #[must_use]
    pub fn gallery(mut self, cards: &[Card]) -> Self {
        self.body.push_str(&gallery(cards));
        self
    }

    /// Code or a command. `language` (`"toml"`, `"sh"`, or empty) is recorded in the markup.
    #[must_use]
    pub fn code(mut self, language: &str, text: impl AsRef<str>) -> Self {
        let class = match language {
            "" => String::new(),
            language => format!(" class=\"language-{}\"", escape(language)),
        };
        let text = escape(text.as_ref().trim_end());
        let _ = write!(self.body, "<pre tabindex=\"0\"><code{class}>{text}</code></pre>");
        self
    }

    /// A block folded away under `summary`; `fill` adds what is in it.
    #[must_use]
    pub fn details(mut self, summary: impl AsRef<str>, fill: impl FnOnce(Self) -> Self) -> Self {
        let inside = self.inside(fill);
        let summary = escape(summary.as_ref());
        let _ = write!(
            self.body,
            "<details><summary>{summary}</summary><div class=\"folded\">{inside}</div></details>"
        );
        self
    }

    /// The finished document.
    #[must_use]
    pub fn render(mut self) -> String {
        self.close_section();
        let title = escape(&self.title);
        let mut head = format!("<h1>{title}</h1>");
        if !self.subtitle.is_empty() {
            let _ = write!(head, "<p class=\"subtitle\">{}</p>", escape(&self.subtitle));
        }
        if self.sections.len() >= 3 {
            head.push_str("<nav aria-label=\"Sections\"><ul>");
            for (i, section) in self.sections.iter().enumerate() {
                let _ = write!(head, "<li><a href=\"#s{}\">{}</a></li>", i + 1, escape(section));
            }
            head.push_str("</ul></nav>");
        }
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
             <meta name=\"color-scheme\" content=\"light dark\"/>\n\
             <meta http-equiv=\"Content-Security-Policy\" \
             content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\"/>\n\
             <title>{title}</title>\n<style>{}</style>\n</head>\n\
             <body>\n<main>\n<header>{head}</header>\n{}\n</main>\n</body>\n</html>\n",
            style_sheet(),
            self.body
        )
    }

    /// The markup of blocks that go inside another.
    fn inside(&self, fill: impl FnOnce(Self) -> Self) -> String {
        let name = self.sections.last().unwrap_or(&self.title).clone();
        fill(Self { nested: true, ..Self::new(name) }).body
    }

    fn close_section(&mut self) {
        if self.section_open {
            self.body.push_str("</section>\n");
            self.section_open = false;
        }
    }
}
