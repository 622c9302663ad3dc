//! Predictor and classifier as one network.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData, s};
use ocelli_nn::init::Draw;
use ocelli_nn::recording::is_recorded;
use ocelli_nn::state_dict::specs;
use ocelli_nn::{InitScheme, Taps, cost, random, resize_bilinear, with_norm_set};
use serde::Serialize;

use super::chain::Chain;
use super::config::{ClassifierConfig, Config, MOST_CANDIDATES, PredictorConfig, Stage};
use super::decision::{EPSILON, choose, gumbel_noise};
use super::inverted::Inverted;
use super::weights;
use crate::backbone::resnet::{Norms, cifar};
use crate::backbone::{Backbone, BackboneConfig, FeatureInfo, mobilenetv2, resnet};

/// The network that chooses.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
enum Predictor {
    Residual(Chain),
    Inverted(Inverted),
}

/// The network that classifies.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
enum Classifier {
    ResNet(resnet::Net),
    ResNetCifar(cifar::Net),
    MobileNetV2(mobilenetv2::Net),
    Residual(Chain),
}

impl Classifier {
    fn backbone(&self) -> &dyn Backbone {
        match self {
            Self::ResNet(net) => net,
            Self::ResNetCifar(net) => net,
            Self::MobileNetV2(net) => net,
            Self::Residual(net) => net,
        }
    }
}

/// A dynamic resolution network.
#[derive(Module, Debug)]
pub struct Net {
    predictor: Predictor,
    classifier: Classifier,
    #[module(skip)]
    plan: Plan,
}

/// What belongs to a network besides its tensors.
#[derive(Clone, Debug)]
struct Plan {
    config: Config,
    /// Published names by ours.
    names: Arc<BTreeMap<String, String>>,
    /// Costs per picture size asked for.
    costs: Arc<Mutex<BTreeMap<[usize; 2], Costs>>>,
}

/// Multiply-accumulates for one picture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Costs {
    /// Of the predictor.
    pub predictor: u64,
    /// Of the classifier per candidate, largest first.
    pub candidates: Vec<u64>,
}

impl Costs {
    /// The candidates' in 10⁹.
    pub fn giga(&self) -> Vec<f64> {
        self.candidates.iter().map(|&macs| macs as f64 / 1e9).collect()
    }
}

/// The resolution chosen for one picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// Which candidate, 0 for the largest.
    pub index: usize,
    /// Its height in pixels.
    pub resolution: usize,
    /// Multiply-accumulates spent on the picture, the predictor's included.
    pub macs: u64,
}

/// Logits with the choices behind them.
#[derive(Clone, Debug)]
pub struct Routed {
    /// `[batch, classes]`
    pub logits: Tensor<2>,
    /// One per picture.
    pub decisions: Vec<Decision>,
}

impl BackboneConfig for Config {
    type Net = Net;

    fn init(&self, device: &Device) -> Net {
        let candidates = self.resolutions.len();
        assert!(
            (2..=MOST_CANDIDATES).contains(&candidates)
                && self.resolutions.windows(2).all(|pair| pair[0] > pair[1]),
            "candidates must be 2 to {MOST_CANDIDATES}, largest first, not {:?}",
            self.resolutions
        );
        let (in_channels, num_classes, drop_rate) = (self.in_channels, self.num_classes, self.drop_rate);
        let (norms, norm_sets) = (self.norms(), self.norm_sets());
        let predictor = match &self.predictor {
            PredictorConfig::Residual(chain) => {
                Predictor::Residual(chain.init(in_channels, candidates, 0.0, Norms::default(), device))
            }
            PredictorConfig::Inverted => Predictor::Inverted(Inverted::new(in_channels, candidates, device)),
        };
        let classifier = match self.classifier.clone() {
            ClassifierConfig::ResNet(own) => Classifier::ResNet(
                resnet::Config { in_channels, num_classes, drop_rate, norms, ..own }.init(device),
            ),
            ClassifierConfig::ResNetCifar(own) => Classifier::ResNetCifar(
                cifar::Config { in_channels, num_classes, drop_rate, norm_sets, ..own }.init(device),
            ),
            ClassifierConfig::MobileNetV2(own) => Classifier::MobileNetV2(
                mobilenetv2::Config { in_channels, num_classes, drop_rate, norm_sets, ..own }.init(device),
            ),
            ClassifierConfig::Residual(chain) => {
                Classifier::Residual(chain.init(in_channels, num_classes, drop_rate, norms, device))
            }
        };
        let plan = Plan { config: self.clone(), names: Arc::default(), costs: Arc::default() };
        let mut net = Net { predictor, classifier, plan };
        let own: Vec<String> = specs(&net).into_iter().map(|spec| spec.name).collect();
        net.plan.names = Arc::new(weights::published_names(&own, norm_sets));
        net
    }
}

impl Net {
    /// Its description.
    pub fn config(&self) -> &Config {
        &self.plan.config
    }

    /// The predictor's scores for pictures `[batch, channels, h, w]`, of which it sees thumbnails:
    /// `[batch, candidates]`, the largest resolution first.
    pub fn scores(&self, x: Tensor<4>) -> Tensor<2> {
        let [_, _, height, width] = x.dims();
        let size = self.config().thumbnail_size([height, width]);
        self.predict(resize_bilinear(x, size, self.config().resize), &mut Taps::none())
    }

    /// The scores of thumbnails as they are, offering the predictor's maps to `taps`.
    pub fn predict(&self, x: Tensor<4>, taps: &mut Taps) -> Tensor<2> {
        match &self.predictor {
            Predictor::Residual(chain) => chain.forward(x, taps),
            Predictor::Inverted(inverted) => inverted.forward(x),
        }
    }

    /// Logits `[batch, classes]` of all pictures `[batch, channels, h, w]` at candidate `index`.
    pub fn branch(&self, index: usize, x: Tensor<4>) -> Tensor<2> {
        let [_, _, height, width] = x.dims();
        let size = self.config().candidate_size(index, [height, width]);
        self.classify(index, resize_bilinear(x, size, self.config().resize), &mut Taps::none())
    }

    /// Logits of `x` as it is, with norm set `set`, offering the classifier's maps to `taps`.
    pub fn classify(&self, set: usize, x: Tensor<4>, taps: &mut Taps) -> Tensor<2> {
        with_norm_set(set, || self.classifier.backbone().forward(x, taps))
    }

    /// Multiply-accumulates for pictures of `[height, width]`; counted once per size.
    pub fn costs(&self, [height, width]: [usize; 2]) -> Costs {
        let mut known = self.plan.costs.lock().unwrap_or_else(PoisonError::into_inner);
        let config = self.config();
        let count = || {
            // A twin on the CPU: this network may live on any device, with autodiff or without.
            let twin = config.init(&Device::flex());
            let input = [1, config.in_channels, height, width];
            Costs {
                predictor: cost::macs(&twin, input, |net: &Net, x| net.scores(x)),
                candidates: (0..config.resolutions.len())
                    .map(|j| cost::macs(&twin, input, |net: &Net, x| net.branch(j, x)))
                    .collect(),
            }
        };
        known.entry([height, width]).or_insert_with(count).clone()
    }

    /// Whether there is a trained predictor to ask.
    pub fn chooses(&self) -> bool {
        self.config().training.stage == Stage::Joint
    }

    /// Logits and choices for pictures `[batch, channels, h, w]`: grouped by choice, every group classified once at its
    /// resolution.
    pub fn route(&self, x: Tensor<4>) -> Routed {
        let (picture, choice) = self.choice(&x);
        let decisions = decisions(self.config(), &self.costs(picture), &choice, picture);
        Routed { logits: self.classify_at(x, &choice), decisions }
    }

    /// What pictures of `[height, width]` cost at the candidates `choice`, with or without the predictor.
    pub fn spent(&self, choice: &[usize], picture: [usize; 2], looking: bool) -> Vec<Decision> {
        let costs = self.costs(picture);
        let costs = if looking { costs } else { Costs { predictor: 0, ..costs } };
        decisions(self.config(), &costs, choice, picture)
    }

    fn choice(&self, x: &Tensor<4>) -> ([usize; 2], Vec<usize>) {
        let [batch, _, height, width] = x.dims();
        if !self.chooses() {
            return ([height, width], vec![0; batch]);
        }
        let scores = self.scores(x.clone()).detach().into_data();
        let scores = scores.try_into_vec::<f32>().expect("scores are float32");
        ([height, width], decide(self.config(), scores))
    }

    /// Logits `[batch, classes]` of every picture of `x` at its candidate of `choice`.
    pub fn classify_at(&self, x: Tensor<4>, choice: &[usize]) -> Tensor<2> {
        let candidates = self.config().resolutions.len();
        by_choice(choice, candidates, &x.device(), |j, rows| self.branch(j, x.clone().select(0, rows)))
    }

    /// As [`route`](Self::route) without looking at a value: every candidate computed, the chosen one selected.
    fn recorded(&self, x: Tensor<4>) -> Tensor<2> {
        if !self.chooses() {
            return self.branch(0, x);
        }
        let scores = self.scores(x.clone());
        let last = self.config().resolutions.len() - 1;
        let score = |j: usize| scores.clone().slice(s![.., j..j + 1]);
        let (mut best, mut logits) = (score(last), self.branch(last, x.clone()));
        // From the back, so that the first of equals wins.
        for j in (0..last).rev() {
            let own = self.branch(j, x.clone());
            let shape = own.dims();
            let better = score(j).greater_equal(best.clone());
            logits = logits.mask_where(better.clone().expand(shape), own);
            best = best.mask_where(better, score(j));
        }
        logits
    }
}

/// The choices behind `scores`.
pub(crate) fn decide(config: &Config, mut scores: Vec<f32>) -> Vec<usize> {
    if config.sample {
        let noise = gumbel_noise(&random::uniform(scores.len()), EPSILON);
        scores.iter_mut().zip(noise).for_each(|(score, noise)| *score += noise);
    }
    choose(&scores, config.resolutions.len())
}

/// What `choice` spends on pictures of `[height, width]`.
pub(crate) fn decisions(
    config: &Config,
    costs: &Costs,
    choice: &[usize],
    picture: [usize; 2],
) -> Vec<Decision> {
    // Before there is a choice nobody looks at thumbnails.
    let looking = if config.training.stage == Stage::Joint { costs.predictor } else { 0 };
    let decision = |&index: &usize| {
        let [resolution, _] = config.candidate_size(index, picture);
        Decision { index, resolution, macs: looking + costs.candidates[index] }
    };
    choice.iter().map(decision).collect()
}

/// The rows of every candidate that `choice` names, with the rows' numbers; empty groups are left out.
pub(crate) fn groups(choice: &[usize], candidates: usize) -> Vec<(usize, Vec<usize>)> {
    (0..candidates)
        .map(|j| (j, (0..choice.len()).filter(|&row| choice[row] == j).collect::<Vec<_>>()))
        .filter(|(_, rows)| !rows.is_empty())
        .collect()
}

/// Results of `run` on the rows of each candidate, back in the batch's order.
pub(super) fn by_choice(
    choice: &[usize],
    candidates: usize,
    device: &Device,
    mut run: impl FnMut(usize, Tensor<1, Int>) -> Tensor<2>,
) -> Tensor<2> {
    let indices = |rows: &[usize]| {
        let rows: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
        let count = rows.len();
        Tensor::<1, Int>::from_data(TensorData::new(rows, [count]), device)
    };
    let (mut parts, mut order) = (Vec::new(), Vec::new());
    for (j, rows) in groups(choice, candidates) {
        parts.push(run(j, indices(&rows)));
        order.extend(rows);
    }
    let mut places = vec![0; order.len()];
    for (place, &row) in order.iter().enumerate() {
        places[row] = place;
    }
    Tensor::cat(parts, 0).select(0, indices(&places))
}

impl Backbone for Net {
    fn forward(&self, x: Tensor<4>, _taps: &mut Taps) -> Tensor<2> {
        if is_recorded(&x) {
            return self.recorded(x);
        }
        let (_, choice) = self.choice(&x);
        self.classify_at(x, &choice)
    }

    /// The classifier's at the largest resolution.
    fn forward_features(&self, x: Tensor<4>, taps: &mut Taps) -> Tensor<4> {
        with_norm_set(0, || self.classifier.backbone().forward_features(x, taps))
    }

    fn forward_head(&self, features: Tensor<4>, taps: &mut Taps) -> Tensor<2> {
        with_norm_set(0, || self.classifier.backbone().forward_head(features, taps))
    }

    fn training_loss(&self, x: Tensor<4>, targets: Tensor<2>) -> (Tensor<1>, Tensor<2>) {
        self.step(x, targets)
    }

    fn feature_info(&self) -> Vec<FeatureInfo> {
        self.classifier.backbone().feature_info()
    }

    fn classifier(&self) -> &'static str {
        match &self.classifier {
            Classifier::ResNet(_) | Classifier::ResNetCifar(_) | Classifier::Residual(_) => {
                "classifier.end_point"
            }
            Classifier::MobileNetV2(_) => "classifier.classifier",
        }
    }

    fn init_scheme(&self) -> InitScheme {
        InitScheme { linear_bias: Draw::Zeros, ..InitScheme::KAIMING }
    }

    fn published_name<'a>(&self, ours: &'a str) -> Cow<'a, str> {
        match self.plan.names.get(ours) {
            Some(published) => Cow::Owned(published.clone()),
            None => Cow::Borrowed(ours),
        }
    }

    fn rearrange(&self, tensors: BTreeMap<String, TensorData>) -> BTreeMap<String, TensorData> {
        weights::rearrange(tensors, &self.plan.names)
    }

    fn starts_fresh(&self) -> Option<&'static str> {
        Some("predictor.")
    }
}
