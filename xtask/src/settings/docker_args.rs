//! `BUILD_ARGS`: the flags of `docker build` that the old scripts handed on, split as a shell splits words.
//!
//! In: the text. Out: what of it has a meaning here. Pure; a flag that has none is refused by name, since leaving it
//! out would build a different image from the one that was asked for (SPEC section 3).

use std::collections::BTreeMap;

use crate::model::suggest::did_you_mean;

/// What `BUILD_ARGS` asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DockerArgs {
    /// `--no-cache`
    pub no_cache: bool,
    /// `--pull`: external base images are pulled although they are here.
    pub pull: bool,
    /// `--build-arg NAME=VALUE` or `--build-arg NAME`, as written.
    pub build_args: Vec<String>,
    /// `--label NAME=VALUE`
    pub labels: BTreeMap<String, String>,
    /// `--network`: which network instructions run in.
    pub network: Option<String>,
    /// `--target`: the stage to build.
    pub target: Option<String>,
}

const FLAGS: [&str; 6] = ["--no-cache", "--pull", "--build-arg", "--label", "--network", "--target"];

impl DockerArgs {
    /// Reads the flags.
    ///
    /// # Errors
    /// Quotes that do not end, a word that is no flag, a flag that is none of these, a flag without its value.
    pub fn parse(text: &str) -> Result<Self, String> {
        let words = shell_words::split(text).map_err(|error| format!("`{text}` cannot be split: {error}"))?;
        let mut args = Self::default();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let (flag, inline) = match word.split_once('=') {
                Some((flag, value)) => (flag.to_owned(), Some(value.to_owned())),
                None => (word.clone(), None),
            };
            let mut value = || match inline.clone().or_else(|| words.next()) {
                Some(value) if !value.is_empty() => Ok(value),
                _ => Err(format!("`{flag}` needs a value")),
            };
            match flag.as_str() {
                "--no-cache" => args.no_cache = switch(&flag, inline.as_deref())?,
                "--pull" => args.pull = switch(&flag, inline.as_deref())?,
                "--build-arg" => args.build_args.push(value()?),
                "--label" => {
                    let label = value()?;
                    let (name, value) = label.split_once('=').unwrap_or((&label, ""));
                    args.labels.insert(name.to_owned(), value.to_owned());
                }
                "--network" => args.network = Some(value()?),
                "--target" => args.target = Some(value()?),
                _ => return Err(unknown(&flag)),
            }
        }
        Ok(args)
    }
}

/// docker's switches take `=true` and `=false`.
fn switch(flag: &str, value: Option<&str>) -> Result<bool, String> {
    match value {
        None => Ok(true),
        Some(text) => super::parse_bool(text).map_err(|why| format!("{flag}: {why}")),
    }
}

fn unknown(flag: &str) -> String {
    if !flag.starts_with('-') {
        return format!("`{flag}` is no flag; there are {}", FLAGS.join(", "));
    }
    format!("`{flag}` is not taken here{}; there are {}", did_you_mean(flag, FLAGS), FLAGS.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_own_flags_are_taken() {
        let text = "--no-cache --pull=true --build-arg A=1 --build-arg='B=two words' --build-arg C \
                    --label x=y --label \"z=1 2\" --network=host --target builder";
        let args = DockerArgs::parse(text).unwrap();
        assert!(args.no_cache && args.pull);
        assert_eq!(args.build_args, ["A=1", "B=two words", "C"]);
        let labels = [("x", "y"), ("z", "1 2")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(args.labels, labels.into());
        assert_eq!((args.network.as_deref(), args.target.as_deref()), (Some("host"), Some("builder")));
        assert_eq!(DockerArgs::parse(" ").unwrap(), DockerArgs::default());
        assert_eq!(DockerArgs::parse("--no-cache=false").unwrap(), DockerArgs::default());
    }

    #[track_caller]
    fn refuses(text: &str, why: &str) {
        let error = DockerArgs::parse(text).unwrap_err();
        assert!(error.contains(why), "{error}");
    }

    #[test]
    fn everything_else_is_refused_by_name() {
        refuses("--squash", "`--squash` is not taken here; there are --no-cache");
        refuses("--nocache", "did you mean `--no-cache`?");
        refuses("-t x", "`-t` is not taken here");
        refuses(".", "`.` is no flag");
        refuses("--build-arg", "`--build-arg` needs a value");
        refuses("--target=", "`--target` needs a value");
        refuses("--label 'a", "cannot be split");
        refuses("--pull=maybe", "--pull: `maybe` is neither yes nor no");
    }
}
