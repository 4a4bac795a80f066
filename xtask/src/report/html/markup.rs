//! Writes HTML and SVG. Pure.
//!
//! What comes from outside goes through [`Markup::text`] or an attribute's value, which escape it and make it
//! harmless; only the program's own literals are markup.

use std::fmt::Write as _;

use crate::report::text::neutralise;

/// Longer texts from outside are cut: one line of a build may have megabytes.
pub const MAX_TEXT: usize = 600;
/// Longer attributes are cut too.
const MAX_ATTRIBUTE: usize = 2_000;

/// A page, or a piece of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Markup {
    text: String,
}

impl Markup {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The program's own markup, as it stands.
    pub fn raw(&mut self, literal: &'static str) -> &mut Self {
        self.text.push_str(literal);
        self
    }

    /// A text, escaped, neutralised and cut at [`MAX_TEXT`] characters.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.escape(text, MAX_TEXT);
        self
    }

    /// A number, in the digits of everybody.
    pub fn number(&mut self, number: impl Into<f64>) -> &mut Self {
        let number: f64 = number.into();
        let rounded = (number * 100.0).round() / 100.0;
        // Writing to a String cannot fail.
        let _ = write!(self.text, "{}", if rounded == 0.0 { 0.0 } else { rounded });
        self
    }

    /// Another piece.
    pub fn piece(&mut self, piece: &Self) -> &mut Self {
        self.text.push_str(&piece.text);
        self
    }

    /// `<name a="b">`; values are escaped.
    pub fn open(&mut self, name: &'static str, attributes: &[(&'static str, &str)]) -> &mut Self {
        self.begin(name, attributes);
        self.text.push('>');
        self
    }

    /// `</name>`
    pub fn close(&mut self, name: &'static str) -> &mut Self {
        self.text.push_str("</");
        self.text.push_str(name);
        self.text.push('>');
        self
    }

    /// `<name a="b"/>`, for SVG and void elements.
    pub fn empty(&mut self, name: &'static str, attributes: &[(&'static str, &str)]) -> &mut Self {
        self.begin(name, attributes);
        self.text.push_str("/>");
        self
    }

    /// An element with nothing but text in it.
    pub fn element(
        &mut self,
        name: &'static str,
        attributes: &[(&'static str, &str)],
        text: &str,
    ) -> &mut Self {
        self.open(name, attributes).text(text).close(name)
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.text.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// All of it.
    pub fn finish(self) -> String {
        self.text
    }

    fn begin(&mut self, name: &'static str, attributes: &[(&'static str, &str)]) {
        self.text.push('<');
        self.text.push_str(name);
        for (key, value) in attributes {
            self.text.push(' ');
            self.text.push_str(key);
            self.text.push_str("=\"");
            self.escape(value, MAX_ATTRIBUTE);
            self.text.push('"');
        }
    }

    fn escape(&mut self, text: &str, most: usize) {
        let cut = text.char_indices().nth(most).map(|(at, _)| at);
        for c in neutralise(&text[..cut.unwrap_or(text.len())]).chars() {
            match c {
                '&' => self.text.push_str("&amp;"),
                '<' => self.text.push_str("&lt;"),
                '>' => self.text.push_str("&gt;"),
                '"' => self.text.push_str("&quot;"),
                '\'' => self.text.push_str("&#39;"),
                c => self.text.push(c),
            }
        }
        if let Some(cut) = cut {
            let _ = write!(self.text, " \u{2026} ({} more bytes)", text.len() - cut);
        }
    }
}

/// A name as the value of `id`, and after `#`: what names of images are made of stays; where anything else stands, a number
/// tells names apart.
pub fn anchor(kind: &'static str, name: &str, number: usize) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-:/@".contains(c);
    if name.chars().all(is_plain) && name.len() <= 200 {
        format!("{kind}-{name}")
    } else {
        format!("{kind}--{number}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_comes_from_outside_is_escaped() {
        let mut markup = Markup::new();
        markup.open("p", &[("title", "\"><script>")]).text("a < b & \x1b[31m'c'").close("p");
        assert_eq!(markup.finish(), "<p title=\"&quot;&gt;&lt;script&gt;\">a &lt; b &amp; &#39;c&#39;</p>");
    }

    #[test]
    fn long_texts_are_cut() {
        let mut markup = Markup::new();
        markup.text(&"é".repeat(MAX_TEXT + 3));
        assert_eq!(markup.finish(), format!("{} … (6 more bytes)", "é".repeat(MAX_TEXT)));
        let mut markup = Markup::new();
        markup.text("<b").number(1.005).number(2.0_f64).number(-0.001);
        assert_eq!(markup.finish(), "&lt;b120");
    }

    #[test]
    fn anchors_are_what_an_address_may_hold() {
        assert_eq!(anchor("image", "a-b_c.1", 4), "image-a-b_c.1");
        assert_eq!(anchor("image", "a b\"", 4), "image--4");
    }

    proptest! {
        #[test]
        fn no_text_becomes_markup(text in "(\\PC|[<>&\"'\\x00-\\x1f]){0,40}") {
            let mut markup = Markup::new();
            markup.text(&text);
            let inside = markup.clone().finish();
            prop_assert!(!inside.contains(['<', '>', '"', '\'']) && !inside.chars().any(char::is_control), "{inside}");
            let mut markup = Markup::new();
            markup.empty("i", &[("title", &text)]);
            let whole = markup.finish();
            prop_assert_eq!(whole.matches(['<', '>', '"']).count(), 4, "{}", whole);
        }
    }
}
