//! The loader: the same batches for any number of threads, resuming, bad pictures, early ends.

use crate::datasets::{folders, message};
use ocelli_data::transform::{AugmentConfig, RandAugment};
use ocelli_data::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Made-up pictures of changing size; some numbers are unreadable, some make the thread panic.
#[derive(Default)]
struct Fake {
    len: usize,
    classes: Vec<String>,
    bad: Vec<usize>,
    panics: Vec<usize>,
    loads: AtomicUsize,
}

impl Fake {
    fn new(len: usize) -> Self {
        Self { len, classes: ["a", "b", "c"].map(String::from).to_vec(), ..Self::default() }
    }
}

impl Dataset for Fake {
    fn len(&self) -> usize {
        self.len
    }
    fn classes(&self) -> &[String] {
        &self.classes
    }
    fn label(&self, index: usize) -> usize {
        index % 3
    }
    fn name(&self, index: usize) -> String {
        format!("fake#{index}")
    }
    fn load(&self, index: usize) -> Result<RgbImage> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        assert!(!self.panics.contains(&index), "sample {index} explodes");
        if self.bad.contains(&index) {
            return decode_bytes(&self.name(index), b"rubbish", &DecodeLimits::default());
        }
        // Uneven work, so that threads overtake each other.
        if index.is_multiple_of(5) {
            std::thread::sleep(std::time::Duration::from_micros(300));
        }
        let (w, h) = (10 + index % 7, 12 + index % 5);
        RgbImage::from_vec(w, h, (0..w * h * 3).map(|i| (i * 7 + index * 31) as u8).collect())
    }
}

fn transform() -> Arc<TrainTransform> {
    let config = TransformConfig {
        preprocess: Preprocess { input_size: [3, 8, 8], ..Preprocess::default() },
        augment: AugmentConfig {
            auto_augment: Some(RandAugment::default()),
            re_prob: 0.2,
            ..AugmentConfig::default()
        },
    };
    Arc::new(config.train().unwrap())
}

fn config(workers: usize) -> LoaderConfig {
    let mix = MixConfig { mixup_alpha: 0.8, cutmix_alpha: 1.0, label_smoothing: 0.1, ..MixConfig::default() };
    LoaderConfig { batch_size: 8, workers, seed: 11, mix: Some(mix), ..LoaderConfig::train() }
}

/// All that must be equal in two runs.
type Content = (usize, Vec<u32>, [usize; 4], Vec<usize>, Option<Vec<f32>>, Vec<usize>, Vec<Skipped>);

fn content(batch: Batch) -> Content {
    let pixels = batch.pixels.iter().map(|v| v.to_bits()).collect();
    (batch.number, pixels, batch.shape, batch.labels, batch.targets, batch.indices, batch.skipped)
}

fn read(data: Fake, config: LoaderConfig, epoch: u64, start: usize) -> Vec<Content> {
    let loader = Loader::new(Arc::new(data), config, transform()).unwrap();
    loader.epoch(epoch, start).unwrap().map(|b| content(b.unwrap())).collect()
}

#[test]
fn batches_do_not_depend_on_threads() {
    let alone = read(Fake::new(70), config(0), 3, 0);
    assert_eq!(alone.len(), 8);
    for workers in [1, 2, 4, 9] {
        for prefetch in [1, 3, 100] {
            let config = LoaderConfig { prefetch, ..config(workers) };
            assert!(read(Fake::new(70), config, 3, 0) == alone, "{workers} workers, prefetch {prefetch}");
        }
    }
    let cached = LoaderConfig { cache_bytes: 20_000, ..config(3) };
    assert!(read(Fake::new(70), cached, 3, 0) == alone);
    assert!(read(Fake::new(70), config(2), 4, 0) != alone);
    assert!(read(Fake::new(70), LoaderConfig { seed: 12, ..config(2) }, 3, 0) != alone);
}

#[test]
fn a_resumed_epoch_goes_on_as_if_never_left() {
    let whole = read(Fake::new(70), config(2), 5, 0);
    for start in [1, 4, 7, 8, 100] {
        let rest = read(Fake::new(70), config(3), 5, start);
        assert!(rest == whole[start.min(8)..], "from batch {start}");
    }
    let data = Arc::new(Fake::new(70));
    let loader = Loader::new(data.clone(), config(1), transform()).unwrap();
    assert_eq!(loader.epoch(5, 7).unwrap().count(), 1);
    assert_eq!(data.loads.load(Ordering::Relaxed), 8, "earlier batches are not decoded");
}

#[test]
fn an_epoch_has_every_sample_once() {
    let evaluation = LoaderConfig { batch_size: 8, workers: 2, ..LoaderConfig::eval() };
    let batches = read(Fake::new(21), evaluation, 0, 0);
    assert_eq!(batches.iter().map(|b| b.2[0]).collect::<Vec<_>>(), [8, 8, 5]);
    assert_eq!(batches.iter().flat_map(|b| b.5.clone()).collect::<Vec<_>>(), (0..21).collect::<Vec<_>>());
    assert!(batches.iter().all(|b| b.4.is_none()));
    assert_eq!(batches[1].3, (8..16).map(|i| i % 3).collect::<Vec<_>>());
    let training = LoaderConfig { mix: None, drop_last: false, ..config(2) };
    let mut order: Vec<usize> = read(Fake::new(21), training, 0, 0).into_iter().flat_map(|b| b.5).collect();
    assert_ne!(order, (0..21).collect::<Vec<_>>());
    order.sort_unstable();
    assert_eq!(order, (0..21).collect::<Vec<_>>());
}

#[test]
fn bad_pictures_stop_or_are_left_out() {
    let bad = || Fake { bad: vec![3, 8, 9, 10, 11, 14], ..Fake::new(18) };
    for workers in [0, 1, 3] {
        let plain = LoaderConfig { batch_size: 4, workers, ..LoaderConfig::eval() };
        let loader = Loader::new(Arc::new(bad()), plain.clone(), transform()).unwrap();
        let mut epoch = loader.epoch(0, 0).unwrap();
        let error = message(epoch.next().unwrap());
        assert!(error.contains("fake#3") && error.contains("rubbish"), "{error}");
        assert!(epoch.next().is_none());

        let skip = LoaderConfig { bad_images: BadImages::Skip, ..plain };
        let loader = Loader::new(Arc::new(bad()), skip, transform()).unwrap();
        let mut epoch = loader.epoch(0, 0).unwrap();
        let batches: Vec<Batch> = epoch.by_ref().map(Result::unwrap).collect();
        assert_eq!(
            batches.iter().map(|b| b.indices.clone()).collect::<Vec<_>>(),
            [vec![0, 1, 2], vec![4, 5, 6, 7], vec![12, 13, 15], vec![16, 17]]
        );
        // Batch 2 (8 to 11) had nothing readable: it is passed over and told with the next.
        assert_eq!(batches.iter().map(|b| b.number).collect::<Vec<_>>(), [0, 1, 3, 4]);
        let told = |b: &Batch| b.skipped.iter().map(|s| s.index).collect::<Vec<_>>();
        assert_eq!(
            batches.iter().map(told).collect::<Vec<_>>(),
            [vec![3], vec![], vec![8, 9, 10, 11, 14], vec![]]
        );
        assert!(batches.iter().all(|b| b.pixels.len() == b.shape.iter().product::<usize>()));
        assert_eq!(epoch.skipped().len(), 6);
        assert!(epoch.skipped()[0].error.contains("fake#3"));
    }
    let nothing = Fake { bad: (0..4).collect(), ..Fake::new(4) };
    let skip = LoaderConfig { bad_images: BadImages::Skip, batch_size: 2, ..LoaderConfig::eval() };
    let mut epoch = Loader::new(Arc::new(nothing), skip, transform()).unwrap().epoch(0, 0).unwrap();
    assert!(epoch.next().is_none());
    assert_eq!(epoch.skipped().len(), 4);
}

#[test]
fn a_panic_becomes_an_error_even_when_bad_pictures_are_skipped() {
    for workers in [0, 2] {
        let data = Fake { panics: vec![5], ..Fake::new(12) };
        let config =
            LoaderConfig { batch_size: 4, workers, bad_images: BadImages::Skip, ..LoaderConfig::eval() };
        let loader = Loader::new(Arc::new(data), config, transform()).unwrap();
        let results: Vec<Result<Batch>> = loader.epoch(0, 0).unwrap().collect();
        assert!(results[0].is_ok() && results.len() == 2);
        let error = results[1].as_ref().err().unwrap();
        assert!(matches!(error, DataError::Panicked { .. }));
        assert!(error.to_string().contains("fake#5") && error.to_string().contains("explodes"), "{error}");
    }
}

#[test]
fn dropping_an_epoch_early_ends_its_threads() {
    let data = Arc::new(Fake::new(4000));
    for workers in [1, 4] {
        for taken in [0, 1, 3] {
            let loader = Loader::new(data.clone(), config(workers), transform()).unwrap();
            let mut epoch = loader.epoch(0, 0).unwrap();
            epoch.by_ref().take(taken).for_each(drop);
            drop(epoch);
        }
    }
    let loads = data.loads.load(Ordering::Relaxed);
    assert_eq!(Arc::strong_count(&data), 1, "no thread keeps the dataset");
    // At most `taken` plus what prefetching allows, never the whole epoch.
    assert!(loads < 2 * (1 + 3 + 3 * 4) * 8, "{loads} loads");
}

#[test]
fn prefetch_bounds_what_is_made_ahead() {
    let data = Arc::new(Fake::new(800));
    let config = LoaderConfig { prefetch: 2, ..config(4) };
    let loader = Loader::new(data.clone(), config, transform()).unwrap();
    let mut epoch = loader.epoch(0, 0).unwrap();
    epoch.next().unwrap().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert_eq!(data.loads.load(Ordering::Relaxed), 24, "the one taken and two ahead");
}

#[test]
fn settings_and_sizes_are_checked() {
    let new = |len, config| message(Loader::new(Arc::new(Fake::new(len)), config, transform()));
    assert!(new(9, LoaderConfig { batch_size: 0, ..LoaderConfig::eval() }).contains("batch_size"));
    assert!(new(9, LoaderConfig { prefetch: 0, ..LoaderConfig::eval() }).contains("prefetch"));
    assert!(new(0, LoaderConfig::eval()).contains("dataset"));
    assert!(new(9, LoaderConfig { batch_size: 10, ..LoaderConfig::train() }).contains("9 pictures"));
    let loader = Loader::new(Arc::new(Fake::new(70)), config(1), transform()).unwrap();
    assert_eq!((loader.batches(), loader.samples()), (8, 64));
    // Mixing needs labels with names.
    let unnamed = Fake { classes: Vec::new(), ..Fake::new(16) };
    let loader = Loader::new(Arc::new(unnamed), config(1), transform()).unwrap();
    assert!(message(loader.epoch(0, 0).unwrap().next().unwrap()).contains("label"));
}

#[test]
fn prediction_reads_a_list_of_files() {
    let dir = tempfile::tempdir().unwrap();
    folders(dir.path(), &[("a", 3)]);
    let paths = list_images(&[dir.path()]).unwrap();
    let data = Arc::new(FileList::new(paths.clone(), DecodeLimits::default()));
    let eval = EvalTransform::new(&Preprocess { input_size: [3, 16, 16], ..Preprocess::default() }).unwrap();
    let config = LoaderConfig { batch_size: 2, workers: 2, ..LoaderConfig::eval() };
    let loader = Loader::new(data, config, Arc::new(eval)).unwrap();
    let batches: Vec<Batch> = loader.epoch(0, 0).unwrap().map(Result::unwrap).collect();
    assert_eq!((batches.len(), batches[1].shape), (2, [1, 3, 16, 16]));
    assert_eq!(loader.dataset().name(batches[1].indices[0]), paths[2].display().to_string());
}
