//! The `ocelli` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    ocelli::cli::main()
}
