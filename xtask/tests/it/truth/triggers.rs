//! What images bring to those that stand on them (`ONBUILD`), and what the author of a Dockerfile says that is not ours to
//! change: labels, and permission bits that do not matter.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;

use xtask::model::{Brought, BuildSpec, ImageName, ImageSource, Modes, StepKind, Triggers};
use xtask::plan::build::{self, BuildRequest};
use xtask::plan::status;

use super::lab::{Lab, reference};

/// `base` brings the whole context, `middle` stands on it and has consumed that, `last` stands on `middle`.
const CHAIN: &str = "\
//- src/base/Dockerfile
FROM debian:12
ONBUILD ARG FROM_WHERE=.
ONBUILD COPY $FROM_WHERE /app
//- src/app/Dockerfile
FROM base
COPY meta.txt /meta/
//- src/app/meta.txt
1
//- src/app/deep/other.txt
1
//- src/app/ignored.log
1
//- src/app/.dockerignore
*.log
//- src/middle/Dockerfile
FROM base:latest
COPY own.txt /
ONBUILD RUN --mount=type=bind,source=bound,target=/b cat /b
//- src/middle/own.txt
1
//- src/last/Dockerfile
FROM middle
COPY own.txt /
//- src/last/own.txt
1
//- src/last/bound
1
//- src/last/unread
1
";

#[test]
fn a_base_of_this_tree_brings_its_triggers_once() {
    let lab = Lab::built(CHAIN);
    let all = [".dockerignore", "Dockerfile", "deep/other.txt", "meta.txt"];
    assert_eq!(lab.look().inputs("app"), all);
    assert_eq!(lab.look().inputs("middle"), ["Dockerfile", "own.txt"]);
    assert_eq!(lab.look().inputs("last"), ["bound", "own.txt"], "what base brought is consumed by middle");
    for (change, stale) in [
        ("src/app/deep/other.txt", "app (source changed: deep/other.txt)"),
        ("src/app/ignored.log", ""),
        ("src/last/bound", "last (source changed: bound)"),
        ("src/last/unread", ""),
    ] {
        let lab = Lab::built(CHAIN);
        lab.append(change, "2");
        assert_eq!(lab.stale(), stale, "{change}");
    }
    lab.replace("src/base/Dockerfile", "FROM_WHERE=.", "FROM_WHERE=deep");
    let look = lab.look();
    assert_eq!(look.inputs("app"), ["deep/other.txt", "meta.txt"]);
    assert!(look.stale().starts_with("base (Dockerfile changed); app ("), "{}", look.stale());
}

#[test]
fn triggers_name_further_images() {
    let fixture = "//- src/base/Dockerfile\nFROM alpine:3\nONBUILD COPY --from=busybox:9 /x /x\nONBUILD COPY --from=tool /y /y\n\
                   //- src/app/Dockerfile\nFROM base\n//- src/tool/Dockerfile\nFROM debian:12\n";
    let look = Lab::new(fixture).look();
    let app = look.reading.tree.graph.get(&ImageName::new("app")).unwrap();
    let bases: Vec<_> = app.base_images.iter().map(|base| base.reference.familiar()).collect();
    assert_eq!(bases, ["busybox:9"]);
    let needs: Vec<_> = app.needs.iter().map(ImageName::as_str).collect();
    assert_eq!(needs, ["base", "tool"]);
}

const EXTERNAL: &str = "\
//- src/app/Dockerfile
FROM alpine:3
COPY own /
//- src/app/own
1
//- src/app/sub/x
1
//- src/renamed/dependency.conf
redis:7
//- src/upon/Dockerfile
FROM renamed
//- src/upon/x
1
//- src/plain/Dockerfile
FROM debian:12
COPY own /
//- src/plain/own
1
//- src/plain/x
1
";

#[test]
fn external_bases_bring_what_they_have_and_unknown_ones_the_whole_context() {
    let known = |texts: &[&str]| Brought::Known(texts.iter().map(|text| (*text).to_owned()).collect());
    let mut lab = Lab::built(EXTERNAL);
    lab.external = Triggers::from([
        (reference("alpine:3"), known(&["COPY sub /sub"])),
        (reference("redis:7"), known(&["ADD x /x"])),
    ]);
    let look = lab.look();
    assert_eq!(look.inputs("app"), ["own", "sub/x"]);
    assert_eq!(look.inputs("upon"), ["x"], "what the image brings that another one renames");
    assert_eq!(look.inputs("plain"), ["own"]);
    assert_eq!(
        look.stale(),
        "app (source added: sub, and 2 more); upon (source added: x, and 1 more)",
        "the Dockerfile counts as changed too"
    );
    lab.build();
    assert_eq!(lab.stale(), "");
    lab.external.insert(reference("alpine:3"), known(&["COPY sub /another"]));
    assert_eq!(lab.stale(), "app (Dockerfile changed)");

    lab.external = Triggers::from([(reference("alpine:3"), Brought::Unknown)]);
    assert_eq!(lab.look().inputs("app"), ["Dockerfile", "own", "sub/x"]);
    lab.external = Triggers::from([(reference("alpine:3"), known(&["COPY none /x"]))]);
    let said = lab.look().said();
    assert_eq!(
        said,
        "error: src/app/Dockerfile:1: ONBUILD COPY of the base: its source `none` matches nothing in the context src/app"
    );
}

#[test]
fn what_only_an_unknown_trigger_may_read_is_no_trouble() {
    let mut lab = Lab::new(EXTERNAL);
    let odd = std::ffi::OsStr::from_bytes(b"odd-\xff");
    std::fs::write(lab.path("src/app").join(odd), "1").unwrap();
    lab.external = Triggers::from([(reference("alpine:3"), Brought::Unknown)]);
    assert_eq!(lab.look().said(), "");
    lab.external = Triggers::from([(reference("alpine:3"), Brought::Known(vec!["COPY . /app".to_owned()]))]);
    assert!(lab.look().said().contains("its name is not UTF-8"), "{}", lab.look().said());
}

const MODES: &str = "\
//- src/app/Dockerfile
FROM alpine:3
COPY plain /
COPY --chown=1:2 owned /
COPY --chmod=755 set /
COPY --chmod=u+x symbolic /
ARG MODE=0711
ADD --chmod=$MODE folder /folder
//- src/app/plain
1
//- src/app/owned
1
//- src/app/set
1
//- src/app/symbolic
1
//- src/app/folder/x
1
";

#[test]
fn write_bits_of_others_and_modes_that_are_set_do_not_count() {
    for (path, mode, portable, exact) in [
        ("plain", 0o664, "", "app (mode changed: plain (644 to 664))"),
        ("owned", 0o666, "", "app (mode changed: owned (644 to 666))"),
        ("plain", 0o600, "app (mode changed: plain (644 to 600))", "app (mode changed: plain (644 to 600))"),
        ("owned", 0o775, "app (mode changed: owned (644 to 755))", "app (mode changed: owned (644 to 775))"),
        ("set", 0o700, "", ""),
        ("set", 0o4644, "app (mode changed: set (644 to 4644))", "app (mode changed: set (644 to 4644))"),
        (
            "symbolic",
            0o755,
            "app (mode changed: symbolic (644 to 755))",
            "app (mode changed: symbolic (644 to 755))",
        ),
        ("folder", 0o700, "", ""),
        ("folder/x", 0o600, "", ""),
    ] {
        for (modes, stale) in [(Modes::Portable, portable), (Modes::Exact, exact)] {
            let mut lab = Lab::new(MODES);
            lab.flags.modes = Some(modes);
            for (file, usual) in [("plain", 0o644), ("owned", 0o644), ("set", 0o644), ("symbolic", 0o644)] {
                lab.chmod(&format!("src/app/{file}"), usual);
            }
            lab.build();
            lab.chmod(&format!("src/app/{path}"), mode);
            assert_eq!(lab.stale(), stale, "{path} {mode:o} {modes:?}");
        }
    }
    // Where the list of files is not known, as in another clone.
    let lab = Lab::new(MODES);
    lab.chmod("src/app/owned", 0o755);
    lab.build();
    std::fs::remove_dir_all(lab.path("target")).unwrap();
    lab.chmod("src/app/owned", 0o644);
    lab.chmod("src/app/plain", 0o600);
    let explained = status::explain(lab.look().assessment("app"));
    let named =
        "app is stale: 2 changes\n  mode changed: owned (755 to 644)\n  mode changed: plain (644 to 600)\n";
    assert_eq!(explained, named);
    lab.write("src/app/plain", "2");
    assert_eq!(lab.stale(), "app (sources changed)");
    // Read by another instruction that keeps its mode.
    let lab = Lab::new(MODES);
    lab.append("src/app/Dockerfile", "COPY set /kept\n");
    lab.build();
    lab.chmod("src/app/set", 0o755);
    assert_eq!(lab.stale(), "app (mode changed: set (644 to 755))");
}

#[test]
fn labels_of_the_author_win_and_ours_fill_what_is_missing() {
    let labels_of = |dockerfile: &str| -> BTreeMap<String, String> {
        let lab = Lab::new(&format!("//- src/app/Dockerfile\n{dockerfile}"));
        let look = lab.look();
        let plan = look.plan(&BuildRequest { selected: look.all(), ..BuildRequest::default() });
        let StepKind::Build(spec) = &plan.steps[0].kind else { panic!("no build") };
        let mut labels = BuildSpec::clone(spec).labels;
        let app = look.reading.tree.graph.get(&ImageName::new("app")).unwrap();
        assert!(matches!(app.source, ImageSource::Build(_)));
        let later = ["created", "revision"]
            .map(|name| (format!("org.opencontainers.image.{name}"), "ours".to_owned()));
        build::label(&mut labels, app, later.into());
        labels.retain(|name, _| name.starts_with("org.") || name == "dev.xtask.image");
        labels
    };
    let names = |labels: &BTreeMap<String, String>| {
        labels.keys().map(|name| name.rsplit('.').next().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names(&labels_of("FROM alpine:3\n")), "image created revision title version");
    let theirs = labels_of(
        "FROM alpine:3 AS first\nLABEL org.opencontainers.image.title=\"Mine\" org.opencontainers.image.created=then\n\
         FROM first\nARG V=1\nLABEL org.opencontainers.image.version $V\n",
    );
    assert_eq!(names(&theirs), "image revision", "what the Dockerfile says is not said again");
    // Labels of a stage that the image does not stand on are not its own.
    let copied = "FROM alpine:3 AS first\nLABEL org.opencontainers.image.title=x\nFROM alpine:3\nCOPY --from=first / /x\n";
    assert_eq!(names(&labels_of(copied)), "image created revision title version");
}
