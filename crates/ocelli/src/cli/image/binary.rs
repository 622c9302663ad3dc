//! `ocelli image train`: the options of networks with weights of -1 and +1, and what they change.

use anyhow::{Result, bail};
use clap::Args;
use ocelli_image::NetworkConfig;
use ocelli_image::backbone::noisy_binary::{Labels, Supervision};
use ocelli_nn::binary::{NoiseRates, Reduction};
use serde::{Deserialize, Serialize};

/// What is said about the training of a binary network; the network's own settings hold where nothing is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Binary {
    /// Whether binary convolutions have Elastic-Links.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elastic_link: Option<bool>,
    /// How weights become signs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binarize: Option<Binarize>,
}

/// How weights become signs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "snake_case")]
pub enum Binarize {
    /// Each by itself.
    Sign,
    /// Those of a layer together, by a mapping network under noisy supervision.
    Noisy(Supervision),
}

impl Binary {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Noisy supervision, if it is wanted.
    pub(super) fn supervision(&self) -> Option<&Supervision> {
        match &self.binarize {
            Some(Binarize::Noisy(supervision)) => Some(supervision),
            _ => None,
        }
    }

    /// Puts what is said into `network`, which is called `model`.
    pub(super) fn apply(&self, network: &mut NetworkConfig, model: &str) -> Result<()> {
        if let Some(wanted) = self.elastic_link
            && !network.set_elastic_link(wanted)
        {
            bail!("--elastic-link: {model} knows no Elastic-Link; el_*, reactnet* and *_binary do");
        }
        let Some(binarize) = self.binarize else { return Ok(()) };
        if !network.is_binary() {
            bail!("--binarize: {model} has no binary layers; bnn_*, reactnet*, el_* and *_binary have");
        }
        match (binarize, network) {
            (Binarize::Noisy(supervision), NetworkConfig::NoisyBinary(config)) => {
                config.supervision = Some(supervision);
                Ok(())
            }
            (Binarize::Noisy(_), _) => bail!(
                "--binarize noisy: {model} scales its filters by their mean weight; mapping networks make signs alone, as \
                 bnn_* have them"
            ),
            (Binarize::Sign, NetworkConfig::NoisyBinary(config)) => {
                config.supervision = None;
                Ok(())
            }
            (Binarize::Sign, _) => Ok(()),
        }
    }

    /// Refuses settings that cannot train.
    pub(super) fn check(&self, has_weights: bool) -> Result<()> {
        let Some(own) = self.supervision() else { return Ok(()) };
        if !has_weights {
            bail!(
                "--binarize noisy goes on with a trained binary network, whose signs are the noisy labels: name its file with \
                 --weights"
            );
        }
        for (name, number) in [("--noisy-alpha", own.weight), ("mapping_rate", own.mapping_rate)] {
            if !(0.0..=1000.0).contains(&number) {
                bail!("{name} must lie between 0 and 1000, found {number}");
            }
        }
        Ok(())
    }
}

/// For networks with binary layers.
#[derive(Args, Debug)]
pub(super) struct BinaryArgs {
    /// Elastic-Links on or off [default: the network's own]
    #[arg(long, value_name = "on|off")]
    elastic_link: Option<String>,
    /// sign: every weight's own; noisy: mapping networks under noisy supervision (bnn_*, with --weights) [default: sign]
    #[arg(long, value_name = "METHOD")]
    binarize: Option<String>,
    /// How often labels of +1 and of -1 are wrong, one number for both or PLUS,MINUS [default: 0.1]
    #[arg(long, value_name = "RHO", value_delimiter = ',', num_args = 1)]
    noisy_rho: Option<Vec<f64>>,
    /// Weight of the labels in the loss [default: 0.1]
    #[arg(long, value_name = "X")]
    noisy_alpha: Option<f64>,
    /// mean or sum of a layer's terms; sum wants a weight of 1e-6 to 1e-4 [default: mean]
    #[arg(long, value_name = "NAME")]
    noisy_reduction: Option<String>,
    /// Mapping networks add the weights to what they make: they begin at the weights' signs, without warm-up
    #[arg(long)]
    noisy_skip: bool,
    /// frozen: the signs of --weights are the labels; online: the present ones [default: frozen]
    #[arg(long, value_name = "NAME")]
    noisy_labels: Option<String>,
}

impl BinaryArgs {
    /// Sets what was given.
    pub(super) fn apply(&self, own: &mut Binary) -> Result<()> {
        own.elastic_link = match self.elastic_link.as_deref() {
            None => own.elastic_link,
            Some("on") => Some(true),
            Some("off") => Some(false),
            Some(other) => bail!("--elastic-link {other}: expected on or off"),
        };
        match self.binarize.as_deref() {
            None => {}
            Some("sign") => own.binarize = Some(Binarize::Sign),
            Some("noisy") => {
                let before = own.supervision().copied();
                own.binarize = Some(Binarize::Noisy(before.unwrap_or_default()));
            }
            Some(other) => bail!("--binarize {other}: expected sign or noisy"),
        }
        let given = self.noisy_rho.is_some()
            || self.noisy_alpha.is_some()
            || self.noisy_reduction.is_some()
            || self.noisy_skip
            || self.noisy_labels.is_some();
        let Some(Binarize::Noisy(own)) = &mut own.binarize else {
            if given {
                bail!("--noisy-* go with --binarize noisy");
            }
            return Ok(());
        };
        match self.noisy_rho.as_deref() {
            None => {}
            Some(&[both]) => own.rates = NoiseRates::new(both, both)?,
            Some(&[plus, minus]) => own.rates = NoiseRates::new(plus, minus)?,
            Some(other) => bail!("--noisy-rho: expected one or two numbers, found {}", other.len()),
        }
        own.weight = self.noisy_alpha.unwrap_or(own.weight);
        own.reduction = match self.noisy_reduction.as_deref() {
            None => own.reduction,
            Some("mean") => Reduction::Mean,
            Some("sum") => Reduction::Sum,
            Some(other) => bail!("--noisy-reduction {other}: expected mean or sum"),
        };
        own.skip |= self.noisy_skip;
        own.labels = match self.noisy_labels.as_deref() {
            None => own.labels,
            Some("frozen") => Labels::Frozen,
            Some("online") => Labels::Online,
            Some(other) => bail!("--noisy-labels {other}: expected frozen or online"),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ocelli_image::zoo;

    fn args() -> BinaryArgs {
        BinaryArgs {
            elastic_link: None,
            binarize: None,
            noisy_rho: None,
            noisy_alpha: None,
            noisy_reduction: None,
            noisy_skip: false,
            noisy_labels: None,
        }
    }

    fn config(name: &str) -> NetworkConfig {
        zoo::entry(name).expect("registered").config()
    }

    #[test]
    fn options_become_settings_and_come_back_from_toml() {
        let mut own = Binary::default();
        assert!(own.is_empty() && own.check(false).is_ok());
        let given = BinaryArgs {
            elastic_link: Some("off".into()),
            binarize: Some("noisy".into()),
            noisy_rho: Some(vec![0.05, 0.2]),
            noisy_alpha: Some(0.5),
            noisy_skip: true,
            noisy_labels: Some("online".into()),
            ..args()
        };
        given.apply(&mut own).unwrap();
        let supervision = own.supervision().unwrap();
        assert_eq!(supervision.rates.rates(), [0.05, 0.2]);
        assert!(supervision.skip && supervision.labels == Labels::Online && own.elastic_link == Some(false));
        let text = toml::to_string(&own).unwrap();
        assert_eq!(toml::from_str::<Binary>(&text).unwrap(), own, "{text}");
        assert!(own.check(true).is_ok());
        assert!(own.check(false).unwrap_err().to_string().contains("--weights"));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let refused = |own: BinaryArgs| own.apply(&mut Binary::default()).unwrap_err().to_string();
        assert!(refused(BinaryArgs { noisy_alpha: Some(0.1), ..args() }).contains("--binarize noisy"));
        assert!(refused(BinaryArgs { binarize: Some("round".into()), ..args() }).contains("sign or noisy"));
        let rates = BinaryArgs { binarize: Some("noisy".into()), noisy_rho: Some(vec![0.5]), ..args() };
        assert!(refused(rates).contains("0.9"));
        let mut own = Binary::default();
        BinaryArgs { binarize: Some("noisy".into()), ..args() }.apply(&mut own).unwrap();
        let mut noisy = config("bnn_resnet20_cifar");
        own.apply(&mut noisy, "bnn_resnet20_cifar").unwrap();
        assert!(matches!(noisy, NetworkConfig::NoisyBinary(config) if config.supervision.is_some()));
        let error = |name: &str, own: &Binary| own.apply(&mut config(name), name).unwrap_err().to_string();
        assert!(error("resnet18", &own).contains("no binary layers"));
        assert!(error("reactnet18", &own).contains("scales its filters"));
        let linked = Binary { elastic_link: Some(true), ..Binary::default() };
        assert!(error("bnn_resnet18", &linked).contains("no Elastic-Link"));
        let mut plain = config("resnet26_binary");
        linked.apply(&mut plain, "resnet26_binary").unwrap();
        assert_eq!(plain, config("el_resnet26"));
    }
}
