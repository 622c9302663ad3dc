//! Words from pixels.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use ocelli_nn::{Conv2d, Conv2dConfig};

/// Cuts the picture into patches and convolves each alone, 7x7 with zeros at the patch's own border, so that no word
/// sees a neighbouring patch.
#[derive(Module, Debug)]
pub struct PatchEmbed {
    proj: Conv2d,
    patch: usize,
}

impl PatchEmbed {
    /// Words of `inner_dim` channels, `stride` pixels apart, from patches of `patch` pixels.
    pub fn new(channels: usize, inner_dim: usize, patch: usize, stride: usize, device: &Device) -> Self {
        let proj = Conv2dConfig::new(channels, inner_dim, 7).stride(stride).bias(true).init(device);
        Self { proj, patch }
    }

    /// `[batch, channels, height, width]` → words `[batch · patches, words, inner_dim]`, patches row by row.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<3> {
        let [batch, channels, height, width] = x.dims();
        let (rows, columns, side) = (height / self.patch, width / self.patch, self.patch);
        let patches = x
            .reshape([batch, channels, rows, side, columns, side])
            .permute([0, 2, 4, 1, 3, 5])
            .reshape([batch * rows * columns, channels, side, side]);
        let words = self.proj.forward(patches);
        let [patches, dim, rows, columns] = words.dims();
        words.reshape([patches, dim, rows * columns]).swap_dims(1, 2)
    }
}
