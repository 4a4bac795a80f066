//! EFFECT: trees of any size to measure with: many services, many files, Dockerfiles alone, chains.
//!
//! In: a [`Shape`]. Out: a folder that `plan`, `build-all` and `docker buildx bake` can all read. Every image stands
//! on `scratch`, so that no registry and no base image takes part.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use serde_json::json;

/// How long a chain of images is.
const CHAIN: usize = 10;
/// About the size of a small source file.
const FILE_BYTES: usize = 400;

/// What a tree consists of.
#[derive(Clone, Debug)]
pub struct Shape {
    /// How many services.
    pub services: usize,
    /// How many files each has, its Dockerfile included.
    pub files: usize,
    /// Whether images build on one another.
    pub links: Links,
    /// Begins every image's name.
    pub prefix: String,
}

/// Whether images build on one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// Each stands alone.
    None,
    /// Ten and ten of them are `FROM` the one before.
    Chains,
}

impl Shape {
    /// The image names, with the prefix.
    pub fn images(&self) -> impl Iterator<Item = String> + '_ {
        (0..self.services).map(|index| format!("{}{}", self.prefix, service(index)))
    }

    /// Writes the tree. Trees of one shape differ in every file when `salt` does, so that no builder's cache
    /// takes one for the other.
    ///
    /// # Errors
    /// The file system's.
    pub fn write(&self, root: &Path, salt: &str) -> io::Result<()> {
        for index in 0..self.services {
            let folder = root.join("src").join(service(index));
            fs::create_dir_all(folder.join("app"))?;
            fs::write(folder.join("Dockerfile"), self.dockerfile(index))?;
            for file in 1..self.files {
                let mut text = format!("{salt} {index} {file}\n");
                while text.len() < FILE_BYTES {
                    text.push_str("a line like any other\n");
                }
                fs::write(folder.join(format!("app/file{file:03}.txt")), text)?;
            }
        }
        fs::write(root.join("docker-bake.json"), self.bake_file().to_string())
    }

    fn dockerfile(&self, index: usize) -> String {
        let base = match self.links {
            Links::Chains if !index.is_multiple_of(CHAIN) => format!("{}{}", self.prefix, service(index - 1)),
            _ => "scratch".to_owned(),
        };
        let mut text = format!("FROM {base}\n");
        // Writing to a String cannot fail.
        let _ = if self.files > 1 {
            writeln!(text, "COPY app /app/{index}")
        } else {
            writeln!(text, "LABEL number={index}")
        };
        text
    }

    /// The same images for `docker buildx bake`, under names of its own.
    fn bake_file(&self) -> serde_json::Value {
        let targets: serde_json::Map<String, serde_json::Value> = (0..self.services)
            .map(|index| {
                let name = service(index);
                let target = json!({
                    "context": format!("src/{name}"),
                    "tags": [format!("{}:latest", self.peer_image(index))],
                    "output": ["type=docker"],
                });
                (name, target)
            })
            .collect();
        let names: Vec<&String> = targets.keys().collect();
        json!({ "group": { "default": { "targets": names } }, "target": targets })
    }

    /// The names of what bake builds.
    pub fn peer_images(&self) -> impl Iterator<Item = String> + '_ {
        (0..self.services).map(|index| self.peer_image(index))
    }

    fn peer_image(&self, index: usize) -> String {
        format!("{}peer-{}", self.prefix, service(index))
    }
}

fn service(index: usize) -> String {
    format!("s{index:05}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(root: &Path, file: &str) -> String {
        fs::read_to_string(root.join(file)).unwrap()
    }

    #[test]
    fn makes_services_and_files() {
        let root = tempfile::tempdir().unwrap();
        let shape = Shape { services: 12, files: 3, links: Links::Chains, prefix: "p-".to_owned() };
        shape.write(root.path(), "a").unwrap();
        assert_eq!(text(root.path(), "src/s00000/Dockerfile"), "FROM scratch\nCOPY app /app/0\n");
        assert_eq!(text(root.path(), "src/s00001/Dockerfile"), "FROM p-s00000\nCOPY app /app/1\n");
        assert_eq!(text(root.path(), "src/s00010/Dockerfile"), "FROM scratch\nCOPY app /app/10\n");
        let first = text(root.path(), "src/s00011/app/file002.txt");
        shape.write(root.path(), "b").unwrap();
        assert_ne!(text(root.path(), "src/s00011/app/file002.txt"), first);
        assert!(!root.path().join("src/s00011/app/file003.txt").exists());
        assert_eq!(shape.images().last().unwrap(), "p-s00011");
        assert_eq!(shape.peer_images().last().unwrap(), "p-peer-s00011");
    }
}
