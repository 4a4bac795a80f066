use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use super::*;

/// A tree, and beside it a folder with a file that nobody may touch.
struct Scene {
    all: tempfile::TempDir,
}

impl Scene {
    /// `links` are `link -> target`, where `OUT` is the folder outside and `ROOT` the tree, both absolute.
    fn new(links: &[(&str, &str)]) -> Self {
        let scene = Self { all: tempfile::tempdir().expect("a folder") };
        for folder in ["tree/src/a", "out/sub"] {
            fs::create_dir_all(scene.all.path().join(folder)).expect("writable");
        }
        fs::write(scene.out().join("precious"), "precious").expect("writable");
        fs::write(scene.out().join("sub/deep"), "precious").expect("writable");
        for (link, target) in links {
            let target = target.replace("OUT", &scene.out().display().to_string());
            let target = target.replace("ROOT", &scene.root().display().to_string());
            let link = scene.root().join(link);
            fs::create_dir_all(link.parent().expect("a parent")).expect("writable");
            symlink(target, link).expect("a link");
        }
        scene
    }

    fn root(&self) -> PathBuf {
        fs::canonicalize(self.all.path().join("tree")).expect("there")
    }

    fn out(&self) -> PathBuf {
        fs::canonicalize(self.all.path().join("out")).expect("there")
    }

    fn outside(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let files = walkdir::WalkDir::new(self.out()).sort_by_file_name().into_iter().flatten();
        files.map(|file| (file.path().to_owned(), fs::read(file.path()).unwrap_or_default())).collect()
    }

    /// Everything that writes, at `path`.
    fn try_all(&self, path: &str) -> Vec<String> {
        let tree = Folder::open(&self.root()).expect("there");
        fs::write(self.root().join("mine"), "mine").expect("writable");
        let new = tree.new_file(".").expect("writable");
        let done = [
            tree.write(path, b"new", None),
            tree.write(path, b"new", Some(0o755)),
            tree.write_new(path, b"new"),
            tree.append(path).map(|mut file| file.write_all(b"new").expect("writable")),
            tree.read_write(path).map(|file| file.set_len(0).expect("writable")),
            new.keep(&tree, path).map(drop),
            tree.touch(path),
            tree.link("x", path),
            tree.rename("mine", path),
            tree.rename(path, "other"),
            tree.new_file(path).map(drop),
            tree.make_new(Path::new(path).join("new")),
            tree.below(path).map(drop),
            tree.read(path).map(drop),
            tree.check(path),
            tree.remove_if_empty(path),
            tree.remove(path),
        ];
        done.into_iter().filter_map(|done| done.err().map(|error| error.to_string())).collect()
    }
}

#[test]
fn nothing_outside_is_touched_whatever_a_path_runs_through() {
    for (links, path) in [
        (&[("src/a/x.conf", "OUT/precious")][..], "src/a/x.conf"),
        (&[("src/a/x.conf", "../../../out/precious")], "src/a/x.conf"),
        (&[("src/a/x.conf", "OUT/new")], "src/a/x.conf"),
        (&[("target", "OUT")], "target/precious"),
        (&[("target", "OUT")], "target/xtask/runs/1"),
        (&[("target/xtask", "../../out")], "target/xtask/precious"),
        (&[("target/xtask/runs", "OUT/sub")], "target/xtask/runs/deep"),
        (&[("a", "b"), ("b", "src/a/c"), ("src/a/c", "OUT")], "a/precious"),
        (&[("a", "src/../../out")], "a/precious"),
        (&[("a", "ROOT/../out")], "a/precious"),
        (&[("a", "src/a/up"), ("src/a/up", "../..")], "a/../out/precious"),
        (&[], "../out/precious"),
        (&[], "src/../../out/precious"),
        (&[], "OUT/precious"),
    ] {
        let scene = Scene::new(links);
        let before = scene.outside();
        let path = path.replace("OUT", &scene.out().display().to_string());
        let errors = scene.try_all(&path);
        assert_eq!(scene.outside(), before, "{links:?} {path}: {errors:?}");
        let refused = errors
            .first()
            .is_some_and(|error| error.contains(" out of ") || error.contains(" lies outside "));
        assert!(refused, "{links:?} {path}: {errors:#?}");
    }
}

#[test]
fn what_is_refused_names_the_link_and_where_it_leads() {
    let scene = Scene::new(&[("target/xtask", "OUT"), ("a", "../out")]);
    let tree = Folder::open(&scene.root()).expect("there");
    let (root, out) = (scene.root().display().to_string(), scene.out().display().to_string());
    let told = |path: &str| {
        let error = tree.write(path, b"", None).expect_err("leads out").to_string();
        error.replace(&root, "ROOT").replace(&out, "OUT")
    };
    assert_eq!(
        told("target/xtask/lock"),
        "target/xtask is a link to OUT, which leads out of ROOT: nothing is written or removed there"
    );
    assert_eq!(
        told("a/b"),
        "a is a link to ../out, which leads out of ROOT: nothing is written or removed there"
    );
    assert_eq!(told("../b"), "`..` leads out of ROOT: nothing is written or removed there");
}

#[test]
fn links_that_stay_inside_keep_standing_and_what_they_lead_to_is_written() {
    for (links, path, written) in [
        (&[("x", "src/a/real")][..], "x", "src/a/real"),
        (&[("x", "ROOT/src/a/real")], "x", "src/a/real"),
        (&[("services", "src")], "services/a/new/x", "src/a/new/x"),
        (&[("src/b", "../src/a")], "src/b/x", "src/a/x"),
        (&[("x", "y"), ("y", "src/a/not-yet")], "x", "src/a/not-yet"),
        (&[], "src/./a/../a/x", "src/a/x"),
    ] {
        let scene = Scene::new(links);
        let tree = Folder::open(&scene.root()).expect("there");
        tree.write(path, b"new", None).expect("inside");
        assert_eq!(fs::read(scene.root().join(written)).expect("written"), b"new", "{path}");
        assert_eq!(tree.read(path).expect("readable").as_deref(), Some(&b"new"[..]), "{path}");
        for (link, _) in links {
            assert!(scene.root().join(link).is_symlink(), "{link} still stands");
        }
        tree.remove(path).expect("goes");
        let is_link = links.iter().any(|(link, _)| *link == path);
        assert_eq!(
            scene.root().join(written).exists(),
            is_link,
            "of {path} the link goes, not what it leads to"
        );
    }
}

#[test]
fn files_appear_whole_with_their_mode_and_leave_nothing_beside() {
    let scene = Scene::new(&[]);
    let tree = Folder::open(&scene.root()).expect("there");
    let mode =
        |path: &str| fs::metadata(scene.root().join(path)).expect("there").permissions().mode() & 0o7777;
    tree.write("a/b/c", b"1", None).expect("written");
    assert_eq!(mode("a/b/c"), 0o644);
    tree.write("a/b/c", b"1", Some(0o600)).expect("written");
    tree.write("a/b/c", b"2", None).expect("written");
    assert_eq!(
        (mode("a/b/c"), fs::read("/dev/null").is_ok()),
        (0o600, true),
        "it keeps the mode that it had"
    );
    assert_eq!(tree.write_new("a/b/c", b"3").expect_err("is there").kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(tree.make_new("a/b").expect_err("is there").kind(), io::ErrorKind::AlreadyExists);
    drop(tree.new_file("a/b").expect("made"));
    assert!(tree.write("a/b", b"", None).is_err(), "a folder is no file");
    assert_eq!(fs::read_dir(scene.root().join("a/b")).expect("there").count(), 1);
    assert_eq!(fs::read(scene.root().join("a/b/c")).expect("there"), b"2");
    assert_eq!(tree.read("a/nothing/here").expect("no error"), None);
    tree.remove("a").expect("goes");
    tree.remove("a/b/c").expect("gone already");
    assert!(!scene.root().join("a").exists());
}

#[test]
fn removing_a_folder_follows_no_link_in_it() {
    let scene = Scene::new(&[("gone/out", "OUT"), ("gone/sub/file", "OUT/precious"), ("gone/self", ".")]);
    let before = scene.outside();
    let tree = Folder::open(&scene.root()).expect("there");
    tree.remove("gone").expect("goes");
    assert!(!scene.root().join("gone").exists());
    assert_eq!(scene.outside(), before);
}

#[test]
fn a_file_that_is_changed_in_place_has_no_other_name() {
    let scene = Scene::new(&[]);
    fs::hard_link(scene.out().join("precious"), scene.root().join("lock")).expect("a hard link");
    let tree = Folder::open(&scene.root()).expect("there");
    let before = scene.outside();
    assert!(tree.read_write("lock").expect_err("refused").to_string().contains("another name"));
    assert!(tree.append("lock").is_err());
    rustix::fs::mkfifoat(rustix::fs::CWD, scene.root().join("pipe"), Mode::from_raw_mode(0o600))
        .expect("a pipe");
    assert!(tree.read_write("pipe").is_err() && tree.append("pipe").is_err() && tree.read("pipe").is_err());
    tree.write("lock", b"new", None).expect("another file takes the name");
    assert_eq!(scene.outside(), before);
    assert_eq!(fs::metadata(scene.root().join("lock")).expect("there").nlink(), 1);
}

/// A folder on the way that is swapped for a link again and again: some writes fail, none goes out.
#[test]
fn no_race_leads_out() {
    let scene = Scene::new(&[]);
    let (root, out) = (scene.root(), scene.out());
    let tree = Folder::open(&root).expect("there");
    let before = scene.outside();
    let over = std::sync::atomic::AtomicBool::new(false);
    let written = std::thread::scope(|scope| {
        scope.spawn(|| {
            let (place, aside) = (root.join("src/a"), root.join("src/aside"));
            while !over.load(Ordering::Relaxed) {
                fs::rename(&place, &aside).expect("moves");
                // A write in between may make the folder anew.
                if symlink(&out, &place).is_ok() {
                    fs::remove_file(&place).expect("goes");
                }
                while fs::rename(&aside, &place).is_err() {
                    let _ = fs::remove_dir_all(&place);
                }
            }
        });
        let tries = (0..2000).map(|_| tree.write("src/a/precious", b"new", None));
        let written = tries.filter(Result::is_ok).count();
        over.store(true, Ordering::Relaxed);
        written
    });
    assert_eq!(scene.outside(), before, "{written} writes went in");
}
