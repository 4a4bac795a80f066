//! `.dockerignore`: which paths of a build context the builder never sees.
//!
//! In: the file's text; paths relative to the context, with `/`. Out: ignored or not, and by which rule. The rules are
//! those of github.com/moby/patternmatcher (`MatchesOrParentMatches`, `ignorefile.ReadAll`), also for
//! `COPY --exclude` and `--parents`. Not gitignore: a pattern without a slash matches at the top only, the last match
//! wins, and `!` re-includes even below an ignored folder. Must not touch files: which ignore file applies
//! (`X.dockerignore` before `.dockerignore`) is the caller's choice.

pub mod glob;
mod matcher;

use matcher::{Matcher, SplitPath};

/// A parsed ignore file. Rules that the builder would refuse have no effect; [`IgnoreFile::problems`] names them.
#[derive(Clone, Debug, Default)]
pub struct IgnoreFile {
    rules: Vec<Rule>,
    problems: Vec<(u32, String)>,
}

#[derive(Clone, Debug)]
struct Rule {
    line: u32,
    /// As the file has it.
    text: String,
    /// It begins with `!`.
    is_exception: bool,
    matcher: Matcher,
}

impl IgnoreFile {
    /// Reads an ignore file.
    pub fn parse(text: &str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut file = Self::default();
        for (line, number) in text.split('\n').zip(1..) {
            if line.starts_with('#') {
                continue;
            }
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            let (mark, pattern) = match line.strip_prefix('!') {
                Some(rest) => ("!", rest.trim()),
                None => ("", line),
            };
            let mut pattern = if pattern.is_empty() { String::new() } else { clean(pattern) };
            if pattern.len() > 1 && pattern.starts_with('/') {
                pattern.remove(0);
            }
            file.add(number, line, &format!("{mark}{pattern}"));
        }
        file
    }

    /// Reads patterns as `patternmatcher.New` takes them, without the clean-up that an ignore file gets.
    pub fn from_patterns<'p>(patterns: impl IntoIterator<Item = &'p str>) -> Self {
        let mut file = Self::default();
        for (pattern, number) in patterns.into_iter().zip(1..) {
            file.add(number, pattern, pattern);
        }
        file
    }

    fn add(&mut self, line: u32, text: &str, pattern: &str) {
        let pattern = pattern.trim();
        if pattern.is_empty() {
            return;
        }
        let pattern = clean(pattern);
        let (is_exception, pattern) = match pattern.strip_prefix('!') {
            Some("") => {
                self.problems.push((line, "`!` alone re-includes nothing".to_owned()));
                return;
            }
            Some(rest) => (true, rest),
            None => (false, pattern.as_str()),
        };
        let matcher = match glob::matches(pattern, ".").map(|_| Matcher::new(pattern)) {
            Ok(Some(matcher)) => matcher,
            Ok(None) | Err(_) => {
                self.problems.push((line, format!("`{text}`: {}", glob::BadPattern)));
                return;
            }
        };
        self.rules.push(Rule { line, text: text.to_owned(), is_exception, matcher });
    }

    /// Rules that the builder refuses, with their lines.
    pub fn problems(&self) -> &[(u32, String)] {
        &self.problems
    }

    /// Whether there is any rule.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether `path` is ignored, itself or through a folder above it. The context's own folder never is.
    pub fn is_ignored(&self, path: &str) -> bool {
        self.deciding_rule(path).is_some_and(|at| !self.rules[at].is_exception)
    }

    /// Whether nothing below the folder `path` can be anything but ignored, so it need not be listed.
    pub fn can_prune(&self, path: &str) -> bool {
        let Some(at) = self.deciding_rule(path).filter(|&at| !self.rules[at].is_exception) else {
            return false;
        };
        // Whatever matches a folder matches all below it, so only a later exception can change the outcome.
        !self.rules[at + 1..].iter().any(|rule| rule.is_exception && rule.matcher.may_match_below(path))
    }

    /// The rule that hides `path`: its line and its text.
    pub fn explain(&self, path: &str) -> Option<(u32, &str)> {
        let rule = &self.rules[self.deciding_rule(path)?];
        (!rule.is_exception).then_some((rule.line, rule.text.as_str()))
    }

    /// The last rule that matches `path` or a folder above it.
    fn deciding_rule(&self, path: &str) -> Option<usize> {
        if matches!(path, "" | ".") {
            return None;
        }
        let path = SplitPath::new(path);
        self.rules.iter().rposition(|rule| rule.matcher.matches_or_parent_matches(&path))
    }
}

/// `filepath.Clean`
fn clean(path: &str) -> String {
    let is_rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if is_rooted => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (is_rooted, joined.as_str()) {
        (true, _) => format!("/{joined}"),
        (false, "") => ".".to_owned(),
        (false, _) => joined,
    }
}

#[cfg(test)]
mod tests;
