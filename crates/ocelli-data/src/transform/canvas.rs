//! A rectangle out of a resized and padded picture, computing only what is seen.

use crate::error::Result;
use crate::resize::{Interpolation, Rect, resize_window};
use crate::rgb::RgbImage;

/// Where the output's columns (or rows) come from, in pixels of the resized picture; `None` is padding.
pub(super) type Axis = Vec<Option<usize>>;

/// `length` positions from `offset` (which may be negative) of an axis with `size` pixels.
pub(super) fn axis(offset: i64, length: usize, size: usize) -> Axis {
    (0..length as i64).map(|i| usize::try_from(offset + i).ok().filter(|&at| at < size)).collect()
}

/// As [`axis`], mirrored at the borders without repeating the border pixel (numpy's `reflect`).
pub(super) fn reflected(offset: i64, length: usize, size: usize) -> Axis {
    let period = (2 * size as i64 - 2).max(1);
    let mirror = |at: i64| {
        let at = at.rem_euclid(period);
        Some(if at < size as i64 { at } else { period - at } as usize)
    };
    (0..length as i64).map(|i| mirror(offset + i)).collect()
}

/// Resizes `image` to `size` (width, height) and takes the given columns and rows of it.
pub(super) fn compose(
    image: &RgbImage,
    size: (usize, usize),
    filter: Interpolation,
    columns: &Axis,
    rows: &Axis,
    fill: [u8; 3],
) -> Result<RgbImage> {
    let mut out = RgbImage::filled(columns.len(), rows.len(), fill)?;
    let (Some(x), Some(y)) = (span(columns), span(rows)) else { return Ok(out) };
    let window = Rect { x: x.0, y: y.0, width: x.1 - x.0, height: y.1 - y.0 };
    let source = resize_window(image, Rect::whole(image.width(), image.height()), size, window, filter)?;
    for (row, target) in rows.iter().zip(out.data_mut().chunks_exact_mut(columns.len() * 3)) {
        let Some(row) = row else { continue };
        let row = source.row(row - y.0);
        for (column, pixel) in columns.iter().zip(target.chunks_exact_mut(3)) {
            if let Some(column) = column {
                let at = (column - x.0) * 3;
                pixel.copy_from_slice(&row[at..at + 3]);
            }
        }
    }
    Ok(out)
}

/// First and one past the last position used.
fn span(axis: &Axis) -> Option<(usize, usize)> {
    let used = || axis.iter().flatten();
    Some((*used().min()?, *used().max()? + 1))
}

/// Where a centred crop of `length` begins on an axis with `size` pixels; negative when it has to be padded.
/// torchvision rounds half to even when cropping and down when padding.
pub(super) fn centre(size: usize, length: usize) -> i64 {
    if size >= length {
        ((size - length) as f64 / 2.0).round_ties_even() as i64
    } else {
        -(((length - size) / 2) as i64)
    }
}
