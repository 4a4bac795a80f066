use proptest::prelude::*;

use super::*;

/// Paths that are ignored, of all that are asked about. Expectations are moby's answers (patternmatcher 0.6.0).
#[track_caller]
fn check(rules: &str, paths: &str, ignored: &str) {
    let file = IgnoreFile::parse(rules);
    let hidden: Vec<&str> = paths.split(' ').filter(|path| file.is_ignored(path)).collect();
    assert_eq!(hidden.join(" "), ignored, "{rules:?}");
    assert_eq!(file.problems(), [], "{rules:?}");
}

#[test]
fn patterns() {
    // Without a slash: at the top only.
    check("foo", "foo foo/a a/foo foobar", "foo foo/a");
    check("/foo", "foo foo/a a/foo", "foo foo/a");
    check("./foo/", "foo foo/a a/foo", "foo foo/a");
    check("a/../foo", "foo a/foo", "foo");
    check("../foo", "foo ../foo", "../foo");
    check("foo/bar", "foo foo/bar foo/bar/x foo/barx a/foo/bar", "foo/bar foo/bar/x");
    check("*", "a .a a/b", "a .a a/b");
    check("*.md", "a.md .md b/a.md a.mdx", "a.md .md");
    check("*/*.md", "a.md b/a.md b/c/a.md", "b/a.md");
    check("**/*.md", "a.md b/a.md b/c/a.md a.mdx", "a.md b/a.md b/c/a.md");
    check("**/foo", "foo a/foo a/b/foo/c afoo a/foox", "foo a/foo a/b/foo/c");
    check("**/foo/bar", "foo/bar a/foo/bar/c foo/x/bar", "foo/bar a/foo/bar/c");
    check("**foo", "foo afoo a/bfoo foob", "foo afoo a/bfoo");
    check("**", "a a/b", "a a/b");
    check("foo/**", "foo foo/a foo/a/b", "foo/a foo/a/b");
    check("foo**", "foo foox foo/a a/foo", "foo foox foo/a");
    check("foo/**/bar", "foo/bar foo/a/bar foo/a/b/bar/c foobar", "foo/bar foo/a/bar foo/a/b/bar/c");
    check("a**b", "ab axb a/x/b a/b", "ab a/x/b a/b");
    check("f?o", "foo f/o fo fooo", "foo");
    check("[a-c]x", "ax dx bx/y", "ax bx/y");
    check("[^a]x", "ax dx", "dx");
    check("[!a]x", "!x ax dx", "!x ax");
    check("\\*", "* a", "*");
    check("a.b", "a.b axb", "a.b");
    check("*.{js,ts}", "a.js a.{js,ts}", "a.{js,ts}");
    check("x{1}*", "x{1} x xy xx", "x{1} x xy xx");
    check("?{2}", "a ab a{2}", "ab");
    check("Foo", "foo Foo", "Foo");
    check("é*", "é éa e", "é éa");
}

#[test]
fn lines() {
    check("# c\n  foo  \r\n\n\t bar\t", "foo bar", "foo bar");
    check(" # c", "#c", "");
    check("\u{feff}foo", "foo", "foo");
    check("#foo\n\\#foo", "#foo", "#foo");
    check("", "a", "");
    check(".", "a a/b", "");
    check("/", "a a/b", "");
    check("*", ". a", "a");
}

#[test]
fn exceptions() {
    check("*\n!foo", "foo foo/a bar", "bar");
    check("*\n! foo", "foo bar", "bar");
    check("*\n!/foo", "foo bar", "bar");
    check("foo\n!foo/a", "foo foo/a foo/a/b foo/c", "foo foo/c");
    check("foo/**\n!foo/a/b", "foo/a foo/a/b foo/a/b/c", "foo/a");
    check("*.md\n!README.md", "a.md README.md", "a.md");
    // The last match wins.
    check("!README.md\n*.md", "a.md README.md", "a.md README.md");
    check("*.md\n!README*.md\nREADME-secret.md", "README.md README-secret.md", "README-secret.md");
    check("a\n!a/b\na/b/c", "a/x a/b a/b/c a/b/d", "a/x a/b/c");
    check("**\n!**/*.go", "a.go a/b.go a/b.md", "a/b.md");
    check("/!foo", "foo", "");
}

#[test]
fn what_the_builder_refuses() {
    for (rules, line) in
        [("a\n!", 2), ("!/", 1), ("[a", 1), ("a[]", 1), ("a\\", 1), ("[z-a]x", 1), ("a/[-]", 1)]
    {
        let file = IgnoreFile::parse(rules);
        assert_eq!(file.problems().iter().map(|(line, _)| *line).collect::<Vec<_>>(), [line], "{rules}");
    }
    let file = IgnoreFile::parse("[a\nfoo");
    assert!(file.is_ignored("foo"), "the rest of a bad file counts");
}

#[test]
fn explanations() {
    let file = IgnoreFile::parse("# c\n/build/\n**/*.md\n!docs/*.md\n");
    assert_eq!(file.explain("build/x/y"), Some((2, "/build/")));
    assert_eq!(file.explain("a/b.md"), Some((3, "**/*.md")));
    assert_eq!(file.explain("docs/b.md"), None);
    assert_eq!(file.explain("a"), None);
}

#[test]
fn pruning() {
    #[track_caller]
    fn check(rules: &str, folder: &str, expected: bool) {
        assert_eq!(IgnoreFile::parse(rules).can_prune(folder), expected, "{rules:?} {folder}");
    }
    check("a", "a", true);
    check("a", "a/b", true);
    check("a", "b", false);
    check("a\n!a/b/c", "a", false);
    check("a\n!a/b/c", "a/b", false);
    check("a\n!a/b/c", "a/x", true);
    check("a\n!b", "a", true);
    check("!a/b\na", "a", true);
    check("a\n!**/x", "a", false);
    check("a\n!a/*/x", "a/b", false);
    check("a\n!a/*/x", "a/b/c", true);
    check("a\n!a/b/**", "a/b", false);
    check("*\n!a*/**/x", "b", true);
    check("*\n!a*/**/x", "ab", false);
}

proptest! {
    #[test]
    fn never_panics(rules in "[ab*?!/.#\\[\\]\\\\^{}|\n -]{0,40}", path in "[ab./é]{0,12}") {
        let file = IgnoreFile::parse(&rules);
        file.is_ignored(&path);
        file.can_prune(&path);
    }

    #[test]
    fn what_lies_below_an_ignored_folder_is_ignored_unless_it_may_not_be_pruned(
        rules in "([ab*!/]{1,6}\n){0,5}",
        folder in "[ab]{1,2}(/[ab]{1,2})?",
        below in "[ab]{1,2}(/[ab]{1,2})?",
    ) {
        let file = IgnoreFile::parse(&rules);
        if file.can_prune(&folder) {
            let path = format!("{folder}/{below}");
            prop_assert!(file.is_ignored(&path), "{rules:?} {path}");
        }
    }

    #[test]
    fn compiled_patterns_do_what_their_regex_does(pattern in "[ab*/.]{1,8}", path in "[ab.]{1,3}(/[ab.]{1,3}){0,3}") {
        let pattern = clean(&pattern);
        let regex = matcher::Matcher::regex(&pattern);
        if let (Some(quick), Some(regex)) = (matcher::Matcher::new(&pattern), regex) {
            // Here moby leaves the regex for a plain suffix, which may begin inside a name.
            prop_assume!(!pattern.starts_with("**") || pattern.starts_with("**/"));
            prop_assert_eq!(
                quick.matches_or_parent_matches(&matcher::SplitPath::new(&path)),
                regex.matches_or_parent_matches(&matcher::SplitPath::new(&path)),
                "{} {}", pattern, path
            );
        }
    }
}
