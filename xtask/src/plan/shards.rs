//! Pure: images to build on several machines at the same time, shared out so that all are done soon.
//!
//! In: the images with what they need, their base images and how long they take. Out: shards. Images that depend on
//! each other stay together, since a shard cannot wait for another one. Within a few percent of the shortest time found,
//! images on the same base images share a shard, so that the base is pulled once.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Image, ImageName, Reference};
use crate::plan::build::prefetched;

/// How much longer, in percent, the slowest shard may take for the sake of shared base images.
const SLACK: u64 = 5;
/// Up to so many groups of images the best division is searched for; beyond, a good one is taken.
const SEARCHED: usize = 14;
/// The search gives up after so many tries and keeps the best so far.
const MAX_TRIES: usize = 200_000;

/// What one machine builds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shard {
    /// In build order.
    pub images: Vec<ImageName>,
    /// Milliseconds that they took the last times, added up.
    pub estimate: u64,
}

/// Images that stay together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Group {
    images: Vec<ImageName>,
    bases: BTreeSet<Reference>,
    time: u64,
}

/// Shares out these images, given in build order, among at most `shards` machines; `time` says how many milliseconds
/// one takes. No shard is empty; the slowest comes first. Without images there are no shards.
pub fn share_out(images: &[&Image], time: impl Fn(&ImageName) -> u64, shards: usize) -> Vec<Shard> {
    let mut groups = groups(images, time);
    // Long ones first: what is placed last should be able to fill gaps.
    groups.sort_by(|a, b| b.time.cmp(&a.time).then_with(|| a.images.cmp(&b.images)));
    let shards = shards.clamp(1, groups.len().max(1));
    let mut place = greedy(&groups, shards);
    if groups.len() <= SEARCHED {
        search(&groups, shards, &mut place);
    } else {
        improve(&groups, shards, &mut place);
    }
    share_bases(&groups, shards, &mut place);
    let order: BTreeMap<&ImageName, usize> = images.iter().enumerate().map(|(at, i)| (&i.name, at)).collect();
    let mut all: Vec<Shard> = (0..shards)
        .map(|shard| {
            let own = groups.iter().zip(&place).filter(|(_, at)| **at == shard).map(|(group, _)| group);
            let mut made = Shard::default();
            for group in own {
                made.images.extend(group.images.iter().cloned());
                made.estimate += group.time;
            }
            made.images.sort_by_key(|name| order.get(name).copied());
            let mut named = BTreeSet::new();
            made.images =
                made.images.iter().map(ImageName::image).filter(|name| named.insert(name.clone())).collect();
            made
        })
        .filter(|shard| !shard.images.is_empty())
        .collect();
    all.sort_by(|a, b| b.estimate.cmp(&a.estimate).then_with(|| a.images.cmp(&b.images)));
    all
}

/// Images that need each other, directly or not, among those that are built.
fn groups(images: &[&Image], time: impl Fn(&ImageName) -> u64) -> Vec<Group> {
    let at: BTreeMap<&ImageName, usize> = images.iter().enumerate().map(|(at, i)| (&i.name, at)).collect();
    let mut leader: Vec<usize> = (0..images.len()).collect();
    let mut wholes: BTreeMap<ImageName, usize> = BTreeMap::new();
    for (index, image) in images.iter().enumerate() {
        // All platforms of an image, for whoever has these makes its index.
        let whole = *wholes.entry(image.name.image()).or_insert(index);
        for together in image.needs.iter().filter_map(|need| at.get(need)).chain([&whole]) {
            let (one, other) = (find(&mut leader, index), find(&mut leader, *together));
            leader[one.max(other)] = one.min(other);
        }
    }
    let mut groups: BTreeMap<usize, Group> = BTreeMap::new();
    for (index, image) in images.iter().enumerate() {
        let group = groups.entry(find(&mut leader, index)).or_default();
        group.time += time(&image.name);
        group.bases.extend(prefetched(image).into_iter().cloned());
        group.images.push(image.name.clone());
    }
    groups.into_values().collect()
}

fn find(leader: &mut [usize], index: usize) -> usize {
    let mut at = index;
    while leader[at] != at {
        leader[at] = leader[leader[at]];
        at = leader[at];
    }
    at
}

fn loads(groups: &[Group], shards: usize, place: &[usize]) -> Vec<u64> {
    let mut loads = vec![0; shards];
    for (group, at) in groups.iter().zip(place) {
        loads[*at] += group.time;
    }
    loads
}

fn longest(loads: &[u64]) -> u64 {
    loads.iter().copied().max().unwrap_or(0)
}

/// Each to the shard that has least to do so far.
fn greedy(groups: &[Group], shards: usize) -> Vec<usize> {
    let mut loads = vec![(0_u64, 0_usize); shards];
    let mut place = Vec::with_capacity(groups.len());
    for group in groups {
        // By number of groups too, so that images that take no time are spread as well.
        let least = (0..shards).min_by_key(|shard| loads[*shard]).unwrap_or(0);
        loads[least].0 += group.time;
        loads[least].1 += 1;
        place.push(least);
    }
    place
}

/// Looks at every division that may be shorter than the one given.
fn search(groups: &[Group], shards: usize, place: &mut [usize]) {
    let total: u64 = groups.iter().map(|group| group.time).sum();
    let single = groups.first().map_or(0, |group| group.time);
    let bound = single.max(total.div_ceil(shards as u64));
    let mut state = Search {
        groups,
        loads: vec![0; shards],
        trial: vec![0; groups.len()],
        best: longest(&loads(groups, shards, place)),
        bound,
        tries: 0,
    };
    state.place(0, place);
}

struct Search<'a> {
    groups: &'a [Group],
    loads: Vec<u64>,
    trial: Vec<usize>,
    best: u64,
    /// No division can be shorter.
    bound: u64,
    tries: usize,
}

impl Search<'_> {
    fn place(&mut self, at: usize, found: &mut [usize]) {
        self.tries += 1;
        if self.best <= self.bound || self.tries > MAX_TRIES {
            return;
        }
        let Some(group) = self.groups.get(at) else {
            self.best = longest(&self.loads);
            found.copy_from_slice(&self.trial);
            return;
        };
        let mut tried = BTreeSet::new();
        for shard in 0..self.loads.len() {
            // Shards with the same load are alike.
            if self.loads[shard] + group.time >= self.best || !tried.insert(self.loads[shard]) {
                continue;
            }
            self.loads[shard] += group.time;
            self.trial[at] = shard;
            self.place(at + 1, found);
            self.loads[shard] -= group.time;
        }
    }
}

/// Moves and swaps groups out of the longest shard while that makes it shorter.
fn improve(groups: &[Group], shards: usize, place: &mut [usize]) {
    let mut loads = loads(groups, shards, place);
    // Each round makes the longest shard shorter, or another one the longest; this ends by itself, and soon.
    for _ in 0..groups.len() * shards {
        let Some(worst) = (0..shards).max_by_key(|shard| loads[*shard]) else { return };
        let limit = loads[worst];
        let own: Vec<usize> = (0..groups.len()).filter(|at| place[*at] == worst).collect();
        let step = own.iter().find_map(|&mine| {
            let mine_time = groups[mine].time;
            (0..shards).filter(|shard| *shard != worst).find_map(|shard| {
                if mine_time > 0 && loads[shard] + mine_time < limit {
                    return Some((mine, shard, None));
                }
                let theirs = (0..groups.len()).filter(|at| place[*at] == shard);
                theirs
                    .filter(|at| groups[*at].time < mine_time)
                    .find(|at| loads[shard] + mine_time - groups[*at].time < limit)
                    .map(|other| (mine, shard, Some(other)))
            })
        });
        let Some((mine, shard, other)) = step else { return };
        let back = other.map_or(0, |other| groups[other].time);
        loads[worst] = loads[worst] - groups[mine].time + back;
        loads[shard] = loads[shard] + groups[mine].time - back;
        place[mine] = shard;
        if let Some(other) = other {
            place[other] = worst;
        }
    }
}

/// Moves groups to where their base images are, as far as the slowest shard hardly gets slower.
fn share_bases(groups: &[Group], shards: usize, place: &mut [usize]) {
    let mut loads = loads(groups, shards, place);
    let limit = longest(&loads) + longest(&loads) * SLACK / 100;
    for at in 0..groups.len() {
        let is_here = |shard: usize, place: &[usize]| {
            let others = groups.iter().zip(place).enumerate().filter(|(other, _)| *other != at);
            let bases: BTreeSet<&Reference> = others
                .filter(|(_, (_, here))| **here == shard)
                .flat_map(|(_, (group, _))| &group.bases)
                .collect();
            groups[at].bases.iter().filter(|base| bases.contains(base)).count()
        };
        let now = is_here(place[at], place);
        let alone = place.iter().filter(|shard| **shard == place[at]).count() == 1;
        let better = (0..shards)
            .filter(|shard| *shard != place[at] && loads[*shard] + groups[at].time <= limit && !alone)
            .map(|shard| (is_here(shard, place), shard))
            .filter(|(shared, _)| *shared > now)
            .max_by_key(|(shared, shard)| (*shared, std::cmp::Reverse(*shard)));
        if let Some((_, shard)) = better {
            loads[place[at]] -= groups[at].time;
            loads[shard] += groups[at].time;
            place[at] = shard;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{BaseImage, ImageKind, ImageSource, Platform};

    fn image(name: &str, needs: &[&str], bases: &[&str]) -> Image {
        let reference: Reference = format!("{name}:1").parse().unwrap();
        let base = |text: &&str| BaseImage { reference: text.parse().unwrap(), platform: None, line: 1 };
        Image {
            name: ImageName::new(name),
            kind: ImageKind::Service,
            service: name.to_owned(),
            tags: Vec::new(),
            source: ImageSource::External(reference.clone()),
            reference,
            local_alias: None,
            platform: Platform::local(),
            group: None,
            needs: needs.iter().map(|need| ImageName::new(*need)).collect(),
            base_images: bases.iter().map(base).collect(),
            companions: Vec::new(),
            asks_for: BTreeMap::new(),
            asks_for_on: BTreeMap::new(),
            dependency_at: None,
            index: None,
        }
    }

    #[track_caller]
    fn check(images: &[Image], times: &[(&str, u64)], shards: usize, expect: &str) {
        let times: BTreeMap<&str, u64> = times.iter().copied().collect();
        let all: Vec<&Image> = images.iter().collect();
        let shards = share_out(&all, |name| times.get(name.as_str()).copied().unwrap_or(1), shards);
        let told = shards.iter().map(|shard| {
            let names: Vec<&str> = shard.images.iter().map(ImageName::as_str).collect();
            format!("{}={}", names.join("+"), shard.estimate)
        });
        assert_eq!(told.collect::<Vec<_>>().join(" "), expect);
    }

    #[test]
    fn times_are_balanced_and_dependents_stay_together() {
        check(&[], &[], 4, "");
        let alone = |names: &[&str]| names.iter().map(|name| image(name, &[], &[])).collect::<Vec<_>>();
        check(&alone(&["a"]), &[("a", 9)], 4, "a=9");
        let five = alone(&["a", "b", "c", "d", "e"]);
        check(&five, &[("a", 7), ("b", 6), ("c", 5), ("d", 4), ("e", 4)], 2, "a+b=13 c+d+e=13");
        check(&alone(&["a", "b", "c"]), &[("a", 0), ("b", 0), ("c", 0)], 3, "a=0 b=0 c=0");
        let chain = [
            image("base", &[], &[]),
            image("a", &["base"], &[]),
            image("b", &["base"], &[]),
            image("c", &[], &[]),
        ];
        check(&chain, &[("c", 2)], 4, "base+a+b=3 c=2");
        // What is needed but not built here holds nobody together.
        let strangers = [image("a", &["gone"], &[]), image("b", &["gone"], &[])];
        check(&strangers, &[], 2, "a=1 b=1");
    }

    #[test]
    fn base_images_are_shared_where_it_costs_no_time() {
        let images = [
            image("a", &[], &["debian:12"]),
            image("b", &[], &["alpine:3"]),
            image("c", &[], &["debian:12"]),
            image("d", &[], &["alpine:3"]),
        ];
        check(&images, &[("a", 100), ("b", 100), ("c", 2), ("d", 2)], 2, "a+c=102 b+d=102");
    }

    /// The shortest time that any division of these reaches.
    fn best(times: &[u64], shards: usize) -> u64 {
        let divisions = (shards as u32).pow(times.len() as u32);
        let longest_of = |division: u32| {
            let mut loads = vec![0; shards];
            let mut rest = division as usize;
            for time in times {
                loads[rest % shards] += time;
                rest /= shards;
            }
            longest(&loads)
        };
        (0..divisions).map(longest_of).min().unwrap_or(0)
    }

    proptest! {
        #[test]
        fn nearly_the_best_division_is_found(
            times in prop::collection::vec(0_u64..1000, 1..8),
            shards in 1_usize..5,
            bases in prop::collection::vec(0_usize..3, 8),
        ) {
            let names: Vec<String> = (0..times.len()).map(|at| format!("i{at}")).collect();
            let images: Vec<Image> = names
                .iter()
                .zip(bases)
                .map(|(name, base)| image(name, &[], &[["a:1", "b:1", "c:1"][base]]))
                .collect();
            let all: Vec<&Image> = images.iter().collect();
            let time = |name: &ImageName| times[name.as_str()[1..].parse::<usize>().unwrap()];
            let made = share_out(&all, time, shards);
            let longest = made.iter().map(|shard| shard.estimate).max().unwrap_or(0);
            prop_assert!(longest * 10 <= best(&times, shards) * 11, "{made:?}");
            let mut found: Vec<&str> = made.iter().flat_map(|s| &s.images).map(ImageName::as_str).collect();
            found.sort_unstable();
            prop_assert_eq!(found, names.iter().map(String::as_str).collect::<Vec<_>>());
            prop_assert!(made.iter().all(|shard| !shard.images.is_empty()) && made.len() <= shards);
        }

        /// Four equal heaps cut to pieces: the best division is known, however many pieces there are.
        #[test]
        fn heaps_that_were_cut_are_put_together_again(
            cuts in prop::collection::vec(prop::collection::btree_set(1_u64..1000, 1..6), 4),
        ) {
            let mut times: Vec<u64> = Vec::new();
            for heap in &cuts {
                let mut last = 0;
                for cut in heap.iter().copied().chain([1000]) {
                    times.push(cut - last);
                    last = cut;
                }
            }
            let images: Vec<Image> =
                (0..times.len()).map(|at| image(&format!("i{at}"), &[], &["a:1"])).collect();
            let all: Vec<&Image> = images.iter().collect();
            let made = share_out(&all, |name| times[name.as_str()[1..].parse::<usize>().unwrap()], 4);
            let longest = made.iter().map(|shard| shard.estimate).max().unwrap_or(0);
            prop_assert!(longest <= 1100, "{longest} of {times:?}");
        }

        #[test]
        fn many_images_are_shared_out_evenly(times in prop::collection::vec(1_u64..1000, 40..120)) {
            let images: Vec<Image> = (0..times.len()).map(|at| image(&format!("i{at}"), &[], &[])).collect();
            let all: Vec<&Image> = images.iter().collect();
            let made = share_out(&all, |name| times[name.as_str()[1..].parse::<usize>().unwrap()], 4);
            let total: u64 = times.iter().sum();
            let longest = made.iter().map(|shard| shard.estimate).max().unwrap_or(0);
            prop_assert!(longest * 10 <= total.div_ceil(4).max(*times.iter().max().unwrap()) * 11);
        }
    }
}
