//! Plans the sync-config phase: `.env` brought up to `.env.example`.
//!
//! In: the two texts. Out: at most one file to write, and the keys that only `.env` has. Pure: nothing is read or
//! written here.

use crate::model::{Diagnostic, Phase, Reason, Skipped, Step, StepKind};
use crate::settings::EnvFiles;
use crate::settings::dotenv;

const ENV: &str = ".env";
/// Passwords will be put into it, so it is its owner's alone, whatever the example's mode is.
const NEW_ENV_MODE: u32 = 0o600;

/// What synchronising comes to.
#[derive(Clone, Debug, Default)]
pub struct SyncConfigPlan {
    /// One step, or none.
    pub steps: Vec<Step>,
    /// `.env`, when it lacks nothing.
    pub skipped: Vec<Skipped>,
    /// Keys that only `.env` has, to be reported.
    pub only_in_env: Vec<String>,
}

/// Compares `.env` with `.env.example`. Without an example there is nothing to do.
///
/// # Errors
/// A line of one of the two that is no assignment.
pub fn plan_sync_config(files: &EnvFiles) -> Result<SyncConfigPlan, Diagnostic> {
    let mut plan = SyncConfigPlan::default();
    let Some(example) = &files.example else { return Ok(plan) };
    let synced = dotenv::sync((".env.example", example), (ENV, files.current.as_deref()))?;
    plan.only_in_env = synced.extra;
    if files.current.as_ref() == Some(&synced.text) {
        plan.skipped.push(Skipped::new(Phase::SyncConfig, ENV, Reason::Unchanged));
        return Ok(plan);
    }
    let is_new = files.current.is_none();
    let why = if is_new { Reason::FileMissing } else { Reason::KeysMissing(synced.missing) };
    let kind = StepKind::WriteFile {
        path: ENV.to_owned(),
        contents: synced.text,
        was: files.current.clone(),
        mode: is_new.then_some(NEW_ENV_MODE),
    };
    plan.steps.push(Step::new(Phase::SyncConfig, ENV, kind, why));
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[track_caller]
    fn show(example: Option<&str>, current: Option<&str>) -> String {
        let files = EnvFiles { example: example.map(str::to_owned), current: current.map(str::to_owned) };
        let plan = plan_sync_config(&files).expect("valid");
        let steps = plan.steps.iter().map(|step| match &step.kind {
            StepKind::WriteFile { path, contents, mode, .. } => {
                format!("{} {path} {contents:?} mode {mode:?} ({})", step.id, step.why)
            }
            other => panic!("{other:?}"),
        });
        let skipped =
            plan.skipped.iter().map(|skipped| format!("skip {} ({})", skipped.subject, skipped.why));
        let extra = plan.only_in_env.iter().map(|key| format!("only in .env: {key}"));
        steps.chain(skipped).chain(extra).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn writes_what_is_missing() {
        assert_snapshot!(show(Some("# a\nA=1\n"), None), @r##"sync-config:.env .env "# a\nA=1\n" mode Some(384) (does not exist yet)"##);
        assert_snapshot!(show(Some("# a\nA=1\nB=2\n"), Some("B=9\nMINE=1\n")), @r#"
        sync-config:.env .env "B=9\nMINE=1\n\n# a\nA=1\n" mode None (lacks A)
        only in .env: MINE
        "#);
        assert_snapshot!(show(Some("A=1\n"), Some("A=1\n")), @r"skip .env (unchanged)");
        assert_eq!(show(None, Some("A=1\n")), "", "no example, nothing to do");
        assert_eq!(show(None, None), "");
        let broken = EnvFiles { example: Some("A=1\n".to_owned()), current: Some("A=1\n;x\n".to_owned()) };
        assert_eq!(plan_sync_config(&broken).expect_err("broken").place(), ".env:2:1");
    }
}
