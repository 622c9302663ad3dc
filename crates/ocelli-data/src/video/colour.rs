//! Which matrix a film is converted with, and how what is written is tagged.

/// Up to so many lines a stream that does not name its matrix is BT.601, above BT.709: players do so too.
const LINES_OF_601: usize = 576;

/// How swscale scales and converts, everywhere: nothing is traded for speed.
pub(super) const FLAGS: &str = "bicubic+accurate_rnd+full_chroma_int+full_chroma_inp";

/// The value of the scale filter's `in_color_matrix` for a stream with this matrix (ffprobe's `color_space`).
pub(super) fn input_matrix(matrix: Option<&str>, pixel_format: &str, height: usize) -> &'static str {
    match matrix {
        // RGB and the rare transforms are swscale's own business.
        Some("gbr" | "rgb" | "ycgco") => "auto",
        None if ["rgb", "bgr", "gbr", "0rgb", "0bgr", "argb", "abgr", "pal8", "x2"]
            .iter()
            .any(|name| pixel_format.starts_with(name)) =>
        {
            "auto"
        }
        _ => Tags::new(matrix, height).scale,
    }
}

/// A matrix, and the primaries and the transfer that come with it where nothing else is said.
pub(super) struct Tags {
    /// As the scale filter names the matrix.
    pub(super) scale: &'static str,
    /// As the encoder names it.
    pub(super) matrix: &'static str,
    pub(super) primaries: &'static str,
    pub(super) transfer: &'static str,
}

impl Tags {
    /// For a stream of `height` lines with this matrix, by ffmpeg's names; unknown ones go by the height.
    pub(super) fn new(matrix: Option<&str>, height: usize) -> Self {
        let (scale, matrix, primaries, transfer) = match matrix {
            Some("bt709") => ("bt709", "bt709", "bt709", "bt709"),
            Some("bt470bg") => ("bt470", "bt470bg", "bt470bg", "smpte170m"),
            Some("smpte170m" | "bt601") => ("smpte170m", "smpte170m", "smpte170m", "smpte170m"),
            Some("fcc") => ("fcc", "fcc", "bt470m", "smpte170m"),
            Some("smpte240m") => ("smpte240m", "smpte240m", "smpte240m", "smpte240m"),
            Some("bt2020nc" | "bt2020c" | "bt2020") => ("bt2020", "bt2020nc", "bt2020", "bt2020-10"),
            _ if height <= LINES_OF_601 => ("smpte170m", "smpte170m", "smpte170m", "smpte170m"),
            _ => ("bt709", "bt709", "bt709", "bt709"),
        };
        Self { scale, matrix, primaries, transfer }
    }
}
