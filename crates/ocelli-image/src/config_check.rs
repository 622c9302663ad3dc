//! Network descriptions from files are not to be believed: sizes are checked before anything is built.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::tensor::Device;
use serde_json::Value;

use crate::network::NetworkConfig;

/// Longest description, in bytes of JSON; the longest published one has two thousand.
const LONGEST: usize = 64 << 10;
/// Largest width, kernel, group count, ...
const LARGEST: u64 = 1 << 16;
/// Most classes.
const MOST_CLASSES: u64 = 1 << 20;
/// Most norm sets.
const MOST_SETS: u64 = 16;
/// Most blocks of one stage.
const MOST_BLOCKS: u64 = 1000;

impl NetworkConfig {
    /// Refuses descriptions from which no network can be built, or only one of absurd size; the error says which
    /// value is wrong.
    pub fn check(&self) -> Result<(), String> {
        let value = serde_json::to_value(self).map_err(|error| error.to_string())?;
        let length = value.to_string().len();
        if length > LONGEST {
            return Err(format!("its network's description has {length} bytes, at most {LONGEST} are read"));
        }
        numbers("", &value)?;
        // What a room's own code still refuses (a group count that does not divide) it refuses by panicking:
        // there it would be a mistake of ours, here it is the file's. Nothing is allocated, parameters are lazy.
        catch_unwind(AssertUnwindSafe(|| drop(self.init(&Device::flex()))))
            .map_err(|_| format!("no network can be built from {value}"))
    }
}

fn numbers(key: &str, value: &Value) -> Result<(), String> {
    match value {
        Value::Object(fields) => fields.iter().try_for_each(|(key, value)| numbers(key, value)),
        Value::Array(items) => items.iter().try_for_each(|item| numbers(key, item)),
        Value::Number(number) => {
            let most = match key {
                "num_classes" => MOST_CLASSES,
                "sets" | "norm_sets" => MOST_SETS,
                "layers" | "blocks" => MOST_BLOCKS,
                _ => LARGEST,
            };
            let fits = match number.as_u64() {
                Some(whole) => (1..=most).contains(&whole),
                None => number.as_f64().is_some_and(|real| (0.0..=16.0).contains(&real)),
            };
            if fits { Ok(()) } else { Err(format!("{key} = {number} makes no network")) }
        }
        _ => Ok(()),
    }
}
