use std::collections::BTreeMap;
use std::sync::Arc;

use pinnace_server::User;
use serde_json::{Map, Value, json};

use super::config::{JwtAuthenticator, PrefixedClaimOrExpression};
use super::expression::{Expression, Texts};
use crate::{Error, Result};

/// From claims to a user.
pub(super) struct Mapping {
    required: Vec<(String, String)>,
    claim_rules: Vec<Rule>,
    username: Source,
    groups: Option<Source>,
    uid: Option<Source>,
    extra: Vec<(String, Expression)>,
    user_rules: Vec<Rule>,
}

struct Rule {
    expression: Expression,
    message: String,
}

enum Source {
    Claim { name: String, prefix: String },
    Expression(Expression),
}

impl Source {
    fn new(claim: &str, prefix: &str, expression: &str) -> Result<Option<Self>> {
        if !claim.is_empty() {
            return Ok(Some(Self::Claim { name: claim.to_owned(), prefix: prefix.to_owned() }));
        }
        if expression.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self::Expression(compiled(Expression::of_claims(expression))?)))
    }

    fn prefixed(from: &PrefixedClaimOrExpression) -> Result<Option<Self>> {
        Self::new(&from.claim, from.prefix.as_deref().unwrap_or_default(), &from.expression)
    }
}

fn compiled(expression: Result<Expression, String>) -> Result<Expression> {
    expression.map_err(Error::config)
}

/// The claims of a token: an object.
struct Claims(Value);

impl Claims {
    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }
}

impl Mapping {
    pub(super) fn new(one: &JwtAuthenticator) -> Result<Self> {
        let mut required = Vec::new();
        let mut claim_rules = Vec::new();
        for rule in &one.claim_validation_rules {
            if rule.expression.is_empty() {
                required.push((rule.claim.clone(), rule.required_value.clone()));
            } else {
                let expression = compiled(Expression::rule_of_claims(&rule.expression))?;
                claim_rules.push(Rule { expression, message: rule.message.clone() });
            }
        }
        let user_rules = one.user_validation_rules.iter().map(|rule| {
            let expression = compiled(Expression::rule_of_user(&rule.expression))?;
            Ok(Rule { expression, message: rule.message.clone() })
        });
        let mappings = &one.claim_mappings;
        let extra = mappings.extra.iter().map(|extra| {
            let value = compiled(Expression::of_claims(&extra.value_expression))?;
            Ok((extra.key.clone(), value))
        });
        let missing = || Error::config("claimMappings.username: claim or expression is required");
        Ok(Self {
            required,
            claim_rules,
            username: Source::prefixed(&mappings.username)?.ok_or_else(missing)?,
            groups: Source::prefixed(&mappings.groups)?,
            uid: Source::new(&mappings.uid.claim, "", &mappings.uid.expression)?,
            extra: extra.collect::<Result<_>>()?,
            user_rules: user_rules.collect::<Result<_>>()?,
        })
    }

    /// The user that claims stand for.
    ///
    /// # Errors
    /// Why they stand for none.
    pub(super) fn user(&self, claims: Map<String, Value>) -> Result<User, String> {
        let claims = Claims(Value::Object(claims));
        self.check_claims(&claims)?;
        let mut user = User::new(&self.name(&claims)?, self.groups(&claims)?);
        user.uid = self.uid(&claims)?.map(Arc::from);
        user.extra = Arc::new(self.extra(&claims)?);
        self.check_user(&user)?;
        Ok(user)
    }

    fn check_claims(&self, claims: &Claims) -> Result<(), String> {
        for (claim, wanted) in &self.required {
            let Some(found) = claims.get(claim) else {
                return Err(format!("oidc: required claim {claim} not present in ID token"));
            };
            if found.as_str() != Some(wanted) {
                return Err(format!(
                    "oidc: required claim {claim} value does not match. Got = {found}, want = \
                     {wanted}"
                ));
            }
        }
        check(&self.claim_rules, &claims.0)
    }

    fn name(&self, claims: &Claims) -> Result<String, String> {
        match &self.username {
            Source::Expression(expression) => match expression.texts(&claims.0) {
                Ok(Texts::One(name)) if name.is_empty() => {
                    Err("oidc: empty username via CEL expression is not allowed".to_owned())
                }
                Ok(Texts::One(name)) => Ok(name),
                Ok(Texts::Many(_)) => {
                    Err("oidc: error evaluating username claim expression: not a string".to_owned())
                }
                Err(why) => Err(format!("oidc: error evaluating username claim expression: {why}")),
            },
            Source::Claim { name, prefix } => {
                let unparsable = || format!("oidc: parse username claims {name:?}: no string");
                let found = claims.get(name).and_then(Value::as_str);
                let found = found.ok_or_else(unparsable)?;
                if name == "email" {
                    check_mail(claims)?;
                }
                Ok(format!("{prefix}{found}"))
            }
        }
    }

    fn groups(&self, claims: &Claims) -> Result<Vec<String>, String> {
        let (texts, prefix) = match &self.groups {
            None => return Ok(Vec::new()),
            Some(Source::Expression(expression)) => {
                let texts = expression.texts(&claims.0).map_err(|why| {
                    format!("oidc: error evaluating group claim expression: {why}")
                })?;
                (texts, "")
            }
            Some(Source::Claim { name, prefix }) => (claim_texts(claims, name)?, prefix.as_str()),
        };
        Ok(match texts {
            Texts::One(group) => vec![format!("{prefix}{group}")],
            Texts::Many(groups) => {
                groups.into_iter().map(|group| format!("{prefix}{group}")).collect()
            }
        })
    }

    fn uid(&self, claims: &Claims) -> Result<Option<String>, String> {
        let texts = match &self.uid {
            None => return Ok(None),
            Some(Source::Expression(expression)) => expression
                .texts(&claims.0)
                .map_err(|why| format!("oidc: error evaluating uid claim expression: {why}"))?,
            Some(Source::Claim { name, .. }) => match claims.get(name) {
                Some(Value::String(uid)) => Texts::One(uid.clone()),
                _ => return Err(format!("oidc: parse uid claims {name:?}: no string")),
            },
        };
        match texts {
            Texts::One(uid) => Ok(Some(uid)),
            Texts::Many(_) => Err("oidc: uid must be a string".to_owned()),
        }
    }

    fn extra(&self, claims: &Claims) -> Result<BTreeMap<String, Vec<String>>, String> {
        let mut extra = BTreeMap::new();
        for (key, expression) in &self.extra {
            let texts = expression
                .texts(&claims.0)
                .map_err(|why| format!("oidc: error evaluating extra claim expression: {why}"))?;
            let mut values = match texts {
                Texts::One(value) => vec![value],
                Texts::Many(values) => values,
            };
            values.retain(|value| !value.is_empty());
            if !values.is_empty() {
                extra.insert(key.clone(), values);
            }
        }
        Ok(extra)
    }

    fn check_user(&self, user: &User) -> Result<(), String> {
        if self.user_rules.is_empty() {
            return Ok(());
        }
        let value = json!({
            "username": &*user.name, "groups": &*user.groups,
            "uid": user.uid.as_deref().unwrap_or_default(), "extra": &*user.extra,
        });
        check(&self.user_rules, &value)
    }
}

fn check(rules: &[Rule], value: &Value) -> Result<(), String> {
    for Rule { expression, message } in rules {
        let text = expression.text();
        match expression.holds(value) {
            Ok(true) => {}
            Ok(false) if message.is_empty() => {
                return Err(format!("oidc: validation expression '{text}' failed"));
            }
            Ok(false) => {
                return Err(format!("oidc: validation expression '{text}' failed: {message}"));
            }
            Err(why) => {
                return Err(format!(
                    "oidc: error evaluating validation expression {text:?}: {why}"
                ));
            }
        }
    }
    Ok(())
}

/// A mail address counts as a name only when the issuer has verified it, as far as it says so.
fn check_mail(claims: &Claims) -> Result<(), String> {
    match claims.get("email_verified") {
        None | Some(Value::Bool(true)) => Ok(()),
        Some(Value::Bool(false)) => Err("oidc: email not verified".to_owned()),
        Some(_) => Err("oidc: parse 'email_verified' claim: no boolean".to_owned()),
    }
}

fn claim_texts(claims: &Claims, name: &str) -> Result<Texts, String> {
    let wrong = || format!("oidc: parse groups claim {name:?}: no string and no list of strings");
    match claims.get(name) {
        None | Some(Value::Null) => Ok(Texts::Many(Vec::new())),
        Some(Value::String(one)) => Ok(Texts::One(one.clone())),
        Some(Value::Array(many)) => {
            let texts = many.iter().map(|one| one.as_str().map(str::to_owned));
            texts.collect::<Option<_>>().map(Texts::Many).ok_or_else(wrong)
        }
        Some(_) => Err(wrong()),
    }
}
