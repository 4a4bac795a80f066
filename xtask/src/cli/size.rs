//! `size`: how large images are, layer by layer, what grew since the build before, and whether that is too much.

use std::collections::BTreeMap;

use super::args::{self, Format};
use super::session::{Session, Typed};
use super::world::World;
use crate::cli::error::{Error, ErrorKind, ExitCode};
use crate::engine::{AnyEngine, EngineError, Store as _};
use crate::model::{Image, ImageId, ImageName, LayerSize};
use crate::plan::Request;
use crate::read::sizes;
use crate::report::sizes::{ImageSizes, SizeReport};
use crate::settings::Layer;

/// `size`
pub(super) async fn run(typed: &Typed<'_>, args: args::Size) -> Result<ExitCode, Error> {
    let layer = args.naming.over(Layer { tag: args.tag, ..Layer::default() });
    let session = Session::open(typed, layer, &args.naming.build_arg)?;
    let world = session.look().await?;
    let engine = world.engine.clone()?;
    let request = Request { only: args.services, no_needs: true, ..Request::of(&[]) };
    let chosen = world.select(&request)?;
    let images: Vec<&Image> =
        world.tree.graph.images().iter().filter(|image| chosen.contains(&image.name)).collect();
    let seen = seen(&world, &engine, images.iter().copied()).await?;
    let mut known = sizes::load(&session.config.root);
    sizes::follow(&mut known, seen.clone());
    // Without it only what grew is not seen.
    let _ = sizes::save(&session.config.root, &known);
    let mut layers: BTreeMap<ImageName, Vec<LayerSize>> =
        seen.into_iter().map(|(name, _, layers)| (name, layers)).collect();
    let sizes = images.iter().filter_map(|image| {
        let layers = layers.remove(&image.name)?;
        let before = known.get(&image.name).map(|known| known.before.clone()).unwrap_or_default();
        let budget = world.tree.checks.get(&image.name).and_then(|wanted| wanted.size_budget);
        let names = (image.name.to_string(), image.reference.familiar());
        Some(ImageSizes::of(names, &layers, &before, budget))
    });
    let report = SizeReport { version: 1, images: sizes.collect() };
    if report.images.is_empty() {
        let what = "none of the images that are meant is here";
        return Err(Error::new(ErrorKind::NotHere, what).hint("`cargo xtask build` makes them"));
    }
    let text = match args.format {
        Format::Human => {
            let stdout = console::Term::stdout();
            report.text(stdout.is_term().then(|| usize::from(stdout.size().1)))
        }
        // Strings, numbers and lists: serialising them cannot fail.
        Format::Json => serde_json::to_string_pretty(&report).unwrap_or_default(),
    };
    super::print(&session.secrets.redact(&text));
    judge(&report, args.check)
}

fn judge(report: &SizeReport, is_gate: bool) -> Result<ExitCode, Error> {
    let over: Vec<&str> =
        report.images.iter().filter(|image| image.over).map(|image| image.name.as_str()).collect();
    if !is_gate || over.is_empty() {
        return Ok(ExitCode::Good);
    }
    let are = if over.len() == 1 { "is larger than its budget" } else { "are larger than their budgets" };
    Err(Error::new(ErrorKind::VerifyFailed, format!("{} {are}", over.join(", ")))
        .hint("the layers above say which instructions it comes from; `size_budget` in service.toml says how much is fine"))
}

/// The layers of those images that are here.
pub(super) async fn seen(
    world: &World,
    engine: &AnyEngine,
    images: impl IntoIterator<Item = &Image>,
) -> Result<Vec<(ImageName, ImageId, Vec<LayerSize>)>, EngineError> {
    let mut seen = Vec::new();
    for image in images {
        let Some(here) = world.observed.find(&image.reference) else { continue };
        if let Some(layers) = engine.history(&image.reference).await? {
            seen.push((image.name.clone(), here.id.clone(), layers));
        }
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_a_gate_only_where_one_is_asked_for() {
        let layer = |size| vec![LayerSize { instruction: "RUN".to_owned(), size }];
        let image = |size, budget| ImageSizes::of(("a".into(), "a:1".into()), &layer(size), &[], budget);
        for (images, is_gate, code) in [
            (vec![image(5, Some(4))], false, 0),
            (vec![image(5, Some(4))], true, 4),
            (vec![image(5, Some(5)), image(5, None)], true, 0),
        ] {
            let judged = judge(&SizeReport { version: 1, images }, is_gate);
            assert_eq!(judged.unwrap_or_else(|error| error.code()).number(), code);
        }
    }
}
