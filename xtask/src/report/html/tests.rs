//! Whole pages: their structure, and that nothing hostile gets through.

use proptest::prelude::*;

use super::material::{Earlier, FormerSize, PlanRecord};
use super::*;
use crate::model::Event;
use crate::report::testing::{Story, big_story, failing_story};

const LOG: &str = "target/xtask/runs/8d2/logs/build-frontend.log";

fn failing_material() -> Material {
    let plan = r#"{
        "images": [
            {"name": "api", "reference": "api:v1", "dockerfile": "src/api/Dockerfile", "context": "src/api",
             "platform": "linux/amd64", "base_images": ["docker.io/library/alpine:3.20"], "state": "stale",
             "inputs": ["Cargo.lock", "main.rs"], "reason": "source changed: src/api/Cargo.lock, and 1 more",
             "changes": ["source changed: src/api/Cargo.lock", "Dockerfile changed"]},
            {"name": "frontend", "reference": "frontend:v1", "state": "missing", "reason": "not built yet"},
            {"name": "shop", "reference": "shop:v1", "needs": ["frontend"], "state": "missing", "reason": "not built yet"},
            {"name": "worker", "reference": "worker:v1", "state": "up-to-date", "reason": "up to date: 212 inputs unchanged"}],
        "base_images": ["docker.io/library/alpine:3.20"],
        "steps": [{"id": "build:shop", "needs": ["build:frontend"]}]}"#;
    let plan: PlanRecord = serde_json::from_str(plan).unwrap();
    let mut material =
        Material { run: "8d2".to_owned(), events: failing_story(), plan, ..Material::default() };
    let lines = ["#7 [4/9] RUN npm ci", "npm ERR! code ENOTFOUND"].map(str::to_owned).to_vec();
    material.tails.insert(LOG.to_owned(), Tail { lines, before: 4_000 });
    let excerpt = Excerpt {
        file: "src/frontend/Dockerfile".to_owned(),
        first: 11,
        lines: ["COPY package.json ./", "RUN npm ci", "COPY <all> ."].map(str::to_owned).to_vec(),
        failed: 12,
    };
    material.excerpts.insert("src/frontend/Dockerfile:12".to_owned(), excerpt);
    let run = "8d1".to_owned();
    material.sizes.insert("api".to_owned(), FormerSize { run: run.clone(), bytes: 1_000_000_000 });
    material.earlier.insert("api".to_owned(), Earlier { run, took: 90_000 });
    material
}

fn page(material: &Material) -> String {
    super::page(material).unwrap()
}

/// The text of a piece of the page, a line for each element that has some.
fn text_of(page: &str, from: &str, to: &str) -> String {
    let piece = page.split(from).nth(1).unwrap_or_else(|| panic!("no {from}"));
    let piece = piece.split(to).next().unwrap();
    let tags = regex::Regex::new("<[^>]*>").unwrap();
    let text = tags.replace_all(piece, "\n");
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

#[test]
fn one_mistake_in_several_places_is_told_once() {
    let step = |subject: &str, cause: &str| crate::report::summary::FailedStep {
        phase: Phase::Build,
        subject: subject.to_owned(),
        failure: crate::model::Failure::of(
            crate::model::ErrorKind::BuildFailed,
            Phase::Build,
            subject,
            cause,
        ),
        reason: None,
        last_lines: vec!["npm ERR! code ENOTFOUND".to_owned()],
        log: None,
    };
    let steps = [
        step("web", "src/web/Dockerfile:5: `RUN npm ci` exited with status 1"),
        step("shop", "src/shop/Dockerfile:9: `RUN npm ci` exited with status 1"),
        step("api", "src/api/Dockerfile:2: `RUN make` exited with status 2"),
    ];
    let told = steps.iter().map(|step| {
        let notice = crate::report::notice::Notice::error(&step.failure.what);
        let (causes, last_lines) = (step.failure.causes.clone(), step.last_lines.clone());
        Told { failure: crate::report::notice::Notice { causes, last_lines, ..notice }, steps: vec![step] }
    });
    let what: Vec<String> = grouped(told.collect()).into_iter().map(|told| told.failure.what).collect();
    assert_eq!(what, ["cannot build images `web` and `shop`", "cannot build image `api`"]);
}

#[test]
fn says_how_it_went_before_all_else() {
    let page = page(&failing_material());
    insta::assert_snapshot!(text_of(&page, "<header", "</header>"), @r#"
    class="mast s-failed">
    Run
    8d2
    1970-01-01 00:00 UTC
    Failed in 93s
    1 pulled, 1 built, 1 up to date, 1 failed, 1 skipped, 1 warning
    4
    images
    1
    failed
    1
    skipped
    1
    built
    1
    up to date
    "#);
    insta::assert_snapshot!(text_of(&page, "<nav", "</nav>"), @r#"
    aria-label="Sections">
    What failed
    1
    Timeline
    Graph
    Images
    4
    Base images
    1
    Steps
    Warnings and notes
    2
    "#);
    insta::assert_snapshot!(text_of(&page, "<section id=\"failures\"", "</section>"), @r#"
    aria-labelledby="failures-title">
    What failed
    cannot build image
    frontend
    src/frontend/Dockerfile:12:
    RUN npm ci
    exited with status 1
    npm ERR! code ENOTFOUND
    src/frontend/Dockerfile:12
    11
    COPY package.json ./
    12
    RUN npm ci
    13
    COPY &lt;all&gt; .
    cargo xtask build frontend
    tries again
    Whole log:
    target/xtask/runs/8d2/logs/build-frontend.log
    All about frontend
    "#);
}

#[test]
fn says_all_about_an_image() {
    let page = page(&failing_material());
    insta::assert_snapshot!(text_of(&page, "id=\"image-api\"", "</details>"), @"
    >
    built
    api
    source changed: src/api/Cargo.lock
    82s
    1.2 GB
    +200 MB (+20%)
    What changed
    source changed: src/api/Cargo.lock
    Dockerfile changed
    Size
    1.2 GB, +200 MB (+20%) since run
    8d1
    Time
    82s, 90s the time before
    Image ID
    sha256:9f0c9f0c9f0c9f0c9f0c9f0c9f0c9f0c9f0c9f0c9f0c9f0c9f0c9f0c9f0c9f0c
    Reference
    api:v1
    Dockerfile
    src/api/Dockerfile
    Context
    src/api
    Platform
    linux/amd64
    Inputs
    2 files
    Base images
    alpine:3.20
    2 instructions, 1 from the cache
    Place
    Instruction
    Result
    Time
    When
    Stage
    builder
    80s, 1 of 2 from the cache
    1/2
    FROM docker.io/library/rust:1.80
    cached
    2/2
    RUN cargo build --release
    ran
    80s
    ");
    insta::assert_snapshot!(text_of(&page, "id=\"image-frontend\" open", "</details>"), @r#"
    ="">
    failed
    frontend
    not built yet
    84s
    Time
    84s
    Reference
    frontend:v1
    Needed by
    shop
    failed
    build, 84s
    src/frontend/Dockerfile:12:
    RUN npm ci
    exited with status 1
    1 instruction, 0 from the cache
    Place
    Instruction
    Result
    Time
    When
    Stage without a name
    1.9s
    4/9
    RUN npm ci
    failed
    1.9s
    Log
    , the last 2 lines; 4.0 kB before them only in the file
    #7 [4/9] RUN npm ci
    npm ERR! code ENOTFOUND
    Whole log:
    target/xtask/runs/8d2/logs/build-frontend.log
    "#);
    insta::assert_snapshot!(text_of(&page, "id=\"image-worker\"", "</details>"), @"
    >
    up to date
    worker
    up to date: 212 inputs unchanged
    Reference
    worker:v1
    ");
    insta::assert_snapshot!(text_of(&page, "id=\"base-alpine:3.20", "</tr>"), @r#"
    ">
    pulled
    alpine:3.20
    sha256:1e421e421e421e421e421e421e421e421e421e421e421e421e421e421e421e42
    not in the local store
    api
    6.0s
    "#);
    insta::assert_snapshot!(text_of(&page, "<section id=\"notes\"", "</section>"), @r#"
    aria-labelledby="notes-title">
    Warnings and notes
    00:02
    retry
    alpine:3.20
    try 1 failed, again in 2.0s (TLS handshake timeout)
    00:09
    warning
    api
    base image debian:12-slim is a year old
    "#);
}

/// Tags that are opened are closed, in the right order, and ids are there once; links within the page lead somewhere.
fn check_structure(page: &str) {
    let tags = regex::Regex::new(r#"<(/?)([a-z0-9]+)((?:[^<>"]|"[^"]*")*?)(/?)>"#).unwrap();
    let body = page.strip_prefix("<!doctype html>").unwrap().split("<script>").next().unwrap();
    let body = format!("{}{}", body.split("<style>").next().unwrap(), body.split("</style>").nth(1).unwrap());
    let mut open = Vec::new();
    let mut ids = std::collections::BTreeSet::new();
    let attribute = |text: &str, name: &str| {
        let (_, rest) = text.split_once(&format!(" {name}=\""))?;
        Some(rest.split('"').next()?.to_owned())
    };
    let mut targets = Vec::new();
    for tag in tags.captures_iter(&body) {
        let name = tag[2].to_owned();
        if let Some(id) = attribute(&tag[3], "id") {
            assert!(ids.insert(id.clone()), "{id} twice");
        }
        targets.extend(attribute(&tag[3], "href").and_then(|to| to.strip_prefix('#').map(str::to_owned)));
        let is_void = matches!(name.as_str(), "meta" | "link" | "input" | "br");
        if &tag[1] == "/" {
            assert_eq!(open.pop().as_deref(), Some(name.as_str()), "{}", &tag[0]);
        } else if &tag[4] != "/" && !is_void {
            open.push(name);
        }
    }
    assert_eq!(open, ["html", "body"], "the script follows");
    for target in targets {
        assert!(ids.contains(&target), "#{target} leads nowhere");
    }
    let outside = tags.replace_all(&body, "");
    assert!(!outside.contains(['<', '>']), "a tag that is none");
}

#[test]
fn pages_are_well_formed() {
    check_structure(&page(&failing_material()));
    check_structure(&page(&Material::default()));
    for count in 0..failing_story().len() {
        let mut material = failing_material();
        material.events.truncate(count);
        check_structure(&page(&material));
    }
}

#[test]
fn a_run_without_anything_says_so() {
    let page = page(&Material::default());
    assert!(page.contains("<p>Nothing was done, and nothing was left undone.</p>") && !page.contains("<nav"));
}

#[test]
fn an_interrupted_run_says_what_a_reader_can_use() {
    let mut story = Story::new();
    story.begin(1, 0).start(Phase::Build, "api", "not built yet");
    story.tell(crate::model::EventKind::CancelRequested {
        cause: "interrupted; once more ends at once".to_owned(),
    });
    story.end(Outcome::Cancelled, 130);
    let page = page(&Material { events: story.events, ..Material::default() });
    assert!(page.contains(">Cancelled: interrupted</p>"));
    assert!(!page.contains("once more"), "that is for the terminal");
}

#[test]
fn what_is_up_to_date_has_its_size_and_what_it_was() {
    let mut material = failing_material();
    let mut story = Story::new();
    story.start(Phase::Verify, "worker", "up to date").finish(
        Phase::Verify,
        "worker",
        1,
        Some(5_000_000),
        "",
    );
    material.events.extend(story.events);
    material.sizes.insert("worker".to_owned(), FormerSize { run: "8d1".to_owned(), bytes: 5_000_000 });
    let page = page(&material);
    let told = text_of(&page, "id=\"image-worker\"", "</details>");
    assert!(told.contains("5.0 MB, same size as in run\n8d1"), "{told}");
}

#[test]
fn asks_nobody_for_anything() {
    let page = page(&failing_material());
    for word in ["http://", "https://", "//www", "@import", "url(h", " src=", "style=\"", "onclick"] {
        assert!(!page.contains(word), "{word}");
    }
    let policy = page.split("content=\"").nth(1).unwrap().split('"').next().unwrap();
    assert!(policy.starts_with("default-src &#39;none&#39;;"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
}

/// A run in which every text is this one.
fn hostile(text: &str) -> Material {
    let mut story = Story::new();
    story.begin(1, 1).start(Phase::Build, text, text).warn(None, text);
    story.part(Phase::Build, text, text, 0, 10).log(Phase::Build, text, text);
    story.at(2).fail(Phase::Build, text, text, &[text]);
    story.skip(Phase::Prefetch, text, Outcome::Failed, text).end(Outcome::Failed, 3);
    let named = |text: &str| serde_json::Value::from(text);
    let plan = serde_json::json!({
        "images": [{"name": named(text), "reference": named(text), "dockerfile": named(text), "context": named(text),
            "key": named(text), "reason": named(text), "changes": [named(text), named(text)],
            "base_images": [named(text)], "needs": [named(text)], "inputs": [named(text)]}],
        "base_images": [named(text)], "base_image_ids": {text: named(text)},
    });
    let mut material = Material {
        run: text.to_owned(),
        events: story.events,
        plan: serde_json::from_value(plan).unwrap(),
        ..Material::default()
    };
    for event in &mut material.events {
        if let crate::model::EventKind::StepFinished { log, .. } = &mut event.kind {
            *log = Some(text.to_owned());
        }
    }
    material.tails.insert(text.to_owned(), Tail { lines: vec![text.to_owned()], before: 1 });
    material
}

#[test]
fn hostile_output_harms_nothing() {
    for text in [
        "</pre></script><script>alert(1)</script>",
        "\" onmouseover=\"alert(1)",
        "<!--",
        "]]><svg onload=alert(1)>",
        "\x1b[2J\x1b]0;title\x07\x1b[31mred",
        "evil\u{202e}gpj.exe\0",
        "javascript:alert(1)",
        "`a` `<b>`",
        "",
    ] {
        let page = page(&hostile(text));
        check_structure(&page);
        assert_eq!(page.matches("<script>").count(), 1, "{text}");
        assert!(!page.contains("href=\"javascript"), "{text}");
        assert!(!page.contains(['\x1b', '\0', '\u{202e}']), "{text}");
    }
}

#[test]
fn megabytes_on_one_line_are_cut() {
    let page = page(&hostile(&"a<".repeat(1_000_000)));
    assert!(page.len() < 500_000, "{}", page.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn any_text_leaves_the_page_whole(text in "(\\PC|[<>&\"'`#\\n\\x00-\\x1f]){0,30}") {
        check_structure(&page(&hostile(&text)));
    }
}

#[test]
fn a_hundred_images_make_a_light_page() {
    let (events, plan) = big_story(100);
    let plan: PlanRecord = serde_json::from_value(plan).unwrap();
    let mut material = Material { run: "8d2".to_owned(), events, plan, ..Material::default() };
    let lines: Vec<String> =
        (0..16).map(|n| format!("#{n} a line of a log, as long as lines of logs are")).collect();
    let logs: Vec<String> = material.events.iter().filter_map(log_of).collect();
    material.tails.extend(logs.into_iter().map(|log| (log, Tail { lines: lines.clone(), before: 9_999 })));
    let page = page(&material);
    check_structure(&page);
    assert!(page.len() < 1_000_000, "{} bytes", page.len());
}

fn log_of(event: &Event) -> Option<String> {
    match &event.kind {
        crate::model::EventKind::StepFinished { log, .. } => log.clone(),
        _ => None,
    }
}
