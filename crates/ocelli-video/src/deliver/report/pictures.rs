//! Places of the film to look at: where the package differs most from interpolation.

use ocelli_report::html::{Card, Picture};
use ocelli_report::png::encode_rgb;

use crate::VideoError;

/// Side of what is cut out, in pixels.
const SIDE: usize = 96;
/// Step between places that are looked at, in pixels.
const STEP: usize = 16;
/// Each pixel is shown as so many squared.
const ENLARGED: usize = 2;

/// A place of a frame, as several films show it.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// The frame's number, from 0.
    pub frame: u64,
    /// Upper left corner: row and column.
    pub at: [usize; 2],
    /// Rows and columns in pixels.
    pub size: [usize; 2],
    /// Names of films, and the place in them, enlarged, as PNG.
    pub films: Vec<(String, Vec<u8>)>,
}

impl Shown {
    /// The films side by side.
    pub(super) fn cards(&self) -> Vec<Card> {
        let card = |(name, png): &(String, Vec<u8>)| Card {
            image: Picture::png(png.clone()),
            caption_lines: vec![name.clone()],
            good: None,
        };
        self.films.iter().map(card).collect()
    }
}

/// A place that is being cut out of films.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The frame's number, from 0.
    pub frame: u64,
    at: [usize; 2],
    size: [usize; 2],
    /// Names of films, and `[rows, columns, 3]` of them.
    films: Vec<(String, Vec<u8>)>,
}

impl Place {
    /// Cuts the place out of a frame of `size`.
    pub fn add(&mut self, name: &str, frame: &[u8], size: [usize; 2]) {
        let [top, left] = self.at;
        let rows = (top..top + self.size[0])
            .flat_map(|y| frame[(y * size[1] + left) * 3..][..self.size[1] * 3].iter().copied());
        self.films.push((name.to_string(), rows.collect()));
    }

    pub fn finish(self) -> Result<Shown, VideoError> {
        let [rows, columns] = self.size;
        let png = |(name, pixels): (String, Vec<u8>)| {
            let mut large = Vec::with_capacity(pixels.len() * ENLARGED * ENLARGED);
            for row in pixels.chunks_exact(columns * 3) {
                let wide: Vec<u8> =
                    row.as_chunks::<3>().0.iter().flat_map(|pixel| [*pixel; ENLARGED]).flatten().collect();
                (0..ENLARGED).for_each(|_| large.extend_from_slice(&wide));
            }
            Ok((name, encode_rgb((columns * ENLARGED) as u32, (rows * ENLARGED) as u32, &large)?))
        };
        let films = self.films.into_iter().map(png).collect::<Result<_, VideoError>>()?;
        Ok(Shown { frame: self.frame, at: self.at, size: self.size, films })
    }
}

/// Finds places, one in every equal stretch of the film.
pub(super) struct Finder {
    size: [usize; 2],
    frames: u64,
    best: Vec<Option<(u64, Place)>>,
}

impl Finder {
    pub fn new(size: [usize; 2], frames: u64, pictures: usize) -> Self {
        Self { size, frames, best: vec![None; pictures] }
    }

    /// Looks at a frame: film, interpolation, package.
    pub fn look(&mut self, frame: u64, [film, bicubic, package]: [&[u8]; 3]) {
        let stretch = (frame * self.best.len() as u64 / self.frames.max(1)) as usize;
        let Some(best) = self.best.get_mut(stretch) else { return };
        let (apart, at, size) = place(bicubic, package, self.size);
        if best.as_ref().is_some_and(|(most, _)| *most >= apart) {
            return;
        }
        let mut shown = Place { frame, at, size, films: Vec::new() };
        for (name, pixels) in
            [("film", film), ("low resolution, interpolated", bicubic), ("package", package)]
        {
            shown.add(name, pixels, self.size);
        }
        *best = Some((apart, shown));
    }

    pub fn finish(self) -> Vec<Place> {
        self.best.into_iter().flatten().map(|(_, place)| place).collect()
    }
}

/// Where two frames of `size` differ most: sum of squares, upper left corner, extents.
fn place(a: &[u8], b: &[u8], [height, width]: [usize; 2]) -> (u64, [usize; 2], [usize; 2]) {
    let size = [SIDE.min(height), SIDE.min(width)];
    let cells = [height / STEP, width / STEP];
    // Summed over cells first: places overlap.
    let mut sums = vec![0u64; cells[0] * cells[1]];
    for y in 0..cells[0] * STEP {
        for x in 0..cells[1] {
            let at = (y * width + x * STEP) * 3;
            let apart = a[at..at + STEP * 3].iter().zip(&b[at..at + STEP * 3]);
            sums[y / STEP * cells[1] + x] +=
                apart.map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2)).sum::<u64>();
        }
    }
    let across = size.map(|side| side / STEP);
    let middle = [(height - size[0]) / 2, (width - size[1]) / 2];
    let mut best = (0, middle);
    for y in 0..=cells[0] - across[0] {
        for x in 0..=cells[1] - across[1] {
            let rows = (y..y + across[0]).map(|y| &sums[y * cells[1] + x..][..across[1]]);
            let sum = rows.flatten().sum();
            if sum > best.0 {
                best = (sum, [y * STEP, x * STEP]);
            }
        }
    }
    (best.0, best.1, size)
}
