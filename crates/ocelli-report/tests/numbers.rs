//! Numbers as text.

use ocelli_report::chart::{count, duration, percent, short};
use ocelli_report::escape;

#[test]
fn counts() {
    let all = [0, 7, 999, 1000, 123_456, 1_234_567].map(count);
    assert_eq!(all, ["0", "7", "999", "1,000", "123,456", "1,234,567"]);
}

#[test]
fn short_numbers() {
    let cases = [
        (0.0, "0"),
        (0.5, "0.5"),
        (0.001_25, "0.00125"),
        (1e-7, "1e−7"),
        (91.24, "91.2"),
        (1480.0, "1480"),
        (999.96, "1000"),
        (5_290_000.0, "5.29 M"),
        (58_300_000.0, "58.3 M"),
        (999_999.0, "1.00 M"),
        (4.1e9, "4.10 G"),
        (-2.5, "−2.5"),
        (f64::NAN, "–"),
        (f64::INFINITY, "∞"),
    ];
    for (value, text) in cases {
        assert_eq!(short(value), text, "{value}");
    }
}

#[test]
fn durations() {
    let cases = [
        (0.42, "0.42 s"),
        (8.31, "8.3 s"),
        (9.97, "10 s"),
        (59.6, "1 min 00 s"),
        (245.0, "4 min 05 s"),
        (7620.0, "2 h 07 min"),
        (273_600.0, "3 d 4 h"),
        (f64::NAN, "–"),
        (-1.0, "–"),
    ];
    for (seconds, text) in cases {
        assert_eq!(duration(seconds).replace('\u{a0}', " "), text, "{seconds}");
    }
}

#[test]
fn percentages() {
    assert_eq!(percent(0.9124, 2), "91.24%");
    assert_eq!(percent(-0.000_01, 1), "0.0%");
    assert_eq!(percent(f64::NAN, 1), "–");
}

#[test]
fn escaping() {
    assert_eq!(escape("<a href=\"x\">R&D's</a>"), "&lt;a href=&quot;x&quot;&gt;R&amp;D&#39;s&lt;/a&gt;");
    assert_eq!(escape("a\0b\u{1b}c\n"), "a\u{fffd}b\u{fffd}c\n");
}
