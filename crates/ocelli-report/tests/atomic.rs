//! Atomic files.

use std::fs;
use std::io::{self, Write};

use ocelli_report::atomic::{AtomicFile, write_atomic};

use crate::support::TempDir;

#[test]
fn writes_and_replaces() {
    let dir = TempDir::new();
    let path = dir.0.join("a.txt");
    write_atomic(&path, b"one").unwrap();
    write_atomic(&path, b"two").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"two");
    assert_eq!(dir.names(), ["a.txt"]);
}

#[test]
fn a_missing_directory_is_an_error() {
    let dir = TempDir::new();
    let error = write_atomic(dir.0.join("none/a.txt"), b"x").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(dir.names().is_empty());
}

#[test]
fn a_directory_is_not_replaced() {
    let dir = TempDir::new();
    fs::create_dir(dir.0.join("target")).unwrap();
    assert!(write_atomic(dir.0.join("target"), b"x").is_err());
    assert_eq!(dir.names(), ["target"]);
    assert!(write_atomic("/", b"x").is_err());
    assert!(write_atomic("", b"x").is_err());
}

#[test]
fn a_rename_that_fails_leaves_nothing() {
    let dir = TempDir::new();
    let path = dir.0.join("target");
    let mut file = AtomicFile::create(&path).unwrap();
    file.write_all(b"x").unwrap();
    fs::create_dir(&path).unwrap();
    assert!(file.commit().is_err());
    assert_eq!(dir.names(), ["target"]);
}

#[test]
fn dropping_without_commit_keeps_the_old_file() {
    let dir = TempDir::new();
    let path = dir.0.join("a.txt");
    write_atomic(&path, b"old").unwrap();
    let mut file = AtomicFile::create(&path).unwrap();
    file.write_all(b"half of the new").unwrap();
    assert_eq!(dir.names().len(), 2);
    assert_eq!(fs::read(&path).unwrap(), b"old");
    drop(file);
    assert_eq!(dir.names(), ["a.txt"]);
    assert_eq!(fs::read(&path).unwrap(), b"old");
}

#[test]
fn a_failing_producer_keeps_the_old_file() {
    /// A source that breaks off.
    struct Broken(usize);
    impl io::Read for Broken {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.0 += 1;
            if self.0 > 3 { Err(io::Error::other("the source broke off")) } else { Ok(out.len().min(1000)) }
        }
    }
    let dir = TempDir::new();
    let path = dir.0.join("a.txt");
    write_atomic(&path, b"old").unwrap();
    let attempt = || -> io::Result<()> {
        let mut file = AtomicFile::create(&path)?;
        io::copy(&mut Broken(0), &mut file)?;
        file.commit()
    };
    assert_eq!(attempt().unwrap_err().to_string(), "the source broke off");
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(dir.names(), ["a.txt"]);
}

#[test]
fn a_relative_path_works() {
    // Cargo runs tests in the package's directory.
    let name = format!("atomic-{}.tmp", std::process::id());
    write_atomic(&name, b"x").unwrap();
    assert_eq!(fs::read(&name).unwrap(), b"x");
    fs::remove_file(&name).unwrap();
}

#[test]
fn many_writers_leave_one_whole_file() {
    let dir = TempDir::new();
    let path = dir.0.join("a.bin");
    std::thread::scope(|scope| {
        for n in 0..8_u8 {
            let path = &path;
            scope.spawn(move || write_atomic(path, &vec![n; 100_000]).unwrap());
        }
    });
    let bytes = fs::read(&path).unwrap();
    assert_eq!(bytes.len(), 100_000);
    assert!(bytes.iter().all(|b| *b == bytes[0]));
    assert_eq!(dir.names(), ["a.bin"]);
}

#[cfg(unix)]
#[test]
fn links_and_permissions_stay() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let dir = TempDir::new();
    let (file, link) = (dir.0.join("file"), dir.0.join("link"));
    write_atomic(&file, b"old").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    symlink("file", &link).unwrap();
    write_atomic(&link, b"new").unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read(&file).unwrap(), b"new");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
}
