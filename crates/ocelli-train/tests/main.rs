//! Tests of the trainer.

mod folder;
mod optimizer;
mod resume;
mod schedule;
mod toy;
