//! `completions` and `man`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// `completions`
#[derive(Debug, Args)]
#[command(after_help = "\
For bash: cargo xtask completions bash > ~/.cargo-xtask.bash, and the line `. ~/.cargo-xtask.bash` at the end of ~/.bashrc
For zsh: cargo xtask completions zsh > ~/.cargo-xtask.zsh, and `. ~/.cargo-xtask.zsh` after compinit in ~/.zshrc
For fish: cargo xtask completions fish > ~/.config/fish/conf.d/cargo-xtask.fish

The script completes what follows `cargo xtask`, names of services, systems and runs among it, and leaves all other \
commands of cargo to the completion that cargo has. It starts the program that the tree has built, and builds nothing.")]
pub struct Completions {
    /// For which shell
    #[arg(value_name = "SHELL", required_unless_present = "words")]
    pub shell: Option<Shell>,
    /// What the scripts ask: what can stand in place of the last of these words
    #[arg(last = true, hide = true)]
    pub words: Vec<String>,
}

/// A shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// bash 4.4 or newer
    Bash,
    /// zsh
    Zsh,
    /// fish 3 or newer
    Fish,
    /// Elvish
    Elvish,
    /// PowerShell
    Powershell,
}

/// `man`
#[derive(Debug, Args)]
#[command(after_help = "\
To read one: cargo xtask man build-all | man -l -
To have them all: cargo xtask man -o ~/.local/share/man/man1")]
pub struct Man {
    /// The command that the page is about [default: the program]
    #[arg(value_name = "COMMAND", conflicts_with = "output")]
    pub command: Vec<String>,
    /// Write the pages of all commands to this folder
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}
