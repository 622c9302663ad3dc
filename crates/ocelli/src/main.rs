//! The `ocelli` program.

use std::process::ExitCode;

/// Training steps allocate the same tensors again and again.
#[global_allocator]
static ALLOCATOR: ocelli_train::Recycler = ocelli_train::Recycler::new();

fn main() -> ExitCode {
    ocelli::cli::main()
}
