//! Several line charts in one picture.

use super::Chart;
use super::line::LineChart;
use super::svg::Drawing;

/// Line charts side by side in one SVG.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Panels {
    /// The charts, left to right.
    pub charts: Vec<LineChart>,
    /// Charts in a row; 0 puts all in one.
    pub columns: usize,
}

/// Puts line charts side by side.
#[must_use]
pub fn panels(charts: Vec<LineChart>) -> Panels {
    Panels { charts, columns: 0 }
}

impl Chart for Panels {
    fn to_svg(&self) -> String {
        let drawings: Vec<Drawing> = self.charts.iter().map(LineChart::draw).collect();
        let columns = if self.columns == 0 { drawings.len() } else { self.columns };
        let mut out = Drawing::new(0.0, 0.0);
        for row in drawings.chunks(columns.max(1)) {
            let mut x = 0.0;
            let top = out.height;
            for drawing in row {
                out.place(x, top, drawing);
                x += drawing.width;
                out.width = out.width.max(x);
                out.height = out.height.max(top + drawing.height);
            }
        }
        let labels: Vec<String> = self.charts.iter().map(LineChart::describe).collect();
        out.finish(&labels.join("; "))
    }
}

impl Panels {
    /// The charts as one SVG document.
    #[must_use]
    pub fn to_svg(&self) -> String {
        Chart::to_svg(self)
    }
}
