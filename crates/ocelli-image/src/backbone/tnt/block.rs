//! One block: words, then patches.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use ocelli_nn::penal::branch;
use ocelli_nn::{Activation, DropPath, Dropout, LayerNorm, Linear, LinearConfig, Mlp, Slot, Taps};

use super::Attention;

/// Shape of a block.
#[derive(Clone, Copy, Debug)]
pub struct BlockShape {
    /// Width of a patch's token.
    pub outer_dim: usize,
    /// Attention heads over patches.
    pub outer_heads: usize,
    /// Width of a word.
    pub inner_dim: usize,
    /// Attention heads over words.
    pub inner_heads: usize,
    /// Words per patch.
    pub words: usize,
    /// Hidden units per unit of width.
    pub mlp_ratio: f64,
    /// Biases of query, key and value.
    pub qkv_bias: bool,
    /// Gate over tokens behind the outer feed-forward layer.
    pub squeeze_excite: bool,
    /// Whether the block has its inner half.
    pub inner: bool,
    /// Probability of dropping a branch.
    pub drop_path: f64,
    /// Dropout of the layers.
    pub drop_rate: f64,
}

/// `t · tanh(W2 relu(W1 LN(mean over tokens)))`
#[derive(Module, Debug)]
struct TokenExcite {
    fc: (LayerNorm, Linear, Slot, Linear),
}

impl TokenExcite {
    fn forward(&self, tokens: Tensor<3>) -> Tensor<3> {
        let (norm, reduce, _, expand) = &self.fc;
        let mean = norm.forward(tokens.clone().mean_dim(1));
        let gates = expand.forward(Activation::Relu.forward(reduce.forward(mean)));
        tokens.mul(gates.tanh())
    }
}

/// Inner transformer, projection of words onto their patch, outer transformer.
#[derive(Module, Debug)]
pub struct Block {
    inner_norm1: Option<LayerNorm>,
    inner_attn: Option<Attention>,
    inner_norm2: Option<LayerNorm>,
    inner_mlp: Option<Mlp>,
    proj_norm1: Option<LayerNorm>,
    proj: Option<Linear>,
    proj_norm2: Option<LayerNorm>,
    outer_norm1: LayerNorm,
    outer_attn: Attention,
    outer_norm2: LayerNorm,
    outer_mlp: Mlp,
    se_layer: Option<TokenExcite>,
    drop_path: DropPath,
    dropout: Dropout,
}

impl Block {
    /// A block with zero parameters.
    pub fn new(shape: BlockShape, device: &Device) -> Self {
        let BlockShape { outer_dim, inner_dim, words, .. } = shape;
        let norm = |dim| LayerNorm::new(dim, device);
        let mlp =
            |dim: usize| Mlp::new(dim, (dim as f64 * shape.mlp_ratio) as usize, shape.drop_rate, device);
        let inner = |make: &dyn Fn() -> LayerNorm| shape.inner.then(make);
        Self {
            inner_norm1: inner(&|| norm(inner_dim)),
            inner_attn: shape
                .inner
                .then(|| Attention::new(inner_dim, shape.inner_heads, shape.qkv_bias, device)),
            inner_norm2: inner(&|| norm(inner_dim)),
            inner_mlp: shape.inner.then(|| mlp(inner_dim)),
            proj_norm1: inner(&|| norm(words * inner_dim)),
            proj: shape
                .inner
                .then(|| LinearConfig::new(words * inner_dim, outer_dim).bias(false).init(device)),
            proj_norm2: inner(&|| norm(outer_dim)),
            outer_norm1: norm(outer_dim),
            outer_attn: Attention::new(outer_dim, shape.outer_heads, shape.qkv_bias, device),
            outer_norm2: norm(outer_dim),
            outer_mlp: mlp(outer_dim),
            se_layer: shape.squeeze_excite.then(|| TokenExcite {
                fc: (
                    norm(outer_dim),
                    LinearConfig::new(outer_dim, outer_dim / 4).init(device),
                    Slot {},
                    LinearConfig::new(outer_dim / 4, outer_dim).init(device),
                ),
            }),
            drop_path: DropPath::new(shape.drop_path),
            dropout: Dropout::new(shape.drop_rate),
        }
    }

    /// Words `[batch · patches, words, inner_dim]` and tokens `[batch, 1 + patches, outer_dim]` → the same shapes.
    /// Offers what both attentions give to `taps` as `NAME.inner_attn` and `NAME.outer_attn`.
    pub fn forward(
        &self,
        inner: Tensor<3>,
        outer: Tensor<3>,
        name: &str,
        taps: &mut Taps,
    ) -> (Tensor<3>, Tensor<3>) {
        let (inner, outer) = self.words(inner, outer, name, taps);
        let mixed = self.outer_attn.forward(self.outer_norm1.forward(outer.clone()));
        taps.see(format_args!("{name}.outer_attn"), &mixed);
        let outer = self.add(self.dropout.forward(mixed), outer);
        let mut mixed = self.outer_mlp.forward(self.outer_norm2.forward(outer.clone()));
        if let Some(se) = &self.se_layer {
            mixed = mixed.clone().add(se.forward(mixed));
        }
        (inner, self.add(mixed, outer))
    }

    /// The inner half; the class token gets nothing from it.
    fn words(
        &self,
        inner: Tensor<3>,
        outer: Tensor<3>,
        name: &str,
        taps: &mut Taps,
    ) -> (Tensor<3>, Tensor<3>) {
        let (Some(norm1), Some(attention), Some(norm2), Some(mlp)) =
            (&self.inner_norm1, &self.inner_attn, &self.inner_norm2, &self.inner_mlp)
        else {
            return (inner, outer);
        };
        let mixed = attention.forward(norm1.forward(inner.clone()));
        taps.see(format_args!("{name}.inner_attn"), &mixed);
        let inner = self.add(self.dropout.forward(mixed), inner);
        let inner = self.add(mlp.forward(norm2.forward(inner.clone())), inner);

        let (Some(norm1), Some(proj), Some(norm2)) = (&self.proj_norm1, &self.proj, &self.proj_norm2) else {
            return (inner, outer);
        };
        let [batch, tokens, _] = outer.dims();
        let [_, words, width] = inner.dims();
        // Word after word: the patch as one vector.
        let sentence = inner.clone().reshape([batch, tokens - 1, words * width]);
        let sentence = norm2.forward(proj.forward(norm1.forward(sentence)));
        let class = outer.clone().narrow(1, 0, 1);
        let patches = outer.narrow(1, 1, tokens - 1).add(sentence);
        (inner, Tensor::cat(vec![class, patches], 1))
    }

    /// The penal connection sits before stochastic depth.
    fn add(&self, z: Tensor<3>, skip: Tensor<3>) -> Tensor<3> {
        self.drop_path.forward(branch(z)).add(skip)
    }

    /// How patches look at each other, `[batch, heads, 1 + patches, 1 + patches]`.
    pub(super) fn outer_attention(&self, inner: Tensor<3>, outer: Tensor<3>) -> Tensor<4> {
        let (_, outer) = self.words(inner, outer, "", &mut Taps::none());
        self.outer_attn.weights(self.outer_norm1.forward(outer))
    }

    /// How the words of each patch look at each other.
    pub(super) fn inner_attention(&self, inner: Tensor<3>) -> Option<Tensor<4>> {
        Some(self.inner_attn.as_ref()?.weights(self.inner_norm1.as_ref()?.forward(inner)))
    }
}
