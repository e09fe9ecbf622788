use super::jwt::AnonymousAuthConfig;

/// What callers without a name may reach; what they may do there is for authorizers to say.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Anonymous {
    /// Health and version.
    #[default]
    Health,
    /// Nothing.
    Nowhere,
    /// These paths.
    Paths(Vec<String>),
    /// Everything.
    Everywhere,
}

impl Anonymous {
    /// What a configuration says.
    pub fn of(config: &AnonymousAuthConfig) -> Self {
        if !config.enabled {
            return Self::Nowhere;
        }
        if config.conditions.is_empty() {
            return Self::Everywhere;
        }
        Self::Paths(config.conditions.iter().map(|condition| condition.path.clone()).collect())
    }

    pub(crate) fn may_reach(&self, path: &str) -> bool {
        match self {
            Self::Health => is_open(path),
            Self::Nowhere => false,
            Self::Paths(paths) => paths.iter().any(|one| one == path),
            Self::Everywhere => true,
        }
    }
}

/// Whether everybody may have a path, whoever they are.
pub(crate) fn is_open(path: &str) -> bool {
    let root = path.split('/').nth(1).unwrap_or_default();
    matches!(root, "healthz" | "livez" | "readyz") || path == "/version" || path == "/version/"
}
