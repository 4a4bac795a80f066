//! "Did you mean": the nearest known name to one that nobody knows. Pure.

/// The candidate that is nearest to `name`, if one is near enough to be meant.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = name.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&wanted, &candidate.to_lowercase()), candidate))
        // A third of the letters may be wrong: more is another word.
        .filter(|(distance, candidate)| *distance <= name.chars().count().max(candidate.chars().count()) / 3)
        .min()
        .map(|(_, candidate)| candidate)
}

/// `, did you mean …?` to append to a message, or nothing.
pub fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, candidates).map(|candidate| format!(", did you mean `{candidate}`?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_is_near_enough_to_be_meant() {
        let names = ["services", "tag", "registry", "retries"];
        for (typed, expected) in [
            ("servces", Some("services")),
            ("Services", Some("services")),
            ("regsitry", Some("registry")),
            ("tga", Some("tag")),
            ("colour", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, names), expected, "{typed}");
        }
        assert_eq!(did_you_mean("tga", names), ", did you mean `tag`?");
        assert_eq!(did_you_mean("colour", names), "");
    }
}
