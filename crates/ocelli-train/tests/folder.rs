//! One run per folder, one process per run.

use ocelli_train::RunFolder;

#[test]
fn a_folder_is_held_by_one_run_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let held = RunFolder::open(dir.path(), false).unwrap();
    let error = RunFolder::open(dir.path(), false).unwrap_err().to_string();
    assert!(error.contains("another process"), "{error}");
    drop(held);
    assert!(RunFolder::open(dir.path(), false).is_ok());
}

#[test]
fn a_used_folder_wants_resume_and_an_empty_one_refuses_it() {
    let dir = tempfile::tempdir().unwrap();
    let error = RunFolder::open(dir.path(), true).unwrap_err().to_string();
    assert!(error.contains("no run to resume"), "{error}");
    std::fs::write(dir.path().join("config.toml"), "").unwrap();
    let error = RunFolder::open(dir.path(), false).unwrap_err().to_string();
    assert!(error.contains("--resume"), "{error}");
    assert!(
        RunFolder::open(dir.path(), true).is_ok(),
        "a run killed before its first checkpoint starts over"
    );
}
