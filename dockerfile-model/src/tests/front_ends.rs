//! What only some front ends can read, and values that are checked once variables are expanded.
//!
//! Each line of the first table was built on Engine 20.10.24, 26.1.5 and 28.5.2.

use super::super::judge;
use super::ask;
use crate::Severity;

/// What an engine of each of these versions says of the second stage's lines: the numbers of the refused ones.
#[track_caller]
fn check(lines: &str, refused: [&[u32]; 3]) {
    let text = format!("FROM alpine\n{lines}\n");
    let (resolved, diagnostics) = ask(&text).resolve();
    assert_eq!(diagnostics, [], "{lines}");
    for (engine, expected) in ["20.10.24+dfsg1", "26.1.5", "28.5.2"].into_iter().zip(refused) {
        let found = judge(&resolved.uses, "src/a/Dockerfile", Some(engine));
        let places: Vec<u32> = found.iter().map(|diagnostic| diagnostic.line).collect();
        assert_eq!(places, expected, "{lines} on {engine}: {found:#?}");
        for diagnostic in found {
            assert_eq!(
                (diagnostic.severity, diagnostic.file.as_str()),
                (Severity::Error, "src/a/Dockerfile")
            );
            let message = diagnostic.message;
            assert!(message.contains("# syntax=docker/dockerfile:1."), "{message}");
            assert!(message.contains(&format!("Engine {engine} reads 1.")), "{message}");
        }
    }
    for engine in [None, Some("29.99.0"), Some("dev")] {
        assert_eq!(judge(&resolved.uses, "x", engine), [], "{lines} on {engine:?}");
    }
}

const EVERYWHERE: [&[u32]; 3] = [&[], &[], &[]];
const OLDEST: [&[u32]; 3] = [&[2], &[], &[]];
const NEWEST_ONLY: [&[u32]; 3] = [&[2], &[2], &[]];
const NOWHERE: [&[u32]; 3] = [&[2], &[2], &[2]];

#[test]
fn what_each_engine_reads() {
    check("COPY --chmod=755 --chown=1 a /a", EVERYWHERE);
    check("RUN --mount=type=cache,target=/x true", EVERYWHERE);
    check("COPY a ${V:-x} ${V:+x} /a/", EVERYWHERE);
    check("HEALTHCHECK --interval=1s --start-period=1s CMD true", EVERYWHERE);
    check("COPY --link a /a", OLDEST);
    check("ADD --link=true --chmod=755 a /a", OLDEST);
    check("RUN <<EOF\necho hi\nEOF", OLDEST);
    check("COPY <<A <<-'B' /x/\na\nA\n\tb\n\tB", [&[2, 2], &[], &[]]);
    check("ADD --checksum=sha256:aa http://x/y /x", OLDEST);
    check("ADD --keep-git-dir=true a /x/", OLDEST);
    check("ADD https://x/y.git#v1 /x/", OLDEST);
    check("RUN --network=none true", OLDEST);
    check("RUN --mount=type=tmpfs,size=1m,target=/x true", OLDEST);
    check("HEALTHCHECK --start-interval=1s CMD true", OLDEST);
    check("COPY ${V-x} /a", OLDEST);
    check("COPY ${V%%.*} /a", OLDEST);
    check("ENV V=1\nCOPY ${V/1/2} /a", [&[3], &[], &[]]);
    check("ONBUILD COPY --from=busybox /bin /b\nONBUILD RUN --mount=from=busybox,target=/b true", EVERYWHERE);
    check("FROM alpine AS b\nONBUILD COPY --from=busybox /bin /b\nFROM b", [&[3], &[3], &[]]);
    check("COPY --exclude=f d /x/", NEWEST_ONLY);
    check("ADD --unpack=true a /x/", NEWEST_ONLY);
    check("RUN --mount=type=secret,id=s,env=X true", NEWEST_ONLY);
    check("RUN cat << EOF > /x\nhi\nEOF", NEWEST_ONLY);
    check("RUN << \"EOF\"\nhi\nEOF", NEWEST_ONLY);
    // These two are taken for no mode at all, and nothing is said.
    check("COPY --chmod=u=rwX,go=rX a /a", NEWEST_ONLY);
    check("ARG M=755\nCOPY --chmod=$M a /a", [&[3], &[3], &[]]);
    check("COPY --parents d/f /x/", NOWHERE);
    check("RUN --security=sandbox true", NOWHERE);
    check("RUN --device=x/y true", NOWHERE);
    check("COPY --exclude=f --link --parents d /x/", [&[2, 2, 2], &[2, 2], &[2]]);
}

#[test]
fn every_stage_is_read_and_only_reached_ones_are_expanded() {
    let text =
        "FROM a AS x\nCOPY --link a /a\nCOPY ${V-x} /a\nFROM a AS y\nONBUILD COPY --link b /b\nFROM y\n";
    let (resolved, _) = ask(text).resolve();
    let places: Vec<u32> = judge(&resolved.uses, "x", Some("20.10.5")).iter().map(|d| d.line).collect();
    assert_eq!(places, [2, 5]);
    let (resolved, _) = ask("ARG A=1.2\nARG B=${A%.*}\nFROM a:${B#x}\n").resolve();
    let places: Vec<u32> = judge(&resolved.uses, "x", Some("20.10.5")).iter().map(|d| d.line).collect();
    assert_eq!(places, [2, 3]);
}

#[test]
fn engines_bring_the_front_end_of_their_buildkit() {
    let (resolved, _) =
        ask("FROM a\nCOPY --parents --exclude=x a /a\nRUN << E\nE\nADD --unpack b /b\n").resolve();
    for (engine, refused) in [
        ("23.0.6", 4),
        ("24.0.9", 4),
        ("28.1.1", 4),
        ("28.2.0", 3),
        ("28.3.3", 2),
        ("28.4.0", 2),
        ("29.0.0", 1),
        ("29.1.3", 0),
        ("30.0.0", 0),
        ("19.03.15", 0),
    ] {
        assert_eq!(judge(&resolved.uses, "x", Some(engine)).len(), refused, "{engine}");
    }
}

/// A file that names its front end is held to that one, whatever the engine.
#[test]
fn a_syntax_line_decides() {
    let copy = "FROM a\nCOPY --parents --link a /a\n";
    for (syntax, refused) in [
        ("docker/dockerfile:1", 0),
        ("docker/dockerfile", 0),
        ("docker/dockerfile:latest", 0),
        ("docker/dockerfile:1.20", 0),
        ("docker/dockerfile:1.20.3", 0),
        ("docker/dockerfile:1.7-labs", 0),
        ("registry.example.com/docker/dockerfile:labs", 0),
        ("docker/dockerfile:1.7", 1),
        ("docker/dockerfile:1.4.0", 1),
        ("mirror.example.com/docker/dockerfile:1.3", 2),
        ("somebody/else:1.2", 0),
        ("docker/dockerfile-upstream:master", 0),
    ] {
        let text = format!("# syntax={syntax}\n{copy}");
        let question = ask(&text);
        let errors = question.errors();
        assert_eq!(errors.len(), refused, "{syntax}: {errors:#?}");
        assert!(
            errors.iter().all(|error| error.starts_with("3: ") && error.contains("in line 1")),
            "{errors:?}"
        );
        assert_eq!(question.resolve().0.uses, [], "{syntax}: the engine's own does not read it");
    }
    let errors = ask(copy).arg("BUILDKIT_SYNTAX", "docker/dockerfile:1.4").errors();
    assert!(errors.len() == 1 && errors[0].contains("BUILDKIT_SYNTAX"), "{errors:?}");
    // Only the labs have it.
    let errors = ask("# syntax=docker/dockerfile:1\nFROM a\nRUN --device=x true\n").errors();
    assert!(errors.len() == 1 && errors[0].contains("1.14-labs"), "{errors:?}");
}

#[test]
fn heredocs_with_a_blank() {
    // Where blanks are taken, this is a heredoc without an end; where they are not, it is arithmetic.
    let (resolved, diagnostics) = ask("FROM a\nRUN echo $((1 << 2))\nFROM b\n").resolve();
    assert_eq!(diagnostics, []);
    let said = |engine| judge(&resolved.uses, "x", engine).len();
    assert_eq!(
        (said(Some("20.10.24")), said(Some("26.1.5")), said(Some("28.5.2")), said(None)),
        (0, 0, 1, 1)
    );
    // Nobody takes these two, and their lines are no instructions.
    for dashed in ["RUN cat <<- EOF > /x\n\thi\n\tEOF", "RUN cat <<-  'EOF'\n\thi\n\tthere\nEOF"] {
        ask(&format!("FROM a\n{dashed}\nFROM b\n")).fails("b:latest", 2, &["write `<<-EOF`"]);
    }
    ask("FROM a\nCOPY << EOF /x\nhi\nEOF\nFROM b\n").fails("b:latest", 2, &["write `<<EOF`", "COPY"]);
    ask("FROM a\nADD << 'EOF' /x\nhi\nEOF\n").fails("a:latest", 2, &["write `<<EOF`", "ADD"]);
    ask("FROM a\nRUN x <<- 2\nRUN y\n").gives("a:latest");
}

#[test]
fn values_are_checked_once_expanded() {
    for (line, words) in [
        ("EXPOSE abc", &["EXPOSE", "`abc`"][..]),
        ("EXPOSE 80 70000", &["70000"]),
        ("EXPOSE 9-8", &["9-8", "ends before"]),
        ("EXPOSE 80/icmp", &["icmp"]),
        ("EXPOSE 8080:x", &["8080:x"]),
        ("ARG P=x1\nEXPOSE $P", &["`x1`"]),
        ("ENV P=\"80 x2\"\nEXPOSE $P", &["`x2`"]),
        ("ARG E\nVOLUME $E", &["VOLUME", "`$E`", "empty"]),
        ("VOLUME [\"/a\", \"${E:+x}\"]", &["empty"]),
        ("STOPSIGNAL NOPE", &["STOPSIGNAL", "NOPE"]),
        ("ARG S=0\nSTOPSIGNAL $S", &["`0`"]),
        ("HEALTHCHECK --interval=5 CMD true", &["--interval=5"]),
        ("HEALTHCHECK --timeout=1us CMD true", &["1ms"]),
        ("HEALTHCHECK --retries=x CMD true", &["--retries=x"]),
        ("HEALTHCHECK --retries=-1 CMD true", &["--retries=-1"]),
        ("RUN --mount=target=.,type=tmpfs true", &["`/`", "no WORKDIR"]),
        ("RUN --mount=type=tmpfs true", &["`/`"]),
        ("WORKDIR /a/..\nRUN --mount=type=cache,target=/ true", &["`/`"]),
        ("WORKDIR /\nRUN --mount=type=bind,target=./. true", &["`/`"]),
    ] {
        let text = format!("FROM scratch\n{line}\n");
        ask(&text).fails("", text.lines().count() as u32, words);
    }
    for line in [
        "EXPOSE 80 443/tcp 53/UDP 8000-8010 127.0.0.1:80:8080 9/",
        "ARG P\nEXPOSE $P",
        "VOLUME /a /b",
        "STOPSIGNAL SIGTERM",
        "STOPSIGNAL rtmin+3",
        "STOPSIGNAL 9",
        "HEALTHCHECK --interval=1m30s --timeout=1.5s --retries=3 CMD true",
        "HEALTHCHECK --interval=0 --start-period=0s CMD true",
        "WORKDIR a\nRUN --mount=type=tmpfs,target=. true",
        "RUN --mount=type=secret,id=x true",
    ] {
        ask(&format!("FROM scratch\n{line}\n")).gives("");
    }
    // What the image may set is not known.
    ask("FROM a\nEXPOSE $P\nVOLUME $P\nSTOPSIGNAL $P\nRUN --mount=type=tmpfs,target=. true\n")
        .gives("a:latest");
    let errors = ask("FROM a").arg("SOURCE_DATE_EPOCH", "x1").errors();
    assert!(
        errors.len() == 1 && errors[0].contains("SOURCE_DATE_EPOCH") && errors[0].contains("x1"),
        "{errors:?}"
    );
    assert_eq!(ask("FROM a").arg("SOURCE_DATE_EPOCH", "0").errors(), Vec::<String>::new());
}

#[test]
fn circles_are_refused_wherever_they_are() {
    let circle = "FROM a AS x\nCOPY --from=y p q\nFROM b AS y\nCOPY --from=x p q\n";
    ask(&format!("{circle}FROM c\n")).fails("c:latest", 2, &["circle", "`x`", "`y`"]);
    ask("FROM a AS x\nCOPY --from=x p q\nFROM c\n").fails("c:latest", 2, &["itself"]);
    ask("FROM a AS x\nRUN --mount=from=y,target=/y true\nFROM b AS y\nCOPY --from=z p q\nFROM z AS z\nCOPY --from=0 p q\nFROM c")
        .fails("c:latest", 2, &["circle"]);
    // Only a circle is: nobody needs what stands in the wrong order here.
    ask("FROM a AS x\nCOPY --from=y p q\nFROM b AS y\nFROM c\n").gives("c:latest");
    ask("FROM a AS x\nCOPY --from=y p q\nFROM x AS y\nFROM c\n").gives("c:latest");
}

#[test]
fn what_is_no_dockerfile_is_said_once() {
    let page = "<!DOCTYPE html>\n<html>\n".to_owned() + &"<p>text</p>\nrun away\n".repeat(100);
    ask(&page).fails("", 1, &["no Dockerfile", "`<!DOCTYPE`"]);
    let script = "#!/bin/sh\nset -e\nexport A=1\nrun x\ncopy a\n".to_owned() + &"echo hi\n".repeat(50);
    ask(&script).fails("", 2, &["no Dockerfile", "`set`"]);
    let mail = "From: me\nTo: you\nSubject: it\n\nHello there,\nhere it is.\nYours, me\n";
    ask(mail).fails("", 1, &["no Dockerfile", "`From:`"]);
    let long = "x".repeat(5_000);
    let errors = ask(&long).errors();
    assert!(errors.len() == 1 && errors[0].len() < 200, "{errors:?}");
    ask(&"RUN true\n".repeat(50)).target("x");
    assert_eq!(ask(&"RUN true\n".repeat(50)).errors().len(), 2, "no FROM, and nothing before it");
    // One that has a slip or two is one.
    assert_eq!(ask("FROM a\nruN x\nCpoy a b\nRUN y\nwrokdir /\n").errors().len(), 2);
    ask("FORM a\nRUN x\nRUN y\n").fails("", 1, &["`FORM`", "did you mean `FROM`?"]);
    ask("FROM a\nCpoy a b\n").fails("a:latest", 2, &["`Cpoy`", "did you mean `COPY`?"]);
    let many = "FROM a\n".to_owned() + &"RUN x\n".repeat(9) + &"oops\n".repeat(8);
    assert_eq!(ask(&many).errors().len(), 4);
}

#[test]
fn a_stage_that_is_nearly_named_is_asked_about() {
    let doubts = |text: &str| -> Vec<String> {
        ask(text).resolve().0.doubts.iter().map(|(image, told)| format!("{image} {}", told)).collect()
    };
    let found = doubts("FROM a AS builder\nFROM b\nCOPY --from=biulder p q\n");
    assert_eq!(found.len(), 1, "{found:?}");
    for words in ["docker.io/library/biulder:latest", "Dockerfile:3", "did you mean the stage `builder`?"] {
        assert!(found[0].contains(words), "{found:?}");
    }
    assert_eq!(doubts("FROM a AS build\nFROM b\nRUN --mount=from=bulid,target=/x true\n").len(), 1);
    for fine in [
        "FROM a AS build\nFROM b\nCOPY --from=build p q\n",
        "FROM a AS build\nFROM b\nCOPY --from=busybox p q\n",
        "FROM a AS build\nFROM b\nCOPY --from=biuld:1 p q\n",
        "FROM a AS build\nFROM c\nCOPY --from=biuld p q\nFROM b\n",
    ] {
        assert_eq!(doubts(fine), Vec::<String>::new(), "{fine}");
    }
}

#[test]
fn what_variables_stand_for_is_bounded() {
    let doubled = |first: &str, line: &dyn Fn(u32) -> String| {
        (1..40).fold(first.to_owned(), |text, at| text + &line(at) + "\n")
    };
    let args = doubled("ARG A0=xxxxxxxx\n", &|at| format!("ARG A{at}=${{A{0}}}${{A{0}}}", at - 1));
    for text in [
        format!("{args}FROM a\n"),
        format!("FROM scratch\n{args}"),
        doubled("FROM scratch\nENV A0=xxxxxxxx\n", &|at| format!("ENV A{at}=\"$A{0}$A{0}\"", at - 1)),
        doubled("FROM scratch\nENV A0=xxxxxxxx\n", &|at| format!("ENV A{at}=${{A{0}//x/xxxx}}", at - 1)),
        doubled("FROM scratch\nENV A0=xxxxxxxx\n", &|at| format!("ENV A{at}=${{A{0}:+$A{0}$A{0}}}", at - 1)),
    ] {
        let errors = ask(&text).errors();
        assert!(errors.len() == 1 && errors[0].contains("64 KiB"), "{errors:?}");
    }
    // What stands in the file is as long as it is.
    let body = "y\n".repeat(100_000);
    ask(&format!("FROM a\nARG V=1\nCOPY <<E /x\n$V {body}E\n")).gives("a:latest");
    let many: String = (0..90).map(|at| format!("ENV B{at}=$A\n")).collect();
    let errors = ask(&format!("FROM scratch\nENV A={}\n{many}", "x".repeat(60_000))).errors();
    assert!(errors.first().is_some_and(|error| error.contains("4 MiB")), "{:?}", errors.first());
}
