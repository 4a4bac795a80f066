//! The layers of an image, as an engine tells of how it came to be.

use serde::{Deserialize, Serialize};

/// What one instruction added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerSize {
    /// The instruction, without what builders add around it.
    pub instruction: String,
    /// Bytes.
    pub size: u64,
}

impl LayerSize {
    /// Of what an engine says of a layer: BuildKit marks its own with `# buildkit`, the old builder runs what is none of
    /// `RUN` as `#(nop)` of a shell, and both put build args before a `RUN`.
    pub fn told(created_by: &str, size: u64) -> Self {
        let text = created_by.trim().trim_end_matches("# buildkit").trim();
        let text = match text.strip_prefix("/bin/sh -c #(nop)") {
            Some(rest) => rest.trim().to_owned(),
            None => match text.strip_prefix("/bin/sh -c ") {
                Some(command) => format!("RUN {}", command.trim()),
                None => match text.strip_prefix("RUN ") {
                    Some(command) => format!("RUN {}", without_shell(command)),
                    None => text.to_owned(),
                },
            },
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let instruction = if words.is_empty() { "(imported)".to_owned() } else { words.join(" ") };
        Self { instruction, size }
    }
}

/// `|1 A=b /bin/sh -c make` is `make`.
fn without_shell(command: &str) -> &str {
    let is_with_args = command.starts_with('|');
    match command.split_once("/bin/sh -c ") {
        Some((before, rest)) if before.is_empty() || is_with_args => rest.trim(),
        _ => command,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instruction_is_told_as_it_was_written() {
        for (told, expected) in [
            ("RUN /bin/sh -c make all # buildkit", "RUN make all"),
            ("RUN |1 A=b /bin/sh -c make # buildkit", "RUN make"),
            ("COPY app.txt /app/ # buildkit", "COPY app.txt /app/"),
            ("/bin/sh -c #(nop)  CMD [\"sh\"]", "CMD [\"sh\"]"),
            ("/bin/sh -c apt-get   update", "RUN apt-get update"),
            ("WORKDIR /x", "WORKDIR /x"),
            ("", "(imported)"),
        ] {
            assert_eq!(LayerSize::told(told, 1).instruction, expected, "{told}");
        }
    }
}
