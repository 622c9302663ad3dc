//! Builders: from a case's `config` to the outputs it asks for. One file per system.

mod addernet_quant;
mod bag_of_tricks_quant;
mod baselines;
mod cafm;
mod drnet;
mod elastic_link;
mod ghostnet;
mod gridconv;
mod noisy_binary;
mod parameternet;
mod penal_connection;
mod senet;
mod senet_files;
mod tnt;
mod versatile_filters;
mod vig;

use ocelli_image::network::{Network, NetworkConfig};

use crate::case::{Case, Result};
use crate::compare::{Comparison, compare};
use crate::run::{Names, Outputs, device, run_module};

/// Runs `case` and compares; the error says why it could not be run.
pub fn check(case: &Case) -> Result<Vec<Comparison>> {
    if case.system == "gridconv" {
        return gridconv::check(case);
    }
    if case.system == "cafm" {
        return cafm::check(case);
    }
    Ok(compare(case, &build_and_run(case)?))
}

fn build_and_run(case: &Case) -> Result<Outputs> {
    match case.builder.split_once('.') {
        Some(("senet", kind)) => senet::run(case, kind),
        Some(("ghostnet", kind)) => ghostnet::run(case, kind),
        Some(("parameternet", kind)) => parameternet::run(case, kind),
        Some(("penal_connection", _)) => penal_connection::run(case),
        None if case.system == "penal_connection" => penal_connection::run(case),
        Some(("tnt", kind)) => tnt::run(case, kind),
        Some(("vig", kind)) => vig::run(case, kind),
        Some(("baselines", kind)) => baselines::run(case, kind),
        _ if case.system == "versatile_filters" => versatile_filters::run(case),
        Some(("drnet", _)) => drnet::run(case),
        // These cases name no builder.
        None if case.json["system"] == "drnet" => drnet::run(case),
        _ if case.system == "elastic_link" => elastic_link::run(case),
        _ if case.system == "noisy_supervision_bnn" => noisy_binary::run(case),
        None if case.system == "addernet_quant" => addernet_quant::run(case),
        None if case.system == "bag_of_tricks_quant" => bag_of_tricks_quant::run(case),
        _ => unknown(case),
    }
}

/// Runs a case on a registered kind of network.
fn network(case: &Case, config: NetworkConfig) -> Result<Outputs> {
    let network = config.init(&device(case));
    let twin = network.clone();
    let names = Names {
        published: &|name| twin.published_name(name).into_owned(),
        ignored: &|name| twin.ignored(name),
    };
    run_module(case, network, &names, |network: &Network, x, taps| network.forward_tapped(x, taps))
}

/// There is no such builder.
fn unknown(case: &Case) -> Result<Outputs> {
    Err(format!("{}: no builder called '{}'", case.name, case.builder))
}
