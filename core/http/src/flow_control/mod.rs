//! API Priority and Fairness: how many requests are dealt with at once, and whose.
//!
//! A request belongs to the first [`FlowSchema`] that means it, by its precedence, and that names
//! the level whose seats it takes. Where all are taken it waits in one of the queues that its flow
//! is dealt, and the queues are served in turn. Connections to pods take no seat; a watch takes one
//! until it has begun.

mod classify;
mod defaults;
mod level;
mod maintain;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use http::{HeaderName, HeaderValue, Response};
use k8s_openapi::api::flowcontrol::v1::{
    FlowSchema, FlowSchemaSpec, PriorityLevelConfiguration, PriorityLevelConfigurationSpec,
};
use parking_lot::RwLock;
use pinnace_server::User;

use crate::Body;
use crate::request::RequestInfo;
use level::Level;
pub(crate) use level::{Refused, Seat};

/// Requests at once that all levels share: upstream's defaults for reading and writing together.
const SEATS: f64 = 600.0;
const SCHEMA: HeaderName = HeaderName::from_static("x-kubernetes-pf-flowschema-uid");
const LEVEL: HeaderName = HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid");

/// Who gets how much of the server.
pub(crate) struct FlowControl {
    rules: RwLock<Arc<Rules>>,
    /// Whether the objects are to be read and have not been: until then the defaults rule.
    pending: Arc<AtomicBool>,
}

/// What the objects say at one time.
#[derive(Default)]
struct Rules {
    /// In the order in which they are asked.
    schemas: Vec<Arc<Schema>>,
    levels: HashMap<String, Arc<Level>>,
}

struct Schema {
    name: String,
    spec: FlowSchemaSpec,
    level: Arc<Level>,
    marks: Marks,
}

/// The schema and level of a request, for its answer. Both are told by their uid, so those that no
/// object stands behind are not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marks {
    schema: Option<HeaderValue>,
    level: Option<HeaderValue>,
}

impl Marks {
    /// Adds the headers.
    pub(crate) fn put(self, response: &mut Response<Body>) {
        for (name, value) in [(SCHEMA, self.schema), (LEVEL, self.level)] {
            if let Some(value) = value {
                response.headers_mut().insert(name, value);
            }
        }
    }
}

impl FlowControl {
    /// With the rules that every cluster has.
    pub(crate) fn new() -> Self {
        let control = Self { rules: RwLock::default(), pending: Arc::default() };
        let (schemas, levels) = defaults::schemas()
            .and_then(|schemas| Ok((schemas, defaults::levels()?)))
            .unwrap_or_default();
        control.apply(&schemas, &levels);
        control
    }

    /// Whether it does not rule yet by the objects that there are, and is to.
    pub(crate) fn pending(&self) -> Arc<AtomicBool> {
        self.pending.clone()
    }

    /// Rules by these objects from now on. Levels that stay keep their queues.
    fn apply(&self, schemas: &[FlowSchema], levels: &[PriorityLevelConfiguration]) {
        let before = self.rules.read().clone();
        let shares: f64 =
            levels.iter().filter_map(|level| level.spec.as_ref()).map(shares_of).sum();
        let mut rules = Rules::default();
        let mut uids = BTreeMap::new();
        for object in levels {
            let (Some(name), Some(spec)) = (&object.metadata.name, &object.spec) else { continue };
            let shape = level::Shape::of(spec, seats(shares_of(spec), shares));
            let level = match before.levels.get(name) {
                Some(level) => {
                    level.reshape(shape);
                    level.clone()
                }
                None => Arc::new(Level::new(shape)),
            };
            uids.insert(name.as_str(), mark(object.metadata.uid.as_deref()));
            rules.levels.insert(name.clone(), level);
        }
        for object in schemas {
            let (Some(name), Some(spec)) = (&object.metadata.name, &object.spec) else { continue };
            let level_name = &spec.priority_level_configuration.name;
            // One whose level is missing means nothing: its condition says so.
            let Some(level) = rules.levels.get(level_name) else { continue };
            let marks = Marks {
                schema: mark(object.metadata.uid.as_deref()),
                level: uids.get(level_name.as_str()).cloned().flatten(),
            };
            let (name, spec, level) = (name.clone(), spec.clone(), level.clone());
            rules.schemas.push(Arc::new(Schema { name, spec, level, marks }));
        }
        rules.schemas.sort_by(|a, b| {
            let precedence = |schema: &Schema| schema.spec.matching_precedence.unwrap_or(1000);
            precedence(a).cmp(&precedence(b)).then_with(|| a.name.cmp(&b.name))
        });
        *self.rules.write() = Arc::new(rules);
    }

    /// A seat for a request, once there is one.
    ///
    /// # Errors
    /// [`Refused`] when there is none in time.
    pub(crate) async fn admit(
        &self,
        user: &User,
        info: &RequestInfo,
        marks: &mut Marks,
    ) -> Result<Option<Seat>, Refused> {
        let connects =
            matches!(&*info.subresource, "log" | "exec" | "attach" | "portforward" | "proxy");
        if info.is_resource && connects {
            return Ok(None);
        }
        let rules = self.rules.read().clone();
        let mut schemas = rules.schemas.iter();
        let Some(schema) = schemas.find(|schema| classify::matches(&schema.spec, user, info))
        else {
            // Even the last schema is gone; it comes back soon.
            return Ok(None);
        };
        marks.clone_from(&schema.marks);
        let flow = classify::flow(&schema.name, &schema.spec, user, info);
        schema.level.seat(flow).await.map(Some)
    }
}

impl fmt::Debug for FlowControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FlowControl({} schemas)", self.rules.read().schemas.len())
    }
}

fn mark(uid: Option<&str>) -> Option<HeaderValue> {
    uid.and_then(|uid| HeaderValue::from_str(uid).ok())
}

fn shares_of(spec: &PriorityLevelConfigurationSpec) -> f64 {
    let limited = spec.limited.as_ref().and_then(|limited| limited.nominal_concurrency_shares);
    let exempt = spec.exempt.as_ref().and_then(|exempt| exempt.nominal_concurrency_shares);
    f64::from(limited.or(exempt).unwrap_or(0).max(0))
}

/// The seats of so many of all shares, rounded up.
fn seats(shares: f64, all: f64) -> usize {
    let seats = if all > 0.0 { (SEATS * shares / all).ceil() } else { 0.0 };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to SEATS")]
    let seats = seats as usize;
    seats
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_split_by_shares() {
        assert_eq!(seats(20.0, 245.0), 49);
        assert_eq!(seats(5.0, 245.0), 13);
        assert_eq!((seats(0.0, 245.0), seats(1.0, 0.0)), (0, 0));
    }

    #[tokio::test]
    async fn objects_rule_and_connections_take_no_seat() {
        let control = FlowControl::new();
        let mut marks = Marks::default();
        let ann = User::new("ann", ["system:authenticated".to_owned()]);
        let mut info = RequestInfo {
            is_resource: true,
            verb: "get".to_owned(),
            resource: "pods".to_owned(),
            namespace: "a".to_owned(),
            ..RequestInfo::default()
        };
        assert!(control.admit(&ann, &info, &mut marks).await.unwrap().is_some());
        let mut schemas = defaults::schemas().unwrap();
        let mut levels = defaults::levels().unwrap();
        for level in &mut levels {
            let limited = level.spec.as_mut().and_then(|spec| spec.limited.as_mut());
            if level.metadata.name.as_deref() == Some("global-default") {
                let limited = limited.unwrap();
                limited.nominal_concurrency_shares = Some(0);
                limited.limit_response.as_mut().unwrap().queuing = None;
            }
        }
        schemas.iter_mut().for_each(|schema| schema.metadata.uid = Some("u".to_owned()));
        control.apply(&schemas, &levels);
        assert_eq!(control.admit(&ann, &info, &mut marks).await.unwrap_err(), Refused);
        assert_eq!(marks.schema.as_ref().unwrap(), "u");
        info.subresource = "log".to_owned();
        assert!(control.admit(&ann, &info, &mut marks).await.unwrap().is_none());
    }
}
