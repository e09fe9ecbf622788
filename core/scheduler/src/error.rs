use pinnace_api::ApiError;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a scheduler cannot be made.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The API does not serve what the scheduler needs.
    #[error("the scheduler cannot use the API")]
    Api(#[from] ApiError),
    /// There is no profile, or two of one name.
    #[error("there must be one profile for scheduler name {scheduler_name:?}")]
    Profiles {
        /// The name.
        scheduler_name: String,
    },
    /// A profile names a plugin that is not registered.
    #[error("profile {profile:?}: there is no plugin {plugin:?}")]
    UnknownPlugin {
        /// The profile.
        profile: String,
        /// The plugin.
        plugin: String,
    },
    /// A profile names a plugin twice.
    #[error("profile {profile:?}: plugin {plugin:?} is there twice")]
    RepeatedPlugin {
        /// The profile.
        profile: String,
        /// The plugin.
        plugin: String,
    },
    /// A weight is out of bounds.
    #[error("profile {profile:?}: weight {weight} of plugin {plugin:?} is not from 0 to {most}")]
    Weight {
        /// The profile.
        profile: String,
        /// The plugin.
        plugin: String,
        /// The weight.
        weight: i64,
        /// The largest weight.
        most: i64,
    },
    /// A profile has too many plugins.
    #[error("profile {profile:?} has more than {most} plugins")]
    TooManyPlugins {
        /// The profile.
        profile: String,
        /// How many it may have.
        most: usize,
    },
    /// A profile has no plugin that binds pods.
    #[error("profile {profile:?} has no plugin that binds pods")]
    NoBinder {
        /// The profile.
        profile: String,
    },
    /// Not all profiles have the same one plugin that orders the queue.
    #[error(
        "profile {profile:?} must have one plugin that orders the queue, the same as all others"
    )]
    QueueSort {
        /// The profile.
        profile: String,
    },
    /// A `KubeSchedulerConfiguration` makes no sense.
    #[error("{message}")]
    Configuration {
        /// All that is wrong, in upstream's words.
        message: String,
    },
    /// No profile schedules a pod.
    #[error("no profile is called {scheduler_name:?}")]
    UnknownScheduler {
        /// `spec.schedulerName` of the pod.
        scheduler_name: String,
    },
    /// A plugin cannot tell what is to become of a pod.
    #[error("no decision: {message}")]
    Undecided {
        /// What the plugin says.
        message: String,
    },
    /// The scheduler does not run any more.
    #[error("the scheduler has stopped")]
    Stopped,
    /// A plugin cannot be made.
    #[error("plugin {plugin:?} cannot be made: {message}")]
    Plugin {
        /// The plugin.
        plugin: String,
        /// Why.
        message: String,
    },
}
