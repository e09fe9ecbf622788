use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::cluster::{Cluster, NodeIndex};
use crate::pod::PodInfo;

/// The pods for which room is kept on a node, usually because others were evicted for them.
///
/// The room counts as taken for every pod that is not more important. It is kept as if the pods were
/// there, and given up for as long as a more important pod, or the pod itself, is tried.
#[derive(Debug, Default)]
pub(crate) struct Nominations {
    /// By priority and uid.
    pods: BTreeMap<(i32, Arc<str>), (Arc<PodInfo>, NodeIndex)>,
    priorities: HashMap<Arc<str>, i32, ahash::RandomState>,
}

/// The room that was given up for a moment.
pub(crate) type Given = Vec<(Arc<PodInfo>, NodeIndex)>;

impl Nominations {
    /// Keeps room for a pod on a node, and no longer elsewhere.
    pub(crate) fn set(&mut self, cluster: &mut Cluster, pod: &Arc<PodInfo>, node: NodeIndex) {
        self.remove(cluster, pod.uid());
        if cluster.nominate(pod, node) {
            let key = (pod.priority(), pod.uid().clone());
            self.priorities.insert(pod.uid().clone(), pod.priority());
            self.pods.insert(key, (pod.clone(), node));
        }
    }

    /// Gives up the room that is kept for a pod; `false` when there is none.
    pub(crate) fn remove(&mut self, cluster: &mut Cluster, uid: &str) -> bool {
        let Some((uid, priority)) = self.priorities.remove_entry(uid) else { return false };
        cluster.unnominate(&uid);
        self.pods.remove(&(priority, uid)).is_some()
    }

    /// Gives up for a moment what does not count for a pod.
    pub(crate) fn give_way(&self, cluster: &mut Cluster, pod: &PodInfo) -> Given {
        if self.pods.is_empty() {
            return Given::new();
        }
        let own = self.priorities.get(pod.uid()).map(|priority| (*priority, pod.uid().clone()));
        let own = own.and_then(|key| self.pods.get(&key));
        let lowest = (pod.priority(), Arc::from(""));
        let lower = self.pods.range(..lowest).map(|(_, kept)| kept);
        let given: Given = own.into_iter().chain(lower).cloned().collect();
        given.iter().for_each(|(pod, _)| _ = cluster.unnominate(pod.uid()));
        given
    }

    /// Takes it back, but for pods that have got a node meanwhile.
    pub(crate) fn take_back(&mut self, cluster: &mut Cluster, given: Given) {
        for (pod, node) in given {
            let kept = self.pods.get(&(pod.priority(), pod.uid().clone()));
            let still = kept.is_some_and(|(_, on)| *on == node);
            if still && !cluster.nominate(&pod, node) {
                self.remove(cluster, pod.uid());
            }
        }
    }

    /// The pods of lower priority for which room is kept on the same node.
    pub(crate) fn less_important(&self, pod: &PodInfo, node: NodeIndex) -> Vec<Arc<PodInfo>> {
        let lowest = (pod.priority(), Arc::from(""));
        let lower = self.pods.range(..lowest).map(|(_, kept)| kept);
        lower.filter(|(_, on)| *on == node).map(|(pod, _)| pod.clone()).collect()
    }
}
