//! `init`: what has to be written down so that a tree is built as its owners build it. Shows it first, writes it then.

use std::io::IsTerminal as _;

use super::args;
use super::interrupt;
use super::run::{OnInterrupt, Recorded, Run};
use super::session::{Changes, Session, Typed};
use crate::cli::error::{Error, ErrorKind, ExitCode};
use crate::init::gather::gather;
use crate::init::{Proposal, Source, Wanted, propose};
use crate::model::program;
use crate::plan::{Request, explain};
use crate::settings::{Layer, SETTINGS};

/// `init`
pub(super) async fn run(typed: &Typed<'_>, args: args::Init) -> Result<ExitCode, Error> {
    let session = Session::open(typed, Layer::default(), &[])?;
    let may_ask = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    let may_write = !args.dry_run && (args.yes || may_ask);
    let wanted = Wanted {
        thin: args.xtask.map(|source| source.unwrap_or_else(Source::of_this_version)),
        workflow: args.workflow,
        definitions: SETTINGS.iter().any(|setting| setting.key == "definitions"),
    };
    let config = session.config.clone();
    let looking = async move {
        let found = tokio::task::spawn_blocking(move || gather(&config)).await;
        found.map(|found| propose(&found, &wanted)).map_err(|error| Error::of(ErrorKind::Unexpected, &error))
    };
    let (_lock, proposal) = session.prepare(Changes::unless(!may_write), looking).await?;
    super::print(&session.secrets.redact(&text(&proposal)));
    if proposal.plan.steps.is_empty() {
        super::say("nothing to write: all of it stands already");
        return Ok(ExitCode::Good);
    }
    if !may_write {
        if !args.dry_run {
            super::say("nothing was written: --yes writes it");
        }
        return Ok(ExitCode::Good);
    }
    if !args.yes && !interrupt::agreed("Write this? [y/N] ", "nothing was written").await? {
        return Ok(ExitCode::Good);
    }
    let (request, how) = (Request::of(&[]), (Recorded::No, OnInterrupt::Drop));
    let code = Run::start_plan(&session, &request, &proposal.plan, None, how)
        .go_as_planned(proposal.plan)
        .await
        .code?;
    if code == ExitCode::Good {
        super::say(&format!("`{} plan` shows what would be built, and why", program::name()));
    }
    Ok(code)
}

fn text(proposal: &Proposal) -> String {
    let said: String = proposal.said.iter().map(|fact| format!("{fact}\n")).collect();
    format!("{said}\n{}", explain::steps(&proposal.plan, &str::to_owned))
}
