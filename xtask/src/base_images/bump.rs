//! Another default version of the base images, everywhere where the present one is named.
//!
//! In: the texts of the tree (`texts` reads them, the only effect here), the two versions. Out: a plan of files to write,
//! each place that would change, and each place that names the same number but is left alone, with the reason. A
//! version is found as a word: `1.2.3` neither in `11.2.3` nor in `1.2.31`, `1.2.3.4` or `1.2.3-rc1`, but in `v1.2.3`,
//! `1.2.3.zip` and `1.2.3-debian`.

pub mod texts;

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use self::texts::Text;
use crate::artifact::lock;
use crate::model::{Phase, Plan, Reason, Step, StepKind};

/// What decides which files are about base images.
#[derive(Clone, Copy, Debug)]
pub struct BumpInput<'a> {
    /// What base images are called.
    pub name: &'a str,
    /// The folders whose files are all about base images, relative to the root.
    pub folders: &'a [String],
    /// The lock file of artifacts, relative to the root.
    pub lock_file: &'a str,
    /// The settings file, relative to the root.
    pub settings: &'a str,
}

/// What a change of version comes to.
#[derive(Clone, Debug, Default)]
pub struct Bump {
    /// The files to write.
    pub plan: Plan,
    /// Each line that changes.
    pub places: Vec<VersionLine>,
    /// Each line that names the version and does not change.
    pub left: Vec<KeptLine>,
    /// Lines that name the new version already: going back would change these too.
    pub already: Vec<String>,
}

/// A line that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionLine {
    /// `file:line`
    pub at: String,
    /// The line.
    pub was: String,
    /// The line as it will be; none when it goes.
    pub now: Option<String>,
}

/// A line that names the version and stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptLine {
    /// `file:line`
    pub at: String,
    /// Why it stays.
    pub why: &'static str,
}

/// A default version that is another one than the tree's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// `file:line`
    pub at: String,
    /// What it says.
    pub version: String,
}

/// Default versions that are not `from`: somebody changed one place and not all.
pub fn drift(texts: &[Text], from: &str) -> Vec<Drift> {
    let of_text = |Text { path, text }: &Text| {
        let lines = text.lines().enumerate();
        let found = lines.filter_map(|(at, line)| {
            let version = &line[drifted(path, line, from)?];
            Some(Drift { at: format!("{path}:{}", at + 1), version: version.to_owned() })
        });
        found.collect::<Vec<_>>()
    };
    texts.iter().flat_map(of_text).collect()
}

/// The default version of the first Dockerfile of a base image, where they do not agree on one.
pub fn default_of_folders(texts: &[Text], input: &BumpInput<'_>) -> Option<String> {
    let is_theirs = |text: &&Text| {
        text.path.ends_with("/Dockerfile")
            && input.folders.iter().any(|folder| Path::new(&text.path).starts_with(folder))
    };
    let found = texts.iter().filter(is_theirs).find_map(|text| drift(std::slice::from_ref(text), "").pop());
    found.map(|drift| drift.version)
}

/// Changes `from` to `to` in these texts, and every default version that is neither.
pub fn plan(texts: &[Text], from: &str, to: &str, input: &BumpInput<'_>) -> Bump {
    let mut bump = Bump::default();
    for Text { path, text } in texts {
        let names_it = |line: &str| from != to && find(line, to, 0).is_some();
        let already = text.lines().enumerate().filter(|(_, line)| names_it(line));
        bump.already.extend(already.map(|(at, _)| format!("{path}:{}", at + 1)));
        let before = bump.places.len();
        let now = if path == input.lock_file && from != to {
            without_artifact(&mut bump, path, text, from)
        } else {
            renamed(&mut bump, path, text, (from, to), input)
        };
        let places = bump.places.len() - before;
        if places == 0 {
            continue;
        }
        let version = versions(&bump.places[before..], text, from, path);
        let kind =
            StepKind::WriteFile { path: path.clone(), contents: now, was: Some(text.clone()), mode: None };
        let why = Reason::NamesVersion { version, places };
        bump.plan.steps.push(Step::new(Phase::Bump, path, kind, why));
    }
    bump
}

/// The lock file without the old artifact's digest; the new one's is noted at first sight.
fn without_artifact(bump: &mut Bump, path: &str, text: &str, from: &str) -> String {
    let name = format!("{from}.zip");
    let entry = lock::parse(path, text).ok().and_then(|mut entries| entries.remove(&name));
    let Some(entry) = entry else { return text.to_owned() };
    let at = usize::try_from(entry.line).unwrap_or_default();
    let was = text.lines().nth(at.saturating_sub(1)).unwrap_or_default().to_owned();
    bump.places.push(VersionLine { at: format!("{path}:{at}"), was, now: None });
    lock::without_entry(path, text, &name).unwrap_or_else(|_| text.to_owned())
}

fn renamed(
    bump: &mut Bump,
    path: &str,
    text: &str,
    (from, to): (&str, &str),
    input: &BumpInput<'_>,
) -> String {
    let mut now = String::with_capacity(text.len());
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let at = format!("{path}:{}", number + 1);
        let shown = |line: &str| line.trim_end_matches(['\r', '\n']).to_owned();
        if let Some(place) = drifted(path, line, from).filter(|place| line[place.clone()] != *to) {
            let changed = format!("{}{to}{}", &line[..place.start], &line[place.end..]);
            bump.places.push(VersionLine { at, was: shown(line), now: Some(shown(&changed)) });
            now.push_str(&changed);
            continue;
        }
        if from == to || find(line, from, 0).is_none() {
            now.push_str(line);
            continue;
        }
        if let Some(why) = reason_to_leave(path, line, input) {
            bump.left.push(KeptLine { at, why });
            now.push_str(line);
            continue;
        }
        let changed = replace(line, from, to);
        bump.places.push(VersionLine { at, was: shown(line), now: Some(shown(&changed)) });
        now.push_str(&changed);
    }
    now
}

/// Where a line sets a default version that is not `from`: `ARG FIT_VERSION=3.6.0`, `DEFAULT_FIT_VERSION="3.6.0"`,
/// `FIT_VERSION: 3.6.0`, `${FIT_VERSION:-3.6.0}`. What is said for a single command (`FIT_VERSION=3.6.0 ./test.sh`)
/// is no default, and neither is what documents and the past say.
fn drifted(path: &str, line: &str, from: &str) -> Option<Range<usize>> {
    if is_doc(path) || is_of_others(path).is_some() {
        return None;
    }
    let mut places = line.match_indices("FIT_VERSION").filter_map(|(at, name)| {
        let end = at + name.len();
        let before = line[..at].trim_end_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
        let rest = &line[end..];
        let is_expansion = before.ends_with("${");
        let value = if is_expansion {
            rest.strip_prefix(':').unwrap_or(rest).strip_prefix(['-', '='])?
        } else {
            let statement = before.trim().trim_end_matches(['"', '\'']).trim_end();
            let rest = rest.trim_start_matches(['"', '\'']).trim_start();
            let value = [":=", "?=", "=", ":"].iter().find_map(|sets| rest.strip_prefix(sets))?;
            STATEMENTS.contains(&statement).then(|| value.trim_start())?
        };
        let value = value.trim_start_matches(['"', '\'']);
        let length =
            value.find(|c: char| !(c.is_ascii_alphanumeric() || ".-_+".contains(c))).unwrap_or(value.len());
        let (version, after) = value.split_at(length);
        let is_version = version.starts_with(|c: char| c.is_ascii_digit()) && version.contains('.');
        let after = after.trim_start_matches(['"', '\'', '}', ',', ';']).trim();
        let is_alone = is_expansion || after.is_empty() || after.starts_with(['#', '}', '/']);
        let start = line.len() - value.len();
        (is_version && is_alone && version != from).then(|| start..start + length)
    });
    places.next()
}

/// What stands before the name of a variable where that is set.
const STATEMENTS: &[&str] =
    &["", "-", "ARG", "ENV", "const", "declare -r", "export", "let", "local", "readonly", "set", "var", "{"];

/// The versions that lines of a file name: the present one, and those that drifted.
fn versions(places: &[VersionLine], text: &str, from: &str, path: &str) -> String {
    let lines: BTreeSet<&str> = places.iter().map(|place| place.was.as_str()).collect();
    let mut named: BTreeSet<&str> = BTreeSet::new();
    for line in text.lines().filter(|line| lines.contains(line)) {
        named.insert(drifted(path, line, from).map_or(from, |place| &line[place]));
    }
    named.into_iter().collect::<Vec<_>>().join(", ")
}

/// Lock files that other tools write; a number in there is not ours.
const OTHERS_LOCKS: &[&str] = &[
    "Cargo.lock",
    "Gemfile.lock",
    "Pipfile.lock",
    "bun.lock",
    "composer.lock",
    "flake.lock",
    "go.sum",
    "npm-shrinkwrap.json",
    "package-lock.json",
    "pnpm-lock.yaml",
    "poetry.lock",
    "uv.lock",
    "yarn.lock",
];

/// Why a line that names the version is not about base images, if it is not.
fn reason_to_leave(path: &str, line: &str, input: &BumpInput<'_>) -> Option<&'static str> {
    if let Some(why) = is_of_others(path) {
        return Some(why);
    }
    let is_ours = path == input.settings
        || input
            .folders
            .iter()
            .any(|folder| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')));
    if is_ours || is_doc(path) {
        return None;
    }
    let line = line.to_ascii_lowercase();
    let words = ["fit-framework", "fit_framework", "fit_version"];
    let names_it =
        words.iter().any(|word| line.contains(word)) || line.contains(&input.name.to_ascii_lowercase());
    (!names_it).then_some("the line does not say that it is about base images")
}

/// Why nothing in a file is about this tree's default, if nothing is.
fn is_of_others(path: &str) -> Option<&'static str> {
    let file = path.rsplit('/').next().unwrap_or(path);
    let lower = file.to_ascii_lowercase();
    if OTHERS_LOCKS.contains(&file) {
        return Some("the lock file of another tool");
    }
    let is_past =
        ["changelog", "changes", "history", "news"].iter().any(|name| lower.split('.').next() == Some(name));
    is_past.then_some("tells of the past")
}

fn is_doc(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    [".md", ".mdx", ".markdown", ".rst", ".adoc"].iter().any(|end| lower.ends_with(end))
}

/// Where a version begins as a word of its own, at or after `start`.
fn find(text: &str, version: &str, start: usize) -> Option<usize> {
    let found = text.get(start..)?.match_indices(version).map(|(at, _)| start + at);
    let mut found = found.filter(|at| stands_alone(&text[..*at], &text[at + version.len()..]));
    found.next()
}

fn stands_alone(before: &str, after: &str) -> bool {
    let mut earlier = before.chars().rev();
    let begins = match earlier.next() {
        // `v1.2.3`, but not `rev1.2.3`.
        Some('v' | 'V') => !earlier.next().is_some_and(char::is_alphanumeric),
        Some('.') => !earlier.next().is_some_and(|c| c.is_ascii_digit()),
        Some(c) => !c.is_alphanumeric(),
        None => true,
    };
    let mut later = after.chars();
    let ends = match later.next() {
        Some('.') => !later.next().is_some_and(|c| c.is_ascii_digit()),
        Some('-') => !is_prerelease(later.as_str()),
        Some('+') => !later.next().is_some_and(char::is_alphanumeric),
        Some(c) => !c.is_alphanumeric(),
        None => true,
    };
    begins && ends
}

/// `rc1`, `SNAPSHOT`, `beta.2`: what makes another version of a version.
fn is_prerelease(suffix: &str) -> bool {
    let word: String = suffix.chars().take_while(|c| c.is_alphanumeric()).collect();
    let word = word.trim_end_matches(|c: char| c.is_ascii_digit()).to_ascii_lowercase();
    let has_number = suffix.chars().nth(word.len()).is_some_and(|c| c.is_ascii_digit());
    match word.as_str() {
        "rc" | "alpha" | "beta" | "snapshot" | "pre" | "preview" | "dev" | "nightly" => true,
        // A number alone: `1.2.3-1`; a milestone: `1.2.3-m2`.
        "" | "m" => has_number,
        _ => false,
    }
}

fn replace(text: &str, from: &str, to: &str) -> String {
    let mut now = String::with_capacity(text.len());
    let mut done = 0;
    while let Some(at) = find(text, from, done) {
        now.push_str(&text[done..at]);
        now.push_str(to);
        done = at + from.len();
    }
    now.push_str(&text[done..]);
    now
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scene_of(folders: &[String]) -> BumpInput<'_> {
        BumpInput {
            name: "fit-framework",
            folders,
            lock_file: "docker/base-images/artifacts.lock",
            settings: ".config/xtask.toml",
        }
    }

    fn bump(texts: &[(&str, &str)], from: &str, to: &str) -> Bump {
        let texts: Vec<Text> = texts
            .iter()
            .map(|(path, text)| Text { path: (*path).to_owned(), text: (*text).to_owned() })
            .collect();
        plan(&texts, from, to, &scene_of(&["docker/base-images".to_owned()]))
    }

    fn told(bump: &Bump) -> String {
        let places = bump
            .places
            .iter()
            .map(|p| format!("{}: {} -> {}", p.at, p.was, p.now.as_deref().unwrap_or("gone")));
        places
            .chain(bump.left.iter().map(|left| format!("{} stays: {}", left.at, left.why)))
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn versions_are_words() {
        for (text, expect) in [
            ("1.2.3", "9.9.9"),
            ("v1.2.3 and V1.2.3, (1.2.3)", "v9.9.9 and V9.9.9, (9.9.9)"),
            ("\"1.2.3\" '1.2.3' =1.2.3;", "\"9.9.9\" '9.9.9' =9.9.9;"),
            ("/v1.2.3/1.2.3.zip", "/v9.9.9/9.9.9.zip"),
            ("fit-framework:1.2.3-alpine", "fit-framework:9.9.9-alpine"),
            ("fit-framework-1.2.3. The end: 1.2.3.", "fit-framework-9.9.9. The end: 9.9.9."),
            (
                "11.2.3 1.2.31 1.2.3.4 0.1.2.3 1x2x3 a1.2.3 1.2.3a rev1.2.3",
                "11.2.3 1.2.31 1.2.3.4 0.1.2.3 1x2x3 a1.2.3 1.2.3a rev1.2.3",
            ),
            (
                "1.2.3-rc1 1.2.3-SNAPSHOT 1.2.3-beta.2 1.2.3-1 1.2.3+b",
                "1.2.3-rc1 1.2.3-SNAPSHOT 1.2.3-beta.2 1.2.3-1 1.2.3+b",
            ),
            ("1.2.3-debian 1.2.3-m", "9.9.9-debian 9.9.9-m"),
            ("版本1.2.3", "版本1.2.3"),
            ("版本 1.2.3。", "版本 9.9.9。"),
        ] {
            assert_eq!(replace(text, "1.2.3", "9.9.9"), expect);
        }
    }

    #[test]
    fn what_is_about_base_images_changes_and_the_rest_is_told() {
        let digest = "0".repeat(64);
        let lock =
            format!("# head\n\n\"1.0.0.zip\" = \"sha256:{digest}\"\n\"1.2.3.zip\" = \"sha256:{digest}\"\n");
        let texts = [
            (".config/xtask.toml", "[base_image]\nversion = \"1.2.3\"\n"),
            ("CHANGELOG.md", "## 1.2.3\n"),
            ("Cargo.lock", "version = \"1.2.3\"\n"),
            ("README.md", "The default is 1.2.3.\r\nAnother line\r\n"),
            ("docker/base-images/artifacts.lock", lock.as_str()),
            ("docker/base-images/build_all.sh", "DEFAULT_FIT_VERSION=\"1.2.3\"\n"),
            ("docker/base-images/debian/Dockerfile", "ARG FIT_VERSION=1.2.3\nFROM debian:12-slim\n"),
            ("src/api/Dockerfile", "FROM r/fit-framework:1.2.3-debian\nRUN pip install x==1.2.3\n"),
            ("src/api/requirements.txt", "x==1.2.3\n"),
        ];
        let bump = bump(&texts, "1.2.3", "1.3.0");
        insta::assert_snapshot!(told(&bump).replace(&digest, "…"), @r#"
        .config/xtask.toml:2: version = "1.2.3" -> version = "1.3.0"
        README.md:1: The default is 1.2.3. -> The default is 1.3.0.
        docker/base-images/artifacts.lock:4: "1.2.3.zip" = "sha256:…" -> gone
        docker/base-images/build_all.sh:1: DEFAULT_FIT_VERSION="1.2.3" -> DEFAULT_FIT_VERSION="1.3.0"
        docker/base-images/debian/Dockerfile:1: ARG FIT_VERSION=1.2.3 -> ARG FIT_VERSION=1.3.0
        src/api/Dockerfile:1: FROM r/fit-framework:1.2.3-debian -> FROM r/fit-framework:1.3.0-debian
        CHANGELOG.md:1 stays: tells of the past
        Cargo.lock:1 stays: the lock file of another tool
        src/api/Dockerfile:2 stays: the line does not say that it is about base images
        src/api/requirements.txt:1 stays: the line does not say that it is about base images
        "#);
        let written: Vec<_> =
            bump.plan.steps.iter().map(|step| format!("{} ({})", step.subject, step.why)).collect();
        assert_eq!(written[0], ".config/xtask.toml (names 1.2.3 in 1 line)");
        let StepKind::WriteFile { contents, .. } = &bump.plan.steps[1].kind else { panic!("writes a file") };
        assert_eq!(contents, "The default is 1.3.0.\r\nAnother line\r\n");
    }

    #[test]
    fn default_versions_that_drifted_are_found_and_changed() {
        for (path, line, drifted_to) in [
            ("docker/build.sh", "DEFAULT_FIT_VERSION=\"3.6.0\"", Some("3.6.0")),
            ("docker/build.sh", "FIT_VERSION=\"${FIT_VERSION:-3.6.0}\"", Some("3.6.0")),
            ("docker/build.sh", "run ${FIT_VERSION:-3.6.0} now", Some("3.6.0")),
            ("docker/build.sh", "export FIT_VERSION='3.6.0' # the default", Some("3.6.0")),
            ("docker/build.sh", ": ${FIT_VERSION:=3.6.0}", Some("3.6.0")),
            ("docker/build.sh", "readonly DEFAULT_FIT_VERSION=3.6.0;", Some("3.6.0")),
            ("Makefile", "FIT_VERSION ?= 3.6.0", Some("3.6.0")),
            ("Makefile", "FIT_VERSION := 3.6.0", Some("3.6.0")),
            ("docker/alpine/Dockerfile", "ARG FIT_VERSION=3.6.0", Some("3.6.0")),
            ("ci.yml", "  FIT_VERSION: \"3.6.0\"", Some("3.6.0")),
            ("ci.yml", "      - FIT_VERSION=3.6.0", Some("3.6.0")),
            ("x.json", "  \"FIT_VERSION\": \"3.6.0\",", Some("3.6.0")),
            ("x.py", "DEFAULT_FIT_VERSION = '3.6.0-rc1'", Some("3.6.0-rc1")),
            (".env.example", "FIT_VERSION=3.6.0", Some("3.6.0")),
            ("docker/build.sh", "DEFAULT_FIT_VERSION=\"3.5.3\"", None),
            ("docker/build.sh", "FIT_VERSION=3.6.0 ./test.sh debian", None),
            ("docker/build.sh", "echo FIT_VERSION=3.6.0", None),
            ("docker/build.sh", "FIT_VERSION=$1", None),
            ("docker/build.sh", "[ \"$FIT_VERSION\" = 3.6.0 ]", None),
            ("docker/build.sh", "FIT_VERSIONS=3.6.0", None),
            ("docker/build.sh", "VERSION=3.6.0", None),
            ("docker/build.sh", "FIT_VERSION 3.6.0", None),
            ("README.md", "FIT_VERSION=3.6.0", None),
            ("CHANGELOG", "FIT_VERSION=3.6.0", None),
        ] {
            let texts = [Text { path: path.to_owned(), text: format!("x\n{line}\n") }];
            let found: Vec<_> =
                drift(&texts, "3.5.3").into_iter().map(|drift| (drift.at, drift.version)).collect();
            let expected = drifted_to.map(|version| (format!("{path}:2"), version.to_owned()));
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{line}");
            let changed = bump(&[(path, line)], "3.5.3", "4.0.0").places;
            match drifted_to {
                Some(version) => assert_eq!(changed[0].now, Some(line.replace(version, "4.0.0")), "{line}"),
                None => {
                    assert!(changed.iter().all(|place| place.was.contains("3.5.3")), "{line}: {changed:?}")
                }
            }
        }
        let both = [("a.sh", "FIT_VERSION=1.2.3\n"), ("b.sh", "FIT_VERSION=1.2.4\n")];
        assert_eq!(told(&bump(&both, "1.2.3", "1.2.3")), "b.sh:1: FIT_VERSION=1.2.4 -> FIT_VERSION=1.2.3");
        let steps = bump(&both, "1.2.3", "2.0.0").plan.steps;
        assert_eq!(steps[1].why.to_string(), "names 1.2.4 in 1 line");
    }

    #[test]
    fn the_same_version_changes_nothing_and_a_named_one_is_told() {
        assert!(bump(&[("README.md", "1.2.3\n")], "1.2.3", "1.2.3").places.is_empty());
        let bump = bump(&[("README.md", "1.2.3\nnext: 1.3.0\n")], "1.2.3", "1.3.0");
        assert_eq!(bump.already, ["README.md:2"]);
    }

    fn version() -> impl Strategy<Value = String> {
        "[0-9]{1,2}(\\.[0-9]{1,2}){1,2}"
    }

    proptest! {
        #[test]
        fn there_and_back_is_where_we_were(
            from in version(),
            to in version(),
            parts in proptest::collection::vec("[a-z .:/=\"\n0-9-]{0,6}", 0..8),
        ) {
            prop_assume!(from != to);
            let text = parts.join(&from);
            prop_assume!(find(&text, &to, 0).is_none());
            prop_assert_eq!(replace(&replace(&text, &from, &to), &to, &from), text);
        }
    }
}
