//! ARG, ENV and the forms of `${…}`.

use super::super::{Options, inspect};
use super::ask;

#[test]
fn global_args_in_from() {
    ask("ARG T=3\nFROM alpine:$T").gives("alpine:3");
    ask("ARG T=3\nFROM alpine:${T}").arg("T", "4").gives("alpine:4");
    ask("ARG T=3\nFROM alpine:$T").arg("T", "").fails("", 2, &["--build-arg T="]);
    ask("ARG A=1\nARG B=$A.2\nFROM alpine:$B").arg("A", "9").gives("alpine:9.2");
    ask("ARG A=1 B=$A C=\"$B 2\" D=\"${C%% *}\"\nFROM alpine:$D").gives("alpine:1");
    ask("ARG T=1\nARG T=2\nFROM alpine:$T").gives("alpine:2");
    ask("ARG T=1\nARG T\nFROM alpine:$T").gives("alpine:1");
    ask("ARG I='alpine'\nFROM \"$I\":3").gives("alpine:3");
    ask("ARG I=alpine\nFROM '$I'").fails("", 2, &["'$I'"]);
    ask("ARG R\nFROM ${R}alpine").gives("alpine:latest");
    ask("ARG R\nFROM ${R}alpine").arg("R", "quay.io/x/").gives("quay.io/x/alpine:latest");
    // Neither ENV nor the ARG of a stage counts in FROM.
    ask("FROM alpine\nARG T=3\nENV U=4\nFROM alpine:$T").fails("", 4, &["after a FROM", "--build-arg T="]);
    ask("FROM alpine:$T").arg("T", "3").fails("", 1, &["not declared", "--build-arg T="]);
    ask("ARG TAG=1\nFROM alpine:$TAGG").fails("", 2, &["did you mean `TAG`?"]);
}

#[test]
fn variables_without_a_value_name_the_build_arg() {
    ask("ARG T\nFROM alpine:${T}\nCOPY --from=busybox a b").fails(
        "busybox:latest",
        2,
        &["alpine:${T}", "pass --build-arg T=…"],
    );
    ask("ARG BASE\nFROM $BASE").fails("", 2, &["pass --build-arg BASE=…"]);
    ask("ARG V\nARG I=repo:$V\nFROM $I").fails("", 3, &["pass --build-arg V=…"]);
    ask("FROM ${V:?needed}").fails("", 1, &["V: needed"]);
    ask("FROM --platform=$P alpine").fails("alpine:latest", 1, &["--platform=$P", "--build-arg P="]);
    ask("FROM {{BASE}}:3").fails("", 1, &["{{BASE}}:3", "not an image reference"]);
}

#[test]
fn modifiers() {
    for (form, value, expected) in [
        ("${V}", Some("v"), "v"),
        ("$V.x", Some("v"), "v.x"),
        ("${V:-d}", None, "d"),
        ("${V:-d}", Some(""), "d"),
        ("${V:-d}", Some("v"), "v"),
        ("${V-d}", None, "d"),
        ("x${V-d}", Some(""), "x"),
        ("x${V:+a}", None, "x"),
        ("x${V:+a}", Some(""), "x"),
        ("x${V:+a}", Some("v"), "xa"),
        ("x${V+a}", Some(""), "xa"),
        ("${V:?e}", Some("v"), "v"),
        ("${V?e}x", Some(""), "x"),
        ("${V:-${W:-n}}", None, "n"),
        ("${V:-\"q}\"}", None, "q}"),
        ("${V#v}", Some("v1"), "1"),
        ("${V#*.}", Some("1.2.3"), "2.3"),
        ("${V##*.}", Some("1.2.3"), "3"),
        ("${V%.*}", Some("1.2.3"), "1.2"),
        ("${V%%.*}", Some("1.2.3"), "1"),
        ("${V%\\.*}", Some("1.2.3"), "!"),
        ("${V#?.}", Some("1.2"), "2"),
        ("${V/a/b}", Some("xaa"), "xba"),
        ("${V//a/b}", Some("xaa"), "xbb"),
        ("${V/./-}", Some("1.2.3"), "1-2.3"),
        ("${V//\\//-}", Some("a/b/c"), "a-b-c"),
        ("${V/a*c/z}", Some("1abbc2"), "1z2"),
        ("${V^}", Some("v"), "!"),
        ("${V", Some("v"), "!"),
        ("${}", None, "!"),
        ("${V:#v}", Some("v"), "!"),
        ("x\\$V", Some("v"), "!"),
        ("a$$b", None, "ab"),
        ("a$1b", None, "ab"),
    ] {
        let text = format!("ARG V\nFROM i:{form}");
        let question = match value {
            Some(value) => ask(&text).arg("V", value),
            None => ask(&text),
        };
        match expected {
            "!" => assert_eq!((question.images(), question.errors().len()), (String::new(), 1), "{form}"),
            "q}" => question.fails("", 2, &["i:q}"]),
            expected => question.gives(&format!("i:{expected}")),
        }
    }
}

#[test]
fn predefined_args() {
    ask("FROM a-$TARGETARCH").platform("linux/arm64").gives("a-arm64:latest");
    ask("FROM a-$TARGETARCH$TARGETVARIANT-$TARGETOS").platform("linux/arm/v7").gives("a-armv7-linux:latest");
    ask("FROM --platform=$BUILDPLATFORM a").gives("a:latest");
    ask("FROM --platform=$BUILDPLATFORM a").platform("linux/arm64").gives("a:latest@linux/amd64");
    ask("FROM --platform=$TARGETPLATFORM a").platform("linux/arm64").gives("a:latest");
    ask("FROM --platform=arm64 a\nFROM --platform=linux b\nCOPY --from=0 x y")
        .gives("a:latest@linux/arm64 b:latest");
    ask("FROM --platform=sparkle a").fails("a:latest", 1, &["sparkle", "no platform"]);
    ask("FROM a-$TARGETARCH").arg("TARGETARCH", "x").gives("a-x:latest");
    ask("ARG TARGETARCH=y\nFROM a-$TARGETARCH").gives("a-y:latest");
    ask("FROM a-$TARGETSTAGE").gives("a-default:latest");
    ask("FROM a-$TARGETSTAGE AS z").gives("a-z:latest");
    ask("FROM a-$TARGETSTAGE AS z\nFROM b").target("z").gives("a-z:latest");
}

#[track_caller]
fn copies(head: &str, source: &str, expected: &str) {
    let text = format!("{head}\nCOPY {source} /to");
    let question = ask(&text);
    let (resolved, _) = question.resolve();
    let patterns: Vec<_> = resolved.inputs.iter().map(|input| input.pattern.as_str()).collect();
    assert_eq!(patterns.join(" "), expected, "{text}");
    assert_eq!(question.errors(), Vec::<String>::new(), "{text}");
}

#[test]
fn scopes_of_stages() {
    copies("ARG A=1\nFROM scratch\nARG A", "x$A", "x1");
    copies("ARG A=1\nFROM scratch", "x$A", "x");
    copies("ARG A=1\nFROM scratch\nARG A=2", "x$A", "x2");
    copies("FROM scratch\nARG A=1\nARG A", "x$A", "x1");
    copies("FROM scratch\nARG A=1 B=$A", "x$B", "x1");
    copies("FROM scratch\nARG A=1\nENV A=2", "x$A", "x2");
    // Order decides, whatever the manual says of ENV.
    copies("FROM scratch\nENV A=2\nARG A=1", "x$A", "x1");
    copies("FROM scratch AS a\nENV A=1\nFROM a", "x$A", "x1");
    copies("FROM scratch AS a\nARG A=1\nFROM a", "x$A", "x1");
    copies("FROM scratch AS a\nENV A=1\nARG A=2\nFROM a", "x$A", "x1");
    copies("FROM scratch AS a\nENV A=1\nFROM scratch", "x$A", "x");
    copies("FROM scratch\nENV A=1\nENV A=2 B=$A", "x$B", "x1");
    copies("FROM scratch\nENV A 1 2", "\"x$A\"", "x1 2");
    copies("FROM scratch\nENV A=\"1 2\" B=3\\ 4", "$A$B", "1 23 4");
    copies("FROM scratch\nARG A=1", "$A/${B:-c}/'$A' \\$A", "1/c/$A $A");
    copies("FROM scratch", "$PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    ask("FROM scratch\nARG A=${B:?no}").fails("", 2, &["B: no"]);
    ask("FROM scratch\nARG A=${B:?no}").arg("A", "1").gives("");
    ask("FROM scratch\nCOPY <<E /x\n${B:?no}\nE").fails("", 2, &["B: no"]);
    ask("FROM scratch\nCOPY <<'E' /x\n${B:?no}\nE").gives("");
    ask("FROM scratch\nRUN <<E\n${B:?no}\nE").gives("");
}

#[test]
fn variables_of_the_image_may_be_anything() {
    copies("FROM alpine", "app/$HOME/x", "app/");
    copies("FROM alpine", "$HOME", ".");
    copies("FROM alpine\nENV B=$HOME/x", "a/b$B", "a/");
    copies("FROM alpine", "x${V:-d}", "xd");
    copies("FROM alpine\nARG V", "x$V", "x");
    copies("FROM alpine AS a\nARG V\nFROM a", "x$V", "x");
    copies("FROM alpine", "x$$ y$1", "x y");
}

#[test]
fn args_that_matter() {
    #[track_caller]
    fn check(text: &str, target: Option<&str>, expected: &[&str]) {
        let mut question = ask(text).arg("BUILDKIT_SYNTAX", "a/b").arg("NOT_DECLARED", "x");
        question.target = target;
        let (resolved, _) = question.resolve();
        let mut names: Vec<_> = resolved.declared_args.iter().map(String::as_str).collect();
        names.retain(|name| *name != "BUILDKIT_SYNTAX");
        assert_eq!(names, expected, "{text}");
        assert!(resolved.declared_args.contains("BUILDKIT_SYNTAX"));
    }
    let text =
        "ARG A=1\nARG B=$A\nARG C\nARG D\nFROM x:$B AS one\nARG E\nFROM y:${C:-1} AS two\nARG D\nFROM one\n";
    check(text, None, &["A", "B", "E"]);
    check(text, Some("two"), &["C", "D"]);
    check("FROM --platform=$BUILDPLATFORM x\nARG TARGETARCH", None, &["BUILDPLATFORM", "TARGETARCH"]);
    check("FROM x$NOT_DECLARED", None, &[]);
}

#[test]
fn inspection_is_one_object() {
    let text = "# syntax=docker/dockerfile:1\nARG V\nFROM golang:${V:-1} AS Build\nCOPY go.* .\nFROM scratch\nCOPY --from=build /a /a\nADD --exclude=*.md docs /d\nOOPS\n";
    let question = ask(text);
    let options = Options {
        target: None,
        build_args: &question.args,
        platform: &question.platform,
        build_platform: &question.build_platform,
        triggers: &question.triggers,
    };
    let json = serde_json::to_string_pretty(&inspect("a/Dockerfile", text, &options)).expect("json");
    insta::assert_snapshot!(json, @r#"
    {
      "path": "a/Dockerfile",
      "stages": [
        {
          "name": "build",
          "index": 0,
          "base": "docker.io/library/golang:1",
          "line": 3
        },
        {
          "name": null,
          "index": 1,
          "base": "scratch",
          "line": 5
        }
      ],
      "base_images": [
        "docker.io/docker/dockerfile:1",
        "docker.io/library/golang:1"
      ],
      "inputs": [
        {
          "pattern": "go.*",
          "line": 4,
          "kind": "copy"
        },
        {
          "pattern": "docs",
          "line": 7,
          "kind": "add",
          "excludes": [
            "*.md"
          ]
        }
      ],
      "diagnostics": [
        {
          "severity": "error",
          "file": "a/Dockerfile",
          "line": 8,
          "message": "unknown instruction `OOPS`"
        }
      ]
    }
    "#);
}
