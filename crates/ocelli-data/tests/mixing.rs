//! Mixup and CutMix against their formulas.

use ocelli_data::{MixConfig, Rng};

const CLASSES: usize = 5;

/// A batch in which every value of sample `i` is `i`.
fn batch(n: usize) -> (Vec<f32>, [usize; 4], Vec<usize>) {
    let shape = [n, 3, 8, 10];
    let pixels = (0..n).flat_map(|i| vec![i as f32; 240]).collect();
    (pixels, shape, (0..n).map(|i| (i * 2) % CLASSES).collect())
}

fn expected_targets(labels: &[usize], lam: f64, smoothing: f64) -> Vec<f32> {
    let n = labels.len();
    let smooth = |label: usize, class: usize| {
        smoothing / CLASSES as f64 + if label == class { 1.0 - smoothing } else { 0.0 }
    };
    (0..n)
        .flat_map(|i| {
            (0..CLASSES).map(move |c| {
                (lam * smooth(labels[i], c) + (1.0 - lam) * smooth(labels[n - 1 - i], c)) as f32
            })
        })
        .collect()
}

fn close(a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5), "{a:?}\n{b:?}");
}

#[test]
fn mixup_blends_with_the_mirror_image() {
    let mix = MixConfig { mixup_alpha: 0.8, label_smoothing: 0.1, ..MixConfig::default() };
    for n in 1..6 {
        let (mut pixels, shape, labels) = batch(n);
        let mixed =
            mix.apply(&mut pixels, shape, &labels, CLASSES, &mut Rng::for_sample(n as u64, 0, 0)).unwrap();
        assert!(mixed.cut.is_none() && (0.0..1.0).contains(&mixed.lam));
        close(&mixed.targets, &expected_targets(&labels, mixed.lam, 0.1));
        for (i, sample) in pixels.chunks(240).enumerate() {
            let want = mixed.lam * i as f64 + (1.0 - mixed.lam) * (n - 1 - i) as f64;
            assert!(
                sample.iter().all(|v| (f64::from(*v) - want).abs() < 1e-5),
                "{n} {i} {want} {}",
                sample[0]
            );
        }
    }
}

#[test]
fn cutmix_pastes_a_box_and_counts_its_area() {
    let mix = MixConfig { cutmix_alpha: 1.0, ..MixConfig::default() };
    let mut clipped = false;
    for n in [2, 3, 4, 7] {
        for seed in 0..50 {
            let (mut pixels, shape, labels) = batch(n);
            let mixed =
                mix.apply(&mut pixels, shape, &labels, CLASSES, &mut Rng::for_sample(seed, 0, 0)).unwrap();
            let cut = mixed.cut.unwrap();
            assert!((mixed.lam - (1.0 - (cut.width * cut.height) as f64 / 80.0)).abs() < 1e-12);
            clipped |= cut.x == 0 || cut.x + cut.width == 10;
            close(&mixed.targets, &expected_targets(&labels, mixed.lam, 0.0));
            for (at, v) in pixels.iter().enumerate() {
                let (i, y, x) = (at / 240, at / 10 % 8, at % 10);
                let inside =
                    (cut.x..cut.x + cut.width).contains(&x) && (cut.y..cut.y + cut.height).contains(&y);
                assert_eq!(*v, if inside { (n - 1 - i) as f32 } else { i as f32 });
            }
        }
    }
    assert!(clipped);
}

#[test]
fn targets_sum_to_one_and_probabilities_hold() {
    let mix =
        MixConfig { mixup_alpha: 0.8, cutmix_alpha: 1.0, prob: 0.5, switch_prob: 0.25, label_smoothing: 0.1 };
    let (mut plain, mut cut) = (0, 0);
    for seed in 0..4000 {
        let (mut pixels, _, labels) = batch(2);
        let mixed = mix
            .apply(&mut pixels[..480], [2, 3, 8, 10], &labels, CLASSES, &mut Rng::for_sample(seed, 0, 0))
            .unwrap();
        for row in mixed.targets.chunks(CLASSES) {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        }
        plain += usize::from(mixed.lam == 1.0 && mixed.cut.is_none());
        cut += usize::from(mixed.cut.is_some());
    }
    assert!((1900..2100).contains(&plain), "{plain}");
    assert!((430..570).contains(&cut), "{cut}");
}

#[test]
fn smoothing_alone_gives_soft_targets() {
    let mix = MixConfig { label_smoothing: 0.1, ..MixConfig::default() };
    let (mut pixels, shape, labels) = batch(3);
    let before = pixels.clone();
    let mixed = mix.apply(&mut pixels, shape, &labels, CLASSES, &mut Rng::for_sample(0, 0, 0)).unwrap();
    assert_eq!(pixels, before);
    close(&mixed.targets[..5], &[0.92, 0.02, 0.02, 0.02, 0.02]);
}

#[test]
fn nonsense_is_refused() {
    let (mut pixels, shape, labels) = batch(3);
    let mix = MixConfig { label_smoothing: 0.1, ..MixConfig::default() };
    let mut rng = Rng::for_sample(0, 0, 0);
    assert!(mix.apply(&mut pixels, shape, &labels[..2], CLASSES, &mut rng).is_err());
    assert!(mix.apply(&mut pixels[1..], shape, &labels, CLASSES, &mut rng).is_err());
    let error = mix.apply(&mut pixels, shape, &labels, 4, &mut rng).unwrap_err().to_string();
    assert!(error.contains("label below 4"), "{error}");
    for bad in [
        MixConfig { mixup_alpha: -1.0, ..mix },
        MixConfig { cutmix_alpha: f64::NAN, ..mix },
        MixConfig { prob: 1.5, ..mix },
        MixConfig { label_smoothing: 1.0, ..mix },
    ] {
        assert!(bad.validate().is_err(), "{bad:?}");
    }
}
