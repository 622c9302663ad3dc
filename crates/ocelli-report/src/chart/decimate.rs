//! Long series, thinned to what a screen can show.

/// At most about this many points of a series are drawn.
const MOST: usize = 2000;

/// Cuts `points` where they cannot be drawn (`visible` says no) into unbroken pieces, and thins pieces so
/// that all together stay near [`MOST`] points. Each stretch of a long piece keeps its first, least,
/// greatest and last point, so that no spike is lost.
pub(super) fn pieces<P: Copy>(
    points: &[P],
    visible: impl Fn(&P) -> bool,
    height: impl Fn(&P) -> f64,
) -> Vec<Vec<P>> {
    let stride = points.len().div_ceil(MOST / 4).max(1);
    let mut pieces: Vec<Vec<P>> =
        points.split(|p| !visible(p)).filter(|piece| !piece.is_empty()).map(<[P]>::to_vec).collect();
    if points.len() <= MOST {
        return pieces;
    }
    for piece in &mut pieces {
        *piece = piece.chunks(stride).flat_map(|chunk| extremes(chunk, &height)).collect();
    }
    // A series with a gap at every other point has too many pieces even so.
    let skip = pieces.len().div_ceil(MOST).max(1);
    pieces.into_iter().step_by(skip).collect()
}

fn extremes<P: Copy>(chunk: &[P], height: impl Fn(&P) -> f64) -> Vec<P> {
    let by = |a: &usize, b: &usize| height(&chunk[*a]).total_cmp(&height(&chunk[*b]));
    let mut keep = vec![0, chunk.len() - 1];
    keep.extend((0..chunk.len()).min_by(by));
    keep.extend((0..chunk.len()).max_by(by));
    keep.sort_unstable();
    keep.dedup();
    keep.into_iter().map(|i| chunk[i]).collect()
}
