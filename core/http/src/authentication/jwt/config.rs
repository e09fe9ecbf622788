//! `AuthenticationConfiguration` of `apiserver.config.k8s.io`, and what it must be.

use pinnace_api::field::{ErrorList, Path};
use pinnace_api::manifest;
use serde::Deserialize;

use crate::{Error, Result};

/// Versions of the configuration that are read; they are the same.
const VERSIONS: [&str; 3] = [
    "apiserver.config.k8s.io/v1",
    "apiserver.config.k8s.io/v1beta1",
    "apiserver.config.k8s.io/v1alpha1",
];
const KIND: &str = "AuthenticationConfiguration";
/// Most issuers, as upstream.
const MAX_ISSUERS: usize = 64;

/// Whose tokens are accepted beside the cluster's own, and what anonymous callers may reach.
///
/// See <https://kubernetes.io/docs/reference/config-api/apiserver-config.v1/>.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AuthenticationConfiguration {
    api_version: String,
    kind: String,
    /// Issuers of tokens.
    pub jwt: Vec<JwtAuthenticator>,
    /// What anonymous callers may reach.
    pub anonymous: Option<AnonymousAuthConfig>,
}

/// Who may come without a name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AnonymousAuthConfig {
    /// Whether anybody may.
    pub enabled: bool,
    /// Where; everywhere that the authorizers let them, if nothing is said.
    pub conditions: Vec<AnonymousAuthCondition>,
}

/// A path that anonymous callers may reach.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AnonymousAuthCondition {
    /// The whole path.
    pub path: String,
}

/// An issuer and what its tokens say of their bearers.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct JwtAuthenticator {
    /// Who signs the tokens.
    pub issuer: JwtIssuer,
    /// What must be true of the claims.
    pub claim_validation_rules: Vec<ClaimValidationRule>,
    /// How claims become a user.
    pub claim_mappings: ClaimMappings,
    /// What must be true of the user.
    pub user_validation_rules: Vec<UserValidationRule>,
}

/// An issuer of tokens.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct JwtIssuer {
    /// The claim `iss` of its tokens.
    pub url: String,
    /// Where its discovery document is, if not below `url`.
    #[serde(rename = "discoveryURL")]
    pub discovery_url: String,
    /// Whom its server's certificate is signed by, in PEM; the machine's authorities, if empty.
    pub certificate_authority: String,
    /// Whom tokens must be for.
    pub audiences: Vec<String>,
    /// `MatchAny` or empty.
    pub audience_match_policy: String,
    /// Ways out of the cluster: none but the direct one is known.
    pub egress_selector_type: String,
}

/// What must be true of the claims: one has a value, or an expression is true.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClaimValidationRule {
    /// The claim.
    pub claim: String,
    /// Its value.
    pub required_value: String,
    /// The expression, over `claims`.
    pub expression: String,
    /// What is said when it is not true.
    pub message: String,
}

/// How claims become a user.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClaimMappings {
    /// Its name.
    pub username: PrefixedClaimOrExpression,
    /// Its groups.
    pub groups: PrefixedClaimOrExpression,
    /// Its uid.
    pub uid: ClaimOrExpression,
    /// What else is known of it.
    pub extra: Vec<ExtraMapping>,
}

/// A claim with a prefix before its value, or an expression over `claims`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PrefixedClaimOrExpression {
    /// The claim.
    pub claim: String,
    /// What stands before its value; empty must be said.
    pub prefix: Option<String>,
    /// The expression.
    pub expression: String,
}

/// A claim, or an expression over `claims`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClaimOrExpression {
    /// The claim.
    pub claim: String,
    /// The expression.
    pub expression: String,
}

/// Something else that is known of a user.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ExtraMapping {
    /// Its key: a domain and a path, in lower case.
    pub key: String,
    /// An expression over `claims` that gives a text or a list of texts.
    pub value_expression: String,
}

/// What must be true of the user.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct UserValidationRule {
    /// An expression over `user`.
    pub expression: String,
    /// What is said when it is not true.
    pub message: String,
}

impl AuthenticationConfiguration {
    /// A configuration in YAML or JSON, as upstream's `--authentication-config` takes it.
    ///
    /// # Errors
    /// [`Error::Config`] with all that is wrong with it.
    pub fn read(text: &str) -> Result<Self> {
        let value = manifest::read_one(text.as_bytes()).map_err(Error::config)?;
        let read: Self = serde_json::from_value(value).map_err(Error::config)?;
        if read.kind != KIND || !VERSIONS.contains(&&*read.api_version) {
            let (version, kind) = (&read.api_version, &read.kind);
            return Err(Error::config(format!(
                "expected {KIND} of {}, not {kind} of {version}",
                VERSIONS[0]
            )));
        }
        read.validate()?;
        Ok(read)
    }

    /// Checks what can be checked without asking an issuer.
    ///
    /// # Errors
    /// [`Error::Config`] with all that is wrong.
    pub fn validate(&self) -> Result<()> {
        let mut errors = ErrorList::default();
        let root = Path::root("jwt");
        if self.jwt.len() > MAX_ISSUERS {
            errors.too_many(&root, self.jwt.len(), MAX_ISSUERS);
        }
        for (index, one) in self.jwt.iter().enumerate() {
            let path = root.index(index);
            let at = path.child("issuer");
            validate_issuer(&one.issuer, &at, &mut errors);
            if self.jwt[..index].iter().any(|other| other.issuer.url == one.issuer.url) {
                errors.duplicate(&at.child("url"), &one.issuer.url);
            }
            validate_rules(one, &path, &mut errors);
            let at = path.child("claimMappings");
            validate_mappings(&one.claim_mappings, &at, &mut errors);
        }
        validate_anonymous(self.anonymous.as_ref(), &mut errors);
        let all: Vec<_> = errors.iter().map(ToString::to_string).collect();
        if all.is_empty() { Ok(()) } else { Err(Error::config(all.join("; "))) }
    }
}

fn validate_anonymous(anonymous: Option<&AnonymousAuthConfig>, errors: &mut ErrorList) {
    let Some(anonymous) = anonymous else { return };
    let root = Path::root("anonymous");
    let root = root.child("conditions");
    if !anonymous.enabled && !anonymous.conditions.is_empty() {
        errors.invalid(&root, "", "enabled should be set to true when conditions are defined");
    }
}

fn validate_url(text: &str, at: &Path<'_>, errors: &mut ErrorList) {
    match url::Url::parse(text) {
        Err(error) => errors.invalid(at, text, &error.to_string()),
        Ok(url) if url.scheme() != "https" => {
            errors.invalid(at, text, "URL scheme must be https");
        }
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            errors.invalid(at, text, "URL must not contain a username or password");
        }
        Ok(url) if url.query().is_some() => {
            errors.invalid(at, text, "URL must not contain a query");
        }
        Ok(url) if url.fragment().is_some() => {
            errors.invalid(at, text, "URL must not contain a fragment");
        }
        Ok(_) => {}
    }
}

fn validate_issuer(issuer: &JwtIssuer, path: &Path<'_>, errors: &mut ErrorList) {
    let at = path.child("url");
    if issuer.url.is_empty() {
        errors.required(&at, "URL is required");
    } else {
        validate_url(&issuer.url, &at, errors);
    }
    let discovery = &issuer.discovery_url;
    if !discovery.is_empty() {
        let at = path.child("discoveryURL");
        validate_url(discovery, &at, errors);
        if discovery.trim_end_matches('/') == issuer.url.trim_end_matches('/') {
            errors.invalid(&at, discovery, "discoveryURL must be different from URL");
        }
    }
    let at = path.child("audiences");
    if issuer.audiences.is_empty() {
        errors.required(&at, &format!("at least one {at} is required"));
    }
    for (index, audience) in issuer.audiences.iter().enumerate() {
        if audience.is_empty() {
            errors.required(&at.index(index), "audience can't be empty");
        }
        if issuer.audiences[..index].contains(audience) {
            errors.duplicate(&at.index(index), audience);
        }
    }
    let (at, policy) = (path.child("audienceMatchPolicy"), &*issuer.audience_match_policy);
    if issuer.audiences.len() > 1 && policy != "MatchAny" {
        errors.invalid(&at, policy, "audienceMatchPolicy must be MatchAny for multiple audiences");
    } else if !matches!(policy, "" | "MatchAny") {
        let why = "audienceMatchPolicy must be empty or MatchAny for single audience";
        errors.invalid(&at, policy, why);
    }
    if !issuer.egress_selector_type.is_empty() {
        let at = path.child("egressSelectorType");
        errors.not_supported(&at, &issuer.egress_selector_type, &[""]);
    }
}

fn validate_rules(one: &JwtAuthenticator, path: &Path<'_>, errors: &mut ErrorList) {
    let rules = path.child("claimValidationRules");
    for (index, rule) in one.claim_validation_rules.iter().enumerate() {
        let at = rules.index(index);
        match (rule.claim.is_empty(), rule.expression.is_empty()) {
            (true, true) => errors.required(&at, "claim or expression is required"),
            (false, false) => {
                errors.invalid(&at, &rule.claim, "claim and expression can't both be set");
            }
            (false, true) if !rule.message.is_empty() => {
                let why = "message can't be set when claim is set";
                errors.invalid(&at.child("message"), &rule.message, why);
            }
            (true, false) if !rule.required_value.is_empty() => {
                let why = "requiredValue can't be set when expression is set";
                errors.invalid(&at.child("requiredValue"), &rule.required_value, why);
            }
            _ => {}
        }
    }
    let rules = path.child("userValidationRules");
    for (index, rule) in one.user_validation_rules.iter().enumerate() {
        if rule.expression.is_empty() {
            errors.required(&rules.index(index).child("expression"), "expression is required");
        }
    }
}

fn validate_mappings(mappings: &ClaimMappings, path: &Path<'_>, errors: &mut ErrorList) {
    let at = path.child("username");
    let (claim, expression) = (&mappings.username.claim, &mappings.username.expression);
    if claim.is_empty() && expression.is_empty() {
        errors.required(&at, "claim or expression is required");
    }
    validate_prefixed(&mappings.username, &at, errors);
    validate_prefixed(&mappings.groups, &path.child("groups"), errors);
    let (claim, expression) = (&mappings.uid.claim, &mappings.uid.expression);
    if !claim.is_empty() && !expression.is_empty() {
        let at = path.child("uid");
        errors.invalid(&at, claim, "claim and expression can't both be set");
    }
    let extra = path.child("extra");
    for (index, one) in mappings.extra.iter().enumerate() {
        let at = extra.index(index);
        if one.key.is_empty() {
            errors.required(&at.child("key"), "");
        } else if !one.key.contains('/') {
            errors.invalid(&at.child("key"), &one.key, "must be a domain-prefixed path");
        } else if one.key != one.key.to_lowercase() {
            errors.invalid(&at.child("key"), &one.key, "key must be lowercase");
        }
        if mappings.extra[..index].iter().any(|other| other.key == one.key) {
            errors.duplicate(&at.child("key"), &one.key);
        }
        if one.value_expression.is_empty() {
            errors.required(&at.child("valueExpression"), "valueExpression is required");
        }
    }
}

fn validate_prefixed(one: &PrefixedClaimOrExpression, at: &Path<'_>, errors: &mut ErrorList) {
    match (one.claim.is_empty(), one.expression.is_empty()) {
        (false, false) => errors.invalid(at, &one.claim, "claim and expression can't both be set"),
        (true, false) if one.prefix.is_some() => {
            let prefix = one.prefix.as_deref().unwrap_or_default();
            errors.invalid(
                &at.child("prefix"),
                prefix,
                "prefix can't be set when expression is set",
            );
        }
        (false, true) if one.prefix.is_none() => errors.required(
            &at.child("prefix"),
            "prefix is required when claim is set. It can be set to an empty string to disable \
             prefixing",
        ),
        _ => {}
    }
}
