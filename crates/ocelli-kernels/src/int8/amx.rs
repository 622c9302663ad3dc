//! Dense products by tiles of AMX-INT8: 16 × 16 sums of 64 products at a time.
//!
//! A tile of the left operand needs rows that are equally far apart: pointwise convolutions are loaded in place, other
//! windows are copied together for up to 32 pixels at a time, for all output columns. A tile of the right operand is 16
//! groups of a panel. The intrinsics are unstable, hence the `asm!`.

use core::arch::asm;
use core::ops::Range;
use std::sync::OnceLock;

use super::Isa;
use super::conv::Conv;
use super::epilogue::{Sums, finish};
use super::gather::{self, Gather};
use super::scratch;
use super::weights::Layout;
use crate::gemm::{PANEL, split, strips};

/// Rows, and groups of four, of a tile.
const TILE: usize = 16;

/// Sums of a block: two tiles of rows, four panels.
#[repr(align(64))]
struct Block([i32; 2 * TILE * COLUMNS]);

const COLUMNS: usize = 4 * PANEL;

/// Bytes of weights that do not stay in the second-level cache beside the rest.
const HEAVY: usize = 1 << 20;

/// Bytes of rows that are copied together at once then.
const GATHERED: usize = 384 << 10;

/// Whether the processor has AMX-INT8 and the system lets this process use it (asked for once).
pub(crate) fn permitted() -> bool {
    static PERMITTED: OnceLock<bool> = OnceLock::new();
    *PERMITTED.get_or_init(|| {
        use core::arch::x86_64::{__cpuid, __cpuid_count};
        const SAVES_STATE: u32 = 1 << 27;
        const TILES_OF_BYTES: u32 = 1 << 24 | 1 << 25;
        if __cpuid(0).eax < 7
            || __cpuid(1).ecx & SAVES_STATE == 0
            || __cpuid_count(7, 0).edx & TILES_OF_BYTES != TILES_OF_BYTES
        {
            return false;
        }
        // SAFETY: the processor has `xgetbv`, as just seen.
        let saved = unsafe { enabled_state() };
        const TILE_STATE: u64 = 1 << 17 | 1 << 18;
        saved & TILE_STATE == TILE_STATE && request()
    })
}

/// The state that the system saves.
#[target_feature(enable = "xsave")]
unsafe fn enabled_state() -> u64 {
    // SAFETY: the caller's promise.
    unsafe { core::arch::x86_64::_xgetbv(0) }
}

/// Asks Linux for the tiles' state, for all threads of the process.
#[cfg(target_os = "linux")]
fn request() -> bool {
    const ARCH_PRCTL: u64 = 158;
    const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
    const XFEATURE_XTILEDATA: u64 = 18;
    let result: i64;
    // SAFETY: a system call that touches no memory of ours.
    unsafe {
        asm!("syscall", inlateout("rax") ARCH_PRCTL => result, in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result == 0
}

/// Other systems: not tried.
#[cfg(not(target_os = "linux"))]
fn request() -> bool {
    false
}

/// Whether tiles are faster than vectors.
pub(crate) fn pays(_: &Conv, layout: &Layout, pixels: usize, _panels: usize) -> bool {
    pixels >= 8 && layout.row_bytes() >= 32
}

/// The tiles' shapes, as `ldtilecfg` takes them.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    column_bytes: [u16; 16],
    rows: [u8; 16],
}

impl Shapes {
    /// Sums in tiles 0 to 3, rows of the product in 4 and 5, weights in 6 and 7.
    fn new(rows: usize, groups: usize) -> Self {
        let mut shapes =
            Self { palette: 1, start_row: 0, reserved: [0; 14], column_bytes: [0; 16], rows: [0; 16] };
        for t in 0..8 {
            shapes.rows[t] = if t < 6 { rows } else { groups } as u8;
            shapes.column_bytes[t] = if t == 4 || t == 5 { 4 * groups } else { 64 } as u16;
        }
        shapes
    }
}

/// Computes output pixels `pixels` of the channels in panels `panels`; see [`conv`](super::conv()).
///
/// # Safety
/// [`permitted`]; the rest as there.
pub(crate) unsafe fn conv(isa: Isa, x: &Conv, layout: &Layout, pixels: Range<usize>, panels: Range<usize>) {
    let groups = layout.panel_groups();
    let rows = if pixels.len() <= TILE {
        pixels.len()
    } else {
        // Even tiles: their time goes with their rows.
        pixels.len().div_ceil(pixels.len().div_ceil(2 * TILE) * 2)
    };
    let shapes = Shapes::new(rows, groups.min(TILE));
    let steps = groups.div_ceil(TILE);
    // An odd number of lines, so that rows do not meet in the same sets of the cache.
    let stride = (steps | 1) * 64;
    let tail = steps > 1 && !groups.is_multiple_of(TILE);
    let job = Gather { conv: x, layout: *layout, stride, spread: false };
    let in_place = x.flat().filter(|pixel| !tail && !pixel.is_multiple_of(2048));
    // Weights beyond the second-level cache are read once for several blocks.
    let heavy = panels.len() * groups * 64 > HEAVY;
    let blocks = if heavy { (GATHERED / (2 * rows * stride)).max(1) } else { 1 };
    let at_once = (blocks * 2 * rows).min(pixels.len().next_multiple_of(2 * rows));
    let mut sums = [const { Block([0; 2 * TILE * COLUMNS]) }; 2];
    let sums = [sums[0].0.as_mut_ptr(), sums[1].0.as_mut_ptr()];
    let mut turn = 0;
    let mut pending: Option<Sums> = None;
    scratch::with(at_once * stride, |copied| {
        // SAFETY: the tiles' shapes are valid; they are released below.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &shapes, options(nostack, readonly)) };
        for first in pixels.clone().step_by(at_once) {
            let some = (pixels.end - first).min(at_once);
            let (a, a_stride) = match in_place {
                // Whole tiles only: no row beyond the range is read.
                Some(pixel) if some.is_multiple_of(rows) => (x.input.data.wrapping_add(first * pixel), pixel),
                _ => {
                    // SAFETY: the scratch memory holds the rows; the rest is the caller's promise.
                    unsafe {
                        if tail {
                            // The last step reads weights of the next panel: they meet zeros.
                            for m in 0..some {
                                copied.add(m * stride + (steps - 1) * 64).cast::<[u8; 64]>().write([0; 64]);
                            }
                        }
                        gather::gather(isa.lanes(), &job, first, some, copied);
                    }
                    (copied.cast_const(), stride)
                }
            };
            for (panel, count) in strips(panels.start, panels.end, 4) {
                for start in (0..some).step_by(2 * rows) {
                    let n = (some - start).min(2 * rows);
                    let a = a.wrapping_add(start * a_stride);
                    for (pair, own) in split(count, 2) {
                        let b = x.weights.data.wrapping_add((panel + pair) * groups * 64);
                        let tile = Operands {
                            a: [a, a.wrapping_add(rows * a_stride)],
                            a_stride,
                            b: [b, b.wrapping_add(groups * 64)],
                            c: sums[turn].wrapping_add(pair * PANEL),
                            c_below: rows * COLUMNS * 4,
                            steps,
                        };
                        // SAFETY: tiles are shaped for these operands; sums of the tiles before are complete.
                        unsafe {
                            match (n > rows, own) {
                                (true, 2) => tile.two_by_two(),
                                (true, _) => tile.two_by_one(),
                                (_, 2) => tile.one_by_two(),
                                _ => tile.one_by_one(),
                            }
                            // The vector units finish the sums before while the tiles are multiplied.
                            if let Some(before) = &mut pending {
                                let all = if pair + own == count { before.rows } else { before.rows / 2 };
                                finish(isa.lanes(), &x.epilogue, &before.take(all));
                            }
                        }
                    }
                    pending = Some(Sums {
                        data: sums[turn],
                        stride: COLUMNS,
                        row: first + start,
                        rows: n,
                        column: panel * PANEL,
                        columns: (x.columns - panel * PANEL).min(count * PANEL),
                    });
                    turn = 1 - turn;
                }
            }
        }
        // SAFETY: nothing of the tiles is needed any more; the sums are complete.
        unsafe {
            asm!("tilerelease", options(nostack, nomem));
            if let Some(last) = &pending {
                finish(isa.lanes(), &x.epilogue, last);
            }
        }
    });
}

/// The operands of up to two by two tiles.
struct Operands {
    a: [*const u8; 2],
    a_stride: usize,
    b: [*const i8; 2],
    c: *mut i32,
    /// Bytes from the sums of the first tile of rows to those of the second.
    c_below: usize,
    steps: usize,
}

/// Defines a function that zeroes the sums, adds all steps and stores. Tiles hold nothing between two calls.
macro_rules! tiles {
    ($name:ident, [$($zero:literal)*], [$($step:literal)*], [$($store:literal)*]) => {
        /// # Safety
        /// The tiles are shaped for the operands.
        unsafe fn $name(&self) {
            // SAFETY: loads rows and weights, stores sums, all of them the caller's promise.
            unsafe {
                asm!(
                    "add {c_below}, {c}",
                    $(concat!("tilezero ", $zero),)*
                    "2:",
                    $($step,)*
                    "add {a0}, 64", "add {a1}, 64", "add {b0}, 1024", "add {b1}, 1024",
                    "dec {k}",
                    "jnz 2b",
                    $($store,)*
                    a0 = inout(reg) self.a[0] => _,
                    a1 = inout(reg) self.a[1] => _,
                    a_stride = in(reg) self.a_stride,
                    b0 = inout(reg) self.b[0] => _,
                    b1 = inout(reg) self.b[1] => _,
                    b_stride = in(reg) 64usize,
                    k = inout(reg) self.steps => _,
                    c = in(reg) self.c,
                    c_below = inout(reg) self.c_below => _,
                    c_stride = in(reg) COLUMNS * 4,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack)
                );
            }
        }
    };
}

impl Operands {
    tiles!(
        two_by_two,
        ["tmm0" "tmm1" "tmm2" "tmm3"],
        ["tileloadd tmm6, [{b0} + {b_stride}]"
         "tileloadd tmm4, [{a0} + {a_stride}]"
         "tdpbusd tmm0, tmm4, tmm6"
         "tileloadd tmm7, [{b1} + {b_stride}]"
         "tdpbusd tmm1, tmm4, tmm7"
         "tileloadd tmm5, [{a1} + {a_stride}]"
         "tdpbusd tmm2, tmm5, tmm6"
         "tdpbusd tmm3, tmm5, tmm7"],
        ["tilestored [{c} + {c_stride}], tmm0"
         "tilestored [{c} + {c_stride} + 64], tmm1"
         "tilestored [{c_below} + {c_stride}], tmm2"
         "tilestored [{c_below} + {c_stride} + 64], tmm3"]
    );
    tiles!(
        two_by_one,
        ["tmm0" "tmm2"],
        ["tileloadd tmm6, [{b0} + {b_stride}]"
         "tileloadd tmm4, [{a0} + {a_stride}]"
         "tdpbusd tmm0, tmm4, tmm6"
         "tileloadd tmm5, [{a1} + {a_stride}]"
         "tdpbusd tmm2, tmm5, tmm6"],
        ["tilestored [{c} + {c_stride}], tmm0"
         "tilestored [{c_below} + {c_stride}], tmm2"]
    );
    tiles!(
        one_by_two,
        ["tmm0" "tmm1"],
        ["tileloadd tmm6, [{b0} + {b_stride}]"
         "tileloadd tmm4, [{a0} + {a_stride}]"
         "tdpbusd tmm0, tmm4, tmm6"
         "tileloadd tmm7, [{b1} + {b_stride}]"
         "tdpbusd tmm1, tmm4, tmm7"],
        ["tilestored [{c} + {c_stride}], tmm0"
         "tilestored [{c} + {c_stride} + 64], tmm1"]
    );
    tiles!(
        one_by_one,
        ["tmm0"],
        ["tileloadd tmm6, [{b0} + {b_stride}]"
         "tileloadd tmm4, [{a0} + {a_stride}]"
         "tdpbusd tmm0, tmm4, tmm6"],
        ["tilestored [{c} + {c_stride}], tmm0"]
    );
}
