//! The naming layouts of TNT checkpoints.
//!
//! | authors | timm |
//! | --- | --- |
//! | `outer_pos`, `inner_pos` `[1, words, dim]` | `patch_pos`, `pixel_pos` `[1, dim, 4, 4]` |
//! | `patch_embed` | `pixel_embed` |
//! | `proj_norm1`, `proj_norm2` | `norm1_proj`, `norm2_proj` |
//! | `inner_norm1`, `inner_attn`, `inner_norm2`, `inner_mlp` | `norm_in`, `attn_in`, `norm_mlp_in`, `mlp_in` |
//! | `outer_norm1`, `outer_attn`, `outer_norm2`, `outer_mlp` | `norm_out`, `attn_out`, `norm_mlp`, `mlp` |
//! | `outer_tokens` (unused) | – |

use burn::tensor::{Device, Tensor, TensorData};
use ocelli_nn::resize_positions;

/// Authors' and timm's name of every part that has two.
const PARTS: [(&str, &str); 13] = [
    ("outer_pos", "patch_pos"),
    ("inner_pos", "pixel_pos"),
    ("patch_embed", "pixel_embed"),
    ("proj_norm1", "norm1_proj"),
    ("proj_norm2", "norm2_proj"),
    ("inner_norm1", "norm_in"),
    ("inner_attn", "attn_in"),
    ("inner_norm2", "norm_mlp_in"),
    ("inner_mlp", "mlp_in"),
    ("outer_norm1", "norm_out"),
    ("outer_attn", "attn_out"),
    ("outer_norm2", "norm_mlp"),
    ("outer_mlp", "mlp"),
];

/// `name` with each part looked up by `part`.
fn translate(name: &str, part: impl Fn(&str) -> Option<&'static str>) -> String {
    let parts: Vec<&str> = name.split('.').map(|own| part(own).unwrap_or(own)).collect();
    parts.join(".")
}

/// timm's name of the tensor that the authors call `name`; none for `outer_tokens`.
pub fn to_timm(name: &str) -> Option<String> {
    let timm = |own: &str| PARTS.iter().find(|(authors, _)| *authors == own).map(|(_, timm)| *timm);
    (name != "outer_tokens").then(|| translate(name, timm))
}

/// The authors' name of the tensor that timm calls `name`; none where timm's name is no different.
pub fn from_timm(name: &str) -> Option<String> {
    let authors = |own: &str| PARTS.iter().find(|(_, timm)| *timm == own).map(|(authors, _)| *authors);
    Some(translate(name, authors)).filter(|found| found != name)
}

/// The words' positions `[1, words, dim]` as timm keeps them, `[1, dim, side, side]`.
pub fn positions_to_timm(data: &TensorData) -> Option<TensorData> {
    let [1, words, dim] = *data.shape().as_slice() else { return None };
    let side = words.isqrt();
    let values = data.as_slice::<f32>().ok()?;
    let moved = (0..dim).flat_map(|d| (0..words).map(move |w| values[w * dim + d])).collect();
    (side * side == words).then(|| TensorData::new(moved, [1, dim, side, side]))
}

/// The words' positions as timm keeps them, `[1, dim, side, side]`, as the authors do, `[1, words, dim]`.
pub fn positions_from_timm(data: &TensorData) -> Option<TensorData> {
    let [1, dim, rows, columns] = *data.shape().as_slice() else { return None };
    let words = rows * columns;
    let values = data.as_slice::<f32>().ok()?;
    let moved = (0..words).flat_map(|w| (0..dim).map(move |d| values[d * words + w])).collect();
    Some(TensorData::new(moved, [1, words, dim]))
}

/// Positions of a class token and of square grids, `[1, 1 + patches, dim]`, for the patches of `shape`: the grid is
/// interpolated bicubically, the class token keeps its own. Nothing if the sizes agree or are no squares.
pub fn resized_positions(data: &TensorData, shape: &[usize]) -> Option<TensorData> {
    let [1, from, dim] = *data.shape().as_slice() else { return None };
    let [1, to, wanted] = *shape else { return None };
    let side = |tokens: usize| {
        let side = tokens.checked_sub(1)?.isqrt();
        (side > 0 && side * side + 1 == tokens).then_some(side)
    };
    let (from_side, to_side) = (side(from)?, side(to)?);
    if from == to || dim != wanted {
        return None;
    }
    let stored = Tensor::<3>::from_data(data.clone().convert::<f32>(), &Device::flex());
    let class = stored.clone().narrow(1, 0, 1);
    let map = stored.narrow(1, 1, from - 1).swap_dims(1, 2).reshape([1, dim, from_side, from_side]);
    let map = resize_positions(map, [to_side; 2]).reshape([1, dim, to - 1]).swap_dims(1, 2);
    Some(Tensor::cat(vec![class, map], 1).into_data())
}
