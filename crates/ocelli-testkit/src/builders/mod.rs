//! Builders: from a case's `config` to the outputs it asks for. One file per system.

mod senet;

use crate::case::{Case, Result};
use crate::compare::{Comparison, compare};
use crate::run::Outputs;

/// Runs `case` and compares; the error says why it could not be run.
pub fn check(case: &Case) -> Result<Vec<Comparison>> {
    Ok(compare(case, &build_and_run(case)?))
}

fn build_and_run(case: &Case) -> Result<Outputs> {
    match case.builder.split_once('.') {
        Some(("senet", kind)) => senet::run(case, kind),
        _ => Err(format!("{}: no builder called '{}'", case.name, case.builder)),
    }
}
