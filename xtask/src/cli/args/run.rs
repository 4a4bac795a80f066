//! What can be typed after `run` and `logs`.

use std::path::PathBuf;

use clap::Args;

use super::Naming;
use crate::settings::Tag;

/// `run`
#[derive(Debug, Args)]
pub struct Run {
    /// A service or an image
    #[arg(value_name = "SERVICE")]
    pub name: String,
    /// The tag of the image
    #[arg(short, long, value_name = "TAG")]
    pub tag: Option<Tag>,
    /// Run what is here, stale or not
    #[arg(long)]
    pub no_build: bool,
    #[command(flatten)]
    pub container: Container,
    #[command(flatten)]
    pub naming: Naming,
    /// What the image's command is replaced by
    #[arg(last = true, value_name = "ARGS")]
    pub command: Vec<String>,
}

/// How a container is run: as `docker run` has it.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Container")]
pub struct Container {
    /// Publish a port; repeat for more
    #[arg(short, long, value_name = "[HOST:]PORT", action = clap::ArgAction::Append)]
    pub publish: Vec<String>,
    /// A variable; without a value it is taken from here; repeat for more
    #[arg(short, long, value_name = "NAME[=VALUE]", action = clap::ArgAction::Append)]
    pub env: Vec<String>,
    /// A file of variables; repeat for more
    #[arg(long, value_name = "FILE", action = clap::ArgAction::Append)]
    pub env_file: Vec<PathBuf>,
    /// Mount a folder or a volume; `-v A:B` is the same; repeat for more
    #[arg(long, value_name = "HERE:THERE", action = clap::ArgAction::Append)]
    pub volume: Vec<String>,
    /// Where the command runs in it
    #[arg(short, long, value_name = "FOLDER")]
    pub workdir: Option<String>,
    /// Who runs it
    #[arg(short, long, value_name = "USER")]
    pub user: Option<String>,
    /// Instead of the image's entrypoint
    #[arg(long, value_name = "PROGRAM")]
    pub entrypoint: Option<String>,
    /// The network that it is in
    #[arg(long, value_name = "NETWORK")]
    pub net: Option<String>,
    /// The container's name
    #[arg(id = "container_name", long = "name", value_name = "NAME")]
    pub called: Option<String>,
    /// Leave it running, and print its ID; `logs` shows what it prints
    #[arg(short, long)]
    pub detach: bool,
    /// Remove it when it ends (the default, but for --detach)
    #[arg(long, overrides_with = "keep")]
    pub rm: bool,
    /// Keep it when it has ended
    #[arg(long, overrides_with = "rm")]
    pub keep: bool,
}

/// `logs`
#[derive(Debug, Args)]
pub struct Logs {
    /// A service or an image
    #[arg(value_name = "SERVICE")]
    pub name: String,
    /// Go on as more is printed
    #[arg(short, long)]
    pub follow: bool,
    /// Only the last lines
    #[arg(short = 'n', long, value_name = "N")]
    pub tail: Option<usize>,
    /// The tag that the compose files are read with
    #[arg(short, long, value_name = "TAG")]
    pub tag: Option<Tag>,
    #[command(flatten)]
    pub naming: Naming,
}
