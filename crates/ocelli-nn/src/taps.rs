//! Looking at intermediate tensors of a forward pass by their name.

use burn::tensor::Tensor;

/// Collects named intermediate maps while a network runs.
///
/// A network calls [`see`](Taps::see) at its named places; nothing is kept, and no name is even formatted,
/// unless the name was asked for. Detectors' feature maps and the parity tests both come from here.
#[derive(Debug, Default)]
pub struct Taps {
    wanted: Vec<String>,
    seen: Vec<(String, Tensor<4>)>,
}

impl Taps {
    /// Keeps nothing.
    pub fn none() -> Self {
        Self::default()
    }

    /// Keeps the maps called `names`.
    pub fn new<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        Self { wanted: names.into_iter().map(Into::into).collect(), seen: Vec::new() }
    }

    /// Whether the map called `name` was asked for.
    pub fn wants(&self, name: impl std::fmt::Display) -> bool {
        !self.wanted.is_empty() && self.wanted.contains(&name.to_string())
    }

    /// Offers the map called `name`, `[batch, channels, height, width]`.
    pub fn see(&mut self, name: impl std::fmt::Display, map: &Tensor<4>) {
        if self.wanted.is_empty() {
            return;
        }
        let name = name.to_string();
        if self.wanted.contains(&name) {
            self.seen.push((name, map.clone()));
        }
    }

    /// The kept map called `name`, if the network has such a place.
    pub fn get(&self, name: &str) -> Option<&Tensor<4>> {
        self.seen.iter().find(|(seen, _)| seen == name).map(|(_, map)| map)
    }

    /// The kept maps in the order in which the network produced them.
    pub fn into_maps(self) -> Vec<(String, Tensor<4>)> {
        self.seen
    }
}
