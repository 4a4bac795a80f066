//! Pure: which images can go, and why others cannot.
//!
//! Only what this program built for this tree is ever looked at (labels say both). Of that an image goes as a whole or
//! not at all: one that a container uses, that the tree asks for under any name, that is the base of something that
//! stays, or that has a name which was not chosen, keeps all its names.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    ImageId, LocalImage, Observed, Phase, Plan, Reason, Reference, Skipped, Step, StepId, StepKind, labels,
};
use crate::plan::rebuild::lineage::NAMESPACE;
use crate::read::fingerprint::canonical::Parts;

/// What an image was built as. Older versions of this program told it by the title alone.
fn built_as(image: &LocalImage) -> Option<&String> {
    image.labels.get(labels::IMAGE).or_else(|| image.labels.get(labels::TITLE))
}

/// What decides.
#[derive(Debug)]
pub struct ImageInput<'a> {
    /// The store.
    pub observed: &'a Observed,
    /// Which tree this is, as labels say it.
    pub tree: &'a str,
    /// Every name that the tree asks for, with who does: its images, its base images with all their aliases.
    pub needed: &'a BTreeMap<Reference, String>,
    /// The stages that its images keep; none when that cannot be told: why.
    pub stages: Result<&'a BTreeSet<Reference>, &'a str>,
    /// The images of all containers, running or not, with what each is called.
    pub containers: &'a BTreeMap<ImageId, String>,
    /// What the images of the tree are called, without registry and tag.
    pub made: &'a BTreeSet<String>,
    /// Which of its other tags are chosen.
    pub tags: &'a Tags,
}

/// Which other tags of images that the tree still makes are chosen: all when nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags {
    /// Those with one of these tags.
    pub named: Vec<String>,
    /// Those built at least so many days ago.
    pub older_than: Option<u64>,
    /// None, unless one of the others says so: somebody who names no tag may want each.
    pub stay: bool,
    /// Days since each image was built, by its ID.
    pub ages: BTreeMap<ImageId, u64>,
}

/// An image that goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovedImage {
    /// Which.
    pub id: ImageId,
    /// Its steps; it is gone after the last of them.
    pub steps: Vec<StepId>,
}

/// The images that go, in steps, and what is kept with the reason.
pub fn plan(input: &ImageInput<'_>) -> (Plan, Vec<RemovedImage>) {
    let mut plan = Plan::default();
    let mut going: Vec<RemovedImage> = Vec::new();
    let is_ours = |image: &&LocalImage| {
        let is_built = [labels::FINGERPRINT, labels::LINEAGE].iter().any(|l| image.labels.contains_key(*l));
        is_built && image.labels.get(labels::TREE).is_some_and(|tree| tree == input.tree)
    };
    let mut ours: Vec<&LocalImage> = input.observed.images().iter().filter(is_ours).collect();
    ours.sort_by_key(|image| (image.names.first().map(Reference::familiar), image.id.clone()));
    let goes: Vec<(&LocalImage, Result<Vec<Reason>, Reason>)> =
        ours.iter().filter_map(|image| Some((*image, judge(input, image)?))).collect();
    let leaving: BTreeSet<&ImageId> =
        goes.iter().filter(|(_, verdict)| verdict.is_ok()).map(|(image, _)| &image.id).collect();
    // One after the other: an engine answers two that take the last names of one image away with a conflict.
    let mut after: Vec<StepId> = Vec::new();
    for (image, verdict) in &goes {
        let verdict = match verdict {
            Ok(reasons) => stands_on(input, image, &leaving).map_or(Ok(reasons), Err),
            Err(why) => Err(why.clone()),
        };
        match verdict {
            Err(why) => plan.skipped.push(Skipped::new(Phase::CleanUp, subject_of(image), why)),
            Ok(reasons) => {
                let mut steps = Vec::new();
                for (subject, kind, why) in removals(image, reasons) {
                    let step = Step { after, ..Step::new(Phase::CleanUp, subject, kind, why) };
                    after = vec![step.id.clone()];
                    steps.push(step.id.clone());
                    plan.steps.push(step);
                }
                going.push(RemovedImage { id: image.id.clone(), steps });
            }
        }
    }
    (plan, going)
}

/// Why each name of an image can go (or the image itself, if it has none), or why it stays; none when it is not
/// spoken of: nothing of it was chosen.
fn judge(input: &ImageInput<'_>, image: &LocalImage) -> Option<Result<Vec<Reason>, Reason>> {
    let title = built_as(image).map_or("it", String::as_str);
    let mut reasons = Vec::new();
    let mut stays = None;
    for name in &image.names {
        match judge_name(input, image, name) {
            Ok(why) => reasons.push(why),
            Err(why) => {
                stays.get_or_insert(*why);
            }
        }
    }
    if image.names.is_empty() {
        // Its title stands for it. Whoever pinned it by digest asks for it all the same.
        let pin = image.digests.iter().find_map(|digest| input.needed.get(digest));
        stays = pin.map(|who| Reason::InUse(who.clone()));
        reasons = vec![Reason::Superseded(title.to_owned())];
    } else if reasons.is_empty() && !matches!(stays, Some(Reason::TreeBroken(_) | Reason::OtherTag)) {
        return None;
    }
    if let Some(container) = input.containers.get(&image.id) {
        return Some(Err(Reason::InUse(format!("container {container}"))));
    }
    Some(stays.map_or(Ok(reasons), Err))
}

/// Why a name stays.
type WhyNot = Box<Reason>;

fn judge_name(input: &ImageInput<'_>, image: &LocalImage, name: &Reference) -> Result<Reason, WhyNot> {
    if let Some(who) = input.needed.get(name) {
        return Err(Box::new(Reason::InUse(format!("it is {} too, {who}", name.familiar()))));
    }
    let other = || Box::new(Reason::InUse(format!("it is {} too", name.familiar())));
    if name.path().split('/').next() == Some(NAMESPACE) {
        return match input.stages {
            Err(what) => Err(Box::new(Reason::TreeBroken(what.to_owned()))),
            Ok(stages) if stages.contains(name) => Err(other()),
            Ok(_) => Ok(Reason::StageUnused),
        };
    }
    // A name that somebody gave it by hand is that person's.
    let title = built_as(image).filter(|title| is_name_of(name, title));
    if title.is_none() {
        return Err(other());
    }
    let tag = name.tag().unwrap_or_default();
    if input.tags.named.iter().any(|named| named == tag) {
        return Ok(Reason::Asked);
    }
    match (input.tags.older_than, input.tags.ages.get(&image.id)) {
        (Some(limit), Some(days)) if *days >= limit => return Ok(Reason::Old { days: *days }),
        (Some(_), _) => return Err(other()),
        (None, _) if !input.tags.named.is_empty() => return Err(other()),
        (None, _) => {}
    }
    match (title.filter(|title| !input.made.contains(*title)), input.stages) {
        // What cannot be read may be what makes it, or asks for it.
        (_, Err(what)) => Err(Box::new(Reason::TreeBroken(what.to_owned()))),
        (None, Ok(_)) if input.tags.stay => Err(Box::new(Reason::OtherTag)),
        (None, Ok(_)) => Ok(Reason::OtherTag),
        (Some(title), Ok(_)) => Ok(Reason::ServiceGone(title.clone())),
    }
}

/// Whether a name is the one that an image was built under, with or without a registry.
fn is_name_of(name: &Reference, title: &str) -> bool {
    let path = name.path();
    path.strip_suffix(title).is_some_and(|before| before.is_empty() || before.ends_with('/'))
}

/// An image that stays and was built on this one, as its label says.
fn stands_on(input: &ImageInput<'_>, image: &LocalImage, leaving: &BTreeSet<&ImageId>) -> Option<Reason> {
    // What has no name cannot be built on again.
    if image.names.is_empty() {
        return None;
    }
    let key = image.labels.get(labels::FINGERPRINT);
    let others = input.observed.images().iter().filter(|other| !leaving.contains(&other.id));
    others.filter(|other| !other.names.is_empty()).find_map(|other| {
        let parts: Parts = serde_json::from_str(other.labels.get(labels::PARTS)?).ok()?;
        let is_here = |name: &String| image.names.iter().any(|known| known.familiar() == *name);
        let is_base = parts.bases.keys().any(is_here)
            || parts.bases.values().flatten().any(|base| *base == input.observed.identity_of(image))
            || parts.needs.values().any(|need| Some(need.as_str()) == key.map(String::as_str));
        is_base.then(|| Reason::InUse(format!("{} was built on it", subject_of(other))))
    })
}

fn removals(image: &LocalImage, reasons: &[Reason]) -> Vec<(String, StepKind, Reason)> {
    let untag = |name: &Reference| StepKind::Untag { reference: name.clone() };
    let first = reasons.first().cloned().unwrap_or(Reason::Asked);
    if !image.names.is_empty() {
        let named = image.names.iter().zip(reasons);
        return named.map(|(name, why)| (name.familiar(), untag(name), why.clone())).collect();
    }
    // Pushed once: what it was pushed as names it still, and it goes with the last of that.
    let digests = image.digests.iter();
    let mut all: Vec<_> = digests.map(|name| (name.familiar(), untag(name), first.clone())).collect();
    all.push((subject_of(image), StepKind::RemoveImage { id: image.id.clone() }, first));
    all
}

/// Its first name, or its ID and what it was built as.
pub fn subject_of(image: &LocalImage) -> String {
    match (image.names.first(), built_as(image)) {
        (Some(name), _) => name.familiar(),
        (None, Some(title)) => format!("{} ({title})", image.id.short()),
        (None, None) => image.id.short().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake_image;
    use crate::model::{Capabilities, Identity, Platform};

    /// `NAMES [digests] key=value…`, an image a line: `a:1 b:2 @r/a tree=t`.
    fn store(text: &str) -> Observed {
        let capabilities = Capabilities {
            name: "fake".into(),
            version: "1".into(),
            api: (1, 41),
            buildkit: true,
            platform: Platform::local(),
            keeps: Default::default(),
        };
        let images = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(|line| {
            let mut image = fake_image(line, &[]);
            for word in line.split_whitespace() {
                if let Some((label, value)) = word.split_once('=') {
                    let label = match label {
                        "tree" => labels::TREE,
                        "key" => labels::FINGERPRINT,
                        "stage" => labels::LINEAGE,
                        label => label,
                    };
                    image.labels.insert(label.to_owned(), value.to_owned());
                } else if let Some(name) = word.strip_prefix('@') {
                    let pinned = format!("{name}@sha256:{}", "a".repeat(64));
                    image.digests.push(pinned.parse().expect("a digest"));
                } else {
                    image.names.push(word.parse().expect("a name"));
                }
            }
            if let Some(first) = image.names.first() {
                let title = first.path().trim_start_matches("library/").to_owned();
                image.labels.entry(labels::TITLE.to_owned()).or_insert(title);
            }
            image
        });
        Observed::new(capabilities, images.collect())
    }

    #[track_caller]
    fn check(store_text: &str, tags: &Tags, container_of: Option<usize>, expected: &str) {
        let observed = store(store_text);
        let needed = [("api:latest", "this tree builds it"), ("redis:7", "src/api/Dockerfile:1 names it")];
        let needed = needed.map(|(name, who)| (name.parse().expect("a name"), who.to_owned())).into();
        let stages = ["xtask-cache/api:s1".parse().expect("a name")].into();
        let containers = container_of.map(|at| (observed.images()[at].id.clone(), "web-1".to_owned()));
        let ages = observed.images().iter().map(|image| (image.id.clone(), 40)).collect();
        let made = ["api", "base"].map(str::to_owned).into();
        let input = ImageInput {
            observed: &observed,
            tree: "t",
            made: &made,
            needed: &needed,
            stages: Ok(&stages),
            containers: &containers.into_iter().collect(),
            tags: &Tags { ages, ..tags.clone() },
        };
        let (plan, _) = plan(&input);
        let hide = |text: &str| {
            let hidden = observed.images().iter().enumerate();
            hidden
                .fold(text.to_owned(), |text, (at, image)| text.replace(image.id.short(), &format!("ID{at}")))
        };
        let steps = plan.steps.iter().map(|s| format!("{} {} ({})", s.kind.name(), hide(&s.subject), s.why));
        let kept = plan.skipped.iter().map(|s| format!("keep {} ({})", hide(&s.subject), s.why));
        assert_eq!(steps.chain(kept).collect::<Vec<_>>().join("\n"), expected);
    }

    fn tagged(tag: &str) -> Tags {
        Tags { named: vec![tag.to_owned()], ..Tags::default() }
    }

    const OLDER: Tags = Tags { named: Vec::new(), older_than: Some(30), stay: false, ages: BTreeMap::new() };

    #[test]
    fn what_lost_its_name_goes() {
        let title = "org.opencontainers.image.title=api";
        let no = Tags::default();
        check(
            &format!("key=1 tree=t {title}"),
            &no,
            None,
            "remove-image ID0 (api) (superseded: api was built again)",
        );
        check("key=1 tree=other", &no, None, "");
        check("key=1", &no, None, "");
        check("tree=t", &no, None, "");
        check("key=1 tree=t", &no, Some(0), "keep ID0 (in use: container web-1)");
        check(
            &format!("key=1 tree=t @r.example/api {title}"),
            &no,
            None,
            "untag r.example/api@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa (superseded: api was built again)\n\
             remove-image ID0 (api) (superseded: api was built again)",
        );
    }

    #[test]
    fn what_nobody_asks_for_goes_and_a_choice_of_tags_narrows_it() {
        check("api:v1 key=1 tree=t", &Tags::default(), None, "untag api:v1 (not the current tag)");
        let stay = Tags { stay: true, ..Tags::default() };
        check("api:v1 key=1 tree=t", &stay, None, "keep api:v1 (not the current tag)");
        check("api:latest key=1 tree=t", &stay, None, "");
        check("api:v1 key=1 tree=t", &Tags { stay: true, ..tagged("v1") }, None, "untag api:v1 (asked for)");
        check(
            "cron:latest key=1 tree=t",
            &Tags::default(),
            None,
            "untag cron:latest (no service of this tree makes cron any more)",
        );
        check(
            "r.example/cron:v1 cron:v1 key=1 tree=t",
            &Tags::default(),
            None,
            "untag r.example/cron:v1 (no service of this tree makes cron any more)\n\
             untag cron:v1 (no service of this tree makes cron any more)",
        );
        check("cron:latest key=1 tree=other", &Tags::default(), None, "");
        check("cron:latest", &Tags::default(), None, "");
        check("alpine:3.18", &Tags::default(), None, "");
        check(
            "cron:latest key=1 tree=t",
            &Tags::default(),
            Some(0),
            "keep cron:latest (in use: container web-1)",
        );
        check("cron:latest key=1 tree=t", &tagged("v1"), None, "");
        check("api:v1 key=1 tree=t", &tagged("v2"), None, "");
        check("api:v1 key=1 tree=t", &tagged("v1"), None, "untag api:v1 (asked for)");
        check("api:v1 key=1 tree=t", &OLDER, None, "untag api:v1 (built 40 days ago)");
        check("api:v1 key=1 tree=other", &OLDER, None, "");
        check("api:v1", &OLDER, None, "");
        check("api:v1 key=1 tree=t", &OLDER, Some(0), "keep api:v1 (in use: container web-1)");
        check("api:latest key=1 tree=t", &OLDER, None, "");
        check("api:latest key=1 tree=t", &tagged("latest"), None, "");
    }

    #[test]
    fn a_name_whose_twin_is_needed_stays() {
        check(
            "api:v1 api:latest key=1 tree=t",
            &tagged("v1"),
            None,
            "keep api:v1 (in use: it is api:latest too, this tree builds it)",
        );
        check(
            "cron:latest redis:7 key=1 tree=t",
            &Tags::default(),
            None,
            "keep cron:latest (in use: it is redis:7 too, src/api/Dockerfile:1 names it)",
        );
        check("api:v1 mine:1 key=1 tree=t", &tagged("v1"), None, "keep api:v1 (in use: it is mine:1 too)");
        check(
            "api:v1 redis:7 key=1 tree=t",
            &OLDER,
            None,
            "keep api:v1 (in use: it is redis:7 too, src/api/Dockerfile:1 names it)",
        );
        check(
            "api:v1 r.example/api:v1 key=1 tree=t",
            &tagged("v1"),
            None,
            "untag api:v1 (asked for)\nuntag r.example/api:v1 (asked for)",
        );
    }

    #[test]
    fn stages_of_images_that_are_gone_go() {
        check("xtask-cache/api:s1 stage=x tree=t", &Tags::default(), None, "");
        check(
            "xtask-cache/old:s1 stage=x tree=t",
            &Tags::default(),
            None,
            "untag xtask-cache/old:s1 (no image of this tree has this stage)",
        );
        check("xtask-cache/old:s1 stage=x tree=other", &Tags::default(), None, "");
        let observed = store("xtask-cache/old:s1 stage=x tree=t\ncron:latest key=1 tree=t");
        let (none, containers) = (BTreeMap::new(), BTreeMap::new());
        let input = ImageInput {
            observed: &observed,
            tree: "t",
            needed: &none,
            stages: Err("src/a/Dockerfile:3 is wrong"),
            containers: &containers,
            made: &BTreeSet::new(),
            tags: &Tags::default(),
        };
        let (plan, going) = plan(&input);
        assert!(plan.steps.is_empty() && going.is_empty());
        let told: Vec<String> = plan.skipped.iter().map(|kept| kept.why.to_string()).collect();
        assert_eq!(told, ["it may be needed: src/a/Dockerfile:3 is wrong"; 2]);
    }

    #[test]
    fn what_something_else_was_built_on_stays() {
        let parts = |id: &str, key: &str| {
            let zeros = "0".repeat(64);
            format!(
                "{{\"format\":1,\"builder\":\"b\",\"dockerfile\":\"d\",\"target\":null,\"platform\":\"linux/amd64\",\"args\":{{}},\
                 \"bases\":{{\"x\":{id}}},\"needs\":{{\"base\":\"{key}\"}},\"files\":\"sha256:{zeros}\"}}"
            )
        };
        let key = format!("sha256:{}", "b".repeat(64));
        let none = format!("sha256:{}", "c".repeat(64));
        let base = format!("base:v1 key={key} tree=t");
        let by_key = format!("{base}\nweb:1 {}={}", labels::PARTS, parts("null", &key));
        check(&by_key, &tagged("v1"), None, "keep base:v1 (in use: web:1 was built on it)");
        let base_identity = Identity::of_stored(&store(&base).images()[0].id);
        let quoted = format!("\"{base_identity}\"");
        let by_content = format!("{base}\nweb:1 {}={}", labels::PARTS, parts(&quoted, &none));
        check(&by_content, &tagged("v1"), None, "keep base:v1 (in use: web:1 was built on it)");
        let unrelated = format!("{base}\nweb:1 {}={}", labels::PARTS, parts("null", &none));
        check(&unrelated, &tagged("v1"), None, "untag base:v1 (asked for)");
    }
}
