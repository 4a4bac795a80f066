//! What a receiver has is not carried to it again, and a delta goes to no other receiver.

use super::*;
use crate::bundle::deliver::lacking;
use crate::bundle::diff::BundleDiff;
use crate::bundle::inspect::Inspection;
use crate::bundle::inventory::{self, Inventory, Lack, leave_out};
use crate::bundle::load::LoadPlan;
use crate::engine::{AnyEngine, FakeEngine, fake_image};

fn bytes(size: u64) -> String {
    format!("{size} B")
}

fn contents(path: &Path) -> Contents {
    check(path).unwrap().contents().clone()
}

/// The second sample as a delta to the first one, written and read.
fn delta(folder: &Path) -> (Contents, Inventory) {
    let old = contents(&Sample::new("v1").tar(folder));
    let has = Inventory::of_bundle(&old);
    let mut new = Sample::new("v2");
    leave_out(&mut new.manifest, &new.images, &has);
    let path = folder.join("delta.tar");
    new.write(&BundleOutput::File(path.clone()));
    (contents(&path), has)
}

#[test]
fn a_delta_holds_what_is_new_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (delta, has) = delta(folder.path());
    let new = Sample::new("v2");
    let api = &new.images[1];
    let held: Vec<&Digest> = delta.large_blobs().map(|blob| &blob.descriptor.digest).collect();
    // The changed layer, and the file: what lies in the tree is small, and nobody keeps count of it.
    let mut expected = [&api.layers[2].blob.digest, &new.manifest.files[0].blob.digest];
    expected.sort();
    assert_eq!(held, expected);
    assert_eq!(delta.images().collect::<Vec<_>>(), [api]);
    assert_eq!(delta.manifest().requires.images.len(), 3);
    assert_eq!(delta.manifest().requires.layers.len(), 2);
    assert_eq!(has.lacking(&delta), []);
    assert_eq!(Inventory::of_bundle(&delta).images.len(), 4);
}

#[test]
fn a_delta_to_the_wrong_receiver_says_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let (delta, has) = delta(folder.path());
    let sample = Sample::new("v2");
    let lacks = Inventory::default().lacking(&delta);
    assert_eq!(lacks.len(), 6);
    let mut less = has.clone();
    less.images.remove(&sample.images[0].identity);
    less.layers.remove(&sample.images[1].chain_ids()[1]);
    less.artifacts.clear();
    let told: Vec<String> = less.lacking(&delta).iter().map(Lack::to_string).collect();
    let layer = &sample.images[1].layers[1].diff_id;
    let artifact = &sample.manifest.artifacts[0].blob.digest;
    assert_eq!(
        told,
        [
            format!("image {} (debian:12-slim)", sample.images[0].image_id),
            format!("layer {layer} of shop-api:v2"),
            format!("artifact {artifact} (1.2.3.zip)"),
        ]
    );
}

#[test]
fn a_layer_on_another_base_is_another_layer() {
    let mut blobs = Blobs::default();
    let [old_base, new_base, app] = [&b"old"[..], b"new", b"app"].map(|content| blobs.add_layer(content));
    let old = blobs.add_image("app:1", &[&old_base, &app]);
    let new = blobs.add_image("app:2", &[&new_base, &app]);
    let has = Inventory { layers: old.chain_ids().into_iter().collect(), ..Inventory::default() };
    assert_eq!(lacking(&new, &has.layers), [&new_base, &app]);
    assert_eq!(lacking(&old, &has.layers), [] as [&StoredLayer; 0]);
    let mut manifest = BundleManifest::new("t");
    manifest.members = vec![member(&new, Role::Image, &[])];
    leave_out(&mut manifest, &[new, old], &has);
    assert!(manifest.requires.is_empty(), "{:?}", manifest.requires);
}

#[test]
fn a_receiver_is_told_by_its_inventory_or_by_an_old_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let old = contents(&Sample::new("v1").tar(folder.path()));
    let has = Inventory::of_bundle(&old);
    assert_eq!(Inventory::parse(has.text().as_bytes()), Ok(has.clone()));
    let told = serde_json::to_string(&Inspection::of(&old)).unwrap();
    assert_eq!(Inventory::parse(told.as_bytes()), Ok(has));
    let bundle = folder.path().join("b.tar");
    let (by_text, by_inspection) = (folder.path().join("there.json"), folder.path().join("old.json"));
    std::fs::write(&by_text, Inventory::of_bundle(&old).text()).unwrap();
    std::fs::write(&by_inspection, told).unwrap();
    for path in [bundle, by_text, by_inspection] {
        assert_eq!(inventory::read(&path).unwrap(), Inventory::of_bundle(&old), "{}", path.display());
    }
    std::fs::write(folder.path().join("x"), "{}").unwrap();
    for name in ["x", "nothing"] {
        assert!(inventory::read(&folder.path().join(name)).is_err());
    }
    for (text, expect) in [
        ("", "neither a bundle nor JSON"),
        ("{}", "it is no inventory"),
        (r#"{"members":3}"#, "it is no answer of `bundle inspect --format json`"),
        (r#"{"version":1,"images":{},"layers":[]}"#, "take a new one with `cargo xtask bundle inventory`"),
        (r#"{"version":3,"images":{},"layers":[]}"#, "it is of format 3"),
    ] {
        let error = Inventory::parse(text.as_bytes()).unwrap_err();
        assert!(error.contains(expect), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_is_listed() {
    let engine = FakeEngine::new();
    let name = "redis:7".parse().unwrap();
    let image = fake_image("redis", &[&name]);
    engine.store(image.clone());
    let engine = AnyEngine::from(engine);
    let found = inventory::take(&engine, [].into()).await.unwrap();
    let identity = &found.ids[image.id.digest()];
    assert_eq!(found.images.get(identity), Some(&[name].into()));
    assert_eq!(found, inventory::take(&engine, [].into()).await.unwrap());
}

#[test]
fn what_inspect_and_diff_say() {
    let folder = tempfile::tempdir().unwrap();
    let old = Inspection::of(&contents(&Sample::new("v1").tar(folder.path())));
    insta::assert_snapshot!(old.text(&bytes), @"
    4 images of tag v1, 15 blobs, 174725 B, by xtask 0.1.0
      base      debian:12-slim                   0 B own      30 B shared   src/api/Dockerfile:1, src/web/Dockerfile:1
                also localhost/debian:12-slim
      image     shop-api:v1                     18 B own   97281 B shared
      image     shop-web:v1                     13 B own      30 B shared
      stage     xtask-cache/shop-web:build       0 B own   97281 B shared   src/web/Dockerfile:2
      artifact  1.2.3.zip   70000 B
      file      deploy/compose.yaml   13 B
    not proven: nobody has rebuilt from it with the cable out
    ");
    let (delta, _) = delta(folder.path());
    let new = Inspection::of(&delta);
    insta::assert_snapshot!(new.text(&bytes), @"
    4 images of tag v1, 5 blobs, 3135 B, by xtask 0.1.0
      base      debian:12-slim                    has to be there already   src/api/Dockerfile:1, src/web/Dockerfile:1
                also localhost/debian:12-slim
      image     shop-api:v2                     18 B own       0 B shared
      image     shop-web:v1                       has to be there already
      stage     xtask-cache/shop-web:build        has to be there already   src/web/Dockerfile:2
      artifact  1.2.3.zip   has to be there already
      file      deploy/compose.yaml   13 B
    a delta: the receiver has to have 3 images, 2 layers of others and 1 artifact already
    not proven: nobody has rebuilt from it with the cable out
    ");
    let mut later = Sample::new("v2");
    later.manifest.members[1].reference = "shop-api:v1".parse().unwrap();
    later.manifest.members.remove(3);
    later.manifest.files.clear();
    let path = folder.path().join("later.tar");
    later.write(&BundleOutput::File(path.clone()));
    let later = Inspection::of(&contents(&path));
    insta::assert_snapshot!(BundleDiff::between(&old, &later).text(&bytes), @"
      changed  shop-api:v1  ed91bb779453 -> 21c0e6fc6308, 1 new layer, 18 B
      removed  xtask-cache/shop-web:build
      removed  deploy/compose.yaml
    3 names unchanged, 18 B of new layers
    ");
    insta::assert_snapshot!(BundleDiff::between(&old, &old).text(&bytes), @"5 names unchanged, 0 B of new layers");
}

#[test]
fn a_load_gives_what_is_lacking() {
    #[track_caller]
    fn check(has: &Inventory, contents: &Contents, expect: &[&str]) {
        let plan = LoadPlan::of(contents, has);
        assert_eq!(plan.text(&bytes).lines().map(str::trim).collect::<Vec<_>>(), expect);
    }
    let folder = tempfile::tempdir().unwrap();
    let all = contents(&Sample::new("v1").tar(folder.path()));
    let everything = Inventory::of_bundle(&all);
    check(&everything, &all, &["4 images here already"]);
    check(
        &Inventory::default(),
        &all,
        &[
            "load  debian:12-slim   1 layer, 30 B",
            "load  shop-web:v1   1 layer, 13 B",
            "load  xtask-cache/shop-web:build   1 layer, 97251 B",
            "load  shop-api:v1   1 layer, 18 B",
            "0 images here already",
        ],
    );
    let mut some = everything.clone();
    let sample = Sample::new("v1");
    some.images.get_mut(&sample.images[0].identity).unwrap().pop_first();
    some.images.remove(&sample.images[1].identity);
    check(
        &some,
        &all,
        &[
            "name  debian:12-slim   debian:12-slim",
            "load  shop-api:v1   0 layers, 0 B",
            "2 images here already",
        ],
    );
    // What a delta leaves out keeps its names too.
    let (delta, mut has) = delta(folder.path());
    has.images.get_mut(&sample.images[2].identity).unwrap().clear();
    check(
        &has,
        &delta,
        &["name  shop-web:v1   shop-web:v1", "load  shop-api:v2   1 layer, 18 B", "2 images here already"],
    );
}
