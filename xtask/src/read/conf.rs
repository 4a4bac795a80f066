//! The small files beside a Dockerfile: `dependency.conf`, `build-targets.conf`, `build.conf`, `service.toml`. Pure.
//!
//! In: their texts, rendered. Out: what they say, or the first line that cannot be taken, with its place. What it
//! means for images is the graph's business.

mod checks;
mod service;

use crate::model::suggest::did_you_mean;
use crate::model::{BuildGroup, Diagnostic, Reference};
use crate::settings::dotenv::Dotenv;

pub use checks::{ByteSize, ServiceTest};
pub use service::{ImageEntry, ServiceContext, ServiceFile, ServiceSettings, parse_service_toml};

/// An external image: the service itself, or one more to prefetch.
pub const DEPENDENCY: &str = "dependency.conf";
/// One image a line.
pub const BUILD_TARGETS: &str = "build-targets.conf";
/// `BUILD_PHASE`.
pub const BUILD_CONF: &str = "build.conf";
/// Our own settings of a service.
pub const SERVICE_TOML: &str = "service.toml";

/// `dependency.conf`: an external image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// What it names.
    pub reference: Reference,
    /// 1-based line on which it does.
    pub line: u32,
}

/// Reads `dependency.conf`: its first line that is no comment is an image reference.
///
/// # Errors
/// No such line, or not a reference.
pub fn parse_dependency(file: &str, text: &str) -> Result<Dependency, Diagnostic> {
    let Some(line) = lines(text).next() else {
        return Err(Diagnostic::error(file, 0, "names no image: its first line that is no comment is one"));
    };
    match line.text.parse() {
        Ok(reference) => Ok(Dependency { reference, line: line.number }),
        Err(error) => Err(line.error(file, text, 0, format!("{error}"))),
    }
}

/// One line of `build-targets.conf`: one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetLine {
    /// The stage that is built (`--target`).
    pub stage: String,
    /// The image's name, without prefix, registry and tag.
    pub image: String,
    /// 1-based line.
    pub line: u32,
}

/// Reads `build-targets.conf`: a stage and an image name a line, with white space between them.
///
/// # Errors
/// A line with more or fewer words, an image name that no reference can have, two lines for one image.
pub fn parse_build_targets(file: &str, text: &str) -> Result<Vec<TargetLine>, Diagnostic> {
    let mut targets: Vec<TargetLine> = Vec::new();
    for line in lines(text) {
        let words: Vec<&str> = line.text.split_whitespace().collect();
        let (stage, image) = match words.as_slice() {
            [stage, image] => (*stage, *image),
            [only] => {
                return Err(line.error(
                    file,
                    text,
                    0,
                    format!("expected `stage image-name`, found only `{only}`"),
                ));
            }
            [_, _, third, ..] => {
                let offset = line.text.rfind(third).unwrap_or_default();
                return Err(line.error(
                    file,
                    text,
                    offset,
                    format!("unexpected `{third}`: a line is `stage image-name`"),
                ));
            }
            [] => continue,
        };
        let image_at = line.text.rfind(image).unwrap_or_default();
        check_target_name(image).map_err(|why| line.error(file, text, image_at, why))?;
        if let Some(first) = targets.iter().find(|target| target.image == image) {
            let message = format!("`{image}` is the image of line {} already", first.line);
            return Err(line.error(file, text, image_at, message));
        }
        targets.push(TargetLine { stage: stage.to_owned(), image: image.to_owned(), line: line.number });
    }
    Ok(targets)
}

/// `build.conf`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildConf {
    /// `BUILD_PHASE=foundation|dependent`
    pub group: Option<BuildGroup>,
    /// What is odd, such as a key that is nearly one that is known.
    pub warnings: Vec<Diagnostic>,
    /// Keys that mean nothing here, as scripts of old have them.
    pub unknown: Vec<UnknownKey>,
}

/// A key of `build.conf` that means nothing here, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownKey {
    /// The key.
    pub key: String,
    /// The file, relative to the root.
    pub file: String,
    /// 1-based.
    pub line: u32,
}

/// Reads `build.conf`: `KEY=value` as a shell writes it.
///
/// # Errors
/// A line that is no assignment, a `BUILD_PHASE` that does not exist.
pub fn parse_build_conf(file: &str, text: &str) -> Result<BuildConf, Diagnostic> {
    const PHASE: &str = "BUILD_PHASE";
    let parsed = Dotenv::parse(file, text)?;
    let mut conf = BuildConf { warnings: parsed.warnings, ..BuildConf::default() };
    conf.warnings.extend(
        parsed.without_value.iter().map(|name| {
            Diagnostic::warning(file, 0, format!("`{name}` has no value and counts for nothing"))
        }),
    );
    for entry in parsed.entries {
        let at = |found: Diagnostic| Diagnostic { line: entry.line, column: entry.column, ..found };
        if entry.key != PHASE {
            match did_you_mean(&entry.key, [PHASE]) {
                meant if meant.is_empty() => {
                    conf.unknown.push(UnknownKey { key: entry.key, file: file.to_owned(), line: entry.line });
                }
                meant => {
                    let message = format!("unknown key `{}`{meant}", entry.key);
                    conf.warnings.push(at(Diagnostic::warning(file, 0, message)));
                }
            }
            continue;
        }
        conf.group = match entry.value.trim().to_ascii_lowercase().as_str() {
            "" => None,
            "foundation" => Some(BuildGroup::Foundation),
            "dependent" => Some(BuildGroup::Dependent),
            other => {
                let meant = did_you_mean(other, ["foundation", "dependent"]);
                let message = format!("`{other}` is not a build phase (`foundation` or `dependent`){meant}");
                return Err(at(Diagnostic::error(file, 0, message)));
            }
        };
    }
    Ok(conf)
}

/// The folder in which a file stands, both relative to the root; `.` is the root.
pub fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or(".", |(folder, _)| folder)
}

/// The file or folder `relative` seen from `base`, both inside the tree; `.` is the root. None when it leads out.
pub fn resolve_path(base: &str, relative: &str) -> Option<String> {
    if relative.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in base.split('/').chain(relative.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(if parts.is_empty() { ".".to_owned() } else { parts.join("/") })
}

/// Whether an image's name is a whole one, with a tag or with variables, and so stands as it is.
pub fn is_whole_name(image: &str) -> bool {
    image.contains('$')
        || image.contains('@')
        || image.rsplit('/').next().is_some_and(|end| end.contains(':'))
}

fn check_image_name(image: &str) -> Result<(), String> {
    match image.parse::<Reference>() {
        // What variables come to, and templates, is known later.
        _ if image.contains('$') || image.contains("{{") => Ok(()),
        Ok(_) if image.contains('@') => Err(format!("`{image}` has a digest, which nobody can choose")),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

fn check_target_name(image: &str) -> Result<(), String> {
    match image.parse::<Reference>() {
        Ok(reference) if reference.tag() == Some("latest") && !image.contains([':', '@']) => Ok(()),
        Ok(_) => Err(format!("`{image}` carries a tag or a port: an image name has neither")),
        Err(error) => Err(error.to_string()),
    }
}

/// A line that says something.
struct Line<'a> {
    number: u32,
    /// Where its text begins in the file.
    offset: usize,
    text: &'a str,
}

impl Line<'_> {
    fn error(&self, file: &str, text: &str, within: usize, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(file, 0, message).at_offset(text, self.offset + within)
    }
}

/// The lines without comments and white space around them; those that are then empty are left out.
fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    let mut offset = 0;
    text.split_inclusive('\n').zip(1_u32..).filter_map(move |(whole, number)| {
        let start = offset;
        offset += whole.len();
        let line = whole.strip_prefix('\u{feff}').filter(|_| number == 1).unwrap_or(whole);
        let line_start = start + (whole.len() - line.len());
        let comment = line
            .match_indices('#')
            .map(|(at, _)| at)
            .find(|at| line[..*at].chars().next_back().is_none_or(char::is_whitespace));
        let kept = &line[..comment.unwrap_or(line.len())];
        let indent = kept.len() - kept.trim_start().len();
        let text = kept.trim();
        (!text.is_empty()).then_some(Line { number, offset: line_start + indent, text })
    })
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn a_dependency_is_the_first_line_that_is_no_comment() {
        for (text, expected, line) in [
            ("redis:7-alpine\n", "docker.io/library/redis:7-alpine", 1),
            ("# SafeLine\n\n  # x\n\tquay.io/a/b:1 # why\nother:2\n", "quay.io/a/b:1", 4),
            ("\u{feff}harbor.local:5000/p/x\r\n", "harbor.local:5000/p/x:latest", 1),
        ] {
            let dependency = parse_dependency("d", text).expect(text);
            assert_eq!((dependency.reference.to_string().as_str(), dependency.line), (expected, line));
        }
        let error = |text| parse_dependency("src/db/dependency.conf", text).expect_err(text).to_string();
        let said = [error(""), error("# nothing\n"), error("\n  Redis 7\n"), error("redis:{{V}}")];
        assert_snapshot!(said.join("\n"), @r"
        error: src/db/dependency.conf: names no image: its first line that is no comment is one
        error: src/db/dependency.conf: names no image: its first line that is no comment is one
        error: src/db/dependency.conf:2:3: `Redis 7` is not an image reference: a repository is lowercase letters and digits, separated by `/`, `.`, `_`, `__` or dashes
        error: src/db/dependency.conf:1:1: `redis:{{V}}` is not an image reference: a tag is 1 to 128 letters, digits, `_`, `.` and `-`, and does not begin with `.` or `-`
        ");
    }

    #[test]
    fn build_targets_are_pairs() {
        let targets =
            parse_build_targets("t", "# Target | Image\nbackend ai-backend\n\n init\tai/init # note\r\n")
                .expect("valid");
        let pairs: Vec<_> = targets.iter().map(|t| (t.stage.as_str(), t.image.as_str(), t.line)).collect();
        assert_eq!(pairs, [("backend", "ai-backend", 2), ("init", "ai/init", 4)]);
        assert_eq!(parse_build_targets("t", "# none\n").expect("valid"), []);
        let error = |text| parse_build_targets("b.conf", text).expect_err(text).to_string();
        let said = [
            error("a\n"),
            error("a:b\n"),
            error("a b c\n"),
            error("x a\n  y Bad_\n"),
            error("x a:1\n"),
            error("x a\ny a\n"),
        ];
        assert_snapshot!(said.join("\n"), @r"
        error: b.conf:1:1: expected `stage image-name`, found only `a`
        error: b.conf:1:1: expected `stage image-name`, found only `a:b`
        error: b.conf:1:5: unexpected `c`: a line is `stage image-name`
        error: b.conf:2:5: `Bad_` is not an image reference: a repository is lowercase letters and digits, separated by `/`, `.`, `_`, `__` or dashes
        error: b.conf:1:3: `a:1` carries a tag or a port: an image name has neither
        error: b.conf:2:3: `a` is the image of line 1 already
        ");
    }

    #[test]
    fn build_conf_is_shell_style() {
        let group = |text| parse_build_conf("build.conf", text).expect(text).group;
        assert_eq!(group("BUILD_PHASE=foundation\n"), Some(BuildGroup::Foundation));
        assert_eq!(group("# x\nexport BUILD_PHASE=\"dependent\" # y\r\n"), Some(BuildGroup::Dependent));
        assert_eq!(group("BUILD_PHASE=\n"), None);
        let conf =
            parse_build_conf("build.conf", "BUILD_PHSE=foundation\nOTHER=1\nBUILD_PHASE\n").expect("valid");
        assert_eq!(
            conf.unknown.iter().map(|key| (key.key.as_str(), key.line)).collect::<Vec<_>>(),
            [("OTHER", 2)]
        );
        let mut said: Vec<String> = conf.warnings.iter().map(ToString::to_string).collect();
        for bad in ["BUILD_PHASE=dependant\n", "A=1\n BUILD_PHASE=later\n", "BUILD_PHASE foundation"] {
            said.push(parse_build_conf("build.conf", bad).expect_err(bad).to_string());
        }
        assert_snapshot!(said.join("\n"), @r"
        warning: build.conf: `BUILD_PHASE` has no value and counts for nothing
        warning: build.conf:1:1: unknown key `BUILD_PHSE`, did you mean `BUILD_PHASE`?
        error: build.conf:1:1: `dependant` is not a build phase (`foundation` or `dependent`), did you mean `dependent`?
        error: build.conf:2:2: `later` is not a build phase (`foundation` or `dependent`)
        error: build.conf:1:13: expected `=` after `BUILD_PHASE`; a comment begins with `#`
        ");
    }

    #[test]
    fn folders_resolve_inside_the_tree() {
        for (base, relative, expected) in [
            ("src/api", ".", Some("src/api")),
            ("src/api", "../..", Some(".")),
            ("src/api", "../shared/./x/", Some("src/shared/x")),
            ("src/api", "../../..", None),
            ("src/api", "/etc", None),
            (".", "x", Some("x")),
        ] {
            assert_eq!(resolve_path(base, relative).as_deref(), expected, "{relative} from {base}");
        }
    }
}
