//! Equal pixels: every case of `testdata/cases.jsonl`, made by Pillow, torchvision and timm.

use crate::common::{crc32, fnv, picture, testdata};
use ocelli_data::transform::{self, CenterCrop, CropMode, Op, Preprocess, Resize};
use ocelli_data::{EvalTransform, Interpolation, Rect, RgbImage, crop_resize, resize};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};

#[derive(Debug, Deserialize)]
struct Case {
    image: String,
    op: String,
    #[serde(default)]
    filter: Option<Interpolation>,
    #[serde(default)]
    v: f64,
    #[serde(default)]
    to: [usize; 2],
    #[serde(default)]
    crop: [usize; 4],
    #[serde(default)]
    input_size: [usize; 3],
    #[serde(default)]
    crop_pct: f64,
    #[serde(default)]
    crop_mode: CropMode,
    fnv: String,
}

fn evaluate(case: &Case, image: &RgbImage) -> String {
    let grey = case.input_size[0] == 1;
    let preprocess = Preprocess {
        input_size: case.input_size,
        interpolation: case.filter.unwrap(),
        crop_pct: case.crop_pct,
        crop_mode: case.crop_mode,
        mean: if grey { vec![0.5] } else { Preprocess::default().mean },
        std: if grey { vec![0.25] } else { Preprocess::default().std },
        bgr: false,
    };
    let sample = EvalTransform::new(&preprocess).unwrap().apply(image).unwrap();
    fnv(sample.into_iter().flat_map(f32::to_le_bytes))
}

fn run(case: &Case, image: &RgbImage) -> RgbImage {
    let filter = case.filter.unwrap_or_default();
    let [w, h] = case.to;
    let op = match case.op.as_str() {
        "resize" => return resize(image, w, h, filter).unwrap(),
        "crop_resize" => {
            let [x, y, width, height] = case.crop;
            return crop_resize(image, Rect { x, y, width, height }, w, h, filter).unwrap();
        }
        "center_crop" => return CenterCrop { width: w, height: h }.apply(image).unwrap(),
        "resize_shorter" => {
            return Resize::Shorter { size: case.v as usize, interpolation: filter }.apply(image).unwrap();
        }
        "grey" => return image.to_grey(),
        "hue" => return transform::adjust_hue(image, case.v),
        "hflip" => return transform::flip_horizontal(image),
        "vflip" => return transform::flip_vertical(image),
        "shear_x" => Op::ShearX(case.v),
        "shear_y" => Op::ShearY(case.v),
        "translate_x" => Op::TranslateXRel(case.v),
        "translate_y" => Op::TranslateYRel(case.v),
        "rotate" => Op::Rotate(case.v),
        "autocontrast" => Op::AutoContrast,
        "equalize" => Op::Equalize,
        "invert" => Op::Invert,
        "posterize" => Op::Posterize(case.v as u8),
        "solarize" => Op::Solarize(case.v as u16),
        "solarize_add" => Op::SolarizeAdd(case.v as u8),
        "color" => Op::Color(case.v),
        "contrast" => Op::Contrast(case.v),
        "brightness" => Op::Brightness(case.v),
        "sharpness" => Op::Sharpness(case.v),
        "blur" => Op::GaussianBlur(case.v),
        other => panic!("unknown operation {other}"),
    };
    op.apply(image, filter, [128, 100, 7])
}

#[test]
fn every_operation_gives_the_reference_pixels() {
    let text = std::fs::read_to_string(testdata("cases.jsonl")).unwrap();
    let mut pictures = HashMap::new();
    let mut count: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut wrong = Vec::new();
    for line in text.lines() {
        let case: Case = serde_json::from_str(line).unwrap();
        let image =
            pictures.entry(case.image.clone()).or_insert_with(|| picture(&format!("{}.png", case.image)));
        let hash = match case.op.as_str() {
            "eval" => evaluate(&case, image),
            _ => fnv(run(&case, image).into_vec()),
        };
        let tally = count.entry(case.op.clone()).or_default();
        tally.0 += 1;
        if hash != case.fnv {
            tally.1 += 1;
            wrong.push(line);
        }
    }
    eprintln!("cases and failures per operation: {count:?}");
    assert!(count.values().map(|c| c.0).sum::<usize>() > 1000);
    assert!(wrong.is_empty(), "{} cases differ, such as {:#?}", wrong.len(), &wrong[..wrong.len().min(8)]);
}

#[test]
fn every_colour_survives_hsv_as_in_pillow() {
    let text = std::fs::read_to_string(testdata("reference.json")).unwrap();
    let reference: serde_json::Value = serde_json::from_str(&text).unwrap();
    let all = || (0..1u32 << 24).map(|v| [(v >> 16) as u8, (v >> 8) as u8, v as u8]);
    assert_eq!(crc32(all().flat_map(transform::rgb_to_hsv)), reference["colours"]["rgb_to_hsv"]);
    assert_eq!(crc32(all().flat_map(transform::hsv_to_rgb)), reference["colours"]["hsv_to_rgb"]);
}
