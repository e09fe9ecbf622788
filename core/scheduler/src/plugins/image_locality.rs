use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;

use crate::cluster::{Cluster, NodeIndex};
use crate::framework::{Answer, Concern, Cycle, Events, MAX_SCORE, Plugin, Prepared, Score};

/// What counts as nothing, in bytes.
const LEAST: i64 = 23 * 1024 * 1024;
/// How many bytes of images per container are worth the highest score.
const MOST_PER_CONTAINER: i64 = 1000 * 1024 * 1024;

/// Prefers nodes that have the images of a pod already. An image counts by its size, and the more,
/// the more nodes have it: else pods would gather where the first of them went.
#[derive(Clone, Copy, Debug)]
pub struct ImageLocality;

impl ImageLocality {
    /// The plugin's name.
    pub const NAME: &'static str = "ImageLocality";
}

/// The images of a pod, with tags, one per container.
#[derive(Debug)]
struct Wanted(Vec<String>);

impl Plugin for ImageLocality {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn prepare(&self, pod: &Pod, _: &mut Cluster) -> Option<Prepared> {
        let spec = pod.spec.as_ref()?;
        let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
        let images = containers.map(|one| one.image.as_deref());
        let volumes = spec.volumes.iter().flatten().filter_map(|one| one.image.as_ref());
        let images = images.chain(volumes.map(|image| image.reference.as_deref()));
        let wanted: Vec<String> = images.map(|image| with_tag(image.unwrap_or_default())).collect();
        if wanted.is_empty() {
            return None;
        }
        Some(Arc::new(Wanted(wanted)))
    }

    fn concern(&self, cycle: &Cycle<'_>) -> Concern {
        // An image that all nodes have, or none, makes no difference between them.
        let differs = |image: &String| {
            let (having, all) = (cycle.cluster.images().nodes(image).len(), cycle.cluster.len());
            having > 0 && having < all
        };
        let wanted = cycle.pod.prepared::<Wanted>();
        let scores = wanted.is_some_and(|wanted| wanted.0.iter().any(differs));
        Concern { filters: false, scores }
    }

    fn events(&self) -> Events {
        Events::NONE
    }

    fn as_score(&self) -> Option<&dyn Score> {
        Some(self)
    }
}

impl Score for ImageLocality {
    fn score(&self, cycle: &Cycle<'_>, nodes: &[NodeIndex], scores: &mut [i64]) -> Answer {
        scores.fill(0);
        let Some(Wanted(wanted)) = cycle.pod.prepared() else { return Ok(()) };
        let mut bytes = vec![0_i64; cycle.cluster.width()];
        for image in wanted {
            let having = cycle.cluster.images().nodes(image);
            let spread = having.len() as f64 / cycle.cluster.len().max(1) as f64;
            for (node, size) in having {
                let cell = &mut bytes[node.index()];
                *cell = cell.saturating_add((size as f64 * spread) as i64);
            }
        }
        let most = MOST_PER_CONTAINER * wanted.len() as i64;
        for (node, score) in nodes.iter().zip(scores) {
            let bytes = bytes[node.index()].clamp(LEAST, most);
            *score = MAX_SCORE * (bytes - LEAST) / (most - LEAST);
        }
        Ok(())
    }
}

/// The name by which nodes report an image: with its tag.
fn with_tag(image: &str) -> String {
    let tag = image.rfind(':').is_some_and(|colon| image.rfind('/').is_none_or(|at| at < colon));
    if tag { image.to_owned() } else { format!("{image}:latest") }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{TestCluster, node, pod_object};
    use super::*;
    use crate::framework::{CycleState, Profile};
    use crate::pod::PodClasses;

    #[test]
    fn images_count_by_size_and_by_how_many_nodes_have_them() {
        let with =
            |name: &str, images: &str| node(name, &format!("status: {{images: [{images}]}}"));
        let image = |name: &str, megabytes: i64| {
            format!("{{names: ['{name}'], sizeBytes: {}}}", megabytes << 20)
        };
        let nodes = [
            with("a", &image("web:latest", 400)),
            with(
                "b",
                &[image("web:latest", 400), image("registry:5000/db:latest", 2000)].join(","),
            ),
            with("c", ""),
        ];
        let check = |spec: &str, expected: [i64; 3], concern: bool| {
            let mut cluster = TestCluster::of(&nodes).cluster;
            let profile = Profile::new("x", 0, vec![(Arc::new(ImageLocality), 1)]);
            let pod = PodClasses::default().read(&mut cluster, &profile, &pod_object("p", spec));
            let cycle = Cycle { pod: &pod, cluster: &cluster, state: &CycleState::default() };
            let nodes: Vec<_> = cluster.indexes().collect();
            let mut scores = [0; 3];
            assert!(ImageLocality.score(&cycle, &nodes, &mut scores).is_ok());
            assert_eq!(scores, expected, "{spec}");
            assert_eq!(ImageLocality.concern(&cycle).scores, concern, "{spec}");
        };
        check("containers: [{name: c, image: web}]", [24, 24, 0], true);
        check("containers: [{name: c, image: 'registry:5000/db'}]", [0, 65, 0], true);
        check("containers: [{name: c, image: other}]", [0, 0, 0], false);
    }
}
