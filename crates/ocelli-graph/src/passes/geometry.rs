//! Extents of windows that move over a map.

use super::infer::Refused;
use crate::op::{ConvAttrs, PoolAttrs};

/// Most window positions times taps along one dimension that are looked at one by one.
const MOST_TAPS: usize = 1 << 24;

/// Positions of a window of `kernel` taps, `dilation` apart, over `extent` elements and their border.
pub(super) fn conv_extent(
    extent: usize,
    kernel: usize,
    attrs: &ConvAttrs,
    d: usize,
) -> Result<usize, Refused> {
    let (stride, dilation) = (attrs.stride[d], attrs.dilation[d]);
    let window = reach(kernel, dilation)?;
    let padded = padded(extent, attrs.pad_begin[d], attrs.pad_end[d])?;
    if stride == 0 {
        return Err(Refused::new("a stride of 0"));
    }
    let room = padded.checked_sub(window);
    let room = room.ok_or_else(|| Refused::new(format!("a window of {window} over {padded} elements")))?;
    Ok(room / stride + 1)
}

/// Elements that a transposed convolution makes of `extent`.
pub(super) fn transposed_extent(
    extent: usize,
    kernel: usize,
    attrs: &ConvAttrs,
    output_padding: usize,
    d: usize,
) -> Result<usize, Refused> {
    let window = reach(kernel, attrs.dilation[d])?;
    if attrs.stride[d] == 0 {
        return Err(Refused::new("a stride of 0"));
    }
    let whole = (extent - 1)
        .checked_mul(attrs.stride[d])
        .and_then(|n| n.checked_add(window))
        .and_then(|n| n.checked_add(output_padding));
    let cut = attrs.pad_begin[d].checked_add(attrs.pad_end[d]);
    let left = whole.zip(cut).and_then(|(whole, cut)| whole.checked_sub(cut));
    left.filter(|&n| n > 0).ok_or_else(|| Refused::new("nothing is left of the result"))
}

/// Positions of a pooling window along dimension `d`; every window must see an element.
pub(super) fn pool_extent(extent: usize, pool: &PoolAttrs, d: usize) -> Result<usize, Refused> {
    let (kernel, stride, dilation) = (pool.kernel[d], pool.stride[d], pool.dilation[d]);
    let window = reach(kernel, dilation)?;
    let padded = padded(extent, pool.pad_begin[d], pool.pad_end[d])?;
    if stride == 0 {
        return Err(Refused::new("a stride of 0"));
    }
    let too_large = || Refused::new(format!("a window of {window} over {padded} elements"));
    let mut count = if pool.ceil_mode {
        let room =
            padded.checked_add(stride - 1).and_then(|n| n.checked_sub(window)).ok_or_else(too_large)?;
        room / stride + 1
    } else {
        padded.checked_sub(window).ok_or_else(too_large)? / stride + 1
    };
    // The last window must begin before the border at the end.
    if pool.ceil_mode && (count - 1) * stride >= extent + pool.pad_begin[d] {
        count -= 1;
    }
    if count == 0 || count.checked_mul(kernel).is_none_or(|taps| taps > MOST_TAPS) {
        return Err(Refused::new("a window that is too large"));
    }
    let begin = pool.pad_begin[d];
    let sees = |i: usize| {
        (0..kernel).any(|k| (i * stride + k * dilation).checked_sub(begin).is_some_and(|at| at < extent))
    };
    if !(0..count).all(sees) {
        return Err(Refused::new("a window over nothing but padding"));
    }
    Ok(count)
}

/// Elements from the first tap to the last.
fn reach(kernel: usize, dilation: usize) -> Result<usize, Refused> {
    if kernel == 0 || dilation == 0 {
        return Err(Refused::new("an empty window"));
    }
    let reach = (kernel - 1).checked_mul(dilation).and_then(|n| n.checked_add(1));
    reach.filter(|&n| n < 1 << 31).ok_or_else(|| Refused::new("a window that is too large"))
}

fn padded(extent: usize, begin: usize, end: usize) -> Result<usize, Refused> {
    let padded = extent.checked_add(begin).and_then(|n| n.checked_add(end));
    padded.filter(|&n| n < 1 << 31).ok_or_else(|| Refused::new("too much padding"))
}
