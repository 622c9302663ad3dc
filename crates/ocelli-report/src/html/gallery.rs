//! Pictures with captions.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::escape::escape;

/// An encoded picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    mime: String,
    bytes: Vec<u8>,
}

impl Picture {
    /// A PNG.
    #[must_use]
    pub fn png(bytes: Vec<u8>) -> Self {
        Self::encoded("image/png", bytes)
    }

    /// A picture in any format a browser shows, with its MIME type: `"image/jpeg"`, say.
    #[must_use]
    pub fn encoded(mime: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self { mime: mime.into(), bytes }
    }
}

/// One picture of a gallery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// The picture.
    pub image: Picture,
    /// Lines below it; the first stands out. Together they are the picture's alternative text.
    pub caption_lines: Vec<String>,
    /// Marks the card as right or wrong, in words and colour. `None` leaves it unmarked.
    pub good: Option<bool>,
}

/// Pictures up to this size are enlarged with hard pixels: a blurred 32-pixel image tells less.
const PIXELATED: u32 = 64;

/// The markup of a gallery.
pub(super) fn gallery(cards: &[Card]) -> String {
    if cards.is_empty() {
        return String::new();
    }
    let mut out = String::from("<ul class=\"gallery\">");
    for card in cards {
        let (class, badge) = match card.good {
            Some(true) => (" class=\"good\"", "<span class=\"badge\">✓ correct</span>"),
            Some(false) => (" class=\"bad\"", "<span class=\"badge\">✗ wrong</span>"),
            None => ("", ""),
        };
        let size = crate::png::dimensions(&card.image.bytes);
        let pixels = match size {
            Some((width, height)) if width.max(height) <= PIXELATED => " class=\"pixels\"",
            _ => "",
        };
        let size =
            size.map(|(width, height)| format!(" width=\"{width}\" height=\"{height}\"")).unwrap_or_default();
        let _ = write!(
            out,
            "<li{class}><figure><div class=\"frame\"><img{pixels}{size} alt=\"{}\" src=\"data:{};base64,{}\"/>\
             {badge}</div>",
            escape(&card.caption_lines.join(", ")),
            escape(&card.image.mime),
            STANDARD.encode(&card.image.bytes)
        );
        if !card.caption_lines.is_empty() {
            out.push_str("<figcaption>");
            for line in &card.caption_lines {
                let _ = write!(out, "<span>{}</span>", escape(line));
            }
            out.push_str("</figcaption>");
        }
        out.push_str("</figure></li>\n");
    }
    out.push_str("</ul>");
    out
}
