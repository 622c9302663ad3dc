//! The reader of compiled models: whatever the header says, loading ends with an error or with a model that runs.
//!
//! The input is the header's JSON, a zero byte, then the data; lengths and checksums are put in order, so that the fuzzer
//! reaches what lies behind them. `fuzz/seeds` holds the parts of a sound model.

#![no_main]

use std::cell::RefCell;
use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;
use ocelli_engine::{Model, RunOptions, assemble_file};

thread_local! {
    static FILE: RefCell<Option<(tempfile::TempDir, PathBuf)>> = const { RefCell::new(None) };
}

fuzz_target!(|bytes: &[u8]| {
    let cut = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    let (header, data) = bytes.split_at(cut);
    let file = assemble_file(header, data.get(1..).unwrap_or_default());
    FILE.with_borrow_mut(|kept| {
        let (_, path) = kept.get_or_insert_with(|| {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("model.ocelli");
            (folder, path)
        });
        std::fs::write(&*path, file).expect("writes");
        let Ok(model) = Model::load(path) else { return };
        let graph = model.graph();
        let lens: Vec<usize> =
            graph.inputs.iter().map(|&id| graph.value(id).shape_at(1).iter().product()).collect();
        if lens.iter().sum::<usize>() < 1 << 16 {
            let inputs: Vec<Vec<f32>> = lens.iter().map(|&len| vec![0.5; len]).collect();
            let slices: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
            let _ = model.run(1, RunOptions { threads: 1, pin: false }, &slices);
        }
    });
});
