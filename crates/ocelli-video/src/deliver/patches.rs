//! Training patches: crops of both resolutions, turned alike.

use std::sync::Arc;

/// A film's frames in both resolutions, as far as training keeps them.
#[derive(Clone, Debug)]
pub struct Frames {
    /// Height and width of the low resolution.
    pub size: [usize; 2],
    /// Factor between both.
    pub scale: usize,
    /// Pairs `[height, width, 3]` of low and high resolution, each with its chunk.
    pub pairs: Vec<Pair>,
}

/// One frame.
#[derive(Clone, Debug)]
pub struct Pair {
    /// `[height, width, 3]`
    pub low: Arc<Vec<u8>>,
    /// `[scale · height, scale · width, 3]`
    pub high: Arc<Vec<u8>>,
    /// The frame's chunk.
    pub chunk: usize,
}

/// How a patch is turned: flips, then a transposition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// Left and right change places.
    pub horizontal: bool,
    /// Then top and bottom.
    pub vertical: bool,
    /// Then rows and columns.
    pub transpose: bool,
}

impl Turn {
    /// Where pixel `(y, x)` of the turned picture comes from; `size` is the unturned height and width.
    pub fn source(self, y: usize, x: usize, [height, width]: [usize; 2]) -> [usize; 2] {
        let (y, x) = if self.transpose { (x, y) } else { (y, x) };
        let y = if self.vertical { height - 1 - y } else { y };
        [y, if self.horizontal { width - 1 - x } else { x }]
    }
}

/// Cuts the square of `side` pixels at `(top, left)` out of `picture` (`width` pixels wide, three colours), turns it, and appends it as planes.
pub fn crop_planes(
    picture: &[u8],
    width: usize,
    [top, left]: [usize; 2],
    side: usize,
    turn: Turn,
    planes: &mut Vec<f32>,
) {
    for channel in 0..3 {
        for y in 0..side {
            for x in 0..side {
                let [from_y, from_x] = turn.source(y, x, [side, side]);
                planes.push(f32::from(picture[((top + from_y) * width + left + from_x) * 3 + channel]));
            }
        }
    }
}
