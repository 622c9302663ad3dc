//! The key of a line chart, in rows between the title and the plot where it covers no data.

use super::paint::Paint;
use super::svg::{Drawing, Style};
use super::text;

const SIZE: f64 = 12.5;
const ROW: f64 = 19.0;
const SWATCH: f64 = 20.0;
const GAP: f64 = 16.0;
/// Beyond this many series, the rest are counted and not named.
const MOST: usize = 24;

struct Entry {
    x: f64,
    row: usize,
    /// `None` for the closing "+ n more".
    series: Option<usize>,
    text: String,
    full: String,
}

/// Where the key's entries go.
pub(super) struct Legend {
    entries: Vec<Entry>,
    rows: usize,
}

impl Legend {
    /// Lays out `names` in rows of `room`.
    pub(super) fn new(names: &[&str], room: f64) -> Self {
        let mut legend = Self { entries: Vec::new(), rows: 0 };
        let (mut x, mut row) = (0.0, 0);
        let named = names.iter().take(MOST).enumerate().filter(|(_, name)| !name.is_empty());
        let mut wanted: Vec<(Option<usize>, String)> =
            named.map(|(i, name)| (Some(i), (*name).to_owned())).collect();
        if names.len() > MOST {
            wanted.push((None, format!("+ {} more", names.len() - MOST)));
        }
        for (series, full) in wanted {
            let text = text::fit(&full, SIZE, (room - SWATCH - 8.0).min(220.0));
            let width = SWATCH + 6.0 + text::width(&text, SIZE);
            if x > 0.0 && x + width > room {
                (x, row) = (0.0, row + 1);
            }
            legend.entries.push(Entry { x, row, series, text, full });
            legend.rows = row + 1;
            x += width + GAP;
        }
        legend
    }

    pub(super) fn height(&self) -> f64 {
        self.rows as f64 * ROW
    }

    /// Draws the key with its upper left corner at a point; `dash` gives the dash pattern of a series.
    pub(super) fn draw(&self, out: &mut Drawing, x: f64, y: f64, dash: impl Fn(usize) -> &'static str) {
        for entry in &self.entries {
            let (x, middle) = (x + entry.x, y + entry.row as f64 * ROW + ROW / 2.0);
            let start = match entry.series {
                Some(n) => {
                    out.line((x, middle), (x + SWATCH, middle), 2.5, Paint::Series(n), dash(n));
                    x + SWATCH + 6.0
                }
                None => x,
            };
            let style = Style::new(SIZE, Paint::Ink);
            out.short_text(start, middle + SIZE * 0.35, style, &entry.text, &entry.full);
        }
    }
}
