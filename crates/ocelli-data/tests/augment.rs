//! Random transforms: their distributions, settings and safety.

use crate::common::{picture, testdata};
use ocelli_data::transform::*;
use ocelli_data::{Interpolation, RgbImage, Rng};
use serde_json::Value;

fn reference() -> Value {
    serde_json::from_str(&std::fs::read_to_string(testdata("reference.json")).unwrap()).unwrap()
}

fn numbers(v: &Value) -> Vec<f64> {
    v.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn moments(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
    (mean, variance.sqrt())
}

#[test]
fn random_resized_crop_draws_as_torchvision() {
    for case in reference()["random_resized_crop"].as_array().unwrap() {
        let (scale, ratio) = (numbers(&case["scale"]), numbers(&case["ratio"]));
        let (w, h) = (case["width"].as_u64().unwrap() as usize, case["height"].as_u64().unwrap() as usize);
        let crop = RandomResizedCrop {
            width: 8,
            height: 8,
            scale: [scale[0], scale[1]],
            ratio: [ratio[0], ratio[1]],
            interpolation: InterpolationChoice::Random,
        };
        let mut columns = vec![Vec::new(); 4];
        for i in 0..20_000 {
            let r = crop.params(w, h, &mut Rng::for_sample(0, 0, i));
            assert!(r.x + r.width <= w && r.y + r.height <= h && r.width > 0 && r.height > 0);
            let (wide, high) = (r.width as f64, r.height as f64);
            columns[0].push(wide * high / (w * h) as f64);
            columns[1].push((wide / high).ln());
            columns[2].push(r.x as f64 / w as f64);
            columns[3].push(r.y as f64 / h as f64);
        }
        for (i, column) in columns.iter().enumerate() {
            let (mean, std) = moments(column);
            let (want_mean, want_std) = (numbers(&case["mean"])[i], numbers(&case["std"])[i]);
            // Five standard errors of the difference, and a little for constants.
            let room = 5.0 * want_std * (2.0f64 / 20_000.0).sqrt() + 1e-9;
            assert!((mean - want_mean).abs() <= room, "{w}x{h} {i}: mean {mean}, not {want_mean}");
            assert!((std - want_std).abs() <= room, "{w}x{h} {i}: deviation {std}, not {want_std}");
        }
    }
}

#[test]
fn random_erasing_erases_as_much_as_timms() {
    for case in reference()["random_erasing"].as_array().unwrap() {
        let erase =
            RandomErasing { max_count: case["count"].as_u64().unwrap() as usize, ..RandomErasing::default() };
        let parts: Vec<f64> = (0..8000)
            .map(|i| {
                let mut sample = vec![1.0; 32 * 48];
                erase.apply(&mut sample, [1, 32, 48], &mut Rng::for_sample(3, 0, i));
                sample.iter().filter(|v| **v == 0.0).count() as f64 / sample.len() as f64
            })
            .collect();
        let (mean, std) = moments(&parts);
        let untouched = parts.iter().filter(|p| **p == 0.0).count() as f64 / 8000.0;
        let want = |name: &str| case[name].as_f64().unwrap();
        assert!((mean - want("mean")).abs() < 0.01, "{mean} {case}");
        assert!((std - want("std")).abs() < 0.01, "{std} {case}");
        assert!((untouched - want("untouched")).abs() < 0.03, "{untouched} {case}");
    }
}

#[test]
fn erasing_fills_as_asked() {
    for mode in [EraseMode::Const, EraseMode::Rand, EraseMode::Pixel] {
        let erase = RandomErasing { probability: 1.0, mode, ..RandomErasing::default() };
        let mut sample = vec![100.0; 3 * 20 * 20];
        erase.apply(&mut sample, [3, 20, 20], &mut Rng::for_sample(1, 0, 0));
        let plane =
            |c: usize| sample[c * 400..(c + 1) * 400].iter().filter(|v| **v != 100.0).collect::<Vec<_>>();
        let distinct = |c| {
            let mut values: Vec<u32> = plane(c).iter().map(|v| v.to_bits()).collect();
            values.sort_unstable();
            values.dedup();
            values.len()
        };
        assert_eq!(plane(0).len(), plane(2).len());
        match mode {
            EraseMode::Const => assert!(plane(0).iter().all(|v| **v == 0.0)),
            EraseMode::Rand => assert!(distinct(0) == 1 && plane(0)[0] != plane(1)[0]),
            EraseMode::Pixel => assert!(distinct(0) > 5),
        }
    }
    // A wrong length is left alone.
    let mut short = vec![1.0; 7];
    RandomErasing::default().apply(&mut short, [3, 20, 20], &mut Rng::for_sample(0, 0, 0));
    assert_eq!(short, [1.0; 7]);
}

/// timm's name of an operation, and its argument.
fn describe(op: Op, increasing: bool) -> (String, Option<f64>) {
    let (name, argument, varies) = match op {
        Op::AutoContrast => ("AutoContrast", None, false),
        Op::Equalize => ("Equalize", None, false),
        Op::Invert => ("Invert", None, false),
        Op::Rotate(v) => ("Rotate", Some(v), false),
        Op::Posterize(v) => ("Posterize", Some(f64::from(v)), true),
        Op::Solarize(v) => ("Solarize", Some(f64::from(v)), true),
        Op::SolarizeAdd(v) => ("SolarizeAdd", Some(f64::from(v)), false),
        Op::Color(v) => ("Color", Some(v), true),
        Op::Contrast(v) => ("Contrast", Some(v), true),
        Op::Brightness(v) => ("Brightness", Some(v), true),
        Op::Sharpness(v) => ("Sharpness", Some(v), true),
        Op::ShearX(v) => ("ShearX", Some(v), false),
        Op::ShearY(v) => ("ShearY", Some(v), false),
        Op::TranslateXRel(v) => ("TranslateXRel", Some(v), false),
        Op::TranslateYRel(v) => ("TranslateYRel", Some(v), false),
        Op::Desaturate(v) => ("Desaturate", Some(v), false),
        Op::GaussianBlur(v) => ("GaussianBlur", Some(v), false),
    };
    (format!("{name}{}", if varies && increasing { "Increasing" } else { "" }), argument)
}

#[test]
fn rand_augment_uses_timms_arguments() {
    let table = &reference()["rand_augment"];
    // The reference's magnitudes 0, 1, 3.5, 7, 9 and 10; ours are whole.
    for (column, magnitude) in [(0, 0), (1, 1), (3, 7), (4, 9), (5, 10)] {
        for (config, count) in
            [("rand", 15), ("rand-inc1", 15), ("rand-t3a", 3), ("rand-tweights", 15), ("rand-t3aw", 14)]
        {
            let config = format!("{config}-m{magnitude}-p1-n2");
            let augment: RandAugment = config.parse().unwrap();
            let mut seen = std::collections::BTreeSet::new();
            for i in 0..6000 {
                let ops = augment.ops(&mut Rng::for_sample(0, 0, i));
                assert_eq!(ops.len(), 2);
                for op in ops {
                    let (name, argument) = describe(op, config != format!("rand-m{magnitude}-p1-n2"));
                    let allowed = numbers(&table[&name][column]);
                    let right = match argument {
                        None => allowed.is_empty(),
                        Some(v) => allowed.iter().any(|a| (a - v).abs() < 1e-9),
                    };
                    assert!(right, "{config} {name} {argument:?}, not {allowed:?}");
                    seen.insert(name);
                }
            }
            assert_eq!(seen.len(), count, "{config}: {seen:?}");
        }
    }
}

#[test]
fn rand_augment_draws_each_operation_alike() {
    let augment: RandAugment = "rand-m9-n2-mstd0.5".parse().unwrap();
    let mut counts = std::collections::BTreeMap::new();
    for i in 0..15_000 {
        for op in augment.ops(&mut Rng::for_sample(0, 0, i)) {
            *counts.entry(describe(op, false).0).or_insert(0) += 1;
        }
    }
    // 15,000 pictures, 2 draws, probability one half, 15 operations.
    assert!(counts.len() == 15 && counts.values().all(|n| (850..1150).contains(n)), "{counts:?}");
}

#[test]
fn rand_augment_strings_are_read_and_written() {
    let parse = |s: &str| s.parse::<RandAugment>();
    let full = parse("rand-m9-n3-p0.8-mstd0.5-mmax15-inc1").unwrap();
    assert_eq!((full.magnitude, full.layers, full.prob), (9, 3, 0.8));
    assert_eq!((full.magnitude_std, full.magnitude_max, full.increasing), (0.5, Some(15), true));
    assert_eq!(parse("rand-mstd101").unwrap().magnitude_std, f64::INFINITY);
    assert_eq!(parse("rand").unwrap(), RandAugment::default());
    for text in ["rand-m9-n3-p0.8-mstd0.5-mmax15-inc1", "rand-m7-mstd101", "rand-m4-t3aw", "rand-tweights"] {
        let value = parse(text).unwrap();
        let json = serde_json::to_string(&value).unwrap();
        assert_eq!(serde_json::from_str::<RandAugment>(&json).unwrap(), value, "{json}");
    }
    for (bad, word) in [
        ("", "rand"),
        ("augmix-m3", "augmix"),
        ("rand-m", "whole number"),
        ("rand-m-3", "whole number"),
        ("rand-mx", "section"),
        ("rand-m9.5", "whole number"),
        ("rand-n0", "from 1"),
        ("rand-p2", "probability"),
        ("rand-inc7", "inc0 or inc1"),
        ("rand-w0", "tweights"),
        ("rand-tfoo", "tfoo"),
        ("rand-q3", "q3"),
        ("rand--m9", "section"),
        ("rand-mstdx", "section"),
    ] {
        let error = parse(bad).unwrap_err().to_string();
        assert!(error.contains(word) && error.contains("auto_augment"), "{bad}: {error}");
    }
}

#[test]
fn settings_round_trip_with_timms_names() {
    let config: TransformConfig = serde_json::from_str(
        r#"{"preprocess": {"input_size": [3, 64, 64], "interpolation": "bilinear", "crop_mode": "squash"},
            "augment": {"auto_augment": "rand-m9-mstd0.5-inc1", "re_prob": 0.25, "re_mode": "pixel",
                        "interpolation": "random", "train_crop_mode": "rrc"}}"#,
    )
    .unwrap();
    assert_eq!(config.preprocess.crop_pct, 0.875);
    assert_eq!(config.augment.scale, [0.08, 1.0]);
    let text = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<TransformConfig>(&text).unwrap(), config);
    assert!(serde_json::from_str::<AugmentConfig>(r#"{"auto_augment": "nonsense"}"#).is_err());
    assert!(serde_json::from_str::<AugmentConfig>(r#"{"interpolation": "best"}"#).is_err());
}

#[test]
fn impossible_settings_are_refused() {
    let preprocess = |change: fn(&mut Preprocess)| {
        let mut config = TransformConfig::default();
        change(&mut config.preprocess);
        config.eval().unwrap_err().to_string()
    };
    assert!(preprocess(|p| p.input_size = [2, 8, 8]).contains("input_size"));
    assert!(preprocess(|p| p.input_size = [3, 0, 8]).contains("input_size"));
    assert!(preprocess(|p| p.input_size = [1, 8, 8]).contains("mean"));
    assert!(preprocess(|p| p.crop_pct = 0.0).contains("crop_pct"));
    assert!(preprocess(|p| p.std[1] = 0.0).contains("std"));
    assert!(preprocess(|p| p.mean[0] = f32::NAN).contains("mean"));
    let augment = |change: fn(&mut AugmentConfig)| {
        let mut config = TransformConfig::default();
        change(&mut config.augment);
        config.train().unwrap_err().to_string()
    };
    assert!(augment(|a| a.hflip = 2.0).contains("hflip"));
    assert!(augment(|a| a.scale = [0.5, 0.1]).contains("scale"));
    assert!(augment(|a| a.ratio = [0.0, 1.0]).contains("ratio"));
    assert!(augment(|a| a.hue = 0.7).contains("hue"));
    assert!(augment(|a| a.color_jitter = -1.0).contains("brightness"));
    assert!(augment(|a| a.re_count = 0).contains("count"));
}

/// Every kind of training transform on pictures of every shape, small and extreme.
#[test]
fn training_transforms_give_the_input_size_whatever_comes() {
    let heavy = AugmentConfig {
        auto_augment: Some("rand-m9-n4-p1-mstd0.5-inc1".parse().unwrap()),
        force_color_jitter: true,
        hue: 0.5,
        vflip: 0.5,
        grayscale_prob: 0.2,
        re_prob: 0.5,
        re_mode: EraseMode::Pixel,
        ..AugmentConfig::default()
    };
    let mirrored =
        AugmentConfig { padding: 40, padding_mode: PaddingMode::Reflect, ..AugmentConfig::small() };
    let configs = [heavy, AugmentConfig::small(), mirrored, AugmentConfig::none(), AugmentConfig::default()];
    let pictures = [(1, 1), (1, 9), (70_000, 1), (1, 70_000), (2, 3), (61, 47)]
        .map(|(w, h)| RgbImage::filled(w, h, [9, 99, 200]).unwrap());
    for (channels, stats) in [(3, IMAGENET), (1, HALF)] {
        let preprocess = Preprocess {
            input_size: [channels, 24, 20],
            mean: stats.mean[..channels].to_vec(),
            std: stats.std[..channels].to_vec(),
            ..Preprocess::default()
        };
        for image in &pictures {
            for augment in &configs {
                let transform = TrainTransform::new(&preprocess, augment).unwrap();
                for i in 0..20 {
                    let sample = transform.apply(image, &mut Rng::for_sample(0, 0, i)).unwrap();
                    assert_eq!(sample.len(), channels * 24 * 20);
                    assert!(sample.iter().all(|v| v.is_finite()));
                }
            }
            for crop_mode in [CropMode::Center, CropMode::Squash, CropMode::Border] {
                let eval = EvalTransform::new(&Preprocess { crop_mode, ..preprocess.clone() }).unwrap();
                assert_eq!(eval.apply(image).unwrap().len(), channels * 24 * 20);
            }
        }
    }
}

#[test]
fn a_sample_depends_on_its_key_alone() {
    let config = TransformConfig {
        preprocess: Preprocess { input_size: [3, 32, 32], ..Preprocess::default() },
        augment: AugmentConfig {
            auto_augment: Some(RandAugment::default()),
            re_prob: 0.3,
            ..AugmentConfig::default()
        },
    };
    let (transform, image) = (config.train().unwrap(), picture("base.png"));
    let sample = |epoch, index| transform.apply(&image, &mut Rng::for_sample(5, epoch, index)).unwrap();
    assert_eq!(sample(1, 2), sample(1, 2));
    assert_ne!(sample(1, 2), sample(2, 2));
    assert_ne!(sample(1, 2), sample(1, 3));
}

#[test]
fn random_crop_pads_as_asked() {
    let image = picture("base.png");
    let crop = |padding, padding_mode| RandomCrop { width: 61, height: 47, padding, padding_mode };
    let mut seen = std::collections::HashSet::new();
    for i in 0..300 {
        let mut rng = Rng::for_sample(0, 0, i);
        let out = crop(1, PaddingMode::Constant).apply(&image, &mut rng).unwrap();
        // Find the offset by the picture's centre, then compare all of it.
        let offset = (-1i64..=1).flat_map(|y| (-1i64..=1).map(move |x| (x, y))).find(|(x, y)| {
            (0..47i64).all(|r| {
                (0..61i64).all(|c| {
                    let source = usize::try_from(c + x).ok().zip(usize::try_from(r + y).ok());
                    let want = source.and_then(|(x, y)| image.pixel(x, y)).unwrap_or([0; 3]);
                    out.pixel(c as usize, r as usize) == Some(want)
                })
            })
        });
        seen.insert(offset.expect("a shifted copy"));
    }
    assert_eq!(seen.len(), 9);
    let mut rng = Rng::for_sample(0, 0, 0);
    let out = crop(5, PaddingMode::Reflect).apply(&image, &mut rng).unwrap();
    assert!(out.data().chunks(3).all(|p| image.data().chunks(3).any(|q| p == q)));
    assert_eq!(crop(0, PaddingMode::Constant).apply(&image, &mut rng).unwrap(), image);
}

#[test]
fn color_jitter_stays_in_its_range() {
    let image = RgbImage::filled(4, 4, [100, 100, 100]).unwrap();
    let jitter = ColorJitter { brightness: 0.4, ..ColorJitter::default() };
    let values: Vec<u8> =
        (0..500).map(|i| jitter.apply(image.clone(), &mut Rng::for_sample(0, 0, i)).data()[0]).collect();
    assert!(values.iter().all(|v| (59..=140).contains(v)));
    assert!(values.iter().any(|v| *v < 65) && values.iter().any(|v| *v > 135));
    assert_eq!(ColorJitter::default().apply(image.clone(), &mut Rng::for_sample(0, 0, 0)), image);
}

#[test]
fn windows_equal_parts_of_the_whole() {
    use ocelli_data::{Rect, crop, resize, resize_window};
    let image = picture("base.png");
    for filter in [Interpolation::Nearest, Interpolation::Bilinear, Interpolation::Lanczos] {
        for size in [(20, 90), (100, 13), (61, 20), (61, 47), (30, 30)] {
            let whole = resize(&image, size.0, size.1, filter).unwrap();
            let window = Rect { x: 3, y: 2, width: size.0 - 7, height: size.1 - 5 };
            let source = Rect::whole(61, 47);
            let part = resize_window(&image, source, size, window, filter).unwrap();
            assert!(part == crop(&whole, window).unwrap(), "{filter} {size:?}");
        }
    }
    let outside = Rect { x: 60, y: 0, width: 2, height: 1 };
    assert!(crop(&image, outside).is_err());
    assert!(resize(&image, 0, 5, Interpolation::Bilinear).is_err());
    assert!(resize(&image, 1 << 20, 1 << 20, Interpolation::Bilinear).is_err());
}

#[test]
fn bgr_turns_the_channels_round() {
    let picture = ocelli_data::RgbImage::from_vec(1, 1, vec![255, 0, 51]).unwrap();
    let preprocess = ocelli_data::Preprocess {
        input_size: [3, 1, 1],
        mean: vec![0.1, 0.2, 0.3],
        std: vec![1.0; 3],
        bgr: true,
        ..Default::default()
    };
    let input = ocelli_data::EvalTransform::new(&preprocess).unwrap().apply(&picture).unwrap();
    for (found, want) in input.iter().zip([0.2 - 0.1, 0.0 - 0.2, 1.0 - 0.3]) {
        assert!((found - want).abs() < 1e-6, "{input:?}");
    }
}
