//! Which stages and images a target reaches.

use super::super::Base;
use super::{Ask, ask};

#[test]
fn from() {
    ask("FROM scratch").gives("");
    ask("FROM Scratch").fails("", 1, &["Scratch"]);
    ask("FROM alpine AS scratch\nFROM scratch").gives("alpine:latest");
    ask("FROM alpine AS a\nFROM a").gives("alpine:latest");
    ask("FROM alpine AS A\nFROM a").gives("alpine:latest");
    ask("FROM alpine as a\nFROM A").fails("alpine:latest", 2, &["write `a`"]);
    ask("FROM golang AS golang\nFROM golang").gives("golang:latest");
    ask("FROM golang AS golang\nFROM golang:1").gives("golang:1");
    // A stage that comes later is none yet.
    ask("FROM a\nFROM b AS a").gives("b:latest");
    ask("FROM a AS x\nFROM b AS a").target("x").gives("a:latest");
    ask("FROM a AS x\nFROM b AS x\nFROM x").gives("b:latest");
    ask("FROM a AS x\nFROM x AS x\nFROM x").gives("a:latest");
    ask("FROM 0\nFROM 0").gives("0:latest");
    ask("ARG S=x\nFROM a AS x\nFROM $S").gives("a:latest");
    ask("FROM alpine\nFROM busybox").gives("busybox:latest");
    ask("FROM registry:5000/a/b@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
        .gives("registry:5000/a/b@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    ask("FROM alpine\nFROM --platform=linux/arm64 alpine\nCOPY --from=0 a b")
        .gives("alpine:latest alpine:latest@linux/arm64");
    // Broken stages refuse the build even when nothing reaches them.
    ask("FROM a:$X\nFROM b").fails("b:latest", 1, &["--build-arg X="]);
}

#[test]
fn copy_from() {
    ask("FROM a AS x\nFROM b\nCOPY --from=x p q").gives("a:latest b:latest");
    ask("FROM a AS x\nFROM b\nCOPY --from=X p q").gives("a:latest b:latest");
    ask("FROM a\nFROM b\nCOPY --from=0 p q").gives("a:latest b:latest");
    ask("FROM a\nFROM b\nCOPY --from=\"0\" p q").gives("a:latest b:latest");
    ask("FROM a\nFROM b\nCOPY --from=+0 p q").gives("a:latest b:latest");
    ask("FROM a\nFROM b\nFROM c\nCOPY --from=1 p q").gives("b:latest c:latest");
    ask("FROM a\nCOPY --from=busybox:1 p q").gives("a:latest busybox:1");
    ask("FROM a\nCOPY --from=scratch p q").gives("a:latest");
    ask("FROM a\nCOPY --from= p q").gives("a:latest");
    ask("FROM scratch\nCOPY --from=a p q\nCOPY --from=a p q").gives("a:latest");
    ask("FROM a\nCOPY --from=1 p q").fails("a:latest", 2, &["--from=1", "no such stage"]);
    // An image that was named before has a number as well.
    ask("FROM a\nCOPY --from=b p q\nCOPY --from=1 p q").gives("a:latest b:latest");
    ask("FROM a\nCOPY --from=-1 p q").fails("a:latest", 2, &["--from=-1"]);
    ask("ARG X=b\nFROM a\nCOPY --from=$X p q").fails("a:latest", 3, &["--from=$X", "AS name"]);
    ask("FROM a AS build\nFROM a\nCOPY --from=Biuld p q").fails("a:latest", 3, &["did you mean `build`?"]);
    ask("FROM a\nADD --from=b p q").fails("a:latest", 2, &["--from"]);
    // Later stages are known to COPY, but cannot be copied from.
    ask("FROM a AS x\nCOPY --from=y p q\nFROM b AS y\nFROM x").fails(
        "a:latest b:latest",
        2,
        &["`y` stands after `x`"],
    );
    ask("FROM a AS x\nCOPY --from=y p q\nFROM b AS y").gives("b:latest");
    ask("FROM a AS x\nCOPY --from=x p q").fails("a:latest", 2, &["itself"]);
    ask("FROM a AS x\nCOPY --from=y p q\nFROM b AS y\nCOPY --from=x p q").fails(
        "a:latest b:latest",
        2,
        &["circle"],
    );
}

#[test]
fn mounts() {
    ask("FROM a AS x\nFROM b\nRUN --mount=type=bind,from=x,target=/x true").gives("a:latest b:latest");
    ask("FROM a AS x\nFROM b\nRUN --mount=from=X,target=/x true").gives("a:latest b:latest");
    ask("FROM a\nRUN --mount=type=cache,from=c:1,target=/x --mount=target=/y,from=d true")
        .gives("a:latest c:1 d:latest");
    ask("FROM a\nRUN --mount=\"type=bind,from=c,target=/x\" true").gives("a:latest c:latest");
    ask("FROM a\nRUN \\\n --mount=type=bind,from=c,target=/x \\\n # c\n true").gives("a:latest c:latest");
    ask("FROM a\nRUN --mount=type=cache,target=/x --mount=type=secret,id=s true").gives("a:latest");
    ask("FROM a\nRUN --mount=FROM=c,target=/x true").gives("a:latest c:latest");
    ask("FROM a\nRUN true --mount=from=c,target=/x").gives("a:latest");
    // Numbers are names here.
    ask("FROM a\nFROM b\nRUN --mount=from=0,target=/x true").gives("b:latest 0:latest");
    ask("ARG X=c\nFROM a\nRUN --mount=from=$X,target=/x true").fails(
        "a:latest",
        3,
        &["variables", "AS name"],
    );
    ask("FROM a\nRUN --mount=type=${T:-cache},from=c,target=/x true").gives("a:latest c:latest");
    ask("FROM a\nRUN --mount=type=bind,\"fro\"m=c,target=/x true").gives("a:latest c:latest");
}

#[test]
fn onbuild_runs_where_a_stage_stands_on_it() {
    ask("FROM a AS x\nONBUILD COPY --from=c p q").gives("a:latest");
    ask("FROM a AS x\nONBUILD COPY --from=c p q\nFROM x").gives("a:latest c:latest");
    ask("FROM a AS x\nONBUILD RUN --mount=from=c,target=/x true\nFROM x AS y\nFROM y")
        .gives("a:latest c:latest");
    ask("FROM a AS x\nONBUILD COPY --from=c p q\nFROM b\nCOPY --from=x p q").gives("a:latest b:latest");
    ask("FROM d AS e\nFROM a AS x\nONBUILD COPY --from=e p q\nFROM x").gives("d:latest a:latest");
    ask("FROM a AS x\nONBUILD NOPE\n").gives("a:latest");
    ask("FROM a AS x\nONBUILD NOPE\nFROM x").fails("a:latest", 2, &["NOPE"]);
    let (resolved, _) = ask("FROM a AS x\nONBUILD COPY src dst\nFROM x").resolve();
    assert_eq!(resolved.inputs[0].pattern, "src");
    assert_eq!(resolved.inputs[0].line, 2);
}

#[test]
fn triggers_of_images_run_in_the_scope_of_what_stands_on_them() {
    let read = |ask: &Ask<'_>| {
        let inputs = ask.resolve().0.inputs;
        inputs
            .iter()
            .map(|i| format!("{}:{}{}", i.line, i.pattern, if i.is_triggered { "!" } else { "" }))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let brings = |text, triggers: &[&str]| read(&ask(text).brings("b", triggers));
    assert_eq!(
        brings("FROM b\nCOPY own /", &["COPY . /app", "RUN --mount=target=/s,source=in true"]),
        "1:.! 1:in! 2:own"
    );
    assert_eq!(brings("FROM b AS x\nFROM a\nCOPY --from=x p q", &["ADD a.tar /"]), "1:a.tar!");
    assert_eq!(brings("FROM b AS x\nFROM x\nFROM x", &["COPY c d"]), "1:c!", "consumed once");
    assert_eq!(
        brings("FROM a\nCOPY --from=b p q\nRUN --mount=from=b,target=/b true", &["COPY c d"]),
        "",
        "not stood on"
    );
    assert_eq!(brings("FROM b AS x\nFROM a", &["COPY c d"]), "", "not reached");
    assert_eq!(
        brings("ARG D=one\nFROM b\nARG D", &["ARG D", "COPY $D /", "ENV E=two", "COPY $E$F/x /"]),
        "2:one! 2:.!"
    );
    assert_eq!(brings("FROM b", &["COPY <<E /x\n$A\nE", "RUN <<E\nCOPY . /\nE"]), "");
    // Not seen yet: it may read anything, whatever else does.
    assert_eq!(brings("FROM a AS x\nFROM b\nCOPY own /", &["?"]), "3:own 2:.");
    assert_eq!(brings("FROM a\nCOPY --from=b p q", &["?"]), "");

    let copies = ask("FROM b\nFROM d AS e\nFROM b")
        .brings("b", &["COPY --from=c:1 p q", "RUN --mount=from=e,target=/e true"]);
    copies.gives("d:latest b:latest c:1");
    ask("FROM b").brings("b", &["COPY --from=$X p q"]).fails(
        "b:latest",
        1,
        &["ONBUILD of b:latest: `--from=$X` cannot"],
    );
    ask("FROM a\nFROM b").brings("b", &["NOPE x"]).fails("b:latest", 2, &["ONBUILD of b:latest: ", "NOPE"]);
    ask("FROM b").brings("b", &["COPY --chmod=9 p q"]).fails(
        "b:latest",
        1,
        &["ONBUILD of b:latest: COPY: --chmod=9"],
    );
}

#[test]
fn what_images_bring_is_part_of_the_text_and_what_they_leave_is_not_lost() {
    let of = |triggers: &[&str]| ask("FROM b\nRUN x").brings("b", triggers).resolve().0;
    let plain = ask("FROM b\nRUN x").resolve().0.reachable_text;
    assert_eq!(of(&[]).reachable_text, plain, "nothing brought changes nothing");
    assert_ne!(of(&["RUN y"]).reachable_text, plain);
    assert_ne!(of(&["RUN y"]).reachable_text, of(&["RUN z"]).reachable_text);
    assert!(of(&["ARG V"]).declared_args.contains("V"));

    let text = "FROM a AS x\nONBUILD RUN x\nFROM x AS y\nONBUILD COPY \\\n  . /app\nonbuild   RUN <<E\ncat\nE\nLABEL a=b\nFROM c\n";
    let leaves = |target| ask(text).target(target).resolve().0.leaves;
    assert_eq!(leaves("x"), ["RUN x"]);
    assert_eq!(leaves("y"), ["COPY   . /app", "RUN <<E\ncat\nE"], "those of x are consumed");
    // What one leaves is what the next is brought.
    let text = leaves("y");
    let brought: Vec<&str> = text.iter().map(String::as_str).collect();
    assert_eq!(ask("FROM b").brings("b", &brought).resolve().0.inputs[0].pattern, ".");
}

#[test]
fn labels_are_those_of_the_target_and_what_it_stands_on_in_the_file() {
    let labels = |ask: Ask<'_>| ask.resolve().0.labels.into_iter().collect::<Vec<_>>().join(" ");
    let text = "ARG NS=org\nFROM a AS x\nARG NS\nLABEL \"$NS.title\"=A one='x y'\nFROM x\nLABEL two 2\nFROM b\nLABEL other=1\n";
    assert_eq!(labels(ask(text)), "other");
    assert_eq!(labels(ask(text).target("x")), "one org.title");
    assert_eq!(labels(ask("FROM a AS x\nLABEL one=1\nFROM x\nLABEL two=2 one=3\n")), "one two");
    assert_eq!(labels(ask("FROM b").brings("b", &["LABEL brought=1"])), "brought");
}

#[test]
fn targets() {
    let text = "FROM a AS One\nFROM b AS two\nCOPY --from=one p q\nFROM c\n";
    ask(text).gives("c:latest");
    ask(text).target("ONE").gives("a:latest");
    ask(text).target("two").gives("a:latest b:latest");
    ask(text).target("tow").fails("", 0, &["tow", "did you mean `two`?", "one, two"]);
    ask(text).target("0").fails("", 0, &["one, two"]);
    let (resolved, _) = ask(text).target("two").resolve();
    let stages: Vec<_> = resolved.stages.iter().map(|s| (s.index, s.name.as_deref(), s.line)).collect();
    assert_eq!(stages, [(0, Some("one"), 1), (1, Some("two"), 2)]);
    assert_eq!(resolved.target, Some(1));
    let (resolved, _) = ask("FROM scratch AS a\nFROM a\n").resolve();
    assert_eq!(
        resolved.stages.iter().map(|s| s.base.clone()).collect::<Vec<_>>(),
        [Base::Scratch, Base::Stage(0)]
    );
}

#[test]
fn images_come_in_order_of_naming_with_their_line() {
    let text = "# syntax=s/s\nFROM b AS x\nCOPY --from=z p q\nFROM a\nRUN --mount=from=b,target=/x --mount=from=y,target=/y true\nCOPY --from=x p q\n";
    let (resolved, _) = ask(text).resolve();
    let images: Vec<_> = resolved.base_images.iter().map(|i| (i.reference.familiar(), i.line)).collect();
    let expected = [("s/s:latest", 1), ("b:latest", 2), ("z:latest", 3), ("a:latest", 4), ("y:latest", 5)];
    assert_eq!(images, expected.map(|(name, line)| (name.to_owned(), line)));
}
