//! Parity with the reference implementations: deterministic weights ([`fill`]), golden cases ([`case`]), the
//! builders that run a case ([`builders`]) and the comparison ([`compare`]). The binary `parity` is its
//! command line.

pub mod builders;
pub mod case;
pub mod compare;
pub mod fill;
pub mod run;
pub mod train;
