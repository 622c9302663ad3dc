//! Heat maps of confusion matrices.

use std::fmt::Write;

use super::Chart;
use super::number::{count, percent, short};
use super::paint::Paint;
use super::svg::{Drawing, Style, coord};
use super::text;

/// A confusion matrix as a picture: a row for each true class, a column for each predicted one.
///
/// Colour is the share of the row, so that rare classes show as clearly as common ones. Up to 25 classes
/// have their counts in the cells. Beyond 100, neighbouring classes share a cell, which keeps the picture
/// small; a note says how many.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Heatmap {
    /// Above the chart.
    pub title: String,
    /// Names of the classes. Where they run short, numbers stand in.
    pub labels: Vec<String>,
    /// Counts, as `cells[true][predicted]`. What short rows lack counts as 0.
    pub cells: Vec<Vec<u64>>,
}

/// Up to so many classes have numbers in their cells.
const NUMBERED: usize = 25;
/// At most so many rows and columns are drawn.
const FINEST: usize = 100;
/// Opacities of cells without numbers are rounded to so many levels, each drawn as one path.
const LEVELS: usize = 24;
const MARGIN: f64 = 14.0;

impl Chart for Heatmap {
    fn to_svg(&self) -> String {
        let (title, size) = (&self.title, self.classes());
        let what = if title.is_empty() { "Confusion matrix" } else { title };
        self.draw().finish(&format!("{what}: {size} classes, rows are true, columns predicted"))
    }
}

/// The matrix as drawn.
struct Grid {
    labels: Vec<String>,
    cells: Vec<Vec<u64>>,
    totals: Vec<u64>,
    /// Classes per row.
    group: usize,
}

impl Grid {
    fn share(&self, row: usize, column: usize) -> f64 {
        if self.totals[row] == 0 { 0.0 } else { self.cells[row][column] as f64 / self.totals[row] as f64 }
    }
}

/// Opacity for a share of the row; rare confusions are lifted into sight.
fn opacity(share: f64) -> f64 {
    if share > 0.0 { share.min(1.0).powf(0.6).max(0.05) } else { 0.0 }
}

impl Heatmap {
    /// The chart as an SVG document.
    #[must_use]
    pub fn to_svg(&self) -> String {
        Chart::to_svg(self)
    }

    fn classes(&self) -> usize {
        let columns = self.cells.iter().map(Vec::len).max().unwrap_or(0);
        self.labels.len().max(self.cells.len()).max(columns)
    }

    fn grid(&self) -> Grid {
        let classes = self.classes();
        let group = classes.div_ceil(FINEST).max(1);
        let size = classes.div_ceil(group);
        let mut cells = vec![vec![0_u64; size]; size];
        for (row, counts) in self.cells.iter().enumerate() {
            for (column, value) in counts.iter().enumerate() {
                let cell = &mut cells[row / group][column / group];
                *cell = cell.saturating_add(*value);
            }
        }
        let name = |i: usize| self.labels.get(i).cloned().unwrap_or_else(|| i.to_string());
        let labels = (0..size).map(|i| match group {
            1 => name(i),
            _ => format!("{}–{}", i * group, ((i + 1) * group).min(classes) - 1),
        });
        let totals = cells.iter().map(|row| row.iter().fold(0_u64, |sum, v| sum.saturating_add(*v)));
        Grid { labels: labels.collect(), totals: totals.collect(), cells, group }
    }

    fn draw(&self) -> Drawing {
        let grid = self.grid();
        let size = grid.labels.len();
        let numbered = size <= NUMBERED && grid.group == 1;
        let cell = match size {
            0..=25 => (420.0 / size.max(1) as f64).clamp(28.0, 64.0),
            _ => (640.0 / size as f64).clamp(6.4, 24.0),
        };
        let font = if numbered { 12.0 } else { 10.5 };
        let texts: Vec<String> = grid.labels.iter().map(|label| text::fit(label, font, 120.0)).collect();
        let labels = text::widest(texts.iter().map(String::as_str), font);
        let angle: f64 = if numbered { 45.0 } else { 90.0 };

        let plot = cell * size as f64;
        let left = MARGIN + 22.0 + labels + 8.0;
        let mut out = Drawing::new((left + plot + MARGIN + 8.0).max(440.0), 0.0);
        let mut top = MARGIN;
        if !self.title.is_empty() {
            let style = Style::new(15.0, Paint::Ink).bold();
            let title = text::fit(&self.title, 15.5, out.width - 2.0 * MARGIN);
            out.short_text(MARGIN, top + 12.0, style, &title, &self.title);
            top += 28.0;
        }
        let bottom = top + plot;
        if numbered {
            self.numbered_cells(&mut out, &grid, (left, top), cell);
        } else {
            plain_cells(&mut out, &grid, (left, top), cell);
        }

        // Labels of crowded rows are at least 11 pixels apart.
        let every = (11.0 / cell).ceil().max(1.0) as usize;
        let style = Style::new(font, Paint::Ink).end();
        for i in (0..size).step_by(every) {
            let middle = (i as f64 + 0.5) * cell;
            out.short_text(left - 8.0, top + middle + font * 0.35, style, &texts[i], &grid.labels[i]);
            let at = (left + middle + font * 0.35, bottom + if numbered { 12.0 } else { 8.0 });
            out.turned_text(at, -angle, style, &texts[i], &grid.labels[i]);
        }

        let muted = Style::new(12.0, Paint::Muted).middle();
        out.turned_text((MARGIN + 8.0, top + plot / 2.0), -90.0, muted, "true class", "true class");
        let below = bottom + 12.0 + labels * angle.to_radians().sin() + 22.0;
        out.text(left + plot / 2.0, below, muted, "predicted class");
        out.height = key(&mut out, &grid, below + 20.0) + MARGIN;
        out
    }

    fn numbered_cells(&self, out: &mut Drawing, grid: &Grid, at: (f64, f64), cell: f64) {
        for (row, counts) in grid.cells.iter().enumerate() {
            for (column, value) in counts.iter().enumerate() {
                let (x, y) = (at.0 + column as f64 * cell, at.1 + row as f64 * cell);
                let share = grid.share(row, column);
                let strength = opacity(share);
                let _ = write!(out.body, "<g>");
                let tip = format!(
                    "true {}, predicted {}: {} ({})",
                    grid.labels[row],
                    grid.labels[column],
                    count(*value),
                    percent(share, 1)
                );
                let _ = write!(out.body, "<title>{}</title>", crate::escape(&tip));
                // Empty cells are drawn too: faint, they show the raster and take the pointer.
                let extra = format!(" rx=\"2\" fill-opacity=\"{}\"", coord(strength.max(0.03)));
                out.rect(x + 1.0, y + 1.0, cell - 2.0, cell - 2.0, &extra, Paint::Heat);
                let text = if *value < 10_000 { value.to_string() } else { short(*value as f64) };
                let paint = match strength {
                    s if s > 0.63 => Paint::OnHeat,
                    0.0 => Paint::Muted,
                    _ => Paint::Ink,
                };
                let fitting = (cell - 5.0) / text::width(&text, 1.0);
                let size = fitting.clamp(6.0, 13.0);
                let style = Style::new(size, paint).middle();
                out.text(x + cell / 2.0, y + cell / 2.0 + size * 0.35, style, &text);
                let _ = write!(out.body, "</g>");
            }
        }
    }
}

/// Cells by colour alone, one path for each level of opacity.
fn plain_cells(out: &mut Drawing, grid: &Grid, at: (f64, f64), cell: f64) {
    let plot = coord(cell * grid.labels.len() as f64);
    let (left, top) = (coord(at.0), coord(at.1));
    out.raw(&format!(
        "<rect x=\"{left}\" y=\"{top}\" width=\"{plot}\" height=\"{plot}\" stroke-width=\"1\" {}/>",
        Paint::Grid.stroke()
    ));
    let mut levels = vec![String::new(); LEVELS + 1];
    for row in 0..grid.cells.len() {
        for column in 0..grid.cells.len() {
            let level = (opacity(grid.share(row, column)) * LEVELS as f64).ceil() as usize;
            if level > 0 {
                let (x, y) = (coord(at.0 + column as f64 * cell), coord(at.1 + row as f64 * cell));
                let side = coord(cell);
                let _ = write!(levels[level], "M{x} {y}h{side}v{side}h-{side}z");
            }
        }
    }
    for (level, path) in levels.iter().enumerate().filter(|(_, path)| !path.is_empty()) {
        let strength = coord(level as f64 / LEVELS as f64);
        out.raw(&format!("<path d=\"{path}\" fill-opacity=\"{strength}\" {}/>", Paint::Heat.fill()));
    }
}

/// What the colours mean. Returns the lower end of what it drew.
fn key(out: &mut Drawing, grid: &Grid, top: f64) -> f64 {
    let style = Style::new(11.5, Paint::Muted);
    out.text(MARGIN, top + 10.0, style, "Share of the true class:");
    let mut x = MARGIN + 138.0;
    for share in [0.01, 0.05, 0.2, 0.5, 1.0] {
        let extra = format!(" rx=\"2\" fill-opacity=\"{}\"", coord(opacity(share)));
        out.rect(x, top, 14.0, 12.0, &extra, Paint::Heat);
        out.text(x + 19.0, top + 10.0, style, &percent(share, 0));
        x += 58.0;
    }
    if grid.group == 1 {
        return top + 14.0;
    }
    let note = format!("Each cell sums {0} × {0} neighbouring classes.", grid.group);
    out.text(MARGIN, top + 30.0, style, &note);
    top + 34.0
}
