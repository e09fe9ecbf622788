use std::collections::BTreeMap;
use std::fmt;

use crate::field::{ErrorList, Path};

/// Before the names of labels of namespaces, and of annotations of audit events.
pub const PREFIX: &str = "pod-security.kubernetes.io/";
const ENFORCE: &str = "pod-security.kubernetes.io/enforce";
const ENFORCE_VERSION: &str = "pod-security.kubernetes.io/enforce-version";
const AUDIT: &str = "pod-security.kubernetes.io/audit";
const AUDIT_VERSION: &str = "pod-security.kubernetes.io/audit-version";
const WARN: &str = "pod-security.kubernetes.io/warn";
const WARN_VERSION: &str = "pod-security.kubernetes.io/warn-version";

/// How much is asked of pods, from nothing to much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing.
    #[default]
    Privileged,
    /// No known way to more rights.
    Baseline,
    /// What is held to be good practice.
    Restricted,
}

impl Level {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "privileged" => Some(Self::Privileged),
            "baseline" => Some(Self::Baseline),
            "restricted" => Some(Self::Restricted),
            _ => None,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        })
    }
}

/// As of which version of Kubernetes something is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// `v1.` and this.
    Minor(u32),
    /// This engine's.
    #[default]
    Latest,
}

impl Version {
    fn parse(text: &str) -> Option<Self> {
        if text == "latest" {
            return Some(Self::Latest);
        }
        let minor = text.strip_prefix("v1.")?;
        let is_plain = minor == "0" || !minor.starts_with('0');
        let digits = is_plain && minor.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| minor.parse().ok()).flatten().map(Self::Minor)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Minor(minor) => write!(f, "v1.{minor}"),
            Self::Latest => f.write_str("latest"),
        }
    }
}

/// What is asked of pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LevelVersion {
    /// How much.
    pub level: Level,
    /// As of when.
    pub version: Version,
}

impl fmt::Display for LevelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.level, self.version)
    }
}

/// What is asked of the pods of a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Else they are refused.
    pub enforce: LevelVersion,
    /// Else it is noted in the audit log.
    pub audit: LevelVersion,
    /// Else who makes them is warned.
    pub warn: LevelVersion,
}

impl Policy {
    /// What the labels of a namespace say, over what holds where they say nothing. Labels that
    /// nobody understands ask for the most of what is enforced, and for nothing else.
    pub fn of(
        labels: Option<&BTreeMap<String, String>>,
        defaults: Self,
        errors: &mut ErrorList,
    ) -> Self {
        let mut policy = defaults;
        let Some(labels) = labels.filter(|labels| labels.keys().any(|key| key.starts_with(PREFIX)))
        else {
            return policy;
        };
        let mut read = Labels { labels, errors };
        let enforces = read.level(ENFORCE, &mut policy.enforce.level, Level::Restricted);
        read.version(ENFORCE_VERSION, &mut policy.enforce.version);
        read.level(AUDIT, &mut policy.audit.level, Level::Privileged);
        read.version(AUDIT_VERSION, &mut policy.audit.version);
        let warns = read.level(WARN, &mut policy.warn.level, Level::Privileged);
        let warns_as_of = read.version(WARN_VERSION, &mut policy.warn.version);
        if enforces && !warns && policy.enforce.level > policy.warn.level {
            policy.warn.level = policy.enforce.level;
            if !warns_as_of {
                policy.warn.version = policy.enforce.version;
            }
        }
        policy
    }

    /// Whether nothing is asked.
    pub fn is_privileged(&self) -> bool {
        [self.enforce, self.audit, self.warn].iter().all(|one| one.level == Level::Privileged)
    }
}

/// What is asked for, but for what asks nothing.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [("enforce", self.enforce), ("audit", self.audit), ("warn", self.warn)];
        let said = all.iter().filter(|(_, one)| one.level != Level::Privileged);
        let texts: Vec<_> = said.map(|(mode, one)| format!("{mode}={one}")).collect();
        f.write_str(&texts.join(", "))
    }
}

struct Labels<'a> {
    labels: &'a BTreeMap<String, String>,
    errors: &'a mut ErrorList,
}

impl Labels<'_> {
    /// Reads a level; whether there is one.
    fn level(&mut self, key: &str, level: &mut Level, otherwise: Level) -> bool {
        let read = self.read(key, Level::parse, "must be one of privileged, baseline, restricted");
        *level = match read {
            None => *level,
            Some(read) => read.unwrap_or(otherwise),
        };
        read.is_some()
    }

    fn version(&mut self, key: &str, version: &mut Version) -> bool {
        let read = self.read(key, Version::parse, "must be \"latest\" or \"v1.x\"");
        *version = match read {
            None => *version,
            Some(read) => read.unwrap_or_default(),
        };
        read.is_some()
    }

    fn read<T>(&mut self, key: &str, parse: fn(&str) -> Option<T>, why: &str) -> Option<Option<T>> {
        let value = self.labels.get(key)?;
        let read = parse(value);
        if read.is_none() {
            let path = Path::root("metadata");
            let path = path.child("labels");
            self.errors.invalid(&path.key(key), value, why);
        }
        Some(read)
    }
}

/// Reads the level and the version that a configuration gives for a mode.
pub(super) fn read(
    mode: &str,
    level: Option<&str>,
    version: Option<&str>,
) -> Result<LevelVersion, String> {
    let level = level.filter(|text| !text.is_empty()).map_or(Ok(Level::default()), |text| {
        let why = "must be one of privileged, baseline, restricted";
        Level::parse(text).ok_or_else(|| format!("defaults.{mode}: Invalid value: {text:?}: {why}"))
    })?;
    let version = version.filter(|text| !text.is_empty()).map_or(Ok(Version::Latest), |text| {
        let why = "must be \"latest\" or \"v1.x\"";
        Version::parse(text)
            .ok_or_else(|| format!("defaults.{mode}-version: Invalid value: {text:?}: {why}"))
    })?;
    Ok(LevelVersion { level, version })
}
