//! What a build gets to see: the image that this program makes has the same files as the one that `docker build` makes
//! of the whole context.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use sha2::{Digest as _, Sha256};
use xtask::build::Builder as _;
use xtask::engine::Store as _;
use xtask::model::{ImageSource, Modes, Plan, Platform, Severity, StepKind};
use xtask::plan::build::{BuildRequest, assess, plan};
use xtask::read::tree;
use xtask::settings::env::Env;
use xtask::settings::{Layer, load};

use crate::testing::TestTree;
use crate::world::{World, quietly, real_world};

/// A tree with one service `app`, and what a fixture cannot say of it.
struct Case {
    what: &'static str,
    fixture: &'static str,
    prepare: fn(&Path),
}

const fn case(what: &'static str, fixture: &'static str) -> Case {
    Case { what, fixture, prepare: |_| {} }
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// `BASE` stands for an image with a shell, `TREE/x` for the image of another service.
const CASES: &[Case] = &[
    Case {
        what: "a folder with modes, an empty folder, hidden files",
        fixture: "//- src/app/Dockerfile\nFROM scratch\nCOPY d /x\nCOPY d /y/\n//- src/app/d/a\n1\n//- src/app/d/run mode=755\n\
                  //- src/app/d/.hidden mode=600\n//- src/app/d/e/\n//- src/app/d/f/g/h\n//- src/app/d/s mode=4755\n",
        prepare: |app| {
            chmod(&app.join("d"), 0o750);
            chmod(&app.join("d/e"), 0o1777);
            chmod(&app.join("d/f"), 0o700);
        },
    },
    case(
        "triggers of a base",
        "//- src/base/Dockerfile\nFROM BASE\nONBUILD ARG D=.\nONBUILD COPY $D /app\n\
         ONBUILD RUN --mount=type=bind,source=deep,target=/s cat /s/two > /bound\nONBUILD ADD *.md /docs/\n\
         //- src/app/Dockerfile\nFROM TREE/base:latest\nCOPY one /meta/\n//- src/app/one\n1\n//- src/app/deep/two\n2\n\
         //- src/app/a.md\n//- src/app/drop.log\n//- src/app/.dockerignore\n*.log\n",
    ),
    case(
        "triggers that a base in between has consumed",
        "//- src/base/Dockerfile\nFROM BASE\nONBUILD COPY . /app\n\
         //- src/middle/Dockerfile\nFROM TREE/base:latest AS first\nFROM first\nONBUILD COPY one /one\n//- src/middle/x\n1\n\
         //- src/app/Dockerfile\nFROM TREE/middle:latest\nCOPY two /\n//- src/app/one\n1\n//- src/app/two\n2\n//- src/app/three\n3\n",
    ),
    case(
        "modes and owners that COPY gives",
        "//- src/app/Dockerfile\nFROM scratch\nCOPY --chmod=711 d /x/\nCOPY --chmod=600 d/a /y\nCOPY --chown=3:4 d /z\nCOPY d/a /w\n\
         //- src/app/d/a mode=755\n1\n//- src/app/d/e/b mode=600\n//- src/app/d/s mode=4755\n",
    ),
    case(
        "wildcards",
        "//- src/app/Dockerfile\nFROM scratch\nCOPY *.txt /a/\nCOPY d*/x? /b/\nCOPY [pq]* /c/\nCOPY none* e/n*/m /d/\n\
         //- src/app/1.txt\n1\n//- src/app/2.txt\n//- src/app/3.md\n//- src/app/d1/x1\n//- src/app/d2/x2/deep/y\n//- src/app/d2/xyz\n\
         //- src/app/p\n//- src/app/q/r\n//- src/app/e/n1/m\n//- src/app/e/n2/o\n//- src/app/.txt\n",
    ),
    case(
        "a symlink to a file and to a folder",
        "//- src/app/Dockerfile\nFROM scratch\nCOPY lf /f\nCOPY ld /d\nCOPY ld/ /e/\n//- src/app/lf -> real/file\n//- src/app/ld -> real\n\
         //- src/app/real/file\n1\n//- src/app/real/in/x\n//- src/app/real/again -> in\n//- src/app/real/broken -> nowhere\n//- src/app/real/abs -> /etc/passwd\n",
    ),
    case(
        "a symlinked parent, chains, absolute links, links that climb out",
        "//- src/app/Dockerfile\nFROM scratch\nCOPY l1/file /a\nCOPY abs/file /b\nCOPY up/real/file /c\nCOPY real/side/x /d\n\
         //- src/app/l1 -> l2\n//- src/app/l2 -> real\n//- src/app/abs -> /real\n//- src/app/up -> ../../../..\n\
         //- src/app/real/file\n1\n//- src/app/real/side -> ../other\n//- src/app/other/x\n2\n",
    ),
    case(
        "wildcards that match symlinks",
        "//- src/app/Dockerfile\nFROM scratch\nCOPY *.lnk /a/\nCOPY d/* /b/\n//- src/app/one.lnk -> real/one\n//- src/app/two.lnk -> real/two\n\
         //- src/app/real/one\n1\n//- src/app/real/two/x\n2\n//- src/app/real/two/y -> x\n//- src/app/d/l -> ../real/one\n//- src/app/d/f\n3\n",
    ),
    case(
        "wildcards behind a symlink",
        "//- src/app/Dockerfile\nFROM scratch\nCOPY ld/*.txt /a/\nCOPY k*/x /b/\n//- src/app/ld -> real\n//- src/app/real/1.txt\n1\n\
         //- src/app/real/2.md\n//- src/app/k1/x\n1\n//- src/app/real/x\n2\n",
    ),
    case(
        "wildcards beside a symlinked folder",
        "//- src/app/Dockerfile\nFROM scratch\nCOPY k*/x /b/\n//- src/app/k1/x\n1\n//- src/app/k2 -> real\n//- src/app/real/x\n2\n",
    ),
    case(
        "symlinks below a copied folder stay",
        "//- src/app/Dockerfile\nFROM scratch\nCOPY d /d\n//- src/app/d/up -> ..\n//- src/app/d/loop -> loop\n//- src/app/d/other -> ../other\n//- src/app/other/x\n1\n",
    ),
    case(
        "everything, with an ignore file",
        "//- src/app/Dockerfile\nFROM scratch\nCOPY . /x/\n//- src/app/.dockerignore\n# built things\n\ndist  \n!dist/keep\n**/*.log\n!important.log\n\
         /node_modules/\ntmp/*/deep\n//- src/app/dist/keep/a\n1\n//- src/app/dist/drop\n//- src/app/dist/e/f\n//- src/app/a.log\n//- src/app/d/b.log\n\
         //- src/app/important.log\n//- src/app/node_modules/m/n\n//- src/app/sub/node_modules/m\n//- src/app/tmp/one/deep/x\n//- src/app/tmp/one/y\n//- src/app/dirty -> dist\n",
    ),
    Case {
        what: "an ignored folder's own mode",
        fixture: "//- src/app/Dockerfile\nFROM scratch\nCOPY . /x/\n//- src/app/.dockerignore\ndist\n!dist/keep\n//- src/app/dist/keep/a\n1\n//- src/app/dist/drop\n",
        prepare: |app| chmod(&app.join("dist"), 0o700),
    },
    case(
        "the Dockerfile and the ignore file ignored",
        "//- src/app/Dockerfile\nFROM scratch\nCOPY . /x/\n//- src/app/.dockerignore\n*\n!a*\n!c/keep\n!c/d/keep\n//- src/app/ab\n1\n//- src/app/b\n//- src/app/c/keep\n2\n//- src/app/c/d/keep/e\n3\n//- src/app/c/d/f\n",
    ),
    case(
        "an ignore file of the Dockerfile's own",
        "//- src/app/Dockerfile\nFROM scratch\nCOPY . /x/\n//- src/app/Dockerfile.dockerignore\nb\n//- src/app/.dockerignore\na\n//- src/app/a\n1\n//- src/app/b\n2\n",
    ),
    case(
        "a file re-included below an ignored folder",
        "//- src/app/Dockerfile\nFROM scratch\nCOPY dist/a/x /x\nCOPY dist /y\n//- src/app/.dockerignore\ndist\n!dist/a/x\n//- src/app/dist/a/x\n1\n//- src/app/dist/a/y\n//- src/app/dist/b/z\n",
    ),
    case(
        "a folder whose content is ignored",
        "//- src/app/Dockerfile\nFROM scratch\nCOPY dist /y\n//- src/app/.dockerignore\ndist/*\n//- src/app/dist/a/x\n1\n",
    ),
    case(
        "modes and owners given by the instruction",
        "//- src/app/Dockerfile\nFROM scratch\nCOPY --chmod=751 --chown=5:6 d /d\nCOPY --chmod=0600 f /f\n//- src/app/d/x\n1\n//- src/app/f\n2\n",
    ),
    case(
        "odd names",
        "//- src/app/Dockerfile\nFROM scratch\nCOPY [\"with space\", \"ünï/日本.txt\", \"/a b/\"]\nCOPY pages /p\nCOPY pages/[[]id].js /q/\nCOPY pages/\\[id\\].js /r/\nCOPY link /s\nCOPY \"quoted name\" /t\n\
         //- src/app/with space\n1\n//- src/app/ünï/日本.txt\n2\n//- src/app/pages/[id].js\n3\n//- src/app/pages/[...all]/x*y\n4\n//- src/app/pages/i.js\n5\n//- src/app/link -> pages/[...all]\n//- src/app/quoted name\n",
    ),
    case(
        "paths that have to be cleaned",
        "//- src/app/Dockerfile\nFROM scratch\nCOPY /a /1\nCOPY ./b/../a /2\nCOPY d/. /3/\nCOPY ../../a /4\nCOPY d// /5\nCOPY ./ /6/\n//- src/app/a\n1\n//- src/app/b/x\n//- src/app/d/y\n2\n//- src/app/.dockerignore\nb\n",
    ),
    case(
        "several stages that read the context",
        "//- src/app/Dockerfile\nFROM scratch AS one\nCOPY a /a\nFROM scratch AS unused\nCOPY missing /\nFROM scratch\nCOPY --from=one /a /x\nCOPY b /b\n//- src/app/a\n1\n//- src/app/b\n2\n//- src/app/c\n",
    ),
    case(
        "a context at the root",
        "//- src/app/Dockerfile\nFROM scratch\nCOPY shared /s\nCOPY src/app/own /o\nCOPY src/*/conf /c/\n//- shared/lib\n1\n//- shared/secret\n//- .dockerignore\nshared/secret\n//- src/app/own\n2\n//- src/app/conf\n//- src/other/conf\n",
    ),
    Case {
        what: "an archive that is unpacked",
        fixture: "//- src/app/Dockerfile\nFROM scratch\nADD a.tar /x/\nADD d /y/\nCOPY a.tar /z/\n//- src/app/d/e\n1\n",
        prepare: |app| {
            let mut tar = tar::Builder::new(fs::File::create(app.join("a.tar")).unwrap());
            tar.append_dir_all("inside", app.join("d")).unwrap();
            tar.finish().unwrap();
        },
    },
    case(
        "bind mounts",
        "//- src/app/Dockerfile\nFROM BASE\nRUN --mount=type=bind,source=d,target=/m /bin/busybox cp -a /m /d\nRUN --mount=type=bind,source=f,target=/m /bin/busybox cp -a /m /f\n\
         RUN --mount=type=bind,source=ld,target=/m /bin/busybox cp -a /m /ld\nRUN --mount=target=/m /bin/busybox cp -a /m /all\n\
         //- src/app/d/x\n1\n//- src/app/d/l -> x\n//- src/app/f mode=755\n2\n//- src/app/ld -> real\n//- src/app/real/y\n3\n//- src/app/ignored\n//- src/app/.dockerignore\nignored\n",
    ),
    case(
        "bind mounts alone",
        "//- src/app/Dockerfile\nFROM BASE\nRUN --mount=type=bind,source=d,target=/m /bin/busybox cp -a /m /d\nRUN --mount=type=bind,source=ld/y,target=/m /bin/busybox cp -a /m /ld\n\
         //- src/app/d/x\n1\n//- src/app/d/l -> x\n//- src/app/ld -> real\n//- src/app/real/y\n3\n//- src/app/z\n",
    ),
    // What both have to refuse.
    case("a source that is missing", "//- src/app/Dockerfile\nFROM scratch\nCOPY a b /x/\n//- src/app/a\n"),
    case(
        "a folder that is ignored",
        "//- src/app/Dockerfile\nFROM scratch\nCOPY a /x/\n//- src/app/a/b\n//- src/app/.dockerignore\na\n",
    ),
    case(
        "a bind mount that is missing",
        "//- src/app/Dockerfile\nFROM BASE\nRUN --mount=source=a,target=/m true\n",
    ),
    case("a symlink to nothing", "//- src/app/Dockerfile\nFROM scratch\nCOPY a /x\n//- src/app/a -> b\n"),
    case(
        "a symlink out of the context",
        "//- src/app/Dockerfile\nFROM scratch\nCOPY a/x /x\n//- src/app/a -> ../other\n//- src/other/x\n",
    ),
    case(
        "a symlink to what is ignored",
        "//- src/app/Dockerfile\nFROM scratch\nCOPY a /x\n//- src/app/a -> b\n//- src/app/b\n//- src/app/.dockerignore\nb\n",
    ),
    case(
        "a symlink that is ignored",
        "//- src/app/Dockerfile\nFROM scratch\nCOPY a /x\n//- src/app/a -> b\n//- src/app/b\n//- src/app/.dockerignore\na\n",
    ),
    case(
        "a symlink in circles",
        "//- src/app/Dockerfile\nFROM scratch\nCOPY a /x\n//- src/app/a -> b\n//- src/app/b -> a\n",
    ),
    case("a file as a folder", "//- src/app/Dockerfile\nFROM scratch\nCOPY a/b /x\n//- src/app/a\n"),
    // Wildcards are content with nothing.
    case(
        "a wildcard alone that matches nothing",
        "//- src/app/Dockerfile\nFROM scratch\nCOPY a /y\nCOPY *.lock /x/\n//- src/app/a\n",
    ),
    case(
        "a wildcard whose matches are ignored",
        "//- src/app/Dockerfile\nFROM scratch\nCOPY a /y\nCOPY *.lock /x/\n//- src/app/a\n//- src/app/b.lock\n//- src/app/.dockerignore\n*.lock\n",
    ),
    case(
        "a wildcard that matches a broken symlink",
        "//- src/app/Dockerfile\nFROM scratch\nCOPY *.l /x/\n//- src/app/a.l -> nowhere\n//- src/app/b.l\n",
    ),
    case(
        "a wildcard in a missing folder",
        "//- src/app/Dockerfile\nFROM scratch\nCOPY d/*.l /x/\nCOPY b /b\n//- src/app/b\n",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn images_have_the_files_that_docker_build_gives_them() {
    let Some(world) = real_world("images_have_the_files_that_docker_build_gives_them").await else { return };
    let Some(docker) = docker_with_buildkit(&world) else {
        eprintln!(
            "skipped: images_have_the_files_that_docker_build_gives_them: no `docker` builds with BuildKit"
        );
        return;
    };
    let base = world.reference("base:1");
    world.engine.import(&world.rootfs(), &base, &Platform::local(), &BTreeMap::new()).await.unwrap();
    let mut wrong = Vec::new();
    for case in CASES {
        let fixture = case.fixture.replace("FROM BASE", &format!("FROM {}", base.familiar()));
        let fixture = fixture.replace("FROM TREE", &format!("FROM {}", world.prefix));
        let tree = TestTree::new(&fixture);
        (case.prepare)(&tree.root().join("src/app"));
        let ours = build_ours(&world, &docker, &tree).await;
        let theirs = build_theirs(&world, &docker, &tree);
        match (&ours.files, &theirs) {
            (Ok(ours), Ok(theirs)) if ours == theirs => {}
            (Err(_), Err(_)) => {}
            (ours, theirs) => wrong.push(format!("{}:\n  ours   {ours:?}\n  theirs {theirs:?}", case.what)),
        }
    }
    world.clean_up().await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Type, permission bits, owner, content or target, by path.
type Files = BTreeMap<String, String>;

struct Ours {
    files: Result<Files, String>,
}

async fn build_ours(world: &World, docker: &str, tree: &TestTree) -> Ours {
    let prefix = Some(format!("{}/", world.prefix));
    let flags = Layer { prefix, modes: Some(Modes::Exact), ..Layer::default() };
    let config = load(&tree.root(), flags, &Env::default(), None).unwrap();
    let reading = tree::look(&config, Platform::local()).unwrap();
    let errors: Vec<String> = reading
        .tree
        .findings
        .iter()
        .filter(|finding| finding.diagnostic.severity == Severity::Error)
        .map(|finding| finding.diagnostic.to_string())
        .collect();
    if !errors.is_empty() {
        return Ours { files: Err(errors.join("; ")) };
    }
    let (graph, contexts) = (&reading.tree.graph, &reading.tree.contexts);
    let observed = world.engine.observe().await.unwrap();
    let assessments = assess(graph, contexts, &observed, &|_| None);
    let selected = graph.images().iter().map(|image| image.name.clone()).collect();
    let request = BuildRequest { selected, force: true, ..BuildRequest::default() };
    let plan = plan(&request, graph, contexts, &assessments, &observed, &Plan::default());
    for step in &plan.steps {
        let StepKind::Build(spec) = &step.kind else { panic!("{:?} is no build", step.kind) };
        if let Err(error) = world.engine.build(&config.root, spec, quietly()).await {
            return Ours { files: Err(error.to_string()) };
        }
    }
    Ours { files: Ok(files_of(world, docker, &world.reference("app:latest").familiar())) }
}

/// The whole context to the engine's own client.
fn build_theirs(world: &World, docker: &str, tree: &TestTree) -> Result<Files, String> {
    let config = load(&tree.root(), Layer::default(), &Env::default(), None).unwrap();
    let reading = tree::look(&config, Platform::local()).unwrap();
    // Which folder is the context is ours to say.
    let mut images = reading.tree.graph.images().iter();
    let context = match &images.find(|image| image.service == "app").unwrap().source {
        ImageSource::Build(target) => tree.root().join(&target.context),
        ImageSource::External(_) => panic!("no Dockerfile"),
    };
    let name = world.reference("theirs:latest").familiar();
    let output = Command::new(docker)
        .env("DOCKER_HOST", &world.host)
        .env("DOCKER_BUILDKIT", "1")
        .args(["build", "--quiet", "--no-cache", "--pull=false", "--tag", &name, "--file"])
        .arg(tree.root().join("src/app/Dockerfile"))
        .arg(context)
        .output()
        .unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(files_of(world, docker, &name))
}

fn files_of(world: &World, docker: &str, image: &str) -> Files {
    let run = |arguments: &[&str]| {
        let output = Command::new(docker).env("DOCKER_HOST", &world.host).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let container = String::from_utf8(run(&["create", image, "/none"])).unwrap();
    let container = container.trim();
    let tar = run(&["export", container]);
    run(&["rm", container]);
    let mut files = Files::new();
    for entry in tar::Archive::new(tar.as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_string_lossy().into_owned();
        // What the engine itself puts into every container, and what the base image brings.
        let first = path.split('/').next().unwrap_or_default();
        if matches!(first, "dev" | "etc" | "proc" | "sys" | "bin" | "tmp" | ".dockerenv" | "m") {
            continue;
        }
        let header = entry.header().clone();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let what = match entry.link_name().unwrap() {
            Some(target) => format!("-> {}", target.display()),
            None => format!("{:x?}", &Sha256::digest(&content)[..4]),
        };
        let (mode, user, group) = (header.mode().unwrap(), header.uid().unwrap(), header.gid().unwrap());
        files.insert(path, format!("{:?} {mode:o} {user}:{group} {what}", header.entry_type()));
    }
    files
}

/// A client that can: one with buildx, or one of the last that had BuildKit built in.
fn docker_with_buildkit(world: &World) -> Option<String> {
    let tree = TestTree::new("//- Dockerfile\nFROM scratch\nCOPY Dockerfile /\n");
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let candidates = std::env::split_paths(&folders).map(|folder| folder.join("docker"));
    candidates.map(|path| path.to_string_lossy().into_owned()).find(|docker| {
        let output = Command::new(docker)
            .env("DOCKER_HOST", &world.host)
            .env("DOCKER_BUILDKIT", "1")
            .args(["build", "--quiet", "--tag", &world.reference("probe:1").familiar()])
            .arg(tree.root())
            .output();
        output.is_ok_and(|output| output.status.success())
    })
}
