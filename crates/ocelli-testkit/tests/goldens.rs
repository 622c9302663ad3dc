//! The golden cases, and the rule that fills them.

use ocelli_testkit::builders::check;
use ocelli_testkit::case::Case;
use ocelli_testkit::compare::Verdict;
use ocelli_testkit::fill;
use ocelli_testkit::train::{AdamW, Sgd};

use crate::testdata;

/// Runs every case of a system and names all outputs that differ.
fn run(system: &str) {
    let mut files: Vec<_> = std::fs::read_dir(testdata(&format!("goldens/{system}")))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| Case::is_case(path))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no cases of {system}");
    let mut wrong = Vec::new();
    for file in files {
        match Case::read(&file).and_then(|case| check(&case)) {
            Err(problem) => wrong.push(problem),
            Ok(comparisons) => {
                wrong.extend(comparisons.into_iter().filter_map(|comparison| match comparison.verdict {
                    Verdict::Fail(why) => Some(format!(
                        "{}: {}: error {:.2e}, tolerance {:.0e} {why}",
                        file.display(),
                        comparison.output,
                        comparison.error,
                        comparison.tolerance
                    )),
                    _ => None,
                }))
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn senet() {
    run("senet");
}

#[test]
fn ghostnet() {
    run("ghostnet");
}

#[test]
fn parameternet() {
    run("parameternet");
}

#[test]
fn penal_connection() {
    run("penal_connection");
}

#[test]
fn tnt() {
    run("tnt");
}

#[test]
fn vig() {
    run("vig");
}

#[test]
fn addernet_quant() {
    run("addernet_quant");
}

#[test]
fn drnet() {
    run("drnet");
}

#[test]
fn bag_of_tricks_quant() {
    run("bag_of_tricks_quant");
}

#[test]
fn baselines() {
    run("baselines");
}

#[test]
fn elastic_link() {
    run("elastic_link");
}

#[test]
fn noisy_supervision_bnn() {
    run("noisy_supervision_bnn");
}

#[test]
fn gridconv() {
    run("gridconv");
}

#[test]
fn cafm() {
    run("cafm");
}

#[test]
fn versatile_filters() {
    run("versatile_filters");
}

#[test]
// Nine digits name a float32 whatever the shortest form is.
#[allow(clippy::excessive_precision)]
fn filled_tensors_are_those_of_the_rule() {
    // Printed by the rule's Python form.
    let cases: [(&str, &[usize], &[f32]); 4] = [
        (
            "conv1.weight",
            &[2, 3, 1, 1],
            &[0.127491295, 0.693422139, -1.34938109, 0.668068349, -0.369533479, 1.31316245],
        ),
        ("bn1.running_var", &[4], &[1.14230764, 1.28675354, 1.47077882, 0.943851292]),
        ("bn1.weight", &[4], &[0.972040832, 1.0648818, 1.01383758, 0.949879527]),
        ("pos_embed", &[1, 2, 2], &[-0.27193138, 0.00756030297, 0.499107093, 0.442846805]),
    ];
    for (name, shape, expected) in cases {
        assert_eq!(fill::parameter(name, shape), expected, "{name}");
    }
    assert_eq!(fill::input("input", &[4]), [-0.80436331, 0.304720849, -0.592751443, -0.451110661]);
}

#[test]
fn optimisers_are_read_from_their_description() {
    let parse = |text: &str| Sgd::parse(text).unwrap();
    assert_eq!(
        parse("SGD lr 0.02 Nesterov momentum 0.9 weight decay 1e-4 on everything"),
        Sgd { rate: 0.02, momentum: 0.9, decay: 1e-4, nesterov: true }
    );
    assert_eq!(
        parse("sgd, lr=0.1, momentum=0.9, weight_decay=5e-4"),
        Sgd { rate: 0.1, momentum: 0.9, decay: 5e-4, nesterov: false }
    );
    assert_eq!(parse("plain SGD with lr 0.5"), Sgd { rate: 0.5, ..Default::default() });
    assert!(Sgd::parse("Adam lr 1e-3").unwrap_err().contains("Adam"));
    assert!(!parse("SGD lr 0.002 momentum 0.9 (no dampening, no nesterov)").nesterov);
    let adam =
        AdamW::parse("AdamW lr 0.001 betas 0.9,0.99 eps 1e-8; decay 0.05 on all except cls_token, outer_pos");
    assert_eq!(
        adam.unwrap(),
        AdamW {
            rate: 1e-3,
            betas: [0.9, 0.99],
            epsilon: 1e-8,
            decay: 0.05,
            least_rank: 0,
            exempt: vec!["cls_token".into(), "outer_pos".into()],
        }
    );
}
