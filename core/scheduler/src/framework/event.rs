use std::ops::BitOr;

use k8s_openapi::api::core::v1::{Node, Pod};
use pinnace_api::{Kind, Object};

/// Kinds of things that happen in a cluster, as a set.
///
/// A plugin says with such a set what may help a pod that it has rejected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Events(u32);

macro_rules! events {
    ($($(#[$doc:meta])* $name:ident = $bit:literal;)*) => {
        impl Events {
            $($(#[$doc])* pub const $name: Self = Self(1 << $bit);)*
        }
    };
}

events! {
    /// A node appeared.
    NODE_ADD = 0;
    /// A node went.
    NODE_DELETE = 1;
    /// What a node offers changed.
    NODE_ALLOCATABLE = 2;
    /// A node's labels changed.
    NODE_LABEL = 3;
    /// A node's taints changed, or it is no longer marked unschedulable.
    NODE_TAINT = 4;
    /// A node's conditions changed.
    NODE_CONDITION = 5;
    /// A node's annotations changed.
    NODE_ANNOTATION = 6;
    /// A pod came to a node.
    POD_ADD = 8;
    /// A pod on a node went, ended, or is no longer to be bound to it.
    POD_DELETE = 9;
    /// The labels of a pod on a node changed.
    POD_LABEL = 10;
    /// A pod on a node asks for less.
    POD_SCALE_DOWN = 11;
    /// Something else about a pod on a node changed.
    POD_UPDATE = 12;
    /// A pod came that waits to be scheduled.
    PENDING_ADD = 13;
    /// The waiting pod's own labels changed.
    OWN_LABEL = 16;
    /// The waiting pod itself asks for less.
    OWN_SCALE_DOWN = 17;
    /// The waiting pod itself tolerates more.
    OWN_TOLERATION = 18;
    /// The last scheduling gate of the waiting pod itself went.
    OWN_GATES = 19;
    /// Something else about the waiting pod itself changed.
    OWN_UPDATE = 20;
    /// A claim came, changed or went.
    CLAIM = 21;
    /// A persistent volume came, changed or went.
    VOLUME = 22;
    /// Something else about storage changed: a class, or what a node or driver can hold.
    STORAGE = 23;
    /// A claim for devices, a class of them, or what nodes offer, came, changed or went.
    DEVICES = 24;
    /// Claims for devices were made for the waiting pod itself.
    OWN_CLAIMS = 25;
}

impl Events {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Everything.
    pub const ALL: Self = Self(u32::MAX);

    /// The numbers of the kinds that are in it.
    pub(crate) fn bits(self) -> impl Iterator<Item = usize> {
        (0..u32::BITS as usize).filter(move |bit| self.0 & (1 << bit) != 0)
    }

    /// What is in either.
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether both have something in common.
    pub const fn overlaps(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether nothing is in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for Events {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        self.or(other)
    }
}

/// Something that happened, with the object it happened to.
#[derive(Clone, Copy, Debug)]
pub struct ClusterEvent<'a> {
    /// What happened; several things when an update changed several.
    pub what: Events,
    /// The object before; `None` when it appeared.
    pub old: Option<&'a Object>,
    /// The object now; `None` when it went.
    pub new: Option<&'a Object>,
}

impl<'a> ClusterEvent<'a> {
    /// The object before and now, read as a kind.
    pub fn read<K: Kind>(&self) -> (Option<&'a K>, Option<&'a K>) {
        let read = |object: Option<&'a Object>| object.and_then(|object| object.get::<K>().ok());
        (read(self.old), read(self.new))
    }
}

/// Whether an event is worth another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// The pod may fit now.
    Queue,
    /// The event does not help the pod.
    Skip,
}

/// What changed about a node that scheduling may depend on.
pub(crate) fn node_changes(old: &Node, new: &Node) -> Events {
    let mut what = Events::NONE;
    let mut note = |changed: bool, event: Events| {
        if changed {
            what = what | event;
        }
    };
    let unschedulable = |node: &Node| crate::cluster::is_unschedulable(Some(node));
    let allocatable =
        |node: &Node| node.status.as_ref().and_then(|status| status.allocatable.clone());
    let conditions = |node: &Node| {
        let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let mut states: Vec<(String, String)> =
            conditions.map(|one| (one.type_.clone(), one.status.clone())).collect();
        states.sort();
        states
    };
    note(unschedulable(old) && !unschedulable(new), Events::NODE_TAINT);
    note(allocatable(old) != allocatable(new), Events::NODE_ALLOCATABLE);
    note(old.metadata.labels != new.metadata.labels, Events::NODE_LABEL);
    note(
        crate::cluster::taints(Some(old)) != crate::cluster::taints(Some(new)),
        Events::NODE_TAINT,
    );
    note(conditions(old) != conditions(new), Events::NODE_CONDITION);
    note(old.metadata.annotations != new.metadata.annotations, Events::NODE_ANNOTATION);
    what
}

/// What changed about a pod that scheduling may depend on: of another pod when it is on a node,
/// else of the waiting pod itself.
pub(crate) fn pod_changes(old: &Pod, new: &Pod, on_node: bool) -> Events {
    let mut what = Events::NONE;
    let mut note = |changed: bool, on: Events, own: Events| {
        if changed {
            what = what | if on_node { on } else { own };
        }
    };
    let tolerations = |pod: &Pod| {
        pod.spec.as_ref().and_then(|spec| spec.tolerations.as_ref()).map_or(0, Vec::len)
    };
    let gated = |pod: &Pod| {
        let gates = pod.spec.as_ref().and_then(|spec| spec.scheduling_gates.as_ref());
        gates.is_some_and(|gates| !gates.is_empty())
    };
    note(old.metadata.labels != new.metadata.labels, Events::POD_LABEL, Events::OWN_LABEL);
    note(crate::pod::asks_less(old, new), Events::POD_SCALE_DOWN, Events::OWN_SCALE_DOWN);
    note(gated(old) && !gated(new), Events::NONE, Events::OWN_GATES);
    note(tolerations(old) != tolerations(new), Events::NONE, Events::OWN_TOLERATION);
    let claims = |pod: &Pod| pod.status.as_ref()?.resource_claim_statuses.clone();
    note(claims(old) != claims(new), Events::NONE, Events::OWN_CLAIMS);
    // A status that changes, as the scheduler's own report does, makes no pod schedulable.
    let other = old.spec != new.spec || old.metadata.annotations != new.metadata.annotations;
    match (what.is_empty() && other, on_node) {
        (false, _) => what,
        (true, true) => Events::POD_UPDATE,
        (true, false) => Events::OWN_UPDATE,
    }
}
