//! Twenty ways in which content keys go wrong.

use xtask::model::{Change, labels};
use xtask::plan::build::BuildRequest;
use xtask::read::fingerprint::canonical::Parts;
use xtask::settings::Scalar;

use super::lab::{Lab, reference};

/// One service that copies one folder.
const ONE: &str = "\
//- src/api/Dockerfile
FROM debian:12
COPY app /app
//- src/api/app/main.py
print(1)
";

/// Builds everything, changes something, and says what is rebuilt.
#[track_caller]
fn check(fixture: &str, change: impl FnOnce(&Lab), expect: &str) {
    let lab = Lab::built(fixture);
    change(&lab);
    assert_eq!(lab.stale(), expect);
    lab.build();
    assert_eq!(lab.stale(), "", "built again, it is up to date");
}

#[test]
fn c01_copied_files_are_in_the_key() {
    check(ONE, |lab| lab.write("src/api/app/main.py", "print(2)\n"), "api (source changed: app/main.py)");
}

#[test]
fn c02_build_args_are_in_the_key() {
    let fixture = "//- src/api/Dockerfile\nFROM debian:12\nARG LEVEL=1\nRUN echo $LEVEL\n";
    let expect = "api (build arg changed: LEVEL)";
    check(fixture, |lab| lab.write(".env", "LEVEL=2\n"), expect);
    check(fixture, |lab| lab.write(".config/xtask.toml", "[build_args]\nLEVEL = \"2\"\n"), expect);
    check(fixture, |lab| lab.write("src/api/service.toml", "[args]\nLEVEL = \"2\"\n"), expect);
    check(fixture, |lab| lab.write(".env", "OTHER=2\n"), "");
    check(&format!("//- .env\nLEVEL=2\n{fixture}"), |lab| lab.write(".env", "LEVEL=3\n"), expect);
    let mut lab = Lab::built(fixture);
    lab.flags.build_args.insert("LEVEL".to_owned(), Scalar("2".to_owned()));
    assert_eq!(lab.stale(), expect);
    lab.build();
    lab.flags.build_args.insert("LEVEL".to_owned(), Scalar("3".to_owned()));
    assert_eq!(lab.stale(), expect);
}

#[test]
fn c03_every_reachable_stage_counts_with_its_base() {
    let fixture = "\
//- src/api/Dockerfile
FROM redis:7 AS unused
RUN echo never
FROM alpine:3 AS build
RUN make
FROM debian:12
COPY --from=build /out /out
";
    check(fixture, |lab| lab.give("alpine:3", "another"), "api (base image changed: alpine:3)");
    check(fixture, |lab| lab.give("debian:12", "another"), "api (base image changed: debian:12)");
    check(fixture, |lab| lab.give("redis:7", "another"), "");
    check(fixture, |lab| lab.replace("src/api/Dockerfile", "echo never", "echo ever"), "");
    check(fixture, |lab| lab.replace("src/api/Dockerfile", "make", "make all"), "api (Dockerfile changed)");
}

#[test]
fn c04_a_commit_is_no_content() {
    let lab = Lab::new(&format!("{ONE}//- .git/HEAD\nold\n"));
    let look = lab.look();
    let revision = |text: &str| {
        [("org.opencontainers.image.revision".to_owned(), text.to_owned())].into_iter().collect()
    };
    let request = BuildRequest { selected: look.all(), labels: revision("old"), ..BuildRequest::default() };
    lab.perform(&look, &look.plan(&request));
    lab.write(".git/HEAD", "new\n");
    let look = lab.look();
    let request = BuildRequest { labels: revision("new"), ..request };
    assert!(look.plan(&request).steps.is_empty());
}

#[test]
fn c05_the_base_is_its_id_not_its_name() {
    check(ONE, |lab| lab.give("debian:12", "the second"), "api (base image changed: debian:12)");
}

#[test]
fn c06_the_builder_is_in_the_key() {
    let lab = Lab::built(ONE);
    let ours = lab.look().assessment("api").parts.clone().unwrap();
    let other = Parts { builder: "classic".to_owned(), ..ours.clone() };
    assert_ne!(ours.key(), other.key());
    assert_eq!(ours.changes_since(&other, Vec::new), [Change::KeyFormat]);
}

#[test]
fn c07_a_path_counts_whole() {
    let fixture = format!("{ONE}//- src/api/app/a/x\nsame\n//- src/api/app/b/y\n");
    check(
        &fixture,
        |lab| lab.rename("src/api/app/a/x", "src/api/app/b/x"),
        "api (source removed: app/a/x, and 1 more)",
    );
    // The same names in the same order.
    check(
        &format!("{ONE}//- src/api/app/z/zz\n"),
        |lab| lab.rename("src/api/app/z/zz", "src/api/app/zz"),
        "api (source removed: app/z/zz, and 1 more)",
    );
}

#[test]
fn c08_what_is_below_an_ignored_folder_can_be_re_included() {
    let fixture = "\
//- src/web/Dockerfile
FROM debian:12
COPY . /web
//- src/web/.dockerignore
.dockerignore
Dockerfile
dist
!dist/keep
//- src/web/dist/keep/x
1
//- src/web/dist/drop
1
//- src/web/index.html
";
    let lab = Lab::built(fixture);
    assert_eq!(lab.look().inputs("web"), ["dist/keep/x", "index.html"]);
    check(fixture, |lab| lab.write("src/web/dist/keep/x", "2"), "web (source changed: dist/keep/x)");
    check(fixture, |lab| lab.write("src/web/dist/drop", "2"), "");
    check(fixture, |lab| lab.chmod("src/web/dist", 0o700), "web (mode changed: dist (755 to 700))");
}

#[test]
fn c09_the_ignore_file_beside_the_dockerfile_comes_first() {
    let fixture = "\
//- src/web/Dockerfile
FROM debian:12
COPY . /web
//- src/web/Dockerfile.dockerignore
*
!a
//- src/web/.dockerignore
a
//- src/web/a
1
//- src/web/b
1
";
    check(fixture, |lab| lab.write("src/web/a", "2"), "web (source changed: a)");
    check(fixture, |lab| lab.write("src/web/b", "2"), "");
    check(fixture, |lab| lab.write("src/web/.dockerignore", "b\n"), "");
}

#[test]
fn c10_a_dockerfile_that_is_ignored_still_counts() {
    let fixture = "\
//- src/web/Dockerfile
FROM debian:12
COPY . /web
//- src/web/.dockerignore
*
!a
//- src/web/a
";
    let lab = Lab::built(fixture);
    assert_eq!(lab.look().inputs("web"), ["a"]);
    check(fixture, |lab| lab.append("src/web/Dockerfile", "RUN make\n"), "web (Dockerfile changed)");
}

#[test]
fn c11_an_ignore_file_counts_by_what_it_selects() {
    let fixture = "\
//- src/web/Dockerfile
FROM debian:12
COPY html /web
//- src/web/.dockerignore
html/draft
//- src/web/html/index
//- src/web/html/draft
";
    check(fixture, |lab| lab.append("src/web/.dockerignore", "# a comment\n\nnode_modules\n*.log\n"), "");
    check(fixture, |lab| lab.write("src/web/.dockerignore", "html/dr*\n"), "");
    check(fixture, |lab| lab.remove("src/web/.dockerignore"), "web (source added: html/draft)");
    check(
        fixture,
        |lab| lab.append("src/web/.dockerignore", "html/index\n"),
        "web (source removed: html/index)",
    );
}

#[test]
fn c12_heredocs_are_read() {
    let fixture = "\
//- src/api/Dockerfile
FROM debian:12
RUN <<EOF
FROM redis:7
COPY nothing /here
EOF
COPY <<one <<two /etc/
first
one
second
two
COPY app /app
//- src/api/app/x
1
";
    let lab = Lab::built(fixture);
    let look = lab.look();
    assert_eq!((look.said().as_str(), look.inputs("api").join(" ").as_str()), ("", "app/x"));
    check(fixture, |lab| lab.replace("src/api/Dockerfile", "second", "third"), "api (Dockerfile changed)");
    check(fixture, |lab| lab.write("src/api/app/x", "2"), "api (source changed: app/x)");
    check(fixture, |lab| lab.give("redis:7", "another"), "");
}

#[test]
fn c13_variables_in_from_are_expanded() {
    let fixture = "\
//- .env
BASE=alpine
//- src/api/Dockerfile
ARG BASE=debian
ARG VERSION=3
FROM ${BASE}:${VERSION:-12}
";
    check(fixture, |lab| lab.give("alpine:3", "another"), "api (base image changed: alpine:3)");
    check(fixture, |lab| lab.give("debian:12", "another"), "");
}

#[test]
fn c14_a_base_that_moves_during_the_build_is_noticed() {
    let lab = Lab::new(ONE);
    let planned = lab.look();
    let request = BuildRequest { selected: planned.all(), ..BuildRequest::default() };
    lab.give("debian:12", "moved between the look and the build");
    lab.perform(&planned, &planned.plan(&request));
    let said = lab.unverified(&planned);
    assert!(said.starts_with("its base debian:12 was "), "{said}");
    assert!(said.ends_with(" now; run the command again"), "{said}");
    assert_eq!(lab.stale(), "api (base image changed: debian:12)");
    lab.build();
    assert_eq!(lab.unverified(&lab.look()), "");
}

#[test]
fn c15_size_and_time_are_no_content() {
    let lab = Lab::built(ONE);
    lab.touch("src/api/app/main.py", 1_600_000_000);
    lab.settle();
    lab.write("src/api/app/main.py", "print(2)\n");
    lab.touch("src/api/app/main.py", 1_600_000_000);
    assert_eq!(lab.stale(), "api (source changed: app/main.py)");
}

#[test]
fn c16_a_base_rebuilt_here_keeps_its_name_and_rebuilds_its_dependents() {
    let fixture = "\
//- src/base/Dockerfile
FROM debian:12
COPY x /x
//- src/base/x
1
//- src/mid/Dockerfile
FROM base
//- src/top/Dockerfile
FROM alpine:3
COPY --from=mid /x /x
//- src/other/Dockerfile
FROM debian:12
";
    check(
        fixture,
        |lab| lab.write("src/base/x", "2"),
        "base (source changed: x); mid (base changed: base); top (base changed: mid)",
    );
    check(
        fixture,
        |lab| lab.append("src/mid/Dockerfile", "RUN true\n"),
        "mid (Dockerfile changed); top (base changed: mid)",
    );
}

#[test]
fn c17_a_root_context_has_the_roots_ignore_file() {
    let fixture = "\
//- .dockerignore
shared/secret
//- shared/lib
1
//- shared/secret
1
//- src/api/.dockerignore
shared/lib
//- src/api/Dockerfile
FROM debian:12
COPY shared /shared
COPY src/api/main /main
//- src/api/main
";
    let lab = Lab::built(fixture);
    assert_eq!(lab.look().inputs("api"), ["shared/lib", "src/api/main"]);
    check(fixture, |lab| lab.write("shared/lib", "2"), "api (source changed: shared/lib)");
    check(fixture, |lab| lab.write("shared/secret", "2"), "");
}

#[test]
fn c18_files_of_all_kinds_count() {
    for name in
        ["Makefile", "a.bin", ".hidden", "no extension", "x.lock", "日本.txt", "a.tpl.orig", "Dockerfile"]
    {
        let path = format!("src/api/app/{name}");
        let lab = Lab::built(&format!("{ONE}//- {path}\n1\n"));
        lab.write(&path, "2\n");
        assert_eq!(lab.stale(), format!("api (source changed: app/{name})"));
    }
}

#[test]
fn c19_modes_count() {
    check(ONE, |lab| lab.chmod("src/api/app/main.py", 0o755), "api (mode changed: app/main.py (644 to 755))");
    check(ONE, |lab| lab.chmod("src/api/app", 0o700), "api (mode changed: app (755 to 700))");
    check(ONE, |lab| lab.chmod("src/api/Dockerfile", 0o600), "");
}

#[test]
fn c20_an_image_that_exists_need_not_be_the_one() {
    let lab = Lab::built(ONE);
    lab.give("api:latest", "somebody else's");
    assert_eq!(lab.stale(), "api (has no fingerprint: not built by xtask)");
    let mut stranger = xtask::engine::fake_image("built elsewhere", &[&reference("api:latest")]);
    stranger.labels.insert(labels::FINGERPRINT.to_owned(), format!("sha256:{}", "0".repeat(64)));
    lab.engine.store(stranger.clone());
    assert_eq!(lab.stale(), "api (built by another version of xtask)");
    let key = lab.look().assessment("api").key.clone().unwrap();
    stranger.labels.insert(labels::FINGERPRINT.to_owned(), key.to_string());
    stranger.id = xtask::engine::fake_image("empty", &[]).id;
    stranger.size = 0;
    lab.engine.store(stranger);
    assert_eq!(lab.stale(), "api (has size 0)");
}
