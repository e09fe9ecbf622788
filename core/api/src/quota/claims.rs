use k8s_openapi::api::core::v1::PersistentVolumeClaim;

use super::Amounts;
use crate::quantity::Quantity;
use crate::volumes::class_of_claim;

const CLAIMS: &str = "persistentvolumeclaims";
const STORAGE: &str = "requests.storage";
/// Between a class and what of it is limited.
const OF_CLASS: &str = ".storageclass.storage.k8s.io/";

pub(super) fn covers(name: &str) -> bool {
    let of_class = name.rsplit_once(OF_CLASS).map(|(_, what)| what);
    matches!(of_class.unwrap_or(name), CLAIMS | STORAGE)
}

pub(super) fn measure(claim: &PersistentVolumeClaim, amounts: &mut Amounts) {
    let class = class_of_claim(claim).filter(|class| !class.is_empty());
    let mut charge = |what: &str, amount: Quantity| {
        amounts.insert(what.to_owned(), amount);
        if let Some(class) = class {
            amounts.insert(format!("{class}{OF_CLASS}{what}"), amount);
        }
    };
    charge(CLAIMS, Quantity::from_units(1));
    if let Some(storage) = storage(claim) {
        charge(STORAGE, storage);
    }
}

/// What is asked for, or given already if that is more, in whole bytes.
fn storage(claim: &PersistentVolumeClaim) -> Option<Quantity> {
    let requests = claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?;
    let asked = Quantity::try_from(requests.get("storage")?).ok()?;
    let given = claim.status.as_ref().and_then(|status| status.allocated_resources.as_ref());
    let given = given.and_then(|given| Quantity::try_from(given.get("storage")?).ok());
    let most = given.map_or(asked, |given| asked.max(given));
    let whole = Quantity::from_units(most.value()).with_format(most.format());
    Some(if whole == most { most } else { whole })
}
