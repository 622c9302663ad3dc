//! Caffe's weight files.

use std::collections::BTreeMap;

use burn::tensor::{Device, TensorData};
use ocelli_data::RgbImage;
use ocelli_image::backbone::senet::legacy;
use ocelli_image::backbone::senet::weights::{Layout, convert};
use ocelli_image::classify::Classifier;
use ocelli_image::network::NetworkConfig;
use ocelli_image::zoo::{Options, create};
use ocelli_nn::weights::{WeightFile, write_caffe};

use crate::{filled, testdata};

#[test]
fn a_released_file_loads_into_the_legacy_network_and_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("SE-ResNet.caffemodel");
    let config = legacy::Config::new(legacy::Block::ResNet, [1, 2, 1, 1]);
    let network = NetworkConfig::SeNet(config).init(&Device::flex());
    let tensors = filled(network.tensor_specs());
    let caffe: BTreeMap<String, TensorData> = tensors
        .iter()
        .map(|(name, data)| (convert(name, Layout::Legacy, Layout::Caffe, false).unwrap(), data.clone()))
        .collect();
    write_caffe(&path, "SE-ResNet", &caffe).unwrap();

    let file = WeightFile::read(&path).unwrap();
    assert_eq!(file.tensors, caffe);
    let (network, mismatch) = network.load_weights(file, "legacy", false).unwrap();
    assert!(mismatch.is_empty());
    assert_eq!(network.state_dict(), tensors);
}

#[test]
fn inception_reads_its_own_layer_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.bin");
    let network = create("se_bn_inception", &Options::default(), &Device::flex()).unwrap();
    let tensors = filled(network.tensor_specs());
    write_caffe(&path, "SE-BN-Inception", &tensors).unwrap();
    // Known by its content where the ending says nothing.
    let file = WeightFile::read(&path).unwrap();
    let (network, _) = network.load_weights(file, "se_bn_inception", false).unwrap();
    assert_eq!(network.state_dict(), tensors);
}

#[test]
fn caffe_weights_bring_their_preprocessing_along() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("SE-ResNet-50.caffemodel");
    let network = create("legacy_seresnet50", &Options::default(), &Device::flex()).unwrap();
    let caffe = filled(network.tensor_specs())
        .into_iter()
        .map(|(name, data)| (convert(&name, Layout::Legacy, Layout::Caffe, false).unwrap(), data))
        .collect();
    write_caffe(&path, "SE-ResNet-50", &caffe).unwrap();
    let model = Classifier::from_weights("legacy_seresnet50", &path, false, &Device::flex()).unwrap();
    // A grey picture: 128 minus each channel's mean, blue first.
    let picture = RgbImage::filled(300, 260, [128; 3]).unwrap();
    let input = model.prepare(&picture).unwrap();
    for (channel, want) in [128.0 - 104.0, 128.0 - 117.0, 128.0 - 123.0].into_iter().enumerate() {
        assert!(
            (input[channel * 224 * 224] - want).abs() < 1e-3,
            "channel {channel}: {}",
            input[channel * 224 * 224]
        );
    }
    assert_eq!(model.labels[0], "tench");
}

fn read(bytes: &[u8]) -> Result<WeightFile, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hostile.caffemodel");
    std::fs::write(&path, bytes).unwrap();
    WeightFile::read(&path).map_err(|error| error.to_string())
}

#[test]
fn cut_and_lying_files_are_errors_that_name_the_file() {
    let whole = std::fs::read(testdata("goldens/senet/tiny.caffemodel")).unwrap();
    let complete = read(&whole).unwrap().tensors.len();
    for length in 0..whole.len() {
        // A cut between two layers leaves a shorter, valid file.
        match read(&whole[..length]) {
            Ok(file) => assert!(file.tensors.len() < complete),
            Err(error) => assert!(error.contains("hostile.caffemodel"), "{error}"),
        }
    }
    // Any byte changed: an error or other tensors, never a panic.
    for at in 0..whole.len() {
        for value in [0x00, 0x7f, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            let _ = read(&bytes);
        }
    }
    // A layer that claims to be larger than memory.
    let mut bytes = vec![0xa2, 0x06];
    bytes.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
    let error = read(&bytes).unwrap_err();
    assert!(error.contains("claims 9223372036854775807 bytes"), "{error}");
    // A blob of shape 2^40 x 2^40 with one value.
    let dim = [0x80, 0x80, 0x80, 0x80, 0x80, 0x20];
    let shape = [&[0x0a, 12][..], &dim, &dim].concat();
    let blob = [&[0x3a, 14][..], &shape, &[0x2a, 4, 0, 0, 0, 0]].concat();
    let layer = [&[0x0a, 1, b'a', 0x3a, blob.len() as u8][..], &blob].concat();
    let error = read(&[&[0xa2, 0x06, layer.len() as u8][..], &layer].concat()).unwrap_err();
    assert!(error.contains("layer a: a blob claims shape"), "{error}");
}

#[test]
fn a_zero_factor_means_zero_statistics() {
    // A batch norm of one channel with mean 3, variance 5 and factor 0, unpacked floats.
    let blob = |value: f32| [&[0x3a, 5, 0x2d][..], &value.to_le_bytes()].concat();
    let layer = [&[0x0a, 1, b'a', 0x12, 9][..], b"BatchNorm", &blob(3.0), &blob(5.0), &blob(0.0)].concat();
    let file = read(&[&[0xa2, 0x06, layer.len() as u8][..], &layer].concat()).unwrap();
    let value = |name: &str| file.tensors[name].try_to_vec::<f32>().unwrap();
    assert_eq!((value("a.running_mean"), value("a.running_var")), (vec![0.0], vec![0.0]));
}
