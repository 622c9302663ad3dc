//! The batches of one epoch, in order.

use super::batch::{Batch, Skipped, assemble, sample};
use super::plan::Plan;
use super::pool::Pool;
use crate::error::Result;
use std::sync::Arc;
use std::time::Instant;

/// Iterator over the batches of one epoch. Ends after the first error.
pub struct Epoch {
    plan: Arc<Plan>,
    pool: Option<Pool>,
    next: usize,
    skipped: Vec<Skipped>,
    /// How many of `skipped` have been told to the consumer with a batch.
    told: usize,
}

impl Epoch {
    pub(super) fn new(plan: Plan, start: usize) -> Result<Self> {
        let plan = Arc::new(plan);
        let threads = plan.config.workers > 0 && start < plan.batches;
        let pool = if threads { Some(Pool::start(plan.clone(), start)?) } else { None };
        Ok(Self { plan, pool, next: start, skipped: Vec::new(), told: 0 })
    }

    /// Batches of the whole epoch.
    pub fn batches(&self) -> usize {
        self.plan.batches
    }

    /// All pictures left out so far, also those of batches in which every picture was bad.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    fn batch(&self, number: usize) -> Result<Batch> {
        match &self.pool {
            Some(pool) => pool.take(number),
            None => {
                let samples = self.plan.positions(number).map(|at| sample(&self.plan, at)).collect();
                assemble(&self.plan, number, samples)
            }
        }
    }
}

impl Iterator for Epoch {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = Instant::now();
        while self.next < self.plan.batches {
            let number = self.next;
            self.next += 1;
            let mut batch = match self.batch(number) {
                Ok(batch) => batch,
                Err(e) => {
                    self.next = self.plan.batches;
                    self.pool = None;
                    return Some(Err(e));
                }
            };
            self.skipped.append(&mut batch.skipped);
            // A batch without a readable picture is passed over; its pictures are told with the next one.
            if batch.is_empty() {
                continue;
            }
            batch.skipped = self.skipped[self.told..].to_vec();
            self.told = self.skipped.len();
            batch.wait = start.elapsed();
            return Some(Ok(batch));
        }
        self.pool = None;
        None
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.plan.batches.saturating_sub(self.next)))
    }
}
