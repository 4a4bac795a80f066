//! `report`: finding and making the page of a run, and the page in a browser.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::repo::TestRepo;

/// A record of a run of so many images, of which one failed, with hostile output.
fn record(repo: &TestRepo, id: &str, images: usize) {
    let mut events = Vec::new();
    let mut event = |elapsed: usize, rest: serde_json::Value| {
        let mut event = serde_json::json!({"v": 1, "at": "2024-11-21T00:08:30.123Z", "elapsed": elapsed});
        event.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        events.push(event.to_string());
    };
    event(
        0,
        serde_json::json!({"event": "run-started", "run": id, "command": "cargo xtask build-all",
        "images": images, "base_images": 1, "engine": "docker 27.3", "network": "external"}),
    );
    let mut plan = Vec::new();
    for n in 0..images {
        let (name, log) =
            (format!("svc-{n:03}"), format!("target/xtask/runs/{id}/logs/build-svc-{n:03}.log"));
        let step = format!("build:{name}");
        let needs = if n == 0 { vec![] } else { vec!["svc-000"] };
        plan.push(serde_json::json!({"name": name, "reference": format!("{name}:v1"), "needs": needs,
            "base_images": ["docker.io/library/alpine:3.20"], "state": "stale", "reason": "Dockerfile changed"}));
        event(
            n * 50,
            serde_json::json!({"event": "step-started", "step": step, "phase": "build", "subject": name,
            "why": format!("source changed: src/{name}/main.go")}),
        );
        event(
            n * 50 + 400,
            serde_json::json!({"event": "step-part", "step": step, "part": "[2/2] RUN make",
            "began": 0, "took": 350, "cached": false}),
        );
        let outcome = if n == 7 { "failed" } else { "done" };
        event(
            n * 50 + 400,
            serde_json::json!({"event": "step-finished", "step": step, "phase": "build",
            "subject": name, "outcome": outcome, "took": 400, "detail": "<script>alert(1)</script>",
            "size": 1_000_000 + n, "last_lines": ["</pre><img src=x onerror=alert(1)>"], "log": log}),
        );
        repo.write(&log, "</pre><script>alert(2)</script>\u{1b}[2J\nboom\n");
    }
    event(
        9_999,
        serde_json::json!({"event": "run-finished", "outcome": "failed", "exit_code": 3,
        "stats": {"done": 1, "up_to_date": 0, "skipped": 0, "failed": 1, "cancelled": 0, "took": 9_999}}),
    );
    let plan = serde_json::json!({"images": plan, "base_images": ["docker.io/library/alpine:3.20"]});
    repo.write(&format!("target/xtask/runs/{id}/plan.json"), &plan.to_string());
    repo.write(&format!("target/xtask/runs/{id}/events.ndjson"), &(events.join("\n") + "\n"));
}

/// The page that `report` names.
fn page(repo: &TestRepo, words: &str) -> PathBuf {
    let output = repo.output(words);
    assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

#[test]
fn says_where_the_page_of_a_run_is() {
    let repo = TestRepo::new("");
    insta::assert_snapshot!(repo.run("report"), @"
    exit 2
    --- stderr
    error: no run on record in target/xtask/runs
    hint: `cargo xtask build-all` makes one
    ");
    record(&repo, "0000000a", 3);
    record(&repo, "0000000b", 2);
    insta::assert_snapshot!(repo.run("report"), @"
    exit 0
    --- stdout
    TMP/tree/target/xtask/runs/RUN/report.html
    ");
    let old = page(&repo, "report 0000000a");
    assert!(old.ends_with("target/xtask/runs/0000000a/report.html") && old.is_absolute(), "{old:?}");
    // Made once, and kept.
    let before = std::fs::metadata(&old).unwrap().modified().unwrap();
    assert_eq!(page(&repo, "report 0000000a"), old);
    assert_eq!(std::fs::metadata(&old).unwrap().modified().unwrap(), before);
    for bad in ["report 0000000c", "report ../../etc", "report ''"] {
        assert_eq!(repo.code(bad), 2, "{bad}");
    }
    // The beginning of an id, the one before the latest, a folder, a file in it, and the same from the root.
    assert_eq!(page(&repo, "report previous"), old);
    assert_eq!(page(&repo, "report ./target/xtask/runs/0000000a"), old);
    assert_eq!(page(&repo, "report target/xtask/runs/0000000a/report.html"), old);
    record(&repo, "1000000c", 1);
    assert!(page(&repo, "report 1").ends_with("1000000c/report.html"));
    insta::assert_snapshot!(repo.run("report 0"), @"
    exit 2
    --- stderr
    error: 2 runs begin with `0`
      caused by: newest first: 0000000b, 0000000a
    hint: `cargo xtask report RUN` with more letters of one of them
    ");
    std::fs::remove_dir_all(repo.root().join("target/xtask/runs/1000000c")).unwrap();
    let told = repo.run("report 0000000c").replace("0000000", "");
    insta::assert_snapshot!(told, @"
    exit 2
    --- stderr
    error: no run `c` on record, did you mean `a`?
      caused by: on record, newest first: b, a
    hint: `cargo xtask history` shows them with what they did
    ");
}

#[test]
fn a_page_that_nothing_opens_says_what_to_do() {
    // The environment of these runs has neither a screen nor a browser.
    let repo = TestRepo::new("");
    record(&repo, "0000000a", 1);
    let output = repo.output("report --open");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.starts_with("it cannot be opened from here ("), "{said}");
    assert!(said.contains("open that file in a browser"), "{said}");
}

#[test]
fn a_run_that_did_something_leaves_a_page() {
    let repo = TestRepo::new("//- .env\nNAME=x\n//- conf.tpl\n{{NAME}}\n");
    let made = |repo: &TestRepo| repo.root().join("target/xtask/runs/latest/report.html").is_file();
    assert_eq!((repo.code("render"), made(&repo)), (0, true));
    assert_eq!((repo.code("render"), made(&repo)), (0, false), "nothing was done");
    assert!(page(&repo, "report").is_file());
}

/// A browser, if there is one.
fn browser() -> Option<PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|path| path.is_file())
}

/// What a browser makes of an address.
fn shown(browser: &Path, address: &str, options: &[&str]) -> Output {
    let profile = tempfile::tempdir().unwrap();
    Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--disable-dev-shm-usage", "--enable-logging=stderr", "--dump-dom"])
        .args(options)
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(address)
        .output()
        .unwrap()
}

#[test]
fn a_browser_shows_a_hundred_images_without_complaint() {
    let Some(browser) = browser() else {
        eprintln!("skipped: no chromium in PATH (`apt-get install chromium`)");
        return;
    };
    let repo = TestRepo::new("");
    record(&repo, "0000000a", 100);
    let page = page(&repo, "report");
    let output = shown(&browser, &format!("file://{}#image=svc-042", page.display()), &[]);
    let (dom, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(dom.contains("</html>"), "{said}");
    assert!(!said.contains("CONSOLE"), "{said}");
    let image = |name: &str| {
        let at = dom.find(&format!("id=\"image-{name}\"")).unwrap_or_else(|| panic!("no {name}"));
        let tag = dom[at..].split('>').next().unwrap().to_owned();
        (tag, dom[at..].split("</details>").next().unwrap().to_owned())
    };
    // What is linked to is opened by the script, which the page's own policy lets through; nothing else is.
    let (tag, inside) = image("svc-042");
    assert!(tag.contains(" open") && inside.contains("source changed: src/svc-042/main.go"), "{tag}");
    assert!(!image("svc-041").0.contains(" open"));
    assert!(image("svc-007").0.contains(" open"), "what failed is open from the start");
    assert!(!dom.contains("id=\"filter\" hidden"), "the filter is there");
    assert_eq!(dom.matches("<script").count(), 1, "no output became a script");
    assert!(!dom.contains("<img"), "no output became an image");
}

/// Runs axe-core in the page and tells the page around it what it finds.
const ASK: &str = "
addEventListener('load', async () => {
  const found = await axe.run(document, { resultTypes: ['violations'] });
  const bad = found.violations.filter(rule => ['serious', 'critical'].includes(rule.impact));
  const told = bad.flatMap(rule => rule.nodes.map(node => `${rule.id}: ${node.target} ${node.failureSummary}`));
  const scheme = matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';
  const asked = found.passes.length > 9 ? 'asked' : 'not asked';
  parent.postMessage([`${innerWidth} ${scheme} ${asked}`, ...told].join(' | '), '*');
});
";

/// Shows it at three widths, and keeps what it hears.
const AROUND: &str = "<!doctype html><ul></ul><script>
addEventListener('message', event => {
  const line = document.createElement('li');
  line.textContent = event.data;
  document.querySelector('ul').append(line);
});
for (const width of [360, 1280, 1920]) {
  const frame = document.createElement('iframe');
  frame.width = width;
  frame.height = 900;
  frame.src = 'asking.html';
  document.body.append(frame);
}
</script>";

#[test]
fn everybody_can_read_the_page() {
    let modules = std::env::var_os("XTASK_TEST_NODE_MODULES").map(PathBuf::from);
    let axe = modules.map(|folder| folder.join("axe-core/axe.min.js")).filter(|file| file.is_file());
    let (Some(browser), Some(axe)) = (browser(), axe) else {
        eprintln!("skipped: no chromium in PATH, or no axe-core (`cargo xtask ci` gets it)");
        return;
    };
    let repo = TestRepo::new("");
    record(&repo, "0000000a", 9);
    let page = std::fs::read_to_string(page(&repo, "report")).unwrap();
    // The page's own policy lets no other script in; what is looked at is the page, not the policy.
    let policy = page.find("<meta http-equiv=\"Content-Security-Policy\"").expect("a policy");
    let end = policy + page[policy..].find('>').unwrap() + 1;
    let open = format!("{}{}", &page[..policy], &page[end..]);
    let axe = std::fs::read_to_string(axe).unwrap();
    let around = repo.home().join("around.html");
    std::fs::write(&around, AROUND).unwrap();
    std::fs::write(
        repo.home().join("asking.html"),
        format!("{open}<script>{axe}</script><script>{ASK}</script>"),
    )
    .unwrap();
    for scheme in ["light", "dark"] {
        let setting = format!("--blink-settings=preferredColorScheme={}", u8::from(scheme == "light"));
        let options = [setting.as_str(), "--window-size=2000,1000", "--virtual-time-budget=60000"];
        let output = shown(&browser, &format!("file://{}", around.display()), &options);
        let dom = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut told: Vec<&str> =
            dom.split("<li>").skip(1).filter_map(|rest| rest.split("</li>").next()).collect();
        told.sort_by_key(|line| line.split(' ').next().and_then(|width| width.parse::<u32>().ok()));
        let expected = [360, 1280, 1920].map(|width| format!("{width} {scheme} asked"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(told, expected, "{said}");
    }
}
