//! Thumbnails.

use ocelli_report::Error;
use ocelli_report::png::encode_rgb;

#[test]
fn pixels_survive() {
    let rgb: Vec<u8> = (0..5 * 3 * 3).map(|i| (i * 7) as u8).collect();
    let bytes = encode_rgb(5, 3, &rgb).unwrap();
    let mut reader = ::png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
    let mut out = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut out).unwrap();
    assert_eq!((info.width, info.height, info.color_type), (5, 3, ::png::ColorType::Rgb));
    assert_eq!(out, rgb);
}

#[test]
fn wrong_sizes_are_errors() {
    let error = encode_rgb(2, 2, &[0; 11]).unwrap_err();
    assert_eq!(error.to_string(), "a 2x2 RGB image needs 12 bytes of pixels, but 11 were given");
    assert!(matches!(encode_rgb(u32::MAX, u32::MAX, &[]), Err(Error::PixelCount { .. })));
    assert!(matches!(encode_rgb(0, 0, &[]), Err(Error::Png(_))));
}
