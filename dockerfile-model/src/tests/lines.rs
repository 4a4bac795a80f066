//! Directives, continuations, comments, heredocs, keywords.

use super::super::parse;
use super::ask;

#[test]
fn lines_and_comments() {
    ask("FROM alpine").gives("alpine:latest");
    ask("from alpine").gives("alpine:latest");
    ask("  \t FROM\t alpine  \n").gives("alpine:latest");
    ask("\u{feff}FROM alpine\r\nRUN true\r\n").gives("alpine:latest");
    ask("# c\n\n  # c\nFROM alpine # no comment\n").fails("alpine:latest", 4, &["FROM takes"]);
    ask("FROM \\\n  # c\n\n\\\nalpine:\\\n3\n").gives("alpine:3");
    ask("FROM alpine \\\n# FROM busybox\nAS x\n").gives("alpine:latest");
    ask("FROM alpine\nRUN a \\\n\nFROM busybox\n").gives("alpine:latest");
    ask("FROM alpine\nRUN a \\\\\nFROM busybox\n").gives("busybox:latest");
    ask("FROM alpine\nRUN a \\ \t\nFROM busybox\n").gives("alpine:latest");
    ask("FROM alpine\n# c \\\nFROM busybox\n").gives("busybox:latest");
    ask("FROM alpine\\").gives("alpine:latest");
}

#[test]
fn escape_directive() {
    ask("# escape=`\nFROM alp`\nine\nCOPY a\\\\ c:\\\\x\n").gives("alpine:latest");
    ask("#ESCAPE = ` \nFROM alp`\nine").gives("alpine:latest");
    ask("# c\n# escape=`\nFROM alp`").fails("", 3, &["FROM alp`"]);
    ask("\n# escape=`\nFROM busybox `\n").fails("busybox:latest", 3, &["FROM takes"]);
    ask("# syntax=a/b\n# escape=`\nFROM alp`\nine").gives("a/b:latest alpine:latest");
    ask("# escape=x\nFROM alpine").fails("alpine:latest", 1, &["escape", "x"]);
    ask("# escape=`\n# escape=`\nFROM alpine").fails("alpine:latest", 2, &["escape", "twice"]);
}

#[test]
fn syntax_directive() {
    for text in [
        "# syntax=docker/dockerfile:1\nFROM scratch",
        "#syntax=docker/dockerfile:1 with arguments\nFROM scratch",
        "#!/usr/bin/x\n# Syntax = docker/dockerfile:1\nFROM scratch",
        "\u{feff}# syntax=docker/dockerfile:1\r\nFROM scratch",
        "# check=skip=all\n# syntax=docker/dockerfile:1\nFROM scratch",
    ] {
        ask(text).gives("docker/dockerfile:1");
    }
    for text in [
        "# a comment\n# syntax=docker/dockerfile:1\nFROM scratch",
        "\n# syntax=docker/dockerfile:1\nFROM scratch",
        "FROM scratch\n# syntax=docker/dockerfile:1",
        "# unknown=x\n# syntax=docker/dockerfile:1\nFROM scratch",
        " # syntax=docker/dockerfile:1\nFROM scratch",
    ] {
        ask(text).gives("");
    }
    for (text, line) in
        [("// syntax=a/b:1\nother = language", 1), ("{\"syntax\": \"a/b:1\"}", 1), ("#!x\n//syntax=a/b:1", 2)]
    {
        let (file, _) = parse("x", text);
        assert_eq!(file.syntax.map(|syntax| (syntax.value, syntax.line)), Some(("a/b:1".to_owned(), line)));
    }
    ask("# syntax=Nope\nFROM alpine").fails("alpine:latest", 1, &["syntax", "Nope"]);
    ask("# syntax=a/b\nFROM alpine").arg("BUILDKIT_SYNTAX", " c/d:2 x").gives("c/d:2 alpine:latest");
}

#[test]
fn heredocs() {
    ask("FROM alpine\nRUN <<EOF\nFROM busybox\nEOF\n").gives("alpine:latest");
    ask("FROM alpine\nRUN <<-EOF\nFROM busybox\n\t\tEOF\n").gives("alpine:latest");
    ask("FROM alpine\nRUN <<EOF\n\tEOF\nFROM busybox\nEOF\n").gives("alpine:latest");
    ask("FROM alpine\nRUN <<'EOF' <<\"B\"\nFROM a\nEOF\nFROM b\nB\nFROM c\n").gives("c:latest");
    ask("FROM alpine\nCOPY <<A <<B /x\nFROM a\nA\nFROM b\nB\n").gives("alpine:latest");
    ask("FROM alpine\nRUN cat << EOF\nFROM busybox\nEOF\n").gives("alpine:latest");
    ask("FROM alpine\nRUN 3<<EOF cat\r\nFROM busybox\r\nEOF\r\n").gives("alpine:latest");
    ask("FROM alpine\nONBUILD RUN <<EOF\nFROM busybox\nEOF\n").gives("alpine:latest");
    // None of these is one.
    ask("FROM alpine\nRUN cat <<<EOF\nFROM busybox\n").gives("busybox:latest");
    ask("FROM alpine\nRUN [\"cat\", \"<<EOF\"]\nFROM busybox\n").gives("busybox:latest");
    ask("FROM alpine\nCMD cat <<EOF\nFROM busybox\n").gives("busybox:latest");
    ask("FROM alpine\nRUN echo '<<EOF'\nFROM busybox\n").gives("busybox:latest");
    ask("FROM alpine\nRUN echo \\<<EOF\nFROM busybox\n").gives("busybox:latest");
    ask("FROM alpine\nRUN echo it's <<EOF\nFROM busybox\n").gives("busybox:latest");
    ask("FROM alpine\nRUN x=$((1<<2))\nFROM busybox\n").gives("busybox:latest");
    // Without an end the front end gives up; what follows still counts.
    ask("FROM alpine\nRUN <<EOF\nfoo\nFROM busybox\n").fails("busybox:latest", 2, &["EOF", "no end"]);
    ask("FROM alpine\nCOPY a <<EOF\nEOF\n").fails("alpine:latest", 2, &["heredoc"]);
}

#[test]
fn what_the_front_end_refuses() {
    ask("").fails("", 1, &["no instruction"]);
    ask("# c\n").fails("", 1, &["no instruction"]);
    ask("ARG X=1\n").fails("", 1, &["no FROM"]);
    ask("FROM alpine\nRNU true\n").fails("alpine:latest", 2, &["RNU", "did you mean `RUN`?"]);
    ask("FROM alpine\n<html>\nCOPY --from=busybox a b\n").fails(
        "alpine:latest busybox:latest",
        2,
        &["<html>"],
    );
    ask("RUN true\nFROM alpine\n").fails("alpine:latest", 1, &["RUN stands before the first FROM"]);
    ask("FROM alpine AS 1x\n").fails("alpine:latest", 1, &["1x"]);
    ask("FROM alpine AS\n").fails("alpine:latest", 1, &["FROM takes"]);
    ask("FROM\n").fails("", 1, &["FROM takes"]);
    ask("FROM a AS x y\nFROM b\nCOPY --from=x p q").fails("a:latest b:latest", 1, &["FROM takes"]);
    ask("FROM --form=x alpine\n").fails("alpine:latest", 1, &["--form"]);
    ask("FROM alpine\nCOPY --form=x a b\n").fails("alpine:latest", 2, &["--form", "did you mean `--from`?"]);
    ask("FROM alpine\nCOPY --link=maybe a b\n").fails("alpine:latest", 2, &["maybe"]);
    ask("FROM alpine\nCOPY --chown=a --chown=b c d\n").fails("alpine:latest", 2, &["twice"]);
    ask("FROM alpine\nCOPY --chmod=9 c d\n").fails("alpine:latest", 2, &["octal"]);
    ask("FROM alpine\nADD --checksum=sha256:1 c d\n").fails("alpine:latest", 2, &["checksum"]);
    ask("FROM alpine\nCOPY a\n").fails("alpine:latest", 2, &["destination"]);
    ask("FROM alpine\nCOPY [\"a\", 1]\n").fails("alpine:latest", 2, &["strings"]);
    ask("FROM alpine\nENV a\n").fails("alpine:latest", 2, &["ENV"]);
    ask("FROM alpine\nENV a=b c\n").fails("alpine:latest", 2, &["`c`"]);
    ask("FROM alpine\nENV =b\n").fails("alpine:latest", 2, &["blank"]);
    ask("FROM alpine\nLABEL a=\"b\n").fails("alpine:latest", 2, &["LABEL", "double quote"]);
    ask("FROM alpine\nSHELL /bin/sh\n").fails("alpine:latest", 2, &["JSON"]);
    ask("FROM alpine\nHEALTHCHECK never\n").fails("alpine:latest", 2, &["never"]);
    ask("FROM alpine\nONBUILD FROM x\n").fails("alpine:latest", 2, &["FROM"]);
    ask("FROM alpine\nRUN --mount=type=bnd,target=/x true\n").fails("alpine:latest", 2, &["bnd"]);
    ask("FROM alpine\nRUN --mount=tagret=/x true\n").fails("alpine:latest", 2, &["tagret"]);
    ask("FROM alpine\nRUN --mount=target=/ true\n").fails("alpine:latest", 2, &["`/`"]);
    ask(&format!("FROM alpine\nRUN {}\n", "x".repeat(70_000))).fails("alpine:latest", 2, &["65535"]);
}

#[test]
fn where_instructions_stand() {
    let text = "# c\nFROM alpine AS b\n\nRUN a \\\n # c\n  b\nCOPY <<E /x\nbody\nE\nUSER x\n";
    let (file, diagnostics) = parse("x", text);
    assert_eq!(diagnostics, []);
    let places: Vec<_> = file.instructions.iter().map(|i| (i.keyword.as_str(), i.line, i.end_line)).collect();
    assert_eq!(places, [("FROM", 2, 2), ("RUN", 4, 6), ("COPY", 7, 9), ("USER", 10, 10)]);
    assert_eq!(file.instructions[1].text, "RUN a   b");
    assert_eq!(file.instructions[2].heredocs[0].content, "body\n");
    assert_eq!(file.stages[0].name.as_deref(), Some("b"));
}
