//! The small pieces that all parts of a page share: states, texts with commands in them, times, sizes. Pure.

use super::facts::State;
use super::markup::Markup;
use crate::model::Phase;
use crate::report::text::{size, took};

impl State {
    /// The class of everything that shows it, which gives its colour.
    pub fn class(self) -> &'static str {
        match self {
            Self::Failed => "s-failed",
            Self::Cancelled => "s-cancelled",
            Self::Skipped => "s-skipped",
            Self::Done => "s-done",
            Self::UpToDate => "s-same",
            Self::Untouched => "s-none",
        }
    }

    /// What it is called, for a thing that has to do with a phase.
    pub fn word(self, phase: Phase) -> &'static str {
        match self {
            Self::Done => phase.done(),
            Self::UpToDate => phase.idle(),
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
            Self::Untouched => "not touched",
        }
    }

    /// Its sign: a shape of its own for each, since colour must never be the only carrier.
    fn sign(self) -> &'static str {
        match self {
            Self::Failed => "#i-failed",
            Self::Cancelled => "#i-cancelled",
            Self::Skipped => "#i-skipped",
            Self::Done => "#i-done",
            Self::UpToDate => "#i-same",
            Self::Untouched => "#i-none",
        }
    }
}

/// The shapes of all signs, to be used by name.
pub const SIGNS: &str = concat!(
    r##"<svg class="signs" width="0" height="0" aria-hidden="true" focusable="false"><defs>"##,
    r##"<pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect class="hatch" width="2" height="6"/></pattern>"##,
    r##"<symbol id="i-done" viewBox="0 0 16 16"><path d="M3 8.5l3.2 3.2L13 4.8" fill="none" stroke="currentColor" stroke-width="2.2" stroke-linecap="round" stroke-linejoin="round"/></symbol>"##,
    r##"<symbol id="i-same" viewBox="0 0 16 16"><path d="M3.5 6h9M3.5 10h9" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round"/></symbol>"##,
    r##"<symbol id="i-failed" viewBox="0 0 16 16"><path d="M4 4l8 8M12 4l-8 8" fill="none" stroke="currentColor" stroke-width="2.4" stroke-linecap="round"/></symbol>"##,
    r##"<symbol id="i-skipped" viewBox="0 0 16 16"><path d="M4 4l4 4-4 4M9 4l4 4-4 4" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round"/></symbol>"##,
    r##"<symbol id="i-cancelled" viewBox="0 0 16 16"><rect x="4" y="4" width="8" height="8" rx="1.5" fill="currentColor"/></symbol>"##,
    r##"<symbol id="i-none" viewBox="0 0 16 16"><circle cx="8" cy="8" r="3.6" fill="none" stroke="currentColor" stroke-width="1.8"/></symbol>"##,
    "</defs></svg>"
);

/// The sign of a state.
pub fn sign(markup: &mut Markup, state: State) {
    markup.open("svg", &[("class", "sign"), ("aria-hidden", "true")]);
    markup.empty("use", &[("href", state.sign())]).close("svg");
}

/// The same inside a picture, with its corner at x and y.
pub fn sign_at(markup: &mut Markup, state: State, (x, y): (&str, &str)) {
    let place = [("class", "sign"), ("x", x), ("y", y), ("width", "16"), ("height", "16")];
    markup.empty("use", &[&[("href", state.sign())], &place[..]].concat());
}

/// Sign and word.
pub fn badge(markup: &mut Markup, state: State, phase: Phase) {
    markup.open("span", &[("class", &format!("badge {}", state.class()))]);
    sign(markup, state);
    markup.text(state.word(phase)).close("span");
}

/// Begins a frame that scrolls sideways, by keys too, where a table is wider than the page.
pub fn wide(markup: &mut Markup, label: &str) {
    markup.open("div", &[("class", "wide"), ("role", "group"), ("tabindex", "0"), ("aria-label", label)]);
}

/// A text in which `` `…` `` is code.
pub fn prose(markup: &mut Markup, text: &str) {
    let ticks = text.matches('`').count();
    for (at, part) in text.split('`').enumerate() {
        // A tick without its partner is a tick.
        let is_code = at % 2 == 1 && at < ticks;
        if is_code {
            markup.element("code", &[], part);
        } else {
            markup.text(if at % 2 == 1 { "`" } else { "" }).text(part);
        }
    }
}

/// A digest, short, with the whole of it for those who point at it.
pub fn digest(markup: &mut Markup, digest: &str) {
    let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
    let short: String = hex.chars().take(12).collect();
    markup.element("code", &[("title", digest)], &short);
}

/// All of a digest, to be compared and copied.
pub fn full_digest(markup: &mut Markup, digest: &str) {
    markup.element("code", &[("class", "digest")], digest);
}

/// Where a log is, from the page's own folder; none for a path that is no log of a run.
pub fn log_address(log: &str) -> Option<&str> {
    let at = log.rfind("/logs/")? + 1;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let name = &log[at + "logs/".len()..];
    ((1..=255).contains(&name.len()) && name.chars().all(is_plain)).then_some(&log[at..])
}

/// `+1.2 MB (+3%)`, `no change`: a size beside the one before.
pub fn change(now: u64, before: u64) -> String {
    if now == before {
        return "same size".to_owned();
    }
    let (sign, difference) = if now > before { ("+", now - before) } else { ("\u{2212}", before - now) };
    let percent = u128::from(difference) * 1000 / u128::from(before.max(1));
    let percent = match percent {
        _ if before == 0 => String::new(),
        0..5 => " (under 1%)".to_owned(),
        _ => format!(" ({sign}{}%)", (percent + 5) / 10),
    };
    format!("{sign}{}{percent}", size(difference))
}

/// `1 step`, `2 steps`
pub fn counted(count: usize, noun: &str) -> String {
    crate::report::plain::counted(count, noun)
}

/// How long something took; less than a tenth of a second in milliseconds.
pub fn time(milliseconds: u64) -> String {
    if milliseconds < 95 { format!("{milliseconds} ms") } else { took(milliseconds) }
}

/// A part of a whole, in percent.
pub fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

/// `12.5%`
pub fn percentage(value: f64) -> String {
    format!("{}%", (value * 1000.0).round() / 1000.0)
}

/// At most so many characters; what was cut out of the middle becomes an ellipsis.
pub fn shorten(text: &str, most: usize) -> String {
    let count = text.chars().count();
    if count <= most {
        return text.to_owned();
    }
    let head = (most - 1) * 2 / 3;
    let tail = most - 1 - head;
    let mut short: String = text.chars().take(head).collect();
    short.push('\u{2026}');
    short.extend(text.chars().skip(count - tail));
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_make_code() {
        let told = |text: &str| {
            let mut markup = Markup::new();
            prose(&mut markup, text);
            markup.finish()
        };
        assert_eq!(told("run `a <b>` now"), "run <code>a &lt;b&gt;</code> now");
        assert_eq!(told("`a`, `b`"), "<code>a</code>, <code>b</code>");
        assert_eq!(told("it`s"), "it`s");
        assert_eq!(told("`a` it`s"), "<code>a</code> it`s");
        assert_eq!(told(""), "");
    }

    #[test]
    fn only_logs_are_linked() {
        assert_eq!(log_address("target/xtask/runs/8d2/logs/build-api.log"), Some("logs/build-api.log"));
        for bad in ["", "logs/x", "a/logs/", "a/logs/../../x", "a/logs/x\"y", "javascript:/logs/%61"] {
            assert_eq!(log_address(bad), None, "{bad}");
        }
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(change(1_200_000_000, 1_000_000_000), "+200 MB (+20%)");
        assert_eq!(change(1_000_000, 2_000_000), "\u{2212}1.0 MB (\u{2212}50%)");
        assert_eq!(change(1_000_001, 1_000_000), "+1 B (under 1%)");
        assert_eq!(change(7, 7), "same size");
        assert_eq!(change(5, 0), "+5 B");
        assert_eq!([0, 94, 95, 8_000].map(time), ["0 ms", "94 ms", "0.1s", "8.0s"]);
        assert_eq!(percentage(percent(1, 3)), "33.333%");
        assert_eq!(percent(1, 0).to_string(), "0");
        assert_eq!(shorten("abcdefghij", 5), "ab\u{2026}ij");
        assert_eq!(shorten("abcde", 5), "abcde");
    }
}
