//! Cases of networks that belong to no system of their own, built by their registered name.

use ocelli_image::zoo::{self, Options};

use super::{network, unknown};
use crate::case::{Case, Result};
use crate::run::Outputs;

pub(super) fn run(case: &Case, kind: &str) -> Result<Outputs> {
    match kind {
        "zoo" => {
            let entry = zoo::entry(&case.config::<String>("name")?).map_err(|error| error.to_string())?;
            let options = Options {
                num_classes: case.config_or("num_classes", None)?,
                in_channels: case.config_or("in_channels", None)?,
                drop_rate: None,
            };
            network(case, entry.config_with(&options))
        }
        _ => unknown(case),
    }
}
