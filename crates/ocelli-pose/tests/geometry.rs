//! Grids, cameras, joints.

use ocelli_pose::camera::{Camera, read_cameras};
use ocelli_pose::grid::{Padding, neighbour_table};
use ocelli_pose::lifter::{Config, Variant};
use ocelli_pose::picture::{normalise, to_pixels};
use ocelli_pose::sgt::{Prior, forward_matrix, inverse_matrix};
use ocelli_pose::skeleton::{JOINTS, PARENTS};

#[test]
fn the_inverse_grid_undoes_the_grid() {
    let (to, back) = (forward_matrix(), inverse_matrix());
    let cells = to.len() / JOINTS;
    for i in 0..JOINTS {
        for j in 0..JOINTS {
            let entry: f32 = (0..cells).map(|cell| back[i * cells + cell] * to[cell * JOINTS + j]).sum();
            assert!((entry - f32::from(u8::from(i == j))).abs() < 1e-6);
        }
    }
}

#[test]
fn borders_are_those_of_pytorch() {
    let corner = |padding| neighbour_table([3, 4], padding)[..9].to_vec();
    let all = |places: [usize; 9]| places.map(Some).to_vec();
    assert_eq!(corner(Padding::Circular), all([11, 8, 9, 3, 0, 1, 7, 4, 5]));
    assert_eq!(corner(Padding::Replicate), all([0, 0, 1, 0, 0, 1, 4, 4, 5]));
    let zeros = [None, None, None, None, Some(0), Some(1), None, Some(4), Some(5)];
    assert_eq!(corner(Padding::Zeros), zeros.to_vec());
    assert!(Padding::pair("c,x").is_err() && Padding::pair("c").is_err() && Padding::pair("c,r,z").is_err());
}

#[test]
fn the_four_cameras_look_at_the_middle() {
    for camera in Camera::four() {
        let seen = camera.see(&[[0.0, 0.9, 0.0]; JOINTS]);
        assert!(seen.whole);
        assert!(
            seen.pixels.iter().flatten().all(|pixel| (pixel - 500.0).abs() < 1e-3),
            "{:?}",
            seen.pixels[0]
        );
        // Further up is further up in the picture.
        assert!(camera.see(&[[0.0, 1.5, 0.0]; JOINTS]).pixels[0][1] < 400.0);
        assert!(!camera.see(&[[0.0, f32::NAN, 0.0]; JOINTS]).whole);
    }
}

#[test]
fn unusable_cameras_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cameras.json");
    let mut camera = Camera::four().remove(0);
    for (change, word) in [
        (Box::new(|camera: &mut Camera| camera.fx = 0.0) as Box<dyn Fn(&mut Camera)>, "focal"),
        (Box::new(|camera: &mut Camera| camera.rotation[0] = [1.0, 1.0, 0.0]), "rotation"),
    ] {
        change(&mut camera);
        std::fs::write(&path, serde_json::json!({"cameras": [camera]}).to_string()).unwrap();
        let error = read_cameras(&path).unwrap_err().to_string();
        assert!(error.contains("cameras.json") && error.contains(word), "{error}");
        camera = Camera::four().remove(0);
    }
    std::fs::write(&path, "{\"cameras\": []}").unwrap();
    assert!(read_cameras(&path).unwrap_err().to_string().contains("no camera"));
}

#[test]
fn pixels_and_units_go_both_ways() {
    for size in [[1000.0, 1000.0], [1920.0, 1080.0], [480.0, 640.0]] {
        let [x, y] = to_pixels(normalise([123.0, 456.0], size), size);
        assert!((x - 123.0).abs() < 1e-3 && (y - 456.0).abs() < 1e-3);
    }
}

#[test]
fn parents_come_first() {
    for (child, parent) in PARENTS.iter().enumerate() {
        assert!(parent.is_none_or(|parent| parent < child));
    }
}

#[test]
fn configurations_that_cannot_be_built_are_refused() {
    let auto = Config { variant: Variant::AutoGrids, grid: [4, 6], ..Config::default() };
    assert!(auto.check().unwrap_err().contains("random_prob"));
    assert!(Config { prior: Prior::RandomProb, ..auto }.check().is_ok());
    assert!(Config { hidden: 0, ..Config::default() }.check().is_err());
    assert!(Config { grid: [1, 5], ..Config::default() }.check().is_err());
    assert!(Config { grid: [usize::MAX, 2], ..Config::default() }.check().is_err());
    assert!(Config { dropout: f64::NAN, ..Config::default() }.check().is_err());
}
