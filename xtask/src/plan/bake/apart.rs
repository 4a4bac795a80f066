//! Pure: files of a build context that are not in the tree: an artifact in its cache, a file that is not rendered
//! yet. A builder that reads the tree by itself would miss them, so the instructions that copy them are pointed to a
//! folder beside it.

use crate::model::{BuildSpec, InputKind, Triggers};
use dockerfile::Options;

/// The named context that such files come from.
pub const CONTEXT: &str = "xtask-files";

/// The Dockerfile with `--from` where it copies these files (paths in the context).
///
/// # Errors
/// The line of an instruction that takes more than such files alone, so that it cannot be pointed elsewhere.
pub fn point_to_folder(spec: &BuildSpec, apart: &[&str]) -> Result<String, u32> {
    let (file, _) = dockerfile::parse(&spec.dockerfile, &spec.text);
    let options = Options {
        target: spec.target.as_deref(),
        build_args: &spec.build_args,
        platform: &spec.platform,
        build_platform: &spec.platform,
        triggers: &Triggers::new(),
    };
    let inputs = dockerfile::resolve(&file, &options).inputs;
    let is_apart = |pattern: &str| apart.contains(&pattern.trim_start_matches("./").trim_start_matches('/'));
    let mut lines: Vec<String> = spec.text.split_inclusive('\n').map(str::to_owned).collect();
    let mut found: Vec<&str> = Vec::new();
    for input in inputs.iter().filter(|input| is_apart(&input.pattern)) {
        let is_alone =
            inputs.iter().filter(|other| other.line == input.line).all(|other| is_apart(&other.pattern));
        let line = usize::try_from(input.line).ok().and_then(|line| lines.get_mut(line.checked_sub(1)?));
        let (Some(line), true) = (line, is_alone && matches!(input.kind, InputKind::Copy | InputKind::Add))
        else {
            return Err(input.line);
        };
        if !line.contains(CONTEXT) {
            let begin = line.len() - line.trim_start().len();
            // Both words have a copy's meaning for a file that is neither remote nor a tar.
            let rest = line[begin..].split_once(char::is_whitespace).map_or("", |(_, rest)| rest);
            *line = format!("{}COPY --from={CONTEXT} {rest}", &line[..begin]);
        }
        found.push(&input.pattern);
    }
    let is_found = |path: &&str| found.iter().any(|pattern| pattern.ends_with(*path));
    match apart.iter().all(is_found) {
        true => Ok(lines.concat()),
        // A folder or a pattern takes it along with others.
        false => Err(inputs.first().map_or(0, |input| input.line)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::BuildSecrets;
    use crate::model::{ContextFiles, ImageName, InlineCache, Platform};

    #[track_caller]
    fn check(text: &str, apart: &[&str], expected: Result<&str, u32>) {
        let spec = BuildSpec {
            image: ImageName::new("api"),
            tags: Vec::new(),
            dockerfile: "Dockerfile".to_owned(),
            text: text.to_owned(),
            context: ".".to_owned(),
            files: ContextFiles::default(),
            target: None,
            platform: Platform::new("linux", "amd64", None),
            build_args: [("V".to_owned(), "1.2.3".to_owned())].into(),
            labels: Default::default(),
            network: None,
            secrets: BuildSecrets::default(),
            contexts: Default::default(),
            layouts: Vec::new(),
            output: Default::default(),
            attestations: Default::default(),
            epoch: None,
            no_cache: false,
            cache_from: Vec::new(),
            cache_to: None,
            caches: Default::default(),
            inline_cache: InlineCache::No,
        };
        assert_eq!(point_to_folder(&spec, apart), expected.map(str::to_owned), "{text}");
    }

    #[test]
    fn an_instruction_that_takes_only_such_files_takes_them_elsewhere() {
        check(
            "FROM scratch\nARG V\nCOPY ${V}.zip /a.zip\nCOPY b /\n",
            &["1.2.3.zip"],
            Ok("FROM scratch\nARG V\nCOPY --from=xtask-files ${V}.zip /a.zip\nCOPY b /\n"),
        );
        check(
            "FROM a\n  copy --chmod=600 ./x.conf \\\n  y.conf /etc/\n",
            &["x.conf", "y.conf"],
            Ok("FROM a\n  COPY --from=xtask-files --chmod=600 ./x.conf \\\n  y.conf /etc/\n"),
        );
        check(
            "FROM a\nADD sub/x.zip /\n",
            &["sub/x.zip"],
            Ok("FROM a\nCOPY --from=xtask-files sub/x.zip /\n"),
        );
        check("FROM a\nCOPY x.zip b /\n", &["x.zip"], Err(2));
        check("FROM a\nCOPY . /\n", &["x.zip"], Err(2));
        check("FROM a\nRUN --mount=type=bind,source=x.zip,target=/x true\n", &["x.zip"], Err(2));
    }
}
