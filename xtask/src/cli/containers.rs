//! `run` and `logs`: what was built, run in a container, and what it prints.
//!
//! The container is docker's own program's, handed our terminal: it knows raw modes, resizes and detach keys. Ours are the
//! image, which is brought up to date first, and the labels, by which a container is found again and removed whatever ends
//! us.

use std::io::IsTerminal as _;
use std::time::Duration;

use super::args;
use super::commands;
use super::interrupt::{self, Interrupts};
use super::pipeline;
use super::serve::{self, Whom};
use super::session::{Changes, Session, Typed};
use crate::cli::error::{Error, ErrorKind, ExitCode};
use crate::engine::compose::Compose;
use crate::engine::{AnyEngine, Containers as _};
use crate::host::{CommandError, HostCommand, ProcessId};
use crate::model::{ContainerId, Image, ImageName, Phase, StepKind, labels};
use crate::read::tree;
use crate::settings::Layer;

/// How long a container may take to end once it was asked to.
const GRACE: Duration = Duration::from_secs(5);

/// `run`
pub(super) async fn run(typed: &Typed<'_>, args: args::Run) -> Result<ExitCode, Error> {
    let build = args::Build {
        services: vec![args.name.clone()],
        tag: args.tag.clone(),
        naming: args.naming.clone(),
        ..args::Build::default()
    };
    let (session, mut request) = commands::building(typed, &build).await?;
    request.phases.push(Phase::Verify);
    let looking = pipeline::look(&session, &request);
    let (lock, (world, planned)) = session.prepare(Changes::unless(args.no_build), looking).await?;
    let engine = world.engine.clone()?;
    let image = world.the_image(&args.name)?.clone();
    if args.no_build {
        if world.observed.find(&image.reference).is_none() {
            let what = format!("{} is not here", image.reference.familiar());
            return Err(Error::new(ErrorKind::NotHere, what)
                .hint(format!("`cargo xtask build {}` makes it", image.name)));
        }
    } else if !pipeline::is_satisfied(&planned.plan) {
        let ended = pipeline::perform(&session, &request, &world, planned).await?;
        match ended.code? {
            ExitCode::Good => {}
            code => return Ok(code),
        }
    }
    // Others may build while it runs.
    drop((lock, world));
    start(&session, &engine, &image, &args).await
}

/// By what a container of ours is found again.
fn of_image(image: &ImageName) -> String {
    format!("{}={image}", labels::RUN_OF)
}

async fn start(
    session: &Session,
    engine: &AnyEngine,
    image: &Image,
    args: &args::Run,
) -> Result<ExitCode, Error> {
    let mut all =
        vec![of_image(&image.name), format!("{}={}", labels::TREE, tree::identity(&session.config.root))];
    let mine = ProcessId::of(std::process::id()).filter(|_| !args.container.detach);
    // One that stays is nobody's leftover.
    let owner = mine.map(|process| format!("{}={process}", labels::OWNER));
    if let Some(owner) = &owner {
        all.extend([owner.clone(), format!("{}=run-{}", labels::RUN, std::process::id())]);
    }
    let docker = words(args, &image.reference.familiar(), &all);
    let docker = engine.variables().iter().fold(docker, |docker, (name, value)| docker.env(name, value));
    let Some(mut interrupts) = Interrupts::listen() else { return judge(docker.hand_over().await) };
    let mut running = Box::pin(docker.hand_over());
    // At a terminal docker hears of Ctrl-C as we do, and hands it on.
    let ended = tokio::select! {
        ended = &mut running => return judge(ended),
        () = interrupts.next() => tokio::time::timeout(GRACE, &mut running).await,
    };
    if let (Err(_), Some(owner)) = (&ended, &owner) {
        for id in engine.containers(owner).await? {
            engine.stop(&id, GRACE).await?;
            engine.remove_container(&id).await?;
        }
    }
    Err(Error::told(ErrorKind::Interrupted))
}

/// `docker run` with what was typed.
fn words(args: &args::Run, image: &str, labels: &[String]) -> HostCommand {
    let how = &args.container;
    let mut docker = HostCommand::new("docker").args(["run", "--pull", "never"]);
    let is_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    docker = match how.detach {
        true => docker.arg("--detach"),
        false if is_terminal => docker.args(["--interactive", "--tty"]),
        false => docker.arg("--interactive"),
    };
    if how.rm || !(how.keep || how.detach) {
        docker = docker.arg("--rm");
    }
    let files: Vec<String> = how.env_file.iter().map(|file| file.display().to_string()).collect();
    let one = |value: &Option<String>| value.iter().cloned().collect::<Vec<String>>();
    for (option, values) in [
        ("--label", labels.to_vec()),
        ("--publish", how.publish.clone()),
        ("--env", how.env.clone()),
        ("--env-file", files),
        ("--volume", how.volume.clone()),
        ("--workdir", one(&how.workdir)),
        ("--user", one(&how.user)),
        ("--entrypoint", one(&how.entrypoint)),
        ("--network", one(&how.net)),
        ("--name", one(&how.called)),
    ] {
        docker = values.into_iter().fold(docker, |docker, value| docker.arg(option).arg(value));
    }
    docker.arg(image).args(args.command.iter().cloned())
}

/// What the container ends with is what we end with.
fn judge(ended: Result<(), CommandError>) -> Result<ExitCode, Error> {
    match ended {
        Ok(()) => Ok(ExitCode::Good),
        Err(CommandError::Failed { code: Some(code), .. }) => {
            Ok(u8::try_from(code).map_or(ExitCode::Unexpected, ExitCode::OfContainer))
        }
        Err(error) => Err(needs_docker(error)),
    }
}

fn needs_docker(error: CommandError) -> Error {
    let is_missing = matches!(&error, CommandError::CannotStart { .. });
    let error = Error::from(error);
    if !is_missing {
        return error;
    }
    error.hint(
        "`apt-get install docker-cli` (docker.io on older systems) has docker's own program, which runs it",
    )
}

/// `logs`
pub(super) async fn logs(typed: &Typed<'_>, args: args::Logs) -> Result<ExitCode, Error> {
    let layer = args.naming.over(Layer { tag: args.tag.clone(), ..Layer::default() });
    let session = Session::open(typed, layer, &args.naming.build_arg)?;
    let looking = async {
        let world = session.look().await?;
        let engine = world.engine.clone()?;
        let image = world.the_image(&args.name)?.clone();
        let newest = newest(&session, &engine, &image.name).await?;
        Ok((world, engine, image, newest))
    };
    let (world, engine, image, newest) = super::interruptible(looking).await?;
    let showing = async {
        let mut further: Vec<String> = args.follow.then(|| "--follow".to_owned()).into_iter().collect();
        further.extend(args.tail.map(|lines| format!("--tail={lines}")));
        if let Some(id) = newest {
            let docker = HostCommand::new("docker").arg("logs").args(further).arg(id.as_str());
            let docker =
                engine.variables().iter().fold(docker, |docker, (name, value)| docker.env(name, value));
            return docker.pass_through().await.map_err(needs_docker);
        }
        let named = [image.name.clone()].into();
        // The plan of starting it says which service of which file it is.
        let served = serve::serve(&session, &world, &engine, Whom::Running(&named), &[serve::Serve::Stop])
            .map_err(|error| {
                error.context(format!("nothing runs `{}`: `cargo xtask run -d {0}`, or", image.name))
            })?;
        for step in served.steps {
            if let StepKind::ComposeDown(call) = step.kind {
                Compose::find(&session.config.root, &call).await?.logs(&further).await?;
            }
        }
        Ok(())
    };
    match interrupt::or_interrupted(showing).await {
        Some(shown) => shown.map(|()| ExitCode::Good),
        None => Err(Error::told(ErrorKind::Interrupted)),
    }
}

/// The container that `run` started last for an image of this tree, if there is any. An engine lists the newest first.
async fn newest(
    session: &Session,
    engine: &AnyEngine,
    image: &ImageName,
) -> Result<Option<ContainerId>, Error> {
    let this_tree = tree::identity(&session.config.root);
    for id in engine.containers(&of_image(image)).await? {
        let state = engine.container(&id).await?;
        if state.is_some_and(|state| state.labels.get(labels::TREE) == Some(&this_tree)) {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::args::{Cli, Command};

    /// What docker is told, without what says whose the container is.
    fn told(typed: &str) -> String {
        let words = crate::cli::intent::as_docker_has_it(
            std::iter::once("xtask").chain(typed.split(' ')).map(Into::into),
        );
        let cli = Cli::try_parse_from(words).expect(typed);
        let Command::Run(args) = cli.command else { panic!("{typed}") };
        super::words(&args, "api:1", &[]).words().join(" ")
    }

    #[test]
    fn it_is_run_as_docker_would() {
        for (typed, expected) in [
            ("run api", "docker run --pull never --interactive --rm api:1"),
            ("run api -d -p 80:8080", "docker run --pull never --detach --publish 80:8080 api:1"),
            ("run api -d --rm", "docker run --pull never --detach --rm api:1"),
            ("run api --keep", "docker run --pull never --interactive api:1"),
            (
                "run -e A=1 -e B -v /a:/b api -- sh -v a:b",
                "docker run --pull never --interactive --rm --env A=1 --env B --volume /a:/b api:1 sh -v a:b",
            ),
            (
                "run api -v/a:/b:ro -v --net host --entrypoint sh",
                "docker run --pull never --interactive --rm --volume /a:/b:ro --entrypoint sh --network host api:1",
            ),
        ] {
            assert_eq!(told(typed), expected, "{typed}");
        }
    }

    #[test]
    fn what_the_container_ends_with_is_passed_on() {
        let failed = |code| CommandError::Failed { command: String::new(), code, last_lines: Vec::new() };
        assert_eq!(judge(Ok(())), Ok(ExitCode::Good));
        assert_eq!(judge(Err(failed(Some(7)))).map(ExitCode::number), Ok(7));
        assert!(judge(Err(failed(None))).is_err());
    }
}
