//! Lineages and forecasts of tiny trees, before and after a change.

use std::collections::BTreeMap;

use super::forecast::{Forecast, KeptRecord, forecast};
use super::lineage::{Lineage, LineageInput, lineages, parse_record};
use crate::model::{Identity, ImageId, ImageName, ImageSource, Platform, Reference};
use crate::read::tree::{self, Reading};
use crate::settings::env::Env;
use crate::settings::{Layer, load};
use crate::testing::TestTree;

fn look(tree: &TestTree) -> Reading {
    let config = load(&tree.root(), Layer::default(), &Env::default(), None).unwrap();
    tree::look(&config, Platform::local()).unwrap()
}

/// `id` is what every external image is; keys are digests of contexts, which is enough here.
fn read(reading: &Reading, id: &str) -> BTreeMap<ImageName, Vec<Lineage>> {
    let id: ImageId = format!("sha256:{}", id.repeat(64)).parse().unwrap();
    lineages(&LineageInput {
        graph: &reading.tree.graph,
        files: &|name| Some(reading.tree.contexts.get(name)?.files.clone()),
        build_platform: &Platform::local(),
        base: &|_: &Reference| Some(Identity::of_stored(&id)),
        key: &|name| reading.tree.contexts.get(name)?.digest.clone(),
    })
}

fn names(all: &BTreeMap<ImageName, Vec<Lineage>>) -> String {
    let one = |lineage: &Lineage| {
        let lines = lineage.text.as_ref().map_or("all".to_owned(), |text| text.lines().count().to_string());
        format!("{} ({} steps, {lines} lines)", lineage.reference.familiar(), lineage.steps.len())
    };
    let image = |(name, lineages): (&ImageName, &Vec<Lineage>)| {
        format!("{name}: {}\n", lineages.iter().map(one).collect::<Vec<_>>().join(", "))
    };
    all.iter().map(image).collect()
}

/// What is expected of a rebuild after `change`.
#[track_caller]
fn after(fixture: &str, change: impl FnOnce(&TestTree)) -> String {
    let tree = TestTree::new(fixture);
    let before = read(&look(&tree), "1");
    change(&tree);
    let reading = look(&tree);
    let now = read(&reading, "1");
    let mut told = String::new();
    for (image, lineages) in &now {
        let then = &before[image];
        let record = |lineage: &Lineage| {
            let old = then.iter().find(|old| old.reference == lineage.reference);
            old.and_then(|old| parse_record(&old.record())).map_or(KeptRecord::Absent, KeptRecord::Known)
        };
        told.push_str(&tell(&reading, image, lineages, record));
    }
    told
}

fn tell(
    reading: &Reading,
    image: &ImageName,
    lineages: &[Lineage],
    record: impl Fn(&Lineage) -> KeptRecord,
) -> String {
    let ImageSource::Build(target) = &reading.tree.graph.get(image).unwrap().source else {
        return String::new();
    };
    let forecast: Forecast = forecast(image, &target.dockerfile, lineages, record);
    let blocked: Vec<_> = forecast.blockers().map(|rerun| format!("BLOCKED {rerun}\n")).collect();
    let rest = forecast.reruns.iter().filter(|rerun| !forecast.blockers().any(|b| b == *rerun));
    blocked.into_iter().chain(rest.map(|rerun| format!("{rerun}\n"))).collect()
}

const THREE: &str = "\
//- src/api/Dockerfile
FROM debian:12 AS deps
COPY requirements.txt .
RUN pip install -r requirements.txt
FROM deps AS builder
RUN apt-get update && apt-get install -y make
COPY src src
RUN make
FROM debian:12 AS assets
COPY style style
RUN npm ci
FROM debian:12
RUN apt-get install -y ca-certificates
COPY --from=builder /out /out
COPY --from=2 /dist /dist
RUN chmod +x /out
//- src/api/requirements.txt
flask
//- src/api/src/main.py
1
//- src/api/style/a.css
a
";

#[test]
fn stages_that_nothing_stands_on_are_kept() {
    let tree = TestTree::new(THREE);
    insta::assert_snapshot!(names(&read(&look(&tree), "1")), @"
    api: xtask-cache/api:latest.builder (6 steps, 7 lines), xtask-cache/api:latest.assets (3 steps, 10 lines), xtask-cache/api:latest.3 (5 steps, all lines)
    ");
}

#[test]
fn images_of_one_dockerfile_share_their_stages() {
    let tree = TestTree::new(
        "\
//- src/api/build-targets.conf
api api
worker worker
//- src/api/Dockerfile
FROM debian:12 AS common
COPY a .
FROM debian:12 AS api
COPY --from=common /a /a
FROM debian:12 AS worker
COPY --from=common /a /b
RUN make
//- src/api/a
1
",
    );
    insta::assert_snapshot!(names(&read(&look(&tree), "1")), @"
    api: xtask-cache/api:latest.common (2 steps, 2 lines)
    worker: xtask-cache/api:latest.common (2 steps, 2 lines), xtask-cache/worker:latest.worker (3 steps, all lines)
    ");
}

#[test]
fn a_target_that_only_copies_is_kept_where_an_image_stands_on_it() {
    let tree = TestTree::new(
        "\
//- src/base/Dockerfile
FROM debian:12
COPY a .
//- src/base/a
1
//- src/api/Dockerfile
FROM base
COPY --from=base /a /b
",
    );
    insta::assert_snapshot!(names(&read(&look(&tree), "1")), @"
    api: 
    base: xtask-cache/base:latest.0 (2 steps, all lines)
    ");
}

#[test]
fn nothing_changed_so_nothing_runs() {
    assert_eq!(after(THREE, |_| ()), "");
}

#[test]
fn a_source_file_runs_what_comes_after_it() {
    insta::assert_snapshot!(after(THREE, |tree| tree.write("src/api/src/main.py", "2\n")), @"
    src/api/Dockerfile:7: `RUN make` runs again: src/main.py has changed (COPY at src/api/Dockerfile:6); no tool in it is known to need a network
    src/api/Dockerfile:15: `RUN chmod +x /out` may run again: stage `builder` is made again; no tool in it is known to need a network
    ");
}

#[test]
fn a_changed_list_of_packages_is_named_with_the_instructions_that_need_a_network() {
    insta::assert_snapshot!(after(THREE, |tree| tree.write("src/api/requirements.txt", "flask 2\n")), @"
    BLOCKED src/api/Dockerfile:3: `RUN pip install -r requirements.txt` runs again: requirements.txt has changed (COPY at src/api/Dockerfile:2); `pip install -r requirements.txt` needs a network
    BLOCKED src/api/Dockerfile:5: `RUN apt-get update && apt-get install -y make` runs again: requirements.txt has changed (COPY at src/api/Dockerfile:2); `apt-get update` needs a network
    src/api/Dockerfile:7: `RUN make` runs again: requirements.txt has changed (COPY at src/api/Dockerfile:2); no tool in it is known to need a network
    src/api/Dockerfile:15: `RUN chmod +x /out` may run again: stage `builder` is made again; no tool in it is known to need a network
    ");
}

#[test]
fn a_changed_instruction_is_named() {
    let changed = THREE.replace("RUN npm ci", "RUN npm ci --omit=dev");
    let change = |tree: &TestTree| {
        let text = changed.split("//- src/api/requirements").next().unwrap();
        tree.write("src/api/Dockerfile", text.split_once('\n').unwrap().1);
    };
    insta::assert_snapshot!(after(THREE, change), @"
    BLOCKED src/api/Dockerfile:10: `RUN npm ci --omit=dev` runs again: the instruction at src/api/Dockerfile:10 has changed; `npm ci --omit=dev` needs a network
    src/api/Dockerfile:15: `RUN chmod +x /out` may run again: stage `assets` is made again; no tool in it is known to need a network
    ");
}

#[test]
fn comments_and_what_is_copied_but_never_run_say_nothing() {
    let change = |tree: &TestTree| {
        let text = tree.read("src/api/Dockerfile");
        tree.write("src/api/Dockerfile", format!("# new\n\n{text}"));
    };
    assert_eq!(after(THREE, change), "");
}

#[test]
fn another_base_runs_everything_on_it() {
    let tree = TestTree::new("//- src/api/Dockerfile\nFROM debian:12\nRUN apt-get update\n");
    let before = read(&look(&tree), "1");
    let reading = look(&tree);
    let now = read(&reading, "2");
    let api = ImageName::new("api");
    let told = tell(&reading, &api, &now[&api], |_| {
        parse_record(&before[&api][0].record()).map_or(KeptRecord::Absent, KeptRecord::Known)
    });
    insta::assert_snapshot!(told, @"BLOCKED src/api/Dockerfile:2: `RUN apt-get update` runs again: `FROM debian:12` at src/api/Dockerfile:1 is another image now; `apt-get update` needs a network");
    let other =
        |_: &Lineage| KeptRecord::OtherBuilder("engine 20.10".to_owned(), "engine 23 or newer".to_owned());
    let told = tell(&reading, &api, &now[&api], other);
    insta::assert_snapshot!(told, @"BLOCKED src/api/Dockerfile:2: `RUN apt-get update` runs again: the stage was kept by engine 20.10, and the builder of engine 23 or newer does not take that over; `apt-get update` needs a network");
    let told = tell(&reading, &api, &now[&api], |_| KeptRecord::Absent);
    insta::assert_snapshot!(told, @"src/api/Dockerfile:2: `RUN apt-get update` may run again: no kept image of stage `0` is here; `apt-get update` needs a network");
}

#[test]
fn a_base_that_an_earlier_release_called_otherwise_forbids_nothing() {
    let tree = TestTree::new(
        "//- src/api/Dockerfile\nFROM debian:12\nRUN apt-get update\nCOPY a .\nRUN make\n//- src/api/a\n1\n",
    );
    let before = read(&look(&tree), "1");
    let api = ImageName::new("api");
    let former =
        |_: &Lineage| parse_record(&before[&api][0].record()).map_or(KeptRecord::Absent, KeptRecord::Former);
    let reading = look(&tree);
    let told = tell(&reading, &api, &read(&reading, "2")[&api], former);
    insta::assert_snapshot!(told, @"
    src/api/Dockerfile:2: `RUN apt-get update` may run again: another version of xtask kept stage `0`, and what it stood on cannot be compared; `apt-get update` needs a network
    src/api/Dockerfile:4: `RUN make` may run again: another version of xtask kept stage `0`, and what it stood on cannot be compared; no tool in it is known to need a network
    ");
    tree.write("src/api/a", "2\n");
    let reading = look(&tree);
    let told = tell(&reading, &api, &read(&reading, "2")[&api], former);
    insta::assert_snapshot!(told, @"src/api/Dockerfile:4: `RUN make` runs again: a has changed (COPY at src/api/Dockerfile:3); no tool in it is known to need a network");
}

#[test]
fn an_image_of_this_tree_that_is_rebuilt_is_another_base() {
    let fixture = "\
//- src/base/Dockerfile
FROM debian:12
COPY a .
//- src/base/a
1
//- src/api/Dockerfile
FROM base
RUN apk add curl
";
    insta::assert_snapshot!(after(fixture, |tree| tree.write("src/base/a", "2\n")), @"BLOCKED src/api/Dockerfile:2: `RUN apk add curl` runs again: `FROM base:latest` at src/api/Dockerfile:1 is another image now; `apk add curl` needs a network");
}

#[test]
fn a_download_is_asked_for_each_time_unless_it_is_pinned() {
    let fixture = "\
//- src/api/Dockerfile
FROM debian:12
ADD https://x.example/a.tgz /a
ADD --checksum=sha256:0000000000000000000000000000000000000000000000000000000000000000 https://x.example/b /b
RUN make
COPY c .
//- src/api/c
1
";
    insta::assert_snapshot!(after(fixture, |tree| tree.write("src/api/c", "2\n")), @"
    BLOCKED src/api/Dockerfile:2: `ADD https://x.example/a.tgz /a` runs again: a server is asked at every build; `--checksum` spares that; `ADD https://x.example/a.tgz` needs a network
    src/api/Dockerfile:3: `ADD --checksum=sha256:0000000000000000000000000000000000000000000000000000000000000000 https://x.example/b /b` may run again: a server is asked at every build; `--checksum` spares that; `ADD https://x.example/b` needs a network
    src/api/Dockerfile:4: `RUN make` may run again: a server is asked at every build; `--checksum` spares that; no tool in it is known to need a network
    ");
}

#[test]
fn build_args_count_where_they_are_declared() {
    let fixture = "\
//- .env
VERSION=1
//- src/api/Dockerfile
ARG VERSION
FROM debian:12
RUN apt-get update
ARG VERSION
RUN curl https://x.example/$VERSION
";
    insta::assert_snapshot!(after(fixture, |tree| tree.write(".env", "VERSION=2\n")), @"BLOCKED src/api/Dockerfile:5: `RUN curl https://x.example/$VERSION` runs again: the instruction at src/api/Dockerfile:4 has changed; `curl https://x.example/$VERSION` needs a network");
}
