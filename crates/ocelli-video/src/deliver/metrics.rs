//! How close two pictures are.

/// What stands for the ratio of identical pictures.
pub const IDENTICAL: f64 = 1000.0;

/// Clamps to 0..255 and rounds halves to even, as pictures are stored.
pub fn quantise(value: f32) -> f32 {
    value.clamp(0.0, 255.0).round_ties_even()
}

/// Sum of squares of differences and their number, over `[height, width, 3]` without a border of `cut` pixels. Differences are of
/// the three colours, or of their luma-like weighted sum.
fn squares<T: Copy + Into<f64>>(
    a: &[T],
    b: &[T],
    [height, width]: [usize; 2],
    cut: usize,
    luma: bool,
) -> (f64, usize) {
    const WEIGHTS: [f64; 3] = [65.738 / 256.0, 129.057 / 256.0, 25.064 / 256.0];
    let (mut sum, mut count) = (0.0f64, 0usize);
    for y in cut..height.saturating_sub(cut) {
        for x in cut..width.saturating_sub(cut) {
            let at = (y * width + x) * 3;
            let apart = |c: usize| (a[at + c].into() - b[at + c].into()) / 255.0;
            if luma {
                let difference: f64 = (0..3).map(|c| WEIGHTS[c] * apart(c)).sum();
                sum += difference * difference;
                count += 1;
            } else {
                sum += (0..3).map(|c| apart(c) * apart(c)).sum::<f64>();
                count += 3;
            }
        }
    }
    (sum, count)
}

/// Decibels of a mean square of differences of values from 0 to 1.
pub fn decibels(mean_square: f64) -> f64 {
    if mean_square <= 0.0 { IDENTICAL } else { -10.0 * mean_square.log10() }
}

/// Peak signal to noise ratio in dB over all colours, `[height, width, 3]` of 0 to 255 each, `scale + 6` pixels cut from every side; [`IDENTICAL`]
/// where nothing differs, 0 where there is no picture but a single number, as the reference has it.
pub fn psnr_rgb(a: &[f32], b: &[f32], size: [usize; 2], scale: usize) -> f64 {
    psnr_cut(a, b, size, scale + 6)
}

/// As [`psnr_rgb`] with `cut` pixels cut from every side.
pub fn psnr_cut(a: &[f32], b: &[f32], size: [usize; 2], cut: usize) -> f64 {
    // A stand-in of one number, where there is no picture to compare with.
    if b.len() == 1 {
        return 0.0;
    }
    let (sum, count) = squares(a, b, size, cut, false);
    decibels(sum / count.max(1) as f64)
}

/// The same of luma, with `scale` pixels cut: the benchmark mode of the reference. About 5 dB above [`psnr_rgb`].
pub fn psnr_y(a: &[f32], b: &[f32], size: [usize; 2], scale: usize) -> f64 {
    let (sum, count) = squares(a, b, size, scale, true);
    decibels(sum / count.max(1) as f64)
}

/// Averages over frames: of decibels, and of mean squares.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mean {
    decibels: f64,
    counted: usize,
    squares: f64,
    frames: usize,
}

impl Mean {
    /// Takes a frame of 8-bit colours in: `[height, width, 3]` each, a border of `cut` pixels left out.
    pub fn add(&mut self, a: &[u8], b: &[u8], [height, width]: [usize; 2], cut: usize) {
        let (mut sum, mut count) = (0u64, 0u64);
        for y in cut..height.saturating_sub(cut) {
            let row = (y * width + cut) * 3..(y * width + width.saturating_sub(cut).max(cut)) * 3;
            let squares = |(a, b): (&u8, &u8)| {
                let apart = i32::from(*a) - i32::from(*b);
                (apart * apart) as u32
            };
            count += row.len() as u64;
            // Rows are short enough for 32 bits of squares below 2^16.
            for (a, b) in a[row.clone()].chunks(32_768).zip(b[row].chunks(32_768)) {
                sum += u64::from(a.iter().zip(b).map(squares).sum::<u32>());
            }
        }
        self.take(sum as f64 / count.max(1) as f64 / (255.0 * 255.0));
    }

    /// The same of luma, weighted as in [`psnr_y`].
    pub fn add_luma(&mut self, a: &[u8], b: &[u8], size: [usize; 2], cut: usize) {
        let (sum, count) = squares(a, b, size, cut, true);
        self.take(sum / count.max(1) as f64);
    }

    fn take(&mut self, mean_square: f64) {
        self.squares += mean_square;
        self.frames += 1;
        // A black frame that is kept exactly would add 1000 dB to the mean.
        if mean_square > 0.0 {
            self.decibels += decibels(mean_square);
            self.counted += 1;
        }
    }

    /// Takes the frames of `other` in.
    pub fn join(&mut self, other: &Self) {
        self.decibels += other.decibels;
        self.counted += other.counted;
        self.squares += other.squares;
        self.frames += other.frames;
    }

    /// Mean of decibels over frames that are not identical.
    pub fn psnr(&self) -> f64 {
        if self.counted == 0 { IDENTICAL } else { self.decibels / self.counted as f64 }
    }

    /// Decibels of the mean square.
    pub fn psnr_of_mean(&self) -> f64 {
        decibels(self.squares / self.frames.max(1) as f64)
    }

    /// Frames that are identical.
    pub fn identical(&self) -> usize {
        self.frames - self.counted
    }

    /// Frames.
    pub fn frames(&self) -> usize {
        self.frames
    }
}

/// Structural similarity of luma (BT.601): 11 x 11 Gaussian windows of deviation 1.5 that lie inside, K1 0.01, K2 0.03.
pub fn ssim(a: &[u8], b: &[u8], [height, width]: [usize; 2]) -> f64 {
    let luma = |rgb: &[u8]| -> Vec<f32> {
        let value = |p: &[u8; 3]| 0.299 * f32::from(p[0]) + 0.587 * f32::from(p[1]) + 0.114 * f32::from(p[2]);
        rgb.as_chunks::<3>().0.iter().map(value).collect()
    };
    const SIDE: usize = 11;
    if height < SIDE || width < SIDE {
        return f64::NAN;
    }
    let mut window: [f32; SIDE] =
        std::array::from_fn(|i| (-((i as f32 - 5.0).powi(2)) / (2.0 * 1.5 * 1.5)).exp());
    let total: f32 = window.iter().sum();
    window.iter_mut().for_each(|weight| *weight /= total);
    let blur = |x: Vec<f32>| -> Vec<f32> {
        let (rows, columns) = (height - SIDE + 1, width - SIDE + 1);
        let mut across = vec![0.0f32; height * columns];
        for (row, out) in x.chunks_exact(width).zip(across.chunks_exact_mut(columns)) {
            for (tap, weight) in window.iter().enumerate() {
                out.iter_mut().zip(&row[tap..]).for_each(|(out, value)| *out += weight * value);
            }
        }
        let mut down = vec![0.0f32; rows * columns];
        for (at, out) in down.chunks_exact_mut(columns).enumerate() {
            for (tap, weight) in window.iter().enumerate() {
                let row = &across[(at + tap) * columns..][..columns];
                out.iter_mut().zip(row).for_each(|(out, value)| *out += weight * value);
            }
        }
        down
    };
    let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).collect::<Vec<f32>>();
    let (a, b) = (luma(a), luma(b));
    let (aa, bb, ab) = (blur(product(&a, &a)), blur(product(&b, &b)), blur(product(&a, &b)));
    let (ma, mb) = (blur(a), blur(b));
    let (c1, c2) = ((0.01f64 * 255.0).powi(2), (0.03f64 * 255.0).powi(2));
    let sum: f64 = (0..ma.len())
        .map(|i| {
            let (x, y) = (f64::from(ma[i]), f64::from(mb[i]));
            let (vx, vy) = (f64::from(aa[i]) - x * x, f64::from(bb[i]) - y * y);
            let cov = f64::from(ab[i]) - x * y;
            (2.0 * x * y + c1) * (2.0 * cov + c2) / ((x * x + y * y + c1) * (vx + vy + c2))
        })
        .sum();
    sum / ma.len() as f64
}
