//! Pure: a Cargo workspace with one more member, the rest of its manifest byte for byte as it was.

use toml::de::{DeTable, DeValue};

/// The manifest with the member. Where there is none, one is made, and the `packages` that stand in the tree stay out of it.
///
/// # Errors
/// Why somebody has to do it by hand.
pub fn with_member(was: Option<&str>, member: &str, packages: &[String]) -> Result<String, String> {
    let Some(was) = was else {
        let others: Vec<String> = packages
            .iter()
            .filter(|folder| *folder != member)
            .map(|folder| format!("\"{folder}\""))
            .collect();
        let exclude =
            if others.is_empty() { String::new() } else { format!("exclude = [{}]\n", others.join(", ")) };
        return Ok(format!("[workspace]\nresolver = \"3\"\nmembers = [\"{member}\"]\n{exclude}"));
    };
    let table = DeTable::parse(was).map_err(|error| error.message().to_owned())?;
    let Some(workspace) = table.get_ref().get("workspace") else {
        let gap = if was.ends_with('\n') { "" } else { "\n" };
        return Ok(format!("{was}{gap}\n[workspace]\nmembers = [\"{member}\"]\n"));
    };
    let DeValue::Table(workspace) = workspace.get_ref() else {
        return Err("`workspace` is no table".to_owned());
    };
    let Some(members) = workspace.get("members") else {
        return Err("its workspace names no members".to_owned());
    };
    let DeValue::Array(named) = members.get_ref() else { return Err("`members` is no list".to_owned()) };
    let is_member = |glob: &str| {
        let glob = globset::GlobBuilder::new(glob.trim_start_matches("./")).literal_separator(true).build();
        glob.is_ok_and(|glob| glob.compile_matcher().is_match(member))
    };
    if named.iter().any(|item| item.get_ref().as_str().is_some_and(is_member)) {
        return Ok(was.to_owned());
    }
    let span = members.span();
    let list = &was[span.clone()];
    let inner = list.trim_end_matches(']').trim_end();
    let comma = if inner.ends_with([',', '[']) { "" } else { "," };
    let added = if list.contains('\n') {
        let indent: String =
            list.lines().nth(1).unwrap_or("    ").chars().take_while(|c| c.is_whitespace()).collect();
        let indent = if indent.is_empty() { "    ".to_owned() } else { indent };
        format!("{inner}{comma}\n{indent}\"{member}\",\n]")
    } else {
        let space = if inner.ends_with('[') { "" } else { " " };
        format!("{inner}{comma}{space}\"{member}\"]")
    };
    Ok(format!("{}{added}{}", &was[..span.start], &was[span.end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(was: &str, expected: Result<&str, &str>) {
        let found = with_member(Some(was), "xtask", &[]);
        assert_eq!(found.as_deref().map_err(String::as_str), expected, "{was}");
        if let Ok(text) = &found {
            assert_eq!(
                with_member(Some(text), "xtask", &[]).as_ref(),
                Ok(text),
                "a second time changes nothing"
            );
        }
    }

    #[test]
    fn a_member_is_added_once_and_the_rest_stays() {
        check(
            "[workspace]\nmembers = [\"a\"] # ours\n[profile]\n",
            Ok("[workspace]\nmembers = [\"a\", \"xtask\"] # ours\n[profile]\n"),
        );
        check("[workspace]\nmembers = []\n", Ok("[workspace]\nmembers = [\"xtask\"]\n"));
        check(
            "[workspace]\nmembers = [\n  \"a\",\n  \"b\"\n]\n",
            Ok("[workspace]\nmembers = [\n  \"a\",\n  \"b\",\n  \"xtask\",\n]\n"),
        );
        check("[workspace]\nmembers = [\"*\"]\n", Ok("[workspace]\nmembers = [\"*\"]\n"));
        check(
            "[package]\nname = \"a\"\n",
            Ok("[package]\nname = \"a\"\n\n[workspace]\nmembers = [\"xtask\"]\n"),
        );
        check("[workspace]\nresolver = \"3\"\n", Err("its workspace names no members"));
    }

    #[test]
    fn a_new_workspace_leaves_the_packages_of_services_alone() {
        let packages = ["src/api".to_owned(), "xtask".to_owned()];
        let text = with_member(None, "xtask", &packages).expect("a manifest");
        assert_eq!(text, "[workspace]\nresolver = \"3\"\nmembers = [\"xtask\"]\nexclude = [\"src/api\"]\n");
    }
}
