//! `up` and `down`: what compose files run of this tree, started from what was built, and stopped.

use super::args;
use super::commands;
use super::pipeline;
use super::serve::{self, Serve};
use super::session::{Session, Typed};
use crate::cli::error::{Error, ExitCode};
use crate::plan::Request;
use crate::settings::Layer;

/// `up`
pub(super) async fn up(typed: &Typed<'_>, args: args::Up) -> Result<ExitCode, Error> {
    let (session, mut request) = commands::building(typed, &args.build).await?;
    if args.no_build {
        request.phases.clear();
    }
    serving(&session, request, Serve::Start(args.waiting.time())).await
}

/// `down`
pub(super) async fn down(typed: &Typed<'_>, args: args::Down) -> Result<ExitCode, Error> {
    let layer = args.naming.over(Layer { tag: args.tag, ..Layer::default() });
    let session = Session::open(typed, layer, &args.naming.build_arg)?;
    let request = Request { only: args.services, dry_run: args.dry_run, no_needs: true, ..Request::of(&[]) };
    serving(&session, request, Serve::Stop).await
}

/// Does what is asked for, and then this to the services.
pub(super) async fn serving(
    session: &Session,
    mut request: Request,
    serve: Serve,
) -> Result<ExitCode, Error> {
    request.phases.push(serve.phase());
    pipeline::run_with(session, request, |world, request, planned| {
        serve::add(session, world, request, planned, &[serve])
    })
    .await
}
