//! Who may come, what is noted of them, and what is encrypted: by the flags of upstream's server.

use std::path::{Path, PathBuf};

use clap::Args;
use pinnace::access::StaticTokens;
use pinnace::access::audit::{AuditFile, AuditPolicy};
use pinnace::access::jwt::AuthenticationConfiguration;
use pinnace::store::EncryptionConfiguration;
use pinnace::{EngineBuilder, Env};

use crate::Failure;

/// Bytes of what `--audit-log-maxsize` counts in.
const MEGABYTE: u64 = 1024 * 1024;

#[derive(Args)]
pub(crate) struct Guard {
    /// An AuthenticationConfiguration: other issuers' tokens, and what anonymous callers reach.
    #[arg(long, value_name = "F")]
    authentication_config: Option<PathBuf>,
    /// Tokens and their users: lines of token,user,uid,"group1,group2".
    #[arg(long, value_name = "F")]
    token_auth_file: Option<PathBuf>,
    /// An audit Policy: what is noted of requests.
    #[arg(long, value_name = "F", requires = "audit_log_path")]
    audit_policy_file: Option<PathBuf>,
    /// Where it is noted, an event a line.
    #[arg(long, value_name = "F", requires = "audit_policy_file")]
    audit_log_path: Option<PathBuf>,
    /// Megabytes after which a new file is begun.
    #[arg(long, value_name = "N", requires = "audit_log_path")]
    audit_log_maxsize: Option<u64>,
    /// How many old files are kept.
    #[arg(long, value_name = "N", requires = "audit_log_path")]
    audit_log_maxbackup: Option<usize>,
    /// For how many days old files are kept.
    #[arg(long, value_name = "N", requires = "audit_log_path")]
    audit_log_maxage: Option<u32>,
    /// An EncryptionConfiguration: how objects are encrypted in the data directory.
    #[arg(long, value_name = "F", requires = "data_dir")]
    encryption_provider_config: Option<PathBuf>,
}

impl Guard {
    pub(crate) fn tell(&self, mut builder: EngineBuilder) -> Result<EngineBuilder, Failure> {
        if let Some(path) = &self.authentication_config {
            builder = builder.authentication(read(path, AuthenticationConfiguration::read)?);
        }
        if let Some(path) = &self.token_auth_file {
            builder = builder.token_authenticator(read(path, StaticTokens::read)?);
        }
        if let (Some(policy), Some(path)) = (&self.audit_policy_file, &self.audit_log_path) {
            let policy = read(policy, AuditPolicy::read)?;
            builder = builder.audit(policy, self.log(path));
        }
        if let Some(path) = &self.encryption_provider_config {
            builder = builder.encryption(read(path, EncryptionConfiguration::read)?);
        }
        Ok(builder)
    }

    fn log(&self, path: &Path) -> AuditFile {
        let mut log = AuditFile::new(path, &Env::system());
        if let Some(megabytes) = self.audit_log_maxsize {
            log = log.max_bytes(megabytes.saturating_mul(MEGABYTE));
        }
        if let Some(files) = self.audit_log_maxbackup {
            log = log.max_backups(files);
        }
        if let Some(days) = self.audit_log_maxage {
            log = log.max_age_days(days);
        }
        log
    }
}

/// Reads a file as what it should be.
fn read<T, E: std::fmt::Display>(
    path: &Path,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<T, Failure> {
    let about = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| about(&error))?;
    Ok(parse(&text).map_err(|error| about(&error))?)
}
