//! The style sheet of pages.

use std::fmt::Write;

use crate::chart::{FONT, SERIES_COLOURS, SERIES_COLOURS_DARK, style_sheet as chart_rules};

const LIGHT: &str = "--page:#f7f8f9;--surface:#fff;--ink:#1b1f24;--muted:#57606a;--rule:#dde2e7;\
    --grid:#e4e8ec;--axis:#a8b0b9;--link:#0a5a9c;--good:#0b6e4f;--bad:#b3261e;--on-mark:#fff;\
    --heat:#08306b;--on-heat:#fff;";

const DARK: &str = "--page:#101317;--surface:#171b21;--ink:#e7eaee;--muted:#a2abb5;--rule:#2c333c;\
    --grid:#272d35;--axis:#5a6470;--link:#7dbcf2;--good:#7ad7b0;--bad:#ff9d94;--on-mark:#101317;\
    --heat:#5aaaf5;--on-heat:#0b1520;";

const RULES: &str = "\
*{box-sizing:border-box}\
html{-webkit-text-size-adjust:100%;text-size-adjust:100%;scroll-behavior:smooth}\
body{margin:0;background:var(--page);color:var(--ink);line-height:1.55;font-size:16px}\
main{max-width:1080px;margin:0 auto;padding:48px 32px 96px}\
h1{font-size:30px;line-height:1.2;font-weight:650;letter-spacing:-.015em;margin:0;overflow-wrap:anywhere}\
h2{font-size:20px;line-height:1.3;font-weight:650;letter-spacing:-.005em;margin:0 0 16px}\
h3{font-size:15px;font-weight:650;margin:24px 0 8px}\
p{margin:0 0 12px;max-width:72ch;overflow-wrap:anywhere}\
header{margin-bottom:28px}\
.subtitle{margin:6px 0 0;color:var(--muted);font-size:16px}\
nav ul{display:flex;flex-wrap:wrap;gap:4px 20px;list-style:none;margin:20px 0 0;padding:0;font-size:14px}\
a{color:var(--link);text-decoration-thickness:1px;text-underline-offset:3px}\
section{margin-top:56px;scroll-margin-top:24px}\
main ul:not([class]){margin:0 0 12px;padding-left:1.2em;max-width:72ch}\
header nav ul:not([class]){padding:0;max-width:none;margin:20px 0 0}\
section>ul>li{margin:4px 0;overflow-wrap:anywhere}\
.tiles{display:flex;flex-wrap:wrap;gap:1px;margin:0 0 24px;\
background:var(--rule);border:1px solid var(--rule);border-radius:8px;overflow:hidden}\
.tiles>div{background:var(--surface);padding:14px 16px;flex:1 1 155px;min-width:0;display:flex;flex-direction:column}\
dt{color:var(--muted);font-size:13px}\
dd{margin:0}\
.value{font-size:22px;line-height:1.4;font-weight:600;letter-spacing:-.015em;font-variant-numeric:tabular-nums;\
overflow-wrap:anywhere}\
.hint{color:var(--muted);font-size:13px;line-height:1.4;overflow-wrap:anywhere}\
figure{margin:0}\
.chart{background:var(--surface);border:1px solid var(--rule);border-radius:8px;padding:8px;margin:0 0 16px;\
break-inside:avoid}\
.chart>svg{display:block;max-width:100%;height:auto;margin:0 auto}\
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:16px;margin:0 0 16px}\
.charts>.chart{margin:0}\
.columns{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:0 16px;align-items:start}\
.columns>div{min-width:0}\
.scroll{overflow-x:auto;margin:0 0 16px;border:1px solid var(--rule);border-radius:8px;\
background:var(--surface)}\
table{border-collapse:collapse;width:100%;font-size:14px;line-height:1.4}\
th,td{padding:8px 14px;text-align:left;border-top:1px solid var(--rule);vertical-align:top}\
thead th{border-top:0;color:var(--muted);font-weight:500;font-size:13px;white-space:nowrap}\
tbody th{font-weight:500;overflow-wrap:anywhere;min-width:7em}\
.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}\
tbody th.number{min-width:0}\
pre{margin:0 0 12px;padding:12px 16px;overflow-x:auto;background:var(--surface);border:1px solid var(--rule);\
border-radius:8px;font-size:13.5px;line-height:1.5}\
code{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,'Liberation Mono',monospace}\
.language-sh{user-select:all}\
details{border:1px solid var(--rule);border-radius:8px;margin:0 0 16px;background:var(--surface)}\
summary{cursor:pointer;padding:10px 16px;font-size:14px;font-weight:500}\
.folded{padding:4px 16px 8px;border-top:1px solid var(--rule)}\
.folded>:first-child{margin-top:12px}\
.gallery{list-style:none;margin:0 0 16px;padding:0;display:grid;gap:16px;\
grid-template-columns:repeat(auto-fill,minmax(150px,1fr))}\
.gallery>li{background:var(--surface);border:1px solid var(--rule);border-radius:8px;overflow:hidden;\
break-inside:avoid}\
.gallery>.bad{border-color:var(--bad)}\
.frame{position:relative;background:var(--grid)}\
.frame img{display:block;width:100%;height:auto;aspect-ratio:1;object-fit:contain}\
.pixels{image-rendering:pixelated}\
.badge{position:absolute;left:8px;bottom:8px;padding:1px 8px;border-radius:99px;font-size:12px;font-weight:600;\
color:var(--on-mark)}\
.good .badge{background:var(--good)}\
.bad .badge{background:var(--bad)}\
figcaption{padding:10px 12px;font-size:13px;line-height:1.45}\
figcaption span{display:block;color:var(--muted);overflow-wrap:anywhere;font-variant-numeric:tabular-nums}\
figcaption span:first-child{color:var(--ink);font-weight:600}\
:focus-visible{outline:2px solid var(--link);outline-offset:2px}\
@media(max-width:560px){main{padding:28px 16px 64px}h1{font-size:24px}section{margin-top:40px}\
.tiles>div{padding:12px 14px;flex-basis:40%}.value{font-size:21px}.chart{padding:4px}\
th,td{padding:7px 10px}.gallery{grid-template-columns:1fr 1fr;gap:12px}}\
@media print{body{font-size:12px;background:#fff}main{max-width:none;padding:0}section{margin-top:28px}\
nav{display:none}p:has(+.scroll){break-after:avoid}\
.charts,.columns{grid-template-columns:repeat(auto-fit,minmax(min(100%,300px),1fr))}\
table{font-size:10.5px}thead th{font-size:10px}th,td{padding:4px 7px}h2{break-after:avoid}tr,.tiles{break-inside:avoid}.scroll,pre{overflow:visible}\
pre{white-space:pre-wrap}details::details-content{content-visibility:visible;block-size:auto}\
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}";

fn variables(base: &str, series: &[&str]) -> String {
    let mut out = base.to_owned();
    for (n, colour) in series.iter().enumerate() {
        let _ = write!(out, "--s{n}:{colour};");
    }
    out
}

/// All rules of a page, those for charts included. No `<` or `&`, so that it may stand in XML as it is.
pub(super) fn style_sheet() -> String {
    format!(
        ":root{{color-scheme:light dark;{}}}\
         @media screen and (prefers-color-scheme:dark){{:root{{{}}}}}\
         body{{font-family:{FONT}}}{RULES}{}",
        variables(LIGHT, &SERIES_COLOURS),
        variables(DARK, &SERIES_COLOURS_DARK),
        chart_rules()
    )
}
