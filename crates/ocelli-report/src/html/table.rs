//! Tables.

use std::fmt::Write;

use crate::escape::escape;

/// The markup of a table called `name`.
pub(super) fn table<H: AsRef<str>, C: AsRef<str>>(name: &str, headers: &[H], rows: &[Vec<C>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0).max(headers.len());
    let cell = |row: &Vec<C>, column: usize| row.get(column).map_or("", |c| c.as_ref()).to_owned();
    let numeric: Vec<&str> = (0..columns)
        .map(|column| if column_is_numeric(rows, column) { " class=\"number\"" } else { "" })
        .collect();

    let mut out = format!(
        "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"Table: {}\"><table><thead><tr>",
        escape(name)
    );
    for (column, class) in numeric.iter().enumerate() {
        let header = headers.get(column).map_or("", |h| h.as_ref());
        let _ = write!(out, "<th scope=\"col\"{class}>{}</th>", escape(header));
    }
    out.push_str("</tr></thead><tbody>");
    for row in rows {
        out.push_str("<tr>");
        for (column, class) in numeric.iter().enumerate() {
            let text = escape(&cell(row, column));
            let _ = match column {
                0 => write!(out, "<th scope=\"row\"{class}>{text}</th>"),
                _ => write!(out, "<td{class}>{text}</td>"),
            };
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>");
    out
}

fn column_is_numeric<C: AsRef<str>>(rows: &[Vec<C>], column: usize) -> bool {
    let mut numbers = 0;
    for row in rows {
        let text = row.get(column).map_or("", |c| c.as_ref()).trim();
        if text.is_empty() || text == "–" {
            continue;
        }
        let digits = text.trim_start_matches(['-', '−', '+', '±', '≈', '~', '<', '>']);
        let letters = text.chars().filter(|c| c.is_alphabetic()).count();
        if !digits.starts_with(|c: char| c.is_ascii_digit()) || letters > 5 {
            return false;
        }
        numbers += 1;
    }
    numbers > 0
}
