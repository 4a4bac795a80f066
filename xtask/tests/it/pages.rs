//! The pages for people: every command that they show can be typed, and the one in Chinese knows all old variables.

use std::path::{Path, PathBuf};

use clap::Parser as _;
use clap::error::ErrorKind;
use xtask::cli::args::Cli;
use xtask::settings::SETTINGS;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// All pages: those at the root, and those in `docs/`.
fn pages() -> Vec<(String, String)> {
    let mut pages = Vec::new();
    for folder in ["", "docs/"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".md") {
                let text = std::fs::read_to_string(root().join(folder).join(&name)).unwrap();
                pages.push((format!("{folder}{name}"), text));
            }
        }
    }
    pages.sort();
    pages
}

/// The commands of a page, with their lines: in code spans, and in blocks at the beginning of a line or after `$ `.
fn commands(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut line = 1;
    for (number, part) in text.split("```").enumerate() {
        let is_block = number % 2 == 1;
        let pieces = part.split(if is_block { '\n' } else { '`' });
        for (at, piece) in pieces.enumerate() {
            let typed = piece.strip_prefix("$ ").filter(|_| is_block).unwrap_or(piece);
            if typed.starts_with("cargo xtask ") && (is_block || at % 2 == 1) {
                found.push((line, typed.replace('\n', " ")));
            }
            line += piece.matches('\n').count() + usize::from(is_block);
        }
        // A block's last piece is what stands before its closing fence.
        line -= usize::from(is_block);
    }
    found
}

/// What clap says of a command, if it cannot be typed. `V` stands for a version, `R` for a registry, `N` for a number, `…` for more of the
/// kind, brackets for what may be left out; a pipe or a redirection ends the command.
pub fn refusal(command: &str) -> Option<String> {
    let typed = command.split(" #").next().unwrap_or_default().replace(['[', ']'], "");
    let typed = typed.split(['|', '>', '<']).next().unwrap_or_default();
    let words = match shell_words::split(typed) {
        Ok(words) => words,
        Err(why) => return Some(why.to_string()),
    };
    let words = words.iter().skip(1).filter(|word| !matches!(word.as_str(), "…" | "..."));
    let words = words.map(|word| match word.as_str() {
        "V" => "1.2.3",
        "N" => "3",
        "R" | "REGISTRY" => "registry.example.com/fit",
        "COMMAND" => "plan",
        word => word,
    });
    match Cli::try_parse_from(words) {
        Ok(_) => None,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => None,
        Err(error) if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => None,
        Err(error) => Some(error.to_string().lines().next().unwrap_or_default().to_owned()),
    }
}

#[test]
fn every_command_that_a_page_shows_can_be_typed() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (page, text) in pages() {
        for (line, command) in commands(&text) {
            seen += 1;
            wrong.extend(refusal(&command).map(|why| format!("{page}:{line}: `{command}`: {why}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 100, "only {seen} commands found: the pages are read wrongly");
}

/// The anchor that a heading gets on GitHub: lowercase, no marks, dashes for spaces.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
}

/// The links of a page to files of this repository, with their lines: `[text](path#anchor)`, outside of blocks.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut is_block = false;
    for (number, line) in text.lines().enumerate() {
        is_block ^= line.trim_start().starts_with("```");
        let targets = line.match_indices("](").filter_map(|(at, _)| line[at + 2..].split(')').next());
        let is_ours = |target: &&str| !is_block && !target.contains("://");
        found.extend(targets.filter(is_ours).map(|target| (number + 1, target.to_owned())));
    }
    found
}

/// What is wrong with a link of a page, which lies in a folder.
fn broken(page: &str, folder: &Path, target: &str) -> Option<String> {
    let (path, wanted) = target.split_once('#').unwrap_or((target, ""));
    let file = if path.is_empty() { root().join(page) } else { folder.join(path) };
    if !file.exists() {
        return Some("there is no such file".to_owned());
    }
    if wanted.is_empty() {
        return None;
    }
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let mut anchors = headings.map(|line| anchor(line.trim_start_matches('#').trim()));
    (!anchors.any(|anchor| anchor == wanted)).then(|| "there is no such heading".to_owned())
}

#[test]
fn every_link_of_a_page_leads_somewhere() {
    let mut wrong = Vec::new();
    for (page, text) in pages() {
        let folder = root().join(&page).parent().unwrap().to_owned();
        for (line, target) in links(&text) {
            wrong.extend(
                broken(&page, &folder, &target).map(|why| format!("{page}:{line}: ({target}): {why}")),
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(links("a [b](c.md#d) e\n```\n[f](g)\n```\n[h](https://i)"), [(1, "c.md#d".to_owned())]);
    assert_eq!(anchor("12: engine unreachable, or `x`"), "12-engine-unreachable-or-x");
}

#[test]
fn the_chinese_page_knows_every_old_variable_and_its_flag() {
    let page = std::fs::read_to_string(root().join("README.zh-CN.md")).unwrap();
    for setting in SETTINGS.iter().filter(|setting| !setting.old.is_empty()) {
        let row = page.lines().find(|line| {
            line.split('|').nth(1).is_some_and(|names| names.contains(&format!("`{}`", setting.old)))
        });
        let row = row.unwrap_or_else(|| panic!("README.zh-CN.md has no row for {}", setting.old));
        assert!(row.contains(setting.flag), "README.zh-CN.md: {} is {}: {row}", setting.old, setting.flag);
    }
}

#[test]
fn commands_are_found_where_they_stand() {
    let text =
        "Type `cargo xtask plan` or:\n```\n$ cargo xtask build # all\n  cargo xtask never\n```\n`other`";
    assert_eq!(
        commands(text),
        [(1, "cargo xtask plan".to_owned()), (3, "cargo xtask build # all".to_owned())]
    );
    assert_eq!(refusal("cargo xtask build # all"), None);
    assert!(refusal("cargo xtask biuld").is_some());
}
