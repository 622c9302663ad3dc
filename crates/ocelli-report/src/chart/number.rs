//! Numbers as people read them.

/// A count with thousands separated: `1,234,567`.
#[must_use]
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// About three significant digits and a decimal prefix: `5.29 M`, `0.0013`, `410 k`.
#[must_use]
pub fn short(value: f64) -> String {
    if value.is_nan() {
        return "–".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "∞".into() } else { "−∞".into() };
    }
    let size = value.abs();
    if size >= 1e16 || (size > 0.0 && size < 1e-4) {
        return scientific(value, 2);
    }
    let (scaled, unit) = match size {
        _ if size >= 0.9995e12 => (value / 1e12, " T"),
        _ if size >= 0.9995e9 => (value / 1e9, " G"),
        _ if size >= 0.9995e6 => (value / 1e6, " M"),
        _ if size >= 0.9995e4 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let decimals = match scaled.abs() {
        s if s >= 99.95 || s == 0.0 => 0,
        s if s >= 9.995 => 1,
        s if s >= 0.9995 => 2,
        s => (2.0 - s.log10().floor()) as usize,
    };
    format!("{}{unit}", trimmed(&signed(scaled, decimals), unit))
}

/// A share between 0 and 1 as a percentage: `91.24%`.
#[must_use]
pub fn percent(share: f64, decimals: usize) -> String {
    if share.is_finite() { format!("{}%", signed(share * 100.0, decimals)) } else { "–".into() }
}

/// Seconds as a length of time: `0.42 s`, `8.3 s`, `4 min 05 s`, `2 h 07 min`, `3 d 4 h`.
#[must_use]
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "–".into();
    }
    if seconds < 9.95 {
        let decimals = if seconds < 0.995 { 2 } else { 1 };
        return format!("{seconds:.decimals$}\u{a0}s");
    }
    let whole = seconds.round() as u64;
    let (days, hours, minutes) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60);
    match whole {
        0..60 => format!("{whole}\u{a0}s"),
        60..3600 => format!("{minutes}\u{a0}min {:02}\u{a0}s", whole % 60),
        3600..86_400 => format!("{hours}\u{a0}h {minutes:02}\u{a0}min"),
        _ => format!("{days}\u{a0}d {hours}\u{a0}h"),
    }
}

/// `value` with so many decimals and a proper minus sign; never "−0".
pub(super) fn signed(value: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", value.abs());
    let zero = text.bytes().all(|b| b == b'0' || b == b'.');
    if value < 0.0 && !zero { format!("−{text}") } else { text }
}

/// `1.5e−7`, with no more digits than needed.
pub(super) fn scientific(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let mantissa =
        if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
    format!("{mantissa}e{exponent}").replace('-', "−")
}

/// Drops trailing zeros after the point of a number without a unit.
fn trimmed<'a>(text: &'a str, unit: &str) -> &'a str {
    if unit.is_empty() && text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        text
    }
}
