//! AMX, to come.
use super::{Conv, Isa, weights::Layout};
pub(crate) fn permitted() -> bool { false }
pub(crate) fn pays(_: &Conv, _: &Layout, _: usize, _: usize) -> bool { false }
pub(crate) unsafe fn conv(_: Isa, _: &Conv, _: &Layout, _: core::ops::Range<usize>, _: core::ops::Range<usize>) {}
