//! What a namespace is made with, in the same transaction: who creates a pod in it right after
//! need not wait for a controller. Controllers give back what is lost later.

use std::sync::Arc;

use k8s_openapi::Resource as _;
use k8s_openapi::api::core::v1::Namespace;
use pinnace_api::{Draft, Key, Resource, Result, belongings};
use pinnace_client::{Target, WriteOptions};
use pinnace_store::{Expect, Transaction};

use crate::{Server, User};

/// Which of them there are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Belongings {
    /// Whether namespaces have a default service account: they do where accounts have tokens.
    pub(crate) accounts: bool,
    /// The certificate, in PEM, by which the API is known.
    pub(crate) certificate: Option<Arc<str>>,
}

impl Server {
    /// Whether objects of a kind are made with others.
    pub(crate) fn has_belongings(&self, resource: &Resource) -> bool {
        let Belongings { accounts, certificate } = self.belongings();
        let any = *accounts || certificate.is_some();
        any && resource.kind == Namespace::KIND && resource.group == Namespace::GROUP
    }

    /// Adds to a transaction what a new object is made with, as far as it is not there.
    pub(crate) fn write_belongings(
        &self,
        resource: &Resource,
        key: &Key,
        transaction: &mut Transaction,
    ) -> Result<()> {
        if !self.has_belongings(resource) {
            return Ok(());
        }
        let Belongings { accounts, certificate } = self.belongings();
        let namespace = key.name();
        if *accounts {
            let user = User::system("serviceaccount-controller");
            self.bring(&user, Draft::new(belongings::account(namespace)), transaction)?;
        }
        if let Some(pem) = certificate {
            let user = User::system("root-ca-cert-publisher");
            let map = belongings::certificates(namespace, pem);
            self.bring(&user, Draft::new(map), transaction)?;
        }
        Ok(())
    }

    fn bring(&self, user: &User, mut draft: Draft, transaction: &mut Transaction) -> Result<()> {
        let key = draft.key();
        let resource = self.catalog().by_kind(draft.api_version(), draft.kind())?;
        if self.snapshot().get(resource.table(), &key).is_some() {
            return Ok(());
        }
        let target = Target::new(resource.clone(), key.clone());
        self.own_new(user, &target, &mut draft, &WriteOptions::default())?;
        self.prepare_new(&mut draft);
        resource.strategy.prepare_for_create(&mut draft);
        resource.strategy.default(&mut draft);
        transaction.put(resource.table(), key, Expect::Absent, draft);
        Ok(())
    }
}
