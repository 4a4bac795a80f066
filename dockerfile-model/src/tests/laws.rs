//! What holds for any text.

use proptest::prelude::*;

use super::super::{line_of_vertex, parse};
use super::{Resolved, ask};

fn fragment() -> impl Strategy<Value = String> {
    let words = [
        "FROM ",
        "alpine",
        " AS b",
        "b",
        "\n",
        "\n",
        "\n",
        "ARG X=1",
        "$X",
        "${X",
        "${X:-",
        "}",
        "COPY ",
        "--from=",
        "--from=b ",
        "0",
        " /a /b",
        "RUN ",
        "--mount=",
        "type=bind,from=",
        "target=/x",
        "<<EOF",
        "<<-'E'",
        "EOF",
        "\\",
        "\\\n",
        "`",
        "# escape=`",
        "# syntax=",
        "#",
        "\"",
        "'",
        "[",
        "]",
        ",",
        "ENV ",
        "A=b",
        " ",
        "\t",
        "\r",
        "é",
        "\u{a0}",
        "\u{3000}",
        "\u{feff}",
        "ONBUILD ",
        "ADD ",
        "--parents",
        "**",
        "//",
        "%",
        "##",
        "/",
        "!",
        "\0",
    ];
    prop_oneof![4 => prop::sample::select(words.to_vec()).prop_map(str::to_owned), 1 => ".{0,4}"]
}

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(fragment(), 0..60).prop_map(|parts| parts.concat())
}

const SAMPLES: [&str; 3] = [
    "# syntax=s/s\nARG V=1\nFROM a:$V AS one\nRUN x \\\n  y\nFROM b AS two\nCOPY --from=one \\\n  p q\nFROM two\nCOPY <<E /x\nbody\nE\nRUN z\n",
    "FROM a\nARG X\nENV A=$X \\\n B=2\nRUN --mount=from=c,target=/x \\\n one && \\\n two\nONBUILD RUN x\n",
    "FROM a AS x\nONBUILD COPY --from=c p q\nFROM x\nWORKDIR /x\nCMD [\"a\"]\n",
];

proptest! {
    #[test]
    fn never_panics(text in text(), target in prop::option::of("[a-c]?")) {
        let mut question = ask(&text).arg("X", "v");
        question.target = target.as_deref();
        let (resolved, diagnostics) = question.resolve();
        let last = text.lines().count().max(1) as u32;
        prop_assert!(diagnostics.iter().all(|d| d.line <= last), "{diagnostics:?}");
        prop_assert!(resolved.base_images.iter().all(|image| (1..=last).contains(&image.line)));
        let (file, _) = parse("x", &text);
        line_of_vertex(&file, &text);
    }

    #[test]
    fn comments_and_blank_lines_change_nothing(
        sample in 0..SAMPLES.len(),
        at in 0..14usize,
        extra in prop::sample::select(vec!["# FROM c", "", "   ", "\t# x \\"]),
    ) {
        let text = SAMPLES[sample];
        let mut lines: Vec<&str> = text.lines().collect();
        // Not before a directive, which would end it, nor inside a heredoc.
        let at = at.clamp(usize::from(sample == 0), lines.len());
        prop_assume!(!(sample == 0 && (10..=11).contains(&at)));
        lines.insert(at, extra);
        let more = lines.join("\n");
        let (before, _) = ask(text).resolve();
        let (after, _) = ask(&more).resolve();
        let names = |resolved: &Resolved| -> Vec<_> {
            resolved.base_images.iter().map(|image| image.reference.clone()).collect()
        };
        prop_assert_eq!(names(&before), names(&after));
        prop_assert_eq!(before.reachable_text, after.reachable_text);
        prop_assert_eq!(before.declared_args, after.declared_args);
    }
}

#[test]
fn deep_nesting_is_refused_not_overflowed() {
    let deep = "${a:-".repeat(10_000);
    let (_, diagnostics) = ask(&format!("FROM {deep}")).resolve();
    assert!(!diagnostics.is_empty());
    let chain = "ONBUILD ".repeat(8_000);
    ask(&format!("FROM a\n{chain}RUN x")).fails("a:latest", 2, &["ONBUILD"]);
    let many: String =
        (0..1_000).map(|i| format!("FROM scratch AS s{i}\nCOPY --from=s{} a b\n", i + 1)).collect();
    ask(&many).resolve();
    // Each of these may begin a heredoc, as far as nobody looks for its end.
    for line in ["RUN a << b\n", "RUN a <<- b\n", "COPY << b c << d\n"] {
        ask(&format!("FROM a\n{}", line.repeat(40_000))).resolve();
    }
}

#[test]
fn reachable_text_follows_what_matters() {
    let text = "ARG V=1\nARG UNUSED=1\nFROM a:$V AS one\nRUN x\nFROM u AS unreached\nRUN u\nFROM one\nCOPY <<E /x\nbody\nE\nCOPY --from=0 p q\n";
    let base = ask(text).resolve().0.reachable_text;
    for (old, new, differs) in [
        ("UNUSED=1", "UNUSED=2", false),
        ("RUN u\n", "RUN v\n", false),
        ("FROM u AS unreached\nRUN u\n", "", false),
        ("FROM a:", "\n# c\nFROM a:", false),
        ("RUN x\n", "RUN \\\nx\n", false),
        ("V=1", "V=2", true),
        ("RUN x\n", "RUN y\n", true),
        ("body", "other", true),
        ("FROM a:$V", "FROM --platform=arm64 a:$V", true),
        ("--from=0", "--from=1", true),
        ("RUN x\n", "USER x\nRUN x\n", true),
        ("ARG V=1\n", "# escape=`\nARG V=1\n", true),
        ("ARG V=1\n", "# syntax=s/s\nARG V=1\n", true),
    ] {
        let changed = text.replacen(old, new, 1);
        assert_ne!(changed, text, "{old}");
        let after = ask(&changed).resolve().0.reachable_text;
        assert_eq!(after != base, differs, "{old} -> {new}");
    }
}
