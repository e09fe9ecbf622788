use std::fmt;
use std::time::Duration;

use pinnace_api::quantity::Quantity;
use pinnace_client::summary::{FsUse, Summary};

/// When a node evicts pods to save itself, as `evictionHard`, `evictionSoft` and their like in
/// upstream's `KubeletConfiguration`.
#[derive(Clone, Debug, PartialEq)]
pub struct Eviction {
    /// What must be left. Several may be about one signal.
    pub thresholds: Vec<Threshold>,
    /// How long a node shows a pressure after it has ceased: `evictionPressureTransitionPeriod`.
    pub transition_period: Duration,
    /// What a pod is given at most to end after a soft threshold: `evictionMaxPodGracePeriod`.
    pub max_pod_grace: Duration,
    /// How often the node looks.
    pub interval: Duration,
}

impl Eviction {
    /// What suits a machine that has other uses: a disk that is rather full is no reason to end
    /// pods there, and a lack of memory is.
    pub fn of_memory() -> Self {
        let threshold = Threshold::hard(Signal::MemoryAvailable, Amount::Absolute(100 << 20));
        Self { thresholds: vec![threshold], ..Self::default() }
    }
}

impl Default for Eviction {
    /// Upstream's: 100 MiB of memory, a tenth of the node's file system, 15 % of that of images,
    /// and 5 % of the inodes of each.
    fn default() -> Self {
        let hard = [
            (Signal::MemoryAvailable, Amount::Absolute(100 << 20)),
            (Signal::NodeFsAvailable, Amount::Percent(10.0)),
            (Signal::NodeFsInodesFree, Amount::Percent(5.0)),
            (Signal::ImageFsAvailable, Amount::Percent(15.0)),
            (Signal::ImageFsInodesFree, Amount::Percent(5.0)),
        ];
        Self {
            thresholds: hard.map(|(signal, amount)| Threshold::hard(signal, amount)).to_vec(),
            transition_period: Duration::from_secs(300),
            max_pod_grace: Duration::ZERO,
            interval: Duration::from_secs(10),
        }
    }
}

/// What must be left of something.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// Of what.
    pub signal: Signal,
    /// How much.
    pub amount: Amount,
    /// How long there may be less; with zero it is a hard threshold.
    pub grace: Duration,
    /// How much more than `amount` there must be until it is enough again.
    pub reclaim: Option<Amount>,
}

impl Threshold {
    /// One that may not be crossed at all.
    pub fn hard(signal: Signal, amount: Amount) -> Self {
        Self { signal, amount, grace: Duration::ZERO, reclaim: None }
    }

    pub(crate) fn is_hard(&self) -> bool {
        self.grace.is_zero()
    }
}

/// Bytes or a number, or a part of all that there is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// So much.
    Absolute(u64),
    /// So many hundredths.
    Percent(f64),
}

impl Amount {
    /// Reads what `evictionHard` and its like say: `100Mi`, `10%`.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(percent) = text.strip_suffix('%') {
            let percent: f64 = percent.parse().map_err(|error| format!("{text:?}: {error}"))?;
            if !(0.0..=100.0).contains(&percent) {
                return Err(format!("{text:?} is not within 0% and 100%"));
            }
            return Ok(Self::Percent(percent));
        }
        let amount = Quantity::parse(text).map_err(|error| format!("{text:?}: {error}"))?;
        let amount = u64::try_from(amount.value()).ok().filter(|amount| *amount > 0);
        amount.map(Self::Absolute).ok_or_else(|| format!("{text:?} must be positive"))
    }

    /// How much that is where there is `capacity`.
    pub(crate) fn of(self, capacity: u64) -> u64 {
        match self {
            Self::Absolute(amount) => amount,
            // As upstream rounds: towards nothing.
            Self::Percent(percent) => (capacity as f64 * percent / 100.0) as u64,
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absolute(amount) => {
                let amount = i64::try_from(*amount).unwrap_or(i64::MAX);
                write!(f, "{}", Quantity::from_bytes(amount))
            }
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Signal {
    /// `memory.available`
    MemoryAvailable,
    /// `nodefs.available`
    NodeFsAvailable,
    /// `nodefs.inodesFree`
    NodeFsInodesFree,
    /// `imagefs.available`
    ImageFsAvailable,
    /// `imagefs.inodesFree`
    ImageFsInodesFree,
    /// `pid.available`
    PidAvailable,
}

impl Signal {
    const NAMES: [(Self, &'static str); 6] = [
        (Self::MemoryAvailable, "memory.available"),
        (Self::NodeFsAvailable, "nodefs.available"),
        (Self::NodeFsInodesFree, "nodefs.inodesFree"),
        (Self::ImageFsAvailable, "imagefs.available"),
        (Self::ImageFsInodesFree, "imagefs.inodesFree"),
        (Self::PidAvailable, "pid.available"),
    ];

    /// By upstream's name.
    ///
    /// # Errors
    /// In upstream's words.
    pub fn parse(name: &str) -> Result<Self, String> {
        let found = Self::NAMES.into_iter().find(|(_, known)| *known == name);
        found.map(|(signal, _)| signal).ok_or_else(|| format!("unsupported eviction signal {name}"))
    }

    /// Upstream's name.
    pub(crate) fn name(self) -> &'static str {
        let found = Self::NAMES.into_iter().find(|(signal, _)| *signal == self);
        found.map_or("", |(_, name)| name)
    }

    /// The name of the resource that runs short.
    pub(crate) fn resource(self) -> Resource {
        match self {
            Self::MemoryAvailable => Resource::Memory,
            Self::NodeFsAvailable | Self::ImageFsAvailable => Resource::Storage,
            Self::NodeFsInodesFree | Self::ImageFsInodesFree => Resource::Inodes,
            Self::PidAvailable => Resource::Pids,
        }
    }

    pub(crate) fn pressure(self) -> Pressure {
        match self.resource() {
            Resource::Memory => Pressure::Memory,
            Resource::Storage | Resource::Inodes => Pressure::Disk,
            Resource::Pids => Pressure::Pid,
        }
    }

    /// What is left of it and what there is; `None` where that is not known.
    pub(crate) fn observe(self, summary: &Summary) -> Option<Observed> {
        let node = &summary.node;
        let bytes = |fs: &FsUse| Some((fs.available_bytes?, fs.capacity_bytes?));
        let inodes = |fs: &FsUse| Some((fs.inodes_free?, fs.inodes?));
        let image_fs = || node.runtime.as_ref()?.image_fs.as_ref();
        let (available, capacity) = match self {
            Self::MemoryAvailable => {
                let memory = node.memory.as_ref()?;
                let available = memory.available_bytes?;
                (available, available.saturating_add(memory.working_set_bytes?))
            }
            Self::NodeFsAvailable => bytes(node.fs.as_ref()?)?,
            Self::NodeFsInodesFree => inodes(node.fs.as_ref()?)?,
            Self::ImageFsAvailable => bytes(image_fs()?)?,
            Self::ImageFsInodesFree => inodes(image_fs()?)?,
            Self::PidAvailable => {
                let limits = node.rlimit.as_ref()?;
                let whole = |number: i64| u64::try_from(number).unwrap_or(0);
                (whole(limits.max.saturating_sub(limits.current)), whole(limits.max))
            }
        };
        Some(Observed { available, capacity })
    }
}

/// What is left of something, and what there is of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Observed {
    pub(crate) available: u64,
    pub(crate) capacity: u64,
}

/// What runs short, as messages name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resource {
    Memory,
    Storage,
    Inodes,
    Pids,
}

impl Resource {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Storage => "ephemeral-storage",
            Self::Inodes => "inodes",
            Self::Pids => "pids",
        }
    }

    /// An amount of it as text.
    pub(crate) fn show(self, amount: u64) -> String {
        let amount = i64::try_from(amount).unwrap_or(i64::MAX);
        match self {
            Self::Memory | Self::Storage => Quantity::from_bytes(amount).to_string(),
            Self::Inodes | Self::Pids => Quantity::from_units(amount).to_string(),
        }
    }
}

/// What a node suffers from, as its conditions say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Pressure {
    Disk,
    Memory,
    Pid,
}

impl Pressure {
    pub(crate) const ALL: [Self; 3] = [Self::Memory, Self::Disk, Self::Pid];

    /// The condition's name.
    pub(crate) fn condition(self) -> &'static str {
        match self {
            Self::Memory => "MemoryPressure",
            Self::Disk => "DiskPressure",
            Self::Pid => "PIDPressure",
        }
    }

    /// What the condition says, reason and message.
    pub(crate) fn words(self, is_so: bool) -> (&'static str, &'static str) {
        match (self, is_so) {
            (Self::Memory, true) => {
                ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available")
            }
            (Self::Memory, false) => {
                ("KubeletHasSufficientMemory", "kubelet has sufficient memory available")
            }
            (Self::Disk, true) => ("KubeletHasDiskPressure", "kubelet has disk pressure"),
            (Self::Disk, false) => ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            (Self::Pid, true) => {
                ("KubeletHasInsufficientPID", "kubelet has insufficient PID available")
            }
            (Self::Pid, false) => {
                ("KubeletHasSufficientPID", "kubelet has sufficient PID available")
            }
        }
    }
}
