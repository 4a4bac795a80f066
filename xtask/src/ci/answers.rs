//! What is asked of the images that were built, and what has to be in the answers.

use std::path::Path;
use std::{fs, io};

use serde::Deserialize;

/// Where a tree says what its services answer on port 8080; a tree without it has none that are asked.
const ANSWERS: &str = ".config/answers.toml";

/// What [`ANSWERS`] has.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answers {
    #[serde(default)]
    answers: Vec<Answer>,
}

/// One question, and what has to be in the answer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answer {
    pub image: String,
    pub path: String,
    pub contains: String,
}

/// What is asked of the images of the tree at `root`.
pub(super) fn of(root: &Path) -> io::Result<Vec<Answer>> {
    match fs::read_to_string(root.join(ANSWERS)) {
        Ok(text) => toml::from_str::<Answers>(&text).map(|file| file.answers).map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_service_that_answers_is_asked() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut answering: Vec<String> = fs::read_dir(root.join("src"))
            .expect("the sample tree")
            .flatten()
            .filter(|service| !service.path().join("dependency.conf").exists())
            .flat_map(|service| images_of(&service.path()))
            .collect();
        answering.sort();
        let mut asked: Vec<String> =
            of(&root).expect("a file").into_iter().map(|asked| asked.image).collect();
        asked.sort();
        asked.dedup();
        assert_eq!(asked, answering);
        assert!(of(Path::new("/nowhere")).expect("none are asked").is_empty());
    }

    fn images_of(service: &Path) -> Vec<String> {
        let folder = service.file_name().expect("a name").to_string_lossy().into_owned();
        match fs::read_to_string(service.join("build-targets.conf")) {
            Ok(text) => text
                .lines()
                .filter(|line| !line.starts_with('#'))
                .filter_map(|line| line.split_whitespace().nth(1))
                .map(|image| format!("golinks-{image}"))
                .collect(),
            Err(_) => vec![format!("golinks-{folder}")],
        }
    }
}
