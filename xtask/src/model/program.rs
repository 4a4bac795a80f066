//! What this program is called by who runs it: `cargo xtask` by its alias, `xtask-images` where it is installed, or
//! whatever a team calls its own. Texts are written with [`ALIAS`]; [`as_called`] makes of them what can be typed.

use std::borrow::Cow;
use std::sync::OnceLock;

/// What texts call it.
pub const ALIAS: &str = "cargo xtask";

/// A process is called once, by one name.
static CALLED: OnceLock<String> = OnceLock::new();

/// From here on this is its name; the first one stays.
pub fn is_called(name: &str) {
    let _ = CALLED.set(name.to_owned());
}

/// What is typed to run it.
pub fn name() -> &'static str {
    CALLED.get().map_or(ALIAS, String::as_str)
}

/// A text of this program's, with the commands in it as they can be typed.
pub fn as_called(text: &str) -> Cow<'_, str> {
    with_name(text, name())
}

fn with_name<'a>(text: &'a str, name: &str) -> Cow<'a, str> {
    if name == ALIAS || !text.contains(ALIAS) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace(ALIAS, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_in_texts_are_those_that_can_be_typed() {
        for (text, name, expected) in [
            ("`cargo xtask plan` shows it", "xtask-images", "`xtask-images plan` shows it"),
            ("`cargo xtask plan` shows it", "cargo xtask", "`cargo xtask plan` shows it"),
            ("nothing to type", "xtask-images", "nothing to type"),
            ("cargo xtask, cargo xtask", "make", "make, make"),
        ] {
            assert_eq!(with_name(text, name), expected, "{name}");
        }
    }
}
