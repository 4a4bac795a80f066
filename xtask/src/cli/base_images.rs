//! `base-images`: builds the base images, and tells which there are.

use serde::Serialize;

use super::args::{BaseImages, BaseImagesBuild, BaseImagesCommand, BaseImagesList, Format, Pulling};
use super::pipeline;
use super::session::{Session, Typed};
use super::sinks;
use super::trials;
use super::world::World;
use crate::base_images::bump::{self, texts};
use crate::cli::error::{Error, ErrorKind, ExitCode};
use crate::model::FailFast;
use crate::model::{self, BaseImageFacts, Image, ImageState, Phase};
use crate::plan::build::Assessment;
use crate::plan::{Renewal, Request, Subject};
use crate::report::resolve::Table;
use crate::report::text::size;
use crate::settings::{DockerArgs, Layer, parse_build_arg};

/// `base-images`
pub(super) async fn run(typed: &Typed<'_>, args: BaseImages) -> Result<ExitCode, Error> {
    match args.command {
        None => build(typed, args.build).await,
        Some(BaseImagesCommand::Build(args)) => build(typed, args).await,
        Some(BaseImagesCommand::List(args)) => super::interruptible(list(typed, args)).await,
        Some(BaseImagesCommand::Bump(args)) => super::bump::run(typed, args).await,
        Some(BaseImagesCommand::Test(args)) => trials::test(typed, args).await,
        Some(BaseImagesCommand::E2e(args)) => trials::e2e(typed, args).await,
        Some(BaseImagesCommand::Publish(args)) => trials::publish(typed, args).await,
        Some(BaseImagesCommand::Clean(args)) => super::clean::base_images::run(typed, args).await,
    }
}

async fn build(typed: &Typed<'_>, args: BaseImagesBuild) -> Result<ExitCode, Error> {
    let mut opened = open(typed, args.layer(), &args.making.build_arg)
        .map_err(|error| sinks::report_unopened(typed, args.reporting.junit.as_deref(), error))?;
    opened = opened.pulling(&args.pulling);
    opened.session = opened.session.reporting(args.reporting);
    let mut phases = vec![Phase::Download, Phase::Prefetch, Phase::Alias, Phase::Build, Phase::Verify];
    if opened.session.config.base_image.push {
        phases.push(Phase::Push);
    }
    opened.session.with_cache(&mut phases);
    opened.session.refuse_caches().await?;
    let request = Request {
        dry_run: args.dry_run,
        fail_fast: if args.fail_fast { FailFast::Yes } else { FailFast::No },
        renew: opened.renew,
        ..request(&opened.session, &phases)
    };
    pipeline::run(&opened.session, &request).await
}

/// What every command about base images starts from.
pub(super) struct Opened {
    /// The settings, `BUILD_ARGS` among them.
    pub session: Session,
    /// `--pull`, on the command line or of `BUILD_ARGS`.
    pub renew: Renewal,
}

impl Opened {
    /// With what the command line says of pulls; `BUILD_ARGS` says more.
    pub fn pulling(mut self, pulling: &Pulling) -> Self {
        if self.renew == Renewal::No {
            self.renew = pulling.renewal();
        }
        self
    }
}

/// Reads the settings as base images have them: `BUILD_ARGS`, two builds at a time.
pub(super) fn open(typed: &Typed<'_>, layer: Layer, build_args: &[String]) -> Result<Opened, Error> {
    let mut session = Session::open(typed, layer, build_args)?;
    let invalid = |why: String| {
        Error::new(ErrorKind::ConfigInvalid, "BUILD_ARGS cannot be taken").because(why).hint(
            "BUILD_ARGS holds flags of `docker build`; everything else has an option of its own: \
             `cargo xtask base-images --help`",
        )
    };
    let docker = DockerArgs::parse(&session.config.base_image.docker_args).map_err(invalid)?;
    for text in &docker.build_args {
        if let Some((name, value)) = parse_build_arg(text, &session.env).map_err(invalid)? {
            session.secrets.add_build_arg(&name, &value);
            session.config.build_args.flags.entry(name).or_insert(value);
        }
    }
    session.config.force |= docker.no_cache;
    session.config.jobs = Some(session.config.base_image.jobs);
    session.display.table = Table::Shown;
    let renew = if docker.pull { Renewal::Always } else { Renewal::No };
    session.config.base_image.docker = docker;
    Ok(Opened { session, renew })
}

/// A request about the base images that the settings select.
pub(super) fn request(session: &Session, phases: &[Phase]) -> Request {
    let settings = &session.config.base_image;
    Request {
        subject: Subject::BaseImages,
        only: settings.only.clone(),
        only_source: settings.only_source.clone(),
        skip: settings.skip.clone(),
        skip_source: settings.skip_source.clone(),
        ..Request::of(phases)
    }
}

/// What `list --format json` prints.
#[derive(Serialize)]
struct Listed {
    version: u32,
    default_version: Option<String>,
    systems: Vec<ListedSystem>,
    /// Default versions elsewhere in the tree that are other ones.
    drift: Vec<ListedDrift>,
}

#[derive(Serialize)]
struct ListedDrift {
    at: String,
    version: String,
}

#[derive(Serialize)]
struct ListedSystem {
    os: String,
    description: Option<String>,
    images: Vec<ListedImage>,
}

#[derive(Serialize)]
struct ListedImage {
    name: String,
    version: String,
    platform: String,
    tags: Vec<String>,
    state: ImageState,
    reason: String,
    id: Option<String>,
    size: Option<u64>,
}

async fn list(typed: &Typed<'_>, args: BaseImagesList) -> Result<ExitCode, Error> {
    let layer = args.systems.over(args.making.over(Layer::default()));
    let session = open(typed, layer, &args.making.build_arg)?.session;
    let world = session.look().await?;
    let request = request(&session, &[Phase::Verify]);
    let planned = pipeline::plan(&session, &world, &request).await?;
    session.tell_warnings();
    let mut listed = listed(&world, &planned.assessments, |image| planned.selected.contains(&image.name));
    if let Some(default) = &world.tree.default_version {
        // What cannot be read drifts nowhere.
        let texts = texts::read(&session.config.root).await.unwrap_or_default();
        let drift = bump::drift(&texts, default).into_iter();
        listed.drift = drift.map(|drift| ListedDrift { at: drift.at, version: drift.version }).collect();
    }
    let images = listed.systems.iter_mut().flat_map(|system| &mut system.images);
    images.for_each(|image| session.secrets.redact_in(&mut image.reason));
    let text = match args.format {
        Format::Human => human(&listed),
        // Strings, numbers and lists of them: serialising them cannot fail.
        Format::Json => serde_json::to_string_pretty(&listed).unwrap_or_default(),
    };
    super::print(&text);
    for diagnostic in model::told(&world.tree.diagnostics(&planned.selected)) {
        super::say(&session.secrets.redact(&diagnostic.to_string()));
    }
    Ok(world.tree.trouble(&request, &planned.selected, &world.render).map_or(ExitCode::Good, ErrorKind::code))
}

fn listed(world: &World, assessments: &[Assessment], is_wanted: impl Fn(&Image) -> bool) -> Listed {
    let mut systems: Vec<ListedSystem> = Vec::new();
    let mut bases: Vec<(&Image, &BaseImageFacts, &Assessment)> = world
        .tree
        .graph
        .images()
        .iter()
        .zip(assessments)
        .filter_map(|(image, assessment)| Some((image, image.base_image()?, assessment)))
        .filter(|(image, ..)| is_wanted(image))
        .collect();
    bases.sort_by(|one, other| (&one.1.os, &one.0.name).cmp(&(&other.1.os, &other.0.name)));
    for (image, facts, assessment) in bases {
        let here = world.observed.find(&image.reference);
        let entry = ListedImage {
            name: image.name.to_string(),
            version: facts.version.clone(),
            platform: image.platform.to_string(),
            tags: image.known_names().map(|(name, _)| name.familiar()).collect(),
            state: assessment.state,
            reason: assessment.reason.to_string(),
            id: here.map(|image| image.id.to_string()),
            size: here.map(|image| image.size),
        };
        match systems.last_mut().filter(|system| system.os == facts.os) {
            Some(system) => system.images.push(entry),
            None => systems.push(ListedSystem {
                os: facts.os.clone(),
                description: facts.description.clone(),
                images: vec![entry],
            }),
        }
    }
    Listed { version: 1, default_version: world.tree.default_version.clone(), systems, drift: Vec::new() }
}

/// Whether its images are not all for one platform.
fn is_of_several(system: &ListedSystem) -> bool {
    system.images.iter().any(|image| image.platform != system.images[0].platform)
}

/// As the old script's list, and each system's images below it.
fn human(listed: &Listed) -> String {
    let width = listed.systems.iter().map(|system| system.os.len()).max().unwrap_or(0).max(12);
    let mut lines = Vec::new();
    for system in &listed.systems {
        let description =
            system.description.as_deref().unwrap_or("(its Dockerfile has no label `description`)");
        lines.push(format!("{:width$} - {description}", system.os));
        for image in &system.images {
            let built = image.size.map(|bytes| format!("{}, ", size(bytes))).unwrap_or_default();
            let platform =
                if is_of_several(system) { format!("  {}", image.platform) } else { String::new() };
            lines.push(format!("{:width$}   {}{platform}", "", image.tags.join(" ")));
            lines.push(format!("{:width$}   {}  ({built}{})", "", image.state, image.reason));
        }
    }
    let count = match listed.systems.len() {
        1 => "1 system".to_owned(),
        many => format!("{many} systems"),
    };
    let default = listed.default_version.as_deref().unwrap_or("none");
    lines.push(format!("{count}, default version {default}"));
    lines.extend(listed.drift.iter().map(|drift| format!("drift: {} says {}", drift.at, drift.version)));
    if !listed.drift.is_empty() {
        lines.push(format!("`cargo xtask base-images bump {default}` makes them {default}"));
    }
    lines.join("\n")
}
