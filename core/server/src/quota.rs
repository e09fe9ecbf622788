//! Quotas of namespaces: what a write uses is charged in the same transaction, where nothing can
//! come between, so that many writers at once never get more than there is.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ResourceQuota;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use pinnace_api::quota::{self, Amounts, Counted, Covered, Lack, LimitedResource, Usage};
use pinnace_api::{ApiError, Draft, Object, Reason, Resource, Result, Subresource};
use pinnace_store::{Expect, Snapshot, Transaction};

use crate::Server;

const TABLE: &str = "resourcequotas";

/// A write of an object of a namespace, as quotas see it.
struct Charge {
    resource: Arc<Resource>,
    counted: Counted,
    /// What is stored before; `None` for a new object.
    old: Option<Object>,
    part: Option<Subresource>,
    now: Timestamp,
    /// What of the kind nobody uses where no quota is about it.
    limited: Vec<LimitedResource>,
}

/// What a write adds to what a quota says is used.
struct Addition<'a> {
    quota: &'a Object,
    added: Amounts,
}

impl Server {
    /// Has a transaction, whose first operation writes an object of a kind, charge the quotas of
    /// its namespace.
    pub(crate) fn charge_quotas(
        &self,
        resource: &Arc<Resource>,
        part: Option<Subresource>,
        old: Option<&Object>,
        transaction: &mut Transaction,
    ) {
        let Some(charge) = self.charge(resource, part, old) else { return };
        transaction.then(Box::new(move |state, written| {
            let Some(new) = written.first() else { return Ok(Transaction::new()) };
            charge.transaction(state, new)
        }));
    }

    /// Asks whether quotas allow what is not to be written.
    pub(crate) fn check_quotas(
        &self,
        resource: &Arc<Resource>,
        part: Option<Subresource>,
        old: Option<&Object>,
        new: &Object,
    ) -> Result<()> {
        let Some(charge) = self.charge(resource, part, old) else { return Ok(()) };
        charge.transaction(&self.snapshot(), new).map(drop)
    }

    fn charge(
        &self,
        resource: &Arc<Resource>,
        part: Option<Subresource>,
        old: Option<&Object>,
    ) -> Option<Charge> {
        let counted = Counted::of(resource).filter(|_| self.charges_quotas())?;
        let limited = self.limited().iter().filter(|one| one.is_about(resource));
        counted.is_charged(old.is_none(), part).then(|| Charge {
            resource: resource.clone(),
            counted,
            old: old.cloned(),
            part,
            now: self.env().now(),
            limited: limited.cloned().collect(),
        })
    }
}

impl Charge {
    /// The quotas with what they are charged.
    fn transaction(&self, state: &Snapshot, new: &Object) -> Result<Transaction> {
        let mut transaction = Transaction::new();
        let quotas = state.iter_namespace(TABLE, new.namespace());
        // A quota does not count itself while it is made.
        let mut quotas = quotas.filter(|quota| quota.uid() != new.uid()).peekable();
        if quotas.peek().is_none() && self.limited.is_empty() {
            return Ok(transaction);
        }
        let usage = self.counted.usage(new, self.now)?;
        let old = self.old.as_ref().map(|old| self.counted.usage(old, self.now)).transpose()?;
        let mut additions = Vec::new();
        let mut unsettled = Vec::new();
        let mut covered = Covered::default();
        for object in quotas {
            let quota = object.get::<ResourceQuota>()?;
            if !usage.is_in_scope_of(quota) {
                continue;
            }
            covered.add(quota, &self.counted);
            if let Some(added) = self.addition(quota, new, &usage, old.as_ref())? {
                additions.push(Addition { quota: object, added });
            } else if self.is_unsettled(quota) {
                unsettled.push(object);
            }
        }
        match covered.lacks(&self.limited, &usage) {
            None => {}
            Some(Lack::Names(why)) => return Err(self.refuse(new, &why)),
            // As upstream, which does not say that it is forbidden.
            Some(Lack::Scopes(why)) => return Err(ApiError::new(Reason::InternalError, why)),
        }
        let table: Arc<str> = TABLE.into();
        let mut put = |quota: &Object, draft: Draft| {
            transaction.put(&table, quota.key(), Expect::Revision(quota.revision()), draft);
        };
        for Addition { quota, added } in additions {
            put(quota, self.charged(quota, added, new)?);
        }
        // Who counts what this quota limits may not have seen what is written now, so that their
        // answer is to come too late.
        for quota in unsettled {
            put(quota, quota.draft()?);
        }
        Ok(transaction)
    }

    /// What is added to a quota; `None` when that is nothing.
    fn addition(
        &self,
        quota: &ResourceQuota,
        new: &Object,
        usage: &Usage,
        old: Option<&Usage>,
    ) -> Result<Option<Amounts>> {
        let status = quota.status.as_ref();
        let hard = status.and_then(|status| status.hard.as_ref());
        let names: Vec<&str> = hard.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        let names: Vec<&str> = names.into_iter().filter(|name| self.counted.covers(name)).collect();
        if names.is_empty() {
            return Ok(None);
        }
        let name = quota.metadata.name.as_deref().unwrap_or_default();
        if let Some(missing) = self.counted.unspecified(new, &names) {
            return Err(self.refuse(new, &format!("failed quota: {name}: {missing}")));
        }
        let used = status.and_then(|status| status.used.as_ref());
        let is_known = |name: &&str| used.is_some_and(|used| used.contains_key(*name));
        if !names.iter().all(is_known) {
            let names = names.join(",");
            let why = format!("status unknown for quota: {name}, resources: {names}");
            return Err(self.refuse(new, &why));
        }
        let negative = usage.amounts.iter().filter(|(_, amount)| amount.is_negative());
        let negative: Vec<&str> = negative.map(|(name, _)| name.as_str()).collect();
        if !negative.is_empty() {
            let why = format!("quota usage is negative for resource(s): {}", negative.join(","));
            return Err(self.refuse(new, &why));
        }
        let before = old.filter(|old| old.is_in_scope_of(quota));
        let mut added = Amounts::new();
        for name in names {
            let Some(mut amount) = usage.amounts.get(name).copied() else { continue };
            if let Some(before) = before.and_then(|before| before.amounts.get(name)) {
                amount -= *before;
            }
            if !amount.is_zero() && !amount.is_negative() {
                added.insert(name.to_owned(), amount);
            }
        }
        Ok(Some(added).filter(|added| !added.is_empty()))
    }

    /// A quota with what is added, if it allows that.
    fn charged(&self, quota: &Object, added: Amounts, new: &Object) -> Result<Draft> {
        let mut draft = quota.draft()?;
        let Some(status) = draft.get_mut::<ResourceQuota>().and_then(|one| one.status.as_mut())
        else {
            return Ok(draft);
        };
        let hard = quota::amounts_of(status.hard.as_ref());
        let used = quota::amounts_of(status.used.as_ref());
        let mut exceeded = Vec::new();
        let texts = status.used.get_or_insert_default();
        for (name, amount) in &added {
            let sum = used.get(name).copied().unwrap_or_default() + *amount;
            if hard.get(name).is_some_and(|hard| sum > *hard) {
                exceeded.push(name.as_str());
            }
            texts.insert(name.clone(), sum.into());
        }
        // What a volume has been given already cannot be refused.
        if exceeded.is_empty() || self.part == Some(Subresource::Status) {
            return Ok(draft);
        }
        let list = |amounts: &Amounts| {
            let texts = exceeded.iter().map(|name| {
                let amount = amounts.get(*name).copied().unwrap_or_default();
                format!("{name}={amount}")
            });
            texts.collect::<Vec<_>>().join(",")
        };
        let why = format!(
            "exceeded quota: {}, requested: {}, used: {}, limited: {}",
            quota.name(),
            list(&added),
            list(&used),
            list(&hard)
        );
        Err(self.refuse(new, &why))
    }

    fn refuse(&self, new: &Object, why: &str) -> ApiError {
        ApiError::forbidden(&self.resource, new.name(), why)
    }

    /// Whether a quota limits such objects and nobody has yet counted those there are.
    fn is_unsettled(&self, quota: &ResourceQuota) -> bool {
        let counted = quota.status.as_ref().and_then(|status| status.hard.as_ref());
        let is_new = |name: &String, amount: &Text, counted: Option<&BTreeMap<String, Text>>| {
            self.counted.covers(name)
                && counted.and_then(|counted| counted.get(name)) != Some(amount)
        };
        let mut wanted = quota::hard_of(quota).into_iter().flatten();
        wanted.any(|(name, amount)| is_new(name, amount, counted))
    }
}
