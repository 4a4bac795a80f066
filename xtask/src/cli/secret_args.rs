//! Build args that look like secrets: they stay in the history of the image, so they are named before anything is built or
//! pushed, or refused (`secret_args`).

use super::session::Session;
use super::world::World;
use crate::cli::error::{Error, ErrorKind};
use crate::events::secrets;
use crate::model::{BuildTarget, Diagnostic, Image, ImageSource, StepKind};
use crate::plan::Planned;
use crate::settings::SecretArgs;

/// One for each Dockerfile with such build args, of which an image is going to be built or pushed.
pub(super) fn diagnostics(world: &World, planned: &Planned) -> Vec<Diagnostic> {
    let mut told: Vec<Diagnostic> = Vec::new();
    for image in world.tree.graph.images() {
        let ImageSource::Build(target) = &image.source else { continue };
        let found = looking_secret(target);
        let (Some((line, first)), true) = (found.first(), is_to_leave(image, planned)) else { continue };
        let names: Vec<String> = found.iter().map(|(_, name)| format!("`{name}`")).collect();
        let (look, value) = match names.as_slice() {
            [_] => ("looks like a secret", "its value stays"),
            _ => ("look like secrets", "their values stay"),
        };
        let message = format!(
            "{} {look}, and as a build arg {value} in the image's history, for everybody who has the image: \
             `RUN --mount=type=secret,id={first}` takes a secret that is in no image",
            names.join(" and ")
        );
        let found = Diagnostic::warning(&target.dockerfile, *line, message);
        if !told.contains(&found) {
            told.push(found);
        }
    }
    told
}

/// `secret_args = "refuse"`: nothing is done where there are any.
///
/// # Errors
/// When there are.
pub(super) fn refuse(session: &Session, world: &World, planned: &Planned) -> Result<(), Error> {
    let found = match session.config.secret_args {
        SecretArgs::Warn => Vec::new(),
        SecretArgs::Refuse => diagnostics(world, planned),
    };
    if found.is_empty() {
        return Ok(());
    }
    let what = "secret_args = \"refuse\": build args look like secrets, so nothing is built or pushed";
    let error = found.iter().fold(Error::new(ErrorKind::ConfigInvalid, what), |error, found| {
        error.because(format!("{}: {}", found.place(), found.message))
    });
    Err(error.hint("`secret_args = \"warn\"` in .config/xtask.toml, or XTASK_SECRET_ARGS=warn, only warns"))
}

/// The build args of an image that look like secrets, in the order of the lines that declare them.
fn looking_secret(target: &BuildTarget) -> Vec<(u32, String)> {
    let mut found: Vec<(u32, String)> = Vec::new();
    for (line, name, default) in dockerfile::declared_args(&target.dockerfile, &target.text) {
        let value = target.build_args.get(&name).or(default.as_ref());
        let is_first = found.iter().all(|(_, known)| *known != name);
        if is_first && value.is_some_and(|value| secrets::looks_secret(&name, value)) {
            found.push((line, name));
        }
    }
    found
}

fn is_to_leave(image: &Image, planned: &Planned) -> bool {
    planned.plan.steps.iter().any(|step| match &step.kind {
        StepKind::Build(spec) => spec.image == image.name,
        StepKind::Push { reference, .. } => image.all_names().any(|name| name == reference),
        _ => false,
    })
}
