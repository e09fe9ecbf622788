//! `AuthenticationConfiguration` of `apiserver.config.k8s.io`, and what it must be.

use pinnace_api::field::{ErrorList, Path};
use pinnace_api::manifest;
use serde::Deserialize;

use super::expression::Expression;
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
            let discovery = &one.issuer.discovery_url;
            let others = &self.jwt[..index];
            if !discovery.is_empty()
                && others.iter().any(|other| other.issuer.discovery_url == *discovery)
            {
                errors.duplicate(&at.child("discoveryURL"), discovery);
            }
            let mut mail = Mail::default();
            validate_rules(one, &path, &mut mail, &mut errors);
            let at = path.child("claimMappings");
            validate_mappings(&one.claim_mappings, &at, &mut mail, &mut errors);
            validate_user_rules(&one.user_validation_rules, &path, &mut errors);
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
        errors.required(&at, "");
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
            errors.required(&at.index(index), "");
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

/// What expressions make of mail addresses, which count only when the issuer has verified them.
#[derive(Default)]
struct Mail {
    verified: bool,
}

impl Mail {
    fn look(&mut self, expression: &Expression) {
        self.verified |= expression.selects("claims.email_verified");
    }
}

/// An expression that has to compile.
fn compiled(
    text: &str,
    compile: impl Fn(&str) -> Result<Expression, String>,
    at: &Path<'_>,
    errors: &mut ErrorList,
) -> Option<Expression> {
    compile(text).map_err(|why| errors.invalid(at, text, &why)).ok()
}

fn validate_rules(
    one: &JwtAuthenticator,
    path: &Path<'_>,
    mail: &mut Mail,
    errors: &mut ErrorList,
) {
    let rules = path.child("claimValidationRules");
    for (index, rule) in one.claim_validation_rules.iter().enumerate() {
        let at = rules.index(index);
        let before = &one.claim_validation_rules[..index];
        match (rule.claim.is_empty(), rule.expression.is_empty()) {
            (true, true) => errors.required(&at, "claim or expression is required"),
            (false, false) => {
                errors.invalid(&at, &rule.claim, "claim and expression can't both be set");
            }
            (false, true) => {
                if !rule.message.is_empty() {
                    let why = "may not be specified when claim is set";
                    errors.invalid(&at.child("message"), &rule.message, why);
                }
                if before.iter().any(|other| other.claim == rule.claim) {
                    errors.duplicate(&at.child("claim"), &rule.claim);
                }
            }
            (true, false) => {
                if !rule.required_value.is_empty() {
                    let why = "may not be specified when expression is set";
                    errors.invalid(&at.child("requiredValue"), &rule.required_value, why);
                }
                let at = at.child("expression");
                if before.iter().any(|other| other.expression == rule.expression) {
                    errors.duplicate(&at, &rule.expression);
                } else {
                    let of = Expression::rule_of_claims;
                    compiled(&rule.expression, of, &at, errors)
                        .iter()
                        .for_each(|one| mail.look(one));
                }
            }
        }
    }
}

fn validate_user_rules(rules: &[UserValidationRule], path: &Path<'_>, errors: &mut ErrorList) {
    let path = path.child("userValidationRules");
    for (index, rule) in rules.iter().enumerate() {
        let at = path.index(index);
        let at = at.child("expression");
        if rule.expression.is_empty() {
            errors.required(&at, "");
        } else if rules[..index].iter().any(|other| other.expression == rule.expression) {
            errors.duplicate(&at, &rule.expression);
        } else {
            compiled(&rule.expression, Expression::rule_of_user, &at, errors);
        }
    }
}

fn validate_mappings(
    mappings: &ClaimMappings,
    path: &Path<'_>,
    mail: &mut Mail,
    errors: &mut ErrorList,
) {
    let at = path.child("username");
    let (claim, expression) = (&mappings.username.claim, &mappings.username.expression);
    if claim.is_empty() && expression.is_empty() {
        errors.required(&at, "claim or expression is required");
    }
    let username = validate_prefixed(&mappings.username, &at, errors);
    username.iter().for_each(|one| mail.look(one));
    validate_prefixed(&mappings.groups, &path.child("groups"), errors);
    let at = path.child("uid");
    match (&*mappings.uid.claim, &*mappings.uid.expression) {
        (_, "") => {}
        ("", expression) => {
            compiled(expression, Expression::of_claims, &at.child("expression"), errors);
        }
        (..) => errors.invalid(&at, "", "claim and expression can't both be set"),
    }
    validate_extra(&mappings.extra, path, mail, errors);
    if username.is_some_and(|one| one.selects("claims.email")) && !mail.verified {
        let at = path.child("username");
        let why = "claims.email_verified must be used in claimMappings.username.expression or \
                   claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when \
                   claims.email is used in claimMappings.username.expression";
        errors.invalid(&at.child("expression"), expression, why);
    }
}

fn validate_extra(
    extra: &[ExtraMapping],
    path: &Path<'_>,
    mail: &mut Mail,
    errors: &mut ErrorList,
) {
    let path = path.child("extra");
    for (index, one) in extra.iter().enumerate() {
        let at = path.index(index);
        let (key, domain) = (at.child("key"), one.key.split_once('/').map(|(domain, _)| domain));
        if one.key.is_empty() {
            errors.required(&key, "");
        } else if domain.is_none() {
            errors.invalid(&key, &one.key, "must be a domain-prefixed path");
        }
        if one.key != one.key.to_lowercase() {
            errors.invalid(&key, &one.key, "must be lowercase");
        }
        if domain.is_some_and(is_reserved) {
            let why = "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use";
            errors.invalid(&key, &one.key, why);
        }
        if extra[..index].iter().any(|other| other.key == one.key) {
            errors.duplicate(&key, &one.key);
        } else if one.value_expression.is_empty() {
            errors.required(&at.child("valueExpression"), "");
        } else {
            let at = at.child("valueExpression");
            let value = compiled(&one.value_expression, Expression::of_claims, &at, errors);
            value.iter().for_each(|one| mail.look(one));
        }
    }
}

fn is_reserved(domain: &str) -> bool {
    ["kubernetes.io", "k8s.io"].iter().any(|reserved| {
        let rest = domain.strip_suffix(reserved);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}

/// The expression, where there is one that compiles.
fn validate_prefixed(
    one: &PrefixedClaimOrExpression,
    at: &Path<'_>,
    errors: &mut ErrorList,
) -> Option<Expression> {
    match (one.claim.is_empty(), one.expression.is_empty()) {
        (false, false) => errors.invalid(at, "", "claim and expression can't both be set"),
        (true, false) => {
            if let Some(prefix) = &one.prefix {
                let why = "may not be specified when expression is set";
                errors.invalid(&at.child("prefix"), prefix, why);
            }
            return compiled(
                &one.expression,
                Expression::of_claims,
                &at.child("expression"),
                errors,
            );
        }
        (false, true) if one.prefix.is_none() => errors.required(
            &at.child("prefix"),
            "prefix is required when claim is set. It can be set to an empty string to disable \
             prefixing",
        ),
        _ => {}
    }
    None
}
