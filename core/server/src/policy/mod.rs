//! Admission by policies: expressions in CEL that refuse or change what is written
//! (`ValidatingAdmissionPolicy`, `MutatingAdmissionPolicy`), and conditions for which policies and
//! webhooks are asked at all.
//!
//! Expressions are compiled when a policy is written and kept in an index of the store, so that a
//! write without policies costs a look at a counter.

mod authorizer;
mod compiled;
mod conditions;
mod context;
mod index;
mod mutate;
mod params;
mod rights;
mod validate;

pub(crate) use conditions::Conditions;
pub(crate) use index::Policies;
pub(crate) use rights::RightsOfParams;

use std::sync::Arc;

use pinnace_api::expressions::Budget;
use pinnace_api::{Draft, Resource, Result};

use crate::Server;
use crate::figures::Phase;
use crate::write::Write;
use context::{Evaluation, OF_CONDITIONS};

impl Server {
    /// Notes that the conditions of a policy are not met, or that it cannot be told.
    fn note_conditions(
        &self,
        policy: &compiled::Policy,
        phase: Phase,
        write: &Write<'_>,
        met: &std::result::Result<bool, String>,
    ) {
        if *met != Ok(true) {
            let figures = self.admission_figures();
            figures.conditions(&policy.name, "policy", phase, write.operation, met.is_err());
        }
    }

    /// Whether a write meets the conditions of who would be asked about it.
    ///
    /// # Errors
    /// What writing it down says; within, why it cannot be told whether they are met.
    pub(crate) async fn meets(
        &self,
        conditions: &Conditions,
        write: &Write<'_>,
        version: &Arc<Resource>,
        new: Option<&Draft>,
    ) -> Result<std::result::Result<bool, String>> {
        if conditions.is_empty() {
            return Ok(Ok(true));
        }
        let seen = self.seen(write, version, new).await?;
        let budget = Budget::new(OF_CONDITIONS);
        Ok(conditions.are_met(&Evaluation::new(self, write, &seen, None, &[], &budget)))
    }
}
