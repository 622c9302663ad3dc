//! A picture of poses as pixels: an animated GIF, or a frame as PNG. Neither has captions.

use std::borrow::Cow;

use gif::{DisposalMethod, Encoder, Frame, Repeat};
use ocelli_report::png::encode_rgb;

use super::raster::{Canvas, Painter, UNCHANGED, palette};
use super::scene::{Picture, Scene};
use crate::PoseError;

/// Pixels to a unit of the picture: three panels are 825 pixels across.
const SCALE: f32 = 0.75;
/// The same of a still picture.
const STILL: f32 = 1.5;
/// Browsers show shorter frames for a tenth of a second.
const LEAST_SECONDS: f64 = 0.02;

/// Draws the picture as GIF that repeats for ever, at the rate of its frames (those that would be shown for less than 20 ms are left out). What
/// changes from frame to frame is all that is written.
///
/// # Errors
/// If it cannot be encoded.
pub fn gif(picture: &Picture) -> Result<Vec<u8>, PoseError> {
    let failed = |error: gif::EncodingError| PoseError::Config(format!("the GIF: {error}"));
    let scene = Scene::new(picture, LEAST_SECONDS);
    let painter = Painter::new(&scene, SCALE);
    let mut before = painter.frame(0);
    let (width, height) = (before.width as u16, before.height as u16);
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, width, height, palette().as_flattened()).map_err(failed)?;
    let count = scene.frames();
    if count > 1 {
        encoder.set_repeat(Repeat::Infinite).map_err(failed)?;
    }
    let hundredths = |frame: usize| (100.0 * scene.seconds * frame as f64 / count.max(1) as f64).round();
    for index in 0..count.max(1) {
        let now = painter.frame(index);
        let mut frame = match index {
            0 => Frame { width, height, buffer: Cow::Borrowed(&now.pixels), ..Frame::default() },
            _ => changes(&before, &now),
        };
        frame.delay = (hundredths(index + 1) - hundredths(index)).clamp(0.0, f64::from(u16::MAX)) as u16;
        frame.dispose = DisposalMethod::Keep;
        encoder.write_frame(&frame).map_err(failed)?;
        drop(frame);
        before = now;
    }
    drop(encoder);
    Ok(bytes)
}

/// The smallest rectangle that holds all pixels that change; those in it that do not are left as they are.
fn changes(before: &Canvas, now: &Canvas) -> Frame<'static> {
    let changed = |x: usize, y: usize| before.pixels[y * now.width + x] != now.pixels[y * now.width + x];
    let (mut left, mut top, mut right, mut bottom) = (now.width, now.height, 0, 0);
    for y in 0..now.height {
        for x in (0..now.width).filter(|&x| changed(x, y)) {
            (left, right) = (left.min(x), right.max(x + 1));
            (top, bottom) = (top.min(y), y + 1);
        }
    }
    if right == 0 {
        (left, top, right, bottom) = (0, 0, 1, 1);
    }
    let pixel = |x, y| if changed(x, y) { now.pixels[y * now.width + x] } else { UNCHANGED };
    let pixels: Vec<u8> = (top..bottom).flat_map(|y| (left..right).map(move |x| pixel(x, y))).collect();
    Frame {
        left: left as u16,
        top: top as u16,
        width: (right - left) as u16,
        height: (bottom - top) as u16,
        transparent: Some(UNCHANGED),
        buffer: Cow::Owned(pixels),
        ..Frame::default()
    }
}

/// Draws the picture's first frame as PNG.
///
/// # Errors
/// If it cannot be encoded.
pub fn png(picture: &Picture) -> Result<Vec<u8>, PoseError> {
    let scene = Scene::new(picture, 0.0);
    let canvas = Painter::new(&scene, STILL).frame(0);
    let colours = palette();
    let rgb: Vec<u8> = canvas.pixels.iter().flat_map(|&index| colours[usize::from(index)]).collect();
    encode_rgb(canvas.width as u32, canvas.height as u32, &rgb)
        .map_err(|error| PoseError::Config(format!("the PNG: {error}")))
}
