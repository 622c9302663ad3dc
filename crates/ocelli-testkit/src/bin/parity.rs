//! `parity PATH...`: runs golden cases (JSON files or folders of them) from anywhere, prints a line per output
//! and exits with 1 if any fails.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ocelli_testkit::builders::check;
use ocelli_testkit::case::Case;
use ocelli_testkit::compare::Verdict;

fn main() -> ExitCode {
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if paths.is_empty() || paths.iter().any(|path| path.as_os_str() == "--help" || path.as_os_str() == "-h") {
        eprintln!("Usage: parity PATH...\n\nRuns golden cases: JSON files, or folders searched for them.");
        eprintln!("Prints the relative error of every output and its tolerance; exit code 1 on any failure.");
        return ExitCode::from(2);
    }
    let mut files = Vec::new();
    for path in &paths {
        if path.is_dir() {
            collect(path, &mut files);
        } else {
            files.push(path.clone());
        }
    }
    let (mut outputs, mut failed) = (0, 0);
    for file in &files {
        let result = Case::read(file).and_then(|case| Ok((check(&case)?, case)));
        match result {
            Err(problem) => {
                failed += 1;
                println!("FAIL  {problem}");
            }
            Ok((comparisons, case)) => {
                for c in comparisons {
                    outputs += 1;
                    let (word, why) = match &c.verdict {
                        Verdict::Ok => ("ok", ""),
                        Verdict::Fail(why) => ("FAIL", why.as_str()),
                        Verdict::Skipped(why) => ("skip", why.as_str()),
                    };
                    failed += usize::from(word == "FAIL");
                    println!(
                        "{word:<4}  {:<34} {:<44} error {:.2e}  tolerance {:.0e}  {why}",
                        case.name, c.output, c.error, c.tolerance
                    );
                }
            }
        }
    }
    println!("{} cases, {outputs} outputs, {failed} failed", files.len());
    if files.is_empty() {
        eprintln!("parity: no cases found in {paths:?}");
    }
    ExitCode::from(u8::from(failed > 0 || files.is_empty()))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for entry in entries {
        if entry.is_dir() {
            collect(&entry, files);
        } else if Case::is_case(&entry) {
            files.push(entry);
        }
    }
}
