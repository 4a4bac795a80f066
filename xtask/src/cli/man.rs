//! `man`: manual pages, made of what clap knows and of the tables of settings and exit codes. The same program makes the
//! same bytes.

use std::fmt::Write as _;
use std::path::Path;

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::args::{self, Cli};
use super::session::Typed;
use crate::cli::error::{Error, ErrorKind, ExitCode};
use crate::model::suggest::did_you_mean;
use crate::settings::SETTINGS;

/// What the program is called where a name may have no space.
const NAME: &str = "cargo-xtask";
/// Files that people may want to look at, relative to the root.
const FILES: [(&str, &str); 6] = [
    (".config/xtask.toml", "settings of the tree"),
    (".config/xtask.local.toml", "one person's settings, over those"),
    (".env", "values that templates and builds take, made of .env.example"),
    ("target/xtask/runs/", "a record of each run: events, logs, summary and page; `latest` is the newest"),
    ("target/xtask/cache/", "what can be made again"),
    ("target/xtask/engine/", "the private engine of this tree"),
];

/// `man`
pub(super) fn run(typed: &Typed<'_>, args: &args::Man) -> Result<ExitCode, Error> {
    let pages = pages();
    let Some(folder) = &args.output else {
        let wanted = std::iter::once(NAME).chain(args.command.iter().map(String::as_str));
        let wanted = wanted.collect::<Vec<_>>().join("-");
        let Some(page) = pages.iter().find(|page| page.name == wanted) else {
            let short = |page: &Page| page.name.trim_start_matches("cargo-xtask-").to_owned();
            let names: Vec<String> = pages.iter().map(short).collect();
            let typed = args.command.join(" ");
            let meant = did_you_mean(&typed, names.iter().map(String::as_str));
            return Err(Error::new(ErrorKind::Usage, format!("there is no command `{typed}`{meant}"))
                .hint("`cargo xtask --help` lists the commands"));
        };
        super::print(&page.text);
        return Ok(ExitCode::Good);
    };
    write(folder, &pages).map_err(|error| {
        Error::of(ErrorKind::File, &error).context(format!("cannot write pages to {}", folder.display()))
    })?;
    if !typed.global.quiet {
        super::say(&format!("{} pages in {}", pages.len(), folder.display()));
    }
    Ok(ExitCode::Good)
}

fn write(folder: &Path, pages: &[Page]) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for page in pages {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        std::io::Write::write_all(&mut file, page.text.as_bytes())?;
        use std::os::unix::fs::PermissionsExt as _;
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
        file.persist(folder.join(format!("{}.1", page.name)))?;
    }
    Ok(())
}

/// One manual page.
struct Page {
    /// `cargo-xtask-base-images-test`
    name: String,
    /// In roff.
    text: String,
}

/// A page for the program and one for each command, in the order in which help lists them.
fn pages() -> Vec<Page> {
    let mut root = Cli::command();
    root.build();
    let mut all = Vec::new();
    let names: Vec<String> = root
        .get_subcommands()
        .filter(|c| !c.is_hide_set())
        .map(|c| format!("{NAME}-{}", c.get_name()))
        .collect();
    add(&root, NAME, &names, &mut all);
    all
}

fn add(command: &Command, name: &str, others: &[String], all: &mut Vec<Page>) {
    let own: Vec<&Command> =
        command.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help").collect();
    let below = |command: &Command| format!("{name}-{}", command.get_name());
    let related: Vec<String> = if name == NAME {
        others.to_vec()
    } else {
        let parent = name.rsplit_once('-').map(|_| NAME.to_owned());
        parent.into_iter().chain(own.iter().map(|c| below(c))).collect()
    };
    all.push(Page { name: name.to_owned(), text: page(command, name, &related) });
    for sub in own {
        add(sub, &below(sub), others, all);
    }
}

fn page(command: &Command, name: &str, related: &[String]) -> String {
    let is_root = name == NAME;
    // Options that every command takes are told once, on the program's page; subcommands are pages of their own.
    let globals = |argument: clap::Arg| {
        if is_root || !argument.is_global_set() { argument } else { argument.hide(true) }
    };
    let command = command.clone().display_name(name.to_owned()).mut_args(globals);
    let title = name.to_uppercase();
    let man = Man::new(command.clone()).title(title).section("1").manual("cargo xtask").source("").date("");
    let mut bytes = Vec::new();
    // Writing to a Vec cannot fail.
    let _ = man.render_title(&mut bytes);
    let _ = man.render_name_section(&mut bytes);
    let _ = man.render_synopsis_section(&mut bytes);
    let _ = man.render_description_section(&mut bytes);
    if command.get_arguments().any(|argument| !argument.is_hide_set()) {
        let _ = man.render_options_section(&mut bytes);
    }
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    let mut more = Roff::new();
    if !is_root {
        more.control("SH", ["GLOBAL OPTIONS"]);
        more.text([roman("Options that every command takes are on the page "), bold(NAME), roman("(1).")]);
    }
    if let Some(notes) = command.get_after_help() {
        more.control("SH", ["NOTES"]);
        for paragraph in notes.to_string().split('\n').filter(|line| !line.trim().is_empty()) {
            more.control("PP", []);
            more.text([roman(paragraph)]);
        }
    }
    if is_root {
        commands(&mut more, &command);
        environment(&mut more);
        list(&mut more, "FILES", FILES.map(|(file, meaning)| (file.to_owned(), meaning.to_owned())));
    }
    let codes = ExitCode::ALL.map(|code| (code.number().to_string(), code.meaning().to_owned()));
    list(&mut more, "EXIT STATUS", codes);
    more.control("SH", ["SEE ALSO"]);
    let mut named = String::new();
    for (at, name) in related.iter().enumerate() {
        let _ = write!(named, "{}{name}(1)", if at == 0 { "" } else { ", " });
    }
    more.text([roman(if named.is_empty() { format!("{NAME}(1)") } else { named })]);
    text.push_str(&more.render());
    text
}

fn commands(roff: &mut Roff, command: &Command) {
    let own = command.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help");
    let all = own.map(|c| {
        let about = c.get_about().map(ToString::to_string).unwrap_or_default();
        (c.get_name().to_owned(), about)
    });
    list(roff, "COMMANDS", all);
}

fn environment(roff: &mut Roff) {
    let set = SETTINGS.iter().filter(|setting| !setting.variable.is_empty());
    let all = set.map(|setting| {
        let names: Vec<&str> = setting.variables().collect();
        (names.join(", "), setting.meaning.replace('`', ""))
    });
    let others = [
        ("DOCKER_HOST", "The engine to speak to"),
        ("NO_COLOR", "Not empty: no colours"),
        ("CI", "Set, and not to false or 0: lines instead of bars"),
    ];
    let others = others.map(|(name, meaning)| (name.to_owned(), meaning.to_owned()));
    list(roff, "ENVIRONMENT", all.chain(others));
}

fn list(roff: &mut Roff, heading: &str, items: impl IntoIterator<Item = (String, String)>) {
    roff.control("SH", [heading]);
    for (name, meaning) in items {
        roff.control("TP", []);
        roff.text([bold(name)]);
        roff.text([roman(meaning)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_that_says_how_it_ends() {
        let pages = pages();
        let names: Vec<&str> = pages.iter().map(|page| page.name.as_str()).collect();
        for name in [NAME, "cargo-xtask-build-all", "cargo-xtask-base-images-test", "cargo-xtask-man"] {
            assert!(names.contains(&name), "{name}: {names:?}");
        }
        for page in &pages {
            for wanted in [".SH NAME", ".SH SYNOPSIS", "EXIT STATUS", "SEE ALSO", "interrupted"] {
                assert!(page.text.contains(wanted), "{} has no {wanted}", page.name);
            }
            assert!(!page.text.contains("\u{1b}"), "{}", page.name);
        }
        let root = &pages[0].text;
        for wanted in ["XTASK_TAG, IMAGE_TAG", "build\\-all", ".config/xtask.toml"] {
            assert!(root.contains(wanted), "{wanted}: {root}");
        }
        let again: Vec<String> = super::pages().into_iter().map(|page| page.text).collect();
        assert!(pages.iter().map(|page| &page.text).eq(&again), "the same bytes");
    }
}
