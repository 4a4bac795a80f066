//! A Dockerfile's text with other names for some of the images that it names.
//!
//! In: the text, what is asked of it, the names. Out: the same text, line for line, in which the instructions that name
//! one of these images name another one. An engine before 23 knows no named contexts, so the text is the one place in
//! which every builder can be told what a name stands for.

use std::collections::BTreeMap;

use super::command::Command;
use super::lines::Findings;
use super::resolve::{Base, Options};
use super::scope::Globals;
use super::stages::{Stages, parse_index};
use super::words::split_line;
use super::{Dockerfile, Instruction, parse};
use crate::{Platform, Reference};

/// Other names for images, some of them only where `FROM --platform` asks for this platform.
pub type OtherNames = BTreeMap<(Reference, Option<Platform>), Reference>;

/// `text` with `names` instead of the references that are keys there. What is no such reference stays as it is.
pub fn rename(text: &str, options: &Options<'_>, names: &OtherNames) -> String {
    if names.is_empty() {
        return text.to_owned();
    }
    let (file, _) = parse("", text);
    let mut unheard = Findings::default();
    let last_name = file.stages.last().and_then(|stage| stage.name.as_deref());
    let globals = Globals::new(&file, options, options.target.or(last_name), &mut unheard);
    let stages = Stages::new(&file, options, &globals, &mut unheard);
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let mut renamed = String::with_capacity(text.len());
    let mut next = 0;
    for (at, instruction) in file.instructions.iter().enumerate() {
        let Some(changed) = changed(&file, &stages, at, instruction, names) else { continue };
        let begin = index(instruction.line);
        let heredocs: usize =
            instruction.heredocs.iter().map(|heredoc| heredoc.content.matches('\n').count() + 1).sum();
        let end = (index(instruction.end_line) + 1).saturating_sub(heredocs);
        renamed.extend(lines.get(next..begin).unwrap_or_default().iter().copied());
        // Continuations come first, so that a here-document still follows its instruction.
        renamed.push_str(&"\n".repeat(end.saturating_sub(begin + 1)));
        renamed.push_str(&changed);
        renamed.push('\n');
        next = end;
    }
    renamed.extend(lines.get(next..).unwrap_or_default().iter().copied());
    renamed
}

/// 0-based.
fn index(line: u32) -> usize {
    usize::try_from(line).unwrap_or(usize::MAX).saturating_sub(1)
}

/// The text of an instruction that names one of these images.
fn changed(
    file: &Dockerfile,
    stages: &Stages<'_>,
    at: usize,
    instruction: &Instruction,
    names: &OtherNames,
) -> Option<String> {
    let text = instruction.text.trim();
    let split = split_line(text, file.escape);
    let (head, rest) = text.split_at(text.len().checked_sub(split.rest.len())?);
    let other = |written: &str| {
        let is_stage = stages.by_name(written).is_some() || parse_index(written).is_some();
        let reference = written.parse::<Reference>().ok().filter(|_| !is_stage)?;
        Some(names.get(&(reference, None))?.familiar())
    };
    match &instruction.command {
        Command::From(from) => {
            let stage = file.stages.iter().position(|stage| stage.from == at)?;
            let node = stages.nodes.get(stage)?;
            let Base::Image(reference) = &node.base else { return None };
            let of_platform = node
                .platform
                .as_ref()
                .and_then(|platform| names.get(&(reference.clone(), Some(platform.clone()))));
            let name = of_platform.or_else(|| names.get(&(reference.clone(), None)))?.familiar();
            Some(format!("{head}{name}{}", rest.strip_prefix(&from.image)?))
        }
        Command::Onbuild(Ok(trigger))
            if matches!(trigger.command, Command::Transfer(_) | Command::Run(_)) =>
        {
            let (flags, arguments) =
                rest.split_at(rest.len().checked_sub(split_line(rest, file.escape).rest.len())?);
            let changed = with_other_sources(flags, &other);
            (changed != flags).then(|| format!("{head}{changed}{arguments}"))
        }
        Command::Transfer(_) | Command::Run(_) => {
            let changed = with_other_sources(head, &other);
            (changed != head).then(|| changed + rest)
        }
        _ => None,
    }
}

const FROM: &str = "from=";

/// The flags of an instruction with other images behind `--from=` and `from=` of a mount.
fn with_other_sources(flags: &str, other: &dyn Fn(&str) -> Option<String>) -> String {
    let lower = flags.to_ascii_lowercase();
    let (mut changed, mut done) = (String::new(), 0);
    for (at, _) in lower.match_indices(FROM) {
        let is_key = flags[..at].ends_with(['-', ',', '=', '"', '\'']);
        let value = &flags[at + FROM.len()..];
        let written = value.trim_start_matches(['"', '\'']);
        let begin = at + FROM.len() + (value.len() - written.len());
        let end = written.find(|c: char| c.is_whitespace() || matches!(c, ',' | '"' | '\''));
        let written = &written[..end.unwrap_or(written.len())];
        if let Some(name) = other(written).filter(|_| is_key && begin >= done) {
            changed.push_str(&flags[done..begin]);
            changed.push_str(&name);
            done = begin + written.len();
        }
    }
    changed + &flags[done..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Triggers;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let platform = Platform::new("linux", "amd64", None);
        let (build_args, triggers) = (BTreeMap::new(), Triggers::new());
        let options = Options {
            target: None,
            build_args: &build_args,
            platform: &platform,
            build_platform: &platform,
            triggers: &triggers,
        };
        let names = [("base", "base:v2"), ("localhost/x:1", "r.example.com/x:1")]
            .map(|(from, to)| ((from.parse().expect(from), None), to.parse().expect(to)));
        assert_eq!(rename(text, &options, &names.into()), expected, "{text}");
    }

    #[test]
    fn names_change_where_images_are_named_and_nowhere_else() {
        check("FROM base\nRUN base\n", "FROM base:v2\nRUN base\n");
        check("from  --platform=$BUILDPLATFORM base as b", "from  --platform=$BUILDPLATFORM base:v2 as b\n");
        check("FROM base:v1\nFROM base:latest\n", "FROM base:v1\nFROM base:v2\n");
        check("ARG N=localhost\nFROM ${N}/x:1\n", "ARG N=localhost\nFROM r.example.com/x:1\n");
        check(
            "FROM a\nONBUILD COPY  --from=base . base\nOnBuild run --mount=from=base,target=/b cp --from=base\nONBUILD RUN base\n",
            "FROM a\nONBUILD COPY  --from=base:v2 . base\nOnBuild run --mount=from=base:v2,target=/b cp --from=base\nONBUILD RUN base\n",
        );
        check(
            "FROM a AS base\nFROM base\nCOPY --from=base . .\n",
            "FROM a AS base\nFROM base\nCOPY --from=base . .\n",
        );
        check("FROM base AS base\nCOPY --from=0 a b\n", "FROM base:v2 AS base\nCOPY --from=0 a b\n");
        check(
            "FROM a\nCOPY --chown=1 --from=\"base\" base /from=base\n",
            "FROM a\nCOPY --chown=1 --from=\"base:v2\" base /from=base\n",
        );
        check(
            "FROM a\nRUN --mount=type=bind,FROM=base,source=/from=base,target=/b --mount=from=localhost/x:1,target=/c cp --from=base\n",
            "FROM a\nRUN --mount=type=bind,FROM=base:v2,source=/from=base,target=/b --mount=from=r.example.com/x:1,target=/c cp --from=base\n",
        );
    }

    #[test]
    fn a_name_may_be_another_one_for_another_platform() {
        let [arm, amd] = ["arm64", "amd64"].map(|arch| Platform::new("linux", arch, None));
        let (build_args, triggers) = (BTreeMap::new(), Triggers::new());
        let options = Options {
            target: None,
            build_args: &build_args,
            platform: &arm,
            build_platform: &amd,
            triggers: &triggers,
        };
        let base: Reference = "base".parse().expect("a name");
        let [own, other] = ["base:arm", "base:amd"].map(|name| name.parse().expect(name));
        let names = OtherNames::from([((base.clone(), None), own), ((base, Some(amd.clone())), other)]);
        let text = "FROM --platform=$BUILDPLATFORM base AS tools\nFROM base\nCOPY --from=tools a b\n";
        let expected =
            "FROM --platform=$BUILDPLATFORM base:amd AS tools\nFROM base:arm\nCOPY --from=tools a b\n";
        assert_eq!(rename(text, &options, &names), expected);
    }

    #[test]
    fn every_other_line_stays_where_it_is() {
        check(
            "# escape=`\nFROM `\n# why\n  base `\n\n  AS b\n\nRUN x\n",
            "# escape=`\n\n\n\n\nFROM   base:v2   AS b\n\nRUN x\n",
        );
        check(
            "FROM a\nRUN --mount=from=base,target=/b \\\n  cat <<EOF && \\\n  ls\nFROM base\nEOF\nRUN y\n",
            "FROM a\n\n\nRUN --mount=from=base:v2,target=/b   cat <<EOF &&   ls\nFROM base\nEOF\nRUN y\n",
        );
        check("FROM a\r\nCOPY --from=base a b\r\nRUN c\r\n", "FROM a\r\nCOPY --from=base:v2 a b\nRUN c\r\n");
    }
}
