use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use pinnace_api::Typed;
use tokio::time::Instant;

use super::{Queue, Waits};
use crate::Cluster;
use crate::framework::{ClusterEvent, Events, PluginSet, Profile};
use crate::plugins::PrioritySort;
use crate::plugins::testing::{default_profile, node, pod_object};
use crate::pod::PodClasses;

const SECOND: Duration = Duration::from_secs(1);

struct Test {
    queue: Queue,
    cluster: Cluster,
    classes: PodClasses,
    profile: Arc<[Profile]>,
    now: Instant,
}

impl Test {
    fn new() -> Self {
        let profile: Arc<[Profile]> = [default_profile()].into();
        let waits =
            Waits { first_backoff: SECOND, most_backoff: 10 * SECOND, unschedulable: 300 * SECOND };
        Self {
            queue: Queue::new(profile.clone(), Arc::new(PrioritySort), waits, Events::NONE),
            cluster: Cluster::new(),
            classes: PodClasses::default(),
            profile,
            now: Instant::now(),
        }
    }

    fn read(&mut self, pod: &Typed<Pod>) -> crate::PodInfo {
        self.classes.read(&mut self.cluster, &self.profile[0], pod)
    }

    fn add(&mut self, name: &str, spec: &str) {
        let pod = self.read(&pod_object(name, spec));
        self.queue.add(pod, self.now);
    }

    /// Pods in the order in which they are tried now.
    fn pop_all(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.pop()).collect()
    }

    fn pop(&mut self) -> Option<String> {
        Some(self.queue.pop(self.now)?.pod().key().name().to_owned())
    }

    fn plugin(&self, name: &str) -> PluginSet {
        let mut set = PluginSet::default();
        let mut plugins = self.profile[0].plugins();
        set.insert(plugins.find(|(_, plugin)| plugin.name() == name).unwrap().0);
        set
    }

    fn reject(&mut self, name: &str, plugin: &str) {
        let rejected = self.plugin(plugin);
        self.queue.put_back(&format!("uid-{name}"), rejected, PluginSet::default(), self.now);
    }

    fn fail(&mut self, name: &str) {
        let none = PluginSet::default();
        self.queue.put_back(&format!("uid-{name}"), none, none, self.now);
    }

    fn node(&mut self, what: Events, old: Option<&Typed<Node>>, new: &Typed<Node>) {
        let event = ClusterEvent { what, old: old.map(Typed::object), new: Some(new.object()) };
        self.queue.wake(&event, self.now);
    }

    fn waits(&mut self) -> Option<Duration> {
        self.queue.next_due().map(|due| due - self.now)
    }
}

#[tokio::test(start_paused = true)]
async fn pods_are_tried_by_priority_then_by_age_then_in_order() {
    let mut test = Test::new();
    test.add("a", "");
    test.add("b", "");
    test.now += SECOND;
    test.add("c", "priority: 5");
    test.add("d", "");
    test.now -= SECOND / 2;
    test.add("e", "");
    assert_eq!(test.pop_all(), ["c", "a", "b", "e", "d"]);
}

#[tokio::test(start_paused = true)]
async fn an_unschedulable_pod_is_woken_only_by_what_may_help_it() {
    let mut test = Test::new();
    test.add("tainted", "");
    test.add("picky", "nodeSelector: {disk: ssd}");
    test.pop_all();
    test.reject("tainted", "TaintToleration");
    test.reject("picky", "NodeAffinity");
    assert_eq!(test.pop_all(), Vec::<String>::new());

    let plain = node("n", "");
    let ssd = node("n", "metadata: {labels: {disk: ssd}}");
    test.node(Events::NODE_LABEL, Some(&ssd), &plain);
    test.node(Events::NODE_CONDITION, Some(&plain), &plain);
    assert_eq!(test.pop_all(), Vec::<String>::new());
    test.node(Events::NODE_LABEL, Some(&plain), &ssd);
    assert_eq!(test.pop_all(), ["picky"]);
    test.node(Events::NODE_ADD, None, &plain);
    assert_eq!(test.pop_all(), ["tainted"]);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_nothing_helps_is_tried_again_after_five_minutes() {
    let mut test = Test::new();
    test.add("a", "");
    test.pop_all();
    test.reject("a", "NodeName");
    assert_eq!(test.waits(), Some(300 * SECOND));
    test.now += 299 * SECOND;
    assert_eq!(test.pop(), None);
    test.now += SECOND;
    assert_eq!(test.pop().as_deref(), Some("a"));
}

#[tokio::test(start_paused = true)]
async fn errors_back_off_doubling_from_one_to_ten_seconds() {
    let mut test = Test::new();
    test.add("a", "");
    test.pop();
    for seconds in [1, 2, 4, 8, 10, 10] {
        test.fail("a");
        assert_eq!(test.waits(), Some(seconds * SECOND));
        test.now += seconds * SECOND - SECOND / 2;
        assert_eq!(test.pop(), None, "after {seconds}");
        test.now += SECOND / 2;
        assert_eq!(test.pop().as_deref(), Some("a"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_woken_pod_backs_off_behind_others_but_not_for_nothing() {
    let mut test = Test::new();
    test.add("a", "");
    test.pop();
    test.reject("a", "TaintToleration");
    test.add("b", "");
    test.node(Events::NODE_ADD, None, &node("n", ""));
    assert_eq!(test.waits(), Some(SECOND));
    assert_eq!(test.pop_all(), ["b", "a"]);
}

#[tokio::test(start_paused = true)]
async fn without_any_node_the_first_one_wakes() {
    let mut test = Test::new();
    test.add("a", "");
    test.pop();
    test.queue.put_back("uid-a", PluginSet::NO_NODES, PluginSet::default(), test.now);
    assert_eq!(test.pop(), None);
    test.node(Events::NODE_ADD, None, &node("n", "spec: {unschedulable: true}"));
    assert_eq!(test.pop().as_deref(), Some("a"));
}

#[tokio::test(start_paused = true)]
async fn a_gated_pod_waits_for_its_gates_alone() {
    let mut test = Test::new();
    test.add("a", "schedulingGates: [{name: g}]");
    test.node(Events::NODE_ADD, None, &node("n", ""));
    test.now += 1000 * SECOND;
    assert_eq!((test.pop(), test.waits()), (None, None));
    let open = pod_object("a", "");
    let pod = test.read(&open);
    let event = ClusterEvent { what: Events::OWN_GATES, old: None, new: Some(open.object()) };
    test.queue.update(pod, &event, test.now);
    assert_eq!(test.pop().as_deref(), Some("a"));
}

#[tokio::test(start_paused = true)]
async fn what_happens_while_a_pod_is_being_bound_is_not_missed() {
    let mut test = Test::new();
    test.add("a", "");
    test.pop();
    test.node(Events::NODE_ADD, None, &node("n", ""));
    test.reject("a", "NodeName");
    assert_eq!(test.pop().as_deref(), Some("a"));
    test.reject("a", "NodeName");
    assert_eq!(test.pop(), None);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_gone_is_not_tried() {
    let mut test = Test::new();
    test.add("a", "");
    test.add("b", "");
    test.queue.remove("uid-a");
    assert_eq!(test.pop_all(), ["b"]);
    test.reject("b", "NodeName");
    test.queue.remove("uid-b");
    test.node(Events::NODE_ADD, None, &node("n", ""));
    assert_eq!((test.pop(), test.waits()), (None, None));
    assert!(test.queue.parked.is_empty());
}

#[tokio::test(start_paused = true)]
async fn pods_that_come_and_go_leave_no_heap_of_stale_timers() {
    let mut test = Test::new();
    test.add("a", "");
    let changes = [node("n", "")];
    for _ in 0..10_000 {
        test.pop();
        test.reject("a", "NodeName");
        test.node(Events::NODE_ADD, None, &changes[0]);
    }
    assert!(test.queue.parked_until.len() < 2 * super::STALE_TIMERS);
}
