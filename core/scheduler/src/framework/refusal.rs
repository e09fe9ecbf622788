use std::borrow::Cow;

/// Why a plugin says no, for people: one or more reasons in the form `Insufficient cpu`.
pub type Reasons = Vec<Cow<'static, str>>;

/// A plugin's no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The pod cannot be scheduled; evicting other pods may change that.
    #[error("{}", .0.join(", "))]
    Unschedulable(Reasons),
    /// The pod cannot be scheduled, whatever pods are evicted.
    #[error("{}", .0.join(", "))]
    Unresolvable(Reasons),
    /// The pod waits for something that the plugin expects to come; when it does, the pod is tried
    /// again without backoff.
    #[error("{}", .0.join(", "))]
    Pending(Reasons),
    /// Something is broken; the pod is tried again with backoff.
    #[error("{0}")]
    Error(String),
}

impl Refusal {
    /// [`Refusal::Unschedulable`] for one reason.
    pub fn unschedulable(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Unschedulable(vec![reason.into()])
    }

    /// [`Refusal::Unresolvable`] for one reason.
    pub fn unresolvable(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Unresolvable(vec![reason.into()])
    }

    /// [`Refusal::Error`] for what somebody else's error says.
    pub fn error(error: impl std::fmt::Display) -> Self {
        Self::Error(error.to_string())
    }

    /// Whether it says no to the pod, rather than that something is broken.
    pub fn is_rejection(&self) -> bool {
        !matches!(self, Self::Error(_))
    }

    /// The reasons; an error's message is one.
    pub fn reasons(&self) -> Reasons {
        match self {
            Self::Unschedulable(reasons) | Self::Unresolvable(reasons) | Self::Pending(reasons) => {
                reasons.clone()
            }
            Self::Error(message) => vec![message.clone().into()],
        }
    }
}

/// What a plugin answers where it may say no.
pub type Answer<T = ()> = Result<T, Refusal>;
