//! The fake engine's builder. Of a Dockerfile it understands `FROM`, and in `RUN` the words `echo`, `sleep` and
//! `exit` between `&&`; every other instruction just succeeds, and all stages up to the wanted one run.

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::{BuildError, Builder};
use crate::engine::{FakeEngine, OnProgress, Progress};
use crate::model::{BuildSpec, ContextFile, ContextFileKind, Diagnostic, ImageId, LogStream, Unit, sha256};

impl Builder for FakeEngine {
    async fn build(
        &self,
        root: &Path,
        spec: &BuildSpec,
        progress: OnProgress<'_>,
    ) -> Result<ImageId, BuildError> {
        let index = self.begin_build(spec).await?;
        read_context(&root.join(&spec.context), spec)?;
        run(spec, &|base| self.has_base(base), progress).await?;
        Ok(self.end_build(index, spec))
    }

    /// Finds fault with lines that say so: `# check: what is odd`, `# refused: what is wrong`.
    async fn check(&self, _: &Path, spec: &BuildSpec) -> Result<Option<Vec<Diagnostic>>, BuildError> {
        let lines = spec.text.lines().zip(1..);
        let found = lines.filter_map(|(line, at)| {
            let odd =
                line.strip_prefix("# check: ").map(|odd| Diagnostic::warning(&spec.dockerfile, at, odd));
            let refused = || Some(Diagnostic::error(&spec.dockerfile, at, line.strip_prefix("# refused: ")?));
            odd.or_else(refused)
        });
        Ok(Some(found.collect()))
    }
}

/// Reads the context as a real builder does: every file has to be what was listed.
fn read_context(folder: &Path, spec: &BuildSpec) -> Result<(), BuildError> {
    spec.files.entries().iter().try_for_each(|file| {
        read(folder, file).map_err(|what| BuildError::ContextChanged { path: file.path.clone(), what })
    })
}

fn read(folder: &Path, file: &ContextFile) -> Result<(), String> {
    let path = file.source.clone().unwrap_or_else(|| folder.join(&file.path));
    match &file.kind {
        ContextFileKind::File { size, digest } => {
            let content = std::fs::read(&path).map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => "vanished".to_owned(),
                _ => format!("cannot be read: {error}"),
            })?;
            if content.len() as u64 != *size {
                return Err(format!("size {size} became {}", content.len()));
            }
            let found = sha256(&content);
            if found != *digest {
                return Err(format!("content {} became {}", digest.short(), found.short()));
            }
        }
        ContextFileKind::Directory if !path.is_dir() => return Err("is no folder any more".to_owned()),
        ContextFileKind::Directory => {}
        ContextFileKind::Symlink { target } => match std::fs::read_link(&path) {
            Ok(points_to) if points_to.as_os_str() == target.as_str() => {}
            _ => return Err("is no symlink any more".to_owned()),
        },
    }
    Ok(())
}

/// One instruction, on its line of the Dockerfile.
#[derive(Clone, Copy)]
struct Line<'a> {
    number: u32,
    text: &'a str,
}

/// Runs through the Dockerfile.
async fn run(
    spec: &BuildSpec,
    has_base: &(dyn Fn(&str) -> bool + Send + Sync),
    progress: OnProgress<'_>,
) -> Result<(), BuildError> {
    let lines: Vec<Line<'_>> = (1..)
        .zip(spec.text.lines().map(str::trim))
        .filter(|(_, text)| !text.is_empty() && !text.starts_with('#'))
        .map(|(number, text)| Line { number, text })
        .collect();
    let target = spec.target.as_deref();
    if let Some(target) = target
        && !lines.iter().filter_map(|line| from(line.text)).any(|(_, stage)| stage == target)
    {
        return Err(refused(format!("target stage \"{target}\" could not be found")));
    }
    let total = lines.len() as u64;
    let mut stages: Vec<&str> = Vec::new();
    let beginning = Instant::now();
    for (before, line) in (0..).zip(lines) {
        let began = beginning.elapsed();
        let part = |failed: bool| Progress::Part {
            name: format!("[{}/{total}] {}", before + 1, line.text),
            began,
            took: beginning.elapsed() - began,
            cached: false,
            failed,
        };
        if let Some((base, stage)) = from(line.text) {
            if target.is_some() && target == stages.last().copied() {
                break;
            }
            let is_known = base == "scratch" || base.contains('$') || stages.contains(&base);
            if !is_known && !has_base(base) {
                return Err(refused(format!("{base}: not found")));
            }
            stages.push(stage);
        } else if let Some(commands) = line.text.strip_prefix("RUN ") {
            run_line(line, commands, progress).await.inspect_err(|_| progress(part(true)))?;
        }
        progress(part(false));
        let detail = Some(line.text.to_owned());
        progress(Progress::Moved { done: before + 1, total, unit: Unit::Steps, detail });
    }
    Ok(())
}

/// The base and the name of the stage that a line begins.
fn from(line: &str) -> Option<(&str, &str)> {
    let mut words = line.strip_prefix("FROM ")?.split_whitespace().filter(|word| !word.starts_with("--"));
    Some((words.next()?, words.nth(1).unwrap_or_default()))
}

async fn run_line(line: Line<'_>, commands: &str, progress: OnProgress<'_>) -> Result<(), BuildError> {
    let mut last_lines = Vec::new();
    for command in commands.split("&&").map(str::trim) {
        match command.split_once(' ').unwrap_or((command, "")) {
            ("echo", text) => {
                last_lines.push(text.to_owned());
                progress(Progress::Log { stream: LogStream::Stdout, line: text.to_owned() });
            }
            ("sleep", seconds) => {
                tokio::time::sleep(Duration::from_secs(seconds.parse().unwrap_or(0))).await;
            }
            ("exit", code) => {
                let code = code.trim().parse().unwrap_or(0);
                if code != 0 {
                    return Err(BuildError::Failed {
                        instruction: Some(line.text.to_owned()),
                        line: Some(line.number),
                        exit_code: Some(code),
                        cause: format!(
                            "process \"/bin/sh -c {commands}\" did not complete successfully: exit code: {code}"
                        ),
                        last_lines,
                    });
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The build fails before any instruction runs.
fn refused(cause: String) -> BuildError {
    BuildError::Failed { instruction: None, line: None, exit_code: None, cause, last_lines: Vec::new() }
}
