//! Pure: what `service.toml` wants of a service's image: how large it may be, and how it is tested.

use serde::Deserialize;

/// Bytes, as people write them: `200 MB`, `1.5GB`, `64 MiB`, `1000000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawSize")]
pub struct ByteSize(pub u64);

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a size, such as `\"200 MB\"`")]
enum RawSize {
    Bytes(u64),
    Text(String),
}

impl TryFrom<RawSize> for ByteSize {
    type Error = String;

    fn try_from(raw: RawSize) -> Result<Self, String> {
        match raw {
            RawSize::Bytes(bytes) => Ok(Self(bytes)),
            RawSize::Text(text) => text.parse(),
        }
    }
}

impl std::str::FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid =
            || format!("`{text}` is no size: expected a number with B, kB, MB, GB, KiB, MiB or GiB");
        let text = text.trim();
        let at = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
        let (number, unit) = text.split_at(at);
        let number: f64 = number.parse().map_err(|_| invalid())?;
        let factor: u32 = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "kb" | "k" => 1000,
            "mb" | "m" => 1_000_000,
            "gb" | "g" => 1_000_000_000,
            "kib" => 1 << 10,
            "mib" => 1 << 20,
            "gib" => 1 << 30,
            _ => return Err(invalid()),
        };
        let bytes = number * f64::from(factor);
        if !bytes.is_finite() || bytes < 1.0 {
            return Err(invalid());
        }
        // Beyond 2^53 nobody counts single bytes.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is positive, and saturates"
        )]
        Ok(Self(bytes as u64))
    }
}

/// How a service is tested: a stage of its Dockerfile, a command in its image, or a command in a stage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawTest")]
pub struct ServiceTest {
    /// The stage; none is the image itself.
    pub stage: Option<String>,
    /// What is run in it; empty leaves it to the stage.
    pub command: Vec<String>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a stage, a list of words, or { stage = \"…\", command = [\"…\"] }")]
enum RawTest {
    Stage(String),
    Command(Vec<String>),
    Table(RawTable),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTable {
    stage: Option<String>,
    #[serde(default)]
    command: Vec<String>,
}

impl TryFrom<RawTest> for ServiceTest {
    type Error = String;

    fn try_from(raw: RawTest) -> Result<Self, String> {
        let test = match raw {
            RawTest::Stage(stage) => Self { stage: Some(stage), command: Vec::new() },
            RawTest::Command(command) => Self { stage: None, command },
            RawTest::Table(RawTable { stage, command }) => Self { stage, command },
        };
        let is_empty = |text: &String| text.trim().is_empty();
        if test.stage.as_ref().is_none_or(is_empty) && test.command.first().is_none_or(is_empty) {
            return Err("a test is a stage, or a command, and this is neither".to_owned());
        }
        Ok(test)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::conf::parse_service_toml;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("200 MB", 200_000_000),
            ("1.5GB", 1_500_000_000),
            ("64 MiB", 64 << 20),
            ("12", 12),
            ("3 kb", 3000),
        ] {
            assert_eq!(text.parse::<ByteSize>().map(|size| size.0), Ok(bytes), "{text}");
        }
        for text in ["", "MB", "-1 MB", "1 XB", "0", "1.2.3 MB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_test_is_a_stage_or_a_command() {
        let read = |text: &str| parse_service_toml("src/a/service.toml", text).map(|read| read.settings);
        let test = |stage: Option<&str>, command: &[&str]| {
            let command = command.iter().map(ToString::to_string).collect();
            Some(ServiceTest { stage: stage.map(str::to_owned), command })
        };
        for (text, expected) in [
            ("test = 'unit'", test(Some("unit"), &[])),
            ("test = ['pytest', '-q']", test(None, &["pytest", "-q"])),
            ("test = { stage = 'dev', command = ['make', 'test'] }", test(Some("dev"), &["make", "test"])),
            ("[test]\ncommand = ['x']", test(None, &["x"])),
            ("", None),
        ] {
            assert_eq!(read(text).map(|settings| settings.test), Ok(expected), "{text}");
        }
        for text in ["test = []", "test = ''", "test = 3", "test = { stag = 'x' }", "size_budget = 'much'"] {
            let error = read(text).expect_err(text);
            assert_eq!((error.file.as_str(), error.line), ("src/a/service.toml", 1), "{text}");
        }
        let settings = read("size_budget = '1 MB'").expect("read");
        assert_eq!(settings.size_budget, Some(ByteSize(1_000_000)));
    }
}
