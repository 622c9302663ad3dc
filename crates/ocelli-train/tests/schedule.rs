//! Learning rates.

use ocelli_train::{ScheduleKind, TrainConfig};

#[test]
fn warm_up_rises_and_cosine_falls_to_its_minimum() {
    let config =
        TrainConfig { epochs: 10, lr: 1.0, warmup_epochs: 2.0, min_lr_ratio: 0.1, ..Default::default() };
    let schedule = config.schedule(10);
    let rates: Vec<f64> = (0..100).map(|step| schedule.at(step)).collect();
    assert!(rates[..20].windows(2).all(|pair| pair[0] < pair[1]));
    assert!((rates[0] - 1.0 / 21.0).abs() < 1e-12);
    assert!((rates[20] - 1.0).abs() < 1e-12);
    assert!(rates[20..].windows(2).all(|pair| pair[0] > pair[1]));
    assert!((rates[60] - 0.55).abs() < 1e-12, "half way down at half time");
    assert!((schedule.at(100) - 0.1).abs() < 1e-12);
}

#[test]
fn steps_fall_at_their_epochs() {
    let config = TrainConfig {
        epochs: 9,
        lr: 1.0,
        schedule: ScheduleKind::Step,
        warmup_epochs: 0.0,
        decay_epochs: 3.0,
        decay_rate: 0.1,
        ..Default::default()
    };
    let schedule = config.schedule(2);
    let rates: Vec<f64> = [0, 5, 6, 11, 12].map(|step| schedule.at(step)).to_vec();
    for (rate, want) in rates.iter().zip([1.0, 1.0, 0.1, 0.1, 0.01]) {
        assert!((rate - want).abs() < 1e-12, "{rates:?}");
    }
}
