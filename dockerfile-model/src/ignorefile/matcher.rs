//! One pattern, compiled to the cheapest comparison that does what moby's does.
//!
//! In: a cleaned pattern without its `!`. Out: whether a path, or a folder above it, matches. Most patterns of real
//! files are plain names, `**/name` or names with stars; only the rest becomes a regex
//! (`Pattern.compile` of github.com/moby/patternmatcher).

use regex::Regex;

#[derive(Clone, Debug)]
pub(super) enum Matcher {
    /// `a/b`
    Exact(String),
    /// `a/**`: what begins with `a/`.
    Prefix(String),
    /// `**/b`: a name at any depth.
    Name(String),
    /// `**/b/c`, `**b`: what ends so, and without the leading slash. An empty one matches everything.
    Suffix(String),
    /// Components of names with stars, and whole `**`.
    Components(Vec<Component>),
    /// Everything else.
    Regex(Regex),
}

#[derive(Clone, Debug)]
pub(super) enum Component {
    /// `**`: any number of components, also none.
    Any,
    /// The literal parts between the stars of a name.
    Stars(Vec<String>),
}

/// A path and its names, split once for all rules.
pub(super) struct SplitPath<'p> {
    pub text: &'p str,
    pub names: Vec<&'p str>,
}

impl<'p> SplitPath<'p> {
    pub(super) fn new(text: &'p str) -> Self {
        let mut names = Vec::with_capacity(8);
        let mut start = 0;
        for (at, byte) in text.bytes().enumerate() {
            if byte == b'/' {
                names.push(&text[start..at]);
                start = at + 1;
            }
        }
        names.push(&text[start..]);
        Self { text, names }
    }
}

impl Matcher {
    /// None when moby's regex would not compile.
    pub(super) fn new(pattern: &str) -> Option<Self> {
        let is_plain = |text: &str| !text.contains(['*', '?', '[', ']', '\\']);
        if is_plain(pattern) {
            return Some(Self::Exact(pattern.to_owned()));
        }
        if let Some(suffix) = pattern.strip_prefix("**")
            && is_plain(suffix)
        {
            return Some(match suffix.strip_prefix('/') {
                Some(name) if !name.is_empty() && !name.contains('/') => Self::Name(name.to_owned()),
                _ => Self::Suffix(suffix.to_owned()),
            });
        }
        if let Some(prefix) = pattern.strip_suffix("**")
            && is_plain(prefix)
        {
            return Some(Self::Prefix(prefix.to_owned()));
        }
        components(pattern)
            .map(Self::Components)
            .or_else(|| Regex::new(&to_regex(pattern)).ok().map(Self::Regex))
    }

    /// The slow way for any pattern, as moby's regex has it.
    #[cfg(test)]
    pub(super) fn regex(pattern: &str) -> Option<Self> {
        Regex::new(&to_regex(pattern)).ok().map(Self::Regex)
    }

    /// Whether the pattern matches `path` or one of the folders above it.
    pub(super) fn matches_or_parent_matches(&self, path: &SplitPath<'_>) -> bool {
        let SplitPath { text, names } = path;
        match self {
            Self::Exact(exact) => {
                strip_prefix(text, exact).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            Self::Prefix(prefix) => strip_prefix(text, prefix).is_some(),
            Self::Name(name) => {
                names.iter().any(|known| known.len() == name.len() && strip_prefix(known, name).is_some())
            }
            Self::Suffix(suffix) => suffix.is_empty() || ends_a_folder(text, suffix),
            Self::Components(components) => match_components(components, names),
            Self::Regex(regex) => folders(text).any(|folder| regex.is_match(folder)),
        }
    }

    /// Whether the pattern can match something below `folder` that it does not match at `folder`. May say yes
    /// too often.
    pub(super) fn may_match_below(&self, folder: &str) -> bool {
        let is_below = |text: &str| text.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        match self {
            Self::Exact(exact) => is_below(exact),
            Self::Prefix(prefix) => {
                is_below(prefix)
                    || folder.starts_with(prefix.as_str())
                    || prefix.strip_suffix('/') == Some(folder)
            }
            Self::Components(components) => {
                let mut names = folder.split('/');
                for component in components {
                    match (component, names.next()) {
                        (Component::Any, _) | (_, None) => return true,
                        (Component::Stars(parts), Some(name)) if !match_stars(parts, name) => return false,
                        _ => {}
                    }
                }
                false
            }
            Self::Name(_) | Self::Suffix(_) | Self::Regex(_) => true,
        }
    }
}

/// `path` and the folders above it, shortest first.
fn folders(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at]).chain(std::iter::once(path)).filter(|p| !p.is_empty())
}

/// Whether `path` or a folder above it ends with `suffix`, or is it without its leading slash.
fn ends_a_folder(path: &str, suffix: &str) -> bool {
    if let Some(name) = suffix.strip_prefix('/')
        && let Some(rest) = path.strip_prefix(name)
        && (rest.is_empty() || rest.starts_with('/'))
    {
        return true;
    }
    let mut from = 0;
    while let Some(at) = path[from..].find(suffix) {
        let end = from + at + suffix.len();
        if end == path.len() || path.as_bytes()[end] == b'/' {
            return true;
        }
        from += at + path[from + at..].chars().next().map_or(1, char::len_utf8);
    }
    false
}

/// The components of a pattern that has only stars, and `**` only as whole components, but not as the last.
fn components(pattern: &str) -> Option<Vec<Component>> {
    if pattern.contains(['?', '[', ']', '\\', '^', '{', '|', '}']) {
        return None;
    }
    let mut parsed = Vec::new();
    for part in pattern.split('/') {
        parsed.push(match part {
            "**" => Component::Any,
            part if part.contains("**") => return None,
            part => Component::Stars(part.split('*').map(str::to_owned).collect()),
        });
    }
    // A trailing `**` needs something below, `a/**/**/b` collapses differently: leave both to the regex.
    let any = |component: &Component| matches!(component, Component::Any);
    let is_simple = parsed.iter().filter(|c| any(c)).count() <= 1 && !parsed.last().is_some_and(any);
    is_simple.then_some(parsed)
}

/// `str::strip_prefix`, which rarely gets as far as comparing: most rules differ from most paths at once.
fn strip_prefix<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    match prefix.as_bytes().first() {
        None => Some(text),
        first if text.as_bytes().first() != first => None,
        Some(_) => text.strip_prefix(prefix),
    }
}

/// `str::strip_suffix`, likewise.
fn strip_suffix<'t>(text: &'t str, suffix: &str) -> Option<&'t str> {
    match suffix.as_bytes().last() {
        None => Some(text),
        last if text.as_bytes().last() != last => None,
        Some(_) => text.strip_suffix(suffix),
    }
}

/// Whether all components match the first names of a path: then it or a folder above it matches.
fn match_components(components: &[Component], names: &[&str]) -> bool {
    match (components, names) {
        ([], _) => true,
        ([Component::Any, Component::Stars(parts)], names) => {
            names.iter().any(|name| match_stars(parts, name))
        }
        ([Component::Any, rest @ ..], names) => {
            (0..names.len()).any(|skipped| match_components(rest, &names[skipped..]))
        }
        (_, []) => false,
        ([Component::Stars(parts), rest @ ..], [name, below @ ..]) => {
            match_stars(parts, name) && match_components(rest, below)
        }
    }
}

/// Whether `name` is the parts with anything between them.
fn match_stars(parts: &[String], name: &str) -> bool {
    let Some((first, rest)) = parts.split_first() else { return name.is_empty() };
    let Some((last, middle)) = rest.split_last() else { return name == first };
    let Some(mut left) = strip_prefix(name, first).and_then(|left| strip_suffix(left, last)) else {
        return false;
    };
    middle.iter().all(|part| match left.find(part.as_str()) {
        Some(at) => {
            left = &left[at + part.len()..];
            true
        }
        None => false,
    })
}

/// The regex that moby builds for Go.
fn to_regex(pattern: &str) -> String {
    let mut regex = String::from("^");
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '*' if chars.next_if_eq(&'*').is_some() => {
                chars.next_if_eq(&'/');
                regex.push_str(if chars.peek().is_none() { ".*" } else { "(.*/)?" });
            }
            '*' => regex.push_str("[^/]*"),
            '?' => regex.push_str("[^/]"),
            '\\' => regex.extend(['\\', chars.next().unwrap_or('\\')]),
            // moby means to escape `{`, `|` and `}` as well, but its table has room for half of ASCII only.
            '.' | '+' | '(' | ')' | '$' => regex.extend(['\\', c]),
            c => regex.push(c),
        }
    }
    regex.push('$');
    from_go(&regex)
}

/// The same regex in this crate's dialect, which nests classes and has operators in them.
fn from_go(go: &str) -> String {
    let mut regex = String::with_capacity(go.len() + 4);
    let mut chars = go.chars().peekable();
    let mut in_class = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                regex.push('\\');
                regex.extend(chars.next());
            }
            '[' if !in_class => {
                in_class = true;
                regex.push('[');
                regex.extend(chars.next_if_eq(&'^'));
                if chars.next_if_eq(&']').is_some() {
                    regex.push_str("\\]");
                }
            }
            '[' | '&' | '~' if in_class => regex.extend(['\\', c]),
            ']' if !in_class => regex.push_str("\\]"),
            // Go reads a brace that counts nothing literally.
            '{' if !in_class && !is_count(chars.clone()) => regex.push_str("\\{"),
            ']' => {
                in_class = false;
                regex.push(']');
            }
            c => regex.push(c),
        }
    }
    regex
}

/// Whether `n}`, `n,}` or `n,m}` follows.
fn is_count(mut chars: impl Iterator<Item = char>) -> bool {
    let inner: String = chars.by_ref().take_while(|&c| c != '}').take(10).collect();
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match inner.split_once(',') {
        Some((low, high)) => is_number(low) && (high.is_empty() || is_number(high)),
        None => is_number(&inner),
    }
}
