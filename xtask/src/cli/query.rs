//! The commands that only answer: `status`, `plan`, `inspect`, `history`, `report`. They change nothing but records.

use std::collections::BTreeMap;

use super::args::{self, Format, PlanFormat};
use super::commands::further;
use super::pipeline;
use super::session::{Session, Typed, standpoint};
use crate::cli::error::{Error, ErrorKind, ExitCode};
use crate::model::{Keeps, Network, Phase, Platform, Severity, Triggers};
use crate::plan::Request;
use crate::plan::alias;
use crate::plan::explain::{self, Inputs};
use crate::plan::status::{self, StatusReport};
use crate::report::history as records;
use crate::report::trends::{self, WINDOW};
use crate::settings::env::Env;
use crate::settings::{Layer, parse_build_arg};
use dockerfile::Options;

/// `plan`
pub(super) async fn plan(typed: &Typed<'_>, args: args::PlanArgs) -> Result<ExitCode, Error> {
    let layer = args.naming.over(args.pulling.over(args.building.over(args.tagged.layer())));
    let session = Session::open(typed, layer, &args.naming.build_arg)?
        .built_elsewhere(true, args.building.output.as_ref())?;
    let phases = [&[Phase::Download], &Phase::BUILD_ALL[..]].concat();
    let phases = further(&session, phases, &args.building);
    let request = Request {
        only: args.selection.only,
        skip: args.selection.skip,
        tag_of: args.tagged.word_of("plan"),
        lint: args.building.lint(),
        renew: args.pulling.renewal(),
        ..Request::of(&phases)
    };
    let (world, planned) = match args.format {
        // Which digests an image has is told by a list of all.
        PlanFormat::Bake => pipeline::look_at_all(&session, &request).await?,
        PlanFormat::Text | PlanFormat::Json | PlanFormat::Dot => pipeline::look(&session, &request).await?,
    };
    session.tell_warnings();
    let document =
        |inputs| pipeline::hidden(&session, pipeline::foreseeing(&session, &world, &planned, inputs));
    let text = match args.format {
        PlanFormat::Text => pipeline::plan_text(&session, &world, &planned, &request),
        PlanFormat::Json => explain::json(&document(Inputs::All)),
        PlanFormat::Dot => explain::dot(&document(Inputs::None)),
        PlanFormat::Bake => super::bake::write(&session, &world, &planned)?,
    };
    super::print(&text);
    pipeline::refuse(&session, &world, &planned, &request)?;
    Ok(world.tree.trouble(&request, &planned.selected, &world.render).map_or(ExitCode::Good, ErrorKind::code))
}

/// `status`
pub(super) async fn status(typed: &Typed<'_>, args: args::Status) -> Result<ExitCode, Error> {
    let layer = args.naming.over(args.elsewhere.over(args.tagged.layer()));
    let session = Session::open(typed, layer, &args.naming.build_arg)?.looked_at_elsewhere()?;
    let mut only = args.selection.only;
    only.extend(args.explain.clone());
    // To see how things stand, images are looked at as `verify` does; nothing is planned for them.
    let tag_of = args.tagged.word_of("status");
    let request = Request { only, skip: args.selection.skip, tag_of, ..Request::of(&[Phase::Verify]) };
    let (world, planned) = pipeline::look(&session, &request).await?;
    session.tell_warnings();
    let code = world
        .tree
        .trouble(&request, &planned.selected, &world.render)
        .map_or(ExitCode::Good, ErrorKind::code);
    if let Some(name) = &args.explain {
        for image in world.names().find(name) {
            let assessment = planned.assessments.iter().find(|a| a.name == image.name);
            let text = assessment.map(status::explain).unwrap_or_default();
            super::print(&session.secrets.redact(&text));
        }
        session.tell_missing_engine(&world);
        return Ok(code);
    }
    // Names are given to what an engine keeps.
    let wanted =
        if session.keeps == Keeps::Registry { Vec::new() } else { world.tree.base_images(&planned.selected) };
    let originals = world.tree.originals(session.config.alias_rules());
    let network = session.config.network.unwrap_or(Network::External);
    let inputs = if args.format == Format::Json { Inputs::All } else { Inputs::None };
    let document = pipeline::hidden(&session, pipeline::document(&session, &world, &planned, inputs));
    let report = StatusReport {
        version: 1,
        images: document.images,
        aliases: alias::health(&wanted, &originals, &world.observed, network),
        diagnostics: document.diagnostics,
    };
    let text = match args.format {
        Format::Human => status::text(&report),
        // Strings, numbers and maps with string keys: serialising them cannot fail.
        Format::Json => serde_json::to_string_pretty(&report).unwrap_or_default(),
    };
    super::print(&text);
    session.tell_missing_engine(&world);
    Ok(code)
}

/// `inspect`: a file that cannot be read is an error, the others are still answered.
pub(super) fn inspect(args: &args::Inspect) -> Result<ExitCode, Error> {
    let env = Env::from_process();
    let mut build_args = BTreeMap::new();
    for text in &args.build_arg {
        build_args.extend(parse_build_arg(text, &env).map_err(|why| Error::new(ErrorKind::Usage, why))?);
    }
    let local = Platform::local();
    let platform = args.platform.as_ref().unwrap_or(&local);
    let target = args.target.as_deref();
    let triggers = Triggers::new();
    let options =
        Options { target, build_args: &build_args, platform, build_platform: &local, triggers: &triggers };
    let mut wrong: Option<Error> = None;
    let mut code = ExitCode::Good;
    for path in &args.files {
        let shown = path.to_string_lossy();
        match std::fs::read(path) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                let inspection = dockerfile::inspect(&shown, &text, &options);
                super::print(&serde_json::to_string(&inspection).unwrap_or_default());
                if let (Some(target), true) = (target, inspection.stages.is_empty()) {
                    let error = wrong.take().unwrap_or_else(|| {
                        Error::new(ErrorKind::UnknownName, format!("not every file has a stage `{target}`"))
                    });
                    let said = inspection
                        .diagnostics
                        .iter()
                        .map(|found| format!("{}: {}", found.place(), found.message));
                    wrong = Some(said.fold(error, Error::because));
                } else if inspection.diagnostics.iter().any(|found| found.severity == Severity::Error) {
                    code = ExitCode::SourceInvalid;
                }
            }
            Err(cause) => {
                let error = wrong.take().unwrap_or_else(|| {
                    let what = match args.files.as_slice() {
                        [_] => format!("cannot read {shown}"),
                        _ => "not every file could be read".to_owned(),
                    };
                    Error::new(ErrorKind::SourceInvalid, what).hint("see whether the path is right")
                });
                wrong = Some(error.because(match args.files.as_slice() {
                    [_] => cause.to_string(),
                    _ => format!("{shown}: {cause}"),
                }));
            }
        }
    }
    wrong.map_or(Ok(code), Err)
}

/// The image that a word means in this tree; the word itself where there is none such any more, or no tree to read.
async fn image_meant(typed: &Typed<'_>, word: &str) -> Result<String, Error> {
    let Ok(session) = Session::open(typed, Layer::default(), &[]) else { return Ok(word.to_owned()) };
    let Ok(found) = session.find(word).await else { return Ok(word.to_owned()) };
    match found.as_slice() {
        [] => Ok(word.to_owned()),
        [one] => Ok(one.to_string()),
        [first, ..] => {
            let names = found.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            Err(Error::new(ErrorKind::Usage, format!("`{word}` means several images: {names}"))
                .hint(format!("of one of them: `cargo xtask history {first}`")))
        }
    }
}

/// `history`
pub(super) async fn history(typed: &Typed<'_>, args: &args::History) -> Result<ExitCode, Error> {
    let root = standpoint(typed)?.root;
    let image = match args.name.as_ref().or(args.image.as_ref()) {
        Some(word) => Some(image_meant(typed, word).await?),
        None => None,
    };
    let image = image.as_ref();
    let filter = records::Filter { image: image.cloned(), limit: Some(args.limit.max(WINDOW)) };
    let mut runs = records::list(&root, &filter);
    let trends = trends::trends(&runs);
    runs.truncate(args.limit);
    if args.format == Format::Json {
        super::print(&format!("{:#}", records::json(&runs, &trends)));
        return Ok(ExitCode::Good);
    }
    let stdout = console::Term::stdout();
    let screen = stdout.is_term().then(|| usize::from(stdout.size().1));
    let mut text = records::table(&runs, image.map(String::as_str), screen);
    match image {
        Some(_) => text.extend(trends.iter().map(|trend| format!("\n{}\n", trends::sentence(trend)))),
        None if trends.is_empty() => {}
        None => text.extend(["\n", trends::table(&trends, screen).as_str()]),
    }
    super::print(&text);
    Ok(ExitCode::Good)
}
